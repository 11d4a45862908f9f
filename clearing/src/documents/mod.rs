//! Documents that several sign: agreements between partners, and changes by the operator's people.
//!
//! | module | what lives there |
//! |---|---|
//! | [`rights`] | who may do what, and when: a pure table |
//! | [`agreements`] | propose, sign, act, approve |
//! | [`disputes`] | of a line of a statement: propose, concede, contest, decide |
//! | `disputed` | what a dispute is about, and whether that is owed |
//! | `between` | what documents between two parties have in common |
//! | [`changes`] | propose, approve, and what a change does |
//! | `conversions` | at which rates a window is paid in one currency |
//! | `calendars` | when windows end, from one that hasn't opened |
//! | [`people`] | the founding, and who comes and goes |
//! | [`publication`] | when a rate or bonus may be published, or taken back |
//! | `settled` | that a window's payments were made |
//! | [`standing`] | the network as it stands, as a founding signs it |
//!
//! Every step is one transaction that locks the ledger, so it has one place among the messages. A refused step is recorded in the operator's feed.

pub mod agreements;
mod between;
mod calendars;
pub mod changes;
mod conversions;
mod defaults;
mod disputed;
pub mod disputes;
mod joins;
pub mod people;
pub mod publication;
pub mod rights;
pub mod settled;
pub mod standing;

use jiff::{SignedDuration, Timestamp};
use migrations::{Conn, DbError};
use partner_sdk::document::{Action, DocumentError, Kind, State};
use partner_sdk::jws::general::{General, MAX_DOCUMENT_BYTES, Signature};
use partner_sdk::jws::{JwsError, SigningKey, VerifyingKey, sha256_hex};
use partner_sdk::{Code, KeyId, PartnerId, Problem, Salt};

use crate::posting::verify::Refused;
use ledger::directory::{Directory, Status};
use ledger::keyring::Key;
use rights::Role;
use store::documents::{self, Document, Signed};
use store::events::{self, EVERYBODY, NewEvent, OPERATOR};
use store::keys::KeysError;
use store::people::Person;
use store::{self, Unready};

/// How old a party's signed word about a document may be.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);
/// How far ahead of the clearinghouse's clock.
const MAX_AHEAD: SignedDuration = SignedDuration::from_secs(10);

/// Why a step wasn't taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It isn't allowed, or not possible.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
}

/// What a step came to.
pub type Done<T> = Result<T, Fault>;

impl From<Unready> for Fault {
    fn from(error: Unready) -> Self {
        match error {
            Unready::Db(error) => Self::Db(error),
            other => Problem::new(other.code(), other.to_string()).into(),
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<Code> for Fault {
    fn from(code: Code) -> Self {
        Problem::new(code, code.title()).into()
    }
}

impl From<KeysError> for Fault {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Refused(problem) => Self::Refused(problem),
            KeysError::Db(error) => Self::Db(error),
        }
    }
}

impl From<JwsError> for Fault {
    fn from(error: JwsError) -> Self {
        Self::Refused(Refused::from(error).problem)
    }
}

impl From<DocumentError> for Fault {
    fn from(error: DocumentError) -> Self {
        let problem = Problem::new(Code::MalformedDocument, error.to_string());
        let advice = "Change the term at `field`, and sign the new payload.";
        match error.field() {
            Some(field) => problem.at(Some(field)).advise(advice).into(),
            None => problem.into(),
        }
    }
}

/// Runs a step in one transaction; where it is refused, that is recorded for the operator: who, what, about what, why.
fn step<T>(conn: &mut Conn, now: Timestamp, who: &str, what: &str, about: &str, body: impl FnOnce(&mut Conn) -> Done<T>) -> Done<T> {
    // Whoever asks may have written anything in a hash's place.
    let about = if is_hash(about) { about } else { "" };
    let done = conn.transaction(|conn| {
        store::lock_head(conn)?;
        body(conn)
    });
    if let Err(Fault::Refused(problem)) = &done {
        // One of the operator's people is named as in every other event, unless it may be somebody else who only names its key.
        let named = problem.code != Code::BadSignature;
        let person = store::people::people(conn)?.into_iter().find(|one| named && one.kid == who);
        let by = person.map_or_else(|| who.to_owned(), |one| one.name);
        let before = refused_lately(conn, now, &by)?;
        if before >= MAX_REFUSALS {
            return done;
        }
        let mut facts = vec![fact("by", by), fact("action", what), fact("code", problem.code.as_str())];
        facts.extend(problem.field.as_deref().map(|field| fact("field", field)));
        conn.transaction(|conn| -> Result<(), DbError> {
            store::lock_head(conn)?;
            record_refusal(conn, now, about, facts)
        })?;
        if before + 1 == MAX_REFUSALS {
            tracing::warn!(
                who,
                steps = MAX_REFUSALS,
                "so many steps were refused within a minute: further ones aren't recorded until some are older"
            );
        }
    }
    done
}

/// What `entry` says in the log's entries about steps that were refused.
pub const REFUSED: &str = "refused";

/// Records for the operator that a step with a document was refused, and why; the ledger is locked.
pub fn record_refusal(conn: &mut Conn, now: Timestamp, about: &str, facts: Vec<(String, String)>) -> Result<(), DbError> {
    let named = (!about.is_empty()).then_some(("document", about));
    let fields: Vec<(&str, &str)> = facts.iter().map(|(name, value)| (&**name, &**value)).chain(named).collect();
    settlement::append(conn, now, REFUSED, about, &fields)?;
    let event = NewEvent {
        recipient: OPERATOR.into(),
        kind: "document.refused",
        subject: about.to_owned(),
        facts,
    };
    events::append(conn, now.as_microsecond(), &[event])
}

/// Says in the log that a step with a document is taken, by whom, and the digest of what was signed for it. What comes of it has the numbers that follow.
fn record(conn: &mut Conn, now: Timestamp, (kind, hash): (Kind, &str), action: &str, by: &str, signed: &str) -> Result<(), DbError> {
    let fields = [
        ("document", hash),
        ("kind", kind.as_str()),
        ("action", action),
        ("by", by),
        ("signed_sha256", signed),
    ];
    settlement::append(conn, now, documents::ENTRY, hash, &fields)
}

/// The digest by which the log names signatures of a document.
pub fn digest<'a>(signatures: impl IntoIterator<Item = &'a Signature>) -> String {
    let line = |one: &Signature| format!("{}.{}\n", one.protected, one.signature);
    sha256_hex(signatures.into_iter().map(line).collect::<String>().as_bytes())
}

