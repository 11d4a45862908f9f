//! From bytes to a verified message: size, JWS, key, signature, then a strict reading. No database. Whether the key counts at `issued_at` is for the ledger to
//! say: it may have answered the same bytes before.

use std::sync::{Arc, LazyLock};

use partner_sdk::jws::{Compact, JwsError, MAX_MESSAGE_BYTES, SigningKey, TYP_BATCH, TYP_MESSAGE, VerifyingKey, sha256_hex};
use partner_sdk::wire::{MAX_BATCH, split_batch};
use partner_sdk::{Code, KeyId, Message, PartnerId, Problem};

use ledger::directory::Directory;
use ledger::{Signed, SignedBatch, Verified};

/// A key that nobody has registered.
static NOBODY_S: LazyLock<VerifyingKey> = LazyLock::new(|| {
    let kid = KeyId::new("nobody").unwrap_or_else(|_| unreachable!("six letters are a kid"));
    SigningKey::from_bytes(kid, &[7; 32]).verifying_key().with_table()
});

/// A message that doesn't reach the ledger.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Why.
    pub problem: Box<Problem>,
    /// SHA-256 of the bytes where the signature was good: then the refusal is signed too.
    pub signed_sha256: Option<String>,
}

impl Refused {
    fn unsigned(code: Code, detail: impl Into<String>) -> Self {
        Self {
            problem: Box::new(Problem::new(code, detail)),
            signed_sha256: None,
        }
    }
}

impl From<JwsError> for Refused {
    fn from(error: JwsError) -> Self {
        let (code, field) = match &error {
            JwsError::Malformed => (Code::MalformedJws, None),
            JwsError::NotGeneral(member) => (
                Code::MalformedDocument,
                Some(*member).filter(|name| !name.is_empty()).map(str::to_owned),
            ),
            JwsError::Unprotected => (Code::UnprotectedHeader, Some("header".to_owned())),
            JwsError::Header(fault) => (Code::BadHeader, fault.field().map(str::to_owned)),
            JwsError::HeaderSize => (Code::BadHeader, Some("protected".to_owned())),
            JwsError::Critical => (Code::BadHeader, Some("crit".to_owned())),
            JwsError::Algorithm => (Code::BadHeader, Some("alg".to_owned())),
            JwsError::Signature => (Code::BadSignature, None),
        };
        Self {
            problem: Box::new(Problem::new(code, error.to_string()).at(field)),
            signed_sha256: None,
        }
    }
}

/// Verifies one compact JWS that `partner`, known by its certificate, has sent.
pub fn message(text: &str, partner: &PartnerId, directory: &Directory) -> Result<Verified, Refused> {
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(Refused::unsigned(
            Code::TooLarge,
            format!("the message has {} bytes, at most {MAX_MESSAGE_BYTES} are taken", text.len()),
        ));
    }
    let (jws, owner) = signature(text, TYP_MESSAGE, partner, directory)?;
    read(&jws.payload, text, partner, (&jws.kid, &owner), None)
}

/// Verifies a signed batch; each of its messages then has an outcome of its own.
pub fn batch(text: &str, partner: &PartnerId, directory: &Directory) -> Result<Vec<Result<Verified, Refused>>, Refused> {
    let (jws, owner) = signature(text, TYP_BATCH, partner, directory)?;
    let sha256 = sha256_hex(text.as_bytes());
    let signed = |code, detail: String| Refused {
        problem: Box::new(Problem::new(code, detail)),
        signed_sha256: Some(sha256.clone()),
    };
    if owner != *partner {
        return Err(signed(
            Code::SenderMismatch,
            "the key isn't a key of the certificate's partner".into(),
        ));
    }
    let messages = split_batch(&jws.payload).map_err(|e| {
        let mut refused = signed(e.code, "the payload isn't an array of messages".into());
        refused.problem = Box::new(
            refused
                .problem
                .advise("Send a JSON array of messages, each a flat object whose values are all strings."),
        );
        refused
    })?;
    if messages.is_empty() {
        return Err(signed(Code::EmptyBatch, "the payload is an array without a message".into()));
    }
    if messages.len() > MAX_BATCH {
        return Err(signed(
            Code::TooLarge,
            format!("a batch takes 1 to {MAX_BATCH} messages, this one has {}", messages.len()),
        ));
    }
    let batch = Arc::new(SignedBatch {
        sha256: sha256.clone(),
        sender: owner.clone(),
        bytes: text.to_owned(),
    });
    let each = messages
        .into_iter()
        .map(|bytes| read(bytes.as_bytes(), bytes, partner, (&jws.kid, &owner), Some(batch.clone())));
    Ok(each.collect())
}

/// Takes the JWS apart and verifies it with the key that its `kid` names; returns that key's owner.
fn signature<'a>(text: &'a str, typ: &str, partner: &PartnerId, directory: &Directory) -> Result<(Compact<'a>, PartnerId), Refused> {
    let jws = Compact::parse_as(text, typ)?;
    let unknown = || Refused {
        problem: Box::new(Problem::new(Code::UnknownKey, "the `kid` is not registered").at(Some("kid"))),
        signed_sha256: None,
    };
    // Nobody learns from a bad signature which keys others have, nor from how long the answer takes: where there is no key, one that is nobody's is tried.
    let Some(registered) = directory.keys.signing(&jws.kid) else {
        let _ = std::hint::black_box(jws.verify(&NOBODY_S));
        return Err(unknown());
    };
    jws.verify(&registered.key)
        .map_err(|error| if registered.partner == *partner { error.into() } else { unknown() })?;
    Ok((jws, registered.partner.clone()))
}

/// Reads a payload whose signature was good, and checks that certificate, key and sender are the same partner.
fn read(
    payload: &[u8],
    bytes: &str,
    partner: &PartnerId,
    (kid, owner): (&KeyId, &PartnerId),
    batch: Option<Arc<SignedBatch>>,
) -> Result<Verified, Refused> {
    let sha256 = sha256_hex(bytes.as_bytes());
    let refused = |problem| Refused {
        problem: Box::new(problem),
        signed_sha256: Some(sha256.clone()),
    };
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(refused(Problem::new(
            Code::TooLarge,
            format!("the message has {} bytes, at most {MAX_MESSAGE_BYTES} are taken", bytes.len()),
        )));
    }
    if owner != partner {
        return Err(refused(
            Problem::new(Code::SenderMismatch, "the key isn't a key of the certificate's partner").at(Some("kid")),
        ));
    }
    let message = Message::parse(payload).map_err(|e| refused(Problem::new(e.code, e.to_string()).at(e.source.field())))?;
    if message.sender != *owner {
        return Err(refused(
            Problem::new(Code::SenderMismatch, "the sender isn't the partner that signed").at(Some("sender")),
        ));
    }
    Ok(Verified {
        message,
        kid: kid.clone(),
        sha256,
        signed: Signed {
            bytes: bytes.into(),
            batch,
        },
    })
}
