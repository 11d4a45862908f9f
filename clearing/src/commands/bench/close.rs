//! What those who post feel while a window closes and is netted and its statements are written, and while its issuer asks for all messages of it: answer times at a steady rate, beside those of
//! the same rate before.
//!
//! The service runs in this process here, on a clock that is set: so the cut-off comes while messages do. No lot expires at it; `night` has those.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, ensure};
use jiff::ToSpan;
use jiff::civil::Date;
use partner_sdk::PartnerId;
use partner_sdk::wire::PostedQuery;
use serde::Serialize;

use super::args::Size;
use super::drive::{self, Driven, Pace};
use super::load::{Load, Sent};
use super::network;
use super::report::{Machine, Series};
use super::service::{Run, paced_rate};
use super::show::tell;
use super::stand::Stand;
use super::times::{Times, millis, seconds, verdict};
use super::way::{BATCHES, SINGLES, Way};
use super::wire::Wire;
use crate::clock::Clock;

/// The longest that 99 of a hundred answers may take, in nanoseconds: at any time, and while a window closes.
const MARK: u64 = 50_000_000;
const CLOSING_MARK: u64 = 100_000_000;

/// One way of sending, while nothing else is done, while a window closes, and while it is read.
#[derive(Serialize)]
struct Close {
    what: &'static str,
    fast: Series,
    per_second: u64,
    quiet: Times,
    /// From the cut-off until the statements were written.
    closing: Beside,
    /// While the issuer read the window's messages, a page after the other.
    reading: Beside,
    /// How many it was told of.
    read: u64,
}

/// What those who post felt of some work.
#[derive(Serialize)]
struct Beside {
    /// Of those that were on their way while it was done.
    times: Times,
    /// How long it took, in nanoseconds.
    took: u64,
    /// Whether messages came until its end.
    to_the_end: bool,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    members: u32,
    partners: u32,
    ways: Vec<Close>,
}

/// Measures and prints.
pub(super) fn run(size: &Size) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let clock = Clock::sandbox("2026-11-20T02:00:00Z".parse()?);
    let mut stand = Stand::with(temporary.path(), &size.at.database, &network::of(size.partners)?, clock)?;
    stand.sandbox.start()?;
    let wire = Wire::connect(&stand, &stand.sandbox.base()?)?;
    let mut load = Load::new(&stand, size.members);
    send(&stand, &wire, (&load.opening()?, &BATCHES), Pace::InFlight(BATCHES.in_flight))?;
    let ways = [&BATCHES, &SINGLES].map(|way| close(&stand, &wire, &mut load, size.messages, way));
    let ways = ways.into_iter().collect::<anyhow::Result<_>>()?;
    stand.sandbox.stop();
    let findings = store::books::check(&mut stand.sandbox.database()?)?;
    ensure!(findings.is_empty(), "the books don't balance: {findings:?}");
    let report = Report {
        machine: Machine::look(&stand)?,
        members: size.members,
        partners: size.partners,
        ways,
    };
    tell(&report, &size.at)
}

fn send(stand: &Stand, wire: &Wire, sent: Sent, pace: Pace) -> anyhow::Result<Driven> {
    let driven = drive::drive(wire, sent.1.what, sent, pace, |_| {})?;
    drive::check(sent.0, &driven.answers, &stand.sandbox.trust)?;
    Ok(driven)
}

fn close(stand: &Stand, wire: &Wire, load: &mut Load, messages: u32, way: &'static Way) -> anyhow::Result<Close> {
    let fast = load.more(messages, way)?;
    let driven = send(stand, wire, (&fast, way), Pace::InFlight(way.in_flight))?;
    let run = Run {
        messages: messages.into(),
        nanos: driven.nanos,
        latencies: driven.latencies,
        ..Run::default()
    };
    let fast = run.series(way.what);
    let per_second = paced_rate(&fast);
    let pace = Pace::PerSecond(per_second);
    let quiet = send(stand, wire, (&load.more(messages, way)?, way), pace)?;
    // What comes is signed a moment before the cut-off.
    let mut conn = stand.sandbox.database()?;
    let cut_off = settlement::open_window(&mut conn)?.cut_off_at;
    stand.sandbox.clock.set(cut_off.checked_sub(1.second())?);
    let sent = load.more(messages, way)?;
    let closing = beside(stand, wire, (&sent, way), pace, |_| {
        stand.sandbox.clock.set(cut_off);
        let dates = stand.sandbox.close_due()?;
        ensure!(dates.len() == 1, "one window closes, not {}", dates.len());
        Ok(())
    })?;
    let window = settlement::advised_dates(&mut conn)?.pop().context("no window was advised")?;
    let sent = load.more(messages, way)?;
    let mut read = 0;
    let reading = beside(stand, wire, (&sent, way), pace, |over| {
        read = read_window(stand, window, over)?;
        Ok(())
    })?;
    Ok(Close {
        what: way.what,
        fast,
        per_second,
        quiet: Times::of(quiet.latencies),
        closing,
        reading,
        read,
    })
}

