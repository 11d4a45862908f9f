//! What an exchange moves: points on both sides, and the money.

use jiff::Timestamp;
use partner_sdk::agreement::Agreement;
use partner_sdk::{Code, Currency, Money, PartnerId};

use crate::directory::Numbered;
use crate::effect::{Effect, owe};
use crate::reject::{Reject, Rejected};
use crate::types::{AccountKey, Line, Lot, LotKey, Moved};
use crate::working_set::WorkingSet;

/// An exchange as it was quoted.
pub(crate) struct Exchange<'a> {
    /// Who gives, and owes for what is credited.
    pub(crate) sender: &'a PartnerId,
    /// The agreement of the quote.
    pub(crate) agreement: &'a Numbered<Agreement>,
    /// Whose points leave.
    pub(crate) from: &'a AccountKey,
    /// Who is credited.
    pub(crate) to: &'a AccountKey,
    /// How many, and at which bonus.
    pub(crate) moved: &'a Moved,
    /// From when the life of the credited points counts.
    pub(crate) occurred_at: Timestamp,
    /// Which points leave, where they are here.
    pub(crate) lots: Vec<(LotKey, i64)>,
}

impl Exchange<'_> {
    /// All that it moves: points on both sides, each here or where their issuer keeps them, and the money.
    pub(crate) fn moves(&self, set: &WorkingSet) -> Rejected<Vec<Effect>> {
        let (agreement, moved) = (self.agreement, self.moved);
        let bonus_rate = moved.bonus_rate.and_then(|no| set.directory.bonus_no(no));
        let bonus_price = bonus_rate.map_or(Some(Money::ZERO), |b| b.item.price(agreement.item.price));
        let bonus_price = bonus_price.ok_or(Reject::new(Code::NoRate))?;
        let mut effects = if set.hosts(&self.from.programme) {
            set.spend(Line::Exchange, &self.lots, moved.points)?
        } else {
            vec![Effect::Elsewhere {
                line: Line::Exchange,
                account: self.from.clone(),
                points: moved.points,
                to_member: false,
            }]
        };
        let (currency, issuer) = (agreement.item.terms.currency, set.issuer_of(self.to)?);
        let mut repaid = 0;
        for (leg, line, points, price) in [
            (0, Line::Exchange, moved.credited, agreement.item.price),
            (1, Line::Bonus, moved.bonus, bonus_price),
        ] {
            if points == 0 {
                continue;
            }
            if set.hosts(&self.to.programme) {
                let lot = self.lot(set, leg, points, price, currency)?;
                repaid += set.issue(line, lot, repaid, &mut effects)?;
            } else {
                effects.push(Effect::Elsewhere {
                    line,
                    account: self.to.clone(),
                    points,
                    to_member: true,
                });
            }
            effects.extend(owe(line, self.sender, &issuer, points, price, currency, agreement.no)?);
        }
        Ok(effects)
    }

    fn lot(&self, set: &WorkingSet, leg: i32, points: i64, price: Money, currency: Currency) -> Rejected<Lot> {
        let rules = set.directory.programmes.get(&self.to.programme);
        let rules = rules.ok_or(Reject::at(Code::UnknownProgramme, "to_programme"))?;
        let expires_at = set.alive(rules.expiry(self.occurred_at, &set.directory.zone_at(self.occurred_at)))?;
        Ok(Lot {
            key: LotKey { seq: 0, leg },
            account: self.to.clone(),
            agreement: self.agreement.no,
            funder: self.sender.clone(),
            price,
            currency,
            at_redemption: false,
            prepaid: false,
            issued: points,
            remaining: points,
            charged: points,
            reversed: 0,
            expired: 0,
            expired_paid: 0,
            lent: 0,
            expires_at,
            due_at: expires_at,
        })
    }
}
