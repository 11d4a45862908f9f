//! What a partner and the operator get to see of a netted window, field by field as in its files. All numbers but counts are texts, ready to
//! be shown.

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::banking::{BankAccount, PaymentReference};
pub use partner_sdk::wire::Direction;
use partner_sdk::{Currency, PartnerId, ProgrammeCode};
use serde::{Deserialize, Serialize};

/// The version of [`Statement`]'s fields.
pub const STATEMENT_FORMAT: &str = "points-statement/3";
/// The version of those whose running position has `revised`: of windows before which others were revised.
pub const STATEMENT_FORMAT_4: &str = "points-statement/4";
/// The version of those that have `conversions`: of windows of which something was converted. Its running position has `revised` where there is something.
pub const STATEMENT_FORMAT_5: &str = "points-statement/5";
/// The version before, without payments: of windows that were netted before payments were known one by one.
pub const STATEMENT_FORMAT_2: &str = "points-statement/2";
/// The version of [`Preflight`]'s fields.
pub const PREFLIGHT_FORMAT: &str = "points-preflight/1";
/// The version of those that have `conversions`.
pub const PREFLIGHT_FORMAT_2: &str = "points-preflight/2";
/// The version of [`Queue`]'s fields.
pub const QUEUE_FORMAT: &str = "points-queue/1";
/// The version of [`Settlement`]'s fields.
pub const SETTLEMENT_FORMAT: &str = "points-settlement/2";
/// The version of those that have `conversions`.
pub const SETTLEMENT_FORMAT_3: &str = "points-settlement/3";
/// The version before, whose payments have no reference.
pub const SETTLEMENT_FORMAT_1: &str = "points-settlement/1";

/// What a net amount means for a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetResult {
    /// It pays.
    Pays,
    /// It receives.
    Receives,
    /// Neither.
    Nothing,
}

/// One partner's view of one netted window. Signed amounts are positive where the partner receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_FORMAT`], the one before or one after.
    pub format: String,
    /// Whose statement.
    pub partner: PartnerId,
    /// The window.
    pub business_date: Date,
    /// When the window ended, in UTC.
    pub cut_off_at: Timestamp,
    /// What was posted, gross.
    pub lines: Vec<Line>,
    /// For an issuer: points that expired. Information only, no money moves.
    pub breakage: Vec<BreakageLine>,
    /// Pair by pair.
    pub obligations: Vec<PairLine>,
    /// What of it is paid in another currency; only in [`STATEMENT_FORMAT_5`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversions: Option<Vec<ConversionLine>>,
    /// What the partner pays or receives, one entry a currency.
    pub net: Vec<NetLine>,
    /// How it pays or receives it, one entry a currency in which it does; not in files before [`STATEMENT_FORMAT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payments: Option<Vec<PaymentLine>>,
    /// Where it stands over all windows, one entry a currency; not in files before [`STATEMENT_FORMAT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_position: Option<Vec<RunningLine>>,
    /// What netting did for the network as a whole, in the currencies in which the partner takes part.
    pub reduction: Vec<ReductionLine>,
}

/// Messages of one kind, agreement, direction and price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct Line {
    pub kind: String,
    pub counterparty: PartnerId,
    pub direction: Direction,
    pub agreement: String,
    pub programme: ProgrammeCode,
    pub currency: Currency,
    pub messages: i64,
    pub points: String,
    pub price: String,
    pub amount: String,
}

/// Expired points of one agreement and price, or (below zero) such points whose earn was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct BreakageLine {
    pub kind: String,
    pub counterparty: Option<PartnerId>,
    pub agreement: Option<String>,
    pub programme: ProgrammeCode,
    pub currency: Option<Currency>,
    pub points: String,
    pub price: String,
    pub value: String,
}

/// One counterparty and currency: `you_are_owed - you_owe + carried_in == net + carried_out`; over several windows with the `differences` of conversions of all but the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct PairLine {
    pub counterparty: PartnerId,
    pub currency: Currency,
    pub you_owe: String,
    pub you_are_owed: String,
    pub carried_in: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differences: Option<String>,
    pub net: String,
    pub carried_out: String,
}

/// A pair's net in the currency in which it is paid: `net * rate == amount + difference`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct ConversionLine {
    pub counterparty: PartnerId,
    pub currency: Currency,
    pub net: String,
    pub rate: String,
    pub payment_currency: Currency,
    pub amount: String,
    pub difference: String,
}

/// The sum of a partner's rounded pair nets that are paid in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct NetLine {
    pub currency: Currency,
    pub net: String,
    pub result: NetResult,
}

/// What the partner pays into the clearing account, or is paid out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentLine {
    /// By which partner, clearinghouse and banks know it.
    pub reference: PaymentReference,
    /// Of the amount.
    pub currency: Currency,
    /// How much, above zero, with the currency's decimals.
    pub amount: String,
    /// Whether the partner pays or receives it.
    pub result: NetResult,
    /// The day on which it is due.
    pub value_date: Date,
    /// The account that it leaves; nothing where none was in force.
    pub from: Option<BankAccount>,
    /// The account that it reaches; nothing where none was in force.
    pub to: Option<BankAccount>,
}

