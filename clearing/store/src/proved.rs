//! Whether the log's tree is that of the entries: every leaf, tile and the size, read in order and in little memory.

use std::collections::BTreeMap;

use diesel::prelude::*;
use ledger::tree::Edge;
use migrations::schema::{head, log_tile, message};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::PartnerId;
use partner_sdk::log::Hash;
use partner_sdk::log::paths::Fetched;
use partner_sdk::log::tile::{Tile, WIDTH};

use super::kept;
use super::log::{CHUNK, kept_tiles};

/// What isn't as it should be, the first of its kind.
pub(super) fn check(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    let (next_seq, size): (i64, i64) = each_backend!(conn, |c| head::table.select((head::next_seq, head::tree_size)).first(c))?;
    if size < 0 || size >= next_seq {
        return Ok(vec![format!("the log's tree has {size} entries, and the log {}", next_seq - 1)]);
    }
    // A partner's message is in the tree when its transaction commits; only other entries wait for the next.
    let own = PartnerId::clearing();
    let behind = message::table
        .filter(message::seq.gt(size))
        .filter(message::sender.ne(own.as_str()))
        .count();
    let behind: i64 = each_backend!(conn, |c| behind.get_result(c))?;
    if behind > 0 {
        return Ok(vec![format!(
            "the log's tree has {size} entries, and {behind} messages after those aren't in it"
        )]);
    }
    let (mut edge, mut from) = (Edge::default(), 1);
    while from <= size {
        let to = (from + CHUNK).min(size + 1);
        let found = match kept::kept(conn, from, to) {
            Ok(found) => found,
            Err(DbError::Corrupt(what)) => return Ok(vec![what]),
            Err(error) => return Err(error),
        };
        let leaves: Vec<Hash> = found.iter().map(|entry| Hash::leaf(entry.text().as_bytes())).collect();
        let grown = edge.append(&leaves).map_err(|error| DbError::Corrupt(error.to_string()))?;
        // A tile that isn't whole yet is looked at once it is, or at the end.
        let whole: Fetched = grown.tiles.into_iter().filter(|(tile, _)| tile.is_whole()).collect();
        if let Some(finding) = differ(conn, &whole)? {
            return Ok(vec![finding]);
        }
        (edge, from) = (grown.edge, to);
    }
    if let Some(finding) = differ(conn, edge.tiles())? {
        return Ok(vec![finding]);
    }
    let kept: i64 = each_backend!(conn, |c| log_tile::table.count().get_result(c))?;
    let tiles = Tile::all(edge.size()).count();
    let more = i64::try_from(tiles) != Ok(kept);
    Ok(more
        .then(|| format!("the log's tree of {size} entries has {tiles} tiles, and {kept} are kept"))
        .into_iter()
        .collect())
}

/// Where the kept tiles aren't these.
fn differ(conn: &mut Conn, expected: &Fetched) -> Result<Option<String>, DbError> {
    let kept = kept_tiles(conn, &expected.keys().copied().collect())?;
    let wrong: BTreeMap<&Tile, &Vec<Hash>> = expected.iter().filter(|(tile, hashes)| kept.get(*tile) != Some(*hashes)).collect();
    let Some((tile, hashes)) = wrong.into_iter().next() else {
        return Ok(None);
    };
    let kept = kept.get(tile).map_or(&[][..], Vec::as_slice);
    let place = hashes.iter().zip(kept).take_while(|(expected, kept)| expected == kept).count() as u64;
    Ok(Some(match tile.level() {
        0 => {
            let seq = tile.index() * u64::from(WIDTH) + place + 1;
            format!("entry {seq} isn't what the log's tree has: the entry or its leaf was changed")
        }
        _ => format!("{tile} of the log's tree isn't what the leaves make of it, at hash {place}"),
    }))
}
