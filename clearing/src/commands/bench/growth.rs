//! How the service fares as the ledger grows: what each tenth of the messages takes, the last beside the first, and how long a new start-up takes at the end.

use std::fmt;
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use super::args::Size;
use super::cpu::Memory;
use super::database;
use super::drive::nanos_since;
use super::load::{Load, Sent};
use super::report::{Machine, Series};
use super::service::{Bench, QUIET, Run};
use super::show::tell;
use super::stand::Stand;
use super::times::{mebibytes, micros, millis, percent, share, verdict};
use super::way::BATCHES;
use crate::commands::out;

/// Messages that are signed at once, before the clock runs: so many are in the driver's memory, however many are sent.
const CHUNK: u32 = 100_000;
/// Parts of the messages.
const PARTS: u32 = 10;
/// The last part's rate, of the first one's, in permille.
const RATE_MARK: u64 = 800;
/// The most memory that the server may ever have, in bytes.
const MEMORY_MARK: u64 = 300 << 20;
/// The longest that a start-up may take, in nanoseconds.
const START_MARK: u64 = 2_000_000_000;

/// What a part of the messages took.
#[derive(Serialize)]
struct Part {
    series: Series,
    memory: Memory,
    /// What the database has grown by, in bytes a message.
    disk: u64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    members: u32,
    partners: u32,
    parts: Vec<Part>,
    /// The last part's rate, of the first one's.
    permille: u64,
    /// The most memory that the server had, in bytes.
    peak: u64,
    /// The database at the end, in bytes; and of that, a message's part over all.
    disk: u64,
    disk_each: u64,
    /// From a new start to when the server is ready, and to the first answer after that, in nanoseconds.
    ready: u64,
    answered: u64,
    /// The memory that it has then.
    memory: Memory,
}

/// The service that grows, and what it is sent.
struct Growth<'a> {
    bench: Bench<'a>,
    load: Load<'a>,
    /// The database's size when it was last looked at.
    disk: u64,
}

/// Posts all, and starts the server anew. A line is printed for each part once it is known.
pub(super) fn run(size: &Size) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let stand = Stand::open(temporary.path(), &size.at.database, size.partners)?;
    let database = &stand.sandbox.config.database;
    let machine = Machine::look(&stand)?;
    let told = |text: &str| if size.at.json { Ok(()) } else { out::lines(text) };
    told(&format!("{machine}\n{} members, {} partners", size.members, size.partners))?;
    let empty = database::disk(database)?;
    let mut growth = Growth {
        bench: Bench::start(&stand, QUIET)?,
        load: Load::new(&stand, size.members),
        disk: empty,
    };
    told(&growth.open(size.members)?.to_string())?;
    let mut parts = vec![];
    for no in 1..=PARTS {
        let part = growth.part(&format!("tenth {no} of {PARTS}"), size.messages / PARTS)?;
        told(&part.to_string())?;
        parts.push(part);
    }
    let Growth { bench, mut load, disk, .. } = growth;
    // Linux's own figure is a little out of date at times: the highest that was seen.
    let seen = parts.iter().map(|part| part.memory.peak).max().unwrap_or(0);
    let peak = bench.server.memory()?.peak.max(seen);
    bench.server.stop()?;
    let first = load.more(1, &BATCHES)?;
    let (ready, answered, memory) = start(&stand, (&first, &BATCHES))?;
    let rates = [parts.last(), parts.first()].map(|part| part.map_or(0, |part| part.series.per_second));
    let report = Report {
        machine,
        members: size.members,
        partners: size.partners,
        permille: share(rates[0], 1000, rates[1]),
        parts,
        peak,
        disk,
        disk_each: share(disk - empty.min(disk), 1, u64::from(size.members) + u64::from(size.messages)),
        ready,
        answered,
        memory,
    };
    tell(&report, &size.at)
}

/// Starts the server anew and sends one message: when it was ready, when the answer was there, and the memory that it has then.
fn start(stand: &Stand, first: Sent) -> anyhow::Result<(u64, u64, Memory)> {
    let start = Instant::now();
    let bench = Bench::start(stand, QUIET)?;
    let ready = nanos_since(start);
    let answered = ready + bench.run("the first answer", first)?.nanos;
    let memory = bench.server.memory()?;
    bench.server.stop()?;
    Ok((ready, answered, memory))
}

impl Growth<'_> {
    /// An earn for every member.
    fn open(&mut self, members: u32) -> anyhow::Result<Part> {
        let (mut run, members) = (Run::default(), u64::from(members));
        for from in (0..members).step_by(CHUNK.try_into()?) {
            let chunk = self.load.openings(from..members.min(from + u64::from(CHUNK)))?;
            run.add(self.bench.run("opening balances", (&chunk, &BATCHES))?);
        }
        self.end("opening", run)
    }

    /// So many messages more. The clock stands still while they are signed.
    fn part(&mut self, what: &str, messages: u32) -> anyhow::Result<Part> {
        let (mut run, mut left) = (Run::default(), messages);
        while left > 0 {
            let count = left.min(CHUNK);
            let chunk = self.load.more(count, &BATCHES)?;
            run.add(self.bench.run(what, (&chunk, &BATCHES))?);
            left -= count;
        }
        self.end(what, run)
    }

    fn end(&mut self, what: &str, run: Run) -> anyhow::Result<Part> {
        let series = run.series(what);
        let disk = database::disk(&self.bench.stand.sandbox.config.database)?;
        let grown = disk.saturating_sub(std::mem::replace(&mut self.disk, disk));
        Ok(Part {
            disk: share(grown, 1, series.messages),
            memory: self.bench.server.memory()?,
            series,
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { series, memory, disk } = self;
        let [resident, peak] = [memory.resident, memory.peak].map(mebibytes);
        let of_it = series
            .database
            .map_or(String::new(), |nanos| format!(" ({} in PostgreSQL)", micros(nanos)));
        write!(
            f,
            "{:14}{:>9} messages,{:>7} a second, {}{of_it} of the processors each; p99 {}; memory {resident}, peak {peak}; disk {disk} bytes each",
            series.what,
            series.messages,
            series.per_second,
            micros(series.cpu()),
            millis(series.times.p99)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { permille, peak, disk, .. } = self;
        writeln!(
            f,
            "rate     the last tenth has {} of the first; {}",
            percent(*permille),
            verdict(&percent(RATE_MARK), *permille >= RATE_MARK)
        )?;
        writeln!(
            f,
            "memory   {} at most; {}",
            mebibytes(*peak),
            verdict(&mebibytes(MEMORY_MARK), *peak <= MEMORY_MARK)
        )?;
        writeln!(
            f,
            "disk     {}, {} bytes a message, the openings too",
            mebibytes(*disk),
            self.disk_each
        )?;
        write!(
            f,
            "start    ready after {}, the first answer after {}; {}; memory then {}",
            millis(self.ready),
            millis(self.answered),
            verdict(&millis(START_MARK), self.answered <= START_MARK),
            mebibytes(self.memory.resident)
        )
    }
}
