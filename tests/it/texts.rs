//! What partners write where a name, a field or a hash is expected is told on in plain characters: no event and no answer is forged by it.

use partner_sdk::Code;
use partner_sdk::client::ClientError;
use partner_sdk::jws::TYP_MESSAGE;
use partner_sdk::text::is_plain;
use store::events::{self, OPERATOR};
use tests::{Backend, World, on_both};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(what_comes_in_is_told_on_in_plain_characters);

fn what_comes_in_is_told_on_in_plain_characters(backend: Backend) {
    let world = World::new(backend, POOL);
    let key = world
        .sandbox
        .parties
        .get(&"wellcome".parse().expect("a partner"))
        .expect("wellcome")
        .key
        .clone();
    let client = world.client("wellcome");
    let newest = |after| {
        let mut conn = world.sandbox.database().expect("a connection");
        events::after(&mut conn, &[OPERATOR], after, 1000).expect("events")
    };
    let before = newest(0).last().map_or(0, |event| event.no);
    // A path in a hash's place: a line feed with a second event, an escape sequence, a change of direction.
    for path in [
        "00%0A9%20%20change.approved",
        "%1B%5B2J",
        "%E2%80%AE00",
        "00%00",
        &"0".repeat(63),
        &"A".repeat(64),
    ] {
        let refused = world.runtime.block_on(client.withdraw(path, &key));
        assert!(
            matches!(refused, Err(ClientError::Refused(problem)) if problem.code == Code::NotFound),
            "{path}"
        );
    }
    assert_eq!(newest(before), [], "nothing is told of what isn't a hash");
    let nobodys = "0".repeat(64);
    assert!(world.runtime.block_on(client.withdraw(&nobodys, &key)).is_err(), "there is none");
    let told = newest(before);
    assert_eq!(
        told.iter()
            .map(|event| (event.kind.as_str(), event.subject.as_str()))
            .collect::<Vec<_>>(),
        [("document.refused", &*nobodys)]
    );
    // A field's name, in an answer and its signed receipt.
    for trick in ["a\\nb", "a\\u001b[2J", "a\\u202eb", "a\\u2066b", "a\\u0000b", &"x".repeat(2_000)] {
        let jws = key.sign(TYP_MESSAGE, format!("{{\"kind\":\"earn\",\"{trick}\":1}}").as_bytes());
        let answer = world.post_jws("wellcome", &jws);
        let problem = answer.problem.expect("refused");
        let field = problem.field.expect("the field");
        assert!(field.chars().all(is_plain) && field.len() < 100, "{field:?}");
        assert!(problem.detail.chars().all(is_plain), "{:?}", problem.detail);
        assert!(problem.receipt.is_some(), "its signature was good");
    }
}
