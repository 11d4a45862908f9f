//! Whether an earlier message may be taken back, and how the refusals of it read.

use std::sync::Arc;

use partner_sdk::agreement::Agreement;
use partner_sdk::{Code, Message, ProgrammeCode};

use crate::directory::Numbered;
use crate::references::{agreement_behind, fresh, text_of};
use crate::reject::{Reject, Rejected};
use crate::timestamp;
use crate::types::Posted;
use crate::working_set::WorkingSet;

/// A day, in microseconds.
const DAY: i64 = 86_400_000_000;

/// The agreement behind a message that is to be taken back; a check that it is in time.
pub(crate) fn reversible<'a>(set: &'a WorkingSet, message: &Message, target: &Posted) -> Rejected<&'a Arc<Numbered<Agreement>>> {
    let agreement = agreement_behind(set, target)?;
    fresh(set, &agreement.item, message)?;
    let latest = target.posted_at.saturating_add(i64::from(agreement.item.terms.reversal_days) * DAY);
    if set.now > latest {
        return Err(Reject::at(Code::ReversalWindowClosed, "message").with("latest", timestamp(latest)));
    }
    Ok(agreement)
}

/// More than is left to take back of a message: what it moved, how much of that was taken back before, and what is left.
pub(crate) fn exceeded(field: &'static str, [limit, used, room]: [String; 3]) -> Reject {
    let reject = Reject::at(Code::ReversalExceeded, field).with("limit", limit);
    reject.with("used", used).with("room", room)
}

/// So many points could be taken back now.
pub(crate) fn limited(set: &WorkingSet, programme: &ProgrammeCode, recoverable: i128) -> Reject {
    Reject::at(Code::ClawbackLimited, "points").with("recoverable", text_of(set, programme, recoverable))
}
