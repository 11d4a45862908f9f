//! What a window's statements are made of, grouped by the database.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::thread;
use std::time::{Duration, Instant};

use diesel::dsl::{min, sql};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use jiff::civil::Date;
use migrations::schema::{agreement, partner, posting, programme};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::agreement::Terms;
use partner_sdk::{Currency, Money, PartnerId, ProgrammeCode};
use serde::Deserialize;

use super::{Window, accounts, conversions, obligations, party, read, running_of};
use crate::book::{Book, Expired, Gross, Paying};

/// In place of a party, the member whom the message names: such postings move points.
pub const MEMBER: &str = "member";
/// Points that a member lost by not spending them, and those of them whose earn was taken back.
pub const EXPIRY: [&str; 2] = ["expiry", "expiry_reversal"];

/// The postings of one kind, agreement, pair, unit and price.
pub struct Group {
    pub kind: String,
    pub agreement: Option<i32>,
    pub debit: String,
    pub credit: String,
    pub unit: String,
    pub price: i64,
    pub messages: i64,
    pub points: i128,
    pub amount: i128,
}

/// The two halves of each sum come last: billions, and what is left of them.
type GroupRow = (String, Option<i32>, String, String, String, i64, i64, (i64, i64), (i64, i64));

const BILLION: i128 = 1_000_000_000;

/// How many sequence numbers are grouped by one query.
pub(super) const PIECE: i64 = 4_096;

/// How much of a processor a long read may take from those who post meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A quarter of one: after each piece it rests three times as long as that took.
    Gentle,
    /// All of one.
    Full,
}

impl Pace {
    pub(super) fn rest(self, worked: Duration) {
        if self == Self::Gentle {
            // There is no event to wait for: whoever posts is to find a processor free, whether somebody does or not. No lock and no transaction is held meanwhile.
            thread::sleep(worked * 3);
        }
    }
}

/// What the postings of a group have in common.
type Key = (String, Option<i32>, String, String, String, i64);

/// The groups of a window, money and expired points, in no particular order. Read in pieces of whole messages, so that memory stays small and no query is long; what is
/// closed stays as it is, so they need no common snapshot.
pub fn groups(conn: &mut Conn, date: Date, pace: Pace) -> Result<Vec<Group>, DbError> {
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    let mut first = first_from(conn, date, 0)?;
    while let Some(from) = first {
        let began = Instant::now();
        for group in piece(conn, date, from)? {
            let key = (
                group.kind.clone(),
                group.agreement,
                group.debit.clone(),
                group.credit.clone(),
                group.unit.clone(),
                group.price,
            );
            match groups.entry(key) {
                Entry::Vacant(entry) => _ = entry.insert(group),
                Entry::Occupied(mut entry) => {
                    let sum = entry.get_mut();
                    sum.messages += group.messages;
                    sum.points += group.points;
                    sum.amount += group.amount;
                }
            }
        }
        first = first_from(conn, date, from.saturating_add(PIECE))?;
        if first.is_some() {
            pace.rest(began.elapsed());
        }
    }
    Ok(groups.into_values().collect())
}

/// The first sequence number of a window that is no less than `from`.
pub(super) fn first_from(conn: &mut Conn, date: Date, from: i64) -> Result<Option<i64>, DbError> {
    let query = posting::table
        .filter(posting::business_date.eq(date.to_string()).and(posting::seq.ge(from)))
        .select(min(posting::seq));
    Ok(each_backend!(conn, |c| query.first(c))?)
}

/// The groups of one piece. Amounts and points are summed in two halves, so that they fit however many there are: SQLite refuses a sum beyond 64 bits, and so does a
/// cast of PostgreSQL's.
fn piece(conn: &mut Conn, date: Date, from: i64) -> Result<Vec<Group>, DbError> {
    use posting::dsl as p;
    let keys = (p::kind, p::agreement, p::debit, p::credit, p::unit, p::price);
    // PostgreSQL sums bigints to a numeric.
    let messages = sql::<BigInt>("COUNT(DISTINCT seq)");
    let points = (
        sql::<BigInt>("CAST(SUM(points / 1000000000) AS BIGINT)"),
        sql::<BigInt>("CAST(SUM(points % 1000000000) AS BIGINT)"),
    );
    let amount = (
        sql::<BigInt>("CAST(SUM(amount / 1000000000) AS BIGINT)"),
        sql::<BigInt>("CAST(SUM(amount % 1000000000) AS BIGINT)"),
    );
    let money = p::debit.ne(MEMBER).and(p::credit.ne(MEMBER));
    let query = p::posting
        .filter(p::business_date.eq(date.to_string()))
        .filter(p::seq.ge(from).and(p::seq.lt(from.saturating_add(PIECE))))
        .filter(money.or(p::kind.eq_any(EXPIRY)))
        .group_by(keys)
        .select((
            p::kind,
            p::agreement,
            p::debit,
            p::credit,
            p::unit,
            p::price,
            messages,
            points,
            amount,
        ));
    let rows = each_backend!(conn, |c| query.load::<GroupRow>(c))?;
    let group = |(kind, agreement, debit, credit, unit, price, messages, points, amount): GroupRow| Group {
        kind,
        agreement,
        debit,
        credit,
        unit,
        price,
        messages,
        points: whole(points),
        amount: whole(amount),
    };
    Ok(rows.into_iter().map(group).collect())
}

