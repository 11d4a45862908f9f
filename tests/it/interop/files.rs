//! Statements as files for people and banks: openpyxl finds numbers as numbers in workbooks and comes to the statement's sums, and accounts' statements are what the official schema asks for.

use partner_sdk::Code;
use partner_sdk::banking::AccountTerms;
use partner_sdk::change::Change;
use partner_sdk::client::ClientError;
use partner_sdk::jws::sha256_hex;
use serde_json::{Value, json};
use settlement::{Direction, PeriodStatement, Statement};
use tests::office::Office;
use tests::{Backend, World, burn, earn, id, on_both, reverse};

use super::finance::{POOL, asked, micros};
use crate::fx;

on_both!(
    workbooks_hold_the_statements_figures,
    a_pdf_holds_every_total,
    an_account_is_stated_as_the_schema_asks_for,
    a_period_is_the_sum_of_its_days,
    what_was_converted_stands_in_every_form,
);

/// A party whose name a spreadsheet could take for a formula, and XML for markup.
const HOLDER: &str = "=HYPERLINK(\"x\") & <Sons> 結算";

/// Two windows of a pool, of which the first is confirmed before the second is netted.
fn two_days(backend: Backend) -> (World, [String; 2]) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    for of in ["clearing", "wellcome", "ikea"] {
        let terms = AccountTerms {
            partner: of.parse().expect("a party"),
            currency: "HKD".parse().expect("a currency"),
            holder: HOLDER.into(),
            account: "012345678901".into(),
            bank: "AAAAHKHH".into(),
        };
        office.change(&world.sandbox, Change::Account(terms)).expect("set");
    }
    let dates = ["2000", "333"].map(|points| {
        let earned = id(world.post("wellcome", earn("YUU", "m1", points)));
        world.post("hangseng", earn("YUU", "m1", "4001")).expect("accepted");
        world.post("ikea", burn("YUU", "m1", "777")).expect("accepted");
        world.post("wellcome", reverse(&earned, "33")).expect("accepted");
        let business_date = world.close().business_date;
        if points == "2000" {
            office.change(&world.sandbox, Change::Settle { business_date }).expect("settled");
        }
        business_date.to_string()
    });
    (world, dates)
}

fn bytes(world: &World, partner: &str, path: &str) -> Result<Vec<u8>, ClientError> {
    let client = world.client(partner);
    world.runtime.block_on(client.get_bytes(&format!("/v1/statements/{path}")))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A sheet's column, below its header. Numbers are read with their digits, as JSON has them.
fn column(book: &Value, sheet: &str, name: &str) -> Vec<Value> {
    let rows = book["sheets"][sheet].as_array().expect(sheet);
    let place = rows[0]
        .as_array()
        .expect("a header")
        .iter()
        .position(|title| title == name)
        .expect(name);
    rows[1..].iter().map(|row| row[place].clone()).collect()
}

fn sum(cells: &[Value]) -> i64 {
    cells
        .iter()
        .map(|cell| micros(&cell.as_number().expect("a number").to_string()))
        .sum()
}

fn sum_of<'a>(texts: impl Iterator<Item = &'a String>) -> i64 {
    texts.map(|text| micros(text)).sum()
}

fn workbooks_hold_the_statements_figures(backend: Backend) {
    let (world, dates) = two_days(backend);
    for partner in ["wellcome", "hangseng", "ikea", "pool"] {
        let statement = world.statement(&dates[1], partner);
        let file = bytes(&world, partner, &format!("{}/xlsx", dates[1])).expect("a workbook");
        assert_eq!(
            bytes(&world, partner, &format!("{}/xlsx", dates[1])).expect("again"),
            file,
            "the same bytes each time"
        );
        let book = &asked(&[json!({"workbook": base64(&file)})])[0];
        assert_eq!(book["formulas"], json!([]), "{partner}");
        let signed = |line: &settlement::Line| match line.direction {
            Direction::YouOwe => -micros(&line.amount),
            Direction::YouAreOwed => micros(&line.amount),
        };
        let lines = &statement.lines;
        assert!(!lines.is_empty(), "{partner} trades");
        assert_eq!(
            sum(&column(book, "lines", "amount")),
            lines.iter().map(signed).sum::<i64>(),
            "{partner}"
        );
        assert_eq!(
            sum(&column(book, "lines", "points")),
            sum_of(lines.iter().map(|line| &line.points)),
            "{partner}"
        );
        let pairs = &statement.obligations;
        for (name, expected) in [
            ("you_owe", sum_of(pairs.iter().map(|pair| &pair.you_owe))),
            ("you_are_owed", sum_of(pairs.iter().map(|pair| &pair.you_are_owed))),
            ("carried_in", sum_of(pairs.iter().map(|pair| &pair.carried_in))),
            ("net", sum_of(pairs.iter().map(|pair| &pair.net))),
        ] {
            assert_eq!(sum(&column(book, "obligations", name)), expected, "{partner} {name}");
        }
        let messages: Vec<Value> = lines.iter().map(|line| json!(line.messages)).collect();
        assert_eq!(column(book, "lines", "messages"), messages, "{partner}");
        let agreements: Vec<Value> = lines.iter().map(|line| json!(line.agreement)).collect();
        assert_eq!(column(book, "lines", "agreement"), agreements, "{partner}: ids stay text");
        let payments = statement.payments.as_deref().expect("payments");
        let due: Vec<Value> = payments.iter().map(|line| json!({"date": line.value_date})).collect();
        assert_eq!(column(book, "payments", "value_date"), due, "{partner}");
        let references: Vec<Value> = payments.iter().map(|line| json!(line.reference)).collect();
        assert_eq!(column(book, "payments", "reference"), references, "{partner}");
        if partner == "wellcome" {
            assert_eq!(
                column(book, "payments", "to_holder"),
                [json!(HOLDER)],
                "a text, whatever it begins with"
            );
            assert_eq!(column(book, "payments", "to_account"), [json!("012345678901")], "no zero is lost");
        }
        assert!(book["filters"]["lines"].is_string(), "{partner}: {}", book["filters"]);
    }
}

