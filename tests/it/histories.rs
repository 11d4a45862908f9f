//! Histories in which `clearing check` has to find nothing, however clocks and nights came; and what no history explains.

use std::sync::Arc;

use clearing::clock::Clock;
use clearing::commands::demo::sandbox::Sandbox;
use jiff::Timestamp;
use ledger::network::Network;
use partner_sdk::KeyId;
use partner_sdk::change::Change;
use partner_sdk::client::new_message_id;
use partner_sdk::jws::SigningKey;
use partner_sdk::wire::keys::{Issued, NewKey};
use store::keys::{self, By, NewSigningKey};
use store::{admin, invitations};
use tests::market::Market;
use tests::office::{Office, founding};
use tests::{Backend, World, authorise, earn, execute, on_both};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    a_window_closes_by_a_clock_behind_the_last_entry,
    a_window_is_netted_after_the_next_cut_off,
    a_retry_looks_at_lots_and_the_night_comes_a_day_late,
    a_night_is_killed_before_netting_and_goes_on_a_day_late,
    invitations_end_with_the_founding,
    a_key_needs_a_request_of_its_partner,
    no_file_changes_a_founded_network,
    what_is_stored_in_another_way_is_found,
    who_leaves_by_a_right_clock_has_approved_by_a_fast_one,
);

fn all_well(world: &World) {
    assert_eq!(world.findings(), Vec::<String>::new());
}

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn close_at(world: &World, now: Timestamp) {
    let mut conn = world.sandbox.database().expect("a connection");
    let closed = conn.transaction(|conn| -> Result<_, settlement::SettlementError> {
        store::lock_head(conn)?;
        settlement::close_due(conn, now, Some(7))
    });
    assert_eq!(closed.expect("closed").len(), 1);
}

fn expire_at(world: &World, date: &str, now: Timestamp) {
    let mut conn = world.sandbox.database().expect("a connection");
    let directory = Arc::new(store::load_directory(&mut conn).expect("a directory"));
    let mut pending = settlement::pending(&mut conn).expect("windows").into_iter();
    let window = pending.find(|w| w.business_date.to_string() == date).expect("closed");
    store::expire_lots(&mut conn, &directory, &window, || now.as_microsecond()).expect("expired");
}

fn a_window_closes_by_a_clock_behind_the_last_entry(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    world.post("wellcome", earn("YUU", "m1", "10")).expect("accepted");
    world.close();
    // The machine on which it is settled is days ahead; the night's clock is right.
    world.at("2026-11-24T10:00+08");
    let business_date = "2026-11-20".parse().expect("a date");
    office.change(&world.sandbox, Change::Settle { business_date }).expect("settled");
    all_well(&world);
    world.at("2026-11-22T10:00+08");
    let error = world.sandbox.close_due().expect_err("nothing is posted");
    assert!(
        error
            .to_string()
            .contains("the window of 2026-11-21 can't be netted: the clock stands"),
        "{error:#}"
    );
    let open = settlement::open_window(&mut world.sandbox.database().expect("a connection")).expect("open");
    assert_eq!(
        open.business_date.to_string(),
        "2026-11-22",
        "closed by the night's clock, not by the last entry"
    );
    all_well(&world);
}

fn a_window_is_netted_after_the_next_cut_off(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("wellcome", earn("YUU", "m1", "10")).expect("accepted");
    let night = instant("2026-11-21T23:59:59.9+08");
    close_at(&world, night);
    expire_at(&world, "2026-11-20", night);
    let (date, later) = ("2026-11-20".parse().expect("a date"), instant("2026-11-22T00:00:00+08"));
    settlement::net(
        &mut world.sandbox.database().expect("a connection"),
        date,
        later,
        settlement::Pace::Full,
        settlement::Payments::OneByOne,
    )
    .expect("netted");
    all_well(&world);
}

