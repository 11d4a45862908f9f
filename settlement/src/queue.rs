//! In which order the pairs of a netted window can pay each other with what they have.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::{Amount, Currency, PartnerId};

use crate::book::{between, whole};
use crate::error::SettlementError;
use crate::gridlock::{self, Resolution};
use crate::group::Group;
use crate::netting::Payable;
use crate::payments::Transfer;
use crate::reached::reached;
use crate::statement::{QUEUE_FORMAT, Queue, QueueBalance, QueueLine};
use crate::store::{self, State};

/// What each partner has to pay with, in micros, not below zero.
pub type Balances = BTreeMap<(Currency, PartnerId), i128>;

/// The longest file of balances that is read, in bytes.
pub const MAX_BALANCES: usize = 4 << 20;

/// The columns that the file has, in this order.
const COLUMNS: [&str; 3] = ["partner", "currency", "balance"];

/// What is wrong with a file of balances.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BalancesError {
    /// It is longer than it may be.
    #[error("it is longer than {MAX_BALANCES} bytes")]
    Long,
    /// It isn't UTF-8.
    #[error("it isn't UTF-8")]
    Text,
    /// A line of it is wrong.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// Reads what partners have from a CSV file with the header `partner,currency,balance`. Amounts are as everywhere, with no more decimals than the currency has; a partner is one of `known`, and has one line for
