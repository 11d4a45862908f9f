//! Points that a member owes after a clawback are given up: the funder had its money back when the earn was taken back, so the loss is the issuer's.

use partner_sdk::{Code, MessageId, Points};

use crate::effect::Effect;
use crate::reject::{Reject, Rejected};
use crate::types::{AccountKey, Line, Moved};
use crate::working_set::WorkingSet;

/// Gives up so many points of a member's debt, at most all of it. The entry is a message of the clearinghouse's own under `id`.
pub fn write_off(set: &mut WorkingSet, account: &AccountKey, points: Points, id: MessageId) -> Rejected<()> {
    let debt = set.accounts.get(account).map_or(0, |a| a.debt);
    if points.0 < 1 || points.0 > debt {
        return Err(Reject::at(Code::BadTerms, "points"));
    }
    let moved = Moved {
        account: Some(account.clone()),
        points: points.0,
        ..Moved::default()
    };
    let forgiven = Effect::Forgive {
        line: Line::WriteOff,
        account: account.clone(),
        points: points.0,
    };
    set.post_own(("write_off", id, set.window), moved, vec![], vec![forgiven]);
    Ok(())
}
