//! Whatever a person does is signed by that person's key: the founding, who comes and goes, what one does alone, what takes two.

use clearing::clock::Clock;
use clearing::commands::demo::sandbox::Sandbox;
use clearing::documents::Fault;
use clearing::office::{install, pki};
use diesel::prelude::*;
use jiff::ToSpan;
use ledger::network::Network;
use migrations::each_backend;
use migrations::schema::{document_signature, person, settlement_window, signing_key};
use partner_sdk::change::{Change, Status};
use partner_sdk::client::new_message_id;
use partner_sdk::jws::SigningKey;
use partner_sdk::wire::keys::{Issued, KeyName, Revocation};
use partner_sdk::{Code, KeyId};
use store::documents::Document;
use store::invitations;
use store::keys::{self, By, KeysError};
use store::trail;
use tests::office::{Office, code_of, founding, named};
use tests::{Backend, World, earn, on_both};

use super::command::{FOUNDING, House, stands};

on_both!(
    all_of_them_found_it_at_once,
    twenty_found_it_and_no_more,
    what_one_person_invited_ends_with_the_founding,
    who_came_without_a_document_is_nobody,
    a_lost_key_stops_nothing,
    a_revocation_is_signed,
    payments_are_confirmed_by_two,
    settled_without_a_document_is_found,
    what_changed_since_it_was_seen_is_not_founded,
    a_person_is_not_named_like_a_partner,
);

const POOL: &str = include_str!("networks/pool.toml");

fn key(kid: &str, secret: u8) -> SigningKey {
    SigningKey::from_bytes(KeyId::new(kid).expect("a kid"), &[secret; 32])
}

fn suspend(partner: &str) -> Change {
    Change::Status {
        partner: partner.parse().expect("an id"),
        status: Status::Suspended,
    }
}

