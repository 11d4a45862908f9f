//! A clearinghouse that has been through everything there is, made and filled through the wire: what an upgrade has to bring along. What a later release adds
//! belongs here too.

use std::time::Duration;

use clearing::documents::changes;
use clearing::office::config::Config;
use clearing::office::pki;
use jiff::{Timestamp, ToSpan};
use partner_sdk::agreement::{AgreementKind, Terms};
use partner_sdk::calendar::CalendarTerms;
use partner_sdk::change::{Change, Custody, ProgrammeTerms, Status};
use partner_sdk::client::Identity;
use partner_sdk::client::keys::enrol;
use partner_sdk::document::{Action, Kind};
use partner_sdk::jws::{SigningKey, sha256_hex};
use partner_sdk::log::note::NoteKey;
use partner_sdk::rate::{BonusTerms, RateTerms};
use partner_sdk::wire::keys::{Enrolment, Issued, KeyName, NewCertificate, NewKey, Revocation};
use partner_sdk::wire::write_batch;
use partner_sdk::{Body, Code, MessageId, PartnerId, Trust};
use tests::office::{Office, act};
use tests::tls::request_with;
use tests::{
    Backend, World, amount, authorise, burn, capture, earn, earn_spend, exchange, id, prepay, quote, reverse, reverse_spend, void,
};

use super::paying;

const NETWORK: &str = include_str!("network.toml");

/// A key that a kept ledger has and a later test uses: its secret is this number, 32 times.
fn known(kid: &str, secret: u8) -> SigningKey {
    SigningKey::from_bytes(kid.parse().expect("a kid"), &[secret; 32])
}

/// With which the clearinghouse signs at the end.
pub fn operator() -> SigningKey {
    known("clearing-2", 201)
}

/// With which its log is signed at the end.
pub fn log() -> SigningKey {
    known("log", 202)
}

/// With which Wellcome signs at the end.
pub fn wellcome() -> SigningKey {
    known("wellcome-2", 203)
}

/// Wellcome's request for a certificate, with the key that it connects by at the end; and that key.
pub fn wellcome_tls() -> (String, String) {
    request_with(&known("tls", 204), "wellcome")
}

fn partner(id: &str) -> PartnerId {
    id.parse().expect("a partner")
}

/// Plays all of it. The windows from 2026-11-20 on are settled, advised (two that are paid together), netted, closed and open at the end.
pub fn play(backend: Backend) -> (World, Office) {
    let mut world = World::new(backend, NETWORK);
    let mut office = Office::found(&world.sandbox);
    points(&mut world);
    exchanges(&mut world);
    debts(&mut world, &office);
    agreements(&world, &office);
    published(&mut world, &office);
    people(&world, &office);
    keys(&mut world);
    own_keys(&mut world, &mut office);
    reconciled(&world);
    // Points of the 20th expire with the 21st.
    for day in 0..3 {
        world.close();
        if day == 0 {
            paying::disputed_in_time(&world);
        }
        world.post("wellcome", earn("YUU", "m4", "100")).expect("accepted");
    }
    let business_date = "2026-11-20".parse().expect("a date");
    office.change(&world.sandbox, Change::Settle { business_date }).expect("settled");
    paying::paid(&world, &office);
    paying::disputed(&world, &office);
    paying::taken_out(&world, &office);
    paying::joined(&world, &office);
    paying::converted(&world, &office);
    // The files of the 23rd have no room, and nobody looks after the 24th.
    std::fs::write(world.statements().join("2026-11-23"), "in the way").expect("written");
    world.at("2026-11-24T00:00+08");
    world.sandbox.close_due().expect_err("no room");
    world.post("wellcome", earn("YUU", "m4", "100")).expect("accepted");
    world.at("2026-11-25T00:00+08");
    world.post("wellcome", earn("YUU", "m4", "100")).expect("closes the 24th");
    (world, office)
}

