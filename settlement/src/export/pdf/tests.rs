use serde_json::{Value, json};

use super::page::{LEFT, Op, WIDTH};
use super::text::grouped;
use super::*;
use crate::Statement;
use crate::period::Together;

const HOLDER: &str = "=HYPERLINK(\"x\") & <Sons> 結算";

const BOTH: [Language; 2] = [Language::English, Language::Chinese];

/// A line of a statement: the nth.
fn line(n: usize) -> Value {
    let owes = n.is_multiple_of(2);
    json!({"kind": if owes { "earn" } else { "burn_reversal" }, "counterparty": format!("partner-{}", n % 40),
        "direction": if owes { "you_owe" } else { "you_are_owed" }, "agreement": format!("{:02x}{}", n % 70, "5c7e".repeat(16).split_off(2)),
        "programme": "YUU", "currency": "HKD", "messages": 1000 + n, "points": format!("{}", 2000 + n), "price": "0.005500",
        "amount": format!("{}.{:06}", 1011 + n, n)})
}

fn payment(date: &str) -> Value {
    json!({"reference": "RF66261121HKD0004", "currency": "HKD", "amount": "1234.50", "result": "pays", "value_date": date, "from": null,
        "to": {"holder": "Clearing", "account": "GB82WEST12345698765432", "bank": "AAAAHKHH"}})
}

/// A statement of so many lines and days, paid to a holder.
fn statement(lines: usize, days: i8, holder: &str) -> PeriodStatement {
    let dates: Vec<String> = (1..=days).map(|day| format!("2026-11-{day:02}")).collect();
    let last = dates.last().expect("a day");
    let flow = |(place, date): (usize, &String)| {
        json!({"business_date": date, "currency": "HKD", "you_owe": format!("{}.900000", 100 + place * 37 % 200),
            "you_are_owed": format!("{}.100000", 50 + place * 53 % 230), "net": format!("-{}.80", 12 + place)})
    };
    let mut statement: PeriodStatement = serde_json::from_value(json!({
        "format": "points-statement-period/1", "partner": "wellcome", "from": dates[0], "until": last,
        "cut_off_at": format!("{last}T16:00:00Z"),
        "windows": dates.iter().enumerate().map(|(n, date)| json!({"business_date": date, "format": "points-statement/3", "sha256": format!("{n:064x}")})).collect::<Vec<_>>(),
        "lines": (0..lines).map(line).collect::<Vec<_>>(),
        "breakage": [{"kind": "expiry", "counterparty": null, "agreement": null, "programme": "YUU", "currency": null,
            "points": "5", "price": "0.004400", "value": "0.022000"}],
        "obligations": [{"counterparty": "pool", "currency": "HKD", "you_owe": "1245.510000", "you_are_owed": "11.010000",
            "carried_in": "-0.003000", "net": "-1234.50", "carried_out": "-0.003001"}],
        "net": [{"currency": "HKD", "net": "-1234.50", "result": "pays"}, {"currency": "JPY", "net": "77", "result": "receives"}],
        "payments": dates.iter().map(|date| payment(date)).collect::<Vec<_>>(),
        "running_position": [{"currency": "HKD", "opening": "-7.00", "confirmed": "7.25", "net": "-1234.50", "closing": "-1234.25",
            "carried": "-0.003001"}],
        "reduction": [{"currency": "HKD", "gross": "9876543.210000", "bilateral": "4321.95", "multilateral": "2424.75",
            "efficiency_percent": "99.97"}],
        "days": dates.iter().enumerate().map(flow).collect::<Vec<_>>(),
    }))
    .expect("a statement");
    // As kept before anybody looked at names.
    let accounts = statement.payments.iter_mut().filter_map(|payment| payment.to.as_mut());
    accounts.for_each(|account| account.holder = holder.to_owned());
    statement
}

/// Every text of its pages, in the order in which it is read. Nothing stands outside the margins.
fn texts(statement: &PeriodStatement, language: Language) -> Vec<String> {
    let mut sheet = Sheet::new(Face::new().expect("the font"));
    sections::all(&mut sheet, language.words(), statement);
    let mut texts = vec![];
    for op in sheet.ops() {
        let Op::Text {
            at: (x, y),
            size,
            text,
            figure,
            ..
        } = op
        else {
            continue;
        };
        let wide = match figure {
            true => sheet.face.figure_width(text.trim_end(), *size),
            false => sheet.face.width(text, *size),
        };
        assert!(*x >= LEFT - 0.5 && x + wide <= LEFT + WIDTH + 0.5, "{text} from {x} is {wide} wide");
        assert!(*y > 50.0 && *y < 800.0, "{text} stands at {y}");
        assert!(*size > 4.4, "{text} is too small to read");
        texts.push(text.clone());
    }
    texts
}