/// Every figure that a reader adds up or pays, as a reader of PDF finds it: in both languages, of a day and of a month.
fn a_pdf_holds_every_total(backend: Backend) {
    let (world, dates) = two_days(backend);
    let month = &dates[0][..7];
    for (partner, period) in [("wellcome", &*dates[1]), ("pool", &*dates[1]), ("pool", month)] {
        for (form, language) in [("pdf", "en"), ("pdf-zh", "zh-Hant-HK")] {
            let file = bytes(&world, partner, &format!("{period}/{form}")).expect("a PDF");
            assert_eq!(
                bytes(&world, partner, &format!("{period}/{form}")).expect("again"),
                file,
                "the same bytes each time"
            );
            let read = &asked(&[json!({"pdf": base64(&file)})])[0];
            assert_eq!((&read["tagged"], &read["language"]), (&json!(true), &json!(language)), "{partner}");
            assert_eq!(read["size"], json!([595, 842]), "A4, in points");
            let pages = read["text"].as_array().expect("pages");
            // Thousands are grouped, and lines may break within hashes and names.
            let text: String = pages.iter().map(|page| format!("{} ", page.as_str().expect("text"))).collect();
            let text = text.replace(',', "");
            let (figures, names) = totals(&world, partner, period);
            for figure in figures {
                assert!(stands_alone(&text, &figure), "{partner} {period} {form}: {figure} in {text}");
            }
            let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
            for name in names {
                assert!(text.contains(&name), "{partner} {period} {form}: {name}");
            }
            if partner == "wellcome" {
                let holder: String = HOLDER.chars().filter(|letter| !letter.is_whitespace()).collect();
                assert!(text.contains(&holder), "{form}");
            }
            let word = if form == "pdf" { "Obligations" } else { "淨額" };
            assert!(text.contains(word), "{form}: {text}");
        }
    }
}

/// Whether a figure stands there, and no longer one that holds it. A sign may stand before one that has none.
fn stands_alone(text: &str, figure: &str) -> bool {
    text.match_indices(figure).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + figure.len()..].chars();
        let goes_on = match after.next() {
            Some('.') => after.next().is_some_and(|next| next.is_ascii_digit()),
            next => next.is_some_and(|next| next.is_ascii_digit()),
        };
        !goes_on && before.is_none_or(|before| !before.is_ascii_digit() && before != '.')
    })
}

/// The figures that a reader looks for, and what is told by letters.
fn totals(world: &World, partner: &str, period: &str) -> (Vec<String>, Vec<String>) {
    let day = |date: &str| settlement::period::Together::of(&world.statement(date, partner), "").expect("a period");
    let all = match period.len() {
        10 => day(period),
        _ => serde_json::from_slice(&bytes(world, partner, period).expect("a month")).expect("a period"),
    };
    let mut figures: Vec<String> = all.net.iter().map(|line| line.net.clone()).collect();
    figures.extend(all.payments.iter().map(|line| line.amount.clone()));
    figures.extend(all.obligations.iter().flat_map(|pair| [pair.net.clone(), pair.carried_out.clone()]));
    figures.extend(all.lines.iter().map(|line| line.amount.clone()));
    figures.extend(
        all.running_position
            .iter()
            .flat_map(|line| [line.opening.clone(), line.closing.clone()]),
    );
    figures.extend(all.reduction.iter().map(|line| line.multilateral.clone()));
    let references = all.payments.iter().map(|line| line.reference.to_string());
    let names = references.chain(all.lines.iter().map(|line| line.agreement.clone())).collect();
    assert!(figures.len() > 8, "{figures:?}");
    (figures, names)
}

