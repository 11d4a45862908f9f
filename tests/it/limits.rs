//! What limits hold, inside a batch and between clients at the same time.

use jiff::ToSpan;
use partner_sdk::{Code, Message};
use tests::{Backend, World, authorise, burn, capture, earn, on_both, reverse, void};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    a_batch_sees_the_cap_it_uses_up,
    holds_hold,
    holds_end,
    one_balance_is_spent_once,
    limits_per_message_and_per_member_and_day,
    a_cap_counts_all_windows_not_settled,
);

/// The pool with a term more for each of wellcome's messages.
fn with_earn_term(term: &str) -> String {
    POOL.replacen("price = \"0.0055\"", &format!("price = \"0.0055\"\n{term}"), 1)
}

fn codes<T>(results: Vec<Result<T, Code>>) -> Vec<Option<Code>> {
    results.into_iter().map(Result::err).collect()
}

fn a_batch_sees_the_cap_it_uses_up(backend: Backend) {
    // A point costs HK$1.00, and wellcome may owe HK$100.00.
    let network = POOL.replacen("price = \"0.0055\"", "price = \"1\"", 1);
    let network = network.replace("name = \"Wellcome\"", "name = \"Wellcome\"\nnet_debit_cap = { HKD = \"100.00\" }");
    let mut world = World::new(backend, &network);
    let batch: Vec<Message> = ["60", "60", "100"]
        .iter()
        .map(|points| world.message("wellcome", earn("YUU", "m1", points)))
        .collect();
    assert_eq!(
        codes(world.send_all("wellcome", &batch)),
        [None, Some(Code::NetDebitCap), Some(Code::NetDebitCap)]
    );
    assert_eq!(world.points("pool", "YUU", "m1"), "60");
    world.post("wellcome", earn("YUU", "m1", "40")).expect("up to the cap");
    assert_eq!(world.post("wellcome", earn("YUU", "m1", "1")), Err(Code::NetDebitCap));
    // What others do is not wellcome's to answer for.
    world.post("hangseng", earn("YUU", "m1", "100000")).expect("no cap");
}

fn a_cap_counts_all_windows_not_settled(backend: Backend) {
    let network = POOL.replacen("price = \"0.0055\"", "price = \"1\"", 1);
    let network = network.replace("name = \"Wellcome\"", "name = \"Wellcome\"\nnet_debit_cap = { HKD = \"100.00\" }");
    let mut world = World::new(backend, &network);
    world.post("wellcome", earn("YUU", "m1", "70")).expect("within the cap");
    let day = world.close();
    assert_eq!(world.post("wellcome", earn("YUU", "m1", "70")), Err(Code::NetDebitCap));
    let mut conn = world.sandbox.database().expect("a connection");
    settlement::settle(&mut conn, day.business_date, world.now(), "a test").expect("settled");
    world.post("wellcome", earn("YUU", "m1", "70")).expect("the first window is paid");
}

fn holds_hold(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("wellcome", earn("YUU", "m1", "5000")).expect("accepted");
    let batch: Vec<Message> = (0..6).map(|_| world.message("ikea", authorise("YUU", "m1", "1000"))).collect();
    let results = codes(world.send_all("ikea", &batch));
    assert_eq!(results, [None, None, None, None, None, Some(Code::InsufficientBalance)]);
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("5000".into(), "5000".into(), "0".into()));
    assert_eq!(world.post("ikea", burn("YUU", "m1", "1")), Err(Code::InsufficientBalance));
    world
        .post("ikea", capture(&batch[0].id, "400"))
        .expect("part of the hold; the rest is released");
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("4600".into(), "4000".into(), "600".into()));
    assert_eq!(world.post("ikea", capture(&batch[0].id, "1")), Err(Code::HoldClosed));
    assert_eq!(world.post("ikea", capture(&batch[1].id, "1001")), Err(Code::HoldExceeded));
    assert_eq!(world.post("ikea", capture(&batch[5].id, "1")), Err(Code::HoldUnknown));
    world.post("ikea", void(&batch[1].id)).expect("an open hold");
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("4600".into(), "3000".into(), "1600".into()));
    // Authorise and capture in one batch.
    let hold = world.message("ikea", authorise("YUU", "m1", "1600"));
    let taken = world.message("ikea", capture(&hold.id, "1600"));
    assert_eq!(codes(world.send_all("ikea", &[hold, taken.clone()])), [None, None]);
    world.post("ikea", reverse(&taken.id, "600")).expect("a capture can be reversed");
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("3600".into(), "3000".into(), "600".into()));
}

fn holds_end(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    let hold = world
        .post("ikea", authorise("YUU", "m1", "100"))
        .expect("enough")
        .id
        .expect("an id");
    world.wait(61.minutes());
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("100".into(), "0".into(), "100".into()));
    assert_eq!(world.post("ikea", capture(&hold, "100")), Err(Code::HoldExpired));
    world.post("ikea", burn("YUU", "m1", "100")).expect("free again");
}

fn limits_per_message_and_per_member_and_day(backend: Backend) {
    let mut world = World::new(backend, &with_earn_term("per_message = \"600\"\nper_member_day = \"1000\""));
    assert_eq!(world.post("wellcome", earn("YUU", "m1", "601")).err(), Some(Code::LimitPerMessage));
    let batch: Vec<Message> = ["600", "600", "400", "1"]
        .iter()
        .map(|points| world.message("wellcome", earn("YUU", "m1", points)))
        .collect();
    assert_eq!(
        codes(world.send_all("wellcome", &batch)),
        [None, Some(Code::LimitMemberDay), None, Some(Code::LimitMemberDay)]
    );
    world.post("wellcome", earn("YUU", "m2", "600")).expect("another member");
    world.close();
    world.post("wellcome", earn("YUU", "m1", "600")).expect("another day");
}

fn one_balance_is_spent_once(backend: Backend) {
    const CLIENTS: usize = 64;
    const ROUNDS: usize = 100;
    let mut world = World::new(backend, POOL);
    let ikea = "ikea".parse().expect("a partner");
    let clients: Vec<_> = (0..CLIENTS).map(|_| world.sandbox.client(&ikea).expect("a client")).collect();
    for round in 0..ROUNDS {
        let member = format!("m{round}");
        world.post("wellcome", earn("YUU", &member, "100")).expect("accepted");
        let signed: Vec<String> = (0..CLIENTS)
            .map(|_| {
                let message = world.message("ikea", burn("YUU", &member, "100"));
                world.sign(&message)
            })
            .collect();
        let answers = world.runtime.block_on(async {
            let posts = clients.iter().zip(signed).map(|(client, jws)| {
                let client = client.clone();
                tokio::spawn(async move { client.post(&jws).await })
            });
            let mut answers = vec![];
            for post in posts.collect::<Vec<_>>() {
                answers.push(post.await.expect("a task").expect("an answer"));
            }
            answers
        });
        let results: Vec<_> = answers.iter().map(|answer| world.read("ikea", answer)).collect();
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "round {round}");
        assert!(
            results.iter().all(|r| r.is_ok() || *r == Err(Code::InsufficientBalance)),
            "round {round}: {results:?}"
        );
        assert_eq!(world.points("ikea", "YUU", &member), "0");
    }
}
