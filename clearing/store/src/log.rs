//! The log's tree in the database: C2SP tlog-tiles, their edge read and written under the lock of `head`.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use ledger::WorkingSet;
use ledger::tree::{Edge, EdgeError, Grown};
use migrations::schema::{document, entry, head, log_tile, message};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::document::Kind;
use partner_sdk::log::Hash;
use partner_sdk::log::paths::{Fetched, Tree, for_inclusion, for_root};
use partner_sdk::log::tile::Tile;
use settlement::WINDOW;

use super::bulk::{Bulk, row};
use super::documents::ENTRY as DOCUMENT;
use super::head::lock;
use super::rows::{POSTED, PostedRow};
use super::{kept, keys};

/// Bytes of a hash.
const HASH: usize = 32;
/// Entries that are read at once.
pub(super) const CHUNK: i64 = 1000;

/// Adds to the tree whatever has a number and isn't in it yet; false where that is nothing. Whoever puts an entry in the log that isn't a message leaves this to
/// whoever comes next: to the next group of messages, or to the service, which looks every second.
pub fn grow(conn: &mut Conn) -> Result<bool, DbError> {
    let behind: i64 = each_backend!(conn, |c| head::table.select(head::next_seq - head::tree_size).first(c))?;
    if behind <= 1 {
        return Ok(false);
    }
    conn.transaction(|conn| {
        let next_seq = lock(conn)?.next_seq;
        Ok(grow_to(conn, next_seq, &[], None)?.is_some())
    })
}

/// Adds the messages of a working set that was persisted to the tree, in the same transaction. Returns how it has grown. `known` is the edge that a transaction before
/// has left, if any: where it is the tree's still, it needn't be read.
pub fn add_messages(conn: &mut Conn, set: &WorkingSet, known: Option<&Edge>) -> Result<Option<Grown>, DbError> {
    let messages = &set.changes.messages;
    if messages.is_empty() {
        return Ok(None);
    }
    let leaves = messages.iter().map(|(posted, _)| Hash::leaf(ledger::entry(posted).as_bytes()));
    grow_to(conn, set.next_seq, &leaves.collect::<Vec<_>>(), known)
}

/// Makes the tree one of all entries before `next_seq`, the last of which have the leaves that are `known`; for a transaction that has locked `head`. `None` where it
/// was that already.
fn grow_to(conn: &mut Conn, next_seq: i64, known: &[Hash], last: Option<&Edge>) -> Result<Option<Grown>, DbError> {
    let first_known = next_seq - i64::try_from(known.len()).map_err(|_| DbError::Corrupt("too many entries".into()))?;
    // A tree never shrinks: one that has had all entries before these has just those.
    let last = last.filter(|last| i64::try_from(last.size()) == Ok(first_known - 1)).cloned();
    let mut edge = last.map_or_else(|| edge(conn), Ok)?;
    let mut grown: Option<Grown> = None;
    let mut from = next(&edge)?;
    while from < first_known {
        let to = (from + CHUNK).min(first_known);
        let leaves = kept::kept(conn, from, to)?
            .iter()
            .map(|entry| Hash::leaf(entry.text().as_bytes()))
            .collect::<Vec<_>>();
        grown = Some(add(conn, &edge, &leaves)?);
        edge = grown.as_ref().map_or(edge, |grown| grown.edge.clone());
        from = to;
    }
    if !known.is_empty() {
        grown = Some(add(conn, &edge, known)?);
    }
    if grown.is_some() {
        each_backend!(conn, |c| diesel::update(head::table.find(1))
            .set(head::tree_size.eq(next_seq - 1))
            .execute(c))?;
    }
    Ok(grown)
}

/// The number of the first entry that a tree lacks.
fn next(edge: &Edge) -> Result<i64, DbError> {
    i64::try_from(edge.size() + 1).map_err(|_| DbError::Corrupt("head.tree_size".into()))
}

/// The edge of the tree as it stands.
fn edge(conn: &mut Conn) -> Result<Edge, DbError> {
    let size: i64 = each_backend!(conn, |c| head::table.select(head::tree_size).first(c))?;
    let size = u64::try_from(size).map_err(|_| DbError::Corrupt("head.tree_size".into()))?;
    let tiles = tiles(conn, &for_root(size))?;
    Edge::new(size, tiles).map_err(|error| DbError::Corrupt(format!("the log's tree: {error}")))
}

const TILES: Bulk<3> = Bulk {
    table: "log_tile",
    columns: ["level", "no", "hashes"],
    conflict: "ON CONFLICT (level, no) DO UPDATE SET hashes = excluded.hashes",
};

fn add(conn: &mut Conn, edge: &Edge, leaves: &[Hash]) -> Result<Grown, DbError> {
    let grown = edge
        .append(leaves)
        .map_err(|error| DbError::Corrupt(format!("the log's tree: {error}")))?;
    let row = |(tile, hashes): (&Tile, &Vec<Hash>)| {
        let hashes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        row![i32::from(tile.level()), no(*tile), hashes]
    };
    TILES.write(conn, &grown.tiles.iter().map(row).collect::<Vec<_>>())?;
    Ok(grown)
}

