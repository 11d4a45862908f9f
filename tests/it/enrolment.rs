//! Who may bring keys in, and whose they may be; and that nobody without a certificate uses up what partners need.

use std::time::Duration;

use clearing::office::pki;
use diesel::prelude::*;
use jiff::ToSpan;
use migrations::each_backend;
use migrations::schema::{clearing_key, person};
use partner_sdk::change::{Change, PersonTerms, Status};
use partner_sdk::client::ClientError;
use partner_sdk::client::keys::enrol;
use partner_sdk::document::State;
use partner_sdk::jws::{SigningKey, VerifyingKey, sha256_hex};
use partner_sdk::wire::keys::{Enrolled, Enrolment, Issued, KeyName, NewCertificate, NewKey, Revocation};
use partner_sdk::{Code, KeyId, PartnerId};
use store::{directory_version, keys, trail};
use tests::market::Market;
use tests::office::{Office, code_of};
use tests::tls::request_with;
use tests::{Backend, World, on_both};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    two_people_invite,
    a_kid_and_a_key_are_one_partys,
    what_changes_nothing_is_read_by_nobody,
    each_signs_in_its_own_role,
);

fn partner(id: &str) -> PartnerId {
    id.parse().expect("a partner")
}

fn new_key(kid: &str) -> SigningKey {
    pki::random_key(kid.parse().expect("a kid")).expect("a key")
}

fn key_of(world: &World, id: &str) -> SigningKey {
    world.sandbox.parties.get(&partner(id)).expect("of the network").key.clone()
}

fn issued(world: &World) -> Issued {
    Issued {
        id: partner_sdk::client::new_message_id(),
        issued_at: world.now(),
    }
}

/// The code and field of a refusal.
fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (Code, Option<String>) {
    match result {
        Err(ClientError::Refused(problem)) => (problem.code, problem.field),
        other => panic!("not refused: {other:?}"),
    }
}

fn enrolment(id: &str, token: &str, key: &SigningKey) -> String {
    let (csr, _) = pki::new_request(&partner(id)).expect("a request");
    Enrolment::sign(&partner(id), token, &csr, key)
}

fn send(world: &World, jws: &str) -> Result<Enrolled, ClientError> {
    let ca = std::fs::read_to_string(&world.sandbox.config.tls.server_ca).expect("there");
    world
        .runtime
        .block_on(enrol(&world.sandbox.enrolment().expect("it runs"), &ca, jws))
}

fn two_people_invite(backend: Backend) {
    let world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let invitation = |id: &str, token_sha256: String| Change::Invite {
        partner: partner(id),
        token_sha256,
    };
    let propose = |change| code_of(office.propose(&world.sandbox, &office.first, change));
    let token = pki::random_token().expect("a token");
    let digest = sha256_hex(token.as_bytes());
    let key = new_key("ikea-2");
    let jws = enrolment("ikea", &token, &key);

    assert_eq!(propose(invitation("nobody", digest.clone())).expect_err("unknown"), Code::BadTerms);
    for bad in [&digest[1..], &digest.to_uppercase(), ""] {
        assert_eq!(propose(invitation("ikea", bad.to_owned())).expect_err("no hash"), Code::BadTerms);
    }
    let proposed = propose(invitation("ikea", digest.clone())).expect("proposed");
    assert_eq!(refused(send(&world, &jws)).0, Code::InvitationInvalid, "one person has seen it");
    let alone = office.approve_change(&world.sandbox, &office.first, &proposed);
    assert_eq!(code_of(alone).expect_err("alone"), Code::FourEyes);
    world.wait(23.hours());
    let approved = office.approve_change(&world.sandbox, &office.second, &proposed).expect("approved");
    assert_eq!(approved.state, State::InForce);
    // 24 hours from the approval, for a partner that has a key already: it hears of it.
    world.wait(23.hours());
    let seen = world
        .runtime
        .block_on(world.client("ikea").events(0, Duration::ZERO))
        .expect("its feed");
    let told = seen.iter().find(|event| event.kind == "key.invited").expect("it is told");
    assert_eq!(told.subject, "ikea");
    assert_eq!(told.facts[0].0, "expires_at");
    send(&world, &jws).expect("enrolled");
    assert_eq!(refused(send(&world, &jws)).0, Code::InvitationInvalid, "used");
    assert_eq!(propose(invitation("ikea", digest)).expect_err("given before"), Code::BadTerms);

    // A second one voids the first, and one that nobody used ends.
    let tokens = [(); 2].map(|()| pki::random_token().expect("a token"));
    for token in &tokens {
        let change = invitation("pool", sha256_hex(token.as_bytes()));
        office.change(&world.sandbox, change).expect("approved");
    }
    let sent = |token: &str| refused(send(&world, &enrolment("pool", token, &new_key("pool-2")))).0;
    assert_eq!(sent(&tokens[0]), Code::InvitationInvalid);
    world.wait(24.hours());
    assert_eq!(sent(&tokens[1]), Code::InvitationInvalid);
    // One that has gone isn't invited any more.
    for status in [Status::Leaving, Status::Gone] {
        let change = Change::Status {
            partner: partner("hangseng"),
            status,
        };
        office.change(&world.sandbox, change).expect("its next status");
    }
    assert_eq!(propose(invitation("hangseng", sha256_hex(b"x"))).expect_err("gone"), Code::NotFound);
}

