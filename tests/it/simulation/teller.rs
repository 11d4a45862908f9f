//! Draws stories. The oracle goes along, so that a story captures holds that there are, spends what there is or a point more, and knows what must come of it.

use std::collections::BTreeMap;

use partner_sdk::Code;
use tests::load::Draw;

use super::oracle::{Done, Oracle};
use super::rules::{BANK, HOLD, HOTEL, MILES, PTS, Rules, STORE};
use super::story::{Act, Step, Story};
use super::timeline::Timeline;
use super::{DAY, chance, drawn, pick};

/// Balance, held, available.
pub type Points = (i64, i64, i64);

/// What must come of a story.
pub struct Expected {
    /// By step.
    pub outcomes: BTreeMap<usize, Result<(), Code>>,
    /// What the member has before the story's messages at a tick, by hosted programme: after a cut-off nothing has touched its accounts by then.
    pub before: BTreeMap<usize, [Points; 3]>,
    /// What it has after them.
    pub balances: BTreeMap<usize, [Points; 3]>,
    /// What the member has in the end.
    pub end: [Points; 3],
    /// Whether all that was done was undone.
    pub undone: bool,
    /// Lines and breakage.
    pub book: super::oracle::book::Book,
}

/// What comes of a story's messages.
pub fn expect(rules: &Rules, timeline: &Timeline, story: &Story) -> Expected {
    let mut oracle = Oracle::new(rules, &timeline.windows);
    let (mut outcomes, mut before, mut balances) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for step in &story.steps {
        let at = timeline.ticks[step.tick];
        oracle.pass(at);
        before.entry(step.tick).or_insert_with(|| points(&oracle, at));
        outcomes.insert(step.no, oracle.post(step, at));
        balances.insert(step.tick, points(&oracle, at));
    }
    oracle.pass(timeline.end);
    Expected {
        outcomes,
        before,
        balances,
        end: points(&oracle, timeline.end),
        undone: oracle.is_undone(),
        book: oracle.book,
    }
}

fn points(oracle: &Oracle, at: i64) -> [Points; 3] {
    [PTS, BANK, MILES].map(|programme| {
        let account = &oracle.accounts[programme];
        (account.balance(), account.held(at), account.available(at))
    })
}

/// Draws the story of a seed.
pub fn tell(rules: &Rules, timeline: &Timeline, seed: u64) -> Story {
    let mut teller = Teller {
        draw: drawn(seed),
        rules,
        oracle: Oracle::new(rules, &timeline.windows),
        timeline,
        at: 0,
    };
    let length = usize::try_from(12 + teller.draw.upto(34)).expect("small");
    // What is to be undone in the end mustn't be too old by then.
    let undo = chance(&mut teller.draw, 25);
    let span = u64::try_from(timeline.ticks.len() / if undo { 2 } else { 1 }).expect("small");
    let mut ticks: Vec<usize> = vec![];
    for _ in 0..length {
        let again = chance(&mut teller.draw, 30);
        let tick = usize::try_from(teller.draw.upto(span) - 1).expect("small");
        ticks.push(ticks.last().copied().filter(|_| again).unwrap_or(tick));
    }
    ticks.sort_unstable();
    let mut story = Story { seed, steps: vec![] };
    for tick in &ticks {
        teller.pass(*tick);
        for next in teller.next() {
            teller.post(*tick, next, &mut story);
        }
    }
    if undo {
        teller.undo(*ticks.last().expect("a message"), &mut story);
    }
    story
}

struct Teller<'a> {
    draw: Draw,
    rules: &'a Rules,
    oracle: Oracle<'a>,
    timeline: &'a Timeline,
    at: i64,
}

