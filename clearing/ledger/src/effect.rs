//! What a message will do, worked out before anything changes.

use partner_sdk::{Code, Currency, MemberNumber, Money, PartnerId, Points};

use crate::pending::Pending;
use crate::reject::{Facts, Reject, Rejected};
use crate::types::{AccountKey, Hold, Line, Lot, LotKey, Moved, Quote, Told};

/// What a kind's rules made of a message.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) moved: Moved,
    pub(crate) effects: Vec<Effect>,
    pub(crate) facts: Facts,
}

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
