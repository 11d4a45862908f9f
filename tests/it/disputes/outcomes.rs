//! What is conceded, withdrawn or decided, and what of it is posted.

use jiff::SignedDuration;
use partner_sdk::Code;
use partner_sdk::change::Change;
use partner_sdk::document::{Action, State};
use partner_sdk::wire::{LineQuery, PostedQuery};
use tests::office::{Office, code_of};
use tests::paying::{dues, open, owes, pays, revisions, state, trail};
use tests::{Backend, World, earn, id, on_both, reverse};

use super::filing::{adjustments, concedes, decide, events, file, file_as, says, seen_by, terms, terms_of};
use crate::defaults::{POOL, trade};
use crate::fx;

on_both!(
    a_disputed_amount_is_carved_out_and_the_rest_settles,
    what_the_other_concedes_is_not_owed,
    what_was_paid_comes_back_as_far_as_it_was_not_owed,
    who_withdraws_owes_it_after_all,
    a_fee_is_disputed_with_the_clearinghouse,
    what_is_converted_is_paid_first,
    what_is_not_owed_net_is_not_taken_out,
    a_window_that_is_paid_with_another_has_disputes_too,
);

fn a_disputed_amount_is_carved_out_and_the_rest_settles(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let first = world.statement(&date.to_string(), "hangseng");
    assert_eq!(
        open(&world, date),
        ["hangseng -22.00", "ikea 19.20", "pool 13.80", "wellcome -11.00"]
    );
    let dispute = file(&world, &terms(&world, date, "5.5")).expect("filed");
    assert_eq!(
        (dispute.filed.state, dispute.carved_out, &dispute.upheld),
        (State::Proposed, true, &None)
    );
    assert_eq!(dispute.answer_by, world.now() + SignedDuration::from_hours(240));
    // 22.00 - 5.50, and the pool receives that much less; nobody else is touched, nor any statement.
    assert_eq!(
        open(&world, date),
        ["hangseng -16.50", "ikea 19.20", "pool 8.30", "wellcome -11.00"]
    );
    assert_eq!(world.statement(&date.to_string(), "hangseng"), first);
    let revision = &revisions(&world, "pool", date)[0];
    assert_eq!(
        (&revision["cause"], &revision["document"]),
        (&"dispute".into(), &(*dispute.filed.hash).into())
    );
    assert_eq!(revision["defaulted"], serde_json::Value::Null);
    assert_eq!(
        revision["taken_out"],
        serde_json::json!([{"counterparty": "hangseng", "currency": "HKD", "amount": "5.50"}])
    );
    // Whoever disputes gets no room under its cap by that, and the other side doesn't count on the money.
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["22.000000", "-8.300000"]);
    assert_eq!(seen_by(&world, "pool", &dispute.filed.hash), Ok(dispute.clone()));
    assert_eq!(seen_by(&world, "ikea", &dispute.filed.hash), Err(Code::NotFound));
    for partner in ["hangseng", "pool", "ikea", "wellcome"] {
        pays(&world, &office, date, partner);
    }
    assert_eq!(state(&world, date), settlement::State::Settled);
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["5.500000", "0.000000"]);
    world.check_books();
    // The pool contests, and two people decide that 2.00 weren't owed: 3.50 are, in the window that is open now.
    let contested = says(&world, "pool", Action::Decline, &dispute.filed.hash).expect("contested");
    assert_eq!(contested.filed.state, State::Declined);
    office.change(&world.sandbox, decide(&dispute, "2")).expect("decided");
    let decided = seen_by(&world, "hangseng", &dispute.filed.hash).expect("decided");
    assert_eq!((decided.filed.state, decided.upheld.as_deref()), (State::InForce, Some("2.00")));
    let adjustment = decided.adjustment.expect("one");
    assert_eq!((adjustment.debtor.as_str(), &*adjustment.amount), ("hangseng", "3.50"));
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["3.500000", "-3.500000"]);
    let next = world.close().business_date;
    assert_eq!(adjustment.window, next);
    assert_eq!(adjustments(&world, next, "hangseng"), ["< pool 3.500000 0 0.000000 1"]);
    assert_eq!(adjustments(&world, next, "pool"), ["> hangseng 3.500000 0 0.000000 1"]);
    assert_eq!(open(&world, next), ["hangseng -3.50", "pool 3.50"]);
    // From the line to its message, whose id is the dispute's hash.
    let query = PostedQuery {
        line: LineQuery {
            kind: Some("adjustment".into()),
            ..LineQuery::default()
        },
        ..PostedQuery::default()
    };
    for partner in ["hangseng", "pool"] {
        let found = world
            .runtime
            .block_on(world.client(partner).all_messages(&query))
            .expect("messages");
        assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [&*dispute.filed.hash]);
        let told = events(&world, partner);
        for kind in [
            "dispute.filed",
            "statement.revised",
            "payment.replaced",
            "dispute.contested",
            "dispute.decided",
        ] {
            assert!(told.iter().any(|one| one == kind), "{partner} wasn't told {kind}: {told:?}");
        }
    }
    // Its position shows that what was taken out of the first window never was to be paid.
    let position = &world.statement(&next.to_string(), "hangseng").running_position.expect("one")[0];
    let shown = [&position.opening, &position.confirmed, &position.net, &position.closing].map(String::as_str);
    assert_eq!(
        (shown, position.revised.as_deref()),
        (["-22.00", "16.50", "-3.50", "-3.50"], Some("5.50"))
    );
    assert_eq!(trail(&world), [""; 0]);
    assert_eq!(world.runtime.block_on(world.client("pool").disputes()).expect("a list").len(), 1);
    assert!(world.lines_add_up() > 0);
}

