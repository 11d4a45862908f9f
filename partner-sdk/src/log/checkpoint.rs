//! Checkpoints: a log's size and root, signed.

use super::note::{self, Note, NoteError, NoteKey, SignError};
use super::{Hash, MAX_SIZE, decimal};
use crate::jws::SigningKey;

/// The longest signed checkpoint, in bytes: its text, and room for a dozen of other signatures.
pub const MAX_CHECKPOINT_BYTES: usize = 4096;

/// What a log says of itself: its name, how many entries it has, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, one line.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a checkpoint isn't accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Longer than [`MAX_CHECKPOINT_BYTES`].
    #[error("the checkpoint is longer than {MAX_CHECKPOINT_BYTES} bytes")]
    Size,
    /// It isn't a note, or nobody known has signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not the three lines: origin, size, root.
    #[error("not a checkpoint: origin, size and root, a line each")]
    Malformed,
    /// The tree without entries has one root.
    #[error("the checkpoint of an empty log has another root than that of nothing")]
    Empty,
    /// Another log's.
    #[error("the checkpoint is another log's")]
    Origin,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Signs it in the name of its origin, which has to be a key's name.
    pub fn sign(&self, key: &SigningKey) -> Result<String, SignError> {
        let text = self.text();
        // Nothing is signed that a reader would refuse, or read as something else.
        if Self::parse(&text).as_ref() != Ok(self) {
            return Err(SignError::Text(NoteError::Malformed));
        }
        note::sign(&text, &self.origin, key)
    }

    /// Reads a signed checkpoint, once one of these keys has signed it and it is of this log.
    pub fn verify(signed: &str, origin: &str, keys: &[NoteKey]) -> Result<Self, CheckpointError> {
        if signed.len() > MAX_CHECKPOINT_BYTES {
            return Err(CheckpointError::Size);
        }
        let read = Self::parse(Note::parse(signed)?.verify(keys)?)?;
        if read.origin == origin {
            Ok(read)
        } else {
            Err(CheckpointError::Origin)
        }
    }

    /// Reads the text strictly. Lines after the third are allowed as long as they say something, and passed over.
    fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines = text.strip_suffix('\n').ok_or(CheckpointError::Malformed)?;
        if lines.split('\n').any(str::is_empty) {
            return Err(CheckpointError::Malformed);
        }
        let mut lines = lines.split('\n');
        let mut next = || lines.next().ok_or(CheckpointError::Malformed);
        let (origin, size, root) = (next()?, next()?, next()?);
        let read = Self {
            origin: origin.to_owned(),
            size: decimal(size, MAX_SIZE).ok_or(CheckpointError::Malformed)?,
            root: root.parse().map_err(|_| CheckpointError::Malformed)?,
        };
        if read.size == 0 && read.root != Hash::EMPTY {
            return Err(CheckpointError::Empty);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KeyId;

    const ORIGIN: &str = "points.example/log";

    fn key(secret: u8) -> SigningKey {
        SigningKey::from_bytes(KeyId::new("log-1").expect("kid"), &[secret; 32])
    }

    fn known(secret: u8) -> [NoteKey; 1] {
        [NoteKey::new(ORIGIN, key(secret).verifying_key()).expect("a name")]
    }

    fn head() -> Checkpoint {
        Checkpoint {
            origin: ORIGIN.to_owned(),
            size: 20_852_163,
            root: "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=".parse().expect("a hash"),
        }
    }

    #[test]
    fn the_specification_s_example_is_read() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let read = Checkpoint::parse(text).expect("a checkpoint");
        assert_eq!((read.size, read.origin.as_str()), (20_852_163, "example.com/behind-the-sofa"));
        assert_eq!(read.text(), text);
        assert_eq!(Checkpoint::parse(&format!("{text}more\nstill more\n")), Ok(read));
    }

    #[test]
    fn what_is_signed_verifies_by_its_key_and_log_alone() {
        let signed = head().sign(&key(7)).expect("a checkpoint");
        assert_eq!(Checkpoint::verify(&signed, ORIGIN, &known(7)), Ok(head()));
        let unsigned = CheckpointError::Note(NoteError::Unsigned);
        assert_eq!(Checkpoint::verify(&signed, ORIGIN, &known(8)), Err(unsigned));
        assert_eq!(
            Checkpoint::verify(&signed, "other.example/log", &known(7)),
            Err(CheckpointError::Origin)
        );
        // A log signs in its own name; a key that signs other notes too doesn't make them checkpoints of another log.
        let other = Checkpoint {
            origin: "other.example/log".to_owned(),
            ..head()
        };
        let by_us = note::sign(&other.text(), ORIGIN, &key(7)).expect("a note");
        assert_eq!(Checkpoint::verify(&by_us, ORIGIN, &known(7)), Err(CheckpointError::Origin));
    }

    #[test]
    fn a_checkpoint_is_short() {
        let signed = head().sign(&key(7)).expect("a checkpoint");
        let name = format!("\u{2014} {} ", "w".repeat(note::MAX_NAME_BYTES));
        let longest = MAX_CHECKPOINT_BYTES - signed.len();
        let padded = |length: usize| {
            // Signatures by others are passed over; four digits of base64 are three bytes.
            let line = format!("{name}{}\n", "AAAA".repeat((length - name.len() - 1) / 4));
            format!("{signed}{line}")
        };
        assert_eq!(Checkpoint::verify(&padded(longest), ORIGIN, &known(7)), Ok(head()));
        assert_eq!(
            Checkpoint::verify(&padded(longest + 4), ORIGIN, &known(7)),
            Err(CheckpointError::Size)
        );
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused() {
        let signed = head().sign(&key(7)).expect("a checkpoint");
        for at in 0..signed.len() {
            for bit in 0..8 {
                let mut bytes = signed.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let taken = String::from_utf8(bytes).is_ok_and(|changed| Checkpoint::verify(&changed, ORIGIN, &known(7)).is_ok());
                assert!(!taken, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn only_strict_text_is_read() {
        let good = head().text();
        for bad in [
            String::new(),
            "\n".to_owned(),
            good.replace("20852163", "020852163"),
            good.replace("20852163", "+20852163"),
            good.replace("20852163", " 20852163"),
            good.replace("20852163", "9223372036854775808"),
            good.replace("20852163", ""),
            good.replace("q2I=", "q2J="),
            good.replace("q2I=", "q2I"),
            good.replace(ORIGIN, ""),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            format!("{good}\nmore\n"),
            format!("{ORIGIN}\n1\n"),
        ] {
            assert_eq!(Checkpoint::parse(&bad), Err(CheckpointError::Malformed), "{bad:?}");
        }
        let empty = Checkpoint { size: 0, ..head() };
        assert_eq!(Checkpoint::parse(&empty.text()), Err(CheckpointError::Empty));
        let none = Checkpoint {
            root: Hash::EMPTY,
            ..empty
        };
        assert_eq!(Checkpoint::parse(&none.text()), Ok(none));
    }

    #[test]
    fn what_a_reader_would_refuse_is_not_signed() {
        for (origin, size) in [
            ("a\nb", 1),
            ("", 1),
            ("a b", 1),
            ("a+b", 1),
            ("a\u{7}", 1),
            (ORIGIN, 0),
            (ORIGIN, u64::MAX),
        ] {
            let head = Checkpoint {
                origin: origin.to_owned(),
                size,
                ..head()
            };
            assert!(head.sign(&key(7)).is_err(), "{origin:?} {size}");
        }
    }
}
