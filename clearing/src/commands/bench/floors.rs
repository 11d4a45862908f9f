//! What verification and a request cost by themselves, on the same machine in the same minute: nanoseconds of processor time.

use anyhow::{Context, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use partner_sdk::Code;
use partner_sdk::client::ClientError;
use partner_sdk::jws::{Compact, SigningKey, TYP_BATCH};

use super::drive::settle;
use super::load::Load;
use super::{Bench, SINGLES_IN_FLIGHT, cpu, progress};
use ledger::directory::Directory;

/// How many messages the floor of verification verifies.
const VERIFIED: usize = 10_000;
/// How many requests the floor of a request sends.
const REQUESTS: usize = 20_000;

fn per(nanos: u64, count: usize) -> anyhow::Result<u64> {
    nanos.checked_div(u64::try_from(count)?).context("nothing was measured")
}

/// Strict verification of signatures already taken apart, on one thread.
pub(super) fn verify(load: &Load, directory: &Directory) -> anyhow::Result<u64> {
    let texts = load.batches.iter().flat_map(|request| &request.messages).take(VERIFIED);
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
pub(super) fn request(bench: &Bench, load: &Load) -> anyhow::Result<u64> {
    let before = bench.server.cpu()?;
    refused(bench, load, REQUESTS, SINGLES_IN_FLIGHT)?;
    per(bench.server.cpu()?.saturating_sub(before), REQUESTS)
}

/// Sends so many of these, a number of them at a time: a real message under another `typ`.
pub(super) fn refused(bench: &Bench, load: &Load, count: usize, in_flight: usize) -> anyhow::Result<()> {
    let sample = load
        .singles
        .first()
        .and_then(|request| request.messages.first())
        .context("no message")?;
    let stranger = SigningKey::from_bytes("nobody-1".parse()?, &[7; 32]);
    let text = stranger.sign(TYP_BATCH, &Compact::parse(sample)?.payload);
    let bar = progress("refused requests", count);
    let one = |no: usize| {
        let (client, text, bar) = (bench.clients[no % bench.clients.len()].clone(), text.clone(), &bar);
        async move {
            let answer = client.post_unverified("/v1/messages", text).await;
            let refused = matches!(&answer, Err(ClientError::Refused(problem)) if problem.code == Code::BadHeader);
            ensure!(refused, "not refused as it should be: {answer:?}");
            bar.inc(1);
            anyhow::Ok(())
        }
    };
    let sent = stream::iter(0..count).map(one).buffer_unordered(in_flight);
    bench.runtime.block_on(async {
        settle().await;
        sent.try_collect::<()>().await
    })?;
    bar.finish_and_clear();
    Ok(())
}
