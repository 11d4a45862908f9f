//! Points are spent: at once, or held first and captured or voided later.

use partner_sdk::agreement::{Agreement, AgreementKind};
use partner_sdk::{Amount, Body, Code, Message, MessageId, PartnerId, Points};

use crate::directory::Numbered;
use crate::effect::{Effect, Plan, owe};
use crate::references::{agreement_behind, agreement_of, fresh, points_of, target_of, text_of};
use crate::reject::{Reject, Rejected};
use crate::time::timestamp;
use crate::types::{AccountKey, Hold, Line, LotKey, Moved, Posted};
use crate::working_set::WorkingSet;

pub(crate) fn burn(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let Body::Burn { programme, member, points } = &message.body else {
        return Err(Reject::new(Code::Internal));
    };
    let agreement = agreement_of(set, message, AgreementKind::Burn, programme)?;
    let points = points_of(set, programme, *points)?;
    let account = AccountKey {
        programme: programme.clone(),
        member: member.clone(),
    };
    let mut effects = set.limits(agreement, member, points)?;
    enough(set, &account, points)?;
    let lots = set.oldest(&account, points.0)?;
    effects.extend(pay_out(set, &message.sender, agreement, &account, &lots, points)?);
    let moved = Moved {
        account: Some(account),
        points: points.0,
        agreement: Some(agreement.no),
        ..Moved::default()
    };
    Ok(Plan {
        moved,
        effects,
        facts: vec![],
    })
}

pub(crate) fn authorise(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let Body::Authorise {
        programme,
        member,
        points,
        expires_at,
    } = &message.body
    else {
        return Err(Reject::new(Code::Internal));
    };
    let agreement = agreement_of(set, message, AgreementKind::Burn, programme)?;
    let points = points_of(set, programme, *points)?;
    let account = AccountKey {
        programme: programme.clone(),
        member: member.clone(),
    };
    let latest = set.now.saturating_add(i64::from(agreement.item.terms.hold_minutes) * 60_000_000);
    let expires_at = expires_at.map_or(latest, |at| at.as_microsecond());
    if !(set.now + 1..=latest).contains(&expires_at) {
        return Err(Reject::at(Code::BadValue, "expires_at")
            .with("after", set.time())
            .with("latest", timestamp(latest)));
    }
    let mut effects = set.limits(agreement, member, points)?;
    enough(set, &account, points)?;
    let lots = set.oldest(&account, points.0)?;
    // What is held can be captured whole, so it is bounded now as if it were spent.
    set.check_bounds(&pay_out(set, &message.sender, agreement, &account, &lots, points)?)?;
    effects.push(Effect::Hold(Hold {
        seq: 0,
        account: account.clone(),
        points: points.0,
        lots,
        expires_at,
        open: true,
        lapsed: false,
    }));
    let moved = Moved {
        account: Some(account),
        points: points.0,
        agreement: Some(agreement.no),
        ..Moved::default()
    };
    Ok(Plan {
        moved,
        effects,
        facts: vec![],
    })
}

pub(crate) fn capture(set: &WorkingSet, message: &Message, authorisation: &MessageId, points: Amount) -> Rejected<Plan> {
    let (target, account, hold) = open_hold(set, message, authorisation)?;
    let agreement = agreement_behind(set, &target)?;
    let points = points_of(set, &account.programme, points)?;
    if points.0 > hold.points {
        return Err(Reject::at(Code::HoldExceeded, "points").with("held", text_of(set, &account.programme, hold.points)));
    }
    let mut effects = vec![Effect::CloseHold(hold.seq)];
    effects.extend(pay_out(set, &message.sender, agreement, &account, &hold.lots, points)?);
    // What the rest does was owed before, so nothing is refused for it.
    set.check_caps(&message.sender, &effects)?;
    effects.extend(set.end_hold(hold, points.0)?);
    let moved = Moved {
        account: Some(account),
        points: points.0,
        agreement: Some(agreement.no),
        ..Moved::default()
    };
    Ok(Plan {
        moved,
        effects,
        facts: vec![],
    })
}

pub(crate) fn void(set: &WorkingSet, message: &Message, authorisation: &MessageId) -> Rejected<Plan> {
    let (target, account, hold) = open_hold(set, message, authorisation)?;
    let moved = Moved {
        account: Some(account),
        points: hold.points,
        agreement: target.moved.agreement,
        ..Moved::default()
    };
    let mut effects = vec![Effect::CloseHold(hold.seq)];
    effects.extend(set.end_hold(hold, 0)?);
    Ok(Plan {
        moved,
        effects,
        facts: vec![],
    })
}

fn enough(set: &WorkingSet, account: &AccountKey, points: Points) -> Rejected<()> {
    if set.available(account) < i128::from(points.0) {
        Err(set.insufficient(account))
    } else {
        Ok(())
    }
}

/// Points leave the member, from these lots; the issuer owes the sender for them.
fn pay_out(
    set: &WorkingSet,
    sender: &PartnerId,
    agreement: &Numbered<Agreement>,
    account: &AccountKey,
    lots: &[(LotKey, i64)],
    points: Points,
) -> Rejected<Vec<Effect>> {
    let mut effects = set.spend(Line::Burn, lots, points.0)?;
    let (issuer, item) = (set.issuer_of(account)?, &agreement.item);
    effects.extend(owe(
        Line::Burn,
        &issuer,
        sender,
        points.0,
        item.price,
        item.terms.currency,
        agreement.no,
    )?);
    Ok(effects)
}

fn open_hold<'a>(
    set: &'a WorkingSet,
    message: &Message,
    authorisation: &MessageId,
) -> Rejected<(std::sync::Arc<Posted>, AccountKey, &'a Hold)> {
    let unknown = || Reject::at(Code::HoldUnknown, "authorisation");
    let target = target_of(set, &message.sender, authorisation)
        .filter(|t| t.kind == "authorise")
        .ok_or_else(unknown)?;
    let account = target.moved.account.clone().ok_or_else(unknown)?;
    fresh(set, &agreement_behind(set, &target)?.item, message)?;
    let hold = set.holds.get(&target.seq).ok_or_else(unknown)?;
    if !hold.open && !hold.lapsed {
        return Err(Reject::at(Code::HoldClosed, "authorisation"));
    }
    if !hold.is_live(set.now) {
        return Err(Reject::at(Code::HoldExpired, "authorisation").with("expires_at", timestamp(hold.expires_at)));
    }
    Ok((target, account, hold))
}
