//! The phases of a window, each safe to start twice, and the files of a netted window.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::{Conn, DbError};
use partner_sdk::PartnerId;

use crate::book::Book;
use crate::calendar::Calendars;
use crate::error::SettlementError;
use crate::netting::NetPositions;
use crate::period::Period;
use crate::reached::reached;
use crate::settle::{NOTHING_DUE, settle_locked};
use crate::statement::{Settlement, Statement};
use crate::store::{self, Advised, FIRST_RUN, Mark, NamedBytes, Pace, State, Window};
use crate::{dues, files, fx, netting, render, revision};

/// The name of the file with the operator's view; no partner may have this id.
const SETTLEMENT: &str = "settlement";

/// How a statement is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Fields.
    Json,
    /// One table.
    Csv,
}

/// Opens the first window, that of `now`, if there has never been one; returns the date of the open window.
pub fn open_first(conn: &mut Conn, now: Timestamp) -> Result<Date, SettlementError> {
    conn.transaction(|conn| {
        store::lock_head(conn)?;
        if !store::is_empty(conn)? {
            return Ok(open_window(conn)?.business_date);
        }
        let (date, cut_off_at) = store::calendars(conn)?.window_at(now)?;
        store::insert_open(conn, date, cut_off_at, now)?;
        Ok(date)
    })
}

/// The open window.
pub fn open_window(conn: &mut Conn) -> Result<Window, SettlementError> {
    store::first_open(conn)?.ok_or(SettlementError::NoneOpen)
}

/// Closes every window whose time is over at `now`, and opens the next; returns their dates. For a transaction that has locked `head`: whoever posts
/// closes first what is due, so nothing lands in a window whose cut-off has passed. Where more than `most` would close at once, the clock may have jumped:
/// nothing closes. A sandbox's clock may jump.
pub fn close_due(conn: &mut Conn, now: Timestamp, most: Option<usize>) -> Result<Vec<Date>, SettlementError> {
    let mut open = open_window(conn)?;
    if open.cut_off_at > now {
        return Ok(vec![]);
    }
    let most = most.filter(|_| !store::is_sandbox(conn).unwrap_or(false));
    let due = due_from(&store::calendars(conn)?, &open, now, most)?;
    let closed_at = due.last().map_or(now, |(_, cut_off_at)| *cut_off_at);
    for _ in &due {
        store::mark(conn, open.business_date, Mark::Closed, now)?;
        let (next, next_cut_off) = store::next_window(conn, open.business_date)?;
        store::insert_open(conn, next, next_cut_off, now)?;
        open = open_window(conn)?;
    }
    // Whatever is posted from here on comes after the cut-offs, also by a clock that stands a little behind.
    store::not_before(conn, closed_at)?;
    Ok(due.into_iter().map(|(date, _)| date).collect())
}

/// The open window and those that would follow it, as far as their time is over at `now`, each with its cut-off.
fn due_from(calendars: &Calendars, open: &Window, now: Timestamp, most: Option<usize>) -> Result<Vec<(Date, Timestamp)>, SettlementError> {
    let mut due = vec![];
    let (mut date, mut cut_off_at) = (open.business_date, open.cut_off_at);
    while cut_off_at <= now {
        due.push((date, cut_off_at));
        if most.is_some_and(|most| due.len() > most) {
            return Err(SettlementError::Overdue(due.len()));
        }
        (date, cut_off_at) = calendars.next(date)?;
    }
    Ok(due)
}

/// The windows whose time is over at `now` and that aren't netted, oldest first, each with its cut-off, whether somebody has closed them by then or not. For
/// whoever only reads: what a posting at `now` would find closed, however many.
pub fn over(conn: &mut Conn, now: Timestamp) -> Result<Vec<(Date, Timestamp)>, SettlementError> {
    let mut windows = store::windows_in(conn, &[State::Closed, State::Open])?;
    let open = windows.pop().ok_or(SettlementError::NoneOpen)?;
    let mut over: Vec<_> = windows.iter().map(|window| (window.business_date, window.cut_off_at)).collect();
    if open.cut_off_at <= now {
        over.extend(due_from(&store::calendars(conn)?, &open, now, None)?);
    }
    Ok(over)
}

/// The windows that are closed and not yet advised, oldest first.
pub fn pending(conn: &mut Conn) -> Result<Vec<Window>, SettlementError> {
    Ok(store::windows_in(conn, &[State::Closed, State::Netted])?)
}

/// Whether the payments of a window are known one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payments {
    /// Each has a reference and is confirmed by itself.
    OneByOne,
    /// The window is settled as a whole, as all were at first; such a log is done again like that.
    AsAWhole,
}

