//! What those who post feel while a window closes and is netted and its statements are written: answer times at a steady rate, beside those of the same rate before.
//!
//! The service runs in this process here, on a clock that is set: so the cut-off comes while messages do. No lot expires at it; `night` has those.

use std::fmt;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, ensure};
use jiff::ToSpan;
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

/// One way of sending, while nothing closes and while a window does.
#[derive(Serialize)]
struct Close {
    what: &'static str,
    fast: Series,
    per_second: u64,
    quiet: Times,
    /// Of those that were on their way while the window closed.
    closing: Times,
    /// From the cut-off until the statements were written, in nanoseconds.
    took: u64,
    /// Whether messages came until then.
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
    let requests = load.more(messages, way)?;
    let (sender, receiver) = mpsc::channel();
    let (driven, (began, ended)) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let night = scope.spawn(move || -> anyhow::Result<_> {
            receiver.recv().context("nothing was sent")?;
            let began = Instant::now();
            stand.sandbox.clock.set(cut_off);
            let dates = stand.sandbox.close_due()?;
            ensure!(dates.len() == 1, "one window closes, not {}", dates.len());
            Ok((began, Instant::now()))
        });
        let tenth = requests.len() / 10;
        let driven = drive::drive(wire, "while a window closes", (&requests, way), pace, move |no| {
            if no == tenth {
                let _ = sender.send(());
            }
        });
        let night = night.join().map_err(|_| anyhow::anyhow!("the night panicked"))?;
        Ok((driven?, night?))
    })?;
    drive::check(&requests, &driven.answers, &stand.sandbox.trust)?;
    let nanos = |instant: Instant| u64::try_from(instant.saturating_duration_since(driven.began[0]).as_nanos());
    let (from, to) = (nanos(began)?, nanos(ended)?);
    let mut closing = vec![];
    for (start, latency) in driven.began.iter().zip(&driven.latencies) {
        let start = nanos(*start)?;
        if start <= to && start + latency >= from {
            closing.push(*latency);
        }
    }
    Ok(Close {
        what: way.what,
        fast,
        per_second,
        quiet: Times::of(quiet.latencies),
        closing: Times::of(closing),
        took: to - from,
        to_the_end: driven.nanos >= to,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{} members, {} partners", self.machine, self.members, self.partners)?;
        for way in &self.ways {
            let Close { what, per_second, .. } = way;
            write!(
                f,
                "\n{what} at {per_second} messages a second, 70% of {}; the window took {} from its cut-off to its statements",
                way.fast.per_second,
                seconds(way.took)
            )?;
            if !way.to_the_end {
                write!(f, ": longer than messages came, so give it more of them")?;
            }
            for (name, times, mark) in [("before", way.quiet, MARK), ("while it closes", way.closing, CLOSING_MARK)] {
                let reached = verdict(&format!("p99 {}", millis(mark)), times.p99 <= mark);
                write!(f, "\n  {}; {reached}", times.line(name))?;
            }
        }
        Ok(())
    }
}