fn what_the_other_concedes_is_not_owed(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let dispute = file(&world, &terms(&world, date, "22")).expect("filed");
    assert_eq!(open(&world, date), ["ikea 19.20", "pool -8.20", "wellcome -11.00"]);
    assert_eq!(concedes(&world, "hangseng", &dispute), Err(Code::NotParty));
    says(&world, "pool", Action::Decline, &dispute.filed.hash).expect("contested at first");
    let conceded = concedes(&world, "pool", &dispute).expect("conceded after all");
    assert_eq!(
        (conceded.filed.state, conceded.upheld.as_deref(), conceded.adjustment),
        (State::InForce, Some("22.00"), None)
    );
    assert_eq!(conceded.filed.signatures.len(), 2);
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["0.000000", "8.200000"]);
    let code = code_of(office.propose(&world.sandbox, &office.first, decide(&dispute, "0"))).err();
    assert_eq!(code, Some(Code::DocumentState), "it has ended");
    assert_eq!(
        says(&world, "hangseng", Action::Withdraw, &dispute.filed.hash),
        Err(Code::DocumentState)
    );
    let next = world.close().business_date;
    assert_eq!(adjustments(&world, next, "hangseng"), [""; 0]);
}

fn what_was_paid_comes_back_as_far_as_it_was_not_owed(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    // The pool has its money already: nothing is taken out of what the two pay.
    pays(&world, &office, date, "pool");
    let before = open(&world, date);
    let dispute = file(&world, &terms(&world, date, "5.5")).expect("filed");
    assert_eq!((dispute.carved_out, open(&world, date)), (false, before));
    office
        .change(&world.sandbox, Change::Settle { business_date: date })
        .expect("settled");
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["0.000000", "0.000000"]);
    says(&world, "pool", Action::Decline, &dispute.filed.hash).expect("contested");
    let twice = [&office.first, &office.second].map(|key| office.propose(&world.sandbox, key, decide(&dispute, "2")).expect("proposed"));
    let alone = office.approve_change(&world.sandbox, &office.first, &twice[0]);
    assert_eq!(code_of(alone).err(), Some(Code::FourEyes));
    office.approve_change(&world.sandbox, &office.second, &twice[0]).expect("decided");
    let again = office.approve_change(&world.sandbox, &office.first, &twice[1]);
    assert_eq!(code_of(again).err(), Some(Code::DocumentState));
    let next = world.close().business_date;
    assert_eq!(adjustments(&world, next, "pool"), ["< hangseng 2.000000 0 0.000000 1"]);
    assert_eq!(open(&world, next), ["hangseng 2.00", "pool -2.00"]);
    // Of a settled window too, and with nothing upheld nothing moves.
    let other = file(&world, &terms(&world, date, "1")).expect("filed");
    says(&world, "pool", Action::Decline, &other.filed.hash).expect("contested");
    office.change(&world.sandbox, decide(&other, "0")).expect("decided");
    let last = world.close().business_date;
    assert_eq!((adjustments(&world, last, "hangseng"), open(&world, last)), (vec![], vec![]));
}

