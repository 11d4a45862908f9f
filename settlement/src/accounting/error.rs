//! Why there is no accounting data.

use jiff::civil::Date;
use migrations::DbError;

use crate::calendar::CalendarError;
use crate::error::SettlementError;
use crate::render::RenderError;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum AccountingError {
    /// An estimate has another form.
    #[error("an estimate is a date and a percentage above 0 and up to 100, with at most 4 decimals: 2026-01-01=85")]
    Estimate,
    /// There is none, there are too many, or two of one date.
    #[error("from 1 to 100 estimates are needed, and no two from the same date")]
    Estimates,
    /// None holds by the end of the period.
    #[error("no estimate holds on {0}, the period's last day")]
    NoneHolds(Date),
    /// There is no such programme, or its issuer keeps the balances itself.
    #[error("there is no such programme whose balances are kept here")]
    NoProgramme,
    /// A window of the time isn't netted.
    #[error("the window of {0} isn't netted yet: ask for the days before it, or again once it is")]
    NotYet(Date),
    /// There is no window by the end of the period.
    #[error("there is no window by the end of the period")]
    Empty,
    /// It is asked for too late.
    #[error("the period ended more than {0} days before the open window: ask the operator for its data")]
    Old(i32),
    /// It would take too long.
    #[error(
        "reading the programme's postings takes longer than {0} seconds, and a shorter period needs as many: ask the operator, whose command has no such bound"
    )]
    Long(u64),
    /// It would be too large.
    #[error("there are more than {0} {1}: so many aren't put together, whoever asks and for whatever period")]
    Many(usize, &'static str),
    /// A figure doesn't fit.
    #[error("a figure doesn't fit")]
    Overflow,
    /// The books contradict themselves.
    #[error("the postings don't add up: {0}")]
    Broken(&'static str),
    /// It can't be written down.
    #[error("it can't be written down")]
    Render(#[from] RenderError),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
    /// A window can't be read.
    #[error("the windows can't be read")]
    Settlement(#[from] SettlementError),
    /// The calendar can't be used.
    #[error("the calendar can't be used")]
    Calendar(#[from] CalendarError),
}

impl AccountingError {
    /// Whether there is nothing to give, and nothing is wrong.
    pub fn is_none(&self) -> bool {
        matches!(
            self,
            Self::NoProgramme | Self::NotYet(_) | Self::Empty | Self::Old(_) | Self::Long(_) | Self::Many(..)
        )
    }

    /// Whether what was asked can't be.
    pub fn is_asked_wrong(&self) -> bool {
        matches!(self, Self::Estimate | Self::Estimates | Self::NoneHolds(_))
    }
}
