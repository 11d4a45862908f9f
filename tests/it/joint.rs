//! Several windows are paid together: what is open of them is one payment of each partner, with the last of them.

use jiff::civil::Date;
use partner_sdk::Code;
use partner_sdk::change::Change;
use serde_json::json;
use settlement::{Due, State, Window};
use tests::office::{Office, code_of};
use tests::paying::{self, account, default, dues, made, open, pays, suspend, trail};
use tests::{Backend, World, burn, earn, execute, id, on_both, reverse};

on_both!(
    each_pays_the_sum_once,
    everybody_reads_where_its_payments_went,
    positions_run_on_over_a_joining,
    a_default_is_of_all_of_them,
    a_lead_is_settled_with_all_of_them,
    what_cancels_out_is_settled_at_once,
    more_are_joined_to_a_lead,
    what_is_unclear_is_not_joined,
    a_joining_without_a_document_is_found,
);

const POOL: &str = include_str!("networks/pool.toml");

/// Three days. Wellcome pays 11.00 and gets it back, Hang Seng pays 22.00, 5.50 and 16.50, Ikea receives 19.20 and 9.60; the pool receives 13.80, pays 5.50 and receives 6.90. Hang Seng's
/// first payment is made.
fn three_nights(world: &mut World, office: &Office) -> [Date; 3] {
    let earned = id(world.post("wellcome", earn("YUU", "m2", "2000")));
    world.post("hangseng", earn("YUU", "m1", "4000")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "4000")).expect("accepted");
    let first = world.close().business_date;
    world.post("wellcome", reverse(&earned, "2000")).expect("given back");
    world.post("hangseng", earn("YUU", "m1", "1000")).expect("accepted");
    let second = world.close().business_date;
    world.post("hangseng", earn("YUU", "m1", "3000")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "2000")).expect("accepted");
    let third = world.close().business_date;
    pays(world, office, first, "hangseng");
    [first, second, third]
}

fn join(dates: &[Date]) -> Change {
    Change::Join {
        business_dates: dates.to_vec(),
    }
}

fn revisions(world: &World, partner: &str, date: Date) -> Vec<serde_json::Value> {
    paying::revisions(world, partner, date).as_array().expect("a list").clone()
}

fn owes<const N: usize>(world: &World, partners: [&str; N]) -> [String; N] {
    partners.map(|partner| paying::owes(world, partner))
}

fn windows<const N: usize>(world: &World, dates: [Date; N]) -> [Window; N] {
    let mut conn = world.sandbox.database().expect("a connection");
    dates.map(|date| settlement::window(&mut conn, date).expect("reads").expect("there"))
}

fn states<const N: usize>(world: &World, dates: [Date; N]) -> [State; N] {
    windows(world, dates).map(|window| window.state)
}

/// What a partner was told: the kind and what it was about.
fn told(world: &World, partner: &str) -> Vec<(String, String)> {
    let client = world.client(partner);
    let events = world.runtime.block_on(client.events(0, std::time::Duration::ZERO)).expect("events");
    events.into_iter().map(|event| (event.kind, event.subject)).collect()
}

