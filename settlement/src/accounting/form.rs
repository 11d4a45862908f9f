//! Accounting data as bytes.

use std::borrow::Cow;
use std::str::FromStr;

use rust_xlsxwriter::{DocProperties, Workbook};

use super::document::Accounting;
use super::error::AccountingError;
use super::journal::journal;
use super::sheets::tables;
use crate::export::sheet::{Cell, date_time, sheet};
use crate::render::{RenderError, table, to_json};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountingForm {
    /// Fields.
    Json,
    /// All sections in one table.
    Csv,
    /// A workbook with a sheet for each section.
    Xlsx,
    /// The roll-forward as double entries for hledger (1.25 or later).
    Hledger,
}

impl AccountingForm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Json, Self::Csv, Self::Xlsx, Self::Hledger];

    /// The name as it stands in addresses and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Hledger => "hledger",
        }
    }

    /// What its files end in.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Hledger => "journal",
            other => other.as_str(),
        }
    }

    /// The media type.
    pub fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Hledger => "text/plain; charset=utf-8",
        }
    }

    /// The bytes: the same for the same data.
    pub fn of(self, data: &Accounting) -> Result<Vec<u8>, AccountingError> {
        Ok(match self {
            Self::Json => to_json(data)?,
            Self::Csv => csv(data)?,
            Self::Xlsx => workbook(data)?,
            Self::Hledger => journal(data).into_bytes(),
        })
    }
}

impl FromStr for AccountingForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|form| form.as_str() == text);
        let names = Self::ALL.map(Self::as_str).join(", ");
        known.ok_or_else(|| format!("not a form; the forms are {names}"))
    }
}

/// One table: a row has the columns of its section, and leaves the others empty.
fn csv(of: &Accounting) -> Result<Vec<u8>, RenderError> {
    let tables = tables(of);
    let mut columns = vec!["section"];
    for (_, of_section, _) in &tables {
        let new: Vec<&str> = of_section.iter().copied().filter(|name| !columns.contains(name)).collect();
        columns.extend(new);
    }
    let mut rows = vec![];
    for (section, of_section, cells) in &tables {
        let places: Vec<usize> = of_section
            .iter()
            .filter_map(|name| columns.iter().position(|column| column == name))
            .collect();
        for cells in cells {
            let mut row = vec![Cow::Borrowed(""); columns.len()];
            row[0] = Cow::Borrowed(*section);
            for (place, cell) in places.iter().zip(cells) {
                row[*place] = match cell {
                    Cell::Text(text) | Cell::Number(text) => Cow::Borrowed(*text),
                    Cell::Count(count) => count.to_string().into(),
                    Cell::Date(date) => date.to_string().into(),
                };
            }
            rows.push(row);
        }
    }
    table(&columns, rows)
}

fn workbook(of: &Accounting) -> Result<Vec<u8>, RenderError> {
    let mut workbook = Workbook::new();
    let made = of.closing_at.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    workbook.set_properties(
        &DocProperties::new()
            .set_title(format!("Accounting data of {} for {} to {}", of.programme, of.from, of.until))
            .set_comment(&of.notice)
            .set_creation_datetime(&date_time(made)?),
    );
    for (name, columns, rows) in tables(of) {
        sheet(&mut workbook, name, columns, rows)?;
    }
    Ok(workbook.save_to_buffer()?)
}
