//! Which column of a record is what, and in which words.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use partner_sdk::text::is_plain;
use serde::{Deserialize, Serialize};

use super::sheet::{RecordError, shown};

/// The longest name, word or format in a mapping, in bytes.
const MAX_WORD: usize = 128;
/// The most words of a partner's own for kinds.
const MAX_KINDS: usize = 64;
/// The widest tolerance, in seconds: a day.
const MAX_TOLERANCE: u32 = 86_400;
/// The kinds of messages that partners send.
pub const KINDS: [&str; 11] = [
    "earn",
    "burn",
    "authorise",
    "capture",
    "void",
    "quote",
    "exchange",
    "acknowledge",
    "refuse",
    "prepay",
    "reverse",
];

/// What a column may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The message's id.
    Id,
    /// Its kind.
    Kind,
    /// The member's number.
    Member,
    /// The programme's code.
    Programme,
    /// How many points it moved.
    Points,
    /// What it comes to on the partner's statement, without a sign.
    Amount,
    /// The currency of the amount.
    Currency,
    /// When it was.
    OccurredAt,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Id,
        Self::Kind,
        Self::Member,
        Self::Programme,
        Self::Points,
        Self::Amount,
        Self::Currency,
        Self::OccurredAt,
    ];

    /// As it stands in mappings and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Kind => "kind",
            Self::Member => "member",
            Self::Programme => "programme",
            Self::Points => "points",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::OccurredAt => "occurred_at",
        }
    }

    /// What such a column is often called, in small letters and digits alone.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Id => &["id", "messageid", "msgid", "transactionid", "txnid", "txid"],
            Self::Kind => &["kind", "type", "transactiontype", "txntype"],
            Self::Member => &["member", "memberno", "membernumber", "memberid", "card", "cardno", "cardnumber"],
            Self::Programme => &["programme", "program", "programmecode", "programcode"],
            Self::Points => &["points", "pts", "pointsamount"],
            Self::Amount => &["amount", "value"],
            Self::Currency => &["currency", "ccy", "currencycode"],
            Self::OccurredAt => &["occurredat", "time", "timestamp", "datetime", "transactiontime"],
        }
    }
}

/// How times are written that name no zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalTime {
    /// As `strftime` writes it, e.g. `%d/%m/%Y %H:%M`; not needed for the times of a workbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// A zone of the IANA database, e.g. `Asia/Hong_Kong`.
    pub zone: String,
}

/// Which column is what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The columns by their names in the header; where none is named, they are guessed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<Field, String>,
    /// The record's own words for kinds, e.g. `SALE` for `earn`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, String>,
    /// How times are written; RFC 3339 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<LocalTime>,
    /// How far the times of a row and its message may be apart where no id says that they belong together, in seconds: ten minutes without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_seconds: Option<u32>,
}

fn wrong(why: impl Into<String>) -> RecordError {
    RecordError::Mapping(why.into())
}

/// Whether a format reads a zone, an offset or an instant, whatever flags, widths and colons stand before the letter.
fn has_zone(format: &str) -> bool {
    let mut rest = format;
    while let Some((_, after)) = rest.split_once('%') {
        let letter = after.trim_start_matches(|c: char| c.is_ascii_digit() || "-_^#:.".contains(c));
        if letter.starts_with(['z', 'Z', 'Q', 's']) {
            return true;
        }
        // The letter may be a `%` that stands for itself.
        let mut letters = letter.chars();
        letters.next();
        rest = letters.as_str();
    }
    false
}

