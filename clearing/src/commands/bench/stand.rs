//! The clearinghouse under measurement.

use std::path::Path;

use anyhow::Context;

use super::network;
use crate::clock::Clock;
use crate::commands::demo::sandbox::{Party, Sandbox};
use ledger::network::Network;
use store::Scratch;

/// A clearinghouse on a database that is gone afterwards.
pub(super) struct Stand {
    pub sandbox: Sandbox,
    /// Those who send.
    pub parties: Vec<Party>,
    // Dropped last.
    _scratch: Scratch,
}

impl Stand {
    /// The bench's own network with so many shops, made in `folder`.
    pub fn open(folder: &Path, database: &str, shops: u32) -> anyhow::Result<Self> {
        Self::with(folder, database, &network::of(shops)?, Clock::System)
    }

    pub fn with(folder: &Path, database: &str, network: &Network, clock: Clock) -> anyhow::Result<Self> {
        let folder = &std::path::absolute(folder).with_context(|| format!("cannot tell where {} is", folder.display()))?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let scratch = Scratch::create(database, folder, "service")?;
        let sandbox = Sandbox::open(folder, scratch.url(), network, clock)?;
        let shops = sandbox.parties.values().filter(|party| party.id.as_str() != network::ISSUER);
        Ok(Self {
            parties: shops.cloned().collect(),
            sandbox,
            _scratch: scratch,
        })
    }
}
