//! Where messages spend their time, as the server's debug log tells it: for a short run of its own, since telling costs something too.

use serde::Serialize;

/// What lets the server tell it.
pub(super) const LEVELS: &str = "warn,clearing::posting::writer=debug,clearing::edge::http::messages=debug";

/// How long messages take in each stage by the clock, in nanoseconds a message. TLS and HTTP aren't among them: they are what a request costs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Phases {
    /// Messages in a transaction, on average.
    pub group: u64,
    /// Verification, over all processors.
    pub verify: u64,
    /// How long a message waits in the queue: not divided among those that wait with it.
    pub queue: u64,
    pub load: u64,
    pub apply: u64,
    pub persist: u64,
    pub commit: u64,
    /// The checkpoint, the proofs and the text of the answers.
    pub receipt: u64,
}

impl Phases {
    /// What lines of a log say; `None` where they say nothing of it.
    pub fn read(log: &str) -> Option<Self> {
        let of = |what: &str| log.lines().filter(|line| line.contains(what)).collect::<Vec<_>>();
        let [requests, taken, posted] = ["answered; in", "taken from the queue", "phases in microseconds"].map(of);
        let sum = |lines: &[&str], name: &str| lines.iter().filter_map(|line| field(line, name)).sum::<u64>();
        let per = |lines: &[&str], name: &str| sum(lines, name).saturating_mul(1000).checked_div(sum(lines, "messages"));
        Some(Self {
            group: sum(&posted, "messages").checked_div(u64::try_from(posted.len()).ok()?)?,
            verify: per(&requests, "verify")?,
            queue: per(&taken, "queue")?,
            load: per(&posted, "load")?,
            apply: per(&posted, "apply")?,
            persist: per(&posted, "persist")?,
            commit: per(&posted, "commit")?,
            receipt: per(&posted, "prove")? + per(&requests, "receipt")?,
        })
    }

    /// The stages in which something is done, by their names and in order.
    pub fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("verify", self.verify),
            ("load", self.load),
            ("apply", self.apply),
            ("persist", self.persist),
            ("commit", self.commit),
            ("receipt", self.receipt),
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
        let log = "2026 DEBUG ledger: taken from the queue; what they waited in microseconds, added up messages=300 queue=600\n\
                   2026 DEBUG ledger: posted; phases in microseconds messages=300 load=900 apply=300 persist=6000 commit=30 prove=300\n\
                   2026 DEBUG http: answered; in microseconds messages=50 verify=500 receipt=50\n\
                   2026 WARN something else messages=7 load=1\n\
                   2026 DEBUG ledger: taken from the queue; what they waited in microseconds, added up messages=100 queue=1000\n\
                   2026 DEBUG ledger: posted; phases in microseconds messages=100 load=300 apply=100 persist=2000 commit=370 prove=500\n";
        let all = Phases {
            group: 200,
            verify: 10_000,
            queue: 4_000,
            load: 3_000,
            apply: 1_000,
            persist: 20_000,
            commit: 1_000,
            receipt: 3_000,
        };
        assert_eq!(Phases::read(log), Some(all));
        assert_eq!(Phases::read("nothing of it"), None);
    }
}
