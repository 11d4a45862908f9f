//! The moves that several kinds share, worked out before anything changes.

use partner_sdk::change::Status;
use partner_sdk::{Code, PartnerId};

use crate::effect::{Effect, LotRef, owe};
use crate::references::text_of;
use crate::reject::{Reject, Rejected};
use crate::types::{AccountKey, Line, Lot, LotKey};
use crate::working_set::WorkingSet;

impl WorkingSet {
    /// The programme's issuer.
    pub(crate) fn issuer_of(&self, account: &AccountKey) -> Rejected<PartnerId> {
        let programme = self
            .directory
            .programmes
            .get(&account.programme)
            .ok_or(Reject::at(Code::UnknownProgramme, "programme"))?;
        Ok(programme.terms.issuer.clone())
    }

    /// Whether a partner was settled for good: it comes to owe nothing, and nothing is owed to it any more.
    pub(crate) fn is_gone(&self, partner: &PartnerId) -> bool {
        self.directory.partners.get(partner).is_some_and(|p| p.status == Status::Gone)
    }

    /// The funder pays for points of a lot that are being used up, if it hasn't paid at issue: for what it issued and hasn't taken back, once, and not for what
    /// is still there or expired unspent. So what a refund took elsewhere, because a hold kept the lot's own points, isn't paid for again when those repay
    /// the debt or expire. For a funder that is gone the issuer bears them. `before` points of the lot are used up by the same message.
    pub(crate) fn charge(&self, lot: &Lot, at: LotRef, points: i64, before: i64) -> Rejected<Vec<Effect>> {
        let used = lot.issued - lot.reversed - lot.remaining - lot.expired - lot.charged;
        let liable = |points: i64| points.min(used + points).max(0);
        let points = liable(before + points) - liable(before);
        if !lot.at_redemption || points <= 0 || self.is_gone(&lot.funder) {
            return Ok(vec![]);
        }
        let issuer = self.issuer_of(&lot.account)?;
        let money = owe(
            Line::Redemption,
            &lot.funder,
            &issuer,
            points,
            lot.price,
            lot.currency,
            lot.agreement,
        )?;
        Ok([Some(Effect::Charge { lot: at, points }), money].into_iter().flatten().collect())
    }

    /// The member's points don't suffice: what there is, as the sender may read it at `/v1/accounts` too.
    pub(crate) fn insufficient(&self, account: &AccountKey) -> Reject {
        let (points, debt) = self.accounts.get(account).map_or((0, 0), |a| (a.points, a.debt));
        let owed = self.owed(account, self.now);
        let held = self.held_at(account, self.now).values().map(|points| i128::from(*points)).sum();
        let text = |points: i128| text_of(self, &account.programme, points);
        let balance = i128::from(points) - i128::from(debt);
        Reject::at(Code::InsufficientBalance, "points")
            .with("available", text(self.available(account)))
            .with("balance", text(balance))
            .with("held", text(held))
            .with("debt", text(owed.into()))
    }

    /// Which points are spent, or held: alive, not held, oldest expiry first, and of the same expiry the lot of the earlier message first. The caller
    /// has checked that there are enough.
    pub(crate) fn oldest(&self, account: &AccountKey, points: i64) -> Rejected<Vec<(LotKey, i64)>> {
        let held = self.held_at(account, self.now);
        let (mut lots, mut left) = (vec![], points);
        for lot in self.lots_of(account).filter(|l| l.expires_at > self.now) {
            if left == 0 {
                break;
            }
            let taken = left.min(lot.remaining - held.get(&lot.key).copied().unwrap_or(0));
            lots.extend((taken > 0).then_some((lot.key, taken)));
            left -= taken;
        }
        if left > 0 { Err(self.insufficient(account)) } else { Ok(lots) }
    }

    /// Takes so many points from lots, in their order; funders that pay at redemption are charged.
    pub(crate) fn spend(&self, line: Line, lots: &[(LotKey, i64)], points: i64) -> Rejected<Vec<Effect>> {
        let (mut effects, mut left) = (vec![], points);
        for (key, most) in lots {
            let taken = left.min(*most);
            if taken == 0 {
                break;
            }
            let lot = self.lots.get(key).ok_or(Reject::new(Code::Internal))?;
            effects.push(Effect::Take {
                line,
                lot: *key,
                points: taken,
            });
            effects.extend(self.charge(lot, LotRef::Known(*key), taken, 0)?);
            left -= taken;
        }
        if left > 0 {
            Err(Reject::at(Code::InsufficientBalance, "points"))
        } else {
            Ok(effects)
        }
    }

    /// A new lot (its `remaining` is what it issues); the member's debt, less what `repaid` says is gone already, is repaid first. Returns how much was.
    pub(crate) fn issue(&self, line: Line, lot: Lot, repaid: i64, effects: &mut Vec<Effect>) -> Rejected<i64> {
        let points = self.accounts.get(&lot.account).map_or(0, |a| a.points);
        // Twice the room, because an exchange may issue a bonus too.
        lot.issued
            .checked_mul(2)
            .and_then(|twice| points.checked_add(twice))
            .ok_or(Reject::at(Code::Overflow, "points"))?;
        let (at, repay) = (
            LotRef::New(lot.key.leg),
            (self.owed(&lot.account, self.now) - repaid).clamp(0, lot.issued),
        );
        let charges = if repay > 0 { self.charge(&lot, at, repay, 0)? } else { vec![] };
        effects.push(Effect::Issue { line, lot });
        if repay > 0 {
            effects.push(Effect::Repay { lot: at, points: repay });
            effects.extend(charges);
        }
        Ok(repay)
    }
}
