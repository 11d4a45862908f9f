//! The log as it is kept, read to be done again: each message with what its sender signed, strictly verified once more.

use std::collections::{BTreeMap, HashSet};
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
    /// What was signed, or its part of a signed batch.
    pub bytes: String,
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
            true => Kept::Own(posted),
            false => Kept::Message(Raw {
                posted,
                bytes,
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

/// A signed batch that its sender signed, and its messages to the byte.
struct Batch {
    kid: KeyId,
    signed: Arc<SignedBatch>,
    messages: HashSet<String>,
}

/// What partners signed, each verified with the keys of `ring`; or what is wrong with it.
pub fn verified(conn: &mut Conn, ring: &Keyring, raws: &[Raw]) -> Result<Vec<Result<Arc<Verified>, &'static str>>, DbError> {
    let mut batches = BTreeMap::new();
    for raw in raws {
        let Some(hash) = raw.batch.as_ref().filter(|hash| !batches.contains_key(*hash)) else {
            continue;
        };
        let query = signed_batch::table.find(hash.as_str()).select(signed_batch::bytes);
        let bytes: Option<String> = each_backend!(conn, |c| query.first(c).optional())?;
        batches.insert(hash.clone(), bytes.and_then(|bytes| batch(hash, bytes, &raw.posted.sender, ring)));
    }
    Ok(raws.par_iter().map(|raw| verify(raw, ring, &batches).map(Arc::new)).collect())
}

fn verify(raw: &Raw, ring: &Keyring, batches: &BTreeMap<String, Option<Batch>>) -> Result<Verified, &'static str> {
    let (posted, bytes) = (&raw.posted, &raw.bytes);
    if sha256_hex(bytes.as_bytes()) != posted.sha256 {
        return Err("its bytes aren't those that its entry names");
    }
    let (kid, message, batch) = match &raw.batch {
        None => {
            let (kid, payload) = signed_by(bytes, TYP_MESSAGE, &posted.sender, ring).ok_or("it isn't signed by a key of its sender")?;
            (kid, Message::parse(&payload), None)
        }
        Some(hash) => {
            let batch = batches
                .get(hash)
                .and_then(Option::as_ref)
                .filter(|batch| batch.messages.contains(bytes));
            let batch = batch.ok_or("the signed batch that it came in doesn't hold it, or isn't signed by a key of its sender")?;
            (batch.kid.clone(), Message::parse(bytes.as_bytes()), Some(batch.signed.clone()))
        }
    };
    let message = message.ok().filter(|read| read.sender == posted.sender && read.id == posted.id);
    Ok(Verified {
        message: message.ok_or("its bytes name another sender or id")?,
        kid,
        sha256: posted.sha256.clone(),
        signed: Signed {
            bytes: bytes.as_str().into(),
            batch,
        },
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
    let messages = split_batch(&payload).ok()?.into_iter().map(str::to_owned).collect();
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
