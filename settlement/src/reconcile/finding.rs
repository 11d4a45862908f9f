//! What doesn't agree, row by row and message by message, and what is the likely reason.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use partner_sdk::{Amount, Money};
use serde::Serialize;

use super::mapping::Field;
use super::matching::{ByMember, Message, Pairs, alike};
use super::record::Row;

/// How near a cut-off something is likely to have gone to the other window.
const NEAR: SignedDuration = SignedDuration::from_hours(1);

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Both have it, and not the same.
    Different,
    /// The record has it, the window hasn't.
    MissingHere,
    /// The window has it, the record hasn't.
    MissingThere,
    /// One has once what the other has twice.
    Doubled,
}

impl Kind {
    /// As it stands in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::MissingHere => "missing_here",
            Self::MissingThere => "missing_there",
            Self::Doubled => "doubled",
        }
    }
}

macro_rules! reasons {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        /// Why that is likely so.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $(#[doc = $text] $name,)*
        }

        impl Reason {
            /// The code, which stays.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// In a sentence.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    Differs = "differs", "Both have it under this id, and what they say differs.";
    Reversed = "reversed", "The record has what is left after a reversal.";
    Scaled = "scaled", "The points differ by a power of ten: the record counts in another unit.";
    Rounded = "rounded", "The record has the amount rounded to the currency's smallest unit.";
    OtherId = "other_id", "Member, figures and time agree, the ids don't: the till's id isn't the message's.";
    SentAgain = "sent_again", "The message of this id was rejected, and what it was about was sent again under another id.";
    Rejected = "rejected", "The message was rejected; `code` says why.";
    OtherWindow = "other_window", "The message belongs to another window.";
    NearCutOff = "near_cut_off", "It is within an hour of the window's opening or cut-off: likely it is in the window, or the record of the day, beside this one.";
    OutsideWindow = "outside_window", "Its time is outside of this window.";
    NeverArrived = "never_arrived", "There is no such message: it was never sent, or never arrived.";
    Reversal = "reversal", "It takes back another message, and the record doesn't know of it.";
    NotRecorded = "not_recorded", "The record lacks it: another till sent it, or the record was made too early.";
    IdTwice = "id_twice", "The record has this id on more than one line.";
    RecordedTwice = "recorded_twice", "The record has without an id what another line says too.";
    SentTwice = "sent_twice", "A message much like it matched a line already: likely it was sent twice, under two ids.";
}

/// A figure or word that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Of which field.
    pub field: Field,
    /// In the record.
    pub record: String,
    /// In the ledger; empty where it states none.
    pub ledger: String,
}

/// One finding: of a row, of a message, or of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// The row's place.
    pub row: Option<usize>,
    /// The line of another row that is meant.
    pub other_line: Option<u64>,
    /// The message's place.
    pub message: Option<usize>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// The code of a rejection in another window, and that window.
    pub elsewhere: Option<Elsewhere>,
}

/// A message of the partner's in another window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its place in the ledger.
    pub seq: i64,
    /// The window.
    pub window: Date,
    /// Why it was rejected.
    pub code: Option<Box<str>>,
}

/// What is held against each other.
#[derive(Debug, Clone, Copy)]
pub struct Both<'a> {
    /// The record.
    pub rows: &'a [Row],
    /// The messages that the partner sent in the window, by number.
    pub messages: &'a [Message],
    /// Messages of other windows, by id.
    pub elsewhere: &'a BTreeMap<String, Elsewhere>,
    /// When the window opened, where one was before it, and when it is due to close.
    pub window: (Option<Timestamp>, Timestamp),
    /// How far times may be apart, in seconds.
    pub tolerance: i64,
}

/// All findings, those of rows by line first, then those of messages by number; and how many rows have their message, as it is.
pub fn find(both: &Both<'_>, pairs: &Pairs) -> (Vec<Found>, usize) {
    let (mut found, mut matched) = (vec![], 0);
    let taken = both.messages.iter().enumerate().filter(|(place, _)| pairs.rows[*place].is_some());
    let taken = ByMember::new(taken.filter_map(|(place, message)| Some((message.member.as_deref()?, message.at, place))));
    for place in 0..both.rows.len() {
        match both.row(place, pairs, &taken) {
            Some(one) => found.push(one),
            None => matched += 1,
        }
    }
    let used = both
        .rows
        .iter()
        .enumerate()
        .filter(|(place, _)| pairs.by_id[*place].or(pairs.near[*place]).is_some());
    let used = ByMember::new(used.filter_map(|(place, row)| Some((row.member.as_deref()?, row.at?, place))));
    found.extend((0..both.messages.len()).filter_map(|place| both.message(place, pairs, &used)));
    (found, matched)
}

/// The most of a member's that are looked at for one that is much alike.
const LOOKED_AT: usize = 64;

