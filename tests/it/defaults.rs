//! A partner that doesn't pay is taken out of a window, and the others pay what is left.

use jiff::civil::Date;
use partner_sdk::banking::Paid;
use partner_sdk::change::{Change, Status};
use partner_sdk::wire::PaymentState;
use partner_sdk::{Amount, Code};
use tests::office::{Office, code_of};
use tests::paying::{account, default, dues, open, owes, pays, revisions, state, suspend};
use tests::{Backend, World, burn, earn, execute, on_both};

on_both!(
    the_rest_pays_what_is_left,
    who_was_paid_too_much_pays_it_back,
    positions_run_on_over_a_default,
    whoever_paid_or_posts_is_not_in_default,
    a_revision_without_a_document_is_found,
    nothing_is_left_of_a_window_of_two,
);

pub const POOL: &str = include_str!("networks/pool.toml");

/// A day on which Wellcome (11.00) and Hang Seng (22.00) owe the pool, and the pool owes Ikea (19.20).
pub fn trade(world: &mut World) -> Date {
    world.post("wellcome", earn("YUU", "m1", "2000")).expect("accepted");
    world.post("hangseng", earn("YUU", "m1", "4000")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "4000")).expect("accepted");
    world.close().business_date
}

fn the_rest_pays_what_is_left(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    account(&world, &office, "clearing");
    account(&world, &office, "pool");
    let date = trade(&mut world);
    let first = world.statement(&date.to_string(), "pool");
    pays(&world, &office, date, "wellcome");
    suspend(&world, &office, "hangseng");
    let document = office.change(&world.sandbox, default("hangseng", date)).expect("taken out");
    // Of the pool's 13.80 to receive 22.00 are gone: it pays 8.20, with which and Wellcome's 11.00 Ikea has its 19.20.
    assert_eq!(open(&world, date), ["ikea 19.20", "pool -8.20"]);
    // And so do net debit caps.
    assert_eq!([owes(&world, "pool"), owes(&world, "hangseng")], ["8.200000", "0.000000"]);
    let pool = &revisions(&world, "pool", date)[0];
    assert_eq!(pool["format"], "points-revision/1");
    assert_eq!(
        (&pool["run"], &pool["cause"], &pool["defaulted"]),
        (&2.into(), &"default".into(), &"hangseng".into())
    );
    assert_eq!(pool["document"], *document.hash);
    assert_eq!(
        pool["taken_out"],
        serde_json::json!([{"counterparty": "hangseng", "currency": "HKD", "amount": "22.00"}])
    );
    assert_eq!(
        pool["net"],
        serde_json::json!([{"currency": "HKD", "before": "13.80", "taken_out": "-22.00", "after": "-8.20", "paid": "0.00", "open": "-8.20"}])
    );
    // What was replaced is shown as such, and the new payment is the one that the revision names.
    let all: Vec<PaymentState> = world
        .runtime
        .block_on(world.client("pool").payments((Date::MIN, Date::MAX), false))
        .expect("payments");
    let replaced: Vec<&PaymentState> = all.iter().filter(|payment| payment.replaced_by.is_some()).collect();
    assert_eq!(replaced.len(), 1, "{all:?}");
    assert_eq!(pool["replaced"], serde_json::json!([replaced[0].reference]));
    let new = all.iter().find(|payment| payment.replaced_by.is_none()).expect("the new one");
    assert_eq!(pool["payments"][0]["reference"], serde_json::json!(new.reference));
    assert_eq!((&*new.amount, new.value_date > date), ("8.20", true));
    // Hang Seng hears that what it owes stays between it and the pool; Ikea is none the worse, and the statements are as they were.
    let hangseng = &revisions(&world, "hangseng", date)[0];
    assert_eq!(
        (&hangseng["taken_out"][0]["amount"], &hangseng["payments"]),
        (&"-22.00".into(), &serde_json::json!([]))
    );
    assert_eq!(revisions(&world, "ikea", date), serde_json::json!([]));
    assert_eq!(world.statement(&date.to_string(), "pool"), first);
    let told = world
        .runtime
        .block_on(world.client("pool").events(0, std::time::Duration::ZERO))
        .expect("events");
    let told: Vec<&str> = told.iter().map(|event| event.kind.as_str()).collect();
    assert!(
        told.ends_with(&["statement.revised", "payment.replaced", "payment.due"]),
        "{told:?}"
    );
    // Its payment file is of what it pays now, and made when that was known.
    let file = world
        .runtime
        .block_on(world.client("pool").get_text(&format!("/v1/statements/{date}/pain001")))
        .expect("a file");
    let in_it = |text: &str| file.contains(text);
    assert!(in_it("<InstdAmt Ccy=\"HKD\">8.20</InstdAmt>") && in_it(new.reference.as_str()) && !in_it(replaced[0].reference.as_str()));
    let made_at = pool["revised_at"].as_str().expect("a time");
    assert!(in_it(&format!("<CreDtTm>{made_at}</CreDtTm>")), "{file}");
    pays(&world, &office, date, "ikea");
    assert_eq!(state(&world, date), settlement::State::Advised);
    pays(&world, &office, date, "pool");
    assert_eq!(state(&world, date), settlement::State::Settled);
    for partner in ["wellcome", "ikea", "pool"] {
        assert_eq!(owes(&world, partner), "0.000000", "{partner}");
    }
}

