//! Documents with their signatures, as rows.

use std::collections::HashMap;

use diesel::prelude::*;
use jiff::Timestamp;
use migrations::schema::{agreement, document, document_act, document_signature};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::document::{Action, Kind, MAX_LISTED, State};
use partner_sdk::jws::general::{General, Signature};

use super::listing::{Row, listed};

/// What `entry` says in the log's entries about steps with documents.
pub const ENTRY: &str = "document";

/// A signature with what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// `proposer`, `counterparty`, `approver` or `clearing`; at the founding, `founder-3` and so on beside them.
    pub role: String,
    /// The partner or person that signed.
    pub signer: String,
    /// The signature.
    pub signature: Signature,
    /// When, in microseconds since 1970.
    pub at: i64,
}

/// A document as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name: the SHA-256 of its payload.
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
    /// Its signatures, in the order in which they came.
    pub signatures: Vec<Signed>,
}

impl Document {
    /// The document as it travels.
    pub fn general(&self) -> General {
        General {
            payload: self.payload.clone().into_bytes(),
            signatures: self.signatures.iter().map(|one| one.signature.clone()).collect(),
        }
    }
}

/// Reads a document.
pub fn find(conn: &mut Conn, hash: &str) -> Result<Option<Document>, DbError> {
    let row: Option<Row> = each_backend!(conn, |c| document::table.find(hash).first(c).optional())?;
    Ok(with_signatures(conn, row.into_iter().collect())?.into_iter().next())
}

/// The documents of these rows, in their order, with their signatures: by one statement more, however many there are.
fn with_signatures(conn: &mut Conn, rows: Vec<Row>) -> Result<Vec<Document>, DbError> {
    let mut signed: HashMap<String, Vec<Signed>> = HashMap::new();
    for some in rows.chunks(conn.bind_limit()) {
        let query = document_signature::table
            .filter(document_signature::document.eq_any(some.iter().map(|row| &row.0)))
            .order(document_signature::signed_at);
        let rows = each_backend!(conn, |c| query.load::<(String, String, String, String, String, String, i64)>(c))?;
        for (hash, role, signer, _, protected, signature, at) in rows {
            let signature = Signature::read(protected, signature).map_err(|e| DbError::Corrupt(format!("document_signature: {e}")))?;
            signed.entry(hash).or_default().push(Signed {
                role,
                signer,
                signature,
                at,
            });
        }
    }
    let document = |row: Row| {
        let listed = listed(row)?;
        let mut signatures = signed.remove(&listed.hash).unwrap_or_default();
        // Two may come at one instant: the countersignature is the last.
        let place = |one: &Signed| match one.role.as_str() {
            "proposer" => 0,
            "counterparty" => 1,
            "approver" => 2,
            "clearing" => usize::MAX,
            other => other.strip_prefix("founder-").map_or(3, |no| no.parse().unwrap_or(3)),
        };
        signatures.sort_by_key(place);
        Ok(Document {
            hash: listed.hash,
            kind: listed.kind,
            state: listed.state,
            proposer: listed.proposer,
            counterparty: listed.counterparty,
            payload: listed.payload,
            proposed_at: listed.proposed_at,
            signatures,
        })
    };
    rows.into_iter().map(document).collect()
}

/// The documents of a kind in which `party` is proposer or counterparty, newest first, [`MAX_LISTED`] at most: the newest ones, or those that come after one of them in this order.
pub fn list(conn: &mut Conn, kind: Kind, party: &str, after: Option<&Document>) -> Result<Vec<Document>, DbError> {
    let (at, hash) = after.map_or((i64::MAX, ""), |one| (one.proposed_at, &one.hash));
    let query = document::table
        .filter(document::kind.eq(kind.as_str()))
        .filter(document::proposer.eq(party).or(document::counterparty.eq(party)))
        .filter(
            document::proposed_at
                .lt(at)
                .or(document::proposed_at.eq(at).and(document::hash.gt(hash))),
        )
        .order((document::proposed_at.desc(), document::hash))
        .limit(MAX_LISTED as i64);
    let rows: Vec<Row> = each_backend!(conn, |c| query.load(c))?;
    with_signatures(conn, rows)
}

/// Documents that are in memory at once where all are read.
const PAGE: i64 = 200;

/// Shows every document of a kind, oldest first; for one unchanging view of the database.
pub fn each(conn: &mut Conn, kind: Kind, mut show: impl FnMut(Document)) -> Result<(), DbError> {
    let (mut at, mut hash) = (i64::MIN, String::new());
    loop {
        let later = document::proposed_at
            .gt(at)
            .or(document::proposed_at.eq(at).and(document::hash.gt(&hash)));
        let query = document::table
            .filter(document::kind.eq(kind.as_str()))
            .filter(later)
            .order((document::proposed_at, document::hash))
            .limit(PAGE);
        let rows: Vec<Row> = each_backend!(conn, |c| query.load(c))?;
        let page = with_signatures(conn, rows)?;
        let Some(last) = page.last() else { return Ok(()) };
        // SQLite compares what stands there, of whatever type, and not what it is read as.
        if (last.proposed_at, &last.hash) <= (at, &hash) {
            return Err(DbError::Corrupt("document.proposed_at or document.hash".into()));
        }
        (at, hash) = (last.proposed_at, last.hash.clone());
        page.into_iter().for_each(&mut show);
    }
}

