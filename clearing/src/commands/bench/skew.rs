//! What becomes of the rate where one partner sends most of it: the even load and the skewed one in turn, twice, so that what else the machine does meets both.

use std::fmt;

use anyhow::Context;
use serde::Serialize;

use super::args::Size;
use super::floors;
use super::load::{Load, Turns};
use super::report::{Machine, Series};
use super::service::{Bench, QUIET, Run};
use super::show::tell;
use super::stand::Stand;
use super::times::{millis, percent, share, verdict};
use super::way::{BATCHES, SINGLES, Way};

/// How often each is sent.
const ROUNDS: usize = 2;
/// The rate of the skewed load, of the even one's, in permille.
const MARK: u64 = 900;

/// Both loads, sent one way.
#[derive(Serialize)]
struct Pair {
    what: &'static str,
    /// Each round's, in the order in which they were sent.
    even: Vec<Series>,
    skewed: Vec<Series>,
    /// The skewed load's rate over all rounds, of the even one's.
    permille: u64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    members: u32,
    partners: u32,
    pairs: Vec<Pair>,
}

/// Measures and prints.
pub(super) fn run(size: &Size) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let stand = Stand::open(temporary.path(), &size.at.database, size.partners)?;
    let bench = Bench::start(&stand, QUIET)?;
    let mut load = Load::new(&stand, size.members);
    bench.run("opening balances", (&load.opening()?, &BATCHES))?;
    let pairs = [&BATCHES, &SINGLES].map(|way| pair(&bench, &mut load, size.messages, way));
    bench.server.stop()?;
    let report = Report {
        machine: Machine::look(&stand)?,
        members: size.members,
        partners: size.partners,
        pairs: pairs.into_iter().collect::<anyhow::Result<_>>()?,
    };
    tell(&report, &size.at)
}

fn pair(bench: &Bench, load: &mut Load, messages: u32, way: &Way) -> anyhow::Result<Pair> {
    let mut all = [(Turns::Even, Run::default(), vec![]), (Turns::Skewed, Run::default(), vec![])];
    for round in 0..ROUNDS {
        // The ledger grows meanwhile: each comes first as often as last.
        let mut both: Vec<_> = all.iter_mut().collect();
        if !round.is_multiple_of(2) {
            both.reverse();
        }
        for (turns, sum, series) in both {
            let requests = load.more_of(messages, way, *turns)?;
            floors::connected(bench, &requests)?;
            let run = bench.run(way.what, (&requests, way))?;
            sum.add(run.clone());
            series.push(run.series(way.what));
        }
    }
    let [(_, of_even, even), (_, of_skewed, skewed)] = all;
    let rate = |run: Run| run.series(way.what).per_second;
    Ok(Pair {
        what: way.what,
        even,
        skewed,
        permille: share(rate(of_skewed), 1000, rate(of_even)),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{} members, {} partners", self.machine, self.members, self.partners)?;
        for pair in &self.pairs {
            for (name, all) in [("on all alike", &pair.even), ("70% on one", &pair.skewed)] {
                let told = all.iter().map(|one| format!("{} (p99 {})", one.per_second, millis(one.times.p99)));
                let told: Vec<String> = told.collect();
                write!(f, "\n{:9}{name:14}{} a second", pair.what, told.join(", "))?;
            }
            let reached = verdict(&percent(MARK), pair.permille >= MARK);
            write!(
                f,
                "\n{:9}that is {} of the even load's rate; {reached}",
                pair.what,
                percent(pair.permille)
            )?;
        }
        Ok(())
    }
}
