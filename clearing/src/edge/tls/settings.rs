//! The settings of listeners: what a handshake takes, and that nothing is resumed from it.

use std::sync::Arc;

use rustls::server::NoServerSessionStorage;
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};

use super::ask::AskLive;
use super::live::Live;
use super::pems::{TlsError, provider};

impl Live {
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
