//! Keys: brought by invitation, changed over without a gap, judged by when a message was issued, and refused within seconds once revoked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use clearing::office::pki;
use jiff::{Timestamp, ToSpan};
use ledger::network::Network;
use partner_sdk::client::keys::enrol;
use partner_sdk::client::{Client, ClientError, Identity};
use partner_sdk::jws::SigningKey;
use partner_sdk::strict::write_object;
use partner_sdk::wire::Outcome;
use partner_sdk::wire::keys::{
    Enrolled, Enrolment, Issued, KeyName, KeyState, Keys, NewCertificate, NewKey, Revocation, TYP_ENROLMENT, TYP_KEY,
};
use partner_sdk::{Code, KeyId, Message, PartnerId};
use store::{admin, invitations};
use tests::{Backend, World, earn, on_both, said};

const POOL: &str = include_str!("networks/pool.toml");
const NEWCOMER: &str = r#"
[[partner]]
id = "newcomer"
name = "Newcomer"
[[agreement]]
kind = "earn"
partner = "newcomer"
programme = "YUU"
price = "0.0055"
currency = "HKD"
valid_from = "2026-01-01T00:00:00Z"
"#;

on_both!(
    a_newcomer_enrols_by_itself,
    both_kinds_change_over_while_traffic_goes_on,
    a_message_is_judged_by_the_key_valid_when_it_was_issued,
    what_may_not_be_registered,
    a_partner_revokes_only_its_own,
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

fn revocation(world: &World, key: KeyName, by: &SigningKey) -> String {
    let revocation = Revocation {
        issued: issued(world),
        key,
        reason: "a test".parse().expect("a reason"),
    };
    revocation.sign(by)
}

/// The code and field of a refusal.
fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (Code, Option<String>) {
    match result {
        Err(ClientError::Refused(problem)) => (problem.code, problem.field),
        other => panic!("not refused: {other:?}"),
    }
}

fn invite(world: &World, id: &str) -> String {
    let token = pki::random_token().expect("a token");
    let mut conn = world.sandbox.database().expect("a connection");
    invitations::invite(
        &mut conn,
        &partner(id),
        &partner_sdk::jws::sha256_hex(token.as_bytes()),
        world.now(),
    )
    .expect("invited");
    token
}

fn send_enrolment(world: &World, jws: &str) -> Result<Enrolled, ClientError> {
    world
        .runtime
        .block_on(enrol(&world.sandbox.enrolment().expect("it runs"), &server_ca(world), jws))
}

fn server_ca(world: &World) -> String {
    std::fs::read_to_string(&world.sandbox.config.tls.server_ca).expect("there")
}

fn connect(world: &World, ca_pem: &str, cert_pem: &str, key_pem: &str) -> Client {
    let identity = Identity {
        ca_pem: ca_pem.to_owned(),
        cert_pem: cert_pem.to_owned(),
        key_pem: key_pem.to_owned(),
    };
    Client::new(&world.sandbox.base().expect("it runs"), &identity, world.sandbox.trust.clone()).expect("a client")
}

fn states(keys: &Keys) -> (Vec<KeyState>, Vec<KeyState>) {
    (
        keys.signing.iter().map(|k| k.state).collect(),
        keys.tls.iter().map(|k| k.state).collect(),
    )
}

fn a_newcomer_enrols_by_itself(backend: Backend) {
    let world = World::new(backend, POOL);
    let mut conn = world.sandbox.database().expect("a connection");
    let network = Network::parse(&format!("{POOL}{NEWCOMER}")).expect("the network");
    admin::apply_network(&mut conn, &network, world.now()).expect("applied");
    let id = partner("newcomer");
    let (csr, key_pem) = pki::new_request(&id).expect("a request");
    let key = new_key("newcomer-1");
    let replaced = invite(&world, "newcomer");
    let token = invite(&world, "newcomer");
    let sign = |token: &str| Enrolment::sign(&id, token, &csr, &key);

    // Wrong, void by a newer one, another partner's: all answered alike.
    let others = Enrolment::sign(&partner("ikea"), &token, &csr, &key);
    let answers = [sign("wrong"), sign(&replaced), others].map(|jws| match send_enrolment(&world, &jws) {
        Err(ClientError::Refused(problem)) => *problem,
        other => panic!("not refused: {other:?}"),
    });
    assert_eq!(answers[0].code, Code::InvitationInvalid);
    assert!(answers.iter().all(|answer| *answer == answers[0]));

    // What is refused for another reason doesn't use the invitation up.
    let with = |csr: &str, public_key: &str| {
        let fields = [
            ("partner", "newcomer".into()),
            ("token", token.as_str().into()),
            ("csr", csr.to_owned().into()),
            ("kid", "newcomer-1".into()),
            ("public_key", public_key.to_owned().into()),
        ];
        key.sign(TYP_ENROLMENT, write_object(fields).as_bytes())
    };
    let code = |jws: &str| refused(send_enrolment(&world, jws)).0;
    assert_eq!(code(&with(&csr, "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")), Code::WeakKey);
    assert_eq!(code(&with(&csr, &new_key("x").verifying_key().to_base64url())), Code::BadSignature);
    let public = key.verifying_key().to_base64url();
    assert_eq!(code(&with("a request", &public)), Code::BadCertificateRequest);
    assert_eq!(code(&with(RSA_1024, &public)), Code::BadCertificateRequest);
    let (both, csr_of_both) = one_key_for_both("newcomer");
    let twice = Enrolment::sign(&id, &token, &csr_of_both, &both);
    assert_eq!(code(&twice), Code::KeyTaken);
    let (ca_key, away) = (&world.sandbox.config.tls.ca_key, world.folder().join("away"));
    std::fs::rename(ca_key, &away).expect("moved");
    assert_eq!(code(&sign(&token)), Code::SigningUnavailable);
    std::fs::rename(&away, ca_key).expect("moved back");
    // The two listeners don't do each other's work.
    let ikea = world.client("ikea");
    let crossed = world.runtime.block_on(ikea.post_unverified("/v1/enrolments", sign(&token)));
    assert_eq!(refused(crossed).0, Code::NotFound);
    let own = world.sandbox.parties.get(&partner("ikea")).expect("of the network");
    let door = Client::new(
        &world.sandbox.enrolment().expect("it runs"),
        &own.identity,
        world.sandbox.trust.clone(),
    );
    assert_eq!(refused(world.runtime.block_on(door.expect("a client").keys())).0, Code::NotFound);

    let enrolled = send_enrolment(&world, &sign(&token)).expect("enrolled");
    assert_eq!(enrolled.kid, *key.kid());
    assert_eq!(enrolled.clearing_public_key, world.sandbox.trust.key().to_base64url());
    let client = connect(&world, &server_ca(&world), &enrolled.certificate, &key_pem);
    let message = earn_message("first", "newcomer", world.now());
    world.runtime.block_on(client.send(&message, &key)).expect("accepted");
    assert_eq!(code(&sign(&token)), Code::InvitationInvalid, "used");

    let late = invite(&world, "newcomer");
    world.wait(24.hours());
    assert_eq!(code(&sign(&late)), Code::InvitationInvalid, "expired");
    // The same keys again, after a lost answer: a new invitation, and nothing changes but the certificate.
    let again = invite(&world, "newcomer");
    send_enrolment(&world, &sign(&again)).expect("enrolled again");
    let own = world.runtime.block_on(client.keys()).expect("its keys");
    assert_eq!(states(&own), (vec![KeyState::Valid], vec![KeyState::Valid]));
}

/// An Ed25519 key that is to sign messages and to be certified for TLS.
fn one_key_for_both(id: &str) -> (SigningKey, String) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let mut asks = rcgen::CertificateParams::default();
    asks.distinguished_name.push(rcgen::DnType::CommonName, id);
    let csr = asks.serialize_request(&pair).and_then(|csr| csr.pem()).expect("a request");
    // PKCS#8 (RFC 5958) of Ed25519: 16 bytes, then the seed.
    let seed: [u8; 32] = pair.serialize_der()[16..48].try_into().expect("32 bytes");
    (SigningKey::from_bytes("both-1".parse().expect("a kid"), &seed), csr)
}

