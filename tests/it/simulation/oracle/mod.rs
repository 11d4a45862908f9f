//! What must come of a story, worked out from the rules as they are written down for partners, with nothing of the ledger's own code.

pub mod account;
pub mod book;
mod reversal;

use std::collections::BTreeMap;

use partner_sdk::Code;

use self::account::{Account, Funder, Hold, Lot};
use self::book::{Book, Line, Told};
use super::rules::{Exchange, HOTEL, QUOTE, Rules, STORE};
use super::story::{Act, Step};

/// An accepted message, as far as others may refer to it.
#[derive(Debug, Clone)]
pub enum Done {
    /// An earn: its agreement, points, spend, and what of both was taken back.
    Earn {
        deal: usize,
        points: i64,
        cents: i64,
        reversed: i64,
        refunded: i64,
    },
    /// A burn or capture: its agreement, points, those not given back yet by lot, and how many were reversed.
    Burn {
        deal: usize,
        points: i64,
        parts: Vec<(usize, i64)>,
        reversed: i64,
    },
    /// A hold under a burn agreement, of so many points.
    Hold { deal: usize, points: i64 },
    /// An offer.
    Quote { deal: usize, offered: i64, until: i64, used: bool },
    /// An exchange that was done: what moved, and how much of what was given was reversed.
    Exchange {
        deal: usize,
        offer: Offer,
        parts: Vec<(usize, i64)>,
        reversed: i64,
    },
    /// An exchange that waits for an answer, or had one: whether it was credited.
    Instructed { deal: usize, offer: Offer, answer: Option<bool> },
    /// Anything else.
    Other,
}

/// What an exchange moves.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// Points given.
    pub used: i64,
    /// Points credited.
    pub credited: i64,
    /// Points on top.
    pub bonus: i64,
}

impl Offer {
    /// What is offered for so many points.
    pub fn of(exchange: &Exchange, points: i64) -> Self {
        let steps = points / exchange.step;
        let credited = steps * exchange.numerator;
        let (used, bonus) = (steps * exchange.step, credited * exchange.bonus / 100);
        Self { used, credited, bonus }
    }
}

/// One story's state.
pub struct Oracle<'a> {
    rules: &'a Rules,
    windows: &'a [(i64, i64)],
    /// The first window that isn't over.
    window: usize,
    /// By programme.
    pub accounts: Vec<Account>,
    /// Accepted messages with when they were posted.
    pub done: BTreeMap<usize, (i64, Done)>,
    /// (agreement's kind and number, window) -> points.
    used: BTreeMap<(char, usize, usize), i64>,
    /// What came of it.
    pub book: Book,
}

impl<'a> Oracle<'a> {
    /// Before anything has happened.
    pub fn new(rules: &'a Rules, windows: &'a [(i64, i64)]) -> Self {
        let programmes = rules.programmes.iter().enumerate();
        Self {
            rules,
            windows,
            window: 0,
            accounts: programmes
                .map(|(number, programme)| Account::new(number, programme.issuer))
                .collect(),
            done: BTreeMap::new(),
            used: BTreeMap::new(),
            book: Book::default(),
        }
    }

    /// Closes every window that is over by an instant.
    pub fn pass(&mut self, at: i64) {
        while self.windows[self.window].1 <= at {
            for account in &mut self.accounts {
                let mut told = Told::default();
                account.expire(self.windows[self.window].1, &mut told);
                self.book.file(self.window, told);
            }
            self.window += 1;
        }
    }

    /// Posts a message; a refused one changes nothing.
    pub fn post(&mut self, step: &Step, at: i64) -> Result<(), Code> {
        self.pass(at);
        if step.lag > STORE && !matches!(step.act, Act::Answer { .. }) {
            return Err(Code::Stale);
        }
        let mut told = Told::default();
        let done = self.act(step, at, &mut told)?;
        self.done.insert(step.no, (at, done));
        self.book.file(self.window, told);
        Ok(())
    }

    fn act(&mut self, step: &Step, at: i64, told: &mut Told) -> Result<Done, Code> {
        match step.act {
            Act::Earn { deal, points, cents } => self.earn(step, at, (deal, points, cents), told),
            Act::Burn { deal, points } => self.burn(at, deal, points, told),
            Act::Authorise { deal, points, until } => self.authorise(step, at, (deal, points, until)),
            Act::Capture { of, points } => self.capture(at, of, points, told),
            Act::Void { of } => {
                let (programme, hold) = self.open_hold(of, at)?;
                let account = &mut self.accounts[programme];
                let (owed, parts) = (account.owed(at), account.holds[hold].parts.clone());
                account.holds[hold].open = false;
                account.release(&parts, owed, told);
                Ok(Done::Other)
            }
            Act::Quote { deal, points } => {
                let exchange = &self.rules.exchanges[deal];
                if points < exchange.step || Offer::of(exchange, points).credited == 0 {
                    return Err(Code::BelowMinimum);
                }
                Ok(Done::Quote {
                    deal,
                    offered: points,
                    until: at + QUOTE,
                    used: false,
                })
            }
            Act::Exchange { deal, quote, .. } => self.exchange(step, at, deal, quote, told),
            Act::Answer { of, credited } => self.answer(at, of, credited, told),
            Act::Reverse { of, points } => self.reverse(at, of, reversal::Much::Points(points), told),
            Act::Refund { of, cents } => self.reverse(at, of, reversal::Much::Cents(cents), told),
        }
    }

