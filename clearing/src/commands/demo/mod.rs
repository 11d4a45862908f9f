//! The demo: the real service with a throwaway PKI, partners played through the SDK over mutual TLS, a closed day, and what came of it.

mod baskets;
mod day;
mod desk;
mod random;
mod replay;
mod report;
pub mod sandbox;
mod traffic;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;

use crate::clock::Clock;
use ledger::network::Network;
use report::Report;
use sandbox::Sandbox;

/// What the demo is asked to play.
#[derive(Debug, Args)]
pub struct Options {
    /// A network file; without it the demo makes up a trading day.
    #[arg(long, requires = "baskets")]
    pub network: Option<PathBuf>,
    /// A file of purchases to replay day by day: see docs/OPERATIONS.md for its columns.
    #[arg(long, requires = "network")]
    pub baskets: Option<PathBuf>,
    /// Where statements are written; the sandbox itself is kept in its folder `sandbox`, so that a second run finds it again.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// A PostgreSQL URL of an empty database instead of SQLite.
    #[arg(long)]
    pub database: Option<String>,
    /// What the made-up trading day is drawn from: the same seed gives the same day.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The made-up day's network.
const TRADING_DAY: &str = include_str!("../../../../docs/examples/trading-day.toml");

/// Plays the demo and prints what came of it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    crate::telemetry::init_quiet();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match (&options.network, &options.baskets) {
        (Some(network), Some(file)) => {
            let network = crate::office::network_file::read_whole(network)?;
            let rows = baskets::read(file)?;
            let Some(first) = rows.first() else {
                bail!("{} has no purchases", file.display())
            };
            let mut sandbox = open(options, &network, first.occurred_at)?;
            let report = runtime.block_on(replay::replay(&mut sandbox, &network, &rows))?;
            finish(&mut sandbox, report)
        }
        _ => {
            let network = Network::parse(TRADING_DAY)?;
            let opening: Timestamp = "2026-11-20T00:00:00Z".parse()?;
            let mut sandbox = open(options, &network, opening)?;
            let report = runtime.block_on(day::play(&mut sandbox, &network, options.seed))?;
            finish(&mut sandbox, report)
        }
    }
}

fn open(options: &Options, network: &Network, now: Timestamp) -> anyhow::Result<Sandbox> {
    let out = match &options.out {
        Some(out) => out.clone(),
        None => std::env::temp_dir().join(format!("points-clearing-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let database = options.database.as_deref().unwrap_or("clearing.db");
    let mut sandbox = Sandbox::open(&out.join("sandbox"), database, network, Clock::sandbox(now))?;
    sandbox.statements_in(&out);
    sandbox.start()?;
    Ok(sandbox)
}

fn finish(sandbox: &mut Sandbox, mut report: Report) -> anyhow::Result<()> {
    sandbox.stop();
    report.check(sandbox)?;
    report.hand_out(sandbox)?;
    Ok(crate::commands::out::raw(&report.text(&sandbox.config.statements))?)
}
