//! Writes what a batch changed. Rows go in key order, in chunks that fit the database's bind limit.

use std::collections::BTreeMap;

use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::{head, hold, holders, quote, signed_batch};
use migrations::{Conn, DbError, each_backend};

use super::bulk::{Bulk, Value, row};
use super::events::{self, NewEvent};
use super::load::ALL;
use super::rows::text_of_lots;
use ledger::{Hold, Lot, Posted, Posting, Quote, Signed, WorkingSet};

/// Persists the changes of a working set in the transaction that loaded it. The log's tree is left to [`add_messages`](super::add_messages), or to whoever grows it next.
pub fn persist(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let changes = &set.changes;
    if changes.messages.is_empty() && changes.lots.is_empty() {
        return Ok(());
    }
    // Where lots only wait, there is no entry, and the last one's time stays.
    if !changes.messages.is_empty() {
        each_backend!(conn, |c| diesel::update(head::table.filter(head::id.eq(1)))
            .set((head::next_seq.eq(set.next_seq), head::last_at.eq(set.now)))
            .execute(c))?;
    }
    write_messages(conn, &changes.messages)?;
    write_postings(conn, set)?;
    write_points(conn, set)?;
    write_holders(conn, set)?;
    write_marks(conn, set)?;
    write_money(conn, set)?;
    super::pending::write(conn, set)?;
    super::prepaid::write_blocks(conn, set)?;
    let told = changes.told.iter().map(NewEvent::from);
    events::append(conn, set.now, &told.collect::<Vec<_>>())
}

/// Runs an insert for each chunk of rows that the bind limit allows.
macro_rules! in_chunks {
    ($conn:expr, $rows:expr, $columns:literal, |$c:ident, $chunk:ident| $insert:expr) => {{
        let size = $conn.bind_limit() / $columns;
        for $chunk in $rows.chunks(size) {
            each_backend!($conn, |$c| $insert.execute($c))?;
        }
    }};
}

pub(super) const MESSAGES: Bulk<25> = Bulk {
    table: "message",
    columns: [
        "seq",
        "sender",
        "id",
        "kind",
        "business_date",
        "posted_at",
        "code",
        "field",
        "facts",
        "programme",
        "member",
        "points",
        "spend",
        "to_programme",
        "to_member",
        "credited",
        "bonus",
        "agreement",
        "rate",
        "bonus_rate",
        "batch",
        "sha256",
        "bytes",
        "salt",
        "leads",
    ],
    conflict: "",
};

fn write_messages(conn: &mut Conn, messages: &[(std::sync::Arc<Posted>, Signed)]) -> Result<(), DbError> {
    let dates: Vec<String> = messages.iter().map(|(posted, _)| posted.window.to_string()).collect();
    let rows: Vec<_> = messages
        .iter()
        .zip(&dates)
        .enumerate()
        .map(|(no, ((posted, signed), date))| message_row(posted, signed, date, no == 0))
        .collect();
    MESSAGES.write(conn, &rows)?;
    let batches: BTreeMap<&str, _> = messages
        .iter()
        .filter_map(|(_, s)| s.batch.as_ref())
        .map(|b| (b.sha256.as_str(), b))
        .collect();
    for batch in batches.values() {
        let row = (
            signed_batch::sha256.eq(&batch.sha256),
            signed_batch::sender.eq(batch.sender.as_str()),
            signed_batch::bytes.eq(&batch.bytes),
        );
        each_backend!(conn, |c| diesel::insert_into(signed_batch::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(c))?;
    }
    Ok(())
}

fn message_row<'a>(posted: &'a Posted, signed: &'a Signed, business_date: &'a str, leads: bool) -> [Value<'a>; 25] {
    let moved = &posted.moved;
    // Pairs of strings always serialize.
    let facts = match posted.facts.is_empty() {
        true => Value::from("[]"),
        false => Value::from(serde_json::to_string(&posted.facts).unwrap_or_default()),
    };
    row![
        posted.seq,
        posted.sender.as_str(),
        posted.id.as_str(),
        posted.kind.as_str(),
        business_date,
        posted.posted_at,
        posted.code.map(partner_sdk::Code::as_str),
        posted.field.as_deref(),
        facts,
        moved.account.as_ref().map(|a| a.programme.as_str()),
        moved.account.as_ref().map(|a| a.member.as_str()),
        moved.points,
        moved.spend,
        moved.to_account.as_ref().map(|a| a.programme.as_str()),
        moved.to_account.as_ref().map(|a| a.member.as_str()),
        moved.credited,
        moved.bonus,
        moved.agreement,
        moved.rate,
        moved.bonus_rate,
        signed.batch.as_ref().map(|b| b.sha256.as_str()),
        posted.sha256.as_str(),
        &*signed.bytes,
        posted.salt.map(|salt| salt.to_string()),
        leads,
    ]
}

const POSTINGS: Bulk<13> = Bulk {
    table: "posting",
    columns: [
        "business_date",
        "seq",
        "leg",
        "kind",
        "unit",
        "debit",
        "credit",
        "amount",
        "points",
        "price",
        "agreement",
        "lot_seq",
        "lot_leg",
    ],
    conflict: "",
};

