//! Holding the log to what the client saw of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;

use super::Client;
use super::answer::Reply;
use super::error::{ClientError, LogFault};
use super::seen::{Head, Seen, forked};
use crate::log::checkpoint::{CheckpointError, MAX_CHECKPOINT_BYTES};
use crate::log::note::NoteError;
use crate::log::paths::{Fetched, Tree, for_consistency, for_root};
use crate::log::tile::{Tile, WIDTH};
use crate::log::tree::verify_consistency;
use crate::log::{Checkpoint, Hash};

/// How long one look may take, all its requests together.
const LOOK: Duration = Duration::from_secs(60);
const HASH_BYTES: usize = 32;
const MAX_TILE_BYTES: usize = WIDTH as usize * HASH_BYTES;

impl Client {
    /// The same client with what it saw of the log when it ran last (see [`Client::seen`]), or with one head from elsewhere: what it sees from now on is held to
    /// that, with its first receipt already. An error where the text isn't one or more heads signed by the log's key, or they don't belong to one log.
    pub fn with_seen(self, heads: &str) -> Result<Self, ClientError> {
        let malformed = CheckpointError::Note(NoteError::Malformed);
        let text = heads.strip_suffix('\n').ok_or(ClientError::Checkpoint(malformed))?;
        // An empty line stands between heads, and one in each of them before its signatures.
        let parts: Vec<&str> = text.split("\n\n").collect();
        let heads: Result<Vec<Head>, _> = parts.chunks(2).map(|head| self.head(&(head.join("\n\n") + "\n"))).collect();
        let seen = Arc::new(Seen::kept(heads?)?);
        Ok(Self { seen, ..self })
    }

    /// What this client saw of the log and isn't proved to be continued yet: the newest head that continues all others before it, then, each after an empty line,
    /// those that wait until they are held to the newest one. Keep the text where the receipts are kept: nothing that was ever seen is forgotten. After
    /// [`Client::check_log`] there is mostly one head, about 200 bytes. `None` before the first receipt.
    pub fn seen(&self) -> Option<String> {
        self.seen.text()
    }

    /// Asks for the newest head of the log, and holds what this client saw to it, up to 64 heads at once. The client does so by itself while it posts: with the
    /// next receipt, ten seconds or more after it looked last. Takes a minute at most, and goes on to its end where the caller doesn't wait for it.
    pub async fn check_log(&self) -> Result<Checkpoint, ClientError> {
        let client = self.clone();
        let look = tokio::spawn(async move { client.look().await });
        look.await.map_err(|_| ClientError::Unexpected {
            status: 0,
            why: "looking at the log was broken off".into(),
        })?
    }

    /// Remembers the heads of some receipts and, where it is time, holds them to the newest one. That the clearinghouse gives no proof just now is no fault yet.
    pub(super) async fn saw(&self, heads: Vec<Head>) -> Result<(), LogFault> {
        self.seen.note(heads)?;
        if self.seen.is_due(Instant::now()) {
            let _ = self.check_log().await;
        }
        self.seen.sound()
    }

    /// Before anything is posted: where too many heads wait, some of them are held to the newest one first.
    pub(super) async fn make_room(&self) -> Result<(), ClientError> {
        if self.seen.is_full() {
            self.check_log().await?;
        }
        Ok(())
    }

    async fn look(&self) -> Result<Checkpoint, ClientError> {
        self.seen.sound()?;
        let held = self.seen.begin(Instant::now());
        let found = self.hold(&held).await;
        if found.is_err() {
            self.seen.failed(&held, Instant::now());
        }
        self.seen.sound()?;
        found
    }

    /// Holds these heads to the newest one.
    async fn hold(&self, held: &[Head]) -> Result<Checkpoint, ClientError> {
        let until = Instant::now() + LOOK;
        let reply = self.get_within("/v1/log/checkpoint", MAX_CHECKPOINT_BYTES, until).await?;
        let head = self.head(reply.text()?)?;
        self.seen.note([head.clone()])?;
        if let Some(larger) = held.iter().find(|one| one.size > head.size) {
            let (earlier, later) = (larger.text.clone(), head.text);
            return Err(self.seen.fault(LogFault::Shrunk { earlier, later }).into());
        }
        let mut wanted: BTreeSet<Tile> = held.iter().flat_map(|one| for_consistency(one.size, head.size)).collect();
        wanted.extend(for_root(head.size));
        let mut tiles = Fetched::new();
        for tile in wanted {
            let reply = self.get_within(&format!("/v1/log/{tile}"), MAX_TILE_BYTES, until).await?;
            tiles.insert(tile, hashes(&reply.body));
        }
        goes_on(held, &head, tiles).map_err(|fault| self.seen.fault(fault))?;
        self.seen.proved(held, &head)?;
        Ok(Checkpoint {
            origin: self.trust.origin().to_owned(),
            size: head.size,
            root: head.root,
        })
    }

    fn head(&self, text: &str) -> Result<Head, ClientError> {
        let checkpoint = self.trust.checkpoint(text).map_err(ClientError::Checkpoint)?;
        Ok(Head::new(&checkpoint, text))
    }

    /// Gets what has at most `most` bytes and comes before that instant.
    async fn get_within(&self, path: &str, most: usize, until: Instant) -> Result<Reply, ClientError> {
        let left = until.saturating_duration_since(Instant::now());
        let request = self.request(Method::GET, path)?.timeout(left.min(super::REQUEST_TIMEOUT));
        self.accepted(self.exchange_within(request, most).await?)
    }
}

/// The hashes of a tile. What isn't a tile has none: the tree of it is another.
fn hashes(bytes: &[u8]) -> Vec<Hash> {
    let hashes: Result<Vec<[u8; HASH_BYTES]>, _> = bytes.chunks(HASH_BYTES).map(<[u8; HASH_BYTES]>::try_from).collect();
    hashes.unwrap_or_default().into_iter().map(Hash::from_bytes).collect()
}

/// Whether a head continues these, by its tiles. Only where the tiles make up its root, all of them, is another tree a fork.
fn goes_on(held: &[Head], head: &Head, tiles: Fetched) -> Result<(), LogFault> {
    let wrong = || LogFault::Tiles { head: head.text.clone() };
    let mut tree = Tree::new(tiles, head.size).map_err(|_| wrong())?;
    if tree.root() != head.root {
        return Err(wrong());
    }
    for one in held {
        let path = tree.consistency(one.size).map_err(|_| wrong())?;
        verify_consistency(one.size, one.root, head.size, head.root, &path).map_err(|_| forked(one, head))?;
    }
    Ok(())
}
