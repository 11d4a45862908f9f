//! What TLS works with now, and how that is changed while it works.

use std::sync::{Arc, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::clients::Clients;
use super::pems::{ClientPems, ServerPems, TlsError, certificates, provider};

/// All that one moment's handshakes are made with.
#[derive(Clone)]
pub(super) struct Material {
    certificate: Arc<CertifiedKey>,
    names: Arc<[String]>,
    pub(super) clients: Arc<Clients>,
    /// Grows from 1 with every change of `clients`.
    pub(super) generation: u64,
}

/// What TLS works with now. Cheap to clone; all clones see a swap at once.
#[derive(Clone)]
pub struct Live(Arc<RwLock<Arc<Material>>>);

impl Live {
    /// Starts from texts that can be used.
    pub fn new(server: &ServerPems, clients: &ClientPems) -> Result<Self, TlsError> {
        let material = Material {
            certificate: read_server(server)?,
            names: names(server),
            clients: Arc::new(Clients::read(clients)?),
            generation: 1,
        };
        Ok(Self(Arc::new(RwLock::new(Arc::new(material)))))
    }

    /// Shows another certificate on new connections; where it can't be used, the old stays.
    pub fn swap_server(&self, pems: &ServerPems) -> Result<(), TlsError> {
        let certificate = read_server(pems)?;
        let names = names(pems);
        self.swap(|now| Material { certificate, names, ..now });
        Ok(())
    }

    /// Judges clients by other CAs and revocation lists, on new connections and on those that are open; where they can't be used, the old stay.
    pub fn swap_clients(&self, pems: &ClientPems) -> Result<(), TlsError> {
        let clients = Arc::new(Clients::read(pems)?);
        self.swap(|now| Material {
            clients,
            generation: now.generation + 1,
            ..now
        });
        Ok(())
    }

    /// Whether the service is known by this name or address, in small letters: it is in the certificate, or configured. A certificate that names nobody is good
    /// for everybody.
    pub fn is_named(&self, name: &str) -> bool {
        let names = self.get().names.clone();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let is = |known: &String| known == name || known.strip_prefix("*.").is_some_and(|known| parent == Some(known));
        names.is_empty() || names.iter().any(is)
    }

    /// Whether a revocation list is older than it says it may be.
    pub fn is_overdue(&self) -> bool {
        self.get().clients.is_overdue(UnixTime::now())
    }

    fn swap(&self, change: impl FnOnce(Material) -> Material) {
        let mut now = self.0.write().unwrap_or_else(|e| e.into_inner());
        *now = Arc::new(change(Material::clone(&now)));
    }

    pub(super) fn get(&self) -> Arc<Material> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Live(generation {})", self.get().generation)
    }
}

impl ResolvesServerCert for Live {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().certificate.clone())
    }
}

fn read_server(pems: &ServerPems) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(&pems.certificate, "server certificate")?;
    let key = PrivateKeyDer::from_pem_slice(pems.key.as_bytes()).map_err(|_| TlsError::Pem("server key"))?;
    CertifiedKey::from_der(chain, key, &provider())
        .map(Arc::new)
        .map_err(TlsError::Unusable)
}

fn names(pems: &ServerPems) -> Arc<[String]> {
    let own = crate::office::pki::server_names(&pems.certificate).unwrap_or_default();
    own.iter().chain(&pems.names).map(|name| name.to_ascii_lowercase()).collect()
}