/// Bought, earned, spent, held and taken back, alone and in batches, and refused.
fn points(world: &mut World) {
    world.post("wellcome", prepay("YUU", "1000")).expect("bought");
    let first = id(world.post("wellcome", earn_spend("YUU", "m1", "1500", "150")));
    let second = id(world.post("hangseng", earn("YUU", "m1", "400.5")));
    let burned = id(world.post("ikea", burn("YUU", "m1", "100")));
    world.post("ikea", reverse(&burned, "40")).expect("given back");
    world.post("wellcome", reverse_spend(&first, "15")).expect("taken back");
    world.post("hangseng", reverse(&second, "0.5")).expect("taken back");
    let holds: Vec<MessageId> = (0..4).map(|_| id(world.post("ikea", authorise("YUU", "m1", "50")))).collect();
    world.post("ikea", capture(&holds[0], "30")).expect("captured");
    world.post("ikea", void(&holds[1])).expect("released");
    let batch: Vec<_> = (0..3).map(|_| world.message("wellcome", earn("YUU", "m2", "10"))).collect();
    assert!(world.send_all("wellcome", &batch).iter().all(Result::is_ok));
    let batch = ["10", "20", "99999"].map(|points| world.message("wellcome", earn("YUU", "m3", points)));
    let key = &world.sandbox.parties.get(&partner("wellcome")).expect("of the network").key;
    let answers = world
        .runtime
        .block_on(world.client("wellcome").post_signed_batch(&write_batch(&batch, key)));
    let answers: Vec<_> = answers
        .expect("answers")
        .iter()
        .map(|answer| world.read("wellcome", answer).err())
        .collect();
    assert_eq!(answers, [None, None, Some(Code::LimitMemberDay)]);
    assert_eq!(world.post("ikea", burn("YUU", "m2", "5000")).err(), Some(Code::InsufficientBalance));
    assert_eq!(world.post("ikea", earn("YUU", "m2", "1")).err(), Some(Code::NoAgreement));
    assert_eq!(world.post("wellcome", prepay("YUU", "500000")).err(), Some(Code::NetDebitCap));
}

/// Within the house, and with an issuer that keeps the balances: credited, refused, asked about again and not answered.
fn exchanges(world: &mut World) {
    world.post("bank", earn("BANK", "m1", "2000")).expect("the bank's own points");
    let hosted = world.exchange_at_quote("bank", "BANK", "YUU", "m1", "25").expect("at once");
    world.post("bank", reverse(&hosted.id.expect("an id"), "5")).expect("taken back");
    world
        .post("bank", quote("BANK", "YUU", "10"))
        .expect("an offer that nobody takes up");
    let used = world.message("bank", quote("BANK", "MILES", "100"));
    world.send(&used).expect("an offer");
    let mut instructed = vec![id(world.post("bank", exchange("BANK", "MILES", "m1", "100", &used.id)))];
    instructed.extend((0..3).map(|_| id(world.exchange_at_quote("bank", "BANK", "MILES", "m1", "200"))));
    let again = exchange("BANK", "MILES", "m1", "100", &used.id);
    assert_eq!(world.post("bank", again).err(), Some(Code::QuoteUsed));
    let (sender_of, exchange) = (partner("bank"), instructed[0].clone());
    let reference = Some("FF-1".parse().expect("a reference"));
    let credited = Body::Acknowledge {
        sender_of: sender_of.clone(),
        exchange,
        reference,
    };
    world.post("airline", credited).expect("captured");
    let (exchange, reason) = (instructed[1].clone(), "member_unknown".parse().expect("a reason"));
    let refused = Body::Refuse {
        sender_of: sender_of.clone(),
        exchange,
        reason,
    };
    world.post("airline", refused).expect("released");
    // The service asks again by itself.
    world.wait(3.minutes());
    let airline = world.client("airline");
    let (mut after, mut asked) = (0, 0);
    while asked < instructed[2..].len() {
        let news = world
            .runtime
            .block_on(airline.events(after, Duration::from_secs(20)))
            .expect("its feed");
        after = news.last().expect("it is asked within seconds").no;
        asked += news.iter().filter(|event| event.kind == "exchange.queried").count();
    }
}

