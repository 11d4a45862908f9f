//! What statements of a period are as one, field by field.

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::{Currency, PartnerId};
use serde::{Deserialize, Serialize};

use crate::statement::{BreakageLine, ConversionLine, Line, NetLine, PairLine, PaymentLine, ReductionLine, RunningLine};

/// The version of [`PeriodStatement`]'s fields.
pub const PERIOD_FORMAT: &str = "points-statement-period/1";
/// The version of those whose running position has `revised`.
pub const PERIOD_FORMAT_2: &str = "points-statement-period/2";

/// The version of those that have `conversions`.
pub const PERIOD_FORMAT_3: &str = "points-statement-period/3";

/// A partner's statements of a period as one. Signed amounts are positive where the partner receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodStatement {
    /// [`PERIOD_FORMAT`], or one after.
    pub format: String,
    /// Whose.
    pub partner: PartnerId,
    /// The first date that was asked for.
    pub from: Date,
    /// The last one.
    pub until: Date,
    /// When the last of its windows ended, in UTC.
    pub cut_off_at: Timestamp,
    /// The statements that it puts together, by window: those of the period that were advised when it was made.
    pub windows: Vec<WindowLine>,
    /// What was posted, gross; a price's messages of all windows are one line.
    pub lines: Vec<Line>,
    /// Points that expired.
    pub breakage: Vec<BreakageLine>,
    /// Pair by pair: with what its first window began, and with what its last ended.
    pub obligations: Vec<PairLine>,
    /// What was paid in another currency, a line for each rate; only in `points-statement-period/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversions: Option<Vec<ConversionLine>>,
    /// What the windows' nets add up to.
    pub net: Vec<NetLine>,
    /// Every payment of the windows.
    pub payments: Vec<PaymentLine>,
    /// Where the partner stood before the first window, and after the last.
    pub running_position: Vec<RunningLine>,
    /// What netting did for the network on these days.
    pub reduction: Vec<ReductionLine>,
    /// What each window brought, by currency.
    pub days: Vec<DayLine>,
}

/// A statement of which a period is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowLine {
    /// The window.
    pub business_date: Date,
    /// The version of its fields: one before `points-statement/3` has neither payments nor a running position.
    pub format: String,
    /// The statement's JSON file, as it was advised.
    pub sha256: String,
}

/// One window in one currency: `you_are_owed - you_owe` and the residues make `net`, unless something was converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayLine {
    /// The window.
    pub business_date: Date,
    /// Of all amounts.
    pub currency: Currency,
    /// What the partner owes by it, gross, six decimals.
    pub you_owe: String,
    /// What it is owed by it, gross, six decimals.
    pub you_are_owed: String,
    /// What it pays or receives.
    pub net: String,
    /// What payments that were confirmed since the window before did to the running position; nothing of windows without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<String>,
    /// What was taken out of earlier windows since the window before; only in [`PERIOD_FORMAT_2`] and the one after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revised: Option<String>,
}