/// Every figure of a statement's JSON, by name.
fn figures(value: &Value, name: &str, found: &mut Vec<(String, String)>) {
    const FIGURES: [&str; 18] = [
        "net",
        "amount",
        "price",
        "points",
        "you_owe",
        "you_are_owed",
        "carried_in",
        "carried_out",
        "opening",
        "confirmed",
        "closing",
        "carried",
        "gross",
        "bilateral",
        "multilateral",
        "value",
        "reference",
        "sha256",
    ];
    match value {
        Value::String(text) if FIGURES.contains(&name) => found.push((name.to_owned(), text.clone())),
        Value::Array(all) => all.iter().for_each(|value| figures(value, name, found)),
        Value::Object(all) => all.iter().for_each(|(name, value)| figures(value, name, found)),
        _ => {}
    }
}

#[test]
fn every_figure_stands_in_it_in_both_languages() {
    for (lines, days) in [(3, 1), (60, 30)] {
        let statement = statement(lines, days, HOLDER);
        let mut all = vec![];
        figures(&serde_json::to_value(&statement).expect("JSON"), "", &mut all);
        assert!(all.len() > 30, "{}", all.len());
        for language in BOTH {
            let texts = texts(&statement, language);
            for (name, figure) in &all {
                let plain = |text: &str| text.trim().trim_start_matches('-').to_owned();
                let wanted = plain(&grouped(figure));
                let there = |text: &String| plain(text) == wanted;
                assert!(texts.iter().any(there) || texts.contains(figure), "{name} {figure}");
            }
            // A line's amount is signed by its direction.
            for signed in ["-1,011.000000", "1,012.000001", "-1,234.50", "9,876,543.210000", "99.97%"] {
                assert!(texts.iter().any(|text| text.contains(signed)), "{signed}");
            }
            let whole = texts.concat();
            for text in [HOLDER, "GB82WEST12345698765432", "AAAAHKHH", "wellcome"] {
                assert!(whole.replace(' ', "").contains(&text.replace(' ', "")), "{text}: {whole}");
            }
        }
    }
}

#[test]
fn the_same_statement_gives_the_same_bytes_of_each_standard() {
    let statement = statement(40, 3, HOLDER);
    let mut all = vec![];
    for language in BOTH {
        let bytes = pdf(&statement, language).expect("a PDF");
        assert_eq!(bytes, pdf(&statement, language).expect("again"));
        assert!(bytes.starts_with(b"%PDF-1.7"));
        let text = String::from_utf8_lossy(&bytes);
        for part in [
            language.tag(),
            "<pdfaid:part>2</pdfaid:part>",
            "/StructTreeRoot",
            "/Figure",
            "2026-11-03T16:00:00",
        ] {
            assert!(text.contains(part), "{part}");
        }
        for no in ["/JavaScript", "/URI", "/EmbeddedFile"] {
            assert!(!text.contains(no), "{no}");
        }
        // What it is marked as aside, it is PDF/UA-1 as well.
        marked(&statement, language, Validator::UA1).expect("PDF/UA-1");
        all.push(bytes);
    }
    assert_ne!(all[0], all[1]);
}

#[test]
fn statements_without_payments_and_without_anything_are_set_too() {
    let nothing = json!({"format": "points-statement/2", "partner": "idle", "business_date": "2026-11-21", "cut_off_at": "2026-11-21T16:00:00Z",
        "lines": [], "breakage": [], "obligations": [], "net": [], "reduction": []});
    let mut before: Value = nothing.clone();
    before["obligations"] = json!([{"counterparty": "pool", "currency": "HKD", "you_owe": "11.000000", "you_are_owed": "2.750000",
        "carried_in": "0.000000", "net": "-8.25", "carried_out": "0.000000"}]);
    before["net"] = json!([{"currency": "HKD", "net": "-8.25", "result": "pays"}]);
    for (value, words) in [(nothing, "No window of this period"), (before, "-8.25")] {
        let statement: Statement = serde_json::from_value(value).expect("a statement");
        let statement = Together::of(&statement, &"ab".repeat(32)).expect("a period");
        assert!(texts(&statement, Language::English).iter().any(|text| text.contains(words)));
        for language in BOTH {
            texts(&statement, language);
            pdf(&statement, language).expect("a PDF");
            marked(&statement, language, Validator::UA1).expect("PDF/UA-1");
        }
    }
}

