//! Points bought in advance: what is bought, drawn, warned about and taken back, rule by rule. `prepaid_oracle` does it at random.

use std::time::Duration;

use jiff::ToSpan;
use partner_sdk::Code;
use partner_sdk::change::{Change, Status};
use settlement::Statement;
use store::books;
use tests::office::Office;
use tests::{Backend, World, burn, earn, earn_spend, id, on_both, prepay, reverse, reverse_spend};

const BLOCKS: &str = include_str!("networks/prepaid.toml");

on_both!(
    blocks_are_drawn_first,
    the_oldest_price_is_drawn_first,
    purchases_are_taken_back,
    what_is_refused,
    one_warning_for_each_fall,
    at_redemption_only_the_rest_waits,
    breakage_is_at_the_price_of_the_block,
    books_notice,
    what_is_left_keeps_the_issuer_and_not_the_buyer,
);

/// Points without a decimal that is zero.
fn short(text: &str) -> String {
    text.strip_suffix(".0").unwrap_or(text).to_owned()
}

/// The blocks that a partner sees: price, bought, left.
fn blocks(world: &World, partner: &str) -> Vec<[String; 3]> {
    let answer: serde_json::Value = world.runtime.block_on(world.client(partner).get("/v1/prepaid")).expect("blocks");
    let all = answer["blocks"].as_array().expect("a list").iter();
    all.map(|block| ["price", "bought", "left"].map(|name| short(block[name].as_str().expect("a text"))))
        .collect()
}

fn owes(world: &World, partner: &str) -> String {
    let answer: serde_json::Value = world
        .runtime
        .block_on(world.client(partner).get("/v1/positions"))
        .expect("positions");
    answer["net"][0]["owes"].as_str().unwrap_or("nothing").to_owned()
}

fn statement(world: &World, date: &str, partner: &str) -> Statement {
    let text = world
        .runtime
        .block_on(world.client(partner).get_text(&format!("/v1/statements/{date}")))
        .expect("a statement");
    serde_json::from_str(&text).expect("a statement")
}

fn blocks_are_drawn_first(backend: Backend) {
    let mut world = World::new(backend, BLOCKS);
    // 1,000 points for 5.50, of which 600 and 400 are drawn; the other 200 are owed for: 1.10.
    world.post("wellcome", prepay("YUU", "1000")).expect("bought");
    assert_eq!(owes(&world, "wellcome"), "5.500000");
    world.post("wellcome", earn("YUU", "m1", "600")).expect("drawn");
    assert_eq!(owes(&world, "wellcome"), "5.500000");
    let second = id(world.post("wellcome", earn_spend("YUU", "m2", "600", "600")));
    assert_eq!(owes(&world, "wellcome"), "6.600000");
    let expected = [["0.005500", "1000", "0"].map(String::from)];
    assert_eq!(blocks(&world, "wellcome"), expected);
    // The issuer sees it too, others don't.
    assert_eq!((blocks(&world, "pool"), blocks(&world, "hangseng")), (expected.to_vec(), vec![]));
    // 300 go back: 200 that were owed for, then 100 to the block; then 100 more of them, by spend.
    world.post("wellcome", reverse(&second, "300")).expect("taken back");
    assert_eq!(
        (owes(&world, "wellcome"), blocks(&world, "wellcome")[0][2].as_str()),
        ("5.500000".into(), "100")
    );
    world.post("wellcome", reverse_spend(&second, "100")).expect("taken back");
    assert_eq!(
        (owes(&world, "wellcome"), blocks(&world, "wellcome")[0][2].as_str()),
        ("5.500000".into(), "200")
    );
    assert_eq!(world.points("pool", "YUU", "m2"), "200.0");
    let date = world.close().business_date.to_string();
    let lines = statement(&world, &date, "wellcome").lines;
    let line = |kind: &str| {
        let line = lines.iter().find(|line| line.kind == kind).expect(kind);
        (line.messages, line.points.as_str(), line.price.as_str(), line.amount.as_str())
    };
    assert_eq!(lines.len(), 5);
    assert_eq!(line("prepaid"), (1, "1000.0", "0.005500", "5.500000"));
    assert_eq!(line("drawn"), (2, "1000.0", "0.000000", "0.000000"));
    assert_eq!(line("earn"), (1, "200.0", "0.005500", "1.100000"));
    assert_eq!(line("earn_reversal"), (1, "200.0", "0.005500", "1.100000"));
    assert_eq!(line("drawn_reversal"), (2, "200.0", "0.000000", "0.000000"));
    // A window in which points are only drawn has lines and no debt.
    world.post("wellcome", earn("YUU", "m1", "200")).expect("drawn");
    let quiet = world.close();
    let told = statement(&world, &quiet.business_date.to_string(), "wellcome");
    assert_eq!(quiet.obligations, vec![]);
    assert_eq!((told.lines.len(), told.obligations.len(), told.net.len()), (1, 0, 0));
    assert_eq!((told.lines[0].kind.as_str(), told.lines[0].points.as_str()), ("drawn", "200.0"));
}