    /// Counts points of the member under an agreement in this window.
    fn within(&mut self, agreement: (char, usize), points: i64, per_message: i64, per_member_day: i64) -> Result<(), Code> {
        let used = self.used.get(&(agreement.0, agreement.1, self.window)).copied().unwrap_or(0);
        if points > per_message {
            return Err(Code::LimitPerMessage);
        }
        if used + points > per_member_day {
            return Err(Code::LimitMemberDay);
        }
        Ok(())
    }

    fn count(&mut self, agreement: (char, usize), points: i64) {
        *self.used.entry((agreement.0, agreement.1, self.window)).or_default() += points;
    }

    fn earn(&mut self, step: &Step, at: i64, (deal, points, cents): (usize, i64, i64), told: &mut Told) -> Result<Done, Code> {
        let terms = &self.rules.earns[deal];
        let expires = self.rules.expiry(terms.programme, at - step.lag);
        if expires <= at {
            return Err(Code::ExpiredOnArrival);
        }
        self.within(('e', deal), points, terms.per_message, terms.per_member_day)?;
        self.count(('e', deal), points);
        let funder = Funder {
            partner: terms.partner,
            price: terms.price,
            redemption: terms.redemption,
        };
        let account = &mut self.accounts[terms.programme];
        if !terms.redemption {
            told.line(
                Line::new("earn", terms.partner, account.issuer, terms.programme, terms.price),
                points,
            );
        }
        account.issue(lot(step.no, 0, expires, funder, points), at, told);
        Ok(Done::Earn {
            deal,
            points,
            cents,
            reversed: 0,
            refunded: 0,
        })
    }

    fn burn(&mut self, at: i64, deal: usize, points: i64, told: &mut Told) -> Result<Done, Code> {
        let terms = &self.rules.burns[deal];
        self.within(('b', deal), points, terms.per_message, terms.per_member_day)?;
        let account = &mut self.accounts[terms.programme];
        if account.available(at) < points {
            return Err(Code::InsufficientBalance);
        }
        let parts = account.choose(at, points);
        account.take(&parts, told);
        told.line(
            Line::new("burn", account.issuer, terms.partner, terms.programme, terms.price),
            points,
        );
        self.count(('b', deal), points);
        Ok(Done::Burn {
            deal,
            points,
            parts,
            reversed: 0,
        })
    }

    fn authorise(&mut self, step: &Step, at: i64, (deal, points, until): (usize, i64, i64)) -> Result<Done, Code> {
        let terms = &self.rules.burns[deal];
        if until <= at || until > at + super::rules::HOLD {
            return Err(Code::BadValue);
        }
        self.within(('b', deal), points, terms.per_message, terms.per_member_day)?;
        let account = &mut self.accounts[terms.programme];
        if account.available(at) < points {
            return Err(Code::InsufficientBalance);
        }
        let parts = account.choose(at, points);
        account.holds.push(Hold {
            no: step.no,
            until: Some(until),
            parts,
            open: true,
        });
        self.count(('b', deal), points);
        Ok(Done::Hold { deal, points })
    }

    /// Whether all that was done was undone: points, holds and money.
    pub fn is_undone(&self) -> bool {
        let mut done = self.done.values().map(|(_, done)| done);
        let undone = done.all(|done| match done {
            Done::Earn { points, reversed, .. } | Done::Burn { points, reversed, .. } => points == reversed,
            Done::Exchange { offer, reversed, .. } => offer.used == *reversed,
            Done::Instructed { answer, .. } => *answer == Some(false),
            _ => true,
        });
        undone && !self.done.is_empty()
    }

    /// Where the hold of an authorise is: programme and place.
    pub fn open_hold(&self, of: usize, at: i64) -> Result<(usize, usize), Code> {
        let Some((_, Done::Hold { deal, .. })) = self.done.get(&of) else {
            return Err(Code::HoldUnknown);
        };
        let programme = self.rules.burns[*deal].programme;
        let hold = self.hold(programme, of);
        let found = &self.accounts[programme].holds[hold];
        match (found.open, found.lives(at)) {
            (false, _) => Err(Code::HoldClosed),
            (true, false) => Err(Code::HoldExpired),
            (true, true) => Ok((programme, hold)),
        }
    }

    fn hold(&self, programme: usize, no: usize) -> usize {
        let mut holds = self.accounts[programme].holds.iter();
        holds.position(|hold| hold.no == no).expect("a hold")
    }

