//! All or part of an earlier message is taken back. Parts are cumulative: reversing x in any number of pieces gives exactly what reversing x at once gives.

use partner_sdk::wire::Quantity;
use partner_sdk::{Amount, Code, Message, MessageId, Money, Points};

use crate::effect::{Effect, Plan, owe};
use crate::prepaid;
use crate::references::{points_of, target_of, text_of};
use crate::reject::{Reject, Rejected};
use crate::reversible::{exceeded, limited, reversible};
use crate::types::{AccountKey, Line, Lot, LotKey, Moved, Posted};
use crate::working_set::WorkingSet;

/// How much more is to be reversed now: points, and micros of spend.
#[derive(Clone, Copy)]
struct Share {
    points: i64,
    spend: i64,
}

pub(crate) fn reverse(set: &WorkingSet, message: &Message, target: &MessageId, quantity: Quantity) -> Rejected<Plan> {
    let target = target_of(set, &message.sender, target).ok_or(Reject::at(Code::TargetUnknown, "message"))?;
    if target.kind == "prepay" {
        return prepaid::take_back(set, message, &target, quantity);
    }
    let not_reversible = || Reject::at(Code::NotReversible, "message").with("kind", &target.kind);
    let account = target.moved.account.clone().ok_or_else(not_reversible)?;
    let agreement = reversible(set, message, &target)?;
    if !["earn", "burn", "capture", "exchange"].contains(&target.kind.as_str()) {
        return Err(not_reversible());
    }
    let before = set.reversals.get(&target.seq).copied().unwrap_or_default();
    let share = match quantity {
        Quantity::Points(points) => Share {
            points: points_of(set, &account.programme, points)?.0,
            spend: 0,
        },
        Quantity::Spend(spend) => by_spend(&target, spend, before.1, agreement.item.terms.currency.minor_digits())?,
    };
    let all = before.0.checked_add(share.points).filter(|all| *all <= target.moved.points);
    let all = all.ok_or_else(|| {
        let field = if share.spend > 0 { "spend" } else { "points" };
        let whole = target.moved.points;
        exceeded(
            field,
            [whole, before.0, whole - before.0].map(|n| text_of(set, &account.programme, n)),
        )
    })?;
    let mut effects = vec![Effect::Reversed {
        target: target.seq,
        points: share.points,
        spend: share.spend,
    }];
    effects.extend(match target.kind.as_str() {
        "earn" => of_earn(set, &target, &account, before.0, share.points)?,
        "exchange" => of_exchange(set, &target, &account, before.0, all)?,
        _ => {
            let mut effects = set.give_back(Line::BurnReversal, &account, target.seq, before.0, share.points)?;
            let (issuer, item) = (set.issuer_of(&account)?, &agreement.item);
            effects.extend(owe(
                Line::BurnReversal,
                &target.sender,
                &issuer,
                share.points,
                item.price,
                item.terms.currency,
                agreement.no,
            )?);
            effects
        }
    });
    let facts = vec![("points".to_owned(), text_of(set, &account.programme, share.points))];
    let moved = Moved {
        account: Some(account),
        points: share.points,
        agreement: Some(agreement.no),
        to_account: target.moved.to_account.clone(),
        ..Moved::default()
    };
    Ok(Plan { moved, effects, facts })
}

/// What a refund of `spend` takes back: the points of the spend before it, less those of the spend that is left. HK$99.90 earned 99; two refunds of
/// HK$49.95 take 50, then 49.
fn by_spend(target: &Posted, spend: Amount, before: i64, minor_digits: u32) -> Rejected<Share> {
    let whole = target
        .moved
        .spend
        .filter(|_| target.kind == "earn")
        .ok_or_else(|| Reject::at(Code::NotReversible, "spend").with("kind", &target.kind))?;
    let spend = spend
        .to_units(minor_digits)
        .and_then(|_| spend.to_units(6))
        .ok()
        .filter(|s| *s > 0)
        .ok_or_else(|| Reject::at(Code::BadAmount, "spend").with("decimals", minor_digits))?;
    let exceeded = || {
        exceeded(
            "spend",
            [whole, before, whole - before].map(|micros| Money(micros).display_micros()),
        )
    };
    let after = before.checked_add(spend).filter(|after| *after <= whole).ok_or_else(exceeded)?;
    let kept = |refunded: i64| Points(target.moved.points).share(whole - refunded, whole).ok_or_else(exceeded);
    Ok(Share {
        points: kept(before)?.0 - kept(after)?.0,
        spend,
    })
}

