//! Mutual TLS, the server's side: nobody without a certificate of our CAs gets in, and every connection proves it anew.
//!
//! A resumed session would skip the check of the client's chain, so there is none: no session storage, no tickets, no early data.
//! Certificate, CAs and revocation lists are read again when their files change ([`Files`]) and swapped ([`Live`]): the listeners go on, new connections see the new ones, and a connection that is open already is judged again at its next request ([`Peer`]).

mod clients;
mod files;
mod peer;
pub mod refused;
#[cfg(test)]
mod tests;

use std::sync::{Arc, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};

use crate::office::config::Overdue;
use clients::{AskLive, Clients};

pub use files::Files;
pub use peer::Peer;

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

/// All that one moment's handshakes are made with.
#[derive(Clone)]
struct Material {
    certificate: Arc<CertifiedKey>,
    names: Arc<[String]>,
    clients: Arc<Clients>,
    /// Grows from 1 with every change of `clients`.
    generation: u64,
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

    fn get(&self) -> Arc<Material> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// The settings of the listener for partners: a certificate of a client CA is required.
    pub fn mutual(&self) -> Result<ServerConfig, TlsError> {
        let builder = builder()?.with_client_cert_verifier(Arc::new(AskLive::new(self.clone())));
        Ok(finish(builder.with_cert_resolver(Arc::new(self.clone()))))
    }

    /// The settings of a listener for those who have no certificate yet.
    pub fn open(&self) -> Result<ServerConfig, TlsError> {
        let builder = builder()?.with_no_client_auth();
        Ok(finish(builder.with_cert_resolver(Arc::new(self.clone()))))
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, TlsError> {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Unusable)
}

fn finish(mut config: ServerConfig) -> ServerConfig {
    // Without a ticketer of ours (the default makes none), this leaves nothing to resume from.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Pem(what))
}
