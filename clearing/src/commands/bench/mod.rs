//! How fast the service is, as a share of what the machine at hand allows.
//!
//! | part | what | where |
//! |---|---|---|
//! | load | a network, signed messages | `load` |
//! | server | `clearing serve` in a process of its own | `server` |
//! | drive | batches, then singles, over mutual TLS: as fast as it goes, and at a rate | `drive` |
//! | processors | what threads and processes use, the database's too | `cpu`, `database` |
//! | floors | what verification and a request cost by themselves | `floors` |
//! | write | what the durable write of the same rows costs, coded apart from the store | `write` |
//! | phases | where the ledger's thread spends its time | `phases` |
//! | kinds | what a message of each kind costs | `kinds` |
//! | report | each figure beside its floor, as text, JSON and a picture | `report`, `times`, `svg` |
//! | night | what those who post feel of very many lots that expire | `night` |
//! | again | how fast the check does again what was posted | `again` |
//!
//! The driver shares the processors with the server, so it does little: one thread, bodies made beforehand, answers kept as text. Every
//! answer is checked all the same, signature included, once the clock has stopped.

mod again;
mod cpu;
mod database;
mod drive;
mod floors;
mod kinds;
mod load;
mod night;
mod phases;
mod report;
mod server;
mod svg;
mod times;
mod write;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use partner_sdk::client::Client;

use crate::clock::Clock;
use crate::commands::demo::sandbox::{Party, Sandbox};
use crate::office::install;
use database::Watch;
use drive::{Driven, Pace};
use load::{Load, Request};
use phases::Phases;
use report::{Floors, Measured, Paced, Report, Series};
use server::Server;
use store::Scratch;
use times::{Times, share};

/// What is measured, and with how much.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// `sqlite`: a file in a temporary folder. Or a PostgreSQL URL: two scratch schemas are made in its database, and dropped at the end.
    #[arg(long, default_value = "sqlite")]
    pub database: String,
    /// Messages sent in batches, and as many again one by one; of each as many once more at a rate.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    pub messages: u32,
    /// Members whose accounts they touch.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    pub members: u32,
    /// Partners that send them, each on a connection of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub partners: u32,
    /// Measure a night instead: so many lots expire at one cut-off while messages are posted.
    #[arg(long, value_name = "LOTS", conflicts_with = "json")]
    pub night: Option<u32>,
    /// Measure instead what a message of each kind costs: so many of each, in batches.
    #[arg(long, conflicts_with_all = ["json", "night"])]
    pub kinds: bool,
    /// Measure instead how fast `clearing check` does again what was posted. The clearinghouse is made in this new folder, and left there where it is on SQLite.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["json", "night", "kinds", "svg"])]
    pub check: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Draw the result too, into a file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["night", "kinds"])]
    pub svg: Option<PathBuf>,
}

/// What the server logs while it is measured.
const QUIET: &str = "warn";
/// Batches on their way at the same time.
const BATCHES_IN_FLIGHT: usize = 16;
/// Singles on their way at the same time.
const SINGLES_IN_FLIGHT: usize = 64;
/// Connections that are there before anything is measured, so that none is made meanwhile.
const CONNECTIONS: usize = 256;
/// Of the measured rate, what is sent for the answer times: percent.
const PACE: u64 = 70;

/// Measures and prints. An error says that the measurement itself failed; a figure below its mark is no error.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(lots) = options.night {
        return night::run(options, lots);
    }
    if options.kinds {
        return kinds::run(options);
    }
    if let Some(folder) = &options.check {
        return again::run(options, folder);
    }
    let report = measure(options)?;
    if let Some(file) = &options.svg {
        std::fs::write(file, svg::draw(&report)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if options.json {
        crate::commands::out::lines(&serde_json::to_string_pretty(&report)?)?;
    } else {
        crate::commands::out::lines(&report.to_string())?;
    }
    Ok(())
}

fn measure(options: &Options) -> anyhow::Result<Report> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let [service, floor] = ["service", "floor"].map(|name| Scratch::create(&options.database, temporary.path(), name));
    let (service, floor) = (service?, floor?);
    let network = load::network(options.partners)?;
    let folder = temporary.path().join("clearinghouse");
    let sandbox = Sandbox::open(&folder, service.url(), &network, Clock::System)?;
    let parties: Vec<&Party> = sandbox.parties.values().filter(|party| party.id.as_str() != load::ISSUER).collect();
    let load = Load::sign(options, &parties)?;
    let bench = Bench::start(&sandbox, &parties, QUIET)?;
    bench.drive("opening balances", &load.opening, &BATCHES, &sandbox)?;
    let directory = store::load_directory(&mut sandbox.database()?)?;
    let verify = floors::verify(&load, &directory)?;
    floors::refused(&bench, &load, 2 * CONNECTIONS, CONNECTIONS)?;
    let batches = bench.measure(&load.batches, &load.paced_batches, &BATCHES, &sandbox)?;
    let (write_batches, write_singles) = write::measure(floor.url(), temporary.path(), &network, &directory, &load)?;
    let request = floors::request(&bench, &load)?;
    floors::refused(&bench, &load, 2 * CONNECTIONS, CONNECTIONS)?;
    let singles = bench.measure(&load.singles, &load.paced_singles, &SINGLES, &sandbox)?;
    bench.server.stop()?;
    let [of_batches, of_singles] = trace(&load, &parties, &sandbox)?;
    let floors = Floors {
        verify,
        request,
        write_batches,
        write_singles,
    };
    let [batches, singles] =
        [(batches, of_batches), (singles, of_singles)].map(|((series, paced), phases)| Measured { series, paced, phases });
    Ok(Report::new(options, floors, batches, singles))
}

