//! The clearinghouse's public keys, as a partner holds them, and what is believed by them.

use crate::jws::{JwsError, VerifyingKey};
use crate::log::checkpoint::{Checkpoint, CheckpointError};
use crate::log::note::{NoteKey, NoteKeyError};
use crate::log::proof::{Proof, ProofError};
use crate::log::tree::verify_inclusion;
use crate::log::{Hash, MAX_PATH};
use crate::strict::StrictError;
use crate::wire::Receipt;

/// The longest entry in bytes.
pub const MAX_ENTRY_BYTES: usize = 16 * 1024;

/// The longest receipt in bytes.
const MAX_RECEIPT_BYTES: usize = MAX_ENTRY_BYTES + 128 * 1024 + 64 * (MAX_PATH + 2);

/// The keys that the operator gave its partner: one for signed answers, and those of the log, now and before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    key: VerifyingKey,
    log: Vec<NoteKey>,
}

/// Why keys can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A key of the log isn't one, as C2SP signed-note writes it.
    #[error("a key of the log")]
    Key(#[from] NoteKeyError),
    /// There is none, or they are of several logs.
    #[error("the keys of one log are needed, one at least, a line each")]
    Log,
}

/// Why a receipt can't be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is longer than any.
    #[error("it is too long")]
    Size,
    /// A signed answer that isn't one, or isn't the clearinghouse's.
    #[error(transparent)]
    Signature(#[from] JwsError),
    /// What should prove that the entry stands in the log doesn't.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The entry isn't that of a message.
    #[error("the entry")]
    Entry(#[source] StrictError),
    /// The entry states another number than that of its place in the log.
    #[error("the entry states another number than its place in the log has")]
    Place,
}

impl Trust {
    /// With the key of signed answers (`operator.pub`) and the log's keys, one a line (`log.pub`).
    pub fn new(key: VerifyingKey, log: &str) -> Result<Self, TrustError> {
        let log = log.lines().map(str::parse).collect::<Result<Vec<NoteKey>, _>>()?;
        let one = log.first().is_some_and(|first| log.iter().all(|key| key.name() == first.name()));
        if one { Ok(Self { key, log }) } else { Err(TrustError::Log) }
    }

    /// The key of signed answers.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        self.log.first().map_or("", NoteKey::name)
    }

    /// The log's keys, as [`Trust::new`] takes them.
    pub fn log_keys(&self) -> String {
        self.log.iter().map(|key| format!("{key}\n")).collect()
    }

    /// Verifies a checkpoint of the log.
    pub fn checkpoint(&self, signed: &str) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::verify(signed, self.origin(), &self.log)
    }

    /// Verifies a receipt and reads it.
    pub fn receipt(&self, text: &str) -> Result<Receipt, ReceiptError> {
        Reader::new(self).receipt(text).map(|(receipt, _)| receipt)
    }
}

/// Verifies receipts one after the other. Those of one request mostly have one checkpoint, whose signature is looked at once.
pub struct Reader<'t> {
    trust: &'t Trust,
    heads: Vec<(String, Checkpoint)>,
}

impl<'t> Reader<'t> {
    /// By these keys.
    pub fn new(trust: &'t Trust) -> Self {
        Self { trust, heads: vec![] }
    }

    /// The checkpoints of the receipts so far, each once if they came one after the other, with their signed texts.
    pub fn heads(&self) -> &[(String, Checkpoint)] {
        &self.heads
    }

