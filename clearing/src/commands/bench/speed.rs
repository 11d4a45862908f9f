//! How fast batches and singles are, each beside its floors.

use anyhow::Context;

use super::args::Speed;
use super::load::{Load, Request, Sent};
use super::phases::{self, Phases};
use super::report::{Floors, Machine, Measured, Report};
use super::service::{Bench, QUIET};
use super::show::tell;
use super::stand::Stand;
use super::way::{BATCHES, SINGLES};
use super::{floors, network, svg, write};
use store::Scratch;

/// Measures, prints, and draws where that is asked for.
pub(super) fn run(options: &Speed) -> anyhow::Result<()> {
    let report = measure(options)?;
    if let Some(file) = &options.svg {
        std::fs::write(file, svg::draw(&report)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    tell(&report, &options.size.at)
}

/// All that will be sent.
struct All {
    opening: Vec<Request>,
    batches: Vec<Request>,
    singles: Vec<Request>,
    /// As many again, for the open loop.
    paced_batches: Vec<Request>,
    paced_singles: Vec<Request>,
    /// A tenth, for the server that tells its phases.
    traced_batches: Vec<Request>,
    traced_singles: Vec<Request>,
}

impl All {
    fn sign(mut load: Load, all: u32) -> anyhow::Result<Self> {
        Ok(Self {
            opening: load.opening()?,
            batches: load.more(all, &BATCHES)?,
            singles: load.more(all, &SINGLES)?,
            paced_batches: load.more(all, &BATCHES)?,
            paced_singles: load.more(all, &SINGLES)?,
            traced_batches: load.more(all / 10, &BATCHES)?,
            traced_singles: load.more(all / 10, &SINGLES)?,
        })
    }
}

fn measure(options: &Speed) -> anyhow::Result<Report> {
    let size = &options.size;
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let floor = Scratch::create(&size.at.database, temporary.path(), "floor")?;
    let stand = Stand::open(&temporary.path().join("clearinghouse"), &size.at.database, size.partners)?;
    let all = All::sign(Load::new(&stand, size.members), size.messages)?;
    let bench = Bench::start(&stand, QUIET)?;
    bench.run("opening balances", (&all.opening, &BATCHES))?;
    let directory = store::load_directory(&mut stand.sandbox.database()?)?;
    let verify = floors::verify(&all.batches, &directory)?;
    floors::connected(&bench, &all.singles)?;
    let batches = bench.measure(&all.batches, &all.paced_batches, &BATCHES)?;
    let network = network::of(size.partners)?;
    let (of_batches, of_singles) = ((&all.batches[..], &BATCHES), (&all.singles[..], &SINGLES));
    let written = [(of_batches, 500), (of_singles, 32)];
    let [write_batches, write_singles] = write::measure(floor.url(), temporary.path(), &network, &directory, &all.opening, written)?;
    let request = floors::request(&bench, &all.singles)?;
    floors::connected(&bench, &all.singles)?;
    let singles = bench.measure(&all.singles, &all.paced_singles, &SINGLES)?;
    bench.server.stop()?;
    let traced = [(&all.traced_batches[..], &BATCHES), (&all.traced_singles[..], &SINGLES)];
    let [of_batches, of_singles] = trace(&stand, traced)?;
    let floors = Floors {
        verify,
        request,
        write_batches,
        write_singles,
    };
    let [batches, singles] =
        [(batches, of_batches), (singles, of_singles)].map(|((series, paced), phases)| Measured { series, paced, phases });
    Ok(Report::new(Machine::look(&stand)?, size, floors, batches, singles))
}

/// Where messages spend their time, for each way of sending: a server of its own tells it.
pub(super) fn trace<const N: usize>(stand: &Stand, sent: [Sent; N]) -> anyhow::Result<[Option<Phases>; N]> {
    let bench = Bench::start(stand, phases::LEVELS)?;
    let (mut all, mut told) = ([None; N], 0);
    for (sent, phases) in sent.into_iter().zip(&mut all) {
        bench.run("phases", sent)?;
        let log = bench.server.logged()?;
        *phases = Phases::read(log.get(told..).unwrap_or_default());
        told = log.len();
    }
    bench.server.stop()?;
    Ok(all)
}
