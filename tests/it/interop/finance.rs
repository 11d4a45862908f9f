//! Statements in the hands of finance programs: hledger and beancount take the journals as they are, and come to the statement's sums; the payment file is what its official schema asks for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use clearing::commands::demo::sandbox::Sandbox;
use partner_sdk::banking::AccountTerms;
use partner_sdk::change::Change;
use partner_sdk::client::ClientError;
use partner_sdk::{Amount, Code};
use serde_json::{Value, json};
use settlement::Statement;
use tests::office::Office;
use tests::{Backend, World, burn, earn, id, on_both, reverse, with_bonus};

use super::ROOT;
use crate::fx;

pub(super) const POOL: &str = include_str!("../networks/pool.toml");
const MILES: &str = include_str!("../networks/miles.toml");

on_both!(journals_come_to_the_statements_sums, a_payment_file_is_what_the_schema_asks_for);

/// What Python makes of each case.
pub(super) fn asked(cases: &[Value]) -> Vec<Value> {
    let root = Path::new(ROOT).canonicalize().expect("the workspace");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cases.json");
    std::fs::write(&file, json!(cases).to_string()).expect("the cases");
    let mut python = Command::new(root.join("target/interop/venv/bin/python"));
    python.arg(root.join("tests/interop/finance.py")).arg(&file).stdin(Stdio::null());
    let output = python.output().expect("it starts: run ./tests/run --prepare");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("answers")
}

/// The balances that hledger comes to, once it has checked the files strictly.
fn hledger(files: &[&Path]) -> BTreeMap<String, i64> {
    let run = |arguments: &[&str]| {
        let mut command = Command::new("hledger");
        for file in files {
            command.arg("-f").arg(file);
        }
        let output = command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("it starts: run ./tests/run --prepare");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    };
    run(&["check", "--strict"]);
    let table = run(&["balance", "--flat", "-N", "-E", "-O", "csv"]);
    let mut balances = BTreeMap::new();
    for row in table
        .lines()
        .skip(1)
        .map(|row| row.trim_matches('"').split_once("\",\"").expect("two cells"))
    {
        // `0` alone is nothing of no currency.
        for part in row.1.split(", ").filter(|part| *part != "0") {
            let (number, currency) = part.split_once(' ').expect("an amount and its currency");
            balances.insert(format!("{} {currency}", row.0), micros(number));
        }
    }
    balances.retain(|_, sum| *sum != 0);
    balances
}

/// A figure in millionths.
pub(super) fn micros(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let plain = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    sign * plain.parse::<Amount>().expect(text).to_units(6).expect("fits")
}

/// What a statement says that its journal comes to, from its lines and pairs alone.
fn expected(statements: &[Statement]) -> BTreeMap<String, i64> {
    let mut balances: BTreeMap<String, i64> = BTreeMap::new();
    let mut add = |account: String, currency: &str, sum: i64| *balances.entry(format!("{account} {currency}")).or_default() += sum;
    for statement in statements {
        for pair in &statement.obligations {
            let (owed, owe) = (micros(&pair.you_are_owed), micros(&pair.you_owe));
            add(
                format!("assets:points:{}", pair.counterparty),
                pair.currency.as_str(),
                owed - owe - micros(&pair.net),
            );
        }
        for line in statement.conversions.iter().flatten() {
            let account = format!("assets:points:{}", line.counterparty);
            add(account, line.payment_currency.as_str(), micros(&line.difference));
        }
        for net in &statement.net {
            add("assets:points:settlement".into(), net.currency.as_str(), micros(&net.net));
        }
    }
    balances.retain(|_, sum| *sum != 0);
    balances
}

fn text(world: &World, partner: &str, date: &str, form: &str) -> Result<String, ClientError> {
    world
        .runtime
        .block_on(world.client(partner).get_text(&format!("/v1/statements/{date}/{form}")))
}

fn partners(sandbox: &Sandbox) -> Vec<String> {
    sandbox.parties.keys().map(ToString::to_string).collect()
}

