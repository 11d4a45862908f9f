//! Why a statement has no such form.

use crate::render::RenderError;

/// Why there is nothing in a form.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It can't be written.
    #[error("cannot write it down")]
    Render(#[from] RenderError),
    /// The partner pays nothing.
    #[error("there is nothing to pay by this statement, so there is no payment file")]
    NothingToPay,
    /// Payments aren't known one by one.
    #[error("this statement is of a window that was netted before payments had references")]
    NoPayments,
    /// An account isn't known.
    #[error("{0} has no account in the currency of the payment: the operator puts it in force by a change `account`")]
    NoAccount(&'static str),
}