fn who_was_paid_too_much_pays_it_back(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    pays(&world, &office, date, "pool");
    let after = owes(&world, "pool");
    suspend(&world, &office, "hangseng");
    office.change(&world.sandbox, default("hangseng", date)).expect("taken out");
    assert_eq!(open(&world, date), ["ikea 19.20", "pool -22.00", "wellcome -11.00"]);
    let net = revisions(&world, "pool", date)[0]["net"][0].clone();
    assert_eq!([&net["after"], &net["paid"], &net["open"]], ["-8.20", "13.80", "-22.00"]);
    let owed = owes(&world, "pool");
    for partner in ["pool", "ikea"] {
        pays(&world, &office, date, partner);
    }
    // Its window counts against its caps no more, as before the default.
    assert_eq!((owed, owes(&world, "pool")), ("22.000000".to_owned(), after));
    // A second one is taken out: whoever paid stays, and what is left is made anew, under further references.
    suspend(&world, &office, "pool");
    let code = |partner: &str| code_of(office.propose(&world.sandbox, &office.first, default(partner, date))).err();
    assert_eq!(code("pool"), Some(Code::BadTerms), "what it was paid would have to go back");
    suspend(&world, &office, "wellcome");
    office.change(&world.sandbox, default("wellcome", date)).expect("taken out");
    assert_eq!(open(&world, date), ["pool -11.00"]);
    assert_eq!(revisions(&world, "pool", date).as_array().map(Vec::len), Some(2));
    let all = dues(&world, date);
    let references: std::collections::BTreeSet<_> = all.iter().map(|due| &due.reference).collect();
    assert_eq!((references.len(), all.len()), (6, 6));
    pays(&world, &office, date, "pool");
    assert_eq!(state(&world, date), settlement::State::Settled);
}

fn positions_run_on_over_a_default(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let first = trade(&mut world);
    world.close();
    suspend(&world, &office, "hangseng");
    office.change(&world.sandbox, default("hangseng", first)).expect("taken out");
    pays(&world, &office, first, "pool");
    let third = world.close().business_date;
    let line = |partner: &str| {
        let statement = world.statement(&third.to_string(), partner);
        let lines = statement.running_position.as_deref().expect("one").to_vec();
        let shown = lines.iter().map(|line| {
            let revised = line.revised.as_deref().unwrap_or("-");
            format!("{} {} {revised} {} {}", line.opening, line.confirmed, line.net, line.closing)
        });
        (statement.format, shown.collect::<Vec<_>>().join("; "))
    };
    assert_eq!(line("pool"), ("points-statement/4".into(), "13.80 8.20 -22.00 0.00 0.00".into()));
    assert_eq!(
        line("hangseng"),
        ("points-statement/4".into(), "-22.00 0.00 22.00 0.00 0.00".into())
    );
    assert_eq!(line("ikea"), ("points-statement/3".into(), "19.20 0.00 - 0.00 19.20".into()));
    // In a form for programs too: opening and entries make the closing.
    let sums = world
        .runtime
        .block_on(world.client("pool").get_text(&format!("/v1/statements/{first}/sha256")))
        .expect("a file");
    assert!(sums.contains("camt053") && !sums.contains("pain001"), "{sums}");
    let camt = world
        .runtime
        .block_on(world.client("pool").get_text(&format!("/v1/statements/{third}/camt053")))
        .expect("a file");
    assert!(camt.contains("<Cd>REVISION</Cd>"), "{camt}");
    let csv = world
        .runtime
        .block_on(world.client("pool").get_text(&format!("/v1/statements/{third}/csv")))
        .expect("a file");
    assert!(
        csv.lines()
            .next()
            .is_some_and(|head| head.ends_with("running_carried,running_revised")),
        "{csv}"
    );
    let fourth = world.close().business_date;
    assert_eq!(world.statement(&fourth.to_string(), "pool").format, "points-statement/3");
}

