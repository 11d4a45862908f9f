//! What postings did to a programme's lots, window by window.

use std::collections::HashMap;
use std::time::Instant;

use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::{lot, message, posting, programme};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::{Currency, PartnerId, ProgrammeCode};
use serde::Deserialize;

use super::book::{MEMBER, PIECE, Pace, first_from};
use super::{party, read};

/// Money that goes back because points were taken back, and the line of points that go back to a block.
const REFUNDS: [&str; 4] = ["earn_reversal", "exchange_reversal", "bonus_reversal", DRAWN_BACK];
/// The line of points that go back to a block.
pub const DRAWN_BACK: &str = "drawn_reversal";

/// A programme as far as its points' accounting goes.
pub struct Issued {
    /// Who issues it.
    pub issuer: PartnerId,
    /// Its decimals.
    pub scale: u32,
}

#[derive(Deserialize)]
struct Terms {
    #[serde(default)]
    scale: u32,
    #[serde(default)]
    custody: partner_sdk::change::Custody,
}

/// A programme whose balances are kept here; `None` for any other.
pub fn issued(conn: &mut Conn, code: &ProgrammeCode) -> Result<Option<Issued>, DbError> {
    let query = programme::table.find(code.as_str()).select((programme::issuer, programme::terms));
    let Some((issuer, terms)) = each_backend!(conn, |c| query.first::<(String, String)>(c).optional())? else {
        return Ok(None);
    };
    let Terms { scale, custody } = read("a programme", serde_json::from_str(&terms))?;
    let issuer = party(&issuer)?;
    Ok((custody == partner_sdk::change::Custody::Hosted).then_some(Issued { issuer, scale }))
}

/// The lot that a posting is of, as it was issued.
pub struct Lotted {
    /// Its place.
    pub key: (i64, i32),
    /// Whose points.
    pub member: String,
    /// The number of the agreement.
    pub agreement: i32,
    /// Who funds it.
    pub funder: PartnerId,
    /// In micros for the smallest unit of points.
    pub price: i64,
    /// Of the price.
    pub currency: Currency,
    /// Whether the price is paid when points are spent.
    pub at_redemption: bool,
    /// Whether it was drawn from a block.
    pub prepaid: bool,
    /// The end of its time, in microseconds since 1970.
    pub expires_at: i64,
    /// The window in which it was issued.
    pub window: Date,
}

/// A posting of a programme's points, or of a refund.
pub struct Moved {
    /// The message.
    pub seq: i64,
    /// What was posted.
    pub kind: String,
    /// Points, or money where neither side is a member.
    pub of_points: bool,
    /// Whether the member gets them.
    pub to_member: bool,
    /// Who is owed, where it is money.
    pub credit: String,
    /// How many points.
    pub points: i64,
    /// For one, where it is money.
    pub price: i64,
    /// Under which agreement.
    pub agreement: Option<i32>,
    /// Of which lot; none where a member owes points.
    pub lot: Option<Lotted>,
}

type LotRow = (i64, i32, String, i32, String, i64, String, bool, bool, i64);
type Row = (i64, String, String, String, i64, i64, Option<i32>, Option<LotRow>, Option<String>);

/// Hands on every posting of a window that moves a programme's points or refunds points, in order, in pieces of whole messages; `more` is asked before each piece. What is netted stays as it is, and so does what
/// a lot was when it was issued, so pieces need no common snapshot.
pub fn each_moved<E: From<DbError>>(
    conn: &mut Conn,
    programme: &ProgrammeCode,
    date: Date,
    pace: Pace,
    more: impl Fn() -> Result<(), E>,
    mut each: impl FnMut(&mut Conn, Vec<Moved>) -> Result<(), E>,
) -> Result<(), E> {
    let mut first = first_from(conn, date, 0)?;
    while let Some(from) = first {
        more()?;
        let began = Instant::now();
        let piece = piece(conn, programme, date, from)?;
        each(conn, piece)?;
        first = first_from(conn, date, from.saturating_add(PIECE))?;
        if first.is_some() {
            pace.rest(began.elapsed());
        }
    }
    Ok(())
}

fn piece(conn: &mut Conn, programme: &ProgrammeCode, date: Date, from: i64) -> Result<Vec<Moved>, DbError> {
    use posting::dsl as p;
    let of_lot = lot::seq.nullable().eq(p::lot_seq).and(lot::leg.nullable().eq(p::lot_leg));
    let of_points = p::debit.eq(MEMBER).or(p::credit.eq(MEMBER));
    let refunds = p::kind.eq_any(REFUNDS).and(p::debit.ne(MEMBER)).and(p::credit.ne(MEMBER));
    let of_lots = (
        lot::seq,
        lot::leg,
        lot::member,
        lot::agreement,
        lot::funder,
        lot::price,
        lot::currency,
        lot::at_redemption,
        lot::prepaid,
        lot::expires_at,
    );
    let query = p::posting
        .left_join(lot::table.on(of_lot))
        .left_join(message::table.on(message::seq.nullable().eq(lot::seq.nullable())))
        .filter(p::business_date.eq(date.to_string()))
        .filter(p::seq.ge(from).and(p::seq.lt(from.saturating_add(PIECE))))
        .filter(p::unit.eq(programme.as_str()).and(of_points).or(refunds))
        .order((p::seq, p::leg))
        .select((
            p::seq,
            p::kind,
            p::debit,
            p::credit,
            p::points,
            p::price,
            p::agreement,
            of_lots.nullable(),
            message::business_date.nullable(),
        ));
    let rows = each_backend!(conn, |c| query.load::<Row>(c))?;
    rows.into_iter().map(moved).collect()
}

fn moved((seq, kind, debit, credit, points, price, agreement, of, window): Row) -> Result<Moved, DbError> {
    let lot = of.map(|of| lotted(of, window)).transpose()?;
    Ok(Moved {
        seq,
        kind,
        of_points: debit == MEMBER || credit == MEMBER,
        to_member: credit == MEMBER,
        credit,
        points,
        price,
        agreement,
        lot,
    })
}

fn lotted(row: LotRow, window: Option<String>) -> Result<Lotted, DbError> {
    let (seq, leg, member, agreement, funder, price, currency, at_redemption, prepaid, expires_at) = row;
    let window = window.ok_or_else(|| DbError::Corrupt(format!("a lot of the unknown message {seq}")))?;
    Ok(Lotted {
        key: (seq, leg),
        member,
        agreement,
        funder: party(&funder)?,
        price,
        currency: read("a currency", Currency::new(&currency))?,
        at_redemption,
        prepaid,
        expires_at,
        window: read("a business date", window.parse())?,
    })
}

/// Whose debts a message can change: of the account that gave or got, and of that which an exchange credited.
#[derive(Clone)]
pub struct Members {
    /// The first.
    pub of: Option<String>,
    /// The other.
    pub credited: Option<String>,
}

/// The members that some messages name, by the message.
pub fn members_of(conn: &mut Conn, messages: &[i64]) -> Result<HashMap<i64, Members>, DbError> {
    let mut all = HashMap::new();
    for chunk in messages.chunks(conn.bind_limit()) {
        let query =
            message::table
                .filter(message::seq.eq_any(chunk.iter().copied()))
                .select((message::seq, message::member, message::to_member));
        let rows = each_backend!(conn, |c| query.load::<(i64, Option<String>, Option<String>)>(c))?;
        all.extend(rows.into_iter().map(|(seq, of, credited)| (seq, Members { of, credited })));
    }
    Ok(all)
}
