//! When to try again: a pure policy. Sending the same bytes twice is safe (the second gets the first one's receipt), so the only
//! questions are how often and how soon.

use std::time::Duration;

/// How long and how often the client tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The most tries in all, the first one included.
    pub tries: u32,
    /// The most time for everything, tries and pauses.
    pub deadline: Duration,
    /// The longest pause after the first try; it doubles with each further one.
    pub first: Duration,
    /// Where the doubling ends.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            tries: 10,
            deadline: Duration::from_secs(60),
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
        }
    }
}

impl Retry {
    /// The pause after `made` tries (1 or more) that took `elapsed` together; `None`: give up.
    ///
    /// The pause is anything from zero to the doubled bound, picked by `dice` (uniform over all its values), so that clients that were
    /// refused together don't come back together. A server's `retry_after` is waited for first.
    pub fn pause(&self, made: u32, elapsed: Duration, retry_after: Option<Duration>, dice: u32) -> Option<Duration> {
        if made >= self.tries {
            return None;
        }
        let bound = self
            .first
            .saturating_mul(2u32.saturating_pow(made.saturating_sub(1)))
            .min(self.longest);
        let micros = bound.as_micros().saturating_mul(u128::from(dice)) >> 32;
        let jitter = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        let pause = retry_after.unwrap_or_default().saturating_add(jitter);
        (elapsed.saturating_add(pause) < self.deadline).then_some(pause)
    }
}

/// Reads a `Retry-After` in seconds. A date is not read: it would need the two clocks to agree.
pub(super) fn read_retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let longest = |made| {
            Retry::default()
                .pause(made, Duration::ZERO, None, u32::MAX)
                .expect("a pause")
                .as_millis()
        };
        assert_eq!([1, 2, 3, 6, 7, 8, 9].map(longest), [99, 199, 399, 3199, 4999, 4999, 4999]);
        assert_eq!(Retry::default().pause(3, Duration::ZERO, None, 0), Some(Duration::ZERO));
    }

    #[test]
    fn it_ends_with_the_tries_or_the_deadline() {
        let retry = Retry {
            tries: 3,
            deadline: Duration::from_secs(10),
            ..Retry::default()
        };
        assert!(retry.pause(2, Duration::from_secs(9), None, u32::MAX).is_some());
        assert_eq!(retry.pause(3, Duration::ZERO, None, 0), None);
        assert_eq!(retry.pause(1, Duration::from_secs(10), None, 0), None);
        assert_eq!(
            Retry { tries: u32::MAX, ..retry }.pause(u32::MAX - 1, Duration::MAX, Some(Duration::MAX), u32::MAX),
            None
        );
    }

    #[test]
    fn the_server_is_waited_for() {
        let retry = Retry::default();
        assert_eq!(
            retry.pause(1, Duration::ZERO, read_retry_after("2"), 0),
            Some(Duration::from_secs(2))
        );
        assert_eq!(retry.pause(1, Duration::ZERO, read_retry_after("3600"), 0), None);
        for unreadable in ["", "-1", "1.5", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(read_retry_after(unreadable), None);
        }
    }
}
