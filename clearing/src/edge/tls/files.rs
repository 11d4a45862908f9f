//! The files that TLS is made of, and whether what they hold has changed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::live::Live;
use super::pems::{ClientPems, ServerPems, TlsError};
use crate::office::config::Tls;
use crate::office::pki::{BOTH, read_secret, share_a_key};
use crate::telemetry::chain;

/// How often it is said that a list is overdue.
const WARN_EVERY: Duration = Duration::from_secs(3600);

/// The files as last seen. The server's and the clients' stand alone: a certificate that was copied badly must not hold up a revocation.
pub struct Files {
    paths: Tls,
    server: Result<ServerPems, String>,
    clients: Result<ClientPems, String>,
    /// When it was last said that a list is overdue.
    warned: Option<Instant>,
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
            warned: None,
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
        if live.is_overdue() && self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                meaning = ?self.paths.crl_overdue,
                "a revocation list is past its nextUpdate: fetch a newer one from its CA, and put it into tls.crl"
            );
        }
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
        names: paths.names.clone(),
    })
}

fn read_clients(paths: &Tls) -> anyhow::Result<ClientPems> {
    let ca = read(&paths.client_ca)?;
    // The server CA may be kept elsewhere, and of a folder that was made before there is none (docs/decisions/0021-two-cas.md).
    let server_ca = std::fs::read_to_string(&paths.server_ca).unwrap_or_default();
    ensure!(!share_a_key(&ca, &server_ca), BOTH);
    Ok(ClientPems {
        ca,
        crl: paths.crl.as_deref().map(read).transpose()?,
        overdue: paths.crl_overdue,
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