/// Who countersigns for the clearinghouse.
#[derive(Debug, Clone, Copy)]
pub enum Countersigner<'a> {
    /// Its key.
    Key(&'a SigningKey),
    /// A signature that it made before, where a step is done once more.
    Kept(&'a Signature),
}

impl<'a> From<&'a SigningKey> for Countersigner<'a> {
    fn from(key: &'a SigningKey) -> Self {
        Self::Key(key)
    }
}

impl Countersigner<'_> {
    fn sign(self, typ: &str, payload: &[u8]) -> Signature {
        match self {
            Self::Key(key) => Signature::new(key, typ, payload),
            Self::Kept(signature) => signature.clone(),
        }
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn refused<T>(code: Code, field: &str, detail: impl Into<String>) -> Done<T> {
    Err(Problem::new(code, detail).at(Some(field)).into())
}

/// The most refusals of one party that are recorded in a minute.
const MAX_REFUSALS: usize = 30;

/// How many refused steps of this party were recorded in the last minute. Beyond [`MAX_REFUSALS`] further ones aren't: nobody fills the trail, nor the log.
fn refused_lately(conn: &mut Conn, now: Timestamp, who: &str) -> Result<usize, DbError> {
    let minute_ago = now.as_microsecond().saturating_sub(60_000_000);
    let of_party =
        |event: &events::Event| event.kind == "document.refused" && event.facts.iter().any(|(name, by)| name == "by" && by == who);
    let recent = events::since(conn, OPERATOR, minute_ago)?;
    Ok(recent.iter().filter(|event| of_party(event)).count())
}

fn fact(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// Tells each of these, and the operator, that something happened.
fn tell(
    conn: &mut Conn,
    now: Timestamp,
    whom: &[&str],
    kind: &'static str,
    subject: &str,
    facts: &[(String, String)],
) -> Result<(), DbError> {
    let mut whom = whom.to_vec();
    // What everybody hears, the operator does too.
    if !whom.contains(&EVERYBODY) {
        whom.push(OPERATOR);
    }
    whom.sort_unstable();
    whom.dedup();
    let event = |recipient: &&str| NewEvent {
        recipient: (*recipient).to_owned(),
        kind,
        subject: subject.to_owned(),
        facts: facts.to_vec(),
    };
    let all: Vec<_> = whom.iter().map(event).collect();
    events::append(conn, now.as_microsecond(), &all)
}

/// Takes a document apart within its bounds.
fn open(text: &str) -> Done<General> {
    if text.len() > MAX_DOCUMENT_BYTES {
        let detail = format!("the document has {} bytes, at most {MAX_DOCUMENT_BYTES} are taken", text.len());
        return Err(Problem::new(Code::TooLarge, detail).into());
    }
    Ok(General::parse(text)?)
}

/// Verifies that a signature over a payload is `partner`'s, made by a key that is valid now.
fn by_partner(directory: &Directory, partner: &PartnerId, signature: &Signature, typ: &str, payload: &[u8], now: Timestamp) -> Done<()> {
    let key = key_of(directory, partner, &signature.kid, now)?;
    verified(signature, typ, payload, &key.key)
}

/// A partner's key that is valid at an instant.
fn key_of<'a>(directory: &'a Directory, partner: &PartnerId, kid: &KeyId, at: Timestamp) -> Done<&'a Key> {
    let key = directory.keys.usable(kid, partner, at);
    key.map_err(|code| Problem::new(code, code.title()).at(Some("kid")).into())
}

