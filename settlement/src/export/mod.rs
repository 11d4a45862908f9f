//! A statement in the forms that finance programs read: pure functions of the statement that was advised, so each says what its owner has in hand, whenever it is asked for.

mod error;
mod journal;
mod pain;

pub use error::ExportError;

use crate::statement::Statement;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Double entries for hledger (1.25 or later): passes `hledger check --strict`.
    Hledger,
    /// Double entries for beancount (3): passes `bean-check`.
    Beancount,
    /// What the partner pays, for its bank: ISO 20022 pain.001.001.09.
    Pain001,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hledger, Self::Beancount, Self::Pain001];

    /// The name as it stands in addresses and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hledger => "hledger",
            Self::Beancount => "beancount",
            Self::Pain001 => "pain001",
        }
    }

    /// What files of it are called after the partner's id.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Hledger => "journal",
            Self::Beancount => "beancount",
            Self::Pain001 => "pain001.xml",
        }
    }

    /// The media type.
    pub fn media(self) -> &'static str {
        match self {
            Self::Hledger | Self::Beancount => "text/plain; charset=utf-8",
            Self::Pain001 => "application/xml",
        }
    }
}

impl std::str::FromStr for Form {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|form| form.as_str() == text);
        known.ok_or_else(|| "not a form: hledger, beancount or pain001".to_owned())
    }
}

/// A statement in a form.
pub fn export(statement: &Statement, form: Form) -> Result<String, ExportError> {
    match form {
        Form::Hledger => Ok(journal::journal(statement, journal::Program::Hledger)),
        Form::Beancount => Ok(journal::journal(statement, journal::Program::Beancount)),
        Form::Pain001 => pain::payments(statement),
    }
}

#[cfg(test)]
mod tests;
