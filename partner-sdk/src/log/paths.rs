//! Roots and paths from tiles.
//!
//! The tree is seen as rows of nodes over the leaves; the last node of a row may not be whole, and one that has no right neighbour goes up alone. A path is
//! the row of siblings from a node up to the root, so that inclusion and consistency differ only in where they start.

use std::collections::{BTreeMap, BTreeSet};

use super::tile::{HEIGHT, Tile, WIDTH};
use super::{Hash, MAX_SIZE};

/// Where tiles come from.
pub trait Tiles {
    /// Why a tile can't be had.
    type Error: std::error::Error + 'static;

    /// The hashes of a tile, from left to right.
    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Self::Error>;
}

/// Tiles that were fetched before.
pub type Fetched = BTreeMap<Tile, Vec<Hash>>;

/// A tile isn't among those that were fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} isn't there")]
pub struct Missing(pub Tile);

impl Tiles for Fetched {
    type Error = Missing;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Missing> {
        self.get(&tile).cloned().ok_or(Missing(tile))
    }
}

impl<T: Tiles> Tiles for &T {
    type Error = T::Error;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, T::Error> {
        (**self).tile(tile)
    }
}

/// Why tiles don't give what was asked of them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E: std::error::Error + 'static> {
    /// A tile can't be had.
    #[error("a tile can't be had")]
    Source(#[source] E),
    /// A tile has another number of hashes than its name says.
    #[error("{tile} holds {found} hashes")]
    Length {
        /// The tile.
        tile: Tile,
        /// How many hashes came.
        found: usize,
    },
    /// A whole tile's root isn't the hash that the tile above has of it.
    #[error("{0} isn't what the tile above says")]
    Rotten(Tile),
    /// The tree has no such entry, no such older tree, or is larger than any.
    #[error("{asked} is beyond a tree of {size}")]
    Beyond {
        /// The entry or the older size.
        asked: u64,
        /// The tree's size.
        size: u64,
    },
}

/// The path of an entry or of an older tree, as nodes: level from the leaves, and index within the level. Each is the sibling of what the path has led to so
/// far; where the tree ends before it, there is none.
fn siblings(mut level: u32, mut index: u64, size: u64) -> impl Iterator<Item = (u32, u64)> {
    let last = size.saturating_sub(1);
    std::iter::from_fn(move || {
        while last.checked_shr(level).unwrap_or(0) > 0 {
            let sibling = (level, index ^ 1);
            (level, index) = (level + 1, index >> 1);
            if sibling.1 <= last >> sibling.0 {
                return Some(sibling);
            }
        }
        None
    })
}

/// The whole subtrees that make up a tree, from the smallest, rightmost, to the largest.
fn edge(size: u64) -> impl Iterator<Item = (u32, u64)> {
    (0..u64::BITS)
        .filter(move |level| size >> level & 1 == 1)
        .map(move |level| (level, (size >> level) - 1))
}

/// The last whole subtree of an older tree: its path in a larger tree proves that the larger one continues it.
fn last_whole(old: u64) -> (u32, u64) {
    let level = old.trailing_zeros();
    (level, (old >> level) - 1)
}

/// The tiles that [`Tree`] reads for the root: the last one of each level, where it isn't whole.
pub fn for_root(size: u64) -> BTreeSet<Tile> {
    needed([], size)
}

/// The tiles that [`Tree`] reads for the path of an entry, so that they can be fetched together. Those for the root are among them: all that was fetched is
/// held against it.
pub fn for_inclusion(index: u64, size: u64) -> BTreeSet<Tile> {
    needed(siblings(0, index, size), size)
}

/// The tiles that [`Tree`] reads for the path from an older tree, likewise.
pub fn for_consistency(old: u64, size: u64) -> BTreeSet<Tile> {
    if old == 0 || old >= size {
        return for_root(size);
    }
    let (level, index) = last_whole(old);
    needed([(level, index)].into_iter().chain(siblings(level, index, size)), size)
}

fn needed(nodes: impl IntoIterator<Item = (u32, u64)>, size: u64) -> BTreeSet<Tile> {
    // What isn't whole is made of the edge.
    let nodes = nodes.into_iter().chain(edge(size));
    nodes.filter_map(|(level, index)| Tile::of_node(level, index, size)).collect()
}

/// A tree of one size over its tiles. Each tile is asked for once and its nodes are computed once, so that many paths cost little more than one.
///
/// All that a path is made of, the root is made of: tiles that aren't whole make up the root, and each whole one is held against the tile above. So once the
/// root is a checkpoint's, every path is that of the checkpoint's tree.
pub struct Tree<T> {
    tiles: T,
    size: u64,
    root: Hash,
    /// For each level the last node, where the tree ends before it is whole.
    ragged: BTreeMap<u32, Hash>,
    seen: BTreeMap<(u8, u64), Vec<Vec<Hash>>>,
}

