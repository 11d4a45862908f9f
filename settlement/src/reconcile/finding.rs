//! What doesn't agree, row by row and message by message, and what is the likely reason.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use partner_sdk::{Amount, Money};
use serde::Serialize;

use super::mapping::Field;
use super::matching::{ByMember, Elsewhere, Message, Pairs, alike};
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
    let used = both.rows.iter().enumerate().filter(|(place, _)| pairs.of_row(*place).is_some());
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
            let record = row.id.as_deref()?.to_owned();
            let was_sent = by_id.is_some() || self.elsewhere.contains_key(&record);
            let reason = if was_sent { Reason::SentAgain } else { Reason::OtherId };
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
        let kind_of = |row: usize| pairs.of_row(row).map(|message| &*self.messages[message].kind);
        let near = |kind: &str| {
            let mut near = used.near(message.member.as_deref()?, message.at, self.micros()).take(LOOKED_AT);
            near.find(|row| alike(&self.rows[*row], message) && kind_of(*row) == Some(kind))
        };
        // A hold whose capture the record has is no more than that.
        if &*message.kind == "authorise" && near("capture").is_some() {
            return None;
        }
        let twin = near(&message.kind);
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

/// What a row and its message say otherwise; times aside. Figures that the ledger doesn't state are none to compare: e.g. an issuer's own earn comes to nothing on its statement.
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
        .filter(|(field, _, ledger)| ledger.is_some() || !matches!(field, Field::Points | Field::Amount | Field::Currency))
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

#[cfg(test)]
mod tests {
    use partner_sdk::Currency;

    use super::super::matching::pairs;
    use super::*;

    fn time(minute: u32) -> Timestamp {
        format!("2026-11-20T08:{minute:02}:00Z").parse().expect("a time")
    }

    fn message(seq: i64, kind: &str, minute: u32) -> Message {
        Message {
            seq,
            id: format!("m{seq}").into(),
            kind: kind.into(),
            member: Some("1".into()),
            programme: Some("YUU".into()),
            points: Amount::parse("100").ok(),
            reversed: None,
            amount: Some((Amount::parse("1.5").expect("an amount"), Currency::new("HKD").expect("a currency"))),
            at: time(minute),
            code: None,
        }
    }

    /// A row without a kind.
    fn row(id: Option<&str>, minute: u32) -> Row {
        Row {
            line: 2,
            id: id.map(Into::into),
            member: Some("1".into()),
            points: Amount::parse("100").ok(),
            at: Some(time(minute)),
            ..Row::default()
        }
    }

    /// What is found: the row of it, the message's number, and the reason.
    fn found(rows: &[Row], messages: &[Message], elsewhere: &BTreeMap<String, Elsewhere>) -> Vec<(Option<usize>, Option<i64>, Reason)> {
        let both = Both {
            rows,
            messages,
            elsewhere,
            window: (None, "2026-11-20T16:00:00Z".parse().expect("a time")),
            tolerance: 600,
        };
        let (found, _) = find(&both, &pairs(rows, messages, elsewhere, 600).expect("few"));
        let one = |one: Found| (one.row, one.message.map(|message| messages[message].seq), one.reason);
        found.into_iter().map(one).collect()
    }

    #[test]
    fn what_takes_back_or_holds_is_not_sent_twice() {
        let none = BTreeMap::new();
        for kind in ["reverse", "void"] {
            let messages = [message(1, "earn", 0), message(2, kind, 1)];
            for row in [row(Some("m1"), 0), row(None, 1)] {
                assert_eq!(found(&[row], &messages, &none), [(None, Some(2), Reason::Reversal)], "{kind}");
            }
        }
        // The hold is nearer; the row is about its capture.
        let messages = [message(1, "authorise", 0), message(2, "capture", 5)];
        assert_eq!(found(&[row(None, 0)], &messages, &none), []);
        assert_eq!(found(&[row(Some("m2"), 0)], &messages, &none), []);
        assert_eq!(found(&[row(None, 0)], &messages[..1], &none), []);
        // Of another kind it is another, of the same kind the same.
        let messages = [message(1, "earn", 0), message(2, "burn", 1), message(3, "earn", 1)];
        let expected = [(None, Some(2), Reason::NotRecorded), (None, Some(3), Reason::SentTwice)];
        assert_eq!(found(&[row(Some("m1"), 0)], &messages, &none), expected);
    }

    #[test]
    fn an_id_of_another_window_is_no_guess() {
        let of = |code: Option<&str>| {
            let one = Elsewhere {
                seq: 0,
                window: "2026-11-19".parse().expect("a date"),
                code: code.map(Into::into),
            };
            BTreeMap::from([("old".to_owned(), one)])
        };
        let (rows, messages) = ([row(Some("old"), 0)], [message(1, "earn", 0)]);
        let expected = [(Some(0), None, Reason::OtherWindow), (None, Some(1), Reason::NotRecorded)];
        assert_eq!(found(&rows, &messages, &of(None)), expected);
        // What was rejected there may have been sent again here.
        assert_eq!(found(&rows, &messages, &of(Some("stale"))), [(Some(0), Some(1), Reason::SentAgain)]);
    }

    #[test]
    fn figures_that_the_ledger_does_not_state_are_not_compared() {
        let bare = Message {
            points: None,
            amount: None,
            ..message(1, "prepay", 0)
        };
        let stated = Row {
            amount: Amount::parse("7").ok(),
            currency: Currency::new("HKD").ok(),
            ..row(Some("m1"), 0)
        };
        assert_eq!(found(std::slice::from_ref(&stated), &[bare], &BTreeMap::new()), []);
        // An issuer's own earn: by its points alone, also without an id.
        let own = [Message {
            amount: None,
            ..message(1, "earn", 0)
        }];
        for id in [None, Some("m1".into())] {
            assert_eq!(found(&[Row { id, ..stated.clone() }], &own, &BTreeMap::new()), []);
        }
        let other = Amount::parse("101").ok();
        let differs = found(&[Row { points: other, ..stated }], &own, &BTreeMap::new());
        assert_eq!(differs, [(Some(0), Some(1), Reason::Differs)]);
    }
}