impl Mapping {
    /// Reads a mapping from JSON.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let mapping: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let words = mapping.columns.values().chain(mapping.kinds.keys()).chain(mapping.kinds.values());
        if words
            .chain(mapping.time.iter().filter_map(|time| time.format.as_ref()))
            .any(|word| word.is_empty() || word.len() > MAX_WORD || !word.chars().all(is_plain))
        {
            return Err(wrong(format!("names, words and formats are plain and have 1 to {MAX_WORD} bytes")));
        }
        if mapping.kinds.len() > MAX_KINDS {
            return Err(wrong(format!("at most {MAX_KINDS} words for kinds")));
        }
        if mapping.kinds.values().any(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(wrong(format!("the kinds are {}", KINDS.join(", "))));
        }
        if mapping.tolerance_seconds.is_some_and(|seconds| seconds > MAX_TOLERANCE) {
            return Err(wrong(format!("tolerance_seconds is at most {MAX_TOLERANCE}, a day")));
        }
        if mapping.columns.values().collect::<BTreeSet<_>>().len() < mapping.columns.len() {
            return Err(wrong("a column is named twice"));
        }
        let format = mapping.time.as_ref().and_then(|time| time.format.as_deref()).unwrap_or_default();
        if has_zone(format) {
            return Err(wrong("a format has no zone or offset of its own: `zone` is what times are of"));
        }
        mapping.zone()?;
        if !mapping.columns.is_empty() {
            enough(|field| mapping.columns.contains_key(&field)).map_err(wrong)?;
        }
        Ok(mapping)
    }

    /// How far times may be apart, in seconds.
    pub fn tolerance(&self) -> i64 {
        i64::from(self.tolerance_seconds.unwrap_or(600))
    }

    fn zone(&self) -> Result<Option<TimeZone>, RecordError> {
        let zone = |time: &LocalTime| {
            TimeZone::get(&time.zone).map_err(|_| wrong("`zone` is no zone of the IANA database; one is Asia/Hong_Kong"))
        };
        self.time.as_ref().map(zone).transpose()
    }

    /// The places of the fields in a header.
    pub fn places(&self, header: &[String]) -> Result<BTreeMap<Field, usize>, RecordError> {
        let mut places = BTreeMap::new();
        for field in Field::ALL {
            let is_it = |name: &String| match self.columns.get(&field) {
                Some(column) => name.trim() == column.trim(),
                None => self.columns.is_empty() && field.names().contains(&&*plain(name)),
            };
            let mut found = header.iter().enumerate().filter(|(_, name)| is_it(name));
            match (found.next(), found.next(), self.columns.get(&field)) {
                (Some((place, _)), None, _) => drop(places.insert(field, place)),
                (Some(_), Some(_), _) => return Err(bad_header(header, format!("more than one column is `{}`", field.as_str()))),
                (None, _, Some(column)) => return Err(bad_header(header, format!("there is no column `{}`", shown(column)))),
                (None, _, None) => {}
            }
        }
        enough(|field| places.contains_key(&field)).map_err(|why| bad_header(header, why))?;
        Ok(places)
    }

    /// What reads times.
    pub fn times(&self) -> Result<Times, RecordError> {
        Ok(Times {
            format: self.time.as_ref().and_then(|time| time.format.clone()),
            zone: self.zone()?,
        })
    }
}

/// Whether the fields suffice to find a row's message.
fn enough(has: impl Fn(Field) -> bool) -> Result<(), String> {
    let by_time = has(Field::Member) && has(Field::OccurredAt) && (has(Field::Points) || has(Field::Amount));
    match has(Field::Id) || by_time {
        true => Ok(()),
        false => Err(
            "a record has a column `id`, or the columns `member`, `occurred_at` and `points` or `amount`: name them in a mapping"
                .to_owned(),
        ),
    }
}

fn plain(name: &str) -> String {
    name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect()
}

fn bad_header(header: &[String], why: String) -> RecordError {
    let found: Vec<String> = header.iter().map(|name| format!("`{}`", shown(name))).collect();
    RecordError::Header {
        why,
        found: found.join(", "),
    }
}

/// Reads times as a mapping says.
pub struct Times {
    format: Option<String>,
    zone: Option<TimeZone>,
}

impl Times {
    /// A time that is written; the error says how it has to be.
    pub fn read(&self, text: &str) -> Result<Timestamp, String> {
        let Some(format) = &self.format else {
            let read = text.parse::<Timestamp>();
            return read.map_err(|_| "no time such as 2026-11-20T10:00:00+08:00; another form is named in a mapping".to_owned());
        };
        let local = DateTime::strptime(format, text).map_err(|_| format!("no time of the form `{}`", shown(format)))?;
        self.local(local)
    }

    /// A time of the mapping's zone.
    pub fn local(&self, at: DateTime) -> Result<Timestamp, String> {
        let zone = self.zone.clone().ok_or("a workbook's time is of no zone: name one in a mapping")?;
        let zoned = at.to_zoned(zone).map_err(|_| "a time out of range".to_owned())?;
        Ok(zoned.timestamp())
    }
}
