//! Disputes: a partner doesn't owe what a line of its statement says, or a part of it. A document that it signs; the other answers, or two of the operator's people decide.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::document::Filed;
use crate::ids::{Currency, MessageId, PartnerId};
use crate::salt::Salt;
use crate::text;

/// How long after its statement came out a line may be disputed, in days of 24 hours.
pub const FILE_WITHIN_DAYS: i64 = 30;
/// How long the other party has to answer, in days of 24 hours; after that it may be decided without an answer.
pub const ANSWER_WITHIN_DAYS: i64 = 10;

/// A dispute's terms: what is signed. It is about a line by which `partner` owes `counterparty`, or about one message in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeTerms {
    /// The window of the statement.
    pub business_date: Date,
    /// Who disputes: it owes by the line.
    pub partner: PartnerId,
    /// Whom it owes; `clearing` for a fee.
    pub counterparty: PartnerId,
    /// The line, as it stands on the statement.
    pub line: DisputedLine,
    /// One message of the line; without it, the line as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<DisputedMessage>,
    /// How much isn't owed: above zero, a whole number of minor units, at most what the line (or the message in it) says, rounded up to one.
    pub amount: Amount,
    /// Of the amount.
    pub currency: Currency,
    /// Why.
    #[serde(deserialize_with = "text::reason")]
    pub reason: String,
    /// The SHA-256 of a document that shows it, which the parties exchange by themselves: 64 digits of lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_sha256: Option<String>,
    /// Random bits of the proposer's, so that the hash tells nobody the rest.
    #[serde(default)]
    pub salt: Salt,
}

/// What tells a line from the others of a statement, beside counterparty, currency and that the partner owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputedLine {
    /// `kind`, e.g. `earn`.
    pub kind: String,
    /// The hash of its agreement.
    pub agreement: String,
    /// `price`, to the letter.
    pub price: String,
}

/// A message by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputedMessage {
    /// Who sent it.
    pub sender: PartnerId,
    /// Its id.
    pub id: MessageId,
}

/// A dispute with where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// The document: `proposed` is unanswered, `declined` is contested, `in_force` is conceded or decided.
    #[serde(flatten)]
    pub filed: Filed,
    /// Until when the other party may answer.
    pub answer_by: Timestamp,
    /// Whether the amount is taken out of the window's payments, to be paid as it is decided; else it is paid first, and what isn't owed comes back.
    pub carved_out: bool,
    /// How much isn't owed, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upheld: Option<String>,
    /// What was posted for it, in a window that was open then; nothing where nothing had to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjustment: Option<Adjustment>,
}

/// The outcome of a dispute as a posting of its own, under the dispute's hash as its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// Who owes it.
    pub debtor: PartnerId,
    /// Whom.
    pub creditor: PartnerId,
    /// Of the amount.
    pub currency: Currency,
    /// How much.
    pub amount: String,
    /// In which window.
    pub window: Date,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dispute_is_read_as_it_was_written() {
        let text = r#"{"amount":"11","business_date":"2026-11-21","counterparty":"pool","currency":"HKD","evidence_sha256":"00","line":{"agreement":"aa","kind":"earn","price":"0.005500"},"message":{"id":"m-1","sender":"wellcome"},"partner":"wellcome","reason":"twice","salt":"00112233445566778899aabbccddeeff"}"#;
        let read: DisputeTerms = crate::document::read(text.as_bytes()).expect("good");
        assert_eq!(crate::document::write(&read), text);
        let without = text.replace(r#""salt":"00112233445566778899aabbccddeeff""#, r#""sal":"00""#);
        assert!(crate::document::read::<DisputeTerms>(without.as_bytes()).is_err());
    }
}