/// Wellcome's 100 expire with the 21st; a hold keeps them until 06:00 on the 22nd.
fn held_over_a_cut_off(backend: Backend) -> (World, String) {
    let mut world = World::new(
        backend,
        &POOL.replace("price = \"0.0048\"", "price = \"0.0048\"\nhold_minutes = 1200"),
    );
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    world.at("2026-11-21T10:00+08");
    world.night();
    let hold = world.message("ikea", authorise("YUU", "m1", "100"));
    let jws = world.sign(&hold);
    world.send(&hold).expect("held");
    (world, jws)
}

fn a_retry_looks_at_lots_and_the_night_comes_a_day_late(backend: Backend) {
    let (world, jws) = held_over_a_cut_off(backend);
    world.at("2026-11-22T00:00:01+08");
    world.post_jws("ikea", &jws);
    all_well(&world);
    world.at("2026-11-23T01:00+08");
    world.night();
    assert_eq!(world.points("ikea", "YUU", "m1"), "0");
    all_well(&world);
}

fn a_night_is_killed_before_netting_and_goes_on_a_day_late(backend: Backend) {
    let (mut world, _) = held_over_a_cut_off(backend);
    let night = instant("2026-11-22T00:00:01+08");
    close_at(&world, night);
    expire_at(&world, "2026-11-21", night);
    all_well(&world);
    // Which lots it has looked at explains no change of those that weren't due.
    world.at("2026-11-22T00:00:02+08");
    world.post("wellcome", earn("YUU", "m2", "10")).expect("accepted");
    let mut conn = world.sandbox.database().expect("a connection");
    for (table, rows, wrong, right) in [
        (
            "hold",
            "member = 'm1'",
            "is_open = FALSE, lapsed = TRUE",
            "is_open = TRUE, lapsed = FALSE",
        ),
        (
            "lot",
            "member = 'm2'",
            "due_at = due_at + 1000000000",
            "due_at = due_at - 1000000000",
        ),
        // It was due, and more of it was changed.
        ("lot", "member = 'm1'", "price = price + 1", "price = price - 1"),
    ] {
        execute(&mut conn, &format!("UPDATE {table} SET {wrong} WHERE {rows}"));
        let findings = world.findings();
        assert!(
            findings.iter().any(|finding| finding.starts_with(&format!("{table}: "))),
            "{findings:?}"
        );
        execute(&mut conn, &format!("UPDATE {table} SET {right} WHERE {rows}"));
    }
    all_well(&world);
    world.at("2026-11-23T01:00+08");
    world.night();
    all_well(&world);
}

fn invitations_end_with_the_founding(backend: Backend) {
    let world = World::new(backend, POOL);
    let office = Office::nobody(&world.sandbox);
    let mut conn = world.sandbox.database().expect("a connection");
    let mut invite = |id: &str, token: &str| {
        invitations::invite(&mut conn, &id.parse().expect("a partner"), &token.repeat(64), world.now()).expect("invited");
    };
    invite("ikea", "1");
    invite("wellcome", "2");
    invite("ikea", "3");
    if backend == Backend::Postgres {
        // The place of the first is free again.
        execute(&mut world.sandbox.database().expect("a connection"), "VACUUM invitation");
    }
    invite("hangseng", "4");
    let keys = [&office.first, &office.second, &office.third];
    let good = founding(&world.sandbox, ["ann", "ben", "cid"].into_iter().zip(keys));
    office.found_by(&world.sandbox, &good, &keys).expect("founded");
    all_well(&world);
}

