//! What isn't right is refused by a typed problem that names the field, signed where the signature was good, and changes nothing.

use jiff::ToSpan;
use partner_sdk::jws::{SigningKey, TYP_BATCH, TYP_MESSAGE};
use partner_sdk::wire::{Answer, write_batch};
use partner_sdk::{Code, Message};
use tests::{Backend, World, burn, earn, on_both, said};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    each_fault_has_its_problem,
    the_same_bytes_get_the_same_receipt,
    a_signed_batch_has_an_outcome_for_each_message,
    who_may_not_call
);

struct Fault {
    name: &'static str,
    over: &'static str,
    jws: String,
    code: Code,
    field: Option<&'static str>,
    signed: bool,
}

fn faults(world: &mut World) -> Vec<Fault> {
    let message = world.message("wellcome", earn("YUU", "m1", "100"));
    let key = world.sandbox.parties.get(&message.sender).expect("wellcome").key.clone();
    let good = message.payload();
    let jws = message.sign(&key);
    let changed = |from: &str, to: &str| key.sign(TYP_MESSAGE, good.replace(from, to).as_bytes());
    let fault = |name, jws, code, field, signed| Fault {
        name,
        over: "wellcome",
        jws,
        code,
        field,
        signed,
    };
    let other_key = SigningKey::from_bytes(key.kid().clone(), &[9; 32]);
    let mut reserialised = jws.split('.').map(str::to_owned).collect::<Vec<_>>();
    // The same JSON with a space in it, under the old signature.
    let spaced = key.sign(TYP_MESSAGE, good.replace("\":\"", "\": \"").as_bytes());
    reserialised[1] = spaced.split('.').nth(1).expect("a payload").to_owned();
    let mut flipped = jws.clone().into_bytes();
    let middle = jws.find('.').expect("a dot") + 20;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let late = Message {
        issued_at: world.now() + 11.seconds(),
        ..message.clone()
    };
    let old = Message {
        issued_at: world.now() - 25.hours(),
        occurred_at: world.now() - 25.hours(),
        ..message.clone()
    };
    let backwards = Message {
        occurred_at: world.now() + 1.second(),
        ..message.clone()
    };
    let mut all = vec![
        fault("a wrong key", message.sign(&other_key), Code::BadSignature, None, false),
        fault(
            "a changed byte",
            String::from_utf8(flipped).expect("ascii"),
            Code::BadSignature,
            None,
            false,
        ),
        fault("a re-serialised payload", reserialised.join("."), Code::BadSignature, None, false),
        fault("no JWS", "hello".into(), Code::MalformedJws, None, false),
        fault(
            "another typ",
            key.sign(TYP_BATCH, good.as_bytes()),
            Code::BadHeader,
            Some("typ"),
            false,
        ),
        fault(
            "an unknown kid",
            message.sign(&SigningKey::from_bytes("nobody-1".parse().expect("kid"), &[9; 32])),
            Code::UnknownKey,
            Some("kid"),
            false,
        ),
        fault(
            "an unknown field",
            changed("{", "{\"note\":\"x\","),
            Code::UnknownField,
            Some("note"),
            true,
        ),
        fault(
            "a duplicate key",
            changed("{", "{\"points\":\"1\","),
            Code::DuplicateField,
            Some("points"),
            true,
        ),
        fault(
            "a missing field",
            changed(",\"points\":\"100\"", ""),
            Code::MissingField,
            Some("points"),
            true,
        ),
        fault("trailing bytes", changed("}", "}}"), Code::MalformedPayload, None, true),
        fault("a number", changed("\"100\"", "100"), Code::BadAmount, Some("points"), true),
        fault(
            "a member out of its alphabet",
            changed("\"m1\"", "\"=1+1\""),
            Code::BadValue,
            Some("member"),
            true,
        ),
        fault(
            "another sender",
            changed("\"wellcome\"", "\"hangseng\""),
            Code::SenderMismatch,
            Some("sender"),
            true,
        ),
        fault(
            "issued in the future",
            late.sign(&key),
            Code::IssuedInFuture,
            Some("issued_at"),
            true,
        ),
        fault(
            "issued too long ago",
            changed_id(&old, "a").sign(&key),
            Code::Stale,
            Some("issued_at"),
            true,
        ),
        fault(
            "issued before it occurred",
            changed_id(&backwards, "b").sign(&key),
            Code::Stale,
            Some("occurred_at"),
            true,
        ),
        fault(
            "an unknown programme",
            key.sign(
                TYP_MESSAGE,
                changed_id(&message, "d").payload().replace("\"YUU\"", "\"YEN\"").as_bytes(),
            ),
            Code::UnknownProgramme,
            Some("programme"),
            true,
        ),
        fault(
            "no agreement",
            changed_id(
                &Message {
                    body: burn("YUU", "m1", "1"),
                    ..message.clone()
                },
                "c",
            )
            .sign(&key),
            Code::NoAgreement,
            None,
            true,
        ),
        fault(
            "too many bytes",
            changed("\"m1\"", &format!("\"{}\"", "m".repeat(5000))),
            Code::TooLarge,
            None,
            false,
        ),
    ];
    all.push(Fault {
        name: "another partner's certificate",
        over: "hangseng",
        jws,
        code: Code::SenderMismatch,
        field: Some("kid"),
        signed: true,
    });
    for (n, text) in ["1e3", "+5", ".5", "5.", "1_000", "-5", "0", "0.5", "9999999999999999999", "00"]
        .into_iter()
        .enumerate()
    {
        let to = format!("\"{text}\"");
        let with_id = good.replace("\"100\"", &to).replace(message.id.as_str(), &format!("bad-{n}"));
        all.push(fault(
            "a bad amount",
            key.sign(TYP_MESSAGE, with_id.as_bytes()),
            Code::BadAmount,
            Some("points"),
            true,
        ));
    }
    all
}

