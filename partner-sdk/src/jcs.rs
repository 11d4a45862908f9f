//! Canonical JSON (RFC 8785, the JSON Canonicalization Scheme): one document, one sequence of bytes, so that a hash can be its name.
//!
//! Numbers are integers here: amounts travel as strings, and how a float is written is the one hard part of the scheme.

use serde::Serialize;
use serde_json::Value;

/// The largest integer that every JSON reader holds exactly (RFC 8785 section 3.2.2.3, RFC 7493 section 2.2).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why a value has no canonical form here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JcsError {
    /// A float, or an integer that not every reader holds exactly.
    #[error("a number that isn't an integer of at most 2^53 - 1")]
    Number,
    /// Not JSON at all.
    #[error("it can't be written as JSON")]
    Unwritable,
}

/// Writes a value canonically: no white space, keys in the order of their UTF-16 code units (RFC 8785 section 3.2.3).
pub fn canonical(value: &impl Serialize) -> Result<String, JcsError> {
    let value = serde_json::to_value(value).map_err(|_| JcsError::Unwritable)?;
    let mut text = String::new();
    write(&value, &mut text)?;
    Ok(text)
}

/// Reads bytes that have to be canonical already; `None` where they are anything else, such as an object with a key that stands twice.
pub fn read_canonical(bytes: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let text = canonical(&value).ok()?;
    (text.as_bytes() == bytes).then_some(value)
}

fn write(value: &Value, out: &mut String) -> Result<(), JcsError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if size.is_none_or(|size| size > MAX_INTEGER) {
                return Err(JcsError::Number);
            }
            out.push_str(&number.to_string());
        }
        Value::String(text) => write_string(text, out)?,
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
            out.push('{');
            for (place, (key, value)) in members.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_string(key, out)?;
                out.push(':');
                write(value, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// serde_json escapes exactly what RFC 8785 section 3.2.2.2 asks for, in its short forms.
fn write_string(text: &str, out: &mut String) -> Result<(), JcsError> {
    out.push_str(&serde_json::to_string(text).map_err(|_| JcsError::Unwritable)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_sorts_by_utf_16() {
        // RFC 8785 section 3.2.3.
        let text = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let value: Value = serde_json::from_str(text).expect("json");
        let sorted = canonical(&value).expect("canonical");
        let order = ["Carriage Return", "One", "Control", "Latin Small", "Euro Sign", "Emoji", "Hebrew"];
        let places = order.map(|word| sorted.find(word).expect(word));
        assert!(places.is_sorted(), "{sorted}");
    }

    #[test]
    fn strings_are_escaped_in_one_way() {
        let value = Value::String("\u{20ac}$\u{f}\nA'B\"\\\u{8}\u{c}\t\u{7f}/".into());
        assert_eq!(
            canonical(&value).expect("canonical"),
            "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\b\\f\\t\u{7f}/\""
        );
    }

    #[test]
    fn only_integers_that_everybody_holds_exactly() {
        for (text, good) in [
            ("9007199254740991", true),
            ("-9007199254740991", true),
            ("0", true),
            ("9007199254740992", false),
            ("1.5", false),
            ("1e3", false),
        ] {
            assert_eq!(
                canonical(&serde_json::from_str::<Value>(text).expect("json")).is_ok(),
                good,
                "{text}"
            );
        }
    }

    #[test]
    fn reading_takes_nothing_but_the_canonical_bytes() {
        assert!(read_canonical(br#"{"a":1,"b":["x",null,true]}"#).is_some());
        for other in [
            r#"{"b":1,"a":1}"#,
            r#"{"a": 1}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1}x"#,
            "{\"a\":\"\\u0041\"}",
            "{\"a\":1.0}",
            "{\"a\":1}\n",
            "",
        ] {
            assert_eq!(read_canonical(other.as_bytes()), None, "{other}");
        }
    }
}
