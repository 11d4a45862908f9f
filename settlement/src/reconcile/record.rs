//! A partner's record as rows: what each says of one message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use partner_sdk::text::is_plain;
use partner_sdk::{Amount, Currency};

use super::mapping::{Field, KINDS, Mapping, Times};
use super::sheet::{Cell, MAX_COLUMNS, MAX_FILE, MAX_ROWS, RecordError, shown};
use super::{comma, number, xlsx};

/// The longest id, member's number or programme, in bytes.
const MAX_WORD: usize = 64;

/// A row. What isn't stated isn't compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Its line, the header being 1.
    pub line: u64,
    /// The message's id.
    pub id: Option<Box<str>>,
    /// The kind, in the ledger's words.
    pub kind: Option<&'static str>,
    /// The member's number.
    pub member: Option<Box<str>>,
    /// The programme's code.
    pub programme: Option<Box<str>>,
    /// Points.
    pub points: Option<Amount>,
    /// Money on the statement.
    pub amount: Option<Amount>,
    /// Its currency.
    pub currency: Option<Currency>,
    /// When it was.
    pub at: Option<Timestamp>,
}

/// Where a cell stands: for errors.
struct At<'a> {
    line: u64,
    column: &'a str,
}

impl At<'_> {
    fn wrong(&self, why: impl Into<String>) -> RecordError {
        RecordError::Cell {
            line: self.line,
            column: shown(self.column),
            why: why.into(),
        }
    }
}

struct Reading<'a> {
    mapping: &'a Mapping,
    times: Times,
    header: Vec<String>,
    places: BTreeMap<Field, usize>,
    rows: Vec<Row>,
}

/// Reads a record: a workbook where it is one, else CSV. Rows of empty cells are left out.
pub fn read(bytes: &[u8], mapping: &Mapping) -> Result<Vec<Row>, RecordError> {
    if bytes.len() > MAX_FILE {
        return Err(RecordError::File(format!("it has more than {MAX_FILE} bytes")));
    }
    let mut reading = Reading {
        mapping,
        times: mapping.times()?,
        header: vec![],
        places: BTreeMap::new(),
        rows: vec![],
    };
    let mut sink = |line: u64, cells: &[Cell]| reading.take(line, cells);
    match bytes.starts_with(b"PK\x03\x04") {
        true => xlsx::read(bytes, &mut sink)?,
        false => comma::read(bytes, &mut sink)?,
    }
    match reading.header.is_empty() {
        true => Err(RecordError::File("it is empty: it has no header".to_owned())),
        false => Ok(reading.rows),
    }
}

impl Reading<'_> {
    fn take(&mut self, line: u64, cells: &[Cell]) -> Result<(), RecordError> {
        if self.header.is_empty() {
            let name = |cell: &Cell| match cell {
                Cell::Text(text) => text.to_string(),
                Cell::Number { text, .. } => text.clone(),
                Cell::Formula => String::new(),
            };
            self.header = cells.iter().take(MAX_COLUMNS).map(name).collect();
            self.places = self.mapping.places(&self.header)?;
            return Ok(());
        }
        if self.rows.len() >= MAX_ROWS {
            return Err(RecordError::File(format!("it has more than {MAX_ROWS} rows: send it in parts")));
        }
        let row = self.row(line, cells)?;
        self.rows.push(row);
        Ok(())
    }

    fn row(&self, line: u64, cells: &[Cell]) -> Result<Row, RecordError> {
        let mut row = Row { line, ..Row::default() };
        for (field, place) in &self.places {
            let at = At {
                line,
                column: self.header.get(*place).map_or("", String::as_str),
            };
            let Some(cell) = cells.get(*place).filter(|cell| !cell.is_empty()) else {
                continue;
            };
            if *field == Field::OccurredAt {
                row.at = Some(self.time(cell, &at)?);
                continue;
            }
            let text = text(cell, &at)?;
            match field {
                Field::Id => row.id = Some(word(text, &at)?),
                Field::Member => row.member = Some(word(text, &at)?),
                Field::Programme => row.programme = Some(word(text, &at)?),
                Field::Kind => row.kind = Some(self.kind(&text, &at)?),
                Field::Points => row.points = Some(amount(&text, &at)?),
                Field::Amount => row.amount = Some(amount(&text, &at)?),
                Field::Currency => row.currency = Some(Currency::new(&text).map_err(|error| at.wrong(error.to_string()))?),
                Field::OccurredAt => {}
            }
        }
        let by_time = row.member.is_some() && row.at.is_some() && (row.points.is_some() || row.amount.is_some());
        if row.id.is_none() && !by_time {
            let why = format!("line {line} has neither an id nor member, time and points or amount");
            return Err(RecordError::File(why));
        }
        Ok(row)
    }

    fn time(&self, cell: &Cell, at: &At<'_>) -> Result<Timestamp, RecordError> {
        let read = match cell {
            Cell::Number { text, since_1904 } => match number::time(text, *since_1904) {
                Some(local) => self.times.local(local),
                None => Err("no time of a spreadsheet".to_owned()),
            },
            _ => self.times.read(&text(cell, at)?),
        };
        read.map_err(|why| at.wrong(why))
    }

    fn kind(&self, text: &str, at: &At<'_>) -> Result<&'static str, RecordError> {
        let text = self.mapping.kinds.get(text).map_or(text, String::as_str);
        let known = KINDS.into_iter().find(|kind| kind.eq_ignore_ascii_case(text));
        known.ok_or_else(|| at.wrong("no kind of message; a mapping's `kinds` says which of the record's words is which"))
    }
}

fn text(cell: &Cell, at: &At<'_>) -> Result<String, RecordError> {
    match cell {
        Cell::Text(text) => Ok(text.to_string()),
        Cell::Number { text, .. } => number::plain(text)
            .ok_or_else(|| at.wrong("a number of more than 15 digits, of which a spreadsheet loses some: keep it as text")),
        Cell::Formula => Err(at.wrong("a formula; save the values alone")),
    }
}

fn word(text: String, at: &At<'_>) -> Result<Box<str>, RecordError> {
    match text.len() > MAX_WORD || !text.chars().all(is_plain) {
        true => Err(at.wrong(format!("longer than {MAX_WORD} bytes, or not plain"))),
        false => Ok(text.into()),
    }
}

fn amount(text: &str, at: &At<'_>) -> Result<Amount, RecordError> {
    Amount::parse(text).map_err(|error| at.wrong(error.to_string()))
}