fn the_oldest_price_is_drawn_first(backend: Backend) {
    let mut world = World::new(backend, BLOCKS);
    world.post("wellcome", prepay("YUU", "100")).expect("bought at 0.0055");
    world.wait(3.hours());
    world.post("wellcome", prepay("YUU", "250")).expect("bought at 0.006");
    // What happened under the first version still buys at the price of now, and draws from both.
    let mut late = world.message("wellcome", prepay("YUU", "100"));
    late.occurred_at = "2026-11-20T03:00:00Z".parse().expect("a time");
    assert_eq!(world.send(&late).err(), Some(Code::NotAMultiple));
    let mut late = world.message("wellcome", earn("YUU", "m1", "400"));
    late.occurred_at = "2026-11-20T03:00:00Z".parse().expect("a time");
    let earned = id(world.send(&late));
    let left = |world: &World| {
        let all = blocks(world, "wellcome");
        (all[0][2].clone(), all[1][2].clone(), owes(world, "wellcome"))
    };
    let is = |a: &str, b: &str, owes: &str| (a.to_owned(), b.to_owned(), owes.to_owned());
    // 0.55 + 1.50 for the blocks, and 50 points at the first version's price.
    assert_eq!(left(&world), is("0", "0", "2.325000"));
    world.post("wellcome", reverse(&earned, "60")).expect("taken back");
    assert_eq!(left(&world), is("0", "10", "2.050000"));
    world.post("wellcome", reverse(&earned, "250")).expect("taken back");
    assert_eq!(left(&world), is("10", "250", "2.050000"));
    // Under a version without blocks, what is left is drawn all the same.
    world.wait(4.hours());
    assert_eq!(world.post("wellcome", prepay("YUU", "10")).err(), Some(Code::NotPrepaid));
    world.post("wellcome", earn("YUU", "m1", "270")).expect("10, 250 and 10 at 0.0051");
    assert_eq!(left(&world), is("0", "0", "2.101000"));
}

fn purchases_are_taken_back(backend: Backend) {
    let mut world = World::new(backend, BLOCKS);
    let bought = id(world.post("hangseng", prepay("YUU", "200")));
    let again = id(world.post("hangseng", prepay("YUU", "50")));
    let earned = id(world.post("hangseng", earn("YUU", "m1", "120")));
    world.post("hangseng", reverse(&again, "12.5")).expect("no multiple is asked for");
    assert_eq!(blocks(&world, "hangseng")[0], ["0.007000", "237.5", "117.5"]);
    assert_eq!(owes(&world, "hangseng"), "1.662500");
    assert_eq!(world.post("hangseng", reverse(&again, "38")).err(), Some(Code::ReversalExceeded));
    let message = world.message("hangseng", reverse(&bought, "117.6"));
    let answer = world.post_jws("hangseng", &world.sign(&message));
    let receipt = answer.receipt.expect("signed");
    let receipt = world.client("hangseng").verify_receipt(&receipt).expect("good");
    assert_eq!(
        (receipt.code, receipt.fact("recoverable")),
        (Some(Code::ClawbackLimited), Some("117.5"))
    );
    let receipt = world.post("hangseng", reverse(&bought, "117.5")).expect("all that is left");
    assert_eq!(receipt.fact("points"), Some("117.5"));
    assert_eq!(blocks(&world, "hangseng")[0], ["0.007000", "120", "0"]);
    // What was drawn comes back to the block, and can then be taken back too; then no money is owed at all.
    world.post("hangseng", reverse(&earned, "120")).expect("taken back");
    world.post("hangseng", reverse(&bought, "82.5")).expect("taken back");
    world.post("hangseng", reverse(&again, "37.5")).expect("taken back");
    assert_eq!(blocks(&world, "hangseng")[0], ["0.007000", "0", "0"]);
    assert_eq!(owes(&world, "hangseng"), "0.000000");
    let late = id(world.post("hangseng", prepay("YUU", "50")));
    world.wait(91.days());
    assert_eq!(world.post("hangseng", reverse(&late, "50")).err(), Some(Code::ReversalWindowClosed));
}

