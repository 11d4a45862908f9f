//! Who may dispute what, and until when; and what wasn't signed.

use jiff::Span;
use partner_sdk::change::{Change, Status};
use partner_sdk::client::new_salt;
use partner_sdk::dispute::{DisputeTerms, DisputedMessage};
use partner_sdk::document::{Action, State};
use partner_sdk::{Code, MessageId};
use tests::office::{Office, code_of};
use tests::paying::{default, open, owes, state, suspend, trail};
use tests::{Backend, World, amount, earn, execute, id, on_both};

use super::filing::{concedes, decide, file, file_as, says, seen_by, terms};
use crate::defaults::{POOL, trade};

on_both!(
    only_what_one_owes_is_disputed,
    one_message_is_disputed_up_to_what_it_says,
    deadlines_run,
    a_default_goes_with_disputes,
    what_was_not_signed_is_found,
);

fn only_what_one_owes_is_disputed(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let good = terms(&world, date, "5.5");
    let refused = |terms: DisputeTerms| file(&world, &terms).err();
    let with = |change: &dyn Fn(&mut DisputeTerms)| {
        let mut terms = DisputeTerms {
            salt: new_salt(),
            ..good.clone()
        };
        change(&mut terms);
        refused(terms)
    };
    assert_eq!(
        with(&|terms| terms.amount = amount("22.01")),
        Some(Code::BadAmount),
        "more than the line"
    );
    assert_eq!(
        with(&|terms| terms.amount = amount("1.005")),
        Some(Code::BadAmount),
        "a part of a cent"
    );
    assert_eq!(with(&|terms| terms.amount = amount("0")), Some(Code::BadAmount), "nothing");
    assert_eq!(with(&|terms| terms.line.kind = "burn".into()), Some(Code::BadTerms), "another kind");
    assert_eq!(
        with(&|terms| terms.line.price = "0.0055".into()),
        Some(Code::BadTerms),
        "not to the letter"
    );
    assert_eq!(
        with(&|terms| terms.counterparty = "ikea".parse().expect("an id")),
        Some(Code::BadTerms)
    );
    assert_eq!(
        with(&|terms| terms.currency = "USD".parse().expect("a currency")),
        Some(Code::BadTerms)
    );
    assert_eq!(with(&|terms| terms.evidence_sha256 = Some("no hash".into())), Some(Code::BadTerms));
    assert_eq!(
        with(&|terms| terms.business_date = date.tomorrow().expect("a day")),
        Some(Code::BadTerms),
        "open"
    );
    assert_eq!(
        with(&|terms| terms.partner = "wellcome".parse().expect("an id")),
        Some(Code::NotParty)
    );
    // Nobody disputes what it is owed: the pool's line with Hang Seng is one by which Hang Seng owes.
    let owed = DisputeTerms {
        partner: "pool".parse().expect("an id"),
        counterparty: "hangseng".parse().expect("an id"),
        salt: new_salt(),
        ..good.clone()
    };
    assert_eq!(file_as(&world, "pool", &owed), Err(Code::BadTerms));
    assert_eq!(file_as(&world, "wellcome", &good), Err(Code::NotParty));
    let filed = file(&world, &good).expect("filed");
    assert_eq!(file(&world, &good), Err(Code::DocumentKnown));
    assert_eq!(
        with(&|terms| terms.amount = amount("16.51")),
        Some(Code::BadAmount),
        "with the first more than the line"
    );
    assert_eq!(with(&|terms| terms.amount = amount("16.5")), None);
    let too_much = office.propose(&world.sandbox, &office.first, decide(&filed, "5.51"));
    assert_eq!(code_of(too_much).err(), Some(Code::DocumentState), "it waits for the answer");
    says(&world, "pool", Action::Decline, &filed.filed.hash).expect("contested");
    assert_eq!(says(&world, "pool", Action::Decline, &filed.filed.hash), Err(Code::DocumentState));
    for (upheld, code) in [("5.51", Code::BadAmount), ("0.001", Code::BadAmount)] {
        assert_eq!(
            code_of(office.propose(&world.sandbox, &office.first, decide(&filed, upheld))).err(),
            Some(code),
            "{upheld}"
        );
    }
    let none = Change::Decide {
        dispute: "cd".repeat(32),
        upheld: amount("1"),
    };
    assert_eq!(
        code_of(office.propose(&world.sandbox, &office.first, none)).err(),
        Some(Code::BadTerms)
    );
    suspend(&world, &office, "hangseng");
    assert_eq!(with(&|terms| terms.amount = amount("1")), Some(Code::PartnerSuspended));
}

