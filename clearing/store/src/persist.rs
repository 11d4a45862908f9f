//! Writes what a batch changed. Rows go in key order, in chunks that fit the database's bind limit.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::upsert::excluded;
use jiff::civil::Date;
use migrations::schema::{
    account, exposure, head, hold, holders, limit_use, lot, message, position, posting, quote, reversal, signed_batch,
};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::{Currency, PartnerId};

use super::events::{self, NewEvent};
use super::load::ALL;
use super::rows::{HoldRow, LotRow, NewMessage, NewPosting, QuoteRow};
use ledger::{Hold, Posted, Posting, Quote, Signed, WorkingSet};

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

fn write_messages(conn: &mut Conn, messages: &[(std::sync::Arc<Posted>, Signed)]) -> Result<(), DbError> {
    let dates: Vec<String> = messages.iter().map(|(posted, _)| posted.window.to_string()).collect();
    let rows: Vec<NewMessage<'_>> = messages
        .iter()
        .zip(&dates)
        .map(|((posted, signed), date)| new_message(posted, signed, date))
        .collect();
    in_chunks!(conn, rows, 24, |c, chunk| diesel::insert_into(message::table).values(chunk));
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

fn new_message<'a>(posted: &'a Posted, signed: &'a Signed, business_date: &'a str) -> NewMessage<'a> {
    let moved = &posted.moved;
    NewMessage {
        seq: posted.seq,
        sender: posted.sender.as_str(),
        id: posted.id.as_str(),
        kind: &posted.kind,
        business_date,
        posted_at: posted.posted_at,
        code: posted.code.map(partner_sdk::Code::as_str),
        field: posted.field.as_deref(),
        // Pairs of strings always serialize.
        facts: if posted.facts.is_empty() {
            "[]".to_owned()
        } else {
            serde_json::to_string(&posted.facts).unwrap_or_default()
        },
        programme: moved.account.as_ref().map(|a| a.programme.as_str()),
        member: moved.account.as_ref().map(|a| a.member.as_str()),
        points: moved.points,
        spend: moved.spend,
        to_programme: moved.to_account.as_ref().map(|a| a.programme.as_str()),
        to_member: moved.to_account.as_ref().map(|a| a.member.as_str()),
        credited: moved.credited,
        bonus: moved.bonus,
        agreement: moved.agreement,
        rate: moved.rate,
        bonus_rate: moved.bonus_rate,
        batch: signed.batch.as_ref().map(|b| b.sha256.as_str()),
        sha256: &posted.sha256,
        bytes: &signed.bytes,
        salt: posted.salt.map(|salt| salt.to_string()),
    }
}

fn write_postings(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let windows = set.due.iter().map(|(window, _)| *window).chain([set.window]);
    let dates: BTreeMap<Date, String> = windows.map(|window| (window, window.to_string())).collect();
    let postings = set.changes.postings.iter();
    let rows: Vec<NewPosting<'_>> = postings.filter_map(|p| Some(NewPosting::of(p, dates.get(&p.window)?))).collect();
    in_chunks!(conn, rows, 13, |c, chunk| diesel::insert_into(posting::table).values(chunk));
    Ok(())
}

impl<'a> NewPosting<'a> {
    fn of(posting: &'a Posting, business_date: &'a str) -> Self {
        Self {
            business_date,
            seq: posting.seq,
            leg: posting.leg,
            kind: posting.line.as_str(),
            unit: &posting.unit,
            debit: &posting.debit,
            credit: &posting.credit,
            amount: posting.amount,
            points: posting.points,
            price: posting.price,
            agreement: posting.agreement,
            lot_seq: posting.lot.map(|l| l.seq),
            lot_leg: posting.lot.map(|l| l.leg),
        }
    }
}

/// Accounts, lots and holds.
fn write_points(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let changed = set.changes.accounts.iter().filter_map(|key| Some((key, set.accounts.get(key)?)));
    let rows: Vec<_> = changed
        .map(|(key, a)| {
            (
                account::programme.eq(key.programme.as_str()),
                account::member.eq(key.member.as_str()),
                account::points.eq(a.points),
                account::debt.eq(a.debt),
                account::open_lots.eq(a.open_lots),
                account::lending_lots.eq(a.lending_lots),
            )
        })
        .collect();
    in_chunks!(conn, rows, 6, |c, chunk| {
        let insert = diesel::insert_into(account::table)
            .values(chunk.to_vec())
            .on_conflict((account::programme, account::member));
        insert.do_update().set((
            account::points.eq(excluded(account::points)),
            account::debt.eq(excluded(account::debt)),
            account::open_lots.eq(excluded(account::open_lots)),
            account::lending_lots.eq(excluded(account::lending_lots)),
        ))
    });
    let rows: Vec<LotRow> = set
        .changes
        .lots
        .iter()
        .filter_map(|key| set.lots.get(key))
        .map(LotRow::of)
        .collect();
    in_chunks!(conn, rows, 19, |c, chunk| {
        let insert = diesel::insert_into(lot::table).values(chunk).on_conflict((lot::seq, lot::leg));
        insert.do_update().set((
            lot::remaining.eq(excluded(lot::remaining)),
            lot::charged.eq(excluded(lot::charged)),
            lot::reversed.eq(excluded(lot::reversed)),
            lot::expired.eq(excluded(lot::expired)),
            lot::expired_paid.eq(excluded(lot::expired_paid)),
            lot::lent.eq(excluded(lot::lent)),
            lot::due_at.eq(excluded(lot::due_at)),
        ))
    });
    let (new, old): (Vec<&Hold>, Vec<&Hold>) = set
        .changes
        .holds
        .iter()
        .filter_map(|seq| set.holds.get(seq))
        .partition(|hold| is_new(set, hold.seq));
    let rows: Vec<HoldRow> = new.into_iter().map(HoldRow::of).collect();
    in_chunks!(conn, rows, 8, |c, chunk| diesel::insert_into(hold::table).values(chunk));
    // One that was there before is only ever closed.
    let closed: Vec<i64> = old.iter().map(|hold| hold.seq).collect();
    in_chunks!(conn, closed, 1, |c, chunk| diesel::update(
        hold::table.filter(hold::seq.eq_any(chunk))
    )
    .set(hold::is_open.eq(false)));
    Ok(())
}

