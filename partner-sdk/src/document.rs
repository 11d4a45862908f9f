//! Documents that several sign (DESIGN section 6): agreements between partners, and changes by the operator's people.
//!
//! A document's payload is canonical JSON, its name the SHA-256 of those bytes. Every term stands in it: what would be a default is written
//! out, so that no later version of a program can read a signed paper differently.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agreement::Terms;
use crate::jcs;
use crate::jws::general::General;
use crate::jws::{Compact, JwsError, SigningKey, TYP_ACT};
use crate::reading::{self, Fault, What};
use crate::strict::{Fields, StrictError, write_object};
use crate::text::Why;
use crate::wire::WireTime;

/// The most agreements in one answer to a list.
pub const MAX_LISTED: usize = 100;

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Between two partners.
    Agreement,
    /// By the operator's people.
    Change,
    /// Of a line of a statement.
    Dispute,
}

impl Kind {
    /// The name in the database and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Agreement => "agreement",
            Kind::Change => "change",
            Kind::Dispute => "dispute",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "agreement" => Ok(Kind::Agreement),
            "change" => Ok(Kind::Change),
            "dispute" => Ok(Kind::Dispute),
            _ => Err("not a kind of document".to_owned()),
        }
    }
}

/// Where a document stands. Each step is final but the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Signed by its proposer.
    Proposed,
    /// Signed by both partners; it waits for the operator.
    Signed,
    /// Countersigned by the clearinghouse: in force from its date.
    InForce,
    /// Another document has taken its place.
    Superseded,
    /// It ends, or has ended, by notice.
    Terminated,
    /// Taken back by its proposer before it was in force.
    Withdrawn,
    /// Turned down by whoever was to sign it.
    Declined,
}

impl State {
    /// All of them.
    pub const ALL: [State; 7] = [
        State::Proposed,
        State::Signed,
        State::InForce,
        State::Superseded,
        State::Terminated,
        State::Withdrawn,
        State::Declined,
    ];

    /// The name as it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Proposed => "proposed",
            State::Signed => "signed",
            State::InForce => "in_force",
            State::Superseded => "superseded",
            State::Terminated => "terminated",
            State::Withdrawn => "withdrawn",
            State::Declined => "declined",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for State {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| "not a document's state".to_owned())
    }
}

/// What a party may do to a document that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Read it, with its signatures.
    Fetch,
    /// Sign it as the other partner.
    Sign,
    /// Put it in force, as one of the operator's people.
    Approve,
    /// Take back what one has proposed.
    Withdraw,
    /// Turn down what one was asked to sign.
    Decline,
    /// End it by notice.
    Terminate,
    /// Propose another document in its place.
    Supersede,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 7] = [
        Action::Fetch,
        Action::Sign,
        Action::Approve,
        Action::Withdraw,
        Action::Decline,
        Action::Terminate,
        Action::Supersede,
    ];

    /// The name as it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Fetch => "fetch",
            Action::Sign => "sign",
            Action::Approve => "approve",
            Action::Withdraw => "withdraw",
            Action::Decline => "decline",
            Action::Terminate => "terminate",
            Action::Supersede => "supersede",
        }
    }
}

impl std::str::FromStr for Action {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|action| action.as_str() == text);
        known.ok_or_else(|| "not something that is done to a document".to_owned())
    }
}

/// Why a payload isn't read. A term is named by its path, e.g. `change.cap.amount`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not the canonical bytes of any JSON.
    #[error("the payload isn't canonical JSON (RFC 8785): one object, keys sorted and each once, no white space, nothing after it")]
    NotCanonical,
    /// A term that has to be written out.
    #[error("`{}` is missing: every term stands in a signed document, defaults too{}", .0, said(.0))]
    Missing(String),
    /// A term that doesn't belong there.
    #[error("`{0}` is no term of this kind of document")]
    Unknown(String),
    /// A term in another form than its own, such as `1.0` for `1`.
    #[error("`{field}` has one form only: {right}")]
    Form {
        /// The term.
        field: String,
        /// How it is written right.
        right: String,
    },
    /// A term whose value isn't one of its kind.
    #[error("`{field}`: {why}{}", said(.field))]
    Value {
        /// The term.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something that isn't of this kind of document.
    #[error("the payload isn't of this kind: {0}")]
    Kind(String),
}

impl DocumentError {
    /// The term at fault.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Missing(field) | Self::Unknown(field) | Self::Form { field, .. } | Self::Value { field, .. } => Some(field),
            Self::NotCanonical | Self::Kind(_) => None,
        }
    }
}

/// What is allowed in a term, to go after what is wrong with it.
fn said(field: &str) -> String {
    crate::forms::allowed(field).map_or_else(String::new, |allowed| format!("; allowed: {allowed}"))
}

