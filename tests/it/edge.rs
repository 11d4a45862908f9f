//! What stands before every request: the form of its head, its size, the name it asks for, its partner's share; and what every answer says.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use clearing::edge::listen::most_waiting;
use partner_sdk::client::{Identity, new_message_id};
use partner_sdk::wire::keys::{Issued, KeyName, Revocation};
use partner_sdk::{Code, PartnerId};
use store::keys::{self, By};
use tests::raw::{Raw, socket, socket_at};
use tests::{Backend, World, earn, on_both};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    a_head_is_read_in_one_way_only,
    one_partner_s_share_is_not_another_s,
    steps_with_documents_and_keys_have_a_rate,
    part_of_a_head_keeps_no_place,
    a_newcomer_gets_in_past_silent_sockets,
    answers_that_nobody_takes_are_bounded,
    a_revoked_key_s_connections_are_closed
);

fn identity(world: &World, partner: &str) -> Identity {
    let id: PartnerId = partner.parse().expect("a partner");
    world.sandbox.parties.get(&id).expect("of the network").identity.clone()
}

fn connect(world: &World, partner: &str) -> Raw {
    Raw::connect(&world.sandbox.base().expect("it runs"), &identity(world, partner), 1).expect("a connection")
}

/// What is answered to these bytes on a connection of its own.
fn asked(world: &World, bytes: &str) -> String {
    let mut raw = connect(world, "wellcome");
    // It may be refused before all of it was sent.
    let _ = raw.write(bytes.as_bytes());
    raw.read()
}

fn code(answer: &str) -> Option<Code> {
    let body = answer.split_once("\r\n\r\n")?.1;
    let problem: partner_sdk::Problem = serde_json::from_str(body).ok()?;
    Some(problem.code)
}

fn a_head_is_read_in_one_way_only(backend: Backend) {
    let world = World::new(backend, POOL);
    let get = |lines: &str| format!("GET /v1/health HTTP/1.1\r\n{lines}\r\n");
    let many: String = (0..70).map(|no| format!("x-{no}: a\r\n")).collect();
    for (bytes, status, refused) in [
        (get("Host: localhost\r\n"), 200, None),
        (get("host: LOCALHOST:8443\r\n"), 200, None),
        (get("Host: 127.0.0.1\r\n"), 200, None),
        (get("Host: elsewhere.example\r\n"), 421, Some(Code::Misdirected)),
        (get(""), 400, Some(Code::BadRequest)),
        ("GET /v1/health HTTP/1.1\nHost: localhost\n\n".into(), 400, Some(Code::BadRequest)),
        (get("Host: localhost\nX: y\r\n"), 400, Some(Code::BadRequest)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 400, Some(Code::BadRequest)),
        (get(&format!("Host: localhost\r\n{many}")), 431, Some(Code::HeadersTooLarge)),
        (
            get(&format!("Host: localhost\r\nX: {}\r\n", "x".repeat(40_000))),
            431,
            Some(Code::HeadersTooLarge),
        ),
        (
            get("Host: localhost\r\nTransfer-Encoding: chunked\r\n"),
            411,
            Some(Code::LengthRequired),
        ),
        (
            // It is never sent.
            "POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nx".into(),
            413,
            Some(Code::TooLarge),
        ),
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".into(), 404, Some(Code::NotFound)),
        (
            "PUT /v1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
            405,
            Some(Code::MethodNotAllowed),
        ),
    ] {
        let answer = asked(&world, &bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:.80}: {answer:.200}");
        assert_eq!(code(&answer), refused, "{bytes:.80}");
        for said in ["cache-control: no-store\r\n", "x-content-type-options: nosniff\r\n"] {
            assert!(answer.contains(said), "{bytes:.80}: {answer:.300}");
        }
    }
    // Two requests in one write are answered one after the other, and the second is looked at like the first.
    let mut raw = connect(&world, "wellcome");
    raw.write((get("Host: localhost\r\n") + &get("Host: elsewhere\r\n")).as_bytes())
        .expect("sent");
    assert_eq!((code(&raw.read()), code(&raw.read())), (None, Some(Code::Misdirected)));
    assert!(raw.is_ended());
}