/// Posts a closed window's fees, nets it and writes down its payments, in one transaction; does nothing to one that is netted already.
pub fn net(conn: &mut Conn, date: Date, now: Timestamp, pace: Pace, payments: Payments) -> Result<(), SettlementError> {
    let Window { state, cut_off_at, .. } = reached(conn, date, State::Closed)?;
    if state > State::Closed {
        return Ok(());
    }
    // What still expires into a closed window is no exchange, so the long read needs no lock and stalls no traffic.
    let fees = store::fees(conn, date, pace)?;
    conn.transaction(|conn| {
        let next_seq = store::lock_head(conn)?;
        if reached(conn, date, State::Closed)?.state > State::Closed {
            return Ok(());
        }
        if let Some(earlier) = store::unnetted_before(conn, date)? {
            return Err(SettlementError::OutOfOrder { date, earlier });
        }
        if store::any_due(conn, cut_off_at)? {
            return Err(SettlementError::NotExpired(date));
        }
        let now = store::time(conn, now)?;
        store::post_fees(conn, date, &fees, next_seq, now)?;
        let (positions, previous) = (store::positions(conn, date)?, store::carried_over(conn, date)?);
        let obligations = netting::obligations(&positions, &previous)?;
        store::insert_obligations(conn, date, &obligations)?;
        let conversions = fx::conversions(&obligations, &store::rates(conn, date)?)?;
        store::insert_conversions(conn, date, &conversions)?;
        let value_date = match payments {
            Payments::OneByOne => Some(write_payments(
                conn,
                date,
                &netting::net_positions(fx::payable(&obligations, &conversions)?)?,
            )?),
            Payments::AsAWhole => None,
        };
        store::mark(conn, date, Mark::Netted(value_date), now)?;
        Ok(())
    })
}

/// Writes down what partners pay for a window, and where they stand with it; returns when payments are due: the next business date.
fn write_payments(conn: &mut Conn, date: Date, nets: &NetPositions) -> Result<Date, SettlementError> {
    let (value_date, _) = store::calendars(conn)?.next(date)?;
    let (before, open) = (store::closed_before(conn, date)?, store::open_before(conn, date)?);
    let revised = revision::effects(&store::count_taken(conn, date)?);
    store::insert_running(conn, date, &dues::running(&before, &open, &revised, nets)?)?;
    store::insert_dues(conn, &dues::dues(date, value_date, nets)?, FIRST_RUN)?;
    Ok(value_date)
}

/// Keeps a netted window's statements in the database, writes them to `out/<date>/`, then marks the window advised; returns the files' paths, sorted. What is
/// kept already is written as it is, without reading a posting: files that are missing or were changed are as before then. `tell` is called once, as in [`mark_advised`].
pub fn advise(
    conn: &mut Conn,
    date: Date,
    out: &Path,
    now: Timestamp,
    pace: Pace,
    tell: impl FnOnce(&mut Conn, &Window, Timestamp) -> Result<(), DbError>,
) -> Result<Vec<PathBuf>, SettlementError> {
    let kept = keep(conn, date, now, pace)?;
    let paths = files::write_all(&out.join(date.to_string()), &kept)?;
    mark_advised(conn, date, now, tell)?;
    Ok(paths)
}

/// The statements of a netted window, which are kept in the database from the first time on.
pub fn keep(conn: &mut Conn, date: Date, now: Timestamp, pace: Pace) -> Result<Vec<NamedBytes>, SettlementError> {
    loop {
        let window = reached(conn, date, State::Netted)?;
        let kept = store::kept_files(conn, date)?;
        if !kept.is_empty() {
            return Ok(kept);
        }
        let (book, partners) = (store::read_book(conn, &window, pace)?, store::partners(conn)?);
        if let Some(files) = keep_book(conn, date, now, &book, partners)? {
            return Ok(files);
        }
    }
}

/// Keeps the statements that a book makes, unless something that they say has changed since it was read.
fn keep_book(
    conn: &mut Conn,
    date: Date,
    now: Timestamp,
    book: &Book,
    partners: Vec<PartnerId>,
) -> Result<Option<Vec<NamedBytes>>, SettlementError> {
    book.check()?;
    let files = render_all(book, partners.clone())?;
    let done = conn.transaction(|conn| {
        store::lock_head(conn)?;
        // Somebody else may have kept them meanwhile, have admitted a partner, which gets a statement too, or have said that payments go elsewhere.
        let same_accounts = match &book.paying {
            Some(paying) => store::accounts(conn)? == paying.accounts,
            None => true,
        };
        let stands = same_accounts && store::kept_files(conn, date)?.is_empty() && store::partners(conn)? == partners;
        if stands {
            store::keep_files(conn, date, &files, now)?;
        }
        Ok::<_, SettlementError>(stands)
    })?;
    Ok(done.then_some(files))
}