fn verified(signature: &Signature, typ: &str, payload: &[u8], key: &VerifyingKey) -> Done<()> {
    if signature.typ != typ {
        let detail = format!("JWS header: `typ` must be {typ}");
        return Err(Problem::new(Code::BadHeader, detail).at(Some("typ")).into());
    }
    Ok(signature.verify(payload, key)?)
}

/// Verifies that a signature over a payload is that of one of the operator's people, and says whose.
fn by_person(conn: &mut Conn, signature: &Signature, typ: &str, payload: &[u8]) -> Done<Person> {
    let person = person_of(conn, signature.kid.as_str())?;
    verified(signature, typ, payload, &person.key)?;
    Ok(person)
}

/// The person with this key, whom documents brought in and who hasn't left.
fn person_of(conn: &mut Conn, kid: &str) -> Done<Person> {
    if !store::people::is_founded(conn)? {
        return refused(Code::FourEyes, "kid", "the network isn't founded: nobody answers for it yet");
    }
    let known = store::people::people(conn)?.into_iter().find(|one| one.kid == kid);
    known.ok_or_else(|| {
        Problem::new(Code::UnknownKey, "no person of the operator has this kid")
            .at(Some("kid"))
            .into()
    })
}

/// The partner, if it may enter into agreements.
fn may_sign(directory: &Directory, partner: &PartnerId) -> Done<()> {
    match directory.partners.get(partner).map(|p| p.status) {
        Some(Status::Admitted | Status::Active) => Ok(()),
        _ => Err(Code::PartnerSuspended.into()),
    }
}

/// A signed word is of now: neither from the future nor recorded long ago.
fn fresh(issued_at: Timestamp, now: Timestamp) -> Done<()> {
    let age = now.duration_since(issued_at);
    if age < -MAX_AHEAD {
        return Err(Problem::new(Code::IssuedInFuture, Code::IssuedInFuture.title())
            .at(Some("issued_at"))
            .into());
    }
    if age > MAX_AGE {
        let problem = Problem::new(Code::Stale, "issued_at is more than 5 minutes ago").at(Some("issued_at"));
        return Err(problem.advise("Sign it anew, and send it within 5 minutes.").into());
    }
    Ok(())
}

/// An act that names another document, or another action, than the address that it was sent to.
fn another_document() -> Problem {
    let problem = Problem::new(Code::DocumentChanged, "the act names another document or action").at(Some("document"));
    problem.advise("Sign an act with this document's hash and the action that you want.")
}

/// The document, if it is of this kind.
fn find(conn: &mut Conn, kind: Kind, hash: &str) -> Done<Document> {
    let found = documents::find(conn, hash)?.filter(|document| document.kind == kind);
    found.map_or_else(no_document, Ok)
}

fn no_document<T>() -> Done<T> {
    Err(Problem::new(Code::NotFound, "there is no such document").into())
}

/// Whoever proposes has made random bits, or the document's hash would tell what it says.
fn salted(salt: &Salt) -> Done<()> {
    match salt.is_none() {
        true => refused(Code::BadTerms, "salt", "`salt` must be 128 random bits"),
        false => Ok(()),
    }
}

/// The state that follows, or why not: where the document's own state is in the way, the refusal says which it is.
fn decide(document: &Document, role: Role, action: Action) -> Done<State> {
    rights::decide(document.kind, document.state, role, action).map_err(|code| match code {
        Code::DocumentState => not_in_state(document),
        other => other.into(),
    })
}

fn not_in_state(document: &Document) -> Fault {
    let allowed = match document.state {
        State::Proposed | State::Declined if document.kind == Kind::Dispute => "it may be conceded, contested, decided or withdrawn",
        State::Proposed => "it may be signed, approved, declined or withdrawn",
        State::Signed => "it may be approved, declined or withdrawn",
        State::InForce | State::Terminated if document.kind == Kind::Agreement => "it may be terminated",
        _ => "nothing more is done to it",
    };
    Problem::new(Code::DocumentState, format!("the document is {}: {allowed}", document.state)).into()
}

/// What somebody is to a document.
fn role(document: &Document, who: &str) -> Role {
    if document.proposer == who {
        Role::Proposer
    } else if document.counterparty == who {
        Role::Counterparty
    } else {
        Role::Stranger
    }
}

/// Adds a signature to a document and to its row.
fn add(conn: &mut Conn, document: &mut Document, role: &str, signer: &str, signature: Signature, now: Timestamp) -> Result<(), DbError> {
    let signed = Signed {
        role: role.to_owned(),
        signer: signer.to_owned(),
        signature,
        at: now.as_microsecond(),
    };
    documents::add_signature(conn, &document.hash, &signed)?;
    document.signatures.push(signed);
    Ok(())
}
