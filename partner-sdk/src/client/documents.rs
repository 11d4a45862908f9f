//! Agreements and events, from a partner's side.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;

use super::{Client, ClientError, REQUEST_TIMEOUT};
use crate::agreement::Terms;
use crate::document::{self, Act, Action, Filed, MAX_LISTED, State};
use crate::ids::{MessageId, ProgrammeCode};
use crate::jws::general::{General, Signature};
use crate::jws::{JwsError, SigningKey, TYP_AGREEMENT, VerifyingKey};
use crate::rate::Published;
use crate::text::Why;
use crate::wire::{Body, Event, MAX_WAIT_SECONDS, Message};

impl Client {
    /// Proposes an agreement to the other partner of its terms. Terms without a salt get one; the same again is another proposal then.
    pub async fn propose(&self, terms: &Terms, key: &SigningKey) -> Result<Filed, ClientError> {
        let salt = if terms.salt.is_none() { super::new_salt() } else { terms.salt };
        let terms = Terms { salt, ..terms.clone() };
        let general = General::sign(key, TYP_AGREEMENT, document::write(&terms).as_bytes());
        self.file("/v1/agreements", general.to_json(), &general.hash()).await
    }

    /// An agreement of one's own, with where it stands.
    pub async fn agreement(&self, hash: &str) -> Result<Filed, ClientError> {
        checked(self.get(&format!("/v1/agreements/{hash}")).await?, hash, self.trust.key())
    }

    /// One's own agreements, newest first, as many requests as that takes; with `as_of`, those in force at that instant.
    pub async fn agreements(&self, as_of: Option<Timestamp>) -> Result<Vec<Filed>, ClientError> {
        let query = as_of.map(|at| format!("?as_of={at}")).unwrap_or_default();
        let mut all: Vec<Filed> = self.get(&format!("/v1/agreements{query}")).await?;
        let mut page = all.len();
        // A page that isn't full is the last one.
        while as_of.is_none() && page == MAX_LISTED {
            let Some(last) = all.last() else { break };
            let more: Vec<Filed> = self.get(&format!("/v1/agreements?after={}", last.hash)).await?;
            page = more.len();
            all.extend(more);
        }
        all.into_iter()
            .map(|one| {
                let hash = one.hash.clone();
                checked(one, &hash, self.trust.key())
            })
            .collect()
    }

    /// Signs what was proposed: exactly the document that was read, which has to be an agreement ([`Filed::terms`] shows it).
    pub async fn sign(&self, proposed: &Filed, key: &SigningKey) -> Result<Filed, ClientError> {
        let mut general = proposed.open().map_err(unreliable)?;
        proposed.terms().map_err(|_| unreliable(JwsError::NotGeneral("payload")))?;
        general.signatures.push(Signature::new(key, TYP_AGREEMENT, &general.payload));
        let path = format!("/v1/agreements/{}/signatures", proposed.hash);
        self.file(&path, general.to_json(), &proposed.hash).await
    }

    /// Takes back one's own proposal.
    pub async fn withdraw(&self, hash: &str, key: &SigningKey) -> Result<Filed, ClientError> {
        let act = word(hash, Action::Withdraw, None, None);
        self.file(&format!("/v1/agreements/{hash}/acts"), act.sign(key), hash).await
    }

    /// Turns down the other's proposal, with the reason if one is given.
    pub async fn decline(&self, hash: &str, reason: Option<Why>, key: &SigningKey) -> Result<Filed, ClientError> {
        let act = word(hash, Action::Decline, None, reason);
        self.file(&format!("/v1/agreements/{hash}/acts"), act.sign(key), hash).await
    }

    /// Ends an agreement by notice.
    pub async fn terminate(&self, hash: &str, ends_at: Timestamp, key: &SigningKey) -> Result<Filed, ClientError> {
        let act = word(hash, Action::Terminate, Some(ends_at), None);
        self.file(&format!("/v1/agreements/{hash}/acts"), act.sign(key), hash).await
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
        let reply = self.accepted(self.exchange(request.timeout(REQUEST_TIMEOUT + Duration::from_secs(wait))).await?)?;
        let read = |line| Event::verify(line, self.trust.key()).map_err(unreliable);
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

    async fn file(&self, path: &str, body: String, hash: &str) -> Result<Filed, ClientError> {
        let reply = self.accepted(self.exchange(self.request(Method::POST, path)?.body(body)).await?)?;
        checked(reply.json()?, hash, self.trust.key())
    }
}

/// A signed word of now.
pub(super) fn word(hash: &str, action: Action, ends_at: Option<Timestamp>, reason: Option<Why>) -> Act {
    Act {
        action,
        document: hash.to_owned(),
        issued_at: Timestamp::now(),
        ends_at,
        reason,
    }
}

/// A document is the one that was asked for and what its hash says, and in force only with the clearinghouse's signature over it.
fn checked(filed: Filed, hash: &str, clearing_key: &VerifyingKey) -> Result<Filed, ClientError> {
    let general = filed.open().map_err(unreliable)?;
    if filed.hash != hash {
        return Err(ClientError::ReceiptInvalid(super::ReceiptFault::OtherMessage));
    }
    let countersigned = || {
        let mut ours = general.signatures.iter().filter(|one| one.typ == TYP_AGREEMENT);
        ours.any(|one| one.verify(&general.payload, clearing_key).is_ok())
    };
    if matches!(filed.state, State::InForce | State::Superseded | State::Terminated) && !countersigned() {
        return Err(unreliable(JwsError::Signature));
    }
    Ok(filed)
}

pub(super) fn unreliable(error: JwsError) -> ClientError {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_document_asked_for_and_in_force_only_when_countersigned() {
        let key = |name: &str, secret| SigningKey::from_bytes(name.parse().expect("kid"), &[secret; 32]);
        let (partner, clearing) = (key("a-1", 1), key("clearing-1", 2));
        let filed = |general: &General, state| Filed {
            hash: general.hash(),
            kind: "agreement".into(),
            state,
            proposer: "a".into(),
            counterparty: "b".into(),
            proposed_at: Timestamp::UNIX_EPOCH,
            signatures: vec![],
            in_force_from: None,
            in_force_until: None,
            document: general.to_json(),
        };
        let mut general = General::sign(&partner, TYP_AGREEMENT, b"{}");
        let read = |filed: Filed, hash: &str| checked(filed, hash, &clearing.verifying_key());
        assert!(read(filed(&general, State::Proposed), &general.hash()).is_ok());
        let other = General::sign(&partner, TYP_AGREEMENT, b"{\"a\":1}");
        assert!(read(filed(&general, State::Proposed), &other.hash()).is_err(), "another document");
        let lies = Filed {
            hash: other.hash(),
            ..filed(&general, State::Proposed)
        };
        assert!(read(lies, &other.hash()).is_err(), "other bytes under the name");
        assert!(
            read(filed(&general, State::InForce), &general.hash()).is_err(),
            "nobody has countersigned"
        );
        general.signatures.push(Signature::new(&clearing, "points-receipt+jws", b"{}"));
        assert!(
            read(filed(&general, State::InForce), &general.hash()).is_err(),
            "not as an agreement"
        );
        general.signatures.push(Signature::new(&clearing, TYP_AGREEMENT, b"{}"));
        assert!(read(filed(&general, State::InForce), &general.hash()).is_ok());
    }
}
