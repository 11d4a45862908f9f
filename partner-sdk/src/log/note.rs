//! Signed notes: text, an empty line, and lines of signatures by keys that have names. Ed25519 only.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::jws::{SigningKey, VerifyingKey, sha256, to_hex};

/// The longest note, in bytes: sixteen signatures of the largest kind (post-quantum ones take 5 kB), and room.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;

/// The most signatures on one note.
pub const MAX_SIGNATURES: usize = 16;

/// The longest name of a key, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// The type of a key, as it stands before its bytes: Ed25519 over the note's text.
const ED25519: u8 = 1;

/// What a signature's line begins with.
const MARK: &str = "\u{2014} ";

/// Why a note isn't accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("the note is longer than {MAX_NOTE_BYTES} bytes")]
    Size,
    /// More signatures than [`MAX_SIGNATURES`].
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    Signatures,
    /// Not text, an empty line and signatures; or a control character.
    #[error("not a signed note: text, an empty line, and lines of signatures")]
    Malformed,
    /// None of the signatures is by a key that was asked for.
    #[error("no signature by a known key")]
    Unsigned,
    /// A signature with a known key's name and id isn't that key's over this text.
    #[error("a known key's signature does not verify")]
    Signature,
}

/// Why a verifier key isn't one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteKeyError {
    /// A name is one word without plus signs.
    #[error("not a key's name: 1 to {MAX_NAME_BYTES} bytes without blanks, control characters and plus signs")]
    Name,
    /// Not name, id and key, joined by plus signs.
    #[error("not a verifier key: <name>+<id>+<key>")]
    Malformed,
    /// The id isn't that of this name and key.
    #[error("the verifier key's id isn't that of its name and key")]
    Id,
    /// Another type than Ed25519, or no key of it, or a weak one.
    #[error("the verifier key isn't an Ed25519 key")]
    Key,
}

/// A public key with the name under which it signs notes. As text, C2SP's verifier key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl NoteKey {
    /// A key and its name.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteKeyError> {
        if !is_name(name) {
            return Err(NoteKeyError::Name);
        }
        let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &[ED25519], key.as_bytes()].concat());
        Ok(Self {
            name: name.to_owned(),
            id: [a, b, c, d],
            key,
        })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id: the first four bytes of a hash of name, type and key.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [&[ED25519], &self.key.as_bytes()[..]].concat();
        write!(f, "{}+{}+{}", self.name, to_hex(&self.id), STANDARD.encode(typed))
    }
}

impl FromStr for NoteKey {
    type Err = NoteKeyError;

    fn from_str(text: &str) -> Result<Self, NoteKeyError> {
        let (name, rest) = text.split_once('+').ok_or(NoteKeyError::Malformed)?;
        // Base64 has plus signs too.
        let (id, key) = rest.split_once('+').ok_or(NoteKeyError::Malformed)?;
        if key.len() > 64 {
            return Err(NoteKeyError::Key);
        }
        let typed = STANDARD.decode(key).map_err(|_| NoteKeyError::Malformed)?;
        let bytes = typed.strip_prefix(&[ED25519]).ok_or(NoteKeyError::Key)?;
        let read = Self::new(name, VerifyingKey::from_bytes(bytes).map_err(|_| NoteKeyError::Key)?)?;
        if id == to_hex(&read.id) { Ok(read) } else { Err(NoteKeyError::Id) }
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

/// A note taken apart; nothing about it has been verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<Line<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line<'a> {
    name: &'a str,
    id: [u8; 4],
    signature: Vec<u8>,
}

impl<'a> Note<'a> {
    /// Takes a note apart strictly.
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Size);
        }
        // The last empty line ends the text, whose own last newline belongs to it.
        let end = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, signatures) = (&note[..=end], &note[end + 2..]);
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Malformed);
        }
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        if lines.split('\n').nth(MAX_SIGNATURES).is_some() {
            return Err(NoteError::Signatures);
        }
        let signatures = lines.split('\n').map(|line| Line::parse(line).ok_or(NoteError::Malformed));
        Ok(Self {
            text,
            signatures: signatures.collect::<Result<_, _>>()?,
        })
    }

    /// The text, once a key has signed it. Signatures by others are passed over; one in a known key's name and id has to be that key's.
    pub fn verify(&self, keys: &[NoteKey]) -> Result<&'a str, NoteError> {
        let mut signed = false;
        for line in &self.signatures {
            for known in keys.iter().filter(|key| key.name == line.name && key.id == line.id) {
                let verified = known.key.verify(self.text.as_bytes(), &line.signature);
                verified.map_err(|_| NoteError::Signature)?;
                signed = true;
            }
        }
        if signed { Ok(self.text) } else { Err(NoteError::Unsigned) }
    }
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(MARK)?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (id, signature) = bytes.split_first_chunk()?;
        (is_name(name) && !signature.is_empty()).then(|| Self {
            name,
            id: *id,
            signature: signature.to_vec(),
        })
    }
}

