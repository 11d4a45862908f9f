//! What a message of each kind costs the service: one kind after the other, in batches, on the same accounts.

use std::fmt::{self, Write};

use anyhow::Context;
use partner_sdk::client::new_message_id;
use partner_sdk::wire::Quantity;
use partner_sdk::{Amount, Body, MessageId, ProgrammeCode};
use rayon::prelude::*;
use serde::Serialize;

use super::args::Size;
use super::load::{Request, member};
use super::network::{self, ISSUER};
use super::report::{Machine, Series};
use super::service::{Bench, QUIET};
use super::show::tell;
use super::stand::Stand;
use super::way::BATCHES;
use crate::clock::Clock;
use ledger::network::Network;

/// Messages in a batch.
const BATCH: usize = BATCHES.size;

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

/// The service, and those who send: the issuer first, which alone exchanges; then the shops.
struct Kinds<'a> {
    bench: Bench<'a>,
    members: u64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    kinds: Vec<Series>,
}

/// Measures and prints a line for each kind.
pub(super) fn run(size: &Size) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("a temporary folder")?;
    let mut text = network::text(size.partners)?;
    write!(text, "{MILES}")?;
    let network = Network::parse(&text).context("the bench's own network")?;
    let mut stand = Stand::with(temporary.path(), &size.at.database, &network, Clock::System)?;
    stand.parties.retain(|party| party.id.as_str() != "airline");
    let issuer = stand.sandbox.parties.values().find(|party| party.id.as_str() == ISSUER);
    stand.parties.insert(0, issuer.cloned().context("the bench's own issuer")?);
    let kinds = Kinds {
        bench: Bench::start(&stand, QUIET)?,
        members: u64::from(size.members),
    };
    let all = kinds.measure(usize::try_from(size.messages)?.div_ceil(BATCH))?;
    kinds.bench.server.stop()?;
    let machine = Machine::look(&stand)?;
    tell(&Report { machine, kinds: all }, &size.at)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The processor time is the service's alone, with the database's for it: it hardly depends on what else the machine does.
        write!(f, "{}", self.machine)?;
        self.kinds.iter().try_for_each(|series| write!(f, "\n{}", series.costs()))
    }
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
        1 + batch % (self.bench.stand.parties.len() - 1)
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
        let stand = self.bench.stand;
        let sign = |(party, messages)| Request::sign(stand, party, messages, BATCHES.form);
        let requests: Vec<Request> = batches.into_par_iter().map(sign).collect();
        Ok((self.bench.run(what, (&requests, &BATCHES))?.series(what), ids))
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
