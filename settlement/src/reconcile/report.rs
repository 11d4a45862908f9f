//! What is told of a record: counts, sums and findings.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::Amount;
use partner_sdk::amount::format_units;
use partner_sdk::jws::sha256_hex;
use serde::{Deserialize, Serialize};

use super::finding::{Both, Difference, Found, Kind, Reason};
use super::matching::Message;
use super::record::Row;
use crate::render::{self, RenderError};

/// The format's name and version.
const FORMAT: &str = "points-reconciliation/1";
/// The most findings that a report lists: those that are resolved come last. The rest is counted.
pub const MAX_FINDINGS: usize = 1_000;
/// The most sums that a report lists: those that the ledger has come first. The rest is counted.
const MAX_SUMS: usize = 1_000;

const COLUMNS: [&str; 27] = [
    "finding",
    "reason",
    "likely",
    "key",
    "line",
    "other_line",
    "sequence",
    "code",
    "other_window",
    "fields",
    "record_id",
    "record_kind",
    "record_member",
    "record_programme",
    "record_points",
    "record_amount",
    "record_currency",
    "record_time",
    "ledger_id",
    "ledger_kind",
    "ledger_member",
    "ledger_programme",
    "ledger_points",
    "ledger_amount",
    "ledger_currency",
    "ledger_time",
    "resolved",
];

/// That somebody has looked at a finding and it is done with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// What was found out.
    pub note: String,
    /// When.
    pub at: Timestamp,
    /// By which certificate, as the SHA-256 of its public key.
    pub by: String,
}

/// One side of a finding, as texts; what isn't stated is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Side {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    programme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

fn text<T: ToString>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

impl From<&Row> for Side {
    fn from(row: &Row) -> Self {
        Self {
            id: text(row.id.as_deref()),
            kind: text(row.kind),
            member: text(row.member.as_deref()),
            programme: text(row.programme.as_deref()),
            points: text(row.points),
            amount: text(row.amount),
            currency: text(row.currency),
            time: text(row.at),
        }
    }
}

