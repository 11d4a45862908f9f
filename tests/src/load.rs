//! Load from several clients at once, with a record of what was acknowledged.

use partner_sdk::Trust;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clearing::commands::demo::sandbox::Party;
use partner_sdk::client::{Client, new_message_id};
use partner_sdk::wire::Outcome;
use partner_sdk::{Code, Message};
use tokio::sync::Notify;

use crate::earn;

/// How many members share the load.
pub const MEMBERS: usize = 7;

/// A message as it was sent, and the receipt if one came.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The bytes.
    pub jws: String,
    /// The receipt of its acceptance.
    pub receipt: Option<String>,
    /// Why there is none; `None` where the connection broke.
    pub code: Option<Code>,
}

/// Numbers from a seed, for tests that draw (a linear congruential generator).
pub struct Draw(u64);

impl Draw {
    /// Starts from `SEED` in the environment, or from the clock; prints the seed.
    pub fn new() -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970");
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(u64::from(now.subsec_nanos()));
        println!("SEED={seed}");
        Self(seed)
    }

    /// A number from 1 to `n`.
    pub fn upto(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        1 + (self.0 >> 33) % n
    }
}

impl From<u64> for Draw {
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}

impl Default for Draw {
    fn default() -> Self {
        Self::new()
    }
}

/// Clients of one partner that post batches of earns until something fails.
pub struct Load {
    acknowledged: Arc<AtomicUsize>,
    changed: Arc<Notify>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Sent>>>,
}

impl Load {
    /// Starts the clients on the current runtime.
    pub fn start(clients: usize, batch: usize, base: &str, party: &Party, trust: &Trust) -> Self {
        let (acknowledged, changed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let tasks = (0..clients).map(|_| {
            let client = Client::new(base, &party.identity, trust.clone()).expect("a client");
            tokio::spawn(post_until_it_fails(
                client,
                party.clone(),
                batch,
                acknowledged.clone(),
                changed.clone(),
            ))
        });
        let tasks = tasks.collect();
        Self {
            acknowledged,
            changed,
            tasks,
        }
    }

    /// Waits until so many batches were acknowledged.
    pub async fn acknowledged(&self, batches: usize) {
        while self.acknowledged.load(Ordering::SeqCst) < batches {
            self.changed.notified().await;
        }
    }

    /// Waits until every client has failed; returns all that was sent.
    pub async fn end(self) -> Vec<Sent> {
        let mut sent = vec![];
        for task in self.tasks {
            sent.extend(task.await.expect("a client"));
        }
        sent
    }
}

/// One point for one of the members.
fn message(party: &Party, n: usize) -> String {
    let now = jiff::Timestamp::now();
    let body = earn("YUU", &format!("m{}", n % MEMBERS), "1");
    Message {
        id: new_message_id(),
        sender: party.id.clone(),
        issued_at: now,
        occurred_at: now,
        body,
    }
    .sign(&party.key)
}

async fn post_until_it_fails(
    client: Client,
    party: Party,
    batch: usize,
    acknowledged: Arc<AtomicUsize>,
    changed: Arc<Notify>,
) -> Vec<Sent> {
    let mut sent = vec![];
    loop {
        let signed: Vec<String> = (0..batch).map(|n| message(&party, sent.len() + n)).collect();
        let answers = client.post_batch(&signed).await;
        let whole = match &answers {
            Err(partner_sdk::client::ClientError::Refused(problem)) => Some(problem.code),
            _ => None,
        };
        let failed = answers.is_err();
        let mut answers = answers.unwrap_or_default().into_iter();
        let mut broken = failed;
        for jws in signed {
            let answer = answers.next();
            let accepted = answer.as_ref().filter(|a| a.outcome == Some(Outcome::Accepted));
            let receipt = accepted.and_then(|a| a.receipt.clone());
            let code = answer.as_ref().and_then(|a| a.problem.as_ref()).map(|p| p.code).or(whole);
            broken |= receipt.is_none();
            sent.push(Sent { jws, receipt, code });
        }
        if broken {
            changed.notify_one();
            return sent;
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
        changed.notify_one();
    }
}

/// Sends everything again: what was acknowledged must give the same receipt, what wasn't must be accepted now, or have been all along.
pub async fn send_again(client: &Client, sent: &[Sent]) {
    for chunk in sent.chunks(500) {
        let signed: Vec<String> = chunk.iter().map(|s| s.jws.clone()).collect();
        let answers = client.post_batch(&signed).await.expect("answers");
        for (before, now) in chunk.iter().zip(&answers) {
            assert_eq!(now.outcome, Some(Outcome::Accepted), "{:?}", now.problem);
            // The proof may be by a later head of the log.
            if let Some(before) = &before.receipt {
                let entry = |receipt: &str| receipt.lines().next().map(str::to_owned);
                let now = now.receipt.as_deref().and_then(entry);
                assert_eq!(entry(before), now, "an acknowledged message has another entry");
            }
        }
    }
}
