//! Who may connect: certificates of the client CAs that none of their lists has revoked.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, Error, RootCertStore};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::pems::{ClientPems, TlsError, certificates, provider};
use crate::office::config::Overdue;

/// One verifier for each CA. A list is tied to its CA by its signature, not by the issuer's name: two CAs may have the same name, and one's list would
/// then shut out all clients of the other.
pub(super) struct Clients {
    verifiers: Vec<Arc<dyn ClientCertVerifier>>,
    /// When the first of the lists in use is overdue, in seconds since 1970, and what that means.
    overdue_from: u64,
    overdue: Overdue,
}

impl Clients {
    pub(super) fn read(pems: &ClientPems) -> Result<Self, TlsError> {
        let cas = certificates(&pems.ca, "client CA certificate")?;
        let lists = pems.crl.as_deref().map_or(Ok(vec![]), read_lists)?;
        let mut owned = vec![false; lists.len()];
        let mut overdue_from = u64::MAX;
        let verifiers = cas.into_iter().map(|ca| {
            let mut own = vec![];
            for (list, owned) in lists.iter().zip(&mut owned) {
                if is_signed_by(list, &ca)? {
                    *owned = true;
                    own.push(list.clone());
                }
            }
            // Of several lists of one CA the newest counts.
            overdue_from = overdue_from.min(own.first().map_or(u64::MAX, |list| next_update(list)));
            verifier(ca, own, pems.overdue)
        });
        let verifiers = verifiers.collect::<Result<Vec<_>, _>>()?;
        if owned.contains(&false) {
            Err(TlsError::Crl)
        } else {
            Ok(Self {
                verifiers,
                overdue_from,
                overdue: pems.overdue,
            })
        }
    }

    /// Whether a list is past its time.
    pub(super) fn is_overdue(&self, now: UnixTime) -> bool {
        now.as_secs() >= self.overdue_from
    }

    /// Whether what was verified before has to be verified again, because a list that has come to its time counts no more.
    pub(super) fn has_ended(&self, now: UnixTime) -> bool {
        self.overdue == Overdue::Refuse && self.is_overdue(now)
    }

    /// Whether a chain leads to a CA, is in its time, for clients, and not revoked.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut against = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for ca in &self.verifiers {
            match ca.verify_client_cert(leaf, intermediates, now) {
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {}
                Err(error) => against = error,
                good => return good,
            }
        }
        Err(against)
    }
}

/// The lists, newest first: of several by one CA, the first one counts.
fn read_lists(pem: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect();
    // A file without any list is taken for a damaged one: it would set free whatever was revoked.
    let mut lists = read
        .ok()
        .filter(|lists| !lists.is_empty())
        .ok_or(TlsError::Pem("revocation lists"))?;
    for list in &lists {
        CertificateRevocationList::from_der(list).map_err(|_| TlsError::Pem("revocation lists"))?;
    }
    lists.sort_by_cached_key(|list| {
        let issued = CertificateRevocationList::from_der(list).map(|(_, list)| list.last_update().timestamp());
        std::cmp::Reverse(issued.unwrap_or(i64::MIN))
    });
    Ok(lists)
}

/// When a list is overdue, in seconds since 1970; never where it doesn't say.
fn next_update(list: &[u8]) -> u64 {
    let read = CertificateRevocationList::from_der(list).ok();
    let at = read.and_then(|(_, list)| list.next_update()).map(|at| at.timestamp());
    at.and_then(|at| at.try_into().ok()).unwrap_or(u64::MAX)
}

fn is_signed_by(list: &[u8], ca: &[u8]) -> Result<bool, TlsError> {
    let (_, list) = CertificateRevocationList::from_der(list).map_err(|_| TlsError::Crl)?;
    let (_, ca) = X509Certificate::from_der(ca).map_err(|_| TlsError::Pem("client CA certificate"))?;
    Ok(list.issuer() == ca.subject() && list.verify_signature(ca.public_key()).is_ok())
}

fn verifier(
    ca: CertificateDer<'static>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    overdue: Overdue,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca).map_err(TlsError::Unusable)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).with_crls(lists);
    let builder = match overdue {
        // A list past its time still says what was revoked: to refuse everybody then would stop the tills.
        Overdue::Warn => builder,
        Overdue::Refuse => builder.enforce_revocation_expiration(),
    };
    // A CA without a list has revoked nothing.
    builder.allow_unknown_revocation_status().build().map_err(TlsError::ClientCa)
}
