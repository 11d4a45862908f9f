//! Figures beside their bounds. Whole nanoseconds, permille and messages a second; nothing is a float.

use std::fmt;

use serde::Serialize;

use super::Options;

/// Nanoseconds of one processor per message.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Floors {
    /// Strict verification of the signature.
    pub verify: u64,
    /// The durable write of its rows, in groups of 500.
    pub write: u64,
    /// One request over mutual TLS, the driver's share included.
    pub tls: u64,
}

/// One way of sending, measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Series {
    what: &'static str,
    messages: u64,
    nanos: u64,
    per_second: u64,
    /// Latencies of requests, in nanoseconds.
    p50: u64,
    p99: u64,
    max: u64,
    /// Processor time of the server process per message, in nanoseconds, where the system tells.
    server_cpu: Option<u64>,
}

impl Series {
    pub fn new(what: &'static str, messages: usize, nanos: u64, mut latencies: Vec<u64>, server_cpu: Option<u64>) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| {
            latencies
                .get(latencies.len().saturating_sub(1) * percent / 100)
                .copied()
                .unwrap_or(0)
        };
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        Self {
            what,
            messages,
            nanos,
            per_second: share(messages, 1_000_000_000, nanos),
            p50: at(50),
            p99: at(99),
            max: at(100),
            server_cpu: server_cpu.map(|nanos| share(nanos, 1, messages)),
        }
    }

    /// How long requests took, in a line.
    pub fn latencies(&self) -> String {
        let [p50, p99, max] = [self.p50, self.p99, self.max].map(millis);
        format!("{:22}{:>10} answers, p50 {p50}, p99 {p99}, max {max}", self.what, self.messages)
    }

    /// What messages took, in a line.
    pub fn costs(&self) -> String {
        let [p50, p99] = [self.p50, self.p99].map(millis);
        let cpu = self.server_cpu.map_or_else(|| "unknown".to_owned(), micros);
        format!(
            "{:12}{:>8} messages,{:>7} a second, {cpu} of the server's processors each; batches p50 {p50}, p99 {p99}",
            self.what, self.messages, self.per_second
        )
    }
}

/// A series beside the best that its floors allow.
#[derive(Debug, Clone, Serialize)]
struct Against {
    #[serde(flatten)]
    series: Series,
    /// Messages a second: processors / the sum of the floors.
    bound: u64,
    /// Of the bound.
    permille: u64,
    /// The permille to reach.
    mark: u64,
    reached: bool,
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    database: &'static str,
    cores: u64,
    members: u32,
    partners: u32,
    release: bool,
    floors: Floors,
    batches: Against,
    singles: Against,
}

/// The processors that this process may use.
pub(super) fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).unwrap_or(1))
}

fn share(a: u64, times: u64, of: u64) -> u64 {
    let exact = u128::from(a) * u128::from(times) / u128::from(of.max(1));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

impl Against {
    fn new(series: Series, floor: u64, mark: u64) -> Self {
        let bound = share(cores(), 1_000_000_000, floor);
        let permille = share(series.per_second, 1000, bound);
        Self {
            series,
            bound,
            permille,
            mark,
            reached: permille >= mark,
        }
    }
}

impl Report {
    pub fn new(options: &Options, floors: Floors, batches: Series, singles: Series) -> Self {
        let Floors { verify, write, tls } = floors;
        Self {
            database: if migrations::Url::new(options.database.as_str()).is_postgres() {
                "postgresql"
            } else {
                "sqlite"
            },
            cores: cores(),
            members: options.members,
            partners: options.partners,
            release: !cfg!(debug_assertions),
            floors,
            batches: Against::new(batches, verify + write, 500),
            singles: Against::new(singles, verify + write + tls, 400),
        }
    }
}

fn micros(nanos: u64) -> String {
    format!("{}.{} us", nanos / 1000, nanos % 1000 / 100)
}

fn millis(nanos: u64) -> String {
    format!("{}.{} ms", nanos / 1_000_000, nanos % 1_000_000 / 100_000)
}

fn percent(permille: u64) -> String {
    format!("{}.{}%", permille / 10, permille % 10)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Floors { verify, write, tls } = self.floors;
        let (members, partners) = (self.members, self.partners);
        writeln!(f, "{}, {} cores, {members} members, {partners} partners", self.database, self.cores)?;
        if !self.release {
            writeln!(f, "NOT a release build: these figures mean nothing")?;
        }
        writeln!(f, "\nfloors, of one core per message")?;
        writeln!(f, "  strict verification         {:>12}", micros(verify))?;
        writeln!(f, "  durable write, groups of 500{:>12}", micros(write))?;
        writeln!(
            f,
            "  one TLS request             {:>12}   (the driver's share included)",
            micros(tls)
        )?;
        writeln!(
            f,
            "\n{:22}{:>10}{:>10}{:>8}{:>7}  {:16}{:>10}{:>10}{:>10}{:>13}",
            "", "msg/s", "bound", "ratio", "mark", "", "p50", "p99", "max", "server CPU"
        )?;
        for (name, a) in [("batches of 100", &self.batches), ("singles, 64 in flight", &self.singles)] {
            let verdict = if a.reached { "reached" } else { "below the mark" };
            writeln!(
                f,
                "{name:22}{:>10}{:>10}{:>8}{:>7}  {verdict:16}{:>10}{:>10}{:>10}{:>13}",
                a.series.per_second,
                a.bound,
                percent(a.permille),
                percent(a.mark),
                millis(a.series.p50),
                millis(a.series.p99),
                millis(a.series.max),
                a.series.server_cpu.map_or_else(|| "unknown".to_owned(), micros),
            )?;
        }
        writeln!(
            f,
            "\nbound: cores / (verification + write), for singles with the request too. {} messages each; the driver shares the cores with the\n\
             server, sends from one thread and checks all receipts after the clock has stopped. Latencies are of requests.",
            self.batches.series.messages
        )
    }
}
