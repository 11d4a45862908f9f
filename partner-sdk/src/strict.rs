//! JSON as the wire allows it: one object, every key once, every value a string. Two levels deep is an error, and so is a number, so
//! that neither depth nor float can be smuggled in.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};

/// What is wrong with a JSON object, and at which field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// Not a JSON object, or bytes after it.
    #[error("not a single JSON object")]
    Syntax,
    /// A key stands twice.
    #[error("field `{0}` stands twice")]
    Duplicate(String),
    /// A key that doesn't belong here.
    #[error("field `{0}` is unknown here")]
    Unknown(String),
    /// A key that has to be there.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A value that isn't a string, or isn't what the field takes.
    #[error("field `{field}`: {why}")]
    Value {
        /// The field's key.
        field: String,
        /// What it has to be.
        why: String,
    },
}

impl StrictError {
    /// The field at fault, where one is.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Syntax => None,
            Self::Duplicate(field) | Self::Unknown(field) | Self::Value { field, .. } => Some(field),
            Self::Missing(field) => Some(field),
        }
    }
}

/// The most keys that an object may have; more is refused before any is looked at.
const MAX_FIELDS: usize = 32;

/// The fields of an object that haven't been taken yet. Not `Debug`: values may be member numbers.
#[derive(Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads one object of strings and refuses whatever else the bytes hold.
    pub fn parse(bytes: &[u8]) -> Result<Self, StrictError> {
        let mut fault = None;
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let fields = reader.deserialize_map(Reader { fault: &mut fault });
        match (fault, fields, reader.end()) {
            (Some(fault), _, _) => Err(fault),
            (None, Ok(fields), Ok(())) => Ok(fields),
            _ => Err(StrictError::Syntax),
        }
    }

    /// Takes a field that may be absent.
    pub fn optional(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes a field and reads it as a `T`.
    pub fn take<T: std::str::FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Result<T, StrictError> {
        self.maybe(key)?.ok_or(StrictError::Missing(key))
    }

    /// Takes a field that may be absent and reads it as a `T`.
    pub fn maybe<T: std::str::FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Result<Option<T>, StrictError> {
        let Some(text) = self.optional(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|e: T::Err| StrictError::Value {
            field: key.into(),
            why: e.to_string(),
        })
    }

    /// Takes whatever is left, in the order of the keys.
    pub fn rest(mut self) -> Vec<(String, String)> {
        self.0.sort_unstable();
        self.0
    }

    /// Refuses whatever wasn't taken.
    pub fn finish(mut self) -> Result<(), StrictError> {
        self.0.sort_unstable();
        self.0.into_iter().next().map_or(Ok(()), |(key, _)| Err(StrictError::Unknown(key)))
    }
}

struct Reader<'a> {
    fault: &'a mut Option<StrictError>,
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
        let mut fields: Vec<(String, String)> = Vec::with_capacity(12);
        while let Some(key) = map.next_key::<String>()? {
            if fields.iter().any(|(known, _)| *known == key) {
                *self.fault = Some(StrictError::Duplicate(key));
                return Err(de::Error::custom("duplicate"));
            }
            if fields.len() == MAX_FIELDS {
                return Err(de::Error::custom("too many fields"));
            }
            // Until the value is read as a string, it is the fault; whatever lies below the first level isn't looked at.
            *self.fault = Some(StrictError::Value {
                field: key.clone(),
                why: "must be a string".into(),
            });
            let value = map.next_value::<String>()?;
            *self.fault = None;
            fields.push((key, value));
        }
        Ok(Fields(fields))
    }
}

/// Writes an object of strings, in the order given: what the SDK signs.
pub fn write_object<'a>(fields: impl IntoIterator<Item = (&'a str, std::borrow::Cow<'a, str>)>) -> String {
    let mut text = String::with_capacity(256);
    for (key, value) in fields {
        text.push(if text.is_empty() { '{' } else { ',' });
        // A string always serializes.
        text.push_str(&serde_json::to_string(key).unwrap_or_default());
        text.push(':');
        text.push_str(&serde_json::to_string(&value).unwrap_or_default());
    }
    text.push_str(if text.is_empty() { "{}" } else { "}" });
    text
}

/// The same in canonical form (RFC 8785): the keys in order.
pub fn write_canonical<'a>(mut fields: Vec<(&'a str, std::borrow::Cow<'a, str>)>) -> String {
    fields.sort_by(|x, y| x.0.encode_utf16().cmp(y.0.encode_utf16()));
    write_object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> StrictError {
        Fields::parse(json.as_bytes()).map(|_| ()).expect_err(json)
    }

    #[test]
    fn only_a_flat_object_of_strings_passes() {
        assert!(Fields::parse(br#" {"a":"1","b":"\u0041"} "#).is_ok());
        assert_eq!(fault(r#"{"a":"1","a":"1"}"#), StrictError::Duplicate("a".into()));
        assert_eq!(fault(r#"{"a":"1","\u0061":"1"}"#), StrictError::Duplicate("a".into()));
        for value in [
            "1",
            "1.5",
            "true",
            "null",
            "[]",
            "{}",
            r#"["x"]"#,
            &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            assert_eq!(fault(&format!(r#"{{"points":{value}}}"#)).field(), Some("points"));
        }
        for bad in ["", "[]", r#""a""#, r#"{"a":"1"} x"#, r#"{"a":"1"}{"#, r#"{"a":"1""#] {
            assert_eq!(fault(bad), StrictError::Syntax, "{bad}");
        }
    }

    #[test]
    fn what_is_not_taken_is_unknown() {
        let mut fields = Fields::parse(br#"{"a":"1","b":"2"}"#).expect("good");
        assert_eq!(fields.take::<u32>("a"), Ok(1));
        assert_eq!(fields.take::<u32>("z"), Err(StrictError::Missing("z")));
        assert_eq!(fields.finish(), Err(StrictError::Unknown("b".into())));
    }
}
