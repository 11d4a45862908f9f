//! How fast signed batches are. One signature is for a thousand messages, so what they cost at least is the durable write.

use std::fmt;

use anyhow::Context;
use serde::Serialize;

use super::args::Size;
use super::load::Load;
use super::report::{Against, Machine, Measured};
use super::service::{Bench, QUIET};
use super::show::tell;
use super::speed::trace;
use super::stand::Stand;
use super::way::{BATCHES, SIGNED};
use super::{floors, network, write};
use store::Scratch;

#[derive(Serialize)]
struct Report {
    machine: Machine,
    members: u32,
    partners: u32,
    signed: Against,
}

/// Measures and prints.
pub(super) fn run(size: &Size) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let floor = Scratch::create(&size.at.database, temporary.path(), "floor")?;
    let stand = Stand::open(&temporary.path().join("clearinghouse"), &size.at.database, size.partners)?;
    let mut load = Load::new(&stand, size.members);
    let opening = load.opening()?;
    let [fast, paced, traced] = [size.messages, size.messages, size.messages / 10].map(|count| load.more(count, &SIGNED));
    let (fast, paced, traced) = (fast?, paced?, traced?);
    let bench = Bench::start(&stand, QUIET)?;
    bench.run("opening balances", (&opening, &BATCHES))?;
    floors::connected(&bench, &fast)?;
    let (series, paced) = bench.measure(&fast, &paced, &SIGNED)?;
    bench.server.stop()?;
    let directory = store::load_directory(&mut stand.sandbox.database()?)?;
    let (network, sent) = (network::of(size.partners)?, [((&fast[..], &SIGNED), SIGNED.size)]);
    let [write] = write::measure(floor.url(), temporary.path(), &network, &directory, &opening, sent)?;
    let [phases] = trace(&stand, [(&traced, &SIGNED)])?;
    let machine = Machine::look(&stand)?;
    let report = Report {
        signed: Against::new(machine.cores, Measured { series, paced, phases }, vec![("write", write.cpu())], 700),
        machine,
        members: size.members,
        partners: size.partners,
    };
    tell(&report, &size.at)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{} members, {} partners\n", self.machine, self.members, self.partners)?;
        let messages = self.signed.series.messages;
        write!(
            f,
            "signed batches of {}, {} in flight, {messages} messages\n{}",
            SIGNED.size, SIGNED.in_flight, self.signed
        )
    }
}