/// Points that were spent are taken back; what is owed is written off in part, and repaid in part. Another earn stands in.
fn debts(world: &mut World, office: &Office) {
    let earned = id(world.post("wellcome", earn("YUU", "m5", "500")));
    world.post("ikea", burn("YUU", "m5", "450")).expect("spent");
    world.post("wellcome", reverse(&earned, "300")).expect("below zero");
    let write_off = Change::WriteOff {
        programme: "YUU".parse().expect("a programme"),
        member: "m5".parse().expect("a member"),
        points: amount("50.5"),
    };
    office.change(&world.sandbox, write_off).expect("given up");
    world.post("wellcome", earn("YUU", "m5", "100")).expect("repays");
    let lent = id(world.post("wellcome", earn("YUU", "m6", "200")));
    world.post("hangseng", earn("YUU", "m6", "200")).expect("accepted");
    world.post("ikea", burn("YUU", "m6", "200")).expect("of the first");
    world.post("wellcome", reverse(&lent, "150")).expect("the second stands in");
}

/// Agreements in every state, one with a second version.
fn agreements(world: &World, office: &Office) {
    let sandbox = &world.sandbox;
    let key = |id: &str| &sandbox.parties.get(&partner(id)).expect("of the network").key;
    let programme = ProgrammeTerms {
        code: "TEA".parse().expect("a programme"),
        issuer: partner("hangseng"),
        scale: 0,
        custody: Custody::Hosted,
        face_value: None,
        currency: "HKD".parse().expect("a currency"),
        expires_after: None,
        negative_limit: None,
    };
    office.change(sandbox, Change::Programme(programme)).expect("added");
    let (ikea, issuer) = (world.client("ikea"), world.client("hangseng"));
    let terms = |sender: &str, price: &str, from: Timestamp| Terms {
        salt: partner_sdk::client::new_salt(),
        ..Terms::new(
            AgreementKind::Earn,
            partner(sender),
            "TEA".parse().expect("a programme"),
            amount(price),
            "HKD".parse().expect("a currency"),
            from,
        )
    };
    let propose = |terms: &Terms| world.runtime.block_on(ikea.propose(terms, key("ikea"))).expect("proposed");
    let sign = |terms: &Terms| {
        let proposed = propose(terms);
        world
            .runtime
            .block_on(issuer.sign(&proposed, key("hangseng")))
            .expect("signed")
            .hash
    };
    let in_force = |terms: &Terms| {
        let hash = sign(terms);
        office.approve(sandbox, &hash).expect("in force");
        hash
    };
    let first = in_force(&terms("ikea", "0.01", world.now()));
    let second = Terms {
        supersedes: Some(first),
        ..terms("ikea", "0.02", world.now() + 1.hour())
    };
    let second = in_force(&second);
    let other = Terms {
        kind: AgreementKind::Burn,
        ..terms("ikea", "0.03", world.now())
    };
    sign(&other);
    office.decline(sandbox, &sign(&other_salt(&other))).expect("declined");
    let acts = |sender: &str, action, hash: String, ends_at| {
        let text = act(action, &hash, world.now(), ends_at, key(sender));
        let (client, path) = (world.client(sender), format!("/v1/agreements/{hash}/acts"));
        world.runtime.block_on(client.post_unverified(&path, text)).expect("done");
    };
    acts("ikea", Action::Withdraw, propose(&other_salt(&other)).hash, None);
    acts("hangseng", Action::Decline, propose(&other_salt(&other)).hash, None);
    acts("ikea", Action::Terminate, second, Some(world.now() + 960.hours()));
    propose(&other_salt(&other));
}