/// The lot that was owed for in money gives first, then those drawn from blocks, the last one first: what is left is as if only that had been earned.
fn of_earn(set: &WorkingSet, target: &Posted, account: &AccountKey, before: i64, points: i64) -> Rejected<Vec<Effect>> {
    let legs = (0..).map_while(|leg| set.lots.get(&LotKey { seq: target.seq, leg }));
    let legs: Vec<&Lot> = legs.collect();
    let recoverable = set.recoverable(account, &legs.iter().map(|lot| lot.key).collect::<Vec<_>>());
    if recoverable < i128::from(points) {
        return Err(limited(set, &account.programme, recoverable));
    }
    let (mut skip, mut left, mut own) = (before, points, vec![]);
    for lot in legs.into_iter().rev() {
        let passed = skip.min(lot.issued);
        skip -= passed;
        let back = left.min(lot.issued - passed);
        left -= back;
        own.extend((back > 0).then_some((lot.key, back, Line::EarnReversal)));
    }
    set.claw_back(account, &own)
}

/// `before` and `all` count the giving programme's points; base and bonus come back in proportion, rounded up over the running total: in any number of
/// pieces as much as at once, and never a point for nothing.
fn of_exchange(set: &WorkingSet, target: &Posted, from: &AccountKey, before: i64, all: i64) -> Rejected<Vec<Effect>> {
    // What an issuer has credited in its own books, only it can take back.
    let to = target.moved.to_account.clone().filter(|to| set.hosts(&to.programme));
    let to = to.ok_or_else(|| Reject::at(Code::NotReversible, "message").with("kind", "external"))?;
    let moved = &target.moved;
    let up_to = |total: i64, part: i64| total - Points(total).share(moved.points - part, moved.points).map_or(0, |kept| kept.0);
    let back = |total: i64, all: i64| up_to(total, all) - up_to(total, before);
    let needed = |all: i64| i128::from(back(moved.credited, all)) + i128::from(back(moved.bonus, all));
    let recoverable = set.recoverable(&to, &[0, 1].map(|leg| LotKey { seq: target.seq, leg }));
    if recoverable < needed(all) {
        return Err(limited(
            set,
            &from.programme,
            most(set, target, before, all, |all| needed(all) <= recoverable),
        ));
    }
    let mut own = vec![(
        LotKey { seq: target.seq, leg: 0 },
        back(moved.credited, all),
        Line::ExchangeReversal,
    )];
    if moved.bonus > 0 {
        own.push((LotKey { seq: target.seq, leg: 1 }, back(moved.bonus, all), Line::BonusReversal));
    }
    let mut effects = set.claw_back(&to, &own)?;
    if set.hosts(&from.programme) {
        effects.extend(set.give_back(Line::ExchangeReversal, from, target.seq, before, all - before)?);
    } else {
        effects.push(Effect::Elsewhere {
            line: Line::ExchangeReversal,
            account: from.clone(),
            points: all - before,
            to_member: true,
        });
    }
    Ok(effects)
}

/// The most that can be reversed now, in whole steps of the rate: found by halving, because what is needed only grows.
fn most(set: &WorkingSet, target: &Posted, before: i64, all: i64, fits: impl Fn(i64) -> bool) -> i128 {
    let (mut low, mut high) = (before, all);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    let rate = target.moved.rate.and_then(|no| set.directory.rate_no(no));
    let step = rate.map_or(1, |r| r.item.step);
    i128::from((low - before) / step * step)
}
