//! Agreements settle in their own currencies, and a window may be paid in one of them at a published rate.

use clearing::documents::{Fault, changes};
use jiff::civil::Date;
use partner_sdk::change::{Change, Proposal, Status};
use partner_sdk::fx::{FxRate, FxTerms};
use partner_sdk::jws::TYP_CHANGE;
use partner_sdk::jws::general::General;
use partner_sdk::{Code, document};
use settlement::{Due, PeriodStatement, Statement};
use tests::office::{Office, code_of};
use tests::paying::{dues, get, pays};
use tests::{Backend, World, burn, earn, execute, on_both};

on_both!(
    a_window_is_paid_in_one_currency_and_the_next_in_two,
    caps_are_free_once_the_payment_in_the_other_currency_is_confirmed,
    wrong_rates_are_refused,
    whoever_does_not_pay_is_taken_out_of_what_was_converted,
    a_rate_that_nobody_signed_is_found,
    a_closed_window_can_still_be_given_rates,
);

pub const CURRENCIES: &str = include_str!("networks/currencies.toml");

/// The open window, which is paid in HKD at this rate of the USD.
pub fn in_hkd(world: &World, rate: &str) -> Change {
    let mut conn = world.sandbox.database().expect("a connection");
    let business_date = settlement::open_window(&mut conn).expect("an open window").business_date;
    fx(business_date, "HKD", &[("USD", rate)])
}

fn fx(business_date: Date, payment_currency: &str, rates: &[(&str, &str)]) -> Change {
    let rate = |(currency, rate): &(&str, &str)| FxRate {
        currency: currency.parse().expect("a currency"),
        rate: rate.parse().expect("a rate"),
    };
    Change::Fx(FxTerms {
        business_date,
        payment_currency: payment_currency.parse().expect("a currency"),
        rates: rates.iter().map(rate).collect(),
    })
}

/// Grocer owes the pool HKD 11.00, Travel USD 10.01; the pool owes Travel HKD 4.80 and Hotel USD 3.00.
pub fn trade(world: &mut World) -> Date {
    world.post("grocer", earn("YUU", "m1", "2000")).expect("accepted");
    world.post("travel", earn("YUU", "m1", "14300")).expect("accepted");
    world.post("travel", burn("YUU", "m1", "1000")).expect("accepted");
    world.post("hotel", burn("YUU", "m1", "5000")).expect("accepted");
    world.close().business_date
}

/// Travel owes the pool USD 7.00; the pool owes Travel HKD 4.80 and Hotel USD 0.06.
pub fn trade_again(world: &mut World) -> Date {
    world.post("travel", earn("YUU", "m1", "10000")).expect("accepted");
    world.post("travel", burn("YUU", "m1", "1000")).expect("accepted");
    world.post("hotel", burn("YUU", "m1", "100")).expect("accepted");
    world.close().business_date
}

/// What is open for a window: who, and how much; below zero it pays.
pub fn open(world: &World, date: Date) -> Vec<String> {
    let open = dues(world, date).into_iter().filter(Due::is_open);
    let mut shown: Vec<String> = open
        .map(|due| format!("{} {} {}", due.currency, due.partner, due.amount.display(due.currency)))
        .collect();
    shown.sort();
    shown
}

/// What a partner owes over all windows: currency and amount.
pub fn owes(world: &World, partner: &str) -> Vec<String> {
    let positions = get(world, partner, "/v1/positions");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let nets = positions["net"].as_array().expect("a list").iter();
    nets.map(|net| format!("{} {}", text(&net["currency"]), text(&net["owes"])))
        .collect()
}

fn conversions(statement: &Statement) -> Vec<String> {
    let lines = statement.conversions.iter().flatten();
    lines
        .map(|l| {
            let (from, to) = (l.currency, l.payment_currency);
            format!(
                "{} {from} {} at {} {to} {} {}",
                l.counterparty, l.net, l.rate, l.amount, l.difference
            )
        })
        .collect()
}

fn nets(statement: &Statement) -> Vec<String> {
    let lines = statement.net.iter();
    lines.map(|line| format!("{} {}", line.currency, line.net)).collect()
}

