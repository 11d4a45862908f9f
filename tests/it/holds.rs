//! A hold keeps what it held: expiry, refunds and the night in between don't change which points those are (DESIGN section 3.8).

use partner_sdk::{Code, MessageId};
use tests::{Backend, World, amount, authorise, burn, capture, earn, id, on_both, reverse, void};

const POOL: &str = include_str!("networks/pool.toml");
const ELSEWHERE: &str = include_str!("networks/elsewhere.toml");

on_both!(
    a_capture_takes_what_was_held,
    the_funder_of_what_was_held_pays,
    a_reversal_leaves_a_hold_capturable,
    what_is_spent_meanwhile_is_something_else,
    a_hold_that_ends_after_the_expiry_frees_nothing,
    a_hold_ends_by_itself_the_same_before_and_after_the_night,
    a_waiting_exchange_keeps_what_it_held,
);

/// Holds may last a week; wellcome's points cost 0.0055, hangseng's 0.0080.
fn pool() -> String {
    let network = POOL.replace("price = \"0.0048\"", "price = \"0.0048\"\nhold_minutes = 10080");
    let (before, after) = network.split_once("partner = \"hangseng\"").expect("its agreement");
    format!("{before}partner = \"hangseng\"{}", after.replacen("\"0.0055\"", "\"0.0080\"", 1))
}

fn shows(world: &World, balance: &str, held: &str, available: &str) {
    let seen = world.balance("ikea", "YUU", "m1");
    assert_eq!((seen.0.as_str(), seen.1.as_str(), seen.2.as_str()), (balance, held, available));
}

/// Wellcome's 100, which expire with 21 November, and of hangseng's as many as stated, which expire a day later; of all of them 100 are held.
fn held(backend: Backend, network: &str, second: &str) -> (World, MessageId) {
    let mut world = World::new(backend, network);
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    world.at("2026-11-21T10:00+08");
    world.post("hangseng", earn("YUU", "m1", second)).expect("accepted");
    let hold = id(world.post("ikea", authorise("YUU", "m1", "100")));
    (world, hold)
}

fn a_capture_takes_what_was_held(backend: Backend) {
    for second in ["100", "40"] {
        for captured_at in ["2026-11-21T20:00+08", "2026-11-22T10:00+08"] {
            for night in [true, false] {
                let (mut world, hold) = held(backend, &pool(), second);
                world.at(captured_at);
                shows(&world, &(100 + second.parse::<i64>().expect("a number")).to_string(), "100", second);
                if night {
                    world.night();
                    shows(&world, &(100 + second.parse::<i64>().expect("a number")).to_string(), "100", second);
                }
                world.post("ikea", capture(&hold, "100")).expect("it is held");
                shows(&world, second, "0", second);
                world.at("2026-11-23T01:00+08");
                world.night();
                assert_eq!(world.breakage("2026-11-21", "pool"), vec![], "the points of the 20th were spent");
                let value = if second == "100" { "0.800000" } else { "0.320000" };
                assert_eq!(
                    world.breakage("2026-11-22", "pool"),
                    [("expiry".into(), second.into(), value.into())],
                    "captured at {captured_at}, night before it: {night}"
                );
            }
        }
    }
}

fn the_funder_of_what_was_held_pays(backend: Backend) {
    let (mut world, hold) = held(
        backend,
        &pool().replace("kind = \"earn\"", "kind = \"earn\"\nsettle = \"redemption\""),
        "100",
    );
    world.at("2026-11-22T10:00+08");
    world.night();
    world.post("ikea", capture(&hold, "100")).expect("it is held");
    let day = world.close();
    let net = |partner: &str| {
        day.net_positions
            .iter()
            .find(|n| n.partner.as_str() == partner)
            .map(|n| n.net.clone())
    };
    assert_eq!((net("wellcome"), net("hangseng")), (Some("-0.55".into()), None));
}

fn a_reversal_leaves_a_hold_capturable(backend: Backend) {
    // No debt is allowed here: what is held can't be taken back.
    let mut world = World::new(backend, &pool());
    let first = id(world.post("wellcome", earn("YUU", "m1", "100")));
    let second = id(world.post("hangseng", earn("YUU", "m1", "100")));
    let hold = id(world.post("ikea", authorise("YUU", "m1", "150")));
    let message = world.message("wellcome", reverse(&first, "100"));
    let refused = world.post_jws("wellcome", &world.sign(&message));
    assert_eq!(refused.problem.expect("refused").code, Code::ClawbackLimited);
    let receipt = world
        .client("wellcome")
        .verify_receipt(&refused.receipt.expect("kept"))
        .expect("good");
    assert_eq!(receipt.fact("recoverable"), Some("50"));
    world.post("hangseng", reverse(&second, "50")).expect("nobody holds these");
    shows(&world, "150", "150", "0");
    world.post("ikea", capture(&hold, "150")).expect("it is held");
    shows(&world, "0", "0", "0");
}

