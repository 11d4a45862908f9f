//! Why terms aren't taken: agreements, member fees and rates say it alike.

use crate::amount::AmountError;

/// Why terms, a rate or a bonus aren't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {why}")]
pub struct TermsError {
    /// The term at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

pub(crate) fn fault(field: &'static str, why: impl ToString) -> TermsError {
    TermsError {
        field,
        why: why.to_string(),
    }
}

pub(crate) fn amount_fault(field: &'static str) -> impl Fn(AmountError) -> TermsError {
    move |error| fault(field, format!("is {error}"))
}