/// Counterparty, currency, carried in, net, carried out.
fn pairs(statement: &Statement) -> Vec<String> {
    let lines = statement.obligations.iter();
    lines
        .map(|l| format!("{} {} {} {} {}", l.counterparty, l.currency, l.carried_in, l.net, l.carried_out))
        .collect()
}

fn a_window_is_paid_in_one_currency_and_the_next_in_two(backend: Backend) {
    let mut world = World::new(backend, CURRENCIES);
    let office = Office::found(&world.sandbox);
    let document = office.change(&world.sandbox, in_hkd(&world, "7.8123")).expect("in force");
    let first = trade(&mut world);
    // Everybody was told.
    let feed = world.runtime.block_on(world.client("grocer").events(0, std::time::Duration::ZERO));
    let told = feed
        .expect("events")
        .into_iter()
        .find(|event| event.kind == "fx.published")
        .expect("told");
    let facts = ["payment_currency", "rates", "change"].map(|name| told.fact(name).expect(name).to_owned());
    assert_eq!(
        (told.subject, facts),
        (first.to_string(), ["HKD".into(), "USD=7.8123".into(), document.hash])
    );
    // Travel: 10.01 x 7.8123 = 78.201123 in USD, less 4.80. Hotel: 3.00 x 7.8123 = 23.4369, which is 23.44 less 0.0031. The pool: 11.00 + 73.40 - 23.44.
    assert_eq!(
        open(&world, first),
        ["HKD grocer -11.00", "HKD hotel 23.44", "HKD pool 60.96", "HKD travel -73.40"]
    );
    let of = |partner: &str| world.statement(&first.to_string(), partner);
    assert_eq!(conversions(&of("travel")), ["pool USD -10.01 at 7.812300 HKD -78.20 -0.001123"]);
    assert_eq!(conversions(&of("hotel")), ["pool USD 3.00 at 7.812300 HKD 23.44 -0.003100"]);
    assert_eq!(
        conversions(&of("pool")),
        [
            "hotel USD -3.00 at 7.812300 HKD -23.44 0.003100",
            "travel USD 10.01 at 7.812300 HKD 78.20 0.001123"
        ]
    );
    assert_eq!(nets(&of("travel")), ["HKD -73.40"]);
    assert_eq!(nets(&of("pool")), ["HKD 60.96"]);
    assert_eq!(
        pairs(&of("travel")),
        ["pool HKD 0.000000 4.80 0.000000", "pool USD 0.000000 -10.01 0.000000"]
    );
    // What is left over of all pairs is carried, and no part of what is open.
    let running = of("pool").running_position.expect("there");
    let shown = running
        .iter()
        .map(|line| format!("{} {} {}", line.currency, line.closing, line.carried));
    assert_eq!(shown.collect::<Vec<_>>(), ["HKD 60.96 0.004223"]);
    // Netting saved what it did in each currency, whatever was paid in which.
    let reduction = of("hotel").reduction;
    let shown = reduction
        .iter()
        .map(|line| format!("{} {} {}", line.currency, line.gross, line.multilateral));
    assert_eq!(shown.collect::<Vec<_>>(), ["USD 13.010000 10.01"]);
    // Whom it doesn't concern has the statement that it always had.
    assert_eq!((of("grocer").format, of("grocer").conversions), ("points-statement/3".into(), None));
    assert_eq!(of("travel").format, "points-statement/5");
    // The next window has no rates: it is paid in both currencies, and what was left is in it.
    let second = trade_again(&mut world);
    assert_eq!(
        open(&world, second),
        [
            "HKD pool -4.80",
            "HKD travel 4.80",
            "USD hotel 0.06",
            "USD pool 6.94",
            "USD travel -7.00"
        ]
    );
    let of = |partner: &str| world.statement(&second.to_string(), partner);
    // 4.80 - 0.001123 = 4.798877, of which 4.80 are paid.
    assert_eq!(
        pairs(&of("travel")),
        ["pool HKD -0.001123 4.80 -0.001123", "pool USD 0.000000 -7.00 0.000000"]
    );
    // 3.00 were worth less than was paid: that comes back when it is a cent.
    assert_eq!(
        pairs(&of("hotel")),
        ["pool HKD -0.003100 0.00 -0.003100", "pool USD 0.000000 0.06 0.000000"]
    );
    assert_eq!(of("travel").format, "points-statement/3");
    put_together(&world, first, second);
}

