//! The rows that a group of messages changes, as plain values: what the floor writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;
use ledger::tree::Grown;
use ledger::{Lot, Posted, Posting, Signed, WorkingSet};

use Kind::{Big, Bool, Bytes, Int, Text};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Big,
    Int,
    Bool,
    Text,
    Bytes,
}

/// One value of a row.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Big(i64),
    Int(i32),
    Bool(bool),
    Text(Arc<str>),
    Bytes(Vec<u8>),
}

impl Value {
    pub fn big(&self) -> Option<i64> {
        if let Self::Big(number) = self { Some(*number) } else { None }
    }

    pub fn int(&self) -> Option<i32> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

// The tables, in the order in which they are written.
pub(super) const MESSAGE: usize = 0;
pub(super) const POSTING: usize = 1;
/// Lots that are new.
pub(super) const LOT: usize = 2;
pub(super) const SIGNED_BATCH: usize = 3;
/// Lots that were there before.
pub(super) const OLD_LOT: usize = 4;
pub(super) const ACCOUNT: usize = 5;
pub(super) const HOLDERS: usize = 6;
pub(super) const LIMIT_USE: usize = 7;
pub(super) const POSITION: usize = 8;
pub(super) const EXPOSURE: usize = 9;
pub(super) const LOG_TILE: usize = 10;
pub(super) const HEAD: usize = 11;
pub(super) const TABLES: usize = 12;

/// The columns of each: of new rows as in the table, of others first what is set and then the key.
pub(super) const COLUMNS: [&[Kind]; TABLES] = [
    &[
        Big, Text, Text, Text, Text, Big, Text, Text, Text, Text, Text, Big, Big, Text, Text, Big, Big, Int, Int, Int, Text, Text, Text,
        Text, Bool,
    ],
    &[Text, Big, Int, Text, Text, Text, Text, Big, Big, Big, Int, Big, Int],
    &[
        Big, Int, Text, Text, Int, Text, Big, Text, Bool, Bool, Big, Big, Big, Big, Big, Big, Big, Big, Big,
    ],
    &[Text, Text, Text],
    &[Big, Big, Big, Big, Big, Big, Big, Big, Int],
    &[Text, Text, Big, Big, Big, Big],
    &[Big, Text],
    &[Int, Text, Text, Big],
    &[Text, Text, Text, Text, Big],
    &[Text, Text, Big],
    &[Int, Big, Bytes],
    &[Big, Big, Big],
];

/// The values of all rows, table by table, row after row.
pub(super) struct Rows([Vec<Value>; TABLES]);

impl Rows {
    /// Those of one table.
    pub fn of_table(&self, table: usize) -> &[Value] {
        &self.0[table]
    }

    /// What a working set changed, and the tiles by which the log has grown; `None` where it changed what the bench's messages never do.
    pub fn of(set: &WorkingSet, grown: &Grown) -> Option<Self> {
        let changes = &set.changes;
        let others = changes.holds.len() + changes.quotes.len() + changes.reversals.len() + changes.late.len() + changes.pending.len();
        if others + changes.reserved.len() + changes.blocks.len() + changes.told.len() > 0 {
            return None;
        }
        let (first, mut dates) = (changes.messages.first()?.0.seq, Dates::default());
        let (mut rows, mut batches) = (Self(Default::default()), BTreeSet::new());
        for (posted, signed) in &changes.messages {
            if let Some(batch) = signed.batch.as_ref().filter(|batch| batches.insert(&batch.sha256)) {
                rows.add(SIGNED_BATCH, [text(&batch.sha256), text(&batch.sender), text(&batch.bytes)]);
            }
            rows.add(MESSAGE, message(posted, signed, dates.text(posted.window), posted.seq == first));
        }
        for one in &changes.postings {
            rows.add(POSTING, posting(one, dates.text(one.window)));
        }
        for one in changes.lots.iter().map(|key| set.lots.get(key)) {
            let one = one?;
            match one.key.seq < first {
                true => rows.add(OLD_LOT, old_lot(one)),
                false => rows.add(LOT, lot(one)),
            }
        }
        rows.add_sums(set, &dates.text(set.window))?;
        for (tile, hashes) in &grown.tiles {
            let hashes = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
            let no = i64::try_from(tile.index()).ok()?;
            rows.add(LOG_TILE, [Value::Int(tile.level().into()), Value::Big(no), Value::Bytes(hashes)]);
        }
        let head = [set.next_seq, set.now, set.next_seq - 1];
        rows.add(HEAD, head.map(Value::Big));
        Some(rows)
    }

