//! Partners' keys: registered, ended, revoked. Every change grows the directory's version, so that each process reads it
//! within a second; what changes nothing doesn't.

use std::sync::Arc;

use diesel::prelude::*;
use jiff::{SignedDuration, Timestamp};
use migrations::schema::{clearing_key, partner, signing_key, tls_key};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::change::Status;
use partner_sdk::jws::{Compact, VerifyingKey};
use partner_sdk::wire::keys::{FRESH_SECONDS, KeyName, Reason, Revocation, Spki, TYP_REVOCATION};
use partner_sdk::{Code, KeyId, PartnerId, Problem};

use super::directory::{load_directory, load_keys};
use super::events::{self, NewEvent, OPERATOR};
use super::head::{grow_version, is_sandbox, lock_head};
use super::people::{is_founded, people};
use super::rows::read;
use ledger::directory::Directory;
use ledger::keyring::{Admission, Key, Keyring, TlsKey, fresh};

/// Why keys stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A rule forbids it.
    #[error(transparent)]
    Refused(#[from] Box<Problem>),
}

impl From<Problem> for KeysError {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

/// Who asks for a change.
#[derive(Debug, Clone)]
pub enum By<'a> {
    /// One of the operator's people, by a revocation that it signed: a compact JWS. It revokes keys, and does nothing else.
    Person(&'a str),
    /// A partner, with a key of its own that has to be valid in this transaction too, and its signed request: a compact JWS.
    Partner(&'a PartnerId, &'a KeyId, Timestamp, &'a str),
}

impl By<'_> {
    /// Says in the log what was done, and by whose word.
    fn enter(&self, conn: &mut Conn, now: Timestamp, action: &str, id: &PartnerId, fields: &[(&str, &str)]) -> Result<(), DbError> {
        let word = match self {
            Self::Person(text) => ("revocation", *text),
            Self::Partner(.., text) => ("request", *text),
        };
        let all: Vec<_> = fields.iter().copied().chain([word]).collect();
        enter(conn, now, action, id, &all)
    }
}

/// A signing key to be registered, or to be ended.
#[derive(Debug, Clone)]
pub struct NewSigningKey {
    /// Whose it is.
    pub partner: PartnerId,
    /// Its id.
    pub kid: KeyId,
    /// The public half.
    pub key: VerifyingKey,
    /// From when on it signs.
    pub valid_from: Timestamp,
    /// Before when it signs.
    pub valid_until: Option<Timestamp>,
}

/// How things are after a change.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The reference data.
    pub directory: Arc<Directory>,
    /// The number of the newest event.
    pub newest: i64,
}

/// Runs a change of keys in a transaction; `body` says whether there was anything to change.
pub(super) fn change(conn: &mut Conn, body: impl FnOnce(&mut Conn, &mut Keyring) -> Result<bool, KeysError>) -> Result<Changed, KeysError> {
    conn.transaction(|conn| {
        let (_, version) = lock_head(conn)?;
        let mut ring = load_keys(conn)?;
        if body(conn, &mut ring)? {
            grow_version(conn, version)?;
        }
        Ok(Changed {
            directory: Arc::new(load_directory(conn)?),
            newest: events::newest(conn)?,
        })
    })
}

/// What `entry` says in the log's entries about partners' keys.
pub const ENTRY: &str = "key";
/// What `entry` says in the log's entry about a key of the clearinghouse's own.
pub const OWN_ENTRY: &str = "own_key";

/// Says in the log what was done with a partner's keys.
pub(super) fn enter(conn: &mut Conn, now: Timestamp, action: &str, id: &PartnerId, fields: &[(&str, &str)]) -> Result<(), DbError> {
    let all: Vec<_> = [("action", action), ("partner", id.as_str())]
        .into_iter()
        .chain(fields.iter().copied())
        .collect();
    settlement::append(conn, now, ENTRY, id.as_str(), &all)
}

/// Tells the partner and the operator what became of a key; the operator reads whose it is.
pub(super) fn tell(
    conn: &mut Conn,
    now: Timestamp,
    kind: &'static str,
    id: &PartnerId,
    key: &str,
    facts: &[(&str, String)],
) -> Result<(), DbError> {
    let event = |recipient: &str| NewEvent {
        recipient: recipient.to_owned(),
        kind,
        subject: key.to_owned(),
        facts: [("partner", id.to_string())]
            .iter()
            .chain(facts)
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    };
    events::append(conn, now.as_microsecond(), &[event(id.as_str()), event(OPERATOR)])
}

