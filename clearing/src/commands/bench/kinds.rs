//! What a message of each kind costs the service: one kind after the other, in batches, on the same accounts.

use std::fmt::Write;

use anyhow::Context;
use partner_sdk::client::new_message_id;
use partner_sdk::wire::Quantity;
use partner_sdk::{Amount, Body, MessageId, ProgrammeCode};
use rayon::prelude::*;

use super::load::{self, BATCH, ISSUER, Request, member};
use super::report::Series;
use super::{BATCHES, Bench, Options, QUIET};
use crate::clock::Clock;
use crate::commands::demo::sandbox::{Party, Sandbox};
use ledger::network::Network;
use store::Scratch;

/// What the points are exchanged into, by whom, and how.
const MILES: &str = r#"
[[partner]]
id = "airline"
name = "airline"
[[programme]]
code = "MILES"
issuer = "airline"
currency = "HKD"
expires_after = "18 months"
[[agreement]]
kind = "exchange"
partner = "pool"
programme = "POINTS"
to_programme = "MILES"
price = "0.08"
currency = "HKD"
clearing_fee_percent = "1"
valid_from = "2020-01-01T00:00:00Z"
[[rate]]
programme = "POINTS"
to_programme = "MILES"
numerator = "10"
denominator = "1"
step = "10"
minimum = "10"
maximum = "100000"
valid_from = "2020-01-01T00:00:00Z"
"#;

/// Who sends a batch, and what.
type Batch = (usize, Vec<Body>);

/// The service, and those who send.
struct Kinds<'a> {
    bench: Bench,
    sandbox: &'a Sandbox,
    /// The issuer first, which alone exchanges; then the shops.
    parties: Vec<&'a Party>,
    members: u64,
}

/// Measures and prints a line for each kind.
pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let scratch = Scratch::create(&options.database, temporary.path(), "kinds")?;
    let mut text = load::network_text(options.partners)?;
    write!(text, "{MILES}")?;
    let network = Network::parse(&text).context("the bench's own network")?;
    let folder = temporary.path().join("clearinghouse");
    let sandbox = Sandbox::open(&folder, scratch.url(), &network, Clock::System)?;
    let (mut parties, shops): (Vec<&Party>, Vec<&Party>) = sandbox
        .parties
        .values()
        .filter(|party| party.id.as_str() != "airline")
        .partition(|party| party.id.as_str() == ISSUER);
    parties.extend(shops);
    let kinds = Kinds {
        bench: Bench::start(&sandbox, &parties, QUIET)?,
        sandbox: &sandbox,
        parties,
        members: u64::from(options.members),
    };
    // The processor time is the service's alone, with the database's for it: it hardly depends on what else the machine does.
    for series in kinds.measure(usize::try_from(options.messages)?.div_ceil(BATCH))? {
        crate::commands::out::lines(&series.costs())?;
    }
    kinds.bench.server.stop()
}

