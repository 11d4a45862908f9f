//! How many of all points are expected to be redeemed.

use std::str::FromStr;

use jiff::civil::Date;
use partner_sdk::Amount;
use partner_sdk::amount::format_units;

use super::error::AccountingError;

/// The most estimates of one document.
const MOST: usize = 100;
/// All points, in millionths.
pub(super) const ALL: i128 = 1_000_000;

/// An estimate: of so many points issued, so many will be redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// The first day on which it holds.
    pub from: Date,
    /// In millionths of the points issued: from 1 to 1,000,000.
    pub millionths: u32,
}

impl Estimate {
    /// In percent with four decimals.
    pub fn percent(&self) -> String {
        format_units(self.millionths, 4)
    }
}

/// As in `2026-07-01=80.5`: from when on, and how many percent with up to four decimals.
impl FromStr for Estimate {
    type Err = AccountingError;

    fn from_str(text: &str) -> Result<Self, AccountingError> {
        let wrong = || AccountingError::Estimate;
        let (from, percent) = text.split_once('=').ok_or_else(wrong)?;
        let from = Some(from).filter(|from| from.len() == 10).and_then(|from| from.parse().ok());
        let millionths = percent.parse::<Amount>().ok().and_then(|percent| percent.to_units(4).ok());
        let millionths = millionths.and_then(|units| u32::try_from(units).ok());
        match (from, millionths) {
            (Some(from), Some(millionths @ 1..=1_000_000)) => Ok(Self { from, millionths }),
            _ => Err(wrong()),
        }
    }
}

/// Estimates, each from its date until the next: at least one, and one for a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimates(Vec<Estimate>);

impl Estimates {
    /// In any order.
    pub fn new(mut all: Vec<Estimate>) -> Result<Self, AccountingError> {
        all.sort_by_key(|one| one.from);
        let twice = all.windows(2).any(|pair| pair[0].from == pair[1].from);
        match (1..=MOST).contains(&all.len()) && !twice {
            true => Ok(Self(all)),
            false => Err(AccountingError::Estimates),
        }
    }

    /// All of them, oldest first.
    pub fn all(&self) -> &[Estimate] {
        &self.0
    }

    /// The one that holds on a day; `None` before the first.
    pub fn on(&self, day: Date) -> Option<Estimate> {
        self.0.iter().rev().find(|one| one.from <= day).copied()
    }
}

/// As in `2026-01-01=85,2026-07-01=80`.
impl FromStr for Estimates {
    type Err = AccountingError;

    fn from_str(text: &str) -> Result<Self, AccountingError> {
        Self::new(text.split(',').take(MOST + 1).map(str::parse).collect::<Result<_, _>>()?)
    }
}
