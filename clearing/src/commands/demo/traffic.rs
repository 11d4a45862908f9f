//! Partners' messages on their way, and what became of them.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use partner_sdk::client::Client;
use partner_sdk::wire::{Answer, Outcome};
use partner_sdk::{Code, Message, PartnerId};

use super::sandbox::Sandbox;

/// Messages in one request.
const BATCH: usize = 200;

/// Counts of what became of messages.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Accepted, by kind.
    pub accepted: BTreeMap<&'static str, usize>,
    /// Rejected, by code.
    pub rejected: BTreeMap<Code, usize>,
}

impl Tally {
    /// All messages.
    pub fn messages(&self) -> usize {
        self.accepted.values().sum::<usize>() + self.rejected.values().sum::<usize>()
    }

    fn add(&mut self, message: &Message, answer: &Answer) -> anyhow::Result<bool> {
        match (answer.outcome, &answer.problem) {
            (Some(Outcome::Accepted), _) => *self.accepted.entry(message.body.kind()).or_default() += 1,
            (Some(Outcome::Rejected), Some(problem)) => *self.rejected.entry(problem.code).or_default() += 1,
            (_, Some(problem)) => bail!("the service didn't take a message: {problem}"),
            _ => bail!("an answer without outcome and problem"),
        }
        Ok(answer.outcome == Some(Outcome::Accepted))
    }

    /// Adds another tally's counts.
    pub fn merge(&mut self, other: &Tally) {
        other
            .accepted
            .iter()
            .for_each(|(kind, n)| *self.accepted.entry(kind).or_default() += n);
        other
            .rejected
            .iter()
            .for_each(|(code, n)| *self.rejected.entry(*code).or_default() += n);
    }
}

/// One connection for each partner.
pub struct Traffic {
    clients: BTreeMap<PartnerId, Client>,
}

impl Traffic {
    /// Connects every partner.
    pub fn new(sandbox: &Sandbox) -> anyhow::Result<Self> {
        let clients = sandbox.parties.keys().map(|id| Ok((id.clone(), sandbox.client(id)?)));
        Ok(Self {
            clients: clients.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Signs and posts one partner's messages in order; returns the counts, and for each message whether it was accepted.
    pub async fn post(&self, sandbox: &Sandbox, sender: &PartnerId, messages: &[Message]) -> anyhow::Result<(Tally, Vec<bool>)> {
        let client = self
            .clients
            .get(sender)
            .with_context(|| format!("{sender} is no partner of the network"))?;
        let party = sandbox
            .parties
            .get(sender)
            .with_context(|| format!("{sender} is no partner of the network"))?;
        let (mut tally, mut accepted) = (Tally::default(), Vec::with_capacity(messages.len()));
        for chunk in messages.chunks(BATCH) {
            let signed: Vec<String> = chunk.iter().map(|message| message.sign(&party.key)).collect();
            let answers = client
                .post_batch(&signed)
                .await
                .with_context(|| format!("{sender} posts a batch"))?;
            for (message, answer) in chunk.iter().zip(&answers) {
                accepted.push(tally.add(message, answer)?);
            }
        }
        Ok((tally, accepted))
    }
}
