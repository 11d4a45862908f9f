//! Points move back: issued ones are taken back from the member, spent ones are given back to it.

use std::collections::HashMap;

use partner_sdk::Code;

use crate::effect::{Effect, LotRef, owe};
use crate::lending::Returns;
use crate::prepaid;
use crate::reject::{Reject, Rejected};
use crate::types::{AccountKey, Line, Lot, LotKey};
use crate::working_set::WorkingSet;

/// What a lot can give to a reversal, less what the reversal has taken from it so far.
#[derive(Clone, Copy)]
struct Source {
    /// Points left that no hold keeps.
    free: i64,
    /// Points that expired unspent.
    expired: i64,
    /// How many of those count as paid.
    expired_paid: i64,
    /// For how many of all its points the funder's payment stays with the issuer.
    charged: i64,
}

/// What a lot gives to a reversal.
struct Given {
    /// How many points.
    points: i64,
    /// How many expired ones stop being breakage, and whether they had counted as paid.
    unexpired: [(i64, bool); 2],
    /// How many of those stay expired, and count as unpaid from now on: the funder got its money back for points that a hold had kept when they expired.
    unpaid: i64,
}

impl Source {
    fn of(lot: &Lot, held: &HashMap<LotKey, i64>) -> Self {
        Self {
            free: lot.remaining - held.get(&lot.key).copied().unwrap_or(0),
            expired: lot.expired,
            expired_paid: lot.expired_paid,
            charged: lot.charged,
        }
    }

    /// Takes up to `points`, those that expired unspent after the others. Breakage is worth at most what is left of the funder's payment.
    fn take(&mut self, points: i64) -> Given {
        let of_free = points.min(self.free);
        let of_expired = (points - of_free).min(self.expired);
        let worth = self.expired_paid.min(self.charged).min(self.expired - of_expired);
        let returned = self.expired_paid - worth;
        let paid = returned.min(of_expired);
        self.free -= of_free;
        self.expired -= of_expired;
        self.expired_paid = worth;
        Given {
            points: of_free + of_expired,
            unexpired: [(returned, true), (of_expired - paid, false)],
            unpaid: returned - paid,
        }
    }
}

impl WorkingSet {
    /// How many points of a message's own lots a reversal can take from the member: what is left of them or expired unspent, what it has to spend besides,
    /// and as far below zero as the programme allows.
    pub(crate) fn recoverable(&self, account: &AccountKey, own: &[LotKey]) -> i128 {
        let held = self.held_at(account, self.now);
        let sources = own.iter().filter_map(|key| self.lots.get(key)).map(|lot| {
            let source = Source::of(lot, &held);
            // What is alive of it counts among what the member has to spend.
            let left = if lot.expires_at > self.now { 0 } else { source.free };
            i128::from(left) + i128::from(source.expired)
        });
        let debt = self.owed(account, self.now);
        let limit = self.directory.programmes.get(&account.programme).map_or(0, |p| p.negative_limit.0);
        sources.sum::<i128>() + self.free(account) + i128::from(limit.saturating_sub(debt).max(0))
    }

