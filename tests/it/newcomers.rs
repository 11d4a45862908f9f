//! Who comes after the founding does so by a key of its own; and a key that is revoked is revoked once.

use clearing::office::pki;
use diesel::prelude::*;
use migrations::each_backend;
use migrations::schema::document_signature;
use partner_sdk::Code;
use partner_sdk::change::{Change, Status};
use partner_sdk::jws::SigningKey;
use tests::office::{Office, code_of, named};
use tests::{Backend, World, on_both};

use super::command::{FOUNDING, House};

on_both!(
    a_person_comes_by_its_own_key,
    whose_signature_is_gone_is_nobody,
    a_second_revocation_is_told_of_the_first,
);

fn a_person_comes_by_its_own_key(backend: Backend) {
    let house = House::founded(backend);
    let (public, other) = (house.key("dora"), house.key("eve"));
    let key = |name: &str| house.path(&format!("{name}.key"));
    let draft = format!("reason = \"a fourth\"\n[change.person]\nname = \"dora\"\nkid = \"dora-1\"\npublic_key = \"{public}\"\n");
    let hash = house.propose("ann", &draft).expect("proposed");
    let (ben, dora, eve) = (key("ben"), key("dora"), key("eve"));
    // Two people's word isn't enough for a key that neither of them may have seen used.
    let approve = ["approve", &hash, "--as", "ben", "--key", &ben];
    let said = house.fails(&approve);
    assert!(
        said.contains("refused: not_approved") && said.contains("dora hasn't signed this"),
        "{said}"
    );
    assert!(said.contains("clearing person accept HASH --key FILE"), "{said}");
    let said = house.fails(&["person", "accept", &hash, "--key", &eve]);
    assert!(
        said.contains("isn't the key by which this change names dora") && said.contains(&public),
        "{said}"
    );
    assert!(!said.contains(&other), "{said}");
    let said = house.works(&["person", "accept", &hash[..8], "--key", &dora]);
    assert!(said.contains("signed as newcomer by dora (dora-1)"), "{said}");
    assert!(house.fails(&["person", "accept", &hash, "--key", &dora]).contains("already_signed"));
    assert!(!house.works(&["person", "list"]).contains("dora"), "not before it is approved");
    house.works(&["check"]);
    house.works(&approve);
    assert!(house.works(&["person", "list"]).contains(&format!("dora  dora-1  {public}")));
    let events = house.works(&["events"]);
    assert!(events.contains("change.accepted") && events.contains("by=dora"), "{events}");
    house.works(&["check"]);
    let late = "reason = \"late\"\n[change.status]\npartner = \"grocer\"\nstatus = \"suspended\"\n";
    let hash = house.propose("dora", late).expect("one of them");
    let said = house.fails(&["person", "accept", &hash, "--key", &eve]);
    assert!(said.contains("names no new person"), "{said}");
}

fn whose_signature_is_gone_is_nobody(backend: Backend) {
    let world = World::new(backend, include_str!("networks/pool.toml"));
    let sandbox = &world.sandbox;
    let office = Office::found(sandbox);
    let dora = SigningKey::from_bytes("dora-1".parse().expect("a kid"), &[104; 32]);
    let proposed = office.propose(sandbox, &office.first, named("dora", &dora)).expect("proposed");
    // The signature is that of the key that the document names, and over its own bytes.
    let twin = SigningKey::from_bytes("dora-1".parse().expect("a kid"), &[105; 32]);
    assert_eq!(code_of(office.accept(sandbox, &twin, &proposed)).err(), Some(Code::BadSignature));
    assert_eq!(
        code_of(office.accept(sandbox, &office.third, &proposed)).err(),
        Some(Code::UnknownKey)
    );
    let suspend = || Change::Status {
        partner: "ikea".parse().expect("an id"),
        status: Status::Suspended,
    };
    let other = office.propose(sandbox, &office.first, suspend()).expect("proposed");
    assert_eq!(code_of(office.accept(sandbox, &dora, &other)).err(), Some(Code::NotParty));
    office.accept(sandbox, &dora, &proposed).expect("accepted");
    office.approve_change(sandbox, &office.second, &proposed).expect("approved");
    assert_eq!(code_of(office.accept(sandbox, &dora, &proposed)).err(), Some(Code::DocumentState));
    assert_eq!(world.check_trail(), Vec::<String>::new());
    let mut conn = sandbox.database().expect("a connection");
    let signed = document_signature::table.filter(document_signature::role.eq("newcomer"));
    let own: String = each_backend!(&mut conn, |c| signed.select(document_signature::signature).first(c)).expect("there");
    let set = |conn: &mut migrations::Conn, text: &str| {
        let row = diesel::update(signed).set(document_signature::signature.eq(text.to_owned()));
        assert_eq!(each_backend!(conn, |c| row.execute(c)), Ok(1));
    };
    set(&mut conn, &proposed.signatures.first().expect("the proposer's").signature.signature);
    assert_eq!(code_of(office.approve_change(sandbox, &dora, &other)).err(), Some(Code::UnknownKey));
    let found = world.check_trail();
    for fault in [
        format!("document {}: the signature of dora as newcomer doesn't hold", proposed.hash),
        "person dora is in the table, and no signed document says so".to_owned(),
    ] {
        assert!(found.contains(&fault), "{fault}: {found:?}");
    }
    set(&mut conn, &own);
    assert_eq!(world.check_trail(), Vec::<String>::new());
}

fn a_second_revocation_is_told_of_the_first(backend: Backend) {
    let house = House::new(backend, false);
    house.works(&["network", "apply", &house.write("founding.toml", FOUNDING)]);
    let (csr, _) = pki::new_request(&"grocer".parse().expect("an id")).expect("a request");
    let (csr, public) = (house.write("grocer.csr", &csr), format!("--key={}", house.key("grocer")));
    house.works(&["partner", "add", "grocer", "--csr", &csr, "--kid", "grocer-1", &public]);
    house.found(&["ann", "ben", "cid"]).expect("founded");
    let key = |name: &str| house.path(&format!("{name}.key"));
    let (ann, ben) = (key("ann"), key("ben"));
    let revoke = |kid, name, key| ["key", "revoke", "--kid", kid, "--why", "stolen", "--as", name, "--key", key];
    let said = house.fails(&revoke("nope", "ann", &ann));
    assert!(
        said.contains("nope") && said.contains("what to do: Name a key that clearing key list shows."),
        "{said}"
    );
    house.works(&revoke("grocer-1", "ann", &ann));
    for (name, key) in [("ben", &ben), ("ann", &ann)] {
        let said = house.fails(&revoke("grocer-1", name, key));
        assert!(
            said.contains("refused: key_revoked") && said.contains("is revoked since 20"),
            "{said}"
        );
        assert!(said.contains("by operator ann: a second word isn't recorded"), "{said}");
    }
    assert_eq!(house.works(&["events"]).matches("key.revoked").count(), 1);
    house.works(&["check"]);
}
