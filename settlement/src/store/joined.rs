//! Windows that are paid together with another.

use diesel::dsl::max;
use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::{joined as j, taken_out as t};
use migrations::{Conn, DbError, each_backend};

use super::read;
use super::revisions::FIRST_RUN;

fn date(text: &str) -> Result<Date, DbError> {
    read("a joined window's date", text.parse())
}

/// With which window another is paid, and in which run of it that began; nothing for one that is paid by itself, or that others are paid with.
pub fn joined_to(conn: &mut Conn, of: Date) -> Result<Option<(Date, i64)>, DbError> {
    let row = j::table.find(of.to_string()).select((j::lead, j::run));
    let row = each_backend!(conn, |c| row.first::<(String, i64)>(c).optional())?;
    row.map(|(lead, run)| Ok((date(&lead)?, run))).transpose()
}

/// The windows that are paid with this one, oldest first, each with the run in which that began.
pub fn joined_into(conn: &mut Conn, lead: Date) -> Result<Vec<(Date, i64)>, DbError> {
    let rows = j::table.filter(j::lead.eq(lead.to_string())).order(j::business_date);
    let rows = rows.select((j::business_date, j::run));
    let rows = each_backend!(conn, |c| rows.load::<(String, i64)>(c))?;
    rows.into_iter().map(|(of, run)| Ok((date(&of)?, run))).collect()
}

/// Notes that windows are paid with another from a run of it on, by a document.
pub fn join(conn: &mut Conn, dates: &[Date], (lead, run): (Date, i64), document: &str) -> Result<(), DbError> {
    let row = |of: &Date| {
        (
            j::business_date.eq(of.to_string()),
            j::lead.eq(lead.to_string()),
            j::run.eq(run),
            j::document.eq(document.to_owned()),
        )
    };
    let rows: Vec<_> = dates.iter().map(row).collect();
    each_backend!(conn, |c| diesel::insert_into(j::table).values(&rows).execute(c))?;
    Ok(())
}

/// The last run in which something was taken out of any of some windows, or in which others were joined to one of them.
pub fn last_run(conn: &mut Conn, dates: &[Date]) -> Result<i64, DbError> {
    let dates: Vec<String> = dates.iter().map(ToString::to_string).collect();
    let taken = t::table.filter(t::business_date.eq_any(&dates)).select(max(t::run));
    let led = j::table.filter(j::lead.eq_any(&dates)).select(max(j::run));
    let taken = each_backend!(conn, |c| taken.first::<Option<i64>>(c))?;
    let led = each_backend!(conn, |c| led.first::<Option<i64>>(c))?;
    Ok(taken.max(led).unwrap_or(FIRST_RUN))
}