    /// Verifies a receipt and reads it. That of a kept message is its entry, a line feed, and the proof that the entry stands in the log, whose checkpoint
    /// comes with it; that of a refusal without a trace is a signed answer.
    pub fn receipt(&mut self, text: &str) -> Result<(Receipt, Option<Checkpoint>), ReceiptError> {
        if text.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::Size);
        }
        let Some((entry, proof)) = text.split_once('\n') else {
            return Ok((Receipt::verify(text, &self.trust.key)?, None));
        };
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(ReceiptError::Size);
        }
        let proof: Proof = proof.parse()?;
        let head = self.head(&proof.checkpoint)?;
        verify_inclusion(Hash::leaf(entry.as_bytes()), proof.index, head.size, &proof.path, head.root).map_err(ProofError::Path)?;
        let receipt = Receipt::parse_entry(entry.as_bytes()).map_err(ReceiptError::Entry)?;
        let place = i64::try_from(proof.index).ok().and_then(|index| index.checked_add(1));
        if receipt.sequence.is_none() || receipt.sequence != place {
            return Err(ReceiptError::Place);
        }
        Ok((receipt, Some(head)))
    }

    fn head(&mut self, signed: &str) -> Result<Checkpoint, ReceiptError> {
        match self.heads.last() {
            Some((text, head)) if text == signed => Ok(head.clone()),
            _ => {
                let head = self.trust.checkpoint(signed).map_err(ProofError::Checkpoint)?;
                self.heads.push((signed.to_owned(), head.clone()));
                Ok(head)
            }
        }
    }
}

/// A log in memory.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::jws::SigningKey;
    use crate::log::paths::{Fetched, Tree};
    use crate::log::tile::Tile;

    pub const ORIGIN: &str = "clearing.example/log";

    pub fn log_key() -> SigningKey {
        SigningKey::from_bytes("log-1".parse().expect("kid"), &[4; 32])
    }

    pub fn trust(key: &SigningKey) -> Trust {
        let log = NoteKey::new(ORIGIN, log_key().verifying_key()).expect("a name");
        Trust::new(key.verifying_key(), &log.to_string()).expect("one log")
    }

    /// The receipt of the last of some entries, at most 256, against the checkpoint of all.
    pub fn receipt(entries: &[String], index: usize) -> String {
        let size = entries.len() as u64;
        let leaves = entries.iter().map(|entry| Hash::leaf(entry.as_bytes())).collect();
        let tiles = Fetched::from([(Tile::of(0, 0, size).expect("a tile"), leaves)]);
        let mut tree = Tree::new(&tiles, size).expect("a tree");
        let head = Checkpoint {
            origin: ORIGIN.to_owned(),
            size,
            root: tree.root(),
        };
        let proof = Proof {
            index: index as u64,
            path: tree.inclusion(index as u64).expect("a path"),
            checkpoint: head.sign(&log_key()).expect("signed"),
        };
        format!("{}\n{proof}", entries[index])
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{receipt, trust};
    use super::*;
    use crate::jws::SigningKey;

    fn told(sequence: i64) -> Receipt {
        Receipt {
            message_sha256: "ab".repeat(32),
            sender: "wellcome".parse().expect("partner"),
            id: Some("a-1".parse().expect("id")),
            code: None,
            field: None,
            sequence: Some(sequence),
            window: Some("2017-01-31".parse().expect("date")),
            posted_at: "2017-01-31T10:00:00.25Z".parse().expect("time"),
            facts: vec![("points".into(), "400".into())],
            salt: None,
        }
    }

    #[test]
    fn a_receipt_is_its_entry_and_the_proof() {
        let key = SigningKey::from_bytes("clearing-1".parse().expect("kid"), &[3; 32]);
        let entries = [r#"{"entry":"window"}"#.to_owned(), told(2).entry(), told(9).entry()];
        let text = receipt(&entries, 1);
        assert_eq!(trust(&key).receipt(&text), Ok(told(2)));
        // What stands there is no receipt, or not that of its place.
        assert!(matches!(trust(&key).receipt(&receipt(&entries, 0)), Err(ReceiptError::Entry(_))));
        assert_eq!(trust(&key).receipt(&receipt(&entries, 2)), Err(ReceiptError::Place));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let taken = String::from_utf8(bytes).is_ok_and(|changed| trust(&key).receipt(&changed).is_ok());
                assert!(!taken, "bit {bit} of byte {at}");
            }
        }
        // The key of signed answers doesn't sign what is kept.
        let signed = key.sign(crate::jws::TYP_RECEIPT, told(2).payload().as_bytes());
        assert!(matches!(trust(&key).receipt(&signed), Err(ReceiptError::Signature(_))));
    }
}
