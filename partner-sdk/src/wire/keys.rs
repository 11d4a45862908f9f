//! What partners and the clearinghouse say about keys and certificates: enrolment, rotation, revocation.
//!
//! Each request is a compact JWS over a flat JSON object of strings, like a message. Whoever brings a key proves that it has the private half. A recording
//! has no effect when it is sent again: it is good for five minutes only, the same key again changes nothing, and a revoked key never comes back.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{MessageError, WireTime};
use crate::ids::{KeyId, MessageId, PartnerId};
use crate::jws::{SigningKey, to_hex};
use crate::strict::{Fields, StrictError, write_object};
use crate::text::Why;

/// `typ` of an enrolment, signed by the new key.
pub const TYP_ENROLMENT: &str = "points-enrolment+jws";
/// `typ` of a new signing key, signed by one that is valid.
pub const TYP_KEY: &str = "points-key+jws";
/// `typ` of the new key's own proof inside it.
pub const TYP_KEY_PROOF: &str = "points-key-proof+jws";
/// `typ` of a request for a certificate, signed by a valid key.
pub const TYP_CERTIFICATE: &str = "points-certificate+jws";
/// `typ` of a revocation, signed by a valid key.
pub const TYP_REVOCATION: &str = "points-revocation+jws";

/// How old `issued_at` of such a request may be, in seconds. It may be 10 s ahead, like a message's.
pub const FRESH_SECONDS: i64 = 300;

/// The SHA-256 of a TLS key's SubjectPublicKeyInfo (DER); as text, 64 digits of lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Spki(pub [u8; 32]);

impl fmt::Display for Spki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Spki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl FromStr for Spki {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "must be 64 digits of lower-case hexadecimal";
        let digits: Option<Vec<u8>> = (0..text.len() / 2)
            .map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok())
            .collect();
        let spki = digits.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(wrong)?;
        if spki.to_string() == text { Ok(spki) } else { Err(wrong) }
    }
}

impl TryFrom<String> for Spki {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Spki> for String {
    fn from(spki: Spki) -> Self {
        spki.to_string()
    }
}

/// Why a key is revoked, for the record.
pub type Reason = Why;

/// A partner's first keys, or new ones after it has lost all: what the operator's invitation is good for.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Who enrols.
    pub partner: PartnerId,
    /// The invitation's token.
    pub token: String,
    /// The certificate request, PKCS#10 in PEM.
    pub csr: String,
    /// The signing key's id; also the `kid` of the JWS.
    pub kid: KeyId,
    /// The signing key: 32 bytes as unpadded base64url.
    pub public_key: String,
}

impl Enrolment {
    /// Signs the enrolment with the key that it is about.
    pub fn sign(partner: &PartnerId, token: &str, csr: &str, key: &SigningKey) -> String {
        let payload = write_object([
            ("partner", partner.as_str().into()),
            ("token", token.into()),
            ("csr", csr.into()),
            ("kid", key.kid().as_str().into()),
            ("public_key", key.verifying_key().to_base64url().into()),
        ]);
        key.sign(TYP_ENROLMENT, payload.as_bytes())
    }

    /// Reads a payload strictly.
    pub fn parse(payload: &[u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::parse(payload)?;
        let enrolment = Self {
            partner: fields.take("partner")?,
            token: fields.take("token")?,
            csr: fields.take("csr")?,
            kid: fields.take("kid")?,
            public_key: fields.take("public_key")?,
        };
        fields.finish()?;
        Ok(enrolment)
    }
}

/// What every signed request about keys says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Chosen by the sender, for its records and the log.
    pub id: MessageId,
    /// When it was signed.
    pub issued_at: Timestamp,
}

impl Issued {
    fn fields(&self) -> [(&'static str, Cow<'static, str>); 2] {
        [
            ("id", self.id.as_str().to_owned().into()),
            ("issued_at", self.issued_at.to_string().into()),
        ]
    }

    fn take(fields: &mut Fields) -> Result<Self, StrictError> {
        Ok(Self {
            id: fields.take("id")?,
            issued_at: fields.take::<WireTime>("issued_at")?.0,
        })
    }
}

/// A further signing key; or, for one that is registered, when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// When, and under which id, it was signed.
    pub issued: Issued,
    /// The key's id.
    pub kid: KeyId,
    /// The key: 32 bytes as unpadded base64url.
    pub public_key: String,
    /// Messages issued from then on may be signed with it; without it, from now on.
    pub valid_from: Option<Timestamp>,
    /// Messages issued before then may be signed with it; without it, until it is ended or revoked.
    pub valid_until: Option<Timestamp>,
    /// The new key's own signature, a compact JWS: see [`KeyProof`].
    pub proof: String,
}

