//! Agreements that partners propose, sign and end, with the operator only approving; and who may do what.

use clearing::documents::rights::{Role, decide};
use jiff::{Timestamp, ToSpan};
use partner_sdk::Code;
use partner_sdk::agreement::Terms;
use partner_sdk::document::{self, Action, Filed, Kind, State};
use partner_sdk::jws::TYP_AGREEMENT;
use partner_sdk::jws::general::{General, Signature};
use tests::market::{Market, later, signatures, successor, terms};
use tests::office::act;
use tests::{Backend, amount, earn, on_both};

on_both!(
    every_state_and_right,
    an_issuer_agrees_with_itself,
    what_was_tampered_with_is_refused_named_and_recorded,
    versions_follow_each_other,
    terms_have_to_be_possible,
    only_what_is_in_the_books_counts,
    an_end_is_set_sooner_so_often_and_no_more,
);

/// The table of docs/PROTOCOL.md: kind, state, role, action -> what it says.
fn documented() -> Vec<(String, State, String, Action, String)> {
    let docs = include_str!("../../docs/PROTOCOL.md");
    let (_, table) = docs.split_once("<!-- rights:begin -->").expect("the table begins");
    let (table, _) = table.split_once("<!-- rights:end -->").expect("the table ends");
    let mut rows = table.lines().filter(|line| line.starts_with('|')).map(|line| {
        let cells = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned());
        cells.collect::<Vec<_>>()
    });
    let heads = rows.next().expect("a head");
    let actions: Vec<Action> = heads[3..].iter().map(|name| name.parse().expect("an action")).collect();
    let mut all = vec![];
    for row in rows.skip(1) {
        for (action, cell) in actions.iter().zip(&row[3..]) {
            all.push((
                row[0].clone(),
                row[1].parse().expect("a state"),
                row[2].clone(),
                *action,
                cell.clone(),
            ));
        }
    }
    all
}

#[test]
fn the_table_of_rights_is_whole_and_holds() {
    let table = documented();
    // 7 states, 7 actions; 4 roles of an agreement, 3 of a change. Who agrees with itself has never only proposed. A dispute has 4 states.
    assert_eq!(table.len(), 7 * 7 * (4 + 3) + 6 * 7 + 4 * 7 * 4);
    let distinct: std::collections::BTreeSet<_> = table.iter().map(|row| (&row.0, row.1, &row.2, row.3)).collect();
    assert_eq!(distinct.len(), table.len());
    for (kind, state, who, action, says) in table {
        let role = match who.as_str() {
            "proposer" | "itself" => Role::Proposer,
            "counterparty" => Role::Counterparty,
            "person" => Role::Person,
            "stranger" => Role::Stranger,
            other => panic!("{other}"),
        };
        let does = match decide(kind.parse::<Kind>().expect("a kind"), state, role, action) {
            Ok(next) if next == state => "yes".to_owned(),
            Ok(next) => format!("-> {next}"),
            Err(code) => code.to_string(),
        };
        assert_eq!(does, says, "{kind} {state} {who} {action:?}");
    }
}