fn each_pays_the_sum_once(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let dates = three_nights(&mut world, &office);
    let [first, second, third] = dates;
    assert_eq!(open(&world, first), ["ikea 19.20", "pool 13.80", "wellcome -11.00"]);
    assert_eq!(open(&world, second), ["hangseng -5.50", "pool -5.50", "wellcome 11.00"]);
    assert_eq!(open(&world, third), ["hangseng -16.50", "ikea 9.60", "pool 6.90"]);
    let all = ["wellcome", "hangseng", "ikea", "pool"];
    let before = owes(&world, all);
    assert_eq!(before, ["0.000000", "22.000000", "-28.800000", "-15.200000"]);
    let document = office.change(&world.sandbox, join(&dates)).expect("joined");
    // Of 22.00 that were paid before and 22.00 that are open Ikea has its 28.80 and the pool 15.20; Wellcome is even.
    assert_eq!(open(&world, third), ["hangseng -22.00", "ikea 28.80", "pool 15.20"]);
    assert_eq!([open(&world, first), open(&world, second)], [[""; 0], [""; 0]]);
    assert_eq!(owes(&world, all), before, "the same is owed as before");
    let replaced: Vec<Due> = dates
        .iter()
        .flat_map(|date| dues(&world, *date))
        .filter(|due| due.replaced_by.is_some())
        .collect();
    assert_eq!(replaced.len(), 9);
    assert!(replaced.iter().all(|due| due.replaced_by.as_deref() == Some(&document.hash)));
    let code = code_of(office.propose(&world.sandbox, &office.first, made(&replaced[0]))).err();
    assert_eq!(code, Some(Code::AlreadySettled), "it isn't made any more");
    pays(&world, &office, third, "hangseng");
    assert_eq!(owes(&world, all), ["0.000000", "0.000000", "-28.800000", "-15.200000"]);
    pays(&world, &office, third, "ikea");
    assert_eq!(owes(&world, all), ["0.000000", "0.000000", "0.000000", "-15.200000"]);
    assert_eq!(states(&world, dates), [State::Advised; 3]);
    pays(&world, &office, third, "pool");
    assert_eq!(states(&world, dates), [State::Settled; 3]);
    assert_eq!(owes(&world, all), ["0.000000"; 4]);
    for date in dates {
        let settled = ("window.settled".to_owned(), date.to_string());
        assert_eq!(
            told(&world, "hangseng").iter().filter(|event| **event == settled).count(),
            1,
            "{date}"
        );
    }
    assert_eq!(trail(&world), [""; 0]);
}

fn everybody_reads_where_its_payments_went(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    account(&world, &office, "clearing");
    account(&world, &office, "hangseng");
    let dates = three_nights(&mut world, &office);
    let [first, second, third] = dates;
    let statement = world.statement(&first.to_string(), "pool");
    let heard = told(&world, "pool").len();
    let document = office.change(&world.sandbox, join(&dates)).expect("joined");
    let [of_first] = &revisions(&world, "pool", first)[..] else {
        panic!("one revision")
    };
    assert_eq!(
        [&of_first["format"], &of_first["cause"], &of_first["lead"], &of_first["document"]],
        [&json!("points-revision/2"), &json!("joined"), &json!(third), &json!(document.hash)]
    );
    let net = |before: &str, paid: &str, open: &str| json!([{"currency": "HKD", "before": before, "taken_out": "0.00", "after": before, "paid": paid, "open": open}]);
    assert_eq!(of_first["net"], net("13.80", "0.00", "13.80"));
    assert_eq!((&of_first["taken_out"], &of_first["payments"]), (&json!([]), &json!([])));
    assert_eq!(of_first["replaced"].as_array().map(Vec::len), Some(1));
    assert_eq!(revisions(&world, "pool", second)[0]["net"], net("-5.50", "0.00", "-5.50"));
    let lead = &revisions(&world, "pool", third)[0];
    assert_eq!(
        [&lead["joined"], &lead["run"], &lead["lead"]],
        [&json!([first, second]), &json!(2), &json!(null)]
    );
    assert_eq!(lead["net"], net("15.20", "0.00", "15.20"));
    assert_eq!(lead["replaced"].as_array().map(Vec::len), Some(3));
    let new = dues(&world, third)
        .into_iter()
        .find(|due| due.is_open() && due.partner.as_str() == "pool")
        .expect("one");
    assert_eq!(lead["payments"][0]["reference"], json!(new.reference));
    assert!(
        new.value_date > third.tomorrow().expect("a day"),
        "the next business date after the open window's"
    );
    // Whoever has paid reads nothing of that window, and what it paid counts in the sum; whoever is even pays nothing.
    assert!(revisions(&world, "hangseng", first).is_empty() && revisions(&world, "ikea", second).is_empty());
    assert_eq!(revisions(&world, "hangseng", third)[0]["net"], net("-44.00", "-22.00", "-22.00"));
    let wellcome = &revisions(&world, "wellcome", third)[0];
    assert_eq!(
        (&wellcome["net"], &wellcome["payments"]),
        (&net("0.00", "0.00", "0.00"), &json!([]))
    );
    let events = told(&world, "pool").split_off(heard);
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    let [revised, replaced] = ["statement.revised", "payment.replaced"];
    assert_eq!(kinds, [revised, revised, revised, replaced, replaced, replaced, "payment.due"]);
    let about: Vec<String> = dates.iter().map(Date::to_string).collect();
    assert_eq!(
        events[..3].iter().map(|(_, about)| about).collect::<Vec<_>>(),
        about.iter().collect::<Vec<_>>()
    );
    // What the statements name isn't paid any more: the file for the bank is that of the lead.
    assert_eq!(world.statement(&first.to_string(), "pool"), statement);
    for (partner, date, says) in [
        ("wellcome", first, "nothing to pay"),
        ("hangseng", second, "nothing to pay"),
        ("hangseng", third, "<CtrlSum>22.00</CtrlSum>"),
    ] {
        let file = world.client(partner);
        let file = world.runtime.block_on(file.get_text(&format!("/v1/statements/{date}/pain001")));
        assert!(format!("{file:?}").contains(says), "{partner} {date}: {file:?}");
    }
}