/// Whether a message of this batch made it.
fn is_new(set: &WorkingSet, seq: i64) -> bool {
    set.changes.messages.first().is_some_and(|(posted, _)| seq >= posted.seq)
}

/// Quotes, how much of targets is reversed, and how much of limits is used.
fn write_marks(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let changed = set.changes.quotes.iter().filter_map(|seq| set.quotes.get(seq));
    let (new, old): (Vec<&Quote>, Vec<&Quote>) = changed.partition(|quote| is_new(set, quote.seq));
    let rows: Vec<QuoteRow> = new.into_iter().map(QuoteRow::of).collect();
    in_chunks!(conn, rows, 12, |c, chunk| diesel::insert_into(quote::table).values(chunk));
    // One that was there before is only ever used.
    let used: Vec<i64> = old.iter().map(|quote| quote.seq).collect();
    in_chunks!(conn, used, 1, |c, chunk| diesel::update(
        quote::table.filter(quote::seq.eq_any(chunk))
    )
    .set(quote::is_open.eq(false)));
    let changed = set.changes.reversals.iter().filter_map(|seq| Some((seq, set.reversals.get(seq)?)));
    let rows: Vec<_> = changed
        .map(|(seq, (points, spend))| (reversal::seq.eq(*seq), reversal::points.eq(*points), reversal::spend.eq(*spend)))
        .collect();
    in_chunks!(conn, rows, 3, |c, chunk| {
        let insert = diesel::insert_into(reversal::table)
            .values(chunk.to_vec())
            .on_conflict(reversal::seq);
        insert.do_update().set((
            reversal::points.eq(excluded(reversal::points)),
            reversal::spend.eq(excluded(reversal::spend)),
        ))
    });
    let date = set.window.to_string();
    let changed = set.changes.limit_use.iter().filter_map(|key| Some((key, set.limit_use.get(key)?)));
    let rows: Vec<_> = changed
        .map(|((no, member), points)| {
            (
                limit_use::agreement.eq(*no),
                limit_use::member.eq(member.as_ref().map_or(ALL, |m| m.as_str())),
                limit_use::business_date.eq(date.as_str()),
                limit_use::points.eq(*points),
            )
        })
        .collect();
    in_chunks!(conn, rows, 4, |c, chunk| {
        let insert = diesel::insert_into(limit_use::table).values(chunk.to_vec());
        let conflict = insert.on_conflict((limit_use::agreement, limit_use::member, limit_use::business_date));
        conflict.do_update().set(limit_use::points.eq(excluded(limit_use::points)))
    });
    Ok(())
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

/// Positions of the window, and exposures.
fn write_money(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let date = set.window.to_string();
    let changed = set.changes.positions.iter().filter_map(|key| Some((key, set.positions.get(key)?)));
    let rows: Vec<_> = changed
        .map(|((debtor, creditor, currency), micros)| {
            (
                position::business_date.eq(date.as_str()),
                position::debtor.eq(debtor.as_str()),
                position::creditor.eq(creditor.as_str()),
                position::currency.eq(currency.as_str()),
                position::micros.eq(*micros),
            )
        })
        .collect();
    in_chunks!(conn, rows, 5, |c, chunk| {
        let insert = diesel::insert_into(position::table).values(chunk.to_vec());
        let conflict = insert.on_conflict((position::business_date, position::debtor, position::creditor, position::currency));
        conflict.do_update().set(position::micros.eq(excluded(position::micros)))
    });
    write_late(conn, set)?;
    let changed = set.changes.exposure.iter().filter_map(|key| Some((key, set.exposure.get(key)?)));
    let rows: Vec<_> = changed
        .map(|((partner, currency), micros)| {
            (
                exposure::partner.eq(partner.as_str()),
                exposure::currency.eq(currency.as_str()),
                exposure::micros.eq(*micros),
            )
        })
        .collect();
    in_chunks!(conn, rows, 3, |c, chunk| {
        let insert = diesel::insert_into(exposure::table)
            .values(chunk.to_vec())
            .on_conflict((exposure::partner, exposure::currency));
        insert.do_update().set(exposure::micros.eq(excluded(exposure::micros)))
    });
    Ok(())
}

/// What the expiry of lots adds to positions of windows that are closed and not netted.
fn write_late(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let row = |((date, debtor, creditor, currency), micros): (&(Date, PartnerId, PartnerId, Currency), &i64)| {
        (
            position::business_date.eq(date.to_string()),
            position::debtor.eq(debtor.to_string()),
            position::creditor.eq(creditor.to_string()),
            position::currency.eq(currency.to_string()),
            position::micros.eq(*micros),
        )
    };
    let rows: Vec<_> = set.changes.late.iter().map(row).collect();
    in_chunks!(conn, rows, 5, |c, chunk| {
        let insert = diesel::insert_into(position::table).values(chunk.to_vec());
        let conflict = insert.on_conflict((position::business_date, position::debtor, position::creditor, position::currency));
        conflict
            .do_update()
            .set(position::micros.eq(position::micros + excluded(position::micros)))
    });
    Ok(())
}
