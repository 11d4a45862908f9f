//! Mutual TLS, the client's side: only the clearinghouse's CA is trusted, and this partner's certificate is always shown.

use std::fmt;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// Who the client is and whom it trusts; all three are PEM texts.
#[derive(Clone)]
pub struct Identity {
    /// The CA that the server's certificate has to come from; no other is trusted.
    pub ca_pem: String,
    /// The client's certificate, followed by intermediates where there are any.
    pub cert_pem: String,
    /// The certificate's private key, PKCS#8.
    pub key_pem: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// Why an identity can't be used. The PEM reader's own errors may quote what they read, so none is kept.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text holds nothing of its kind, or can't be read.
    #[error("no readable PEM in the {0}")]
    Pem(&'static str),
    /// The certificates or the key aren't usable, or don't belong together.
    #[error("the certificates and the key aren't usable")]
    Unusable(#[source] rustls::Error),
}

/// The TLS settings of a client: TLS 1.3 and 1.2, HTTP/1.1, every handshake full.
pub fn client_config(identity: &Identity) -> Result<ClientConfig, TlsError> {
    let builder = trusting(&identity.ca_pem)?;
    let chain = certificates(&identity.cert_pem, "client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(|_| TlsError::Pem("client key"))?;
    let config = builder.with_client_auth_cert(chain, key).map_err(TlsError::Unusable)?;
    Ok(finish(config))
}

/// The same for whoever has no certificate yet.
pub fn anonymous_config(ca_pem: &str) -> Result<ClientConfig, TlsError> {
    Ok(finish(trusting(ca_pem)?.with_no_client_auth()))
}

/// Trusts this CA and no other.
fn trusting(ca_pem: &str) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let mut roots = RootCertStore::empty();
    for ca in certificates(ca_pem, "CA certificate")? {
        roots.add(ca).map_err(TlsError::Unusable)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Unusable)?;
    Ok(builder.with_root_certificates(roots))
}

fn finish(mut config: ClientConfig) -> ClientConfig {
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Pem(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_identity_is_an_error_that_tells_no_secret() {
        let identity = Identity {
            ca_pem: String::new(),
            cert_pem: String::new(),
            key_pem: "-----BEGIN SECRET".into(),
        };
        assert!(matches!(client_config(&identity), Err(TlsError::Pem("CA certificate"))));
        assert!(!format!("{identity:?}").contains("SECRET"));
    }
}
