//! What partners may ask: balances and live positions.

use std::collections::HashSet;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use migrations::schema::{account, exposure, hold, lot, message, position, settlement_window};
use migrations::{Conn, DbError, each_backend};

use super::rows::held_lots;

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
        .filter(lot::expires_at.le(now));
    let expired: i64 = each_backend!(conn, |c| query.load::<i64>(c))?.into_iter().sum();
    let query = hold::table
        .select((hold::points, hold::lots))
        .filter(hold::programme.eq(programme))
        .filter(hold::member.eq(member))
        .filter(sql::<Bool>("is_open"))
        .filter(hold::expires_at.gt(now));
    let (mut held, mut lots) = (0, vec![]);
    for (points, of) in each_backend!(conn, |c| query.load::<(i64, String)>(c))? {
        held += points;
        lots.extend(held_lots(&of)?);
    }
    // Points that a hold keeps beyond their expiry are among those that have expired.
    let query = lot::table
        .select((lot::seq, lot::leg))
        .filter(lot::seq.eq_any(lots.iter().map(|(lot, _)| lot.seq)))
        .filter(lot::expires_at.le(now));
    let kept: HashSet<(i64, i32)> = match lots.is_empty() {
        true => HashSet::new(),
        false => each_backend!(conn, |c| query.load(c))?.into_iter().collect(),
    };
    let alive = lots.iter().filter(|(lot, _)| !kept.contains(&(lot.seq, lot.leg)));
    let held_alive: i64 = alive.map(|(_, points)| points).sum();
    Ok(Balance {
        balance: points - debt,
        held,
        available: points - expired - held_alive - debt,
    })
}

/// Whether a partner has dealings with a member: points that it pays or has paid for, or under its hold at `now`, in microseconds since 1970.
pub fn deals_with(conn: &mut Conn, partner: &str, programme: &str, member: &str, now: i64) -> Result<bool, DbError> {
    let funded = lot::table
        .filter(lot::programme.eq(programme))
        .filter(lot::member.eq(member))
        .filter(sql::<Bool>("remaining > 0"))
        .filter(lot::funder.eq(partner));
    if each_backend!(conn, |c| funded.count().get_result::<i64>(c))? > 0 {
        return Ok(true);
    }
    let held = hold::table
        .inner_join(message::table.on(message::seq.eq(hold::seq)))
        .filter(hold::programme.eq(programme))
        .filter(hold::member.eq(member))
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
