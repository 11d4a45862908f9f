//! What documents between two parties have in common: whose each is, the other's signature, and signed words about it.

use jiff::Timestamp;
use migrations::Conn;
use partner_sdk::document::{Act, Kind, State};
use partner_sdk::jws::general::Signature;
use partner_sdk::jws::sha256_hex;
use partner_sdk::{Code, PartnerId, Problem};

use super::rights::Role;
use super::{Done, add, another_document, by_partner, decide, digest, find, fresh, key_of, no_document, open, record, role};
use ledger::directory::Directory;
use store::documents::{self, Document};

/// A new document between two parties.
pub struct Proposal<'a> {
    /// What it is about.
    pub kind: Kind,
    /// Its name.
    pub hash: &'a str,
    /// Where it stands at first.
    pub state: State,
    /// The other party.
    pub counterparty: &'a PartnerId,
    /// What was signed.
    pub payload: String,
}

/// Takes a party's proposal in, with its signature.
pub fn take_in(conn: &mut Conn, now: Timestamp, caller: &PartnerId, of: Proposal, signature: &Signature) -> Done<Document> {
    record(conn, now, (of.kind, of.hash), "propose", caller.as_str(), &digest([signature]))?;
    let mut new = Document {
        hash: of.hash.to_owned(),
        kind: of.kind,
        state: of.state,
        proposer: caller.to_string(),
        counterparty: of.counterparty.to_string(),
        payload: of.payload,
        proposed_at: now.as_microsecond(),
        signatures: vec![],
    };
    documents::insert(conn, &new)?;
    add(conn, &mut new, "proposer", caller.as_str(), signature.clone(), now)?;
    Ok(new)
}

/// A document of the caller's, and what the caller is to it. One of others answers to the byte as one that isn't there.
pub fn theirs(conn: &mut Conn, kind: Kind, caller: &PartnerId, hash: &str) -> Done<(Document, Role)> {
    let document = find(conn, kind, hash)?;
    match role(&document, caller.as_str()) {
        Role::Stranger => no_document(),
        role => Ok((document, role)),
    }
}

/// The caller's own signature in what it sends: over the payload that is there, beside those that are there or alone.
pub fn own_signature(
    directory: &Directory,
    document: &Document,
    caller: &PartnerId,
    (typ, text): (&str, &str),
    now: Timestamp,
) -> Done<Option<Signature>> {
    let general = open(text)?;
    if general.payload != document.payload.as_bytes() {
        return Err(Code::DocumentChanged.into());
    }
    let mut own = None;
    for signature in &general.signatures {
        match document.signatures.iter().find(|known| known.signature.kid == signature.kid) {
            Some(known) if known.signature == *signature => {}
            Some(_) => return Err(Problem::new(Code::DocumentChanged, "a signature isn't the one that is there").into()),
            None => {
                by_partner(directory, caller, signature, typ, &general.payload, now)?;
                own = Some(signature.clone());
            }
        }
    }
    Ok(own)
}

/// What is said where there is none.
pub fn own_missing() -> Problem {
    let problem = Problem::new(Code::UnknownKey, "the document brings no new signature").at(Some("kid"));
    problem.advise("Add a signature of your own over the same payload, beside the others or alone.")
}

/// Moves a document to its next state.
pub fn enter(conn: &mut Conn, document: &mut Document, state: State, now: Timestamp) -> Done<()> {
    document.state = state;
    Ok(documents::set_state(conn, &document.hash, state, now)?)
}

/// The most acts of a party on one document: an end may be set sooner again and again, and each act is kept for good. The other party has its own.
const MAX_ACTS: i64 = 20;

/// Reads a party's signed word about a document, and keeps it if it may be said; returns what follows.
pub fn acted(
    conn: &mut Conn,
    directory: &Directory,
    (document, role): (&Document, Role),
    caller: &PartnerId,
    text: &str,
    now: Timestamp,
) -> Done<(Act, State)> {
    let act = read_act(directory, caller, text)?;
    fresh(act.issued_at, now)?;
    if act.document != document.hash {
        return Err(another_document().into());
    }
    let next = decide(document, role, act.action)?;
    if documents::acts_of(conn, &document.hash, caller.as_str())? >= MAX_ACTS {
        let detail = format!("{caller} has withdrawn, declined or terminated this {MAX_ACTS} times already");
        return Err(Problem::new(Code::DocumentState, detail).at(Some("action")).into());
    }
    let signed = sha256_hex(text.as_bytes());
    record(conn, now, (document.kind, &document.hash), "act", caller.as_str(), &signed)?;
    documents::add_act(conn, &document.hash, act.action, caller.as_str(), text, now)?;
    Ok((act, next))
}

fn read_act(directory: &Directory, caller: &PartnerId, text: &str) -> Done<Act> {
    let jws = Act::open(text)?;
    let known = directory.keys.signing(&jws.kid).filter(|key| key.partner == *caller);
    let key = known.ok_or_else(|| Problem::new(Code::UnknownKey, Code::UnknownKey.title()).at(Some("kid")))?;
    jws.verify(&key.key)?;
    let act = Act::parse(&jws.payload).map_err(|e| {
        let error = partner_sdk::wire::MessageError::from(e);
        Problem::new(error.code, error.to_string()).at(error.source.field())
    })?;
    key_of(directory, caller, &jws.kid, act.issued_at)?;
    Ok(act)
}
