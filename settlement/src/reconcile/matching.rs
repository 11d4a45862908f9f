//! Which row of a record is which message: by id, then by member, points or amount, and time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use jiff::civil::Date;
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

/// The first so many ids of rows that no message of the window has.
pub fn unknown_ids<'a>(rows: &'a [Row], messages: &[Message], most: usize) -> BTreeSet<&'a str> {
    let known: HashSet<&str> = messages.iter().map(|message| &*message.id).collect();
    let mut unknown = BTreeSet::new();
    for id in rows.iter().filter_map(|row| row.id.as_deref()).filter(|id| !known.contains(id)) {
        if unknown.len() >= most {
            break;
        }
        unknown.insert(id);
    }
    unknown
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

/// Whether a row may be about a message, as far as both say; times aside. What takes another back is meant only where the row says so.
pub fn alike(row: &Row, message: &Message) -> bool {
    fn fits<T: PartialEq + ?Sized>(row: Option<&T>, message: Option<&T>) -> bool {
        row.is_none_or(|row| message == Some(row))
    }
    row.member.is_some()
        && row.member == message.member
        && (row.points.is_some() || row.amount.is_some() && message.amount.is_some())
        && (row.kind.is_some() || !matches!(&*message.kind, "reverse" | "void"))
        && fits(row.kind, Some(&*message.kind))
        && fits(row.programme.as_deref(), message.programme.as_deref())
        && fits(row.points.as_ref(), message.points.as_ref())
        && message
            .amount
            .is_none_or(|(amount, currency)| fits(row.amount.as_ref(), Some(&amount)) && fits(row.currency.as_ref(), Some(&currency)))
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
/// the earlier line and then of the lower number; holds come after what else a row without a kind may be about, such as their captures. Whose id was accepted in another window, as `elsewhere` says by
/// ids, is found there. Messages are in the order of their numbers, each id once.
pub fn pairs(rows: &[Row], messages: &[Message], elsewhere: &BTreeMap<String, Elsewhere>, tolerance: i64) -> Result<Pairs, RecordError> {
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
    let is_there = |row: &Row| {
        row.id
            .as_deref()
            .and_then(|id| elsewhere.get(id))
            .is_some_and(|one| one.code.is_none())
    };
    let micros = tolerance.saturating_mul(1_000_000);
    pair_by_time(rows, messages, &is_there, micros, &mut pairs)?;
    Ok(pairs)
}

fn pair_by_time(
    rows: &[Row],
    messages: &[Message],
    is_elsewhere: &dyn Fn(&Row) -> bool,
    micros: i64,
    pairs: &mut Pairs,
) -> Result<(), RecordError> {
    let free = messages
        .iter()
        .enumerate()
        .filter(|(place, message)| message.code.is_none() && pairs.rows[*place].is_none());
    let free = ByMember::new(free.filter_map(|(place, message)| Some((message.member.as_deref()?, message.at, place))));
    let (mut looked_at, mut found) = (0, vec![]);
    for (place, row) in rows.iter().enumerate() {
        let was_taken = pairs.by_id[place].is_some_and(|message| messages[message].code.is_none());
        let (Some(member), Some(at), false) = (
            row.member.as_deref(),
            row.at,
            was_taken || pairs.twice[place].is_some() || is_elsewhere(row),
        ) else {
            continue;
        };
        for message in free.near(member, at, micros) {
            looked_at += 1;
            if alike(row, &messages[message]) {
                let is_hold = row.kind.is_none() && &*messages[message].kind == "authorise";
                found.push((is_hold, apart(messages[message].at, at), place, message));
            }
            if looked_at > MAX_LOOKED_AT || found.len() > MAX_ALIKE {
                return Err(RecordError::TooAlike);
            }
        }
    }
    found.sort_unstable();
    for (.., row, message) in found {
        if pairs.near[row].is_none() && pairs.rows[message].is_none() {
            (pairs.near[row], pairs.rows[message]) = (Some(message), Some(row));
        }
    }
    Ok(())
}

impl Pairs {
    /// The message that a row goes with, be it a rejected one of its id.
    pub fn of_row(&self, row: usize) -> Option<usize> {
        self.near[row].or(self.by_id[row])
    }
}
