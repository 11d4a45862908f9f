//! Messages as their parties find them afterwards, with the postings that stand on their statements.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use jiff::civil::Date;
use ledger::{AccountKey, Posted};
use migrations::schema::{entry, head, message, posting};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::wire::PostedQuery;
use settlement::{EXPIRY, MEMBER, WINDOW};

use super::rows::{POSTED, PostedRow};

/// Numbers that are looked at by one round of queries, at least and at most, and by one request: what is wanted may be rare, or be every one, and then those that don't go on the page are read for nothing.
const LEAST: usize = 250;
const PIECE: usize = 2_000;
const MOST_LOOKED_AT: i64 = 40_000;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Party {
    /// The partner.
    pub partner: String,
    /// The codes of the programmes that it issues: it sees what is posted in them.
    pub issued: Vec<String>,
}

impl Party {
    /// The accounts of a message that are its business: that which gave or took, and that which an exchange credited. A sender sees both, an issuer that of its programme, and whoever only owes or is
    /// owed something by it none.
    pub fn sees<'a>(&self, posted: &'a Posted) -> [Option<&'a AccountKey>; 2] {
        let sent = posted.sender.as_str() == self.partner;
        let seen = |account: &&AccountKey| sent || self.issued.iter().any(|code| code == account.programme.as_str());
        let moved = &posted.moved;
        [&moved.account, &moved.to_account].map(|account| account.as_ref().filter(seen))
    }
}

/// What is wanted, as far as rows say it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// All that holds for messages, and which line.
    pub query: PostedQuery,
    /// The number of the line's agreement.
    pub agreement: Option<i32>,
}

/// A posting with money, or of points that expired, that concerns a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// What was posted.
    pub kind: String,
    /// Under which agreement.
    pub agreement: Option<i32>,
    /// Who owes.
    pub debit: String,
    /// Who is owed.
    pub credit: String,
    /// A currency, or the programme of expired points.
    pub unit: String,
    /// For one smallest unit of points, in micros.
    pub price: i64,
    /// In the programme's smallest unit.
    pub points: i64,
    /// In micros, or the points that expired.
    pub amount: i64,
}

/// Some messages in order, and the number after which to go on; `None` where there are no more now.
#[derive(Debug, Default)]
pub struct Page {
    /// Each with its legs.
    pub found: Vec<(Posted, Vec<Leg>)>,
    /// Where to go on.
    pub next: Option<i64>,
}

/// Up to `limit` messages after a number of which somebody is a party: its own, those in programmes that it issues, and those that made it owe or be owed
/// something. `None` where there is no such window. For one unchanging view of the database.
pub fn posted(conn: &mut Conn, party: &Party, wanted: &Wanted, after: i64, limit: usize) -> Result<Option<Page>, DbError> {
    let mut page = Page::default();
    let Some((before, end)) = numbers(conn, wanted.query.window)? else {
        return Ok(None);
    };
    if wanted.query.id.is_some() {
        for seq in of_id(conn, wanted)?.into_iter().filter(|seq| *seq > after) {
            page.found.extend(look(conn, party, wanted, (seq - 1, seq))?);
        }
        return Ok(Some(page));
    }
    let first = after.max(before);
    let (mut from, look_until) = (first, first.saturating_add(MOST_LOOKED_AT).min(end));
    while from < look_until && page.found.len() <= limit {
        let piece = (limit + 1 - page.found.len()).clamp(LEAST, PIECE);
        let to = from.saturating_add(i64::try_from(piece).unwrap_or(i64::MAX)).min(look_until);
        page.found.extend(look(conn, party, wanted, (from, to))?);
        from = to;
    }
    if page.found.len() > limit {
        page.found.truncate(limit);
        from = page.found.last().map_or(from, |(last, _)| last.seq);
    }
    page.next = (from < end).then_some(from);
    Ok(Some(page))
}

/// The messages of the wanted id: one for each sender.
fn of_id(conn: &mut Conn, wanted: &Wanted) -> Result<Vec<i64>, DbError> {
    let id = wanted.query.id.as_ref().map_or("", |id| id.as_str());
    let query = message::table.select(message::seq).filter(message::id.eq(id)).order(message::seq);
    Ok(each_backend!(conn, |c| query.load(c))?)
}

