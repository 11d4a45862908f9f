//! A partner's life, by changes that two people make, and what it may do in each state.

use jiff::ToSpan;
use partner_sdk::change::{Change, Status};
use partner_sdk::client::ClientError;
use partner_sdk::{Body, Code};
use store::events;
use tests::market::terms;
use tests::office::{Office, code_of};
use tests::{Backend, World, authorise, burn, capture, earn, on_both, quote, reverse, void};

const POOL: &str = include_str!("networks/pool.toml");
const MILES: &str = include_str!("networks/miles.toml");

on_both!(
    every_status_and_kind,
    an_issuers_status_counts_too,
    from_admission_to_gone,
    no_single_person_passes,
    caps_take_two,
);

fn become_(world: &World, office: &Office, partner: &str, status: Status) -> Result<(), Code> {
    let change = Change::Status {
        partner: partner.parse().expect("a partner"),
        status,
    };
    code_of(office.change(&world.sandbox, change)).map(drop)
}

/// The steps from active to a status.
fn way_to(status: Status) -> &'static [Status] {
    match status {
        Status::Suspended => &[Status::Suspended],
        Status::Leaving => &[Status::Leaving],
        _ => &[],
    }
}

/// The table of docs/PROTOCOL.md: status -> what its cells say, by column.
fn documented() -> Vec<(Status, Vec<(String, String)>)> {
    let docs = include_str!("../../docs/PROTOCOL.md");
    let (_, table) = docs.split_once("<!-- life:begin -->").expect("the table begins");
    let (table, _) = table.split_once("<!-- life:end -->").expect("the table ends");
    let mut rows = table.lines().filter(|line| line.starts_with('|')).map(|line| {
        let cells = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned());
        cells.collect::<Vec<_>>()
    });
    let heads = rows.next().expect("a head");
    let row = |row: Vec<String>| {
        let status = row[0].parse().expect("a status");
        (status, heads[1..].iter().cloned().zip(row[1..].iter().cloned()).collect())
    };
    rows.skip(1).map(row).collect()
}

/// The door is shut within 5 s, on a live connection too.
fn shut(world: &World, partner: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        match world.runtime.block_on(world.client(partner).get_text("/v1/positions")) {
            Err(ClientError::Refused(problem)) if problem.code == Code::CertificateUnknown => return,
            _ => assert!(std::time::Instant::now() < deadline, "still let in after 5 s"),
        }
    }
}

/// Every kind of message by a partner in every status, as the docs have it.
fn every_status_and_kind(backend: Backend) {
    let table = documented();
    assert_eq!(table.iter().map(|row| row.0).collect::<Vec<_>>(), Status::ALL);
    for (status, cells) in table {
        // The hotel earns too, so that it can send every kind but exchanges.
        let network = MILES.replace(
            "[[rate]]",
            "[[agreement]]\nkind = \"earn\"\npartner = \"bank\"\nprogramme = \"MILES\"\nprice = \"0.08\"\ncurrency = \"HKD\"\n\
             prepaid = { block = \"100\", reorder_at = \"0\" }\n\
             valid_from = \"2026-01-01T00:00:00Z\"\n[[agreement]]\nkind = \"burn\"\npartner = \"bank\"\nprogramme = \"MILES\"\nprice = \"0.07\"\n\
             currency = \"HKD\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n[[rate]]",
        );
        let network = match status {
            // These two are where nobody gets who has posted.
            Status::Admitted | Status::Gone => network.replace("name = \"Bank\"", "name = \"Bank\"\nstatus = \"admitted\""),
            _ => network,
        };
        let mut world = World::new(backend, &network);
        let office = Office::found(&world.sandbox);
        let mut before = vec![];
        if !matches!(status, Status::Admitted | Status::Gone) {
            world.post("bank", earn("BANK", "m1", "1000")).expect("accepted");
            world.post("bank", earn("MILES", "m1", "1000")).expect("accepted");
            let held = [0; 2].map(|_| {
                world
                    .post("bank", authorise("MILES", "m1", "10"))
                    .expect("accepted")
                    .id
                    .expect("an id")
            });
            let burned = world.post("bank", burn("MILES", "m1", "10")).expect("accepted").id.expect("an id");
            let quoted = world
                .post("bank", quote("BANK", "MILES", "100"))
                .expect("accepted")
                .id
                .expect("an id");
            before = [held.to_vec(), vec![burned, quoted]].concat();
        }
        for step in way_to(status) {
            become_(&world, &office, "bank", *step).expect("possible");
        }
        if status == Status::Gone {
            become_(&world, &office, "bank", status).expect("possible");
            shut(&world, "bank");
        }
        let id = |n: usize| before.get(n).cloned().unwrap_or_else(|| "none".parse().expect("an id"));
        for (column, says) in cells {
            let body: Body = match column.as_str() {
                "earn" => earn("MILES", "m1", "1"),
                "prepay" => tests::prepay("MILES", "100"),
                "burn" => burn("MILES", "m1", "1"),
                "authorise" => authorise("MILES", "m1", "1"),
                "capture" => capture(&id(0), "10"),
                "void" => void(&id(1)),
                "reverse" => reverse(&id(2), "10"),
                "quote" => quote("BANK", "MILES", "100"),
                "exchange" => tests::exchange("BANK", "MILES", "m1", "100", &id(3)),
                "look" | "agree" => {
                    assert_eq!(looks_or_agrees(&world, &column), says, "{status} {column}");
                    continue;
                }
                other => panic!("{other}"),
            };
            let done = match world.post("bank", body) {
                Ok(_) => "yes".to_owned(),
                Err(code) => code.to_string(),
            };
            assert_eq!(done, says, "{status} {column}");
        }
    }
}

