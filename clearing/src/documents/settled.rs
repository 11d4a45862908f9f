//! That the payments of a window were made: two people confirm it, once, and everybody whom it concerns is told.

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::{Code, Problem};
use settlement::SettlementError;

use super::{Done, Fault, fact, tell};

/// Whether a window's payments can be confirmed now.
pub fn check(conn: &mut Conn, date: Date) -> Done<()> {
    settlement::may_settle(conn, date).map_err(fault)
}

/// Takes the window's debts out of what counts against net debit caps.
pub fn take_effect(conn: &mut Conn, date: Date, hash: &str, now: Timestamp) -> Done<()> {
    settlement::settle_locked(conn, date, now, hash).map_err(fault)?;
    let parties = settlement::parties(conn, date)?;
    let whom: Vec<&str> = parties.iter().map(String::as_str).collect();
    Ok(tell(
        conn,
        now,
        &whom,
        "window.settled",
        &date.to_string(),
        &[fact("change", hash)],
    )?)
}

fn fault(error: SettlementError) -> Fault {
    let code = match &error {
        SettlementError::Settled(_) => Code::AlreadySettled,
        SettlementError::Unknown(_) | SettlementError::NotYet { .. } => Code::BadTerms,
        _ => return Fault::Db(migrations::DbError::Corrupt(error.to_string())),
    };
    Problem::new(code, error.to_string()).at(Some("business_date")).into()
}