/// The same under another hash.
fn other_salt(terms: &Terms) -> Terms {
    Terms {
        salt: partner_sdk::client::new_salt(),
        ..terms.clone()
    }
}

/// Rates, a bonus, a calendar, a cap; one of them taken back.
fn published(world: &mut World, office: &Office) {
    let code = |text: &str| text.parse().expect("a programme");
    let rate = |world: &World, days: i64| {
        Change::Rate(RateTerms {
            programme: code("BANK"),
            to_programme: code("MILES"),
            numerator: amount("900"),
            denominator: amount("100"),
            step: amount("100"),
            minimum: amount("100"),
            maximum: amount("999000"),
            valid_from: world.now() + (24 * days).hours(),
            valid_until: None,
        })
    };
    for days in [2, 9] {
        office.change(&world.sandbox, rate(world, days)).expect("published");
    }
    // With the next message the service knows them.
    world.post("bank", quote("BANK", "MILES", "100")).expect("an offer");
    let sandbox = &world.sandbox;
    let client = world.client("bank");
    let all = world
        .runtime
        .block_on(client.rate_history(&code("BANK"), &code("MILES")))
        .expect("rates");
    let published = all.last().expect("the later one").hash.clone();
    office.change(sandbox, Change::TakeBack { published }).expect("taken back");
    let bonus = BonusTerms {
        programme: code("BANK"),
        to_programme: code("YUU"),
        percent: amount("15"),
        funded_percent: amount("50"),
        valid_from: "2027-01-01T00:00:00Z".parse().expect("a time"),
        valid_until: "2027-02-01T00:00:00Z".parse().expect("a time"),
    };
    office.change(sandbox, Change::Bonus(bonus)).expect("published");
    let calendar = CalendarTerms {
        first_date: "2026-12-01".parse().expect("a date"),
        zone: "Asia/Hong_Kong".into(),
        cut_off: "18:00".into(),
        holidays: vec!["2026-12-25".parse().expect("a date")],
        closed_weekdays: vec![],
    };
    office.change(sandbox, Change::Calendar(calendar)).expect("approved");
    let cap = Change::Cap {
        partner: partner("ikea"),
        currency: "HKD".parse().expect("a currency"),
        amount: Some(amount("5000")),
    };
    office.change(sandbox, cap).expect("approved");
}

/// Partners and people come and go, and changes are approved, turned down, taken back, wait, and are refused.
fn people(world: &World, office: &Office) {
    let sandbox = &world.sandbox;
    let dora = known("dora-1", 104);
    office.comes(sandbox, "dora", &dora).expect("a fourth");
    office
        .change(sandbox, Change::PersonLeaves { name: "third".into() })
        .expect("three stay");
    let admit = Change::Admit {
        partner: partner("newcomer"),
        name: "Newcomer".into(),
    };
    office.change(sandbox, admit).expect("admitted");
    let token = pki::random_token().expect("a token");
    let invite = Change::Invite {
        partner: partner("newcomer"),
        token_sha256: sha256_hex(token.as_bytes()),
    };
    office.change(sandbox, invite).expect("invited");
    let (csr, _) = pki::new_request(&partner("newcomer")).expect("a request");
    let key = pki::random_key("newcomer-1".parse().expect("a kid")).expect("a key");
    let ca = std::fs::read_to_string(&sandbox.config.tls.server_ca).expect("there");
    let asks = Enrolment::sign(&partner("newcomer"), &token, &csr, &key);
    world
        .runtime
        .block_on(enrol(&sandbox.enrolment().expect("it runs"), &ca, &asks))
        .expect("enrolled");
    let status = |id: &str, status| Change::Status {
        partner: partner(id),
        status,
    };
    office.change(sandbox, status("newcomer", Status::Active)).expect("approved");
    let suspend = || {
        let proposed = office.propose(sandbox, &office.first, status("newcomer", Status::Suspended));
        proposed.expect("proposed")
    };
    office.approve_change(sandbox, &office.first, &suspend()).expect_err("alone");
    let mut conn = sandbox.database().expect("a connection");
    let declined = suspend().hash;
    let text = act(Action::Decline, &declined, world.now(), None, &dora);
    changes::decline(&mut conn, world.now(), Kind::Change, &declined, &text).expect("turned down");
    let withdrawn = suspend().hash;
    let text = act(Action::Withdraw, &withdrawn, world.now(), None, &office.first);
    changes::withdraw(&mut conn, world.now(), &withdrawn, &text).expect("taken back");
    office.change(sandbox, status("newcomer", Status::Suspended)).expect("approved");
}

