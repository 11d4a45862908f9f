//! Figures: percentiles, shares, and how they are written. Whole nanoseconds, permille and messages a second; nothing is a float.

use serde::Serialize;

/// How long requests took, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Times {
    /// How many were answered.
    pub answers: u64,
    /// Half of them took no longer.
    pub p50: u64,
    /// Of a hundred, 99 took no longer.
    pub p99: u64,
    pub max: u64,
}

impl Times {
    pub fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        // The smallest that so many of a hundred don't exceed.
        let at = |percent: usize| {
            let rank = (nanos.len() * percent).div_ceil(100).max(1);
            nanos.get(rank - 1).copied().unwrap_or(0)
        };
        Self {
            answers: u64::try_from(nanos.len()).unwrap_or(u64::MAX),
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }

    /// In a line, under a name.
    pub fn line(&self, what: &str) -> String {
        let [p50, p99, max] = [self.p50, self.p99, self.max].map(millis);
        format!("{what:22}{:>10} answers, p50 {p50}, p99 {p99}, max {max}", self.answers)
    }
}

/// `a * times / of`, rounded down; as if of 1, where that is 0.
pub(super) fn share(a: u64, times: u64, of: u64) -> u64 {
    let exact = u128::from(a) * u128::from(times) / u128::from(of.max(1));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

pub(super) fn micros(nanos: u64) -> String {
    format!("{}.{} us", nanos / 1000, nanos % 1000 / 100)
}

pub(super) fn millis(nanos: u64) -> String {
    format!("{}.{} ms", nanos / 1_000_000, nanos % 1_000_000 / 100_000)
}

pub(super) fn seconds(nanos: u64) -> String {
    format!("{}.{:02} s", nanos / 1_000_000_000, nanos % 1_000_000_000 / 10_000_000)
}

pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// What a mark is, and whether it is reached.
pub(super) fn verdict(mark: &str, reached: bool) -> String {
    format!("mark {mark}: {}", if reached { "reached" } else { "missed" })
}

pub(super) fn percent(permille: u64) -> String {
    format!("{}.{}%", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times = Times::of((1..=200).rev().collect());
        assert_eq!((times.p50, times.p99, times.max, times.answers), (100, 198, 200, 200));
        let times = Times::of(vec![7, 3]);
        assert_eq!((times.p50, times.p99, times.max), (3, 7, 7));
        assert_eq!(Times::of(vec![]).max, 0);
    }

    #[test]
    fn shares_are_exact_until_the_end() {
        assert_eq!(share(u64::MAX, 1000, u64::MAX), 1000);
        assert_eq!(share(2, 1000, 3), 666);
        assert_eq!(share(5, 1000, 0), 5000);
        assert_eq!(
            (percent(366), micros(30_560), millis(99_999_999)),
            ("36.6%".into(), "30.5 us".into(), "99.9 ms".into())
        );
    }
}