/// What traffic uses at the moment.
struct InUse {
    client: Client,
    key: SigningKey,
}

fn both_kinds_change_over_while_traffic_goes_on(backend: Backend) {
    const ROUNDS: usize = 3;
    let world = World::new(backend, POOL);
    let id = partner("wellcome");
    let (mut key, mut client) = (key_of(&world, "wellcome"), world.client("wellcome"));
    let own = world.runtime.block_on(client.keys()).expect("its keys");
    let mut spki = own.tls[0].spki_sha256;
    // A request under way holds the lock for reading, so that none is on its way with the old keys when they end.
    let in_use = Arc::new(tokio::sync::RwLock::new(InUse {
        client: client.clone(),
        key: key.clone(),
    }));
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..3)
        .map(|task| {
            let (in_use, stop, sent, clock) = (in_use.clone(), stop.clone(), sent.clone(), world.sandbox.clock.clone());
            world.runtime.spawn(async move {
                let mut refused = vec![];
                while !stop.load(Ordering::SeqCst) {
                    let now = in_use.read().await;
                    let message = earn_message(&format!("t{task}-{}", sent.fetch_add(1, Ordering::SeqCst)), "wellcome", clock.now());
                    let answer = now.client.post(&message.sign(&now.key)).await;
                    refused.extend(answer.map(|answer| answer.problem).unwrap_or_else(|error| panic!("{error}")));
                }
                refused
            })
        })
        .collect();
    for round in 0..ROUNDS {
        let new = new_key(&format!("wellcome-r{round}"));
        let added = NewKey::sign(&issued(&world), &id, &new, None, None, &key);
        let (csr, tls_key) = pki::new_request(&id).expect("a request");
        let asked = NewCertificate::sign(&issued(&world), &csr, &key);
        let certified = world.runtime.block_on(async {
            client.add_key(&added).await.expect("a second key");
            client.certificate(&asked).await.expect("a second certificate")
        });
        let newer = connect(&world, &server_ca(&world), &certified.certificate, &tls_key);
        std::thread::sleep(Duration::from_millis(200));
        *world.runtime.block_on(in_use.write()) = InUse {
            client: newer.clone(),
            key: new.clone(),
        };
        world.wait(1.second());
        let ends = NewKey::sign(&issued(&world), &id, &key, None, Some(world.now()), &new);
        let old = revocation(&world, KeyName::Spki(spki), &new);
        let keys = world.runtime.block_on(async {
            newer.add_key(&ends).await.expect("the old key ends");
            newer.revoke(&old).await.expect("the old certificate's key is revoked")
        });
        assert_eq!(keys.signing.iter().filter(|k| k.state == KeyState::Valid).count(), 1);
        assert_eq!(refused(world.runtime.block_on(client.keys())).0, Code::CertificateRevoked);
        let late = earn_message(&format!("late-{round}"), "wellcome", world.now()).sign(&key);
        let late = world.runtime.block_on(newer.post(&late)).expect("an answer");
        assert_eq!(late.problem.map(|problem| problem.code), Some(Code::KeyNotValid));
        (key, client, spki) = (new, newer, certified.spki_sha256);
        std::thread::sleep(Duration::from_millis(200));
    }
    stop.store(true, Ordering::SeqCst);
    let problems: Vec<_> = tasks
        .into_iter()
        .flat_map(|task| world.runtime.block_on(task).expect("a task"))
        .collect();
    let sent = sent.load(Ordering::SeqCst);
    println!("{sent} messages over {ROUNDS} changes of both kinds ({backend:?})");
    assert!(sent > 100, "{sent} messages");
    assert!(problems.is_empty(), "{problems:?}");
}

