//! What a message will do, worked out before anything changes; and the moves that several kinds share.

use partner_sdk::{Code, Currency, MemberNumber, Money, PartnerId, Points};

use super::custody::Pending;
use super::types::{AccountKey, Hold, Line, Lot, LotKey, Quote, Told};
use super::working_set::WorkingSet;
use super::{Reject, Rejected, prepaid};

/// A lot that is there already, or one that this message issues.
#[derive(Debug, Clone, Copy)]
pub enum LotRef {
    /// In the working set.
    Known(LotKey),
    /// The message's own, by its leg.
    New(i32),
}

impl LotRef {
    /// The lot's name, once the message has its sequence number.
    pub fn of(self, seq: i64) -> LotKey {
        match self {
            Self::Known(key) => key,
            Self::New(leg) => LotKey { seq, leg },
        }
    }
}

/// `debtor` owes `creditor`.
#[derive(Debug, Clone)]
pub struct MoneyMove {
    /// What for.
    pub line: Line,
    /// Who owes.
    pub debtor: PartnerId,
    /// Whom.
    pub creditor: PartnerId,
    /// In which currency.
    pub currency: Currency,
    /// How much, in micros: above 0, or 0 for points that were paid for when they were bought.
    pub amount: i64,
    /// For how many points.
    pub points: i64,
    /// At how many micros each.
    pub price: i64,
    /// Under which agreement.
    pub agreement: i32,
}

/// One change of the books.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A new lot; its `seq` is the message's.
    Issue {
        /// What for.
        line: Line,
        /// The lot.
        lot: Lot,
    },
    /// Points leave a lot and the member.
    Take {
        /// What for.
        line: Line,
        /// The lot.
        lot: LotKey,
        /// How many.
        points: i64,
        /// What the funder had paid for each; stated only where the statement shows it (expiry).
        price: i64,
    },
    /// Points come back to a lot and the member.
    Restore {
        /// What for.
        line: Line,
        /// The lot.
        lot: LotKey,
        /// How many.
        points: i64,
    },
    /// Points of a lot repay the member's debt: the balance stays.
    Repay {
        /// The lot.
        lot: LotRef,
        /// How many.
        points: i64,
    },
    /// The member owes points from now on.
    Owe {
        /// What for.
        line: Line,
        /// The account.
        account: AccountKey,
        /// How many.
        points: i64,
    },
    /// The member owes fewer points: the issuer gives them up.
    Forgive {
        /// What for.
        line: Line,
        /// The account.
        account: AccountKey,
        /// How many.
        points: i64,
    },
    /// The funder has been charged for so many more points of a lot (or fewer).
    Charge {
        /// The lot.
        lot: LotRef,
        /// How many.
        points: i64,
    },
    /// So many more points of an earn that is paid for at redemption were taken back.
    TakenBack {
        /// Its lot.
        lot: LotKey,
        /// How many.
        points: i64,
    },
    /// A new hold; its `seq` is the message's.
    Hold(Hold),
    /// A hold ends.
    CloseHold(i64),
    /// A new quote; its `seq` is the message's.
    Quote(Quote),
    /// An exchange uses a quote up.
    UseQuote(i64),
    /// So much more of a message has been reversed.
    Reversed {
        /// The message.
        target: i64,
        /// In points.
        points: i64,
        /// In micros of spend.
        spend: i64,
    },
    /// So much more of a limit has been used.
    Count {
        /// The agreement.
        agreement: i32,
        /// The member; `None` for all of them together.
        member: Option<MemberNumber>,
        /// How many points.
        points: i64,
    },
    /// Money is owed.
    Money(MoneyMove),
    /// Points move in the books of an issuer that keeps its balances itself.
    Elsewhere {
        /// What for.
        line: Line,
        /// The account there.
        account: AccountKey,
        /// How many.
        points: i64,
        /// To the member, or from it.
        to_member: bool,
    },
    /// An issuer is told to credit an exchange; its `seq` is the message's. What it will make owed is reserved.
    Instruct(Box<Pending>),
    /// A pending exchange ends; nothing is reserved for it any more.
    Answer {
        /// The exchange.
        exchange: i64,
        /// Whether it was credited.
        captured: bool,
        /// The reference or the reason.
        word: Option<String>,
    },
    /// Points are bought in advance (or the purchase is taken back), or drawn (or put back).
    Block {
        /// The agreement under which they were bought.
        agreement: i32,
        /// How many more were bought.
        bought: i64,
        /// How many more are left.
        left: i64,
    },
    /// A partner is told something.
    Tell(Told),
}

