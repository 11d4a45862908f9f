//! What becomes of one message.

use std::sync::Arc;

use partner_sdk::{Body, Code, Message};

use crate::effect::{Effect, Plan};
use crate::life::answers;
use crate::reject::{Reject, Rejected};
use crate::types::{Moved, Posted, Verified};
use crate::working_set::WorkingSet;
use crate::{burn, custody, earn, exchange, life, prepaid, quote, reverse, timestamp};

/// How far ahead of the clearinghouse's clock `issued_at` may be, in microseconds (DESIGN section 5).
const MAX_AHEAD: i64 = 10_000_000;

/// What became of a message.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It has a place in the ledger: from now, or from before if the same bytes came again.
    Kept(Arc<Posted>),
    /// Its id is another message's; this one leaves no trace.
    IdReused,
    /// Its key doesn't count at `issued_at`, or was revoked; it leaves no trace.
    KeyRefused(Code),
}

/// Applies one message. Accepted or rejected, it gets a sequence number and is kept, so that the same bytes always get the same answer.
pub fn apply(set: &mut WorkingSet, verified: &Verified) -> Outcome {
    let message = &verified.message;
    let name = (message.sender.clone(), message.id.clone());
    let known = set.messages.get(&name);
    if let Some(known) = known.filter(|known| known.sha256 == verified.sha256) {
        return Outcome::Kept(known.clone());
    }
    // What a stolen key signs must not use up ids, so it isn't kept.
    if let Err(code) = check_key(set, verified) {
        return Outcome::KeyRefused(code);
    }
    if known.is_some() {
        return Outcome::IdReused;
    }
    let planned = check(set, verified).and_then(|plan| check_money(set, message, &plan.effects).map(|()| plan));
    // After this point nothing can fail.
    let seq = set.next_seq;
    set.next_seq += 1;
    let mut posted = Posted {
        seq,
        sender: name.0.clone(),
        id: name.1.clone(),
        kind: message.body.kind().to_owned(),
        window: set.window,
        posted_at: set.now,
        code: None,
        field: None,
        facts: vec![],
        sha256: verified.sha256.clone(),
        salt: verified.signed.batch.is_some().then(|| set.salt(seq)),
        moved: Moved::default(),
    };
    match planned {
        Ok(plan) => {
            posted.moved = plan.moved;
            posted.facts = plan.facts;
            set.commit(seq, set.window, plan.effects);
        }
        Err(reject) => {
            posted.code = Some(reject.code);
            posted.field = reject.field.map(str::to_owned);
            posted.facts = reject.facts;
        }
    }
    let posted = Arc::new(posted);
    set.messages.insert(name, posted.clone());
    set.changes.messages.push((posted.clone(), verified.signed.clone()));
    Outcome::Kept(posted)
}

/// A message is judged by its key as it stands in this transaction: another process may have revoked it since the signature was verified.
fn check_key(set: &WorkingSet, verified: &Verified) -> Result<(), Code> {
    let key = set.directory.keys.signing(&verified.kid).ok_or(Code::UnknownKey)?;
    key.check(verified.message.issued_at)
}

fn check(set: &WorkingSet, verified: &Verified) -> Rejected<Plan> {
    let message = &verified.message;
    let partner = set
        .directory
        .partners
        .get(&message.sender)
        .ok_or(Reject::at(Code::SenderMismatch, "sender"))?;
    life::may_post(set, partner.status, &message.body)?;
    let latest = set.now.saturating_add(MAX_AHEAD);
    if message.issued_at.as_microsecond() > latest {
        return Err(Reject::at(Code::IssuedInFuture, "issued_at").with("latest", timestamp(latest)));
    }
    // An answer counts whatever the issuer's clocks say.
    if message.occurred_at > message.issued_at && !answers(&message.body) {
        return Err(Reject::at(Code::Stale, "occurred_at").with("latest", message.issued_at));
    }
    custody::only_exchanged(set, &message.body)?;
    match &message.body {
        Body::Earn { .. } => earn::earn(set, message),
        Body::Burn { .. } => burn::burn(set, message),
        Body::Authorise { .. } => burn::authorise(set, message),
        Body::Capture { authorisation, points } => burn::capture(set, message, authorisation, *points),
        Body::Void { authorisation } => burn::void(set, message, authorisation),
        Body::Quote { .. } => quote::quote(set, message),
        Body::Exchange { .. } => exchange::exchange(set, message),
        Body::Acknowledge { .. } | Body::Refuse { .. } => custody::answer(set, message),
        Body::Prepay { .. } => prepaid::prepay(set, message),
        Body::Reverse { message: target, quantity } => reverse::reverse(set, message, target, *quantity),
    }
}

/// What is owed stays within bounds and caps. What only ends what was promised before is never refused for that: what an issuer has credited was checked
/// when it was reserved, and a hold that is voided may move what was owed before from one funder to another. A capture has looked at what it spends itself.
fn check_money(set: &WorkingSet, message: &Message, effects: &[Effect]) -> Rejected<()> {
    match message.body {
        Body::Void { .. } | Body::Capture { .. } | Body::Acknowledge { .. } | Body::Refuse { .. } => {
            set.check_sums(effects, i64::MAX).map(drop)
        }
        _ => set.check_caps(&message.sender, effects),
    }
}