fn every_state_and_right(backend: Backend) {
    let table: Vec<_> = documented()
        .into_iter()
        .filter(|row| row.0 == "agreement" && row.2 != "itself")
        .collect();
    let market = Market::new(backend, u32::try_from(table.len()).expect("few"));
    let mut tried = 0;
    for (_, state, who, action, says) in table {
        let (filed, terms) = market.agreement_in(state);
        let done = match (who.as_str(), action) {
            // The operator's people have no way to try these.
            ("person", Action::Sign | Action::Withdraw | Action::Terminate | Action::Supersede) => continue,
            ("person", Action::Fetch) => Ok(state),
            ("person", Action::Approve) => market.approve(&filed.hash),
            ("person", _) => market.office.decline(&market.world.sandbox, &filed.hash).map(|d| d.state),
            (_, Action::Approve) => {
                // A partner's signature where a person's has to be.
                let partner = partner(&who);
                let signature = Signature::new(market.key(partner), TYP_AGREEMENT, document::write(&terms).as_bytes());
                let done = market.office.approve_with(&market.world.sandbox, &filed.hash, &signature);
                assert_eq!(done.map(|d| d.state), Err(Code::UnknownKey));
                continue;
            }
            (_, Action::Fetch) => market.fetch(partner(&who), &filed.hash).map(|f| f.state),
            (_, Action::Sign) => market.sign(partner(&who), &filed).map(|f| f.state).map_err(|e| e.0),
            (_, Action::Supersede) => {
                let next = successor(&filed, &terms, later(market.world.now(), 2.hours()));
                match (market.propose(partner(&who), &next), who.as_str()) {
                    // Whoever isn't named in the terms can't propose them, whatever they supersede.
                    (Err((Code::NotParty, _)), "stranger") => Err(Code::NotFound),
                    (done, _) => done.map(|_| state).map_err(|e| e.0),
                }
            }
            (_, action) => market.act(partner(&who), action, &filed.hash).map(|f| f.state).map_err(|e| e.0),
        };
        tried += 1;
        let does = match done {
            Ok(next) if next == state => "yes".to_owned(),
            Ok(next) => format!("-> {next}"),
            Err(code) => code.to_string(),
        };
        assert_eq!(does, says, "{state} {who} {action:?}");
        // A refused step changes nothing.
        if says.starts_with('`') || !says.starts_with("->") {
            assert_eq!(
                market.fetch("pool", &filed.hash).map(|f| f.state),
                Ok(state),
                "{state} {who} {action:?}"
            );
        }
    }
    assert_eq!(tried, 7 * (3 * 6 + 3));
}

/// One signature is for both parties: what is proposed is signed, and then each step is as the table says.
fn an_issuer_agrees_with_itself(backend: Backend) {
    let market = Market::new(backend, 20);
    let rows: Vec<_> = documented().into_iter().filter(|row| row.2 == "itself").collect();
    for state in [State::Signed, State::InForce, State::Terminated, State::Withdrawn, State::Declined] {
        for (_, _, _, action, says) in rows.iter().filter(|row| row.1 == state) {
            if matches!(action, Action::Fetch | Action::Approve | Action::Supersede) {
                continue;
            }
            let mut terms = market.terms();
            terms.partner = "pool".parse().expect("an id");
            let filed = market.propose("pool", &terms).expect("proposed");
            assert_eq!(filed.state, State::Signed);
            let hash = &filed.hash;
            match state {
                State::InForce => drop(market.approve(hash).expect("approved")),
                State::Terminated => {
                    market.approve(hash).expect("approved");
                    market.act("pool", Action::Terminate, hash).expect("terminated");
                    market.world.wait(1.hour());
                }
                State::Withdrawn => drop(market.act("pool", Action::Withdraw, hash).expect("withdrawn")),
                State::Declined => drop(market.office.decline(&market.world.sandbox, hash).expect("declined")),
                _ => {}
            }
            let done = match action {
                Action::Sign => market.sign("pool", &filed),
                Action::Terminate if state == State::Terminated => market.end("pool", hash, (31 * 24).hours()),
                action => market.act("pool", *action, hash),
            };
            let does = match done.map(|f| f.state) {
                Ok(next) if next == state => "yes".to_owned(),
                Ok(next) => format!("-> {next}"),
                Err((code, _)) => format!("{code}"),
            };
            assert_eq!(does, *says, "{state} {action:?}");
        }
    }
}

fn partner(who: &str) -> &'static str {
    match who {
        "proposer" => "grocer",
        "counterparty" => "pool",
        _ => "cafe",
    }
}

