//! The night: when a window's time is over, close it, expire its lots, net it, write its statements. Safe to run twice, and after a kill at any point.
//!
//! One window's trouble is not another's. Whatever is closed is netted, oldest first, because a pair's residue is handed from each window to the next: after one
//! that can't be netted, the later ones wait. What is netted is advised, each window apart. Posting and closing go on through all of it.

pub mod trouble;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use settlement::{Pace, Payments, State, Window};

use crate::clock::Clock;
use crate::documents::settled;
use crate::night::trouble::{Phase, Troubles};
use ledger::directory::Directory;
use store;

/// Where the night writes, and how much it may do at once.
#[derive(Debug, Clone)]
pub struct Night {
    /// Whether a person has said that any number of windows may close at once.
    pub catch_up: bool,
    /// The folder of the statements.
    pub out: PathBuf,
    /// What didn't go well, for the health check.
    pub troubles: Troubles,
}

impl Night {
    /// A night that writes there, without any trouble yet.
    pub fn new(out: PathBuf) -> Self {
        Self {
            catch_up: false,
            out,
            troubles: Troubles::default(),
        }
    }

    /// Does whatever is due and returns the business dates whose statements were written. An error says which windows have trouble, and why; all
    /// that doesn't depend on them was done. Where another process is at it, this one waits, and does what is left.
    pub fn run(&self, conn: &mut Conn, directory: &Arc<Directory>, clock: &Clock) -> anyhow::Result<Vec<Date>> {
        if let Some(done) = store::turn::if_free(conn, |conn| self.run_alone(conn, directory, clock))? {
            return Ok(done);
        }
        tracing::info!("another process does the night; this one waits, and does what is left");
        store::turn::once_free(conn, |conn| self.run_alone(conn, directory, clock))
    }

    fn run_alone(&self, conn: &mut Conn, directory: &Arc<Directory>, clock: &Clock) -> anyhow::Result<Vec<Date>> {
        let closed = self.close_all(conn, clock.now());
        let settled = self.settle_closed(conn, directory, clock, |_| true);
        closed?;
        let settled = settled?;
        match self.troubles.text() {
            Some(text) => Err(anyhow::anyhow!(text)),
            None => Ok(settled),
        }
    }

    /// The same for whoever looks every second: a window that has trouble is tried again after a while that grows up to a minute.
    /// While another process does the night, there is nothing to do.
    pub fn look(&self, conn: &mut Conn, directory: &Arc<Directory>, clock: &Clock) -> anyhow::Result<()> {
        let look = |conn: &mut Conn| {
            let closed = self.close_all(conn, clock.now());
            self.settle_closed(conn, directory, clock, |date| self.troubles.may_try(date))?;
            closed
        };
        store::turn::if_free(conn, look).map(|_| ())
    }

    /// Closes whatever is due, where no posting has.
    fn close_all(&self, conn: &mut Conn, now: Timestamp) -> anyhow::Result<()> {
        let most = Some(store::MOST_AT_ONCE).filter(|_| !self.catch_up);
        let closed = conn.transaction(|conn| -> Result<_, settlement::SettlementError> {
            store::lock_head(conn)?;
            settlement::close_due(conn, now, most)
        })?;
        for date in closed {
            tracing::info!(window = %date, "window closed");
        }
        Ok(())
    }

    /// Expires, nets and advises all windows that are closed; returns those whose statements were written.
    fn settle_closed(
        &self,
        conn: &mut Conn,
        directory: &Arc<Directory>,
        clock: &Clock,
        may_try: impl Fn(Date) -> bool,
    ) -> anyhow::Result<Vec<Date>> {
        let pending = settlement::pending(conn)?;
        self.troubles.keep(|date| pending.iter().any(|window| window.business_date == date));
        let (mut settled, mut unnetted) = (vec![], None);
        for window in &pending {
            let (date, phase) = (window.business_date, phase(window));
            if let (Phase::Net, Some(earlier)) = (phase, unnetted) {
                self.troubles.waits(date, earlier, clock.now());
                continue;
            }
            let done = may_try(date).then(|| self.try_bring(conn, directory, window, clock));
            match done {
                Some(Ok(files)) => {
                    self.troubles.over(date);
                    tracing::info!(window = %date, files, "statements written");
                    settled.push(date);
                }
                Some(Err((phase, error))) => {
                    tracing::error!(window = %date, phase = phase.as_str(), error = format!("{error:#}"), "the night has trouble with a window; it is tried again");
                    self.troubles.note(date, phase, format!("{error:#}"), clock.now());
                    unnetted = unnetted.or((phase == Phase::Net).then_some(date));
                }
                None => unnetted = unnetted.or((phase == Phase::Net).then_some(date)),
            }
        }
        Ok(settled)
    }

    /// A panic is a fault of ours: it is this window's trouble, and nobody else's.
    fn try_bring(
        &self,
        conn: &mut Conn,
        directory: &Arc<Directory>,
        window: &Window,
        clock: &Clock,
    ) -> Result<usize, (Phase, anyhow::Error)> {
        let brought = catch_unwind(AssertUnwindSafe(|| self.bring(conn, directory, window, clock)));
        brought.unwrap_or_else(|_| {
            conn.reset();
            Err((phase(window), anyhow::anyhow!("a panic; the log has it")))
        })
    }

    /// Brings one window to its statements; how many files, or in which phase it failed. The clock is read for each step: a night may take long.
    fn bring(&self, conn: &mut Conn, directory: &Arc<Directory>, window: &Window, clock: &Clock) -> Result<usize, (Phase, anyhow::Error)> {
        let date = window.business_date;
        if window.state < State::Netted {
            let lots =
                store::expire_lots(conn, directory, window, || clock.now().as_microsecond()).map_err(|error| (Phase::Net, error.into()))?;
            tracing::info!(window = %date, lots_expired = lots, "what was due has expired");
        }
        settlement::net(conn, date, clock.now(), Pace::Gentle, Payments::OneByOne).map_err(|error| (Phase::Net, error.into()))?;
        let files = settlement::advise(conn, date, &self.out, clock.now(), Pace::Gentle, settled::advised);
        let files = files.map_err(|error| (Phase::Advise, error.into()))?;
        Ok(files.len())
    }
}

fn phase(window: &Window) -> Phase {
    if window.state < State::Netted { Phase::Net } else { Phase::Advise }
}
