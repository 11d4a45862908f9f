//! Points that a member owes are given up, by two people.

use partner_sdk::Code;
use partner_sdk::change::Change;
use settlement::Statement;
use store::events;
use tests::office::{Office, code_of};
use tests::{Backend, World, burn, earn, on_both, reverse};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    what_is_written_off_is_not_repaid,
    no_more_than_is_owed,
    what_is_paid_at_redemption_stays_as_it_is
);

fn change(points: &str) -> Change {
    write_off("YUU", "m1", points)
}

fn write_off(programme: &str, member: &str, points: &str) -> Change {
    Change::WriteOff {
        programme: programme.parse().expect("a programme"),
        member: member.parse().expect("a member"),
        points: tests::amount(points),
    }
}

/// A world in which member m1 has earned 1,000, spent 900, and owes 400 after 500 were taken back.
fn owing(backend: Backend, network: &str) -> (World, Office) {
    let network = network.replace("expires_after = \"1 day\"", "scale = 1\nnegative_limit = \"2000\"");
    let mut world = World::new(backend, &network);
    let office = Office::found(&world.sandbox);
    let earned = world.post("wellcome", earn("YUU", "m1", "1000")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "900")).expect("accepted");
    let taken = reverse(&earned.id.expect("an id"), "500");
    world.post("wellcome", taken).expect("below zero");
    assert_eq!(world.points("pool", "YUU", "m1"), "-400.0");
    (world, office)
}

fn what_is_written_off_is_not_repaid(backend: Backend) {
    let (mut world, office) = owing(backend, POOL);
    let owes = |world: &World, partner: &str| -> String {
        let answer: serde_json::Value = world
            .runtime
            .block_on(world.client(partner).get("/v1/positions"))
            .expect("positions");
        answer.to_string()
    };
    let before = ["pool", "wellcome", "ikea"].map(|partner| owes(&world, partner));
    let done = office.change(&world.sandbox, change("300.5")).expect("both agree");
    world.check_books();
    assert_eq!(world.points("pool", "YUU", "m1"), "-99.5");
    // No money moves.
    assert_eq!(["pool", "wellcome", "ikea"].map(|partner| owes(&world, partner)), before);
    // The next earn repays only what is still owed.
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    assert_eq!(world.balance("pool", "YUU", "m1"), ("0.5".into(), "0.0".into(), "0.5".into()));
    world.post("ikea", burn("YUU", "m1", "0.5")).expect("there to be spent");
    // The issuer is told, nobody else but the operator.
    let told = |partner: &str| {
        let events = world.runtime.block_on(world.client(partner).events(0, std::time::Duration::ZERO));
        let events = events.expect("events").into_iter().filter(|event| event.kind == "write_off");
        let facts = |event: partner_sdk::wire::Event| {
            let fact = |name: &str| event.fact(name).expect(name).to_owned();
            (event.subject.clone(), fact("programme"), fact("member"), fact("points"))
        };
        events.map(facts).collect::<Vec<_>>()
    };
    assert_eq!(told("pool"), [(done.hash.clone(), "YUU".into(), "m1".into(), "300.5".into())]);
    assert_eq!((told("wellcome"), told("ikea")), (vec![], vec![]));
    let mut conn = world.sandbox.database().expect("a connection");
    let trail = events::after(&mut conn, &[events::OPERATOR], 0, 1000).expect("events");
    let trail: Vec<_> = trail.iter().filter(|e| e.subject == done.hash).map(|e| e.kind.as_str()).collect();
    assert_eq!(trail, ["change.proposed", "write_off", "change.approved"]);
    // From the posting to the document: the entry bears the hash of what two people signed.
    let (id, line) = posted(&mut conn);
    assert_eq!((id, line), (done.hash.clone(), ("pool".into(), "member".into(), 3005)));
    let signers: Vec<_> = done.signatures.iter().map(|s| (s.role.as_str(), s.signer.as_str())).collect();
    assert_eq!(signers, [("proposer", "first"), ("approver", "second"), ("clearing", "clearing")]);
    // The statement has the earn, the burns and the refund, and nothing else.
    let date = world.close().business_date;
    let file = world.statements().join(date.to_string()).join("pool.json");
    let statement: Statement = serde_json::from_slice(&std::fs::read(file).expect("the pool's")).expect("a statement");
    let kinds: Vec<_> = statement.lines.iter().map(|line| line.kind.as_str()).collect();
    assert_eq!(kinds, ["burn", "earn", "earn_reversal"]);
}