    /// Takes issued points back, each from its own lot: what no hold keeps of it, then what expired of it unspent (DESIGN section 3.10: points are given up
    /// once); then from the message's other lots in the same way, then from what the member has to spend, then as debt. The funder gets its money back at
    /// the price of the own lot, or the points back in the block that they were drawn from. The caller has checked [`WorkingSet::recoverable`].
    pub(crate) fn claw_back(&self, account: &AccountKey, own: &[(LotKey, i64, Line)]) -> Rejected<Vec<Effect>> {
        let held = self.held_at(account, self.now);
        let (seq, line) = own.first().map_or((0, Line::EarnReversal), |o| (o.0.seq, o.2));
        let lend = |lot: LotKey, points: i64| (points != 0).then_some(Effect::Lend { lot, points });
        let siblings = (0..).map_while(|leg| self.lots.get(&LotKey { seq, leg }));
        let mut sources: Vec<(&Lot, Source)> = siblings.map(|lot| (lot, Source::of(lot, &held))).collect();
        let (mut effects, mut missing) = (vec![], 0i64);
        for (key, points, line) in own {
            let own = sources.iter_mut().find(|(lot, _)| lot.key == *key);
            let (lot, source) = own.ok_or(Reject::new(Code::Internal))?;
            let from_own = (*points).min(source.free + source.expired);
            let refund = if lot.at_redemption {
                (points - from_own).min(lot.charged)
            } else {
                *points
            };
            source.charged -= refund;
            let taken = self.take_back(*line, lot, source.take(*points), &mut effects)?;
            missing += points - taken;
            if taken < *points {
                effects.extend(lend(*key, taken - points));
                let sooner = self.look_again(lot, self.now).filter(|due_at| *due_at < lot.due_at);
                effects.extend(sooner.map(|due_at| Effect::Defer { lot: *key, due_at }));
            }
            effects.extend(self.refund(*line, account, lot, *points, refund)?);
        }
        // Its other lots come before the member's others, so that pieces take from the same lots as the whole. What they give was taken back already.
        for (lot, source) in &mut sources {
            let taken = self.take_back(line, lot, source.take(missing), &mut effects)?;
            missing -= taken;
            effects.extend(lend(lot.key, taken));
        }
        for lot in self.lots_of(account).filter(|l| l.key.seq != seq && l.expires_at > self.now) {
            let take = missing.min(Source::of(lot, &held).free);
            if take > 0 {
                effects.push(Effect::Take {
                    line,
                    lot: lot.key,
                    points: take,
                });
                effects.extend(self.charge(lot, LotRef::Known(lot.key), take, 0)?);
                effects.extend(lend(lot.key, take));
                missing -= take;
            }
        }
        if missing > 0 {
            effects.push(Effect::Owe {
                line,
                account: account.clone(),
                points: missing,
            });
        }
        Ok(effects)
    }

    /// What a lot gave leaves the member; what had expired of it comes back first. Returns how many points that are.
    fn take_back(&self, line: Line, lot: &Lot, given: Given, effects: &mut Vec<Effect>) -> Rejected<i64> {
        let back: i64 = given.unexpired.iter().map(|(points, _)| points).sum();
        let held = self.accounts.get(&lot.account).map_or(0, |a| a.points);
        held.checked_add(back).ok_or(Reject::at(Code::Overflow, "points"))?;
        let unexpired = given.unexpired.into_iter().filter(|(points, _)| *points > 0);
        effects.extend(unexpired.map(|(points, paid)| Effect::Unexpire {
            lot: lot.key,
            points,
            paid,
        }));
        effects.extend((given.points > 0).then_some(Effect::Take {
            line,
            lot: lot.key,
            points: given.points,
        }));
        effects.extend((given.unpaid > 0).then_some(Effect::Expire {
            lot: lot.key,
            points: given.unpaid,
            paid: false,
        }));
        Ok(given.points)
    }

    /// The funder gets back what it paid for `refund` of the points taken back.
    fn refund(&self, line: Line, account: &AccountKey, lot: &Lot, points: i64, refund: i64) -> Rejected<Vec<Effect>> {
        let mut effects = vec![];
        if lot.at_redemption {
            effects.push(Effect::TakenBack { lot: lot.key, points });
        }
        if refund > 0 {
            effects.push(Effect::Charge {
                lot: LotRef::Known(lot.key),
                points: -refund,
            });
        }
        let issuer = self.issuer_of(account)?;
        if lot.prepaid {
            effects.extend(prepaid::put_back(lot, &issuer, refund));
        } else {
            effects.extend(owe(line, &issuer, &lot.funder, refund, lot.price, lot.currency, lot.agreement)?);
        }
        Ok(effects)
    }

    /// Gives spent points back to the lots that they came from, those taken last first: `points` of them, after `before` were given back.
    pub(crate) fn give_back(&self, line: Line, account: &AccountKey, target: i64, before: i64, points: i64) -> Rejected<Vec<Effect>> {
        let held = self.accounts.get(account).map_or(0, |a| a.points);
        held.checked_add(points).ok_or(Reject::at(Code::Overflow, "points"))?;
        let mut returns = Returns::of(self, account, self.owed(account, self.now), self.now)?;
        let (mut skip, mut left) = (before, points);
        for (key, taken) in self.takes.get(&target).into_iter().flatten().rev() {
            let passed = skip.min(*taken);
            skip -= passed;
            let back = left.min(taken - passed);
            left -= back;
            if back > 0 {
                let lot = self.lots.get(key).ok_or(Reject::new(Code::Internal))?;
                returns.come_back(line, lot, back)?;
            }
        }
        if left > 0 {
            Err(Reject::new(Code::Internal))
        } else {
            Ok(returns.done())
        }
    }
}
