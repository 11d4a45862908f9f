//! The files of the nights, beside what the oracle says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde_json::Value;

use super::oracle::book::{Book, Window};
use super::rules::{PARTNERS, Rules};
use super::timeline::Timeline;

/// Files by path.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// (kind, debtor, creditor, programme, price) -> (messages, points).
type Lines = BTreeMap<(String, String, String, String, i64), (i64, i64)>;
/// (programme, funder) -> (points, value in millionths).
type Breakage = BTreeMap<(String, String), (i64, i64)>;
/// (a, b) -> what a owes b, what b owes a, carried in, net, carried out; all in millionths.
type Pairs = BTreeMap<(String, String), [i128; 5]>;

/// Compares every window; the first difference is the error.
pub fn statements(files: &Files, book: &Book, rules: &Rules, timeline: &Timeline) -> Result<(), String> {
    let mut carried = BTreeMap::new();
    for number in 0..timeline.closed() {
        let date = Date::new(1970, 1, 1).expect("a date") + jiff::Span::new().days(timeline.windows[number].0);
        let window = book.0.get(&number).cloned().unwrap_or_default();
        let (lines, breakage, pairs) = expected(&window, rules, &mut carried);
        let read = |name: &str| read(files, &PathBuf::from(date.to_string()).join(name));
        let mut found_breakage = Breakage::new();
        let (mut owed, mut owing) = (Lines::new(), Lines::new());
        for partner in PARTNERS {
            let statement = read(&format!("{partner}.json"))?;
            for line in list(&statement, "lines") {
                let counterparty = text(line, "counterparty");
                let amounts = (line["messages"].as_i64().expect("a count"), micros(line, "points") / 1_000_000);
                let (all, debtor, creditor) = match line["direction"].as_str() {
                    Some("you_owe") => (&mut owing, partner.to_owned(), counterparty),
                    _ => (&mut owed, counterparty, partner.to_owned()),
                };
                all.insert(
                    (text(line, "kind"), debtor, creditor, text(line, "programme"), micros(line, "price")),
                    amounts,
                );
            }
            for line in list(&statement, "breakage") {
                let entry = found_breakage
                    .entry((text(line, "programme"), text(line, "counterparty")))
                    .or_default();
                *entry = (entry.0 + micros(line, "points") / 1_000_000, entry.1 + micros(line, "value"));
            }
        }
        let fees = |lines: Lines| -> Lines { lines.into_iter().filter(|(key, _)| key.0 != "fee").collect() };
        same(date, "the lines that partners owe", &fees(owing), &lines)?;
        same(date, "the lines that partners are owed", &fees(owed), &lines)?;
        found_breakage.retain(|_, amounts| *amounts != (0, 0));
        same(date, "breakage", &found_breakage, &breakage)?;
        same(
            date,
            "pairs (a owes, b owes, carried in, net, carried out)",
            &found_pairs(&read("settlement.json")?),
            &pairs,
        )?;
    }
    Ok(())
}

fn same<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    date: Date,
    what: &str,
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) -> Result<(), String> {
    for key in found.keys().chain(expected.keys()) {
        let (found, expected) = (found.get(key), expected.get(key));
        if found != expected {
            return Err(format!("{date}, {what}: {key:?} is {found:?}, the oracle says {expected:?}"));
        }
    }
    Ok(())
}

/// What must stand in the files of a window.
fn expected(window: &Window, rules: &Rules, carried: &mut BTreeMap<(String, String), i128>) -> (Lines, Breakage, Pairs) {
    let code = |programme: usize| rules.programmes[programme].code.to_owned();
    let mut lines = Lines::new();
    let mut owed: BTreeMap<(String, String), i128> = BTreeMap::new();
    let mut fees: BTreeMap<&str, i128> = BTreeMap::new();
    for (line, amounts) in &window.lines {
        let money = i128::from(amounts.1) * i128::from(line.price);
        *owed.entry((line.debtor.clone(), line.creditor.clone())).or_default() += money;
        let key = (
            line.kind.to_owned(),
            line.debtor.clone(),
            line.creditor.clone(),
            code(line.programme),
            line.price,
        );
        lines.insert(key, *amounts);
        let terms = |e: &&super::rules::Exchange| line.kind == "exchange" && e.partner == line.debtor && e.to == line.programme;
        if let Some(exchange) = rules.exchanges.iter().find(terms) {
            let fee = half_even(money * i128::from(exchange.fee), 100 * 10_000) * 10_000;
            *fees.entry(exchange.partner).or_default() += fee;
        }
    }
    for (partner, fee) in fees {
        *owed.entry((partner.to_owned(), "clearing".to_owned())).or_default() += fee;
    }
    let breakage = window.breakage.iter().filter(|(_, amounts)| **amounts != (0, 0));
    let breakage = breakage.map(|((programme, funder), amounts)| ((code(*programme), funder.clone()), *amounts));
    (lines, breakage.collect(), pairs(&owed, carried))
}

/// Nets pair by pair, and carries what rounding leaves.
fn pairs(owed: &BTreeMap<(String, String), i128>, carried: &mut BTreeMap<(String, String), i128>) -> Pairs {
    let ordered = |(debtor, creditor): &(String, String)| (debtor.min(creditor).clone(), debtor.max(creditor).clone());
    let names: std::collections::BTreeSet<(String, String)> = carried.keys().cloned().chain(owed.keys().map(ordered)).collect();
    let mut pairs = Pairs::new();
    for (a, b) in names {
        let owes = |x: &String, y: &String| owed.get(&(x.clone(), y.clone())).copied().unwrap_or(0);
        let (a_owes, b_owes) = (owes(&a, &b), owes(&b, &a));
        let carried_in = carried.remove(&(a.clone(), b.clone())).unwrap_or(0);
        let exact = a_owes - b_owes + carried_in;
        let net = half_even(exact, 10_000) * 10_000;
        if exact != net {
            carried.insert((a.clone(), b.clone()), exact - net);
        }
        if [a_owes, b_owes, carried_in] != [0; 3] {
            pairs.insert((a, b), [a_owes, b_owes, carried_in, net, exact - net]);
        }
    }
    pairs
}

fn found_pairs(settlement: &Value) -> Pairs {
    let pair = |one: &Value| {
        let amounts = ["a_owes", "b_owes", "carried_in", "net", "carried_out"].map(|name| i128::from(micros(one, name)));
        ((text(one, "party_a"), text(one, "party_b")), amounts)
    };
    list(settlement, "obligations").iter().map(pair).collect()
}

/// The whole number nearest to `n / d`, of two the even one.
fn half_even(n: i128, d: i128) -> i128 {
    let (below, rest) = (n.div_euclid(d), n.rem_euclid(d));
    match (rest * 2).cmp(&d) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Greater => below + 1,
        std::cmp::Ordering::Equal => below + below.rem_euclid(2),
    }
}

/// Two runs wrote the same.
pub fn equal(one: &Files, other: &Files) -> Result<(), String> {
    for path in one.keys().chain(other.keys()) {
        if one.get(path) != other.get(path) {
            return Err(format!("{} has other bytes in another run", path.display()));
        }
    }
    Ok(())
}

fn read(files: &Files, path: &Path) -> Result<Value, String> {
    let bytes = files.get(path).ok_or_else(|| format!("there is no {}", path.display()))?;
    serde_json::from_slice(bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().expect("a list")
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("").to_owned()
}

/// A decimal in millionths.
fn micros(value: &Value, name: &str) -> i64 {
    let text = value[name].as_str().expect("a text");
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let units: i64 = format!("{whole}{decimals:0<6}").parse().expect("a number");
    sign * units
}
