//! Microseconds as instants. Nothing here asks what time it is.

use jiff::Timestamp;

/// Microseconds since 1970 as a timestamp; what lies outside the calendar (years -9999 to 9999) is held at its ends.
pub fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