fn all_of_them_found_it_at_once(backend: Backend) {
    let world = World::new(backend, POOL);
    let sandbox = &world.sandbox;
    let office = Office::nobody(sandbox);
    let (ann, ben, cid) = (&office.first, &office.second, &office.third);
    let refused = |done: Result<Document, Fault>| match done {
        Err(Fault::Refused(problem)) => (problem.code, problem.field.clone().unwrap_or_default()),
        other => panic!("{:?}", other.map(drop)),
    };
    let people = |names: [&'static str; 3], keys| founding(sandbox, names.into_iter().zip(keys));
    let good = people(["ann", "ben", "cid"], [ann, ben, cid]);
    // Nobody acts before, alone or by two.
    assert_eq!(code_of(office.propose(sandbox, ann, suspend("ikea"))).err(), Some(Code::FourEyes));
    let bad = |field: &str| (Code::BadTerms, field.to_owned());
    let two = founding(sandbox, [("ann", ann), ("ben", ben)]);
    assert_eq!(refused(office.found_by(sandbox, &two, &[ann, ben])), bad("people"));
    assert_eq!(
        refused(office.found_by(sandbox, &people(["ann", "ben", "Ann"], [ann, ben, cid]), &[ann, ben, cid])),
        bad("people")
    );
    assert_eq!(
        refused(office.found_by(sandbox, &people(["ann", "ben", "cid"], [ann, ben, ben]), &[ann, ben, ben])),
        bad("people")
    );
    let partners = &sandbox.parties.values().next().expect("one").key;
    assert_eq!(
        refused(office.found_by(sandbox, &people(["ann", "ben", "cid"], [ann, ben, partners]), &[ann, ben, partners])).0,
        Code::KeyTaken
    );
    // Each by its own key: none lacks, and none is another's.
    assert_eq!(refused(office.found_by(sandbox, &good, &[ann, ben])).0, Code::NotApproved);
    assert_eq!(refused(office.found_by(sandbox, &good, &[ann, cid, ben])).0, Code::NotApproved);
    let forged = key("cid", 9);
    let forged = SigningKey::from_base64url(cid.kid().clone(), &forged.secret_base64url()).expect("a key");
    assert_eq!(refused(office.found_by(sandbox, &good, &[ann, ben, &forged])).0, Code::BadSignature);
    let mut unsalted = good.clone();
    unsalted.salt = partner_sdk::Salt::NONE;
    assert_eq!(refused(office.found_by(sandbox, &unsalted, &[ann, ben, cid])), bad("salt"));
    let founded = office.found_by(sandbox, &good, &[ann, ben, cid]).expect("founded");
    let roles: Vec<_> = founded
        .signatures
        .iter()
        .map(|one| (one.role.as_str(), one.signer.as_str()))
        .collect();
    assert_eq!(
        roles,
        [
            ("proposer", "ann"),
            ("approver", "ben"),
            ("founder-3", "cid"),
            ("clearing", "clearing")
        ]
    );
    // Once.
    let others = [key("x-1", 11), key("y-1", 12), key("z-1", 13)];
    let again = people(["x", "y", "z"], [&others[0], &others[1], &others[2]]);
    assert_eq!(
        refused(office.found_by(sandbox, &again, &[&others[0], &others[1], &others[2]])).0,
        Code::FourEyes
    );
    let proposed = office.propose(sandbox, ann, suspend("ikea")).expect("proposed");
    office.approve_change(sandbox, cid, &proposed).expect("any two of them");
    assert_eq!(
        code_of(office.propose(sandbox, ann, good.change.clone())).err(),
        Some(Code::FourEyes),
        "no second founding by two"
    );
}

fn twenty_found_it_and_no_more(backend: Backend) {
    for (count, expected) in [(20, Ok(())), (21, Err(Code::BadTerms))] {
        let world = World::new(backend, POOL);
        let office = Office::nobody(&world.sandbox);
        let names: Vec<String> = (0..count).map(|no| format!("founder {no}")).collect();
        let keys: Vec<SigningKey> = (0..count).map(|no| key(&format!("founder-{no}"), 50 + no)).collect();
        let document = founding(&world.sandbox, names.iter().map(String::as_str).zip(&keys));
        let founded = office.found_by(&world.sandbox, &document, &keys.iter().collect::<Vec<_>>());
        assert_eq!(code_of(founded).map(drop), expected);
    }
}

fn what_one_person_invited_ends_with_the_founding(backend: Backend) {
    let world = World::new(backend, POOL);
    let mut conn = world.sandbox.database().expect("a connection");
    let token = partner_sdk::jws::sha256_hex(pki::random_token().expect("a token").as_bytes());
    let ikea = "ikea".parse().expect("an id");
    invitations::invite(&mut conn, &ikea, &token, world.now()).expect("invited");
    assert!(invitations::is_invited(&mut conn, &ikea, &token, world.now()).expect("read"));
    Office::found(&world.sandbox);
    assert!(!invitations::is_invited(&mut conn, &ikea, &token, world.now()).expect("read"));
    let client = world.client("ikea");
    let feed = world.runtime.block_on(client.events(0, std::time::Duration::ZERO)).expect("events");
    assert!(feed.iter().any(|event| event.kind == "key.uninvited" && event.subject == "ikea"));
}

/// Somebody with the database's password writes a person into the table.
fn who_came_without_a_document_is_nobody(backend: Backend) {
    let world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let sandbox = &world.sandbox;
    let mut conn = sandbox.database().expect("a connection");
    let known = person::table.select(person::added_by);
    let founding: String = each_backend!(&mut conn, |c| known.first(c)).expect("there");
    let proposed = office.propose(sandbox, &office.first, suspend("ikea")).expect("proposed");
    let mallory = key("mallory-1", 66);
    // Beside no document, beside one that doesn't name it, and beside one that nobody has approved.
    let waits = office
        .propose(sandbox, &office.first, named("mallory", &mallory))
        .expect("proposed");
    for added_by in ["", founding.as_str(), waits.hash.as_str()] {
        let row = (
            person::name.eq("mallory"),
            person::kid.eq(mallory.kid().as_str()),
            person::public_key.eq(mallory.verifying_key().to_base64url()),
            person::added_at.eq(0i64),
            person::added_by.eq(added_by),
        );
        each_backend!(&mut conn, |c| diesel::insert_into(person::table).values(row).execute(c)).expect("written");
        let approved = office.approve_change(sandbox, &mallory, &proposed);
        assert_eq!(code_of(approved).err(), Some(Code::UnknownKey), "{added_by}");
        assert_eq!(
            code_of(office.propose(sandbox, &mallory, suspend("ikea"))).err(),
            Some(Code::UnknownKey)
        );
        assert_eq!(
            world.check_trail(),
            ["person mallory is in the table, and no signed document says so"]
        );
        let row = person::table.find("mallory");
        each_backend!(&mut conn, |c| diesel::delete(row).execute(c)).expect("removed");
    }
    // A founding that one of them hasn't signed names nobody.
    let third = document_signature::table.filter(document_signature::role.eq("founder-3"));
    let signature: String = each_backend!(&mut conn, |c| third.select(document_signature::signature).first(c)).expect("there");
    let set = |conn: &mut migrations::Conn, text: &str| {
        let row = diesel::update(third).set(document_signature::signature.eq(text.to_owned()));
        assert_eq!(each_backend!(conn, |c| row.execute(c)), Ok(1));
    };
    let first = document_signature::table.filter(document_signature::role.eq("proposer"));
    let others: String = each_backend!(&mut conn, |c| first
        .filter(document_signature::document.eq(&founding))
        .select(document_signature::signature)
        .first(c))
    .expect("there");
    set(&mut conn, &others);
    let approved = office.approve_change(sandbox, &office.second, &proposed);
    assert_eq!(code_of(approved).err(), Some(Code::UnknownKey));
    set(&mut conn, &signature);
    office.approve_change(sandbox, &office.second, &proposed).expect("it holds again");
}

fn a_lost_key_stops_nothing(backend: Backend) {
    let world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let sandbox = &world.sandbox;
    let by_the_others = |change: Change| {
        let proposed = office.propose(sandbox, &office.first, change)?;
        office.approve_change(sandbox, &office.second, &proposed)
    };
    // The third has lost its key; the two others name somebody else first, so that there are never fewer than three.
    let gone = Change::PersonLeaves { name: "third".into() };
    assert_eq!(code_of(by_the_others(gone.clone())).err(), Some(Code::BadTerms));
    let dora = key("dora-1", 104);
    office.comes(sandbox, "dora", &dora).expect("named");
    let pending = office.propose(sandbox, &office.third, suspend("ikea")).expect("still there");
    by_the_others(gone).expect("taken out");
    assert_eq!(
        code_of(office.propose(sandbox, &office.third, suspend("ikea"))).err(),
        Some(Code::UnknownKey)
    );
    // What the lost key has proposed isn't one of two any more.
    world.wait(1.minute());
    let approved = office.approve_change(sandbox, &dora, &pending);
    assert_eq!(code_of(approved).err(), Some(Code::NotApproved));
    let proposed = office.propose(sandbox, &dora, suspend("ikea")).expect("proposed");
    office.approve_change(sandbox, &office.first, &proposed).expect("approved");
}

fn a_revocation_is_signed(backend: Backend) {
    let world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let mut conn = world.sandbox.database().expect("a connection");
    let of = |kid: &str| Revocation {
        issued: Issued {
            id: new_message_id(),
            issued_at: world.now(),
        },
        key: KeyName::Kid(kid.parse().expect("a kid")),
        reason: "stolen".parse().expect("a reason"),
    };
    let ikea = of("ikea-1");
    let mut revoke = |text: &str| match keys::revoke(&mut conn, &ikea.key, &ikea.reason, &By::Person(text), world.now()) {
        Ok(_) => None,
        Err(KeysError::Refused(problem)) => Some(problem.code),
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(revoke("A. Chan"), Some(Code::MalformedJws), "a name is no signature");
    assert_eq!(revoke(&ikea.sign(&key("stranger-1", 7))), Some(Code::UnknownKey));
    assert_eq!(revoke(&ikea.sign(&key("first-1", 7))), Some(Code::BadSignature));
    assert_eq!(revoke(&of("pool-1").sign(&office.first)), Some(Code::DocumentChanged));
    world.wait(10.minutes());
    assert_eq!(revoke(&ikea.sign(&office.first)), Some(Code::Stale));
    let again = of("ikea-1");
    let signed = again.sign(&office.first);
    keys::revoke(&mut conn, &again.key, &again.reason, &By::Person(&signed), world.now()).expect("one is enough");
    let row = signing_key::table
        .find("ikea-1")
        .select((signing_key::revoked_by, signing_key::revocation));
    let kept: (Option<String>, Option<String>) = each_backend!(&mut conn, |c| row.first(c)).expect("there");
    assert_eq!(kept, (Some("operator first".into()), Some(signed.clone())));
    assert_eq!(world.check_trail(), Vec::<String>::new());
    // In another's name, or without a signature, it is found.
    let set = |conn: &mut migrations::Conn, by: &str, text: Option<&str>| {
        let row = diesel::update(signing_key::table.find("ikea-1")).set((
            signing_key::revoked_by.eq(by.to_owned()),
            signing_key::revocation.eq(text.map(str::to_owned)),
        ));
        each_backend!(conn, |c| row.execute(c)).expect("written");
        world.check_trail()
    };
    let found = |name: &str| vec![format!("key ikea-1 is revoked by {name}, and no signature says so")];
    assert_eq!(set(&mut conn, "operator second", Some(&signed)), found("second"));
    assert_eq!(set(&mut conn, "operator first", None), found("first"));
    assert_eq!(set(&mut conn, "operator first", Some(&signed)), Vec::<String>::new());
}

fn payments_are_confirmed_by_two(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    let settle = |date: &str| Change::Settle {
        business_date: date.parse().expect("a date"),
    };
    let sandbox = &world.sandbox;
    let code = |change| code_of(office.propose(sandbox, &office.first, change)).err();
    assert_eq!(code(settle("2026-11-20")), Some(Code::BadTerms), "open");
    assert_eq!(code(settle("2026-11-01")), Some(Code::BadTerms), "no window");
    world.close();
    let owes = || -> serde_json::Value {
        let client = world.client("wellcome");
        world.runtime.block_on(client.get("/v1/positions")).expect("positions")
    };
    assert_eq!(owes()["net"][0]["owes"], "0.550000");
    let proposed = office
        .propose(sandbox, &office.first, settle("2026-11-20"))
        .expect("all payments were made");
    let twice = office.propose(sandbox, &office.second, settle("2026-11-20")).expect("proposed too");
    assert_eq!(owes()["net"][0]["owes"], "0.550000", "one person's word settles nothing");
    assert_eq!(
        code_of(office.approve_change(sandbox, &office.first, &proposed)).err(),
        Some(Code::FourEyes)
    );
    office.approve_change(sandbox, &office.second, &proposed).expect("approved");
    assert_eq!(owes()["net"][0]["owes"], "0.000000");
    // A second time is refused by name, whoever asks.
    assert_eq!(code(settle("2026-11-20")), Some(Code::AlreadySettled));
    assert_eq!(
        code_of(office.approve_change(sandbox, &office.first, &twice)).err(),
        Some(Code::AlreadySettled)
    );
    // Whoever owed or was owed is told, and nobody else.
    let told = |partner: &str| {
        let client = world.client(partner);
        let feed = world.runtime.block_on(client.events(0, std::time::Duration::ZERO)).expect("events");
        let settled = feed.into_iter().find(|event| event.kind == "window.settled");
        settled.map(|event| (event.subject.clone(), event.fact("change").map(str::to_owned)))
    };
    let expected = Some(("2026-11-20".to_owned(), Some(proposed.hash.clone())));
    assert_eq!((told("wellcome"), told("pool"), told("ikea")), (expected.clone(), expected, None));
}

/// Where the clock can't be set, a settled window has two people's document.
fn settled_without_a_document_is_found(backend: Backend) {
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::parse(tests::market::PARTNERS).expect("a network");
    let sandbox = Sandbox::open(&folder.path().join("real"), &backend.database(), &network, Clock::System).expect("a clearinghouse");
    Office::found(&sandbox);
    let mut conn = sandbox.database().expect("a connection");
    let row = (
        settlement_window::business_date.eq("2026-11-20"),
        settlement_window::state.eq("settled"),
        settlement_window::cut_off_at.eq(0i64),
        settlement_window::settled_at.eq(0i64),
        settlement_window::settled_by.eq("A. Chan"),
    );
    each_backend!(&mut conn, |c| diesel::insert_into(settlement_window::table).values(row).execute(c)).expect("written");
    let kid = KeyId::new(&sandbox.config.operator.kid).expect("a kid");
    let public = std::fs::read_to_string(sandbox.folder.join(install::OPERATOR_PUBLIC)).expect("there");
    assert_eq!(public, sandbox.trust.key().to_base64url());
    assert_eq!(
        trail::check(&mut conn, &kid, sandbox.trust.key()).expect("the check runs"),
        ["window 2026-11-20 is settled, and no signed document says so"]
    );
}

fn what_changed_since_it_was_seen_is_not_founded(backend: Backend) {
    let house = House::new(backend, false);
    let file = house.write("founding.toml", FOUNDING);
    house.works(&["network", "apply", &file]);
    let seen = house.stands();
    assert_eq!(house.stands(), seen, "looking changes nothing");
    let people = ["ann", "ben", "cid"];
    let refused = |seen: &str| {
        let said = house.found_as_seen(&people, seen).expect_err("refused");
        assert!(said.contains("refused: bad_terms") && said.contains("field: network"), "{said}");
        assert!(said.contains("clearing network show"), "{said}");
        assert!(!said.contains(&house.stands()), "what stands is looked at, not copied: {said}");
    };
    // What one person does alone after the others have looked: a cap, a partner's keys.
    house.works(&[
        "network",
        "apply",
        &house.write("founding.toml", &FOUNDING.replace("\"500000\"", "\"500001\"")),
    ]);
    refused(&seen);
    house.works(&["network", "apply", &house.write("founding.toml", FOUNDING)]);
    assert_eq!(house.stands(), seen, "as it was");
    let (csr, _) = pki::new_request(&"grocer".parse().expect("an id")).expect("a request");
    let public = house.key("grocer");
    let csr = house.write("grocer.csr", &csr);
    let key = format!("--key={public}");
    house.works(&["partner", "add", "grocer", "--csr", &csr, "--kid", "grocer-1", &key]);
    refused(&seen);
    refused("");
    // Everybody sees whose keys there are, and founds that.
    let shown = house.works(&["network", "show"]);
    assert!(shown.contains(&format!("# signs by grocer-1 {public} (Valid)")), "{shown}");
    assert!(shown.contains("# connects by "), "{shown}");
    let founded = house.found_as_seen(&people, &stands(&shown)).expect("founded");
    assert!(founded.contains(&stands(&shown)), "it stands in what was signed: {founded}");
    house.works(&["check"]);
}

fn a_person_is_not_named_like_a_partner(backend: Backend) {
    let house = House::new(backend, false);
    let file = house.write("founding.toml", FOUNDING);
    house.works(&["network", "apply", &file]);
    for name in ["grocer", "Pool", "clearing"] {
        let said = house.found(&[name, "ben", "cid"]).expect_err("a partner's id");
        assert!(said.contains("refused: bad_terms") && said.contains("partner's id"), "{said}");
    }
    house.found(&["ann", "ben", "cid"]).expect("founded");
    let admit = "reason = \"new\"\n[change.admit]\npartner = \"ben\"\nname = \"Ben's bakery\"\n";
    let said = house.propose("ann", admit).expect_err("a person's name");
    assert!(said.contains("field: partner") && said.contains("a person's name"), "{said}");
}
