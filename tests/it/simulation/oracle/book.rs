//! What messages come to: lines and breakage by window.

use std::collections::BTreeMap;

/// A line of statements: who owes whom for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// As in the statement.
    pub kind: &'static str,
    /// Who owes.
    pub debtor: String,
    /// Whom.
    pub creditor: String,
    /// Whose points.
    pub programme: usize,
    /// Of one point, in millionths.
    pub price: i64,
}

impl Line {
    /// A line.
    pub fn new(kind: &'static str, debtor: &str, creditor: &str, programme: usize, price: i64) -> Self {
        let (debtor, creditor) = (debtor.to_owned(), creditor.to_owned());
        Self {
            kind,
            debtor,
            creditor,
            programme,
            price,
        }
    }
}

/// What one message comes to, or one night for one account.
#[derive(Debug, Default)]
pub struct Told {
    lines: BTreeMap<Line, i64>,
    breakage: BTreeMap<(usize, String), (i64, i64)>,
}

impl Told {
    /// So many points on a line; what a partner would owe itself is none.
    pub fn line(&mut self, line: Line, points: i64) {
        if points > 0 && line.debtor != line.creditor {
            *self.lines.entry(line).or_default() += points;
        }
    }

    /// So many points that nobody will redeem, and what was paid for them in millionths.
    pub fn breakage(&mut self, programme: usize, funder: &str, points: i64, value: i64) {
        if (points, value) != (0, 0) {
            let entry = self.breakage.entry((programme, funder.to_owned())).or_default();
            *entry = (entry.0 + points, entry.1 + value);
        }
    }
}

/// What all messages of a window come to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Window {
    /// Line -> (messages, points).
    pub lines: BTreeMap<Line, (i64, i64)>,
    /// (programme, funder) -> (points, value in millionths).
    pub breakage: BTreeMap<(usize, String), (i64, i64)>,
}

/// All windows.
#[derive(Debug, Default, Clone)]
pub struct Book(pub BTreeMap<usize, Window>);

impl Book {
    /// Files what a message told.
    pub fn file(&mut self, window: usize, told: Told) {
        let window = self.0.entry(window).or_default();
        for (line, points) in told.lines {
            let entry = window.lines.entry(line).or_default();
            *entry = (entry.0 + 1, entry.1 + points);
        }
        for (key, (points, value)) in told.breakage {
            let entry = window.breakage.entry(key).or_default();
            *entry = (entry.0 + points, entry.1 + value);
        }
    }

    /// What is left in the end: of money between two partners, in millionths, and of breakage.
    pub fn left(&self) -> Vec<String> {
        let (mut owed, mut breakage) = (BTreeMap::new(), BTreeMap::new());
        for window in self.0.values() {
            for (line, (_, points)) in &window.lines {
                let (pair, sign) = match line.debtor < line.creditor {
                    true => ((&line.debtor, &line.creditor), 1),
                    false => ((&line.creditor, &line.debtor), -1),
                };
                *owed.entry(pair).or_insert(0) += sign * points * line.price;
            }
            for (key, (points, value)) in &window.breakage {
                let sum = breakage.entry(key).or_insert((0, 0));
                *sum = (sum.0 + points, sum.1 + value);
            }
        }
        let owed = owed.into_iter().filter(|(_, sum)| *sum != 0).map(|left| format!("{left:?}"));
        let breakage = breakage
            .into_iter()
            .filter(|(_, sum)| *sum != (0, 0))
            .map(|left| format!("{left:?}"));
        owed.chain(breakage).collect()
    }

    /// Files what another book has.
    pub fn add(&mut self, other: &Self) {
        for (number, theirs) in &other.0 {
            let ours = self.0.entry(*number).or_default();
            for (line, (messages, points)) in &theirs.lines {
                let entry = ours.lines.entry(line.clone()).or_default();
                *entry = (entry.0 + messages, entry.1 + points);
            }
            for (key, (points, value)) in &theirs.breakage {
                let entry = ours.breakage.entry(key.clone()).or_default();
                *entry = (entry.0 + points, entry.1 + value);
            }
        }
    }
}