/// The windows that are advised, settled ones too, oldest first.
pub fn advised_dates(conn: &mut Conn) -> Result<Vec<Date>, SettlementError> {
    let windows = store::windows_in(conn, &[State::Advised, State::Settled])?;
    Ok(windows.into_iter().map(|window| window.business_date).collect())
}

/// Every file of a window as it was advised; none where it isn't yet. An error where one isn't what was kept.
pub fn kept(conn: &mut Conn, date: Date) -> Result<Vec<NamedBytes>, SettlementError> {
    store::kept_files(conn, date)
}

/// Marks a window advised whose statements are kept, and written as files; `tell` tells the partners so in the same transaction, where it wasn't before. A window for which nobody
/// has anything to pay is settled with it.
pub fn mark_advised(
    conn: &mut Conn,
    date: Date,
    now: Timestamp,
    tell: impl FnOnce(&mut Conn, &Window, Timestamp) -> Result<(), DbError>,
) -> Result<(), SettlementError> {
    conn.transaction(|conn| {
        let now = store::time(conn, now)?;
        if store::mark(conn, date, Mark::Advised, now)? {
            let window = reached(conn, date, State::Advised)?;
            tell(conn, &window, now)?;
            if window.value_date.is_some() && store::dues_of(conn, date)?.is_empty() {
                settle_locked(conn, date, now, NOTHING_DUE)?;
            }
        }
        Ok(())
    })
}

/// A partner's statement as it was advised, with its digest; `None` where the window isn't advised, or the partner wasn't one then. Reads one row.
pub fn advised(conn: &mut Conn, date: Date, partner: &PartnerId, format: Format) -> Result<Option<Advised>, SettlementError> {
    let name = match format {
        Format::Json => format!("{partner}.json"),
        Format::Csv => format!("{partner}.csv"),
    };
    if partner.as_str() == SETTLEMENT {
        return Ok(None);
    }
    store::kept_file(conn, date, &name)
}

/// The most bytes of statements that are put together: all of them are in memory meanwhile.
const MOST_BYTES: usize = 32 << 20;

/// A partner's statements of a period, as they are kept: none where it has none, and an error where they are too long to be put together.
pub fn statements(conn: &mut Conn, partner: &PartnerId, period: Period) -> Result<Vec<Advised>, SettlementError> {
    match partner.as_str() {
        SETTLEMENT => Ok(vec![]),
        id => store::kept_between(conn, &format!("{id}.json"), (period.from(), period.until()), MOST_BYTES),
    }
}

/// Every file of a window by its name.
fn render_all(book: &Book, partners: Vec<PartnerId>) -> Result<Vec<NamedBytes>, SettlementError> {
    // Parties of the window that are no partners: the clearinghouse, where it is owed fees.
    let parties: BTreeSet<PartnerId> = book.parties().into_iter().chain(partners).collect();
    let mut files = vec![(format!("{SETTLEMENT}.json"), render::to_json(&book.settlement()?)?)];
    for party in parties {
        if party.as_str() == SETTLEMENT {
            return Err(SettlementError::ReservedId(party));
        }
        let statement = book.statement(&party)?;
        files.push((format!("{party}.json"), render::to_json(&statement)?));
        files.push((format!("{party}.csv"), render::to_csv(&statement)?));
    }
    files.sort();
    Ok(files)
}

/// A partner's view of a window; `None` if it isn't netted yet. Empty for a partner that took no part.
pub fn statement(conn: &mut Conn, date: Date, partner: &PartnerId) -> Result<Option<Statement>, SettlementError> {
    netted(conn, date)?.map(|book| Ok(book.statement(partner)?)).transpose()
}

/// The operator's view of a window; `None` if it isn't netted yet.
pub fn settlement(conn: &mut Conn, date: Date) -> Result<Option<Settlement>, SettlementError> {
    netted(conn, date)?.map(|book| Ok(book.settlement()?)).transpose()
}

fn netted(conn: &mut Conn, date: Date) -> Result<Option<Book>, SettlementError> {
    let Some(window) = store::window(conn, date)?.filter(|window| window.state >= State::Netted) else {
        return Ok(None);
    };
    let book = store::read_book(conn, &window, Pace::Full)?;
    book.check()?;
    Ok(Some(book))
}

#[cfg(test)]
mod tests;
