//! Payments through the clearing account, as the partner that pays or is paid finds them.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::banking::PaymentReference;
use crate::ids::Currency;

/// Which way a payment goes for the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentWay {
    /// It pays into the clearing account.
    Pays,
    /// It is paid out of it.
    Receives,
}

/// One of the caller's payments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentState {
    /// By which the banks know it.
    pub reference: PaymentReference,
    /// The window that it settles.
    pub window: Date,
    /// Of the amount.
    pub currency: Currency,
    /// How much, with the currency's decimals; above zero.
    pub amount: String,
    /// Which way.
    pub result: PaymentWay,
    /// The day on which it is due.
    pub value_date: Date,
    /// The day on which the bank booked it; absent while it is open, and where the window was settled as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_on: Option<Date>,
    /// When two of the operator's people had confirmed it; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// The hash of the change by which they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// The hash of the change that has put another payment in its place, or none: this one isn't made any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

/// The answer of `GET /v1/payments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payments {
    /// The newest windows first.
    pub payments: Vec<PaymentState>,
}
