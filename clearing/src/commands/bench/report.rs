//! What was measured, each figure beside its floor.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::args::Size;
use super::phases::Phases;
use super::stand::Stand;
use super::times::{Times, micros, millis, percent, share};
use super::write::Cost;
use super::{cpu, database};

/// The least that the parts of the work cost, in nanoseconds of processor time.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Floors {
    /// Strict verification of a signature.
    pub verify: u64,
    /// One request over mutual TLS, in the server alone.
    pub request: u64,
    /// The durable write of a message's rows in groups of 500.
    pub write_batches: Cost,
    /// The same in groups of 32.
    pub write_singles: Cost,
}

/// One way of sending, as fast as it goes.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Series {
    pub what: String,
    pub messages: u64,
    /// From the first request to the last answer, in nanoseconds.
    pub nanos: u64,
    /// Messages.
    pub per_second: u64,
    /// The server's processor time a message, in nanoseconds.
    pub server: u64,
    /// That of the database's own processes for it, where it has any on this machine.
    pub database: Option<u64>,
    /// The driver's, which shares the processors.
    pub driver: u64,
    pub times: Times,
}

impl Series {
    /// The processor time that a message costs, without the driver's.
    pub fn cpu(&self) -> u64 {
        self.server + self.database.unwrap_or(0)
    }

    /// What messages took, in a line.
    pub fn costs(&self) -> String {
        let [p50, p99] = [self.times.p50, self.times.p99].map(millis);
        format!(
            "{:12}{:>8} messages,{:>7} a second, {} of the processors each; batches p50 {p50}, p99 {p99}",
            self.what,
            self.messages,
            self.per_second,
            micros(self.cpu())
        )
    }
}

/// Answer times while messages come at a rate, whatever the answers do.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Paced {
    /// Messages that were due each second.
    pub per_second: u64,
    /// From when a request was due to its answer.
    pub times: Times,
}

/// All that was measured of one way of sending.
pub(super) struct Measured {
    pub series: Series,
    pub paced: Paced,
    pub phases: Option<Phases>,
}

/// A series beside the best that its floors allow.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Against {
    pub series: Series,
    /// What the floor consists of: names, and nanoseconds of processor time a message.
    pub parts: Vec<(&'static str, u64)>,
    /// Messages a second: processors / the sum of the parts.
    pub bound: u64,
    /// The rate, of the bound.
    pub permille: u64,
    /// The sum of the parts, of the processor time that a message costs: the driver's doesn't count on either side.
    pub work_permille: u64,
    /// The permille of the bound to reach.
    pub mark: u64,
    pub reached: bool,
    pub paced: Paced,
    pub phases: Option<Phases>,
}

/// Where it was measured, on what and when.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    pub cores: u64,
    pub model: String,
    /// With its version.
    pub database: String,
    /// Whether all of the database's processor time is known: not where it runs on another machine.
    pub database_counted: bool,
    pub release: bool,
    pub measured_at: Timestamp,
}

impl Machine {
    pub fn look(stand: &Stand) -> anyhow::Result<Self> {
        let mut conn = stand.sandbox.database()?;
        Ok(Self {
            cores: cpu::cores(),
            model: cpu::model(),
            database: database::version(&mut conn)?,
            database_counted: database::is_counted(&mut conn)?,
            release: !cfg!(debug_assertions),
            measured_at: Timestamp::now(),
        })
    }
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub machine: Machine,
    pub members: u32,
    pub partners: u32,
    pub floors: Floors,
    pub batches: Against,
    pub singles: Against,
}

impl Against {
    pub fn new(cores: u64, measured: Measured, parts: Vec<(&'static str, u64)>, mark: u64) -> Self {
        let Measured { series, paced, phases } = measured;
        let floor = parts.iter().map(|(_, nanos)| nanos).sum();
        let bound = share(cores, 1_000_000_000, floor);
        let permille = share(series.per_second, 1000, bound);
        Self {
            bound,
            permille,
            work_permille: share(floor, 1000, series.cpu()),
            mark,
            reached: permille >= mark,
            series,
            parts,
            paced,
            phases,
        }
    }

    /// The processor time that a message costs beyond the floor, in nanoseconds.
    pub fn rest(&self) -> u64 {
        self.series.cpu().saturating_sub(self.parts.iter().map(|(_, nanos)| nanos).sum())
    }
}

impl Report {
    pub fn new(machine: Machine, size: &Size, floors: Floors, batches: Measured, singles: Measured) -> Self {
        let (cores, verify, request) = (machine.cores, ("verify", floors.verify), ("request", floors.request));
        let [write_batches, write_singles] = [floors.write_batches, floors.write_singles].map(|cost| ("write", cost.cpu()));
        Self {
            batches: Against::new(cores, batches, vec![verify, write_batches], 500),
            singles: Against::new(cores, singles, vec![verify, request, write_singles], 400),
            machine,
            members: size.members,
            partners: size.partners,
            floors,
        }
    }

