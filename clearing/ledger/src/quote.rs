//! A firm offer: what an exchange would do now. The receipt of the message is the offer; the ledger keeps it open until it is used or its time is over.

use std::sync::Arc;

use partner_sdk::agreement::{Agreement, AgreementKind};
use partner_sdk::rate::{Bonus, Rate};
use partner_sdk::{Amount, Body, Code, Message, MessageId, Points, ProgrammeCode};

use crate::bounds;
use crate::bounds::fits;
use crate::directory::Numbered;
use crate::effect::{Effect, Plan};
use crate::references::{agreement_at, agreement_behind, fresh, points_of, target_of, text_of};
use crate::reject::{Facts, Reject, Rejected};
use crate::time::timestamp;
use crate::types::{Moved, Quote};
use crate::working_set::WorkingSet;

/// How many seconds a quote is firm where the agreement doesn't say.
pub const QUOTE_SECONDS: u16 = 60;

pub(crate) fn quote(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let Body::Quote {
        programme,
        to_programme,
        points,
    } = &message.body
    else {
        return Err(Reject::new(Code::Internal));
    };
    // A quote is about now: the sender's own times only have to be fresh.
    let now = set.time();
    let agreement = agreement_at(set, &message.sender, AgreementKind::Exchange, programme, Some(to_programme), now)?;
    fresh(set, &agreement.item, message)?;
    let offered = points_of(set, programme, *points)?;
    let rate = set.directory.rate(programme, to_programme, now).ok_or(Reject::new(Code::NoRate))?;
    let bonus_rate = set.directory.bonus(programme, to_programme, now);
    let (used, credited, bonus) = exchanged(set, &agreement.item, &rate.item, bonus_rate.map(|b| &b.item), offered)?;
    let life = i64::from(agreement.item.terms.quote_seconds.unwrap_or(QUOTE_SECONDS)) * 1_000_000;
    let quote = Quote {
        seq: 0,
        programme: programme.clone(),
        to_programme: to_programme.clone(),
        offered: offered.0,
        points: used.0,
        credited: credited.0,
        bonus: bonus.0,
        agreement: agreement.no,
        rate: rate.no,
        bonus_rate: bonus_rate.map(|b| b.no),
        expires_at: set.now.saturating_add(life),
        open: true,
    };
    let fee = member_fee(&agreement.item, credited)?;
    Ok(Plan {
        moved: Moved {
            points: quote.points,
            credited: quote.credited,
            bonus: quote.bonus,
            agreement: Some(quote.agreement),
            rate: Some(quote.rate),
            bonus_rate: quote.bonus_rate,
            ..Moved::default()
        },
        facts: facts_of_offer(set, &quote, fee),
        effects: vec![Effect::Quote(quote)],
    })
}

/// `(points used, credited, bonus)` for points offered, by the rate's step, minimum and maximum (DESIGN 3.3).
fn exchanged(
    set: &WorkingSet,
    agreement: &Agreement,
    rate: &Rate,
    bonus: Option<&Bonus>,
    offered: Points,
) -> Rejected<(Points, Points, Points)> {
    let programme = &rate.terms.programme;
    let overflow = || Reject::at(Code::Overflow, "points");
    let (used, credited) = rate.ratio.exchange(offered, rate.step).ok_or_else(overflow)?;
    if offered < rate.minimum || used == Points::ZERO || credited == Points::ZERO {
        let least = |n: Points| text_of(set, programme, n.0);
        return Err(Reject::at(Code::BelowMinimum, "points")
            .with("minimum", least(rate.minimum))
            .with("step", least(Points(rate.step))));
    }
    if used > rate.maximum {
        return Err(Reject::at(Code::AboveMaximum, "points").with("maximum", text_of(set, programme, rate.maximum.0)));
    }
    if let Some(limit) = agreement.per_message.filter(|limit| used > *limit) {
        return Err(Reject::at(Code::LimitPerMessage, "points").with("limit", text_of(set, programme, limit.0)));
    }
    if !fits(agreement, rate, bonus) {
        return Err(Reject::new(Code::NoRate).with("kind", "misfit"));
    }
    let bonus_rate = bonus;
    let bonus = bonus.map_or(Some(Points::ZERO), |b| b.bonus(credited)).ok_or_else(overflow)?;
    // What is credited is bounded as well as what is given.
    bounds::check_exchange(agreement, bonus_rate, credited, bonus)?;
    Ok((used, credited, bonus))
}

