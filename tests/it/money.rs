//! Every worked example of the design's section 4, through the wire, on both databases.

use jiff::ToSpan;
use partner_sdk::Code;
use settlement::Settlement;
use tests::{Backend, World, burn, earn, earn_spend, id, on_both, reverse, reverse_spend, with_bonus};

const POOL: &str = include_str!("networks/pool.toml");
const MILES: &str = include_str!("networks/miles.toml");

on_both!(
    a_pooled_day,
    a_balance_goes_below_zero_only_where_allowed,
    refunds_by_spend_are_cumulative,
    an_exchange_leaves_what_the_step_leaves,
    a_fee_is_borne_as_agreed,
    an_exchange_with_a_bonus_is_reversed_in_part,
    what_settles_at_redemption_is_owed_when_it_is_spent,
    a_reversal_in_pieces_is_the_same_as_at_once,
);

/// What a partner receives (positive) or pays, as on the settlement; "0.00" where it isn't named.
fn net(settlement: &Settlement, partner: &str) -> String {
    let found = settlement.net_positions.iter().find(|n| n.partner.as_str() == partner);
    found.map_or_else(|| "0.00".to_owned(), |n| n.net.clone())
}

/// What a owes b on balance, after rounding; positive where the first owes.
fn pair(settlement: &Settlement, a: &str, b: &str) -> String {
    let found = settlement
        .obligations
        .iter()
        .find(|o| o.party_a.as_str() == a && o.party_b.as_str() == b);
    found.expect("the pair has an obligation").net.clone()
}

fn a_pooled_day(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let base = id(world.post("wellcome", earn_spend("YUU", "m1", "2000", "2000.00")));
    let bonus = id(world.post("hangseng", earn("YUU", "m1", "4000")));
    world.post("ikea", burn("YUU", "m1", "4000")).expect("enough points");
    world.post("wellcome", reverse(&base, "500")).expect("within what was earned");
    world.post("hangseng", reverse(&bonus, "1000")).expect("within what was earned");
    assert_eq!(world.points("pool", "YUU", "m1"), "500");
    // The points earned today expire at the end of tomorrow, so the money moves today and the breakage shows tomorrow.
    let today = world.close();
    assert_eq!(net(&today, "wellcome"), "-8.25");
    assert_eq!(net(&today, "hangseng"), "-16.50");
    assert_eq!(net(&today, "ikea"), "19.20");
    assert_eq!(net(&today, "pool"), "5.55");
    assert_eq!(today.reduction[0].gross, "60.450000");
    let payments: Vec<(&str, &str, &str)> = today
        .payments
        .iter()
        .map(|p| (p.payer.as_str(), p.payee.as_str(), p.amount.as_str()))
        .collect();
    assert!(
        payments.contains(&("wellcome", "clearing", "8.25")) && payments.contains(&("hangseng", "clearing", "16.50")),
        "{payments:?}"
    );
    assert!(
        payments.contains(&("clearing", "ikea", "19.20")) && payments.contains(&("clearing", "pool", "5.55")),
        "{payments:?}"
    );
    let tomorrow = world.close();
    assert_eq!(world.points("pool", "YUU", "m1"), "0");
    assert_eq!(tomorrow.obligations, vec![]);
    let file = world.statements().join(tomorrow.business_date.to_string()).join("pool.json");
    let statement: settlement::Statement =
        serde_json::from_slice(&std::fs::read(file).expect("the pool's statement")).expect("a statement");
    let breakage: Vec<(&str, &str)> = statement.breakage.iter().map(|b| (b.points.as_str(), b.value.as_str())).collect();
    assert_eq!(breakage, [("500", "2.750000")]);
}

