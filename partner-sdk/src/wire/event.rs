//! Entries of the event feed, each signed by the clearinghouse: what happened, to be acted on once.

use jiff::Timestamp;

use super::WireTime;
use crate::jws::{Compact, JwsError, SigningKey, TYP_EVENT, VerifyingKey};
use crate::strict::{Fields, StrictError, write_object};

/// The most entries in one answer.
pub const MAX_EVENTS: usize = 250;

/// The longest wait for news, in seconds.
pub const MAX_WAIT_SECONDS: u32 = 25;

/// Something that happened. Names of kinds and facts are in docs/PROTOCOL.md; more may be added, so readers pass over what they don't know.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the feed: grows, with gaps. Ask for what comes after the last one that was acted on.
    pub no: i64,
    /// When, by the clearinghouse's clock.
    pub at: Timestamp,
    /// The partner that it is told; empty for everybody.
    pub recipient: String,
    /// What, e.g. `agreement.signed`.
    pub kind: String,
    /// What it is about: a document's hash, a message's id.
    pub subject: String,
    /// More about it, by name.
    pub facts: Vec<(String, String)>,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A fact may be a member number.
        write!(f, "Event({} {} {})", self.no, self.kind, self.subject)
    }
}

impl Event {
    /// One fact by its name.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Signs the entry as a compact JWS.
    pub fn sign(&self, key: &SigningKey) -> String {
        let mut fields = vec![
            ("no", self.no.to_string().into()),
            ("at", self.at.to_string().into()),
            ("recipient", self.recipient.as_str().into()),
            ("kind", self.kind.as_str().into()),
            ("subject", self.subject.as_str().into()),
        ];
        fields.extend(self.facts.iter().map(|(name, value)| (name.as_str(), value.as_str().into())));
        key.sign(TYP_EVENT, write_object(fields).as_bytes())
    }

    /// Verifies an entry with the clearinghouse's key, and reads it.
    pub fn verify(text: &str, key: &VerifyingKey) -> Result<Self, JwsError> {
        let jws = Compact::parse_as(text, TYP_EVENT)?;
        jws.verify(key)?;
        Self::parse(&jws.payload).map_err(JwsError::Header)
    }

    fn parse(payload: &[u8]) -> Result<Self, StrictError> {
        let mut fields = Fields::parse(payload)?;
        Ok(Self {
            no: fields.take("no")?,
            at: fields.take::<WireTime>("at")?.0,
            recipient: fields.take("recipient")?,
            kind: fields.take("kind")?,
            subject: fields.take("subject")?,
            facts: fields.rest(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_signed() {
        let key = SigningKey::from_bytes("clearing-1".parse().expect("kid"), &[2; 32]);
        let event = Event {
            no: 7,
            at: "2026-11-21T10:00:00Z".parse().expect("time"),
            recipient: "grocer".into(),
            kind: "agreement.signed".into(),
            subject: "00".into(),
            facts: vec![("by".into(), "pool".into())],
        };
        assert_eq!(Event::verify(&event.sign(&key), &key.verifying_key()), Ok(event.clone()));
        let other = SigningKey::from_bytes("clearing-1".parse().expect("kid"), &[3; 32]);
        assert_eq!(Event::verify(&event.sign(&other), &key.verifying_key()), Err(JwsError::Signature));
    }
}