fn write_postings(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let windows = set.due.iter().map(|(window, _)| *window).chain([set.window]);
    let dates: BTreeMap<Date, String> = windows.map(|window| (window, window.to_string())).collect();
    let postings = set.changes.postings.iter();
    let rows: Vec<_> = postings.filter_map(|p| Some(posting_row(p, dates.get(&p.window)?))).collect();
    POSTINGS.write(conn, &rows)
}

fn posting_row<'a>(posting: &'a Posting, business_date: &'a str) -> [Value<'a>; 13] {
    row![
        business_date,
        posting.seq,
        posting.leg,
        posting.line.as_str(),
        posting.unit.as_str(),
        posting.debit.as_str(),
        posting.credit.as_str(),
        posting.amount,
        posting.points,
        posting.price,
        posting.agreement,
        posting.lot.map(|l| l.seq),
        posting.lot.map(|l| l.leg),
    ]
}

const ACCOUNTS: Bulk<6> = Bulk {
    table: "account",
    columns: ["programme", "member", "points", "debt", "open_lots", "lending_lots"],
    conflict: "ON CONFLICT (programme, member) DO UPDATE SET points = excluded.points, debt = excluded.debt, open_lots = excluded.open_lots, \
               lending_lots = excluded.lending_lots",
};
const LOTS: Bulk<19> = Bulk {
    table: "lot",
    columns: [
        "seq",
        "leg",
        "programme",
        "member",
        "agreement",
        "funder",
        "price",
        "currency",
        "at_redemption",
        "prepaid",
        "issued",
        "remaining",
        "charged",
        "reversed",
        "expired",
        "expired_paid",
        "lent",
        "expires_at",
        "due_at",
    ],
    conflict: "ON CONFLICT (seq, leg) DO UPDATE SET remaining = excluded.remaining, charged = excluded.charged, reversed = excluded.reversed, \
               expired = excluded.expired, expired_paid = excluded.expired_paid, lent = excluded.lent, due_at = excluded.due_at",
};
const HOLDS: Bulk<8> = Bulk {
    table: "hold",
    columns: ["seq", "programme", "member", "points", "lots", "expires_at", "is_open", "lapsed"],
    conflict: "",
};

/// Accounts, lots and holds.
fn write_points(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let changed = set.changes.accounts.iter().filter_map(|key| Some((key, set.accounts.get(key)?)));
    let rows: Vec<_> = changed
        .map(|(key, a)| {
            row![
                key.programme.as_str(),
                key.member.as_str(),
                a.points,
                a.debt,
                a.open_lots,
                a.lending_lots
            ]
        })
        .collect();
    ACCOUNTS.write(conn, &rows)?;
    let changed = set.changes.lots.iter().filter_map(|key| set.lots.get(key));
    LOTS.write(conn, &changed.map(lot_row).collect::<Vec<_>>())?;
    let (new, old): (Vec<&Hold>, Vec<&Hold>) = set
        .changes
        .holds
        .iter()
        .filter_map(|seq| set.holds.get(seq))
        .partition(|hold| is_new(set, hold.seq));
    HOLDS.write(conn, &new.into_iter().map(hold_row).collect::<Vec<_>>())?;
    // One that was there before is only ever closed.
    let closed: Vec<i64> = old.iter().map(|hold| hold.seq).collect();
    in_chunks!(conn, closed, 1, |c, chunk| diesel::update(
        hold::table.filter(hold::seq.eq_any(chunk))
    )
    .set(hold::is_open.eq(false)));
    Ok(())
}

fn lot_row(lot: &Lot) -> [Value<'_>; 19] {
    row![
        lot.key.seq,
        lot.key.leg,
        lot.account.programme.as_str(),
        lot.account.member.as_str(),
        lot.agreement,
        lot.funder.as_str(),
        lot.price.0,
        lot.currency.as_str(),
        lot.at_redemption,
        lot.prepaid,
        lot.issued,
        lot.remaining,
        lot.charged,
        lot.reversed,
        lot.expired,
        lot.expired_paid,
        lot.lent,
        lot.expires_at,
        lot.due_at,
    ]
}

fn hold_row(hold: &Hold) -> [Value<'_>; 8] {
    row![
        hold.seq,
        hold.account.programme.as_str(),
        hold.account.member.as_str(),
        hold.points,
        text_of_lots(&hold.lots),
        hold.expires_at,
        hold.open,
        hold.lapsed,
    ]
}

/// Whether a message of this batch made it.
fn is_new(set: &WorkingSet, seq: i64) -> bool {
    set.changes.messages.first().is_some_and(|(posted, _)| seq >= posted.seq)
}

