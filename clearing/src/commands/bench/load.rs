//! The load: a pool with a few shops, and messages signed beforehand.

use std::fmt::Write;

use anyhow::Context;
use jiff::Timestamp;
use partner_sdk::client::new_message_id;
use partner_sdk::{Amount, Body, MemberNumber, Message, MessageId, ProgrammeCode};
use rayon::prelude::*;

use super::{Options, progress};
use crate::commands::demo::sandbox::Party;
use ledger::network::Network;

/// The partner that issues the points; it sends nothing.
pub(super) const ISSUER: &str = "pool";
/// Messages in a batch.
pub(super) const BATCH: usize = 100;
/// What every member starts with: enough for all that is burned.
const OPENING: u64 = 10_000_000;

/// One request, ready to be sent.
pub(super) struct Request {
    /// Who sends it, as a place in the list of parties.
    pub party: usize,
    /// Its messages, each a compact JWS.
    pub messages: Vec<String>,
    /// The body: a line for each.
    pub body: String,
}

impl Request {
    /// Messages of one party, issued and signed now.
    pub fn sign(parties: &[&Party], party: usize, bodies: Vec<(MessageId, Body)>) -> Self {
        let (of, now) = (parties[party], Timestamp::now());
        let sign = |(id, body)| {
            let message = Message {
                id,
                sender: of.id.clone(),
                issued_at: now,
                occurred_at: now,
                body,
            };
            message.sign(&of.key)
        };
        let messages: Vec<String> = bodies.into_iter().map(sign).collect();
        let body = messages.join("\n");
        Self { party, messages, body }
    }
}

/// The number of a member.
pub(super) fn member(no: u64) -> anyhow::Result<MemberNumber> {
    Ok(MemberNumber::new(format!("{:010}", 8_000_000_000 + no))?)
}

/// All that will be sent.
pub(super) struct Load {
    /// An earn for every member, so that burns find points.
    pub opening: Vec<Request>,
    /// Batches of 100.
    pub batches: Vec<Request>,
    /// Requests of one message.
    pub singles: Vec<Request>,
    /// As many batches again, for the open loop.
    pub paced_batches: Vec<Request>,
    /// As many requests of one message again, for the open loop.
    pub paced_singles: Vec<Request>,
    /// A tenth of the batches, for the server that tells its phases.
    pub traced_batches: Vec<Request>,
    /// A tenth of the requests of one message, for the same.
    pub traced_singles: Vec<Request>,
}

/// A pool and `shops` shops, with caps that nobody reaches.
pub(super) fn network(shops: u32) -> anyhow::Result<Network> {
    Network::parse(&network_text(shops)?).context("the bench's own network")
}

/// The same as its file says it.
pub(super) fn network_text(shops: u32) -> anyhow::Result<String> {
    let mut text = String::from(
        "calendar = { zone = \"Asia/Hong_Kong\" }\n\
         [[programme]]\ncode = \"POINTS\"\nissuer = \"pool\"\ncurrency = \"HKD\"\nexpires_after = \"12 months\"\n",
    );
    let shops: Vec<String> = (1..=shops).map(|no| format!("shop-{no}")).collect();
    for id in shops.iter().map(String::as_str).chain([ISSUER]) {
        write!(
            text,
            "[[partner]]\nid = \"{id}\"\nname = \"{id}\"\nnet_debit_cap = {{ HKD = \"1000000000000.00\" }}\n"
        )?;
    }
    for (id, (kind, price)) in shops
        .iter()
        .flat_map(|id| [("earn", "0.0055"), ("burn", "0.0048")].map(|kind| (id, kind)))
    {
        write!(
            text,
            "[[agreement]]\nkind = \"{kind}\"\npartner = \"{id}\"\nprogramme = \"POINTS\"\nprice = \"{price}\"\ncurrency = \"HKD\"\n\
             valid_from = \"2020-01-01T00:00:00Z\"\n"
        )?;
    }
    Ok(text)
}

impl Load {
    /// Makes and signs everything, on all processors. Ids grow with time, four messages of five earn, one burns.
    pub fn sign(options: &Options, parties: &[&Party]) -> anyhow::Result<Self> {
        let (messages, members) = (usize::try_from(options.messages)?, u64::from(options.members));
        let opening = (0..members).map(|member| (member, OPENING, false)).collect();
        let mixed = |salt: u64, messages: u32| -> Vec<Plan> {
            let draw = |no: u64| {
                let draw = mix(salt << 32 | no);
                let burn = draw.is_multiple_of(5);
                ((draw >> 8) % members, 1 + (draw >> 40) % if burn { 20 } else { 500 }, burn)
            };
            (0..u64::from(messages)).map(draw).collect()
        };
        let (all, tenth) = (options.messages, options.messages / 10);
        let bar = progress("signing", messages * 4 + messages / 5 + usize::try_from(members)?);
        let load = Self {
            opening: requests(opening, BATCH, parties, &bar)?,
            batches: requests(mixed(1, all), BATCH, parties, &bar)?,
            singles: requests(mixed(2, all), 1, parties, &bar)?,
            paced_batches: requests(mixed(3, all), BATCH, parties, &bar)?,
            paced_singles: requests(mixed(4, all), 1, parties, &bar)?,
            traced_batches: requests(mixed(5, tenth), BATCH, parties, &bar)?,
            traced_singles: requests(mixed(6, tenth), 1, parties, &bar)?,
        };
        bar.finish_and_clear();
        Ok(load)
    }
}

/// Member, points, whether it burns.
type Plan = (u64, u64, bool);

fn requests(plans: Vec<Plan>, size: usize, parties: &[&Party], bar: &indicatif::ProgressBar) -> anyhow::Result<Vec<Request>> {
    // Ids are taken in order, before the work is spread.
    let plans: Vec<_> = plans.into_iter().map(|plan| (plan, new_message_id())).collect();
    let programme: ProgrammeCode = "POINTS".parse()?;
    let sign = |(no, chunk): (usize, &[(Plan, MessageId)])| {
        let bodies = chunk.iter().map(|((no, points, burn), id)| {
            let (programme, member) = (programme.clone(), member(*no)?);
            let points: Amount = points.to_string().parse()?;
            let spend = Some(format!("{points}.50").parse()?).filter(|_| !burn);
            let body = match burn {
                true => Body::Burn { programme, member, points },
                false => Body::Earn {
                    programme,
                    member,
                    points,
                    spend,
                },
            };
            Ok((id.clone(), body))
        });
        let request = Request::sign(parties, no % parties.len(), bodies.collect::<anyhow::Result<Vec<_>>>()?);
        bar.inc(u64::try_from(chunk.len())?);
        Ok(request)
    };
    let chunks: Vec<_> = plans.chunks(size).enumerate().collect();
    chunks.into_par_iter().map(sign).collect()
}

/// A number that looks drawn by lot, the same on every run (the finaliser of splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
