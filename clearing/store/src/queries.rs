//! What partners may ask: balances and live positions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::schema::{exposure, hold, lot, message, position, settlement_window};
use migrations::{Conn, DbError, each_backend};

use super::accounts::{Need, load_accounts};
use super::load::expire;
use ledger::directory::Directory;
use ledger::{AccountKey, WorkingSet};

/// The states of windows whose payments aren't made: few rows, found by index, however many are settled.
pub(super) const UNSETTLED: [&str; 4] = ["open", "closed", "netted", "advised"];

/// A member's points in one programme, in smallest units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// Points less debt; below zero where the member owes.
    pub balance: i64,
    /// Points under holds.
    pub held: i64,
    /// What can be spent now.
    pub available: i64,
}

/// The balance at `now`: what a message posted then would find, so what is due at cut-offs that have passed is gone from it whether the night has come there
/// or not, and has repaid a debt. A member that was never seen has nothing.
pub fn balance(conn: &mut Conn, directory: &Arc<Directory>, key: &AccountKey, now: Timestamp) -> Result<Balance, DbError> {
    let over = settlement::over(conn, now).map_err(|error| DbError::Corrupt(error.to_string()))?;
    // Nothing of this set is ever written: it posts into a window of its own.
    let mut set = WorkingSet::new(directory.clone(), Date::MAX, now.as_microsecond(), 0, [0; 32]);
    set.due = over.into_iter().map(|(date, cut_off)| (date, cut_off.as_microsecond())).collect();
    let need = Need {
        lots: true,
        ..Need::default()
    };
    load_accounts(conn, &mut set, &BTreeMap::from([(key.clone(), need)]), &BTreeSet::new())?;
    expire(&mut set)?;
    let fits = |points: i128| i64::try_from(points).map_err(|_| DbError::Corrupt("an account's points".into()));
    let account = set.accounts.get(key).cloned().unwrap_or_default();
    Ok(Balance {
        balance: account.points - account.debt,
        held: set.holds_at(key, set.now).map(|hold| hold.points).sum(),
        available: fits(set.available(key))?,
    })
}

/// Whether a partner has dealings with a member: points that it pays or has paid for, or under its hold at `now`, in microseconds since 1970.
pub fn deals_with(conn: &mut Conn, partner: &str, account: &AccountKey, now: i64) -> Result<bool, DbError> {
    let funded = lot::table
        .filter(lot::programme.eq(account.programme.as_str()))
        .filter(lot::member.eq(account.member.as_str()))
        .filter(sql::<Bool>("remaining > 0"))
        .filter(lot::funder.eq(partner));
    if each_backend!(conn, |c| funded.count().get_result::<i64>(c))? > 0 {
        return Ok(true);
    }
    let held = hold::table
        .inner_join(message::table.on(message::seq.eq(hold::seq)))
        .filter(hold::programme.eq(account.programme.as_str()))
        .filter(hold::member.eq(account.member.as_str()))
        .filter(sql::<Bool>("is_open"))
        .filter(hold::expires_at.gt(now))
        .filter(message::sender.eq(partner));
    Ok(each_backend!(conn, |c| held.count().get_result::<i64>(c))? > 0)
}

/// One pair's position in one window that isn't settled, gross.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct PositionRow {
    /// The window.
    pub business_date: String,
    /// The window's state.
    pub state: String,
    /// Who owes.
    pub debtor: String,
    /// Whom.
    pub creditor: String,
    /// In which currency.
    pub currency: String,
    /// How much, in micros.
    pub micros: i64,
}

/// A partner's net per currency, in micros; positive: it owes.
pub type Net = Vec<(String, i64)>;

/// A partner's positions over all windows not yet settled, oldest first, and its net per currency (positive: it owes).
pub fn positions(conn: &mut Conn, partner: &str) -> Result<(Vec<PositionRow>, Net), DbError> {
    let query = position::table
        .inner_join(settlement_window::table.on(settlement_window::business_date.eq(position::business_date)))
        .select((
            position::business_date,
            settlement_window::state,
            position::debtor,
            position::creditor,
            position::currency,
            position::micros,
        ))
        .filter(settlement_window::state.eq_any(UNSETTLED))
        .filter(position::debtor.eq(partner).or(position::creditor.eq(partner)))
        .order((position::business_date, position::debtor, position::creditor, position::currency));
    let rows = each_backend!(conn, |c| query.load(c))?;
    let query = exposure::table
        .select((exposure::currency, exposure::micros))
        .filter(exposure::partner.eq(partner))
        .order(exposure::currency);
    let net = each_backend!(conn, |c| query.load(c))?;
    Ok((rows, net))
}