fn an_account_is_stated_as_the_schema_asks_for(backend: Backend) {
    let (world, dates) = two_days(backend);
    let text = |partner: &str, period: &str| {
        String::from_utf8(bytes(&world, partner, &format!("{period}/camt053")).expect("a file")).expect("text")
    };
    let month = &dates[0][..7];
    for partner in ["wellcome", "hangseng", "ikea", "pool"] {
        let files = [text(partner, &dates[0]), text(partner, &dates[1]), text(partner, month)];
        // The schema is one that refuses: no sign, an entry without a status, six decimals more.
        let broken = [
            files[1].replace("CdtDbtInd", "Ind"),
            files[1].replace("<Cd>BOOK</Cd>", ""),
            files[1].replace("</Amt>", "000001</Amt>"),
        ];
        let cases: Vec<Value> = files.iter().chain(&broken).map(|text| json!({"camt053": text})).collect();
        let answers = asked(&cases);
        for (answer, file) in answers.iter().zip(&files) {
            assert_eq!(answer["errors"], json!([]), "{partner}: {file}");
        }
        assert!(
            answers[3..].iter().all(|answer| answer["errors"] != json!([])),
            "{partner}: {answers:?}"
        );
        for (file, dates) in files.iter().zip([&dates[..1], &dates[1..], &dates[..]]) {
            let statements: Vec<Statement> = dates.iter().map(|date| world.statement(date, partner)).collect();
            adds_up(file, &statements);
        }
    }
    // Payments that were confirmed are booked, and come off what is open.
    assert!(text("wellcome", month).contains("<Cd>PAYMENT</Cd>"));
    // What the reader of banks' statements reads is what was written.
    let bookings = settlement::bank::read(text("wellcome", &dates[1]).as_bytes()).expect("bookings");
    assert!(!bookings.is_empty());
}

/// Opening and entries make the closing balance, and all three are those of the statements.
fn adds_up(file: &str, statements: &[Statement]) {
    let document: Vec<&str> = file.split("<Stmt>").skip(1).collect();
    let [stated] = document[..] else { panic!("one currency: {file}") };
    let figure = |part: &str| {
        let amount = part
            .split("<Amt Ccy=\"HKD\">")
            .nth(1)
            .expect("an amount")
            .split('<')
            .next()
            .expect("digits");
        let sign = if part.contains("<CdtDbtInd>DBIT") { -1 } else { 1 };
        sign * micros(amount)
    };
    let balance = |kind: &str| {
        let found = stated
            .split("<Bal>")
            .skip(1)
            .map(|part| part.split("</Bal>").next().expect("an end"));
        figure(found.into_iter().find(|part| part.contains(kind)).expect(kind))
    };
    // Details repeat what their entry says.
    let head = |entry: &str| entry.split("<NtryDtls>").next().expect("a head").to_owned();
    let entries: Vec<String> = stated.split("<Ntry>").skip(1).map(head).collect();
    let running = |of: &Statement| of.running_position.as_deref().expect("positions")[0].clone();
    let (first, last) = (running(&statements[0]), running(statements.last().expect("one")));
    assert_eq!(balance("OPBD"), micros(&first.opening), "{file}");
    assert_eq!(balance("CLBD"), micros(&last.closing), "{file}");
    let booked: i64 = entries.iter().map(|entry| figure(entry)).sum();
    assert_eq!(balance("OPBD") + booked, balance("CLBD"), "{file}");
}

