//! Canonical JSON, of whatever JSON can hold that has a place here.

use partner_sdk::jcs;
use serde_json::{Value, json};
use tests::load::Draw;

use super::Library;

#[test]
fn canonical_json_agrees() {
    let mut draw = Draw::new();
    let values: Vec<Value> = (0..1000).map(|_| any_value(&mut draw, 5)).collect();
    let mut case = |value| json!({"task": "canonical", "json": any_text(value, &mut draw)});
    let cases: Vec<Value> = values.iter().map(&mut case).collect();
    let ours: Vec<String> = values.iter().map(|v| jcs::canonical(v).expect("a canonical form")).collect();
    let longest = ours.iter().map(String::len).max().unwrap_or(0);
    let sorted_otherwise = values
        .iter()
        .filter(|v| v.to_string() != jcs::canonical(v).expect("a canonical form"))
        .count();
    println!(
        "the longest of {} has {longest} bytes; in {sorted_otherwise} UTF-8 would sort otherwise",
        ours.len()
    );
    assert!(longest > 1000 && sorted_otherwise > 50);
    for library in Library::ALL {
        for ((case, ours), theirs) in cases.iter().zip(&ours).zip(library.ask(&cases)) {
            assert_eq!(theirs["canonical"].as_str(), Some(ours.as_str()), "{library:?}: {case}");
            assert!(jcs::read_canonical(ours.as_bytes()).is_some(), "{ours}");
        }
    }
}

/// One of a few.
fn one_of<T: Copy>(draw: &mut Draw, few: &[T]) -> T {
    let place = usize::try_from(draw.upto(few.len() as u64) - 1).expect("small");
    few[place]
}

/// Any JSON of integers and strings, nested so deep.
pub(super) fn any_value(draw: &mut Draw, depth: usize) -> Value {
    let kinds = if depth == 0 { 5 } else { 12 };
    match draw.upto(kinds) {
        1 => Value::Null,
        2 => Value::Bool(draw.upto(2) == 1),
        3 => {
            let size = i64::try_from(jcs::MAX_INTEGER).expect("fits") >> (draw.upto(54) - 1);
            json!(size * one_of(draw, &[1, -1]))
        }
        4 | 5 => any_string(draw).into(),
        6..=8 => (0..draw.upto(6) - 1).map(|_| any_value(draw, depth - 1)).collect(),
        _ => {
            let members = (0..draw.upto(9) - 1).map(|_| (any_string(draw), any_value(draw, depth - 1)));
            Value::Object(members.collect())
        }
    }
}

/// Names that mean something to somebody.
const NAMES: [&str; 9] = ["", "__proto__", "constructor", "toString", "toJSON", "length", "10", "9", "1e1"];

fn any_string(draw: &mut Draw) -> String {
    if draw.upto(8) == 1 {
        return one_of(draw, &NAMES).to_owned();
    }
    (0..draw.upto(6) - 1).map(|_| any_char(draw)).collect()
}

/// Of every part of Unicode alike: what is escaped, what sorts otherwise in UTF-8 than in UTF-16, what breaks lines, what isn't a character.
fn any_char(draw: &mut Draw) -> char {
    let ranges = [
        (0, 0x1f),
        (0x20, 0x7e),
        (0x22, 0x22),
        (0x5c, 0x5c),
        (0x7f, 0xff),
        (0x300, 0x36f),
        (0x2028, 0x2029),
        (0x4e00, 0x9fff),
        (0xd700, 0xd7ff),
        (0xe000, 0xf8ff),
        (0xfeff, 0xfeff),
        (0xfff0, 0xffff),
        (0x1_0000, 0x1_00ff),
        (0x1_f600, 0x1_f64f),
        (0x10_ff00, 0x10_ffff),
    ];
    let (first, last) = one_of(draw, &ranges);
    let number = first + u32::try_from(draw.upto(u64::from(last - first + 1)) - 1).expect("small");
    char::from_u32(number).expect("no surrogate")
}

/// A value as anybody may write it: members in any order, white space, escapes that needn't be.
pub(super) fn any_text(value: &Value, draw: &mut Draw) -> String {
    let space = one_of(draw, &["", "", " ", "\n\t", "\r\n"]);
    let listed = |items: Vec<String>| items.join(&format!("{space},{space}"));
    match value {
        Value::String(text) => any_quoted(text, draw),
        Value::Array(items) => format!("[{space}{}]", listed(items.iter().map(|item| any_text(item, draw)).collect())),
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_cached_key(|_| draw.upto(1 << 31));
            let mut member = |(key, value): (&String, &Value)| format!("{}{space}:{}", any_quoted(key, draw), any_text(value, draw));
            format!("{{{}{space}}}", listed(members.into_iter().map(&mut member).collect()))
        }
        plain => format!("{space}{plain}"),
    }
}

fn any_quoted(text: &str, draw: &mut Draw) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        if char < ' ' || char == '"' || char == '\\' || draw.upto(4) == 1 {
            let units = char
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04X}"))
                .collect::<String>();
            quoted.push_str(&units);
        } else {
            quoted.push(char);
        }
    }
    quoted + "\""
}
