//! What keeps a document's hash from telling what it says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::jws::to_hex;

/// 128 random bits that stand in every signed document, made by whoever proposes it: hashes of documents are shown to others than their parties, and without it
/// price and fee could be guessed from one. As text, 32 digits of lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt([u8; 16]);

impl Salt {
    /// No salt: for terms that aren't signed, as in a sandbox's network file. No signed document is taken with it.
    pub const NONE: Self = Self([0; 16]);

    /// Sixteen bytes, which have to be random.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl Default for Salt {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever has it can guess the rest.
        f.write_str("Salt")
    }
}

impl FromStr for Salt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "must be 128 random bits, as 32 digits of lower-case hexadecimal";
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(|number| Self(number.to_be_bytes())).ok_or(wrong)
    }
}

impl TryFrom<String> for Salt {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        salt.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_has_one_form() {
        let text = "00112233445566778899aabbccddeeff";
        let salt: Salt = text.parse().expect("a salt");
        assert_eq!((salt.to_string(), salt.is_none()), (text.to_owned(), false));
        for bad in ["", "0011", &text.to_uppercase(), &format!("+{}", &text[1..]), &format!("{text}0")] {
            assert!(bad.parse::<Salt>().is_err(), "{bad}");
        }
        assert!(format!("{salt:?}").find("ff").is_none());
    }
}
