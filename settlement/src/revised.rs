//! What is kept beside statements where payments change after them; the fields are in docs/STATEMENTS.md.

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::banking::PaymentReference;
use partner_sdk::{Currency, PartnerId};
use serde::{Deserialize, Serialize};

use crate::statement::{Payment, PaymentLine};

/// The version of [`Revision`]'s fields.
pub const REVISION_FORMAT: &str = "points-revision/1";
/// The version of those of windows that are paid with others.
pub const REVISION_FORMAT_2: &str = "points-revision/2";
/// The version of [`SettlementRevision`]'s fields.
pub const SETTLEMENT_REVISION_FORMAT: &str = "points-settlement-revision/1";
/// The version of those of windows that are paid with others.
pub const SETTLEMENT_REVISION_FORMAT_2: &str = "points-settlement-revision/2";

/// What a revision of a window changes for a partner. Signed amounts are positive where it receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// [`REVISION_FORMAT`] or [`REVISION_FORMAT_2`].
    pub format: String,
    /// Whose.
    pub partner: PartnerId,
    /// What was revised, and why.
    #[serde(flatten)]
    pub of: Revised,
    /// What isn't paid in this window any more: debts that stay between the two.
    pub taken_out: Vec<TakenOutLine>,
    /// What it does to the partner's net positions.
    pub net: Vec<RevisedNet>,
    /// Payments of before that aren't made any more.
    pub replaced: Vec<PaymentReference>,
    /// Those in their place; where `lead` has them, none.
    pub payments: Vec<PaymentLine>,
}

/// Which window was revised, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revised {
    /// The window.
    pub business_date: Date,
    /// Which run of it this is; the statement's own is 1.
    pub run: i64,
    /// The windows that are paid with it: what is said here is of all of them together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Date>,
    /// The window with whose payments this one's are made from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<Date>,
    /// Why: `default`, or `joined`.
    pub cause: String,
    /// Of whom that is, where it is a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaulted: Option<PartnerId>,
    /// The hash of the document that says so.
    #[serde(alias = "change")]
    pub document: String,
    /// When it took effect.
    pub revised_at: Timestamp,
}

/// A debt that was taken out, as one of the two sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenOutLine {
    /// Of which window, where several are paid together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_date: Option<Date>,
    /// The other one.
    pub counterparty: PartnerId,
    /// Of the amount.
    pub currency: Currency,
    /// What the partner would have received (below zero: paid).
    pub amount: String,
}

/// `before + taken_out == after`, `after - paid == open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisedNet {
    /// Of all amounts.
    pub currency: Currency,
    /// The net position before.
    pub before: String,
    /// What is taken out of it.
    pub taken_out: String,
    /// What is left.
    pub after: String,
    /// What was paid of it already.
    pub paid: String,
    /// What the new payment is of.
    pub open: String,
}

/// The operator's view of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementRevision {
    /// [`SETTLEMENT_REVISION_FORMAT`] or [`SETTLEMENT_REVISION_FORMAT_2`].
    pub format: String,
    /// What was revised, and why.
    #[serde(flatten)]
    pub of: Revised,
    /// What isn't paid in this window any more.
    pub taken_out: Vec<Debt>,
    /// What it does to net positions; of parties that aren't here nothing changes.
    pub net_positions: Vec<RevisedPosition>,
    /// Payments of before that aren't made any more.
    pub replaced: Vec<PaymentReference>,
    /// Those in their place.
    pub payments: Vec<Payment>,
}

/// What one owes another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debt {
    /// Of which window, where several are paid together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_date: Option<Date>,
    /// Who owes.
    pub debtor: PartnerId,
    /// Whom.
    pub creditor: PartnerId,
    /// Of the amount.
    pub currency: Currency,
    /// How much, above zero, with the currency's decimals.
    pub amount: String,
}

/// A party's net position, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisedPosition {
    /// Whose.
    pub partner: PartnerId,
    /// What changes.
    #[serde(flatten)]
    pub net: RevisedNet,
}
