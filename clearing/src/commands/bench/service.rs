//! The server while partners send to it, and what that takes.

use std::cell::RefCell;

use anyhow::Context;

use super::cpu;
use super::database::{self, Watch};
use super::drive::{self, Driven, Pace};
use super::load::{Request, Sent};
use super::report::{Paced, Series};
use super::server::{self, Server, tail};
use super::stand::Stand;
use super::times::{Times, share};
use super::way::Way;
use super::wire::Wire;
use crate::office::install;

/// What the server logs while it is measured.
pub(super) const QUIET: &str = "warn";
/// Of the measured rate, what is sent for the answer times: percent.
const PACE: u64 = 70;

/// The server in a process of its own, and the partners' connections to it.
pub(super) struct Bench<'a> {
    pub stand: &'a Stand,
    pub server: Server,
    pub wire: Wire,
    /// The database's processes for it, where it has any on this machine.
    database: Option<RefCell<Watch>>,
}

/// Processor time used so far, in nanoseconds.
struct Used {
    server: u64,
    database: Option<database::Times>,
    driver: u64,
}

/// What it took to drive some requests: nanoseconds, in all.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub messages: u64,
    /// By the clock.
    pub nanos: u64,
    pub server: u64,
    pub database: Option<u64>,
    pub driver: u64,
    pub latencies: Vec<u64>,
}

impl Run {
    /// Counts another run too.
    pub fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.nanos += other.nanos;
        self.server += other.server;
        self.database = other.database.map(|nanos| nanos + self.database.unwrap_or(0));
        self.driver += other.driver;
        self.latencies.extend(other.latencies);
    }

    /// What a message took.
    pub fn series(self, what: impl Into<String>) -> Series {
        let each = |nanos: u64| share(nanos, 1, self.messages);
        Series {
            what: what.into(),
            messages: self.messages,
            nanos: self.nanos,
            per_second: share(self.messages, 1_000_000_000, self.nanos),
            server: each(self.server),
            database: self.database.map(each),
            driver: each(self.driver),
            times: Times::of(self.latencies),
        }
    }
}

impl<'a> Bench<'a> {
    /// Starts the server, which logs what `levels` says.
    pub fn start(stand: &'a Stand, levels: &str) -> anyhow::Result<Self> {
        let sandbox = &stand.sandbox;
        let server = Server::start(&sandbox.folder.join(install::CONFIG), levels)?;
        Ok(Self {
            stand,
            wire: Wire::connect(stand, &format!("https://localhost:{}", server.port))?,
            database: Watch::open(&sandbox.config.database, server::database_name())?.map(RefCell::new),
            server,
        })
    }

    fn used(&self) -> anyhow::Result<Used> {
        let database = self.database.as_ref().map(|watch| watch.borrow_mut().look());
        Ok(Used {
            server: self.server.cpu()?,
            database: database.transpose()?,
            driver: cpu::process(std::process::id())?,
        })
    }

    /// Sends as fast as it goes.
    pub fn run(&self, what: &str, (requests, way): Sent) -> anyhow::Result<Run> {
        let before = self.used()?;
        let driven = self.send(what, (requests, way), Pace::InFlight(way.in_flight))?;
        let after = self.used()?;
        drive::check(requests, &driven.answers, &self.stand.sandbox.trust).context(way.what)?;
        let messages = requests.iter().map(|request| request.messages.len()).sum::<usize>();
        let database = before.database.zip(after.database);
        Ok(Run {
            messages: u64::try_from(messages)?,
            nanos: driven.nanos,
            server: after.server.saturating_sub(before.server),
            database: database.map(|(before, after)| database::between(&before, &after)),
            driver: after.driver.saturating_sub(before.driver),
            latencies: driven.latencies,
        })
    }

    /// Sends some as fast as it goes, and others at a rate that is a share of what came out.
    pub fn measure(&self, fast: &[Request], paced: &[Request], way: &Way) -> anyhow::Result<(Series, Paced)> {
        let series = self.run(way.what, (fast, way))?.series(way.what);
        let per_second = paced_rate(&series);
        let driven = self.send("at a rate", (paced, way), Pace::PerSecond(per_second))?;
        drive::check(paced, &driven.answers, &self.stand.sandbox.trust).context(way.what)?;
        let times = Times::of(driven.latencies);
        Ok((series, Paced { per_second, times }))
    }

    fn send(&self, what: &str, sent: Sent, pace: Pace) -> anyhow::Result<Driven> {
        let driven = drive::drive(&self.wire, what, sent, pace, |_| {});
        driven.with_context(|| format!("{what}; the server's log ends with\n{}", tail(&self.server.log)))
    }
}

/// The share of a rate that is sent for the answer times.
pub(super) fn paced_rate(fast: &Series) -> u64 {
    share(fast.per_second, PACE, 100).max(1)
}
