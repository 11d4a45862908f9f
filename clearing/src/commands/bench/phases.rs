//! Where the ledger's thread spends its time, as the server's debug log tells it: for a short run of its own, since telling costs something too.

use serde::Serialize;

/// What lets the server tell it.
pub(super) const LEVELS: &str = "warn,clearing::posting::writer=debug";

/// How long the phases of the ledger's transactions took by the clock, in nanoseconds a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Phases {
    /// Messages in a transaction, on average.
    pub group: u64,
    pub load: u64,
    pub apply: u64,
    pub persist: u64,
    pub commit: u64,
}

impl Phases {
    /// What lines of a log say; `None` where they say nothing of it.
    pub fn read(log: &str) -> Option<Self> {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("phases in microseconds")).collect();
        let sum = |name: &str| lines.iter().filter_map(|line| field(line, name)).sum::<u64>();
        let messages = sum("messages");
        let per = |name| sum(name).saturating_mul(1000).checked_div(messages);
        Some(Self {
            group: messages.checked_div(u64::try_from(lines.len()).ok()?)?,
            load: per("load")?,
            apply: per("apply")?,
            persist: per("persist")?,
            commit: per("commit")?,
        })
    }

    /// The phases by their names, in order.
    pub fn named(&self) -> [(&'static str, u64); 4] {
        [
            ("load", self.load),
            ("apply", self.apply),
            ("persist", self.persist),
            ("commit", self.commit),
        ]
    }
}

/// A field of a log's line, `name=value`.
fn field(line: &str, name: &str) -> Option<u64> {
    let values = line.split_whitespace().filter_map(|word| word.split_once('='));
    values.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_summed_up_per_message() {
        let log = "2026 DEBUG ledger: posted; phases in microseconds messages=300 load=900 apply=300 persist=6000 commit=30\n\
                   2026 WARN something else messages=7 load=1\n\
                   2026 DEBUG ledger: posted; phases in microseconds messages=100 load=300 apply=100 persist=2000 commit=370\n";
        let all = Phases {
            group: 200,
            load: 3_000,
            apply: 1_000,
            persist: 20_000,
            commit: 1_000,
        };
        assert_eq!(Phases::read(log), Some(all));
        assert_eq!(Phases::read("nothing of it"), None);
    }
}
