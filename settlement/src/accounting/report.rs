//! Makes the document of two states.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::amount::format_units;
use partner_sdk::{Currency, Money, PartnerId, ProgrammeCode};

use super::cohort::{Basis, Cohort, Points};
use super::deferral::{Deferral, expected};
use super::document::{
    ACCOUNTING_FORMAT, Accounting, BreakagePoints, CohortLine, EstimateLine, ForecastLine, NOTICE, OutstandingLine, PointsLine,
    RollForwardLine,
};
use super::error::AccountingError;
use super::estimate::{Estimate, Estimates};
use super::month::Month;
use super::state::State;
use crate::period::Period;

/// How many months the forecast names; what expires after them is `later`.
const FORECAST: i32 = 36;
const MONEY: u32 = 6;

/// What the document is about.
pub struct Subject {
    /// Whose points.
    pub programme: ProgrammeCode,
    /// Its decimals.
    pub scale: u32,
    /// Who issues them.
    pub issuer: PartnerId,
    /// Of which dates.
    pub period: Period,
    /// The last window before them.
    pub opening_window: Option<Date>,
    /// The last window.
    pub closing_window: Date,
    /// When it ended.
    pub closing_at: Timestamp,
}

/// A cohort at the opening and at the closing.
struct Course<'a> {
    cohort: &'a Cohort,
    before: Points,
    after: Points,
    /// At the opening, at its estimate.
    opening: Deferral,
    /// At the closing, at the opening's estimate.
    unchanged: Deferral,
    /// At the closing, at its estimate.
    closing: Deferral,
}

/// The document of a programme's states at the opening and the closing of a period. The estimate of the day before the period holds at the opening (before the first, the first); that of its
/// last day at the closing.
pub fn report(of: &Subject, opening: &State, closing: &State, estimates: &Estimates) -> Result<Accounting, AccountingError> {
    let until = of.period.until();
    let last = estimates.on(until).ok_or(AccountingError::NoneHolds(until))?;
    let before = of.period.from().yesterday().ok().and_then(|day| estimates.on(day));
    let first = before.or(estimates.all().first().copied()).unwrap_or(last);
    let mut courses = vec![];
    for (cohort, after) in &closing.cohorts {
        let before = opening.cohorts.get(cohort).copied().unwrap_or_default();
        courses.push(Course {
            cohort,
            before,
            after: *after,
            opening: Deferral::of(cohort, &before, first)?,
            unchanged: Deferral::of(cohort, after, first)?,
            closing: Deferral::of(cohort, after, last)?,
        });
    }
    let line = |one: &Estimate| EstimateLine {
        from: one.from,
        percent: one.percent(),
    };
    let month = Month::from(until);
    Ok(Accounting {
        format: ACCOUNTING_FORMAT.to_owned(),
        notice: NOTICE.to_owned(),
        programme: of.programme.clone(),
        issuer: of.issuer.clone(),
        from: of.period.from(),
        until,
        opening_window: of.opening_window,
        closing_window: of.closing_window,
        closing_at: of.closing_at,
        estimates: estimates.all().iter().map(line).collect(),
        opening_percent: first.percent(),
        closing_percent: last.percent(),
        points: points(&courses, closing, of.scale),
        roll_forward: roll_forward(&courses),
        outstanding: outstanding(&courses, month, of.scale),
        breakage: breakage(&courses, of.scale)?,
        forecast: forecast(&courses, month, last, of.scale)?,
        cohorts: cohorts(&courses, of.scale)?,
    })
}