fn what_was_tampered_with_is_refused_named_and_recorded(backend: Backend) {
    let market = Market::new(backend, 10);
    let refused = |done: Result<Filed, (Code, Option<String>)>| done.expect_err("refused").0;
    // Any byte of what was signed, changed, is another document that nobody signed.
    let terms = market.terms();
    let payload = document::write(&terms);
    let signed = General::sign(market.key("grocer"), TYP_AGREEMENT, payload.as_bytes());
    for (what, with) in [
        ("0.0055", "0.0056"),
        ("\"reversal_days\":90", "\"reversal_days\":91"),
        ("grocer", "grocex"),
        ("P0", "P1"),
    ] {
        let changed = General {
            payload: payload.replace(what, with).into_bytes(),
            ..signed.clone()
        };
        assert_eq!(
            refused(market.post("grocer", "/v1/agreements", changed.to_json())),
            Code::BadSignature,
            "{what}"
        );
    }
    let header = signed
        .to_json()
        .replace("\"protected\"", "\"header\":{\"kid\":\"grocer-1\"},\"protected\"");
    assert_eq!(refused(market.post("grocer", "/v1/agreements", header)), Code::UnprotectedHeader);
    let others = General::sign(market.key("pool"), TYP_AGREEMENT, payload.as_bytes());
    assert_eq!(refused(market.post("grocer", "/v1/agreements", others.to_json())), Code::UnknownKey);
    let loose = General::sign(market.key("grocer"), TYP_AGREEMENT, format!("{payload} ").as_bytes());
    assert_eq!(
        refused(market.post("grocer", "/v1/agreements", loose.to_json())),
        Code::MalformedDocument
    );
    let proposed = market.post("grocer", "/v1/agreements", signed.to_json()).expect("proposed");
    assert_eq!(
        refused(market.post("grocer", "/v1/agreements", signed.to_json())),
        Code::DocumentKnown
    );

    // The other party signs exactly what is there.
    let mut both = proposed.open().expect("whole");
    both.signatures
        .push(Signature::new(market.key("pool"), TYP_AGREEMENT, &both.payload));
    let changed = General {
        payload: payload.replace("0.0055", "0.0054").into_bytes(),
        ..both.clone()
    };
    assert_eq!(
        refused(market.post("pool", &signatures(&proposed.hash), changed.to_json())),
        Code::DocumentChanged
    );
    let mut swapped = both.clone();
    (swapped.signatures[0].signature, swapped.signatures[1].signature) =
        (both.signatures[1].signature.clone(), both.signatures[0].signature.clone());
    assert_eq!(
        refused(market.post("pool", &signatures(&proposed.hash), swapped.to_json())),
        Code::DocumentChanged
    );
    swapped.signatures.remove(0);
    assert_eq!(
        refused(market.post("pool", &signatures(&proposed.hash), swapped.to_json())),
        Code::BadSignature
    );
    let other_typ = General::sign(market.key("pool"), "points-change+jws", payload.as_bytes());
    assert_eq!(
        refused(market.post("pool", &signatures(&proposed.hash), other_typ.to_json())),
        Code::BadHeader
    );
    assert_eq!(market.fetch("pool", &proposed.hash).expect("there").state, State::Proposed);

    // Nothing is countersigned that both haven't signed, nor by a signature over something else.
    assert_eq!(market.approve(&proposed.hash), Err(Code::NotApproved));
    let elsewhere = market.propose("grocer", &market.terms()).expect("proposed");
    let approval = Signature::new(&market.office.second, TYP_AGREEMENT, &elsewhere.open().expect("whole").payload);
    market.post("pool", &signatures(&proposed.hash), both.to_json()).expect("signed");
    let done = market.office.approve_with(&market.world.sandbox, &proposed.hash, &approval);
    assert_eq!(done.map(|d| d.state), Err(Code::BadSignature));
    assert_eq!(market.approve(&proposed.hash), Ok(State::InForce));

    // An old version doesn't come back, neither itself nor under a new one.
    let next = successor(&proposed, &terms, market.world.now());
    let second = market.in_force(&next);
    assert_eq!(refused(market.post("grocer", "/v1/agreements", signed.to_json())), Code::Superseded);
    let replay = Terms {
        valid_from: later(market.world.now(), 2.hours()),
        ..next.clone()
    };
    assert_eq!(refused(market.propose("pool", &replay)), Code::Superseded);
    let act_of_old = act(Action::Terminate, &proposed.hash, market.world.now(), None, market.key("pool"));
    let path = format!("/v1/agreements/{}/acts", second.hash);
    assert_eq!(refused(market.post("pool", &path, act_of_old)), Code::DocumentChanged);

    // All of it stands in the trail.
    let recorded = market.refusals();
    let count = |by: &str, action: &str, code: Code| {
        let same = |one: &&(String, String, String)| (one.0.as_str(), one.1.as_str(), one.2.as_str()) == (by, action, code.as_str());
        recorded.iter().filter(same).count()
    };
    assert_eq!(count("grocer", "propose", Code::BadSignature), 4);
    assert_eq!(count("grocer", "propose", Code::UnprotectedHeader), 1);
    assert_eq!(count("grocer", "propose", Code::DocumentKnown), 1);
    assert_eq!(count("pool", "sign", Code::DocumentChanged), 2);
    assert_eq!(count("pool", "sign", Code::BadSignature), 1);
    assert_eq!(count("second", "approve", Code::NotApproved), 1);
    // Who only names the key of a person isn't called by that person's name.
    assert_eq!(count("second-1", "approve", Code::BadSignature), 1);
    assert_eq!(count("grocer", "propose", Code::Superseded), 1);
    assert_eq!(count("pool", "propose", Code::Superseded), 1);
    assert_eq!(count("pool", "act", Code::DocumentChanged), 1);
}