fn earn_message(id: &str, sender: &str, at: Timestamp) -> Message {
    Message {
        id: id.parse().expect("an id"),
        sender: partner(sender),
        issued_at: at,
        occurred_at: at,
        body: earn("YUU", "m1", "1"),
    }
}

fn a_message_is_judged_by_the_key_valid_when_it_was_issued(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let (id, first, second) = (partner("wellcome"), key_of(&world, "wellcome"), new_key("wellcome-2"));
    let client = world.client("wellcome");
    let (from, until) = (world.now() + 1.hour(), world.now() + 2.hours());
    let added = NewKey::sign(&issued(&world), &id, &second, Some(from), Some(until), &first);
    let keys = world.runtime.block_on(client.add_key(&added)).expect("added");
    assert_eq!(states(&keys).0, [KeyState::Valid, KeyState::NotYet]);

    let early = world.message("wellcome", earn("YUU", "m1", "1"));
    let answer = world.post_jws("wellcome", &early.sign(&second));
    let problem = answer.problem.expect("refused");
    assert_eq!((problem.code, problem.field.as_deref()), (Code::KeyNotValid, Some("issued_at")));
    assert_eq!(
        answer.outcome,
        Some(Outcome::Rejected),
        "its signature was good, so the refusal is signed"
    );
    let receipt = client.verify_receipt(&answer.receipt.expect("signed")).expect("a good receipt");
    assert_eq!((receipt.sequence, receipt.id), (None, Some(early.id.clone())));
    // It left no trace: its id is free.
    world.send(&early).expect("accepted, signed by the first key");

    world.wait(90.minutes());
    let in_time = world.message("wellcome", earn("YUU", "m1", "2")).sign(&second);
    let stored = world.message("wellcome", earn("YUU", "m1", "3")).sign(&second);
    let unsent = world.message("wellcome", earn("YUU", "m1", "4")).sign(&second);
    let posted = world.post_jws("wellcome", &in_time);
    assert_eq!(posted.outcome, Some(Outcome::Accepted));
    world.wait(90.minutes());
    let keys = world.runtime.block_on(client.keys()).expect("its keys");
    assert_eq!(states(&keys).0, [KeyState::Valid, KeyState::Ended]);
    // Issued in the key's time, and sent after it: good. Sent again: the same entry, to the byte.
    let sent_later = world.post_jws("wellcome", &stored);
    assert_eq!(sent_later.outcome, Some(Outcome::Accepted));
    assert_eq!(said(world.post_jws("wellcome", &in_time)), said(posted.clone()));
    let late = world.message("wellcome", earn("YUU", "m1", "1")).sign(&second);
    let code = |jws: &str| world.post_jws("wellcome", jws).problem.map(|problem| (problem.code, problem.field));
    assert_eq!(code(&late), Some((Code::KeyNotValid, Some("issued_at".into()))));

    let revoked = revocation(&world, KeyName::Kid(second.kid().clone()), &first);
    world.runtime.block_on(client.revoke(&revoked)).expect("revoked");
    // A thief can date back, so nothing new counts; what is in the ledger stays, and keeps its receipt.
    assert_eq!(code(&unsent), Some((Code::KeyRevoked, Some("kid".into()))));
    assert_eq!(said(world.post_jws("wellcome", &in_time)), said(posted));
    assert_eq!(said(world.post_jws("wellcome", &stored)), said(sent_later));
}

