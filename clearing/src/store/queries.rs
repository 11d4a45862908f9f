//! What partners may ask: balances and live positions.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use migrations::schema::{account, exposure, hold, lot, position, settlement_window};
use migrations::{Conn, DbError, each_backend};

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

/// The balance at `now`, in microseconds since 1970. A member that was never seen has nothing.
pub fn balance(conn: &mut Conn, programme: &str, member: &str, now: i64) -> Result<Balance, DbError> {
    let query = account::table
        .select((account::points, account::debt))
        .filter(account::programme.eq(programme))
        .filter(account::member.eq(member));
    let (points, debt): (i64, i64) = each_backend!(conn, |c| query.first(c).optional())?.unwrap_or_default();
    let query = lot::table
        .select(lot::remaining)
        .filter(lot::programme.eq(programme))
        .filter(lot::member.eq(member))
        .filter(sql::<Bool>("remaining > 0"))
        .filter(lot::expires_at.gt(now));
    let unexpired: i64 = each_backend!(conn, |c| query.load::<i64>(c))?.into_iter().sum();
    let query = hold::table
        .select(hold::points)
        .filter(hold::programme.eq(programme))
        .filter(hold::member.eq(member))
        .filter(sql::<Bool>("is_open"))
        .filter(hold::expires_at.gt(now));
    let held: i64 = each_backend!(conn, |c| query.load::<i64>(c))?.into_iter().sum();
    Ok(Balance {
        balance: points - debt,
        held,
        available: unexpired - held - debt,
    })
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
        .filter(settlement_window::state.ne("settled"))
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
