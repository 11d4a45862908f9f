//! How fast the service is, as a share of what the machine at hand allows.
//!
//! | part | what | where |
//! |---|---|---|
//! | load | a network, signed messages | `load` |
//! | server | `clearing serve` in a process of its own | `server` |
//! | drive | batches, then singles, over mutual TLS | `drive` |
//! | floors | what verification, a request and the durable write cost by themselves | `floors` |
//! | kinds | what a message of each kind costs | `kinds` |
//! | report | each figure beside its bound | `report` |
//! | night | what those who post feel of very many lots that expire | `night` |
//!
//! The driver shares the processors with the server, so it does little: one thread, bodies made beforehand, answers kept as text. Every
//! answer is checked all the same, signature included, once the clock has stopped.

mod drive;
mod floors;
mod kinds;
mod load;
mod night;
mod report;
mod server;

use std::path::Path;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use partner_sdk::client::Client;

use crate::clock::Clock;
use crate::commands::demo::sandbox::{Party, Sandbox};
use crate::office::install;
use drive::Driven;
use load::{Load, Request};
use report::{Floors, Report, Series};
use server::Server;
use store::Scratch;

/// What is measured, and with how much.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// `sqlite`: a file in a temporary folder. Or a PostgreSQL URL: two scratch schemas are made in its database, and dropped at the end.
    #[arg(long, default_value = "sqlite")]
    pub database: String,
    /// Messages sent in batches, and as many again one by one.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=500_000))]
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
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Batches on their way at the same time.
const BATCHES_IN_FLIGHT: usize = 8;
/// Singles on their way at the same time.
const SINGLES_IN_FLIGHT: usize = 64;

/// Measures and prints. An error says that the measurement itself failed; a figure below its mark is no error.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(lots) = options.night {
        return night::run(options, lots);
    }
    if options.kinds {
        return kinds::run(options);
    }
    let report = measure(options)?;
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
    let server = Server::start(&folder.join(install::CONFIG))?;
    let bench = Bench {
        clients: connect(&sandbox, &parties, &server)?,
        server,
    };
    bench.drive("opening balances", &load.opening, "/v1/batches", BATCHES_IN_FLIGHT, &sandbox)?;
    let directory = store::load_directory(&mut sandbox.database()?)?;
    let verify = floors::verify(&load, &directory)?;
    let batches = bench.drive("batches", &load.batches, "/v1/batches", BATCHES_IN_FLIGHT, &sandbox)?;
    let write = floors::write(floor.url(), &network, &directory, &load)?;
    let tls = floors::request(&bench.clients, &load)?;
    let singles = bench.drive("singles", &load.singles, "/v1/messages", SINGLES_IN_FLIGHT, &sandbox)?;
    bench.server.stop()?;
    let floors = Floors { verify, write, tls };
    Ok(Report::new(options, floors, batches, singles))
}

/// The server and the partners' connections to it.
struct Bench {
    server: Server,
    clients: Vec<Client>,
}

impl Bench {
    fn drive(&self, what: &'static str, requests: &[Request], path: &str, in_flight: usize, sandbox: &Sandbox) -> anyhow::Result<Series> {
        let bar = progress(what, requests.len());
        let before = self.server.cpu_nanos();
        let Driven { nanos, latencies, answers } = drive::drive(&self.clients, requests, path, in_flight, &bar)?;
        let cpu = self
            .server
            .cpu_nanos()
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before));
        bar.finish_and_clear();
        drive::check(requests, &answers, &sandbox.trust).context(what)?;
        let messages: usize = requests.iter().map(|request| request.messages.len()).sum();
        Ok(Series::new(what, messages, nanos, latencies, cpu))
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