/// Wellcome changes both of its keys, and revokes the old ones.
fn keys(world: &mut World) {
    let id = partner("wellcome");
    let party = world.sandbox.parties.get(&id).expect("of the network").clone();
    let client = world.client("wellcome");
    let old = world.runtime.block_on(client.keys()).expect("its keys").tls[0].spki_sha256;
    let issued = || Issued {
        id: partner_sdk::client::new_message_id(),
        issued_at: world.now(),
    };
    let new = wellcome();
    let added = NewKey::sign(&issued(), &id, &new, None, None, &party.key);
    let (csr, key_pem) = wellcome_tls();
    let asked = NewCertificate::sign(&issued(), &csr, &party.key);
    let certified = world.runtime.block_on(async {
        client.add_key(&added).await.expect("a second key");
        client.certificate(&asked).await.expect("a second certificate")
    });
    let changed = world.sandbox.parties.get_mut(&id).expect("of the network");
    changed.key = new.clone();
    changed.identity = Identity {
        cert_pem: certified.certificate,
        key_pem,
        ..party.identity
    };
    world.connect();
    let client = world.client("wellcome");
    for key in [KeyName::Kid(party.key.kid().clone()), KeyName::Spki(old)] {
        let revocation = Revocation {
            issued: Issued {
                id: partner_sdk::client::new_message_id(),
                issued_at: world.now(),
            },
            key,
            reason: "a new one".parse().expect("a reason"),
        };
        world.runtime.block_on(client.revoke(&revocation.sign(&new))).expect("revoked");
    }
}

/// Wellcome keeps which column of its record is what, and is done with a finding.
fn reconciled(world: &World) {
    let client = world.client("wellcome");
    let finding = format!(
        r#"{{"findings": [{{"key": "{}", "note": "a till without a clock"}}]}}"#,
        "ab".repeat(16)
    );
    for (path, body) in [
        ("mappings", r#"{"name": "till", "mapping": {"columns": {"id": "Ref"}}}"#.to_owned()),
        ("2026-11-20/resolved", finding),
    ] {
        let path = format!("/v1/reconciliations/{path}");
        let posted = client.post_unverified(&path, body);
        world.runtime.block_on(posted).expect("kept");
    }
}

/// The clearinghouse signs and keeps its log by other keys from now on.
fn own_keys(world: &mut World, office: &mut Office) {
    let sandbox = &mut world.sandbox;
    sandbox.stop();
    let origin = sandbox.config.log.origin.clone();
    let public = NoteKey::new(&origin, log().verifying_key()).expect("a public key");
    set_own_keys(&mut sandbox.config);
    let known = format!("{}{public}\n", sandbox.trust.log_keys());
    sandbox.trust = Trust::new(operator().verifying_key(), &known).expect("what partners hold");
    sandbox.start().expect("it starts with its new keys");
    office.clearing = operator();
    world.connect();
}

/// Puts the clearinghouse's keys at the end of the story into the files of a configuration.
pub fn set_own_keys(config: &mut Config) {
    config.operator.kid = operator().kid().to_string();
    std::fs::write(&config.operator.key, operator().secret_base64url()).expect("written");
    std::fs::write(&config.log.key, log().secret_base64url()).expect("written");
}
