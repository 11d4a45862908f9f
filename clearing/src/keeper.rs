//! Threads that look again every second: for what has changed outside the process, for exchanges without an answer, and for windows whose time is over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use migrations::{Conn, Url};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::edge::failures::Failures;
use crate::edge::tls::{Files, Live};
use crate::night::Night;
use crate::posting::writer::Reference;
use store::{self, events, pending};

/// How often a keeper looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A thread that looks, and tries again where it failed.
pub struct Keeper {
    thread: JoinHandle<()>,
    stop: Arc<(Mutex<bool>, Condvar)>,
}

impl Keeper {
    /// Looks for changed reference data, changed TLS files and new events. It has a thread of its own: a night that takes minutes must not delay a revocation.
    pub fn watch(
        url: Url,
        conn: Conn,
        reference: Reference,
        mut files: Files,
        live: Live,
        news: watch::Sender<i64>,
    ) -> std::io::Result<Self> {
        let mut conn = Some(conn);
        Self::start("watch", move || {
            files.look(&live);
            with(&url, &mut conn, |conn| {
                refresh(conn, &reference)?;
                store::grow(conn)?;
                // Other processes append events too.
                let newest = events::newest(conn)?;
                news.send_if_modified(|known| std::mem::replace(known, newest) != newest);
                Ok(())
            })
        })
    }

    /// Asks issuers again that haven't said whether they credited an exchange.
    pub fn exchanges(url: Url, reference: Reference, clock: Clock, news: watch::Sender<i64>) -> std::io::Result<Self> {
        let mut conn = None;
        Self::start("exchanges", move || {
            let directory = reference.get();
            if !directory.any_external() {
                return Ok(());
            }
            with(&url, &mut conn, |conn| {
                if pending::ask_again(conn, &directory, clock.now().as_microsecond())? > 0 {
                    news.send_replace(events::newest(conn)?);
                }
                Ok(())
            })
        })
    }

    /// Sums up failed authentication that was counted and not logged.
    pub fn failures(failures: Failures) -> std::io::Result<Self> {
        Self::start("failures", move || {
            failures.look();
            Ok(())
        })
    }

    /// Closes, nets and advises windows whose time is over.
    pub fn night(url: Url, reference: Reference, clock: Clock, night: Night) -> std::io::Result<Self> {
        let mut conn = None;
        Self::start("night", move || {
            with(&url, &mut conn, |conn| {
                refresh(conn, &reference)?;
                night.look(conn, &reference.get(), &clock)
            })
        })
    }

    fn start(name: &str, mut look: impl FnMut() -> anyhow::Result<()> + Send + 'static) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let signal = stop.clone();
        let body = move || {
            loop {
                // A panic is a fault of ours; what the look held is gone with it, and the next one starts anew.
                match catch_unwind(AssertUnwindSafe(&mut look)) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(error = format!("{error:#}"), "housekeeping failed; it is tried again"),
                    Err(_) => tracing::error!("housekeeping panicked; it is tried again"),
                }
                let stopped = signal.0.lock().unwrap_or_else(|e| e.into_inner());
                let waited = signal.1.wait_timeout_while(stopped, LOOK_EVERY, |stopped| !*stopped);
                if waited.is_ok_and(|(stopped, _)| *stopped) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(body)?;
        Ok(Self { thread, stop })
    }

    /// Ends the thread, after what it is doing now.
    pub fn stop(self) {
        *self.stop.0.lock().unwrap_or_else(|e| e.into_inner()) = true;
        self.stop.1.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("a keeper had panicked");
        }
    }
}

/// Runs `body` on the connection; whatever fails, the next look has a new one.
fn with(url: &Url, conn: &mut Option<Conn>, body: impl FnOnce(&mut Conn) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut open = conn.take().map_or_else(|| Conn::open(url), Ok)?;
    body(&mut open)?;
    *conn = Some(open);
    Ok(())
}

/// Reads the reference data again where it has grown.
fn refresh(conn: &mut Conn, reference: &Reference) -> anyhow::Result<()> {
    if store::directory_version(conn)? != reference.get().version {
        let directory = conn.snapshot(store::load_directory)?;
        reference.put(&Arc::new(directory));
    }
    Ok(())
}
