//! Rows as diesel reads and writes them, and how they become the ledger's values.

use diesel::prelude::*;
use migrations::DbError;
use migrations::schema::{hold, lot, message, posting, quote};
use partner_sdk::{Code, Currency, Money};

use ledger::{AccountKey, Hold, Lot, LotKey, Moved, Posted, Quote};

/// Reads text that this program wrote; anything else means that the database was changed by somebody else.
pub(super) fn read<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T, DbError> {
    text.parse().map_err(|_| DbError::Corrupt(what.to_owned()))
}

#[rustfmt::skip]
type PostedColumns = (message::seq, message::sender, message::id, message::kind, message::business_date, message::posted_at, message::code, message::field, message::facts, message::programme, message::member, message::points, message::spend, message::to_programme, message::to_member, message::credited, message::bonus, message::agreement, message::rate, message::bonus_rate, message::sha256, message::salt);

/// The columns of [`PostedRow`]: all but the bytes.
#[rustfmt::skip]
pub(super) const POSTED: PostedColumns = (message::seq, message::sender, message::id, message::kind, message::business_date, message::posted_at, message::code, message::field, message::facts, message::programme, message::member, message::points, message::spend, message::to_programme, message::to_member, message::credited, message::bonus, message::agreement, message::rate, message::bonus_rate, message::sha256, message::salt);

#[derive(Queryable)]
pub(super) struct PostedRow {
    seq: i64,
    sender: String,
    id: String,
    kind: String,
    business_date: String,
    posted_at: i64,
    code: Option<String>,
    field: Option<String>,
    facts: String,
    programme: Option<String>,
    member: Option<String>,
    points: i64,
    spend: Option<i64>,
    to_programme: Option<String>,
    to_member: Option<String>,
    credited: i64,
    bonus: i64,
    agreement: Option<i32>,
    rate: Option<i32>,
    bonus_rate: Option<i32>,
    sha256: String,
    salt: Option<String>,
}

fn account(programme: Option<String>, member: Option<String>) -> Result<Option<AccountKey>, DbError> {
    let (Some(programme), Some(member)) = (programme, member) else {
        return Ok(None);
    };
    Ok(Some(AccountKey {
        programme: read(&programme, "message.programme")?,
        member: read(&member, "message.member")?,
    }))
}

impl PostedRow {
    pub(super) fn posted(self) -> Result<Posted, DbError> {
        Ok(Posted {
            seq: self.seq,
            sender: read(&self.sender, "message.sender")?,
            id: read(&self.id, "message.id")?,
            kind: self.kind,
            window: read(&self.business_date, "message.business_date")?,
            posted_at: self.posted_at,
            code: self.code.as_deref().map(|c| read::<Code>(c, "message.code")).transpose()?,
            field: self.field,
            facts: serde_json::from_str(&self.facts).map_err(|_| DbError::Corrupt("message.facts".into()))?,
            sha256: self.sha256,
            salt: self.salt.as_deref().map(|salt| read(salt, "message.salt")).transpose()?,
            moved: Moved {
                account: account(self.programme, self.member)?,
                points: self.points,
                spend: self.spend,
                to_account: account(self.to_programme, self.to_member)?,
                credited: self.credited,
                bonus: self.bonus,
                agreement: self.agreement,
                rate: self.rate,
                bonus_rate: self.bonus_rate,
            },
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = message, treat_none_as_default_value = false)]
pub(super) struct NewMessage<'a> {
    pub seq: i64,
    pub sender: &'a str,
    pub id: &'a str,
    pub kind: &'a str,
    pub business_date: &'a str,
    pub posted_at: i64,
    pub code: Option<&'static str>,
    pub field: Option<&'a str>,
    pub facts: String,
    pub programme: Option<&'a str>,
    pub member: Option<&'a str>,
    pub points: i64,
    pub spend: Option<i64>,
    pub to_programme: Option<&'a str>,
    pub to_member: Option<&'a str>,
    pub credited: i64,
    pub bonus: i64,
    pub agreement: Option<i32>,
    pub rate: Option<i32>,
    pub bonus_rate: Option<i32>,
    pub batch: Option<&'a str>,
    pub sha256: &'a str,
    pub bytes: &'a str,
    pub salt: Option<String>,
}

#[derive(Insertable)]
#[diesel(table_name = posting, treat_none_as_default_value = false)]
pub(super) struct NewPosting<'a> {
    pub business_date: &'a str,
    pub seq: i64,
    pub leg: i32,
    pub kind: &'static str,
    pub unit: &'a str,
    pub debit: &'a str,
    pub credit: &'a str,
    pub amount: i64,
    pub points: i64,
    pub price: i64,
    pub agreement: Option<i32>,
    pub lot_seq: Option<i64>,
    pub lot_leg: Option<i32>,
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = lot, treat_none_as_default_value = false)]
pub(super) struct LotRow {
    seq: i64,
    leg: i32,
    programme: String,
    member: String,
    agreement: i32,
    funder: String,
    price: i64,
    currency: String,
    at_redemption: bool,
    prepaid: bool,
    issued: i64,
    remaining: i64,
    charged: i64,
    reversed: i64,
    expired: i64,
    expired_paid: i64,
    lent: i64,
    expires_at: i64,
    due_at: i64,
}