/// Somebody with the database's password writes an entry beside the row, and the tree grows over it: a key that its partner didn't ask for is found all the same.
fn a_key_needs_a_request_of_its_partner(backend: Backend) {
    let market = Market::new(backend, 1);
    let (world, now) = (&market.world, market.world.now());
    let eve = SigningKey::from_bytes(KeyId::new("eve").expect("a kid"), &[66; 32]);
    let new = NewSigningKey {
        partner: "grocer".parse().expect("an id"),
        kid: eve.kid().clone(),
        key: eve.verifying_key(),
        valid_from: now,
        valid_until: None,
    };
    let issued = Issued {
        id: new_message_id(),
        issued_at: now,
    };
    let (kid, other) = (
        KeyId::new("grocer-1").expect("a kid"),
        SigningKey::from_bytes(KeyId::new("grocer-1").expect("a kid"), &[9; 32]),
    );
    let forged = NewKey::sign(&issued, &new.partner, &eve, None, None, &other);
    let mut conn = world.sandbox.database().expect("a connection");
    keys::add_signing(&mut conn, &new, &By::Partner(&new.partner, &kid, now, &forged), now).expect("rows and an entry");
    store::grow(&mut conn).expect("as the service does within a second");
    let findings = world.findings();
    assert!(findings.iter().any(|finding| finding.contains("`request`")), "{findings:?}");
    world.alters_rows();
}

fn no_file_changes_a_founded_network(backend: Backend) {
    let (folder, mut network) = (tempfile::tempdir().expect("a folder"), Network::parse(POOL).expect("the network"));
    let sandbox = Sandbox::open(folder.path(), &backend.database(), &network, Clock::System).expect("a clearinghouse");
    Office::found(&sandbox);
    network.partners[0]
        .net_debit_cap
        .insert("HKD".into(), "999999999".parse().expect("an amount"));
    let error = admin::apply_network(&mut sandbox.database().expect("a connection"), &network, Timestamp::now()).expect_err("too late");
    assert!(error.to_string().contains("people answer for it"), "{error:#}");
}

fn what_is_stored_in_another_way_is_found(backend: Backend) {
    let mut world = World::new(
        backend,
        &POOL.replacen("[[agreement]]\n", "[[agreement]]\nper_member_day = \"5000\"\n", 1),
    );
    world.post("wellcome", earn("YUU", "m1", "5000")).expect("accepted");
    let mut conn = world.sandbox.database().expect("a connection");
    let absent = if backend == Backend::Sqlite { "char(30)" } else { "chr(30)" };
    execute(
        &mut conn,
        &format!("UPDATE clearing_key SET origin = {absent} WHERE origin IS NULL"),
    );
    let findings = world.findings();
    assert!(findings.iter().any(|finding| finding.starts_with("clearing_key: ")), "{findings:?}");
    execute(&mut conn, &format!("UPDATE clearing_key SET origin = NULL WHERE origin = {absent}"));
    all_well(&world);
    // SQLite keeps any type in any column: the member has no limit any more, and nothing to spend.
    for table in ["limit_use", "account"].into_iter().filter(|_| backend == Backend::Sqlite) {
        execute(&mut conn, &format!("UPDATE {table} SET member = CAST(member AS BLOB)"));
        let findings = world.findings();
        assert!(
            findings.iter().any(|finding| finding.starts_with(&format!("{table}: "))),
            "{findings:?}"
        );
        execute(&mut conn, &format!("UPDATE {table} SET member = CAST(member AS TEXT)"));
    }
}

/// Each of the operator's people has a machine of its own, and so a clock.
fn who_leaves_by_a_right_clock_has_approved_by_a_fast_one(backend: Backend) {
    let world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let right = world.now();
    world.at(&right
        .checked_add(jiff::SignedDuration::from_mins(5))
        .expect("an instant")
        .to_string());
    let fourth = SigningKey::from_bytes(KeyId::new("fourth-1").expect("a kid"), &[104; 32]);
    office
        .comes(&world.sandbox, "fourth", &fourth)
        .expect("the second person has approved");
    world.at(&right.to_string());
    let leaves = Change::PersonLeaves { name: "second".into() };
    let proposed = office.propose(&world.sandbox, &office.first, leaves).expect("proposed");
    office.approve_change(&world.sandbox, &office.third, &proposed).expect("gone");
    all_well(&world);
    let names = |world: &World| {
        let mut conn = world.sandbox.database().expect("a connection");
        let people = store::people::people(&mut conn).expect("people");
        people.into_iter().map(|person| person.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&world), ["first", "fourth", "third"]);
}
