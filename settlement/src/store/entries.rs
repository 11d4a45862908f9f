//! The log's entries that are no messages.

use std::borrow::Cow;

use diesel::prelude::*;
use jiff::Timestamp;
use migrations::schema::{entry, head};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::Salt;
use partner_sdk::strict::write_canonical;

use super::lock_head;

/// Puts an entry under the next number of the log: what happened, by its `kind`, whom or what it is about, and the rest by name. It has the time of the clock of whoever
/// did it. For a transaction that may write.
pub fn append(conn: &mut Conn, at: Timestamp, kind: &str, subject: &str, fields: &[(&str, &str)]) -> Result<(), DbError> {
    let seq = lock_head(conn)?;
    let mut all: Vec<(&str, Cow<'_, str>)> = fields.iter().map(|(key, value)| (*key, Cow::from(*value))).collect();
    all.push(("entry", kind.into()));
    all.push(("sequence", seq.to_string().into()));
    all.push(("posted_at", at.to_string().into()));
    all.push(("salt", salt()?.to_string().into()));
    let row = (
        entry::seq.eq(seq),
        entry::kind.eq(kind),
        entry::subject.eq(subject),
        entry::body.eq(write_canonical(all)),
    );
    each_backend!(conn, |c| diesel::insert_into(entry::table).values(row).execute(c))?;
    each_backend!(conn, |c| diesel::update(head::table.find(1))
        .set(head::next_seq.eq(seq + 1))
        .execute(c))?;
    Ok(())
}

/// What keeps an entry from being guessed.
pub(super) fn salt() -> Result<Salt, DbError> {
    random().map(Salt::from_bytes)
}

/// Random bytes.
pub fn random<const N: usize>() -> Result<[u8; N], DbError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| DbError::Corrupt(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}