fn versions_follow_each_other(backend: Backend) {
    let mut market = Market::new(backend, 1);
    let first = market.in_force(&market.terms());
    let mut next = successor(&first, &terms("P0", market.world.now()), market.world.now());
    next.price = amount("0.006");
    let second = market.in_force(&next);
    let as_of = |market: &Market, at: Timestamp| -> Vec<String> {
        let all = market
            .world
            .runtime
            .block_on(market.world.client("grocer").agreements(Some(at)))
            .expect("a list");
        all.into_iter().map(|filed| filed.hash).collect()
    };
    let begin = market.world.now();
    assert_eq!(as_of(&market, later(begin, (-1).seconds())), [""; 0]);
    assert_eq!(as_of(&market, begin), [first.hash.as_str()]);
    assert_eq!(as_of(&market, later(begin, 1.hour())), [second.hash.as_str()]);
    // Each earn is priced by the version in force when it happened.
    market.world.post("grocer", earn("P0", "m1", "1000")).expect("accepted");
    market.world.wait(1.hour());
    market.world.post("grocer", earn("P0", "m1", "1000")).expect("accepted");
    // A termination keeps the notice that was agreed on: 30 days.
    let short = act(
        Action::Terminate,
        &second.hash,
        market.world.now(),
        Some(later(market.world.now(), 29.days())),
        market.key("pool"),
    );
    let path = format!("/v1/agreements/{}/acts", second.hash);
    assert_eq!(market.post("pool", &path, short).expect_err("too short").0, Code::NoticeTooShort);
    let terminated = market.act("pool", Action::Terminate, &second.hash).expect("terminated");
    assert_eq!(terminated.in_force_until, Some(later(market.world.now(), 40.days())));
    market.world.wait(39.days());
    market.world.post("grocer", earn("P0", "m1", "1000")).expect("still in force");
    market.world.wait(1.day());
    assert_eq!(market.world.post("grocer", earn("P0", "m1", "1000")).err(), Some(Code::NoAgreement));
    // Each step was an event for both, in order.
    let kinds = |partner: &str| -> Vec<String> {
        let client = market.world.client(partner);
        let events = market
            .world
            .runtime
            .block_on(client.events(0, std::time::Duration::ZERO))
            .expect("events");
        // Each has heard of its own keys, too.
        let kinds = events.into_iter().map(|event| event.kind);
        kinds.filter(|kind| !kind.starts_with("key.")).collect()
    };
    let expected = [
        "agreement.proposed",
        "agreement.signed",
        "agreement.in_force",
        "agreement.proposed",
        "agreement.signed",
        "agreement.superseded",
        "agreement.in_force",
        "agreement.terminated",
    ];
    assert_eq!(kinds("grocer"), expected);
    assert_eq!(kinds("pool"), expected);
    assert_eq!(kinds("cafe"), [""; 0]);
}