/// Signs a text, which ends in a newline, in the name of a log; the result is the note. The same text and key give the same note.
pub fn sign(text: &str, name: &str, key: &SigningKey) -> Result<String, SignError> {
    let known = NoteKey::new(name, key.verifying_key())?;
    let signature = [&known.id[..], &key.sign_text(text)].concat();
    let note = format!("{text}\n{MARK}{name} {}\n", STANDARD.encode(signature));
    // What isn't a note, or would be one of another text, is not handed out.
    match Note::parse(&note) {
        Ok(read) if read.text == text => Ok(note),
        Ok(_) => Err(SignError::Text(NoteError::Malformed)),
        Err(why) => Err(SignError::Text(why)),
    }
}

/// Why a note can't be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The name isn't a key's.
    #[error(transparent)]
    Name(#[from] NoteKeyError),
    /// The text isn't a note's.
    #[error(transparent)]
    Text(NoteError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KeyId;

    // The example of the specification.
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    const OTHER: &str = "\u{2014} other.example/x AAAAAAECAwQ=\n";

    fn key() -> SigningKey {
        SigningKey::from_bytes(KeyId::new("log-1").expect("kid"), &[7; 32])
    }

    fn known() -> NoteKey {
        KEY.parse().expect("a key")
    }

    fn verified(note: &str) -> Result<&str, NoteError> {
        Note::parse(note).and_then(|read| read.verify(&[known()]))
    }

    #[test]
    fn the_specification_s_example_verifies() {
        assert_eq!((known().to_string().as_str(), known().name()), (KEY, "example.com/foo"));
        assert_eq!(known().id(), [0x53, 0x0d, 0x90, 0x3a]);
        assert_eq!(verified(NOTE), Ok("This is an example message.\n"));
    }

    #[test]
    fn what_is_signed_verifies_and_is_always_the_same() {
        for text in ["one line\n", "\n", "two\n\nparagraphs\n\n", "\u{2014} looks like one\n"] {
            let note = sign(text, "points.example/log", &key()).expect("a note");
            let ours = NoteKey::new("points.example/log", key().verifying_key()).expect("a name");
            assert_eq!(Note::parse(&note).and_then(|read| read.verify(&[known(), ours])), Ok(text));
            assert_eq!(sign(text, "points.example/log", &key()), Ok(note));
        }
        for bad in ["", "no end", "a\tb\n", "a\0\n"] {
            assert_eq!(
                sign(bad, "points.example/log", &key()),
                Err(SignError::Text(NoteError::Malformed)),
                "{bad:?}"
            );
        }
        assert_eq!(sign("a\n", "a b", &key()), Err(SignError::Name(NoteKeyError::Name)));
    }

    #[test]
    fn others_signatures_are_passed_over_and_ours_must_be_right() {
        let with = |more: &str| format!("{NOTE}{more}");
        assert!(verified(&with(OTHER)).is_ok());
        // Our name with another id, and our id with another name, are others'.
        assert!(verified(&with("\u{2014} example.com/foo AAAAAAECAwQ=\n")).is_ok());
        assert!(verified(&with("\u{2014} other.example/x Uw2QOgECAwQ=\n")).is_ok());
        assert_eq!(
            verified(&with("\u{2014} example.com/foo Uw2QOgECAwQ=\n")),
            Err(NoteError::Signature)
        );
        assert_eq!(
            verified(&NOTE.replace("example message", "exemple message")),
            Err(NoteError::Signature)
        );
        assert_eq!(verified(&format!("text\n\n{OTHER}")), Err(NoteError::Unsigned));
        assert_eq!(Note::parse(NOTE).and_then(|read| read.verify(&[])), Err(NoteError::Unsigned));
    }

    #[test]
    fn notes_are_read_strictly_and_within_bounds() {
        for bad in [
            "",
            "\n",
            "\n\n",
            "text\n",
            "text\n\n",
            &NOTE[..NOTE.len() - 1],
            &format!("{NOTE}\n"),
            &format!("{NOTE}x\n"),
            &NOTE.replace("\n\n", "\n"),
            &NOTE.replace('\u{2014}', "-"),
            &NOTE.replace("\u{2014} ", "\u{2014}"),
            &NOTE.replace("foo Uw", "foo  Uw"),
            &NOTE.replace("example.com/foo", ""),
            &NOTE.replace("example.com/foo", "example.com+foo"),
            &NOTE.replace("example.com/foo", "example.com\u{3000}foo"),
            &NOTE.replace("aQM=", "aQN="),
            &NOTE.replace("aQM=", "aQM"),
            &NOTE.replace("This", "\tThis"),
            &NOTE.replace('\n', "\r\n"),
            "text\n\n\u{2014} other.example/x AAAAAA==\n",
            "text\n\n\u{2014} other.example/x AAAA\n",
        ] {
            assert_eq!(verified(bad), Err(NoteError::Malformed), "{bad:?}");
        }
        assert!(verified(&format!("{NOTE}{}", OTHER.repeat(MAX_SIGNATURES - 1))).is_ok());
        assert_eq!(
            verified(&format!("{NOTE}{}", OTHER.repeat(MAX_SIGNATURES))),
            Err(NoteError::Signatures)
        );
        assert_eq!(verified(&format!("{}{NOTE}", "x".repeat(MAX_NOTE_BYTES))), Err(NoteError::Size));
    }

    #[test]
    fn keys_are_read_strictly() {
        let short = NoteKey::new("a", key().verifying_key()).expect("a name").to_string();
        for (bad, why) in [
            ("", NoteKeyError::Malformed),
            ("example.com/foo", NoteKeyError::Malformed),
            ("example.com/foo+530d903a", NoteKeyError::Malformed),
            (&KEY.replace("530d903a", "530d903b"), NoteKeyError::Id),
            (&KEY.replace("530d903a", "530D903A"), NoteKeyError::Id),
            (&KEY.replace("530d903a", "0530d903a"), NoteKeyError::Id),
            (&KEY.replace("foo", "bar"), NoteKeyError::Id),
            (&KEY.replace("example.com/foo", ""), NoteKeyError::Name),
            (&KEY.replace("example", "exam ple"), NoteKeyError::Name),
            (&KEY.replace("+AekyeRr", "+AukyeRr"), NoteKeyError::Key),
            (&KEY.replace("3U2k", ""), NoteKeyError::Key),
            (&KEY.replace("3U2k", "3U2"), NoteKeyError::Malformed),
            (&format!("{KEY}{}", "AAAA".repeat(20)), NoteKeyError::Key),
            (&format!("{KEY}\n"), NoteKeyError::Malformed),
            ("a+00000000+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NoteKeyError::Key),
        ] {
            assert_eq!(bad.parse::<NoteKey>(), Err(why), "{bad}");
        }
        assert_eq!(short.parse::<NoteKey>().map(|key| key.to_string()), Ok(short));
    }
}
