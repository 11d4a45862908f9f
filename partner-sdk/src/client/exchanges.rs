//! Exchanges with programmes whose issuers keep the balances.

use super::{Client, ClientError};
use crate::ids::{MessageId, PartnerId};
use crate::wire::InstructedExchange;

impl Client {
    /// One's own open exchanges after sequence number `after` (0: from the start), oldest first, up to a thousand: those that one sent, and those that
    /// wait for one's answer.
    pub async fn open_exchanges(&self, after: i64) -> Result<Vec<InstructedExchange>, ClientError> {
        self.get(&format!("/v1/exchanges?state=open&after={after}")).await
    }

    /// One exchange that one sent, or that one was told to credit.
    pub async fn instructed_exchange(&self, sender: &PartnerId, id: &MessageId) -> Result<InstructedExchange, ClientError> {
        self.get(&format!("/v1/exchanges/{sender}/{id}")).await
    }
}