/// each currency at most. Fails at the first line that isn't so.
pub fn balances(bytes: &[u8], known: impl Fn(&PartnerId) -> bool) -> Result<Balances, BalancesError> {
    if bytes.len() > MAX_BALANCES {
        return Err(BalancesError::Long);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BalancesError::Text)?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let wrong = |line: u64, why: String| BalancesError::Line { line, why };
    let broken = |error: &csv::Error| {
        let why = match error.kind() {
            csv::ErrorKind::UnequalLengths { len, .. } => format!("there are {len} cells, and should be {}", COLUMNS.len()),
            _ => error.to_string(),
        };
        wrong(error.position().map_or(1, csv::Position::line), why)
    };
    let header = reader.headers().map_err(|error| broken(&error))?;
    if header.iter().ne(COLUMNS) {
        return Err(wrong(1, format!("the header has to be {}", COLUMNS.join(","))));
    }
    let mut all = Balances::new();
    for record in reader.records() {
        let record = record.map_err(|error| broken(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let [partner, currency, balance] = [0, 1, 2].map(|place| record.get(place).unwrap_or_default());
        let id = PartnerId::new(partner).map_err(|error| wrong(line, error.to_string()))?;
        if !known(&id) {
            return Err(wrong(line, format!("there is no partner `{partner}`")));
        }
        let currency = Currency::new(currency).map_err(|error| wrong(line, error.to_string()))?;
        let digits = currency.minor_digits();
        let units = balance.parse::<Amount>().and_then(|amount| amount.to_units(digits));
        let units = units.map_err(|error| wrong(line, format!("`{balance}` is no balance in {currency}: {error}")))?;
        let micros = i128::from(units) * 10i128.pow(6 - digits);
        if all.insert((currency, id), micros).is_some() {
            return Err(wrong(line, format!("a second balance of {partner} in {currency}")));
        }
    }
    Ok(all)
}

/// Which of a window's payments can be made, and in which order, if each pair pays its net with what both have: currency by currency, as [`gridlock::resolve`] finds it. Fails if the window isn't netted
/// yet, or is paid together with others. What was taken out of it since isn't paid. Nothing changes by it.
pub fn queue(conn: &mut Conn, date: Date, balances: &Balances) -> Result<Queue, SettlementError> {
    let (window, payable) = conn.snapshot(|conn| {
        let window = reached(conn, date, State::Netted)?;
        if !Group::of(conn, date)?.joined.is_empty() {
            return Err(SettlementError::Together(date));
        }
        let (mut payable, (taken, _)) = (store::payable(conn, date)?, store::taken_of(conn, date)?);
        for one in &taken {
            let is_pair = |pair: &&mut Payable| {
                pair.currency == one.currency
                    && [&one.debtor, &one.creditor]
                        .iter()
                        .all(|party| [&pair.party_a, &pair.party_b].contains(party))
            };
            if let Some(pair) = payable.iter_mut().find(is_pair) {
                let sign = if pair.party_a == one.debtor { -1 } else { 1 };
                pair.net.0 += sign * one.amount.0;
            }
        }
        Ok::<_, SettlementError>((window, payable))
    })?;
    Ok(Queue {
        format: QUEUE_FORMAT.into(),
        business_date: window.business_date,
        cut_off_at: window.cut_off_at,
        currencies: lines(&payable, balances),
    })
}

/// One line for each currency in which a pair pays.
fn lines(payable: &[Payable], balances: &Balances) -> Vec<QueueLine> {
    let pays: BTreeSet<Currency> = payable.iter().filter(|o| o.net.0 != 0).map(|o| o.currency).collect();
    let line = |currency: Currency| {
        let of = |o: &&Payable| o.currency == currency && o.net.0 != 0;
        let waiting: Vec<Transfer> = payable.iter().filter(of).map(transfer).collect();
        let its = balances.iter().filter(|((of, _), _)| *of == currency);
        let before = its.map(|((_, partner), has)| (partner.clone(), *has)).collect();
        shown(currency, &before, gridlock::resolve(&before, &waiting))
    };
    pays.into_iter().map(line).collect()
}

/// A pair's payment: of whoever owes.
fn transfer(pair: &Payable) -> Transfer {
    let (payer, payee) = match pair.net.0 > 0 {
        true => (&pair.party_a, &pair.party_b),
        false => (&pair.party_b, &pair.party_a),
    };
    Transfer {
        payer: payer.clone(),
        payee: payee.clone(),
        amount: i128::from(pair.net.0).abs(),
    }
}

fn shown(currency: Currency, before: &BTreeMap<PartnerId, i128>, found: Resolution) -> QueueLine {
    let payments = |of: Vec<Transfer>| of.into_iter().map(|transfer| between(transfer, currency)).collect();
    let balance = |(partner, after): (PartnerId, i128)| QueueBalance {
        before: whole(before.get(&partner).copied().unwrap_or(0), currency),
        after: whole(after, currency),
        partner,
    };
    QueueLine {
        currency,
        queued: whole(found.total, currency),
        cleared: whole(found.cleared, currency),
        exact: found.exact,
        steps: found.steps.into_iter().map(payments).collect(),
        left: payments(found.left),
        balances: found.balances.into_iter().map(balance).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::partner;

    fn read(text: &str) -> Result<Balances, String> {
        balances(text.as_bytes(), |id| ["ann", "ben"].contains(&id.as_str())).map_err(|error| error.to_string())
    }

    #[test]
    fn balances_are_read_line_by_line() {
        let all = read("\u{feff}partner,currency,balance\nann,HKD,10.5\nann,JPY,7\nben,HKD,0\n").expect("a file");
        let key = |currency: &str, id: &str| (currency.parse().expect("a currency"), partner(id));
        let expected = [
            (key("HKD", "ann"), 10_500_000),
            (key("HKD", "ben"), 0),
            (key("JPY", "ann"), 7_000_000),
        ];
        assert_eq!(all, Balances::from(expected));
        assert_eq!(read("partner,currency,balance\n"), Ok(Balances::new()));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (lines, expected) in [
            ("eve,HKD,1", "line 2: there is no partner `eve`"),
            ("ann,HKD,1\nann,HKD,2", "line 3: a second balance of ann in HKD"),
            ("ann,HKD,-1", "line 2: `-1` is no balance in HKD"),
            ("ann,HKD,1e3", "line 2: `1e3` is no balance in HKD"),
            ("ann,HKD,0.005", "line 2: `0.005` is no balance in HKD"),
            ("ann,JPY,0.5", "line 2: `0.5` is no balance in JPY"),
            ("ann,HKD,", "line 2: `` is no balance in HKD"),
            ("ann,HKD,999999999999999999", "line 2: `999999999999999999` is no balance in HKD"),
            ("ann,hkd,1", "line 2: "),
            ("Ann,HKD,1", "line 2: "),
            ("ben,HKD,1\nann,HKD", "line 3: there are 2 cells, and should be 3"),
        ] {
            let error = read(&format!("partner,currency,balance\n{lines}\n")).expect_err(lines);
            assert!(error.starts_with(expected), "{lines}: {error}");
        }
        let error = read("currency,partner,balance\n").expect_err("another header");
        assert_eq!(error, "line 1: the header has to be partner,currency,balance");
        assert_eq!(balances(b"\xff", |_| true), Err(BalancesError::Text));
        assert_eq!(balances(&vec![b' '; MAX_BALANCES + 1], |_| true), Err(BalancesError::Long));
    }
}