impl Kinds<'_> {
    fn measure(&self, batches: usize) -> anyhow::Result<Vec<Series>> {
        let mut all = vec![];
        let mut send = |what, batches| -> anyhow::Result<Vec<MessageId>> {
            let (series, ids) = self.send(what, batches)?;
            all.push(series);
            Ok(ids)
        };
        let earned = send("earn", self.shops(batches, |member| earn(member, 1_000_000))?)?;
        send("burn", self.shops(batches, |member| burn(member, 10))?)?;
        let held = send("authorise", self.shops(batches, |member| authorise(member, 20))?)?;
        let (captured, voided) = held.split_at(batches.div_ceil(2) * BATCH);
        let after = captured.len() / BATCH;
        let capture = |id: &MessageId| {
            Ok(Body::Capture {
                authorisation: id.clone(),
                points: points(15)?,
            })
        };
        send("capture", self.of(captured, 0, capture)?)?;
        send("void", self.of(voided, after, |id| Ok(Body::Void { authorisation: id.clone() }))?)?;
        let reverse = |id: &MessageId| {
            Ok(Body::Reverse {
                message: id.clone(),
                quantity: Quantity::Points(points(5)?),
            })
        };
        send("reverse", self.of(&earned, 0, reverse)?)?;
        let asked = self.issuer(batches, |_| {
            Ok(Body::Quote {
                programme: programme("POINTS")?,
                to_programme: programme("MILES")?,
                points: points(50)?,
            })
        })?;
        let quotes = send("quote", asked)?;
        let taken = self.issuer(batches, |no| {
            Ok(Body::Exchange {
                programme: programme("POINTS")?,
                member: member(self.member(no))?,
                to_programme: programme("MILES")?,
                to_member: member(self.member(no))?,
                points: points(50)?,
                quote: quotes[no].clone(),
            })
        })?;
        send("exchange", taken)?;
        Ok(all)
    }

    /// The member whose turn it is; neighbours have nothing in common.
    fn member(&self, no: usize) -> u64 {
        u64::try_from(no).unwrap_or(0).wrapping_mul(7_919) % self.members
    }

    /// Whose turn it is among the shops.
    fn shop(&self, batch: usize) -> usize {
        1 + batch % (self.parties.len() - 1)
    }

    /// Batches of the shops, in turn.
    fn shops(&self, batches: usize, body: impl Fn(u64) -> anyhow::Result<Body>) -> anyhow::Result<Vec<Batch>> {
        let bodies = |batch| {
            (batch * BATCH..(batch + 1) * BATCH)
                .map(|no| body(self.member(no)))
                .collect::<anyhow::Result<_>>()
        };
        (0..batches).map(|batch| Ok((self.shop(batch), bodies(batch)?))).collect()
    }

    /// Batches about earlier messages, each by the shop that sent those; the first stood in batch `from`.
    fn of(&self, ids: &[MessageId], from: usize, body: impl Fn(&MessageId) -> anyhow::Result<Body>) -> anyhow::Result<Vec<Batch>> {
        let batch = |(no, ids): (usize, &[MessageId])| Ok((self.shop(from + no), ids.iter().map(&body).collect::<anyhow::Result<_>>()?));
        ids.chunks(BATCH).enumerate().map(batch).collect()
    }

    /// Batches of the issuer.
    fn issuer(&self, batches: usize, body: impl Fn(usize) -> anyhow::Result<Body>) -> anyhow::Result<Vec<Batch>> {
        let bodies = |batch| (batch * BATCH..(batch + 1) * BATCH).map(&body).collect::<anyhow::Result<_>>();
        (0..batches).map(|batch| Ok((0, bodies(batch)?))).collect()
    }

    /// Signs and sends; every message has to be accepted.
    fn send(&self, what: &'static str, batches: Vec<Batch>) -> anyhow::Result<(Series, Vec<MessageId>)> {
        let named = |(party, bodies): Batch| (party, bodies.into_iter().map(|body| (new_message_id(), body)).collect());
        let batches: Vec<(usize, Vec<(MessageId, Body)>)> = batches.into_iter().map(named).collect();
        let ids = batches
            .iter()
            .flat_map(|(_, messages)| messages.iter().map(|(id, _)| id.clone()))
            .collect();
        let parties = &self.parties;
        let sign = |(party, messages)| Request::sign(parties, party, messages);
        let requests: Vec<Request> = batches.into_par_iter().map(sign).collect();
        let series = self.bench.drive(what, &requests, &BATCHES, self.sandbox)?;
        Ok((series, ids))
    }
}

fn programme(code: &str) -> anyhow::Result<ProgrammeCode> {
    Ok(code.parse()?)
}

fn points(points: u64) -> anyhow::Result<Amount> {
    Ok(points.to_string().parse()?)
}

fn earn(no: u64, of: u64) -> anyhow::Result<Body> {
    let (programme, member, points) = (programme("POINTS")?, member(no)?, points(of)?);
    let spend = Some(format!("{of}.50").parse()?);
    Ok(Body::Earn {
        programme,
        member,
        points,
        spend,
    })
}

fn burn(no: u64, of: u64) -> anyhow::Result<Body> {
    let (programme, member, points) = (programme("POINTS")?, member(no)?, points(of)?);
    Ok(Body::Burn { programme, member, points })
}

fn authorise(no: u64, of: u64) -> anyhow::Result<Body> {
    let (programme, member, points) = (programme("POINTS")?, member(no)?, points(of)?);
    let expires_at = None;
    Ok(Body::Authorise {
        programme,
        member,
        points,
        expires_at,
    })
}
