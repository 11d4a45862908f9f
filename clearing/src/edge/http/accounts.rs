//! What requests for accounting data take, apart from all others.

use store::Pool;

use super::turns::Turns;

/// How many connections to the database that is: each is kept while reading rests.
const CONNECTIONS: usize = 2;

/// Turns at accounting data, one of an issuer, since it reads every posting of a programme; and connections for it. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    pub(super) turns: Turns,
    pub(super) pool: Pool,
}

impl Accounts {
    /// With connections to a pool's database, none of them the pool's.
    pub fn new(pool: &Pool) -> Self {
        Self {
            turns: Turns::default(),
            pool: pool.apart(CONNECTIONS),
        }
    }
}
