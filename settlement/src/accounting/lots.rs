//! What the lots of members that have owed points have left.

use std::collections::{BTreeMap, HashMap};

use super::error::AccountingError;

/// A lot by the number of its cohort, and what its postings leave of it: before the period, and at its end.
struct Left {
    cohort: usize,
    points: [i64; 2],
}

/// The lots of some members, each member's with the oldest first. Those of which nothing is left in either state are forgotten.
pub struct Lots {
    most: usize,
    count: usize,
    by_member: HashMap<String, BTreeMap<(i64, i32), Left>>,
}

impl Lots {
    /// None yet, of these members; at most so many at once.
    pub fn new(members: impl IntoIterator<Item = String>, most: usize) -> Self {
        Self {
            most,
            count: 0,
            by_member: members.into_iter().map(|member| (member, BTreeMap::new())).collect(),
        }
    }

    /// Whether it is for them.
    pub fn wants(&self, member: &str) -> bool {
        self.by_member.contains_key(member)
    }

    /// Adds what a posting gave to a member's lot, or took, in the states where it had been posted. Other members make no difference. [`AccountingError::Many`] if there are too many lots.
    pub fn add(&mut self, member: &str, key: (i64, i32), cohort: usize, given: i64, posted: [bool; 2]) -> Result<(), AccountingError> {
        let Some(lots) = self.by_member.get_mut(member) else {
            return Ok(());
        };
        let before = lots.len();
        let left = lots.entry(key).or_insert(Left { cohort, points: [0, 0] });
        for (points, _) in left.points.iter_mut().zip(posted).filter(|(_, posted)| *posted) {
            *points = points.checked_add(given).ok_or(AccountingError::Overflow)?;
        }
        if left.points == [0, 0] {
            lots.remove(&key);
        }
        self.count = self.count + lots.len() - before;
        match self.count > self.most {
            true => Err(AccountingError::Many(self.most, "lots of members with a debt")),
            false => Ok(()),
        }
    }

    /// What a member's lots have left in a state (0 before the period, 1 at its end), with the numbers of their cohorts, in the order in which they repay a debt: those issued since message `since`
    /// first, the oldest first.
    pub fn of(&self, member: &str, state: usize, since: i64) -> Vec<(usize, i64)> {
        let all = self.by_member.get(member).into_iter().flatten();
        let (later, earlier): (Vec<_>, Vec<_>) = all.partition(|((seq, _), _)| *seq > since);
        let shown = |(_, left): (_, &Left)| (left.cohort, left.points[state]);
        later.into_iter().chain(earlier).map(shown).collect()
    }
}
