//! JWS in general JSON serialization (RFC 7515 section 7.2.1): one payload, signed by several. Agreements and the operator's changes are such documents.
//!
//! `{"payload":"...","signatures":[{"protected":"...","signature":"..."}, ...]}`, nothing else: what isn't protected by a signature has no place.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{JwsError, SigningKey, VerifyingKey, read_header, sha256_hex};
use crate::ids::KeyId;

/// The longest document, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024;

/// The most signatures on one document: those of twenty founders and the clearinghouse, and room.
const MAX_SIGNATURES: usize = 24;

/// One signature over a payload; nothing about it has been verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that is said to have signed.
    pub kid: KeyId,
    /// The type that the protected header states.
    pub typ: String,
    /// The protected header as it travels.
    pub protected: String,
    /// The signature as it travels.
    pub signature: String,
}

/// A document taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct General {
    /// The payload's bytes.
    pub payload: Vec<u8>,
    /// Its signatures.
    pub signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnTheWire {
    payload: String,
    signatures: Vec<OneOnTheWire>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneOnTheWire {
    protected: String,
    signature: String,
    /// The unprotected header, told apart from other unknown members so that the refusal can name it.
    #[serde(default, skip_serializing, deserialize_with = "present")]
    header: bool,
}

/// Whatever it holds: that it is there is enough.
fn present<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(reader).map(|_| true)
}

impl Signature {
    /// Signs a payload. Ed25519 is deterministic: the same payload gives the same signature.
    pub fn new(key: &SigningKey, typ: &str, payload: &[u8]) -> Self {
        let compact = key.sign(typ, payload);
        let mut parts = compact.split('.').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (protected, _, signature) = (next(), next(), next());
        Self {
            kid: key.kid().clone(),
            typ: typ.to_owned(),
            protected,
            signature,
        }
    }

    /// Takes apart what was stored: the protected header and the signature as they travel.
    pub fn read(protected: String, signature: String) -> Result<Self, JwsError> {
        let header = URL_SAFE_NO_PAD.decode(&protected).map_err(|_| JwsError::NotGeneral("protected"))?;
        let (kid, typ) = read_header(&header)?;
        Ok(Self {
            kid,
            typ,
            protected,
            signature,
        })
    }

    /// Verifies strictly over the payload's bytes as received.
    pub fn verify(&self, payload: &[u8], key: &VerifyingKey) -> Result<(), JwsError> {
        let signature = URL_SAFE_NO_PAD
            .decode(&self.signature)
            .map_err(|_| JwsError::NotGeneral("signature"))?;
        let input = format!("{}.{}", self.protected, URL_SAFE_NO_PAD.encode(payload));
        key.verify(input.as_bytes(), &signature)
    }
}

impl General {
    /// A document with one signature.
    pub fn sign(key: &SigningKey, typ: &str, payload: &[u8]) -> Self {
        Self {
            payload: payload.to_vec(),
            signatures: vec![Signature::new(key, typ, payload)],
        }
    }

    /// Takes a document apart strictly: these two members, at least one signature, no unprotected header, protected headers of exactly `alg`, `kid`, `typ`.
    pub fn parse(text: &str) -> Result<Self, JwsError> {
        let wire: OnTheWire = serde_json::from_str(text).map_err(|_| JwsError::NotGeneral(""))?;
        if wire.signatures.iter().any(|one| one.header) {
            return Err(JwsError::Unprotected);
        }
        if wire.signatures.is_empty() || wire.signatures.len() > MAX_SIGNATURES {
            return Err(JwsError::NotGeneral("signatures"));
        }
        let read = wire.signatures.into_iter().map(|one| Signature::read(one.protected, one.signature));
        Ok(Self {
            payload: URL_SAFE_NO_PAD.decode(&wire.payload).map_err(|_| JwsError::NotGeneral("payload"))?,
            signatures: read.collect::<Result<_, _>>()?,
        })
    }

    /// Writes the document as it travels.
    pub fn to_json(&self) -> String {
        let signatures = self.signatures.iter().map(|one| OneOnTheWire {
            protected: one.protected.clone(),
            signature: one.signature.clone(),
            header: false,
        });
        let wire = OnTheWire {
            payload: URL_SAFE_NO_PAD.encode(&self.payload),
            signatures: signatures.collect(),
        };
        // Strings only: this always serializes.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// The document's name: the SHA-256 of its payload, in hexadecimal.
    pub fn hash(&self) -> String {
        sha256_hex(&self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, secret: u8) -> SigningKey {
        SigningKey::from_bytes(KeyId::new(name).expect("kid"), &[secret; 32])
    }

    fn document() -> General {
        let (one, other) = (key("a-1", 1), key("b-1", 2));
        let mut document = General::sign(&one, "t+jws", b"{\"a\":1}");
        document.signatures.push(Signature::new(&other, "t+jws", b"{\"a\":1}"));
        document
    }

    #[test]
    fn what_is_written_is_read_and_verifies() {
        let read = General::parse(&document().to_json()).expect("well formed");
        assert_eq!(read, document());
        let keys = [key("a-1", 1).verifying_key(), key("b-1", 2).verifying_key()];
        for (signature, key) in read.signatures.iter().zip(&keys) {
            assert_eq!(signature.verify(&read.payload, key), Ok(()));
            assert_eq!(signature.verify(b"{\"a\":2}", key), Err(JwsError::Signature));
        }
        assert_eq!(read.signatures[0].verify(&read.payload, &keys[1]), Err(JwsError::Signature));
    }

    #[test]
    fn signatures_do_not_change_places() {
        let mut swapped = document();
        let (first, second) = (swapped.signatures[0].signature.clone(), swapped.signatures[1].signature.clone());
        (swapped.signatures[0].signature, swapped.signatures[1].signature) = (second, first);
        assert_eq!(
            swapped.signatures[0].verify(&swapped.payload, &key("a-1", 1).verifying_key()),
            Err(JwsError::Signature)
        );
    }

    #[test]
    fn nothing_else_is_taken() {
        let good = document().to_json();
        let error = |text: &str| General::parse(text).expect_err(text);
        let blank = format!(r#"{{"alg":"EdDSA",{}"kid":"a-1","typ":"t"}}"#, " ".repeat(512));
        let long = Signature::read(URL_SAFE_NO_PAD.encode(blank), String::new());
        assert_eq!(long, Err(JwsError::HeaderSize));
        for header in ["{\"kid\":\"b-1\"}", "{}", "null", "[[1]]"] {
            let with_header = good.replacen("\"protected\"", &format!("\"header\":{header},\"protected\""), 1);
            assert_eq!(error(&with_header), JwsError::Unprotected, "{header}");
        }
        for bad in [
            good.replacen("\"payload\"", "\"more\":1,\"payload\"", 1),
            good.replacen("\"payload\"", "\"payload\":\"\",\"payload\"", 1),
            format!("{good}x"),
            r#"{"payload":"e30","signatures":[]}"#.to_owned(),
            r#"{"payload":"e30","protected":"e30","signature":"e30"}"#.to_owned(),
            good.replacen("\"payload\":\"", "\"payload\":\"=", 1),
        ] {
            assert!(matches!(error(&bad), JwsError::NotGeneral(_)), "{bad}");
        }
        let many = General {
            signatures: vec![document().signatures[0].clone(); MAX_SIGNATURES + 1],
            ..document()
        };
        assert_eq!(error(&many.to_json()), JwsError::NotGeneral("signatures"));
    }
}