fn who_withdraws_owes_it_after_all(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let _office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let dispute = file(&world, &terms(&world, date, "5.5")).expect("filed");
    assert_eq!(says(&world, "pool", Action::Withdraw, &dispute.filed.hash), Err(Code::NotParty));
    assert_eq!(says(&world, "ikea", Action::Withdraw, &dispute.filed.hash), Err(Code::NotFound));
    let withdrawn = says(&world, "hangseng", Action::Withdraw, &dispute.filed.hash).expect("withdrawn");
    assert_eq!(
        (withdrawn.filed.state, withdrawn.upheld.as_deref()),
        (State::Withdrawn, Some("0.00"))
    );
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["22.000000", "-13.800000"]);
    // What was taken out stays out of the window, so only the rest may be disputed again.
    assert_eq!(file(&world, &terms(&world, date, "16.51")), Err(Code::BadAmount));
    let again = file(&world, &terms(&world, date, "16.5")).expect("filed");
    assert_eq!(open(&world, date), ["ikea 19.20", "pool -8.20", "wellcome -11.00"]);
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["22.000000", "2.700000"]);
    concedes(&world, "pool", &again).expect("conceded");
    // What was withdrawn is owed in the next window, and stands there for good.
    let next = world.close().business_date;
    assert_eq!(open(&world, next), ["hangseng -5.50", "pool 5.50"]);
    assert_eq!(owes(&world, "hangseng"), "5.500000");
    let adjusted = terms_of(&world, next, "hangseng", "adjustment", "5.5");
    assert_eq!(file(&world, &adjusted), Err(Code::BadTerms));
}

/// Fees are the clearinghouse's own: nobody answers for it but its people, who decide.
fn a_fee_is_disputed_with_the_clearinghouse(backend: Backend) {
    let mut world = World::new(backend, include_str!("../networks/miles.toml"));
    let office = Office::found(&world.sandbox);
    world.post("bank", earn("BANK", "m1", "700")).expect("the bank's own points");
    world.exchange_at_quote("bank", "BANK", "MILES", "m1", "700").expect("accepted");
    let date = world.close().business_date;
    assert_eq!(open(&world, date), ["airline 560.00", "bank -565.60"]);
    let dispute = file_as(&world, "bank", &terms_of(&world, date, "bank", "fee", "1.6")).expect("filed");
    assert_eq!(open(&world, date), ["airline 560.00", "bank -564.00"]);
    office.change(&world.sandbox, decide(&dispute, "0.6")).expect("decided");
    let next = world.close().business_date;
    assert_eq!(
        (adjustments(&world, next, "bank"), open(&world, next)),
        (vec!["< clearing 1.000000 0 0.000000 1".into()], vec!["bank -1.00".into()])
    );
    assert_eq!(owes(&world, "bank"), "565.000000");
}

