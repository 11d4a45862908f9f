//! Which row of a record is which message: by id, then by member, points or amount, and time.

use std::collections::HashMap;

use jiff::Timestamp;
use partner_sdk::{Amount, Currency};

use super::record::Row;
use super::sheet::RecordError;

/// The most pairs of a row and a message that are looked at, and that could be.
const MAX_LOOKED_AT: usize = 20_000_000;
const MAX_ALIKE: usize = 1_000_000;

/// A message of the partner's, as far as a record may state it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its place in the ledger.
    pub seq: i64,
    /// Its id.
    pub id: Box<str>,
    /// Its kind.
    pub kind: Box<str>,
    /// The member whose points it moved.
    pub member: Option<Box<str>>,
    /// The programme of these.
    pub programme: Option<Box<str>>,
    /// How many.
    pub points: Option<Amount>,
    /// What of them was reversed since.
    pub reversed: Option<Amount>,
    /// What it comes to on the partner's statement, without a sign; none where it stands there in several currencies or not at all.
    pub amount: Option<(Amount, Currency)>,
    /// When it was posted.
    pub at: Timestamp,
    /// Why it was rejected.
    pub code: Option<Box<str>>,
}

/// Who is whose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairs {
    /// For each row, the message of its id.
    pub by_id: Vec<Option<usize>>,
    /// For each row, an earlier one of the same id.
    pub twice: Vec<Option<usize>>,
    /// For each row, the message that was found without an id.
    pub near: Vec<Option<usize>>,
    /// For each message, its row.
    pub rows: Vec<Option<usize>>,
}

/// Whether a row may be about a message, as far as both say; times aside.
pub fn alike(row: &Row, message: &Message) -> bool {
    fn fits<T: PartialEq + ?Sized>(row: Option<&T>, message: Option<&T>) -> bool {
        row.is_none_or(|row| message == Some(row))
    }
    row.member.is_some()
        && row.member == message.member
        && (row.points.is_some() || row.amount.is_some())
        && fits(row.kind, Some(&*message.kind))
        && fits(row.programme.as_deref(), message.programme.as_deref())
        && fits(row.points.as_ref(), message.points.as_ref())
        && fits(row.amount.as_ref(), message.amount.as_ref().map(|(amount, _)| amount))
        && fits(row.currency.as_ref(), message.amount.as_ref().map(|(_, currency)| currency))
}

/// How far two times are apart, in microseconds.
pub fn apart(one: Timestamp, other: Timestamp) -> i64 {
    one.as_microsecond().abs_diff(other.as_microsecond()).try_into().unwrap_or(i64::MAX)
}

/// Accepted messages of each member in the order of time, so that those near an instant are found.
pub struct ByMember<'a>(HashMap<&'a str, Vec<(Timestamp, usize)>>);

impl<'a> ByMember<'a> {
    /// Of what has a member and a time, by its place.
    pub fn new(all: impl Iterator<Item = (&'a str, Timestamp, usize)>) -> Self {
        let mut of: HashMap<&str, Vec<(Timestamp, usize)>> = HashMap::new();
        for (member, at, place) in all {
            of.entry(member).or_default().push((at, place));
        }
        of.values_mut().for_each(|all| all.sort_unstable());
        Self(of)
    }

    /// The places of a member's from some microseconds before an instant until as many after it, in the order of time.
    pub fn near(&self, member: &str, at: Timestamp, micros: i64) -> impl Iterator<Item = usize> + '_ {
        let all = self.0.get(member).map_or(&[][..], Vec::as_slice);
        let from = all.partition_point(|(one, _)| *one < at && apart(*one, at) > micros);
        all[from..]
            .iter()
            .take_while(move |(one, _)| apart(*one, at) <= micros)
            .map(|(_, place)| *place)
    }
}

/// Pairs rows with messages, at most one with one. `tolerance` in seconds is how far times may be apart where there is no id in common; the nearest go together first, of equally near ones those of
/// the earlier line and then of the lower number. Messages are in the order of their numbers, each id once.
pub fn pairs(rows: &[Row], messages: &[Message], tolerance: i64) -> Result<Pairs, RecordError> {
    let mut pairs = Pairs {
        by_id: vec![None; rows.len()],
        twice: vec![None; rows.len()],
        near: vec![None; rows.len()],
        rows: vec![None; messages.len()],
    };
    let of_id: HashMap<&str, usize> = messages.iter().enumerate().map(|(place, message)| (&*message.id, place)).collect();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (place, row) in rows.iter().enumerate() {
        let Some(id) = row.id.as_deref() else { continue };
        if let Some(before) = seen.get(id) {
            pairs.twice[place] = Some(*before);
            continue;
        }
        seen.insert(id, place);
        pairs.by_id[place] = of_id.get(id).copied();
        if let Some(message) = pairs.by_id[place] {
            pairs.rows[message] = Some(place);
        }
    }
    pair_by_time(rows, messages, tolerance.saturating_mul(1_000_000), &mut pairs)?;
    Ok(pairs)
}

fn pair_by_time(rows: &[Row], messages: &[Message], micros: i64, pairs: &mut Pairs) -> Result<(), RecordError> {
    let free = messages
        .iter()
        .enumerate()
        .filter(|(place, message)| message.code.is_none() && pairs.rows[*place].is_none());
    let free = ByMember::new(free.filter_map(|(place, message)| Some((message.member.as_deref()?, message.at, place))));
    let (mut looked_at, mut found) = (0, vec![]);
    for (place, row) in rows.iter().enumerate() {
        let was_taken = pairs.by_id[place].is_some_and(|message| messages[message].code.is_none());
        let (Some(member), Some(at), false) = (row.member.as_deref(), row.at, was_taken || pairs.twice[place].is_some()) else {
            continue;
        };
        for message in free.near(member, at, micros) {
            looked_at += 1;
            if alike(row, &messages[message]) {
                found.push((apart(messages[message].at, at), place, message));
            }
            if looked_at > MAX_LOOKED_AT || found.len() > MAX_ALIKE {
                return Err(RecordError::TooAlike);
            }
        }
    }
    found.sort_unstable();
    for (_, row, message) in found {
        if pairs.near[row].is_none() && pairs.rows[message].is_none() {
            (pairs.near[row], pairs.rows[message]) = (Some(message), Some(row));
        }
    }
    Ok(())
}

impl Pairs {
    /// Rows for which no message was found.
    pub fn unknown(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.by_id.len()).filter(|row| self.by_id[*row].or(self.near[*row]).or(self.twice[*row]).is_none())
    }
}
