//! What the ledger holds, as values.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::Date;
use partner_sdk::{Code, Currency, KeyId, MemberNumber, Message, MessageId, Money, PartnerId, ProgrammeCode, Salt};

/// A member's account in one programme.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// The programme.
    pub programme: ProgrammeCode,
    /// The member's number there.
    pub member: MemberNumber,
}

/// A lot's name: the message that issued it, and which of that message's lots it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LotKey {
    /// The issuing message's sequence number.
    pub seq: i64,
    /// Of an exchange 1 is the bonus. An earn has one for each block that it draws on, then one for the rest.
    pub leg: i32,
}

/// Points issued together.
#[derive(Debug, Clone)]
pub struct Lot {
    /// Its name.
    pub key: LotKey,
    /// Whose points these are.
    pub account: AccountKey,
    /// The number of the agreement under which they were issued.
    pub agreement: i32,
    /// Who pays for them.
    pub funder: PartnerId,
    /// What the funder pays for each, in micros of `currency`.
    pub price: Money,
    /// The currency of `price`.
    pub currency: Currency,
    /// Whether the funder owes when they are spent instead of when they are issued.
    pub at_redemption: bool,
    /// Whether they were drawn from points that the funder bought before, under `agreement` and at its price.
    pub prepaid: bool,
    /// How many were issued.
    pub issued: i64,
    /// How many are left to spend.
    pub remaining: i64,
    /// How many the funder has been charged for, or its block was drawn for.
    pub charged: i64,
    /// Where the funder pays at redemption: how many of its earn were taken back. It is liable for `issued - reversed`.
    pub reversed: i64,
    /// How many expired unspent, and weren't taken back since.
    pub expired: i64,
    /// How many of those had been paid for: what breakage is worth.
    pub expired_paid: i64,
    /// How many of them were given for other earns of the member that were taken back; below zero: how many others gave, or the member owes, for its own
    /// earn (decision 0022).
    pub lent: i64,
    /// When they expire, in microseconds since 1970; `i64::MAX` for never.
    pub expires_at: i64,
    /// The first cut-off at or after this looks whether points of it expire: `expires_at`, and later once one has looked, or points came back after it; sooner
    /// where its earn was taken back while a hold keeps points, which go back where others were given once it has ended.
    pub due_at: i64,
}

/// Points set aside by an authorise message, or by an exchange that waits for an issuer's answer.
#[derive(Debug, Clone)]
pub struct Hold {
    /// The message.
    pub seq: i64,
    /// Whose points.
    pub account: AccountKey,
    /// How many.
    pub points: i64,
    /// Which: what could be spent when it was made, oldest first. They stay these, whatever comes between (DESIGN section 3.8).
    pub lots: Vec<(LotKey, i64)>,
    /// When the hold ends by itself, in microseconds since 1970.
    pub expires_at: i64,
    /// Neither captured nor voided, and no night has noted its end.
    pub open: bool,
    /// It ended by itself.
    pub lapsed: bool,
}

impl Hold {
    /// The end of a hold that doesn't end by itself: that of an exchange which waits for an issuer's answer.
    pub const UNTIL_ANSWERED: i64 = i64::MAX;

    /// Whether it keeps its points at an instant.
    pub fn is_live(&self, at: i64) -> bool {
        self.open && self.expires_at > at
    }
}

/// A firm offer, made by a quote message.
#[derive(Debug, Clone)]
pub struct Quote {
    /// The quote message.
    pub seq: i64,
    /// The programme that gives.
    pub programme: ProgrammeCode,
    /// The programme that takes.
    pub to_programme: ProgrammeCode,
    /// How many points are offered.
    pub offered: i64,
    /// How many of them move.
    pub points: i64,
    /// How many are credited for them, without bonus.
    pub credited: i64,
    /// Bonus points on top.
    pub bonus: i64,
    /// The number of the agreement.
    pub agreement: i32,
    /// The number of the rate.
    pub rate: i32,
    /// The number of the bonus's own rate, where there is a bonus.
    pub bonus_rate: Option<i32>,
    /// When it ends by itself, in microseconds since 1970.
    pub expires_at: i64,
    /// Not used by an exchange.
    pub open: bool,
}

