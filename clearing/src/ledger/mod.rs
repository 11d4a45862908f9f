//! The ledger's rules, pure: no clock, no I/O, no randomness. [`apply`] takes a working set and one verified message and says what became of it.
//!
//! | step | what | where |
//! |---|---|---|
//! | same id before? | the same bytes: the same receipt; other bytes: `id_reused` | [`apply`] |
//! | may the sender? | where it and the issuers stand in their lives; `issued_at` isn't ahead | `check`, `life` |
//! | the kind's own rules | agreement, freshness, limits, balance -> effects | `earn`, `prepaid`, `burn`, `quote`, `exchange`, `custody`, `reverse` |
//! | bounds | on what one message moves, and on sums | `bounds`, `limits` |
//! | net debit caps | of everybody whose debt grows | `limits` |
//! | after the last check | effects change the working set; nothing can fail | `working_set` |
//!
//! Messages of one batch go through one after the other, so each sees the effects of those before it, limits and caps included (DESIGN section 9).

mod bounds;
mod burn;
mod clawback;
mod custody;
mod earn;
mod exchange;
mod expiry;
mod lending;
mod life;
mod limits;
mod paths;
mod plan;
mod prepaid;
mod quote;
mod reverse;
pub mod types;
mod working_set;
mod write_off;

use std::sync::Arc;

use jiff::Timestamp;
use partner_sdk::agreement::{Agreement, AgreementKind};
use partner_sdk::amount::{AmountError, format_units};
use partner_sdk::{Amount, Body, Code, PartnerId, Points, ProgrammeCode};

pub use bounds::{MAX_FEES, MAX_MONEY, MAX_POINTS, MAX_SUM};
pub use custody::{Answered, Pending, Reserved, instruction};
pub use expiry::expire_due;
pub use life::answers;
pub use plan::Effect;
pub use prepaid::Block;
pub use quote::QUOTE_SECONDS;
pub use types::{AccountKey, Hold, Line, Lot, LotKey, MEMBER, Moved, Posted, Posting, Quote, Signed, SignedBatch, Told, Verified};
pub use working_set::{Changes, WorkingSet};
pub use write_off::write_off;

use crate::directory::Numbered;

/// How far ahead of the clearinghouse's clock `issued_at` may be, in microseconds (DESIGN section 5).
const MAX_AHEAD: i64 = 10_000_000;

/// Named values for a receipt.
type Facts = Vec<(String, String)>;

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The code of the catalogue.
    pub code: Code,
    /// The field at fault.
    pub field: Option<&'static str>,
    /// Facts for the receipt.
    pub facts: Facts,
}

impl Reject {
    fn new(code: Code) -> Self {
        Self {
            code,
            field: None,
            facts: vec![],
        }
    }

    fn at(code: Code, field: &'static str) -> Self {
        Self {
            code,
            field: Some(field),
            facts: vec![],
        }
    }

    /// One more fact for the receipt; the problem's detail is made from them (`partner_sdk::wire::Receipt::detail`).
    fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.facts.push((name.to_owned(), value.to_string()));
        self
    }
}

/// A value, or the first check that failed.
pub type Rejected<T> = Result<T, Reject>;

/// What a kind's rules made of a message.
#[derive(Debug, Default)]
struct Plan {
    moved: Moved,
    effects: Vec<Effect>,
    facts: Facts,
}

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
        return Err(Reject::at(Code::IssuedInFuture, "issued_at").with("latest", time_of(latest)));
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
fn check_money(set: &WorkingSet, message: &partner_sdk::Message, effects: &[Effect]) -> Rejected<()> {
    match message.body {
        Body::Void { .. } | Body::Capture { .. } | Body::Acknowledge { .. } | Body::Refuse { .. } => {
            set.check_sums(effects, i64::MAX).map(drop)
        }
        _ => set.check_caps(&message.sender, effects),
    }
}