fn what_is_refused(backend: Backend) {
    let mut world = World::new(backend, BLOCKS);
    let office = Office::found(&world.sandbox);
    for (partner, programme, points, code) in [
        ("wellcome", "YUU", "150", Code::NotAMultiple),
        ("wellcome", "YUU", "0", Code::BadAmount),
        ("wellcome", "YUU", "0.01", Code::BadAmount),
        ("wellcome", "YUU", "100000000000000000", Code::Overflow),
        ("wellcome", "NONE", "100", Code::UnknownProgramme),
        ("ikea", "YUU", "100", Code::NoAgreement),
        ("pool", "YUU", "100", Code::NoAgreement),
    ] {
        assert_eq!(
            world.post(partner, prepay(programme, points)).err(),
            Some(code),
            "{partner} {points}"
        );
    }
    let cap = |amount: &str| Change::Cap {
        partner: "wellcome".parse().expect("an id"),
        currency: "HKD".parse().expect("a currency"),
        amount: Some(tests::amount(amount)),
    };
    office.change(&world.sandbox, cap("0.55")).expect("changed");
    assert_eq!(world.post("wellcome", prepay("YUU", "200")).err(), Some(Code::NetDebitCap));
    let bought = world.message("wellcome", prepay("YUU", "100"));
    world.send(&bought).expect("exactly the cap");
    // Drawing owes nothing, so the cap doesn't stand in its way; the rest of an earn does.
    assert_eq!(world.post("wellcome", earn("YUU", "m1", "100.1")).err(), Some(Code::NetDebitCap));
    world.post("wellcome", earn("YUU", "m1", "100")).expect("drawn");
    // The same bytes buy once.
    world.send(&bought).expect("the same receipt");
    assert_eq!(blocks(&world, "wellcome")[0][1], "100");
    let by_spend = reverse_spend(&bought.id, "1");
    assert_eq!(world.post("wellcome", by_spend).err(), Some(Code::NotReversible));
    assert_eq!(world.post("hangseng", reverse(&bought.id, "1")).err(), Some(Code::TargetUnknown));
    // In one batch, each sees what those before it have done.
    let batch = ["100", "60", "50", "20"].map(|points| match points {
        "100" => world.message("hangseng", prepay("YUU", "100")),
        points => world.message("hangseng", earn("YUU", "m2", points)),
    });
    let done = world.send_all("hangseng", &batch);
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(
        (owes(&world, "hangseng"), blocks(&world, "hangseng")[0][2].as_str()),
        ("0.910000".into(), "0")
    );
}

fn one_warning_for_each_fall(backend: Backend) {
    let mut world = World::new(backend, BLOCKS);
    let told = |world: &World, partner: &str| -> Vec<String> {
        let events = world
            .runtime
            .block_on(world.client(partner).events(0, Duration::ZERO))
            .expect("events");
        let warnings = events.iter().filter(|event| event.kind == "prepaid.reorder");
        let text =
            |event: &partner_sdk::wire::Event| format!("{} {}", event.fact("programme").expect("one"), event.fact("left").expect("one"));
        warnings.map(text).collect()
    };
    world.post("hangseng", prepay("YUU", "200")).expect("bought");
    world
        .post("hangseng", earn("YUU", "m1", "80"))
        .expect("120 are left: that is the mark");
    assert_eq!(told(&world, "hangseng"), [""; 0]);
    world.post("hangseng", earn("YUU", "m1", "0.5")).expect("below");
    world.post("hangseng", earn("YUU", "m1", "10")).expect("further below");
    assert_eq!(told(&world, "hangseng"), ["YUU 119.5"]);
    world.post("hangseng", prepay("YUU", "50")).expect("159.5 are there");
    world.post("hangseng", earn("YUU", "m1", "300")).expect("more than there are");
    assert_eq!(told(&world, "hangseng"), ["YUU 119.5", "YUU 0"]);
    assert_eq!((told(&world, "pool"), told(&world, "wellcome")), (vec![], vec![]));
}

