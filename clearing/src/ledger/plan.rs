//! What a message will do, worked out before anything changes; and the moves that several kinds share.

use partner_sdk::change::Status;
use partner_sdk::{Code, Currency, MemberNumber, Money, PartnerId, Points};

use super::custody::Pending;
use super::types::{AccountKey, Hold, Line, Lot, LotKey, Quote, Told};
use super::working_set::WorkingSet;
use super::{Reject, Rejected, text_of};

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
    },
    /// Points of a lot expire unspent.
    Expire {
        /// The lot.
        lot: LotKey,
        /// How many.
        points: i64,
        /// Whether the issuer keeps what was paid for them, or will be.
        paid: bool,
    },
    /// Points that expired unspent come back, to be taken back.
    Unexpire {
        /// The lot.
        lot: LotKey,
        /// How many.
        points: i64,
        /// Whether they had counted as paid.
        paid: bool,
    },
    /// The first cut-off from an instant on looks at a lot (again).
    Defer {
        /// The lot.
        lot: LotKey,
        /// From when on.
        due_at: i64,
    },
    /// Points come back to a lot and the member.
    Restore {
        /// What for.
        line: Line,
        /// The lot.
        lot: LotKey,
        /// How many.
        points: i64,
        /// When. Where their time is over by then, the next cut-off takes them.
        at: i64,
    },
    /// So many more points of a lot were given for other earns that were taken back; below zero: others were given for its own.
    Lend {
        /// The lot.
        lot: LotKey,
        /// How many.
        points: i64,
    },
    /// Points of a lot repay the member's debt: the balance stays. They are given for the earns that the debt is of.
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

    /// Whether a partner was settled for good: it comes to owe nothing, and nothing is owed to it any more.
    pub(super) fn is_gone(&self, partner: &PartnerId) -> bool {
        self.directory.partners.get(partner).is_some_and(|p| p.status == Status::Gone)
    }

    /// The funder pays for points of a lot that are being used up, if it hasn't paid at issue: for what it issued and hasn't taken back, once, and not for what
    /// is still there or expired unspent. So what a refund took elsewhere, because a hold kept the lot's own points, isn't paid for again when those repay
    /// the debt or expire. For a funder that is gone the issuer bears them. `before` points of the lot are used up by the same message.
    pub(super) fn charge(&self, lot: &Lot, at: LotRef, points: i64, before: i64) -> Rejected<Vec<Effect>> {
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
    pub(super) fn insufficient(&self, account: &AccountKey) -> Reject {
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
    pub(super) fn oldest(&self, account: &AccountKey, points: i64) -> Rejected<Vec<(LotKey, i64)>> {
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
    pub(super) fn spend(&self, line: Line, lots: &[(LotKey, i64)], points: i64) -> Rejected<Vec<Effect>> {
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
    pub(super) fn issue(&self, line: Line, lot: Lot, repaid: i64, effects: &mut Vec<Effect>) -> Rejected<i64> {
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
