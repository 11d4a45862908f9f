//! Where holds, debts, reversals and redemption meet: nobody pays twice, and nobody gets back what it didn't pay.

use jiff::ToSpan;
use ledger::network::Network;
use partner_sdk::Code;
use store::admin;
use tests::{Backend, World, authorise, burn, capture, earn, id, on_both, reverse, void, with_bonus};

const POOL: &str = include_str!("networks/pool.toml");
const MILES: &str = include_str!("networks/miles.toml");

on_both!(
    a_funder_is_refunded_once,
    a_reversed_earn_is_not_charged_later,
    expiring_points_repay_a_debt_first,
    a_hold_outlives_expiry_and_clawback,
    a_new_agreement_prices_the_bonus_too,
    what_does_not_fit_is_refused,
);

/// Both funders settle at redemption; a balance may go below zero.
fn at_redemption(limit: &str) -> String {
    let network = POOL.replace("kind = \"earn\"", "kind = \"earn\"\nsettle = \"redemption\"");
    network.replace(
        "expires_after = \"1 day\"",
        &format!("expires_after = \"12 months\"\nnegative_limit = \"{limit}\""),
    )
}

/// What a partner owes now, net, in dollars with six decimals.
fn owes(world: &World, partner: &str) -> String {
    let positions: serde_json::Value = world
        .runtime
        .block_on(world.client(partner).get("/v1/positions"))
        .expect("positions");
    positions["net"][0]["owes"].as_str().unwrap_or("0.000000").to_owned()
}

fn a_funder_is_refunded_once(backend: Backend) {
    let mut world = World::new(backend, &at_redemption("0"));
    let first = id(world.post("wellcome", earn("YUU", "m1", "100")));
    world.post("hangseng", earn("YUU", "m1", "100")).expect("accepted");
    let spent = id(world.post("ikea", burn("YUU", "m1", "100")));
    assert_eq!(owes(&world, "wellcome"), "0.550000");
    // The points come from the other lot, whose funder is charged instead.
    world.post("wellcome", reverse(&first, "100")).expect("hangseng's points are there");
    assert_eq!(
        (owes(&world, "wellcome"), owes(&world, "hangseng")),
        ("0.000000".into(), "0.550000".into())
    );
    world.post("ikea", reverse(&spent, "100")).expect("within the burn");
    assert_eq!(owes(&world, "wellcome"), "0.000000");
    world.post("ikea", burn("YUU", "m1", "100")).expect("given back");
    assert_eq!(
        (owes(&world, "wellcome"), owes(&world, "hangseng")),
        ("0.000000".into(), "0.550000".into())
    );
}

fn a_reversed_earn_is_not_charged_later(backend: Backend) {
    let mut world = World::new(backend, &at_redemption("1500"));
    let first = id(world.post("wellcome", earn("YUU", "m1", "100")));
    let hold = id(world.post("ikea", authorise("YUU", "m1", "100")));
    world
        .post("wellcome", reverse(&first, "100"))
        .expect("as a debt: the points are held");
    world.post("ikea", capture(&hold, "100")).expect("held");
    assert_eq!(owes(&world, "wellcome"), "0.000000");
    world.post("hangseng", earn("YUU", "m1", "100")).expect("accepted");
    // It repays the debt, so these are the points that were spent.
    assert_eq!(
        (owes(&world, "wellcome"), owes(&world, "hangseng")),
        ("0.000000".into(), "0.550000".into())
    );
    assert_eq!(world.points("pool", "YUU", "m1"), "0");
}

fn expiring_points_repay_a_debt_first(backend: Backend) {
    let network = POOL.replace("expires_after = \"1 day\"", "expires_after = \"1 day\"\nnegative_limit = \"1500\"");
    let mut world = World::new(backend, &network);
    let first = id(world.post("wellcome", earn("YUU", "m1", "100")));
    let hold = id(world.post("ikea", authorise("YUU", "m1", "100")));
    world
        .post("wellcome", reverse(&first, "50"))
        .expect("as a debt: the points are held");
    world.post("ikea", void(&hold)).expect("open");
    assert_eq!(world.points("pool", "YUU", "m1"), "50");
    world.close();
    let day = world.close();
    assert_eq!(world.points("pool", "YUU", "m1"), "0");
    let file = world.statements().join(day.business_date.to_string()).join("pool.json");
    let statement: settlement::Statement =
        serde_json::from_slice(&std::fs::read(file).expect("the pool's statement")).expect("a statement");
    assert_eq!(statement.breakage.iter().map(|b| b.points.as_str()).collect::<Vec<_>>(), ["50"]);
}

