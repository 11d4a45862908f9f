//! How far a window has come, asked before each phase.

use jiff::civil::Date;
use migrations::Conn;

use crate::error::SettlementError;
use crate::store::{self, State, Window};

/// The window, if it has come as far as `needed`.
pub fn reached(conn: &mut Conn, date: Date, needed: State) -> Result<Window, SettlementError> {
    let window = store::window(conn, date)?.ok_or(SettlementError::Unknown(date))?;
    if window.state < needed {
        return Err(SettlementError::NotYet {
            date,
            state: window.state,
            needed,
        });
    }
    Ok(window)
}
