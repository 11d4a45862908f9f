//! Holding the log to what the client saw of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Client;
use super::error::{ClientError, LogFault};
use super::seen::{Head, forked};
use crate::log::paths::{Fetched, Tree, for_consistency, for_root};
use crate::log::tile::Tile;
use crate::log::tree::verify_consistency;
use crate::log::{Checkpoint, Hash};

impl Client {
    /// The same client with the head of the log that it saw when it ran last (see [`Client::seen`]): what it sees from now on is held to that. An error where the
    /// text isn't a head signed by the log's key.
    pub fn with_seen(self, checkpoint: &str) -> Result<Self, ClientError> {
        let head = self.head(checkpoint)?;
        let client = Self {
            seen: Arc::default(),
            ..self
        };
        client.seen.note([head])?;
        Ok(client)
    }

    /// The newest head of the log that continues everything this client saw: keep it where the receipts are kept. `None` before the first receipt.
    pub fn seen(&self) -> Option<String> {
        self.seen.last()
    }

    /// Asks for the newest head of the log, and holds everything that this client saw to it. The client does so by itself while it posts, within ten seconds after
    /// the log has grown.
    pub async fn check_log(&self) -> Result<Checkpoint, ClientError> {
        self.seen.sound()?;
        let held = self.seen.begin();
        let text = self.get_text("/v1/log/checkpoint").await?;
        let head = self.head(&text)?;
        if let Some(larger) = held.iter().find(|one| one.size > head.size) {
            let (earlier, later) = (larger.text.clone(), head.text);
            return Err(self.seen.fault(LogFault::Shrunk { earlier, later }).into());
        }
        let mut wanted: BTreeSet<Tile> = held.iter().flat_map(|one| for_consistency(one.size, head.size)).collect();
        wanted.extend(for_root(head.size));
        let mut tiles = Fetched::new();
        for tile in wanted {
            tiles.insert(tile, self.tile(tile).await?);
        }
        let wrong = || self.seen.fault(LogFault::Tiles { head: head.text.clone() });
        let mut tree = Tree::new(tiles, head.size).map_err(|_| wrong())?;
        if tree.root() != head.root {
            return Err(wrong().into());
        }
        for one in &held {
            let path = tree.consistency(one.size).map_err(|_| wrong())?;
            if verify_consistency(one.size, one.root, head.size, head.root, &path).is_err() {
                return Err(self.seen.fault(forked(one, &head)).into());
            }
        }
        let checkpoint = Checkpoint {
            origin: self.trust.origin().to_owned(),
            size: head.size,
            root: head.root,
        };
        self.seen.proved(&held, head)?;
        Ok(checkpoint)
    }

    /// Remembers the heads of some receipts and, where it is time, holds them to the newest one. That the clearinghouse can't be asked just now is no fault yet.
    pub(super) async fn saw(&self, heads: Vec<Head>) -> Result<(), ClientError> {
        self.seen.note(heads)?;
        if !self.seen.is_due() {
            return Ok(());
        }
        match self.check_log().await {
            Err(ClientError::Log(fault)) => Err(fault.into()),
            Err(_) => self.seen.overdue().map_or(Ok(()), |fault| Err(fault.into())),
            Ok(_) => Ok(()),
        }
    }

    fn head(&self, text: &str) -> Result<Head, ClientError> {
        let checkpoint = self.trust.checkpoint(text).map_err(ClientError::Checkpoint)?;
        Ok(Head::new(&checkpoint, text))
    }

    async fn tile(&self, tile: Tile) -> Result<Vec<Hash>, ClientError> {
        let bytes = self.get_bytes(&format!("/v1/log/{tile}")).await?;
        let hashes: Result<Vec<[u8; 32]>, _> = bytes.chunks(32).map(<[u8; 32]>::try_from).collect();
        // What isn't a tile has no hashes: the tree of it is another.
        Ok(hashes.unwrap_or_default().into_iter().map(Hash::from_bytes).collect())
    }
}