/// Both windows as one: what the pairs were carried and owe is what they pay and carry on, with the differences of the first.
fn put_together(world: &World, first: Date, second: Date) {
    for (partner, expected) in [
        (
            "travel",
            ["pool HKD 0.000000 -0.001123 9.60 -0.001123", "pool USD 0.000000 - -17.01 0.000000"],
        ),
        (
            "hotel",
            ["pool HKD -0.003100 - 0.00 -0.003100", "pool USD 0.000000 - 3.06 0.000000"],
        ),
    ] {
        let whole = get(world, partner, &format!("/v1/statements/{first}..{second}/json"));
        let whole: PeriodStatement = serde_json::from_value(whole).expect("a period");
        assert_eq!(whole.format, "points-statement-period/3", "{partner}");
        let pairs = whole.obligations.iter().map(|l| {
            let differences = l.differences.as_deref().unwrap_or("-");
            format!(
                "{} {} {} {differences} {} {}",
                l.counterparty, l.currency, l.carried_in, l.net, l.carried_out
            )
        });
        assert_eq!(pairs.collect::<Vec<_>>(), expected, "{partner}");
        assert_eq!(whole.conversions.map(|lines| lines.len()), Some(1), "{partner}");
        for form in ["csv", "xlsx", "pdf", "pdf-zh", "camt053", "hledger", "beancount"] {
            for period in [first.to_string(), format!("{first}..{second}")] {
                let path = format!("/v1/statements/{period}/{form}");
                let file = world.runtime.block_on(world.client(partner).get_bytes(&path)).expect(&path);
                assert!(!file.is_empty(), "{path}");
            }
        }
    }
    let table = world
        .runtime
        .block_on(world.client("travel").get_text(&format!("/v1/statements/{first}/csv")));
    let table = table.expect("a table");
    let row = table.lines().find(|line| line.contains(",conversion,")).expect("a row");
    assert!(
        row.starts_with("points-statement/5,") && row.ends_with(",-10.01,7.812300,HKD,-78.20,-0.001123"),
        "{row}"
    );
}

/// Travel may owe USD 15.00.
fn caps_are_free_once_the_payment_in_the_other_currency_is_confirmed(backend: Backend) {
    let mut world = World::new(backend, CURRENCIES);
    let office = Office::found(&world.sandbox);
    let cap = Change::Cap {
        partner: "travel".parse().expect("an id"),
        currency: "USD".parse().expect("a currency"),
        amount: Some("15".parse().expect("an amount")),
    };
    office.change(&world.sandbox, cap).expect("capped");
    office.change(&world.sandbox, in_hkd(&world, "7.8123")).expect("in force");
    let first = trade(&mut world);
    assert_eq!(owes(&world, "travel"), ["HKD -4.800000", "USD 10.010000"]);
    assert_eq!(world.post("travel", earn("YUU", "m1", "10000")).err(), Some(Code::NetDebitCap));
    pays(&world, &office, first, "travel");
    assert_eq!(owes(&world, "travel"), ["HKD 0.000000", "USD 0.000000"]);
    world.post("travel", earn("YUU", "m1", "10000")).expect("there is room again");
    assert_eq!(owes(&world, "hotel"), ["USD -3.000000"]);
    for partner in ["grocer", "hotel", "pool"] {
        pays(&world, &office, first, partner);
    }
    let mut conn = world.sandbox.database().expect("a connection");
    let window = settlement::window(&mut conn, first).expect("reads").expect("there");
    assert_eq!(window.state, settlement::State::Settled);
    assert_eq!(
        (owes(&world, "hotel"), owes(&world, "travel")),
        (vec!["USD 0.000000".into()], vec!["HKD 0.000000".into(), "USD 7.000000".into()])
    );
}

