//! The night: when a window's time is over, expire lots, close it, net it, write its statements. Safe to run twice, and after a kill at any point.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;

use crate::directory::Directory;
use crate::store;

/// Where the night writes.
#[derive(Debug, Clone)]
pub struct Night {
    /// The folder of the statements.
    pub out: PathBuf,
}

impl Night {
    /// Does whatever is due at `now` and returns the business dates whose statements were written.
    pub fn run(&self, conn: &mut Conn, directory: &Arc<Directory>, now: Timestamp) -> anyhow::Result<Vec<Date>> {
        loop {
            let window = settlement::open_window(conn)?;
            if window.cut_off_at > now {
                break;
            }
            let lots = store::expire_lots(conn, directory, window.cut_off_at, now)?;
            let closed = settlement::close_due(conn, now)?;
            match closed {
                Some(date) => tracing::info!(window = %date, lots_expired = lots, "window closed"),
                None => {
                    tracing::info!(window = %window.business_date, lots_expired = lots, "lots expired; another process closed the window")
                }
            }
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
