//! What verification and a request cost by themselves, on the same machine in the same minute: nanoseconds of processor time.

use anyhow::{Context, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use partner_sdk::Code;
use partner_sdk::client::ClientError;
use partner_sdk::jws::{Compact, SigningKey, TYP_BATCH};

use super::cpu;
use super::load::Request;
use super::service::Bench;
use super::way::SINGLES;
use crate::commands::progress::bar;
use ledger::directory::Directory;

/// How many messages the floor of verification verifies.
const VERIFIED: usize = 10_000;
/// How many requests the floor of a request sends.
const REQUESTS: usize = 20_000;

fn per(nanos: u64, count: usize) -> anyhow::Result<u64> {
    nanos.checked_div(u64::try_from(count)?).context("nothing was measured")
}

/// Strict verification of signatures already taken apart, on one thread.
pub(super) fn verify(requests: &[Request], directory: &Directory) -> anyhow::Result<u64> {
    let texts = requests.iter().flat_map(|request| &request.messages).take(VERIFIED);
    let parsed = texts.map(|text| Compact::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let before = cpu::thread()?;
    for jws in &parsed {
        let registered = directory.keys.signing(&jws.kid).context("an unknown key")?;
        jws.verify(&registered.key)?;
    }
    per(cpu::thread()?.saturating_sub(before), parsed.len())
}

/// A request over mutual TLS that the server refuses before it verifies anything. The server's processor time alone, so that what the driver does counts neither
/// here nor where messages are accepted.
pub(super) fn request(bench: &Bench, sample: &[Request]) -> anyhow::Result<u64> {
    let before = bench.server.cpu()?;
    refused(bench, sample, REQUESTS, SINGLES.in_flight)?;
    per(bench.server.cpu()?.saturating_sub(before), REQUESTS)
}

/// Sees to it that all connections are there.
pub(super) fn connected(bench: &Bench, sample: &[Request]) -> anyhow::Result<()> {
    refused(bench, sample, 2 * bench.wire.connections(), bench.wire.connections())
}

/// Sends so many of these, a number of them at a time: a real message under another `typ`.
fn refused(bench: &Bench, sample: &[Request], count: usize, in_flight: usize) -> anyhow::Result<()> {
    let sample = sample.first().and_then(|request| request.messages.first()).context("no message")?;
    let stranger = SigningKey::from_bytes("nobody-1".parse()?, &[7; 32]);
    // The messages of a signed batch are payloads already.
    let payload = Compact::parse(sample).map_or_else(|_| sample.clone().into_bytes(), |jws| jws.payload);
    let text = stranger.sign(TYP_BATCH, &payload);
    let bar = bar("refused requests", count);
    let (clients, moved) = (bench.wire.clients.clone(), bar.clone());
    let one = move |no: usize| {
        let (client, text, bar) = (clients[no % clients.len()].clone(), text.clone(), moved.clone());
        async move {
            let answer = client.post_unverified("/v1/messages", text).await;
            let refused = matches!(&answer, Err(ClientError::Refused(problem)) if problem.code == Code::BadHeader);
            ensure!(refused, "not refused as it should be: {answer:?}");
            bar.inc(1);
            anyhow::Ok(())
        }
    };
    let sent = stream::iter(0..count).map(one).buffer_unordered(in_flight);
    bench.wire.run(sent.try_collect::<()>())?;
    bar.finish_and_clear();
    Ok(())
}
