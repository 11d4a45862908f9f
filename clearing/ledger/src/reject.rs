//! Why a message is refused.

use partner_sdk::Code;

/// Named values for a receipt.
pub(crate) type Facts = Vec<(String, String)>;

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The code of the catalogue.
    pub code: Code,
    /// The field at fault.
    pub field: Option<&'static str>,
    /// Facts for the receipt.
    pub facts: Facts,
}

impl Reject {
    pub(crate) fn new(code: Code) -> Self {
        Self {
            code,
            field: None,
            facts: vec![],
        }
    }

    pub(crate) fn at(code: Code, field: &'static str) -> Self {
        Self {
            code,
            field: Some(field),
            facts: vec![],
        }
    }

    /// One more fact for the receipt; the problem's detail is made from them (`partner_sdk::wire::Receipt::detail`).
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.facts.push((name.to_owned(), value.to_string()));
        self
    }
}

/// A value, or the first check that failed.
pub type Rejected<T> = Result<T, Reject>;
