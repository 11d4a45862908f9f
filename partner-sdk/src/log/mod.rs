//! A transparency log, seen from outside: what its signed head says, and proofs that an entry is in it and that it only grew. Pure, like the rest.
//!
//! | module | what lives there | after |
//! |---|---|---|
//! | [`Hash`](struct@Hash) | leaves and nodes | RFC 9162 section 2.1 |
//! | [`tree`] | verifying that an entry is in, that one tree continues another | RFC 9162 sections 2.1.3.2, 2.1.4.2 |
//! | [`tile`] | the tree cut into tiles: their places and names | C2SP tlog-tiles |
//! | [`paths`] | roots and paths from tiles, and which tiles a path needs | RFC 9162 sections 2.1.3.1, 2.1.4.1 |
//! | [`note`] | text signed by keys that have names | C2SP signed-note |
//! | [`checkpoint`] | a log's head: origin, size, root | C2SP tlog-checkpoint |
//! | [`proof`] | an entry's index, path and checkpoint as one text | C2SP tlog-proof |

pub mod checkpoint;
pub mod note;
pub mod paths;
pub mod proof;
pub mod tile;
pub mod tree;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

pub use checkpoint::Checkpoint;
pub use proof::Proof;

/// The largest tree: its sizes and indices fit a database's integers, and a path has at most [`MAX_PATH`] hashes.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// The longest path of an entry, in hashes.
pub const MAX_PATH: usize = 63;

/// A leaf, a node or a root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

/// Text that isn't a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: 32 bytes as canonical base64")]
pub struct NotAHash;

impl Hash {
    /// The root of the tree without entries: SHA-256 of nothing.
    pub const EMPTY: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
        0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// An entry's leaf: SHA-256(0x00 || entry).
    pub fn leaf(entry: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
    }

    /// A node over two: SHA-256(0x01 || left || right).
    pub fn node(left: Self, right: Self) -> Self {
        let mut bytes = [1; 65];
        bytes[1..33].copy_from_slice(&left.0);
        bytes[33..].copy_from_slice(&right.0);
        Self(Sha256::digest(bytes).into())
    }

    /// The hash with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        // This decoder takes canonical text only: padded, and nothing in the bits left over.
        let bytes = STANDARD.decode(text).map_err(|_| NotAHash)?;
        bytes.try_into().map(Self).map_err(|_| NotAHash)
    }
}

/// A decimal number up to `most` as these formats write it: digits, without leading zeros.
fn decimal(text: &str, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|number| canonical && *number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        assert_eq!(Hash::EMPTY, Hash(Sha256::digest([]).into()));
        let empty_leaf = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
        assert_eq!(Hash::leaf(b"").to_string(), empty_leaf);
        assert_eq!(empty_leaf.parse(), Ok(Hash::leaf(b"")));
        let two = [Hash::leaf(b""), Hash::leaf(b"\0")];
        let bytes = [&[1][..], two[0].as_bytes(), two[1].as_bytes()].concat();
        assert_eq!(Hash::node(two[0], two[1]), Hash(Sha256::digest(bytes).into()));
    }

    #[test]
    fn only_canonical_base64_is_a_hash() {
        for bad in [
            "",
            "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0",
            "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB1=",
            "bjQLnP-zepicpUTmu3gKLHiQHT-zNzh2hRGjBhevoB0=",
            "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n",
            " bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
            "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoA==",
        ] {
            assert_eq!(bad.parse::<Hash>(), Err(NotAHash), "{bad:?}");
        }
    }

    #[test]
    fn numbers_have_one_text() {
        assert_eq!((decimal("0", 9), decimal("9", 9), decimal("10", 9)), (Some(0), Some(9), None));
        assert_eq!(decimal("9223372036854775807", MAX_SIZE), Some(MAX_SIZE));
        for bad in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "99999999999999999999",
        ] {
            assert_eq!(decimal(bad, MAX_SIZE), None, "{bad:?}");
        }
    }
}