/// The documents of these names, newest first.
pub fn with_hashes(conn: &mut Conn, hashes: Vec<String>) -> Result<Vec<Document>, DbError> {
    let mut all = vec![];
    for some in hashes.chunks(conn.bind_limit()) {
        let query = document::table.filter(document::hash.eq_any(some));
        let rows: Vec<Row> = each_backend!(conn, |c| query.load(c))?;
        all.extend(with_signatures(conn, rows)?);
    }
    all.sort_by(|a: &Document, b| (b.proposed_at, &a.hash).cmp(&(a.proposed_at, &b.hash)));
    Ok(all)
}

/// How many of a party's own agreements aren't in force yet.
pub fn open_proposals(conn: &mut Conn, party: &str) -> Result<i64, DbError> {
    let open = document::table
        .filter(document::proposer.eq(party))
        .filter(document::kind.eq(Kind::Agreement.as_str()))
        .filter(document::state.eq_any([State::Proposed.as_str(), State::Signed.as_str()]));
    Ok(each_backend!(conn, |c| open.count().get_result(c))?)
}

/// The documents whose names begin like this, in hexadecimal digits: at most two, which is enough to tell one from several.
pub fn beginning(conn: &mut Conn, hash: &str) -> Result<Vec<Document>, DbError> {
    let query = document::table
        .filter(document::hash.ge(hash))
        .filter(document::hash.lt(format!("{hash}g")))
        .order(document::hash)
        .limit(2);
    let rows: Vec<Row> = each_backend!(conn, |c| query.load(c))?;
    with_signatures(conn, rows)
}

/// Adds a document without its signatures.
pub fn insert(conn: &mut Conn, new: &Document) -> Result<(), DbError> {
    let row = (
        document::hash.eq(&new.hash),
        document::kind.eq(new.kind.as_str()),
        document::state.eq(new.state.as_str()),
        document::proposer.eq(&new.proposer),
        document::counterparty.eq(&new.counterparty),
        document::payload.eq(&new.payload),
        document::proposed_at.eq(new.proposed_at),
        document::changed_at.eq(new.proposed_at),
    );
    each_backend!(conn, |c| diesel::insert_into(document::table).values(row).execute(c))?;
    Ok(())
}

/// Adds a signature.
pub fn add_signature(conn: &mut Conn, hash: &str, new: &Signed) -> Result<(), DbError> {
    let row = (
        document_signature::document.eq(hash),
        document_signature::role.eq(&new.role),
        document_signature::signer.eq(&new.signer),
        document_signature::kid.eq(new.signature.kid.as_str()),
        document_signature::protected.eq(&new.signature.protected),
        document_signature::signature.eq(&new.signature.signature),
        document_signature::signed_at.eq(new.at),
    );
    each_backend!(conn, |c| diesel::insert_into(document_signature::table).values(row).execute(c))?;
    Ok(())
}

/// Moves a document to its next state.
pub fn set_state(conn: &mut Conn, hash: &str, state: State, now: Timestamp) -> Result<(), DbError> {
    let to = (document::state.eq(state.as_str()), document::changed_at.eq(now.as_microsecond()));
    each_backend!(conn, |c| diesel::update(document::table.find(hash)).set(to).execute(c))?;
    Ok(())
}

/// How often a party has acted on a document.
pub fn acts_of(conn: &mut Conn, hash: &str, signer: &str) -> Result<i64, DbError> {
    let acts = document_act::table
        .filter(document_act::document.eq(hash))
        .filter(document_act::signer.eq(signer));
    Ok(each_backend!(conn, |c| acts.count().get_result(c))?)
}

/// Keeps the signed bytes of what a party did.
pub fn add_act(conn: &mut Conn, hash: &str, action: Action, signer: &str, bytes: &str, now: Timestamp) -> Result<(), DbError> {
    let before = document_act::table.filter(document_act::document.eq(hash)).count();
    let place: i64 = each_backend!(conn, |c| before.get_result(c))?;
    let row = (
        document_act::document.eq(hash),
        document_act::place.eq(place),
        document_act::action.eq(action.as_str()),
        document_act::signer.eq(signer),
        document_act::bytes.eq(bytes),
        document_act::acted_at.eq(now.as_microsecond()),
    );
    each_backend!(conn, |c| diesel::insert_into(document_act::table).values(row).execute(c))?;
    Ok(())
}

/// The signed bytes of what parties did to a document at an instant.
pub fn acts(conn: &mut Conn, hash: &str, at: Timestamp) -> Result<Vec<String>, DbError> {
    let query = document_act::table
        .filter(document_act::document.eq(hash))
        .filter(document_act::acted_at.eq(at.as_microsecond()))
        .order(document_act::place)
        .select(document_act::bytes);
    Ok(each_backend!(conn, |c| query.load(c))?)
}

/// Ends an agreement by notice.
pub fn end_agreement(conn: &mut Conn, hash: &str, ends_at: Timestamp) -> Result<(), DbError> {
    let query = diesel::update(agreement::table.filter(agreement::hash.eq(hash)));
    each_backend!(conn, |c| query.set(agreement::ends_at.eq(ends_at.as_microsecond())).execute(c))?;
    Ok(())
}
