//! An earn that is taken back after its points were spent takes others: of other lots, or the member owes them. Once its own are there again, because the
//! burn was taken back or a hold has ended, they go where others were given for them: to the debt first, then to the lots that gave, those that are spent last
//! first. So whichever comes first, the end is the same (DESIGN section 3.10, decision 0022).

use std::collections::{BTreeMap, HashMap};

use partner_sdk::PartnerId;

use crate::effect::{Effect, LotRef, owe};
use crate::reject::Rejected;
use crate::types::{AccountKey, Hold, Line, Lot, LotKey};
use crate::working_set::WorkingSet;

/// Points of one account on their way back, and what that does.
pub(crate) struct Returns<'a> {
    set: &'a WorkingSet,
    issuer: PartnerId,
    /// When, in microseconds since 1970.
    at: i64,
    /// How many points the member owes that aren't repaid yet.
    pub(crate) owed: i64,
    /// How many points each lot gave for others and hasn't got back, in the order in which they are spent.
    lenders: BTreeMap<(i64, LotKey), i64>,
    /// For how many points of a lot its funder has got its money back.
    refunded: HashMap<LotKey, i64>,
    /// How many points each lot that gave some has got back, in the order in which they are spent.
    restored: BTreeMap<(i64, LotKey), i64>,
    effects: Vec<Effect>,
}

impl<'a> Returns<'a> {
    /// Nothing has come back yet; of the account's debt, `owed` is still to be repaid.
    pub(crate) fn of(set: &'a WorkingSet, account: &AccountKey, owed: i64, at: i64) -> Rejected<Self> {
        let lenders = set.accounts.get(account).into_iter().flat_map(|a| &a.lenders);
        Ok(Self {
            set,
            issuer: set.issuer_of(account)?,
            at,
            owed,
            lenders: lenders.filter_map(|place| Some((*place, set.lots.get(&place.1)?.lent))).collect(),
            refunded: HashMap::new(),
            restored: BTreeMap::new(),
            effects: vec![],
        })
    }

    /// The lots that got points back and whose time was over by then, each with how many.
    pub(crate) fn restored_late(&self) -> Vec<(&'a Lot, i64)> {
        let late = self.restored.iter().filter(|((expires_at, _), _)| *expires_at <= self.at);
        let set = self.set;
        late.filter_map(|((_, key), points)| Some((set.lots.get(key)?, *points))).collect()
    }

    /// For how many points of a lot the funder has paid by now.
    pub(crate) fn charged(&self, lot: &Lot) -> i64 {
        lot.charged - self.refunded.get(&lot.key).copied().unwrap_or(0)
    }

    /// What all of it does.
    pub(crate) fn done(self) -> Vec<Effect> {
        self.effects
    }

    /// Spent points come back: to whoever gave others for them, then for what the member owes besides, then to their lot. Funders that paid at redemption get
    /// their money back for what the member gets.
    pub(crate) fn come_back(&mut self, line: Line, lot: &'a Lot, points: i64) -> Rejected<()> {
        let borrowed = (-lot.lent).clamp(0, points);
        let own = self.owed.min(borrowed);
        self.owed -= own;
        let given = self.pay_lenders(line, lot, borrowed - own)?;
        let others = self.owed.min(points - own - given);
        self.owed -= others;
        if others > 0 {
            *self.lenders.entry((lot.expires_at, lot.key)).or_default() += others;
        }
        let (restored, repaid) = (points - given, own + others);
        if restored > 0 {
            self.restore(line, lot.key, restored);
        }
        if repaid > 0 {
            self.effects.push(Effect::Repay {
                lot: LotRef::Known(lot.key),
                points: repaid,
            });
        }
        self.refund(lot, restored - repaid)
    }

    /// Up to `points` of a lot that no hold keeps (any more) go to whoever gave others for them; returns how many did. `before` of the lot's points are
    /// used up by the same message.
    pub(crate) fn freed(&mut self, lot: &Lot, points: i64, before: i64) -> Rejected<i64> {
        let borrowed = (-lot.lent).clamp(0, points);
        if borrowed == 0 {
            return Ok(0);
        }
        let repaid = self.repay(lot, borrowed, before)?;
        let given = self.pay_lenders(Line::GivenBack, lot, borrowed - repaid)?;
        if given > 0 {
            self.effects.push(Effect::Take {
                line: Line::GivenBack,
                lot: lot.key,
                points: given,
            });
            let at = LotRef::Known(lot.key);
            self.effects.extend(self.set.charge(lot, at, given, before + repaid)?);
        }
        Ok(repaid + given)
    }

