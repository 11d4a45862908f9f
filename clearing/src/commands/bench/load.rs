//! The load: messages signed before they are sent.

use std::ops::Range;
use std::sync::Arc;

use partner_sdk::client::new_message_id;
use partner_sdk::wire::write_batch;
use partner_sdk::{Amount, Body, MemberNumber, Message, MessageId, ProgrammeCode};
use rayon::prelude::*;

use super::stand::Stand;
use super::way::{BATCHES, Form, Way};
use crate::commands::progress::bar;

/// What every member starts with: enough for all that is burned.
const OPENING: u64 = 10_000_000;

/// One request, ready to be sent.
pub(super) struct Request {
    /// Who sends it, as a place in the list of parties.
    pub party: usize,
    /// Its messages, each as the bytes that its receipt is about.
    pub messages: Vec<String>,
    /// The body.
    pub body: Arc<str>,
}

impl Request {
    /// Messages of one party, issued and signed now.
    pub fn sign(stand: &Stand, party: usize, bodies: Vec<(MessageId, Body)>, form: Form) -> Self {
        let (of, now) = (&stand.parties[party], stand.sandbox.clock.now());
        let message = |(id, body)| Message {
            id,
            sender: of.id.clone(),
            issued_at: now,
            occurred_at: now,
            body,
        };
        let messages: Vec<Message> = bodies.into_iter().map(message).collect();
        let (messages, body) = match form {
            Form::Lines => {
                let lines: Vec<String> = messages.iter().map(|message| message.sign(&of.key)).collect();
                let body = lines.join("\n");
                (lines, body)
            }
            Form::Signed => (messages.iter().map(Message::payload).collect(), write_batch(&messages, &of.key)),
        };
        Self {
            party,
            messages,
            body: body.into(),
        }
    }
}

/// What is sent, and which way.
pub(super) type Sent<'a> = (&'a [Request], &'a Way);

/// The number of a member.
pub(super) fn member(no: u64) -> anyhow::Result<MemberNumber> {
    Ok(MemberNumber::new(format!("{:010}", 8_000_000_000 + no))?)
}

/// Who sends how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turns {
    /// All the same.
    Even,
    /// The first of them seven requests of ten, the others the rest in turn.
    Skewed,
}

impl Turns {
    fn party(self, no: usize, parties: usize) -> usize {
        match self {
            Self::Even => no % parties,
            Self::Skewed if no % 10 < 7 => 0,
            Self::Skewed => 1 + (no / 10 * 3 + no % 10 - 7) % (parties - 1),
        }
    }
}

/// Makes and signs messages, on all processors. Ids grow with time; four messages of five earn, one burns.
pub(super) struct Load<'a> {
    stand: &'a Stand,
    members: u64,
    /// How many messages were drawn: the next are others.
    drawn: u64,
}

impl<'a> Load<'a> {
    pub fn new(stand: &'a Stand, members: u32) -> Self {
        Self {
            stand,
            members: members.into(),
            drawn: 0,
        }
    }

    /// An earn for every member, so that burns find points.
    pub fn opening(&self) -> anyhow::Result<Vec<Request>> {
        self.openings(0..self.members)
    }

    /// The same for some of them.
    pub fn openings(&self, members: Range<u64>) -> anyhow::Result<Vec<Request>> {
        let plans = members.map(|member| (member, OPENING, false)).collect();
        self.requests(plans, &BATCHES, Turns::Even)
    }

    /// So many messages more, to be sent that way.
    pub fn more(&mut self, messages: u32, way: &Way) -> anyhow::Result<Vec<Request>> {
        self.more_of(messages, way, Turns::Even)
    }

    /// The same, of these partners.
    pub fn more_of(&mut self, messages: u32, way: &Way, turns: Turns) -> anyhow::Result<Vec<Request>> {
        let first = self.drawn;
        self.drawn += u64::from(messages);
        let plan = |no: u64| {
            let draw = mix(no);
            let burn = draw.is_multiple_of(5);
            ((draw >> 8) % self.members, 1 + (draw >> 40) % if burn { 20 } else { 500 }, burn)
        };
        self.requests((first..self.drawn).map(plan).collect(), way, turns)
    }

    fn requests(&self, plans: Vec<Plan>, way: &Way, turns: Turns) -> anyhow::Result<Vec<Request>> {
        let bar = bar("signing", plans.len());
        // Ids are taken in order, before the work is spread.
        let plans: Vec<_> = plans.into_iter().map(|plan| (plan, new_message_id())).collect();
        let programme: ProgrammeCode = "POINTS".parse()?;
        let sign = |(no, chunk): (usize, &[(Plan, MessageId)])| {
            let bodies = chunk.iter().map(|(plan, id)| Ok((id.clone(), body(&programme, *plan)?)));
            let bodies = bodies.collect::<anyhow::Result<Vec<_>>>()?;
            let party = turns.party(no, self.stand.parties.len());
            let request = Request::sign(self.stand, party, bodies, way.form);
            bar.inc(u64::try_from(chunk.len())?);
            Ok(request)
        };
        let chunks: Vec<_> = plans.chunks(way.size).enumerate().collect();
        let requests = chunks.into_par_iter().map(sign).collect();
        bar.finish_and_clear();
        requests
    }
}

/// Member, points, whether it burns.
type Plan = (u64, u64, bool);

fn body(programme: &ProgrammeCode, (no, points, burn): Plan) -> anyhow::Result<Body> {
    let (programme, member) = (programme.clone(), member(no)?);
    let amount: Amount = points.to_string().parse()?;
    Ok(match burn {
        true => Body::Burn {
            programme,
            member,
            points: amount,
        },
        false => Body::Earn {
            programme,
            member,
            points: amount,
            spend: Some(format!("{points}.50").parse()?),
        },
    })
}

/// A number that looks drawn by lot, the same on every run (the finaliser of splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_seven_of_ten_and_the_others_the_rest() {
        let mut sent = [0; 4];
        (0..1_000).for_each(|no| sent[Turns::Skewed.party(no, 4)] += 1);
        assert_eq!(sent, [700, 100, 100, 100]);
        let mut sent = [0; 4];
        (0..1_000).for_each(|no| sent[Turns::Even.party(no, 4)] += 1);
        assert_eq!(sent, [250; 4]);
    }
}
