//! The clearinghouse's signed answers.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::Salt;
use crate::ids::{MessageId, PartnerId};
use crate::jws::{Compact, JwsError, SigningKey, TYP_RECEIPT, VerifyingKey};
use crate::problem::{Code, Problem};
use crate::strict::{Fields, StrictError, write_canonical, write_object};

/// Whether a message had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Posted: it is in the books for good.
    Accepted,
    /// Refused: it had no effect and never will.
    Rejected,
}

/// What the clearinghouse says about a message, in an entry of its log or, where that leaves no trace, in a signed answer. The same kept message always gets
/// the same entry, to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// SHA-256 of the message's bytes, in hexadecimal: of the compact JWS, or of the message's own bytes in a signed batch.
    pub message_sha256: String,
    /// Who sent it.
    pub sender: PartnerId,
    /// The message's id; absent where the payload couldn't be read.
    pub id: Option<MessageId>,
    /// Why it was rejected; absent for an accepted one.
    pub code: Option<Code>,
    /// The field at fault.
    pub field: Option<String>,
    /// Its place in the ledger; absent for a rejection that isn't kept (the payload couldn't be read, the key doesn't count, or the id is
    /// another message's).
    pub sequence: Option<i64>,
    /// The business date of the settlement window that it belongs to; absent with `sequence`.
    pub window: Option<Date>,
    /// The clearinghouse's time.
    pub posted_at: Timestamp,
    /// What came of it, or what is offered: see docs/PROTOCOL.md for the names (`points`, `credited`, `expires_at`, `recoverable` and so on).
    pub facts: Vec<(String, String)>,
    /// Random bits that keep the entry from being guessed, where the message has no signature of its own: one of a signed batch.
    pub salt: Option<Salt>,
}

/// What `entry` says in the entry of a message.
const MESSAGE: &str = "message";

/// The names that facts may have.
const FACTS: [&str; 32] = [
    "points",
    "credited",
    "bonus",
    "left_over",
    "member_fee",
    "member_fee_currency",
    "expires_at",
    "better_path",
    "better_credited",
    "state",
    "deadline",
    "recoverable",
    "whose",
    "currency",
    "limit",
    "used",
    "room",
    "available",
    "balance",
    "held",
    "debt",
    "minimum",
    "maximum",
    "step",
    "decimals",
    "kind",
    "quoted",
    "status",
    "at",
    "earliest",
    "after",
    "latest",
];

impl Receipt {
    /// Accepted or rejected.
    pub fn outcome(&self) -> Outcome {
        if self.code.is_some() {
            Outcome::Rejected
        } else {
            Outcome::Accepted
        }
    }

    /// One fact by its name.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The log's entry: what the receipt says, as canonical JSON.
    pub fn entry(&self) -> String {
        let mut fields = self.fields();
        fields.push(("entry", MESSAGE.into()));
        write_canonical(fields)
    }

    /// Writes the payload.
    pub fn payload(&self) -> String {
        write_object(self.fields())
    }

    fn fields(&self) -> Vec<(&str, Cow<'_, str>)> {
        let mut fields: Vec<(&str, Cow<'_, str>)> = vec![
            ("message_sha256", self.message_sha256.as_str().into()),
            ("sender", self.sender.as_str().into()),
            (
                "outcome",
                if self.code.is_some() {
                    "rejected".into()
                } else {
                    "accepted".into()
                },
            ),
            ("posted_at", self.posted_at.to_string().into()),
        ];
        fields.extend(self.id.iter().map(|id| ("id", id.as_str().into())));
        fields.extend(self.code.map(|code| ("code", code.as_str().into())));
        fields.extend(self.field.iter().map(|field| ("field", field.as_str().into())));
        fields.extend(self.sequence.map(|sequence| ("sequence", sequence.to_string().into())));
        fields.extend(self.window.map(|window| ("window", window.to_string().into())));
        fields.extend(self.facts.iter().map(|(key, value)| (key.as_str(), value.as_str().into())));
        fields.extend(self.salt.map(|salt| ("salt", salt.to_string().into())));
        fields
    }

    /// Signs the receipt as a compact JWS.
    pub fn sign(&self, key: &SigningKey) -> String {
        key.sign(TYP_RECEIPT, self.payload().as_bytes())
    }

    /// Reads an entry of the log strictly: that of a message.
    pub fn parse_entry(entry: &[u8]) -> Result<Self, StrictError> {
        let mut fields = Fields::parse(entry)?;
        let kind: String = fields.take("entry")?;
        if kind != MESSAGE {
            return Err(StrictError::Value {
                field: "entry".into(),
                why: "must be that of a message".into(),
            });
        }
        Self::read(fields)
    }

    /// Reads the payload of a signed refusal strictly.
    pub fn parse(payload: &[u8]) -> Result<Self, StrictError> {
        Self::read(Fields::parse(payload)?)
    }

    fn read(mut fields: Fields) -> Result<Self, StrictError> {
        let outcome: String = fields.take("outcome")?;
        let receipt = Self {
            message_sha256: fields.take("message_sha256")?,
            sender: fields.take("sender")?,
            id: fields.maybe("id")?,
            code: fields.maybe("code")?,
            field: fields.maybe("field")?,
            sequence: fields.maybe("sequence")?,
            window: fields.maybe("window")?,
            posted_at: fields.take("posted_at")?,
            facts: FACTS
                .iter()
                .filter_map(|name| Some((String::from(*name), fields.optional(name)?)))
                .collect(),
            salt: fields.maybe("salt")?,
        };
        fields.finish()?;
        if outcome != if receipt.code.is_some() { "rejected" } else { "accepted" } {
            return Err(StrictError::Value {
                field: "outcome".into(),
                why: "must agree with code".into(),
            });
        }
        Ok(receipt)
    }

    /// Verifies a signed refusal with the clearinghouse's key and reads it. What the ledger keeps isn't signed like that: see [`crate::Trust::receipt`].
    pub fn verify(text: &str, key: &VerifyingKey) -> Result<Self, JwsError> {
        let jws = Compact::parse_as(text, TYP_RECEIPT)?;
        jws.verify(key)?;
        let receipt = Self::parse(&jws.payload).map_err(JwsError::Header)?;
        if receipt.sequence.is_some() || receipt.code.is_none() {
            return Err(JwsError::Header(StrictError::Value {
                field: "sequence".into(),
                why: "stands in the log, and isn't signed by itself".into(),
            }));
        }
        Ok(receipt)
    }
}

/// One line of an answer: the receipt, and for a rejection the problem too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What became of the message; absent where that isn't known, or nothing was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The signed receipt; absent where the signature wasn't good, or nothing was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_as_it_was_signed() {
        let key = SigningKey::from_bytes("clearing-1".parse().expect("kid"), &[3; 32]);
        let receipt = Receipt {
            message_sha256: "ab".repeat(32),
            sender: "wellcome".parse().expect("partner"),
            id: Some("a-1".parse().expect("id")),
            code: Some(Code::ClawbackLimited),
            field: Some("points".into()),
            sequence: None,
            window: None,
            posted_at: "2017-01-31T10:00:00.25Z".parse().expect("time"),
            facts: vec![("recoverable".into(), "400".into())],
            salt: None,
        };
        let text = receipt.sign(&key);
        assert_eq!(Receipt::verify(&text, &key.verifying_key()), Ok(receipt.clone()));
        assert_eq!(text, receipt.sign(&key));
        let other = SigningKey::from_bytes("clearing-1".parse().expect("kid"), &[4; 32]);
        assert_eq!(Receipt::verify(&text, &other.verifying_key()), Err(JwsError::Signature));
    }
}
