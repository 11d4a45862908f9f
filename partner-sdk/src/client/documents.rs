//! Agreements and events, from a partner's side.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;

use super::{Client, ClientError, REQUEST_TIMEOUT, exchange};
use crate::agreement::Terms;
use crate::document::{self, Act, Action, Filed, State};
use crate::ids::{MessageId, ProgrammeCode};
use crate::jws::general::{General, Signature};
use crate::jws::{JwsError, SigningKey, TYP_AGREEMENT};
use crate::rate::Published;
use crate::wire::{Body, Event, MAX_WAIT_SECONDS, Message};

impl Client {
    /// Proposes an agreement to the other partner of its terms.
    pub async fn propose(&self, terms: &Terms, key: &SigningKey) -> Result<Filed, ClientError> {
        let payload = document::write(terms);
        self.file("/v1/agreements", General::sign(key, TYP_AGREEMENT, payload.as_bytes()).to_json())
            .await
    }

    /// An agreement of one's own, with where it stands.
    pub async fn agreement(&self, hash: &str) -> Result<Filed, ClientError> {
        checked(self.get(&format!("/v1/agreements/{hash}")).await?)
    }

    /// One's own agreements, newest first; with `as_of`, those in force at that instant.
    pub async fn agreements(&self, as_of: Option<Timestamp>) -> Result<Vec<Filed>, ClientError> {
        let query = as_of.map(|at| format!("?as_of={at}")).unwrap_or_default();
        self.get(&format!("/v1/agreements{query}")).await
    }

    /// Signs what was proposed: exactly the document that was read.
    pub async fn sign(&self, proposed: &Filed, key: &SigningKey) -> Result<Filed, ClientError> {
        let mut general = proposed.open().map_err(unreliable)?;
        general.signatures.push(Signature::new(key, TYP_AGREEMENT, &general.payload));
        self.file(&format!("/v1/agreements/{}/signatures", proposed.hash), general.to_json())
            .await
    }

    /// Takes back one's own proposal.
    pub async fn withdraw(&self, hash: &str, key: &SigningKey) -> Result<Filed, ClientError> {
        self.act(hash, Action::Withdraw, None, key).await
    }

    /// Turns down the other's proposal.
    pub async fn decline(&self, hash: &str, key: &SigningKey) -> Result<Filed, ClientError> {
        self.act(hash, Action::Decline, None, key).await
    }

    /// Ends an agreement by notice.
    pub async fn terminate(&self, hash: &str, ends_at: Timestamp, key: &SigningKey) -> Result<Filed, ClientError> {
        self.act(hash, Action::Terminate, Some(ends_at), key).await
    }

    async fn act(&self, hash: &str, action: Action, ends_at: Option<Timestamp>, key: &SigningKey) -> Result<Filed, ClientError> {
        let act = Act {
            action,
            document: hash.to_owned(),
            issued_at: Timestamp::now(),
            ends_at,
        };
        self.file(&format!("/v1/agreements/{hash}/acts"), act.sign(key)).await
    }

    /// Waits until an agreement has come to a state, or to one from which it can't; returns it as it then is.
    pub async fn until(&self, hash: &str, state: State) -> Result<Filed, ClientError> {
        let mut after = 0;
        loop {
            let filed = self.agreement(hash).await?;
            let over = matches!(
                filed.state,
                State::Withdrawn | State::Declined | State::Superseded | State::Terminated
            );
            if filed.state == state || over {
                return Ok(filed);
            }
            let news = self.events(after, Duration::from_secs(u64::from(MAX_WAIT_SECONDS))).await?;
            after = news.last().map_or(after, |event| event.no);
        }
    }

    /// What happened after event number `after`, in order; waits up to `wait` (at most 25 s) where there is nothing yet. Each entry's signature is verified.
    pub async fn events(&self, after: i64, wait: Duration) -> Result<Vec<Event>, ClientError> {
        let wait = wait.as_secs().min(u64::from(MAX_WAIT_SECONDS));
        let path = format!("/v1/events?after={after}&wait={wait}");
        let request = self.request(Method::GET, &path)?;
        let reply = self.accepted(exchange(request.timeout(REQUEST_TIMEOUT + Duration::from_secs(wait))).await?)?;
        let read = |line| Event::verify(line, &self.clearing_key).map_err(unreliable);
        reply.text()?.lines().map(read).collect()
    }

    /// The rates and bonuses in force now, or at an instant.
    pub async fn rates(&self, as_of: Option<Timestamp>) -> Result<Vec<Published>, ClientError> {
        let query = as_of.map(|at| format!("?as_of={at}")).unwrap_or_default();
        self.get(&format!("/v1/rates{query}")).await
    }

    /// Every rate and bonus that there ever was from one programme to another, oldest first, and those to come.
    pub async fn rate_history(&self, from: &ProgrammeCode, to: &ProgrammeCode) -> Result<Vec<Published>, ClientError> {
        self.get(&format!("/v1/rates/{from}/{to}")).await
    }

    async fn file(&self, path: &str, body: String) -> Result<Filed, ClientError> {
        let reply = self.accepted(exchange(self.request(Method::POST, path)?.body(body)).await?)?;
        checked(reply.json()?)
    }
}

/// A document is what its hash says, or it is nothing.
fn checked(filed: Filed) -> Result<Filed, ClientError> {
    filed.open().map_err(unreliable)?;
    Ok(filed)
}

fn unreliable(error: JwsError) -> ClientError {
    ClientError::ReceiptInvalid(super::ReceiptFault::Signature(error))
}

impl Message {
    /// A message of now, with a new id.
    ///
    /// # Panics
    /// Where the operating system gives no random bytes.
    pub fn now(sender: crate::ids::PartnerId, body: Body) -> Self {
        let (id, now): (MessageId, _) = (super::new_message_id(), Timestamp::now());
        Self {
            id,
            sender,
            issued_at: now,
            occurred_at: now,
            body,
        }
    }
}
