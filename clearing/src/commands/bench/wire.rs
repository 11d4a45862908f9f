//! The partners' connections to the server.

use anyhow::Context;
use partner_sdk::client::Client;
use tokio::runtime::{self, Runtime};

use super::stand::Stand;
use crate::commands::demo::sandbox::Party;

/// Connections that are there before anything is measured, so that none is made meanwhile: of a partner, half of what a service lets it have, and of all.
const OF_A_PARTNER: usize = 64;
const CONNECTIONS: usize = 256;

/// The partners' connections.
pub(super) struct Wire {
    pub clients: Vec<Client>,
    /// The connections live in it. It is one thread, which sends and receives all: the other processors are the server's. It works on between what is sent, so that a connection
    /// that was half made is made, and one that the server has ended is seen.
    runtime: Runtime,
}

impl Wire {
    pub fn connect(stand: &Stand, base: &str) -> anyhow::Result<Self> {
        let connect = |party: &Party| Ok(Client::new(base, &party.identity, stand.sandbox.trust.clone())?);
        Ok(Self {
            clients: stand.parties.iter().map(connect).collect::<anyhow::Result<_>>()?,
            runtime: runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?,
        })
    }

    /// How many connections there are. Whoever has more requests on their way at once makes further ones, and the service closes those that a partner has too many.
    pub fn connections(&self) -> usize {
        CONNECTIONS.min(OF_A_PARTNER * self.clients.len())
    }

    /// Runs something on the connections' own thread.
    pub fn run<T: Send + 'static>(&self, body: impl Future<Output = anyhow::Result<T>> + Send + 'static) -> anyhow::Result<T> {
        self.runtime.block_on(self.runtime.spawn(body)).context("the driver panicked")?
    }
}
