//! The one clock: the shell reads it and passes the time in; nothing below it asks what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// The system's clock, or a sandbox's, which stands still until it is moved. A sandbox clock serves only a database made as a sandbox.
#[derive(Debug, Clone)]
pub enum Clock {
    /// Real time.
    System,
    /// Set time, in microseconds since 1970.
    Sandbox(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `at` until [`Clock::set`] moves it.
    pub fn sandbox(at: Timestamp) -> Self {
        Clock::Sandbox(Arc::new(AtomicI64::new(at.as_microsecond())))
    }

    /// The time now, to the microsecond.
    pub fn now(&self) -> Timestamp {
        let micros = match self {
            Clock::System => Timestamp::now().as_microsecond(),
            Clock::Sandbox(at) => at.load(Ordering::SeqCst),
        };
        timestamp(micros)
    }

    /// Moves a sandbox clock; a system clock stays as it is.
    pub fn set(&self, to: Timestamp) {
        if let Clock::Sandbox(at) = self {
            at.store(to.as_microsecond(), Ordering::SeqCst);
        }
    }

    /// Whether this clock can be set.
    pub fn is_sandbox(&self) -> bool {
        matches!(self, Clock::Sandbox(_))
    }
}

/// Microseconds since 1970 as a timestamp; what lies outside the calendar (years -9999 to 9999) is held at its ends.
pub fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