impl LotRow {
    pub(super) fn lot(self) -> Result<Lot, DbError> {
        Ok(Lot {
            key: LotKey {
                seq: self.seq,
                leg: self.leg,
            },
            account: AccountKey {
                programme: read(&self.programme, "lot.programme")?,
                member: read(&self.member, "lot.member")?,
            },
            agreement: self.agreement,
            funder: read(&self.funder, "lot.funder")?,
            price: Money(self.price),
            currency: Currency::new(&self.currency).map_err(|_| DbError::Corrupt("lot.currency".into()))?,
            at_redemption: self.at_redemption,
            prepaid: self.prepaid,
            issued: self.issued,
            remaining: self.remaining,
            charged: self.charged,
            reversed: self.reversed,
            expired: self.expired,
            expired_paid: self.expired_paid,
            lent: self.lent,
            expires_at: self.expires_at,
            due_at: self.due_at,
        })
    }

    pub(super) fn of(lot: &Lot) -> Self {
        Self {
            seq: lot.key.seq,
            leg: lot.key.leg,
            programme: lot.account.programme.as_str().to_owned(),
            member: lot.account.member.as_str().to_owned(),
            agreement: lot.agreement,
            funder: lot.funder.as_str().to_owned(),
            price: lot.price.0,
            currency: lot.currency.as_str().to_owned(),
            at_redemption: lot.at_redemption,
            prepaid: lot.prepaid,
            issued: lot.issued,
            remaining: lot.remaining,
            charged: lot.charged,
            reversed: lot.reversed,
            expired: lot.expired,
            expired_paid: lot.expired_paid,
            lent: lot.lent,
            expires_at: lot.expires_at,
            due_at: lot.due_at,
        }
    }
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = hold, treat_none_as_default_value = false)]
pub(super) struct HoldRow {
    seq: i64,
    programme: String,
    member: String,
    points: i64,
    lots: String,
    expires_at: i64,
    is_open: bool,
    lapsed: bool,
}

/// The lots of a hold as stored: `seq.leg:points`, one space between them.
pub(super) fn held_lots(text: &str) -> Result<Vec<(LotKey, i64)>, DbError> {
    let one = |part: &str| {
        let (key, points) = part.split_once(':')?;
        let (seq, leg) = key.split_once('.')?;
        let (seq, leg) = (seq.parse().ok()?, leg.parse().ok()?);
        Some((LotKey { seq, leg }, points.parse().ok()?))
    };
    let lots = text.split(' ').filter(|part| !part.is_empty());
    lots.map(|part| one(part).ok_or_else(|| DbError::Corrupt("hold.lots".into())))
        .collect()
}

fn text_of_lots(lots: &[(LotKey, i64)]) -> String {
    let one = |(lot, points): &(LotKey, i64)| format!("{}.{}:{points}", lot.seq, lot.leg);
    lots.iter().map(one).collect::<Vec<_>>().join(" ")
}

impl HoldRow {
    pub(super) fn hold(self) -> Result<Hold, DbError> {
        let account = AccountKey {
            programme: read(&self.programme, "hold.programme")?,
            member: read(&self.member, "hold.member")?,
        };
        Ok(Hold {
            seq: self.seq,
            account,
            points: self.points,
            lots: held_lots(&self.lots)?,
            expires_at: self.expires_at,
            open: self.is_open,
            lapsed: self.lapsed,
        })
    }

    pub(super) fn of(hold: &Hold) -> Self {
        Self {
            seq: hold.seq,
            programme: hold.account.programme.as_str().to_owned(),
            member: hold.account.member.as_str().to_owned(),
            points: hold.points,
            lots: text_of_lots(&hold.lots),
            expires_at: hold.expires_at,
            is_open: hold.open,
            lapsed: hold.lapsed,
        }
    }
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = quote, treat_none_as_default_value = false)]
pub(super) struct QuoteRow {
    seq: i64,
    programme: String,
    to_programme: String,
    offered: i64,
    points: i64,
    credited: i64,
    bonus: i64,
    agreement: i32,
    rate: i32,
    bonus_rate: Option<i32>,
    expires_at: i64,
    is_open: bool,
}

impl QuoteRow {
    pub(super) fn quote(self) -> Result<Quote, DbError> {
        Ok(Quote {
            seq: self.seq,
            programme: read(&self.programme, "quote.programme")?,
            to_programme: read(&self.to_programme, "quote.to_programme")?,
            offered: self.offered,
            points: self.points,
            credited: self.credited,
            bonus: self.bonus,
            agreement: self.agreement,
            rate: self.rate,
            bonus_rate: self.bonus_rate,
            expires_at: self.expires_at,
            open: self.is_open,
        })
    }

    pub(super) fn of(quote: &Quote) -> Self {
        Self {
            seq: quote.seq,
            programme: quote.programme.as_str().to_owned(),
            to_programme: quote.to_programme.as_str().to_owned(),
            offered: quote.offered,
            points: quote.points,
            credited: quote.credited,
            bonus: quote.bonus,
            agreement: quote.agreement,
            rate: quote.rate,
            bonus_rate: quote.bonus_rate,
            expires_at: quote.expires_at,
            is_open: quote.open,
        }
    }
}
