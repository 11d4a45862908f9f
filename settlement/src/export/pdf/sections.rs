//! What stands on the pages, from top to bottom.

use std::collections::BTreeSet;

use jiff::civil::Date;
use partner_sdk::Currency;
use partner_sdk::banking::BankAccount;

use super::page::{MUTED, Sheet};
use super::table::{Cell, Table, table};
use super::words::Words;
use super::{chart, text::grouped};
use crate::NetLine;
use crate::period::{DayLine, PeriodStatement};
use crate::render::signed;
use crate::statement::{BreakageLine, ConversionLine, Line, PairLine, PaymentLine};

/// Of tables.
const SMALL: f32 = 7.5;

/// All sections.
pub fn all(sheet: &mut Sheet, words: &Words, statement: &PeriodStatement) {
    opening(sheet, words, statement);
    payments(sheet, words, &statement.payments);
    reduction(sheet, words, statement);
    days(sheet, words, statement);
    obligations(sheet, words, &statement.obligations);
    conversions(sheet, words, statement.conversions.as_deref().unwrap_or_default());
    lines(sheet, words, &statement.lines);
    breakage(sheet, words, &statement.breakage);
    running(sheet, words, statement);
    agreements(sheet, words, statement);
    windows(sheet, words, statement);
}

/// A section of one table after its heading and what is to be known of it.
fn section(sheet: &mut Sheet, (title, note): (&str, &str), size: f32, heads: &[&str], rows: Vec<Vec<Cell>>) {
    sheet.heading(2, title, 90.0);
    if !note.is_empty() {
        sheet.paragraph(note, 8.5, MUTED);
    }
    put(sheet, title, size, heads, rows);
}

fn put(sheet: &mut Sheet, summary: &str, size: f32, heads: &[&str], rows: Vec<Vec<Cell>>) {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let summary = summary.to_owned();
    table(
        sheet,
        &Table {
            summary,
            heads,
            rows,
            size,
        },
    );
}

/// Whose statement it is, of when, and what it comes to.
fn opening(sheet: &mut Sheet, words: &Words, statement: &PeriodStatement) {
    let partner = statement.partner.as_str();
    sheet.heading(1, &words.titled(partner), 0.0);
    let about = [
        (words.period, words.period(statement.from, statement.until)),
        (words.cut_off, words.time(statement.cut_off_at)),
        (words.windows_count, statement.windows.len().to_string()),
        (words.issuer, words.issuer_name.to_owned()),
    ];
    for (name, value) in about {
        sheet.paragraph(&format!("{name}{}{value}", words.colon), 9.5, MUTED);
        // They stand closer together than paragraphs.
        sheet.y -= 5.0;
    }
    if statement.net.is_empty() {
        sheet.heading(2, words.summary, 40.0);
        sheet.paragraph(words.no_part, 11.0, super::page::INK);
        return;
    }
    if statement.windows.len() > 1 {
        // Each day is paid by itself: what they add up to is nobody's payment.
        let row = |line: &NetLine| vec![Cell::whole(line.currency.as_str()), Cell::figure(&line.net)];
        let heads = [words.currency, words.net_of_days];
        section(
            sheet,
            (words.summary, words.signs),
            12.0,
            &heads,
            statement.net.iter().map(row).collect(),
        );
        return;
    }
    let rows = statement.net.iter().map(|line| {
        vec![
            Cell::whole(line.currency.as_str()),
            Cell::whole(words.result(line.result)),
            Cell::figure(&line.net),
        ]
    });
    let heads = [words.currency, words.result, words.net];
    section(sheet, (words.summary, words.signs), 12.0, &heads, rows.collect());
}

/// An account: its holder, and below the number with its bank.
fn account(words: &Words, account: Option<&BankAccount>) -> Cell {
    let parts = match account {
        Some(account) => vec![account.holder.clone(), format!("{} BIC\u{a0}{}", account.account, account.bank)],
        None => vec![words.no_account.to_owned()],
    };
    Cell::Text(parts)
}