impl Both<'_> {
    fn row(&self, place: usize, pairs: &Pairs, taken: &ByMember<'_>) -> Option<Found> {
        let row = &self.rows[place];
        let found = |kind, reason, message| Found {
            kind,
            reason,
            row: Some(place),
            other_line: None,
            message,
            differences: vec![],
            elsewhere: None,
        };
        if let Some(before) = pairs.twice[place] {
            return Some(Found {
                other_line: Some(self.rows[before].line),
                ..found(Kind::Doubled, Reason::IdTwice, None)
            });
        }
        let (by_id, near) = (pairs.by_id[place], pairs.near[place]);
        if let Some(message) = near {
            let reason = if by_id.is_some() { Reason::SentAgain } else { Reason::OtherId };
            let record = row.id.as_deref()?.to_owned();
            let ledger = self.messages[message].id.to_string();
            return Some(Found {
                differences: vec![difference(Field::Id, record, ledger)],
                ..found(Kind::Different, reason, near)
            });
        }
        if let Some(message) = by_id.map(|message| &self.messages[message]) {
            if message.code.is_some() {
                return Some(found(Kind::MissingHere, Reason::Rejected, by_id));
            }
            let differences = differences(row, message);
            let reason = why_different(row, message, &differences);
            return (!differences.is_empty()).then_some(Found {
                differences,
                ..found(Kind::Different, reason, by_id)
            });
        }
        if let Some(elsewhere) = row.id.as_deref().and_then(|id| self.elsewhere.get(id)) {
            let reason = if elsewhere.code.is_some() {
                Reason::Rejected
            } else {
                Reason::OtherWindow
            };
            return Some(Found {
                elsewhere: Some(elsewhere.clone()),
                ..found(Kind::MissingHere, reason, None)
            });
        }
        if let (None, Some(member), Some(at)) = (&row.id, row.member.as_deref(), row.at) {
            let mut near = taken.near(member, at, self.micros()).take(LOOKED_AT);
            if let Some(message) = near.find(|message| alike(row, &self.messages[*message])) {
                return Some(Found {
                    other_line: pairs.rows[message].map(|other| self.rows[other].line),
                    ..found(Kind::Doubled, Reason::RecordedTwice, Some(message))
                });
            }
        }
        Some(found(
            Kind::MissingHere,
            row.at.and_then(|at| self.edge(at)).unwrap_or(Reason::NeverArrived),
            None,
        ))
    }

    fn message(&self, place: usize, pairs: &Pairs, used: &ByMember<'_>) -> Option<Found> {
        let message = &self.messages[place];
        // What was rejected or only offered moved nothing: a record needn't have it.
        if pairs.rows[place].is_some() || message.code.is_some() || &*message.kind == "quote" {
            return None;
        }
        let twin = message.member.as_deref().and_then(|member| {
            let mut near = used.near(member, message.at, self.micros()).take(LOOKED_AT);
            near.find(|row| alike(&self.rows[*row], message))
        });
        let (kind, reason) = match &*message.kind {
            _ if twin.is_some() => (Kind::Doubled, Reason::SentTwice),
            "reverse" | "void" => (Kind::MissingThere, Reason::Reversal),
            _ if self.edge(message.at) == Some(Reason::NearCutOff) => (Kind::MissingThere, Reason::NearCutOff),
            _ => (Kind::MissingThere, Reason::NotRecorded),
        };
        Some(Found {
            kind,
            reason,
            row: None,
            other_line: twin.map(|row| self.rows[row].line),
            message: Some(place),
            differences: vec![],
            elsewhere: None,
        })
    }

    fn micros(&self) -> i64 {
        self.tolerance.saturating_mul(1_000_000)
    }

    /// What a time says of something that isn't found, where it is at an end of the window or beyond.
    fn edge(&self, at: Timestamp) -> Option<Reason> {
        let (opened, cut_off) = self.window;
        let is_near = |edge: Timestamp| at.duration_since(edge).abs() <= NEAR;
        match opened.is_some_and(is_near) || is_near(cut_off) {
            true => Some(Reason::NearCutOff),
            false => (at > cut_off || opened.is_some_and(|opened| at < opened)).then_some(Reason::OutsideWindow),
        }
    }
}

fn difference(field: Field, record: String, ledger: String) -> Difference {
    Difference { field, record, ledger }
}

/// What a row and its message say otherwise; times aside.
fn differences(row: &Row, message: &Message) -> Vec<Difference> {
    fn text<T: ToString>(value: Option<T>) -> Option<String> {
        value.map(|value| value.to_string())
    }
    let (amount, currency) = message.amount.unzip();
    let stated = [
        (Field::Kind, text(row.kind), Some(message.kind.to_string())),
        (Field::Member, text(row.member.as_deref()), text(message.member.as_deref())),
        (Field::Programme, text(row.programme.as_deref()), text(message.programme.as_deref())),
        (Field::Points, text(row.points), text(message.points)),
        (Field::Amount, text(row.amount), text(amount)),
        (Field::Currency, text(row.currency), text(currency)),
    ];
    let stated = stated
        .into_iter()
        .filter_map(|(field, record, ledger)| Some((field, record?, ledger.unwrap_or_default())));
    let different = stated.filter(|(_, record, ledger)| record != ledger);
    different.map(|(field, record, ledger)| difference(field, record, ledger)).collect()
}

fn why_different(row: &Row, message: &Message, differences: &[Difference]) -> Reason {
    let is_only = |field| differences.iter().all(|one| one.field == field);
    if let (Some(record), Some(ledger)) = (row.points, message.points)
        && record != ledger
    {
        let left = message.reversed.map(|reversed| ledger.millionths() - reversed.millionths());
        return match () {
            () if left == Some(record.millionths()) => Reason::Reversed,
            () if is_only(Field::Points) && is_scaled(record, ledger) => Reason::Scaled,
            () => Reason::Differs,
        };
    }
    match (row.amount, message.amount) {
        (Some(record), Some((ledger, currency))) if is_only(Field::Amount) => {
            let rounded = ledger.to_units(6).ok().map(|micros| Money(micros).round_to_minor(currency).0);
            match rounded.is_some_and(|rounded| record.to_units(6) == Ok(rounded.0)) {
                true => Reason::Rounded,
                false => Reason::Differs,
            }
        }
        _ => Reason::Differs,
    }
}

fn is_scaled(one: Amount, other: Amount) -> bool {
    let (less, more) = (one.min(other).millionths(), one.max(other).millionths());
    less > 0 && (1..=6).any(|power| less * 10i128.pow(power) == more)
}