/// Nobody's sum changes by a joining: `opening + confirmed + net == closing`, with nothing revised.
fn positions_run_on_over_a_joining(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let dates = three_nights(&mut world, &office);
    office.change(&world.sandbox, join(&dates)).expect("joined");
    let line = |date: Date, partner: &str| {
        let statement = world.statement(&date.to_string(), partner);
        let lines = statement.running_position.as_deref().expect("one").to_vec();
        let shown = lines.iter().map(|line| {
            let revised = line.revised.as_deref().unwrap_or("-");
            format!("{} {} {revised} {} {}", line.opening, line.confirmed, line.net, line.closing)
        });
        shown.collect::<Vec<_>>().join("; ")
    };
    let fourth = world.close().business_date;
    assert_eq!(line(fourth, "hangseng"), "-44.00 22.00 - 0.00 -22.00");
    assert_eq!(line(fourth, "ikea"), "28.80 0.00 - 0.00 28.80");
    assert_eq!(line(fourth, "pool"), "15.20 0.00 - 0.00 15.20");
    assert_eq!(line(fourth, "wellcome"), "");
    pays(&world, &office, dates[2], "pool");
    suspend(&world, &office, "hangseng");
    office.change(&world.sandbox, default("hangseng", dates[2])).expect("taken out");
    let fifth = world.close().business_date;
    assert_eq!(line(fifth, "hangseng"), "-22.00 0.00 22.00 0.00 0.00");
    assert_eq!(line(fifth, "ikea"), "28.80 0.00 - 0.00 28.80");
    assert_eq!(line(fifth, "pool"), "15.20 -15.20 -22.00 0.00 -22.00");
    let sixth = world.close().business_date;
    assert_eq!(line(sixth, "pool"), "-22.00 0.00 - 0.00 -22.00");
}

fn a_default_is_of_all_of_them(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let dates = three_nights(&mut world, &office);
    let [first, second, third] = dates;
    office.change(&world.sandbox, join(&dates)).expect("joined");
    suspend(&world, &office, "hangseng");
    let refused = office.propose(&world.sandbox, &office.first, default("hangseng", second));
    let said = format!("{refused:?}");
    assert!(said.contains(&format!("paid together with that of {third}")), "{said}");
    office.change(&world.sandbox, default("hangseng", third)).expect("taken out");
    // The first day is paid and stays; of the others 22.00 stay between the two, so the pool pays 6.80 of what Ikea receives.
    assert_eq!(open(&world, third), ["ikea 28.80", "pool -6.80"]);
    assert_eq!(owes(&world, ["hangseng", "ikea", "pool"]), ["0.000000", "-28.800000", "6.800000"]);
    let all = revisions(&world, "pool", first);
    let causes: Vec<_> = all.iter().map(|one| (&one["business_date"], &one["cause"], &one["run"])).collect();
    let (joined, by_default) = (
        (&json!(first), &json!("joined"), &json!(2)),
        (&json!(third), &json!("default"), &json!(3)),
    );
    assert_eq!(causes, [joined, by_default]);
    assert_eq!(
        all[1]["taken_out"],
        json!([
            {"business_date": second, "counterparty": "hangseng", "currency": "HKD", "amount": "5.50"},
            {"business_date": third, "counterparty": "hangseng", "currency": "HKD", "amount": "16.50"},
        ])
    );
    assert_eq!(
        all[1]["net"],
        json!([{"currency": "HKD", "before": "15.20", "taken_out": "-22.00", "after": "-6.80", "paid": "0.00", "open": "-6.80"}])
    );
    assert_eq!(revisions(&world, "pool", third).len(), 2);
    // It paid the first day, and reads all the same what is said of the others.
    assert_eq!(revisions(&world, "hangseng", first).len(), 1);
    assert_eq!(revisions(&world, "wellcome", first).len(), 1, "of it nothing has changed since");
    let twice = code_of(office.propose(&world.sandbox, &office.first, default("hangseng", third))).err();
    assert_eq!(twice, Some(Code::BadTerms), "nothing of it is open");
    pays(&world, &office, third, "ikea");
    pays(&world, &office, third, "pool");
    assert_eq!(states(&world, dates), [State::Settled; 3]);
    assert_eq!(owes(&world, ["wellcome", "hangseng", "ikea", "pool"]), ["0.000000"; 4]);
    assert_eq!(trail(&world), [""; 0]);
}

