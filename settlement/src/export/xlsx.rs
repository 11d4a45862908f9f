//! A workbook, a sheet for each section. Cells have types: figures are numbers, dates are dates, and a text is a text, whatever it begins with.

use partner_sdk::banking::BankAccount;
use partner_sdk::{Currency, PartnerId};
use rust_xlsxwriter::{DocProperties, Workbook};

use super::sheet::{Cell, Rows, date_time, sheet};
use crate::period::PeriodStatement;
use crate::render::{RenderError, paid, result, signed};
use crate::statement::{ConversionLine, Line, PaymentLine};
use Cell::{Count, Date, Number, Text};

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
    match &of.conversions {
        None => sheet(&mut workbook, "obligations", &OBLIGATIONS[..7], obligations(of))?,
        Some(lines) => {
            sheet(&mut workbook, "obligations", &OBLIGATIONS, obligations(of))?;
            sheet(&mut workbook, "conversions", &CONVERSIONS, conversions(lines))?;
        }
    }
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
const OBLIGATIONS: [&str; 8] = [
    "currency",
    "counterparty",
    "you_owe",
    "you_are_owed",
    "carried_in",
    "net",
    "carried_out",
    "differences",
];
const CONVERSIONS: [&str; 7] = [
    "currency",
    "counterparty",
    "net",
    "rate",
    "payment_currency",
    "amount",
    "difference",
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
        let mut row = vec![
            Text(pair.currency.as_str()),
            Text(pair.counterparty.as_str()),
            Number(&pair.you_owe),
            Number(&pair.you_are_owed),
            Number(&pair.carried_in),
            Number(&pair.net),
            Number(&pair.carried_out),
        ];
        row.extend(
            of.conversions
                .as_ref()
                .map(|_| pair.differences.as_deref().map_or(Text(""), Number)),
        );
        row
    })
}

fn conversions(lines: &[ConversionLine]) -> Rows<'_> {
    rows(lines, |line| {
        vec![
            Text(line.currency.as_str()),
            Text(line.counterparty.as_str()),
            Number(&line.net),
            Number(&line.rate),
            Text(line.payment_currency.as_str()),
            Number(&line.amount),
            Number(&line.difference),
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
