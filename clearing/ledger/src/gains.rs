//! Whether what is published lets points grow: the directory's rates and bonuses, each for as long as a quote made under it may live, held to the rule of
//! [`crate::cycles`].

use std::sync::Arc;

use jiff::Timestamp;
use partner_sdk::ProgrammeCode;
use partner_sdk::agreement::Agreement;
use partner_sdk::rate::{Bonus, Rate};

use crate::QUOTE_SECONDS;
use crate::cycles::{self, Cycle, Extra, Leg};
use crate::directory::{Directory, Numbered};

/// A cycle of exchanges that gains at some instant from `now` (microseconds since 1970) on, with all that is published and every quote that may live.
pub fn gain(directory: &Directory, now: i64) -> Option<Cycle> {
    let legs: Vec<Leg> = directory.rates().map(|rate| leg(directory, rate)).collect();
    let extras: Vec<Extra> = directory.bonuses().map(|bonus| extra(directory, bonus)).collect();
    cycles::gain(&legs, &extras, now)
}

/// A rate is usable by the last quote made under it for as long as that lives.
fn leg(directory: &Directory, rate: &Numbered<Rate>) -> Leg {
    let terms = &rate.item.terms;
    Leg {
        from: terms.programme.clone(),
        to: terms.to_programme.clone(),
        numerator: rate.item.ratio.numerator,
        denominator: rate.item.ratio.denominator,
        valid_from: rate.from.as_microsecond(),
        usable_until: usable_until(directory, (&terms.programme, &terms.to_programme), directory.rate_ends(rate)),
    }
}

fn extra(directory: &Directory, bonus: &Numbered<Bonus>) -> Extra {
    let terms = &bonus.item.terms;
    Extra {
        from: terms.programme.clone(),
        to: terms.to_programme.clone(),
        percent_micros: bonus.item.percent_micros,
        valid_from: bonus.from.as_microsecond(),
        usable_until: usable_until(directory, (&terms.programme, &terms.to_programme), bonus.until),
    }
}

/// The end of what was published, and the longest life of a quote under any agreement on these programmes.
fn usable_until(directory: &Directory, (from, to): (&ProgrammeCode, &ProgrammeCode), ends: Option<Timestamp>) -> i64 {
    let Some(ends) = ends else { return i64::MAX };
    let about = |a: &&Arc<Numbered<Agreement>>| a.item.terms.programme == *from && a.item.terms.to_programme.as_ref() == Some(to);
    let lives = directory.agreements().filter(about);
    let seconds = lives.map(|a| a.item.terms.quote_seconds.unwrap_or(QUOTE_SECONDS)).max();
    ends.as_microsecond()
        .saturating_add(i64::from(seconds.unwrap_or(QUOTE_SECONDS)) * 1_000_000)
}
