//! The event feed: what happened, in order, for each partner (DESIGN section 5). Appended in the transaction that makes it happen.

use std::borrow::Cow;

use diesel::prelude::*;
use migrations::schema::{event, head};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::text::shown;

use ledger::Told;

/// Everybody.
pub const EVERYBODY: &str = "";
/// The operator's own feed.
pub const OPERATOR: &str = "clearing";

/// Something that happened, to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// A partner's id, [`EVERYBODY`] or [`OPERATOR`].
    pub recipient: String,
    /// What, e.g. `agreement.signed`.
    pub kind: &'static str,
    /// What it is about: a document's hash, a message's id.
    pub subject: String,
    /// More about it, by name.
    pub facts: Vec<(String, String)>,
}

impl From<&Told> for NewEvent {
    fn from(told: &Told) -> Self {
        Self {
            recipient: told.recipient.to_string(),
            kind: told.kind,
            subject: told.subject.clone(),
            facts: told.facts.clone(),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place: grows, and for one recipient has gaps.
    pub no: i64,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Whom it was told.
    pub recipient: String,
    /// What.
    pub kind: String,
    /// About what.
    pub subject: String,
    /// More about it, by name.
    pub facts: Vec<(String, String)>,
}

/// Appends events; the ledger is locked.
pub fn append(conn: &mut Conn, at: i64, events: &[NewEvent]) -> Result<(), DbError> {
    if events.is_empty() {
        return Ok(());
    }
    let mut no = newest(conn)? + 1;
    for one in events {
        // Whatever came in from outside: an event's subject and facts are lines that people read.
        let facts: Vec<(&str, Cow<'_, str>)> = one.facts.iter().map(|(name, value)| (name.as_str(), shown(value))).collect();
        let facts = serde_json::to_string(&facts).map_err(|e| DbError::Corrupt(e.to_string()))?;
        let row = (
            event::no.eq(no),
            event::at.eq(at),
            event::recipient.eq(&one.recipient),
            event::kind.eq(one.kind),
            event::subject.eq(shown(&one.subject).into_owned()),
            event::facts.eq(facts),
        );
        each_backend!(conn, |c| diesel::insert_into(event::table).values(row).execute(c))?;
        no += 1;
    }
    each_backend!(conn, |c| diesel::update(head::table).set(head::next_event.eq(no)).execute(c))?;
    Ok(())
}

/// The number of the newest event; 0 where there is none.
pub fn newest(conn: &mut Conn) -> Result<i64, DbError> {
    let next: i64 = each_backend!(conn, |c| head::table.select(head::next_event).first(c))?;
    Ok(next - 1)
}

/// The events for a recipient from an instant on (microseconds since 1970), however many, newest first.
pub fn since(conn: &mut Conn, recipient: &str, at: i64) -> Result<Vec<Event>, DbError> {
    const PAGE: usize = 1000;
    let (mut all, mut before) = (vec![], i64::MAX);
    loop {
        let query = event::table
            .filter(event::recipient.eq(recipient))
            .filter(event::no.lt(before))
            .order(event::no.desc())
            .limit(PAGE as i64);
        let rows = each_backend!(conn, |c| query.load::<Row>(c))?;
        let last = rows.last().filter(|row| rows.len() == PAGE && row.1 >= at).map(|row| row.0);
        all.extend(rows.into_iter().take_while(|row| row.1 >= at));
        match last {
            Some(last) => before = last,
            None => return all.into_iter().map(read).collect(),
        }
    }
}

type Row = (i64, i64, String, String, String, String);

fn read((no, at, recipient, kind, subject, facts): Row) -> Result<Event, DbError> {
    Ok(Event {
        no,
        at,
        recipient,
        kind,
        subject,
        facts: serde_json::from_str(&facts).map_err(|_| DbError::Corrupt("event.facts".into()))?,
    })
}

/// Up to `limit` events for these recipients after number `after`, in order.
pub fn after(conn: &mut Conn, recipients: &[&str], after: i64, limit: i64) -> Result<Vec<Event>, DbError> {
    let mut rows = vec![];
    // One by one, so that each is read in the order of its index, and no further than the limit.
    for recipient in recipients {
        let query = event::table
            .filter(event::recipient.eq(*recipient))
            .filter(event::no.gt(after))
            .order(event::no)
            .limit(limit);
        rows.extend(each_backend!(conn, |c| query.load::<Row>(c))?);
    }
    rows.sort_by_key(|row| row.0);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    rows.into_iter().map(read).collect()
}
