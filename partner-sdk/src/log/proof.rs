//! Proofs that travel with an entry: its place, its path and the checkpoint at whose root the path ends, as one text.

use std::fmt;
use std::str::FromStr;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::note::{MAX_NOTE_BYTES, NoteKey};
use super::tree::{PathError, verify_inclusion};
use super::{Hash, MAX_PATH, MAX_SIZE, decimal};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1\n";

/// The longest proof, in bytes: the longest path and the longest checkpoint.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + 64 * (MAX_PATH + 2);

/// A proof taken apart; nothing about it has been verified yet.
///
/// The format's `extra` line is refused: nobody signs what it says and no proof of this log has one, so a proof has one text only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The entry's index, from 0.
    pub index: u64,
    /// The path from the entry's leaf up.
    pub path: Vec<Hash>,
    /// The signed checkpoint as it travels.
    pub checkpoint: String,
}

/// Why a proof isn't accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Longer than [`MAX_PROOF_BYTES`], or its path than [`MAX_PATH`].
    #[error("the proof is longer than {MAX_PROOF_BYTES} bytes or its path than {MAX_PATH} hashes")]
    Size,
    /// Not the format's lines.
    #[error("not a proof: c2sp.org/tlog-proof@v1, index, path, an empty line, checkpoint")]
    Malformed,
    /// The line `extra`, which isn't taken.
    #[error("the proof has a line `extra`, which nobody signs")]
    Extra,
    /// The checkpoint isn't this log's.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path doesn't prove it.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl Proof {
    /// The checkpoint, once it is proved that this log has this entry at this index.
    pub fn verify(&self, entry: &[u8], origin: &str, keys: &[NoteKey]) -> Result<Checkpoint, ProofError> {
        let head = Checkpoint::verify(&self.checkpoint, origin, keys)?;
        verify_inclusion(Hash::leaf(entry), self.index, head.size, &self.path, head.root)?;
        Ok(head)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        if text.len() > MAX_PROOF_BYTES {
            return Err(ProofError::Size);
        }
        let rest = text.strip_prefix(FIRST_LINE).ok_or(ProofError::Malformed)?;
        if rest.starts_with("extra ") {
            return Err(ProofError::Extra);
        }
        let (lines, checkpoint) = rest.split_once("\n\n").ok_or(ProofError::Malformed)?;
        let mut lines = lines.split('\n');
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        if lines.clone().nth(MAX_PATH).is_some() {
            return Err(ProofError::Size);
        }
        Ok(Self {
            index: index.and_then(|text| decimal(text, MAX_SIZE)).ok_or(ProofError::Malformed)?,
            path: lines.map(str::parse).collect::<Result<_, _>>().map_err(|_| ProofError::Malformed)?,
            checkpoint: checkpoint.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KeyId;
    use crate::jws::SigningKey;
    use crate::log::note::NoteError;

    const ORIGIN: &str = "points.example/log";

    fn key() -> SigningKey {
        SigningKey::from_bytes(KeyId::new("log-1").expect("kid"), &[7; 32])
    }

    fn known() -> [NoteKey; 1] {
        [NoteKey::new(ORIGIN, key().verifying_key()).expect("a name")]
    }

    /// The second of three entries.
    fn proof() -> Proof {
        let [one, two, three] = [&b"one"[..], b"two", b"three"].map(Hash::leaf);
        let head = Checkpoint {
            origin: ORIGIN.to_owned(),
            size: 3,
            root: Hash::node(Hash::node(one, two), three),
        };
        Proof {
            index: 1,
            path: vec![one, three],
            checkpoint: head.sign(&key()).expect("a checkpoint"),
        }
    }

    #[test]
    fn what_is_written_is_read_and_verifies() {
        let text = proof().to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 1\n"), "{text}");
        let read: Proof = text.parse().expect("a proof");
        assert_eq!(read, proof());
        let head = read.verify(b"two", ORIGIN, &known()).expect("it proves");
        assert_eq!((head.size, head.origin.as_str()), (3, ORIGIN));
        assert_eq!(read.verify(b"one", ORIGIN, &known()), Err(ProofError::Path(PathError::Root)));
        let another = read.verify(b"two", "other.example/log", &known());
        assert_eq!(another, Err(ProofError::Checkpoint(CheckpointError::Origin)));
        let unknown = read.verify(b"two", ORIGIN, &[]);
        assert_eq!(unknown, Err(ProofError::Checkpoint(CheckpointError::Note(NoteError::Unsigned))));
        let alone = Proof { path: vec![], ..proof() };
        assert_eq!(alone.to_string().parse(), Ok(alone));
    }

    #[test]
    fn a_flipped_bit_anywhere_proves_nothing() {
        let text = proof().to_string();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let proved = String::from_utf8(bytes).is_ok_and(|changed| {
                    let read = changed.parse::<Proof>();
                    read.is_ok_and(|proof| proof.verify(b"two", ORIGIN, &known()).is_ok())
                });
                assert!(!proved, "bit {bit} of byte {at}: {:?}", &text[at..=at]);
            }
        }
    }

    #[test]
    fn nothing_else_is_taken() {
        let good = proof().to_string();
        let long = Proof {
            path: vec![Hash::EMPTY; MAX_PATH],
            ..proof()
        };
        assert_eq!(long.to_string().parse(), Ok(long.clone()));
        let longer = Proof {
            path: vec![Hash::EMPTY; MAX_PATH + 1],
            ..proof()
        };
        let huge = Proof {
            checkpoint: "x".repeat(MAX_PROOF_BYTES),
            ..proof()
        };
        for (bad, why) in [
            (longer.to_string(), ProofError::Size),
            (huge.to_string(), ProofError::Size),
            (good.replacen("index", "extra AAAA\nindex", 1), ProofError::Extra),
            (good.replacen("index 1", "index 01", 1), ProofError::Malformed),
            (good.replacen("index 1", "index +1", 1), ProofError::Malformed),
            (good.replacen("index 1", "index", 1), ProofError::Malformed),
            (good.replacen("index 1", "index 9223372036854775808", 1), ProofError::Malformed),
            (good.replacen("index 1", "index 1\r", 1), ProofError::Malformed),
            (good.replacen("@v1", "@v2", 1), ProofError::Malformed),
            (good.replacen("=\n", "\n", 1), ProofError::Malformed),
            (good.replacen("=\n", "=\n\n", 1), ProofError::Malformed),
            (good.replacen("\n\n", "\n", 1), ProofError::Malformed),
            (String::new(), ProofError::Malformed),
        ] {
            let read = bad.parse::<Proof>();
            let refused = read.and_then(|proof| proof.verify(b"two", ORIGIN, &known()));
            if why == ProofError::Malformed {
                assert!(refused.is_err(), "{bad}");
            } else {
                assert_eq!(refused, Err(why));
            }
        }
    }
}
