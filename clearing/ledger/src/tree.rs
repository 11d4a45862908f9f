//! The log's tree as it grows: only its edge is needed to append, and to prove what was appended.

use partner_sdk::log::paths::{Fetched, Missing, TileError, Tree, for_root, root_of_whole};
use partner_sdk::log::tile::{HEIGHT, LEVELS, Tile, WIDTH};
use partner_sdk::log::{Hash, MAX_SIZE};

/// Why a tree doesn't grow: its edge isn't what its size says, or it would be too large.
pub type EdgeError = TileError<Missing>;

/// A tree's size and root, and the tiles that aren't whole: at most one a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    root: Hash,
    tiles: Fetched,
}

/// A tree that has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// Its edge now.
    pub edge: Edge,
    /// The tiles that came, or became wider.
    pub tiles: Fetched,
}

impl Default for Edge {
    /// The edge of the tree without entries.
    fn default() -> Self {
        Self {
            size: 0,
            root: Hash::EMPTY,
            tiles: Fetched::new(),
        }
    }
}

impl Edge {
    /// The edge of a tree of this size from its tiles, which are those of [`for_root`]; others are left out.
    pub fn new(size: u64, mut tiles: Fetched) -> Result<Self, EdgeError> {
        let root = Tree::new(&tiles, size)?.root();
        let edge = for_root(size);
        tiles.retain(|tile, _| edge.contains(tile));
        Ok(Self { size, root, tiles })
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The tree's root.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Its tiles that aren't whole.
    pub fn tiles(&self) -> &Fetched {
        &self.tiles
    }

    /// The tree with these leaves after those it has.
    pub fn append(&self, leaves: &[Hash]) -> Result<Grown, EdgeError> {
        let beyond = |asked| TileError::Beyond { asked, size: MAX_SIZE };
        let more = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        let size = self.size.saturating_add(more);
        if size > MAX_SIZE {
            return Err(beyond(size));
        }
        let (mut edge, mut tiles) = (self.tiles.clone(), Fetched::new());
        let mut fresh = leaves.to_vec();
        for level in 0..LEVELS {
            // Where nothing is new, nothing is new above.
            if fresh.is_empty() {
                break;
            }
            let first = self.size.checked_shr(HEIGHT * (u32::from(level) + 1)).unwrap_or(0);
            let before = Tile::of(level, first, self.size).and_then(|tile| edge.remove(&tile));
            let row = [before.unwrap_or_default(), fresh].concat();
            fresh = vec![];
            for (index, hashes) in (first..).zip(row.chunks(usize::from(WIDTH))) {
                let tile = Tile::of(level, index, size).ok_or(beyond(size))?;
                match root_of_whole(hashes) {
                    Some(root) => fresh.push(root),
                    None => drop(edge.insert(tile, hashes.to_vec())),
                }
                tiles.insert(tile, hashes.to_vec());
            }
        }
        let edge = Self::new(size, edge)?;
        Ok(Grown { edge, tiles })
    }
}

impl Grown {
    /// The tiles of its edge, and those that came or became wider.
    pub fn into_tiles(self) -> Fetched {
        let mut all = self.edge.tiles;
        all.extend(self.tiles);
        all
    }

    /// The tree as far as its edge and what came now reach: it has the path of every entry that was appended.
    pub fn tree(&self) -> Result<Tree<Fetched>, EdgeError> {
        Tree::new(self.clone().into_tiles(), self.edge.size)
    }
}

#[cfg(test)]
mod tests {
    use partner_sdk::log::tree::{verify_consistency, verify_inclusion};

    use super::*;

    fn leaves(from: u64, to: u64) -> Vec<Hash> {
        (from..to).map(|index| Hash::leaf(&index.to_be_bytes())).collect()
    }

    #[test]
    fn the_known_tree_grows_to_its_known_root() {
        let entries: [&[u8]; 8] = [b"", b"\0", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"];
        let mut edge = Edge::default();
        assert_eq!(edge.root(), Hash::EMPTY);
        for entry in entries {
            edge = edge.append(&[Hash::leaf(entry)]).expect("room").edge;
        }
        assert_eq!(edge.root().to_string(), "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=");
    }

    #[test]
    fn what_came_is_proved_from_the_edge_and_what_came() {
        let (mut edge, mut shelf) = (Edge::default(), Fetched::new());
        for step in [1, 1, 253, 1, 1, 255, 0, 600, 64_423, 1, 500, 66_000] {
            let (from, to) = (edge.size(), edge.size() + step);
            let grown = edge.append(&leaves(from, to)).expect("room");
            let mut tree = grown.tree().expect("all is there");
            assert_eq!((tree.root(), tree.size()), (grown.edge.root(), to));
            for index in (from..to).step_by(97).chain((from < to).then(|| to - 1)) {
                let path = tree.inclusion(index).expect("a path");
                let leaf = leaves(index, index + 1)[0];
                assert_eq!(
                    verify_inclusion(leaf, index, to, &path, grown.edge.root()),
                    Ok(()),
                    "{index} of {to}"
                );
            }
            shelf.extend(grown.tiles.clone());
            assert!(Tile::all(to).all(|tile| shelf.contains_key(&tile)), "{to}");
            let changed = |tile: &Tile| Tile::of(tile.level(), tile.index(), from) != Some(*tile);
            assert!(Tile::all(to).filter(changed).eq(grown.tiles.keys().copied()), "{from} to {to}");
            let path = Tree::new(&shelf, to).and_then(|mut tree| tree.consistency(from)).expect("a path");
            assert_eq!(verify_consistency(from, edge.root(), to, grown.edge.root(), &path), Ok(()));
            assert_eq!(Edge::new(to, shelf.clone()), Ok(grown.edge.clone()));
            edge = grown.edge;
        }
    }

    #[test]
    fn an_edge_that_is_not_its_size_s_is_refused() {
        let edge = Edge::default().append(&leaves(0, 300)).expect("room").edge;
        let (last, above) = (Tile::new(0, 1, 44).expect("a tile"), Tile::new(1, 0, 1).expect("a tile"));
        assert!(edge.tiles.keys().eq([&last, &above]));
        let mut short = edge.tiles.clone();
        short.insert(last, leaves(0, 43));
        assert_eq!(Edge::new(300, short), Err(TileError::Length { tile: last, found: 43 }));
        let missing = Edge::new(300, Fetched::new());
        assert_eq!(missing, Err(TileError::Source(Missing(last))));
        let beyond = |asked| TileError::Beyond { asked, size: MAX_SIZE };
        assert_eq!(Edge::new(u64::MAX, Fetched::new()), Err(beyond(u64::MAX)));
        // The largest tree takes no more.
        let full = for_root(MAX_SIZE).into_iter().map(|tile| (tile, leaves(0, tile.width().into())));
        let full = Edge::new(MAX_SIZE, full.collect()).expect("a tree");
        assert_eq!(full.append(&leaves(0, 1)), Err(beyond(MAX_SIZE + 1)));
        assert_eq!(full.append(&[]).map(|grown| grown.edge), Ok(full));
    }
}
