//! Exchanges with programmes whose issuers keep the balances: reserved here, credited there, and ended once, by the issuer's own word.

use std::time::{Duration, Instant};

use jiff::ToSpan;
use partner_sdk::change::{Change, Status};
use partner_sdk::wire::{Event, ExchangeState, InstructedExchange};
use partner_sdk::{Body, Code, Message, MessageId, Receipt};
use settlement::Settlement;
use store::pending;
use tests::office::Office;
use tests::{Backend, World, authorise, burn, earn, on_both, quote, reverse, with_bonus};

const ELSEWHERE: &str = include_str!("networks/elsewhere.toml");

on_both!(
    money_is_owed_only_after_the_acknowledgement,
    a_refusal_gives_everything_back,
    no_answer_is_unknown_until_there_is_one,
    both_sides_elsewhere,
    a_source_elsewhere_is_captured_at_once,
    reserved_money_counts_for_caps,
    only_the_issuer_answers_and_only_once,
    suspension_does_not_block_the_answer,
    nobody_goes_while_an_answer_is_due,
    what_was_reserved_outlives_its_expiry,
    a_programme_kept_elsewhere_has_no_balances_here,
    exchange_and_answer_share_a_window_or_not,
);

/// The airline's word about an exchange of the bank's.
fn credited(sender_of: &str, exchange: &MessageId) -> Body {
    Body::Acknowledge {
        sender_of: sender_of.parse().expect("a partner"),
        exchange: exchange.clone(),
        reference: Some("FF-1".parse().expect("a reference")),
    }
}

fn refused(sender_of: &str, exchange: &MessageId) -> Body {
    Body::Refuse {
        sender_of: sender_of.parse().expect("a partner"),
        exchange: exchange.clone(),
        reason: "member_unknown".parse().expect("a reason"),
    }
}

fn events(world: &World, partner: &str, kind: &str) -> Vec<Event> {
    let all = world
        .runtime
        .block_on(world.client(partner).events(0, Duration::ZERO))
        .expect("events");
    all.into_iter().filter(|event| event.kind == kind).collect()
}

fn shown(world: &World, partner: &str, sender: &str, id: &MessageId) -> InstructedExchange {
    let sender = sender.parse().expect("a partner");
    let client = world.client(partner);
    world
        .runtime
        .block_on(client.instructed_exchange(&sender, id))
        .expect("an exchange")
}

fn open(world: &World, partner: &str) -> Vec<InstructedExchange> {
    world.runtime.block_on(world.client(partner).open_exchanges(0)).expect("a list")
}

/// An exchange that is instructed: its receipt.
fn instructed(world: &mut World, points: &str) -> (MessageId, Receipt) {
    let receipt = world.exchange_at_quote("bank", "BANK", "MILES", "m1", points).expect("instructed");
    assert_eq!(receipt.fact("state"), Some("instructed"));
    (receipt.id.clone().expect("an id"), receipt)
}

/// What a partner owes net, from its own view.
fn owes(world: &World, partner: &str) -> String {
    let answer: serde_json::Value = world
        .runtime
        .block_on(world.client(partner).get("/v1/positions"))
        .expect("positions");
    answer["net"][0]["owes"].as_str().unwrap_or("0.000000").to_owned()
}

/// What each partner is paid by a night, or pays.
fn net(settlement: &Settlement) -> Vec<String> {
    let mut net: Vec<String> = settlement
        .net_positions
        .iter()
        .map(|p| format!("{} {}", p.partner, p.net))
        .collect();
    net.sort();
    net
}

fn with_points(backend: Backend, network: &str, points: &str) -> World {
    let mut world = World::new(backend, network);
    world.post("bank", earn("BANK", "m1", points)).expect("the bank's own points");
    world
}

