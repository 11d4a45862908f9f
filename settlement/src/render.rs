//! Statements as bytes: JSON, and CSV that a spreadsheet can't take for formulas.

use std::borrow::Cow;

use partner_sdk::banking::BankAccount;
use serde::Serialize;

use crate::statement::{Direction, NetResult, PaymentLine, ReductionLine, Statement};

/// Why a statement can't be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// As JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    /// As CSV.
    #[error("cannot write CSV")]
    Csv(#[from] csv::Error),
    /// As a workbook.
    #[error("cannot write a workbook")]
    Workbook(#[from] rust_xlsxwriter::XlsxError),
}

/// The columns of a statement's CSV, in order; before format 3 those of [`SINCE_3`] aren't there, before format 4 that of [`SINCE_4`], and before format 5 those of [`SINCE_5`]. A row leaves those empty that its section doesn't have. A column with figures belongs to one section, so
/// that its sum counts nothing twice.
pub const CSV_COLUMNS: [&str; 43] = [
    "format",
    "section",
    "business_date",
    "partner",
    "currency",
    "counterparty",
    "kind",
    "direction",
    "programme",
    "agreement",
    "price",
    "line_messages",
    "line_points",
    "line_amount",
    "breakage_points",
    "breakage_value",
    "pair_you_owe",
    "pair_you_are_owed",
    "pair_carried_in",
    "pair_net",
    "pair_carried_out",
    "net",
    "result",
    "network_gross",
    "network_bilateral",
    "network_multilateral",
    "network_efficiency_percent",
    "payment_reference",
    "payment_value_date",
    "payment_amount",
    "payment_to_holder",
    "payment_to_account",
    "payment_to_bank",
    "running_opening",
    "running_confirmed",
    "running_closing",
    "running_carried",
    "running_revised",
    "conversion_net",
    "conversion_rate",
    "conversion_payment_currency",
    "conversion_amount",
    "conversion_difference",
];
/// The place of the first column that came with format 3.
pub const SINCE_3: usize = 27;
/// The place of the column that came with format 4.
pub const SINCE_4: usize = 37;
/// The place of the first column that came with format 5.
pub const SINCE_5: usize = 38;
/// Without it spreadsheets take UTF-8 for something else.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A statement or settlement as JSON: indented, fields in their documented order, one newline at the end.
pub fn to_json(document: &impl Serialize) -> Result<Vec<u8>, RenderError> {
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A row's cells by column; columns that aren't named stay empty.
type Cells<'a> = [(&'static str, &'a str)];

/// A statement as one CSV table (RFC 4180, lines end in a line feed): a header, then the rows of each section. From format 3 on a byte order mark comes first.
pub fn to_csv(statement: &Statement) -> Result<Vec<u8>, RenderError> {
    to_csv_of(std::slice::from_ref(statement))
}

/// Statements as one table, one after the other below one header: that of the newest format among them.
pub fn to_csv_of(statements: &[Statement]) -> Result<Vec<u8>, RenderError> {
    let mut running = statements.iter().flat_map(|statement| statement.running_position.iter().flatten());
    let (columns, before) = match statements.iter().any(|statement| statement.payments.is_some()) {
        true if statements.iter().any(|statement| statement.conversions.is_some()) => (&CSV_COLUMNS[..], BYTE_ORDER_MARK),
        true if running.any(|line| line.revised.is_some()) => (&CSV_COLUMNS[..SINCE_5], BYTE_ORDER_MARK),
        true => (&CSV_COLUMNS[..SINCE_4], BYTE_ORDER_MARK),
        false => (&CSV_COLUMNS[..SINCE_3], &b""[..]),
    };
    let mut writer = csv::Writer::from_writer(before.to_vec());
    writer.write_record(columns)?;
    for statement in statements {
        write_rows(&mut writer, statement, columns)?;
    }
    writer.into_inner().map_err(|error| RenderError::Csv(error.into_error().into()))
}

fn write_rows(writer: &mut csv::Writer<Vec<u8>>, statement: &Statement, columns: &[&str]) -> Result<(), RenderError> {
    let date = statement.business_date.to_string();
    let mut write = |section: &str, cells: &Cells<'_>| {
        let cell = |column: &str| match column {
            "format" => statement.format.as_str(),
            "section" => section,
            "business_date" => &date,
            "partner" => statement.partner.as_str(),
            _ => cells.iter().find(|(name, _)| *name == column).map_or("", |(_, text)| *text),
        };
        writer.write_record(columns.iter().map(|column| safe(cell(column)).into_owned()))
    };
    for line in &statement.lines {
        let (messages, amount) = (line.messages.to_string(), signed(line.direction, &line.amount));
        let cells = [
            ("currency", line.currency.as_str()),
            ("counterparty", line.counterparty.as_str()),
            ("kind", &line.kind),
            ("direction", line.direction.as_str()),
            ("programme", line.programme.as_str()),
            ("agreement", &line.agreement),
            ("price", &line.price),
            ("line_messages", &messages),
            ("line_points", &line.points),
            ("line_amount", &amount),
        ];
        write("line", &cells)?;
    }
    for line in &statement.breakage {
        let cells = [
            ("currency", line.currency.as_ref().map_or("", |c| c.as_str())),
            ("counterparty", line.counterparty.as_ref().map_or("", |p| p.as_str())),
            ("kind", &line.kind),
            ("programme", line.programme.as_str()),
            ("agreement", line.agreement.as_deref().unwrap_or("")),
            ("price", &line.price),
            ("breakage_points", &line.points),
            ("breakage_value", &line.value),
        ];
        write("breakage", &cells)?;
    }
    for pair in &statement.obligations {
        let cells = [
            ("currency", pair.currency.as_str()),
            ("counterparty", pair.counterparty.as_str()),
            ("pair_you_owe", &pair.you_owe),
            ("pair_you_are_owed", &pair.you_are_owed),
            ("pair_carried_in", &pair.carried_in),
            ("pair_net", &pair.net),
            ("pair_carried_out", &pair.carried_out),
        ];
        write("obligation", &cells)?;
    }
    for line in statement.conversions.iter().flatten() {
        let cells = [
            ("currency", line.currency.as_str()),
            ("counterparty", line.counterparty.as_str()),
            ("conversion_net", &line.net),
            ("conversion_rate", &line.rate),
            ("conversion_payment_currency", line.payment_currency.as_str()),
            ("conversion_amount", &line.amount),
            ("conversion_difference", &line.difference),
        ];
        write("conversion", &cells)?;
    }
    for net in &statement.net {
        write(
            "net",
            &[
                ("currency", net.currency.as_str()),
                ("net", &net.net),
                ("result", result(net.result)),
            ],
        )?;
    }
    for line in statement.payments.iter().flatten() {
        let (amount, value_date) = (paid(line), line.value_date.to_string());
        let of = |member: fn(&BankAccount) -> &str| line.to.as_ref().map_or("", member);
        // A number that is none: a spreadsheet would drop its first zeros.
        let account = match of(|account| &account.account) {
            "" => String::new(),
            letters if letters.bytes().any(|b| b.is_ascii_alphabetic()) => letters.to_owned(),
            digits => format!("'{digits}"),
        };
        let cells = [
            ("currency", line.currency.as_str()),
            ("result", result(line.result)),
            ("payment_reference", line.reference.as_str()),
            ("payment_value_date", &value_date),
            ("payment_amount", &amount),
            ("payment_to_holder", of(|account| &account.holder)),
            ("payment_to_account", &account),
            ("payment_to_bank", of(|account| &account.bank)),
        ];
        write("payment", &cells)?;
    }
    for line in statement.running_position.iter().flatten() {
        let cells = [
            ("currency", line.currency.as_str()),
            ("running_opening", &line.opening),
            ("running_confirmed", &line.confirmed),
            ("running_closing", &line.closing),
            ("running_carried", &line.carried),
            ("running_revised", line.revised.as_deref().unwrap_or_default()),
        ];
        write("running_position", &cells)?;
    }
    for line in &statement.reduction {
        write("reduction", &reduction(line))?;
    }
    Ok(())
}

/// A payment's amount with a sign: below zero where the partner pays.
pub fn paid(line: &PaymentLine) -> String {
    let sign = if line.result == NetResult::Pays { "-" } else { "" };
    format!("{sign}{}", line.amount)
}

fn reduction(line: &ReductionLine) -> [(&'static str, &str); 5] {
    [
        ("currency", line.currency.as_str()),
        ("network_gross", &line.gross),
        ("network_bilateral", &line.bilateral),
        ("network_multilateral", &line.multilateral),
        ("network_efficiency_percent", &line.efficiency_percent),
    ]
}

/// A line's amount as a signed one: positive where the partner receives, as everywhere in its statement, so that the lines of a currency can be summed.
pub fn signed(direction: Direction, amount: &str) -> String {
    let owed = direction == Direction::YouOwe && amount.bytes().any(|b| (b'1'..=b'9').contains(&b));
    format!("{}{amount}", if owed { "-" } else { "" })
}

/// What a net amount means, in a word.
pub fn result(result: NetResult) -> &'static str {
    match result {
        NetResult::Pays => "pays",
        NetResult::Receives => "receives",
        NetResult::Nothing => "nothing",
    }
}

/// Rows as CSV (RFC 4180, lines end in a line feed) below a header; no cell becomes a formula.
pub fn table<'a>(columns: &[&str], rows: impl IntoIterator<Item = Vec<Cow<'a, str>>>) -> Result<Vec<u8>, RenderError> {
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(columns)?;
    for row in rows {
        writer.write_record(row.iter().map(|cell| safe(cell).into_owned()))?;
    }
    writer.into_inner().map_err(|error| RenderError::Csv(error.into_error().into()))
}

