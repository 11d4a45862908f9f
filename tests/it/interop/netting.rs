//! Random ledgers netted here, and again in Python by what the documents say, with exact fractions.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::amount::format_units;
use partner_sdk::{Currency, Money, PartnerId};
use serde_json::{Value, json};
use settlement::book::Book;
use settlement::fx::{self, Conversion, Rate, Rates};
use settlement::netting::{self, NetPositions, Obligation, Position};
use settlement::payments;

use super::ROOT;

const LEDGERS: u64 = 10_000;
/// Of 2, 2, 0 and 3 decimals.
const CURRENCIES: [&str; 4] = ["HKD", "CNY", "JPY", "KWD"];
const DAY: Date = jiff::civil::date(2026, 11, 21);

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn party(number: u64) -> PartnerId {
    match number {
        0 => PartnerId::clearing(),
        _ => format!("p{number:02}").parse().expect("an id"),
    }
}

/// Micros: of all sizes, and halves of the minor unit on purpose.
fn amount(random: &mut Random, currency: Currency) -> i64 {
    let unit = 10i64.pow(6 - currency.minor_digits());
    match random.below(6) {
        0 => random.below(3) as i64,
        1 => random.below(2_000_000) as i64,
        2 => unit / 2 * (1 + random.below(9) as i64),
        3 => unit * random.below(20) as i64,
        4 => random.below(1 << 50) as i64,
        // With every pair's other amounts it still fits.
        _ => unit / 2 + unit * random.below(1 << 35) as i64 / 100,
    }
}

/// A window's gross positions, where some pairs owe each other the same.
fn gross(random: &mut Random, parties: u64) -> Vec<Position> {
    let mut all = vec![];
    let currencies = 1 + random.below(3);
    for _ in 0..random.below(3 * parties) + 1 {
        let currency: Currency = CURRENCIES[random.below(currencies + 1) as usize].parse().expect("a currency");
        let debtor = random.below(parties);
        // Rarely a party owes itself: that is nothing.
        let creditor = (debtor + random.below(parties) + u64::from(random.below(20) > 0)) % parties;
        let position = Position {
            debtor: party(debtor),
            creditor: party(creditor),
            currency,
            amount: Money(amount(random, currency)),
        };
        if random.below(5) == 0 {
            all.push(Position {
                debtor: position.creditor.clone(),
                creditor: position.debtor.clone(),
                ..position.clone()
            });
        }
        all.push(position);
    }
    all
}

fn shown(micros: impl Into<i128>) -> String {
    format_units(micros, 6)
}

/// The direct payments of each currency.
fn direct(nets: &NetPositions) -> Vec<Value> {
    let mut currencies: Vec<Currency> = nets.keys().map(|(currency, _)| *currency).collect();
    currencies.dedup();
    let plan = |currency: Currency| {
        let of = nets.iter().filter(|((of, _), _)| *of == currency);
        let found = payments::direct(of.map(|((_, partner), net)| (partner.clone(), *net)));
        let payments: Vec<_> = found.transfers.iter().map(|t| json!([t.payer, t.payee, shown(t.amount)])).collect();
        json!({"currency": currency, "payments": payments, "at_least": found.at_least})
    };
    currencies.into_iter().map(plan).collect()
}

/// Two windows of three have none; the others are paid in one currency, but for those that have no rate.
fn rates(random: &mut Random) -> Rates {
    let payment_currency: Currency = CURRENCIES[random.below(4) as usize].parse().expect("a currency");
    let mut rates = Rates::new();
    if random.below(3) == 0 {
        for currency in CURRENCIES.map(|code| code.parse::<Currency>().expect("a currency")) {
            // As fine as it may be.
            let step = 10i64.pow(currency.minor_digits());
            if currency != payment_currency && random.below(4) > 0 {
                let rate = Money(step * (1 + random.below(20_000_000 / step as u64) as i64));
                rates.insert(currency, Rate { payment_currency, rate });
            }
        }
    }
    rates
}