fn changed_id(message: &Message, suffix: &str) -> Message {
    Message {
        id: format!("{}-{suffix}", message.id).parse().expect("an id"),
        ..message.clone()
    }
}

fn assert_refused(world: &World, over: &str, name: &str, answer: &Answer, code: Code, field: Option<&str>, signed: bool) {
    let problem = answer.problem.as_ref().unwrap_or_else(|| panic!("{name}: accepted"));
    assert_eq!(
        (problem.code, problem.field.as_deref(), answer.receipt.is_some()),
        (code, field, signed),
        "{name}: {problem:?}"
    );
    assert_eq!(problem.kind, format!("urn:points-clearing:problem:{code}"));
    if let Some(receipt) = &answer.receipt {
        let receipt = world.client(over).verify_receipt(receipt).expect("a good receipt");
        assert_eq!((receipt.code, receipt.field.as_deref()), (Some(code), field), "{name}");
    }
}

fn each_fault_has_its_problem(backend: Backend) {
    let mut world = World::new(backend, POOL);
    for fault in faults(&mut world) {
        let answer = world.post_jws(fault.over, &fault.jws);
        assert_refused(&world, fault.over, fault.name, &answer, fault.code, fault.field, fault.signed);
        // In a batch the same fault has the same outcome.
        if fault.code != Code::IdReused {
            let answers = world
                .runtime
                .block_on(world.client(fault.over).post_batch(std::slice::from_ref(&fault.jws)))
                .expect("an answer");
            assert_refused(&world, fault.over, fault.name, &answers[0], fault.code, fault.field, fault.signed);
        }
    }
    assert_eq!(world.points("pool", "YUU", "m1"), "0");
    assert_eq!(world.close().obligations, vec![]);
}

