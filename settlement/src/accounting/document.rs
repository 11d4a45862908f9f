//! Accounting data as it is written, field by field.

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::{Currency, PartnerId, ProgrammeCode};
use serde::{Deserialize, Serialize};

/// The version of [`Accounting`]'s fields.
pub const ACCOUNTING_FORMAT: &str = "points-accounting/1";
/// What it is and isn't.
pub const NOTICE: &str = "Data for the accountant, computed from postings and from estimates that the issuer gave. It is no ruling, opinion or advice on how anything is to be accounted for.";

/// A programme's points and their price, from one state to the next. Money has six decimals, points those of the programme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounting {
    /// [`ACCOUNTING_FORMAT`].
    pub format: String,
    /// [`NOTICE`].
    pub notice: String,
    /// Whose points.
    pub programme: ProgrammeCode,
    /// Who issues them.
    pub issuer: PartnerId,
    /// The first date that was asked for.
    pub from: Date,
    /// The last one.
    pub until: Date,
    /// The last window before the period; nothing where there was none.
    pub opening_window: Option<Date>,
    /// The last window of the period, or before it.
    pub closing_window: Date,
    /// When that ended, in UTC.
    pub closing_at: Timestamp,
    /// The estimates that were given.
    pub estimates: Vec<EstimateLine>,
    /// What holds at the opening.
    pub opening_percent: String,
    /// What holds at the closing.
    pub closing_percent: String,
    /// All points.
    pub points: PointsLine,
    /// The deferred price, by currency.
    pub roll_forward: Vec<RollForwardLine>,
    /// What is outstanding at the closing, by funder and age.
    pub outstanding: Vec<OutstandingLine>,
    /// What expired in the period.
    pub breakage: Vec<BreakagePoints>,
    /// What is outstanding at the closing, by the month in which it expires.
    pub forecast: Vec<ForecastLine>,
    /// Every cohort that has changed in the period or has points left.
    pub cohorts: Vec<CohortLine>,
}

/// An estimate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EstimateLine {
    /// From when on.
    pub from: Date,
    /// Of points issued, four decimals.
    pub percent: String,
}

/// `opening + issued - taken_back - redeemed - expired = outstanding`, and `outstanding - debt = in_accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointsLine {
    /// Outstanding at the opening.
    pub opening: String,
    /// Issued in the period.
    pub issued: String,
    /// Taken back in it.
    pub taken_back: String,
    /// Redeemed in it.
    pub redeemed: String,
    /// Expired in it.
    pub expired: String,
    /// Outstanding at the closing.
    pub outstanding: String,
    /// What members owe at the closing.
    pub debt: String,
    /// The sum of all balances at the closing.
    pub in_accounts: String,
}

/// `opening + issued + taken_back + on_redemption + on_expiry + catch_up = closing`: what makes less is below zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollForwardLine {
    /// Of all amounts.
    pub currency: Currency,
    /// Deferred at the opening, at the estimate that held then.
    pub opening: String,
    /// The price of points issued.
    pub issued: String,
    /// The price of points taken back.
    pub taken_back: String,
    /// Recognised as points were redeemed, at the opening's estimate.
    pub on_redemption: String,
    /// Recognised besides as points expired, at the opening's estimate.
    pub on_expiry: String,
    /// What the closing's estimate makes of the points at the closing, against the opening's.
    pub catch_up: String,
    /// Deferred at the closing, at the estimate that holds then.
    pub closing: String,
}

/// What a funder's points of an age come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutstandingLine {
    /// Who funds them.
    pub funder: PartnerId,
    /// `issue`, `prepaid`, `redemption` or `own`.
    pub basis: String,
    /// Of the price.
    pub currency: Currency,
    /// Months from that of their issue to that of the period's last day.
    pub age_months: i32,
    /// How many.
    pub points: String,
    /// Of their price.
    pub deferred: String,
}

/// Points that expired unspent in the period, less those that came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakagePoints {
    /// Who funds them.
    pub funder: PartnerId,
    /// `issue`, `prepaid`, `redemption` or `own`.
    pub basis: String,
    /// Of the price.
    pub currency: Currency,
    /// How many.
    pub points: String,
    /// At what was received for them; some of that may have been recognised before.
    pub value: String,
}

/// Points that expire in a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastLine {
    /// As in `2026-12`; `later`, or `never`.
    pub month: String,
    /// Outstanding at the closing.
    pub points: String,
    /// How many of them will be redeemed before, as the closing's estimate expects.
    pub expected_redeemed: String,
    /// The others.
    pub expected_expired: String,
}

/// A cohort at the closing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortLine {
    /// Who funds it.
    pub funder: PartnerId,
    /// The agreement's hash.
    pub agreement: String,
    /// `issue`, `prepaid`, `redemption` or `own`.
    pub basis: String,
    /// Of the price.
    pub currency: Currency,
    /// For one point.
    pub price: String,
    /// The month of issue.
    pub issued_in: String,
    /// The month of the last day on which it can be spent, or `never`.
    pub expires_in: String,
    /// Points issued, since the beginning.
    pub issued: String,
    /// Points taken back.
    pub taken_back: String,
    /// Points redeemed.
    pub redeemed: String,
    /// Points expired.
    pub expired: String,
    /// Points left.
    pub outstanding: String,
    /// What was received for it.
    pub received: String,
    /// What of that is recognised.
    pub recognised: String,
    /// What is deferred.
    pub deferred: String,
}