/// A window in default before it was joined: its runs come before those of all.
fn a_lead_is_settled_with_all_of_them(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let dates = three_nights(&mut world, &office);
    let [first, second, third] = dates;
    suspend(&world, &office, "wellcome");
    office.change(&world.sandbox, default("wellcome", first)).expect("taken out");
    assert_eq!(open(&world, first), ["ikea 19.20", "pool 2.80"]);
    office.change(&world.sandbox, join(&dates)).expect("joined");
    assert_eq!(
        open(&world, third),
        ["hangseng -22.00", "ikea 28.80", "pool 4.20", "wellcome 11.00"]
    );
    let runs = revisions(&world, "pool", first)
        .iter()
        .map(|one| one["run"].clone())
        .collect::<Vec<_>>();
    assert_eq!(
        (runs, revisions(&world, "pool", third)[0]["run"].clone()),
        (vec![json!(2), json!(3)], json!(3))
    );
    // Wellcome is taken out of the second day too, and of the third: there is nothing of it there.
    office.change(&world.sandbox, default("wellcome", third)).expect("taken out");
    assert_eq!(open(&world, third), ["hangseng -22.00", "ikea 28.80", "pool 15.20"]);
    for date in [first, second] {
        let code = code_of(office.propose(&world.sandbox, &office.first, Change::Settle { business_date: date })).err();
        assert_eq!(code, Some(Code::BadTerms), "{date}");
    }
    let document = office
        .change(&world.sandbox, Change::Settle { business_date: third })
        .expect("settled");
    let by = windows(&world, dates).map(|window| (window.state, window.settled_by));
    assert_eq!(by, [(); 3].map(|()| (State::Settled, Some(document.hash.clone()))));
    assert_eq!(owes(&world, ["wellcome", "hangseng", "ikea", "pool"]), ["0.000000"; 4]);
    let again = code_of(office.propose(&world.sandbox, &office.first, Change::Settle { business_date: first })).err();
    assert_eq!(again, Some(Code::AlreadySettled));
    assert_eq!(trail(&world), [""; 0]);
}

fn what_cancels_out_is_settled_at_once(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let earned = id(world.post("wellcome", earn("YUU", "m2", "2000")));
    let first = world.close().business_date;
    world.post("wellcome", reverse(&earned, "2000")).expect("given back");
    let second = world.close().business_date;
    let document = office.change(&world.sandbox, join(&[first, second])).expect("joined");
    let by = windows(&world, [first, second]).map(|window| (window.state, window.settled_by));
    assert_eq!(by, [(); 2].map(|()| (State::Settled, Some(document.hash.clone()))));
    assert_eq!(revisions(&world, "pool", second)[0]["payments"], json!([]));
    assert_eq!(owes(&world, ["wellcome", "pool"]), ["0.000000"; 2]);
    assert_eq!(trail(&world), [""; 0]);
}