    /// Accounts, and what is counted of them and of partners.
    fn add_sums(&mut self, set: &WorkingSet, date: &Arc<str>) -> Option<()> {
        let changes = &set.changes;
        let mut holders: BTreeMap<&str, i64> = BTreeMap::new();
        for key in &changes.accounts {
            let now = set.accounts.get(key)?;
            let more = i64::from(now.points != 0 || now.debt != 0) - i64::from(set.held_something.contains(key));
            *holders.entry(key.programme.as_str()).or_default() += more;
            let numbers = [now.points, now.debt, now.open_lots, now.lending_lots].map(Value::Big);
            self.add(
                ACCOUNT,
                [text(&key.programme), text(key.member.as_str())].into_iter().chain(numbers),
            );
        }
        for (programme, more) in holders.into_iter().filter(|(_, more)| *more != 0) {
            self.add(HOLDERS, [Value::Big(more), text(programme)]);
        }
        for key in &changes.limit_use {
            let member = key.1.as_ref().map_or("", |member| member.as_str());
            let points = Value::Big(*set.limit_use.get(key)?);
            self.add(LIMIT_USE, [Value::Int(key.0), text(member), Value::Text(date.clone()), points]);
        }
        for key in &changes.positions {
            let (debtor, creditor, currency) = key;
            let micros = Value::Big(*set.positions.get(key)?);
            let pair = [text(debtor), text(creditor), text(currency), micros];
            self.add(POSITION, [Value::Text(date.clone())].into_iter().chain(pair));
        }
        for key in &changes.exposure {
            let micros = Value::Big(*set.exposure.get(key)?);
            self.add(EXPOSURE, [text(&key.0), text(key.1), micros]);
        }
        Some(())
    }

    fn add(&mut self, table: usize, row: impl IntoIterator<Item = Value>) {
        self.0[table].extend(row);
    }
}

/// Each date's text, once.
#[derive(Default)]
struct Dates(BTreeMap<Date, Arc<str>>);

impl Dates {
    fn text(&mut self, date: Date) -> Arc<str> {
        self.0.entry(date).or_insert_with(|| date.to_string().into()).clone()
    }
}

fn text(value: impl ToString) -> Value {
    Value::Text(value.to_string().into())
}

fn may_be<T>(value: Option<T>, to: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Null, to)
}

fn message(posted: &Posted, signed: &Signed, date: Arc<str>, leads: bool) -> [Value; COLUMNS[MESSAGE].len()] {
    let moved = &posted.moved;
    let facts = match posted.facts.is_empty() {
        true => "[]".to_owned(),
        // Pairs of strings always serialize.
        false => serde_json::to_string(&posted.facts).unwrap_or_default(),
    };
    [
        Value::Big(posted.seq),
        text(&posted.sender),
        text(&posted.id),
        text(&posted.kind),
        Value::Text(date),
        Value::Big(posted.posted_at),
        may_be(posted.code, |code| text(code.as_str())),
        may_be(posted.field.as_deref(), text),
        text(facts),
        may_be(moved.account.as_ref(), |account| text(&account.programme)),
        may_be(moved.account.as_ref(), |account| text(account.member.as_str())),
        Value::Big(moved.points),
        may_be(moved.spend, Value::Big),
        may_be(moved.to_account.as_ref(), |account| text(&account.programme)),
        may_be(moved.to_account.as_ref(), |account| text(account.member.as_str())),
        Value::Big(moved.credited),
        Value::Big(moved.bonus),
        may_be(moved.agreement, Value::Int),
        may_be(moved.rate, Value::Int),
        may_be(moved.bonus_rate, Value::Int),
        may_be(signed.batch.as_ref(), |batch| text(&batch.sha256)),
        text(&posted.sha256),
        Value::Text(signed.bytes.clone()),
        may_be(posted.salt, text),
        Value::Bool(leads),
    ]
}

fn posting(posting: &Posting, date: Arc<str>) -> [Value; COLUMNS[POSTING].len()] {
    [
        Value::Text(date),
        Value::Big(posting.seq),
        Value::Int(posting.leg),
        text(posting.line.as_str()),
        text(&posting.unit),
        text(&posting.debit),
        text(&posting.credit),
        Value::Big(posting.amount),
        Value::Big(posting.points),
        Value::Big(posting.price),
        may_be(posting.agreement, Value::Int),
        may_be(posting.lot, |lot| Value::Big(lot.seq)),
        may_be(posting.lot, |lot| Value::Int(lot.leg)),
    ]
}

fn lot(lot: &Lot) -> [Value; COLUMNS[LOT].len()] {
    [
        Value::Big(lot.key.seq),
        Value::Int(lot.key.leg),
        text(&lot.account.programme),
        text(lot.account.member.as_str()),
        Value::Int(lot.agreement),
        text(&lot.funder),
        Value::Big(lot.price.0),
        text(lot.currency),
        Value::Bool(lot.at_redemption),
        Value::Bool(lot.prepaid),
        Value::Big(lot.issued),
        Value::Big(lot.remaining),
        Value::Big(lot.charged),
        Value::Big(lot.reversed),
        Value::Big(lot.expired),
        Value::Big(lot.expired_paid),
        Value::Big(lot.lent),
        Value::Big(lot.expires_at),
        Value::Big(lot.due_at),
    ]
}

fn old_lot(lot: &Lot) -> [Value; COLUMNS[OLD_LOT].len()] {
    [
        Value::Big(lot.remaining),
        Value::Big(lot.charged),
        Value::Big(lot.reversed),
        Value::Big(lot.expired),
        Value::Big(lot.expired_paid),
        Value::Big(lot.lent),
        Value::Big(lot.due_at),
        Value::Big(lot.key.seq),
        Value::Int(lot.key.leg),
    ]
}