/// Two windows of one pool, two of exchanges with a fee and a bonus, and two of which the first is paid in one currency: every partner's journals, alone and one after the other.
fn journals_come_to_the_statements_sums(backend: Backend) {
    let mut pool = World::new(backend, POOL);
    let mut miles = World::new(backend, &with_bonus(MILES, "15"));
    for points in ["2000", "333"] {
        let earned = id(pool.post("wellcome", earn("YUU", "m1", points)));
        pool.post("hangseng", earn("YUU", "m1", "4001")).expect("accepted");
        pool.post("ikea", burn("YUU", "m1", "777")).expect("accepted");
        pool.post("wellcome", reverse(&earned, "33")).expect("accepted");
        pool.close();
        miles.post("bank", earn("BANK", "m1", "700")).expect("accepted");
        miles.exchange_at_quote("bank", "BANK", "MILES", "m1", "700").expect("accepted");
        miles.post("hotel", burn("MILES", "m1", points)).expect("accepted");
        miles.close();
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut currencies = World::new(backend, fx::CURRENCIES);
    let office = Office::found(&currencies.sandbox);
    office
        .change(&currencies.sandbox, fx::in_hkd(&currencies, "7.8123"))
        .expect("in force");
    fx::trade(&mut currencies);
    fx::trade_again(&mut currencies);
    for world in [&pool, &miles, &currencies] {
        for partner in partners(&world.sandbox) {
            let dates = ["2026-11-20", "2026-11-21"];
            let statements = dates.map(|date| world.statement(date, &partner));
            let files = dates.map(|date| {
                let file = folder.path().join(format!("{partner}-{date}.journal"));
                std::fs::write(&file, text(world, &partner, date, "hledger").expect("a journal")).expect("written");
                file
            });
            assert_eq!(money_of(&hledger(&[&files[0]])), expected(&statements[..1]), "{partner}");
            assert_eq!(money_of(&hledger(&[&files[0], &files[1]])), expected(&statements), "{partner}");
            let texts = dates.map(|date| text(world, &partner, date, "beancount").expect("a journal"));
            let cases = [json!({"journal": texts[0]}), json!({"journal": texts.concat()})];
            for (answer, statements) in asked(&cases).iter().zip([&statements[..1], &statements[..]]) {
                assert_eq!(answer["errors"], json!([]), "{partner}");
                let balances = answer["balances"].as_object().expect("balances").iter();
                let mut balances: BTreeMap<String, i64> = balances
                    .map(|(name, sum)| {
                        let (account, currency) = name.split_once(' ').expect("an account and a currency");
                        (
                            format!("{} {currency}", account.to_lowercase()),
                            micros(sum.as_str().expect("a number")),
                        )
                    })
                    .collect();
                balances.retain(|_, sum| *sum != 0);
                assert_eq!(money_of(&balances), expected(statements), "{partner}");
                let converted = statements.iter().any(|statement| statement.conversions.is_some());
                assert!(converted || balances.values().sum::<i64>() == 0, "{partner}: double entries");
            }
        }
    }
}

/// The balances of accounts that aren't income or expenses.
fn money_of(balances: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let assets = balances.iter().filter(|(name, _)| name.starts_with("assets:"));
    assets.map(|(name, sum)| (name.clone(), *sum)).collect()
}

fn a_payment_file_is_what_the_schema_asks_for(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    world.post("wellcome", earn("YUU", "m1", "2000")).expect("accepted");
    let bare = world.close().business_date.to_string();
    for (of, holder, account) in [
        ("clearing", "=HYPERLINK(\"x\") & <Sons> 結算", "012345678901"),
        ("wellcome", "Wellcome Ltd", "GB82WEST12345698765432"),
    ] {
        let terms = AccountTerms {
            partner: of.parse().expect("a party"),
            currency: "HKD".parse().expect("a currency"),
            holder: holder.into(),
            account: account.into(),
            bank: "AAAAHKHH".into(),
        };
        office.change(&world.sandbox, Change::Account(terms)).expect("set");
    }
    world.post("wellcome", earn("YUU", "m1", "2000")).expect("accepted");
    let date = world.close().business_date.to_string();
    let file = text(&world, "wellcome", &date, "pain001").expect("a payment file");
    // The schema is one that refuses: no reference, no amount.
    let broken = [
        file.replace("EndToEndId", "EndId"),
        file.replace(">11.00<", "><"),
        file.replace("<BICFI>AAAAHKHH", "<BICFI>AAAA"),
    ];
    let cases: Vec<Value> = [file.clone()].iter().chain(&broken).map(|text| json!({"pain001": text})).collect();
    let answers = asked(&cases);
    assert_eq!(answers[0]["errors"], json!([]), "{file}");
    assert!(answers[1..].iter().all(|answer| answer["errors"] != json!([])), "{answers:?}");
    let statement = world.statement(&date, "wellcome");
    let payment = &statement.payments.expect("payments")[0];
    assert!(
        file.contains(&format!("<EndToEndId>{}</EndToEndId>", payment.reference)) && file.contains("Ccy=\"HKD\">11.00<"),
        "{file}"
    );
    // Nobody gets a file that isn't one: who is paid, who has no account, and another form or day.
    let both = format!("{bare}..{date}");
    for (partner, date, form) in [
        ("pool", &*date, "pain001"),
        ("wellcome", &*bare, "pain001"),
        ("wellcome", &*both, "pain001"),
        ("wellcome", &*date, "doc"),
        ("wellcome", "2026-11-30", "hledger"),
    ] {
        match text(&world, partner, date, form) {
            Err(ClientError::Refused(problem)) => assert_eq!(problem.code, Code::NotFound, "{partner} {date} {form}"),
            other => panic!("{partner} {date} {form}: {other:?}"),
        }
    }
}
