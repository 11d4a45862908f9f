//! What a message refers to: amounts of a programme, agreements, earlier messages.

use std::sync::Arc;

use jiff::Timestamp;
use partner_sdk::agreement::{Agreement, AgreementKind};
use partner_sdk::amount::{AmountError, format_units};
use partner_sdk::{Amount, Code, Message, MessageId, PartnerId, Points, ProgrammeCode};

use crate::bounds::MAX_POINTS;
use crate::directory::Numbered;
use crate::reject::{Reject, Rejected};
use crate::timestamp;
use crate::types::Posted;
use crate::working_set::WorkingSet;

/// Points as the programme counts them, above zero.
pub(crate) fn points_of(set: &WorkingSet, programme: &ProgrammeCode, amount: Amount) -> Rejected<Points> {
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
pub(crate) fn text_of(set: &WorkingSet, programme: &ProgrammeCode, points: impl Into<i128>) -> String {
    let scale = set.directory.programmes.get(programme).map_or(0, |p| p.terms.scale);
    let text = format_units(points, scale);
    if scale == 0 {
        text
    } else {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// The sender's agreement in force when it happened, and the check that the message isn't older than the agreement's allowance.
pub(crate) fn agreement_of<'a>(
    set: &'a WorkingSet,
    message: &Message,
    kind: AgreementKind,
    programme: &ProgrammeCode,
) -> Rejected<&'a Arc<Numbered<Agreement>>> {
    let agreement = agreement_at(set, &message.sender, kind, programme, None, message.occurred_at)?;
    fresh(set, &agreement.item, message)?;
    Ok(agreement)
}

/// A partner's agreement in force at an instant.
pub(crate) fn agreement_at<'a>(
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
pub(crate) fn fresh(set: &WorkingSet, agreement: &Agreement, message: &Message) -> Rejected<()> {
    let allowance = i64::from(agreement.terms.store_and_forward_minutes) * 60_000_000;
    let oldest = set.now.saturating_sub(allowance);
    let times = [("issued_at", message.issued_at), ("occurred_at", message.occurred_at)];
    match times.into_iter().find(|(_, at)| at.as_microsecond() < oldest) {
        Some((field, _)) => Err(Reject::at(Code::Stale, field).with("earliest", timestamp(oldest))),
        None => Ok(()),
    }
}

/// An accepted earlier message of the same sender.
pub(crate) fn target_of(set: &WorkingSet, sender: &PartnerId, id: &MessageId) -> Option<Arc<Posted>> {
    set.messages
        .get(&(sender.clone(), id.clone()))
        .filter(|p| p.code.is_none())
        .cloned()
}

/// The agreement under which an earlier message was posted.
pub(crate) fn agreement_behind<'a>(set: &'a WorkingSet, target: &Posted) -> Rejected<&'a Arc<Numbered<Agreement>>> {
    target
        .moved
        .agreement
        .and_then(|no| set.directory.agreement_no(no))
        .ok_or(Reject::new(Code::NoAgreement))
}
