//! Rates and bonuses: when one may be published. They are effective-dated and never edited, keep the notice that was agreed on, and open no cycle that gains.

use jiff::{SignedDuration, Timestamp};
use partner_sdk::rate::{Bonus, BonusTerms, Rate, RateTerms};
use partner_sdk::text::counted;
use partner_sdk::{Code, Problem, ProgrammeCode};

use super::{Done, refused};
use ledger::directory::{Directory, Numbered};
use ledger::gains;
use store::{check_bonus, check_rate};

/// The number of the agreement and the rate, where it may be published now.
pub fn rate(directory: &Directory, terms: &RateTerms, now: Timestamp) -> Done<(i32, Rate)> {
    let (agreement, item) = check_rate(directory, terms, now).map_err(bad_terms)?;
    let pair = |r: &RateTerms| r.programme == terms.programme && r.to_programme == terms.to_programme;
    let mut before = directory.rates().filter(|r| pair(&r.item.terms)).peekable();
    let first = before.peek().is_none();
    if before.any(|r| r.from >= terms.valid_from) {
        return overtaken(
            "another rate starts then or later",
            "Choose a later start: rates are never edited, a later one takes over at its own start.",
        );
    }
    // The first rate changes nothing that anybody relies on.
    if !first {
        notice(directory, (&terms.programme, &terms.to_programme), terms.valid_from, now)?;
    }
    let mut with = directory.clone();
    let own = (terms.valid_from, terms.valid_until);
    with.add_rate(Numbered::new(i32::MAX, item.clone(), own, now.as_microsecond()).under(agreement));
    no_gain(&with, now)?;
    Ok((agreement, item))
}

/// The number of the agreement and the bonus, where it may be published now. More points need no notice.
pub fn bonus(directory: &Directory, terms: &BonusTerms, now: Timestamp) -> Done<(i32, Bonus)> {
    let (agreement, item) = check_bonus(directory, terms, now).map_err(bad_terms)?;
    if let Some(other) = directory.overlapping(terms) {
        let detail = format!("it overlaps another bonus, from {} until {}", other.valid_from, other.valid_until);
        return overtaken(&detail, "Choose a period that touches no other bonus.");
    }
    if terms.valid_until <= now {
        return refused(Code::BadTerms, "valid_until", "the period is over");
    }
    let mut with = directory.clone();
    let own = (terms.valid_from, Some(terms.valid_until));
    with.add_bonus(Numbered::new(i32::MAX, item.clone(), own, now.as_microsecond()).under(agreement));
    no_gain(&with, now)?;
    Ok((agreement, item))
}

/// What is taken back.
pub struct Taken {
    /// The row's number.
    pub no: i32,
    /// `rate` or `bonus`.
    pub what: &'static str,
    /// `FROM>TO`.
    pub pair: String,
    /// When it would have begun.
    pub from: Timestamp,
}

/// The rate or bonus of this hash, where it may be taken back now: it hasn't begun, so nobody has used it, and without it no cycle gains.
pub fn take_back(directory: &Directory, published: &str, now: Timestamp) -> Done<Taken> {
    let pair = |from: &ProgrammeCode, to: &ProgrammeCode| format!("{from}>{to}");
    let rate = directory.rates().find(|r| r.item.hash == published).map(|r| Taken {
        no: r.no,
        what: "rate",
        pair: pair(&r.item.terms.programme, &r.item.terms.to_programme),
        from: r.from,
    });
    let bonus = directory.bonuses().find(|b| b.item.hash == published).map(|b| Taken {
        no: b.no,
        what: "bonus",
        pair: pair(&b.item.terms.programme, &b.item.terms.to_programme),
        from: b.from,
    });
    let Some(taken) = rate.or(bonus) else {
        return refused(Code::BadTerms, "published", "no rate or bonus has this hash");
    };
    if taken.from <= now {
        let detail = format!("it is in force since {}: publish another in its place", taken.from);
        return refused(Code::BadTerms, "published", detail);
    }
    let mut without = directory.clone();
    without.remove_published(taken.no);
    no_gain(&without, now)?;
    Ok(taken)
}

fn overtaken<T>(detail: &str, advice: &str) -> Done<T> {
    Err(Problem::new(Code::Superseded, detail).at(Some("valid_from")).advise(advice).into())
}

fn bad_terms(error: anyhow::Error) -> super::Fault {
    let field = error.downcast_ref::<partner_sdk::agreement::TermsError>().map(|fault| fault.field);
    Problem::new(Code::BadTerms, format!("{error:#}")).at(field).into()
}

fn notice(directory: &Directory, (from, to): (&ProgrammeCode, &ProgrammeCode), valid_from: Timestamp, now: Timestamp) -> Done<()> {
    let agreement = directory.exchange_agreement(from, to, valid_from);
    let hours = agreement.and_then(|a| a.item.terms.rate_notice_hours).unwrap_or(0);
    if valid_from < now + SignedDuration::from_hours(i64::from(hours)) {
        let detail = format!("the agreement asks for notice of a new rate: {}", counted(hours, "hour"));
        return refused(Code::NoticeTooShort, "valid_from", detail);
    }
    Ok(())
}

/// Refuses what would open a cycle that gains.
pub(super) fn no_gain(directory: &Directory, now: Timestamp) -> Done<()> {
    match gains::gain(directory, now.as_microsecond()) {
        None => Ok(()),
        Some(cycle) => Err(Problem::new(Code::CycleGains, cycle.to_string()).into()),
    }
}