/// A cell that no spreadsheet evaluates: an apostrophe goes before whatever could begin a formula, unless it is a plain number.
fn safe(cell: &str) -> Cow<'_, str> {
    // Some spreadsheets take the full-width forms for the same.
    let risky = match cell.trim_start_matches(' ').as_bytes() {
        _ if cell.starts_with(['＝', '＋', '－', '＠']) => true,
        [b'=' | b'+' | b'@' | b'\t' | b'\r' | b'\n', ..] => true,
        [b'-', number @ ..] => !is_number(number),
        _ => false,
    };
    if risky {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// Digits, with at most one point between them.
fn is_number(text: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    match text.iter().position(|b| *b == b'.') {
        Some(point) => digits(&text[..point]) && digits(&text[point + 1..]),
        None => digits(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas() {
        for risky in [
            "=1+1", "+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "-1+1", "-1.", "-.5", "-1.2.3", "-=1", "--1", " =1", "＝1", "＋1",
            "－1", "＠A",
        ] {
            assert_eq!(safe(risky), format!("'{risky}"));
        }
        for plain in ["", "-8.25", "-5", "8.25", "wellcome", "a-b", "a=b", "0.005500"] {
            assert_eq!(safe(plain), plain);
        }
    }

    #[test]
    fn an_empty_statement_has_a_header() {
        let statement = crate::testing::book(vec![], vec![])
            .statement(&crate::testing::partner("ikea"))
            .expect("empty");
        let csv = String::from_utf8(to_csv(&statement).expect("csv")).expect("text");
        assert_eq!(csv, format!("{}\n", CSV_COLUMNS[..SINCE_3].join(",")));
    }

    #[test]
    fn a_line_is_negative_where_the_partner_owes() {
        assert_eq!(signed(Direction::YouOwe, "5.500000"), "-5.500000");
        assert_eq!(signed(Direction::YouAreOwed, "5.500000"), "5.500000");
        assert_eq!(signed(Direction::YouOwe, "0.000000"), "0.000000");
    }
}
