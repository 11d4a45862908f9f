//! Exchanges that the issuer of a programme with external custody was told to credit, as their parties see them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{MemberNumber, MessageId, PartnerId, ProgrammeCode};

/// Where such an exchange stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeState {
    /// The issuer was told to credit, and still has time to answer.
    Instructed,
    /// Its time is over and there is no answer: it may have credited or not. Only its answer ends this.
    Unknown,
    /// It has credited; the points are taken and the money is posted.
    Captured,
    /// It has refused; nothing was taken.
    Released,
}

impl ExchangeState {
    /// The state as it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instructed => "instructed",
            Self::Unknown => "unknown",
            Self::Captured => "captured",
            Self::Released => "released",
        }
    }
}

impl std::fmt::Display for ExchangeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An exchange into a programme with external custody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructedExchange {
    /// Who sent the exchange.
    pub sender: PartnerId,
    /// The exchange message's id.
    pub id: MessageId,
    /// Its place in the ledger: pages of a list go on after it.
    pub sequence: i64,
    /// The programme that gives.
    pub programme: ProgrammeCode,
    /// Points that leave it.
    pub points: String,
    /// The programme that takes.
    pub to_programme: ProgrammeCode,
    /// The member's number there.
    pub to_member: MemberNumber,
    /// Points to be credited, without bonus.
    pub credited: String,
    /// Bonus points on top.
    pub bonus: String,
    /// Where it stands.
    pub state: ExchangeState,
    /// When the issuer was told.
    pub instructed_at: Timestamp,
    /// Until when it has time to answer.
    pub deadline: Timestamp,
    /// How long it has been open, in seconds; not stated once it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
    /// How often the issuer was asked again.
    pub queries: i32,
    /// When the issuer answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// The reference of its acknowledgement, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The reason of its refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