/// What a window converts is paid as it was advised, and what wasn't owed of it comes back in its own currency.
fn what_is_converted_is_paid_first(backend: Backend) {
    let mut world = World::new(backend, fx::CURRENCIES);
    let office = Office::found(&world.sandbox);
    office.change(&world.sandbox, fx::in_hkd(&world, "7.8123")).expect("in force");
    let date = fx::trade(&mut world);
    let before = fx::open(&world, date);
    let dispute = file_as(&world, "travel", &terms_of(&world, date, "travel", "earn", "2")).expect("filed");
    assert_eq!((dispute.carved_out, fx::open(&world, date)), (false, before));
    // Nobody's cap is touched by it, in either currency.
    assert_eq!(fx::owes(&world, "travel"), ["HKD -4.800000", "USD 10.010000"]);
    says(&world, "pool", Action::Decline, &dispute.filed.hash).expect("contested");
    office.change(&world.sandbox, decide(&dispute, "0.5")).expect("decided");
    assert_eq!(fx::owes(&world, "travel"), ["HKD -4.800000", "USD 9.510000"]);
    let next = world.close().business_date;
    assert_eq!(adjustments(&world, next, "travel"), ["> pool 0.500000 0 0.000000 1"]);
    assert_eq!(fx::open(&world, next), ["USD pool -0.50", "USD travel 0.50"]);
}

/// A line that was reversed stands beside its reversal: nothing of it is owed, so nothing is taken out, and no payment is put off.
fn what_is_not_owed_net_is_not_taken_out(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let _office = Office::found(&world.sandbox);
    let earned = id(world.post("hangseng", earn("YUU", "m2", "2000")));
    world.post("hangseng", reverse(&earned, "2000")).expect("taken back");
    let date = trade(&mut world);
    let before = open(&world, date);
    assert_eq!(before[0], "hangseng -22.00");
    // The line says 33.00, of which 11.00 were taken back.
    let more = file(&world, &terms(&world, date, "22.01")).expect("filed");
    assert_eq!((more.carved_out, open(&world, date)), (false, before));
    let dispute = file(&world, &terms(&world, date, "10.99")).expect("filed");
    assert!(dispute.carved_out);
    let due = |partner: &str| {
        dues(&world, date)
            .into_iter()
            .filter(|due| due.partner.as_str() == partner)
            .map(|due| due.value_date)
            .collect::<Vec<_>>()
    };
    for partner in ["hangseng", "pool"] {
        let dates = due(partner);
        assert!(dates.len() == 2 && dates[0] == dates[1], "{partner}: {dates:?}");
    }
    // Once the value date is over, all is paid as it was advised.
    world.close();
    let late = file(&world, &terms_of(&world, date, "wellcome", "earn", "1")).map(|one| one.carved_out);
    assert_eq!(late, Err(Code::NotParty));
    let late = file_as(&world, "wellcome", &terms_of(&world, date, "wellcome", "earn", "1")).map(|one| one.carved_out);
    assert_eq!(late, Ok(false));
}

fn a_window_that_is_paid_with_another_has_disputes_too(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let (first, second) = (trade(&mut world), trade(&mut world));
    let join = Change::Join {
        business_dates: vec![first, second],
    };
    office.change(&world.sandbox, join).expect("joined");
    let dispute = file(&world, &terms(&world, first, "5.5")).expect("filed");
    assert!(dispute.carved_out);
    assert_eq!(open(&world, first), [""; 0]);
    assert_eq!(
        open(&world, second),
        ["hangseng -38.50", "ikea 38.40", "pool 22.10", "wellcome -22.00"]
    );
    let causes = |date| {
        let all = revisions(&world, "pool", date);
        let all = all.as_array().expect("a list").iter();
        all.map(|one| one["cause"].as_str().expect("a cause").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!([causes(first), causes(second)], [["joined", "dispute"], ["joined", "dispute"]]);
    for partner in ["hangseng", "ikea", "pool", "wellcome"] {
        pays(&world, &office, second, partner);
    }
    assert_eq!([state(&world, first), state(&world, second)], [settlement::State::Settled; 2]);
    assert_eq!([owes(&world, "hangseng"), owes(&world, "pool")], ["5.500000", "0.000000"]);
    concedes(&world, "pool", &dispute).expect("conceded");
    // Both are paid: what is disputed now comes back, if it does.
    let later = file(&world, &terms(&world, first, "1")).expect("filed");
    assert!(!later.carved_out);
    assert_eq!(trail(&world), [""; 0]);
    world.check_books();
}
