//! A story: what one member and its partners do over some days, message by message, and as the wire has it.

use jiff::Timestamp;
use partner_sdk::wire::Quantity;
use partner_sdk::{Body, Message, MessageId};
use tests::amount;

use super::rules::Rules;

/// What a message does. Others are named by their number, agreements by their place in [`Rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the wire's")]
pub enum Act {
    Earn { deal: usize, points: i64, cents: i64 },
    Burn { deal: usize, points: i64 },
    Authorise { deal: usize, points: i64, until: i64 },
    Capture { of: usize, points: i64 },
    Void { of: usize },
    Quote { deal: usize, points: i64 },
    Exchange { deal: usize, points: i64, quote: usize },
    Answer { of: usize, credited: bool },
    Reverse { of: usize, points: i64 },
    Refund { of: usize, cents: i64 },
}

/// A message of a story.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its number within the story; it keeps it where others are left out.
    pub no: usize,
    /// Which of the world's ticks it is posted at.
    pub tick: usize,
    /// Who sends it.
    pub sender: &'static str,
    /// How long before that it happened, in seconds.
    pub lag: i64,
    /// What it does.
    pub act: Act,
}

/// A member's story.
#[derive(Debug, Clone)]
pub struct Story {
    /// What it was drawn from.
    pub seed: u64,
    /// In order.
    pub steps: Vec<Step>,
}

impl Story {
    /// The member's number, in every programme.
    pub fn member(&self) -> String {
        format!("m{}", self.seed)
    }

    fn id(&self, no: usize) -> MessageId {
        format!("{}-{no}", self.seed).parse().expect("an id")
    }

    /// A step as a message that is posted at an instant.
    pub fn message(&self, rules: &Rules, step: &Step, at: i64) -> Message {
        Message {
            id: self.id(step.no),
            sender: step.sender.parse().expect("a partner"),
            issued_at: instant(at),
            occurred_at: instant(at - step.lag),
            body: self.body(rules, step.act),
        }
    }

    fn body(&self, rules: &Rules, act: Act) -> Body {
        let member = self.member().parse().expect("a member");
        let points = |points: i64| amount(&points.to_string());
        let programme = |number: usize| rules.programmes[number].code.parse().expect("a programme");
        let cents = |cents: i64| amount(&format!("{}.{:02}", cents / 100, cents % 100));
        match act {
            Act::Earn { deal, points: p, cents: c } => Body::Earn {
                programme: programme(rules.earns[deal].programme),
                member,
                points: points(p),
                spend: (c > 0).then(|| cents(c)),
            },
            Act::Burn { deal, points: p } => Body::Burn {
                programme: programme(rules.burns[deal].programme),
                member,
                points: points(p),
            },
            Act::Authorise { deal, points: p, until } => Body::Authorise {
                programme: programme(rules.burns[deal].programme),
                member,
                points: points(p),
                expires_at: Some(instant(until)),
            },
            Act::Capture { of, points: p } => Body::Capture {
                authorisation: self.id(of),
                points: points(p),
            },
            Act::Void { of } => Body::Void {
                authorisation: self.id(of),
            },
            Act::Quote { deal, points: p } => Body::Quote {
                programme: programme(rules.exchanges[deal].from),
                to_programme: programme(rules.exchanges[deal].to),
                points: points(p),
            },
            Act::Exchange { deal, points: p, quote } => Body::Exchange {
                programme: programme(rules.exchanges[deal].from),
                member: member.clone(),
                to_programme: programme(rules.exchanges[deal].to),
                to_member: member,
                points: points(p),
                quote: self.id(quote),
            },
            Act::Answer { of, credited } => self.answer(of, credited),
            Act::Reverse { of, points: p } => Body::Reverse {
                message: self.id(of),
                quantity: Quantity::Points(points(p)),
            },
            Act::Refund { of, cents: c } => Body::Reverse {
                message: self.id(of),
                quantity: Quantity::Spend(cents(c)),
            },
        }
    }

    fn answer(&self, of: usize, credited: bool) -> Body {
        let (sender_of, exchange) = ("bank".parse().expect("a partner"), self.id(of));
        if credited {
            let reference = None;
            return Body::Acknowledge {
                sender_of,
                exchange,
                reference,
            };
        }
        let reason = "member_unknown".parse().expect("a reason");
        Body::Refuse {
            sender_of,
            exchange,
            reason,
        }
    }
}

/// Seconds since 1970 as a timestamp.
pub fn instant(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}