fn looks_or_agrees(world: &World, column: &str) -> String {
    let client = world.client("bank");
    let done = world.runtime.block_on(async {
        match column {
            "look" => client.get_text("/v1/positions").await.map(drop),
            _ => {
                let key = &world.sandbox.parties.get(&"bank".parse().expect("an id")).expect("the bank").key;
                let mut terms = terms("MILES", world.now());
                terms.partner = "bank".parse().expect("an id");
                terms.per_message = Some(tests::amount("5"));
                terms.kind = partner_sdk::agreement::AgreementKind::Burn;
                terms.valid_from = "2027-01-01T00:00:00Z".parse().expect("a time");
                match client.propose(&terms, key).await {
                    // The network's own agreement stands in the way of none that names it; here it is only asked who may.
                    Err(ClientError::Refused(problem)) if problem.code == Code::Superseded => Ok(()),
                    done => done.map(drop),
                }
            }
        }
    });
    match done {
        Ok(()) => "yes".to_owned(),
        Err(ClientError::Refused(problem)) => problem.code.to_string(),
        Err(other) => panic!("{other:?}"),
    }
}

fn an_issuers_status_counts_too(backend: Backend) {
    let mut world = World::new(backend, MILES);
    let office = Office::found(&world.sandbox);
    world.post("bank", earn("BANK", "m1", "1000")).expect("accepted");
    world.exchange_at_quote("bank", "BANK", "MILES", "m1", "100").expect("accepted");
    let quoted = world
        .post("bank", quote("BANK", "MILES", "100"))
        .expect("accepted")
        .id
        .expect("an id");
    // The airline leaves: no new miles, but those that there are can be spent.
    become_(&world, &office, "airline", Status::Leaving).expect("possible");
    let taken_up = tests::exchange("BANK", "MILES", "m1", "100", &quoted);
    assert_eq!(world.post("bank", taken_up).err(), Some(Code::PartnerLeaving));
    assert_eq!(world.post("bank", quote("BANK", "MILES", "100")).err(), Some(Code::PartnerLeaving));
    let burned = world.post("hotel", burn("MILES", "m1", "100")).expect("run-off").id.expect("an id");
    // Suspended, it isn't made to owe more; what was done can still be undone.
    become_(&world, &office, "airline", Status::Suspended).expect("possible");
    assert_eq!(world.post("hotel", burn("MILES", "m1", "100")).err(), Some(Code::PartnerSuspended));
    world.post("hotel", reverse(&burned, "100")).expect("taken back");
    let told = world
        .runtime
        .block_on(world.client("hotel").events(0, std::time::Duration::ZERO))
        .expect("events");
    let told: Vec<_> = told
        .iter()
        .filter(|e| e.kind.starts_with("partner."))
        .map(|e| (e.kind.as_str(), e.subject.as_str(), e.fact("status")))
        .collect();
    assert_eq!(
        told,
        [
            ("partner.status", "airline", Some("leaving")),
            ("partner.status", "airline", Some("suspended"))
        ]
    );
}

fn from_admission_to_gone(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let admit = Change::Admit {
        partner: "newcomer".parse().expect("an id"),
        name: "Newcomer".into(),
    };
    office.change(&world.sandbox, admit.clone()).expect("admitted");
    assert_eq!(code_of(office.change(&world.sandbox, admit)).err(), Some(Code::BadTerms));
    // Nobody skips a step.
    for status in [Status::Suspended, Status::Leaving] {
        assert_eq!(become_(&world, &office, "newcomer", status), Err(Code::BadTerms), "{status}");
    }
    assert_eq!(become_(&world, &office, "ikea", Status::Gone), Err(Code::BadTerms));
    // IKEA is owed money: it stays until that is settled.
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "100")).expect("accepted");
    become_(&world, &office, "ikea", Status::Leaving).expect("possible");
    assert_eq!(become_(&world, &office, "ikea", Status::Gone), Err(Code::BadTerms));
    let date = world.close().business_date;
    assert_eq!(become_(&world, &office, "ikea", Status::Gone), Err(Code::BadTerms));
    let mut conn = world.sandbox.database().expect("a connection");
    settlement::settle(&mut conn, date, world.now(), "finance").expect("settled");
    become_(&world, &office, "ikea", Status::Gone).expect("nothing is open");
    shut(&world, "ikea");
    // Nobody comes back, and an issuer doesn't go while members have its points.
    assert_eq!(become_(&world, &office, "ikea", Status::Active), Err(Code::BadTerms));
    world.post("wellcome", earn("YUU", "m2", "100")).expect("accepted");
    become_(&world, &office, "pool", Status::Leaving).expect("possible");
    let date = world.close().business_date;
    settlement::settle(&mut conn, date, world.now(), "finance").expect("settled");
    assert_eq!(become_(&world, &office, "pool", Status::Gone), Err(Code::BadTerms));
    world.wait(3.days());
    // Of the last windows nobody owes anything: they are settled with their statements.
    let date = world.close().business_date;
    let last = settlement::window(&mut conn, date).expect("reads").expect("there");
    assert_eq!(last.settled_by.as_deref(), Some("nothing_due"));
    become_(&world, &office, "pool", Status::Gone).expect("the last points have expired");
}

