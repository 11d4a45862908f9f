//! A workbook, a sheet for each section. Cells have types: figures are numbers, dates are dates, and a text is a text, whatever it begins with.

use partner_sdk::banking::BankAccount;
use partner_sdk::{Currency, PartnerId};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, Workbook, Worksheet, XlsxError};

use crate::period::PeriodStatement;
use crate::render::{RenderError, paid, result, signed};
use crate::statement::{Line, PaymentLine};

/// Excel counts in doubles, which hold this many decimal digits: longer figures stand as text, so that none is rounded.
const EXACT: usize = 15;
/// No column is wider, in characters' pixels.
const WIDEST: u32 = 420;
/// As `set_paper_size` counts.
const A4: u8 = 9;

/// A cell.
enum Cell<'a> {
    Text(&'a str),
    /// A figure as the statement writes it.
    Number(&'a str),
    Count(i64),
    Date(jiff::civil::Date),
}

use Cell::{Count, Date, Number, Text};

/// A sheet's rows, below a header.
type Rows<'a> = Vec<Vec<Cell<'a>>>;

/// The workbook's bytes: the same for the same statement.
pub fn workbook(of: &PeriodStatement) -> Result<Vec<u8>, RenderError> {
    let mut workbook = Workbook::new();
    let made = of.cut_off_at.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    workbook.set_properties(
        &DocProperties::new()
            .set_title(format!("Statement of {} for {} to {}", of.partner, of.from, of.until))
            .set_creation_datetime(&date_time(made)?),
    );
    let cut_off_at = of.cut_off_at.to_string();
    let about = vec![
        vec![Text("format"), Text(&of.format)],
        vec![Text("partner"), Text(of.partner.as_str())],
        vec![Text("from"), Date(of.from)],
        vec![Text("until"), Date(of.until)],
        vec![Text("cut_off_at"), Text(&cut_off_at)],
    ];
    let amounts: Vec<String> = of.lines.iter().map(|line| signed(line.direction, &line.amount)).collect();
    let payments: Vec<String> = of.payments.iter().map(paid).collect();
    sheet(&mut workbook, "about", &["what", "value"], about)?;
    sheet(&mut workbook, "net", &["currency", "net", "result"], net(of))?;
    sheet(&mut workbook, "payments", &PAYMENTS, payment_rows(of, &payments))?;
    sheet(&mut workbook, "obligations", &OBLIGATIONS, obligations(of))?;
    sheet(&mut workbook, "lines", &LINES, lines(of, &amounts))?;
    sheet(&mut workbook, "breakage", &BREAKAGE, breakage(of))?;
    sheet(&mut workbook, "running_position", &RUNNING, running(of))?;
    sheet(&mut workbook, "days", &DAYS, days(of))?;
    sheet(&mut workbook, "network", &NETWORK, network(of))?;
    sheet(&mut workbook, "windows", &["business_date", "format", "sha256"], windows(of))?;
    Ok(workbook.save_to_buffer()?)
}

const PAYMENTS: [&str; 11] = [
    "currency",
    "reference",
    "value_date",
    "amount",
    "result",
    "from_holder",
    "from_account",
    "from_bank",
    "to_holder",
    "to_account",
    "to_bank",
];
const OBLIGATIONS: [&str; 7] = [
    "currency",
    "counterparty",
    "you_owe",
    "you_are_owed",
    "carried_in",
    "net",
    "carried_out",
];
const LINES: [&str; 10] = [
    "currency",
    "counterparty",
    "kind",
    "direction",
    "programme",
    "agreement",
    "messages",
    "points",
    "price",
    "amount",
];
const BREAKAGE: [&str; 8] = [
    "currency",
    "counterparty",
    "kind",
    "programme",
    "agreement",
    "points",
    "price",
    "value",
];
const RUNNING: [&str; 7] = ["currency", "opening", "confirmed", "revised", "net", "closing", "carried"];
const DAYS: [&str; 7] = [
    "currency",
    "business_date",
    "you_owe",
    "you_are_owed",
    "net",
    "confirmed",
    "revised",
];
const NETWORK: [&str; 5] = ["currency", "gross", "bilateral", "multilateral", "efficiency_percent"];

/// A row for each of a section's entries.
fn rows<'a, T>(entries: &'a [T], row: impl Fn(&'a T) -> Vec<Cell<'a>>) -> Rows<'a> {
    entries.iter().map(row).collect()
}

fn net(of: &PeriodStatement) -> Rows<'_> {
    rows(&of.net, |line| {
        vec![Text(line.currency.as_str()), Number(&line.net), Text(result(line.result))]
    })
}

fn payment_rows<'a>(of: &'a PeriodStatement, amounts: &'a [String]) -> Rows<'a> {
    let row = |(line, amount): (&'a PaymentLine, &'a String)| {
        let mut row = vec![
            Text(line.currency.as_str()),
            Text(line.reference.as_str()),
            Date(line.value_date),
            Number(amount),
            Text(result(line.result)),
        ];
        for account in [&line.from, &line.to] {
            let of = |member: fn(&'a BankAccount) -> &'a str| Text(account.as_ref().map_or("", member));
            row.extend([
                of(|account| &account.holder),
                of(|account| &account.account),
                of(|account| &account.bank),
            ]);
        }
        row
    };
    of.payments.iter().zip(amounts).map(row).collect()
}

fn obligations(of: &PeriodStatement) -> Rows<'_> {
    rows(&of.obligations, |pair| {
        vec![
            Text(pair.currency.as_str()),
            Text(pair.counterparty.as_str()),
            Number(&pair.you_owe),
            Number(&pair.you_are_owed),
            Number(&pair.carried_in),
            Number(&pair.net),
            Number(&pair.carried_out),
        ]
    })
}