impl NewKey {
    /// Signs the request with a valid key, and the proof with the new one.
    pub fn sign(
        issued: &Issued,
        partner: &PartnerId,
        new: &SigningKey,
        valid_from: Option<Timestamp>,
        valid_until: Option<Timestamp>,
        valid: &SigningKey,
    ) -> String {
        let mut fields = issued.fields().to_vec();
        fields.push(("kid", new.kid().as_str().to_owned().into()));
        fields.push(("public_key", new.verifying_key().to_base64url().into()));
        fields.extend(valid_from.map(|at| ("valid_from", at.to_string().into())));
        fields.extend(valid_until.map(|at| ("valid_until", at.to_string().into())));
        fields.push(("proof", KeyProof::sign(partner, new).into()));
        valid.sign(TYP_KEY, write_object(fields).as_bytes())
    }

    /// Reads a payload strictly.
    pub fn parse(payload: &[u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::parse(payload)?;
        let key = Self {
            issued: Issued::take(&mut fields)?,
            kid: fields.take("kid")?,
            public_key: fields.take("public_key")?,
            valid_from: fields.maybe("valid_from")?.map(|WireTime(at)| at),
            valid_until: fields.maybe("valid_until")?.map(|WireTime(at)| at),
            proof: fields.take("proof")?,
        };
        fields.finish()?;
        Ok(key)
    }
}

/// That whoever brings a key has its private half. It names the partner, so that nobody can bring another's key as its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyProof {
    /// Whose key it is.
    pub partner: PartnerId,
    /// The key's id.
    pub kid: KeyId,
    /// The key.
    pub public_key: String,
}

impl KeyProof {
    /// Signs the proof with the key that it is about.
    pub fn sign(partner: &PartnerId, key: &SigningKey) -> String {
        let payload = write_object([
            ("partner", partner.as_str().into()),
            ("kid", key.kid().as_str().into()),
            ("public_key", key.verifying_key().to_base64url().into()),
        ]);
        key.sign(TYP_KEY_PROOF, payload.as_bytes())
    }

    /// Reads a payload strictly.
    pub fn parse(payload: &[u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::parse(payload)?;
        let proof = Self {
            partner: fields.take("partner")?,
            kid: fields.take("kid")?,
            public_key: fields.take("public_key")?,
        };
        fields.finish()?;
        Ok(proof)
    }
}

/// A request for a certificate: for a new TLS key, or for one that is registered and whose certificate ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCertificate {
    /// When, and under which id, it was signed.
    pub issued: Issued,
    /// The certificate request, PKCS#10 in PEM.
    pub csr: String,
}

impl NewCertificate {
    /// Signs the request with a valid key.
    pub fn sign(issued: &Issued, csr: &str, valid: &SigningKey) -> String {
        let mut fields = issued.fields().to_vec();
        fields.push(("csr", csr.to_owned().into()));
        valid.sign(TYP_CERTIFICATE, write_object(fields).as_bytes())
    }

    /// Reads a payload strictly.
    pub fn parse(payload: &[u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::parse(payload)?;
        let certificate = Self {
            issued: Issued::take(&mut fields)?,
            csr: fields.take("csr")?,
        };
        fields.finish()?;
        Ok(certificate)
    }
}

/// Which key is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyName {
    /// A signing key.
    Kid(KeyId),
    /// A TLS key.
    Spki(Spki),
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kid(kid) => write!(f, "signing key {kid}"),
            Self::Spki(spki) => write!(f, "TLS key {spki}"),
        }
    }
}

/// The end of a key, at once and for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When, and under which id, it was signed.
    pub issued: Issued,
    /// The key.
    pub key: KeyName,
    /// Why, for the record.
    pub reason: Reason,
}

impl Revocation {
    /// Signs the revocation with a valid key; it may be the very key that is revoked.
    pub fn sign(&self, valid: &SigningKey) -> String {
        let mut fields = self.issued.fields().to_vec();
        fields.push(match &self.key {
            KeyName::Kid(kid) => ("kid", kid.as_str().to_owned().into()),
            KeyName::Spki(spki) => ("spki_sha256", spki.to_string().into()),
        });
        fields.push(("reason", self.reason.as_str().to_owned().into()));
        valid.sign(TYP_REVOCATION, write_object(fields).as_bytes())
    }

    /// Reads a payload strictly: exactly one of `kid` and `spki_sha256`.
    pub fn parse(payload: &[u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::parse(payload)?;
        let issued = Issued::take(&mut fields)?;
        let key = match fields.maybe("spki_sha256")? {
            Some(spki) => KeyName::Spki(spki),
            None => KeyName::Kid(fields.take("kid")?),
        };
        let reason = fields.take("reason")?;
        fields.finish()?;
        Ok(Self { issued, key, reason })
    }
}

/// The answer to an enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The client certificate, PEM.
    pub certificate: String,
    /// The CA that signed it, PEM: for a chain, where a library wants one. What the server is trusted by is another CA.
    pub client_ca: String,
    /// The signing key that is registered now.
    pub kid: KeyId,
    /// The id of the key that signs answers and countersigns.
    pub clearing_kid: KeyId,
    /// That key: 32 bytes as unpadded base64url.
    pub clearing_public_key: String,
    /// The keys of the log, now and before, as C2SP signed-note writes them, one a line: with the key above, what [`crate::Trust::new`] takes.
    pub log_keys: String,
}

