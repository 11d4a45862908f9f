//! Disputes, from a partner's side.

use reqwest::Method;

use super::documents::{unreliable, word};
use super::{Client, ClientError, ReceiptFault};
use crate::dispute::{Dispute, DisputeTerms};
use crate::document::{self, Action, MAX_LISTED};
use crate::jws::general::{General, Signature};
use crate::jws::{SigningKey, TYP_DISPUTE};
use crate::text::Why;

impl Client {
    /// Disputes what one owes by a line of one's statement. Terms without a salt get one; the same again is another dispute then.
    pub async fn dispute(&self, terms: &DisputeTerms, key: &SigningKey) -> Result<Dispute, ClientError> {
        let salt = if terms.salt.is_none() { super::new_salt() } else { terms.salt };
        let terms = DisputeTerms { salt, ..terms.clone() };
        let general = General::sign(key, TYP_DISPUTE, document::write(&terms).as_bytes());
        self.disputed("/v1/disputes", general.to_json(), &general.hash()).await
    }

    /// A dispute of one's own, or about what one is owed, with where it stands.
    pub async fn dispute_of(&self, hash: &str) -> Result<Dispute, ClientError> {
        checked(self.get(&format!("/v1/disputes/{hash}")).await?, hash)
    }

    /// All that one is a party of, newest first, as many requests as that takes.
    pub async fn disputes(&self) -> Result<Vec<Dispute>, ClientError> {
        let mut all: Vec<Dispute> = self.get("/v1/disputes").await?;
        let mut page = all.len();
        // A page that isn't full is the last one.
        while page == MAX_LISTED {
            let Some(last) = all.last() else { break };
            let more: Vec<Dispute> = self.get(&format!("/v1/disputes?after={}", last.filed.hash)).await?;
            page = more.len();
            all.extend(more);
        }
        let check = |one: Dispute| {
            let hash = one.filed.hash.clone();
            checked(one, &hash)
        };
        all.into_iter().map(check).collect()
    }

    /// Concedes what another disputes: exactly the document that was read. All of it isn't owed then.
    pub async fn concede(&self, dispute: &Dispute, key: &SigningKey) -> Result<Dispute, ClientError> {
        let mut general = dispute.filed.open().map_err(unreliable)?;
        general.signatures.push(Signature::new(key, TYP_DISPUTE, &general.payload));
        let hash = &dispute.filed.hash;
        self.disputed(&format!("/v1/disputes/{hash}/signatures"), general.to_json(), hash)
            .await
    }

    /// Contests what another disputes, with the reason if one is given: two of the operator's people decide.
    pub async fn contest(&self, hash: &str, reason: Option<Why>, key: &SigningKey) -> Result<Dispute, ClientError> {
        let act = word(hash, Action::Decline, None, reason);
        self.disputed(&format!("/v1/disputes/{hash}/acts"), act.sign(key), hash).await
    }

    /// Takes back one's own dispute: all of it is owed.
    pub async fn withdraw_dispute(&self, hash: &str, key: &SigningKey) -> Result<Dispute, ClientError> {
        let act = word(hash, Action::Withdraw, None, None);
        self.disputed(&format!("/v1/disputes/{hash}/acts"), act.sign(key), hash).await
    }

    async fn disputed(&self, path: &str, body: String, hash: &str) -> Result<Dispute, ClientError> {
        let reply = self.accepted(self.exchange(self.request(Method::POST, path)?.body(body)).await?)?;
        checked(reply.json()?, hash)
    }
}

/// A dispute is the one that was asked for, and what its hash says.
fn checked(dispute: Dispute, hash: &str) -> Result<Dispute, ClientError> {
    dispute.filed.open().map_err(unreliable)?;
    match dispute.filed.hash == hash {
        true => Ok(dispute),
        false => Err(ClientError::ReceiptInvalid(ReceiptFault::OtherMessage)),
    }
}
