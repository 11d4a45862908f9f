//! The log as it is kept, read to be done again: each message with what its sender signed, strictly verified once more.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use diesel::prelude::*;
use ledger::keyring::Keyring;
use ledger::{Posted, Signed, SignedBatch, Verified};
use migrations::schema::{entry, message, signed_batch};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::jws::{Compact, TYP_BATCH, TYP_MESSAGE, sha256_hex};
use partner_sdk::wire::{Message, split_batch};
use partner_sdk::{KeyId, PartnerId};
use rayon::prelude::*;

use super::rows::{POSTED, PostedRow};

/// An entry as it is kept.
#[derive(Debug, Clone)]
pub enum Kept {
    /// A partner's message.
    Message(Raw),
    /// What the clearinghouse did by itself.
    Own(Posted),
    /// Anything else.
    Other(Other),
}

/// A message as it is kept.
#[derive(Debug, Clone)]
pub struct Raw {
    /// What became of it.
    pub posted: Posted,
    /// What was signed, or its part of a signed batch; empty once that was taken out.
    pub bytes: String,
    /// Where its window is archived: what the file has under its number, which is nothing where its batch is under an earlier one.
    pub archived: Option<String>,
    /// The SHA-256 of the signed batch that it came in.
    pub batch: Option<String>,
    /// Whether it was the first of its transaction.
    pub leads: bool,
}

/// An entry that is no message.
#[derive(Debug, Clone)]
pub struct Other {
    /// Its number.
    pub seq: i64,
    /// What happened.
    pub kind: String,
    /// The entry, to the byte.
    pub body: String,
}

impl Kept {
    /// Its number.
    pub fn seq(&self) -> i64 {
        match self {
            Self::Message(raw) => raw.posted.seq,
            Self::Own(posted) => posted.seq,
            Self::Other(other) => other.seq,
        }
    }

    /// The entry, to the byte.
    pub fn text(&self) -> String {
        match self {
            Self::Message(Raw { posted, .. }) | Self::Own(posted) => ledger::entry(posted),
            Self::Other(other) => other.body.clone(),
        }
    }
}

/// The entries from a number on and before another; one that is missing is [`DbError::Corrupt`].
pub fn kept(conn: &mut Conn, from: i64, before: i64) -> Result<Vec<Kept>, DbError> {
    let own = PartnerId::clearing();
    let of_messages = message::table
        .select((POSTED, message::bytes, message::batch, message::leads))
        .filter(message::seq.ge(from))
        .filter(message::seq.lt(before));
    let mut all = vec![];
    type Row = (PostedRow, String, Option<String>, bool);
    for (row, bytes, batch, leads) in each_backend!(conn, |c| of_messages.load::<Row>(c))? {
        let posted = row.posted()?;
        all.push(match posted.sender == own {
            true if !bytes.is_empty() => {
                let what = format!(
                    "message {} is the clearinghouse's own, and has bytes that somebody signed",
                    posted.seq
                );
                return Err(DbError::Corrupt(what));
            }
            true => Kept::Own(posted),
            false => Kept::Message(Raw {
                posted,
                bytes,
                archived: None,
                batch,
                leads,
            }),
        });
    }
    let others = entry::table
        .select((entry::seq, entry::kind, entry::body))
        .filter(entry::seq.ge(from))
        .filter(entry::seq.lt(before));
    for (seq, kind, body) in each_backend!(conn, |c| others.load::<(i64, String, String)>(c))? {
        if !body.contains(&format!("\"entry\":\"{kind}\"")) {
            return Err(DbError::Corrupt(format!("entry {seq} says that it is of another kind than {kind}")));
        }
        all.push(Kept::Other(Other { seq, kind, body }));
    }
    all.sort_unstable_by_key(Kept::seq);
    let gap = (from..before).zip(&all).find(|(seq, kept)| *seq != kept.seq()).map(|(seq, _)| seq);
    match gap.or((i64::try_from(all.len()) != Ok(before - from)).then(|| from + all.len() as i64)) {
        Some(seq) => Err(DbError::Corrupt(format!("the log has no entry {seq}, or two"))),
        None => Ok(all),
    }
}

/// A signed batch that its sender signed, and its messages to the byte by their digests.
struct Batch {
    kid: KeyId,
    signed: Arc<SignedBatch>,
    messages: HashMap<String, String>,
}

