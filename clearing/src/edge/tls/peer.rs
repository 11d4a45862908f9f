//! Who is at the other end of a connection, and whether its certificate is still good.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use partner_sdk::wire::keys::Spki;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::live::Live;
use crate::office::pki::spki_sha256;

/// The client certificate of a connection. It says only which key the connection has proven; which partner that is, and whether it is still welcome, is
/// looked up for every request. Cheap to clone.
#[derive(Clone)]
pub struct Peer {
    /// SHA-256 of the certificate's SubjectPublicKeyInfo.
    pub spki: Spki,
    chain: Arc<[CertificateDer<'static>]>,
    /// When the first of the chain ends, in seconds since 1970: from then on it is verified for every request.
    ends: u64,
    /// The generation of the CAs and lists that last let the certificate pass. 0 at first: a swap may have come between the handshake and its end.
    verified: Arc<AtomicU64>,
}

impl Peer {
    /// The peer that has shown this chain; `None` where its first certificate can't be read.
    pub fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        Some(Self {
            spki: Spki(spki_sha256(chain.first()?).ok()?),
            chain: chain.iter().map(|cert| cert.clone().into_owned()).collect(),
            ends: chain.iter().map(not_after).min().unwrap_or(0),
            verified: Arc::default(),
        })
    }

    /// Whether the certificate passes by the CAs and revocation lists in force now, and by the machine's clock; verified once for each change of them, and
    /// while it hasn't ended.
    pub fn is_good(&self, live: &Live) -> bool {
        let (now, time) = (live.get(), UnixTime::now());
        if self.verified.load(Ordering::Acquire) == now.generation && time.as_secs() < self.ends && !now.clients.has_ended(time) {
            return true;
        }
        let Some((leaf, intermediates)) = self.chain.split_first() else {
            return false;
        };
        let passed = now.clients.verify(leaf, intermediates, time).is_ok();
        if passed {
            self.verified.fetch_max(now.generation, Ordering::AcqRel);
        }
        passed
    }
}

/// When a certificate ends, in seconds since 1970; 0 where it doesn't say.
fn not_after(cert: &CertificateDer<'_>) -> u64 {
    let read = X509Certificate::from_der(cert).map(|(_, cert)| cert.validity().not_after.timestamp());
    read.ok().and_then(|at| at.try_into().ok()).unwrap_or(0)
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({})", self.spki)
    }
}
