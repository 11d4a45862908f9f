//! Months of the calendar, counted.

use std::fmt;

use jiff::civil::Date;

/// A month of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(i32);

impl Month {
    /// How many months after another it is; below zero, before it.
    pub fn since(self, other: Self) -> i32 {
        self.0 - other.0
    }

    /// The month so many after it.
    pub fn after(self, months: i32) -> Self {
        Self(self.0 + months)
    }
}

impl From<Date> for Month {
    fn from(date: Date) -> Self {
        Self(i32::from(date.year()) * 12 + i32::from(date.month()) - 1)
    }
}

/// As in `2026-11`.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}