#[test]
fn long_names_and_large_figures_stay_within_the_margins() {
    let most = "9".repeat(18);
    for holder in [
        "結".repeat(140),
        "W".repeat(140),
        "Wm. Watson & Wilson (Wan Chai) ".repeat(5),
        "（。".repeat(70),
    ] {
        let mut statement = statement(2, 2, &holder);
        for line in &mut statement.lines {
            line.points = format!("-{most}.999999");
            line.amount = format!("{most}.999999");
            line.price = format!("{most}.999999");
            line.kind = "a_kind_that_nobody_has_heard_of_before_it_came_in".into();
            line.counterparty = "p".repeat(64).parse().unwrap_or(line.counterparty.clone());
        }
        for pair in &mut statement.obligations {
            let figures = [
                &mut pair.you_owe,
                &mut pair.you_are_owed,
                &mut pair.carried_in,
                &mut pair.net,
                &mut pair.carried_out,
            ];
            figures.into_iter().for_each(|figure| *figure = format!("-{most}.999999"));
        }
        statement.reduction[0].gross = format!("{most}.999999");
        statement.breakage[0].kind.clear();
        statement.breakage[0].value = "NaN".into();
        statement.days[1].net = "inf".into();
        statement.days[0].you_owe = format!("{most}.999999");
        for language in BOTH {
            let texts = texts(&statement, language);
            assert!(texts.iter().any(|text| *text == grouped(&format!("-{most}.999999"))));
            pdf(&statement, language).expect("a PDF");
        }
    }
}

#[test]
fn a_character_that_the_font_lacks_is_marked_and_read() {
    // A smiling face, a letter of Egypt, one for private use, one that no text should have, and a minus that is none of a figure.
    let statement = statement(1, 1, "Smile \u{1F600} \u{13080} \u{E000} \u{FEFF} \u{7} −1 Ltd");
    for language in BOTH {
        let bytes = pdf(&statement, language).expect("a PDF");
        assert_eq!(bytes, pdf(&statement, language).expect("again"));
    }
    let face = Face::new().expect("the font");
    assert_eq!(face.shape("a\u{1F600}\u{E000}-", true).text, "a\u{1F600}\u{FFFD}-");
}

#[test]
fn a_thousand_lines_break_over_pages() {
    let statement = statement(1000, 30, HOLDER);
    let bytes = pdf(&statement, Language::Chinese).expect("a PDF");
    assert!(bytes.len() < 3_000_000, "{} bytes", bytes.len());
    let mut sheet = Sheet::new(Face::new().expect("the font"));
    sections::all(&mut sheet, Language::Chinese.words(), &statement);
    assert!(sheet.place() > 20, "{} pages", sheet.place() + 1);
}

#[test]
fn figures_are_as_wide_as_each_other_and_grouped() {
    let face = Face::new().expect("the font");
    let zero = face.figure_width("0", 10.0);
    for digit in "123456789-".chars() {
        assert_eq!(face.figure_width(&digit.to_string(), 10.0), zero, "{digit}");
    }
    for (figure, shown) in [
        ("-8.25", "-8.25"),
        ("1234.50", "1,234.50"),
        ("-1234567", "-1,234,567"),
        ("999.999999", "999.999999"),
        ("", ""),
        ("n/a", "n/a"),
        ("１２３４", "１２３４"),
    ] {
        assert_eq!(grouped(figure), shown);
    }
}

#[test]
fn lines_break_between_words_and_between_chinese_characters() {
    let face = Face::new().expect("the font");
    let wrap = |text: &str, width: f32| face.wrap(text, 10.0, width);
    assert_eq!(wrap("one two", 25.0), ["one ", "two"]);
    assert_eq!(wrap("結算單，應收", 30.5), ["結算", "單，應", "收"]);
    assert_eq!(wrap("", 10.0), [""]);
    for text in ["one two  three ", "結算 Ltd 單", "（（（（", "x"] {
        for width in [0.0, 5.0, 20.0, 100.0] {
            assert_eq!(wrap(text, width).concat(), text, "{width}");
        }
    }
}