fn terms_have_to_be_possible(backend: Backend) {
    let market = Market::new(backend, 1);
    let good = market.terms();
    let at = |terms: Terms| market.propose("grocer", &terms).expect_err("refused");
    let bad = |field: &str| (Code::BadTerms, Some(field.to_owned()));
    assert_eq!(
        at(Terms {
            hold_minutes: 0,
            ..good.clone()
        }),
        bad("hold_minutes")
    );
    assert_eq!(
        at(Terms {
            step: Some(amount("0")),
            ..good.clone()
        }),
        bad("step")
    );
    assert_eq!(
        at(Terms {
            notice_days: Some(9999),
            ..good.clone()
        }),
        bad("notice_days")
    );
    assert_eq!(
        at(Terms {
            contract_sha256: Some("ab".into()),
            ..good.clone()
        }),
        bad("contract_sha256")
    );
    assert_eq!(
        at(Terms {
            programme: "NONE".parse().expect("a code"),
            ..good.clone()
        }),
        bad("programme")
    );
    assert_eq!(
        at(Terms {
            quote_seconds: Some(60),
            ..good.clone()
        }),
        bad("quote_seconds")
    );
    assert_eq!(
        at(Terms {
            supersedes: Some("a".repeat(64)),
            ..good.clone()
        }),
        bad("supersedes")
    );
    assert_eq!(
        at(Terms {
            partner: "cafe".parse().expect("a partner"),
            ..good.clone()
        })
        .0,
        Code::NotParty
    );
    // A term left out is named, not filled in.
    let payload = document::write(&good).replace("\"settle\":\"issue\",", "");
    let general = General::sign(market.key("grocer"), TYP_AGREEMENT, payload.as_bytes());
    let missing = market.post("grocer", "/v1/agreements", general.to_json()).expect_err("refused");
    assert_eq!(missing, (Code::MalformedDocument, Some("settle".to_owned())));
    let huge = format!("{{\"payload\":\"{}\",\"signatures\":[]}}", "A".repeat(20_000));
    assert_eq!(
        market.post("grocer", "/v1/agreements", huge).expect_err("too large").0,
        Code::TooLarge
    );
    market.propose("grocer", &good).expect("proposed");
}

fn only_what_is_in_the_books_counts(backend: Backend) {
    use migrations::each_backend;
    use migrations::schema::{agreement, document};
    let market = Market::new(backend, 2);
    let before = market.terms();
    let proposed = market.propose("grocer", &before).expect("proposed");
    market.sign("pool", &proposed).expect("signed");
    // Somebody with the database's password writes another price over what was signed.
    let mut conn = market.world.sandbox.database().expect("a connection");
    let written = partner_sdk::document::write(&Terms {
        price: amount("0.0001"),
        ..terms("P0", market.world.now())
    });
    use diesel::prelude::*;
    each_backend!(&mut conn, |c| diesel::update(document::table.find(&proposed.hash))
        .set(document::payload.eq(&written))
        .execute(c))
    .expect("written");
    assert_eq!(market.approve(&proposed.hash), Err(Code::DocumentChanged));
    // An auditor sees it too; and one who slips an agreement in beside the documents.
    assert_eq!(market.world.check_trail().len(), 1);
    each_backend!(&mut conn, |c| diesel::update(document::table.find(&proposed.hash))
        .set(document::payload.eq(partner_sdk::document::write(&before)))
        .execute(c))
    .expect("written");
    assert_eq!(market.world.check_trail(), Vec::<String>::new());
    assert_eq!(market.approve(&proposed.hash), Ok(State::InForce));
    let set = |conn: &mut migrations::Conn, hash: &str, price: &str| {
        let dear = partner_sdk::document::write(&before).replace("0.0055", price);
        let rows = each_backend!(conn, |c| diesel::update(agreement::table.filter(agreement::hash.eq(hash)))
            .set(agreement::terms.eq(dear))
            .execute(c));
        assert_eq!(rows, Ok(1));
    };
    set(&mut conn, &proposed.hash, "0.0001");
    assert_eq!(
        market.world.check_trail(),
        [format!("agreement {} is in force, and no signed document says so", proposed.hash)]
    );
    set(&mut conn, &proposed.hash, "0.0055");
}

/// Each act is kept for good, so there is an end to them.
fn an_end_is_set_sooner_so_often_and_no_more(backend: Backend) {
    let market = Market::new(backend, 1);
    let filed = market.in_force(&market.terms());
    let sooner = |who: &str, hours: i64| market.end(who, &filed.hash, (31 * 24 + 21 - hours).hours());
    for hours in 0..20 {
        sooner("pool", hours).expect("an hour sooner");
    }
    assert_eq!(sooner("pool", 20).err(), Some((Code::DocumentState, Some("action".into()))));
    // Nobody uses up what is the other's.
    sooner("grocer", 20).expect("an hour sooner");
}