/// Money for points, unless a party would owe itself or nothing is owed.
pub fn owe(
    line: Line,
    debtor: &PartnerId,
    creditor: &PartnerId,
    points: i64,
    price: Money,
    currency: Currency,
    agreement: i32,
) -> Rejected<Option<Effect>> {
    let amount = Points(points).at(price).ok_or(Reject::at(Code::Overflow, "points"))?.0;
    if amount == 0 || debtor == creditor {
        return Ok(None);
    }
    let (debtor, creditor) = (debtor.clone(), creditor.clone());
    Ok(Some(Effect::Money(MoneyMove {
        line,
        debtor,
        creditor,
        currency,
        amount,
        points,
        price: price.0,
        agreement,
    })))
}

impl WorkingSet {
    /// The programme's issuer.
    pub(super) fn issuer_of(&self, account: &AccountKey) -> Rejected<PartnerId> {
        let programme = self
            .directory
            .programmes
            .get(&account.programme)
            .ok_or(Reject::at(Code::UnknownProgramme, "programme"))?;
        Ok(programme.terms.issuer.clone())
    }

    /// The funder pays for points of a lot that are being used up, if it hasn't paid at issue: for what it issued and hasn't taken back, once.
    pub(super) fn charge(&self, lot: &Lot, at: LotRef, points: i64) -> Rejected<Vec<Effect>> {
        let points = points.min(lot.issued - lot.reversed - lot.charged);
        if !lot.at_redemption || points <= 0 {
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

    /// Takes points from lots that hadn't expired at `alive_at`, oldest expiry first. The caller has checked that there are enough.
    pub(super) fn spend(&self, line: Line, account: &AccountKey, points: i64, alive_at: i64) -> Rejected<Vec<Effect>> {
        self.take(line, self.lots_of(account).filter(|l| l.expires_at > alive_at), points)
    }

    /// The same for points that were held since `alive_at`: where some of those lots were taken back meanwhile, what the hold kept back instead.
    pub(super) fn spend_held(&self, line: Line, account: &AccountKey, points: i64, alive_at: i64) -> Rejected<Vec<Effect>> {
        let alive = self.lots_of(account).filter(|l| l.expires_at > alive_at);
        let expired = self.lots_of(account).filter(|l| l.expires_at <= alive_at);
        self.take(line, alive.chain(expired), points)
    }

    fn take<'a>(&self, line: Line, lots: impl Iterator<Item = &'a Lot>, points: i64) -> Rejected<Vec<Effect>> {
        let (mut effects, mut left) = (vec![], points);
        for lot in lots {
            if left == 0 {
                break;
            }
            let taken = left.min(lot.remaining);
            effects.push(Effect::Take {
                line,
                lot: lot.key,
                points: taken,
                price: 0,
            });
            effects.extend(self.charge(lot, LotRef::Known(lot.key), taken)?);
            left -= taken;
        }
        if left > 0 {
            Err(Reject::at(Code::InsufficientBalance, "points"))
        } else {
            Ok(effects)
        }
    }

    /// A new lot (its `remaining` is what it issues); the member's debt, less what `repaid` says is gone already, is repaid first. Returns how much was.
    pub(super) fn issue(&self, line: Line, lot: Lot, repaid: i64, effects: &mut Vec<Effect>) -> Rejected<i64> {
        let (points, debt) = self.accounts.get(&lot.account).map_or((0, 0), |a| (a.points, a.debt));
        // Twice the room, because an exchange may issue a bonus too.
        lot.issued
            .checked_mul(2)
            .and_then(|twice| points.checked_add(twice))
            .ok_or(Reject::at(Code::Overflow, "points"))?;
        let (at, repay) = (LotRef::New(lot.key.leg), (debt - repaid).clamp(0, lot.issued));
        let charges = if repay > 0 { self.charge(&lot, at, repay)? } else { vec![] };
        effects.push(Effect::Issue { line, lot });
        if repay > 0 {
            effects.push(Effect::Repay { lot: at, points: repay });
            effects.extend(charges);
        }
        Ok(repay)
    }

    /// Points that no open hold needs: (in lots that have not expired, in lots that have). A hold lives on the first, and on the second for what it lacks.
    fn spare(&self, account: &AccountKey) -> (i128, i128) {
        let (mut alive, mut expired) = (0i128, 0i128);
        for lot in self.lots_of(account) {
            *(if lot.expires_at > self.now { &mut alive } else { &mut expired }) += i128::from(lot.remaining);
        }
        let held = self.held(account);
        ((alive - held).max(0), (expired - (held - alive).max(0)).max(0))
    }

    /// How many points a reversal can take from the member, as far below zero as the programme allows.
    pub(super) fn recoverable(&self, account: &AccountKey) -> i128 {
        let debt = self.accounts.get(account).map_or(0, |a| a.debt);
        let limit = self.directory.programmes.get(&account.programme).map_or(0, |p| p.negative_limit.0);
        let (alive, expired) = self.spare(account);
        alive + expired + i128::from(limit.saturating_sub(debt).max(0))
    }

    /// Takes issued points back: from their own lots first, then from the member's others, then as debt; the funder gets its money back at the price of
    /// the own lot, or the points back in the block that they were drawn from. The caller has checked [`WorkingSet::recoverable`].
    pub(super) fn claw_back(&self, account: &AccountKey, own: &[(LotKey, i64, Line)]) -> Rejected<Vec<Effect>> {
        let issuer = self.issuer_of(account)?;
        let (mut alive, mut expired) = self.spare(account);
        // Takes from a lot what is wanted, as far as no hold needs it.
        let mut take_from = |lot: &Lot, wanted: i64, rest: i64| {
            let spare = if lot.expires_at > self.now { &mut alive } else { &mut expired };
            let take = i64::try_from(*spare).unwrap_or(i64::MAX).min(wanted).min(rest);
            *spare -= i128::from(take);
            take
        };
        let (mut effects, mut missing, mut taken_from) = (vec![], 0i64, std::collections::HashMap::new());
        for (key, points, line) in own {
            let lot = self.lots.get(key).ok_or(Reject::new(Code::Internal))?;
            let take = take_from(lot, *points, lot.remaining);
            if take > 0 {
                effects.push(Effect::Take {
                    line: *line,
                    lot: *key,
                    points: take,
                    price: 0,
                });
                taken_from.insert(*key, take);
            }
            missing += points - take;
            let refund = if lot.at_redemption {
                (points - take).min(lot.charged)
            } else {
                *points
            };
            if lot.at_redemption {
                effects.push(Effect::TakenBack {
                    lot: *key,
                    points: *points,
                });
            }
            if refund > 0 {
                effects.push(Effect::Charge {
                    lot: LotRef::Known(*key),
                    points: -refund,
                });
            }
            if lot.prepaid {
                effects.extend(prepaid::put_back(lot, &issuer, refund));
            } else {
                effects.extend(owe(*line, &issuer, &lot.funder, refund, lot.price, lot.currency, lot.agreement)?);
            }
        }
        let (seq, line) = own.first().map_or((0, Line::EarnReversal), |o| (o.0.seq, o.2));
        // Its other lots come before the member's others, so that pieces take from the same lots as the whole.
        let mut lots: Vec<&Lot> = self.lots_of(account).collect();
        lots.sort_by_key(|lot| lot.key.seq != seq);
        for lot in lots {
            let rest = lot.remaining - taken_from.get(&lot.key).copied().unwrap_or(0);
            let take = take_from(lot, missing, rest);
            if take > 0 {
                effects.push(Effect::Take {
                    line,
                    lot: lot.key,
                    points: take,
                    price: 0,
                });
                // An own lot that comes to stand in for another was taken back in full.
                if lot.key.seq != seq {
                    effects.extend(self.charge(lot, LotRef::Known(lot.key), take)?);
                }
            }
            missing -= take;
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

    /// Gives spent points back to the lots that they came from, those taken last first: `points` of them, after `before` were given back. Debt is repaid
    /// first, and funders that paid at redemption get their money back for what the member gets.
    pub(super) fn give_back(&self, line: Line, account: &AccountKey, target: i64, before: i64, points: i64) -> Rejected<Vec<Effect>> {
        let issuer = self.issuer_of(account)?;
        let (mut skip, mut left) = (before, points);
        let mut debt = self.accounts.get(account).map_or(0, |a| a.debt);
        let held = self.accounts.get(account).map_or(0, |a| a.points);
        held.checked_add(points).ok_or(Reject::at(Code::Overflow, "points"))?;
        let mut effects = vec![];
        for (key, taken) in self.takes.get(&target).into_iter().flatten().rev() {
            let passed = skip.min(*taken);
            skip -= passed;
            let back = left.min(taken - passed);
            if back == 0 {
                continue;
            }
            left -= back;
            let lot = self.lots.get(key).ok_or(Reject::new(Code::Internal))?;
            effects.push(Effect::Restore {
                line,
                lot: *key,
                points: back,
            });
            let repay = debt.min(back);
            debt -= repay;
            if repay > 0 {
                effects.push(Effect::Repay {
                    lot: LotRef::Known(*key),
                    points: repay,
                });
            }
            // What was refunded when the earn itself was taken back isn't refunded again.
            let refund = (back - repay).min(lot.charged);
            if lot.at_redemption && refund > 0 {
                effects.push(Effect::Charge {
                    lot: LotRef::Known(*key),
                    points: -refund,
                });
                effects.extend(owe(
                    Line::RedemptionReversal,
                    &issuer,
                    &lot.funder,
                    refund,
                    lot.price,
                    lot.currency,
                    lot.agreement,
                )?);
            }
        }
        if left > 0 { Err(Reject::new(Code::Internal)) } else { Ok(effects) }
    }
}
