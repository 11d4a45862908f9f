//! Each handshake asks anew who may connect.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::live::Live;
use super::pems::provider;
use super::refused;

/// What rustls holds for as long as the listener lives: each handshake asks what is in force now.
#[derive(Debug)]
pub(super) struct AskLive {
    live: Live,
    provider: Arc<CryptoProvider>,
}

impl AskLive {
    pub(super) fn new(live: Live) -> Self {
        Self {
            live,
            provider: provider(),
        }
    }
}

impl ClientCertVerifier for AskLive {
    /// None: the slice would have to outlive every swap. Hints only help a client that has several certificates to choose from; without them it
    /// shows the one it has (RFC 8446, 4.2.4).
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.live.get().clients.verify(end_entity, intermediates, now);
        verified.inspect_err(|_| refused::note(end_entity))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