/// What partners signed, each verified with the keys of `ring`; or what is wrong with it. `scratch` has the batches of messages that were done again before.
pub fn verified(
    conn: &mut Conn,
    scratch: &mut Conn,
    ring: &Keyring,
    raws: &[Raw],
) -> Result<Vec<Result<Arc<Verified>, &'static str>>, DbError> {
    let mut batches = BTreeMap::new();
    for raw in raws {
        let Some(hash) = raw.batch.as_ref().filter(|hash| !batches.contains_key(*hash)) else {
            continue;
        };
        let bytes = match (batch_row(conn, hash)?, &raw.archived) {
            (Some(row), Some(file)) if row.is_empty() && !file.is_empty() => Some(file.clone()),
            (Some(row), Some(file)) if !file.is_empty() && row != *file => None,
            // It came before in a window that is archived.
            (Some(row), _) if row.is_empty() => batch_row(scratch, hash)?,
            (row, _) => row,
        };
        batches.insert(hash.clone(), bytes.and_then(|bytes| batch(hash, bytes, &raw.posted.sender, ring)));
    }
    Ok(raws.par_iter().map(|raw| verify(raw, ring, &batches).map(Arc::new)).collect())
}

fn batch_row(conn: &mut Conn, hash: &str) -> Result<Option<String>, DbError> {
    let query = signed_batch::table.find(hash).select(signed_batch::bytes);
    Ok(each_backend!(conn, |c| query.first(c).optional())?)
}

fn verify(raw: &Raw, ring: &Keyring, batches: &BTreeMap<String, Option<Batch>>) -> Result<Verified, &'static str> {
    let posted = &raw.posted;
    let named = |bytes: &str| sha256_hex(bytes.as_bytes()) == posted.sha256;
    match (raw.bytes.as_str(), &raw.archived) {
        ("", None) => return Err("its bytes are gone, and no entry says that they were archived: put them back from a backup"),
        ("", Some(_)) => {}
        (bytes, _) if named(bytes) => {}
        _ => return Err("its bytes aren't those that its entry names"),
    }
    let (kid, message, batch) = match &raw.batch {
        None => {
            let bytes = raw.archived.as_ref().unwrap_or(&raw.bytes);
            if !named(bytes) {
                return Err("what is archived of it isn't what its entry names");
            }
            let (kid, payload) = signed_by(bytes, TYP_MESSAGE, &posted.sender, ring).ok_or("it isn't signed by a key of its sender")?;
            (kid, Message::parse(&payload), None)
        }
        Some(hash) => {
            let batch = batches.get(hash).and_then(Option::as_ref);
            let found = batch.and_then(|batch| Some((batch, batch.messages.get(&posted.sha256)?)));
            let (batch, bytes) =
                found.ok_or("the signed batch that it came in is missing, doesn't hold it, or isn't signed by a key of its sender")?;
            (batch.kid.clone(), Message::parse(bytes.as_bytes()), Some(batch.signed.clone()))
        }
    };
    let message = message.ok().filter(|read| read.sender == posted.sender && read.id == posted.id);
    Ok(Verified {
        message: message.ok_or("its bytes name another sender or id")?,
        kid,
        sha256: posted.sha256.clone(),
        // A scratch ledger needs its batches alone: what comes later may have come in them too.
        signed: Signed { bytes: "".into(), batch },
    })
}

/// The key and the payload of what a partner signed; nothing where it isn't that.
fn signed_by(text: &str, typ: &str, sender: &PartnerId, ring: &Keyring) -> Option<(KeyId, Vec<u8>)> {
    let jws = Compact::parse_as(text, typ).ok()?;
    let key = ring.signing(&jws.kid).filter(|key| key.partner == *sender)?;
    jws.verify(&key.key).ok()?;
    Some((jws.kid, jws.payload))
}

fn batch(hash: &str, bytes: String, sender: &PartnerId, ring: &Keyring) -> Option<Batch> {
    let (kid, payload) = signed_by(&bytes, TYP_BATCH, sender, ring).filter(|_| sha256_hex(bytes.as_bytes()) == hash)?;
    let messages = split_batch(&payload).ok()?.into_iter();
    let messages = messages.map(|text| (sha256_hex(text.as_bytes()), text.to_owned())).collect();
    Some(Batch {
        kid,
        signed: Arc::new(SignedBatch {
            sha256: hash.to_owned(),
            sender: sender.clone(),
            bytes,
        }),
        messages,
    })
}
