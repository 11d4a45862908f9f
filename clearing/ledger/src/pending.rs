//! An exchange that waits for an issuer's answer, as a value.

use partner_sdk::wire::ExchangeState;
use partner_sdk::{Currency, MessageId, PartnerId};

const DAY: i64 = 86_400_000_000;

/// An exchange that an issuer was told to credit in its own books.
#[derive(Debug, Clone)]
pub struct Pending {
    /// The exchange message, and its hold where the points are here.
    pub seq: i64,
    /// Who sent it.
    pub sender: PartnerId,
    /// Its id.
    pub id: MessageId,
    /// Who is to answer.
    pub to_issuer: PartnerId,
    /// When it was told, in microseconds since 1970.
    pub instructed_at: i64,
    /// Until when it has time to answer.
    pub deadline: i64,
    /// What will be owed once it is captured.
    pub reserved: Reserved,
    /// How often it was asked again.
    pub queries: i32,
    /// When it is asked next.
    pub next_query_at: i64,
    /// The answer that ended it.
    pub answer: Option<Answered>,
}

/// Money that isn't owed yet, and counts towards caps already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// Who will owe.
    pub debtor: PartnerId,
    /// Whom.
    pub creditor: PartnerId,
    /// In which currency.
    pub currency: Currency,
    /// How much, in micros.
    pub micros: i64,
}

/// The answer that ended a pending exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Whether it was credited.
    pub captured: bool,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// The answering message.
    pub seq: i64,
    /// Its reference or reason.
    pub word: Option<String>,
}

impl Pending {
    /// Where it stands at `now`: what isn't answered in time is unknown, and stays so until it is.
    pub fn state(&self, now: i64) -> ExchangeState {
        match &self.answer {
            Some(answer) if answer.captured => ExchangeState::Captured,
            Some(_) => ExchangeState::Released,
            None if now < self.deadline => ExchangeState::Instructed,
            None => ExchangeState::Unknown,
        }
    }

    /// Counts a query made at `now`. The next one is due after the term, then after twice the term, and so on up to a day, or the term where that is longer.
    pub fn asked(&mut self, now: i64) {
        let term = self.deadline.saturating_sub(self.instructed_at).max(1);
        let doubled = term.saturating_mul(1i64 << self.queries.clamp(0, 30));
        self.queries = self.queries.saturating_add(1);
        self.next_query_at = now.saturating_add(doubled.min(DAY.max(term)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    #[test]
    fn queries_grow_rarer_until_one_a_day() {
        let party = |id: &str| id.parse::<PartnerId>().expect("a partner");
        let mut pending = Pending {
            seq: 1,
            sender: party("bank"),
            id: "x".parse().expect("an id"),
            to_issuer: party("airline"),
            instructed_at: 0,
            deadline: 10 * MINUTE,
            reserved: Reserved {
                debtor: party("bank"),
                creditor: party("airline"),
                currency: "HKD".parse().expect("a currency"),
                micros: 1,
            },
            queries: 0,
            next_query_at: 10 * MINUTE,
            answer: None,
        };
        let mut distances = vec![];
        for _ in 0..12 {
            let now = pending.next_query_at;
            pending.asked(now);
            distances.push((pending.next_query_at - now) / MINUTE);
        }
        assert_eq!(distances, [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440, 1440, 1440]);
        // A term longer than a day is its own distance, and asking for ever overflows nothing.
        (pending.deadline, pending.queries) = (7 * DAY, i32::MAX);
        pending.asked(0);
        assert_eq!(pending.next_query_at, 7 * DAY);
        assert_eq!(pending.state(7 * DAY), ExchangeState::Unknown);
        assert_eq!(pending.state(7 * DAY - 1), ExchangeState::Instructed);
    }
}
