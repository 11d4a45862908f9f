//! No amount stops the night: what one message moves is bounded, and a window full of such messages is closed, netted, advised and checked.

use diesel::connection::SimpleConnection;
use migrations::each_backend;
use partner_sdk::{Body, Code, Message};
use settlement::Settlement;
use tests::{Backend, World, authorise, burn, capture, earn, exchange, id, on_both, prepay, quote};

const BOUNDS: &str = include_str!("networks/bounds.toml");
const POOL: &str = include_str!("networks/pool.toml");
/// A hundred million of money at HK$0.08.
const MOST: &str = "1250000000";
/// The most points, and a hundred million of money at HK$0.0001.
const MOST_POINTS: &str = "1000000000000";

on_both!(
    a_window_of_ten_thousand_messages_at_the_bound,
    what_one_message_moves_is_bounded,
    a_sum_that_would_not_fit_refuses_its_message_alone,
    what_is_held_can_be_captured,
);

/// A quote and the exchange that takes it up, which may stand in one batch.
fn swap(world: &mut World, to_programme: &str, member: &str, points: &str) -> [Message; 2] {
    let quoted = world.message("bank", quote("BANK", to_programme, points));
    let taken = exchange("BANK", to_programme, member, points, &quoted.id);
    [quoted, world.message("bank", taken)]
}

fn net(settlement: &Settlement, partner: &str) -> String {
    let found = settlement.net_positions.iter().find(|n| n.partner.as_str() == partner);
    found.expect("a net position").net.clone()
}

fn statement(world: &World, settlement: &Settlement, partner: &str) -> settlement::Statement {
    let file = world
        .statements()
        .join(settlement.business_date.to_string())
        .join(format!("{partner}.json"));
    serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("a statement")
}

fn a_window_of_ten_thousand_messages_at_the_bound(backend: Backend) {
    let mut world = World::new(backend, BOUNDS);
    for batch in 0..20 {
        let mut messages = vec![];
        for n in 0..500 {
            messages.extend(swap(&mut world, "MILES", &format!("m{}", (batch * 500 + n) % 90), MOST));
        }
        let answers = world.send_all("bank", &messages);
        assert!(
            answers.iter().all(Result::is_ok),
            "batch {batch}: {:?}",
            answers.iter().find(|a| a.is_err())
        );
    }
    // Points at the bound too, bought in advance and drawn, earned, and spent again.
    let bodies = |body: &dyn Fn(&str) -> Body, world: &mut World| -> Vec<Message> {
        (0..500).map(|n| world.message("shop", body(&format!("p{n}")))).collect()
    };
    let prepaid = bodies(&|_| prepay("MILES", MOST_POINTS), &mut world);
    let earned = bodies(&|member| earn("MILES", member, MOST_POINTS), &mut world);
    let again = bodies(&|member| earn("MILES", member, MOST_POINTS), &mut world);
    let spent = bodies(&|member| burn("MILES", member, MOST_POINTS), &mut world);
    for messages in [prepaid, earned, again, spent] {
        let answers = world.send_all("shop", &messages);
        assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|a| a.is_err()));
    }
    // And exchanges that wait for an issuer's answer over the cut-off.
    let mut waiting = vec![];
    for n in 0..100 {
        let [quoted, taken] = swap(&mut world, "FERRY", &format!("f{n}"), MOST);
        waiting.push(taken.id.clone());
        assert!(world.send_all("bank", &[quoted, taken]).iter().all(Result::is_ok));
    }
    let day = world.close();
    // A trillion of exchanges and half of their fee; the shop bought and earned for a hundred billion and spent half of that.
    assert_eq!(day.obligations[0].b_owes, "1000000000000.000000");
    assert_eq!(net(&day, "bank"), "-1020000000000.00");
    assert_eq!(net(&day, "airline"), "1030000000000.00");
    assert_eq!(net(&day, "shop"), "-50000000000.00");
    assert_eq!(net(&day, "clearing"), "40000000000.00");
    let line = statement(&world, &day, "bank")
        .lines
        .into_iter()
        .find(|l| l.kind == "exchange")
        .expect("a line");
    assert_eq!((line.messages, line.points.as_str()), (10_000, "12500000000000"));
    for exchange in waiting {
        let answer = Body::Acknowledge {
            sender_of: "bank".parse().expect("a partner"),
            exchange,
            reference: None,
        };
        world.post("ferry", answer).expect("credited");
    }
    // With a fee of all of it.
    let next = world.close();
    assert_eq!(
        (net(&next, "bank"), net(&next, "clearing")),
        ("-20000000000.00".into(), "10000000000.00".into())
    );
}

