//! Points of one programme become points of another, exactly as a quote said (DESIGN sections 3.3 and 4).

use partner_sdk::{Body, Code, Message, Money, Points};

use super::plan::{Effect, owe};
use super::quote::{facts_of, open_quote, same};
use super::types::{AccountKey, Line, Lot, LotKey, Moved};
use super::{Plan, Reject, Rejected, WorkingSet};

pub(super) fn exchange(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let Body::Exchange {
        programme,
        member,
        to_programme,
        to_member,
        points,
        quote,
    } = &message.body
    else {
        return Err(Reject::new(Code::Internal));
    };
    let (quote, agreement) = open_quote(set, message, quote)?;
    same(set, quote, programme, to_programme, *points)?;
    let (used, credited, bonus) = (Points(quote.points), Points(quote.credited), Points(quote.bonus));
    let bonus_rate = quote.bonus_rate.and_then(|no| set.directory.bonus_no(no));
    let bonus_price = bonus_rate.map_or(Some(Money::ZERO), |b| b.item.price(agreement.item.price));
    let bonus_price = bonus_price.ok_or(Reject::new(Code::NoRate))?;
    let from = AccountKey {
        programme: programme.clone(),
        member: member.clone(),
    };
    let to = AccountKey {
        programme: to_programme.clone(),
        member: to_member.clone(),
    };
    let mut effects = set.limits(agreement, member, used)?;
    if set.available(&from) < i128::from(used.0) {
        return Err(Reject::at(Code::InsufficientBalance, "points"));
    }
    effects.push(Effect::UseQuote(quote.seq));
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
    let moved = Moved {
        account: Some(from),
        points: used.0,
        to_account: Some(to),
        credited: credited.0,
        bonus: bonus.0,
        agreement: Some(agreement.no),
        rate: Some(quote.rate),
        bonus_rate: quote.bonus_rate,
        ..Moved::default()
    };
    Ok(Plan {
        moved,
        effects,
        facts: facts_of(set, quote),
    })
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
        prepaid: false,
        issued: points.0,
        remaining: points.0,
        charged: points.0,
        reversed: 0,
        expires_at,
    }
}
