//! Whether a statement's lines are the sums of the messages that its partner finds through the wire.

use std::collections::BTreeMap;

use jiff::civil::Date;
use partner_sdk::amount::format_units;
use partner_sdk::client::Client;
use partner_sdk::wire::{Direction, LineQuery, PostedLine, PostedMessage, PostedQuery};
use partner_sdk::{Currency, PartnerId, ProgrammeCode};
use settlement::Statement;
use tokio::runtime::Runtime;

/// What tells lines apart.
type Key = (
    String,
    Option<PartnerId>,
    Option<Direction>,
    Option<String>,
    ProgrammeCode,
    Option<Currency>,
    String,
);
/// Messages, points and amount; the two last with six decimals.
type Sums = (i64, String, String);

fn key(line: &PostedLine) -> Key {
    let PostedLine {
        kind,
        counterparty,
        direction,
        agreement,
        programme,
        currency,
        price,
        ..
    } = line.clone();
    (kind, counterparty, direction, agreement, programme, currency, price)
}

/// Millionths, of a text with at most six decimals.
fn micros(text: &str) -> i128 {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let micros: i128 = format!("{whole}{rest:0<6}").parse().expect("a number");
    if negative { -micros } else { micros }
}

fn sums(messages: &[PostedMessage]) -> BTreeMap<Key, Sums> {
    let mut sums: BTreeMap<Key, (i64, i128, i128)> = BTreeMap::new();
    for line in messages.iter().flat_map(|message| &message.lines) {
        let sum = sums.entry(key(line)).or_default();
        *sum = (sum.0 + 1, sum.1 + micros(&line.points), sum.2 + micros(&line.amount));
    }
    let text = |(messages, points, amount)| (messages, format_units(points, 6), format_units(amount, 6));
    sums.into_iter().map(|(key, sum)| (key, text(sum))).collect()
}

fn padded(text: &str) -> String {
    format_units(micros(text), 6)
}

/// The lines of a statement and what they add up to. Breakage says no number of messages: `counted` has it.
fn stated(statement: &Statement, counted: &BTreeMap<Key, Sums>) -> BTreeMap<Key, Sums> {
    let lines = statement.lines.iter().cloned().map(|line| {
        let key = (
            line.kind,
            Some(line.counterparty),
            Some(line.direction),
            Some(line.agreement),
            line.programme,
            Some(line.currency),
            line.price,
        );
        (key, (line.messages, padded(&line.points), padded(&line.amount)))
    });
    let breakage = statement.breakage.iter().cloned().map(|line| {
        let key = (
            line.kind,
            line.counterparty,
            None,
            line.agreement,
            line.programme,
            line.currency,
            line.price,
        );
        let messages = counted.get(&key).map_or(0, |(messages, ..)| *messages);
        (key, (messages, padded(&line.points), padded(&line.value)))
    });
    lines.chain(breakage).collect()
}

/// Fails where a line isn't the sum of the messages of its window that its partner finds, asked for all at once and line by line; how many lines there are.
pub fn add_up(runtime: &Runtime, client: &Client, statement: &Statement) -> usize {
    let all = |query: &PostedQuery| runtime.block_on(client.all_messages(query)).expect("messages");
    let (partner, date): (_, Date) = (&statement.partner, statement.business_date);
    let of_window = PostedQuery {
        window: Some(date),
        ..PostedQuery::default()
    };
    let found = sums(&all(&of_window));
    let stated = stated(statement, &found);
    assert_eq!(found, stated, "{partner} {date}");
    for (key, sum) in &stated {
        let (kind, counterparty, direction, agreement, _, currency, price) = key.clone();
        let line = LineQuery {
            kind: Some(kind),
            counterparty,
            direction,
            agreement,
            currency,
            price: Some(price),
        };
        let messages = all(&PostedQuery { line, ..of_window.clone() });
        assert!(
            messages.iter().all(|message| message.window == date && message.lines.len() == 1),
            "{partner} {date} {key:?}"
        );
        assert_eq!(sums(&messages), BTreeMap::from([(key.clone(), sum.clone())]), "{partner} {date}");
    }
    stated.len()
}