impl From<Fault> for DocumentError {
    fn from(fault: Fault) -> Self {
        let field = fault.path();
        match fault.what {
            What::Missing => Self::Missing(field),
            What::Unknown => Self::Unknown(field),
            What::Value(why) if field.is_empty() => Self::Kind(why),
            What::Value(why) => Self::Value { field, why },
        }
    }
}

/// Writes a document's payload.
pub fn write(document: &impl Serialize) -> String {
    // Every document here is made of strings and small integers, which have a canonical form.
    jcs::canonical(document).unwrap_or_default()
}

/// Reads a payload strictly: canonical bytes, no unknown term, none left out, each in its one form.
pub fn read<T: Serialize + DeserializeOwned>(payload: &[u8]) -> Result<T, DocumentError> {
    let value = jcs::read_canonical(payload).ok_or_else(|| not_canonical(payload))?;
    let document: T = reading::read(value.clone())?;
    let written = serde_json::to_value(&document).map_err(|e| DocumentError::Kind(e.to_string()))?;
    match difference("", &value, &written) {
        None => Ok(document),
        Some(error) => Err(error),
    }
}

/// Why bytes aren't canonical: where a number stands for an amount, the term that has it.
fn not_canonical(payload: &[u8]) -> DocumentError {
    let value = serde_json::from_slice(payload).ok();
    let field = value.and_then(|value: Value| fraction(&value)).filter(|field| !field.is_empty());
    field.map_or(DocumentError::NotCanonical, |field| DocumentError::Value {
        field,
        why: "a number with a fraction has no place in a document".to_owned(),
    })
}

/// The path of the first number that isn't whole.
fn fraction(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if number.as_i64().is_none() && number.as_u64().is_none() => Some(String::new()),
        Value::Object(members) => members.iter().find_map(|(name, inner)| {
            let path = fraction(inner)?;
            Some(if path.is_empty() { name.clone() } else { format!("{name}.{path}") })
        }),
        _ => None,
    }
}

/// The first term in which what was signed and what it means are written differently; `within` is the path of the objects around, with its last point.
fn difference(within: &str, signed: &Value, meant: &Value) -> Option<DocumentError> {
    let (Value::Object(signed), Value::Object(meant)) = (signed, meant) else {
        return (signed != meant).then_some(DocumentError::NotCanonical);
    };
    let differs = |key: &String| {
        let field = format!("{within}{key}");
        match (signed.get(key), meant.get(key)) {
            (None, Some(_)) => Some(DocumentError::Missing(field)),
            (Some(a), Some(b)) if a.is_object() && b.is_object() => difference(&format!("{field}."), a, b),
            (a, b) if a == b => None,
            (_, Some(right)) => Some(DocumentError::Form {
                field,
                right: format!("write {right}"),
            }),
            (_, None) => Some(DocumentError::Form {
                field,
                right: "leave it out".to_owned(),
            }),
        }
    };
    meant.keys().chain(signed.keys()).find_map(differs)
}

/// A signature on a document, for those who read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBy {
    /// `proposer`, `counterparty`, `newcomer` (of a change that names a new person), `approver` or `clearing`.
    pub role: String,
    /// The partner or person.
    pub signer: String,
    /// The key's id.
    pub kid: String,
    /// When the clearinghouse took it.
    pub signed_at: Timestamp,
}

/// A document with where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filed {
    /// The SHA-256 of the payload, in hexadecimal.
    pub hash: String,
    /// `agreement`, `change` or `dispute`.
    pub kind: String,
    /// Where it stands.
    pub state: State,
    /// Who proposed it.
    pub proposer: String,
    /// The other party of an agreement or a dispute; empty for a change.
    pub counterparty: String,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// Who signed what, in order.
    pub signatures: Vec<SignedBy>,
    /// An agreement's start, once it is in force or known to come: its own date, but not before it was countersigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_from: Option<Timestamp>,
    /// An agreement's end, where one is known: its own, by notice, or by the version after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_until: Option<Timestamp>,
    /// The JWS in general JSON serialization, as text.
    pub document: String,
}

impl Filed {
    /// The document, whose payload has to have this hash: what is signed next is what was read.
    pub fn open(&self) -> Result<General, JwsError> {
        let general = General::parse(&self.document)?;
        if general.hash() == self.hash {
            Ok(general)
        } else {
            Err(JwsError::Signature)
        }
    }

    /// What an agreement says.
    pub fn terms(&self) -> Result<Terms, DocumentError> {
        let general = self.open().map_err(|e| DocumentError::Kind(e.to_string()))?;
        read(&general.payload)
    }
}