fn lines<'a>(of: &'a PeriodStatement, amounts: &'a [String]) -> Rows<'a> {
    let row = |(line, amount): (&'a Line, &'a String)| {
        vec![
            Text(line.currency.as_str()),
            Text(line.counterparty.as_str()),
            Text(&line.kind),
            Text(line.direction.as_str()),
            Text(line.programme.as_str()),
            Text(&line.agreement),
            Count(line.messages),
            Number(&line.points),
            Number(&line.price),
            Number(amount),
        ]
    };
    of.lines.iter().zip(amounts).map(row).collect()
}

fn breakage(of: &PeriodStatement) -> Rows<'_> {
    rows(&of.breakage, |line| {
        vec![
            Text(line.currency.as_ref().map_or("", Currency::as_str)),
            Text(line.counterparty.as_ref().map_or("", PartnerId::as_str)),
            Text(&line.kind),
            Text(line.programme.as_str()),
            Text(line.agreement.as_deref().unwrap_or("")),
            Number(&line.points),
            Number(&line.price),
            Number(&line.value),
        ]
    })
}

fn running(of: &PeriodStatement) -> Rows<'_> {
    rows(&of.running_position, |line| {
        vec![
            Text(line.currency.as_str()),
            Number(&line.opening),
            Number(&line.confirmed),
            line.revised.as_deref().map_or(Text(""), Number),
            Number(&line.net),
            Number(&line.closing),
            Number(&line.carried),
        ]
    })
}

fn days(of: &PeriodStatement) -> Rows<'_> {
    rows(&of.days, |day| {
        vec![
            Text(day.currency.as_str()),
            Date(day.business_date),
            Number(&day.you_owe),
            Number(&day.you_are_owed),
            Number(&day.net),
            day.confirmed.as_deref().map_or(Text(""), Number),
            day.revised.as_deref().map_or(Text(""), Number),
        ]
    })
}

fn network(of: &PeriodStatement) -> Rows<'_> {
    rows(&of.reduction, |line| {
        let figures = [&line.gross, &line.bilateral, &line.multilateral, &line.efficiency_percent];
        let mut row = vec![Text(line.currency.as_str())];
        row.extend(figures.map(|figure| Number(figure)));
        row
    })
}

fn windows(of: &PeriodStatement) -> Rows<'_> {
    rows(&of.windows, |window| {
        vec![Date(window.business_date), Text(&window.format), Text(&window.sha256)]
    })
}

/// A sheet with its header frozen and filters on it; empty sections have their header, so that every workbook has the same sheets.
fn sheet(workbook: &mut Workbook, name: &str, columns: &[&str], rows: Rows<'_>) -> Result<(), XlsxError> {
    let sheet = workbook.add_worksheet().set_name(name)?;
    let header = Format::new().set_bold().set_align(FormatAlign::Top);
    for (column, title) in (0..).zip(columns) {
        sheet.write_string_with_format(0, column, *title, &header)?;
    }
    for (row, cells) in (1..).zip(&rows) {
        for (column, cell) in (0..).zip(cells) {
            write(sheet, (row, column), cell)?;
        }
    }
    sheet
        .set_freeze_panes(1, 0)?
        .set_repeat_rows(0, 0)?
        .set_landscape()
        .set_paper_size(A4);
    if let (Ok(last), Ok(right)) = (u32::try_from(rows.len()), u16::try_from(columns.len() - 1)) {
        sheet.autofilter(0, 0, last, right)?;
    }
    sheet.set_autofit_max_width(WIDEST).autofit();
    Ok(())
}

fn write(sheet: &mut Worksheet, (row, column): (u32, u16), cell: &Cell<'_>) -> Result<(), XlsxError> {
    match cell {
        // An empty cell is none.
        Text("") => {}
        Text(text) => {
            sheet.write_string(row, column, *text)?;
        }
        Number(figure) => match exact(figure) {
            Some(number) => {
                let decimals = figure.split_once('.').map_or(0, |(_, rest)| rest.len());
                let zeros = if decimals == 0 {
                    String::new()
                } else {
                    format!(".{}", "0".repeat(decimals))
                };
                let format = Format::new().set_num_format(format!("#,##0{zeros}"));
                sheet.write_number_with_format(row, column, number, &format)?;
            }
            None => {
                sheet.write_string_with_format(row, column, *figure, &Format::new().set_align(FormatAlign::Right))?;
            }
        },
        Count(count) => match u32::try_from(*count) {
            Ok(count) => {
                sheet.write_number(row, column, f64::from(count))?;
            }
            Err(_) => {
                sheet.write_string(row, column, count.to_string())?;
            }
        },
        Date(date) => {
            let format = Format::new().set_num_format("yyyy-mm-dd");
            sheet.write_datetime_with_format(row, column, date_time(date.to_datetime(jiff::civil::Time::midnight()))?, &format)?;
        }
    }
    Ok(())
}

/// The figure as a double, where that holds all its digits.
pub fn exact(figure: &str) -> Option<f64> {
    let short = match figure.contains('.') {
        true => figure.trim_end_matches('0'),
        false => figure,
    };
    let digits = short.bytes().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0').count();
    if digits > EXACT { None } else { figure.parse().ok() }
}

fn date_time(at: jiff::civil::DateTime) -> Result<ExcelDateTime, XlsxError> {
    ExcelDateTime::parse_from_str(&at.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}
