//! What an agreement and the operator allow at most: points in a message, in a window, and money owed.

use std::collections::{BTreeMap, HashMap};

use partner_sdk::agreement::Agreement;
use partner_sdk::amount::format_units;
use partner_sdk::change::Status;
use partner_sdk::{Code, Currency, MemberNumber, PartnerId, Points};

use crate::bounds::{MAX_FEES, MAX_MONEY, MAX_SUM, WHOLE};
use crate::directory::Numbered;
use crate::effect::Effect;
use crate::references::text_of;
use crate::reject::{Reject, Rejected};
use crate::types::Line;
use crate::working_set::WorkingSet;

/// Per partner and currency: how much it comes to owe, and to be owed, in micros.
type Swings<'a> = BTreeMap<(&'a PartnerId, Currency), (i128, i128)>;

impl WorkingSet {
    /// Checks the agreement's step and limits and returns what counts towards them.
    pub(crate) fn limits(&self, agreement: &Numbered<Agreement>, member: &MemberNumber, points: Points) -> Rejected<Vec<Effect>> {
        let item = &agreement.item;
        let text = |points: i64| text_of(self, &item.terms.programme, points);
        if points.0 % item.step != 0 {
            return Err(Reject::at(Code::NotAMultiple, "points").with("step", text(item.step)));
        }
        if let Some(limit) = item.per_message.filter(|limit| points > *limit) {
            return Err(Reject::at(Code::LimitPerMessage, "points").with("limit", text(limit.0)));
        }
        let of_window = [
            (item.per_member_day, Some(member.clone()), Code::LimitMemberDay),
            (item.per_partner_day, None, Code::LimitPartnerDay),
        ];
        let mut counts = vec![];
        for (limit, member, code) in of_window {
            let Some(limit) = limit else { continue };
            let used = self.limit_use.get(&(agreement.no, member.clone())).copied().unwrap_or(0);
            if Points(used).checked_add(points).is_none_or(|total| total > limit) {
                let reject = Reject::at(code, "points").with("limit", text(limit.0)).with("used", text(used));
                return Err(reject.with("room", text(limit.0.saturating_sub(used).max(0))));
            }
            counts.push(Effect::Count {
                agreement: agreement.no,
                member,
                points: points.0,
            });
        }
        Ok(counts)
    }

    /// Checks that nobody whose debt grows would owe more than its net debit cap: the operator's, and that of the agreement under which it grows. A sender
    /// learns its own room, and of another's cap only whose it is.
    pub(crate) fn check_caps(&self, sender: &PartnerId, effects: &[Effect]) -> Rejected<()> {
        self.check_bounds(effects)?;
        let swings = self.check_sums(effects, MAX_SUM)?;
        for ((partner, currency), (up, down)) in swings {
            // Whoever is gone was settled for good: nothing is owed to it or by it any more.
            if self.is_gone(partner) {
                return Err(Reject::new(Code::PartnerSuspended).with("status", Status::Gone));
            }
            let exposure = i128::from(self.exposure.get(&(partner.clone(), currency)).copied().unwrap_or(0));
            let owed = exposure + self.reserved(partner, currency, effects).0 + up - down;
            let operators = self.directory.partners.get(partner).and_then(|p| p.caps.get(&currency));
            let own = effects.iter().filter_map(|effect| self.cap_agreed(effect, partner, currency)).min();
            let caps = [operators.map(|cap| (cap.0, "sender")), own.map(|cap| (cap, "agreement"))];
            let cap = caps.into_iter().flatten().min_by_key(|(cap, _)| *cap);
            if let Some((cap, own)) = cap.filter(|(cap, _)| up > down && owed > i128::from(*cap)) {
                let reject = Reject::new(Code::NetDebitCap);
                if partner != sender {
                    let whose = if self.issues(partner, effects) { "issuer" } else { "other" };
                    return Err(reject.with("whose", whose).with("currency", currency));
                }
                let [limit, used] = [i128::from(cap), owed - up + down];
                let [limit, used, room] = [limit, used, (limit - used).max(0)].map(|micros| format_units(micros, 6));
                let reject = reject.with("whose", own).with("currency", currency).with("limit", limit);
                return Err(reject.with("used", used).with("room", room));
            }
        }
        Ok(())
    }

    /// Whether a partner comes to owe by the effects as the issuer of the points. Of another's cap a sender learns no more than this.
    fn issues(&self, partner: &PartnerId, effects: &[Effect]) -> bool {
        let issuer = |no| {
            let terms = &self.directory.agreement_no(no)?.item.terms;
            let priced = terms.to_programme.as_ref().unwrap_or(&terms.programme);
            self.directory.programmes.get(priced).map(|p| &p.terms.issuer)
        };
        let as_issuer = |effect: &Effect| matches!(effect, Effect::Money(money) if money.debtor == *partner && issuer(money.agreement) == Some(partner));
        effects.iter().any(as_issuer)
    }

    /// The cap of the agreement under which this partner comes to owe, where the agreement is its own and names one.
    fn cap_agreed(&self, effect: &Effect, partner: &PartnerId, currency: Currency) -> Option<i64> {
        let Effect::Money(money) = effect else { return None };
        let agreement = self.directory.agreement_no(money.agreement)?;
        let terms = &agreement.item.terms;
        let own = money.debtor == *partner && terms.partner == *partner && terms.currency == currency;
        agreement.item.net_debit_cap.filter(|_| own).map(|cap| cap.0)
    }

