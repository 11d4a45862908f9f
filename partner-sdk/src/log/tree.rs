//! Verifying paths: that an entry is in a tree, and that a tree continues an older one.

use super::Hash;

/// Why a path proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No tree of this size has such an entry.
    #[error("entry {index} isn't in a tree of {size}")]
    Beyond {
        /// The entry.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A log doesn't shrink.
    #[error("a tree of {new} doesn't continue one of {old}")]
    Shrinks {
        /// The older tree's size.
        old: u64,
        /// The newer tree's size.
        new: u64,
    },
    /// Too few hashes, or too many.
    #[error("the path has another length than this place in this tree")]
    Length,
    /// It leads elsewhere: to another root, or from another older one.
    #[error("the path doesn't lead to this root")]
    Root,
}

/// Verifies that the entry with this leaf has this index in the tree of this size and root (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, path: &[Hash], root: Hash) -> Result<(), PathError> {
    let last = size.checked_sub(1).filter(|last| index <= *last);
    let last = last.ok_or(PathError::Beyond { index, size })?;
    let mut found = leaf;
    climb(index, last, path, |side, hash| {
        found = match side {
            Side::Left => Hash::node(hash, found),
            Side::Right => Hash::node(found, hash),
        };
    })?;
    if found == root { Ok(()) } else { Err(PathError::Root) }
}

/// Verifies that the new tree begins with the old one (RFC 9162 section 2.1.4.2). Every tree continues the empty one and itself, with an empty path.
pub fn verify_consistency(old_size: u64, old_root: Hash, new_size: u64, new_root: Hash, path: &[Hash]) -> Result<(), PathError> {
    let empty = |size: u64, root: Hash| size == 0 && root != Hash::EMPTY;
    if old_size > new_size {
        return Err(PathError::Shrinks {
            old: old_size,
            new: new_size,
        });
    }
    if empty(old_size, old_root) || empty(new_size, new_root) || (old_size == new_size && old_root != new_root) {
        return Err(PathError::Root);
    }
    if old_size == 0 || old_size == new_size {
        return if path.is_empty() { Ok(()) } else { Err(PathError::Length) };
    }
    // From the last whole subtree of the old tree upwards; where that is all of the old tree, its root isn't repeated in the path.
    let level = old_size.trailing_zeros();
    let (start, rest) = if old_size.is_power_of_two() {
        (old_root, path)
    } else {
        path.split_first().map(|(first, rest)| (*first, rest)).ok_or(PathError::Length)?
    };
    let (mut old, mut new) = (start, start);
    climb((old_size - 1) >> level, (new_size - 1) >> level, rest, |side, hash| match side {
        Side::Left => (old, new) = (Hash::node(hash, old), Hash::node(hash, new)),
        Side::Right => new = Hash::node(new, hash),
    })?;
    if (old, new) == (old_root, new_root) {
        Ok(())
    } else {
        Err(PathError::Root)
    }
}

/// On which side of what was found so far a hash of the path stands.
enum Side {
    Left,
    Right,
}