/// The phases of the ledger's transactions, for batches and for singles.
fn trace(load: &Load, parties: &[&Party], sandbox: &Sandbox) -> anyhow::Result<[Option<Phases>; 2]> {
    let bench = Bench::start(sandbox, parties, phases::LEVELS)?;
    bench.drive("phases of batches", &load.traced_batches, &BATCHES, sandbox)?;
    let before = bench.server.logged()?;
    bench.drive("phases of singles", &load.traced_singles, &SINGLES, sandbox)?;
    let all = bench.server.logged()?;
    bench.server.stop()?;
    let after = all.get(before.len()..).unwrap_or_default();
    Ok([&before, after].map(Phases::read))
}

/// One way of sending.
struct Way {
    what: &'static str,
    path: &'static str,
    in_flight: usize,
}

const BATCHES: Way = Way {
    what: "batches",
    path: "/v1/batches",
    in_flight: BATCHES_IN_FLIGHT,
};
const SINGLES: Way = Way {
    what: "singles",
    path: "/v1/messages",
    in_flight: SINGLES_IN_FLIGHT,
};

/// The server and the partners' connections to it.
struct Bench {
    server: Server,
    clients: Vec<Client>,
    /// The clients' connections live in it.
    runtime: tokio::runtime::Runtime,
    /// The database's processes for it, where it has any on this machine.
    database: Option<RefCell<Watch>>,
}

/// Processor time used so far, in nanoseconds.
struct Used {
    server: u64,
    database: Option<database::Times>,
    driver: u64,
}

impl Bench {
    /// Starts the server, which logs what `levels` says.
    fn start(sandbox: &Sandbox, parties: &[&Party], levels: &str) -> anyhow::Result<Self> {
        let server = Server::start(&sandbox.folder.join(install::CONFIG), levels)?;
        Ok(Self {
            clients: connect(sandbox, parties, &server)?,
            runtime: drive::runtime()?,
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
    fn drive(&self, what: &'static str, requests: &[Request], way: &Way, sandbox: &Sandbox) -> anyhow::Result<Series> {
        let before = self.used()?;
        let driven = self.send(what, requests, way, Pace::InFlight(way.in_flight))?;
        let after = self.used()?;
        drive::check(requests, &driven.answers, &sandbox.trust).context(what)?;
        let messages = requests.iter().map(|request| request.messages.len()).sum::<usize>();
        let messages = u64::try_from(messages)?;
        let each = |before: u64, after: u64| share(after.saturating_sub(before), 1, messages);
        let database = before.database.zip(after.database);
        Ok(Series {
            what,
            messages,
            nanos: driven.nanos,
            per_second: share(messages, 1_000_000_000, driven.nanos),
            server: each(before.server, after.server),
            database: database.map(|(before, after)| share(database::between(&before, &after), 1, messages)),
            driver: each(before.driver, after.driver),
            times: Times::of(driven.latencies),
        })
    }

    /// Sends some as fast as it goes, and others at a rate that is a share of what came out.
    fn measure(&self, fast: &[Request], paced: &[Request], way: &Way, sandbox: &Sandbox) -> anyhow::Result<(Series, Paced)> {
        let series = self.drive(way.what, fast, way, sandbox)?;
        let per_second = share(series.per_second, PACE, 100).max(1);
        let driven = self.send("at a rate", paced, way, Pace::PerSecond(per_second))?;
        drive::check(paced, &driven.answers, &sandbox.trust).context(way.what)?;
        let times = Times::of(driven.latencies);
        Ok((series, Paced { per_second, times }))
    }

    fn send(&self, what: &'static str, requests: &[Request], way: &Way, pace: Pace) -> anyhow::Result<Driven> {
        let bar = progress(what, requests.len());
        let driven = drive::drive(self, requests, way.path, pace, &bar);
        let driven = driven.with_context(|| format!("{what}; the server's log ends with\n{}", tail(&self.server.log)))?;
        bar.finish_and_clear();
        Ok(driven)
    }
}

fn connect(sandbox: &Sandbox, parties: &[&Party], server: &Server) -> anyhow::Result<Vec<Client>> {
    let base = format!("https://localhost:{}", server.port);
    let connect = |party: &&Party| Ok(Client::new(&base, &party.identity, sandbox.trust.clone())?);
    parties.iter().map(connect).collect()
}

/// A bar on standard error; where that is no terminal, nothing.
fn progress(what: &'static str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(steps).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} {elapsed}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}

/// The end of the server's log, for the error that explains why there is no figure.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
