//! The clearinghouse under measurement, its server, the partners' connections to it, and the ways in which they send.

use std::cell::RefCell;
use std::path::Path;

use anyhow::Context;
use partner_sdk::client::Client;
use tokio::runtime::{self, Runtime};

use super::database::{self, Watch};
use super::drive::{self, Driven, Pace};
use super::load::{self, Request};
use super::report::{Paced, Series};
use super::server::{self, Server};
use super::times::{Times, share};
use super::{cpu, progress};
use crate::clock::Clock;
use crate::commands::demo::sandbox::{Party, Sandbox};
use crate::office::install;
use ledger::network::Network;
use store::Scratch;

/// What the server logs while it is measured.
pub(super) const QUIET: &str = "warn";
/// Connections that are there before anything is measured, so that none is made meanwhile: of a partner, half of what a service lets it have, and of all.
const OF_A_PARTNER: usize = 64;
const CONNECTIONS: usize = 256;
/// Of the measured rate, what is sent for the answer times: percent.
const PACE: u64 = 70;

/// How the messages of a request are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Each by itself, a line for each.
    Lines,
    /// All by one signature.
    Signed,
}

/// One way of sending.
pub(super) struct Way {
    pub what: &'static str,
    path: &'static str,
    /// Messages in a request.
    pub size: usize,
    pub form: Form,
    /// Requests on their way at the same time.
    pub in_flight: usize,
}

pub(super) const BATCHES: Way = Way {
    what: "batches",
    path: "/v1/batches",
    size: 100,
    form: Form::Lines,
    in_flight: 16,
};
pub(super) const SINGLES: Way = Way {
    what: "singles",
    path: "/v1/messages",
    size: 1,
    form: Form::Lines,
    in_flight: 64,
};
/// No partner ever has more waiting than its share of the queue.
pub(super) const SIGNED: Way = Way {
    what: "signed",
    path: "/v1/signed-batches",
    size: 1_000,
    form: Form::Signed,
    in_flight: 4,
};

/// A clearinghouse on a database that is gone afterwards.
pub(super) struct Stand {
    pub sandbox: Sandbox,
    /// Those who send.
    pub parties: Vec<Party>,
    // Dropped last.
    _scratch: Scratch,
}

impl Stand {
    /// The bench's own network with so many shops, made in `folder`.
    pub fn open(folder: &Path, database: &str, shops: u32) -> anyhow::Result<Self> {
        Self::with(folder, database, &load::network(shops)?, Clock::System)
    }

    pub fn with(folder: &Path, database: &str, network: &Network, clock: Clock) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let scratch = Scratch::create(database, folder, "service")?;
        let sandbox = Sandbox::open(folder, scratch.url(), network, clock)?;
        let shops = sandbox.parties.values().filter(|party| party.id.as_str() != load::ISSUER);
        Ok(Self {
            parties: shops.cloned().collect(),
            sandbox,
            _scratch: scratch,
        })
    }
}

/// The partners' connections.
pub(super) struct Wire {
    pub clients: Vec<Client>,
    /// The connections live in it. It is one thread, which sends and receives all: the other processors are the server's. It works on between what is sent, so that a connection
    /// that was half made is made, and one that the server has ended is seen.
    runtime: Runtime,
}

impl Wire {
    pub fn connect(stand: &Stand, base: &str) -> anyhow::Result<Self> {
        let connect = |party: &Party| Ok(Client::new(base, &party.identity, stand.sandbox.trust.clone())?);
        Ok(Self {
            clients: stand.parties.iter().map(connect).collect::<anyhow::Result<_>>()?,
            runtime: runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?,
        })
    }

    /// How many connections there are. Whoever has more requests on their way at once makes further ones, and the service closes those that a partner has too many.
    pub fn connections(&self) -> usize {
        CONNECTIONS.min(OF_A_PARTNER * self.clients.len())
    }

    /// Runs something on the connections' own thread.
    pub fn run<T: Send + 'static>(&self, body: impl Future<Output = anyhow::Result<T>> + Send + 'static) -> anyhow::Result<T> {
        self.runtime.block_on(self.runtime.spawn(body)).context("the driver panicked")?
    }

    /// Sends all, and tells `answered` the number of each request that is. Nobody has looked at the answers yet.
    pub fn drive(
        &self,
        what: &str,
        (requests, way): Sent,
        pace: Pace,
        answered: impl Fn(usize) + Send + Sync + 'static,
    ) -> anyhow::Result<Driven> {
        let bar = progress(what, requests.len());
        let moved = bar.clone();
        let driven = drive::drive(self, requests, way.path, pace, move |no| {
            moved.inc(1);
            answered(no);
        })?;
        bar.finish_and_clear();
        Ok(driven)
    }
}

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
        let driven = self.wire.drive(what, sent, pace, |_| {});
        driven.with_context(|| format!("{what}; the server's log ends with\n{}", tail(&self.server.log)))
    }
}

/// What is sent, and which way.
pub(super) type Sent<'a> = (&'a [Request], &'a Way);

/// The share of a rate that is sent for the answer times.
pub(super) fn paced_rate(fast: &Series) -> u64 {
    share(fast.per_second, PACE, 100).max(1)
}

/// The end of the server's log, for the error that explains why there is no figure.
pub(super) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