/// Goes up from a node to the root, hash by hash: the standard's loop over `fn` (here `place`) and `sn` (`last`), the last node of the level.
fn climb(mut place: u64, mut last: u64, path: &[Hash], mut step: impl FnMut(Side, Hash)) -> Result<(), PathError> {
    for hash in path {
        if last == 0 {
            return Err(PathError::Length);
        }
        if place & 1 == 1 || place == last {
            step(Side::Left, *hash);
            // The last node goes up alone until it is somebody's right.
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            step(Side::Right, *hash);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last == 0 { Ok(()) } else { Err(PathError::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The root of entries, straight from the definition (RFC 9162 section 2.1.1).
    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::EMPTY,
            [leaf] => *leaf,
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                Hash::node(root(left), root(right))
            }
        }
    }

    /// A path, straight from the definition (section 2.1.3.1).
    fn inclusion(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() < 2 {
            return vec![];
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut path, sibling) = match index.checked_sub(left.len()) {
            None => (inclusion(index, left), root(right)),
            Some(index) => (inclusion(index, right), root(left)),
        };
        path.push(sibling);
        path
    }

    /// A consistency path, straight from the definition (section 2.1.4.1).
    fn consistency(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if whole { vec![] } else { vec![root(leaves)] };
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut path, sibling) = match old.checked_sub(left.len()).filter(|rest| *rest > 0) {
            None => (consistency(old, left, whole), root(right)),
            Some(rest) => (consistency(rest, right, false), root(left)),
        };
        path.push(sibling);
        path
    }

    fn hex(text: &str) -> Hash {
        let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hexadecimal");
        Hash::from_bytes(std::array::from_fn(byte))
    }

    /// The eight entries that implementations of RFC 6962 have tested with since the first of them, and the roots of 0 to 8 of them.
    const ENTRIES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves() -> Vec<Hash> {
        ENTRIES.map(Hash::leaf).to_vec()
    }

    #[test]
    fn the_known_tree_has_its_known_roots_and_paths() {
        let leaves = leaves();
        for (size, known) in ROOTS.into_iter().enumerate() {
            assert_eq!(root(&leaves[..size]), hex(known), "{size}");
        }
        let path = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(verify_inclusion(leaves[5], 5, 8, &path.map(hex), hex(ROOTS[8])), Ok(()));
        let path = ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"];
        assert_eq!(verify_inclusion(leaves[2], 2, 3, &path.map(hex), hex(ROOTS[3])), Ok(()));
        let path = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(verify_consistency(6, hex(ROOTS[6]), 8, hex(ROOTS[8]), &path.map(hex)[..]), Ok(()));
    }

    #[test]
    fn every_small_tree_proves_what_is_in_it_and_nothing_else() {
        let leaves: Vec<Hash> = (0..40u8).map(|entry| Hash::leaf(&[entry])).collect();
        for size in 0..=40 {
            let whole = root(&leaves[..size]);
            for index in 0..size {
                let path = inclusion(index, &leaves[..size]);
                let verify =
                    |leaf, index: usize, size: usize, path: &[Hash]| verify_inclusion(leaf, index as u64, size as u64, path, whole);
                assert_eq!(verify(leaves[index], index, size, &path), Ok(()), "{index} of {size}");
                assert_eq!(verify(Hash::EMPTY, index, size, &path), Err(PathError::Root));
                for other in (0..size).filter(|other| *other != index) {
                    assert!(verify(leaves[index], other, size, &path).is_err(), "{index} as {other} of {size}");
                }
                let longer = [&path[..], &[Hash::EMPTY]].concat();
                assert_eq!(verify(leaves[index], index, size, &longer), Err(PathError::Length));
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(verify(leaves[index], index, size, shorter), Err(PathError::Length));
                }
            }
        }
    }

    #[test]
    fn every_small_tree_continues_those_before_it() {
        let leaves: Vec<Hash> = (0..40u8).map(|entry| Hash::leaf(&[entry])).collect();
        for new in 0..=40 {
            for old in 0..=new {
                let (before, after) = (root(&leaves[..old]), root(&leaves[..new]));
                let path = if old == 0 { vec![] } else { consistency(old, &leaves[..new], true) };
                let verify = |before, after, path: &[Hash]| verify_consistency(old as u64, before, new as u64, after, path);
                assert_eq!(verify(before, after, &path), Ok(()), "{old} to {new}");
                let other = Hash::leaf(b"another");
                assert!(verify(other, after, &path).is_err() && (old == 0 || verify(before, other, &path).is_err()));
                let longer = [&path[..], &[other]].concat();
                assert_eq!(verify(before, after, &longer), Err(PathError::Length), "{old} to {new}");
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(verify(before, after, shorter), Err(PathError::Length), "{old} to {new}");
                }
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at] = other;
                    assert_eq!(verify(before, after, &changed), Err(PathError::Root), "{old} to {new}");
                }
            }
        }
    }

    #[test]
    fn edges_are_refused_by_name() {
        let (one, other) = (Hash::leaf(b"1"), Hash::leaf(b"2"));
        for (index, size) in [(0, 0), (1, 1), (u64::MAX, u64::MAX), (5, 4)] {
            assert_eq!(verify_inclusion(one, index, size, &[], one), Err(PathError::Beyond { index, size }));
        }
        assert_eq!(verify_inclusion(one, 0, 1, &[], one), Ok(()));
        assert_eq!(
            verify_inclusion(one, u64::MAX - 1, u64::MAX, &[one; 200], one),
            Err(PathError::Length)
        );
        assert_eq!(verify_consistency(2, one, 1, one, &[]), Err(PathError::Shrinks { old: 2, new: 1 }));
        assert_eq!(verify_consistency(1, one, 1, other, &[]), Err(PathError::Root));
        assert_eq!(verify_consistency(0, one, 1, one, &[]), Err(PathError::Root));
        assert_eq!(verify_consistency(0, Hash::EMPTY, 0, one, &[]), Err(PathError::Root));
        assert_eq!(verify_consistency(0, Hash::EMPTY, 1, one, &[one]), Err(PathError::Length));
        assert_eq!(verify_consistency(1, one, 2, other, &[]), Err(PathError::Length));
        assert_eq!(verify_consistency(3, one, u64::MAX, other, &[]), Err(PathError::Length));
    }
}