const QUOTES: Bulk<12> = Bulk {
    table: "quote",
    columns: [
        "seq",
        "programme",
        "to_programme",
        "offered",
        "points",
        "credited",
        "bonus",
        "agreement",
        "rate",
        "bonus_rate",
        "expires_at",
        "is_open",
    ],
    conflict: "",
};
const REVERSALS: Bulk<3> = Bulk {
    table: "reversal",
    columns: ["seq", "points", "spend"],
    conflict: "ON CONFLICT (seq) DO UPDATE SET points = excluded.points, spend = excluded.spend",
};
const LIMITS: Bulk<4> = Bulk {
    table: "limit_use",
    columns: ["agreement", "member", "business_date", "points"],
    conflict: "ON CONFLICT (agreement, member, business_date) DO UPDATE SET points = excluded.points",
};

fn quote_row(quote: &Quote) -> [Value<'_>; 12] {
    row![
        quote.seq,
        quote.programme.as_str(),
        quote.to_programme.as_str(),
        quote.offered,
        quote.points,
        quote.credited,
        quote.bonus,
        quote.agreement,
        quote.rate,
        quote.bonus_rate,
        quote.expires_at,
        quote.open,
    ]
}

/// Quotes, how much of targets is reversed, and how much of limits is used.
fn write_marks(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let changed = set.changes.quotes.iter().filter_map(|seq| set.quotes.get(seq));
    let (new, old): (Vec<&Quote>, Vec<&Quote>) = changed.partition(|quote| is_new(set, quote.seq));
    QUOTES.write(conn, &new.into_iter().map(quote_row).collect::<Vec<_>>())?;
    // One that was there before is only ever used.
    let used: Vec<i64> = old.iter().map(|quote| quote.seq).collect();
    in_chunks!(conn, used, 1, |c, chunk| diesel::update(
        quote::table.filter(quote::seq.eq_any(chunk))
    )
    .set(quote::is_open.eq(false)));
    let changed = set.changes.reversals.iter().filter_map(|seq| Some((seq, set.reversals.get(seq)?)));
    let rows: Vec<_> = changed.map(|(seq, (points, spend))| row![*seq, *points, *spend]).collect();
    REVERSALS.write(conn, &rows)?;
    let date = set.window.to_string();
    let changed = set.changes.limit_use.iter().filter_map(|key| Some((key, set.limit_use.get(key)?)));
    let rows: Vec<_> = changed
        .map(|((no, member), points)| row![*no, member.as_ref().map_or(ALL, |m| m.as_str()), date.as_str(), *points])
        .collect();
    LIMITS.write(conn, &rows)
}

/// How many accounts of each programme hold something, where that changed.
fn write_holders(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let mut more: BTreeMap<&str, i64> = BTreeMap::new();
    for key in &set.changes.accounts {
        let holds = set.accounts.get(key).is_some_and(|a| a.points != 0 || a.debt != 0);
        let held = set.held_something.contains(key);
        *more.entry(key.programme.as_str()).or_default() += i64::from(holds) - i64::from(held);
    }
    for (programme, more) in more.into_iter().filter(|(_, more)| *more != 0) {
        let row = diesel::update(holders::table.find(programme)).set(holders::members.eq(holders::members + more));
        each_backend!(conn, |c| row.execute(c))?;
    }
    Ok(())
}

const POSITION: [&str; 5] = ["business_date", "debtor", "creditor", "currency", "micros"];
const POSITIONS: Bulk<5> = Bulk {
    table: "position",
    columns: POSITION,
    conflict: "ON CONFLICT (business_date, debtor, creditor, currency) DO UPDATE SET micros = excluded.micros",
};
/// What is added to positions that this transaction hasn't read.
const LATE: Bulk<5> = Bulk {
    table: "position",
    columns: POSITION,
    conflict: "ON CONFLICT (business_date, debtor, creditor, currency) DO UPDATE SET micros = position.micros + excluded.micros",
};
const EXPOSURES: Bulk<3> = Bulk {
    table: "exposure",
    columns: ["partner", "currency", "micros"],
    conflict: "ON CONFLICT (partner, currency) DO UPDATE SET micros = excluded.micros",
};

/// Positions of the window, what the expiry of lots adds to those of windows that are closed and not netted, and exposures.
fn write_money(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let date = set.window.to_string();
    let changed = set.changes.positions.iter().filter_map(|key| Some((key, set.positions.get(key)?)));
    let rows: Vec<_> = changed
        .map(|((debtor, creditor, currency), micros)| row![date.as_str(), debtor.as_str(), creditor.as_str(), currency.as_str(), *micros])
        .collect();
    POSITIONS.write(conn, &rows)?;
    let late = set.changes.late.iter();
    let rows: Vec<_> = late
        .map(|((date, debtor, creditor, currency), micros)| {
            row![date.to_string(), debtor.as_str(), creditor.as_str(), currency.as_str(), *micros]
        })
        .collect();
    LATE.write(conn, &rows)?;
    let changed = set.changes.exposure.iter().filter_map(|key| Some((key, set.exposure.get(key)?)));
    let rows: Vec<_> = changed
        .map(|((partner, currency), micros)| row![partner.as_str(), currency.as_str(), *micros])
        .collect();
    EXPOSURES.write(conn, &rows)
}
