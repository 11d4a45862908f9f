//! A partner's own record held against the messages that it sent in a window. Pure.
//!
//! [`read`] makes rows of a file, [`pairs`] finds each row's message, [`find`] says what doesn't agree, [`Report::new`] puts that into words.

mod comma;
mod finding;
mod mapping;
mod matching;
mod number;
mod record;
mod report;
mod sheet;
#[cfg(test)]
mod tests;
mod xlsx;

pub use finding::{Both, Difference, Found, Kind, Reason, find};
pub use mapping::{Field, LocalTime, Mapping};
pub use matching::{Elsewhere, Message, Pairs, pairs, unknown_ids};
pub use record::{Row, read};
pub use report::{MAX_FINDINGS, Report, Resolved, Side};
pub use sheet::{MAX_FILE, RecordError};
