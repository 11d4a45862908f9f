//! The rates of windows, and what was converted at them.

use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::{conversion, fx_rate};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::fx::FxTerms;
use partner_sdk::{Currency, Money};

use super::pairs::{obligations, window_before};
use super::{party, read};
use crate::error::SettlementError;
use crate::fx::{self, Conversion, Rate, Rates};
use crate::netting::{Obligation, Payable};

fn currency(code: &str) -> Result<Currency, DbError> {
    read("a currency", Currency::new(code))
}

/// The rates that are in force for a window; none where it is paid in its own currencies.
pub fn rates(conn: &mut Conn, date: Date) -> Result<Rates, DbError> {
    let query = fx_rate::table.filter(fx_rate::business_date.eq(date.to_string()));
    let query = query.select((fx_rate::currency, fx_rate::payment_currency, fx_rate::rate));
    let rows = each_backend!(conn, |c| query.load::<(String, String, i64)>(c))?;
    let rate = |(from, into, rate): (String, String, i64)| {
        let payment_currency = currency(&into)?;
        let rate = Money(rate);
        Ok((currency(&from)?, Rate { payment_currency, rate }))
    };
    rows.into_iter().map(rate).collect()
}

/// Puts a window's rates in force, by a document, in place of those that it has; they are without fault.
pub fn put_rates(conn: &mut Conn, terms: &FxTerms, document: &str) -> Result<(), DbError> {
    let old = fx_rate::table.filter(fx_rate::business_date.eq(terms.business_date.to_string()));
    each_backend!(conn, |c| diesel::delete(old).execute(c))?;
    for one in &terms.rates {
        let micros = one
            .micros()
            .ok_or_else(|| DbError::Corrupt(format!("the rate of {} isn't one", one.currency)))?;
        let row = (
            fx_rate::business_date.eq(terms.business_date.to_string()),
            fx_rate::currency.eq(one.currency.as_str()),
            fx_rate::payment_currency.eq(terms.payment_currency.as_str()),
            fx_rate::rate.eq(micros.0),
            fx_rate::document.eq(document),
        );
        each_backend!(conn, |c| diesel::insert_into(fx_rate::table).values(row).execute(c))?;
    }
    Ok(())
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = conversion, treat_none_as_default_value = false)]
struct ConversionRow {
    business_date: String,
    party_a: String,
    party_b: String,
    currency: String,
    net: i64,
    rate: i64,
    payment_currency: String,
    amount: i64,
    difference: i64,
}

/// How many columns a conversion has.
const COLUMNS: usize = 9;

/// What was converted of a window, sorted by currency and pair.
pub fn conversions(conn: &mut Conn, date: Date) -> Result<Vec<Conversion>, DbError> {
    let query = conversion::table.filter(conversion::business_date.eq(date.to_string()));
    let rows = each_backend!(conn, |c| query.select(ConversionRow::as_select()).load(c))?;
    let read = |row: ConversionRow| {
        Ok(Conversion {
            party_a: party(&row.party_a)?,
            party_b: party(&row.party_b)?,
            currency: currency(&row.currency)?,
            net: Money(row.net),
            rate: Money(row.rate),
            payment_currency: currency(&row.payment_currency)?,
            amount: Money(row.amount),
            difference: Money(row.difference),
        })
    };
    let mut conversions: Vec<Conversion> = rows.into_iter().map(read).collect::<Result<_, DbError>>()?;
    conversions.sort_by(|x, y| (x.currency, &x.party_a, &x.party_b).cmp(&(y.currency, &y.party_a, &y.party_b)));
    Ok(conversions)
}

/// Writes what was converted of a window.
pub fn insert_conversions(conn: &mut Conn, date: Date, conversions: &[Conversion]) -> Result<(), DbError> {
    let row = |c: &Conversion| ConversionRow {
        business_date: date.to_string(),
        party_a: c.party_a.as_str().into(),
        party_b: c.party_b.as_str().into(),
        currency: c.currency.as_str().into(),
        net: c.net.0,
        rate: c.rate.0,
        payment_currency: c.payment_currency.as_str().into(),
        amount: c.amount.0,
        difference: c.difference.0,
    };
    for chunk in conversions.chunks(conn.bind_limit() / COLUMNS) {
        let rows: Vec<ConversionRow> = chunk.iter().map(row).collect();
        each_backend!(conn, |c| diesel::insert_into(conversion::table).values(&rows).execute(c))?;
    }
    Ok(())
}

/// What each pair of a netted window pays, in the currency in which it does.
pub fn payable(conn: &mut Conn, date: Date) -> Result<Vec<Payable>, SettlementError> {
    let conversions = conversions(conn, date)?;
    Ok(fx::payable(&obligations(conn, date)?, &conversions)?)
}

/// What the last window before `date` carries on: every residue and difference there is, because netting hands each on to the next window.
pub fn carried_over(conn: &mut Conn, date: Date) -> Result<Vec<Obligation>, DbError> {
    let Some(last) = window_before(conn, date)? else {
        return Ok(vec![]);
    };
    let conversions = conversions(conn, last)?;
    Ok(fx::carried_on(obligations(conn, last)?, &conversions))
}