/// A member's points: `balance = points - debt`.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The sum of what remains in the lots.
    pub points: i64,
    /// Points owed after a clawback that found too few; later earns repay it first.
    pub debt: i64,
    /// How many lots have points left.
    pub open_lots: i64,
    /// How many lots gave points for other earns, and haven't got them back.
    pub lending_lots: i64,
    /// Whether what is due of its lots is loaded, and its holds.
    pub loaded: bool,
    /// Those lots that are loaded, in the order in which they are spent.
    pub lots: BTreeSet<(i64, LotKey)>,
    /// Those that gave points for other earns, in the same order.
    pub lenders: BTreeSet<(i64, LotKey)>,
    /// Open holds.
    pub holds: Vec<i64>,
}

/// A message that passed verification, with the bytes that were signed.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What it says.
    pub message: Message,
    /// The key that signed it.
    pub kid: KeyId,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// The bytes.
    pub signed: Signed,
}

/// The bytes behind a message; empty for what the clearinghouse does by itself (expiry, fees).
#[derive(Clone, Default)]
pub struct Signed {
    /// The compact JWS, or the message's own bytes inside a signed batch.
    pub bytes: Arc<str>,
    /// The signed batch that it came in.
    pub batch: Option<Arc<SignedBatch>>,
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The bytes hold a member number.
        f.write_str("Signed(..)")
    }
}

/// A signed batch as received.
pub struct SignedBatch {
    /// SHA-256 of `bytes`, in hexadecimal.
    pub sha256: String,
    /// Who signed it.
    pub sender: PartnerId,
    /// The compact JWS.
    pub bytes: String,
}

/// What is kept of a message that was answered with a sequence number.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Its place in the ledger.
    pub seq: i64,
    /// Who sent it.
    pub sender: PartnerId,
    /// Its id.
    pub id: MessageId,
    /// Its kind as on the wire.
    pub kind: String,
    /// The window that it belongs to.
    pub window: Date,
    /// The clearinghouse's time, in microseconds since 1970.
    pub posted_at: i64,
    /// Why it was rejected; `None` for an accepted one.
    pub code: Option<Code>,
    /// The field at fault.
    pub field: Option<String>,
    /// What came of it, for the receipt.
    pub facts: Vec<(String, String)>,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// What keeps its entry in the log from being guessed, where it has no signature of its own.
    pub salt: Option<Salt>,
    /// What it moved.
    pub moved: Moved,
}

/// What an accepted message moved: what a later reversal or capture needs to know.
#[derive(Debug, Clone, Default)]
pub struct Moved {
    /// The account.
    pub account: Option<AccountKey>,
    /// Points earned, burned, held, given away in an exchange (or to be, by a quote), or reversed.
    pub points: i64,
    /// The spend that an earn stated, in micros.
    pub spend: Option<i64>,
    /// The account that an exchange credited.
    pub to_account: Option<AccountKey>,
    /// Points that an exchange credited (or would, by a quote), without bonus.
    pub credited: i64,
    /// Bonus points that an exchange credited (or would, by a quote).
    pub bonus: i64,
    /// The number of the agreement.
    pub agreement: Option<i32>,
    /// The number of the rate.
    pub rate: Option<i32>,
    /// The number of the bonus's own rate, where there is a bonus.
    pub bonus_rate: Option<i32>,
}

