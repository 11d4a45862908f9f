//! Whether the signed bytes of kept messages are those that their entries name, and are signed by a key of their sender.

use std::collections::BTreeMap;

use diesel::prelude::*;
use ledger::keyring::Keyring;
use migrations::schema::{message, signed_batch};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::PartnerId;
use partner_sdk::jws::{Compact, TYP_BATCH, TYP_MESSAGE, sha256_hex};
use partner_sdk::wire::{Message, split_batch};
use rayon::prelude::*;

/// (number, sender, id, batch, SHA-256, bytes)
type Row = (i64, String, String, Option<String>, String, String);

/// The messages of a signed batch, to the byte, where its signature is the sender's.
type Batches = BTreeMap<String, Option<Vec<String>>>;

/// The first message with numbers from one on and before another that isn't what its sender signed.
pub(super) fn check(conn: &mut Conn, ring: &Keyring, from: i64, before: i64) -> Result<Option<String>, DbError> {
    let own = PartnerId::clearing();
    let query = message::table
        .select((
            message::seq,
            message::sender,
            message::id,
            message::batch,
            message::sha256,
            message::bytes,
        ))
        .filter(message::seq.ge(from))
        .filter(message::seq.lt(before))
        .filter(message::sender.ne(own.as_str()))
        .order(message::seq);
    let rows: Vec<Row> = each_backend!(conn, |c| query.load(c))?;
    let batches = batches(conn, ring, &rows)?;
    let wrong = rows
        .par_iter()
        .find_map_first(|row| wrong(row, ring, &batches).map(|what| (row.0, what)));
    Ok(wrong.map(|(seq, what)| format!("message {seq}: {what}")))
}

fn wrong((_, sender, id, batch, sha256, bytes): &Row, ring: &Keyring, batches: &Batches) -> Option<&'static str> {
    if sha256_hex(bytes.as_bytes()) != *sha256 {
        return Some("its bytes aren't those that its entry names");
    }
    let payload = match batch {
        None => match signed_by(bytes, TYP_MESSAGE, sender, ring) {
            Some(payload) => payload,
            None => return Some("it isn't signed by a key of its sender"),
        },
        Some(batch) => match batches.get(batch) {
            Some(Some(messages)) if messages.contains(bytes) => bytes.clone().into_bytes(),
            _ => return Some("the signed batch that it came in doesn't hold it, or isn't signed by a key of its sender"),
        },
    };
    let read = Message::parse(&payload).ok();
    let same = read.is_some_and(|read| read.sender.as_str() == sender && read.id.as_str() == id);
    (!same).then_some("its bytes name another sender or id")
}

/// What a partner signed, strictly verified; nothing where it isn't that.
fn signed_by(text: &str, typ: &str, sender: &str, ring: &Keyring) -> Option<Vec<u8>> {
    let jws = Compact::parse_as(text, typ).ok()?;
    let key = ring.signing(&jws.kid).filter(|key| key.partner.as_str() == sender)?;
    jws.verify(&key.key).ok()?;
    Some(jws.payload)
}

fn batches(conn: &mut Conn, ring: &Keyring, rows: &[Row]) -> Result<Batches, DbError> {
    let mut batches = Batches::new();
    for (_, sender, _, batch, ..) in rows {
        let Some(hash) = batch.as_ref().filter(|hash| !batches.contains_key(*hash)) else {
            continue;
        };
        let query = signed_batch::table.find(hash.as_str()).select(signed_batch::bytes);
        let bytes: Option<String> = each_backend!(conn, |c| query.first(c).optional())?;
        let payload = bytes.filter(|bytes| sha256_hex(bytes.as_bytes()) == *hash);
        let payload = payload.and_then(|bytes| signed_by(&bytes, TYP_BATCH, sender, ring));
        let messages = payload.and_then(|payload| Some(split_batch(&payload).ok()?.into_iter().map(str::to_owned).collect()));
        batches.insert(hash.clone(), messages);
    }
    Ok(batches)
}