fn one_partner_s_share_is_not_another_s(backend: Backend) {
    let network = POOL.replace("name = \"IKEA\"", "name = \"IKEA\"\nstatus = \"suspended\"");
    let mut world = World::new(backend, &network);
    world.sandbox.stop();
    world.sandbox.config.limits.requests = 4;
    world.sandbox.config.limits.connections = 6;
    world.sandbox.config.limits.messages_per_second = 1;
    world.sandbox.start().expect("the service starts");
    world.connect();
    // Four bodies that never end, of each: one more request of theirs is refused, and nobody else notices.
    let unfinished = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n{}",
            "x".repeat(3000)
        )
    };
    let mut held = vec![];
    for (partner, path) in [("ikea", "/v1/keys"), ("hangseng", "/v1/messages")] {
        let mut five: Vec<Raw> = (0..5).map(|_| connect(&world, partner)).collect();
        for raw in &mut five {
            raw.write(unfinished(path).as_bytes()).expect("sent");
        }
        // Whichever comes last: four have begun when it is refused, and they don't end.
        let refused = tests::raw::first_answer(&mut five).expect("the fifth is answered");
        assert_eq!(code(&refused), Some(Code::TooManyRequests), "{refused}");
        assert!(
            refused.starts_with("HTTP/1.1 429 ") && refused.contains("retry-after: 1\r\n"),
            "{refused}"
        );
        let mut more = connect(&world, partner);
        more.write(b"GET /v1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        assert_eq!(code(&more.read()), Some(Code::TooManyRequests), "its share is used up");
        held.push(five);
        world.post("wellcome", earn("YUU", "m1", "1")).expect("another's share");
    }
    // Of messages there may be so many a second: the burst is taken, then the problem says how long to wait.
    drop(held);
    let batch: Vec<_> = (0..1000).map(|_| world.message("wellcome", earn("YUU", "m1", "1"))).collect();
    let signed: Vec<String> = batch.iter().map(|message| world.sign(message)).collect();
    let client = world.client("wellcome");
    let refused = (0..3).find_map(|_| world.runtime.block_on(client.post_batch(&signed)).err());
    match refused {
        Some(partner_sdk::client::ClientError::Refused(problem)) => assert_eq!(problem.code, Code::TooManyRequests),
        other => panic!("{other:?}"),
    }
    // With as many connections as it may have, a new one takes the place of one that is idle.
    let mut idle: Vec<Raw> = vec![];
    for _ in 0..8 {
        let mut raw = connect(&world, "pool");
        raw.write(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        assert!(raw.read().starts_with("HTTP/1.1 200 "));
        idle.push(raw);
    }
    assert!(idle[0].is_ended());
}

fn steps_with_documents_and_keys_have_a_rate(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.sandbox.stop();
    world.sandbox.config.limits.steps_per_second = 1;
    world.sandbox.start().expect("the service starts");
    world.connect();
    let step = |partner: &str, path: &str| {
        let mut raw = connect(&world, partner);
        raw.write(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx").as_bytes())
            .expect("sent");
        raw.read()
    };
    let acts = format!("/v1/agreements/{}/acts", "0".repeat(64));
    let paths = ["/v1/agreements", "/v1/keys", "/v1/certificates", "/v1/revocations", &acts];
    // Ten at once, and one more for each second that the test takes.
    let is_refused = |answer: &String| code(answer) == Some(Code::TooManyRequests);
    let taken = paths
        .iter()
        .cycle()
        .take_while(|path| !is_refused(&step("ikea", path)))
        .take(60)
        .count();
    assert!((10..60).contains(&taken), "{taken}");
    for path in paths {
        let refused = (0..20).map(|_| step("ikea", path)).find(is_refused).expect(path);
        assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
        assert!(!is_refused(&step("hangseng", path)), "another's");
    }
    world.post("wellcome", earn("YUU", "m1", "1")).expect("a message is no step");
}

fn part_of_a_head_keeps_no_place(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.sandbox.stop();
    world.sandbox.config.limits.connections = 6;
    world.sandbox.start().expect("the service starts");
    world.connect();
    let half = || {
        let mut raw = connect(&world, "ikea");
        raw.write(b"G").expect("sent");
        raw
    };
    let answered = |partner: &str| {
        let mut raw = connect(&world, partner);
        raw.write(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        assert!(raw.read().starts_with("HTTP/1.1 200 "));
        raw
    };
    let mut halves: Vec<Raw> = (0..6).map(|_| half()).collect();
    // New connections go to each thread in turn: when these are answered, those bytes were read.
    let _others: Vec<Raw> = (0..16).map(|_| answered("wellcome")).collect();
    let _new: Vec<Raw> = (0..6).map(|_| answered("ikea")).collect();
    for (no, raw) in halves.iter_mut().enumerate() {
        assert!(raw.is_ended(), "the place of {no} was given to another, and its socket is closed");
    }
}

fn a_newcomer_gets_in_past_silent_sockets(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.sandbox.stop();
    world.sandbox.config.health_listen = "127.0.0.1:0".into();
    world.sandbox.start().expect("the service starts");
    world.connect();
    let (base, enrol, health) = (
        world.sandbox.base().expect("it runs"),
        world.sandbox.enrolment().expect("it listens"),
        world.sandbox.health().expect("it listens"),
    );
    // More than any listener has room for, from one address and from many.
    let silent = |base: &str| {
        let sockets = (0..most_waiting() + 100).map(|no| {
            let from = if no < 100 { 2 } else { 3 + u8::try_from(no % 200).expect("small") };
            socket_at(base, Ipv4Addr::new(127, 0, 1, from)).expect("a socket")
        });
        sockets.collect::<Vec<_>>()
    };
    let held = silent(&health);
    let mut other = socket(&health, 3).expect("a connection");
    other.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut answer = [0; 15];
    other.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    drop(held);
    let held = silent(&enrol);
    let ca = identity(&world, "wellcome").ca_pem;
    let mut other = Raw::anonymous(&enrol, &ca, 3).expect("a connection");
    other
        .write(b"POST /v1/enrolments HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
        .expect("sent");
    assert_eq!(code(&other.read()), Some(Code::MalformedJws), "it is heard");
    drop(held);
    let _held = silent(&base);
    let mut partner = connect(&world, "wellcome");
    partner.write(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    assert!(partner.read().starts_with("HTTP/1.1 200 "));
}

fn answers_that_nobody_takes_are_bounded(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.sandbox.stop();
    world.sandbox.config.limits.answer_mib = 1;
    world.sandbox.start().expect("the service starts");
    world.connect();
    let body = "x\n".repeat(1000);
    let ask = format!(
        "POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // Each answer has some 300 KB; so many of them fill the buffers of the system too, and then wait.
    let mut unread: Vec<Raw> = (0..4).map(|_| connect(&world, "hangseng")).collect();
    for raw in &mut unread {
        let _ = raw.write_within(ask.repeat(100).as_bytes(), Duration::from_millis(500));
    }
    let answer = |partner: &str| {
        let mut raw = connect(&world, partner);
        raw.write(ask.as_bytes()).expect("sent");
        raw.read()
    };
    let refused = (0..20)
        .map(|_| answer("hangseng"))
        .find(|answer| !answer.starts_with("HTTP/1.1 200 "));
    let refused = refused.expect("a batch too many");
    assert_eq!(code(&refused), Some(Code::TooManyRequests), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n") && refused.contains("answers"), "{refused}");
    assert!(answer("wellcome").starts_with("HTTP/1.1 200 "), "another's share");
    world
        .post("hangseng", earn("YUU", "m1", "1"))
        .expect("a message has a small answer");
}

fn a_revoked_key_s_connections_are_closed(backend: Backend) {
    let world = World::new(backend, POOL);
    let (mut idle, mut other) = (connect(&world, "ikea"), connect(&world, "wellcome"));
    // Of two more a part of a head has come: of the first one that there is, and of one after an answer.
    let (mut first, mut second) = (connect(&world, "ikea"), connect(&world, "ikea"));
    second.write(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    assert!(second.read().starts_with("HTTP/1.1 200 "));
    for raw in [&mut idle, &mut other] {
        raw.write(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        assert!(raw.read().starts_with("HTTP/1.1 200 "));
    }
    let own = world.runtime.block_on(world.client("ikea").keys()).expect("keys");
    let mut conn = world.sandbox.database().expect("a connection");
    let why = "stolen".parse().expect("a reason");
    let id: PartnerId = "ikea".parse().expect("a partner");
    let name = KeyName::Spki(own.tls[0].spki_sha256);
    for raw in [&mut first, &mut second] {
        raw.write(b"GET /v1/he").expect("sent");
    }
    let revocation = Revocation {
        issued: Issued {
            id: new_message_id(),
            issued_at: world.now(),
        },
        key: name,
        reason: why,
    };
    let request = revocation.sign(&world.sandbox.parties[&id].key);
    let by = By::Partner(&id, &own.signing[0].kid, world.now(), &request);
    keys::revoke(&mut conn, &revocation.key, &revocation.reason, &by, world.now()).expect("revoked");
    assert!(idle.is_ended(), "the idle connection is closed");
    assert!(first.is_ended() && second.is_ended(), "part of a head keeps none open");
    other.write(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    assert!(other.read().starts_with("HTTP/1.1 200 "), "nobody else's is");
}