/// A later version that settles at redemption: the block's points cost nothing more, the rest is owed for when it is spent.
fn at_redemption_only_the_rest_waits(backend: Backend) {
    let network = BLOCKS.replace(
        "price = \"0.0051\"\ncurrency = \"HKD\"",
        "price = \"0.0051\"\ncurrency = \"HKD\"\nsettle = \"redemption\"",
    );
    let mut world = World::new(backend, &network);
    world.post("wellcome", prepay("YUU", "100")).expect("bought");
    world.wait(7.hours());
    let earned = id(world.post("wellcome", earn("YUU", "m1", "300")));
    assert_eq!(owes(&world, "wellcome"), "0.550000");
    world.post("ikea", burn("YUU", "m1", "100")).expect("the block's own");
    assert_eq!(owes(&world, "wellcome"), "0.550000");
    let spent = id(world.post("ikea", burn("YUU", "m1", "50")));
    assert_eq!(owes(&world, "wellcome"), "0.805000");
    // Of the rest 150 are there and 50 were paid for. Taking back 170 takes the 150, and 20 that were paid for come back.
    world.post("wellcome", reverse(&earned, "170")).expect("taken back");
    assert_eq!(owes(&world, "wellcome"), "0.703000");
    assert_eq!(world.points("pool", "YUU", "m1"), "-20.0");
    // 30 more were paid for, then the block has its points back.
    world.post("wellcome", reverse(&earned, "40")).expect("taken back");
    assert_eq!(
        (owes(&world, "wellcome"), blocks(&world, "wellcome")[0][2].as_str()),
        ("0.550000".into(), "10")
    );
    // What ikea gives back isn't owed for again.
    world.post("ikea", reverse(&spent, "50")).expect("given back");
    assert_eq!(
        (owes(&world, "wellcome"), world.points("pool", "YUU", "m1").as_str()),
        ("0.550000".into(), "-10.0")
    );
}

fn breakage_is_at_the_price_of_the_block(backend: Backend) {
    let network = BLOCKS.replace("scale = 1", "scale = 1\nexpires_after = \"1 day\"");
    let mut world = World::new(backend, &network);
    world.post("wellcome", prepay("YUU", "100")).expect("bought at 0.0055");
    world.wait(3.hours());
    world.post("wellcome", earn("YUU", "m1", "150")).expect("50 at 0.006");
    world.close();
    let date = world.close().business_date.to_string();
    let breakage = statement(&world, &date, "pool").breakage;
    let breakage: Vec<_> = breakage
        .iter()
        .map(|b| (b.points.as_str(), b.price.as_str(), b.value.as_str()))
        .collect();
    assert!(breakage.contains(&("100.0", "0.005500", "0.550000")), "{breakage:?}");
    assert!(breakage.contains(&("50.0", "0.006000", "0.300000")), "{breakage:?}");
}

/// Each column of a block is held to something else.
fn books_notice(backend: Backend) {
    use diesel::RunQueryDsl;
    let mut world = World::new(backend, BLOCKS);
    world.post("wellcome", prepay("YUU", "100")).expect("bought");
    world.post("wellcome", earn("YUU", "m1", "30")).expect("drawn");
    let mut conn = world.sandbox.database().expect("a connection");
    let mut run = |sql: &str| {
        migrations::each_backend!(&mut conn, |c| diesel::sql_query(sql).execute(c)).expect("executed");
        books::check(&mut conn).expect("the check runs").len()
    };
    for (wrong, right) in [
        ("UPDATE prepaid SET bought = bought + 1", "UPDATE prepaid SET bought = bought - 1"),
        (
            "UPDATE prepaid SET remaining = remaining + 1",
            "UPDATE prepaid SET remaining = remaining - 1",
        ),
        ("UPDATE prepaid SET partner = 'hangseng'", "UPDATE prepaid SET partner = 'wellcome'"),
        (
            "UPDATE lot SET charged = charged - 1 WHERE prepaid",
            "UPDATE lot SET charged = charged + 1 WHERE prepaid",
        ),
        (
            "UPDATE posting SET points = points + 1 WHERE kind = 'drawn'",
            "UPDATE posting SET points = points - 1 WHERE kind = 'drawn'",
        ),
    ] {
        assert!(run(wrong) > 0, "{wrong}");
        assert_eq!(run(right), 0, "{right}");
    }
}

fn what_is_left_keeps_the_issuer_and_not_the_buyer(backend: Backend) {
    let mut world = World::new(backend, BLOCKS);
    let office = Office::found(&world.sandbox);
    world.post("hangseng", prepay("YUU", "1000")).expect("bought");
    let date = world.close().business_date;
    let mut conn = world.sandbox.database().expect("a connection");
    settlement::settle(&mut conn, date, world.now(), "finance").expect("settled");
    let become_ = |partner: &str, status| {
        let partner = partner.parse().expect("a partner");
        match office.change(&world.sandbox, Change::Status { partner, status }) {
            Err(clearing::documents::Fault::Refused(problem)) => Some(problem.detail),
            done => done.map(|_| None).expect("the database works"),
        }
    };
    for partner in ["pool", "hangseng"] {
        assert_eq!(become_(partner, Status::Leaving), None);
    }
    let kept = become_("pool", Status::Gone).expect("not while somebody may draw");
    assert!(kept.contains("bought in advance"), "{kept}");
    assert_eq!(become_("hangseng", Status::Gone), None);
    assert_eq!(become_("pool", Status::Gone), None);
}
