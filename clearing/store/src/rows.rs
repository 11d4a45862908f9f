//! Rows as diesel reads and writes them, and how they become the ledger's values.

use diesel::prelude::*;
use migrations::DbError;
use migrations::schema::message;
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

#[derive(Queryable)]
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
}

#[derive(Queryable)]
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

pub(super) fn text_of_lots(lots: &[(LotKey, i64)]) -> String {
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
}

#[derive(Queryable)]
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
}