/// What a line of postings is about; the names stand in statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Line {
    /// Points issued, or their price.
    Earn,
    /// Points spent, or their price.
    Burn,
    /// The price of points that are paid for when they are spent.
    Redemption,
    /// Points that left or arrived in an exchange, or their price.
    Exchange,
    /// The bonus of an exchange.
    Bonus,
    /// An earn taken back.
    EarnReversal,
    /// A burn taken back.
    BurnReversal,
    /// A redemption taken back.
    RedemptionReversal,
    /// An exchange taken back.
    ExchangeReversal,
    /// A bonus taken back.
    BonusReversal,
    /// Points whose time was over.
    Expiry,
    /// Points whose time was over, and whose earn was taken back afterwards: they are no breakage any more.
    ExpiryReversal,
    /// Points that a member owed are given up.
    WriteOff,
    /// The price of points bought in advance.
    Prepaid,
    /// A purchase taken back.
    PrepaidReversal,
    /// Points that were bought in advance are issued: no money.
    Drawn,
    /// Points of an earn taken back go back to where they were drawn: no money.
    DrawnReversal,
    /// Points of an earn taken back that are free again go where others were given for them: no money of their own.
    GivenBack,
    /// What a dispute's outcome makes owed: no points.
    Adjustment,
}

impl Line {
    /// Those of points that a message spends, and that come back when it is taken back.
    pub const SPENDING: [Self; 2] = [Self::Burn, Self::Exchange];

    /// Whether it is one of these.
    pub fn spends(self) -> bool {
        Self::SPENDING.contains(&self)
    }

    /// Whether money on it is returned.
    pub fn returns(self) -> bool {
        use Line::{BonusReversal, BurnReversal, EarnReversal, ExchangeReversal, PrepaidReversal, RedemptionReversal};
        matches!(
            self,
            EarnReversal | BurnReversal | RedemptionReversal | ExchangeReversal | BonusReversal | PrepaidReversal
        )
    }

    /// The name in the database and on statements.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Earn => "earn",
            Self::Burn => "burn",
            Self::Redemption => "redemption",
            Self::Exchange => "exchange",
            Self::Bonus => "bonus",
            Self::EarnReversal => "earn_reversal",
            Self::BurnReversal => "burn_reversal",
            Self::RedemptionReversal => "redemption_reversal",
            Self::ExchangeReversal => "exchange_reversal",
            Self::BonusReversal => "bonus_reversal",
            Self::Expiry => "expiry",
            Self::ExpiryReversal => "expiry_reversal",
            Self::WriteOff => "write_off",
            Self::Prepaid => "prepaid",
            Self::PrepaidReversal => "prepaid_reversal",
            Self::Drawn => "drawn",
            Self::DrawnReversal => "drawn_reversal",
            Self::GivenBack => "given_back",
            Self::Adjustment => "adjustment",
        }
    }
}

/// Something to be told in the event feed.
#[derive(Debug, Clone)]
pub struct Told {
    /// Who is told.
    pub recipient: PartnerId,
    /// What, e.g. `exchange.captured`.
    pub kind: &'static str,
    /// About which message.
    pub subject: String,
    /// More about it, by name.
    pub facts: Vec<(String, String)>,
}

/// The side of a points posting that isn't the issuer: whom the message names, whether the account is here or with the issuer.
pub const MEMBER: &str = "member";

/// One entry: `debit` gives to `credit`, so it sums to zero by its form.
#[derive(Debug, Clone)]
pub struct Posting {
    /// The message.
    pub seq: i64,
    /// Its place among the message's postings.
    pub leg: i32,
    /// The message's window.
    pub window: Date,
    /// What it is about.
    pub line: Line,
    /// A programme for points, a currency for money.
    pub unit: String,
    /// Who gives, or owes.
    pub debit: String,
    /// Who takes, or is owed.
    pub credit: String,
    /// Smallest units of the programme, or micros.
    pub amount: i64,
    /// The points that are priced.
    pub points: i64,
    /// Micros for each.
    pub price: i64,
    /// The number of the agreement.
    pub agreement: Option<i32>,
    /// The lot that gave or took.
    pub lot: Option<LotKey>,
}

/// Points that a partner bought under one version of its earn agreement, at that version's price.
#[derive(Debug, Clone)]
pub struct Block {
    /// The number of the agreement: the price is its own.
    pub agreement: i32,
    /// Who bought them.
    pub partner: PartnerId,
    /// Whose points they are.
    pub programme: ProgrammeCode,
    /// How many were bought, less those that were taken back.
    pub bought: i64,
    /// How many of them no earn has drawn.
    pub left: i64,
}
