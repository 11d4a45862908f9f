//! Points of one programme become points of another, at the rate in force when it happened (DESIGN sections 3.3 and 4).

use partner_sdk::agreement::AgreementKind;
use partner_sdk::{Body, Code, Message, Money, Points};

use super::plan::{Effect, owe};
use super::types::{AccountKey, Line, Lot, LotKey, Moved};
use super::{Plan, Reject, Rejected, WorkingSet, agreement_of, points_of, text_of};

pub(super) fn exchange(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let Body::Exchange {
        programme,
        member,
        to_programme,
        to_member,
        points,
    } = &message.body
    else {
        return Err(Reject::new(Code::Internal));
    };
    let agreement = agreement_of(set, message, AgreementKind::Exchange, programme, Some(to_programme))?;
    let offered = points_of(set, programme, *points)?;
    let rate = set
        .directory
        .rate(programme, to_programme, message.occurred_at)
        .ok_or(Reject::new(Code::NoRate))?;
    let overflow = || Reject::at(Code::Overflow, "points");
    let (used, credited) = rate.item.ratio.exchange(offered, rate.item.step).ok_or_else(overflow)?;
    let bonus = rate.item.bonus(credited).ok_or_else(overflow)?;
    if offered < rate.item.minimum || used == Points::ZERO || credited == Points::ZERO {
        return Err(Reject::at(Code::BelowMinimum, "points"));
    }
    if used > rate.item.maximum {
        return Err(Reject::at(Code::AboveMaximum, "points"));
    }
    let bonus_price = rate.item.bonus_price(agreement.item.price).ok_or(Reject::new(Code::NoRate))?;
    let from = AccountKey {
        programme: programme.clone(),
        member: member.clone(),
    };
    let to = AccountKey {
        programme: to_programme.clone(),
        member: to_member.clone(),
    };
    let mut effects: Vec<Effect> = set.limits(agreement, member, used)?.into_iter().collect();
    if set.available(&from) < i128::from(used.0) {
        return Err(Reject::at(Code::InsufficientBalance, "points"));
    }
    effects.extend(set.spend(Line::Exchange, &from, used.0, set.now)?);
    let (terms, issuer) = (&agreement.item.terms, set.issuer_of(&to)?);
    let rules = set
        .directory
        .programmes
        .get(to_programme)
        .ok_or(Reject::at(Code::UnknownProgramme, "to_programme"))?;
    let expires_at = rules.expiry(message.occurred_at, &set.directory.zone);
    let mut repaid = 0;
    for (leg, line, points, price) in [
        (0, Line::Exchange, credited, agreement.item.price),
        (1, Line::Bonus, bonus, bonus_price),
    ] {
        if points == Points::ZERO {
            continue;
        }
        let lot = new_lot(agreement.no, message, &to, leg, points, price, terms.currency, expires_at);
        repaid += set.issue(line, lot, repaid, &mut effects)?;
        effects.extend(owe(line, &message.sender, &issuer, points.0, price, terms.currency, agreement.no)?);
    }
    let facts = [
        ("points", programme, used.0),
        ("credited", to_programme, credited.0),
        ("bonus", to_programme, bonus.0),
        ("left_over", programme, offered.0 - used.0),
    ];
    let facts = facts
        .into_iter()
        .map(|(name, programme, n)| (name.to_owned(), text_of(set, programme, n)))
        .collect();
    let moved = Moved {
        account: Some(from),
        points: used.0,
        to_account: Some(to),
        credited: credited.0,
        bonus: bonus.0,
        agreement: Some(agreement.no),
        rate: Some(rate.no),
        ..Moved::default()
    };
    Ok(Plan { moved, effects, facts })
}

#[allow(clippy::too_many_arguments, reason = "a row's worth of values, named where they are used")]
fn new_lot(
    agreement: i32,
    message: &Message,
    to: &AccountKey,
    leg: i32,
    points: Points,
    price: Money,
    currency: partner_sdk::Currency,
    expires_at: i64,
) -> Lot {
    Lot {
        key: LotKey { seq: 0, leg },
        account: to.clone(),
        agreement,
        funder: message.sender.clone(),
        price,
        currency,
        at_redemption: false,
        issued: points.0,
        remaining: points.0,
        charged: points.0,
        reversed: 0,
        expires_at,
    }
}
