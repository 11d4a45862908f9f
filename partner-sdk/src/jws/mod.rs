//! JSON Web Signatures (RFC 7515) with Ed25519 (RFC 8037 `EdDSA`, RFC 9864 `Ed25519`): here in compact serialization, in [`general`] the JSON one.
//!
//! Verification is over the bytes received, with the strict equation, against one registered key; nothing is ever serialized again.

pub mod general;
mod table;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use self::table::Table;
use crate::ids::KeyId;
use crate::strict::{Fields, StrictError, write_object};

/// The longest compact JWS of one message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// The longest protected header, in bytes: `alg`, `kid` and `typ` take less than 200, and blanks between them say nothing.
pub const MAX_HEADER_BYTES: usize = 512;

/// `typ` of a message.
pub const TYP_MESSAGE: &str = "points-message+jws";
/// `typ` of a signed batch, whose payload is an array of messages.
pub const TYP_BATCH: &str = "points-batch+jws";
/// `typ` of a receipt.
pub const TYP_RECEIPT: &str = "points-receipt+jws";
/// `typ` of an agreement.
pub const TYP_AGREEMENT: &str = "points-agreement+jws";
/// `typ` of what a party does to a document: withdraw, decline, terminate.
pub const TYP_ACT: &str = "points-act+jws";
/// `typ` of a change that the operator makes.
pub const TYP_CHANGE: &str = "points-change+jws";
/// `typ` of a dispute.
pub const TYP_DISPUTE: &str = "points-dispute+jws";
/// `typ` of an entry of the event feed.
pub const TYP_EVENT: &str = "points-event+jws";

/// Why a JWS isn't accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three parts of canonical base64url.
    #[error("not a compact JWS: three parts of unpadded base64url, joined by dots")]
    Malformed,
    /// Not the general JSON serialization; the member at fault, where it is one.
    #[error(
        "not a JWS in general JSON serialization: {{\"payload\", \"signatures\": [{{\"protected\", \"signature\"}}]}} and nothing else"
    )]
    NotGeneral(&'static str),
    /// A protected header beyond [`MAX_HEADER_BYTES`].
    #[error("the protected header is longer than {MAX_HEADER_BYTES} bytes")]
    HeaderSize,
    /// A header that no signature protects.
    #[error("an unprotected header: nobody has signed what it says")]
    Unprotected,
    /// The header isn't exactly `alg`, `kid`, `typ`.
    #[error("JWS header: {0}")]
    Header(StrictError),
    /// An extension is marked critical; none is understood here.
    #[error("JWS header: critical extensions are not supported")]
    Critical,
    /// Another algorithm than Ed25519.
    #[error("JWS header: `alg` must be EdDSA or Ed25519")]
    Algorithm,
    /// The signature isn't this key's over these bytes.
    #[error("the signature does not verify")]
    Signature,
}

/// A compact JWS taken apart; nothing about it has been verified yet. Not `Debug`: the payload may hold a member number.
#[derive(Clone)]
pub struct Compact<'a> {
    /// The key that is said to have signed.
    pub kid: KeyId,
    /// The type that the header states.
    pub typ: String,
    /// The payload's bytes.
    pub payload: Vec<u8>,
    signing_input: &'a [u8],
    signature: [u8; 64],
}

impl<'a> Compact<'a> {
    /// Takes the text apart and reads the header strictly: `alg`, `kid` and `typ`, each once, nothing else.
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        let (signing_input, signature) = text.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed);
        let signature = decode(signature)?.try_into().map_err(|_| JwsError::Malformed)?;
        let (kid, typ) = read_header(&decode(header)?)?;
        Ok(Self {
            kid,
            typ,
            payload: decode(payload)?,
            signing_input: signing_input.as_bytes(),
            signature,
        })
    }

    /// Takes the text apart where its header states `typ`.
    pub fn parse_as(text: &'a str, typ: &str) -> Result<Self, JwsError> {
        let jws = Self::parse(text)?;
        if jws.typ == typ { Ok(jws) } else { Err(wrong_typ(typ)) }
    }

    /// Verifies the received bytes with the strict equation of ed25519-dalek.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), JwsError> {
        key.verifies(self.signing_input, &self.signature)
    }
}