/// What moves, as the receipts of a quote and of its exchange say it.
pub(crate) fn facts_of(set: &WorkingSet, quote: &Quote) -> Facts {
    let facts = [
        ("points", &quote.programme, quote.points),
        ("credited", &quote.to_programme, quote.credited),
        ("bonus", &quote.to_programme, quote.bonus),
        ("left_over", &quote.programme, quote.offered - quote.points),
    ];
    let text = |(name, programme, points): (&str, &ProgrammeCode, i64)| (name.to_owned(), text_of(set, programme, points));
    facts.into_iter().map(text).collect()
}

/// What the partner asks of its member for the points credited, as its agreement's schedule says.
fn member_fee(agreement: &Agreement, credited: Points) -> Rejected<Facts> {
    let Some(schedule) = &agreement.member_fee else {
        return Ok(vec![]);
    };
    let fee = schedule.of(credited).and_then(|fee| Amount::from_units(fee.0, 6));
    let fee = fee.ok_or(Reject::at(Code::Overflow, "points"))?;
    let currency = agreement.terms.currency.to_string();
    Ok(vec![
        ("member_fee".to_owned(), fee.to_string()),
        ("member_fee_currency".to_owned(), currency),
    ])
}

/// The offer: what would move, what it costs the member, until when, and whether a chain of exchanges would give more.
fn facts_of_offer(set: &WorkingSet, quote: &Quote, fee: Facts) -> Facts {
    let mut facts = facts_of(set, quote);
    facts.extend(fee);
    facts.push(("expires_at".to_owned(), timestamp(quote.expires_at).to_string()));
    let direct = Points(quote.credited + quote.bonus);
    let better = set
        .routes()
        .better(&quote.programme, &quote.to_programme, Points(quote.offered), direct);
    if let Some(better) = better {
        facts.push(("better_path".to_owned(), better.text()));
        facts.push(("better_credited".to_owned(), text_of(set, &quote.to_programme, better.credited.0)));
    }
    facts
}

/// The sender's own quote, firm and unused, with the agreement that it was made under.
pub(crate) fn open_quote<'a>(
    set: &'a WorkingSet,
    message: &Message,
    id: &MessageId,
) -> Rejected<(&'a Quote, &'a Arc<Numbered<Agreement>>)> {
    let unknown = || Reject::at(Code::QuoteUnknown, "quote");
    let target = target_of(set, &message.sender, id)
        .filter(|t| t.kind == "quote")
        .ok_or_else(unknown)?;
    let agreement = agreement_behind(set, &target)?;
    fresh(set, &agreement.item, message)?;
    let quote = set.quotes.get(&target.seq).ok_or_else(unknown)?;
    if !quote.open {
        return Err(Reject::at(Code::QuoteUsed, "quote"));
    }
    if quote.expires_at <= set.now {
        return Err(Reject::at(Code::QuoteExpired, "quote").with("expires_at", timestamp(quote.expires_at)));
    }
    Ok((quote, agreement))
}

/// Checks that an exchange is about what was quoted.
pub(crate) fn same(set: &WorkingSet, quote: &Quote, programme: &ProgrammeCode, to: &ProgrammeCode, points: Amount) -> Rejected<()> {
    let mismatch = |field, quoted: String| Err(Reject::at(Code::QuoteMismatch, field).with("quoted", quoted));
    if *programme != quote.programme {
        return mismatch("programme", quote.programme.to_string());
    }
    if *to != quote.to_programme {
        return mismatch("to_programme", quote.to_programme.to_string());
    }
    if points_of(set, programme, points)?.0 != quote.offered {
        return mismatch("points", text_of(set, programme, quote.offered));
    }
    Ok(())
}
