//! How fast `clearing check` does again what the service has posted.

use std::fmt;
use std::time::Instant;

use anyhow::ensure;
use serde::Serialize;

use super::args::Check;
use super::drive::nanos_since;
use super::load::Load;
use super::report::{Machine, Series};
use super::service::{Bench, QUIET};
use super::show::tell;
use super::stand::Stand;
use super::times::share;
use super::way::BATCHES;
use crate::audit;
use crate::commands::progress::bar;

#[derive(Serialize)]
struct Report {
    machine: Machine,
    posted: Series,
    entries: u64,
    /// Entries that were done again.
    per_second: u64,
}

/// Posts the messages in batches, and does the log of a clearinghouse that is left in a folder again.
pub(super) fn run(options: &Check) -> anyhow::Result<()> {
    let (folder, size) = (&options.folder, &options.size);
    ensure!(
        !folder.exists(),
        "{} exists: the clearinghouse is made in a new folder",
        folder.display()
    );
    let stand = Stand::open(folder, &size.at.database, size.partners)?;
    let mut load = Load::new(&stand, size.members);
    let bench = Bench::start(&stand, QUIET)?;
    bench.run("opening balances", (&load.opening()?, &BATCHES))?;
    let posted = bench
        .run("batches", (&load.more(size.messages, &BATCHES)?, &BATCHES))?
        .series("batches");
    bench.server.stop()?;
    let mut conn = stand.sandbox.database()?;
    let entries = store::next_seq(&mut conn)? - 1;
    let bar = bar("the check", entries);
    let start = Instant::now();
    let findings = audit::done_again(&mut conn, &stand.sandbox.config.archive, folder, &mut |done, _| {
        bar.set_position(done.unsigned_abs())
    })?;
    let nanos = nanos_since(start);
    bar.finish_and_clear();
    ensure!(findings.is_empty(), "the check found {findings:?}");
    let entries = entries.unsigned_abs();
    let report = Report {
        machine: Machine::look(&stand)?,
        posted,
        entries,
        per_second: share(entries, 1_000_000_000, nanos),
    };
    tell(&report, &size.at)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            machine,
            posted,
            entries,
            per_second,
        } = self;
        let of_it = share(*per_second, 100, posted.per_second);
        writeln!(f, "{machine}")?;
        writeln!(
            f,
            "posted   {:>9} messages, in batches {:>7} a second",
            posted.messages, posted.per_second
        )?;
        write!(
            f,
            "checked  {entries:>9} entries,               {per_second:>7} a second: {of_it}% of it"
        )
    }
}
