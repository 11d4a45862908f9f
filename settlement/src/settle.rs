//! Payments that were made: one by one, or all of a window. With the last the window is settled.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use migrations::Conn;
use partner_sdk::banking::Paid;

use crate::dues::{Confirmed, Due};
use crate::error::SettlementError;
use crate::group::Group;
use crate::netting::NetPositions;
use crate::reached::reached;
use crate::store::{self, Mark, State};

/// Who settles a window for which nobody has anything to pay.
pub const NOTHING_DUE: &str = "nothing_due";

/// Confirms an advised window's payments, those that aren't yet: what it made the partners owe no longer counts against their net debit caps. A second time is refused.
pub fn settle(conn: &mut Conn, date: Date, now: Timestamp, by: &str) -> Result<(), SettlementError> {
    conn.transaction(|conn| {
        store::lock_head(conn)?;
        settle_locked(conn, date, now, by).map(drop)
    })
}

/// The same in a transaction that has locked the ledger. Returns the windows that are settled by it: those that were joined to it too.
pub fn settle_locked(conn: &mut Conn, date: Date, now: Timestamp, by: &str) -> Result<Vec<Date>, SettlementError> {
    may_settle(conn, date)?;
    // As the entry has it, by which it is done again.
    let now = store::time(conn, now)?;
    let group = Group::of(conn, date)?;
    let exposed = group.exposed(conn)?;
    for due in group.dues(conn)?.iter().filter(|due| due.is_open()) {
        let (paid_on, by) = (None, by.to_owned());
        store::confirm(conn, &due.reference, &Confirmed { paid_on, at: now, by })?;
    }
    store::recount(conn, &exposed, &NetPositions::new())?;
    close(conn, &group, now, by)
}

/// Whether a window's payments can be confirmed: it is advised, they weren't before, and they aren't another's.
pub fn may_settle(conn: &mut Conn, date: Date) -> Result<(), SettlementError> {
    if reached(conn, date, State::Advised)?.state > State::Advised {
        return Err(SettlementError::Settled(date));
    }
    match store::joined_to(conn, date)? {
        Some((lead, _)) => Err(SettlementError::Joined { date, lead }),
        None => Ok(()),
    }
}

/// The payments that somebody says were made, each as it was advised; an error for the first that wasn't, or was confirmed before.
pub fn may_confirm(conn: &mut Conn, payments: &[Paid], now: Timestamp) -> Result<Vec<Due>, SettlementError> {
    payments.iter().map(|paid| may_confirm_one(conn, paid, now)).collect()
}

fn may_confirm_one(conn: &mut Conn, paid: &Paid, now: Timestamp) -> Result<Due, SettlementError> {
    let reference = || paid.reference.clone();
    let due = store::due(conn, &paid.reference)?.ok_or_else(|| SettlementError::NoPayment(reference()))?;
    reached(conn, due.business_date, State::Advised)?;
    if due.confirmed.is_some() {
        return Err(SettlementError::Confirmed(reference()));
    }
    if due.replaced_by.is_some() {
        return Err(SettlementError::Replaced(reference()));
    }
    let amount = paid.amount.to_units(6).ok();
    if paid.currency != due.currency || amount.map(i64::unsigned_abs) != Some(due.amount.0.unsigned_abs()) {
        return Err(SettlementError::OtherAmount {
            reference: reference(),
            due: format!("{} {}", due.currency, due.how_much()),
        });
    }
    // Somewhere on earth it is tomorrow already.
    let now = store::time(conn, now)?;
    let last = now.to_zoned(TimeZone::UTC).date().tomorrow().unwrap_or(Date::MAX);
    if paid.paid_on < due.business_date || paid.paid_on > last {
        return Err(SettlementError::PaidWhen {
            reference: reference(),
            paid_on: paid.paid_on,
        });
    }
    Ok(due)
}

/// Notes that payments were made, and returns the windows that are settled by it; for a transaction that has locked the ledger. What a partner owed for a window in a currency counts against its caps no more.
pub fn confirm_locked(conn: &mut Conn, payments: &[Paid], now: Timestamp, by: &str) -> Result<Vec<Date>, SettlementError> {
    let mut windows: BTreeMap<Date, Vec<(Due, Date)>> = BTreeMap::new();
    for (due, paid) in may_confirm(conn, payments, now)?.into_iter().zip(payments) {
        windows.entry(due.business_date).or_default().push((due, paid.paid_on));
    }
    let mut settled = vec![];
    for (date, made) in windows {
        let group = Group::of(conn, date)?;
        let exposed = group.exposed(conn)?;
        for (due, paid_on) in &made {
            let (paid_on, by) = (Some(*paid_on), by.to_owned());
            store::confirm(conn, &due.reference, &Confirmed { paid_on, at: now, by })?;
        }
        let left = group.exposed(conn)?;
        store::recount(conn, &exposed, &left)?;
        settled.extend(close_if_paid(conn, &group, now, by)?);
    }
    Ok(settled)
}

/// Settles windows of which no payment is open any more, and returns those that it did; for a transaction that has locked the ledger.
pub fn close_if_paid(conn: &mut Conn, group: &Group, now: Timestamp, by: &str) -> Result<Vec<Date>, SettlementError> {
    if group.dues(conn)?.iter().any(Due::is_open) {
        return Ok(vec![]);
    }
    // Whoever came out even has nothing to pay, and may have owed a part of a cent; and whoever was taken out owes outside of the window.
    let exposed = group.exposed(conn)?;
    store::recount(conn, &exposed, &NetPositions::new())?;
    close(conn, group, now, by)
}

fn close(conn: &mut Conn, group: &Group, now: Timestamp, by: &str) -> Result<Vec<Date>, SettlementError> {
    let dates = group.dates();
    for date in &dates {
        let now = store::time(conn, now)?;
        store::mark(conn, *date, Mark::Settled(by), now)?;
    }
    Ok(dates)
}
