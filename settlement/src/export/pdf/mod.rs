//! A statement of a period as PDF, to be printed and kept: A4, tagged, and archivable (PDF/A-2a). The same statement gives the same bytes: nothing is of the time or the machine that makes it.
//!
//! `words` has what is said, `sections` what stands where, `table` and `chart` how it is set, `page` the pages and their structure, `text` the font.

#![allow(
    clippy::float_arithmetic,
    reason = "places on a page and lengths of bars; money stands as the statement writes it"
)]

mod chart;
mod page;
mod sections;
mod table;
mod text;
mod words;

use krilla::configure::{Configuration, Validator};
use krilla::metadata::{DateTime, Metadata};
use krilla::{Document, SerializeSettings};

pub use words::Language;

use self::page::{Running, Sheet};
use self::text::Face;
use super::error::ExportError;
use crate::period::PeriodStatement;

/// The statement as PDF/A-2a. It has all that PDF/UA-1 asks for as well, but a file is marked as one of them.
pub fn pdf(statement: &PeriodStatement, language: Language) -> Result<Vec<u8>, ExportError> {
    marked(statement, language, Validator::A2_A)
}

/// The statement, held to a standard and marked as of it.
fn marked(statement: &PeriodStatement, language: Language, standard: Validator) -> Result<Vec<u8>, ExportError> {
    let words = language.words();
    let mut sheet = Sheet::new(Face::new()?);
    sections::all(&mut sheet, words, statement);
    let period = words.period(statement.from, statement.until);
    let title = format!("{}{}{period}", words.titled(statement.partner.as_str()), words.comma);
    let running = Running {
        head: title.clone(),
        foot: format!(
            "{} | {}{}{}",
            words.issuer_name,
            words.cut_off,
            words.colon,
            words.time(statement.cut_off_at)
        ),
        number: words.page_number(),
    };
    let mut document = Document::new_with(SerializeSettings {
        configuration: Configuration::new_with_validator(standard),
        ..SerializeSettings::default()
    });
    sheet.draw(&mut document, &running)?;
    document.set_metadata(metadata(statement, language, title));
    document.finish().map_err(|error| ExportError::Pdf(format!("{error:?}")))
}

/// Of the statement alone: its date is the cut-off.
fn metadata(statement: &PeriodStatement, language: Language, title: String) -> Metadata {
    let words = language.words();
    let at = statement.cut_off_at.to_zoned(jiff::tz::TimeZone::UTC);
    let part = |value: i8| value.unsigned_abs();
    let date = DateTime::new(at.year().unsigned_abs())
        .month(part(at.month()))
        .day(part(at.day()))
        .hour(part(at.hour()))
        .minute(part(at.minute()))
        .second(part(at.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0);
    let id = format!("{}/{}/{}..{}", statement.format, statement.partner, statement.from, statement.until);
    Metadata::new()
        .title(title)
        .language(language.tag().to_owned())
        .authors(vec![words.issuer_name.to_owned()])
        .creation_date(date)
        .document_id(format!("{id}/{}", language.tag()))
}

#[cfg(test)]
mod tests;