fn a_period_is_the_sum_of_its_days(backend: Backend) {
    let (world, dates) = two_days(backend);
    let month = &dates[0][..7];
    for partner in ["wellcome", "pool"] {
        let days = dates.each_ref().map(|date| world.statement(date, partner));
        let file = bytes(&world, partner, month).expect("a month");
        let all: PeriodStatement = serde_json::from_slice(&file).expect("a period");
        let own = dates
            .each_ref()
            .map(|date| sha256_hex(&bytes(&world, partner, date).expect("a statement")));
        let named: Vec<(String, &str)> = all
            .windows
            .iter()
            .map(|one| (one.business_date.to_string(), &*one.sha256))
            .collect();
        assert_eq!(named, [(dates[0].clone(), &*own[0]), (dates[1].clone(), &*own[1])], "{partner}");
        let pairs = |of: &Statement| sum_of(of.obligations.iter().map(|pair| &pair.net));
        assert_eq!(
            sum_of(all.obligations.iter().map(|pair| &pair.net)),
            days.iter().map(pairs).sum::<i64>()
        );
        assert_eq!(sum_of(all.net.iter().map(|net| &net.net)), days.iter().map(pairs).sum::<i64>());
        let amounts = |of: &Statement| sum_of(of.lines.iter().map(|line| &line.amount));
        assert_eq!(
            sum_of(all.lines.iter().map(|line| &line.amount)),
            days.iter().map(amounts).sum::<i64>()
        );
        assert_eq!(
            all.running_position[0].opening,
            days[0].running_position.as_ref().expect("positions")[0].opening
        );
        assert_eq!(
            all.running_position[0].closing,
            days[1].running_position.as_ref().expect("positions")[0].closing
        );
        // The same by the dates themselves, but for its name; and what is checked by its checksum is what is downloaded.
        let range = format!("{}..{}", dates[0], dates[1]);
        let ranged: PeriodStatement = serde_json::from_slice(&bytes(&world, partner, &range).expect("a range")).expect("a period");
        assert_eq!((&ranged.lines, &ranged.days), (&all.lines, &all.days));
        let sums = String::from_utf8(bytes(&world, partner, &format!("{month}/sha256")).expect("sums")).expect("text");
        assert!(sums.contains(&format!("{}  {partner}-{month}.json\n", sha256_hex(&file))), "{sums}");
        for line in sums.lines() {
            let (sum, name) = line.split_once("  ").expect("a sum and a name");
            let form = match name.split_once(&format!("{partner}-{month}.")).expect("a name").1 {
                "journal" => "hledger",
                "zh.pdf" => "pdf-zh",
                extension => extension.trim_end_matches(".xml"),
            };
            assert_eq!(
                sum,
                sha256_hex(&bytes(&world, partner, &format!("{month}/{form}")).expect(name)),
                "{name}"
            );
        }
        assert_eq!(sums.lines().count(), 8, "{sums}");
    }
    for (period, code) in [
        ("2026-10", Code::NotFound),
        ("2026-11-21..2026-11-20", Code::BadValue),
        ("2026-01-01..2027-06-01", Code::BadValue),
        ("2026-11-21..", Code::BadValue),
        ("2026", Code::BadValue),
    ] {
        match bytes(&world, "pool", period) {
            Err(ClientError::Refused(problem)) => assert_eq!(problem.code, code, "{period}"),
            other => panic!("{period}: {other:?}"),
        }
    }
}

/// Travel owes the pool USD 10.01, of which HKD 78.20 are paid, and is owed HKD 4.80.
fn what_was_converted_stands_in_every_form(backend: Backend) {
    let mut world = World::new(backend, fx::CURRENCIES);
    let office = Office::found(&world.sandbox);
    office.change(&world.sandbox, fx::in_hkd(&world, "7.8123")).expect("in force");
    let dates = [fx::trade(&mut world), fx::trade_again(&mut world)].map(|date| date.to_string());
    let month = &dates[0][..7];
    let file = |period: &str, form: &str| bytes(&world, "travel", &format!("{period}/{form}")).expect(form);
    let accounts = [&*dates[0], &dates[1], month].map(|period| String::from_utf8(file(period, "camt053")).expect("text"));
    let cases = accounts.each_ref().map(|text| json!({"camt053": text}));
    for (answer, text) in asked(&cases).iter().zip(&accounts) {
        assert_eq!(answer["errors"], json!([]), "{text}");
    }
    let plain: String = accounts[0].split_whitespace().collect();
    for part in [
        "<NbOfTxs>2</NbOfTxs>",
        "<AmtCcy=\"HKD\">78.20</Amt><CdtDbtInd>DBIT</CdtDbtInd><AmtDtls><InstdAmt><AmtCcy=\"USD\">10.01</Amt>",
        "<SrcCcy>USD</SrcCcy><TrgtCcy>HKD</TrgtCcy><UnitCcy>USD</UnitCcy><XchgRate>7.8123</XchgRate>",
    ] {
        assert!(plain.contains(part), "{part}: {plain}");
    }
    settlement::bank::read(accounts[0].as_bytes()).expect("our own reader takes it");
    for period in [&*dates[0], month] {
        let book = &asked(&[json!({"workbook": base64(&file(period, "xlsx"))})])[0];
        for (name, figure) in [
            ("net", "-10.01"),
            ("rate", "7.8123"),
            ("amount", "-78.20"),
            ("difference", "-0.001123"),
        ] {
            assert_eq!(sum(&column(book, "conversions", name)), micros(figure), "{period} {name}");
        }
        for form in ["pdf", "pdf-zh"] {
            let read = &asked(&[json!({"pdf": base64(&file(period, form))})])[0];
            let text = read["text"].to_string();
            for figure in ["-10.01", "7.812300", "-78.20", "-0.001123"] {
                assert!(stands_alone(&text, figure), "{period} {form}: {figure} in {text}");
            }
        }
    }
    let book = &asked(&[json!({"workbook": base64(&file(&dates[1], "xlsx"))})])[0];
    assert!(book["sheets"]["conversions"].is_null(), "nothing was converted");
}