/// The header states another type than this address takes.
pub(crate) fn wrong_typ(typ: &str) -> JwsError {
    JwsError::Header(StrictError::Value {
        field: "typ".into(),
        why: format!("must be {typ}"),
    })
}

fn read_header(bytes: &[u8]) -> Result<(KeyId, String), JwsError> {
    if bytes.len() > MAX_HEADER_BYTES {
        return Err(JwsError::HeaderSize);
    }
    // An extension's value may be of any type, so `crit` is looked for before the fields are read as strings.
    let mut fields = Fields::parse(bytes).map_err(|e| {
        if e.field() == Some("crit") {
            JwsError::Critical
        } else {
            JwsError::Header(e)
        }
    })?;
    if fields.optional("crit").is_some() {
        return Err(JwsError::Critical);
    }
    let alg: String = fields.take("alg").map_err(JwsError::Header)?;
    if alg != "EdDSA" && alg != "Ed25519" {
        return Err(JwsError::Algorithm);
    }
    let kid = fields.take("kid").map_err(JwsError::Header)?;
    let typ = fields.take("typ").map_err(JwsError::Header)?;
    fields.finish().map_err(JwsError::Header)?;
    Ok((kid, typ))
}

/// A public key that passed the checks at registration.
#[derive(Clone)]
pub struct VerifyingKey {
    key: ed25519_dalek::VerifyingKey,
    /// Where it verifies much.
    table: Option<Arc<Table>>,
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for VerifyingKey {}

/// Why a public key isn't registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the unpadded base64url of 32 bytes that encode a point.
    #[error("not an Ed25519 public key: 32 bytes as unpadded base64url")]
    Encoding,
    /// A key of small order: it would accept signatures that nobody made.
    #[error("a weak key (small order)")]
    Weak,
}

impl VerifyingKey {
    /// Reads the raw 32 bytes and refuses weak keys.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Encoding)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Encoding)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self { key, table: None })
    }

    /// Reads the `x` member of a JWK (RFC 8037): base64url without padding.
    pub fn from_base64url(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| KeyError::Encoding)?)
    }

    /// The key as base64url without padding.
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.as_bytes())
    }

    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The same key with tables of its multiples, 16 KiB that all who have it share: it judges exactly as without, and faster.
    pub fn with_table(self) -> Self {
        let table = Table::of(self.key.as_bytes());
        Self { key: self.key, table }
    }

    fn verifies(&self, bytes: &[u8], signature: &[u8; 64]) -> Result<(), JwsError> {
        let holds = match &self.table {
            Some(table) => table.verifies(bytes, signature),
            None => {
                let signature = ed25519_dalek::Signature::from_bytes(signature);
                self.key.verify_strict(bytes, &signature).is_ok()
            }
        };
        holds.then_some(()).ok_or(JwsError::Signature)
    }

    /// Verifies a bare signature over bytes, strictly.
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), JwsError> {
        let signature = signature.try_into().map_err(|_| JwsError::Signature)?;
        self.verifies(bytes, signature)
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_base64url())
    }
}

/// A private key with the id under which its public half is registered.
#[derive(Clone)]
pub struct SigningKey {
    kid: KeyId,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// A key from its 32 secret bytes (RFC 8032's seed).
    pub fn from_bytes(kid: KeyId, secret: &[u8; 32]) -> Self {
        Self {
            kid,
            key: ed25519_dalek::SigningKey::from_bytes(secret),
        }
    }