    /// Up to `points` of a lot repay what the member owes; returns how many did.
    pub(crate) fn repay(&mut self, lot: &Lot, points: i64, before: i64) -> Rejected<i64> {
        let repaid = self.owed.min(points);
        self.owed -= repaid;
        if repaid > 0 {
            let at = LotRef::Known(lot.key);
            self.effects.push(Effect::Repay { lot: at, points: repaid });
            self.effects.extend(self.set.charge(lot, at, repaid, before)?);
        }
        Ok(repaid)
    }

    /// Up to `most` points go to the lots that gave some, instead of to the lot that they are of; returns how many do.
    fn pay_lenders(&mut self, line: Line, lot: &Lot, most: i64) -> Rejected<i64> {
        let mut left = most;
        while left > 0 {
            let Some((place, lent)) = self.lenders.pop_last() else { break };
            let some = left.min(lent);
            left -= some;
            if lent > some {
                self.lenders.insert(place, lent - some);
            }
            self.restore(line, place.1, some);
            *self.restored.entry(place).or_default() += some;
            self.effects.push(Effect::Lend {
                lot: place.1,
                points: -some,
            });
            let set = self.set;
            if let Some(lender) = set.lots.get(&place.1) {
                self.refund(lender, some)?;
            }
        }
        let given = most - left;
        if given > 0 {
            self.effects.push(Effect::Lend {
                lot: lot.key,
                points: given,
            });
        }
        Ok(given)
    }

    fn restore(&mut self, line: Line, lot: LotKey, points: i64) {
        let at = self.at;
        self.effects.push(Effect::Restore { line, lot, points, at });
    }

    /// Points of a lot are there again: a funder that paid for them at redemption gets its money back. What was returned when the earn itself was taken back
    /// isn't returned again. What a funder paid that is gone stays paid: the points are back as paid ones.
    fn refund(&mut self, lot: &Lot, points: i64) -> Rejected<()> {
        let refunded = self.refunded.entry(lot.key).or_default();
        let points = points.min(lot.charged - *refunded);
        if !lot.at_redemption || points <= 0 || self.set.is_gone(&lot.funder) {
            return Ok(());
        }
        *refunded += points;
        self.effects.push(Effect::Charge {
            lot: LotRef::Known(lot.key),
            points: -points,
        });
        let line = Line::RedemptionReversal;
        let money = owe(line, &self.issuer, &lot.funder, points, lot.price, lot.currency, lot.agreement)?;
        self.effects.extend(money);
        Ok(())
    }
}

impl WorkingSet {
    /// What a member owes at an instant: its debt, less what is left of the very earns that were taken back, no hold keeps, and can't be spent because its
    /// time is over. The next cut-off repays the debt with these.
    pub(crate) fn owed(&self, account: &AccountKey, at: i64) -> i64 {
        let debt = self.accounts.get(account).map_or(0, |a| a.debt);
        if debt == 0 {
            return 0;
        }
        let held = self.held_at(account, at);
        let own = self.lots_of(account).filter(|lot| lot.lent < 0 && lot.expires_at <= at).map(|lot| {
            let free = lot.remaining - held.get(&lot.key).copied().unwrap_or(0);
            free.min(-lot.lent)
        });
        (debt - own.sum::<i64>()).max(0)
    }

    /// A lot whose earn was taken back while holds keep points of it: the cut-off after the first of them is over by itself looks at it.
    pub(crate) fn look_again(&self, lot: &Lot, at: i64) -> Option<i64> {
        let holds = self
            .holds_at(&lot.account, at)
            .filter(|hold| hold.lots.iter().any(|(of, _)| *of == lot.key));
        let due_at = holds.map(|hold| hold.expires_at).min()?;
        Some(due_at).filter(|due_at| *due_at < lot.expires_at)
    }

    /// A hold has ended, and its first `captured` points are spent: what it kept of earns that were taken back goes to whoever gave others for it.
    pub(crate) fn end_hold(&self, hold: &Hold, captured: i64) -> Rejected<Vec<Effect>> {
        if hold.lots.iter().all(|(lot, _)| self.lots.get(lot).is_none_or(|lot| lot.lent >= 0)) {
            return Ok(vec![]);
        }
        let owed = self.owed(&hold.account, self.now);
        let mut returns = Returns::of(self, &hold.account, owed, self.now)?;
        let mut left = captured;
        for (key, held) in &hold.lots {
            let taken = left.min(*held);
            left -= taken;
            if let Some(lot) = self.lots.get(key) {
                returns.freed(lot, held - taken, taken)?;
            }
        }
        Ok(returns.done())
    }
}