/// The numbers between which a window's messages stand, or all: after the first, up to the last. What a window takes comes between its opening and its netting.
fn numbers(conn: &mut Conn, window: Option<Date>) -> Result<Option<(i64, i64)>, DbError> {
    let next: i64 = each_backend!(conn, |c| head::table.select(head::next_seq).first(c))?;
    let Some(window) = window else {
        return Ok(Some((0, next - 1)));
    };
    let steps = entry::table
        .select((entry::seq, entry::body))
        .filter(entry::kind.eq(WINDOW))
        .filter(entry::subject.eq(window.to_string()))
        .order(entry::seq);
    let steps: Vec<(i64, String)> = each_backend!(conn, |c| steps.load(c))?;
    let Some((opened, _)) = steps.first() else { return Ok(None) };
    let netted = steps.iter().find(|(_, body)| body.contains(r#""state":"netted""#));
    Ok(Some((*opened, netted.map_or(next - 1, |(seq, _)| *seq))))
}

/// What is wanted of the numbers after the first up to the last.
fn look(conn: &mut Conn, party: &Party, wanted: &Wanted, numbers: (i64, i64)) -> Result<Vec<(Posted, Vec<Leg>)>, DbError> {
    let windows = match wanted.query.window {
        Some(window) => vec![window.to_string()],
        None => windows(conn, numbers)?,
    };
    let mut legs = legs(conn, party, wanted, &windows, numbers)?;
    let mut seqs: BTreeSet<i64> = legs.keys().copied().collect();
    if wanted.query.line.is_empty() {
        seqs.extend(own(conn, party, numbers)?);
    }
    let query = &wanted.query;
    let mut found = vec![];
    let seqs: Vec<i64> = seqs.into_iter().collect();
    let rows = message::table.select(POSTED).filter(message::seq.eq_any(&seqs)).order(message::seq);
    for row in each_backend!(conn, |c| rows.load::<PostedRow>(c))? {
        let posted = row.posted()?;
        let wanted = query.window.is_none_or(|window| posted.window == window)
            && query.sender.as_ref().is_none_or(|sender| posted.sender == *sender)
            && query.id.as_ref().is_none_or(|id| posted.id == *id)
            && query.kind.as_ref().is_none_or(|kind| posted.kind == *kind)
            && accounts_fit(query, party.sees(&posted));
        if wanted {
            let legs = legs.remove(&posted.seq).unwrap_or_default();
            found.push((posted, legs));
        }
    }
    Ok(found)
}

/// Whether programme and member are those of one of the accounts.
fn accounts_fit(query: &PostedQuery, accounts: [Option<&AccountKey>; 2]) -> bool {
    let any = query.programme.is_none() && query.member.is_none();
    any || accounts.into_iter().flatten().any(|account| {
        query.programme.as_ref().is_none_or(|code| account.programme == *code)
            && query.member.as_ref().is_none_or(|member| account.member == *member)
    })
}

/// The windows of some messages: few.
fn windows(conn: &mut Conn, (from, to): (i64, i64)) -> Result<Vec<String>, DbError> {
    let query = message::table
        .select(message::business_date)
        .distinct()
        .filter(message::seq.gt(from).and(message::seq.le(to)));
    Ok(each_backend!(conn, |c| query.load(c))?)
}

/// The messages that a partner sent, or that stand in a programme that it issues.
fn own(conn: &mut Conn, party: &Party, (from, to): (i64, i64)) -> Result<Vec<i64>, DbError> {
    let query = message::table
        .select(message::seq)
        .filter(message::seq.gt(from).and(message::seq.le(to)))
        .filter(
            message::sender
                .eq(&party.partner)
                .or(message::programme.eq_any(&party.issued).assume_not_null())
                .or(message::to_programme.eq_any(&party.issued).assume_not_null()),
        );
    Ok(each_backend!(conn, |c| query.load(c))?)
}

type LegRow = (i64, String, Option<i32>, String, String, String, i64, i64, i64);

/// The legs that concern a partner, by message.
fn legs(
    conn: &mut Conn,
    party: &Party,
    wanted: &Wanted,
    windows: &[String],
    (from, to): (i64, i64),
) -> Result<BTreeMap<i64, Vec<Leg>>, DbError> {
    use posting::dsl as p;
    let partner = party.partner.as_str();
    let rows: Vec<LegRow> = each_backend!(conn, |c| {
        let mut query = p::posting
            .select((
                p::seq,
                p::kind,
                p::agreement,
                p::debit,
                p::credit,
                p::unit,
                p::price,
                p::points,
                p::amount,
            ))
            .filter(p::business_date.eq_any(windows))
            .filter(p::seq.gt(from).and(p::seq.le(to)))
            .filter(p::debit.eq(partner).or(p::credit.eq(partner)))
            // What one owes oneself is no line.
            .filter(p::debit.ne(p::credit))
            .filter(p::debit.ne(MEMBER).and(p::credit.ne(MEMBER)).or(p::kind.eq_any(EXPIRY)))
            .order((p::seq, p::leg))
            .into_boxed();
        if let Some(kind) = &wanted.query.line.kind {
            query = query.filter(p::kind.eq(kind));
        }
        if let Some(agreement) = wanted.agreement {
            query = query.filter(p::agreement.eq(agreement));
        }
        query.load(c)
    })?;
    let mut legs: BTreeMap<i64, Vec<Leg>> = BTreeMap::new();
    for (seq, kind, agreement, debit, credit, unit, price, points, amount) in rows {
        let legs = legs.entry(seq).or_default();
        let same = |leg: &&mut Leg| {
            (&leg.kind, leg.agreement, &leg.debit, &leg.credit, &leg.unit, leg.price) == (&kind, agreement, &debit, &credit, &unit, price)
        };
        // A message is one message of a line, however many postings it has there.
        match legs.iter_mut().find(same) {
            Some(leg) => {
                let sum = |a: i64, b: i64| a.checked_add(b).ok_or_else(|| DbError::Corrupt("a message's postings".into()));
                (leg.points, leg.amount) = (sum(leg.points, points)?, sum(leg.amount, amount)?);
            }
            None => legs.push(Leg {
                kind,
                agreement,
                debit,
                credit,
                unit,
                price,
                points,
                amount,
            }),
        }
    }
    Ok(legs)
}