fn wrong_rates_are_refused(backend: Backend) {
    let mut world = World::new(backend, CURRENCIES);
    let office = Office::found(&world.sandbox);
    let mut conn = world.sandbox.database().expect("a connection");
    let window = settlement::open_window(&mut conn).expect("open").business_date;
    let later = window.tomorrow().expect("a day");
    let refused = |change: Change| match office.propose(&world.sandbox, &office.first, change) {
        Err(Fault::Refused(problem)) => (problem.code, problem.detail),
        other => panic!("{other:?}"),
    };
    for (change, said) in [
        (fx(window, "HKD", &[("USD", "7.8"), ("EUR", "8.4")]), "sorted"),
        (fx(window, "HKD", &[("USD", "7.8"), ("USD", "7.8")]), "each once"),
        (fx(window, "HKD", &[("HKD", "1")]), "HKD is paid in itself"),
        (fx(window, "HKD", &[("USD", "0")]), "above 0"),
        (fx(window, "HKD", &[("USD", "1000001")]), "at most 1000000"),
        (
            fx(window, "HKD", &[("USD", "7.81231")]),
            "USD has 2 decimals, so its rate has at most 4",
        ),
        (fx(later, "HKD", &[("USD", "7.8")]), "there is no window"),
    ] {
        let (code, detail) = refused(change);
        assert!(code == Code::BadTerms && detail.contains(said), "{said}: {code:?} {detail}");
    }
    // There is no such currency.
    let proposal = Proposal {
        id: "c-1".parse().expect("an id"),
        proposed_at: world.now(),
        reason: "a test".into(),
        salt: partner_sdk::client::new_salt(),
        change: fx(window, "HKD", &[("USD", "7.8")]),
    };
    let text = document::write(&proposal).replace("USD", "USX");
    let general = General::sign(&office.first, TYP_CHANGE, text.as_bytes());
    let unknown = changes::propose(&mut conn, world.now(), &general.to_json());
    assert_eq!(code_of(unknown).err(), Some(Code::MalformedDocument));
    // A slip is mended before the window is netted: the last word counts, and it may be none.
    let two = ["7.8123", "7.8"].map(|rate| {
        office
            .propose(&world.sandbox, &office.first, fx(window, "HKD", &[("USD", rate)]))
            .expect("proposed")
    });
    assert_eq!(
        code_of(office.approve_change(&world.sandbox, &office.first, &two[0])).err(),
        Some(Code::FourEyes)
    );
    for document in &two {
        office.approve_change(&world.sandbox, &office.second, document).expect("approved");
    }
    let rates = |conn: &mut migrations::Conn| {
        settlement::rates(conn, window)
            .expect("rates")
            .values()
            .map(|rate| rate.rate.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(rates(&mut conn), [7_800_000]);
    office.change(&world.sandbox, fx(window, "HKD", &[])).expect("taken back");
    assert_eq!(rates(&mut conn), [0; 0]);
    trade(&mut world);
    let second = settlement::open_window(&mut conn).expect("open").business_date;
    let late = office
        .propose(&world.sandbox, &office.first, fx(second, "HKD", &[("USD", "7.8")]))
        .expect("proposed");
    trade_again(&mut world);
    assert_eq!(
        code_of(office.approve_change(&world.sandbox, &office.second, &late)).err(),
        Some(Code::BadTerms),
        "it is netted"
    );
    assert!(world.statement(&second.to_string(), "travel").conversions.is_none());
}

fn whoever_does_not_pay_is_taken_out_of_what_was_converted(backend: Backend) {
    let mut world = World::new(backend, CURRENCIES);
    let office = Office::found(&world.sandbox);
    office.change(&world.sandbox, in_hkd(&world, "7.8123")).expect("in force");
    let date = trade(&mut world);
    let partner: partner_sdk::PartnerId = "travel".parse().expect("an id");
    let status = Change::Status {
        partner: partner.clone(),
        status: Status::Suspended,
    };
    office.change(&world.sandbox, status).expect("suspended");
    let business_date = date;
    office
        .change(&world.sandbox, Change::Default { partner, business_date })
        .expect("taken out");
    // Travel's 73.40 are gone: of its 60.96 the pool has 12.44 to pay.
    assert_eq!(open(&world, date), ["HKD grocer -11.00", "HKD hotel 23.44", "HKD pool -12.44"]);
    let revisions = get(&world, "pool", &format!("/v1/statements/{date}/revisions"));
    assert_eq!(revisions["revisions"][0]["taken_out"][0]["amount"], "73.40");
    world.check_books();
    for partner in ["grocer", "hotel", "pool"] {
        pays(&world, &office, date, partner);
    }
    for partner in ["pool", "travel", "hotel"] {
        assert!(owes(&world, partner).iter().all(|owes| owes.ends_with(" 0.000000")), "{partner}");
    }
    // What was left over of the conversion goes on all the same.
    let next = world.close().business_date;
    assert_eq!(
        pairs(&world.statement(&next.to_string(), "travel")),
        ["pool HKD -0.001123 0.00 -0.001123"]
    );
}

fn a_rate_that_nobody_signed_is_found(backend: Backend) {
    let mut world = World::new(backend, CURRENCIES);
    let office = Office::found(&world.sandbox);
    office.change(&world.sandbox, in_hkd(&world, "7.8123")).expect("in force");
    trade(&mut world);
    trade_again(&mut world);
    let mut conn = world.sandbox.database().expect("a connection");
    for (there, back, found) in [
        (
            "UPDATE fx_rate SET rate = rate + 100",
            "UPDATE fx_rate SET rate = rate - 100",
            &[
                "has a rate of USD, and no signed document says so",
                "is converted at that rate",
                "fx_rate: ",
            ][..],
        ),
        (
            "UPDATE fx_rate SET document = 'x' || document",
            "UPDATE fx_rate SET document = substr(document, 2)",
            &["has a rate of USD, and no signed document says so"],
        ),
        (
            "UPDATE conversion SET amount = amount + 10000",
            "UPDATE conversion SET amount = amount - 10000",
            &["its net at its rate", "the payments of a window", "conversion: "],
        ),
        (
            "UPDATE conversion SET amount = amount + 1, difference = difference - 1",
            "UPDATE conversion SET amount = amount - 1, difference = difference + 1",
            &["with the differences of its conversions", "the payments of a window"],
        ),
        (
            "UPDATE conversion SET currency = 'USN'",
            "UPDATE conversion SET currency = 'USD'",
            &["is converted at that rate, and no other is", "conversion: "],
        ),
    ] {
        execute(&mut conn, there);
        let findings = world.findings();
        for part in found {
            assert!(
                findings.iter().any(|finding| finding.contains(part)),
                "{there}: {part}: {findings:?}"
            );
        }
        execute(&mut conn, back);
        world.check_books();
    }
}

/// Between the cut-off and the netting there is time, and what the pre-flight says is what comes of it.
fn a_closed_window_can_still_be_given_rates(backend: Backend) {
    let mut world = World::new(backend, CURRENCIES);
    let office = Office::found(&world.sandbox);
    world.post("travel", earn("YUU", "m1", "14300")).expect("accepted");
    let mut conn = world.sandbox.database().expect("a connection");
    let before = settlement::preflight(&mut conn).expect("a pre-flight");
    assert_eq!(
        (&*before.format, before.payments[0].currency.as_str()),
        ("points-preflight/1", "USD")
    );
    let window = settlement::open_window(&mut conn).expect("open");
    world.sandbox.clock.set(window.cut_off_at);
    // It closes what is due, and lands in the next.
    world.post("travel", earn("YUU", "m1", "1")).expect("accepted");
    office
        .change(&world.sandbox, fx(window.business_date, "HKD", &[("USD", "7.8123")]))
        .expect("in force");
    world.night();
    assert_eq!(open(&world, window.business_date), ["HKD pool 78.20", "HKD travel -78.20"]);
    office.change(&world.sandbox, in_hkd(&world, "7.9")).expect("in force");
    let before = settlement::preflight(&mut conn).expect("a pre-flight");
    let settlement = world.close();
    assert_eq!(
        (&*before.format, &*settlement.format),
        ("points-preflight/2", "points-settlement/3")
    );
    assert_eq!(
        (&before.conversions, &before.net_positions),
        (&settlement.conversions, &settlement.net_positions)
    );
    assert_eq!(before.obligations, settlement.obligations);
}