fn what_may_not_be_registered(backend: Backend) {
    let world = World::new(backend, POOL);
    let (id, first, second) = (partner("wellcome"), key_of(&world, "wellcome"), new_key("wellcome-2"));
    let client = world.client("wellcome");
    let add = |jws: &str| world.runtime.block_on(client.add_key(jws));
    let sign = |new: &SigningKey, by: &SigningKey| NewKey::sign(&issued(&world), &id, new, None, None, by);
    let code = |jws: &str| refused(add(jws)).0;

    let registration = sign(&second, &first);
    let keys = add(&registration).expect("the second");
    assert_eq!(add(&registration).expect("again"), keys, "the same again changes nothing");
    assert_eq!(
        refused(add(&sign(&new_key("wellcome-3"), &first))),
        (Code::TooManyKeys, Some("kid".into()))
    );
    let ikeas = key_of(&world, "ikea");
    assert_eq!(code(&sign(&ikeas, &first)), Code::KeyTaken);
    assert_eq!(code(&sign(&new_key("ikea-1"), &first)), Code::KeyTaken, "another's kid");
    let (renamed, of_old) = ("wellcome-4".parse::<KeyId>().expect("a kid"), first.secret_base64url());
    let renamed = SigningKey::from_base64url(renamed, &of_old).expect("a key");
    assert_eq!(code(&sign(&renamed, &first)), Code::KeyTaken, "one key, two kids");
    assert_eq!(code(&sign(&second, &ikeas)), Code::UnknownKey, "signed by another partner");
    let message = earn_message("m", "wellcome", world.now()).sign(&first);
    assert_eq!(code(&message), Code::BadHeader, "a message is no request");

    // Old, ahead, or about a time in the past.
    let at = |issued_at: Timestamp| Issued {
        issued_at,
        ..issued(&world)
    };
    let timed = |issued: &Issued, from| NewKey::sign(issued, &id, &second, from, None, &first);
    assert_eq!(code(&timed(&at(world.now() - 301.seconds()), None)), Code::Stale);
    assert_eq!(code(&timed(&at(world.now() + 11.seconds()), None)), Code::IssuedInFuture);
    let backdated = NewKey::sign(&issued(&world), &id, &new_key("x-1"), Some(world.now() - 1.hour()), None, &first);
    assert_eq!(refused(add(&backdated)), (Code::BadValue, Some("valid_from".into())));

    // A proof that isn't the new key's own, about this very key, for this partner.
    let with_proof = |proof: String, public_key: String| {
        let Issued { id, issued_at } = issued(&world);
        let fields = [
            ("id", id.as_str().to_owned().into()),
            ("issued_at", issued_at.to_string().into()),
            ("kid", "wellcome-5".into()),
            ("public_key", public_key.into()),
            ("proof", proof.into()),
        ];
        first.sign(TYP_KEY, write_object(fields).as_bytes())
    };
    let fifth = new_key("wellcome-5");
    let public = fifth.verifying_key().to_base64url();
    let proof = |of: &str, by: &SigningKey| partner_sdk::wire::keys::KeyProof::sign(&partner(of), by);
    for (bad, expected) in [
        (proof("wellcome", &first), Code::BadSignature),
        (proof("ikea", &fifth), Code::BadValue),
        (message.clone(), Code::BadHeader),
        ("a.b.c".to_owned(), Code::MalformedJws),
    ] {
        assert_eq!(refused(add(&with_proof(bad, public.clone()))), (expected, Some("proof".into())));
    }
    let weak = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
    assert_eq!(code(&with_proof(proof("wellcome", &fifth), weak)), Code::WeakKey);

    // TLS keys: two, not three, none that signs messages, and by a request that names the partner.
    let certificate = |csr: &str| {
        world
            .runtime
            .block_on(client.certificate(&NewCertificate::sign(&issued(&world), csr, &first)))
    };
    let ikeas_request = pki::new_request(&partner("ikea")).expect("a request").0;
    assert_eq!(
        refused(certificate(&ikeas_request)),
        (Code::BadCertificateRequest, Some("csr".into()))
    );
    let requests = [(); 2].map(|()| pki::new_request(&id).expect("a request").0);
    let one = certificate(&requests[0]).expect("the second");
    assert_eq!(certificate(&requests[0]).expect("renewed").spki_sha256, one.spki_sha256);
    assert_eq!(refused(certificate(&requests[1])), (Code::TooManyKeys, Some("csr".into())));
    let (both, csr) = one_key_for_both("wellcome");
    let other = world.client("ikea");
    let sign_both = NewKey::sign(&issued(&world), &partner("ikea"), &both, None, None, &ikeas);
    world.runtime.block_on(other.add_key(&sign_both)).expect("a second key");
    assert_eq!(refused(certificate(&csr)).0, Code::KeyTaken);
}