/// Registers a partner's TLS key and signing key on the operator's word; the signing key is good for whatever was issued before, too. The same again
/// changes nothing.
pub fn register(conn: &mut Conn, id: &PartnerId, spki: Spki, kid: &KeyId, key: &VerifyingKey, now: Timestamp) -> Result<(), KeysError> {
    let new = NewSigningKey {
        partner: id.clone(),
        kid: kid.clone(),
        key: key.clone(),
        valid_from: Timestamp::UNIX_EPOCH,
        valid_until: None,
    };
    change(conn, |conn, ring| {
        may_alone(conn)?;
        known_partner(conn, id)?;
        let changed = put_tls(conn, ring, id, spki, now)? | put_signing(conn, ring, &new, now)?;
        if changed {
            let (spki, public_key) = (spki.to_string(), key.to_base64url());
            let fields = [("spki", &*spki), ("kid", kid.as_str()), ("public_key", &public_key)];
            enter(conn, now, "registered", id, &fields)?;
        }
        Ok(changed)
    })
    .map(drop)
}

/// Registers a further signing key of a partner, or ends one earlier.
pub fn add_signing(conn: &mut Conn, new: &NewSigningKey, by: &By, now: Timestamp) -> Result<Changed, KeysError> {
    change(conn, |conn, ring| {
        may(ring, by)?;
        let changed = put_signing(conn, ring, new, now)?;
        if changed {
            let (public_key, from) = (new.key.to_base64url(), new.valid_from.to_string());
            let until = new.valid_until.map(|until| until.to_string());
            let mut fields = vec![("kid", new.kid.as_str()), ("public_key", &public_key), ("valid_from", &from)];
            fields.extend(until.as_deref().map(|until| ("valid_until", until)));
            by.enter(conn, now, "signing_added", &new.partner, &fields)?;
        }
        Ok(changed)
    })
}

/// Registers a further TLS key of a partner.
pub fn add_tls(conn: &mut Conn, id: &PartnerId, spki: Spki, by: &By, now: Timestamp) -> Result<Changed, KeysError> {
    change(conn, |conn, ring| {
        may(ring, by)?;
        let changed = put_tls(conn, ring, id, spki, now)?;
        if changed {
            by.enter(conn, now, "tls_added", id, &[("spki", &spki.to_string())])?;
        }
        Ok(changed)
    })
}

/// Revokes a key at once and for good: a partner only its own, a person anybody's by its signed word. The first word stays: a partner's second changes nothing,
/// and a person's is refused, so that nobody takes it for recorded.
pub fn revoke(conn: &mut Conn, name: &KeyName, why: &Reason, by: &By, now: Timestamp) -> Result<Changed, KeysError> {
    change(conn, |conn, ring| {
        let person = match by {
            By::Person(text) => Some(revoker(conn, text, (name, why), now)?),
            By::Partner(..) => None,
        };
        if person.is_none() {
            may(ring, by)?;
        }
        let (owner, revoked) = match name {
            KeyName::Kid(kid) => ring.signing(kid).map(|key| (key.partner.clone(), key.revoked_at)),
            KeyName::Spki(spki) => ring.tls(spki).map(|key| (key.partner.clone(), key.revoked_at)),
        }
        .filter(|(owner, _)| !matches!(by, By::Partner(id, ..) if *id != owner))
        .ok_or_else(|| unknown(name, by))?;
        if let Some(at) = revoked {
            return person.map_or(Ok(false), |_| Err(revoked_before(conn, name, at)?.into()));
        }
        let (of, named) = match name {
            KeyName::Kid(kid) => ("kid", kid.to_string()),
            KeyName::Spki(spki) => ("spki", spki.to_string()),
        };
        by.enter(conn, now, "revoked", &owner, &[(of, &named), ("reason", why.as_str())])?;
        let signed = match by {
            By::Person(text) => Some(*text),
            By::Partner(..) => None,
        };
        let who = person.as_ref().map_or_else(|| owner.to_string(), ToString::to_string);
        let by = person.map_or_else(|| format!("partner {owner}"), |person| format!("operator {person}"));
        let (at, why) = (now.as_microsecond(), why.as_str());
        tell(conn, now, "key.revoked", &owner, &named, &[("by", who), ("reason", why.to_owned())])?;
        each_backend!(conn, |c| match name {
            KeyName::Kid(kid) => diesel::update(signing_key::table.find(kid.as_str()))
                .set((
                    signing_key::revoked_at.eq(at),
                    signing_key::revoked_by.eq(by),
                    signing_key::revoked_why.eq(why),
                    signing_key::revocation.eq(signed)
                ))
                .execute(c),
            KeyName::Spki(spki) => diesel::update(tls_key::table.find(spki.to_string()))
                .set((
                    tls_key::revoked_at.eq(at),
                    tls_key::revoked_by.eq(by),
                    tls_key::revoked_why.eq(why),
                    tls_key::revocation.eq(signed)
                ))
                .execute(c),
        })
        .map_err(DbError::from)?;
        Ok(true)
    })
}

