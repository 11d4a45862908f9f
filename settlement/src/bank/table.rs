//! A table as banks give it for spreadsheets: a header, then a line for each booking.

use jiff::civil::Date;
use partner_sdk::Currency;

use super::booking::{BankError, Booking, amount};

/// The columns that there have to be, by their names in small letters; references are looked for in all others.
const COLUMNS: [&str; 3] = ["date", "amount", "currency"];

/// Every booking of a table: an amount above zero came into the account.
pub fn read(text: &str) -> Result<Vec<Booking>, BankError> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let wrong = |line: u64, why: String| BankError::Table { line, why };
    let header = reader.headers().map_err(|error| wrong(1, error.to_string()))?.clone();
    let place = |name: &str| {
        let mut places = header.iter().enumerate().filter(|(_, column)| column.to_lowercase() == name);
        match (places.next(), places.next()) {
            (Some((place, _)), None) => Ok(place),
            _ => Err(wrong(
                1,
                format!(
                    "the header has to have one column each {}: `{name}` isn't there once",
                    COLUMNS.join(", ")
                ),
            )),
        }
    };
    let [date, amount_in, currency] = [place(COLUMNS[0])?, place(COLUMNS[1])?, place(COLUMNS[2])?];
    let mut bookings = vec![];
    for record in reader.records() {
        let record = record.map_err(|error| wrong(error.position().map_or(0, csv::Position::line), error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |place: usize| record.get(place).unwrap_or_default();
        let (sign, digits) = match cell(amount_in).strip_prefix('-') {
            Some(digits) => (false, digits),
            None => (true, cell(amount_in).strip_prefix('+').unwrap_or(cell(amount_in))),
        };
        let others = record
            .iter()
            .enumerate()
            .filter(|(place, _)| ![date, amount_in, currency].contains(place));
        bookings.push(Booking {
            booked_on: cell(date)
                .parse::<Date>()
                .map_err(|_| wrong(line, format!("`{}` is no date such as 2026-11-23", cell(date))))?,
            currency: Currency::new(cell(currency)).map_err(|error| wrong(line, error.to_string()))?,
            amount: amount(digits).ok_or_else(|| wrong(line, format!("`{}` is no amount such as -1234.50", cell(amount_in))))?,
            credit: sign,
            reversal: false,
            text: others.map(|(_, cell)| cell).collect::<Vec<_>>().join("\n"),
        });
    }
    Ok(bookings)
}
