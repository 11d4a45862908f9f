//! What was taken out of windows after their statements.

use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::{dispute, payment as p, taken_out as t};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::banking::PaymentReference;
use partner_sdk::{Currency, Money, PartnerId};

use super::{party, read};
use crate::revision::TakenOut;

/// The run of the night. What documents revise has the numbers after it.
pub const FIRST_RUN: i64 = 1;

type Row = (String, String, String, i64);

fn taken((debtor, creditor, currency, micros): Row) -> Result<TakenOut, DbError> {
    Ok(TakenOut {
        debtor: party(&debtor)?,
        creditor: party(&creditor)?,
        currency: read("a currency", Currency::new(&currency))?,
        amount: Money(micros),
    })
}

/// What was taken out of a window so far, each with the run that did so; in no particular order.
pub fn taken_with_runs(conn: &mut Conn, date: Date) -> Result<Vec<(i64, TakenOut)>, DbError> {
    let of = t::table.filter(t::business_date.eq(date.to_string()));
    let rows = of.select((t::run, (t::debtor, t::creditor, t::currency, t::micros)));
    let rows = each_backend!(conn, |c| rows.load::<(i64, Row)>(c))?;
    rows.into_iter().map(|(run, row)| Ok((run, taken(row)?))).collect()
}

/// What was taken out of a window so far, and the run that did so last.
pub fn taken_of(conn: &mut Conn, date: Date) -> Result<(Vec<TakenOut>, i64), DbError> {
    let all = taken_with_runs(conn, date)?;
    let last = all.iter().map(|(run, _)| *run).max().unwrap_or(FIRST_RUN);
    Ok((all.into_iter().map(|(_, taken)| taken).collect(), last))
}

/// Whether a default has taken out what is between two in a window: all of it, so there is nothing left to be disputed.
pub fn is_in_default(conn: &mut Conn, date: Date, (a, b): (&PartnerId, &PartnerId), currency: Currency) -> Result<bool, DbError> {
    let pair = [a.as_str(), b.as_str()];
    let taken = t::table
        .filter(t::business_date.eq(date.to_string()))
        .filter(t::currency.eq(currency.as_str()))
        .filter(t::debtor.eq_any(pair).and(t::creditor.eq_any(pair)))
        .filter(t::document.ne_all(dispute::table.select(dispute::hash)))
        .select(t::run);
    Ok(each_backend!(conn, |c| taken.first::<i64>(c).optional())?.is_some())
}

/// What a document has taken out of a window.
pub fn taken_by(conn: &mut Conn, document: &str) -> Result<Vec<TakenOut>, DbError> {
    let rows = t::table.filter(t::document.eq(document));
    let rows = rows.select((t::debtor, t::creditor, t::currency, t::micros));
    let rows = each_backend!(conn, |c| rows.load::<Row>(c))?;
    rows.into_iter().map(taken).collect()
}

/// Takes it out of a window, by a document.
pub fn take_out(conn: &mut Conn, date: Date, run: i64, all: &[TakenOut], document: &str) -> Result<(), DbError> {
    let row = |one: &TakenOut| {
        (
            t::business_date.eq(date.to_string()),
            t::run.eq(run),
            t::debtor.eq(one.debtor.to_string()),
            t::creditor.eq(one.creditor.to_string()),
            t::currency.eq(one.currency.to_string()),
            t::micros.eq(one.amount.0),
            t::document.eq(document.to_owned()),
        )
    };
    for chunk in all.chunks(conn.bind_limit() / 7) {
        let rows: Vec<_> = chunk.iter().map(row).collect();
        each_backend!(conn, |c| diesel::insert_into(t::table).values(&rows).execute(c))?;
    }
    Ok(())
}

/// What was taken out of windows and stands in no running position yet; from now on it stands in those of `date`.
pub fn count_taken(conn: &mut Conn, date: Date) -> Result<Vec<TakenOut>, DbError> {
    let new = t::table.filter(t::counted_in.is_null());
    let rows = new.select((t::debtor, t::creditor, t::currency, t::micros));
    let rows = each_backend!(conn, |c| rows.load::<Row>(c))?;
    let date = date.to_string();
    each_backend!(conn, |c| diesel::update(new).set(t::counted_in.eq(&date)).execute(c))?;
    rows.into_iter().map(taken).collect()
}

/// Notes that open payments aren't made any more.
pub fn replace(conn: &mut Conn, references: &[&PaymentReference], document: &str) -> Result<(), DbError> {
    for chunk in references.chunks(conn.bind_limit() - 1) {
        let texts: Vec<&str> = chunk.iter().map(|reference| reference.as_str()).collect();
        let open = p::table.filter(p::reference.eq_any(&texts));
        let open = open.filter(p::confirmed_at.is_null()).filter(p::replaced_by.is_null());
        let by = p::replaced_by.eq(document);
        let replaced = each_backend!(conn, |c| diesel::update(open).set(by).execute(c))?;
        if replaced != chunk.len() {
            let first = texts.first().copied().unwrap_or_default();
            return Err(DbError::Corrupt(format!(
                "of {} payments from {first} on {replaced} are open",
                chunk.len()
            )));
        }
    }
    Ok(())
}
