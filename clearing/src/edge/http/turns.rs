//! Turns at work that takes much memory: few at once, and one of a partner.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use partner_sdk::{Code, PartnerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::{Failure, too_many};

/// So many work at once, all partners' together.
const AT_ONCE: usize = 2;
/// How long one waits for a turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The turns of one service. Cheap to clone.
#[derive(Clone)]
pub struct Turns {
    all: Arc<Semaphore>,
    whose: Arc<Mutex<BTreeSet<PartnerId>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            whose: Arc::default(),
        }
    }
}

/// The turn of a partner, until it is dropped.
pub(super) struct Turn {
    partner: PartnerId,
    whose: Arc<Mutex<BTreeSet<PartnerId>>>,
    of_all: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// A partner's turn at `what`: refused where it has one, and `overloaded` where none comes free in time.
    pub(super) async fn take(&self, partner: &PartnerId, what: &str) -> Result<Turn, Failure> {
        let is_new = self.whose.lock().unwrap_or_else(PoisonError::into_inner).insert(partner.clone());
        if !is_new {
            return Err(too_many(Duration::ZERO, what));
        }
        let mut turn = Turn {
            partner: partner.clone(),
            whose: self.whose.clone(),
            of_all: None,
        };
        let of_all = tokio::time::timeout(PATIENCE, self.all.clone().acquire_owned()).await;
        turn.of_all = of_all.ok().and_then(Result::ok);
        match turn.of_all {
            Some(_) => Ok(turn),
            None => Err(Failure::new(Code::Overloaded)),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.whose.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.partner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(taken: Result<Turn, Failure>) -> Option<Code> {
        taken.err().map(|failure| failure.0.code)
    }

    #[actix_web::test]
    async fn who_has_a_turn_does_not_wait_for_others_to_hear_it() {
        let (turns, partner) = (Turns::default(), |name: &str| -> PartnerId { name.parse().expect("a partner") });
        let (bank, airline) = (partner("bank"), partner("airline"));
        let first = turns.take(&bank, "files").await.expect("the first");
        let _second = turns.take(&airline, "files").await.expect("the second");
        // All are taken, and yet it hears at once that one is its own.
        let asked = std::time::Instant::now();
        assert_eq!(code(turns.take(&bank, "files").await), Some(Code::TooManyRequests));
        assert!(asked.elapsed() < PATIENCE / 2);
        drop(first);
        let shop = turns.take(&partner("shop"), "files").await.expect("one came free");
        assert_eq!(code(turns.take(&bank, "files").await), Some(Code::Overloaded));
        drop(shop);
        assert_eq!(code(turns.take(&bank, "files").await), None);
    }
}