type Next = (&'static str, i64, Act);

impl Teller<'_> {
    fn upto(&mut self, n: i64) -> i64 {
        i64::try_from(self.draw.upto(u64::try_from(n.max(1)).expect("positive"))).expect("small")
    }

    fn pass(&mut self, tick: usize) {
        self.at = self.timeline.ticks[tick];
        self.oracle.pass(self.at);
    }

    /// One more message; returns whether it is accepted.
    fn post(&mut self, tick: usize, (sender, lag, act): Next, story: &mut Story) -> bool {
        let no = story.steps.len();
        let act = match act {
            // The quote that comes just before.
            Act::Exchange {
                deal,
                points,
                quote: usize::MAX,
            } => Act::Exchange {
                deal,
                points,
                quote: no - 1,
            },
            other => other,
        };
        let step = Step {
            no,
            tick,
            sender,
            lag,
            act,
        };
        let accepted = self.oracle.post(&step, self.at).is_ok();
        story.steps.push(step);
        accepted
    }

    /// All that was done is undone, in any order, as far as that goes: what is refused because other things have to be undone first is tried again.
    fn undo(&mut self, mut tick: usize, story: &mut Story) {
        for _ in 0..4 {
            let mut left = self.left_to_undo();
            while !left.is_empty() {
                let place = self.place(left.len());
                let next = left.swap_remove(place);
                if chance(&mut self.draw, 10) && tick + 1 < self.timeline.ticks.len() {
                    tick += 1;
                    self.pass(tick);
                }
                self.post(tick, next, story);
            }
        }
    }

    /// Holds that are open, exchanges that wait, and all that can be taken back.
    fn left_to_undo(&mut self) -> Vec<Next> {
        let mut left = vec![];
        for (no, (_, done)) in &self.oracle.done {
            let of = *no;
            match done {
                Done::Hold { deal, .. } if self.oracle.open_hold(of, self.at).is_ok() => {
                    left.push((self.rules.burns[*deal].partner, 0, Act::Void { of }));
                }
                Done::Instructed { answer: None, .. } => {
                    let credited = false;
                    left.push((self.rules.programmes[HOTEL].issuer, 0, Act::Answer { of, credited }));
                }
                _ => {}
            }
        }
        left.extend(
            self.targets()
                .into_iter()
                .map(|(of, sender, points, _)| (sender, 0, Act::Reverse { of, points })),
        );
        left
    }

    /// What can be taken back: message, sender, points and cents that are left.
    fn targets(&self) -> Vec<(usize, &'static str, i64, i64)> {
        let mut targets = vec![];
        for (no, (_, done)) in &self.oracle.done {
            let (sender, left, cents) = match done {
                Done::Earn {
                    deal,
                    points,
                    cents,
                    reversed,
                    refunded,
                } => (self.rules.earns[*deal].partner, points - reversed, cents - refunded),
                Done::Burn {
                    deal, points, reversed, ..
                } => (self.rules.burns[*deal].partner, points - reversed, 0),
                Done::Exchange { deal, offer, reversed, .. } => (self.rules.exchanges[*deal].partner, offer.used - reversed, 0),
                _ => continue,
            };
            if left > 0 {
                targets.push((*no, sender, left, cents));
            }
        }
        targets
    }

    /// What happens next: mostly one message.
    fn next(&mut self) -> Vec<Next> {
        let next = match self.draw.upto(100) {
            1..=26 => return vec![self.earn()],
            27..=36 => return vec![self.burn()],
            37..=48 => return vec![self.authorise()],
            49..=64 => self.end_hold(),
            65..=74 => return self.quote(),
            75..=81 => self.answer(),
            _ => self.reverse(),
        };
        vec![next.unwrap_or_else(|| self.earn())]
    }

    fn earn(&mut self) -> Next {
        let deal = self.place(self.rules.earns.len());
        let terms = &self.rules.earns[deal];
        let most = if terms.programme == BANK { 300 } else { 100 };
        let (points, spent) = (self.upto(most), self.upto(30_000));
        let cents = if chance(&mut self.draw, 60) { spent } else { 0 };
        let lag = match self.draw.upto(80) {
            1 => STORE + 1,
            2..=12 => self.upto(4 * DAY),
            13..=30 => self.upto(DAY),
            _ => 0,
        };
        (terms.partner, lag, Act::Earn { deal, points, cents })
    }

    fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.draw.upto(u64::try_from(length).expect("small")) - 1).expect("small")
    }

    /// So many of what there is; seldom one more.
    fn some(&mut self, of: i64) -> i64 {
        let of = of.max(0);
        match self.draw.upto(12) {
            1 => of + 1,
            2..=4 => of.max(1),
            _ => self.upto(of),
        }
    }

    /// A burn agreement, mostly one under which the member has something.
    fn burn_deal(&mut self) -> (usize, i64) {
        let mut found = (0, 0);
        for _ in 0..8 {
            let deal = self.place(self.rules.burns.len());
            found = (deal, self.oracle.accounts[self.rules.burns[deal].programme].available(self.at));
            if found.1 > 0 {
                break;
            }
        }
        found
    }

    fn burn(&mut self) -> Next {
        let (deal, available) = self.burn_deal();
        let points = self.some(available);
        (self.rules.burns[deal].partner, 0, Act::Burn { deal, points })
    }

    fn authorise(&mut self) -> Next {
        let (deal, available) = self.burn_deal();
        let points = self.some(available);
        let to_come: Vec<i64> = self.timeline.instants(self.at, self.at + HOLD);
        let until = match self.draw.upto(20) {
            1 if chance(&mut self.draw, 50) => self.at,
            1 => self.at + HOLD + 60,
            2..=9 => self.at + HOLD,
            10..=13 => self.at + self.upto(DAY),
            _ if to_come.is_empty() => self.at + 1,
            _ => pick(&mut self.draw, &to_come),
        };
        (self.rules.burns[deal].partner, 0, Act::Authorise { deal, points, until })
    }

    /// A capture or void, mostly of a hold that is open.
    fn end_hold(&mut self) -> Option<Next> {
        let mut holds = vec![];
        for (no, (_, done)) in &self.oracle.done {
            if let Done::Hold { deal, points } = done {
                let terms = &self.rules.burns[*deal];
                let hold = self.oracle.accounts[terms.programme].holds.iter().find(|hold| hold.no == *no)?;
                holds.push((*no, terms.partner, *points, hold.lives(self.at)));
            }
        }
        if !chance(&mut self.draw, 20) {
            holds.retain(|hold| hold.3);
        }
        if holds.is_empty() {
            return Some(self.authorise());
        }
        let (of, sender, held, _) = pick(&mut self.draw, &holds);
        if chance(&mut self.draw, 20) {
            return Some((sender, 0, Act::Void { of }));
        }
        let points = self.some(held);
        Some((sender, 0, Act::Capture { of, points }))
    }

    /// A quote, and mostly the exchange at once or later.
    fn quote(&mut self) -> Vec<Next> {
        let again = chance(&mut self.draw, 25);
        let mut earlier = self.oracle.done.iter().rev().filter_map(|(no, (_, done))| match done {
            Done::Quote { deal, offered, .. } => Some((*no, *deal, *offered)),
            _ => None,
        });
        if let Some((quote, deal, points)) = earlier.next().filter(|_| again) {
            return vec![(self.rules.exchanges[deal].partner, 0, Act::Exchange { deal, points, quote })];
        }
        let (mut deal, mut available) = (0, 0);
        for _ in 0..4 {
            deal = self.place(self.rules.exchanges.len());
            let terms = &self.rules.exchanges[deal];
            available = self.oracle.accounts[terms.from].available(self.at);
            if available >= terms.step {
                break;
            }
        }
        let terms = &self.rules.exchanges[deal];
        let points = self.some(available.max(terms.step));
        let quote = (terms.partner, 0, Act::Quote { deal, points });
        if chance(&mut self.draw, 15) {
            return vec![quote];
        }
        let quoted = usize::MAX;
        vec![
            quote,
            (
                terms.partner,
                0,
                Act::Exchange {
                    deal,
                    points,
                    quote: quoted,
                },
            ),
        ]
    }

    fn answer(&mut self) -> Option<Next> {
        let instructed = self.oracle.done.iter().filter_map(|(no, (_, done))| match done {
            Done::Instructed { answer, .. } => Some((*no, answer.is_some())),
            _ => None,
        });
        let mut instructed: Vec<(usize, bool)> = instructed.collect();
        if !chance(&mut self.draw, 10) {
            instructed.retain(|(_, answered)| !answered);
        }
        if instructed.is_empty() {
            return None;
        }
        let (of, _) = pick(&mut self.draw, &instructed);
        let credited = chance(&mut self.draw, 65);
        let issuer = self.rules.programmes[HOTEL].issuer;
        Some((issuer, 0, Act::Answer { of, credited }))
    }

    /// Something is taken back, all or part.
    fn reverse(&mut self) -> Option<Next> {
        let mut targets = self.targets();
        // And some that can't be, or not any more.
        for (no, (_, done)) in self.oracle.done.iter().filter(|(no, _)| *no % 8 == 0) {
            match done {
                Done::Instructed { deal, offer, .. } => targets.push((*no, self.rules.exchanges[*deal].partner, offer.used, 0)),
                Done::Earn {
                    deal, points, reversed, ..
                } if points == reversed => targets.push((*no, self.rules.earns[*deal].partner, 1, 0)),
                Done::Burn {
                    deal, points, reversed, ..
                } if points == reversed => targets.push((*no, self.rules.burns[*deal].partner, 1, 0)),
                _ => {}
            }
        }
        if targets.is_empty() {
            return None;
        }
        let (of, sender, left, cents) = pick(&mut self.draw, &targets);
        if cents > 0 && chance(&mut self.draw, 60) {
            let cents = self.some(cents);
            return Some((sender, 0, Act::Refund { of, cents }));
        }
        // Which of two refusals comes first isn't written down.
        let waits = matches!(self.oracle.done.get(&of), Some((_, Done::Instructed { .. })));
        let points = if waits { left } else { self.some(left) };
        Some((sender, 0, Act::Reverse { of, points }))
    }
}
