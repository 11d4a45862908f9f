//! The log's tree against another implementation of the same specifications (the crate `tlog_tiles`): what one makes the other takes, and nothing else.

use std::collections::BTreeMap;

use ledger::tree::{Edge, Grown};
use partner_sdk::jws::SigningKey;
use partner_sdk::log::note::NoteKey;
use partner_sdk::log::paths::{Fetched, Missing, Tiles, Tree};
use partner_sdk::log::tile::{HEIGHT, Tile, WIDTH};
use partner_sdk::log::tree::{verify_consistency, verify_inclusion};
use partner_sdk::log::{Checkpoint, Hash, Proof};
use tests::load::Draw;
use tlog_tiles::tlog::{self, HashReader, stored_hash_index, stored_hashes_for_record_hash};

const ORIGIN: &str = "points.example/log";

/// The largest tree that is drawn.
const LARGEST: u64 = 1 << 20;

/// How many trees are drawn, and how many entries and older trees in each.
const TREES: usize = 1000;
const EACH: usize = 10;

fn entry(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

fn leaves(from: u64, to: u64) -> Vec<Hash> {
    (from..to).map(|index| Hash::leaf(&entry(index))).collect()
}

fn theirs(hash: Hash) -> tlog::Hash {
    tlog::Hash(*hash.as_bytes())
}

fn all_theirs(path: &[Hash]) -> Vec<tlog::Hash> {
    path.iter().copied().map(theirs).collect()
}

fn ours(path: Vec<tlog::Hash>) -> Vec<Hash> {
    path.into_iter().map(|hash| Hash::from_bytes(hash.0)).collect()
}

/// The nodes of the other implementation's tree, in its order of storing.
struct Stored(Vec<tlog::Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        let read = |index: &u64| self.0.get(usize::try_from(*index).ok()?).copied();
        let missing = || tlog::Error::InvalidInput("not stored".into());
        indexes.iter().map(|index| read(index).ok_or_else(missing)).collect()
    }
}

impl Stored {
    fn of(leaves: &[Hash]) -> Self {
        let mut stored = Self(vec![]);
        for (index, leaf) in (0..).zip(leaves) {
            let more = stored_hashes_for_record_hash(index, theirs(*leaf), &stored).expect("its nodes are stored");
            stored.0.extend(more);
        }
        stored
    }
}

/// The tiles of the largest tree, from which come those of every smaller one.
struct Whole(BTreeMap<(u8, u64), Vec<Hash>>);

impl Tiles for Whole {
    type Error = Missing;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Missing> {
        let hashes = self.0.get(&(tile.level(), tile.index())).ok_or(Missing(tile))?;
        hashes.get(..usize::from(tile.width())).map(<[Hash]>::to_vec).ok_or(Missing(tile))
    }
}

fn whole(tiles: Fetched) -> Whole {
    Whole(
        tiles
            .into_iter()
            .map(|(tile, hashes)| ((tile.level(), tile.index()), hashes))
            .collect(),
    )
}

/// A number below `n`.
fn below(draw: &mut Draw, n: u64) -> u64 {
    draw.upto(n) - 1
}

/// A size of any magnitude, so that small trees are drawn as often as large ones.
fn size(draw: &mut Draw) -> u64 {
    let most = 1 << draw.upto(20);
    draw.upto(most)
}

fn key() -> SigningKey {
    SigningKey::from_bytes("log-1".parse().expect("a kid"), &[7; 32])
}

#[test]
fn what_one_makes_the_other_takes() {
    let mut draw = Draw::new();
    let leaves = leaves(0, LARGEST);
    let stored = Stored::of(&leaves);
    let whole = whole(Edge::default().append(&leaves).expect("room").tiles);
    for _ in 0..TREES {
        let size = size(&mut draw);
        let mut tree = Tree::new(&whole, size).expect("all is there");
        let root = tree.root();
        let their_root = tlog::tree_hash(size, &stored).expect("a root");
        assert!(theirs(root) == their_root, "{size}");
        for _ in 0..EACH {
            let (index, old) = (below(&mut draw, size), draw.upto(size));
            let leaf = leaves[usize::try_from(index).expect("small")];
            let path = tree.inclusion(index).expect("a path");
            let their_path = tlog::prove_record(size, index, &stored).expect("a path");
            assert!(all_theirs(&path) == their_path, "{index} of {size}");
            tlog::check_record(&all_theirs(&path), size, their_root, index, theirs(leaf)).expect("it proves");
            assert_eq!(
                verify_inclusion(leaf, index, size, &ours(their_path), root),
                Ok(()),
                "{index} of {size}"
            );

            let before = Tree::new(&whole, old).expect("all is there").root();
            let path = tree.consistency(old).expect("a path");
            let their_path = tlog::prove_tree(size, old, &stored).expect("a path");
            assert!(all_theirs(&path) == their_path, "{old} to {size}");
            tlog::check_tree(&all_theirs(&path), size, their_root, old, theirs(before)).expect("it continues");
            let verified = verify_consistency(old, before, size, root, &ours(their_path));
            assert_eq!(verified, Ok(()), "{old} to {size}");
        }
    }
}

