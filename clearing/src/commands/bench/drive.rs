//! Sends requests, a number of them at a time or at a rate, and measures; checks the answers afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use partner_sdk::Trust;
use partner_sdk::client::{Client, ClientError};
use partner_sdk::jws::sha256_hex;
use partner_sdk::trust::Reader;
use partner_sdk::wire::{Answer, Outcome};
use rayon::prelude::*;
use tokio::sync::mpsc;

use super::load::{Request, Sent};
use super::wire::Wire;
use crate::commands::progress::bar;

/// What came back.
pub(super) struct Driven {
    /// From the first request to the last answer, in nanoseconds.
    pub nanos: u64,
    /// Of each request, in nanoseconds.
    pub latencies: Vec<u64>,
    /// When each was due, or sent where nothing says when.
    pub began: Vec<Instant>,
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

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// So many are on their way at the same time: a further one goes when an answer comes (a closed loop).
    InFlight(usize),
    /// So many messages a second, whatever the answers do (an open loop); one that finds no connection free waits, and its time counts from when it was due.
    PerSecond(u64),
}

/// When a request is due after the first one's start, where each has `messages` and so many of these go a second.
fn due(no: usize, messages: usize, per_second: u64) -> Duration {
    let nanos = no as u128 * messages as u128 * 1_000_000_000 / u128::from(per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The requests' numbers, each when it is due, with that instant. A thread waits for them, since the runtime's own timer is as coarse as an answer is quick.
fn schedule(count: usize, messages: usize, per_second: u64) -> impl Stream<Item = (usize, Option<Instant>)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let start = Instant::now();
        for no in 0..count {
            let due = start + due(no, messages, per_second);
            // The rate itself: a request goes when it is due, whatever has happened meanwhile.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send((no, Some(due))).is_err() {
                return;
            }
        }
    });
    stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)))
}

/// Sends all requests, of which each has as many messages as the first, and tells `answered` the number of each that is. Nobody has looked at the answers yet. An answer other than 200 ends it. What a request takes counts from when it was due: one
/// that waits for others to be sent has waited too.
pub(super) fn drive(
    wire: &Wire,
    what: &str,
    (requests, way): Sent,
    pace: Pace,
    answered: impl Fn(usize) + Send + Sync + 'static,
) -> anyhow::Result<Driven> {
    let bar = bar(what, requests.len());
    let (moved, path) = (bar.clone(), way.path);
    let to_send = requests
        .iter()
        .map(|request| (wire.clients[request.party].clone(), request.body.clone()));
    let to_send: Vec<(Client, Arc<str>)> = to_send.collect();
    let (count, messages) = (requests.len(), requests.first().map_or(1, |request| request.messages.len()));
    let answered = Arc::new(move |no| {
        moved.inc(1);
        answered(no);
    });
    let one = move |(no, due): (usize, Option<Instant>)| {
        let ((client, body), answered) = (to_send[no].clone(), answered.clone());
        async move {
            let start = due.unwrap_or_else(Instant::now);
            let mut answer = client.post_unverified(path, body.to_string()).await;
            // The service may close an idle connection just when it is used. As every partner does: the same bytes again, which have the same receipt. The time goes on.
            if matches!(answer, Err(ClientError::Transport(_))) {
                answer = client.post_unverified(path, body.to_string()).await;
            }
            let answer = answer?;
            let latency = nanos_since(start);
            answered(no);
            anyhow::Ok((no, start, latency, answer))
        }
    };
    let most = wire.connections();
    let driven = wire.run(async move {
        let start = Instant::now();
        let mut done: Vec<_> = match pace {
            Pace::InFlight(most) => {
                let sent = stream::iter((0..count).map(|no| (no, None))).map(one);
                sent.buffer_unordered(most).try_collect().await?
            }
            Pace::PerSecond(rate) => {
                let sent = schedule(count, messages, rate).map(one);
                sent.buffer_unordered(most).try_collect().await?
            }
        };
        let nanos = nanos_since(start);
        done.sort_unstable_by_key(|(no, ..)| *no);
        let (began, (latencies, answers)) = done
            .into_iter()
            .map(|(_, start, latency, answer)| (start, (latency, answer)))
            .unzip();
        Ok(Driven {
            nanos,
            latencies,
            began,
            answers,
        })
    })?;
    bar.finish_and_clear();
    Ok(driven)
}

/// Every message was accepted, and its receipt is the clearinghouse's and about these bytes.
pub(super) fn check(requests: &[Request], answers: &[String], trust: &Trust) -> anyhow::Result<()> {
    let bar = bar("checking receipts", requests.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_due_when_the_rate_says_so() {
        assert_eq!(due(0, 100, 8_000), Duration::ZERO);
        assert_eq!(due(1, 100, 8_000), Duration::from_micros(12_500));
        assert_eq!(due(80, 100, 8_000), Duration::from_secs(1));
        // Nothing is lost to rounding on the way.
        assert_eq!(due(3_000_000, 1, 3), Duration::from_secs(1_000_000));
        assert_eq!(due(3, 1, 0), Duration::from_secs(3));
    }

    #[test]
    fn the_schedule_waits_for_no_answer() {
        let runtime = runtime().expect("a runtime");
        let start = Instant::now();
        let all: Vec<_> = runtime.block_on(schedule(5, 1, 200).collect());
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(all.iter().map(|(no, _)| *no).eq(0..5));
        let instants: Vec<Instant> = all.into_iter().filter_map(|(_, due)| due).collect();
        assert!(instants.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(5)));
    }
}
