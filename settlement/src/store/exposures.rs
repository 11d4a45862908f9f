//! What windows count against net debit caps.

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl::max;
use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::{exposure, payment as p};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::{Currency, PartnerId};

use super::fx::rates;
use super::joined::joined_to;
use super::pairs::positions;
use super::revisions::{FIRST_RUN, taken_with_runs};
use super::{party, read};
use crate::error::SettlementError;
use crate::netting::{NetPositions, NettingError};

/// What a window that isn't settled counts against net debit caps now, by currency and partner; positive where it owes. What is posted counts, in its own currency, until a payment of the partner in the
/// currency in which that is paid is confirmed, and what a revision takes out counts from then on until a payment of that run, or of a later one, is. Of a window that was joined to another, that one's payments are its own from then on.
pub fn exposed(conn: &mut Conn, date: Date) -> Result<NetPositions, SettlementError> {
    let paid = paid_up_to(conn, date)?;
    let mut sums = NetPositions::new();
    for position in positions(conn, date)? {
        *sums.entry((position.currency, position.debtor)).or_default() += i128::from(position.amount.0);
        *sums.entry((position.currency, position.creditor)).or_default() -= i128::from(position.amount.0);
    }
    let rates = rates(conn, date)?;
    let paid_in = |currency| rates.get(&currency).map_or(currency, |rate| rate.payment_currency);
    sums.retain(|(currency, partner), _| !paid.contains_key(&(paid_in(*currency), partner.clone())));
    for (run, taken) in taken_with_runs(conn, date)? {
        let micros = i128::from(taken.amount.0);
        for (partner, change) in [(taken.debtor, -micros), (taken.creditor, micros)] {
            let key = (taken.currency, partner);
            if paid.get(&key).is_none_or(|last| *last < run) {
                *sums.entry(key).or_default() += change;
            }
        }
    }
    sums.retain(|(_, partner), micros| *micros != 0 && *partner != PartnerId::clearing());
    Ok(sums)
}

/// The last run of which a payment for the window was confirmed: its own, or since it was joined to another the other's.
pub fn paid_up_to(conn: &mut Conn, date: Date) -> Result<BTreeMap<(Currency, PartnerId), i64>, DbError> {
    let mut paid = paid_since(conn, date, FIRST_RUN)?;
    if let Some((lead, run)) = joined_to(conn, date)? {
        // No run of its own comes after.
        paid.extend(paid_since(conn, lead, run)?);
    }
    Ok(paid)
}

fn paid_since(conn: &mut Conn, date: Date, run: i64) -> Result<BTreeMap<(Currency, PartnerId), i64>, DbError> {
    let made = p::table
        .filter(p::business_date.eq(date.to_string()))
        .filter(p::run.ge(run))
        .filter(p::confirmed_at.is_not_null())
        .group_by((p::partner, p::currency))
        .select((p::partner, p::currency, max(p::run)));
    let rows = each_backend!(conn, |c| made.load::<(String, String, Option<i64>)>(c))?;
    let one = |(partner, currency, run): (String, String, Option<i64>)| {
        let key = (read("a currency", Currency::new(&currency))?, party(&partner)?);
        Ok((key, run.unwrap_or(0)))
    };
    rows.into_iter().map(one).collect()
}

/// Puts what a window counts now in place of what it counted before; the ledger is locked.
pub fn recount(conn: &mut Conn, before: &NetPositions, after: &NetPositions) -> Result<(), SettlementError> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let of = |sums: &NetPositions| sums.get(key).copied().unwrap_or(0);
        let change = of(after) - of(before);
        if change != 0 {
            add_exposure(conn, &key.1, key.0, change)?;
        }
    }
    Ok(())
}

/// Adds to what a partner owes over all windows not yet settled; the ledger is locked.
pub fn add_exposure(conn: &mut Conn, partner: &PartnerId, currency: Currency, micros: i128) -> Result<(), SettlementError> {
    let key = (partner.as_str(), currency.as_str());
    let old = each_backend!(conn, |c| exposure::table
        .find(key)
        .select(exposure::micros)
        .first::<i64>(c)
        .optional())
    .map_err(DbError::from)?;
    let new = i64::try_from(i128::from(old.unwrap_or(0)) + micros).map_err(|_| NettingError::Exposure {
        partner: partner.clone(),
        currency,
    })?;
    let row = (exposure::partner.eq(key.0), exposure::currency.eq(key.1), exposure::micros.eq(new));
    each_backend!(conn, |c| {
        let insert = diesel::insert_into(exposure::table).values(row);
        insert
            .on_conflict((exposure::partner, exposure::currency))
            .do_update()
            .set(exposure::micros.eq(new))
            .execute(c)
    })
    .map_err(DbError::from)?;
    Ok(())
}
