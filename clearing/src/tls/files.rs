//! The files that TLS is made of, and whether what they hold has changed.

use std::path::Path;

use anyhow::Context;

use super::{ClientPems, Live, ServerPems, TlsError};
use crate::config::Tls;
use crate::pki::read_secret;
use crate::telemetry::chain;

/// The files as last seen. The server's and the clients' stand alone: a certificate that was copied badly must not hold up a revocation.
pub struct Files {
    paths: Tls,
    server: Result<ServerPems, String>,
    clients: Result<ClientPems, String>,
}

impl Files {
    /// Reads the files, and makes what TLS works with of them.
    pub fn open(paths: &Tls) -> anyhow::Result<(Self, Live)> {
        let (server, clients) = (read_server(paths)?, read_clients(paths)?);
        let live = Live::new(&server, &clients)?;
        let files = Self {
            paths: paths.clone(),
            server: Ok(server),
            clients: Ok(clients),
        };
        Ok((files, live))
    }

    /// Reads the files again, and swaps in what has changed since the last look. What can't be used is logged once, and the old stays. Contents are
    /// compared, not times: a copy may keep its original's time.
    pub fn look(&mut self, live: &Live) {
        compare(
            &mut self.server,
            read_server(&self.paths),
            "the server's certificate and key",
            |pems| live.swap_server(pems),
        );
        compare(
            &mut self.clients,
            read_clients(&self.paths),
            "client CAs and revocation lists",
            |pems| live.swap_clients(pems),
        );
    }
}

fn compare<T: PartialEq>(
    seen: &mut Result<T, String>,
    found: anyhow::Result<T>,
    what: &str,
    take: impl FnOnce(&T) -> Result<(), TlsError>,
) {
    let found = found.map_err(|error| format!("{error:#}"));
    if found == *seen {
        return;
    }
    let taken = found.as_ref().map_err(String::clone);
    match taken.and_then(|pems| take(pems).map_err(|error| chain(&error))) {
        Ok(()) => tracing::info!("{what} were read again"),
        Err(error) => tracing::error!(error, "{what} can't be used as they are now: those read before stay in force"),
    }
    *seen = found;
}

fn read_server(paths: &Tls) -> anyhow::Result<ServerPems> {
    Ok(ServerPems {
        certificate: read(&paths.certificate)?,
        key: read_secret(&paths.key)?,
    })
}

fn read_clients(paths: &Tls) -> anyhow::Result<ClientPems> {
    Ok(ClientPems {
        ca: read(&paths.client_ca)?,
        crl: paths.crl.as_deref().map(read).transpose()?,
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
