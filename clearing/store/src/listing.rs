//! Documents in rows of a list, with what was said about them.

use diesel::prelude::*;
use migrations::schema::{document, document_act, exposure};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::document::{Kind, State};

use super::rows::read;

/// A document in a list, without its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub hash: String,
    /// What it is about.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// The partner or person that proposed it.
    pub proposer: String,
    /// The other party of an agreement or a dispute; empty for a change.
    pub counterparty: String,
    /// What was signed.
    pub payload: String,
    /// When it was proposed, in microseconds since 1970.
    pub proposed_at: i64,
    /// Since when it stands there.
    pub changed_at: i64,
}

pub(super) type Row = (String, String, String, String, String, String, i64, i64);

pub(super) fn listed((hash, kind, state, proposer, counterparty, payload, proposed_at, changed_at): Row) -> Result<Listed, DbError> {
    Ok(Listed {
        kind: read(&kind, "document.kind")?,
        state: read(&state, "document.state")?,
        hash,
        proposer,
        counterparty,
        payload,
        proposed_at,
        changed_at,
    })
}

/// Up to `limit` documents of all kinds, newest first, and how many there are in all.
pub fn newest(conn: &mut Conn, limit: i64) -> Result<(Vec<Listed>, i64), DbError> {
    let query = document::table
        .order((document::proposed_at.desc(), document::changed_at.desc(), document::hash))
        .limit(limit);
    let rows: Vec<Row> = each_backend!(conn, |c| query.load(c))?;
    let all: i64 = each_backend!(conn, |c| document::table.count().get_result(c))?;
    Ok((rows.into_iter().map(listed).collect::<Result<_, _>>()?, all))
}

/// The documents that aren't in force yet and may come to be, oldest first: those that wait for somebody.
pub fn open(conn: &mut Conn) -> Result<Vec<Listed>, DbError> {
    // Of a dispute alone something comes after it was turned down.
    let dispute = document::kind.eq(Kind::Dispute.as_str());
    let contested = dispute.and(document::state.eq(State::Declined.as_str()));
    let query = document::table
        .filter(
            document::state
                .eq_any([State::Proposed.as_str(), State::Signed.as_str()])
                .or(contested),
        )
        .order((document::changed_at, document::hash));
    let rows: Vec<Row> = each_backend!(conn, |c| query.load(c))?;
    rows.into_iter().map(listed).collect()
}

/// Something that a party did to a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acted {
    /// What.
    pub action: String,
    /// The partner or person.
    pub signer: String,
    /// The signed bytes.
    pub bytes: String,
    /// When, in microseconds since 1970.
    pub at: i64,
}

/// What was done to a document, in order.
pub fn acts(conn: &mut Conn, hash: &str) -> Result<Vec<Acted>, DbError> {
    let query = document_act::table
        .select((
            document_act::action,
            document_act::signer,
            document_act::bytes,
            document_act::acted_at,
        ))
        .filter(document_act::document.eq(hash))
        .order(document_act::place);
    let rows = each_backend!(conn, |c| query.load::<(String, String, String, i64)>(c))?;
    let acted = |(action, signer, bytes, at)| Acted { action, signer, bytes, at };
    Ok(rows.into_iter().map(acted).collect())
}

/// What every partner owes, net over all windows not yet settled (positive: it owes): (partner, currency, micros).
pub fn exposures(conn: &mut Conn) -> Result<Vec<(String, String, i64)>, DbError> {
    let query = exposure::table
        .select((exposure::partner, exposure::currency, exposure::micros))
        .order((exposure::partner, exposure::currency));
    Ok(each_backend!(conn, |c| query.load(c))?)
}