/// The only write-off: its message's id, and who gives how many points to whom.
fn posted(conn: &mut migrations::Conn) -> (String, (String, String, i64)) {
    use diesel::prelude::*;
    use migrations::each_backend;
    use migrations::schema::{message, posting};
    let query = message::table
        .select((message::seq, message::id))
        .filter(message::kind.eq("write_off").and(message::sender.eq("clearing")));
    let (seq, id): (i64, String) = each_backend!(conn, |c| query.first(c)).expect("one");
    let query = posting::table
        .select((posting::debit, posting::credit, posting::amount))
        .filter(posting::seq.eq(seq).and(posting::kind.eq("write_off")));
    (id, each_backend!(conn, |c| query.get_result(c)).expect("one"))
}

fn no_more_than_is_owed(backend: Backend) {
    let (mut world, office) = owing(backend, POOL);
    let sandbox = &world.sandbox;
    for (wrong, code) in [
        (change("400.1"), Code::BadTerms),
        (change("0"), Code::BadAmount),
        (change("0.01"), Code::BadAmount),
        (write_off("NONE", "m1", "1"), Code::UnknownProgramme),
        (write_off("YUU", "nobody", "1"), Code::BadTerms),
    ] {
        assert_eq!(code_of(office.propose(sandbox, &office.first, wrong)).err(), Some(code));
    }
    // One person alone changes nothing.
    let first = office.propose(sandbox, &office.first, change("400")).expect("all of it");
    let second = office.propose(sandbox, &office.first, change("400")).expect("once more");
    assert_eq!(
        code_of(office.approve_change(sandbox, &office.first, &first)).err(),
        Some(Code::FourEyes)
    );
    assert_eq!(world.points("pool", "YUU", "m1"), "-400.0");
    // What was repaid meanwhile can't be given up as well: it is looked at again when it is approved.
    world.post("wellcome", earn("YUU", "m1", "0.1")).expect("accepted");
    let sandbox = &world.sandbox;
    assert_eq!(
        code_of(office.approve_change(sandbox, &office.second, &first)).err(),
        Some(Code::BadTerms)
    );
    assert_eq!(world.points("pool", "YUU", "m1"), "-399.9");
    office.change(sandbox, change("399.9")).expect("what is owed");
    assert_eq!(world.points("pool", "YUU", "m1"), "0.0");
    assert_eq!(
        code_of(office.approve_change(sandbox, &office.second, &second)).err(),
        Some(Code::BadTerms)
    );
    assert_eq!(world.points("pool", "YUU", "m1"), "0.0");
}

/// Where funders pay when points are spent, a write-off neither charges nor refunds them, and what is spent later is charged as ever.
fn what_is_paid_at_redemption_stays_as_it_is(backend: Backend) {
    let network = POOL.replacen(
        "currency = \"HKD\"\nvalid_from",
        "currency = \"HKD\"\nsettle = \"redemption\"\nvalid_from",
        1,
    );
    let (mut world, office) = owing(backend, &network);
    let owes = |world: &World| -> String {
        let answer: serde_json::Value = world
            .runtime
            .block_on(world.client("wellcome").get("/v1/positions"))
            .expect("positions");
        answer["net"][0]["owes"].as_str().expect("an amount").to_owned()
    };
    // 900 were spent, 400 of them were refunded when 500 were taken back: 500 x 0.0055.
    assert_eq!(owes(&world), "2.750000");
    office.change(&world.sandbox, change("400")).expect("both agree");
    assert_eq!(owes(&world), "2.750000");
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    assert_eq!(owes(&world), "2.750000");
    world.post("ikea", burn("YUU", "m1", "100")).expect("accepted");
    assert_eq!(owes(&world), "3.300000");
}