/// A partner's signed word about a document that is there: withdraw, decline or terminate. A compact JWS over a flat object of strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// What is done.
    pub action: Action,
    /// The document's hash.
    pub document: String,
    /// When it was signed: at most 10 s ahead, at most 5 minutes old.
    pub issued_at: Timestamp,
    /// For a termination: when the agreement ends.
    pub ends_at: Option<Timestamp>,
    /// Why, for the other party and the trail.
    pub reason: Option<Why>,
}

impl Act {
    /// Signs it.
    pub fn sign(&self, key: &SigningKey) -> String {
        let mut fields = vec![
            ("action", self.action.as_str().into()),
            ("document", self.document.as_str().into()),
            ("issued_at", self.issued_at.to_string().into()),
        ];
        fields.extend(self.ends_at.map(|at| ("ends_at", at.to_string().into())));
        fields.extend(self.reason.as_ref().map(|reason| ("reason", reason.as_str().into())));
        key.sign(TYP_ACT, write_object(fields).as_bytes())
    }

    /// Reads a payload strictly.
    pub fn parse(payload: &[u8]) -> Result<Self, StrictError> {
        let mut fields = Fields::parse(payload)?;
        let act = Self {
            action: fields.take("action")?,
            document: fields.take("document")?,
            issued_at: fields.take::<WireTime>("issued_at")?.0,
            ends_at: fields.maybe::<WireTime>("ends_at")?.map(|at| at.0),
            reason: fields.maybe("reason")?,
        };
        fields.finish()?;
        Ok(act)
    }

    /// Takes the JWS apart; the caller finds the key and verifies.
    pub fn open(text: &str) -> Result<Compact<'_>, JwsError> {
        Compact::parse_as(text, TYP_ACT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const EARN: &str = r#"{"currency":"HKD","hold_minutes":60,"kind":"earn","partner":"a","price":"0.0055","programme":"YUU","reversal_days":90,"salt":"00112233445566778899aabbccddeeff","settle":"issue","store_and_forward_minutes":1440,"valid_from":"2026-01-01T00:00:00Z"}"#;

    #[test]
    fn a_document_says_everything_in_one_form() {
        let terms: Terms = read(EARN.as_bytes()).expect("good");
        assert_eq!(write(&terms), EARN);
        let error = |text: &str| read::<Terms>(text.as_bytes()).expect_err(text);
        assert_eq!(
            error(&EARN.replace(r#""settle":"issue","#, "")),
            DocumentError::Missing("settle".into())
        );
        assert_eq!(
            error(&EARN.replace(r#""salt":"00112233445566778899aabbccddeeff","#, "")),
            DocumentError::Missing("salt".into())
        );
        assert_eq!(
            error(&EARN.replace("00:00:00Z", "00:00:00.0Z")),
            DocumentError::Form {
                field: "valid_from".into(),
                right: r#"write "2026-01-01T00:00:00Z""#.into()
            }
        );
        assert_eq!(error(&EARN.replace(":60", ": 60")), DocumentError::NotCanonical);
        assert_eq!(
            error(&EARN.replace("\"partner\"", "\"partnes\"")),
            DocumentError::Unknown("partnes".into())
        );
        // A number where an amount has to be is named too.
        let number = error(&EARN.replace("\"0.0055\"", "0.0055"));
        assert_eq!(number.field(), Some("price"));
        assert!(number.to_string().contains("as an amount"), "{number}");
        // Each wrong form is told the right one.
        for (from, to, told) in [
            (
                "T00:00:00Z",
                "T08:00:00+08:00",
                "`valid_from` has one form only: write \"2026-01-01T00:00:00Z\"",
            ),
            (
                "T00:00:00Z",
                "T00:00:00.000000Z",
                "`valid_from` has one form only: write \"2026-01-01T00:00:00Z\"",
            ),
            ("0.0055", "0.00550", "`price` has one form only: write \"0.0055\""),
            (
                "\"YUU\"",
                "\"YUU\",\"quote_seconds\":null",
                "`quote_seconds` has one form only: leave it out",
            ),
        ] {
            assert_eq!(error(&EARN.replace(from, to)).to_string(), told);
        }
    }

    #[test]
    fn an_act_is_read_as_it_was_written() {
        let key = SigningKey::from_bytes("a-1".parse().expect("kid"), &[5; 32]);
        let act = Act {
            action: Action::Terminate,
            document: "00".into(),
            issued_at: "2026-01-01T00:00:00Z".parse().expect("time"),
            ends_at: Some("2026-03-01T00:00:00Z".parse().expect("time")),
            reason: Some("the shop closes".parse().expect("a reason")),
        };
        let text = act.sign(&key);
        let jws = Act::open(&text).expect("well formed");
        assert_eq!(jws.verify(&key.verifying_key()), Ok(()));
        assert_eq!(Act::parse(&jws.payload), Ok(act));
    }
}