/// `opening + confirmed + revised + net == closing`; `carried` is what rounding left over of all pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningLine {
    /// Of all amounts, which are positive where the partner receives.
    pub currency: Currency,
    /// With what the window before closed, with the currency's decimals.
    pub opening: String,
    /// What payments that were confirmed since have done to it.
    pub confirmed: String,
    /// What was taken out of earlier windows since; only in [`STATEMENT_FORMAT_4`] and later ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revised: Option<String>,
    /// What the window adds.
    pub net: String,
    /// What is open then.
    pub closing: String,
    /// The residues of all the partner's pairs, with six decimals; no part of `closing`.
    pub carried: String,
}

/// Gross to bilateral to multilateral in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct ReductionLine {
    pub currency: Currency,
    pub gross: String,
    pub bilateral: String,
    pub multilateral: String,
    pub efficiency_percent: String,
}

/// The operator's view of one netted window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// [`SETTLEMENT_FORMAT`], the one before or after.
    pub format: String,
    /// The window.
    pub business_date: Date,
    /// When the window ended, in UTC.
    pub cut_off_at: Timestamp,
    /// Pair by pair.
    pub obligations: Vec<SettlementPair>,
    /// What of it is paid in another currency; only in [`SETTLEMENT_FORMAT_3`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversions: Option<Vec<SettlementConversion>>,
    /// What each party pays or receives; they sum to zero.
    pub net_positions: Vec<NetPosition>,
    /// Through the clearing account, at most one a partner and currency.
    pub payments: Vec<Payment>,
    /// What netting did, one entry a currency.
    pub reduction: Vec<ReductionLine>,
}

/// One pair and currency; `carried_in`, `net` and `carried_out` are positive where a owes b.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct SettlementPair {
    pub party_a: PartnerId,
    pub party_b: PartnerId,
    pub currency: Currency,
    pub a_owes: String,
    pub b_owes: String,
    pub carried_in: String,
    pub net: String,
    pub carried_out: String,
}

/// One pair's net in the currency in which it is paid; positive where a owes b.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct SettlementConversion {
    pub party_a: PartnerId,
    pub party_b: PartnerId,
    pub currency: Currency,
    pub net: String,
    pub rate: String,
    pub payment_currency: Currency,
    pub amount: String,
    pub difference: String,
}

/// One party and currency; positive where it receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct NetPosition {
    pub partner: PartnerId,
    pub currency: Currency,
    pub net: String,
    pub result: NetResult,
}

/// One transfer to or from the clearing account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/STATEMENTS.md says what each field holds")]
pub struct Payment {
    pub payer: PartnerId,
    pub payee: PartnerId,
    pub currency: Currency,
    pub amount: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<PaymentReference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_date: Option<Date>,
}

/// What the open window would come to if it closed now: nothing is posted, netted or kept by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preflight {
    /// [`PREFLIGHT_FORMAT`], or the one after.
    pub format: String,
    /// The open window.
    pub business_date: Date,
    /// When it ends, in UTC.
    pub cut_off_at: Timestamp,
    /// Whether points are due at the cut-off: what they repay, where they do, isn't in it.
    pub points_due: bool,
    /// What clearing fees would be posted.
    pub fees: Vec<FeeLine>,
    /// Pair by pair, fees and residues included.
    pub obligations: Vec<SettlementPair>,
    /// What of it would be paid in another currency; only in [`PREFLIGHT_FORMAT_2`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversions: Option<Vec<SettlementConversion>>,
    /// What each party would pay or receive; they sum to zero.
    pub net_positions: Vec<NetPosition>,
    /// Through the clearing account, at most one a partner and currency.
    pub payments: Vec<Payment>,
    /// If partners paid each other instead, one entry a currency.
    pub direct: Vec<DirectPayments>,
    /// What netting would do, one entry a currency.
    pub reduction: Vec<ReductionLine>,
}

/// A clearing fee that a window would post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeLine {
    /// Who would owe it to the clearinghouse.
    pub debtor: PartnerId,
    /// Of the amount.
    pub currency: Currency,
    /// How much, a whole number of minor units, with six decimals.
    pub amount: String,
}

/// Payments between partners in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectPayments {
    /// Of all amounts.
    pub currency: Currency,
    /// Who pays whom.
    pub payments: Vec<Payment>,
    /// With fewer payments it can't be done.
    pub at_least: usize,
}

/// In which order the pairs of a netted window can pay each other with what they have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// [`QUEUE_FORMAT`].
    pub format: String,
    /// The window.
    pub business_date: Date,
    /// When it ended, in UTC.
    pub cut_off_at: Timestamp,
    /// One entry for each currency in which a pair pays, sorted.
    pub currencies: Vec<QueueLine>,
}

/// The queued payments of one currency: each pair's net.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueLine {
    /// Of all amounts, which have its decimals.
    pub currency: Currency,
    /// The sum of all pairs' nets: `cleared` and what is left.
    pub queued: String,
    /// The sum of what is paid.
    pub cleared: String,
    /// Whether no choice of payments clears more.
    pub exact: bool,
    /// What is paid, one step after the other: the payments of one step are netted and made at once. After each nobody has less than nothing.
    pub steps: Vec<Vec<Payment>>,
    /// What has to wait for more money.
    pub left: Vec<Payment>,
    /// What everybody has that had something, pays or is paid, sorted by partner.
    pub balances: Vec<QueueBalance>,
}

/// What a partner has to pay with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueBalance {
    /// Who has it.
    pub partner: PartnerId,
    /// How much before the first step.
    pub before: String,
    /// How much after the last.
    pub after: String,
}