fn whoever_paid_or_posts_is_not_in_default(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let code = |partner: &str, date| code_of(office.propose(&world.sandbox, &office.first, default(partner, date))).err();
    assert_eq!(code("hangseng", date), Some(Code::BadTerms), "active");
    assert_eq!(code("nobody", date), Some(Code::BadTerms), "unknown");
    let leaving = Change::Status {
        partner: "hangseng".parse().expect("an id"),
        status: Status::Leaving,
    };
    office.change(&world.sandbox, leaving).expect("leaving");
    assert_eq!(code("hangseng", date), Some(Code::BadTerms), "who leaves still posts");
    suspend(&world, &office, "hangseng");
    assert_eq!(
        code("hangseng", date.tomorrow().expect("a day")),
        Some(Code::BadTerms),
        "open window"
    );
    let twice =
        [&office.first, &office.second].map(|key| office.propose(&world.sandbox, key, default("hangseng", date)).expect("proposed"));
    assert_eq!(
        code_of(office.approve_change(&world.sandbox, &office.first, &twice[0])).err(),
        Some(Code::FourEyes)
    );
    office.approve_change(&world.sandbox, &office.second, &twice[0]).expect("approved");
    assert_eq!(
        code_of(office.approve_change(&world.sandbox, &office.first, &twice[1])).err(),
        Some(Code::BadTerms),
        "it is out already"
    );
    pays(&world, &office, date, "wellcome");
    suspend(&world, &office, "wellcome");
    assert_eq!(code("wellcome", date), Some(Code::BadTerms), "it has paid");
    // What isn't made any more isn't confirmed.
    let old = dues(&world, date)
        .into_iter()
        .find(|due| due.partner.as_str() == "hangseng")
        .expect("one");
    let confirm = Change::Confirm {
        payments: vec![Paid {
            reference: old.reference.clone(),
            currency: old.currency,
            amount: Amount::from_units(old.amount.0.abs(), 6).expect("an amount"),
            paid_on: date,
        }],
        bank_statement: None,
    };
    assert_eq!(
        code_of(office.propose(&world.sandbox, &office.first, confirm)).err(),
        Some(Code::AlreadySettled)
    );
    office
        .change(&world.sandbox, Change::Settle { business_date: date })
        .expect("settled");
    assert_eq!(code("hangseng", date), Some(Code::AlreadySettled));
    assert!(
        dues(&world, date)
            .iter()
            .all(|due| due.confirmed.is_some() != due.replaced_by.is_some())
    );
}

/// With its only debtor taken out a window has no payment left: it is settled by the default.
fn nothing_is_left_of_a_window_of_two(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    world.post("wellcome", earn("YUU", "m1", "2000")).expect("accepted");
    let date = world.close().business_date;
    suspend(&world, &office, "wellcome");
    let document = office.change(&world.sandbox, default("wellcome", date)).expect("taken out");
    let mut conn = world.sandbox.database().expect("a connection");
    let window = settlement::window(&mut conn, date).expect("reads").expect("there");
    assert_eq!((window.state, window.settled_by), (settlement::State::Settled, Some(document.hash)));
    assert_eq!((open(&world, date), owes(&world, "pool")), (vec![], "0.000000".to_owned()));
    execute(&mut conn, "UPDATE head SET sandbox = FALSE");
    let findings = world.check_trail().into_iter().filter(|finding| finding.contains("window"));
    assert_eq!(findings.collect::<Vec<_>>(), [""; 0]);
    execute(&mut conn, "UPDATE head SET sandbox = TRUE");
}

fn a_revision_without_a_document_is_found(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    suspend(&world, &office, "hangseng");
    office.change(&world.sandbox, default("hangseng", date)).expect("taken out");
    let mut conn = world.sandbox.database().expect("a connection");
    execute(&mut conn, "UPDATE head SET sandbox = FALSE");
    let trail = |world: &World| {
        let findings = world.check_trail().into_iter();
        findings.filter(|finding| finding.contains("revis")).collect::<Vec<_>>()
    };
    assert_eq!(trail(&world), [""; 0]);
    execute(&mut conn, "UPDATE taken_out SET document = 'x' || document");
    assert_eq!(trail(&world), [format!("window {date} is revised, and no signed document says so")]);
    execute(
        &mut conn,
        "UPDATE taken_out SET document = substr(document, 2), micros = micros + 10000",
    );
    execute(&mut conn, "UPDATE head SET sandbox = TRUE");
    let findings = world.findings();
    for start in ["taken_out: ", "the payments of a window"] {
        assert!(findings.iter().any(|finding| finding.contains(start)), "{start}: {findings:?}");
    }
    execute(&mut conn, "UPDATE taken_out SET micros = micros - 10000");
}
