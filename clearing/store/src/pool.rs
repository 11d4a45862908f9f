//! A few connections for requests, opened when first needed and shared by whoever asks next. There is an upper bound: who finds all of them lent waits, and
//! not for long.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use migrations::{Conn, DbError, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections to one database, at most so many at once. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Pool {
    url: Url,
    idle: Arc<Mutex<Vec<Idle>>>,
    free: Arc<Semaphore>,
    patience: Duration,
}

/// A connection that nobody uses, and since when.
type Idle = (Conn, Instant);

/// How many idle connections are kept.
const KEEP: usize = 4;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may have been idle before it is asked whether it still stands: a database that was started again has closed all of them.
const FRESH: Duration = Duration::from_millis(100);

/// An error of what ran on a connection.
pub trait Fails: From<DbError> {
    /// Whether the database failed, so that the connection isn't used again. A refusal leaves it as good as it was.
    fn is_of_database(&self) -> bool;
}

impl Pool {
    /// A pool of at most `most` connections, without any yet.
    pub fn new(url: Url, most: usize) -> Self {
        Self {
            url,
            idle: Arc::default(),
            free: Arc::new(Semaphore::new(most)),
            patience: PATIENCE,
        }
    }

    /// Another pool to the same database, for callers that must not use up this one's connections.
    pub fn apart(&self, most: usize) -> Self {
        Self::new(self.url.clone(), most)
    }

    /// The right to one connection, in the order of asking; `None` if none came free within 5 s.
    pub async fn turn(&self) -> Option<Turn> {
        let permit = tokio::time::timeout(self.patience, self.free.clone().acquire_owned()).await;
        Some(Turn {
            pool: self.clone(),
            _permit: permit.ok()?.ok()?,
        })
    }
}

/// The right to use one connection, once. Waiting for it blocks no thread; using it does.
pub struct Turn {
    pool: Pool,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    /// Runs `body` on an idle connection, or on a new one. One on which the database failed, or `body` panicked, is dropped.
    pub fn with<T, E: Fails>(self, body: impl FnOnce(&mut Conn) -> Result<T, E>) -> Result<T, E> {
        let mut conn = self.standing().map_or_else(|| Conn::open(&self.pool.url), Ok)?;
        let result = body(&mut conn);
        let mut idle = self.idle();
        if idle.len() < KEEP && !result.as_ref().is_err_and(Fails::is_of_database) {
            idle.push((conn, Instant::now()));
        }
        drop(idle);
        result
    }

    /// An idle connection that still stands.
    fn standing(&self) -> Option<Conn> {
        loop {
            let (mut conn, since) = self.idle().pop()?;
            if since.elapsed() < FRESH || conn.stands() {
                return Some(conn);
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.pool.idle.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    enum Trouble {
        Database,
        Refused,
    }

    impl From<DbError> for Trouble {
        fn from(_: DbError) -> Self {
            Self::Database
        }
    }

    impl Fails for Trouble {
        fn is_of_database(&self) -> bool {
            matches!(self, Self::Database)
        }
    }

    #[tokio::test]
    async fn there_are_never_more_and_who_waits_too_long_goes_without() {
        let mut pool = Pool::new(Url::new(":memory:"), 2);
        pool.patience = Duration::from_millis(50);
        let (one, _two) = (pool.turn().await.expect("the first"), pool.turn().await.expect("the second"));
        assert!(pool.turn().await.is_none(), "a third");
        assert!(pool.clone().turn().await.is_none(), "clones share the bound");
        assert!(pool.apart(1).turn().await.is_some(), "another pool has its own");
        one.with(|_| Ok::<_, Trouble>(())).expect("used");
        assert!(pool.turn().await.is_some(), "used, it is free again");
    }

    #[tokio::test]
    async fn a_refusal_keeps_the_connection_and_a_failure_drops_it() {
        // Each connection to `:memory:` has a database of its own, which tells them apart.
        let pool = Pool::new(Url::new(":memory:"), 1);
        let turn = || async { pool.turn().await.expect("it is free") };
        let refused = turn().await.with(|conn| {
            let made = crate::admin::init(conn, true, jiff::Timestamp::now()).is_ok();
            Err::<(), _>(if made { Trouble::Refused } else { Trouble::Database })
        });
        assert!(matches!(refused, Err(Trouble::Refused)));
        let seen = |turn: Turn| turn.with(|conn| Ok::<_, Trouble>(crate::is_sandbox(conn)?));
        assert!(seen(turn().await).expect("the same connection"));
        let failed = turn().await.with(|_| Err::<(), _>(Trouble::Database));
        assert!(failed.is_err());
        assert!(seen(turn().await).is_err(), "a new connection, to an empty database");
    }
}
