//! The night: when a window's time is over, close it, expire its lots, net it, write its statements. Safe to run twice, and after a kill at any point.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;

use crate::directory::Directory;
use crate::store;

/// Where the night writes, and how much it may do at once.
#[derive(Debug, Clone)]
pub struct Night {
    /// Whether a person has said that any number of windows may close at once.
    pub catch_up: bool,
    /// The folder of the statements.
    pub out: PathBuf,
}

impl Night {
    /// Does whatever is due at `now` and returns the business dates whose statements were written.
    pub fn run(&self, conn: &mut Conn, directory: &Arc<Directory>, now: Timestamp) -> anyhow::Result<Vec<Date>> {
        let most = Some(store::MOST_AT_ONCE).filter(|_| !self.catch_up);
        let closed = conn.transaction(|conn| -> Result<_, settlement::SettlementError> {
            store::lock_head(conn)?;
            settlement::close_due(conn, now, most)
        })?;
        for date in closed {
            tracing::info!(window = %date, "window closed");
        }
        for window in settlement::closed(conn)? {
            let lots = store::expire_lots(conn, directory, &window, now)?;
            tracing::info!(window = %window.business_date, lots_expired = lots, "what was due has expired");
        }
        let pending = settlement::pending(conn)?;
        for window in &pending {
            settlement::net(conn, window.business_date, now)?;
            let files = settlement::advise(conn, window.business_date, &self.out, now)?;
            tracing::info!(window = %window.business_date, files = files.len(), "statements written");
        }
        Ok(pending.into_iter().map(|w| w.business_date).collect())
    }
}
