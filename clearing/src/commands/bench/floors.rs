//! What the parts of the work cost by themselves, on the same machine in the same minute: nanoseconds of one processor per message.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use migrations::{Conn, Url};
use partner_sdk::Code;
use partner_sdk::client::{Client, ClientError};
use partner_sdk::jws::{Compact, SigningKey, TYP_BATCH};
use rayon::prelude::*;

use super::drive::{nanos_since, runtime};
use super::load::{Load, Request};
use super::{SINGLES_IN_FLIGHT, progress};
use crate::posting::verify;
use ledger::directory::Directory;
use ledger::network::Network;
use ledger::{Verified, apply};
use store::{self, admin};

/// How many messages the floor of verification verifies.
const VERIFIED: usize = 10_000;
/// How many requests the floor of a request sends.
const REQUESTS: usize = 20_000;
/// Messages in one transaction of the floor of writing.
const GROUP: usize = 500;

fn per(nanos: u64, count: usize) -> anyhow::Result<u64> {
    nanos.checked_div(u64::try_from(count)?).context("nothing was measured")
}

/// Strict verification of signatures already taken apart, on one thread.
pub(super) fn verify(load: &Load, directory: &Directory) -> anyhow::Result<u64> {
    let texts = load.batches.iter().flat_map(|request| &request.messages).take(VERIFIED);
    let parsed = texts.map(|text| Compact::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    for jws in &parsed {
        let registered = directory.keys.signing(&jws.kid).context("an unknown key")?;
        jws.verify(&registered.key)?;
    }
    per(nanos_since(start), parsed.len())
}

/// The durable write of the same rows, in groups of 500, into a fresh database: from the first row to the end of the commit. Reading and applying
/// come before it in the same transaction and aren't counted.
pub(super) fn write(url: &str, network: &Network, keys: &Directory, load: &Load) -> anyhow::Result<u64> {
    let mut conn = Conn::open(&Url::new(url)).context("the database for the floor")?;
    admin::init(&mut conn, false, Timestamp::now())?;
    admin::apply_network(&mut conn, network, Timestamp::now())?;
    settlement::open_first(&mut conn, Timestamp::now())?;
    // The fresh database has no keys; the ledger looks at them again.
    let mut directory = store::load_directory(&mut conn)?;
    directory.keys = keys.keys.clone();
    let directory = Arc::new(directory);
    let verified = |requests: &[Request]| -> anyhow::Result<Vec<Arc<Verified>>> {
        let read = |request: &Request| request.messages.par_iter().map(|text| read(text, keys).map(Arc::new)).collect();
        requests
            .iter()
            .map(read)
            .collect::<anyhow::Result<Vec<Vec<_>>>>()
            .map(|all| all.concat())
    };
    let (opening, counted) = (verified(&load.opening)?, verified(&load.batches)?);
    let bar = progress("floor: bulk write", opening.len() + counted.len());
    let mut total = 0;
    for (group, counts) in opening
        .chunks(GROUP)
        .map(|g| (g, false))
        .chain(counted.chunks(GROUP).map(|g| (g, true)))
    {
        let start = conn.transaction(|conn| -> Result<Instant, store::Unready> {
            let mut set = store::load(conn, &directory, group, || Timestamp::now().as_microsecond())?;
            for message in group {
                apply(&mut set, message);
            }
            let start = Instant::now();
            store::persist(conn, &set)?;
            Ok(start)
        })?;
        total += if counts { nanos_since(start) } else { 0 };
        bar.inc(u64::try_from(group.len())?);
    }
    bar.finish_and_clear();
    per(total, counted.len())
}

fn read(text: &str, keys: &Directory) -> anyhow::Result<Verified> {
    let jws = Compact::parse(text)?;
    let registered = keys.keys.signing(&jws.kid).context("an unknown key")?;
    verify::message(text, &registered.partner, keys).map_err(|refused| anyhow::anyhow!("refused: {}", refused.problem))
}

/// A request over mutual TLS that the server refuses before it verifies anything: a real message under another `typ`. The processors' time
/// includes the driver's share.
pub(super) fn request(clients: &[Client], load: &Load) -> anyhow::Result<u64> {
    let sample = load
        .singles
        .first()
        .and_then(|request| request.messages.first())
        .context("no message")?;
    let stranger = SigningKey::from_bytes("nobody-1".parse()?, &[7; 32]);
    let text = stranger.sign(TYP_BATCH, &Compact::parse(sample)?.payload);
    let bar = progress("floor: requests", REQUESTS);
    let one = |no: usize| {
        let (client, text, bar) = (clients[no % clients.len()].clone(), text.clone(), &bar);
        async move {
            let answer = client.post_unverified("/v1/messages", text).await;
            let refused = matches!(&answer, Err(ClientError::Refused(problem)) if problem.code == Code::BadHeader);
            ensure!(refused, "not refused as it should be: {answer:?}");
            bar.inc(1);
            anyhow::Ok(())
        }
    };
    let nanos = runtime()?.block_on(async {
        let start = Instant::now();
        let sent = stream::iter(0..REQUESTS).map(one).buffer_unordered(SINGLES_IN_FLIGHT);
        sent.try_collect::<()>().await?;
        anyhow::Ok(nanos_since(start))
    })?;
    bar.finish_and_clear();
    per(nanos.saturating_mul(super::report::cores()), REQUESTS)
}