    /// Reads the secret as unpadded base64url.
    pub fn from_base64url(kid: KeyId, text: &str) -> Result<Self, KeyError> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| KeyError::Encoding)?;
        Ok(Self::from_bytes(kid, &bytes.try_into().map_err(|_| KeyError::Encoding)?))
    }

    /// The secret as unpadded base64url, to be written to a file that only its owner reads.
    pub fn secret_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.as_bytes())
    }

    /// The key's id.
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey {
            key: self.key.verifying_key(),
            table: None,
        }
    }

    /// Signs a payload as a compact JWS of the given `typ`. Ed25519 is deterministic: the same payload gives the same bytes.
    pub fn sign(&self, typ: &str, payload: &[u8]) -> String {
        use ed25519_dalek::Signer;
        let header = write_object([("alg", "EdDSA".into()), ("kid", self.kid.as_str().into()), ("typ", typ.into())]);
        let mut text = URL_SAFE_NO_PAD.encode(header);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut text);
        let signature = self.key.sign(text.as_bytes());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut text);
        text
    }

    /// Signs a text as it is: a log's note. That ends in a newline, which no JWS has, so that neither signature passes for one of the other kind.
    pub(crate) fn sign_text(&self, text: &str) -> [u8; 64] {
        use ed25519_dalek::Signer;
        self.key.sign(text.as_bytes()).to_bytes()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

/// The SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The SHA-256 of bytes as lower-case hexadecimal: how documents are named.
pub fn sha256_hex(bytes: &[u8]) -> String {
    to_hex(&sha256(bytes))
}

/// Bytes as lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(KeyId::new("wellcome-1").expect("kid"), &[7; 32])
    }

    #[test]
    fn signed_verifies_and_a_changed_byte_does_not() {
        let text = key().sign(TYP_MESSAGE, br#"{"id":"1"}"#);
        let jws = Compact::parse(&text).expect("well formed");
        assert_eq!(
            (jws.kid.as_str(), jws.typ.as_str(), jws.payload.as_slice()),
            ("wellcome-1", TYP_MESSAGE, &br#"{"id":"1"}"#[..])
        );
        assert_eq!(jws.verify(&key().verifying_key()), Ok(()));
        let mut accepted = 0;
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ascii");
            accepted += usize::from(Compact::parse(&changed).is_ok_and(|j| j.verify(&key().verifying_key()).is_ok()));
        }
        assert_eq!(accepted, 0);
    }

    #[test]
    fn headers_are_strict() {
        let with = |header: &str| format!("{}.e30.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode([0u8; 64]));
        let error = |header: &str| Compact::parse(&with(header)).map(|_| ()).expect_err(header);
        assert_eq!(error(r#"{"alg":"none","kid":"a","typ":"x"}"#), JwsError::Algorithm);
        assert_eq!(
            error(r#"{"alg":"EdDSA","kid":"a","typ":"x","crit":["b64"],"b64":false}"#),
            JwsError::Critical
        );
        assert_eq!(
            error(r#"{"alg":"EdDSA","kid":"a","kid":"b","typ":"x"}"#),
            JwsError::Header(StrictError::Duplicate("kid".into()))
        );
        assert_eq!(
            error(r#"{"alg":"EdDSA","kid":"a","typ":"x","jwk":"y"}"#),
            JwsError::Header(StrictError::Unknown("jwk".into()))
        );
        assert!(Compact::parse(&with(r#"{"alg":"Ed25519","kid":"a","typ":"x"}"#)).is_ok());
        for bad in ["", ".", "..", "a.b", "a.b.c", "e30=.e30.e30"] {
            assert_eq!(Compact::parse(bad).map(|_| ()), Err(JwsError::Malformed), "{bad}");
        }
    }

    #[test]
    fn weak_keys_are_refused() {
        let mut one = [0u8; 32];
        one[0] = 1;
        assert_eq!(VerifyingKey::from_bytes(&one), Err(KeyError::Weak));
        assert_eq!(VerifyingKey::from_bytes(&[0; 32]), Err(KeyError::Weak));
        assert_eq!(VerifyingKey::from_bytes(&[1; 31]), Err(KeyError::Encoding));
    }
}
