//! A refusal names what is at fault, says what is allowed there, and advises only what can be done.

use partner_sdk::client::ClientError;
use partner_sdk::document;
use partner_sdk::jws::general::General;
use partner_sdk::jws::{TYP_AGREEMENT, TYP_BATCH};
use partner_sdk::{Code, Problem};
use tests::market::Market;
use tests::{Backend, World, on_both};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    queries_name_the_parameter_and_its_range,
    a_batch_without_a_message,
    terms_are_named_with_what_they_allow
);

fn asked(world: &World, path: &str) -> Result<String, Box<Problem>> {
    match world.runtime.block_on(world.client("ikea").get_text(path)) {
        Ok(text) => Ok(text),
        Err(ClientError::Refused(problem)) => Err(problem),
        Err(other) => panic!("{path}: {other:?}"),
    }
}

fn queries_name_the_parameter_and_its_range(backend: Backend) {
    let world = World::new(backend, POOL);
    for (path, code, field, said) in [
        ("/v1/events?after=x", Code::BadValue, "after", "from 0"),
        ("/v1/events?after=-1", Code::BadValue, "after", "from 0"),
        ("/v1/events?after=+1", Code::BadValue, "after", "from 0"),
        ("/v1/events?after=9223372036854775808", Code::BadValue, "after", "from 0"),
        ("/v1/events?limit=0", Code::BadValue, "limit", "from 1 to 250"),
        ("/v1/events?limit=251", Code::BadValue, "limit", "from 1 to 250"),
        ("/v1/events?wait=26", Code::BadValue, "wait", "from 0 to 25"),
        ("/v1/events?since=1", Code::BadRequest, "since", "after, limit, wait"),
        ("/v1/events?after=1&after=2", Code::BadRequest, "after", "twice"),
        ("/v1/payments?state=all", Code::BadValue, "state", "open or confirmed"),
        ("/v1/payments?from=x", Code::BadValue, "from", "2026-11-21"),
        ("/v1/payments?limit=1001", Code::BadValue, "limit", "from 1 to 1000"),
        (
            "/v1/payments?partner=pool",
            Code::BadRequest,
            "partner",
            "from, until, state, limit",
        ),
        ("/v1/exchanges?after=x", Code::BadValue, "after", "from 0"),
        ("/v1/exchanges?state=closed", Code::BadValue, "state", "open"),
        ("/v1/exchanges?limit=1", Code::BadRequest, "limit", "state, after"),
        ("/v1/rates?as_of=yesterday", Code::BadValue, "as_of", "2026-11-21T10:00:00Z"),
        ("/v1/agreements?as_of=2026-11-21", Code::BadValue, "as_of", "2026-11-21T10:00:00Z"),
        ("/v1/agreements?at=now", Code::BadRequest, "at", "as_of"),
    ] {
        let problem = asked(&world, path).expect_err(path);
        assert_eq!((problem.code, problem.field.as_deref()), (code, Some(field)), "{path}: {problem:?}");
        assert!(problem.detail.contains(said), "{path}: {}", problem.detail);
    }
    for path in [
        "/v1/events?after=0&limit=1&wait=0",
        "/v1/events?limit=250",
        "/v1/exchanges?state=open&after=0",
        "/v1/rates?as_of=2026-11-21T18:00:00%2B08:00",
    ] {
        asked(&world, path).expect(path);
    }
}

fn a_batch_without_a_message(backend: Backend) {
    let world = World::new(backend, POOL);
    let key = &world.sandbox.parties.get(&"ikea".parse().expect("a partner")).expect("ikea").key;
    let client = world.client("ikea");
    let refused = |path: &str, body: String| match world.runtime.block_on(client.post_unverified(path, body)) {
        Err(ClientError::Refused(problem)) => *problem,
        other => panic!("{path}: {other:?}"),
    };
    let signed = refused("/v1/signed-batches", key.sign(TYP_BATCH, b"[]"));
    assert_eq!((signed.code, signed.receipt.is_some()), (Code::EmptyBatch, true));
    assert_eq!(refused("/v1/batches", String::new()).code, Code::EmptyBatch);
    let no_array = refused("/v1/signed-batches", key.sign(TYP_BATCH, b"{}"));
    assert!(no_array.what_to_do.contains("array"), "{}", no_array.what_to_do);
}

fn terms_are_named_with_what_they_allow(backend: Backend) {
    let market = Market::new(backend, 1);
    let good = document::write(&market.terms());
    let refused = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        let general = General::sign(market.key("grocer"), TYP_AGREEMENT, good.replace(from, to).as_bytes());
        let client = market.world.client("grocer");
        match market
            .world
            .runtime
            .block_on(client.post_unverified("/v1/agreements", general.to_json()))
        {
            Err(ClientError::Refused(problem)) => *problem,
            other => panic!("{to}: {other:?}"),
        }
    };
    let price = good
        .split("\"price\":")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .expect("a price")
        .to_owned();
    let longer = format!("\"price\":{}0\"", price.trim_end_matches('"'));
    for (from, to, field, said) in [
        (format!("\"price\":{price}"), longer, "price", format!("write {price}")),
        (
            format!("\"price\":{price}"),
            "\"price\":0.5".to_owned(),
            "price",
            "as an amount".to_owned(),
        ),
        (
            "\"hold_minutes\":60".to_owned(),
            "\"hold_minutes\":\"60\"".to_owned(),
            "hold_minutes",
            "from 1 to 527040".to_owned(),
        ),
        (
            "\"hold_minutes\":60,".to_owned(),
            String::new(),
            "hold_minutes",
            "missing".to_owned(),
        ),
        (
            "\"hold_minutes\":60".to_owned(),
            "\"hold_hours\":1".to_owned(),
            "hold_hours",
            "no term".to_owned(),
        ),
        (
            "\"settle\":\"issue\"".to_owned(),
            "\"settle\":\"later\"".to_owned(),
            "settle",
            "redemption".to_owned(),
        ),
    ] {
        let problem = refused(&from, &to);
        assert_eq!(
            (problem.code, problem.field.as_deref()),
            (Code::MalformedDocument, Some(field)),
            "{problem:?}"
        );
        assert!(problem.detail.contains(&said), "{}", problem.detail);
        assert!(problem.what_to_do.contains("term"), "{}", problem.what_to_do);
    }
    // What is no JWS says which member is at fault.
    let client = market.world.client("grocer");
    let text = r#"{"payload":"=","signatures":[{"protected":"e30","signature":""}]}"#;
    match market
        .world
        .runtime
        .block_on(client.post_unverified("/v1/agreements", text.to_owned()))
    {
        Err(ClientError::Refused(problem)) => assert!(problem.field.is_some(), "{problem:?}"),
        other => panic!("{other:?}"),
    }
}