/// A window's positions and rates and what is made of them; what it carries on takes the place of `before`.
fn window(positions: &[Position], rates: &Rates, before: &mut Vec<Obligation>) -> Value {
    let obligations = netting::obligations(positions, before).expect("it fits");
    let conversions = fx::conversions(&obligations, rates).expect("it fits");
    let payable = fx::payable(&obligations, &conversions).expect("it fits");
    let nets = netting::net_positions(&payable).expect("they sum to zero");
    let book = Book {
        business_date: DAY,
        cut_off_at: Timestamp::UNIX_EPOCH,
        gross: vec![],
        expired: vec![],
        obligations: obligations.clone(),
        conversions: conversions.clone(),
        paying: None,
    };
    let settlement = book.settlement().expect("it fits");
    let gross = positions
        .iter()
        .map(|p| json!([p.debtor, p.creditor, p.currency, shown(p.amount.0)]));
    let pair = |o: &Obligation| {
        let [a_owes, b_owes, carried_in, net, out] = [o.a_owes, o.b_owes, o.carried_in, o.net, o.carried_out].map(|m| shown(m.0));
        json!([o.currency, o.party_a, o.party_b, a_owes, b_owes, carried_in, net, out])
    };
    let converted = |c: &Conversion| {
        let [net, rate, amount, difference] = [c.net, c.rate, c.amount, c.difference].map(|m| shown(m.0));
        json!([c.currency, c.party_a, c.party_b, net, rate, c.payment_currency, amount, difference])
    };
    let rates = rates
        .iter()
        .map(|(currency, of)| json!([currency, of.payment_currency, shown(of.rate.0)]));
    let made = json!({
        "rates": rates.collect::<Vec<_>>(),
        "conversions": conversions.iter().map(converted).collect::<Vec<_>>(),
        "gross": gross.collect::<Vec<_>>(),
        "obligations": obligations.iter().map(pair).collect::<Vec<_>>(),
        "nets": nets.iter().map(|((currency, partner), net)| json!([currency, partner, shown(*net)])).collect::<Vec<_>>(),
        "payments": settlement.payments.iter().map(|p| json!([p.currency, p.payer, p.payee, p.amount])).collect::<Vec<_>>(),
        "direct": direct(&nets),
    });
    *before = fx::carried_on(obligations, &conversions);
    made
}

fn ledger(seed: u64) -> Value {
    let mut random = Random(seed);
    let (parties, mut before) = (2 + random.below(11), vec![]);
    let windows = 2 + random.below(2);
    json!(
        (0..windows)
            .map(|_| {
                let positions = gross(&mut random, parties);
                window(&positions, &rates(&mut random), &mut before)
            })
            .collect::<Vec<_>>()
    )
}

#[test]
fn random_ledgers_come_to_the_same_in_exact_fractions() {
    let first = 20_261_121;
    println!("seeds from {first}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ledgers.jsonl");
    let mut lines = String::new();
    (first..first + LEDGERS).for_each(|seed| writeln!(lines, "{}", ledger(seed)).expect("a text"));
    std::fs::write(&file, lines).expect("written");
    let script = Path::new(ROOT).join("tests/interop/netting.py");
    let mut python = Command::new("python3");
    let output = python.arg(script).arg(&file).stdin(Stdio::null()).output();
    let output = output.expect("it starts: run ./tests/run --prepare");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Vec<String>> = serde_json::from_slice(&output.stdout).expect("answers");
    assert_eq!(answers.len() as u64, LEDGERS, "an answer for each ledger");
    let wrong: Vec<_> = (first..).zip(&answers).filter(|(_, complaints)| !complaints.is_empty()).collect();
    assert!(
        wrong.is_empty(),
        "{} ledgers differ; seed {}: {:?}",
        wrong.len(),
        wrong[0].0,
        wrong[0].1
    );
}