fn a_hold_outlives_expiry_and_clawback(backend: Backend) {
    // Windows end at 18:00 here, so there are hours between a lot's end at midnight and the night that removes it.
    let network = POOL.replace("zone = \"Asia/Hong_Kong\"", "zone = \"Asia/Hong_Kong\"\ncut_off = \"18:00\"");
    let network = network.replace("price = \"0.0048\"", "price = \"0.0048\"\nhold_minutes = 10000");
    let mut world = World::new(backend, &network);
    world
        .post("wellcome", earn("YUU", "m1", "100"))
        .expect("expires at the end of tomorrow");
    world.wait(24.hours());
    let second = id(world.post("wellcome", earn("YUU", "m1", "100")));
    let hold = id(world.post("ikea", authorise("YUU", "m1", "100")));
    world.wait(16.hours());
    // The first lot's time is over; the hold keeps it all the same, and the second is free.
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("200".into(), "100".into(), "100".into()));
    world.post("wellcome", reverse(&second, "100")).expect("nobody holds it");
    world.post("ikea", capture(&hold, "100")).expect("the hold holds");
    world.close();
    assert_eq!(world.points("pool", "YUU", "m1"), "0");
}

fn a_new_agreement_prices_the_bonus_too(backend: Backend) {
    let network = with_bonus(MILES, "15");
    let mut world = World::new(backend, &network);
    let (exchange_terms, _) = network
        .split_once("kind = \"exchange\"")
        .map(|(_, rest)| rest.split_once("[[rate]]").expect("a rate"))
        .expect("an exchange");
    let version = |price: &str, from: &str| {
        let terms = exchange_terms
            .replace("\"0.08\"", &format!("\"{price}\""))
            .replace("2026-01-01T00:00:00Z", from);
        Network::parse(&format!("{network}\n[[agreement]]\nkind = \"exchange\"{terms}")).expect("a network")
    };
    let mut conn = world.sandbox.database().expect("a connection");
    // Under this one, half of a bonus mile would cost half a micro; and one that starts before what is there would rewrite history.
    assert!(admin::apply_network(&mut conn, &version("0.04", "2025-12-01T00:00:00Z"), world.now()).is_err());
    admin::apply_network(&mut conn, &version("0.04", "2026-02-01T00:00:00Z"), world.now()).expect("a later version");
    world.post("bank", earn("BANK", "m1", "730")).expect("accepted");
    world.exchange_at_quote("bank", "BANK", "MILES", "m1", "730").expect("accepted");
    // 7,000 at 0.04, and 1,050 at half of it.
    assert_eq!(owes(&world, "bank"), "301.000000");
}

fn what_does_not_fit_is_refused(backend: Backend) {
    let network = at_redemption("0")
        .replace("price = \"0.0055\"", "price = \"1000\"")
        .replace("price = \"0.0048\"", "price = \"1000\"");
    let mut world = World::new(backend, &network);
    // A hundred thousand points of HK$1,000 are worth a hundred million: what is owed only when they are spent is bounded when they are issued.
    assert_eq!(world.post("wellcome", earn("YUU", "m1", "100001")), Err(Code::Overflow));
    for _ in 0..2 {
        world.post("wellcome", earn("YUU", "m1", "100000")).expect("nothing is owed yet");
    }
    // Spent, both the funder and the pool owe.
    assert_eq!(world.post("ikea", burn("YUU", "m1", "50001")), Err(Code::Overflow));
    for _ in 0..4 {
        world.post("ikea", burn("YUU", "m1", "50000")).expect("one fits");
    }
    let day = world.close();
    assert_eq!(day.reduction[0].gross, "400000000.000000");
}