/// Sends at a rate, and does some work from the time on when a tenth was sent; it is told when all have been answered.
fn beside(
    stand: &Stand,
    wire: &Wire,
    sent: Sent,
    pace: Pace,
    work: impl FnOnce(&AtomicBool) -> anyhow::Result<()> + Send,
) -> anyhow::Result<Beside> {
    let (sender, receiver) = mpsc::channel();
    let over = AtomicBool::new(false);
    let (driven, (began, ended)) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let over = &over;
        let worker = scope.spawn(move || -> anyhow::Result<_> {
            receiver.recv().context("nothing was sent")?;
            let began = Instant::now();
            work(over)?;
            Ok((began, Instant::now()))
        });
        let tenth = sent.0.len() / 10;
        let driven = drive::drive(wire, "with something else beside it", sent, pace, move |no| {
            if no == tenth {
                let _ = sender.send(());
            }
        });
        over.store(true, Ordering::SeqCst);
        let worked = worker.join().map_err(|_| anyhow::anyhow!("the work beside it panicked"))?;
        Ok((driven?, worked?))
    })?;
    drive::check(sent.0, &driven.answers, &stand.sandbox.trust)?;
    let nanos = |instant: Instant| u64::try_from(instant.saturating_duration_since(driven.began[0]).as_nanos());
    let (from, to) = (nanos(began)?, nanos(ended)?);
    let mut meanwhile = vec![];
    for (start, latency) in driven.began.iter().zip(&driven.latencies) {
        let start = nanos(*start)?;
        if start <= to && start + latency >= from {
            meanwhile.push(*latency);
        }
    }
    Ok(Beside {
        times: Times::of(meanwhile),
        took: to - from,
        to_the_end: driven.nanos >= to,
    })
}

/// The issuer asks for all messages of a window, until it has them or it is `over`; how many it was told of.
fn read_window(stand: &Stand, window: Date, over: &AtomicBool) -> anyhow::Result<u64> {
    let client = stand.sandbox.client(&PartnerId::new(network::ISSUER)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let query = PostedQuery {
        window: Some(window),
        ..PostedQuery::default()
    };
    let (mut read, mut after) = (0, Some(0));
    while let Some(from) = after.filter(|_| !over.load(Ordering::SeqCst)) {
        let page = runtime.block_on(client.messages(&query, from))?;
        read += u64::try_from(page.messages.len())?;
        after = page.next;
    }
    Ok(read)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{} members, {} partners", self.machine, self.members, self.partners)?;
        for way in &self.ways {
            let Close {
                what, per_second, read, ..
            } = way;
            write!(f, "\n{what} at {per_second} messages a second, 70% of {}", way.fast.per_second)?;
            let reached = verdict(&format!("p99 {}", millis(MARK)), way.quiet.p99 <= MARK);
            write!(f, "\n  {}; {reached}", way.quiet.line("before"))?;
            let (closing, reading) = (&way.closing, &way.reading);
            for (name, beside, mark) in [
                ("while it closes", closing, CLOSING_MARK),
                ("while it is read", reading, way.quiet.p99.saturating_mul(2)),
            ] {
                let reached = verdict(&format!("p99 {}", millis(mark)), beside.times.p99 <= mark);
                write!(f, "\n  {}; {reached}", beside.times.line(name))?;
            }
            let (closed, read_in) = (seconds(closing.took), seconds(reading.took));
            write!(
                f,
                "\n  from its cut-off to its statements {closed}; {read} messages of it read in {read_in}"
            )?;
            if !closing.to_the_end {
                write!(f, "; it closed for longer than messages came, so give it more of them")?;
            }
        }
        Ok(())
    }
}