fn named(kid: &KeyId, key: &SigningKey) -> SigningKey {
    SigningKey::from_base64url(kid.clone(), &key.secret_base64url()).expect("a key")
}

fn a_kid_and_a_key_are_one_partys(backend: Backend) {
    let world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let person = |name: &str, kid: &KeyId, key: &VerifyingKey| {
        Change::Person(PersonTerms {
            name: name.to_owned(),
            kid: kid.clone(),
            public_key: key.to_base64url(),
        })
    };
    let left = new_key("left-1");
    office.comes(&world.sandbox, "left", &left).expect("a fourth");
    let goes = Change::PersonLeaves { name: "left".into() };
    office.change(&world.sandbox, goes).expect("gone");
    let secret = std::fs::read_to_string(&world.sandbox.config.operator.key).expect("there");
    let kid: KeyId = world.sandbox.config.operator.kid.parse().expect("a kid");
    let clearing = SigningKey::from_base64url(kid, &secret).expect("a key");

    // A partner brings what is a person's, was one's, or is the clearinghouse's.
    let (id, own, client) = (partner("ikea"), key_of(&world, "ikea"), world.client("ikea"));
    let add = |key: &SigningKey| {
        let jws = NewKey::sign(&issued(&world), &id, key, None, None, &own);
        refused(world.runtime.block_on(client.add_key(&jws)))
    };
    let taken = |field: &str| (Code::KeyTaken, Some(field.to_owned()));
    let fresh: KeyId = "fresh-1".parse().expect("a kid");
    for other in [&office.first, &left, &clearing] {
        assert_eq!(add(&new_key(other.kid().as_str())), taken("kid"), "{}", other.kid());
        assert_eq!(add(&named(&fresh, other)), taken("public_key"), "{}", other.kid());
        let asked = NewCertificate::sign(&issued(&world), &request_with(other, "ikea").0, &own);
        let answer = world.runtime.block_on(client.certificate(&asked));
        assert_eq!(refused(answer), taken("csr"), "{}", other.kid());
    }
    // A person brings what is a partner's, for messages or TLS, or the clearinghouse's.
    let tls = new_key("tls");
    let asked = NewCertificate::sign(&issued(&world), &request_with(&tls, "ikea").0, &own);
    world.runtime.block_on(client.certificate(&asked)).expect("a second certificate");
    let new = new_key("new-1");
    for (kid, key) in [
        (own.kid(), &new),
        (&fresh, &own),
        (clearing.kid(), &new),
        (&fresh, &clearing),
        (&fresh, &tls),
    ] {
        let proposed = office.propose(&world.sandbox, &office.first, person("new", kid, &key.verifying_key()));
        assert_eq!(code_of(proposed).expect_err("taken"), Code::KeyTaken, "{kid}");
    }
    // The clearinghouse starts with no key that is somebody's, nor with a new one under its old kid.
    let mut conn = world.sandbox.database().expect("a connection");
    let mut owns = |kid: &KeyId, key: &SigningKey| match keys::own(&mut conn, kid, &key.verifying_key(), None, world.now()) {
        Ok(()) => None,
        Err(keys::KeysError::Refused(problem)) => Some(problem.code),
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(owns(clearing.kid(), &clearing), None, "its own, again");
    for (kid, key) in [
        (own.kid(), &new),
        (&fresh, &own),
        (left.kid(), &new),
        (&fresh, &left),
        (clearing.kid(), &new),
    ] {
        assert_eq!(owns(kid, key), Some(Code::KeyTaken), "{kid}");
    }
    assert_eq!(owns(new.kid(), &new), None);
    assert_eq!(add(&named(&fresh, &new)), taken("public_key"), "known at once");
}

fn what_changes_nothing_is_read_by_nobody(backend: Backend) {
    let world = World::new(backend, POOL);
    let (id, own, client) = (partner("ikea"), key_of(&world, "ikea"), world.client("ikea"));
    let mut conn = world.sandbox.database().expect("a connection");
    let mut version = || directory_version(&mut conn).expect("read");
    let second = new_key("ikea-2");
    let added = NewKey::sign(&issued(&world), &id, &second, None, None, &own);
    let (csr, _) = pki::new_request(&id).expect("a request");
    let certificate = NewCertificate::sign(&issued(&world), &csr, &own);
    let revocation = Revocation {
        issued: issued(&world),
        key: KeyName::Kid(second.kid().clone()),
        reason: "a test".parse().expect("a reason"),
    };
    let revocation = revocation.sign(&own);
    let mut twice = |what: &str, ask: &dyn Fn()| {
        let before = version();
        ask();
        let after = version();
        assert!(after > before, "{what} changes something");
        ask();
        assert_eq!(version(), after, "{what} again");
    };
    let run = &world.runtime;
    twice("a key", &|| drop(run.block_on(client.add_key(&added)).expect("its keys")));
    twice("a certificate", &|| {
        drop(run.block_on(client.certificate(&certificate)).expect("signed"))
    });
    twice("a revocation", &|| {
        drop(run.block_on(client.revoke(&revocation)).expect("its keys"))
    });

    // Keys to come are few too: one is valid, and seven wait.
    for no in 0..8i64 {
        let from = world.now() + (no + 1).hours();
        let new = new_key(&format!("ikea-next-{no}"));
        let jws = NewKey::sign(&issued(&world), &id, &new, Some(from), Some(from + 1.second()), &own);
        let answer = run.block_on(client.add_key(&jws));
        if no < 7 {
            answer.expect("registered");
        } else {
            assert_eq!(refused(answer).0, Code::TooManyKeys);
        }
    }
}

fn each_signs_in_its_own_role(backend: Backend) {
    let market = Market::new(backend, 1);
    market.in_force(&market.terms());
    assert_eq!(market.world.check_trail(), Vec::<String>::new());
    market.world.alters_rows();
    // Somebody with the database's password gives people the kids of a partner and of the clearinghouse; neither's signatures become another's by that.
    let mut conn = market.world.sandbox.database().expect("a connection");
    let kids = [
        market.key("grocer").kid().to_string(),
        market.world.sandbox.config.operator.kid.clone(),
    ];
    for (no, kid) in kids.iter().enumerate() {
        let row = (
            person::name.eq(format!("nobody-{no}")),
            person::kid.eq(kid),
            person::public_key.eq(new_key("x").verifying_key().to_base64url()),
            person::added_at.eq(0i64),
            person::added_by.eq(""),
        );
        each_backend!(&mut conn, |c| diesel::insert_into(person::table).values(row).execute(c)).expect("written");
    }
    // But no document brought them in, and that is found.
    let slipped = ["nobody-0", "nobody-1"].map(|name| format!("person {name} is in the table, and no signed document says so"));
    assert_eq!(market.world.check_trail(), slipped);
    let nobody = person::table.filter(person::added_by.eq(""));
    each_backend!(&mut conn, |c| diesel::delete(nobody).execute(c)).expect("written");
    // What another key of the clearinghouse's has countersigned before holds too, as long as that key is known.
    let new = new_key("clearing-2");
    let holds = |conn: &mut migrations::Conn| {
        trail::check(conn, new.kid(), &new.verifying_key())
            .expect("the check runs")
            .is_empty()
    };
    assert!(holds(&mut conn));
    let unknown = clearing_key::kid.eq("unknown");
    let signs = clearing_key::table.filter(clearing_key::origin.is_null());
    each_backend!(&mut conn, |c| diesel::update(signs).set(unknown).execute(c)).expect("written");
    assert!(!holds(&mut conn));
    // Who approves is in the table, too.
    let approver = person::table.filter(person::kid.eq(market.office.second.kid().as_str()));
    let founding: String = each_backend!(&mut conn, |c| approver.select(person::added_by).first(c)).expect("there");
    each_backend!(&mut conn, |c| diesel::delete(approver).execute(c)).expect("written");
    assert_eq!(
        market.world.check_trail(),
        ["person second is missing, and a signed document says so"]
    );
    let back = (
        person::name.eq("second"),
        person::kid.eq(market.office.second.kid().as_str()),
        person::public_key.eq(market.office.second.verifying_key().to_base64url()),
        person::added_at.eq(0i64),
        person::added_by.eq(founding),
    );
    each_backend!(&mut conn, |c| diesel::insert_into(person::table).values(back).execute(c)).expect("written");
}

/// Requests without a certificate are held up in the database: they come from one address and hold one connection, no more, and
/// partners are served.
#[test]
fn nobody_without_a_certificate_uses_up_the_connections() {
    let mut world = World::new(Backend::Postgres, POOL);
    world.sandbox.stop();
    // Room for all of them: one that hasn't asked yet would have to make it.
    world.sandbox.config.limits.strangers = 12;
    world.sandbox.start().expect("the service starts");
    world.connect();
    let mut conn = world.sandbox.database().expect("a connection");
    let jws: Vec<String> = (0..12)
        .map(|no| enrolment("ikea", "a guess", &new_key(&format!("guess-{no}"))))
        .collect();
    let (ca, base) = (
        std::fs::read_to_string(&world.sandbox.config.tls.server_ca).expect("there"),
        world.sandbox.enrolment().expect("it runs"),
    );
    let answers = conn
        .transaction(|conn| -> Result<_, migrations::DbError> {
            run(conn, "LOCK TABLE invitation IN ACCESS EXCLUSIVE MODE");
            let sent: Vec<_> = jws
                .into_iter()
                .map(|jws| {
                    let (ca, base) = (ca.clone(), base.clone());
                    world.runtime.spawn(async move { enrol(&base, &ca, &jws).await })
                })
                .collect();
            std::thread::sleep(Duration::from_secs(1));
            assert_eq!(waiting(conn), 1);
            let served = world
                .runtime
                .block_on(world.client("ikea").get::<serde_json::Value>("/v1/positions"));
            assert!(served.is_ok(), "{served:?}");
            // The others' patience ends, while the one still waits.
            std::thread::sleep(Duration::from_secs(5));
            assert_eq!(waiting(conn), 1);
            Ok(sent)
        })
        .expect("unlocked");
    let codes: Vec<Code> = answers
        .into_iter()
        .map(|answer| refused(world.runtime.block_on(answer).expect("a task")).0)
        .collect();
    let count = |code| codes.iter().filter(|one| **one == code).count();
    assert_eq!((count(Code::TooManyRequests), count(Code::InvitationInvalid)), (11, 1), "{codes:?}");
}

fn run(conn: &mut migrations::Conn, sql: &str) {
    each_backend!(conn, |c| diesel::sql_query(sql).execute(c)).expect(sql);
}

/// How many connections to this database wait for a lock.
fn waiting(conn: &mut migrations::Conn) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let sql = "SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let rows: Vec<Count> = each_backend!(conn, |c| diesel::sql_query(sql).load(c)).expect(sql);
    rows[0].count
}
