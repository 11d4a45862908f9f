//! How long a window with very many postings takes from its close to its statements, and with how much memory.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::ToSpan;
use serde::Serialize;

use super::args::Settle;
use super::cpu;
use super::fill::{burn_of, earn_for, fill};
use super::network;
use super::report::Machine;
use super::show::tell;
use super::stand::Stand;
use super::times::verdict;
use crate::clock::Clock;
use crate::commands::out;

/// The longest that it may take, for 5,000,000 postings of 300 partners.
const MARK: Duration = Duration::from_secs(60);
/// Memory that doesn't grow with the window: what the night may need beside what the process has.
const MORE: u64 = 100 << 20;

#[derive(Serialize)]
struct Report {
    machine: Machine,
    messages: u32,
    partners: u32,
    files: usize,
    /// From the close until the statements were written, in milliseconds.
    took: u64,
    /// What was resident before it, and the most that was while it ran, in bytes.
    memory: [u64; 2],
}

/// Fills a window, closes it, and measures what comes then. Every second message is a burn of another partner's points, so that there is something to net.
/// The figure is printed before the books are checked, which may take longer than all of it.
pub(super) fn run(options: &Settle) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let start = "2026-11-20T02:00:00Z".parse()?;
    let network = network::of(options.partners)?;
    let mut stand = Stand::with(temporary.path(), &options.at.database, &network, Clock::sandbox(start))?;
    stand.sandbox.start()?;
    let (sandbox, parties) = (&stand.sandbox, &stand.parties);
    let count = u32::try_from(parties.len())?;
    fill(sandbox, 0..options.messages, |no| {
        let member = format!("m{}", no / 2 % options.members);
        let party = &parties[usize::try_from(no.wrapping_mul(7) % count)?];
        let body = if no % 2 == 0 { earn_for(&member)? } else { burn_of(&member, "40")? };
        Ok((party, body))
    })?;
    sandbox.clock.set(start.checked_add(24.hours())?);
    // From here on the most is counted anew.
    std::fs::write("/proc/self/clear_refs", "5").context("the most memory so far can't be forgotten")?;
    let before = cpu::memory(std::process::id())?;
    let began = Instant::now();
    let dates = sandbox.close_due()?;
    let took = began.elapsed();
    let after = cpu::memory(std::process::id())?;
    ensure!(dates.len() == 1, "one window closes, not {}", dates.len());
    let files = std::fs::read_dir(sandbox.config.statements.join(dates[0].to_string()))?.count();
    let report = Report {
        machine: Machine::look(&stand)?,
        messages: options.messages,
        partners: options.partners,
        files,
        took: u64::try_from(took.as_millis())?,
        memory: [before.resident, after.peak],
    };
    tell(&report, &options.at)?;
    out::complain("the books are being checked");
    stand.sandbox.stop();
    let mut conn = stand.sandbox.database()?;
    // The service has put as many entries into the log's tree as there was time for.
    while store::grow(&mut conn)? {}
    let findings = store::books::check(&mut conn)?;
    ensure!(findings.is_empty(), "the books don't balance: {findings:?}");
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages, partners, files, ..
        } = self;
        let [before, most] = self.memory.map(|bytes| bytes >> 20);
        let soon = verdict(&format!("{} s", MARK.as_secs()), u128::from(self.took) <= MARK.as_millis());
        let flat = self.memory[1].saturating_sub(self.memory[0]) <= MORE;
        let flat = verdict(&format!("{} MiB more", MORE >> 20), flat);
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "a window of {messages} messages, {partners} partners: {files} files")?;
        writeln!(f, "from the close to the statements: {} ms ({soon})", self.took)?;
        write!(f, "memory: {before} MiB before, {most} MiB at most ({flat})")
    }
}
