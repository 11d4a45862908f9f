//! What a bank has booked, and why a file doesn't say it.

use jiff::civil::Date;
use partner_sdk::{Amount, Currency};

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 64 * 1024 * 1024;

/// Why a bank's statement isn't read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    /// Too long.
    #[error("the file has more than {} MiB", MAX_FILE / 1024 / 1024)]
    TooLarge,
    /// Another encoding.
    #[error("the file isn't UTF-8")]
    NotUtf8,
    /// No XML, or not such XML.
    #[error("this isn't a camt.053 statement: {0}")]
    Xml(String),
    /// No table, or not such a table.
    #[error("line {line} of the table: {why}")]
    Table {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// Something that was booked on the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// The day.
    pub booked_on: Date,
    /// Of the amount.
    pub currency: Currency,
    /// How much, never negative.
    pub amount: Amount,
    /// Whether it came into the account.
    pub credit: bool,
    /// Whether it takes back an earlier booking.
    pub reversal: bool,
    /// Whatever the bank says about it, in which a reference may stand.
    pub text: String,
}

/// An amount as banks write it: with zeros at its end, and in a table with commas between thousands.
pub fn amount(text: &str) -> Option<Amount> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let groups: Vec<&str> = whole.split(',').collect();
    let grouped = groups.len() == 1 || (1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|group| group.len() == 3);
    let whole = groups.concat();
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !grouped || whole.is_empty() || !digits(&whole) || !digits(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let plain = if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    };
    Amount::parse(&plain).ok()
}
