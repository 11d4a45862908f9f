//! Whose certificate a handshake failed for: rustls tells the client with an alert, and us only that it failed.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;

use partner_sdk::wire::keys::Spki;
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;

use crate::office::pki::spki_sha256;

thread_local! {
    /// The key of the certificate that was refused last on this thread, until somebody takes it.
    static REFUSED: Cell<Option<Spki>> = const { Cell::new(None) };
}

/// Notes that a certificate is refused. Called from within the handshake's poll.
pub(super) fn note(certificate: &CertificateDer<'_>) {
    REFUSED.set(spki_sha256(certificate).ok().map(Spki));
}

/// Runs a handshake; with its outcome, the key of the certificate that it was refused for, if it was. Verifying happens within one poll, so nobody else's is taken for
/// this one's.
pub async fn watch<F: Future>(handshake: F) -> (F::Output, Option<Spki>) {
    let (mut handshake, mut refused) = (pin!(handshake), None);
    let outcome = poll_fn(|context| {
        REFUSED.take();
        let polled = handshake.as_mut().poll(context);
        refused = REFUSED.take().or(refused);
        polled
    });
    let outcome = outcome.await;
    (outcome, refused)
}

/// Why a handshake failed, where that is for the client's certificate.
pub fn fault(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        rustls::Error::NoCertificatesPresented => Some("certificate_missing"),
        rustls::Error::InvalidCertificate(why) => Some(match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate_expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate_not_yet_valid",
            CertificateError::Revoked => "certificate_revoked",
            CertificateError::UnknownIssuer => "certificate_of_unknown_ca",
            // The certificate was good; this is the handshake's own signature.
            CertificateError::BadSignature => "certificate_of_another",
            _ => "certificate_refused",
        }),
        _ => None,
    }
}