fn no_single_person_passes(backend: Backend) {
    let world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let suspend = || Change::Status {
        partner: "ikea".parse().expect("an id"),
        status: Status::Suspended,
    };
    let sandbox = &world.sandbox;
    let proposed = office.propose(sandbox, &office.first, suspend()).expect("proposed");
    assert_eq!(
        code_of(office.approve_change(sandbox, &office.first, &proposed)).err(),
        Some(Code::FourEyes)
    );
    let stranger = partner_sdk::jws::SigningKey::from_bytes("fourth-1".parse().expect("a kid"), &[9; 32]);
    assert_eq!(
        code_of(office.approve_change(sandbox, &stranger, &proposed)).err(),
        Some(Code::UnknownKey)
    );
    assert_eq!(code_of(office.propose(sandbox, &stranger, suspend())).err(), Some(Code::UnknownKey));
    // The approval is bound to the bytes: for another document it is worth nothing.
    let other = office.propose(sandbox, &office.first, suspend()).expect("proposed");
    let mixed = store::documents::Document {
        hash: proposed.hash.clone(),
        ..other.clone()
    };
    assert_eq!(
        code_of(office.approve_change(sandbox, &office.second, &mixed)).err(),
        Some(Code::BadSignature)
    );
    // None of the three can be made to leave, and a fourth comes only by two.
    let leaves = Change::PersonLeaves { name: "first".into() };
    assert_eq!(code_of(office.propose(sandbox, &office.second, leaves)).err(), Some(Code::BadTerms));
    office.comes(sandbox, "fourth", &stranger).expect("added");
    let done = office.approve_change(sandbox, &stranger, &proposed).expect("the fourth approves");
    let signers: Vec<_> = done.signatures.iter().map(|s| (s.role.as_str(), s.signer.as_str())).collect();
    assert_eq!(signers, [("proposer", "first"), ("approver", "fourth"), ("clearing", "clearing")]);
    for signed in &done.signatures {
        let key = match signed.signer.as_str() {
            "first" => office.first.verifying_key(),
            "fourth" => stranger.verifying_key(),
            _ => world.sandbox.trust.key().clone(),
        };
        signed.signature.verify(done.payload.as_bytes(), &key).expect("it verifies");
    }
    assert_eq!(
        code_of(office.approve_change(sandbox, &office.second, &proposed)).err(),
        Some(Code::DocumentState)
    );
    // Who has left doesn't count: the first one's other proposal lapses with it.
    office
        .change(sandbox, Change::PersonLeaves { name: "fourth".into() })
        .expect("left");
    assert_eq!(code_of(office.propose(sandbox, &stranger, suspend())).err(), Some(Code::UnknownKey));
    let mut conn = sandbox.database().expect("a connection");
    let all = events::after(&mut conn, &[events::OPERATOR, events::EVERYBODY], 0, 1000).expect("events");
    let approved = all.iter().rfind(|e| e.kind == "change.approved").expect("one");
    assert_eq!(
        approved.facts,
        [
            ("by".to_owned(), "second".to_owned()),
            ("proposed_by".to_owned(), "first".to_owned())
        ]
    );
    assert_eq!(all.iter().filter(|e| e.kind == "document.refused").count(), 7);
}

fn caps_take_two(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let cap = |amount: Option<&str>| Change::Cap {
        partner: "wellcome".parse().expect("an id"),
        currency: "HKD".parse().expect("a currency"),
        amount: amount.map(tests::amount),
    };
    let proposed = office.propose(&world.sandbox, &office.first, cap(Some("0.55"))).expect("proposed");
    world
        .post("wellcome", earn("YUU", "m1", "101"))
        .expect("a proposal changes nothing");
    office.approve_change(&world.sandbox, &office.second, &proposed).expect("approved");
    assert_eq!(world.post("wellcome", earn("YUU", "m1", "1")).err(), Some(Code::NetDebitCap));
    let nobody = Change::Cap {
        partner: "nobody".parse().expect("an id"),
        currency: "HKD".parse().expect("a currency"),
        amount: None,
    };
    assert_eq!(code_of(office.change(&world.sandbox, nobody)).err(), Some(Code::BadTerms));
    office.change(&world.sandbox, cap(None)).expect("lifted");
    world.post("wellcome", earn("YUU", "m1", "1")).expect("accepted");
}
