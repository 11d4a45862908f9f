//! Texts that people write and others read: names and reasons. They are one line, and hold nothing that a reader doesn't see: a control character could
//! forge a line of a log or move a terminal, a bidirectional or invisible one could make a text look like another.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Deserializer, Serialize};

/// The longest name, in characters.
pub const MAX_NAME: usize = 100;
/// The longest reason, in characters.
pub const MAX_REASON: usize = 500;

/// What a reader doesn't see, in order: of Unicode 16 the format characters (Cf), the line and paragraph separators, and whatever else is ignored where it is
/// shown (Default_Ignorable_Code_Point, for example variation selectors and fillers), and the Braille blank. Codes that never are characters come on top. <https://www.unicode.org/Public/16.0.0/ucd/DerivedCoreProperties.txt>
const UNSEEN: [(u32, u32); 27] = [
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x0600, 0x0605),
    (0x061C, 0x061C),
    (0x06DD, 0x06DD),
    (0x070F, 0x070F),
    (0x0890, 0x0891),
    (0x08E2, 0x08E2),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFDD0, 0xFDEF),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
];

/// Whether a character is one that a reader sees, or a space within a line.
pub fn is_plain(c: char) -> bool {
    let at = u32::from(c);
    // Most texts are ASCII.
    let seen = || match UNSEEN.binary_search_by(|(first, _)| first.cmp(&at)) {
        Ok(_) => false,
        Err(place) => place == 0 || UNSEEN.get(place - 1).is_none_or(|(_, last)| at > *last),
    };
    !c.is_control() && (c.is_ascii() || (at & 0xFFFE != 0xFFFE && seen()))
}

/// A text as it may be shown: whatever isn't plain stands as an escape such as `\u{202e}`. For texts that came in before anybody looked.
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            shown.push(c);
        } else {
            shown.extend(escape(c));
        }
    }
    Cow::Owned(shown)
}

/// One character as an escape.
fn escape(c: char) -> impl Iterator<Item = char> {
    let named = match c {
        '\n' => Some(['\\', 'n']),
        '\r' => Some(['\\', 'r']),
        '\t' => Some(['\\', 't']),
        _ => None,
    };
    let number = named.is_none().then(|| c.escape_unicode());
    named.into_iter().flatten().chain(number.into_iter().flatten())
}

/// A value in a line of several: quoted wherever it isn't a plain word, so that it can't be taken for more than one.
pub fn quoted(value: &str) -> Cow<'_, str> {
    let word = |c: char| c.is_alphanumeric() || "._:-+/>%".contains(c);
    if !value.is_empty() && value.chars().all(|c| is_plain(c) && word(c)) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(format!("\"{}\"", shown(&value.replace('\\', "\\\\").replace('"', "\\\""))))
}

/// A number with its noun: `1 day`, `2 days`.
pub fn counted(n: impl Into<i128>, noun: &str) -> String {
    let n = n.into();
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// What two names have in common that a reader may take for one another: case, blanks, and the ways in which Unicode writes the same letter (its normalization
/// form KC, UAX #15) don't tell them apart.
pub fn folded(name: &str) -> String {
    let compatible = ComposingNormalizerBorrowed::new_nfkc();
    // By upper case first: only there is ß what it is read as.
    let folded = compatible.normalize(name).to_uppercase().to_lowercase();
    let words = compatible.normalize(&folded);
    words.split_whitespace().collect()
}

/// Why a text isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to {0} characters on one line, without control, bidirectional or invisible characters, and not begin or end with a blank"
)]
pub struct TextError(usize);

/// A line of 1 to `MAX` characters, all of them plain; it doesn't begin or end with a blank.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Line<const MAX: usize>(String);

/// The name of a partner or person.
pub type Name = Line<MAX_NAME>;
/// Why something was done, for the trail.
pub type Why = Line<MAX_REASON>;

impl<const MAX: usize> Line<MAX> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> FromStr for Line<MAX> {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let fits = (1..=MAX).contains(&text.chars().take(MAX + 1).count());
        if fits && text.trim() == text && text.chars().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TextError(MAX))
        }
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Line<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<const MAX: usize> fmt::Display for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// For `deserialize_with`: a [`Name`] that is kept as text.
pub fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read::<D, MAX_NAME>(deserializer, "a name")
}

