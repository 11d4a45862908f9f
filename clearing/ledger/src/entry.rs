//! What the log says of a message: DESIGN section 5, "The log".

use std::borrow::Cow;

use partner_sdk::jws::sha256;
use partner_sdk::strict::write_canonical;
use partner_sdk::{PartnerId, Receipt, Salt};

use crate::time::timestamp;
use crate::types::Posted;
use crate::working_set::WorkingSet;

/// What the sender is told.
pub fn receipt(posted: &Posted) -> Receipt {
    Receipt {
        message_sha256: posted.sha256.clone(),
        sender: posted.sender.clone(),
        id: Some(posted.id.clone()),
        code: posted.code,
        field: posted.field.clone(),
        sequence: Some(posted.seq),
        window: Some(posted.window),
        posted_at: timestamp(posted.posted_at),
        facts: posted.facts.clone(),
        salt: posted.salt,
    }
}

/// The entry of a message. That of one of the clearinghouse's own has no signed bytes: it says itself what was done.
pub fn entry(posted: &Posted) -> String {
    if posted.sender != PartnerId::clearing() {
        return receipt(posted).entry();
    }
    let mut fields: Vec<(&str, Cow<'_, str>)> = vec![
        ("entry", "own".into()),
        ("kind", posted.kind.as_str().into()),
        ("id", posted.id.as_str().into()),
        ("sequence", posted.seq.to_string().into()),
        ("window", posted.window.to_string().into()),
        ("posted_at", timestamp(posted.posted_at).to_string().into()),
    ];
    fields.extend(posted.salt.map(|salt| ("salt", salt.to_string().into())));
    if let Some(account) = &posted.moved.account {
        fields.push(("programme", account.programme.as_str().into()));
        fields.push(("member", account.member.as_str().into()));
        fields.push(("units", posted.moved.points.to_string().into()));
    }
    write_canonical(fields)
}

impl WorkingSet {
    /// What keeps the entry of a number from being guessed: half of a hash over the set's random seed, so that rules need no randomness.
    pub(crate) fn salt(&self, seq: i64) -> Salt {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(&self.seed);
        bytes[32..].copy_from_slice(&seq.to_be_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&sha256(&bytes)[..16]);
        Salt::from_bytes(half)
    }
}
