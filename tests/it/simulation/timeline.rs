//! A world's time: the instants at which messages are posted, and its windows.

use tests::load::Draw;

use super::rules::Rules;
use super::{DAY, HONG_KONG, START};

/// How many days have messages.
const DAYS: i64 = 10;

/// When things happen.
pub struct Timeline {
    /// The instants at which messages are posted.
    pub ticks: Vec<i64>,
    /// Business day (since 1970) and cut-off of each window.
    pub windows: Vec<(i64, i64)>,
    /// When all is over, and every lot and hold with it.
    pub end: i64,
}

impl Timeline {
    /// Some instants of every day, and those around cut-offs and the ends of days.
    pub fn draw(rules: &Rules, draw: &mut Draw) -> Self {
        let today = (START + HONG_KONG).div_euclid(DAY) * DAY - HONG_KONG;
        let mut ticks = vec![];
        for midnight in (0..DAYS).map(|day| today + day * DAY) {
            for _ in 0..4 {
                let minute = i64::try_from(draw.upto(1440)).expect("small") - 1;
                ticks.push(midnight + minute * 60);
            }
            for instant in [midnight, midnight + rules.cut_off] {
                ticks.extend([instant - 1, instant, instant + 1]);
            }
        }
        ticks.retain(|tick| *tick > START);
        ticks.sort_unstable();
        ticks.dedup();
        let end = today + (DAYS + 8) * DAY;
        Self {
            ticks,
            windows: rules.windows(usize::try_from(DAYS + 20).expect("small")),
            end,
        }
    }

    /// The ticks and cut-offs after one instant and up to another.
    pub fn instants(&self, after: i64, upto: i64) -> Vec<i64> {
        let cut_offs = self.windows.iter().map(|(_, cut_off)| *cut_off);
        let all = self.ticks.iter().copied().chain(cut_offs);
        all.filter(|instant| (after + 1..=upto).contains(instant)).collect()
    }

    /// The windows that are over in the end.
    pub fn closed(&self) -> usize {
        self.windows.iter().filter(|(_, cut_off)| *cut_off <= self.end).count()
    }
}
