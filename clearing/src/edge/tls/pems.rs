//! What TLS is made of, as text, and why it can't be made of it.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::VerifierBuilderError;

use crate::office::config::Overdue;

/// Why the server can't offer TLS. The PEM reader's own errors may quote what they read, so none is kept.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text holds nothing of its kind, or can't be read.
    #[error("no readable PEM in the {0}")]
    Pem(&'static str),
    /// A CA isn't usable for checking clients.
    #[error("the client CA isn't usable")]
    ClientCa(#[source] VerifierBuilderError),
    /// A revocation list is damaged, or is no client CA's.
    #[error("a revocation list isn't signed by any of the client CAs")]
    Crl,
    /// The certificates or the key aren't usable, or don't belong together.
    #[error("the certificates and the key aren't usable")]
    Unusable(#[source] rustls::Error),
}

/// What the server shows, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerPems {
    /// Its certificate, followed by intermediates where there are any.
    pub certificate: String,
    /// The certificate's private key.
    pub key: String,
    /// Names that the service is known by beside those in the certificate.
    pub names: Vec<String>,
}

/// What clients are judged by, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientPems {
    /// The CAs that their certificates have to come from, one or several.
    pub ca: String,
    /// What those CAs have revoked, one list or several; `None` where nothing is.
    pub crl: Option<String>,
    /// What an overdue list means.
    pub overdue: Overdue,
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(super) fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Pem(what))
}
