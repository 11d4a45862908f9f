//! Why a statement has no such form.

use crate::period::PeriodError;
use crate::render::RenderError;

/// Why there is nothing in a form.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It can't be written.
    #[error("cannot write it down")]
    Render(#[from] RenderError),
    /// It can't be set as PDF.
    #[error("cannot set it as PDF: {0}")]
    Pdf(String),
    /// The partner pays nothing.
    #[error(
        "there is nothing to pay by this statement and what has changed since, so there is no payment file: what is paid with another window is in the file of that one"
    )]
    NothingToPay,
    /// Payments aren't known one by one.
    #[error("this statement is of a window that was netted before payments had references")]
    NoPayments,
    /// An account isn't known.
    #[error("{0} has no account in the currency of the payment: the operator puts it in force by a change `account`")]
    NoAccount(&'static str),
    /// It names no running position.
    #[error(
        "there is no account to state: nothing was open in this time and nothing came to it, or its windows were netted before there were running positions"
    )]
    NoPosition,
    /// It holds more than a day.
    #[error("a payment file is of one day: what is paid twice is paid twice")]
    OneDay,
    /// The statements can't be put together.
    #[error("cannot put the statements together")]
    Period(#[from] PeriodError),
}

impl ExportError {
    /// Whether there is no such file of these statements, and nothing is wrong with them.
    pub fn is_none(&self) -> bool {
        match self {
            Self::NothingToPay | Self::NoPayments | Self::NoAccount(_) | Self::NoPosition | Self::OneDay => true,
            Self::Period(error) => matches!(error, PeriodError::Empty | PeriodError::Gap(_)),
            Self::Render(_) | Self::Pdf(_) => false,
        }
    }
}