/// The tree as it stands in this transaction, with the tiles from which the entries of some numbers are proved: those that came now are in what has `grown`.
pub fn tree(conn: &mut Conn, grown: Option<Grown>, proved: impl IntoIterator<Item = i64>) -> Result<Tree<Fetched>, DbError> {
    let corrupt = |error: EdgeError| DbError::Corrupt(format!("the log's tree: {error}"));
    let (size, mut at_hand) = match grown {
        Some(grown) => (grown.edge.size(), grown.into_tiles()),
        None => {
            let size: i64 = each_backend!(conn, |c| head::table.select(head::tree_size).first(c))?;
            (u64::try_from(size).unwrap_or(0), Fetched::new())
        }
    };
    let indices = proved.into_iter().filter_map(|seq| u64::try_from(seq - 1).ok());
    let mut wanted: BTreeSet<Tile> = indices.flat_map(|index| for_inclusion(index, size)).chain(for_root(size)).collect();
    wanted.retain(|tile| !at_hand.contains_key(tile));
    at_hand.extend(tiles(conn, &wanted)?);
    Tree::new(at_hand, size).map_err(corrupt)
}

/// The root of the tree as it was when it had so many entries; `None` where it never had. For one unchanging view of the database.
pub fn root_at(conn: &mut Conn, size: u64) -> Result<Option<Hash>, DbError> {
    let now: i64 = each_backend!(conn, |c| head::table.select(head::tree_size).first(c))?;
    if u64::try_from(now).is_ok_and(|now| size > now) {
        return Ok(None);
    }
    let tiles = tiles(conn, &for_root(size))?;
    let tree = Tree::new(tiles, size).map_err(|error| DbError::Corrupt(format!("the log's tree: {error}")))?;
    Ok(Some(tree.root()))
}

/// Tiles, each as wide as asked for: one may have grown since.
pub fn tiles(conn: &mut Conn, wanted: &BTreeSet<Tile>) -> Result<Fetched, DbError> {
    let mut tiles = kept_tiles(conn, wanted)?;
    for (tile, hashes) in &mut tiles {
        hashes.truncate(tile.width().into());
    }
    Ok(tiles)
}

/// Tiles as they are kept.
pub(super) fn kept_tiles(conn: &mut Conn, wanted: &BTreeSet<Tile>) -> Result<Fetched, DbError> {
    if wanted.is_empty() {
        return Ok(Fetched::new());
    }
    let levels: BTreeSet<i32> = wanted.iter().map(|tile| tile.level().into()).collect();
    let numbers: BTreeSet<i64> = wanted.iter().map(|tile| no(*tile)).collect();
    let query = log_tile::table
        .select((log_tile::level, log_tile::no, log_tile::hashes))
        .filter(log_tile::level.eq_any(levels))
        .filter(log_tile::no.eq_any(numbers));
    let rows = each_backend!(conn, |c| query.load::<(i32, i64, Vec<u8>)>(c))?;
    let rows: BTreeMap<(i32, i64), Vec<u8>> = rows.into_iter().map(|(level, no, hashes)| ((level, no), hashes)).collect();
    let found = wanted.iter().filter_map(|tile| {
        let hashes = rows.get(&(tile.level().into(), no(*tile)))?.chunks(HASH);
        let hashes: Result<Vec<[u8; HASH]>, _> = hashes.map(<[u8; HASH]>::try_from).collect();
        Some((
            *tile,
            hashes
                .map(|all| all.into_iter().map(Hash::from_bytes).collect())
                .unwrap_or_default(),
        ))
    });
    Ok(found.collect())
}

fn no(tile: Tile) -> i64 {
    i64::try_from(tile.index()).unwrap_or(i64::MAX)
}

/// Of up to `limit` numbers after one, those entries that are in the tree and of which a partner is a party: its own messages, those at programmes that it has
/// `issued`, what was done with its keys and agreements, and the windows; and the last number that was looked at.
pub fn entries_of(conn: &mut Conn, partner: &str, issued: &[String], after: i64, limit: i64) -> Result<(Vec<String>, i64), DbError> {
    let size: i64 = each_backend!(conn, |c| head::table.select(head::tree_size).first(c))?;
    let last = after.saturating_add(limit).min(size).max(after);
    let of_messages = message::table
        .select(POSTED)
        .filter(message::seq.gt(after))
        .filter(message::seq.le(last))
        .filter(
            message::sender
                .eq(partner)
                .or(message::programme.eq_any(issued).assume_not_null())
                .or(message::to_programme.eq_any(issued).assume_not_null()),
        );
    let mut all: Vec<(i64, String)> = vec![];
    for row in each_backend!(conn, |c| of_messages.load::<PostedRow>(c))? {
        let posted = row.posted()?;
        all.push((posted.seq, ledger::entry(&posted)));
    }
    let between = document::table
        .select(document::hash)
        .filter(document::kind.eq_any([Kind::Agreement.as_str(), Kind::Dispute.as_str()]))
        .filter(document::proposer.eq(partner).or(document::counterparty.eq(partner)));
    let of_documents = entry::kind.eq(DOCUMENT).and(entry::subject.eq_any(between));
    let others = entry::table
        .select((entry::seq, entry::body))
        .filter(entry::seq.gt(after))
        .filter(entry::seq.le(last))
        .filter(
            entry::kind
                .eq(WINDOW)
                .or(entry::kind.eq(keys::ENTRY).and(entry::subject.eq(partner)))
                .or(of_documents),
        );
    all.extend(each_backend!(conn, |c| others.load::<(i64, String)>(c))?);
    all.sort_unstable_by_key(|(seq, _)| *seq);
    Ok((all.into_iter().map(|(_, entry)| entry).collect(), last))
}