/// Points as the programme counts them, above zero.
fn points_of(set: &WorkingSet, programme: &ProgrammeCode, amount: Amount) -> Rejected<Points> {
    let scale = set
        .directory
        .programmes
        .get(programme)
        .ok_or(Reject::at(Code::UnknownProgramme, "programme"))?
        .terms
        .scale;
    match amount.to_units(scale) {
        Ok(units) if units > MAX_POINTS => Err(Reject::at(Code::Overflow, "points").with("limit", text_of(set, programme, MAX_POINTS))),
        Ok(units) if units > 0 => Ok(Points(units)),
        Ok(_) | Err(AmountError::Grammar | AmountError::Decimals | AmountError::Overflow) => {
            Err(Reject::at(Code::BadAmount, "points").with("decimals", scale))
        }
    }
}

/// Points as they travel, with as many decimals as they need; a balance may be below zero.
fn text_of(set: &WorkingSet, programme: &ProgrammeCode, points: impl Into<i128>) -> String {
    let scale = set.directory.programmes.get(programme).map_or(0, |p| p.terms.scale);
    let text = format_units(points, scale);
    if scale == 0 {
        text
    } else {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// The clearinghouse's times as timestamps; they are always within the calendar.
fn time_of(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

/// The sender's agreement in force when it happened, and the check that the message isn't older than the agreement's allowance.
fn agreement_of<'a>(
    set: &'a WorkingSet,
    message: &partner_sdk::Message,
    kind: AgreementKind,
    programme: &ProgrammeCode,
) -> Rejected<&'a Arc<Numbered<Agreement>>> {
    let agreement = agreement_at(set, &message.sender, kind, programme, None, message.occurred_at)?;
    fresh(set, &agreement.item, message)?;
    Ok(agreement)
}

/// A partner's agreement in force at an instant.
fn agreement_at<'a>(
    set: &'a WorkingSet,
    partner: &PartnerId,
    kind: AgreementKind,
    programme: &ProgrammeCode,
    to: Option<&ProgrammeCode>,
    at: Timestamp,
) -> Rejected<&'a Arc<Numbered<Agreement>>> {
    if !set.directory.programmes.contains_key(programme) {
        return Err(Reject::at(Code::UnknownProgramme, "programme"));
    }
    if to.is_some_and(|to| !set.directory.programmes.contains_key(to)) {
        return Err(Reject::at(Code::UnknownProgramme, "to_programme"));
    }
    let key = (kind, partner.clone(), programme.clone(), to.cloned());
    set.directory.agreement(&key, at).ok_or_else(|| {
        let kind = match kind {
            AgreementKind::Earn => "earn",
            AgreementKind::Burn => "burn",
            AgreementKind::Exchange => "exchange",
        };
        Reject::new(Code::NoAgreement).with("kind", kind).with("at", at)
    })
}

/// Neither `issued_at` nor `occurred_at` is older than the agreement's store-and-forward allowance: a message that came from a till without a line says
/// when it happened, but nobody can reach back for an old rate.
fn fresh(set: &WorkingSet, agreement: &Agreement, message: &partner_sdk::Message) -> Rejected<()> {
    let allowance = i64::from(agreement.terms.store_and_forward_minutes) * 60_000_000;
    let oldest = set.now.saturating_sub(allowance);
    let times = [("issued_at", message.issued_at), ("occurred_at", message.occurred_at)];
    match times.into_iter().find(|(_, at)| at.as_microsecond() < oldest) {
        Some((field, _)) => Err(Reject::at(Code::Stale, field).with("earliest", time_of(oldest))),
        None => Ok(()),
    }
}

/// An accepted earlier message of the same sender.
fn target_of(set: &WorkingSet, sender: &PartnerId, id: &partner_sdk::MessageId) -> Option<Arc<Posted>> {
    set.messages
        .get(&(sender.clone(), id.clone()))
        .filter(|p| p.code.is_none())
        .cloned()
}

/// The agreement under which an earlier message was posted.
fn agreement_behind<'a>(set: &'a WorkingSet, target: &Posted) -> Rejected<&'a Arc<Numbered<Agreement>>> {
    target
        .moved
        .agreement
        .and_then(|no| set.directory.agreement_no(no))
        .ok_or(Reject::new(Code::NoAgreement))
}