fn a_balance_goes_below_zero_only_where_allowed(backend: Backend) {
    for (limit, allowed) in [("2000", true), ("1499", false)] {
        let network = POOL.replace("expires_after = \"1 day\"", &format!("negative_limit = \"{limit}\""));
        let mut world = World::new(backend, &network);
        let base = id(world.post("wellcome", earn("YUU", "m1", "2000")));
        let bonus = id(world.post("hangseng", earn("YUU", "m1", "4000")));
        world.post("ikea", burn("YUU", "m1", "6000")).expect("enough points");
        world.post("wellcome", reverse(&base, "500")).expect("within the limit");
        if !allowed {
            let message = world.message("hangseng", reverse(&bonus, "1000"));
            let answer = world.post_jws("hangseng", &world.sign(&message));
            let problem = answer.problem.expect("refused");
            assert_eq!((problem.code, problem.field.as_deref()), (Code::ClawbackLimited, Some("points")));
            let receipt = world
                .client("hangseng")
                .verify_receipt(&answer.receipt.expect("signed"))
                .expect("good");
            assert_eq!(receipt.fact("recoverable"), Some("999"));
            assert_eq!(world.points("pool", "YUU", "m1"), "-500");
            continue;
        }
        world.post("hangseng", reverse(&bonus, "1000")).expect("within the limit");
        assert_eq!(world.points("pool", "YUU", "m1"), "-1500");
        // Later earns repay first.
        world.post("wellcome", earn("YUU", "m1", "1600")).expect("accepted");
        assert_eq!(world.points("pool", "YUU", "m1"), "100");
        assert_eq!(world.post("ikea", burn("YUU", "m1", "101")), Err(Code::InsufficientBalance));
        world.post("ikea", burn("YUU", "m1", "100")).expect("what is left");
        // Each funder at its own price, whatever remains: 2000 + 1600 - 500 and 4000 - 1000 points.
        let day = world.close();
        assert_eq!((net(&day, "wellcome"), net(&day, "hangseng")), ("-17.05".into(), "-16.50".into()));
    }
}

fn refunds_by_spend_are_cumulative(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let sale = id(world.post("wellcome", earn_spend("YUU", "m1", "99", "99.90")));
    let first = world.post("wellcome", reverse_spend(&sale, "49.95")).expect("half");
    assert_eq!(
        (first.fact("points"), world.points("pool", "YUU", "m1").as_str()),
        (Some("50"), "49")
    );
    let second = world.post("wellcome", reverse_spend(&sale, "49.95")).expect("the other half");
    assert_eq!(
        (second.fact("points"), world.points("pool", "YUU", "m1").as_str()),
        (Some("49"), "0")
    );
    assert_eq!(world.post("wellcome", reverse_spend(&sale, "0.01")), Err(Code::ReversalExceeded));
    assert_eq!(net(&world.close(), "wellcome"), "0.00");
}

fn an_exchange_leaves_what_the_step_leaves(backend: Backend) {
    let mut world = World::new(backend, MILES);
    world.post("bank", earn("BANK", "m1", "730")).expect("the bank's own points");
    let receipt = world.exchange_at_quote("bank", "BANK", "MILES", "m1", "730").expect("accepted");
    let facts = ["points", "credited", "bonus", "left_over"].map(|name| receipt.fact(name).expect("a fact").to_owned());
    assert_eq!(facts, ["700", "7000", "0", "30"]);
    assert_eq!(
        (world.points("bank", "BANK", "m1"), world.points("airline", "MILES", "m1")),
        ("30".into(), "7000".into())
    );
    assert_eq!(
        world.exchange_at_quote("bank", "BANK", "MILES", "m1", "99"),
        Err(Code::BelowMinimum)
    );
    let day = world.close();
    assert_eq!(pair(&day, "airline", "bank"), "-560.00");
    assert_eq!(pair(&day, "bank", "clearing"), "5.60");
}

fn a_fee_is_borne_as_agreed(backend: Backend) {
    let fee = "clearing_fee_percent = \"1\"";
    for (borne_by, percent, rounding, bank, airline) in [
        ("issuer", "1", "half_even", None, Some("5.60")),
        ("half", "1", "half_even", Some("2.80"), Some("2.80")),
        // 0.0125 % of 560.00 are 7 cents: the odd one is the partner's.
        ("half", "0.0125", "half_even", Some("0.04"), Some("0.03")),
        // 0.001 % are 0.56 of a cent.
        ("partner", "0.001", "down", None, None),
        ("partner", "0.001", "half_up", Some("0.01"), None),
    ] {
        let terms = format!("clearing_fee_percent = \"{percent}\"\nclearing_fee_borne_by = \"{borne_by}\"\nrounding = \"{rounding}\"");
        let mut world = World::new(backend, &MILES.replace(fee, &terms));
        world.post("bank", earn("BANK", "m1", "700")).expect("the bank's own points");
        world.exchange_at_quote("bank", "BANK", "MILES", "m1", "700").expect("accepted");
        let day = world.close();
        let fee_of = |partner: &str| {
            let pair = day
                .obligations
                .iter()
                .find(|o| o.party_a.as_str() == partner && o.party_b.as_str() == "clearing");
            pair.map(|o| o.net.as_str())
        };
        assert_eq!(
            (fee_of("bank"), fee_of("airline")),
            (bank, airline),
            "{borne_by} {percent} {rounding}"
        );
        assert_eq!(pair(&day, "airline", "bank"), "-560.00");
    }
}

