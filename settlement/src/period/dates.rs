//! Which business dates, and why there is nothing of them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

/// The longest period, in days.
pub const MOST_DAYS: i32 = 366;

/// The business dates from one to another, both included; at most [`MOST_DAYS`] of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    from: Date,
    until: Date,
}

/// Why a text is no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// It has another form.
    #[error("neither a date (2026-11-21), nor a month (2026-11), nor a range of dates (2026-11-01..2026-11-21)")]
    Form,
    /// It ends before it begins.
    #[error("the range ends before it begins")]
    Order,
    /// It is too long.
    #[error("the range is longer than {MOST_DAYS} days")]
    Long,
    /// A statement isn't what was written.
    #[error("a statement has the figure {0:?}, which is none")]
    Figure(String),
    /// A window between its statements has none yet, so they don't add up.
    #[error("the statement of {0} goes on from a window that has none yet: ask for the days before it, or again once that window has one")]
    Gap(Date),
    /// It holds no statement.
    #[error("no window of this time is advised, or its partner was none then")]
    Empty,
}

impl Period {
    /// The dates from the first to the last.
    pub fn new(from: Date, until: Date) -> Result<Self, PeriodError> {
        if until < from {
            return Err(PeriodError::Order);
        }
        // Dates are at most a few million days apart.
        let days = from.until(until).map_or(i32::MAX, |span| span.get_days());
        if days >= MOST_DAYS {
            return Err(PeriodError::Long);
        }
        Ok(Self { from, until })
    }

    /// The first date.
    pub fn from(&self) -> Date {
        self.from
    }

    /// The last date.
    pub fn until(&self) -> Date {
        self.until
    }

    /// The date, where it is one alone.
    pub fn day(&self) -> Option<Date> {
        (self.from == self.until).then_some(self.from)
    }
}

impl From<Date> for Period {
    fn from(day: Date) -> Self {
        Self { from: day, until: day }
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let date = |text: &str| match text.len() {
            10 => text.parse::<Date>().map_err(|_| PeriodError::Form),
            _ => Err(PeriodError::Form),
        };
        if let Some((from, until)) = text.split_once("..") {
            return Self::new(date(from)?, date(until)?);
        }
        match text.len() {
            7 => {
                let first = date(&format!("{text}-01"))?;
                Self::new(first, first.last_of_month())
            }
            _ => Ok(date(text)?.into()),
        }
    }
}

/// A date for one alone, a month for a whole one, and a range otherwise: what [`FromStr`] reads.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        match () {
            () if from == until => write!(f, "{from}"),
            () if from.day() == 1 && *until == from.last_of_month() => write!(f, "{}", from.strftime("%Y-%m")),
            () => write!(f, "{from}..{until}"),
        }
    }
}