fn unknown(name: &KeyName, by: &By) -> Problem {
    let problem = Problem::new(Code::UnknownKey, format!("no key is registered as the {name}"));
    match by {
        By::Person(_) => problem.advise("Name a key that clearing key list shows."),
        By::Partner(..) => problem,
    }
}

fn revoked_before(conn: &mut Conn, name: &KeyName, at: Timestamp) -> Result<Problem, DbError> {
    let by: Option<String> = each_backend!(conn, |c| match name {
        KeyName::Kid(kid) => signing_key::table.find(kid.as_str()).select(signing_key::revoked_by).first(c),
        KeyName::Spki(spki) => tls_key::table.find(spki.to_string()).select(tls_key::revoked_by).first(c),
    })?;
    let by = by.unwrap_or_default();
    let problem = Problem::new(
        Code::KeyRevoked,
        format!("the {name} is revoked since {at}, by {by}: a second word isn't recorded"),
    );
    Ok(problem.advise("Nothing is left to do: it never comes back."))
}

/// The name of the person who signed this revocation, now and of this key.
fn revoker(conn: &mut Conn, text: &str, (name, why): (&KeyName, &Reason), now: Timestamp) -> Result<String, KeysError> {
    let refused = |code: Code, why: &str, field: &str| KeysError::from(Problem::new(code, why).at(Some(field)));
    let jws = Compact::parse_as(text, TYP_REVOCATION).map_err(|e| refused(Code::MalformedJws, &e.to_string(), "revocation"))?;
    let person = people(conn)?.into_iter().find(|one| one.kid == jws.kid.as_str());
    let person = person.ok_or_else(|| refused(Code::UnknownKey, "no person of the operator has this kid", "kid"))?;
    jws.verify(&person.key)
        .map_err(|e| refused(Code::BadSignature, &e.to_string(), "revocation"))?;
    let revocation = Revocation::parse(&jws.payload).map_err(|e| refused(e.code, &e.to_string(), "revocation"))?;
    fresh(revocation.issued.issued_at, now)?;
    if (&revocation.key, &revocation.reason) != (name, why) {
        return Err(refused(
            Code::DocumentChanged,
            "the revocation is about something else",
            "revocation",
        ));
    }
    Ok(person.name)
}

/// Records a key of the clearinghouse's own, that of a log with its name, once: a kid or key that is anybody else's, or a kid of its own that named another key, is refused.
pub fn own(conn: &mut Conn, kid: &KeyId, key: &VerifyingKey, origin: Option<&str>, now: Timestamp) -> Result<(), KeysError> {
    conn.transaction(|conn| {
        lock_head(conn)?;
        let known = clearing_key::table.find(kid.as_str()).select(clearing_key::public_key);
        let known: Option<String> = each_backend!(conn, |c| known.first(c).optional()).map_err(DbError::from)?;
        if known == Some(key.to_base64url()) {
            return Ok(());
        }
        load_keys(conn)?.admit_other(kid, key)?;
        let row = (
            clearing_key::kid.eq(kid.as_str()),
            clearing_key::public_key.eq(key.to_base64url()),
            clearing_key::since.eq(now.as_microsecond()),
            clearing_key::origin.eq(origin),
        );
        each_backend!(conn, |c| diesel::insert_into(clearing_key::table).values(row).execute(c)).map_err(DbError::from)?;
        let public_key = key.to_base64url();
        let mut fields = vec![("kid", kid.as_str()), ("public_key", &public_key)];
        fields.extend(origin.map(|origin| ("origin", origin)));
        settlement::append(conn, now, OWN_ENTRY, kid.as_str(), &fields)?;
        Ok(())
    })
}

/// The keys of a log, now and before.
pub fn log_keys(conn: &mut Conn, origin: &str) -> Result<Vec<VerifyingKey>, DbError> {
    let query = clearing_key::table
        .select(clearing_key::public_key)
        .filter(clearing_key::origin.eq(origin))
        .order(clearing_key::since);
    let keys = each_backend!(conn, |c| query.load::<String>(c))?;
    let read = |key: String| VerifyingKey::from_base64url(&key).map_err(|e| DbError::Corrupt(format!("clearing_key.public_key: {e}")));
    keys.into_iter().map(read).collect()
}