fn whole((billions, rest): (i64, i64)) -> i128 {
    i128::from(billions) * BILLION + i128::from(rest)
}

/// An agreement's hash and terms.
pub struct Agreed {
    pub hash: String,
    pub terms: Terms,
}

/// Every agreement by its number here.
pub fn agreements(conn: &mut Conn) -> Result<BTreeMap<i32, Agreed>, DbError> {
    let rows = each_backend!(conn, |c| agreement::table
        .select((agreement::no, agreement::hash, agreement::terms))
        .load::<(i32, String, String)>(c))?;
    let agreed = |(no, hash, terms): (i32, String, String)| {
        Ok((
            no,
            Agreed {
                hash,
                terms: read("an agreement", serde_json::from_str(&terms))?,
            },
        ))
    };
    rows.into_iter().map(agreed).collect()
}

/// Every partner that was ever admitted.
pub fn partners(conn: &mut Conn) -> Result<Vec<PartnerId>, DbError> {
    let ids = each_backend!(conn, |c| partner::table.select(partner::id).order(partner::id).load::<String>(c))?;
    ids.iter().map(|id| party(id)).collect()
}

/// Who issues which programme.
pub fn issuers(conn: &mut Conn) -> Result<BTreeMap<String, PartnerId>, DbError> {
    let rows = each_backend!(conn, |c| programme::table
        .select((programme::code, programme::issuer))
        .load::<(String, String)>(c))?;
    rows.into_iter().map(|(code, issuer)| Ok((code, party(&issuer)?))).collect()
}

/// What a statement needs to know of a programme's terms.
#[derive(Deserialize)]
struct Scale {
    #[serde(default)]
    scale: u32,
}

fn scales(conn: &mut Conn) -> Result<BTreeMap<String, u32>, DbError> {
    let rows = each_backend!(conn, |c| programme::table
        .select((programme::code, programme::terms))
        .load::<(String, String)>(c))?;
    let scale = |(code, terms): (String, String)| match read("a programme", serde_json::from_str::<Scale>(&terms))? {
        Scale { scale } if scale <= 6 => Ok((code, scale)),
        _ => Err(DbError::Corrupt("a programme has more than 6 decimals".into())),
    };
    rows.into_iter().map(scale).collect()
}

/// Reads all that the statements of a netted window are made of.
pub fn read_book(conn: &mut Conn, window: &Window, pace: Pace) -> Result<Book, DbError> {
    let (agreements, scales) = (agreements(conn)?, scales(conn)?);
    let scale = |code: &ProgrammeCode| {
        scales
            .get(code.as_str())
            .copied()
            .ok_or_else(|| DbError::Corrupt(format!("a posting of the unknown programme {code}")))
    };
    let (mut gross, mut expired) = (vec![], vec![]);
    for group in groups(conn, window.business_date, pace)? {
        let agreed = group.agreement.map(|no| {
            agreements
                .get(&no)
                .ok_or_else(|| DbError::Corrupt(format!("a posting names the unknown agreement {no}")))
        });
        let agreed = agreed.transpose()?;
        if EXPIRY.contains(&group.kind.as_str()) {
            let expires = group.kind == EXPIRY[0];
            let programme = read("a programme", ProgrammeCode::new(&group.unit))?;
            expired.push(Expired {
                issuer: party(if expires { &group.credit } else { &group.debit })?,
                scale: scale(&programme)?,
                programme,
                agreement: agreed.map(|a| (a.hash.clone(), a.terms.partner.clone(), a.terms.currency)),
                points: if expires { group.amount } else { -group.amount },
                price: Money(group.price),
                kind: group.kind,
            });
        } else if group.debit != group.credit {
            let agreed = agreed.ok_or_else(|| DbError::Corrupt(format!("money of kind {} without an agreement", group.kind)))?;
            let programme = agreed.terms.to_programme.as_ref().unwrap_or(&agreed.terms.programme).clone();
            gross.push(Gross {
                debtor: party(&group.debit)?,
                creditor: party(&group.credit)?,
                agreement: agreed.hash.clone(),
                scale: scale(&programme)?,
                programme,
                currency: read("a currency", Currency::new(&group.unit))?,
                messages: group.messages,
                points: group.points,
                price: Money(group.price),
                amount: group.amount,
                kind: group.kind,
            });
        }
    }
    let obligations = obligations(conn, window.business_date)?;
    let paying = |value_date| {
        Ok::<_, DbError>(Paying {
            value_date,
            running: running_of(conn, window.business_date)?,
            accounts: accounts(conn)?,
        })
    };
    Ok(Book {
        paying: window.value_date.map(paying).transpose()?,
        business_date: window.business_date,
        cut_off_at: window.cut_off_at,
        gross,
        expired,
        obligations,
        conversions: conversions(conn, window.business_date)?,
    })
}