fn payments(sheet: &mut Sheet, words: &Words, payments: &[PaymentLine]) {
    if payments.is_empty() {
        sheet.heading(2, words.payments, 40.0);
        sheet.paragraph(words.no_payments, 8.5, MUTED);
        return;
    }
    let rows = payments.iter().map(|payment| {
        vec![
            Cell::whole(payment.reference.as_str()),
            Cell::whole(words.date(payment.value_date)),
            account(words, payment.from.as_ref()),
            account(words, payment.to.as_ref()),
            Cell::whole(words.result(payment.result)),
            Cell::whole(payment.currency.as_str()),
            Cell::figure(&payment.amount),
        ]
    });
    let heads = [
        words.reference,
        words.value_date,
        words.from,
        words.to,
        words.result,
        words.currency,
        words.amount,
    ];
    section(sheet, (words.payments, ""), SMALL, &heads, rows.collect());
}

fn reduction(sheet: &mut Sheet, words: &Words, statement: &PeriodStatement) {
    if statement.reduction.is_empty() {
        return;
    }
    sheet.heading(2, words.reduction, 120.0);
    sheet.paragraph(words.reduction_note, 8.5, MUTED);
    statement.reduction.iter().for_each(|line| chart::reduction(sheet, words, line));
}

/// Drawn, and (where there are several days) as a table, too.
fn days(sheet: &mut Sheet, words: &Words, statement: &PeriodStatement) {
    if statement.days.is_empty() {
        return;
    }
    sheet.heading(2, words.daily, 162.0);
    let dates: Vec<Date> = statement.windows.iter().map(|window| window.business_date).collect();
    if dates.len() == 1 {
        statement.days.iter().for_each(|line| chart::day(sheet, words, line));
        return;
    }
    chart::legend(sheet, words);
    for currency in currencies(statement.days.iter().map(|line| line.currency)) {
        let of: Vec<&DayLine> = statement.days.iter().filter(|line| line.currency == currency).collect();
        chart::days(sheet, words, &dates, &of);
        let rows = of.iter().map(|line| {
            vec![
                Cell::whole(words.date(line.business_date)),
                Cell::figure(&line.you_are_owed),
                Cell::figure(&line.you_owe),
                Cell::figure(&line.net),
            ]
        });
        let net = words.in_currency(words.net, currency.as_str());
        let heads = [words.business_date, words.you_are_owed, words.you_owe, &net];
        put(sheet, &format!("{} {currency}", words.daily), SMALL, &heads, rows.collect());
        sheet.y += 10.0;
    }
}

/// Each once, in order.
fn currencies(all: impl Iterator<Item = Currency>) -> BTreeSet<Currency> {
    all.collect()
}

/// A heading and a note, with what to say where there is nothing.
fn begin(sheet: &mut Sheet, words: &Words, (title, note): (&str, &str), nothing: bool) {
    sheet.heading(2, title, if nothing { 30.0 } else { 130.0 });
    let note = if nothing { words.none } else { note };
    sheet.paragraph(note, 8.5, MUTED);
}

fn obligations(sheet: &mut Sheet, words: &Words, pairs: &[PairLine]) {
    begin(sheet, words, (words.obligations, words.obligations_note), pairs.is_empty());
    for currency in currencies(pairs.iter().map(|pair| pair.currency)) {
        sheet.heading(3, currency.as_str(), 60.0);
        let rows = pairs.iter().filter(|pair| pair.currency == currency).map(|pair| {
            vec![
                Cell::text(pair.counterparty.as_str()),
                Cell::figure(&pair.you_are_owed),
                Cell::figure(&pair.you_owe),
                Cell::figure(&pair.carried_in),
                Cell::figure(&pair.net),
                Cell::figure(&pair.carried_out),
            ]
        });
        let net = words.in_currency(words.net, currency.as_str());
        let heads = [
            words.counterparty,
            words.you_are_owed,
            words.you_owe,
            words.carried_in,
            &net,
            words.carried_out,
        ];
        put(sheet, &format!("{} {currency}", words.obligations), SMALL, &heads, rows.collect());
    }
}

fn conversions(sheet: &mut Sheet, words: &Words, lines: &[ConversionLine]) {
    if lines.is_empty() {
        return;
    }
    let rows = lines.iter().map(|line| {
        vec![
            Cell::text(line.counterparty.as_str()),
            Cell::whole(line.currency.as_str()),
            Cell::figure(&line.net),
            Cell::figure(&line.rate),
            Cell::whole(line.payment_currency.as_str()),
            Cell::figure(&line.amount),
            Cell::figure(&line.difference),
        ]
    });
    let heads = [
        words.counterparty,
        words.currency,
        words.net,
        words.rate,
        words.paid_in,
        words.amount,
        words.difference,
    ];
    section(sheet, (words.conversions, words.conversions_note), SMALL, &heads, rows.collect());
}

