//! At which rates a window will be converted: said by a document, before it is netted.

use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::fx::FxTerms;

use crate::error::SettlementError;
use crate::store::{self, State};

/// Whether a window can still be given rates, or others: it is there, and isn't netted.
pub fn may_convert(conn: &mut Conn, date: Date) -> Result<(), SettlementError> {
    let window = store::window(conn, date)?.ok_or(SettlementError::Unknown(date))?;
    if window.state > State::Closed {
        return Err(SettlementError::Netted(date));
    }
    Ok(())
}

/// Puts a window's rates in force, by a document, in place of those that it has: the night converts by them. For a transaction that has locked the ledger, in which the terms were found without fault.
pub fn convert_locked(conn: &mut Conn, terms: &FxTerms, by: &str) -> Result<(), SettlementError> {
    may_convert(conn, terms.business_date)?;
    Ok(store::put_rates(conn, terms, by)?)
}