/// For `deserialize_with`: a [`Why`] that is kept as text.
pub fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read::<D, MAX_REASON>(deserializer, "a reason")
}

fn read<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D, what: &str) -> Result<String, D::Error> {
    let text = <Cow<'de, str>>::deserialize(deserializer)?;
    let line: Result<Line<MAX>, _> = text.parse();
    line.map(|line| line.0)
        .map_err(|error| serde::de::Error::custom(format_args!("{what} {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each would forge a line, move a terminal, or make a text look like another.
    pub const TRICKS: [&str; 14] = [
        "a\nb",
        "a\rb",
        "a\tb",
        "a\u{0}b",
        "a\u{1b}[2Jb",
        "a\u{7f}b",
        "a\u{85}b",
        "a\u{9b}2Jb",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{200b}b",
        "a\u{2028}b",
        "a\u{feff}b",
        "a\u{e0041}b",
    ];

    #[test]
    fn a_line_holds_only_what_a_reader_sees() {
        for good in [
            "Grocer",
            "Café",
            "百佳超級市場",
            "متجر",
            "J. O'Neill-Wong",
            "e\u{301}",
            "🛒",
            "a  b",
        ] {
            assert_eq!(good.parse::<Name>().map(|name| name.to_string()), Ok(good.to_owned()));
            assert!(matches!(shown(good), Cow::Borrowed(_)));
        }
        for bad in TRICKS
            .into_iter()
            .chain(["", " ", " a", "a ", "\u{3000}a", "\u{fe0f}", &"x".repeat(101)])
        {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(500).parse::<Why>().is_ok() && "x".repeat(501).parse::<Why>().is_err());
        assert!(serde_json::from_str::<Name>(r#""a\u202eb""#).is_err() && serde_json::from_str::<Name>(r#""ab""#).is_ok());
    }

    #[test]
    fn what_is_shown_is_one_line_of_plain_characters() {
        for text in TRICKS {
            let shown = shown(text);
            assert!(shown.chars().all(is_plain) && shown.contains('\\'), "{text:?}: {shown}");
        }
        assert_eq!(shown("a\n\u{1b}[2J\u{202e}"), r"a\n\u{1b}[2J\u{202e}");
        assert_eq!(quoted("valid_from"), "valid_from");
        assert_eq!(quoted("x code=ok"), "\"x code=ok\"");
        assert_eq!(quoted("a\" by=\"b"), r#""a\" by=\"b""#);
        assert_eq!(quoted(""), "\"\"");
    }

    #[test]
    fn the_table_is_in_order_and_covers_what_the_standard_library_knows() {
        assert!(UNSEEN.is_sorted() && UNSEEN.iter().all(|(first, last)| first <= last));
        for c in [
            '\u{ad}',
            '\u{604}',
            '\u{605}',
            '\u{606}',
            '\u{200a}',
            '\u{200b}',
            '\u{200f}',
            '\u{2010}',
            '\u{206f}',
            '\u{2070}',
            '\u{10ffff}',
        ] {
            let visible = ['\u{606}', '\u{200a}', '\u{2010}', '\u{2070}'].contains(&c);
            assert_eq!(is_plain(c), visible, "{:x}", u32::from(c));
        }
    }

    #[test]
    fn numbers_have_their_nouns_and_names_their_likeness() {
        assert_eq!(
            [counted(1, "day"), counted(0, "day"), counted(2, "day")],
            ["1 day", "0 days", "2 days"]
        );
        assert_eq!(folded("  Ann  CHAN "), folded("ann chan"));
        assert_eq!(folded("An\u{3000}n Chan"), folded("Ann Chan"));
        assert_ne!(folded("ann"), folded("anna"));
        for (name, same) in [
            ("Caf\u{e9}", "Cafe\u{301}"),
            ("P\u{ff4f}\u{ff4f}l", "Pool"),
            ("Stra\u{df}e", "STRASSE"),
            ("\u{fb01}n", "Fin"),
        ] {
            assert_eq!(folded(name), folded(same));
        }
    }
}