fn money_is_owed_only_after_the_acknowledgement(backend: Backend) {
    let mut world = with_points(backend, &with_bonus(ELSEWHERE, "15"), "730");
    let (id, receipt) = instructed(&mut world, "730");
    assert_eq!(receipt.fact("deadline"), Some("2026-11-20T02:10:00Z"));
    assert_eq!(receipt.fact("credited"), Some("7000"));
    assert_eq!(world.balance("bank", "BANK", "m1"), ("730".into(), "700".into(), "30".into()));
    assert_eq!(
        (owes(&world, "bank"), owes(&world, "airline")),
        ("0.000000".into(), "0.000000".into())
    );
    let told = events(&world, "airline", "exchange.instructed");
    let facts = [
        ("bonus", "1050"),
        ("credited", "7000"),
        ("deadline", "2026-11-20T02:10:00Z"),
        ("programme", "BANK"),
        ("sender", "bank"),
        ("to_member", "m1"),
        ("to_programme", "MILES"),
    ];
    assert_eq!(told[0].facts, facts.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((told.len(), told[0].subject.as_str()), (1, id.as_str()));
    assert_eq!(events(&world, "bank", "exchange.instructed"), []);
    let before = shown(&world, "airline", "bank", &id);
    assert_eq!((before.state, before.queries), (ExchangeState::Instructed, 0));
    let receipt = world.post("airline", credited("bank", &id)).expect("captured");
    assert_eq!(receipt.fact("state"), Some("captured"));
    assert_eq!(world.balance("bank", "BANK", "m1"), ("30".into(), "0".into(), "30".into()));
    assert_eq!(
        (owes(&world, "bank"), owes(&world, "airline")),
        ("602.000000".into(), "-602.000000".into())
    );
    let ended = events(&world, "bank", "exchange.captured");
    assert_eq!((ended.len(), ended[0].subject.as_str()), (1, id.as_str()));
    assert_eq!((ended[0].fact("reference"), ended[0].fact("by")), (Some("FF-1"), Some("airline")));
    assert_eq!(ended[0].fact("bonus"), Some("1050"));
    let after = shown(&world, "bank", "bank", &id);
    assert_eq!((after.state, after.age_seconds), (ExchangeState::Captured, None));
    assert_eq!(after.reference.as_deref(), Some("FF-1"));
    assert_eq!((open(&world, "bank"), open(&world, "airline")), (vec![], vec![]));
    // 560.00 and 42.00, and 1 % of the first for the clearinghouse.
    let day = world.close();
    assert_eq!(net(&day), ["airline 602.00", "bank -607.60", "clearing 5.60"]);
}

fn a_refusal_gives_everything_back(backend: Backend) {
    let mut world = with_points(backend, ELSEWHERE, "730");
    let (id, _) = instructed(&mut world, "730");
    assert_eq!(world.post("shop", burn("BANK", "m1", "31")), Err(Code::InsufficientBalance));
    let receipt = world.post("airline", refused("bank", &id)).expect("released");
    assert_eq!(receipt.fact("state"), Some("released"));
    assert_eq!(world.balance("bank", "BANK", "m1"), ("730".into(), "0".into(), "730".into()));
    assert_eq!(
        (owes(&world, "bank"), owes(&world, "airline")),
        ("0.000000".into(), "0.000000".into())
    );
    let ended = events(&world, "bank", "exchange.released");
    assert_eq!((ended.len(), ended[0].fact("reason")), (1, Some("member_unknown")));
    assert_eq!(shown(&world, "bank", "bank", &id).reason.as_deref(), Some("member_unknown"));
    assert_eq!(world.post("bank", reverse(&id, "100")), Err(Code::NotReversible));
    // The quote was used; the points can go out again by another.
    let (again, _) = instructed(&mut world, "730");
    world.post("airline", credited("bank", &again)).expect("captured");
    assert_eq!(world.points("bank", "BANK", "m1"), "30");
}

/// Waits until the keeper has asked so often.
fn asked(world: &World, id: &MessageId, times: i32) {
    let until = Instant::now() + Duration::from_secs(20);
    while shown(world, "bank", "bank", id).queries < times {
        assert!(Instant::now() < until, "it is not asked again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(shown(world, "bank", "bank", id).queries, times);
}

fn no_answer_is_unknown_until_there_is_one(backend: Backend) {
    let network = ELSEWHERE.replace("clearing_fee_percent = \"1\"", "acknowledge_minutes = 2");
    let mut world = with_points(backend, &network, "300");
    let (id, receipt) = instructed(&mut world, "100");
    let (other, _) = instructed(&mut world, "100");
    assert_eq!(receipt.fact("deadline"), Some("2026-11-20T02:02:00Z"));
    world.wait(119.seconds());
    assert_eq!(shown(&world, "bank", "bank", &id).state, ExchangeState::Instructed);
    // Asked at the deadline, and then 2, 4 and 8 minutes later.
    for (times, (minutes, age)) in (1..).zip([(0, 120), (2, 240), (4, 480), (8, 960)]) {
        world.wait(if times == 1 { 1.seconds() } else { minutes.minutes() });
        asked(&world, &id, times);
        let now = shown(&world, "airline", "bank", &id);
        assert_eq!((now.state, now.age_seconds), (ExchangeState::Unknown, Some(age)));
    }
    let queries = events(&world, "airline", "exchange.queried");
    let of_this: Vec<&Event> = queries.iter().filter(|event| event.subject == id.as_str()).collect();
    assert_eq!(of_this.len(), 4);
    assert_eq!((of_this[3].fact("queries"), of_this[3].fact("state")), (Some("4"), Some("unknown")));
    assert_eq!(
        (of_this[0].fact("to_member"), of_this[0].fact("credited")),
        (Some("m1"), Some("1000"))
    );
    // A restart repeats nothing.
    world.sandbox.stop();
    world.sandbox.start().expect("started again");
    world.connect();
    std::thread::sleep(Duration::from_millis(1200));
    asked(&world, &id, 4);
    // Nothing was guessed: the points are still held, the money still isn't owed; and a late answer ends it, either way.
    assert_eq!(world.balance("bank", "BANK", "m1"), ("300".into(), "200".into(), "100".into()));
    assert_eq!(owes(&world, "bank"), "0.000000");
    world.wait(40.days());
    asked(&world, &id, 5);
    let mut conn = world.sandbox.database().expect("a connection");
    let all = pending::open(&mut conn, 0, 10).expect("read");
    assert_eq!(
        all.iter().map(|one| one.pending.id.clone()).collect::<Vec<_>>(),
        [id.clone(), other.clone()]
    );
    drop(conn);
    // Signed in time, and on its way for long: an answer is good at any age, but not from the future.
    let mut late = world.message("airline", credited("bank", &id));
    late.issued_at = "2026-11-20T02:01:00Z".parse().expect("a time");
    late.occurred_at = late.issued_at;
    world.send(&late).expect("captured");
    let mut early = world.message("airline", refused("bank", &other));
    early.issued_at = world.now().checked_add(11.seconds()).expect("a time");
    assert_eq!(world.send(&early), Err(Code::IssuedInFuture));
    world.post("airline", refused("bank", &other)).expect("released");
    assert_eq!(world.balance("bank", "BANK", "m1"), ("200".into(), "0".into(), "200".into()));
    world.wait(40.days());
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(shown(&world, "bank", "bank", &id).queries, 5, "what is closed is not asked about");
}

fn both_sides_elsewhere(backend: Backend) {
    let mut world = World::new(backend, ELSEWHERE);
    let receipt = world.exchange_at_quote("hotel", "HOTEL", "MILES", "h1", "301").expect("instructed");
    assert_eq!((receipt.fact("points"), receipt.fact("credited")), (Some("300"), Some("100")));
    let id = receipt.id.expect("an id");
    assert_eq!(owes(&world, "hotel"), "0.000000");
    world.post("airline", credited("hotel", &id)).expect("captured");
    let ended = events(&world, "hotel", "exchange.captured");
    assert_eq!(
        (ended.len(), ended[0].fact("points"), ended[0].fact("credited")),
        (1, Some("300"), Some("100"))
    );
    assert_eq!(owes(&world, "hotel"), "8.000000");
    let receipt = world.exchange_at_quote("hotel", "HOTEL", "MILES", "h1", "300").expect("instructed");
    world
        .post("airline", refused("hotel", &receipt.id.expect("an id")))
        .expect("released");
    assert_eq!(events(&world, "hotel", "exchange.released").len(), 1);
    assert_eq!(owes(&world, "hotel"), "8.000000");
    assert_eq!(world.post("hotel", reverse(&id, "300")), Err(Code::NotReversible));
}

fn a_source_elsewhere_is_captured_at_once(backend: Backend) {
    let mut world = World::new(backend, ELSEWHERE);
    let receipt = world.exchange_at_quote("hotel", "HOTEL", "BANK", "m1", "105").expect("credited");
    assert_eq!((receipt.fact("credited"), receipt.fact("left_over")), (Some("10"), Some("5")));
    assert_eq!(receipt.fact("state"), None);
    assert_eq!(world.points("bank", "BANK", "m1"), "10");
    assert_eq!(owes(&world, "hotel"), "0.100000");
    let id = receipt.id.expect("an id");
    assert_eq!(
        world.post("bank", credited("hotel", &id)),
        Err(Code::ExchangeUnknown),
        "nobody was told"
    );
    // Here the credit is clawed back; what the hotel gives its member is its own matter.
    world.post("hotel", reverse(&id, "50")).expect("reversed");
    world.post("hotel", reverse(&id, "50")).expect("reversed");
    assert_eq!(world.post("hotel", reverse(&id, "1")), Err(Code::ReversalExceeded));
    assert_eq!(world.points("bank", "BANK", "m1"), "0");
    assert_eq!(owes(&world, "hotel"), "0.000000");
}

fn reserved_money_counts_for_caps(backend: Backend) {
    // A step of 100 points is HK$60.00 or HK$100.00, and the bank may owe HK$100.00.
    let network = ELSEWHERE.replace("name = \"Bank\"", "name = \"Bank\"\nnet_debit_cap = { HKD = \"100.00\" }");
    let network = network.replacen("numerator = \"1000\"", "numerator = \"750\"", 1);
    let mut world = World::new(backend, &network);
    for member in ["m1", "m2", "m3"] {
        world.post("bank", earn("BANK", member, "1000")).expect("points");
    }
    // In one batch: 60, 60, and then another 60: only the first fits, although nothing is posted yet.
    let quotes: Vec<Message> = (0..3).map(|_| world.message("bank", quote("BANK", "MILES", "100"))).collect();
    let mut batch = quotes.clone();
    for (quoted, member) in quotes.iter().zip(["m1", "m2", "m3"]) {
        batch.push(world.message("bank", tests::exchange("BANK", "MILES", member, "100", &quoted.id)));
    }
    let codes: Vec<Option<Code>> = world.send_all("bank", &batch).into_iter().map(Result::err).collect();
    let over = Some(Code::NetDebitCap);
    assert_eq!(codes, [None, None, None, None, over, over]);
    let (first, id) = (&batch[3], batch[3].id.clone());
    assert_eq!(owes(&world, "bank"), "0.000000");
    // Apart, too; what is reserved for one may be given to another only once it is released.
    assert_eq!(
        world.exchange_at_quote("bank", "BANK", "MILES", "m2", "100"),
        Err(Code::NetDebitCap)
    );
    world.post("airline", refused("bank", &id)).expect("released");
    let second = world.exchange_at_quote("bank", "BANK", "MILES", "m2", "100").expect("60 again");
    let second = second.id.expect("an id");
    // The cap is lowered meanwhile: what was reserved is captured all the same.
    let office = Office::found(&world.sandbox);
    let lower = Change::Cap {
        partner: "bank".parse().expect("a partner"),
        currency: "HKD".parse().expect("a currency"),
        amount: Some("1".parse().expect("an amount")),
    };
    office.change(&world.sandbox, lower).expect("a lower cap");
    world.post("airline", credited("bank", &second)).expect("captured");
    assert_eq!(owes(&world, "bank"), "60.000000");
    assert_eq!(
        world.exchange_at_quote("bank", "BANK", "MILES", "m3", "100"),
        Err(Code::NetDebitCap)
    );
    let raise = Change::Cap {
        partner: "bank".parse().expect("a partner"),
        currency: "HKD".parse().expect("a currency"),
        amount: Some("120".parse().expect("an amount")),
    };
    office.change(&world.sandbox, raise).expect("a higher cap");
    // What is owed and what is reserved count together, to the cent.
    let third = world.exchange_at_quote("bank", "BANK", "MILES", "m3", "100").expect("60 and 60");
    assert_eq!(
        world.exchange_at_quote("bank", "BANK", "MILES", "m3", "100"),
        Err(Code::NetDebitCap)
    );
    world
        .post("airline", credited("bank", &third.id.expect("an id")))
        .expect("captured");
    assert_eq!(owes(&world, "bank"), "120.000000");
    world.send(first).expect("the first's receipt, again");
}

fn only_the_issuer_answers_and_only_once(backend: Backend) {
    let mut world = with_points(backend, ELSEWHERE, "300");
    let (id, _) = instructed(&mut world, "100");
    let nothing = "nothing".parse().expect("an id");
    for (sender, body) in [
        ("hotel", credited("bank", &id)),
        ("bank", credited("bank", &id)),
        ("shop", refused("bank", &id)),
        ("airline", credited("hotel", &id)),
        ("airline", credited("bank", &nothing)),
    ] {
        let message = world.message(sender, body);
        let problem = world.post_jws(sender, &world.sign(&message)).problem.expect("refused");
        assert_eq!((problem.code, problem.field.as_deref()), (Code::ExchangeUnknown, Some("exchange")));
    }
    // Others don't see it either.
    let client = world.client("hotel");
    let path = format!("/v1/exchanges/bank/{id}");
    let hidden = world.runtime.block_on(client.get::<serde_json::Value>(&path));
    assert!(matches!(hidden, Err(partner_sdk::client::ClientError::Refused(p)) if p.code == Code::NotFound));
    assert_eq!(open(&world, "hotel"), []);
    let message = world.message("airline", credited("bank", &id));
    let first = world.send(&message).expect("captured");
    assert_eq!(world.send(&message), Ok(first), "the same bytes get the same receipt");
    for body in [refused("bank", &id), credited("bank", &id)] {
        let second = world.message("airline", body);
        let answer = world.post_jws("airline", &world.sign(&second));
        let problem = answer.problem.expect("refused");
        assert_eq!((problem.code, problem.field.as_deref()), (Code::ExchangeClosed, Some("exchange")));
        let receipt = problem.receipt.expect("signed");
        let receipt = world.client("airline").verify_receipt(&receipt).expect("a receipt");
        assert_eq!(receipt.fact("state"), Some("captured"));
    }
    // Two answers in one batch: the first holds.
    let (id, _) = instructed(&mut world, "100");
    let batch = [
        world.message("airline", refused("bank", &id)),
        world.message("airline", credited("bank", &id)),
    ];
    let codes: Vec<Option<Code>> = world.send_all("airline", &batch).into_iter().map(Result::err).collect();
    assert_eq!(codes, [None, Some(Code::ExchangeClosed)]);
    assert_eq!(world.balance("bank", "BANK", "m1"), ("200".into(), "0".into(), "200".into()));
    assert_eq!(events(&world, "bank", "exchange.captured").len(), 1);
    assert_eq!(events(&world, "bank", "exchange.released").len(), 1);
    // The hold is the exchange's own: nothing else ends it.
    let (id, _) = instructed(&mut world, "100");
    assert_eq!(world.post("bank", tests::void(&id)), Err(Code::HoldUnknown));
    assert_eq!(world.post("bank", tests::capture(&id, "100")), Err(Code::HoldUnknown));
}

fn suspension_does_not_block_the_answer(backend: Backend) {
    let mut world = with_points(backend, ELSEWHERE, "400");
    let office = Office::found(&world.sandbox);
    let becomes = |world: &World, partner: &str, status| {
        let partner = partner.parse().expect("a partner");
        office.change(&world.sandbox, Change::Status { partner, status }).map(|_| ())
    };
    let ids: Vec<MessageId> = (0..4).map(|_| instructed(&mut world, "100").0).collect();
    becomes(&world, "airline", Status::Suspended).expect("suspended");
    world.post("airline", credited("bank", &ids[0])).expect("captured");
    assert_eq!(world.post("airline", quote("MILES", "BANK", "1")), Err(Code::PartnerSuspended));
    assert_eq!(
        world.exchange_at_quote("bank", "BANK", "MILES", "m1", "100"),
        Err(Code::PartnerSuspended)
    );
    becomes(&world, "bank", Status::Suspended).expect("suspended");
    world.post("airline", refused("bank", &ids[1])).expect("released");
    becomes(&world, "airline", Status::Active).expect("active");
    becomes(&world, "airline", Status::Leaving).expect("leaving");
    world.post("airline", credited("bank", &ids[2])).expect("captured");
    assert_eq!(world.balance("bank", "BANK", "m1"), ("200".into(), "100".into(), "100".into()));
    // Nobody goes while there is one to answer.
    assert!(becomes(&world, "airline", Status::Gone).is_err());
    world.post("airline", refused("bank", &ids[3])).expect("released");
}

/// With nothing else open, an exchange that waits keeps both its parties.
fn nobody_goes_while_an_answer_is_due(backend: Backend) {
    let mut world = with_points(backend, ELSEWHERE, "100");
    let office = Office::found(&world.sandbox);
    let (id, _) = instructed(&mut world, "100");
    for partner in ["airline", "bank"] {
        let become_ = |status| {
            let partner = partner.parse().expect("a partner");
            office.change(&world.sandbox, Change::Status { partner, status })
        };
        become_(Status::Leaving).expect("leaving");
        match become_(Status::Gone) {
            Err(clearing::documents::Fault::Refused(problem)) => assert!(problem.detail.contains("answer"), "{}", problem.detail),
            other => panic!("{partner}: {:?}", other.map(drop)),
        }
    }
    world.post("airline", refused("bank", &id)).expect("released");
    let airline = "airline".parse().expect("a partner");
    let gone = Change::Status {
        partner: airline,
        status: Status::Gone,
    };
    office.change(&world.sandbox, gone).expect("nothing waits any more");
}

fn what_was_reserved_outlives_its_expiry(backend: Backend) {
    let mut world = with_points(backend, ELSEWHERE, "150");
    let (taken, _) = instructed(&mut world, "100");
    world.wait(70.days());
    let night = world.close();
    assert_eq!(net(&night), [""; 0]);
    assert_eq!(
        world.balance("bank", "BANK", "m1"),
        ("100".into(), "100".into(), "0".into()),
        "50 have expired"
    );
    world.post("airline", credited("bank", &taken)).expect("captured");
    assert_eq!(world.points("bank", "BANK", "m1"), "0");
    assert_eq!(owes(&world, "bank"), "80.000000");
    // Newer points don't take the place of those that were reserved.
    world.post("bank", earn("BANK", "m2", "100")).expect("points");
    let receipt = world.exchange_at_quote("bank", "BANK", "MILES", "m2", "100").expect("instructed");
    world.wait(70.days());
    world.post("bank", earn("BANK", "m2", "100")).expect("newer points");
    world.close();
    assert_eq!(world.points("bank", "BANK", "m2"), "200");
    world
        .post("airline", credited("bank", &receipt.id.expect("an id")))
        .expect("captured");
    world.close();
    assert_eq!(world.balance("bank", "BANK", "m2"), ("100".into(), "0".into(), "100".into()));
    // A released one gives back what has expired meanwhile: it goes the next night.
    world.post("bank", earn("BANK", "m1", "100")).expect("points");
    let (left, _) = instructed(&mut world, "100");
    world.wait(70.days());
    world.post("airline", refused("bank", &left)).expect("released");
    assert_eq!(world.balance("bank", "BANK", "m1"), ("100".into(), "0".into(), "0".into()));
    world.close();
    assert_eq!(world.points("bank", "BANK", "m1"), "0");
}

fn a_programme_kept_elsewhere_has_no_balances_here(backend: Backend) {
    let mut world = World::new(backend, ELSEWHERE);
    for body in [earn("MILES", "m1", "1"), burn("MILES", "m1", "1"), authorise("MILES", "m1", "1")] {
        let message = world.message("airline", body);
        let problem = world.post_jws("airline", &world.sign(&message)).problem.expect("refused");
        assert_eq!((problem.code, problem.field.as_deref()), (Code::ExternalCustody, Some("programme")));
    }
    let client = world.client("airline");
    let balance = world.runtime.block_on(client.get::<serde_json::Value>("/v1/accounts/MILES/m1"));
    assert!(matches!(balance, Err(partner_sdk::client::ClientError::Refused(p)) if p.code == Code::ExternalCustody));
}

/// The money belongs to the window of the capture, and funders that pay at redemption pay then.
fn exchange_and_answer_share_a_window_or_not(backend: Backend) {
    let mut world = World::new(backend, ELSEWHERE);
    world
        .post("shop", earn("BANK", "m1", "100"))
        .expect("points that are paid for when they are spent");
    let (id, _) = instructed(&mut world, "100");
    let first = world.close();
    assert_eq!(net(&first), [""; 0], "nothing is owed yet");
    world.post("airline", credited("bank", &id)).expect("captured");
    assert_eq!(owes(&world, "shop"), "5.000000");
    let second = world.close();
    assert_eq!(net(&second), ["airline 80.00", "bank -75.80", "clearing 0.80", "shop -5.00"]);
}
