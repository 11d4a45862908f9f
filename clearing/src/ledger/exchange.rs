//! Points of one programme become points of another, exactly as a quote said (DESIGN sections 3.3 and 4).

use jiff::Timestamp;
use partner_sdk::agreement::Agreement;
use partner_sdk::{Body, Code, Currency, Message, Money, PartnerId};

use super::plan::{Effect, owe};
use super::quote::{facts_of, open_quote, same};
use super::types::{AccountKey, Line, Lot, LotKey, Moved};
use super::{Plan, Reject, Rejected, WorkingSet, custody};
use crate::directory::Numbered;

pub(super) fn exchange(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let Body::Exchange {
        programme,
        member,
        to_programme,
        to_member,
        points,
        quote,
    } = &message.body
    else {
        return Err(Reject::new(Code::Internal));
    };
    let (quote, agreement) = open_quote(set, message, quote)?;
    same(set, quote, programme, to_programme, *points)?;
    let from = AccountKey {
        programme: programme.clone(),
        member: member.clone(),
    };
    let to = AccountKey {
        programme: to_programme.clone(),
        member: to_member.clone(),
    };
    let moved = Moved {
        account: Some(from.clone()),
        points: quote.points,
        to_account: Some(to.clone()),
        credited: quote.credited,
        bonus: quote.bonus,
        agreement: Some(agreement.no),
        rate: Some(quote.rate),
        bonus_rate: quote.bonus_rate,
        ..Moved::default()
    };
    let mut effects = set.limits(agreement, member, partner_sdk::Points(quote.points))?;
    if set.hosts(programme) && set.available(&from) < i128::from(quote.points) {
        return Err(set.insufficient(&from));
    }
    effects.push(Effect::UseQuote(quote.seq));
    let exchange = Exchange {
        sender: &message.sender,
        agreement,
        from: &from,
        to: &to,
        moved: &moved,
        occurred_at: message.occurred_at,
        lots: if set.hosts(programme) {
            set.oldest(&from, quote.points)?
        } else {
            vec![]
        },
    };
    let (moves, mut facts) = (exchange.moves(set)?, facts_of(set, quote));
    if set.hosts(to_programme) {
        effects.extend(moves);
    } else {
        let (instructed, more) = custody::instruct(set, message, &exchange, &moves)?;
        effects.extend(instructed);
        facts.extend(more);
    }
    Ok(Plan { moved, effects, facts })
}

/// An exchange as it was quoted.
pub(super) struct Exchange<'a> {
    /// Who gives, and owes for what is credited.
    pub(super) sender: &'a PartnerId,
    /// The agreement of the quote.
    pub(super) agreement: &'a Numbered<Agreement>,
    /// Whose points leave.
    pub(super) from: &'a AccountKey,
    /// Who is credited.
    pub(super) to: &'a AccountKey,
    /// How many, and at which bonus.
    pub(super) moved: &'a Moved,
    /// From when the life of the credited points counts.
    pub(super) occurred_at: Timestamp,
    /// Which points leave, where they are here.
    pub(super) lots: Vec<(LotKey, i64)>,
}

impl Exchange<'_> {
    /// All that it moves: points on both sides, each here or where their issuer keeps them, and the money.
    pub(super) fn moves(&self, set: &WorkingSet) -> Rejected<Vec<Effect>> {
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