/// The first digits of an agreement's hash: the appendix has them all.
fn shortened(hash: &str) -> String {
    hash.chars().take(12).collect()
}

fn lines(sheet: &mut Sheet, words: &Words, lines: &[Line]) {
    begin(sheet, words, (words.lines, words.lines_note), lines.is_empty());
    for currency in currencies(lines.iter().map(|line| line.currency)) {
        sheet.heading(3, currency.as_str(), 60.0);
        let rows = lines.iter().filter(|line| line.currency == currency).map(|line| {
            vec![
                Cell::text(words.kind(&line.kind)),
                Cell::text(line.counterparty.as_str()),
                Cell::whole(words.direction(line.direction)),
                Cell::whole(shortened(&line.agreement)),
                Cell::text(line.programme.as_str()),
                Cell::Figure(grouped(&line.messages.to_string())),
                Cell::figure(&line.points),
                Cell::figure(&line.price),
                Cell::figure(&signed(line.direction, &line.amount)),
            ]
        });
        let amount = words.in_currency(words.amount, currency.as_str());
        let heads = [
            words.kind,
            words.counterparty,
            words.direction,
            words.agreement,
            words.programme,
            words.messages,
            words.points,
            words.price,
            &amount,
        ];
        put(sheet, &format!("{} {currency}", words.lines), SMALL, &heads, rows.collect());
    }
}

fn breakage(sheet: &mut Sheet, words: &Words, lines: &[BreakageLine]) {
    if lines.is_empty() {
        return;
    }
    let or_unknown = |text: Option<String>| Cell::text(text.unwrap_or_else(|| words.unknown.to_owned()));
    let rows = lines.iter().map(|line| {
        vec![
            Cell::text(words.kind(&line.kind)),
            or_unknown(line.counterparty.as_ref().map(ToString::to_string)),
            or_unknown(line.agreement.as_deref().map(shortened)),
            Cell::text(line.programme.as_str()),
            or_unknown(line.currency.map(|currency| currency.to_string())),
            Cell::figure(&line.points),
            Cell::figure(&line.price),
            Cell::figure(&line.value),
        ]
    });
    let heads = [
        words.kind,
        words.funder,
        words.agreement,
        words.programme,
        words.currency,
        words.points,
        words.price,
        words.value,
    ];
    section(sheet, (words.breakage, words.breakage_note), SMALL, &heads, rows.collect());
}

fn running(sheet: &mut Sheet, words: &Words, statement: &PeriodStatement) {
    if statement.running_position.is_empty() {
        return;
    }
    let rows = statement.running_position.iter().map(|line| {
        vec![
            Cell::whole(line.currency.as_str()),
            Cell::figure(&line.opening),
            Cell::figure(&line.confirmed),
            Cell::figure(line.revised.as_deref().unwrap_or("")),
            Cell::figure(&line.net),
            Cell::figure(&line.closing),
            Cell::figure(&line.carried),
        ]
    });
    let heads = [
        words.currency,
        words.opening,
        words.confirmed,
        words.revised,
        words.net,
        words.closing,
        words.carried,
    ];
    section(sheet, (words.running, words.running_note), SMALL, &heads, rows.collect());
}

/// Every agreement's hash in full, once.
fn agreements(sheet: &mut Sheet, words: &Words, statement: &PeriodStatement) {
    let of_lines = statement.lines.iter().map(|line| line.agreement.as_str());
    let of_breakage = statement.breakage.iter().filter_map(|line| line.agreement.as_deref());
    let all: BTreeSet<&str> = of_lines.chain(of_breakage).collect();
    if all.is_empty() {
        return;
    }
    let rows = all.into_iter().map(|hash| vec![Cell::whole(shortened(hash)), Cell::whole(hash)]);
    let heads = [words.short, words.hash];
    section(sheet, (words.agreements, words.agreements_note), SMALL, &heads, rows.collect());
}

fn windows(sheet: &mut Sheet, words: &Words, statement: &PeriodStatement) {
    let rows = statement
        .windows
        .iter()
        .map(|window| vec![Cell::whole(words.date(window.business_date)), Cell::whole(&window.sha256)]);
    let heads = [words.business_date, words.hash];
    section(sheet, (words.windows, words.windows_note), SMALL, &heads, rows.collect());
}