    fn capture(&mut self, at: i64, of: usize, points: i64, told: &mut Told) -> Result<Done, Code> {
        let (programme, hold) = self.open_hold(of, at)?;
        let Some((_, Done::Hold { deal, points: held })) = self.done.get(&of) else {
            unreachable!("an open hold")
        };
        let (deal, terms) = (*deal, &self.rules.burns[*deal]);
        if points > *held {
            return Err(Code::HoldExceeded);
        }
        let account = &mut self.accounts[programme];
        let owed = account.owed(at);
        account.holds[hold].open = false;
        let (mut rest, mut parts, mut free) = (points, vec![], vec![]);
        for (lot, held) in account.holds[hold].parts.clone() {
            let some = rest.min(held);
            rest -= some;
            parts.push((lot, some));
            free.push((lot, held - some));
        }
        account.take(&parts, told);
        account.release(&free, owed, told);
        told.line(Line::new("burn", account.issuer, terms.partner, programme, terms.price), points);
        Ok(Done::Burn {
            deal,
            points,
            parts,
            reversed: 0,
        })
    }

    fn exchange(&mut self, step: &Step, at: i64, deal: usize, quote: usize, told: &mut Told) -> Result<Done, Code> {
        let offered = match self.done.get(&quote) {
            Some((_, Done::Quote { used: true, .. })) => return Err(Code::QuoteUsed),
            Some((_, Done::Quote { until, .. })) if *until <= at => return Err(Code::QuoteExpired),
            Some((_, Done::Quote { offered, .. })) => *offered,
            _ => return Err(Code::QuoteUnknown),
        };
        let terms = &self.rules.exchanges[deal];
        let offer = Offer::of(terms, offered);
        self.within(('x', deal), offer.used, i64::MAX, terms.per_member_day)?;
        let account = &mut self.accounts[terms.from];
        if account.available(at) < offer.used {
            return Err(Code::InsufficientBalance);
        }
        let parts = account.choose(at, offer.used);
        let done = if terms.to == HOTEL {
            account.holds.push(Hold {
                no: step.no,
                until: None,
                parts,
                open: true,
            });
            let answer = None;
            Done::Instructed { deal, offer, answer }
        } else {
            account.take(&parts, told);
            self.credit(step, at, deal, offer, told);
            self.owe(deal, offer, told);
            let reversed = 0;
            Done::Exchange {
                deal,
                offer,
                parts,
                reversed,
            }
        };
        self.count(('x', deal), offer.used);
        if let Some((_, Done::Quote { used, .. })) = self.done.get_mut(&quote) {
            *used = true;
        }
        Ok(done)
    }

    /// The points that an exchange credits.
    fn credit(&mut self, step: &Step, at: i64, deal: usize, offer: Offer, told: &mut Told) {
        let terms = &self.rules.exchanges[deal];
        let expires = self.rules.expiry(terms.to, at - step.lag);
        for (leg, points, price) in [(0, offer.credited, terms.price), (1, offer.bonus, terms.price / 2)] {
            let funder = Funder {
                partner: terms.partner,
                price,
                redemption: false,
            };
            if points > 0 {
                self.accounts[terms.to].issue(lot(step.no, leg, expires, funder, points), at, told);
            }
        }
    }

    /// The money of an exchange.
    fn owe(&self, deal: usize, offer: Offer, told: &mut Told) {
        let terms = &self.rules.exchanges[deal];
        let issuer = self.rules.programmes[terms.to].issuer;
        told.line(Line::new("exchange", terms.partner, issuer, terms.to, terms.price), offer.credited);
        told.line(Line::new("bonus", terms.partner, issuer, terms.to, terms.price / 2), offer.bonus);
    }

    fn answer(&mut self, at: i64, of: usize, credited: bool, told: &mut Told) -> Result<Done, Code> {
        let (deal, offer) = match self.done.get_mut(&of) {
            Some((_, Done::Instructed { answer: Some(_), .. })) => return Err(Code::ExchangeClosed),
            Some((_, Done::Instructed { deal, offer, answer })) => {
                *answer = Some(credited);
                (*deal, *offer)
            }
            _ => return Err(Code::ExchangeUnknown),
        };
        let programme = self.rules.exchanges[deal].from;
        let hold = self.hold(programme, of);
        let account = &mut self.accounts[programme];
        let (owed, parts) = (account.owed(at), account.holds[hold].parts.clone());
        account.holds[hold].open = false;
        if credited {
            account.take(&parts, told);
            self.owe(deal, offer, told);
        } else {
            account.release(&parts, owed, told);
        }
        Ok(Done::Other)
    }
}

fn lot(seq: usize, leg: u8, expires: i64, funder: Funder, points: i64) -> Lot {
    Lot {
        expires,
        seq,
        leg,
        funder,
        earned: points,
        left: points,
        used: 0,
        expired: 0,
        valued: 0,
        taken_back: 0,
        elsewhere: 0,
        borrowed: 0,
        lent: 0,
        charged: 0,
    }
}