/// Whether one person may bring in a partner's keys or invite it: only while the network is founded, and in a sandbox. Whoever has keys of two partners has
/// their agreements.
pub fn may_alone(conn: &mut Conn) -> Result<(), KeysError> {
    if is_sandbox(conn)? || !is_founded(conn)? {
        return Ok(());
    }
    let instead = "people answer for the network, so a partner brings its keys by an invitation that one proposes and another approves: \
                   clearing partner invite ID --as NAME --key FILE, then clearing approve HASH";
    Err(Problem::new(Code::FourEyes, instead).into())
}

/// The earliest instant from which a key that comes now may be valid.
pub fn earliest(now: Timestamp) -> Timestamp {
    now.checked_sub(SignedDuration::from_secs(FRESH_SECONDS)).unwrap_or(Timestamp::MIN)
}

/// The key behind a partner's request may have been revoked since the request was verified.
fn may(ring: &Keyring, by: &By) -> Result<(), KeysError> {
    let By::Partner(id, kid, issued_at, _) = by else {
        return Err(Problem::new(Code::FourEyes, "a person alone only revokes keys").into());
    };
    ring.usable(kid, id, *issued_at)
        .map(drop)
        .map_err(|code| Problem::new(code, code.title()).at(Some("kid")).into())
}

/// A partner of the network that hasn't gone.
pub(super) fn known_partner(conn: &mut Conn, id: &PartnerId) -> Result<(), KeysError> {
    let status = partner::table.find(id.as_str()).select(partner::status);
    let status: Option<String> = each_backend!(conn, |c| status.first(c).optional()).map_err(DbError::from)?;
    match status {
        Some(status) if read::<Status>(&status, "partner.status")? != Status::Gone => Ok(()),
        _ => {
            let why = format!("there is no partner `{id}`: add it to the network file and apply that first");
            Err(Problem::new(Code::NotFound, why).at(Some("partner")).into())
        }
    }
}

/// Registers a signing key, or ends it; whether that changed anything.
pub(super) fn put_signing(conn: &mut Conn, ring: &mut Keyring, new: &NewSigningKey, now: Timestamp) -> Result<bool, KeysError> {
    let key = Key {
        partner: new.partner.clone(),
        key: new.key.clone(),
        valid_from: new.valid_from,
        valid_until: new.valid_until,
        registered_at: now,
        revoked_at: None,
    };
    match ring.admit_signing(&new.kid, &key, now)? {
        Admission::Known => return Ok(false),
        Admission::Ends(until) => {
            let row = diesel::update(signing_key::table.find(new.kid.as_str())).set(signing_key::valid_until.eq(until.as_microsecond()));
            each_backend!(conn, |c| row.execute(c)).map_err(DbError::from)?;
            tell(
                conn,
                now,
                "key.ends",
                &new.partner,
                new.kid.as_str(),
                &[("ends_at", until.to_string())],
            )?;
        }
        Admission::New => {
            let row = (
                signing_key::kid.eq(new.kid.as_str()),
                signing_key::partner.eq(new.partner.as_str()),
                signing_key::public_key.eq(new.key.to_base64url()),
                signing_key::valid_from.eq(new.valid_from.as_microsecond()),
                signing_key::valid_until.eq(new.valid_until.map(Timestamp::as_microsecond)),
                signing_key::registered_at.eq(now.as_microsecond()),
            );
            each_backend!(conn, |c| diesel::insert_into(signing_key::table).values(row).execute(c)).map_err(DbError::from)?;
            let facts = [("use", "signing".to_owned()), ("valid_from", new.valid_from.to_string())];
            tell(conn, now, "key.registered", &new.partner, new.kid.as_str(), &facts)?;
            ring.put_signing(new.kid.clone(), key);
        }
    }
    Ok(true)
}

/// Registers a TLS key; whether that changed anything.
pub(super) fn put_tls(conn: &mut Conn, ring: &mut Keyring, id: &PartnerId, spki: Spki, now: Timestamp) -> Result<bool, KeysError> {
    let new = ring.admit_tls(&spki, id)? == Admission::New;
    if new {
        let row = (
            tls_key::spki_sha256.eq(spki.to_string()),
            tls_key::partner.eq(id.as_str()),
            tls_key::registered_at.eq(now.as_microsecond()),
        );
        each_backend!(conn, |c| diesel::insert_into(tls_key::table).values(row).execute(c)).map_err(DbError::from)?;
        let key = TlsKey {
            partner: id.clone(),
            registered_at: now,
            revoked_at: None,
        };
        tell(conn, now, "key.registered", id, &spki.to_string(), &[("use", "tls".to_owned())])?;
        ring.put_tls(spki, key);
    }
    Ok(new)
}