fn one_message_is_disputed_up_to_what_it_says(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let _office = Office::found(&world.sandbox);
    let small = id(world.post("hangseng", earn("YUU", "m1", "101")));
    world.post("hangseng", earn("YUU", "m1", "1000")).expect("accepted");
    let date = world.close().business_date;
    let named = |of: &str, id: &MessageId| DisputeTerms {
        message: Some(DisputedMessage {
            sender: "hangseng".parse().expect("an id"),
            id: id.clone(),
        }),
        ..terms(&world, date, of)
    };
    // 101 points at 0.0055 are 0.5555: a part of a cent can only be disputed as one.
    assert_eq!(file(&world, &named("0.57", &small)), Err(Code::BadAmount));
    assert_eq!(
        file(&world, &named("0.56", &"nothing".parse().expect("an id"))),
        Err(Code::BadTerms)
    );
    file(&world, &named("0.5", &small)).expect("filed");
    assert_eq!(
        file(&world, &named("0.07", &small)),
        Err(Code::BadAmount),
        "with the first more than the message"
    );
    file(&world, &named("0.06", &small)).expect("filed");
    // 6.0555 in all, of which 6.06 is paid, and 0.56 taken out.
    assert_eq!(open(&world, date), ["hangseng -5.50", "pool 5.50"]);
    assert_eq!(
        file(&world, &terms(&world, date, "5.51")),
        Err(Code::BadAmount),
        "with these more than the line"
    );
    file(&world, &terms(&world, date, "5.5")).expect("filed");
    assert_eq!((open(&world, date), state(&world, date)), (vec![], settlement::State::Settled));
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["6.060000", "0.000000"]);
    // By the last of them nothing was left to be paid, so it has settled the window.
    assert_eq!(trail(&world), [""; 0]);
}

fn deadlines_run(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let dispute = file(&world, &terms(&world, date, "5.5")).expect("filed");
    let contested = file(&world, &terms(&world, date, "1")).expect("filed");
    says(&world, "pool", Action::Decline, &contested.filed.hash).expect("contested");
    let pass = |days: i64| {
        for _ in 0..days {
            world.close();
        }
    };
    pass(10);
    world.wait(Span::new().minutes(1));
    assert_eq!(
        says(&world, "pool", Action::Decline, &dispute.filed.hash),
        Err(Code::DeadlinePassed)
    );
    assert_eq!(
        seen_by(&world, "pool", &dispute.filed.hash).map(|one| one.filed.state),
        Ok(State::Proposed)
    );
    // Unanswered, it is decided without an answer.
    office.change(&world.sandbox, decide(&dispute, "5.5")).expect("decided");
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["16.500000", "-7.300000"]);
    pass(20);
    file(&world, &terms(&world, date, "2")).expect("at the last instant of the thirtieth day");
    world.wait(Span::new().seconds(1));
    assert_eq!(file(&world, &terms(&world, date, "2")), Err(Code::DeadlinePassed));
}

fn a_default_goes_with_disputes(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let dispute = file(&world, &terms(&world, date, "5.5")).expect("filed");
    suspend(&world, &office, "hangseng");
    office.change(&world.sandbox, default("hangseng", date)).expect("taken out");
    // The rest of the 22.00 is taken out, and stays between the two; what is disputed is still to be decided.
    assert_eq!(open(&world, date), ["ikea 19.20", "pool -8.20", "wellcome -11.00"]);
    assert_eq!(owes(&world, "hangseng"), "5.500000");
    assert_eq!(concedes(&world, "pool", &dispute).map(|one| one.upheld), Ok(Some("5.50".into())));
    assert_eq!(owes(&world, "hangseng"), "0.000000");
    let active = Change::Status {
        partner: "hangseng".parse().expect("an id"),
        status: Status::Active,
    };
    office.change(&world.sandbox, active).expect("active");
    assert_eq!(
        file(&world, &terms(&world, date, "1")),
        Err(Code::BadTerms),
        "what is between the two isn't here any more"
    );
}

fn what_was_not_signed_is_found(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let _office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let dispute = file(&world, &terms(&world, date, "5.5")).expect("filed");
    let mut conn = world.sandbox.database().expect("a connection");
    let trail = || {
        world
            .check_trail()
            .into_iter()
            .filter(|one| one.contains("dispute"))
            .collect::<Vec<_>>()
    };
    assert_eq!(trail(), [""; 0]);
    let hash = &dispute.filed.hash;
    for (change, back, found) in [
        ("micros = micros + 10000", "micros = micros - 10000", "no document says just that"),
        ("creditor = 'ikea'", "creditor = 'pool'", "no document says just that"),
        (
            "upheld = 0, ended_by = hash",
            "upheld = NULL, ended_by = NULL",
            "otherwise than was signed",
        ),
    ] {
        execute(&mut conn, &format!("UPDATE dispute SET {change}"));
        let findings = trail();
        assert!(
            findings.iter().any(|one| one.contains(found) && one.contains(&**hash)),
            "{change}: {findings:?}"
        );
        assert!(world.findings().iter().any(|one| one.contains("dispute: ")), "{change}");
        execute(&mut conn, &format!("UPDATE dispute SET {back}"));
    }
    execute(&mut conn, "UPDATE taken_out SET micros = micros + 10000");
    let findings = world.findings();
    let rule = "what a dispute takes out of a window is what is disputed";
    assert!(findings.iter().any(|one| one.starts_with(rule)), "{findings:?}");
    execute(&mut conn, "UPDATE taken_out SET micros = micros - 10000");
}