fn an_exchange_with_a_bonus_is_reversed_in_part(backend: Backend) {
    let mut world = World::new(backend, &with_bonus(MILES, "15"));
    world.post("bank", earn("BANK", "m1", "730")).expect("the bank's own points");
    let swap = world.exchange_at_quote("bank", "BANK", "MILES", "m1", "730").expect("accepted");
    assert_eq!((swap.fact("credited"), swap.fact("bonus")), (Some("7000"), Some("1050")));
    let swap = id(Ok(swap));
    let positions: serde_json::Value = world
        .runtime
        .block_on(world.client("bank").get("/v1/positions"))
        .expect("positions");
    assert_eq!(positions["net"][0]["owes"], "602.000000");
    world.post("hotel", burn("MILES", "m1", "3000")).expect("enough miles");
    let message = world.message("bank", reverse(&swap, "700"));
    let answer = world.post_jws("bank", &world.sign(&message));
    let receipt = world.client("bank").verify_receipt(&answer.receipt.expect("signed")).expect("good");
    assert_eq!(
        (receipt.code, receipt.fact("recoverable")),
        (Some(Code::ClawbackLimited), Some("400"))
    );
    world.post("bank", reverse(&swap, "400")).expect("what can be clawed back");
    assert_eq!(
        (world.points("bank", "BANK", "m1"), world.points("airline", "MILES", "m1")),
        ("430".into(), "450".into())
    );
    let day = world.close();
    assert_eq!(pair(&day, "airline", "bank"), "-258.00");
    assert_eq!(pair(&day, "airline", "hotel"), "210.00");
    // The fee is on the exchange line: 1 % of 560.00.
    assert_eq!(pair(&day, "bank", "clearing"), "5.60");
    // The bank points came back with their own expiry: two months after they were earned, so they are there one month later and gone after three.
    world.wait(1.months());
    world.close();
    assert_eq!(world.balance("bank", "BANK", "m1").2, "430");
    world.wait(2.months());
    world.close();
    assert_eq!(world.points("bank", "BANK", "m1"), "0");
}

fn what_settles_at_redemption_is_owed_when_it_is_spent(backend: Backend) {
    let network = POOL.replacen(
        "currency = \"HKD\"\nvalid_from",
        "currency = \"HKD\"\nsettle = \"redemption\"\nvalid_from",
        1,
    );
    let network = network.replace("expires_after = \"1 day\"", "expires_after = \"12 months\"");
    let mut world = World::new(backend, &network);
    let sale = id(world.post("wellcome", earn("YUU", "m1", "1000")));
    assert_eq!(world.close().obligations, vec![]);
    let spent = id(world.post("ikea", burn("YUU", "m1", "600")));
    let day = world.close();
    // 600 points at the lot's own price, in the window of the burn; the pool pays ikea for all of them.
    assert_eq!(
        (net(&day, "wellcome"), net(&day, "ikea"), net(&day, "pool")),
        ("-3.30".into(), "2.88".into(), "0.42".into())
    );
    // Taking back the burn takes back the redemption.
    world.post("ikea", reverse(&spent, "100")).expect("within the burn");
    let day = world.close();
    assert_eq!((net(&day, "wellcome"), net(&day, "ikea")), ("0.55".into(), "-0.48".into()));
    // 500 are left and nothing is owed for them: reversing them moves no money.
    world.post("wellcome", reverse(&sale, "500")).expect("unspent");
    assert_eq!(world.close().obligations, vec![]);
    assert_eq!(world.points("pool", "YUU", "m1"), "0");
}

fn a_reversal_in_pieces_is_the_same_as_at_once(backend: Backend) {
    let network = with_bonus(MILES, "7").replace("step = \"100\"", "step = \"1\"");
    let mut at_once = World::new(backend, &network);
    let mut in_pieces = World::new(backend, &network);
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed}");
    let mut state = seed;
    let mut draw = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) % n
    };
    let mut swaps = vec![];
    for world in [&mut at_once, &mut in_pieces] {
        world.post("bank", earn("BANK", "m1", "777")).expect("accepted");
        swaps.push(id(world.exchange_at_quote("bank", "BANK", "MILES", "m1", "777")));
    }
    let mut total = 0;
    while total < 600 {
        let piece = draw(90).min(777 - total);
        in_pieces.post("bank", reverse(&swaps[1], &piece.to_string())).expect("a piece");
        total += piece;
    }
    at_once.post("bank", reverse(&swaps[0], &total.to_string())).expect("at once");
    for (partner, programme) in [("bank", "BANK"), ("airline", "MILES")] {
        assert_eq!(
            at_once.points(partner, programme, "m1"),
            in_pieces.points(partner, programme, "m1"),
            "SEED={seed}"
        );
    }
    assert_eq!(at_once.close().obligations, in_pieces.close().obligations, "SEED={seed}");
}
