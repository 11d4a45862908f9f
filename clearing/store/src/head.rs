//! The one row of `head`: whoever writes the ledger locks it first.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use migrations::schema::head;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::Code;
use partner_sdk::log::note::SignError;
use settlement::SettlementError;

/// Windows that close by themselves at once; more would rather be a clock that jumped (a week, and a day for the night to come).
pub const MOST_AT_ONCE: usize = 7;

/// The longest pause between two transactions of long work.
const PAUSE: Duration = Duration::from_millis(50);

/// How far a clock may stand before the last entry, in microseconds: so far those of several machines differ. The entry then takes the last one's time.
const MAX_BEHIND: i64 = 1_000_000;

/// Why nothing can be posted.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The clock stands before the last entry.
    #[error("the clock stands {0} ms before the last entry: put it right; nothing is posted until then")]
    ClockBehind(i64),
    /// The messages are posted, and the head of the log can't be signed.
    #[error("the head of the log can't be signed")]
    Unsigned(#[from] SignError),
    /// Too many windows are due: the clock may have jumped.
    #[error("{0} windows or more are due at once, and nothing is posted: if the clock is right, run `clearing night --catch-up`")]
    Overdue(usize),
}

impl Unready {
    /// What a partner is told.
    pub fn code(&self) -> Code {
        match self {
            Self::Db(DbError::Commit(_)) | Self::Unsigned(_) => Code::OutcomeUnknown,
            Self::Db(_) => Code::Internal,
            Self::ClockBehind(_) => Code::ClockBehind,
            Self::Overdue(_) => Code::WindowsOverdue,
        }
    }
}

impl From<SettlementError> for Unready {
    fn from(error: SettlementError) -> Self {
        match error {
            SettlementError::Db(error) => Self::Db(error),
            SettlementError::Overdue(count) => Self::Overdue(count),
            other => Self::Db(DbError::Corrupt(format!("windows can't be closed: {other}"))),
        }
    }
}

/// What the row of `head` says.
pub(super) struct Head {
    /// The next message's number.
    pub(super) next_seq: i64,
    /// The version of the reference data.
    pub(super) version: i64,
    last_at: i64,
}

impl Head {
    /// The time of what is posted now: never before the last entry's.
    pub(super) fn time(&self, clock: i64) -> Result<i64, Unready> {
        if clock < self.last_at - MAX_BEHIND {
            return Err(Unready::ClockBehind((self.last_at - clock) / 1000));
        }
        Ok(clock.max(self.last_at))
    }
}

/// Locks the ledger for this transaction. SQLite's transaction holds the write lock already.
pub(super) fn lock(conn: &mut Conn) -> Result<Head, DbError> {
    let row = head::table
        .select((head::next_seq, head::directory_version, head::last_at))
        .filter(head::id.eq(1));
    let (next_seq, version, last_at) = match conn {
        Conn::Sqlite(c) => row.first(c)?,
        Conn::Postgres(c) => row.for_update().first(c)?,
    };
    Ok(Head {
        next_seq,
        version,
        last_at,
    })
}

/// Between two transactions of long work: waits as long as the one took that `began` then, but not for long. Nobody says that he waits for the lock, and SQLite gives it to whoever
/// asks at the right moment: without a pause that would be the long work again.
pub(super) fn give_way(began: Instant) {
    std::thread::sleep(began.elapsed().min(PAUSE));
}

/// Locks the ledger for this transaction and returns (next sequence number, directory version).
pub fn lock_head(conn: &mut Conn) -> Result<(i64, i64), DbError> {
    lock(conn).map(|head| (head.next_seq, head.version))
}

/// The number of the entry to come, without a lock.
pub fn next_seq(conn: &mut Conn) -> Result<i64, DbError> {
    let next: Option<i64> = each_backend!(conn, |c| head::table.select(head::next_seq).first(c).optional())?;
    Ok(next.unwrap_or(1))
}

/// The time of the last entry, in microseconds since 1970; 0 if there is none.
pub fn last_at(conn: &mut Conn) -> Result<i64, DbError> {
    Ok(each_backend!(conn, |c| head::table.select(head::last_at).first(c))?)
}

/// The version of the reference data, without a lock.
pub fn directory_version(conn: &mut Conn) -> Result<i64, DbError> {
    Ok(each_backend!(conn, |c| head::table.select(head::directory_version).first(c))?)
}

/// Whether the database was made as a sandbox, in which the clock may be set.
pub fn is_sandbox(conn: &mut Conn) -> Result<bool, DbError> {
    let made: Option<bool> = each_backend!(conn, |c| head::table.select(head::sandbox).first(c).optional())?;
    made.ok_or_else(|| DbError::Corrupt("no clearinghouse is in it; `clearing init` makes one".into()))
}

/// Says that the reference data has changed; whoever holds it in memory reads it again.
pub fn grow_version(conn: &mut Conn, version: i64) -> Result<(), DbError> {
    each_backend!(conn, |c| diesel::update(head::table)
        .set(head::directory_version.eq(version + 1))
        .execute(c))?;
    Ok(())
}