    /// Checks that every sum of money that grows stays within `most`, on its way too; returns how much each partner comes to owe and to be owed.
    pub(crate) fn check_sums<'a>(&self, effects: &'a [Effect], most: i64) -> Rejected<Swings<'a>> {
        let mut pairs: BTreeMap<(&PartnerId, &PartnerId, Currency), i128> = BTreeMap::new();
        let mut swings = Swings::new();
        for effect in effects {
            let Effect::Money(money) = effect else { continue };
            let amount = i128::from(money.amount);
            *pairs.entry((&money.debtor, &money.creditor, money.currency)).or_default() += amount;
            swings.entry((&money.debtor, money.currency)).or_default().0 += amount;
            swings.entry((&money.creditor, money.currency)).or_default().1 += amount;
        }
        let fits = |sum: i128| match sum.abs() <= i128::from(most) {
            true => Ok(()),
            false => Err(Reject::at(Code::Overflow, "points")),
        };
        for ((debtor, creditor, currency), sum) in pairs {
            let pair = (debtor.clone(), creditor.clone(), currency);
            let reserved = i128::from(self.reserved.get(&pair).copied().unwrap_or(0)) - self.freed(&pair, effects);
            fits(i128::from(self.positions.get(&pair).copied().unwrap_or(0)) + reserved + sum)?;
        }
        for ((partner, currency), (up, down)) in &swings {
            let owed = i128::from(self.exposure.get(&((*partner).clone(), *currency)).copied().unwrap_or(0));
            let (debts, credits) = self.reserved(partner, *currency, effects);
            if *up > 0 {
                fits(owed + debts + up)?;
            }
            if *down > 0 {
                fits(owed - credits - down)?;
            }
        }
        Ok(swings)
    }

    /// What pending exchanges will make a partner owe, and be owed, but for one that the effects end. What it may be owed doesn't lower its debt yet.
    fn reserved(&self, partner: &PartnerId, currency: Currency, effects: &[Effect]) -> (i128, i128) {
        let (mut debts, mut credits) = (0, 0);
        for (pair, micros) in self.reserved.iter().filter(|(pair, _)| pair.2 == currency) {
            let left = i128::from(*micros) - self.freed(pair, effects);
            debts += if pair.0 == *partner { left } else { 0 };
            credits += if pair.1 == *partner { left } else { 0 };
        }
        (debts, credits)
    }

    /// What was reserved on this pair for an exchange that the effects end.
    fn freed(&self, pair: &(PartnerId, PartnerId, Currency), effects: &[Effect]) -> i128 {
        let ended = effects.iter().filter_map(|effect| match effect {
            Effect::Answer { exchange, .. } => self.pending.get(exchange),
            _ => None,
        });
        let of_pair = ended.filter(|p| (&p.reserved.debtor, &p.reserved.creditor, p.reserved.currency) == (&pair.0, &pair.1, pair.2));
        of_pair.map(|p| i128::from(p.reserved.micros)).sum()
    }

    /// Checks that a message moves no more than it may, and that the fees on its exchanges will fit. The sums are checked elsewhere.
    pub(crate) fn check_bounds(&self, effects: &[Effect]) -> Rejected<()> {
        let too_much = || Reject::at(Code::Overflow, "points");
        let (mut owed, mut returned, mut exchanged) = (0i128, 0i128, false);
        for effect in effects {
            match effect {
                Effect::Money(money) => {
                    let sum = if money.line.returns() { &mut returned } else { &mut owed };
                    *sum += i128::from(money.amount);
                    exchanged |= money.line == Line::Exchange;
                }
                // What is owed only when they are spent is bounded now.
                Effect::Issue { lot, .. } if i128::from(lot.issued) * i128::from(lot.price.0) > i128::from(MAX_MONEY) => {
                    return Err(too_much());
                }
                _ => {}
            }
        }
        if owed.max(returned) > i128::from(MAX_MONEY) || (exchanged && !self.fees_fit(effects)) {
            return Err(too_much());
        }
        Ok(())
    }

    /// Whether what every bearer will owe for this window's exchanges stays within [`MAX_FEES`], those counted that wait for an answer. Never too few, but for
    /// the last rounding: what a pair owes for anything else is counted as if it were for exchanges.
    fn fees_fit(&self, effects: &[Effect]) -> bool {
        let charging = self.charging();
        charging.0.iter().all(|((_, currency), pairs)| {
            let concerns = |effect: &Effect| match effect {
                Effect::Money(m) => m.currency == *currency && pairs.contains_key(&(m.debtor.clone(), m.creditor.clone())),
                _ => false,
            };
            if !effects.iter().any(concerns) {
                return true;
            }
            let fees: i128 = pairs
                .iter()
                .map(|((debtor, creditor), percent)| {
                    let pair = (debtor.clone(), creditor.clone(), *currency);
                    let known = |of: &HashMap<_, i64>| i128::from(of.get(&pair).copied().unwrap_or(0));
                    let new = effects.iter().filter_map(|effect| match effect {
                        Effect::Money(m) if m.currency == *currency && m.debtor == *debtor && m.creditor == *creditor => {
                            Some(i128::from(m.amount))
                        }
                        _ => None,
                    });
                    let owed = known(&self.positions) + known(&self.reserved) + new.sum::<i128>();
                    owed * i128::from(*percent) / WHOLE
                })
                .sum();
            fees <= i128::from(MAX_FEES)
        })
    }
}
