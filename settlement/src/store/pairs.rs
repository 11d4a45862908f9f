//! Positions and obligations.

use std::collections::BTreeSet;

use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::{obligation, position, settlement_window};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::{Currency, Money};

use super::{party, read};
use crate::error::SettlementError;
use crate::netting::{self, Obligation, Position};

fn currency(code: &str) -> Result<Currency, DbError> {
    read("a currency", Currency::new(code))
}

/// The gross positions of a window, in no particular order.
pub fn positions(conn: &mut Conn, date: Date) -> Result<Vec<Position>, DbError> {
    let query = position::table.filter(position::business_date.eq(date.to_string()));
    let rows = each_backend!(conn, |c| query
        .select((position::debtor, position::creditor, position::currency, position::micros))
        .load::<(String, String, String, i64)>(c))?;
    let position = |(debtor, creditor, code, micros): (String, String, String, i64)| {
        Ok(Position {
            debtor: party(&debtor)?,
            creditor: party(&creditor)?,
            currency: currency(&code)?,
            amount: Money(micros),
        })
    };
    rows.into_iter().map(position).collect()
}

/// Whoever owes or is owed something from a window.
pub fn parties(conn: &mut Conn, date: Date) -> Result<Vec<String>, DbError> {
    let date = date.to_string();
    let gross = position::table
        .filter(position::business_date.eq(&date))
        .select((position::debtor, position::creditor));
    let net = obligation::table
        .filter(obligation::business_date.eq(&date))
        .select((obligation::party_a, obligation::party_b));
    let mut pairs = each_backend!(conn, |c| gross.load::<(String, String)>(c))?;
    pairs.extend(each_backend!(conn, |c| net.load::<(String, String)>(c))?);
    let all: BTreeSet<String> = pairs.into_iter().flat_map(|(a, b)| [a, b]).collect();
    Ok(all.into_iter().collect())
}

/// Adds to a position; the ledger is locked.
pub fn add_position(conn: &mut Conn, date: Date, add: &Position) -> Result<(), SettlementError> {
    let date = date.to_string();
    let key = (date.as_str(), add.debtor.as_str(), add.creditor.as_str(), add.currency.as_str());
    let old = each_backend!(conn, |c| position::table
        .find(key)
        .select(position::micros)
        .first::<i64>(c)
        .optional())
    .map_err(DbError::from)?;
    let sum = i128::from(old.unwrap_or(0)) + i128::from(add.amount.0);
    let new = netting::fits(sum, "a position", (&add.debtor, &add.creditor), add.currency)?.0;
    let row = (
        position::business_date.eq(key.0),
        position::debtor.eq(key.1),
        position::creditor.eq(key.2),
        position::currency.eq(key.3),
        position::micros.eq(new),
    );
    let columns = (position::business_date, position::debtor, position::creditor, position::currency);
    each_backend!(conn, |c| {
        diesel::insert_into(position::table)
            .values(row)
            .on_conflict(columns)
            .do_update()
            .set(position::micros.eq(new))
            .execute(c)
    })
    .map_err(DbError::from)?;
    Ok(())
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = obligation, treat_none_as_default_value = false)]
struct ObligationRow {
    business_date: String,
    party_a: String,
    party_b: String,
    currency: String,
    a_owes: i64,
    b_owes: i64,
    carried_in: i64,
    net: i64,
    carried_out: i64,
}

/// How many columns an obligation has.
const COLUMNS: usize = 9;

/// What netting made of a window, sorted as netting sorts.
pub fn obligations(conn: &mut Conn, date: Date) -> Result<Vec<Obligation>, DbError> {
    let query = obligation::table.filter(obligation::business_date.eq(date.to_string()));
    let rows = each_backend!(conn, |c| query.select(ObligationRow::as_select()).load(c))?;
    let read = |row: ObligationRow| {
        Ok(Obligation {
            party_a: party(&row.party_a)?,
            party_b: party(&row.party_b)?,
            currency: currency(&row.currency)?,
            a_owes: Money(row.a_owes),
            b_owes: Money(row.b_owes),
            carried_in: Money(row.carried_in),
            net: Money(row.net),
            carried_out: Money(row.carried_out),
        })
    };
    let mut obligations: Vec<Obligation> = rows.into_iter().map(read).collect::<Result<_, DbError>>()?;
    obligations.sort_by(|x, y| (x.currency, &x.party_a, &x.party_b).cmp(&(y.currency, &y.party_a, &y.party_b)));
    Ok(obligations)
}

/// The last window before a date.
pub fn window_before(conn: &mut Conn, date: Date) -> Result<Option<Date>, DbError> {
    use settlement_window::business_date;
    let earlier = settlement_window::table.filter(business_date.lt(date.to_string()));
    let last = earlier.select(business_date).order(business_date.desc());
    let last = each_backend!(conn, |c| last.first::<String>(c).optional())?;
    last.map(|last| read("a window's business date", last.parse())).transpose()
}

/// Writes what netting made of a window.
pub fn insert_obligations(conn: &mut Conn, date: Date, obligations: &[Obligation]) -> Result<(), DbError> {
    let row = |o: &Obligation| ObligationRow {
        business_date: date.to_string(),
        party_a: o.party_a.as_str().into(),
        party_b: o.party_b.as_str().into(),
        currency: o.currency.as_str().into(),
        a_owes: o.a_owes.0,
        b_owes: o.b_owes.0,
        carried_in: o.carried_in.0,
        net: o.net.0,
        carried_out: o.carried_out.0,
    };
    for chunk in obligations.chunks(conn.bind_limit() / COLUMNS) {
        let rows: Vec<ObligationRow> = chunk.iter().map(row).collect();
        each_backend!(conn, |c| diesel::insert_into(obligation::table).values(&rows).execute(c))?;
    }
    Ok(())
}
