//! Sends requests, a number of them at a time, and measures; checks the answers afterwards.

use std::time::Instant;

use anyhow::{Context, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use partner_sdk::Trust;
use partner_sdk::client::Client;
use partner_sdk::jws::sha256_hex;
use partner_sdk::trust::Reader;
use partner_sdk::wire::{Answer, Outcome};
use rayon::prelude::*;

use super::load::Request;
use super::progress;

/// What came back.
pub(super) struct Driven {
    /// From the first request to the last answer, in nanoseconds.
    pub nanos: u64,
    /// Of each request, in nanoseconds.
    pub latencies: Vec<u64>,
    /// The answers' texts, in the order of the requests.
    pub answers: Vec<String>,
}

/// Nanoseconds since `start`.
pub(super) fn nanos_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// One thread sends and receives all: the other processors are the server's.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Sends all requests, `in_flight` at a time. An answer other than 200 ends it.
pub(super) fn drive(clients: &[Client], requests: &[Request], path: &str, in_flight: usize, bar: &ProgressBar) -> anyhow::Result<Driven> {
    let one = |(no, request): (usize, &Request)| {
        let (client, body) = (clients[request.party].clone(), request.body.clone());
        let path = path.to_owned();
        async move {
            let start = Instant::now();
            let answer = client.post_unverified(&path, body).await?;
            bar.inc(1);
            anyhow::Ok((no, nanos_since(start), answer))
        }
    };
    runtime()?.block_on(async {
        let start = Instant::now();
        let sent = stream::iter(requests.iter().enumerate()).map(one).buffer_unordered(in_flight);
        let mut done: Vec<_> = sent.try_collect().await?;
        let nanos = nanos_since(start);
        done.sort_unstable_by_key(|(no, ..)| *no);
        let (latencies, answers) = done.into_iter().map(|(_, latency, answer)| (latency, answer)).unzip();
        Ok(Driven { nanos, latencies, answers })
    })
}

/// Every message was accepted, and its receipt is the clearinghouse's and about these bytes.
pub(super) fn check(requests: &[Request], answers: &[String], trust: &Trust) -> anyhow::Result<()> {
    let bar = progress("checking receipts", requests.len());
    let pairs: Vec<_> = requests.iter().zip(answers).collect();
    pairs.par_iter().try_for_each(|(request, answer)| {
        let lines: Vec<&str> = answer.lines().collect();
        let mut reader = Reader::new(trust);
        ensure!(lines.len() == request.messages.len(), "not as many answers as messages");
        for (message, line) in request.messages.iter().zip(lines) {
            let answer: Answer = serde_json::from_str(line).context("an answer that isn't JSON")?;
            ensure!(
                answer.outcome == Some(Outcome::Accepted),
                "a message was not accepted: {:?}",
                answer.problem
            );
            let (receipt, _) = reader.receipt(&answer.receipt.context("an answer without a receipt")?)?;
            ensure!(
                receipt.code.is_none() && receipt.message_sha256 == sha256_hex(message.as_bytes()),
                "another message's receipt"
            );
        }
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(())
}
