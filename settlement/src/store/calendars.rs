//! Calendars, as they were put in force.

use diesel::prelude::*;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::schema::calendar;
use migrations::{Conn, DbError, each_backend};

use super::read;
use crate::calendar::{BEGINNING, Calendar, Calendars};
use crate::error::SettlementError;

/// Every calendar, in the order in which they were put in force.
pub fn calendars(conn: &mut Conn) -> Result<Calendars, DbError> {
    let query = calendar::table.select((calendar::first_date, calendar::terms)).order(calendar::no);
    let rows = each_backend!(conn, |c| query.load::<(String, String)>(c))?;
    let row = |(first, terms): (String, String)| {
        Ok::<_, DbError>((
            read("calendar.first_date", first.parse::<Date>())?,
            read("calendar.terms", serde_json::from_str::<Calendar>(&terms))?,
        ))
    };
    let all = rows.into_iter().map(row).collect::<Result<_, _>>()?;
    read("calendar", Calendars::new(all))
}

/// The business date after `date`, and the instant at which its window ends, by the calendars that are in force.
pub fn next_window(conn: &mut Conn, date: Date) -> Result<(Date, Timestamp), SettlementError> {
    Ok(calendars(conn)?.next(date)?)
}

/// Puts a calendar in force from a business date on, by a document; the ledger is locked.
pub fn add_calendar(conn: &mut Conn, first: Date, new: &Calendar, document: &str) -> Result<(), DbError> {
    let last: Option<i32> = each_backend!(conn, |c| calendar::table
        .select(calendar::no)
        .order(calendar::no.desc())
        .first(c)
        .optional())?;
    insert(conn, last.unwrap_or(0) + 1, first, new, document)
}

fn insert(conn: &mut Conn, no: i32, first: Date, new: &Calendar, document: &str) -> Result<(), DbError> {
    let row = (
        calendar::no.eq(no),
        calendar::first_date.eq(first.to_string()),
        calendar::document.eq(document),
        calendar::terms.eq(read("a calendar", serde_json::to_string(new))?),
    );
    each_backend!(conn, |c| diesel::insert_into(calendar::table).values(row).execute(c))?;
    Ok(())
}

/// The calendar that the network was founded with.
pub fn founding_calendar(conn: &mut Conn) -> Result<Option<Calendar>, DbError> {
    let query = calendar::table.find(1).select(calendar::terms);
    let terms: Option<String> = each_backend!(conn, |c| query.first(c).optional())?;
    terms.map(|terms| read("calendar.terms", serde_json::from_str(&terms))).transpose()
}

/// Sets the calendar that the network is founded with, in the place of another while no window is open; the ledger is locked.
pub fn found_calendar(conn: &mut Conn, new: &Calendar) -> Result<(), DbError> {
    each_backend!(conn, |c| diesel::delete(calendar::table.find(1)).execute(c))?;
    insert(conn, 1, BEGINNING, new, "")
}