impl<T: Tiles> Tree<T> {
    /// Reads the edge of the tree, and with it the root. Nothing says yet that it is the log's: for that the root is held against a checkpoint.
    pub fn new(tiles: T, size: u64) -> Result<Self, TileError<T::Error>> {
        if size > MAX_SIZE {
            return Err(TileError::Beyond {
                asked: size,
                size: MAX_SIZE,
            });
        }
        let mut tree = Self {
            tiles,
            size,
            root: Hash::EMPTY,
            ragged: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        let mut last: Option<Hash> = None;
        for level in 0..u64::BITS - size.leading_zeros() {
            // On each level: the node that isn't whole, over what is ragged below and the whole one left of that.
            if let Some(ragged) = last {
                tree.ragged.insert(level, ragged);
            }
            if size >> level & 1 == 1 {
                let whole = tree.whole(level, (size >> level) - 1)?;
                last = Some(last.map_or(whole, |right| Hash::node(whole, right)));
            }
        }
        tree.root = last.unwrap_or(Hash::EMPTY);
        Ok(tree)
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The path that proves that an entry is in this tree.
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, TileError<T::Error>> {
        if index >= self.size {
            return Err(self.beyond(index));
        }
        self.path(0, index)
    }

    /// The path that proves that this tree continues its older self of `old` entries.
    pub fn consistency(&mut self, old: u64) -> Result<Vec<Hash>, TileError<T::Error>> {
        if old > self.size {
            return Err(self.beyond(old));
        }
        if old == 0 || old == self.size {
            return Ok(vec![]);
        }
        let (level, index) = last_whole(old);
        let mut path = if old.is_power_of_two() {
            vec![]
        } else {
            vec![self.whole(level, index)?]
        };
        path.extend(self.path(level, index)?);
        Ok(path)
    }

    fn beyond(&self, asked: u64) -> TileError<T::Error> {
        TileError::Beyond { asked, size: self.size }
    }

    fn path(&mut self, level: u32, index: u64) -> Result<Vec<Hash>, TileError<T::Error>> {
        siblings(level, index, self.size)
            .map(|(level, index)| self.node(level, index))
            .collect()
    }

    fn node(&mut self, level: u32, index: u64) -> Result<Hash, TileError<T::Error>> {
        let ragged = self.ragged.get(&level).filter(|_| index == self.size >> level);
        ragged.copied().map_or_else(|| self.whole(level, index), Ok)
    }

    /// A node whose entries are all in the tree.
    fn whole(&mut self, level: u32, index: u64) -> Result<Hash, TileError<T::Error>> {
        let tile = Tile::of_node(level, index, self.size).ok_or_else(|| self.beyond(index))?;
        let place = (tile.level(), tile.index());
        if !self.seen.contains_key(&place) {
            let rows = self.read(tile)?;
            self.seen.insert(place, rows);
        }
        let inside = level % HEIGHT;
        let first = u64::from(WIDTH >> inside) * tile.index();
        let found = index
            .checked_sub(first)
            .and_then(|at| self.seen.get(&place)?.get(inside as usize)?.get(usize::try_from(at).ok()?));
        found.copied().ok_or_else(|| self.beyond(index))
    }

    /// The nodes of a tile. A whole one has to be what the tile above says; what isn't whole has none above, and makes up the root.
    fn read(&mut self, tile: Tile) -> Result<Vec<Vec<Hash>>, TileError<T::Error>> {
        let hashes = self.tiles.tile(tile).map_err(TileError::Source)?;
        if hashes.len() != usize::from(tile.width()) {
            return Err(TileError::Length { tile, found: hashes.len() });
        }
        let rows = rows(hashes);
        if tile.is_whole() {
            let above = self.whole(HEIGHT * (u32::from(tile.level()) + 1), tile.index())?;
            if rows.last().and_then(|row| row.first()) != Some(&above) {
                return Err(TileError::Rotten(tile));
            }
        }
        Ok(rows)
    }
}

/// The whole nodes of a tile, row by row from its hashes upwards.
fn rows(hashes: Vec<Hash>) -> Vec<Vec<Hash>> {
    let mut rows = vec![hashes];
    while let Some(below) = rows.last().filter(|below| below.len() > 1) {
        rows.push(row_above(below));
    }
    rows
}

fn row_above(below: &[Hash]) -> Vec<Hash> {
    below.chunks_exact(2).map(|pair| Hash::node(pair[0], pair[1])).collect()
}

/// The root of a whole tile, which is a hash of the tile above; none where this isn't as many hashes as a tile has.
pub fn root_of_whole(hashes: &[Hash]) -> Option<Hash> {
    if hashes.len() != usize::from(WIDTH) {
        return None;
    }
    let mut row = row_above(hashes);
    while row.len() > 1 {
        row = row_above(&row);
    }
    row.first().copied()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::log::tile::LEVELS;
    use crate::log::tree::{verify_consistency, verify_inclusion};

    /// All tiles of a tree, as the definition has them, and which of them were asked for.
    struct Shelf {
        tiles: Fetched,
        asked: RefCell<BTreeSet<Tile>>,
    }

    impl Tiles for Shelf {
        type Error = Missing;

        fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Missing> {
            assert!(self.asked.borrow_mut().insert(tile), "{tile} is asked for again");
            self.tiles.tile(tile)
        }
    }

    fn leaf(index: u64) -> Hash {
        Hash::leaf(&index.to_be_bytes())
    }

    fn shelf(size: u64) -> Shelf {
        let mut row: Vec<Hash> = (0..size).map(leaf).collect();
        let mut tiles = BTreeMap::new();
        for level in 0..LEVELS {
            let chunks: Vec<&[Hash]> = row.chunks(WIDTH.into()).collect();
            for (index, chunk) in (0..).zip(&chunks) {
                let tile = Tile::new(level, index, u16::try_from(chunk.len()).expect("at most 256")).expect("a tile");
                tiles.insert(tile, chunk.to_vec());
            }
            row = chunks.into_iter().filter_map(root_of_whole).collect();
        }
        let asked = RefCell::default();
        Shelf { tiles, asked }
    }

    #[test]
    fn paths_verify_and_read_the_tiles_that_were_named() {
        for size in [1, 2, 3, 255, 256, 257, 511, 513, 65_535, 65_536, 65_537, 70_000] {
            let shelf = shelf(size);
            assert!(Tile::all(size).eq(shelf.tiles.keys().copied()), "{size}");
            let root = Tree::new(&shelf, size).expect("all is there").root();
            assert_eq!(shelf.asked.take(), for_root(size), "{size}");
            let somewhere = [0, 1, size / 3, size / 2, size.saturating_sub(257), size - 1];
            for index in somewhere.into_iter().filter(|index| *index < size) {
                shelf.asked.take();
                let path = Tree::new(&shelf, size).and_then(|mut tree| tree.inclusion(index)).expect("a path");
                assert_eq!(verify_inclusion(leaf(index), index, size, &path, root), Ok(()), "{index} of {size}");
                assert_eq!(shelf.asked.take(), for_inclusion(index, size), "{index} of {size}");
            }
            for old in somewhere.into_iter().chain([size]).filter(|old| *old <= size) {
                let before = Tree::new(&self::shelf(old), old).expect("all is there").root();
                shelf.asked.take();
                let path = Tree::new(&shelf, size).and_then(|mut tree| tree.consistency(old)).expect("a path");
                assert_eq!(verify_consistency(old, before, size, root, &path), Ok(()), "{old} to {size}");
                assert_eq!(shelf.asked.take(), for_consistency(old, size), "{old} to {size}");
            }
        }
    }

    #[test]
    fn what_tiles_do_not_give_is_named() {
        let mut tiles = shelf(300).tiles;
        let beyond = |asked, size| Err(TileError::Beyond { asked, size });
        let mut tree = Tree::new(&tiles, 300).expect("all is there");
        assert_eq!((tree.inclusion(300), tree.consistency(301)), (beyond(300, 300), beyond(301, 300)));
        assert_eq!(
            (tree.inclusion(u64::MAX), tree.consistency(u64::MAX)),
            (beyond(u64::MAX, 300), beyond(u64::MAX, 300))
        );
        assert_eq!((tree.consistency(0), tree.consistency(300)), (Ok(vec![]), Ok(vec![])));
        assert_eq!(
            Tree::new(&tiles, u64::MAX).map(|tree| tree.size()),
            Err(TileError::Beyond {
                asked: u64::MAX,
                size: MAX_SIZE
            })
        );
        assert_eq!(
            Tree::new(&tiles, 301).map(|tree| tree.size()),
            Err(TileError::Source(Missing(Tile::of(0, 1, 301).expect("a tile"))))
        );
        assert_eq!(Tree::new(&tiles, 0).map(|tree| tree.root()), Ok(Hash::EMPTY));
        let last = Tile::of(0, 1, 300).expect("a tile");
        for found in [0, 43, 45, 256] {
            tiles.insert(last, vec![Hash::EMPTY; found]);
            let refused = Tree::new(&tiles, 300).map(|tree| tree.size());
            assert_eq!(refused, Err(TileError::Length { tile: last, found }));
        }
    }

    #[test]
    fn a_tile_that_is_not_what_the_root_says_gives_no_path() {
        let size = 70_000;
        let good = shelf(size).tiles;
        let root = Tree::new(&good, size).expect("all is there").root();
        let mut rotten = BTreeSet::new();
        for old in [1, 255, 256, 300, 65_535, 65_536, 65_600, 69_999] {
            for tile in for_consistency(old, size) {
                for at in [0, tile.width() / 2, tile.width() - 1] {
                    let mut tiles = good.clone();
                    tiles.entry(tile).and_modify(|hashes| hashes[usize::from(at)] = Hash::EMPTY);
                    let mut tree = Tree::new(&tiles, size).expect("all is there");
                    if tree.root() == root {
                        assert_eq!(tree.consistency(old), Err(TileError::Rotten(tile)), "{at} of {tile} for {old}");
                        rotten.insert(tile);
                    }
                }
            }
        }
        // What isn't whole shows in the root already.
        assert!(rotten.iter().all(Tile::is_whole) && rotten.len() == 5, "{rotten:?}");
    }
}