impl From<&Message> for Side {
    fn from(message: &Message) -> Self {
        let (amount, currency) = message.amount.unzip();
        Self {
            id: Some(message.id.to_string()),
            kind: Some(message.kind.to_string()),
            member: text(message.member.as_deref()),
            programme: text(message.programme.as_deref()),
            points: text(message.points),
            amount: text(amount),
            currency: text(currency),
            time: Some(message.at.to_string()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shown {
    key: String,
    finding: Kind,
    reason: Reason,
    likely: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_window: Option<Date>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<Resolved>,
}

/// What both sides come to of one kind, programme and currency; those that a side doesn't state are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Sum {
    kind: String,
    programme: String,
    currency: String,
    record_rows: usize,
    record_points: String,
    record_amount: String,
    ledger_messages: usize,
    ledger_points: String,
    ledger_amount: String,
}

/// How many findings of each kind there are, and how many of all are resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
struct Counts {
    matched: usize,
    different: usize,
    missing_here: usize,
    missing_there: usize,
    doubled: usize,
    resolved: usize,
}

/// What came of a record. Points and amounts of sums have six decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    format: &'static str,
    window: Date,
    record_rows: usize,
    ledger_messages: usize,
    counts: Counts,
    sums: Vec<Sum>,
    /// Sums that aren't listed.
    sums_not_listed: usize,
    findings: Vec<Shown>,
    /// Findings that aren't listed.
    not_listed: usize,
}

impl Report {
    /// The report of a window; `resolved` by the findings' keys.
    pub fn new(window: Date, both: &Both<'_>, (found, matched): (Vec<Found>, usize), resolved: &BTreeMap<String, Resolved>) -> Self {
        let mut counts = Counts {
            matched,
            ..Counts::default()
        };
        let (mut all, mut same) = (vec![], BTreeMap::<String, usize>::new());
        for one in found {
            *match one.kind {
                Kind::Different => &mut counts.different,
                Kind::MissingHere => &mut counts.missing_here,
                Kind::MissingThere => &mut counts.missing_there,
                Kind::Doubled => &mut counts.doubled,
            } += 1;
            let text = said(both, &one);
            let before = same.entry(text.clone()).or_default();
            let key = sha256_hex(format!("{text}\u{1f}{before}").as_bytes())[..32].to_owned();
            *before += 1;
            let is_resolved = resolved.contains_key(&key);
            counts.resolved += usize::from(is_resolved);
            all.push((is_resolved, one, key));
        }
        all.sort_by_key(|(is_resolved, ..)| *is_resolved);
        let not_listed = all.len().saturating_sub(MAX_FINDINGS);
        all.truncate(MAX_FINDINGS);
        let (sums, sums_not_listed) = sums(both);
        Self {
            format: FORMAT,
            window,
            record_rows: both.rows.len(),
            ledger_messages: both.messages.iter().filter(|message| message.code.is_none()).count(),
            counts,
            sums,
            sums_not_listed,
            findings: all
                .into_iter()
                .map(|(_, one, key)| shown(both, one, resolved.get(&key), key))
                .collect(),
            not_listed,
        }
    }

    /// As JSON on one line.
    pub fn json(&self) -> Result<Vec<u8>, RenderError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// The findings as CSV; no cell becomes a formula. Where there are more of them, a last row says how many.
    pub fn csv(&self) -> Result<Vec<u8>, RenderError> {
        let more = (self.not_listed > 0).then(|| {
            let mut row = vec![Cow::from(""); COLUMNS.len()];
            row[0] = "not_listed".into();
            row[2] = format!("{} more findings aren't listed: resolve some of these first.", self.not_listed).into();
            row
        });
        render::table(&COLUMNS, self.findings.iter().map(cells).chain(more))
    }
}

/// What a finding is known again by in the next record: all that it says but the lines, which move.
fn said(both: &Both<'_>, one: &Found) -> String {
    let row = one.row.map(|row| Side::from(&both.rows[row])).unwrap_or_default();
    let seq = one
        .message
        .map(|message| both.messages[message].seq)
        .or(one.elsewhere.as_ref().map(|one| one.seq));
    let mut parts = vec![
        one.kind.as_str().to_owned(),
        one.reason.as_str().to_owned(),
        text(seq).unwrap_or_default(),
    ];
    parts.extend(
        [
            row.id,
            row.kind,
            row.member,
            row.programme,
            row.points,
            row.amount,
            row.currency,
            row.time,
        ]
        .map(Option::unwrap_or_default),
    );
    parts.extend(one.differences.iter().map(|one| one.ledger.clone()));
    parts.join("\u{1f}")
}

fn shown(both: &Both<'_>, one: Found, resolved: Option<&Resolved>, key: String) -> Shown {
    let message = one.message.map(|message| &both.messages[message]);
    let elsewhere = one.elsewhere.as_ref();
    Shown {
        key,
        finding: one.kind,
        reason: one.reason,
        likely: one.reason.text(),
        line: one.row.map(|row| both.rows[row].line),
        other_line: one.other_line,
        sequence: message.map(|message| message.seq).or(elsewhere.map(|one| one.seq)),
        code: text(
            message
                .and_then(|message| message.code.as_deref())
                .or(elsewhere.and_then(|one| one.code.as_deref())),
        ),
        other_window: elsewhere.map(|one| one.window),
        differences: one.differences,
        record: one.row.map(|row| Side::from(&both.rows[row])),
        ledger: message.map(Side::from),
        resolved: resolved.cloned(),
    }
}

fn cells(one: &Shown) -> Vec<Cow<'_, str>> {
    fn side(side: Option<&Side>) -> [&str; 8] {
        let cell = |of: fn(&Side) -> &Option<String>| side.and_then(|side| of(side).as_deref()).unwrap_or("");
        [
            cell(|side| &side.id),
            cell(|side| &side.kind),
            cell(|side| &side.member),
            cell(|side| &side.programme),
            cell(|side| &side.points),
            cell(|side| &side.amount),
            cell(|side| &side.currency),
            cell(|side| &side.time),
        ]
    }
    let fields: Vec<&str> = one.differences.iter().map(|one| one.field.as_str()).collect();
    let mut cells: Vec<Cow<'_, str>> = vec![
        one.finding.as_str().into(),
        one.reason.as_str().into(),
        one.likely.into(),
        one.key.as_str().into(),
        text(one.line).unwrap_or_default().into(),
        text(one.other_line).unwrap_or_default().into(),
        text(one.sequence).unwrap_or_default().into(),
        one.code.as_deref().unwrap_or("").into(),
        text(one.other_window).unwrap_or_default().into(),
        fields.join(" ").into(),
    ];
    cells.extend(side(one.record.as_ref()).map(Cow::from));
    cells.extend(side(one.ledger.as_ref()).map(Cow::from));
    cells.push(one.resolved.as_ref().map_or("", |resolved| resolved.note.as_str()).into());
    cells
}

/// What of one kind, programme and currency comes together: how many, points and money in millionths.
type Added = [(usize, i128, i128); 2];

/// The sums that are listed, and how many aren't.
fn sums(both: &Both<'_>) -> (Vec<Sum>, usize) {
    let mut sums: BTreeMap<[String; 3], Added> = BTreeMap::new();
    let millionths = |amount: Option<Amount>| amount.map_or(0, Amount::millionths);
    let mut add = |side: usize, key: [Option<String>; 3], points: Option<Amount>, amount: Option<Amount>| {
        let (count, all_points, all_amount) = &mut sums.entry(key.map(Option::unwrap_or_default)).or_default()[side];
        // Each is below 10^24, and there are fewer than 10^6.
        *count += 1;
        *all_points += millionths(points);
        *all_amount += millionths(amount);
    };
    for row in both.rows {
        let key = [text(row.kind), text(row.programme.as_deref()), text(row.currency)];
        add(0, key, row.points, row.amount);
    }
    for message in both.messages.iter().filter(|message| message.code.is_none()) {
        let (amount, currency) = message.amount.unzip();
        let key = [Some(message.kind.to_string()), text(message.programme.as_deref()), text(currency)];
        add(1, key, message.points, amount);
    }
    let sum = |([kind, programme, currency], [record, ledger]): ([String; 3], Added)| Sum {
        kind,
        programme,
        currency,
        record_rows: record.0,
        record_points: format_units(record.1, 6),
        record_amount: format_units(record.2, 6),
        ledger_messages: ledger.0,
        ledger_points: format_units(ledger.1, 6),
        ledger_amount: format_units(ledger.2, 6),
    };
    let mut all: Vec<_> = sums.into_iter().collect();
    all.sort_by_key(|(_, [_, (messages, ..)])| *messages == 0);
    let not_listed = all.len().saturating_sub(MAX_SUMS);
    (all.into_iter().take(MAX_SUMS).map(sum).collect(), not_listed)
}
