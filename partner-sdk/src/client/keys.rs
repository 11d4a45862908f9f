//! Keys and certificates: a partner enrols, changes them over without a gap, and revokes what it has lost. The requests are made and signed in
//! [`crate::wire::keys`].

use reqwest::Method;
use serde::de::DeserializeOwned;

use super::{Client, ClientError, MAX_ANSWER_BYTES, connector, exchange, new_message_id, origin, spki, tls};
use crate::jws::Compact;
use crate::wire::keys::{Certified, Enrolled, Enrolment, Issued, Keys, NewCertificate, Spki, TYP_CERTIFICATE, TYP_ENROLMENT};

/// Sends an enrolment (see [`crate::wire::keys::Enrolment::sign`]) to the address that the operator gave with the invitation. `ca_pem` is the CA that the
/// server's certificate has to come from. A certificate for another key than the request's is [`ClientError::Unexpected`].
pub async fn enrol(base: &str, ca_pem: &str, jws: &str) -> Result<Enrolled, ClientError> {
    let http = connector(tls::anonymous_config(ca_pem).map_err(ClientError::Identity)?)?;
    let request = http
        .request(Method::POST, format!("{}/v1/enrolments", origin(base)?))
        .body(jws.to_owned());
    let reply = exchange(request, MAX_ANSWER_BYTES).await?;
    if !reply.is_ok() {
        return Err(ClientError::Refused(Box::new(reply.problem()?)));
    }
    let asked = Compact::parse_as(jws, TYP_ENROLMENT).ok();
    let asked = asked.and_then(|jws| Enrolment::parse(&jws.payload).ok());
    reply.json_if(|enrolled: &Enrolled| {
        let certified = spki::of_certificate(&enrolled.certificate);
        asked.is_some_and(|asked| asked.kid == enrolled.kid && is_for(&asked.csr, certified))
    })
}

/// Whether the key of a certificate is that of a request.
fn is_for(csr: &str, certified: Option<Spki>) -> bool {
    certified.is_some() && spki::of_request(csr) == certified
}

/// For a request that is signed now, under an id of its own.
///
/// # Panics
/// Where the operating system gives no random bytes.
pub fn issued_now() -> Issued {
    Issued {
        id: new_message_id(),
        issued_at: jiff::Timestamp::now(),
    }
}

impl Client {
    /// The partner's own keys, and where each stands.
    pub async fn keys(&self) -> Result<Keys, ClientError> {
        self.get("/v1/keys").await
    }

    /// Registers a further signing key, or ends one (see [`crate::wire::keys::NewKey::sign`]); returns all keys as they are then.
    pub async fn add_key(&self, jws: &str) -> Result<Keys, ClientError> {
        self.ask("/v1/keys", jws).await
    }

    /// Gets a certificate for a further TLS key, or a new one for the same key (see [`crate::wire::keys::NewCertificate::sign`]). A certificate for
    /// another key than the request's is [`ClientError::Unexpected`].
    pub async fn certificate(&self, jws: &str) -> Result<Certified, ClientError> {
        let request = self.request(Method::POST, "/v1/certificates")?.body(jws.to_owned());
        let reply = self.accepted(self.exchange(request).await?)?;
        let asked = Compact::parse_as(jws, TYP_CERTIFICATE).ok();
        let asked = asked.and_then(|jws| NewCertificate::parse(&jws.payload).ok());
        reply.json_if(|answer: &Certified| {
            let certified = spki::of_certificate(&answer.certificate).filter(|spki| *spki == answer.spki_sha256);
            asked.is_some_and(|asked| is_for(&asked.csr, certified))
        })
    }

    /// Revokes a key, at once and for good (see [`crate::wire::keys::Revocation::sign`]); returns all keys as they are then.
    pub async fn revoke(&self, jws: &str) -> Result<Keys, ClientError> {
        self.ask("/v1/revocations", jws).await
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, jws: &str) -> Result<T, ClientError> {
        let request = self.request(Method::POST, path)?.body(jws.to_owned());
        self.accepted(self.exchange(request).await?)?.json()
    }
}