fn a_partner_revokes_only_its_own(backend: Backend) {
    let world = World::new(backend, POOL);
    let (id, first, second) = (partner("wellcome"), key_of(&world, "wellcome"), new_key("wellcome-2"));
    let client = world.client("wellcome");
    let registration = NewKey::sign(&issued(&world), &id, &second, None, None, &first);
    let ikeas = world.runtime.block_on(async {
        client.add_key(&registration).await.expect("the second");
        world.client("ikea").keys().await.expect("its keys")
    });
    let revoke = |jws: &str| world.runtime.block_on(client.revoke(jws));
    for name in [KeyName::Kid(ikeas.signing[0].kid.clone()), KeyName::Spki(ikeas.tls[0].spki_sha256)] {
        assert_eq!(refused(revoke(&revocation(&world, name, &first))).0, Code::UnknownKey);
    }
    // A key may revoke itself; from then on it signs nothing, and no recording brings it back.
    let own = revocation(&world, KeyName::Kid(first.kid().clone()), &first);
    assert_eq!(states(&revoke(&own).expect("revoked")).0, [KeyState::Revoked, KeyState::Valid]);
    assert_eq!(refused(revoke(&own)).0, Code::KeyRevoked);
    assert_eq!(refused(world.runtime.block_on(client.add_key(&registration))).0, Code::KeyRevoked);
    let back = NewKey::sign(&issued(&world), &id, &first, None, None, &second);
    assert_eq!(refused(world.runtime.block_on(client.add_key(&back))).0, Code::KeyRevoked);
    let late = earn_message("late", "wellcome", world.now());
    assert_eq!(world.send(&late), Err(Code::KeyRevoked));
    // Revoked again by another key: nothing changes.
    let before = world.runtime.block_on(client.keys()).expect("its keys");
    world.wait(1.minute());
    let again = revocation(&world, KeyName::Kid(first.kid().clone()), &second);
    assert_eq!(revoke(&again).expect("known"), before);
    assert!(world.runtime.block_on(world.client("ikea").keys()).is_ok());
    // It puts its own line out, and needs an invitation to come back.
    let line = revocation(&world, KeyName::Spki(before.tls[0].spki_sha256), &second);
    revoke(&line).expect("revoked");
    assert_eq!(refused(world.runtime.block_on(client.keys())).0, Code::CertificateRevoked);
}

// Made with `openssl req`.
const RSA_1024: &str = "
-----BEGIN CERTIFICATE REQUEST-----
MIIBSzCBtQIBADAMMQowCAYDVQQDDAF4MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCB
iQKBgQDbTPgQAG1HcBFfodWAP3Z8RB5hw2MFrwktMznI1tv2spHycq7RhGZrarJp
AgtgeQCATnUVRLYUFBHTE6lwguvxJJDxqLJaOSpkhqVJKBITGLaA8BYw+ncqB6Px
DOxEzWwCChWi8GiFGUFwWCsHTPKNHsWmYoO/Qh3uiXxCvSVJKwIDAQABoAAwDQYJ
KoZIhvcNAQELBQADgYEAZm0RMdHGpbHndNCmJKl7ecPPG/dD0Do1oxO2M7CznFQS
9ztJpXmE1vYA9ilmx9swj7nh2V2xJH6JKFRT7QinuU1K+yzvKHVyg71BPmij/dpH
zMt/PDuKG/9vUnRjpk7DH6fE1dE2wnDpgWVYN/ghmpXp3KQP3cMIlEsaQ5xu4Xc=
-----END CERTIFICATE REQUEST-----
";