#[test]
fn what_is_wrong_neither_takes() {
    let mut draw = Draw::new();
    let leaves = leaves(0, 5000);
    let whole = whole(Edge::default().append(&leaves).expect("room").tiles);
    for _ in 0..1000 {
        let size = draw.upto(5000);
        let mut tree = Tree::new(&whole, size).expect("all is there");
        let (index, root) = (below(&mut draw, size), tree.root());
        let leaf = leaves[usize::try_from(index).expect("small")];
        let path = tree.inclusion(index).expect("a path");
        let included = |leaf: Hash, index: u64, size: u64, path: &[Hash], root: Hash| {
            let we = verify_inclusion(leaf, index, size, path, root).is_ok();
            let they = tlog::check_record(&all_theirs(path), size, theirs(root), index, theirs(leaf)).is_ok();
            assert_eq!(we, they, "{index} of {size}, path {path:?}");
            we
        };
        assert!(included(leaf, index, size, &path, root));
        assert!(!included(flipped(leaf, &mut draw), index, size, &path, root));
        assert!(!included(leaf, index, size, &path, flipped(root, &mut draw)));
        assert!(!included(leaf, index, size, &[&path[..], &[leaf]].concat(), root));
        let other = below(&mut draw, 2 * size);
        assert!(
            other == index || !included(leaf, other, size, &path, root),
            "{index} as {other} of {size}"
        );
        let (another, another_root) = another_tree(size, &whole, &mut draw);
        assert!(
            !included(leaf, index, another, &path, another_root),
            "{index} of {size} in {another}"
        );
        // A size that nobody signed may go with this root and path, as nothing in them tells how wide the tree is; whatever is taken, both take.
        included(leaf, index, another, &path, root);
        if let Some(changed) = one_flipped(&path, &mut draw) {
            assert!(!included(leaf, index, size, &changed, root));
            assert!(!included(leaf, index, size, &path[1..], root));
        }

        let old = draw.upto(size);
        let before = Tree::new(&whole, old).expect("all is there").root();
        let path = tree.consistency(old).expect("a path");
        let continued = |old: u64, before: Hash, size: u64, root: Hash, path: &[Hash]| {
            let we = verify_consistency(old, before, size, root, path).is_ok();
            let they = tlog::check_tree(&all_theirs(path), size, theirs(root), old, theirs(before)).is_ok();
            assert_eq!(we, they, "{old} to {size}, path {path:?}");
            we
        };
        assert!(continued(old, before, size, root, &path));
        assert!(!continued(old, flipped(before, &mut draw), size, root, &path));
        assert!(!continued(old, before, size, flipped(root, &mut draw), &path));
        assert!(!continued(old, before, size, root, &[&path[..], &[leaf]].concat()));
        assert!(
            !continued(old, before, another, another_root, &path),
            "{old} to {size} in {another}"
        );
        continued(old, before, another, root, &path);
        continued(draw.upto(2 * size), before, size, root, &path);
        if let Some(changed) = one_flipped(&path, &mut draw) {
            assert!(!continued(old, before, size, root, &changed));
            assert!(!continued(old, before, size, root, &path[1..]));
        }
    }
}

/// Another size than this one, and its root.
fn another_tree(size: u64, whole: &Whole, draw: &mut Draw) -> (u64, Hash) {
    let another = (size + below(draw, 4999)) % 5000 + 1;
    (another, Tree::new(whole, another).expect("all is there").root())
}

fn flipped(hash: Hash, draw: &mut Draw) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[usize::try_from(below(draw, 32)).expect("small")] ^= 1 << below(draw, 8);
    Hash::from_bytes(bytes)
}

fn one_flipped(path: &[Hash], draw: &mut Draw) -> Option<Vec<Hash>> {
    let mut changed = path.to_vec();
    let count = u64::try_from(path.len()).expect("small");
    let at = usize::try_from(below(draw, count.max(1))).expect("small");
    let hash = changed.get_mut(at)?;
    *hash = flipped(*hash, draw);
    Some(changed)
}

