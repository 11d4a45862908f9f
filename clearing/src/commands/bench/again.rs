//! How fast `clearing check` does again what the service has posted.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};

use super::drive::nanos_since;
use super::load::Load;
use super::times::share;
use super::{BATCHES, Bench, Options, QUIET, load, progress};
use crate::audit;
use crate::clock::Clock;
use crate::commands::demo::sandbox::{Party, Sandbox};
use crate::commands::out;
use store::Scratch;

/// Posts the messages in batches, and does the log of a clearinghouse that is left in `folder` again.
pub(super) fn run(options: &Options, folder: &Path) -> anyhow::Result<()> {
    ensure!(
        !folder.exists(),
        "{} exists: the clearinghouse is made in a new folder",
        folder.display()
    );
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let service = Scratch::create(&options.database, folder, "service")?;
    let sandbox = Sandbox::open(folder, service.url(), &load::network(options.partners)?, Clock::System)?;
    let parties: Vec<&Party> = sandbox.parties.values().filter(|party| party.id.as_str() != load::ISSUER).collect();
    let load = Load::sign(options, &parties)?;
    let bench = Bench::start(&sandbox, &parties, QUIET)?;
    bench.drive("opening balances", &load.opening, &BATCHES, &sandbox)?;
    let series = bench.drive("batches", &load.batches, &BATCHES, &sandbox)?;
    bench.server.stop()?;
    drop(load);
    let mut conn = sandbox.database()?;
    let entries = store::next_seq(&mut conn)? - 1;
    let bar = progress("the check", usize::try_from(entries)?);
    let start = Instant::now();
    let findings = audit::done_again(&mut conn, &sandbox.config.archive, folder, &mut |done, _| {
        bar.set_position(done.unsigned_abs())
    })?;
    let nanos = nanos_since(start);
    bar.finish_and_clear();
    ensure!(findings.is_empty(), "the check found {findings:?}");
    let entries = entries.unsigned_abs();
    let per_second = share(entries, 1_000_000_000, nanos);
    out::lines(&format!(
        "posted   {:>9} messages, in batches {:>7} a second\nchecked  {entries:>9} entries,               {per_second:>7} a second: {}% of it",
        series.messages,
        series.per_second,
        share(per_second, 100, series.per_second)
    ))?;
    Ok(())
}
