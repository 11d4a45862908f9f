//! What is taken back.

use partner_sdk::Code;

use super::book::{Line, Told};
use super::{Done, Offer, Oracle};
use crate::simulation::rules::REVERSAL;

/// How much.
#[derive(Clone, Copy)]
pub enum Much {
    /// Points of the message.
    Points(i64),
    /// Of its spend.
    Cents(i64),
}

impl Oracle<'_> {
    pub(super) fn reverse(&mut self, at: i64, of: usize, much: Much, told: &mut Told) -> Result<Done, Code> {
        let (posted, mut done) = self.done.get(&of).cloned().ok_or(Code::TargetUnknown)?;
        let by_spend = matches!(much, Much::Cents(_));
        match &done {
            Done::Earn { cents, .. } if !by_spend || *cents > 0 => {}
            Done::Burn { .. } | Done::Exchange { .. } | Done::Instructed { .. } if !by_spend => {}
            _ => return Err(Code::NotReversible),
        }
        if at > posted + REVERSAL {
            return Err(Code::ReversalWindowClosed);
        }
        match &mut done {
            Done::Earn {
                deal,
                points,
                cents,
                reversed,
                refunded,
            } => {
                let now = match much {
                    Much::Points(now) => now,
                    Much::Cents(now) if *refunded + now > *cents => return Err(Code::ReversalExceeded),
                    Much::Cents(now) => {
                        let kept = |refunded: i64| *points * (*cents - refunded) / *cents;
                        let before = kept(*refunded);
                        *refunded += now;
                        before - kept(*refunded)
                    }
                };
                if *reversed + now > *points {
                    return Err(Code::ReversalExceeded);
                }
                *reversed += now;
                self.take_back_earn(at, of, *deal, now, told)?;
            }
            Done::Burn {
                deal,
                points,
                parts,
                reversed,
            } => {
                let Much::Points(now) = much else { return Err(Code::NotReversible) };
                if *reversed + now > *points {
                    return Err(Code::ReversalExceeded);
                }
                *reversed += now;
                let terms = &self.rules.burns[*deal];
                let account = &mut self.accounts[terms.programme];
                account.give_back(parts, now, at, told);
                told.line(
                    Line::new("burn_reversal", terms.partner, account.issuer, terms.programme, terms.price),
                    now,
                );
            }
            Done::Exchange {
                deal,
                offer,
                parts,
                reversed,
            } => {
                let Much::Points(now) = much else { return Err(Code::NotReversible) };
                if *reversed + now > offer.used {
                    return Err(Code::ReversalExceeded);
                }
                self.take_back_exchange(at, of, *deal, *offer, (*reversed, now), told)?;
                *reversed += now;
                let source = self.rules.exchanges[*deal].from;
                self.accounts[source].give_back(parts, now, at, told);
            }
            _ => return Err(Code::NotReversible),
        }
        self.done.insert(of, (posted, done));
        Ok(Done::Other)
    }

    fn take_back_earn(&mut self, at: i64, of: usize, deal: usize, points: i64, told: &mut Told) -> Result<(), Code> {
        let terms = &self.rules.earns[deal];
        self.recoverable(terms.programme, of, points, at)?;
        let account = &mut self.accounts[terms.programme];
        let elsewhere = account.claw_back(of, &[(0, points)], at, told);
        account.taken_back(of, 0, points, elsewhere, told);
        if !terms.redemption {
            let line = Line::new("earn_reversal", account.issuer, terms.partner, terms.programme, terms.price);
            told.line(line, points);
        }
        Ok(())
    }

    /// Base and bonus come back rounded up over the running total.
    fn take_back_exchange(&mut self, at: i64, of: usize, deal: usize, offer: Offer, part: (i64, i64), told: &mut Told) -> Result<(), Code> {
        let terms = &self.rules.exchanges[deal];
        let (before, after) = (part.0, part.0 + part.1);
        let share = |whole: i64| (whole * after + offer.used - 1) / offer.used - (whole * before + offer.used - 1) / offer.used;
        let (base, bonus) = (share(offer.credited), share(offer.bonus));
        self.recoverable(terms.to, of, base + bonus, at)?;
        let account = &mut self.accounts[terms.to];
        let legs = [(1, bonus), (0, base)];
        account.claw_back(of, if offer.bonus > 0 { &legs } else { &legs[1..] }, at, told);
        account.taken_back(of, 0, base, 0, told);
        if offer.bonus > 0 {
            account.taken_back(of, 1, bonus, 0, told);
        }
        let line = |kind, price| Line::new(kind, account.issuer, terms.partner, terms.to, price);
        told.line(line("exchange_reversal", terms.price), base);
        told.line(line("bonus_reversal", terms.price / 2), bonus);
        Ok(())
    }

    /// Whether so many points that a message gave can be taken from a member.
    fn recoverable(&self, programme: usize, of: usize, points: i64, at: i64) -> Result<(), Code> {
        let account = &self.accounts[programme];
        let below = (self.rules.programmes[programme].negative_limit - account.owed(at)).max(0);
        if points > account.recoverable(of, at) + below {
            return Err(Code::ClawbackLimited);
        }
        Ok(())
    }
}