#[test]
fn tiles_are_the_same_by_name_and_by_what_they_hold() {
    let mut draw = Draw::new();
    let leaves = leaves(0, 70_000);
    let stored = Stored::of(&leaves);
    let height = u8::try_from(HEIGHT).expect("small");
    let mut edge = Edge::default();
    while edge.size() < 70_000 {
        let most = (1 << draw.upto(15)).min(70_000 - edge.size());
        let (from, to) = (edge.size(), edge.size() + draw.upto(most));
        let part = usize::try_from(from).expect("small")..usize::try_from(to).expect("small");
        let Grown { edge: next, tiles } = edge.append(&leaves[part]).expect("room");
        let new = tlog_tiles::tile::Tile::new_tiles(height, from, to);
        assert_eq!(tiles.len(), new.len(), "{from} to {to}");
        for their_tile in new {
            // Their names have the height too, as the specification's forerunner had.
            let name = their_tile.path().replacen("tile/8/", "tile/", 1);
            let tile: Tile = name.parse().expect(&name);
            assert_eq!(tile.to_string(), name);
            let bytes: Vec<u8> = tiles[&tile].iter().flat_map(|hash| *hash.as_bytes()).collect();
            assert!(bytes == their_tile.read_data(&stored).expect("its nodes are stored"), "{name}");
        }
        assert!(theirs(next.root()) == tlog::tree_hash(to, &stored).expect("a root"), "{to}");
        edge = next;
    }
}

#[test]
fn names_of_tiles_and_places_of_nodes_are_the_same() {
    let mut draw = Draw::new();
    for _ in 0..10_000 {
        let (level, bits) = (u32::try_from(below(&mut draw, 40)).expect("small"), draw.upto(31));
        let index = draw.upto(1 << bits) >> 1;
        let size = (index + 1) << level.min(31);
        let level = level.min(31);
        let their_tile = tlog_tiles::tile::Tile::from_index(8, stored_hash_index(u8::try_from(level).expect("small"), index));
        let tile = Tile::of_node(level, index, size).expect("a node of this tree");
        let width = u16::try_from(their_tile.width()).expect("small");
        assert_eq!((tile.level(), tile.index()), (their_tile.level(), their_tile.level_index()));
        assert!((width..=WIDTH).contains(&tile.width()), "{tile}");
        let name = their_tile.path().replacen("tile/8/", "tile/", 1);
        let least: Tile = name.parse().expect(&name);
        assert_eq!((least.width(), least.to_string()), (width, name));
    }
}

#[test]
fn however_entries_are_grouped_the_root_is_the_same() {
    let mut draw = Draw::new();
    let leaves = leaves(0, 3000);
    let at_once = Edge::default().append(&leaves).expect("room");
    for _ in 0..20 {
        let (mut edge, mut rest, mut shelf) = (Edge::default(), &leaves[..], Fetched::new());
        let most = 1 << draw.upto(10);
        while !rest.is_empty() {
            let count = usize::try_from(draw.upto(most) - 1).expect("small").min(rest.len());
            let (group, later) = rest.split_at(count);
            let grown = edge.append(group).expect("room");
            let mut tree = grown.tree().expect("all is there");
            for (index, leaf) in (edge.size()..).zip(group) {
                let path = tree.inclusion(index).expect("a path");
                let verified = verify_inclusion(*leaf, index, tree.size(), &path, grown.edge.root());
                assert_eq!(verified, Ok(()), "{index} of {}", tree.size());
            }
            shelf.extend(grown.tiles);
            (edge, rest) = (grown.edge, later);
        }
        assert_eq!(edge, at_once.edge);
        assert!(at_once.tiles.iter().all(|(tile, hashes)| shelf.get(tile) == Some(hashes)));
    }
}

#[test]
fn a_checkpoint_is_theirs_too_and_a_proof_holds_for_its_entry_alone() {
    let known = [NoteKey::new(ORIGIN, key().verifying_key()).expect("a name")];
    let grown = Edge::default().append(&leaves(0, 1000)).expect("room");
    let head = Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 1000,
        root: grown.edge.root(),
    };
    let read = tlog_tiles::checkpoint::Checkpoint::from_bytes(head.text().as_bytes()).expect("a checkpoint");
    assert_eq!((read.origin(), read.size(), read.extension()), (ORIGIN, 1000, ""));
    assert!(*read.hash() == theirs(head.root) && read.to_bytes() == head.text().as_bytes());

    let mut tree = grown.tree().expect("all is there");
    let proof = Proof {
        index: 700,
        path: tree.inclusion(700).expect("a path"),
        checkpoint: head.sign(&key()).expect("a checkpoint"),
    };
    let proved = |text: &str, entry: &[u8]| text.parse::<Proof>().and_then(|proof| proof.verify(entry, ORIGIN, &known));
    let text = proof.to_string();
    assert_eq!(proved(&text, &entry(700)), Ok(head));
    for bit in 0..64 {
        assert!(proved(&text, &entry(700 ^ (1 << bit))).is_err(), "{bit}");
    }
    for bit in 0..8 * text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let taken = String::from_utf8(bytes).is_ok_and(|changed| proved(&changed, &entry(700)).is_ok());
        assert!(!taken, "bit {} of byte {}", bit % 8, bit / 8);
    }
}