fn what_is_spent_meanwhile_is_something_else(backend: Backend) {
    let (mut world, hold) = held(backend, &pool(), "100");
    // The older points are held, so the newer ones are spent.
    world.post("ikea", burn("YUU", "m1", "60")).expect("40 are left");
    assert_eq!(world.post("ikea", burn("YUU", "m1", "41")), Err(Code::InsufficientBalance));
    world.at("2026-11-22T10:00+08");
    world.post("ikea", capture(&hold, "100")).expect("it is held");
    shows(&world, "40", "0", "40");
    // What a capture leaves of a hold is free again; where its time is over, the next cut-off takes it.
    let (mut world, hold) = held(backend, &pool(), "100");
    world.at("2026-11-22T10:00+08");
    world.post("ikea", capture(&hold, "30")).expect("less than is held");
    shows(&world, "170", "0", "100");
    world.at("2026-11-23T00:00+08");
    world.night();
    assert_eq!(world.breakage("2026-11-21", "pool"), vec![]);
    assert_eq!(
        world.breakage("2026-11-22", "pool"),
        [
            ("expiry".into(), "100".into(), "0.800000".into()),
            ("expiry".into(), "70".into(), "0.385000".into())
        ]
    );
}

fn a_hold_that_ends_after_the_expiry_frees_nothing(backend: Backend) {
    for night in [true, false] {
        let (mut world, hold) = held(backend, &pool(), "100");
        world.at("2026-11-22T10:00+08");
        if night {
            world.night();
        }
        world.post("ikea", void(&hold)).expect("open");
        shows(&world, "200", "0", "100");
        assert_eq!(world.post("ikea", burn("YUU", "m1", "101")), Err(Code::InsufficientBalance));
        world.at("2026-11-23T00:00+08");
        world.night();
        shows(&world, "0", "0", "0");
        assert_eq!(world.breakage("2026-11-21", "pool"), vec![], "they were held at that cut-off");
        assert_eq!(world.breakage("2026-11-22", "pool").len(), 2);
    }
}

fn a_hold_ends_by_itself_the_same_before_and_after_the_night(backend: Backend) {
    for night in [true, false] {
        let mut world = World::new(backend, &pool());
        world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
        let mut body = authorise("YUU", "m1", "100");
        if let partner_sdk::Body::Authorise { expires_at, points, .. } = &mut body {
            (*expires_at, *points) = (Some("2026-11-22T02:00+08".parse().expect("a time")), amount("100"));
        }
        let hold = id(world.post("ikea", body));
        world.at("2026-11-23T10:00+08");
        if night {
            world.night();
        }
        assert_eq!(world.post("ikea", capture(&hold, "1")), Err(Code::HoldExpired));
        assert_eq!(world.post("ikea", void(&hold)), Err(Code::HoldExpired));
        world.night();
        shows(&world, "0", "0", "0");
        // It ended between two cut-offs: the second one takes the points, however late the night is.
        assert_eq!(world.breakage("2026-11-21", "pool"), vec![]);
        assert_eq!(
            world.breakage("2026-11-22", "pool"),
            [("expiry".into(), "100".into(), "0.550000".into())]
        );
    }
}

fn a_waiting_exchange_keeps_what_it_held(backend: Backend) {
    let network = ELSEWHERE.replace("expires_after = \"2 months\"", "expires_after = \"1 day\"");
    let mut world = World::new(backend, &network);
    world.post("bank", earn("BANK", "m1", "200")).expect("accepted");
    world.exchange_at_quote("bank", "BANK", "MILES", "m1", "200").expect("instructed");
    world.at("2026-11-21T10:00+08");
    world.post("bank", earn("BANK", "m1", "100")).expect("accepted");
    let seen = |world: &World| world.balance("bank", "BANK", "m1");
    assert_eq!(seen(&world), ("300".into(), "200".into(), "100".into()));
    world.at("2026-11-22T10:00+08");
    world.night();
    assert_eq!(
        seen(&world),
        ("300".into(), "200".into(), "100".into()),
        "newer points stand in for nothing"
    );
    world.post("shop", burn("BANK", "m1", "100")).expect("the newer ones are free");
    assert_eq!(world.breakage("2026-11-21", "bank"), vec![]);
    assert_eq!(seen(&world), ("200".into(), "200".into(), "0".into()));
}