fn points(courses: &[Course<'_>], closing: &State, scale: u32) -> PointsLine {
    let text = |sum: i128| format_units(sum, scale);
    let grown = |of: fn(&Points) -> i128| text(courses.iter().map(|one| of(&one.after) - of(&one.before)).sum());
    PointsLine {
        opening: text(courses.iter().map(|one| one.before.outstanding()).sum()),
        issued: grown(|points| points.issued),
        taken_back: grown(|points| points.taken_back),
        redeemed: grown(|points| points.redeemed),
        expired: grown(|points| points.expired),
        outstanding: text(courses.iter().map(|one| one.after.outstanding()).sum()),
        debt: text(closing.debt),
        in_accounts: text(closing.balance()),
    }
}

fn roll_forward(courses: &[Course<'_>]) -> Vec<RollForwardLine> {
    let mut sums: BTreeMap<Currency, [i128; 7]> = BTreeMap::new();
    for one in courses.iter().filter(|one| one.cohort.basis.defers()) {
        let (from, to) = (&one.opening, &one.unchanged);
        let parts = [
            from.deferred(),
            to.issued - from.issued,
            from.taken_back - to.taken_back,
            from.by_redemption - to.by_redemption,
            from.by_expiry - to.by_expiry,
            one.closing.deferred() - to.deferred(),
            one.closing.deferred(),
        ];
        let sums = sums.entry(one.cohort.currency).or_default();
        sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
    }
    let line = |(currency, sums): (Currency, [i128; 7])| {
        let [opening, issued, taken_back, on_redemption, on_expiry, catch_up, closing] = sums.map(|sum| format_units(sum, MONEY));
        RollForwardLine {
            currency,
            opening,
            issued,
            taken_back,
            on_redemption,
            on_expiry,
            catch_up,
            closing,
        }
    };
    sums.into_iter().map(line).collect()
}

fn outstanding(courses: &[Course<'_>], month: Month, scale: u32) -> Vec<OutstandingLine> {
    let mut sums: BTreeMap<(PartnerId, Basis, Currency, i32), (i128, i128)> = BTreeMap::new();
    for one in courses {
        let of = one.cohort;
        let key = (of.funder.clone(), of.basis, of.currency, month.since(of.issued_in));
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + one.after.outstanding(), sum.1 + one.closing.deferred());
    }
    let left = sums.into_iter().filter(|(_, sums)| *sums != (0, 0));
    let line =
        |((funder, basis, currency, age_months), (points, deferred)): ((PartnerId, Basis, Currency, i32), (i128, i128))| OutstandingLine {
            funder,
            basis: basis.as_str().to_owned(),
            currency,
            age_months,
            points: format_units(points, scale),
            deferred: format_units(deferred, MONEY),
        };
    left.map(line).collect()
}

fn breakage(courses: &[Course<'_>], scale: u32) -> Result<Vec<BreakagePoints>, AccountingError> {
    let mut sums: BTreeMap<(PartnerId, Basis, Currency), (i128, i128)> = BTreeMap::new();
    for one in courses {
        let (of, points) = (one.cohort, one.after.expired - one.before.expired);
        let price = if of.basis.defers() { i128::from(of.price) } else { 0 };
        let value = points.checked_mul(price).ok_or(AccountingError::Overflow)?;
        let sum = sums.entry((of.funder.clone(), of.basis, of.currency)).or_default();
        *sum = (sum.0 + points, sum.1 + value);
    }
    let some = sums.into_iter().filter(|(_, sums)| *sums != (0, 0));
    let line = |((funder, basis, currency), (points, value)): ((PartnerId, Basis, Currency), (i128, i128))| BreakagePoints {
        funder,
        basis: basis.as_str().to_owned(),
        currency,
        points: format_units(points, scale),
        value: format_units(value, MONEY),
    };
    Ok(some.map(line).collect())
}

/// When points expire: in a month, later than the forecast goes, or never.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum When {
    In(Month),
    Later,
    Never,
}

fn forecast(courses: &[Course<'_>], month: Month, estimate: Estimate, scale: u32) -> Result<Vec<ForecastLine>, AccountingError> {
    let mut sums: BTreeMap<When, (i128, i128)> = BTreeMap::new();
    for one in courses.iter().filter(|one| one.after.outstanding() != 0) {
        let when = match one.cohort.expires_in {
            Some(expires) if expires < month.after(FORECAST) => When::In(expires),
            Some(_) => When::Later,
            None => When::Never,
        };
        let sum = sums.entry(when).or_default();
        *sum = (sum.0 + one.after.outstanding(), sum.1 + expected(&one.after, estimate)?);
    }
    let line = |(when, (points, redeemed)): (When, (i128, i128))| ForecastLine {
        month: match when {
            When::In(month) => month.to_string(),
            When::Later => "later".to_owned(),
            When::Never => "never".to_owned(),
        },
        points: format_units(points, scale),
        expected_redeemed: format_units(redeemed, scale),
        expected_expired: format_units(points - redeemed, scale),
    };
    Ok(sums.into_iter().map(line).collect())
}

fn cohorts(courses: &[Course<'_>], scale: u32) -> Result<Vec<CohortLine>, AccountingError> {
    let shown = courses.iter().filter(|one| one.before != one.after || one.after.outstanding() != 0);
    let line = |one: &Course<'_>| {
        let (of, after, closing) = (one.cohort, &one.after, &one.closing);
        let [issued, taken_back, redeemed, expired, outstanding] =
            [after.issued, after.taken_back, after.redeemed, after.expired, after.outstanding()].map(|points| format_units(points, scale));
        let [received, recognised, deferred] = [
            closing.issued - closing.taken_back,
            closing.by_redemption + closing.by_expiry,
            closing.deferred(),
        ]
        .map(|micros| format_units(micros, MONEY));
        // As the agreement has it, for a whole point.
        let price = of.price.checked_mul(10i64.pow(scale)).ok_or(AccountingError::Overflow)?;
        Ok(CohortLine {
            funder: of.funder.clone(),
            agreement: of.agreement.clone(),
            basis: of.basis.as_str().to_owned(),
            currency: of.currency,
            price: Money(price).display_micros(),
            issued_in: of.issued_in.to_string(),
            expires_in: of.expires_in.map_or_else(|| "never".to_owned(), |month| month.to_string()),
            issued,
            taken_back,
            redeemed,
            expired,
            outstanding,
            received,
            recognised,
            deferred,
        })
    };
    shown.map(line).collect()
}