fn the_same_bytes_get_the_same_receipt(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let message = world.message("wellcome", earn("YUU", "m1", "100"));
    let jws = world.sign(&message);
    let first = world.post_jws("wellcome", &jws);
    world.wait(72.hours());
    assert_eq!(said(world.post_jws("wellcome", &jws)), said(first.clone()));
    let too_much = world.message("ikea", burn("YUU", "m1", "101"));
    let refused = world.post_jws("ikea", &world.sign(&too_much));
    world.post("wellcome", earn("YUU", "m1", "100")).expect("more points");
    // A rejection holds too, even if it could be accepted by now.
    assert_eq!(said(world.post_jws("ikea", &world.sign(&too_much))), said(refused));
    // The first 100 expired after a day: what is posted comes after the windows that are over by then.
    assert_eq!(world.points("ikea", "YUU", "m1"), "100");
    let other = Message {
        body: earn("YUU", "m1", "101"),
        ..message
    };
    let answer = world.post_jws("wellcome", &world.sign(&other));
    assert_refused(
        &world,
        "wellcome",
        "a known id with other bytes",
        &answer,
        Code::IdReused,
        Some("id"),
        true,
    );
    let receipt = world
        .client("wellcome")
        .verify_receipt(&answer.receipt.expect("signed"))
        .expect("good");
    assert_eq!((receipt.sequence, receipt.window), (None, None));
    // After a restart the receipts are still the same.
    world.sandbox.stop();
    world.sandbox.start().expect("starts again");
    world.connect();
    assert_eq!(said(world.post_jws("wellcome", &jws)), said(first));
}

fn a_signed_batch_has_an_outcome_for_each_message(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let mut batch: Vec<Message> = (0..5).map(|_| world.message("wellcome", earn("YUU", "m1", "10"))).collect();
    batch[3].id = batch[0].id.clone();
    batch[4].body = burn("YUU", "m1", "1");
    batch[3].body = earn("YUU", "m1", "11");
    let key = world.sandbox.parties.get(&batch[0].sender).expect("wellcome").key.clone();
    let jws = write_batch(&batch, &key);
    let client = world.client("wellcome");
    let answers = world.runtime.block_on(client.post_signed_batch(&jws)).expect("answers");
    let results: Vec<_> = answers.iter().map(|answer| world.read("wellcome", answer).err()).collect();
    assert_eq!(results, [None, None, None, Some(Code::IdReused), Some(Code::NoAgreement)]);
    let again = world.runtime.block_on(client.post_signed_batch(&jws)).expect("answers");
    assert_eq!(again[..3], answers[..3]);
    assert_eq!(world.points("pool", "YUU", "m1"), "30");
    // A message may be sent alone later: other bytes under its id.
    assert_eq!(world.send(&batch[0]), Err(Code::IdReused));
}

fn who_may_not_call(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    let refused = |partner: &str, path: &str| match world.runtime.block_on(world.client(partner).get_text(path)) {
        Err(partner_sdk::client::ClientError::Refused(problem)) => problem.code,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(refused("ikea", "/v1/statements/2026-11-20"), Code::NotFound);
    assert_eq!(refused("ikea", "/v1/statements/yesterday"), Code::BadValue);
    assert_eq!(refused("ikea", "/v1/nothing"), Code::NotFound);
    assert_eq!(refused("ikea", "/v1/accounts/YEN/m1"), Code::UnknownProgramme);
    assert_eq!(refused("ikea", "/v1/batches"), Code::MethodNotAllowed);
    // A suspended partner is refused on its live connection.
    let suspended = POOL.replace("name = \"Wellcome\"", "name = \"Wellcome\"\nstatus = \"suspended\"");
    let network = ledger::network::Network::parse(&suspended).expect("a network");
    store::admin::apply_network(&mut world.sandbox.database().expect("a connection"), &network, world.now()).expect("applied");
    let message = world.message("wellcome", earn("YUU", "m1", "100"));
    let jws = world.sign(&message);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while world.post_jws("wellcome", &jws).problem.map(|p| p.code) != Some(Code::PartnerSuspended) {
        assert!(std::time::Instant::now() < deadline, "still not suspended after 5 s");
    }
    world
        .runtime
        .block_on(world.client("wellcome").get_text("/v1/positions"))
        .expect("it may still look");
}
