//! How a night with very many expired lots treats those who post meanwhile, and what a member with very many lots costs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::ToSpan;
use partner_sdk::Body;
use partner_sdk::client::Client;
use serde::Serialize;

use super::args::Night;
use super::drive::{nanos_since, runtime};
use super::fill::{burn_of, earn_for, fill, message};
use super::network;
use super::report::Machine;
use super::show::tell;
use super::stand::Stand;
use super::times::Times;
use crate::clock::Clock;
use crate::commands::demo::sandbox::{Party, Sandbox};

/// The lots of the member that has very many.
const MANY: u32 = 30_000;
/// Messages on their way at the same time while the night runs.
const IN_FLIGHT: usize = 4;

#[derive(Serialize)]
struct Report {
    machine: Machine,
    lots: u32,
    seconds: u64,
    before: Times,
    meanwhile: Times,
    many: Times,
}

/// Fills a ledger with lots that expire at one cut-off, lets the night come and posts meanwhile.
pub(super) fn run(options: &Night) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let mut network = network::of(1)?;
    network.programmes[0].expires_after = Some("1 day".into());
    let start = "2026-11-20T02:00:00Z".parse()?;
    let mut stand = Stand::with(temporary.path(), &options.at.database, &network, Clock::sandbox(start))?;
    stand.sandbox.start()?;
    let (sandbox, party, lots) = (&stand.sandbox, &stand.parties[0], options.lots);
    fill(sandbox, 0..lots, |no| Ok((party, earn_for(&format!("m{no}"))?)))?;
    // These live a day longer.
    sandbox.clock.set(start.checked_add(24.hours())?);
    fill(sandbox, 0..MANY, |_| Ok((party, earn_for("many")?)))?;
    sandbox.clock.set(start.checked_add(38.hours())?);
    let client = sandbox.client(&party.id)?;
    let quiet = runtime()?.block_on(post(sandbox, party, &client, |sent| sent >= 500, earn))?;
    let (done, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let (meanwhile, took) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let night = scope.spawn(|| {
            let dates = sandbox.close_due();
            let took = began.elapsed();
            done.store(true, Ordering::SeqCst);
            dates.map(|dates| (dates, took))
        });
        let meanwhile = runtime()?.block_on(post(sandbox, party, &client, |_| done.load(Ordering::SeqCst), earn));
        let (dates, took) = night.join().map_err(|_| anyhow::anyhow!("the night panicked"))??;
        ensure!(dates.len() == 2, "the windows of two days close, not {}", dates.len());
        Ok((meanwhile?, took))
    })?;
    let many = runtime()?.block_on(post(sandbox, party, &client, |sent| sent >= 500, |_| burn_of("many", "250")))?;
    stand.sandbox.stop();
    let findings = store::books::check(&mut stand.sandbox.database()?)?;
    ensure!(findings.is_empty(), "the books don't balance: {findings:?}");
    let report = Report {
        machine: Machine::look(&stand)?,
        lots,
        seconds: took.as_secs(),
        before: Times::of(quiet),
        meanwhile: Times::of(meanwhile),
        many: Times::of(many),
    };
    tell(&report, &options.at)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "a night in which {} lots expire: {} s; a member with {MANY} lots",
            self.lots, self.seconds
        )?;
        writeln!(f, "{}", self.before.line("messages before it"))?;
        writeln!(f, "{}", self.meanwhile.line("messages while it ran"))?;
        write!(f, "{}", self.many.line("burns of that member"))
    }
}

fn earn(no: usize) -> anyhow::Result<Body> {
    earn_for(&format!("n{}", no % 1000))
}

/// Posts over mutual TLS, a few at a time, until `done`, which knows how many were sent; returns each answer's time in nanoseconds.
async fn post(
    sandbox: &Sandbox,
    party: &Party,
    client: &Client,
    done: impl Fn(usize) -> bool,
    body: impl Fn(usize) -> anyhow::Result<Body>,
) -> anyhow::Result<Vec<u64>> {
    let numbers = stream::iter((0..).take_while(|no| !done(*no)));
    let one = |no: usize| {
        let jws = body(no).map(|body| message(sandbox, party, body).sign(&party.key));
        async move {
            let jws = jws?;
            // A steady stream, not a flood: it is the wait for the ledger that is measured, not that behind one's own messages.
            tokio::time::sleep(Duration::from_millis(10)).await;
            let began = Instant::now();
            let answer = client.post(&jws).await?;
            ensure!(answer.problem.is_none(), "a message was refused: {:?}", answer.problem);
            Ok(nanos_since(began))
        }
    };
    numbers.map(one).buffer_unordered(IN_FLIGHT).try_collect().await
}
