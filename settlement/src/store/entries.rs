//! The log's entries that are no messages.

use std::borrow::Cow;

use diesel::prelude::*;
use jiff::Timestamp;
use migrations::schema::{entry, head};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::Salt;
use partner_sdk::strict::write_canonical;

use super::lock_head;

/// Puts an entry under the next number of the log and returns that: `kind` and the fields say what happened. For a transaction that may write.
pub fn append(conn: &mut Conn, at: Timestamp, kind: &str, fields: &[(&str, &str)]) -> Result<i64, DbError> {
    let seq = lock_head(conn)?;
    let last_at: i64 = each_backend!(conn, |c| head::table.select(head::last_at).first(c))?;
    let at = last_at.max(at.as_microsecond());
    let mut all: Vec<(&str, Cow<'_, str>)> = fields.iter().map(|(key, value)| (*key, Cow::from(*value))).collect();
    let instant = Timestamp::from_microsecond(at).map_err(|error| DbError::Corrupt(format!("head.last_at: {error}")))?;
    all.push(("entry", kind.into()));
    all.push(("sequence", seq.to_string().into()));
    all.push(("posted_at", instant.to_string().into()));
    all.push(("salt", salt()?.to_string().into()));
    let row = (entry::seq.eq(seq), entry::kind.eq(kind), entry::body.eq(write_canonical(all)));
    each_backend!(conn, |c| diesel::insert_into(entry::table).values(row).execute(c))?;
    let next = (head::next_seq.eq(seq + 1), head::last_at.eq(at));
    each_backend!(conn, |c| diesel::update(head::table.find(1)).set(next).execute(c))?;
    Ok(seq)
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