fn what_one_message_moves_is_bounded(backend: Backend) {
    let mut world = World::new(backend, BOUNDS);
    // The exchange whose fee fitted nothing, and what is just above each bound.
    for points in ["115292150460684", "1000000000001", "1250000001"] {
        let asked = world.post("bank", quote("BANK", "MILES", points));
        assert_eq!(asked.err(), Some(Code::Overflow), "{points}");
    }
    world.exchange_at_quote("bank", "BANK", "MILES", "m1", MOST).expect("the most");
    let above = "1000000001000";
    assert_eq!(world.post("shop", earn("MILES", "m1", above)).err(), Some(Code::Overflow));
    assert_eq!(world.post("shop", prepay("MILES", above)).err(), Some(Code::Overflow));
    world.post("shop", earn("MILES", "m1", MOST_POINTS)).expect("the most");
    assert_eq!(world.post("shop", burn("MILES", "m1", above)).err(), Some(Code::Overflow));
    let day = world.close();
    assert_eq!(net(&day, "shop"), "-100000000.00");
}

fn a_sum_that_would_not_fit_refuses_its_message_alone(backend: Backend) {
    let mut world = World::new(backend, BOUNDS);
    world.alters_rows();
    let mut conn = world.sandbox.database().expect("a connection");
    let mut execute = |sql: &str| each_backend!(&mut conn, |c| c.batch_execute(sql)).expect("done");
    world.exchange_at_quote("bank", "BANK", "MILES", "m1", MOST).expect("the first");
    // As if there had been 39,999 of them.
    let more = 39_998 * 100_000_000_000_000i64;
    execute(&format!(
        "UPDATE position SET micros = micros + {more} WHERE debtor = 'bank' AND creditor = 'airline'"
    ));
    world
        .exchange_at_quote("bank", "BANK", "MILES", "m1", MOST)
        .expect("the last that fits");
    assert_eq!(
        world.exchange_at_quote("bank", "BANK", "MILES", "m1", "1").err(),
        Some(Code::Overflow)
    );
    world.exchange_at_quote("bank", "BANK", "FERRY", "m1", MOST).expect("another pair");
    world.post("shop", earn("MILES", "m1", MOST_POINTS)).expect("another partner");
    execute(&format!(
        "UPDATE position SET micros = micros - {more} WHERE debtor = 'bank' AND creditor = 'airline'"
    ));
    // Fees, of which all that waits at the ferry is one: 4,000 times what fits at once.
    let fees = 3_996 * 100_000_000_000_000i64;
    execute(&format!(
        "UPDATE position SET micros = micros + {fees} WHERE debtor = 'bank' AND creditor = 'airline'"
    ));
    execute("UPDATE agreement SET terms = REPLACE(terms, '\"clearing_fee_percent\":\"4\"', '\"clearing_fee_percent\":\"100\"')");
    execute("UPDATE head SET directory_version = directory_version + 1");
    world
        .exchange_at_quote("bank", "BANK", "MILES", "m1", MOST)
        .expect("its fee is the last that fits");
    assert_eq!(
        world.exchange_at_quote("bank", "BANK", "MILES", "m1", MOST).err(),
        Some(Code::Overflow)
    );
    execute(&format!(
        "UPDATE position SET micros = micros - {fees} WHERE debtor = 'bank' AND creditor = 'airline'"
    ));
    execute(
        "UPDATE agreement SET terms = REPLACE(terms, '\"clearing_fee_percent\":\"100\"', '\"clearing_fee_percent\":\"4\"') WHERE terms LIKE '%MILES%'",
    );
    execute("UPDATE head SET directory_version = directory_version + 1");
    world.close();
}

fn what_is_held_can_be_captured(backend: Backend) {
    let mut world = World::new(backend, POOL);
    for _ in 0..3 {
        world.post("wellcome", earn("YUU", "m1", "10000000000")).expect("within the bound");
    }
    // 144 million of money at HK$0.0048: more than one message moves, whether it is spent at once or later.
    assert_eq!(world.post("ikea", burn("YUU", "m1", "30000000000")), Err(Code::Overflow));
    assert_eq!(world.post("ikea", authorise("YUU", "m1", "30000000000")), Err(Code::Overflow));
    let hold = id(world.post("ikea", authorise("YUU", "m1", "20000000000")));
    world.post("ikea", capture(&hold, "20000000000")).expect("it is held");
}