fn more_are_joined_to_a_lead(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let dates = three_nights(&mut world, &office);
    let [first, second, third] = dates;
    office.change(&world.sandbox, join(&[first, third])).expect("joined");
    assert_eq!(
        open(&world, third),
        ["hangseng -16.50", "ikea 28.80", "pool 20.70", "wellcome -11.00"]
    );
    // Ikea has its payment before the second day comes to it, and needs no other.
    pays(&world, &office, third, "ikea");
    office.change(&world.sandbox, join(&[second, third])).expect("joined");
    assert_eq!(open(&world, third), ["hangseng -22.00", "pool 15.20"]);
    assert_eq!(
        owes(&world, ["wellcome", "hangseng", "ikea", "pool"]),
        ["0.000000", "22.000000", "0.000000", "-15.200000"]
    );
    assert_eq!(revisions(&world, "pool", first).len(), 2, "that of the lead is its own");
    pays(&world, &office, third, "hangseng");
    pays(&world, &office, third, "pool");
    assert_eq!(states(&world, dates), [State::Settled; 3]);
    assert_eq!(trail(&world), [""; 0]);
}

fn what_is_unclear_is_not_joined(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let [first, second, third] = three_nights(&mut world, &office);
    let code = |dates: &[Date]| code_of(office.propose(&world.sandbox, &office.first, join(dates))).err();
    let open_one = third.tomorrow().expect("a day");
    let many: Vec<Date> = (0..32).map(|days| first.saturating_add(jiff::Span::new().days(days))).collect();
    for dates in [
        &[][..],
        &[first],
        &[first, first],
        &[second, first],
        &[first, open_one],
        &[first.yesterday().expect("a day"), first],
        &many,
    ] {
        assert_eq!(code(dates), Some(Code::BadTerms), "{dates:?}");
    }
    let twice = [&office.first, &office.second].map(|key| office.propose(&world.sandbox, key, join(&[first, second])).expect("proposed"));
    let by_one = code_of(office.approve_change(&world.sandbox, &office.first, &twice[0])).err();
    assert_eq!(by_one, Some(Code::FourEyes));
    office.approve_change(&world.sandbox, &office.second, &twice[0]).expect("approved");
    let again = code_of(office.approve_change(&world.sandbox, &office.first, &twice[1])).err();
    assert_eq!(again, Some(Code::BadTerms), "a window is joined once");
    let mut conn = world.sandbox.database().expect("a connection");
    let queues = [first, second, third].map(|date| settlement::queue(&mut conn, date, &settlement::Balances::new()).is_ok());
    assert_eq!(queues, [false, false, true], "pairs of one window alone");
    assert_eq!(code(&[first, third]), Some(Code::BadTerms), "it is paid with the second");
    assert_eq!(code(&[second, third]), Some(Code::BadTerms), "another is paid with it");
    office
        .change(&world.sandbox, Change::Settle { business_date: third })
        .expect("settled");
    let fourth = world.close().business_date;
    assert_eq!(code(&[third, fourth]), Some(Code::AlreadySettled));
}

fn a_joining_without_a_document_is_found(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let dates = three_nights(&mut world, &office);
    let [first, second, third] = dates;
    office.change(&world.sandbox, join(&[first, third])).expect("joined");
    assert_eq!(trail(&world), [""; 0]);
    let mut conn = world.sandbox.database().expect("a connection");
    execute(&mut conn, "UPDATE joined SET document = 'x' || document");
    let unsigned = format!("window {first} is paid with that of {third}, and no signed document says so");
    assert_eq!(trail(&world), [&*unsigned]);
    execute(&mut conn, "UPDATE joined SET document = substr(document, 2)");
    execute(&mut conn, &format!("UPDATE joined SET lead = '{second}'"));
    let findings = world.findings();
    for start in ["joined: ", "the payments of a window, and of those that are paid with it"] {
        assert!(findings.iter().any(|finding| finding.contains(start)), "{start}: {findings:?}");
    }
    assert!(trail(&world).iter().any(|finding| finding.contains("no signed document says so")));
    execute(&mut conn, &format!("UPDATE joined SET lead = '{third}', run = run + 1"));
    assert!(world.findings().iter().any(|finding| finding.contains("joined: ")));
    execute(&mut conn, "UPDATE joined SET run = run - 1");
    assert_eq!(world.findings(), [""; 0]);
}