/// The answer to a request for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// The client certificate, PEM.
    pub certificate: String,
    /// The CA that signed it, PEM: for a chain, where a library wants one. What the server is trusted by is another CA.
    pub client_ca: String,
    /// The TLS key that is registered now.
    pub spki_sha256: Spki,
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Not yet: its time is to come.
    NotYet,
    /// Now.
    Valid,
    /// No more: its time is over. What was issued in its time still counts.
    Ended,
    /// Taken back: it counts for nothing.
    Revoked,
}

/// A signing key of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyEntry {
    /// Its id.
    pub kid: KeyId,
    /// The key: 32 bytes as unpadded base64url.
    pub public_key: String,
    /// Where it stands.
    pub state: KeyState,
    /// From when on it signs.
    pub valid_from: Timestamp,
    /// Before when it signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// A TLS key of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsKeyEntry {
    /// The key.
    pub spki_sha256: Spki,
    /// Where it stands: valid or revoked. Its certificates end by themselves.
    pub state: KeyState,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// All keys of the caller, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Those that sign.
    pub signing: Vec<SigningKeyEntry>,
    /// Those of TLS certificates.
    pub tls: Vec<TlsKeyEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jws::Compact;
    use crate::problem::Code;

    fn key(kid: &str, secret: u8) -> SigningKey {
        SigningKey::from_bytes(kid.parse().expect("kid"), &[secret; 32])
    }

    fn issued() -> Issued {
        Issued {
            id: "k-1".parse().expect("id"),
            issued_at: "2026-11-21T10:00:00Z".parse().expect("time"),
        }
    }

    fn payload(jws: &str, typ: &str) -> Vec<u8> {
        Compact::parse_as(jws, typ).expect("of this type").payload
    }

    #[test]
    fn what_is_written_is_read() {
        let (partner, old, new) = ("grocer".parse().expect("partner"), key("grocer-1", 1), key("grocer-2", 2));
        let enrolment = Enrolment::parse(&payload(&Enrolment::sign(&partner, "t", "csr\n", &new), TYP_ENROLMENT)).expect("read");
        assert_eq!((enrolment.kid.as_str(), enrolment.csr.as_str()), ("grocer-2", "csr\n"));
        let until = Some("2027-01-01T00:00:00Z".parse().expect("time"));
        let read = NewKey::parse(&payload(&NewKey::sign(&issued(), &partner, &new, None, until, &old), TYP_KEY)).expect("read");
        assert_eq!((&read.issued, read.valid_from, read.valid_until), (&issued(), None, until));
        let proof = KeyProof::parse(&payload(&read.proof, TYP_KEY_PROOF)).expect("read");
        assert_eq!((proof.partner, proof.kid, proof.public_key), (partner, read.kid, read.public_key));
        let certificate = NewCertificate::parse(&payload(&NewCertificate::sign(&issued(), "csr", &old), TYP_CERTIFICATE));
        assert_eq!(certificate.expect("read").csr, "csr");
        for name in [KeyName::Kid("grocer-1".parse().expect("kid")), KeyName::Spki(Spki([0xab; 32]))] {
            let revocation = Revocation {
                issued: issued(),
                key: name,
                reason: "lost".parse().expect("a reason"),
            };
            assert_eq!(Revocation::parse(&payload(&revocation.sign(&old), TYP_REVOCATION)), Ok(revocation));
        }
    }

    #[test]
    fn payloads_are_strict() {
        let fault = |fields: &str| {
            let text = format!(r#"{{"id":"1","issued_at":"2026-11-21T10:00:00Z",{fields}}}"#);
            let error = Revocation::parse(text.as_bytes()).expect_err(fields);
            (error.code, error.source.field().map(str::to_owned))
        };
        let spki = "ab".repeat(32);
        let both = format!(r#""kid":"a","spki_sha256":"{spki}","reason":"x""#);
        assert_eq!(fault(&both), (Code::UnknownField, Some("kid".into())));
        assert_eq!(fault(r#""reason":"x""#), (Code::MissingField, Some("kid".into())));
        assert_eq!(fault(r#""kid":"a","reason":"""#), (Code::BadValue, Some("reason".into())));
        assert_eq!(fault(r#""kid":"a","reason":"x\ny""#), (Code::BadValue, Some("reason".into())));
        for bad in ["", "ab", &spki.to_uppercase(), &format!("{spki}a"), &"+a".repeat(32)] {
            assert!(bad.parse::<Spki>().is_err(), "{bad}");
        }
    }
}
