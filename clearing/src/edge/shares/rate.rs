//! So many a second, and some at once: the generic cell rate algorithm (ITU-T I.371), which remembers one instant.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock::lock;

/// A rate, and how much of it was used.
pub struct Rate {
    /// The time that one takes; zero where nothing is bounded.
    each: Duration,
    /// How far ahead of time one may be.
    ahead: Duration,
    /// When all that was taken is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Rate {
    /// So many a second (0: no bound), and so many seconds' worth at once.
    pub fn new(per_second: u32, seconds: u32) -> Self {
        Self::at_once(per_second, per_second.saturating_mul(seconds))
    }

    /// So many a second (0: no bound), and so many at once.
    pub fn at_once(per_second: u32, at_once: u32) -> Self {
        let each = Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
        Self {
            each,
            ahead: each.saturating_mul(at_once),
            paid: Mutex::default(),
        }
    }

    /// Takes `count` at once or none; the error is how long to wait for them.
    pub fn take(&self, count: u32, now: Instant) -> Result<(), Duration> {
        if self.each.is_zero() {
            return Ok(());
        }
        let mut paid = lock(&self.paid);
        let ahead = paid.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        // More than ever fits at once is let through when nothing else was taken.
        let then = ahead.saturating_add(self.each.saturating_mul(count));
        if then > self.ahead && !ahead.is_zero() {
            return Err((then - self.ahead).min(ahead));
        }
        *paid = now.checked_add(then);
        Ok(())
    }

    /// Whether nothing of it is used.
    pub fn is_full(&self, now: Instant) -> bool {
        lock(&self.paid).is_none_or(|paid| paid <= now)
    }
}