    /// Each way of sending under its name.
    pub fn named(&self) -> [(&'static str, &Against); 2] {
        [
            ("batches of 100, 16 in flight", &self.batches),
            ("singles, 64 in flight", &self.singles),
        ]
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.measured_at.strftime("%Y-%m-%d");
        let Self {
            cores, model, database, ..
        } = self;
        write!(f, "{database}, {cores} cores ({model}), {date}")?;
        if !self.release {
            write!(f, "\nNOT a release build: these figures mean nothing")?;
        }
        if !self.database_counted {
            let what = "its processor time counts neither in the floor nor in the messages";
            write!(f, "\nPostgreSQL runs on another machine: {what}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Floors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nfloors: processor time a message can't do without")?;
        writeln!(f, "  strict verification      {:>10}", micros(self.verify))?;
        writeln!(f, "  TLS and HTTP, a request  {:>10}   in the server alone", micros(self.request))?;
        for (size, cost) in [(500, self.write_batches), (32, self.write_singles)] {
            let Cost { database, wall, .. } = cost;
            let of_it = if database > 0 {
                format!("{} of it in PostgreSQL, ", micros(database))
            } else {
                String::new()
            };
            let cpu = micros(cost.cpu());
            writeln!(
                f,
                "  write, groups of {size:<3}     {cpu:>10}   {of_it}{} by the clock with the disk's sync",
                micros(wall)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (series, verdict) = (&self.series, if self.reached { "reached" } else { "below it" });
        let parts: Vec<&str> = self.parts.iter().map(|(name, _)| *name).collect();
        let (bound, of_it, mark) = (self.bound, percent(self.permille), percent(self.mark));
        writeln!(
            f,
            "  rate        {:>9} a second, {of_it} of {bound} = cores / ({}); mark {mark}: {verdict}",
            series.per_second,
            parts.join(" + ")
        )?;
        let of_database = series
            .database
            .map_or(String::new(), |nanos| format!(", {} of it in PostgreSQL", micros(nanos)));
        let (cpu, work) = (micros(series.cpu()), percent(self.work_permille));
        writeln!(
            f,
            "  processors  {cpu:>9} a message{of_database}; the floor is {work} of it; the driver uses {} beside it",
            micros(series.driver)
        )?;
        let of_parts: Vec<String> = self
            .parts
            .iter()
            .map(|(name, nanos)| format!("{name} {}", micros(*nanos)))
            .collect();
        writeln!(f, "  that is     {}, the rest {}", of_parts.join(", "), micros(self.rest()))?;
        writeln!(f, "  answers     {}", self.series.times.line("as fast as it goes"))?;
        writeln!(
            f,
            "              {}",
            self.paced.times.line(&format!("at {} a second", self.paced.per_second))
        )?;
        if let Some(phases) = &self.phases {
            let named = phases.named().map(|(name, nanos)| format!("{name} {}", micros(nanos)));
            writeln!(
                f,
                "  stages      {} a message by the clock, in groups of {}; each waited {} in the queue",
                named.join(", "),
                phases.group,
                millis(phases.queue)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{} members, {} partners", self.machine, self.members, self.partners)?;
        write!(f, "{}", self.floors)?;
        for (name, against) in self.named() {
            write!(f, "\n{name}, {} messages\n{against}", against.series.messages)?;
        }
        write!(
            f,
            "\nThe driver shares the cores with the server, sends from one thread and checks all receipts after the clock has stopped. At a given rate an answer's time\n\
             counts from when its request was due."
        )
    }
}

/// A report of round figures.
#[cfg(test)]
pub(super) fn sample() -> Report {
    use super::args::At;
    let times = Times::of(vec![1_000_000]);
    let series = |what: &str, per_second| Series {
        what: what.into(),
        messages: 1000,
        nanos: 100_000_000,
        per_second,
        server: 150_000,
        database: None,
        driver: 10_000,
        times,
    };
    let measured = |what, per_second| Measured {
        series: series(what, per_second),
        paced: Paced { per_second: 7_000, times },
        phases: None,
    };
    let cost = |thread| Cost {
        thread,
        database: 0,
        wall: 2 * thread,
    };
    let machine = Machine {
        cores: 2,
        model: "a processor".into(),
        database: "SQLite".into(),
        database_counted: true,
        release: true,
        measured_at: Timestamp::UNIX_EPOCH,
    };
    let at = At {
        database: "sqlite".into(),
        json: false,
    };
    let size = Size {
        at,
        messages: 1000,
        members: 10,
        partners: 2,
    };
    let floors = Floors {
        verify: 40_000,
        request: 20_000,
        write_batches: cost(60_000),
        write_singles: cost(40_000),
    };
    Report::new(machine, &size, floors, measured("batches", 10_000), measured("singles", 4_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_as_a_share_of_what_the_floors_allow() {
        let Report { batches, singles, .. } = sample();
        // 2 processors / (40 + 60) us, and / (40 + 20 + 40) us.
        assert_eq!((batches.bound, batches.permille, batches.reached), (20_000, 500, true));
        assert_eq!((singles.bound, singles.permille, singles.reached), (20_000, 200, false));
        assert_eq!((batches.work_permille, batches.rest()), (666, 50_000));
        let text = sample().to_string();
        assert!(text.contains("10000 a second, 50.0% of 20000 = cores / (verify + write)"), "{text}");
        assert!(
            text.contains("4000 a second, 20.0% of 20000 = cores / (verify + request + write)"),
            "{text}"
        );
    }
}
