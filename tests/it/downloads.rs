//! Reading costs what it returns: a download is what was advised, lists come by a fixed number of statements, and what is asked under the lock is kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clearing::documents::settled;
use diesel::Connection;
use diesel::connection::InstrumentationEvent;
use jiff::ToSpan;
use migrations::{Conn, each_backend};
use partner_sdk::Code;
use partner_sdk::client::ClientError;
use partner_sdk::document::{Action, Filed, Kind, MAX_LISTED};
use settlement::{Format, SettlementError};
use store::{documents, events, partners};
use tests::market::{Market, terms};
use tests::{Backend, World, earn, execute, on_both};

const MILES: &str = include_str!("networks/miles.toml");

on_both!(
    a_download_reads_no_posting,
    files_that_are_missing_or_changed_are_written_again_as_they_were,
    what_was_changed_behind_the_ledger_is_not_served,
    a_list_takes_as_many_statements_as_one,
    a_list_is_leafed_through,
    whether_a_partner_may_go_is_asked_of_counts,
    statements_are_listed,
);

/// A day's trading, advised.
fn advised(backend: Backend) -> (World, Conn, String) {
    let mut world = World::new(backend, MILES);
    for n in 0..20 {
        world.post("bank", earn("BANK", &format!("m{n}"), "700")).expect("accepted");
        world
            .exchange_at_quote("bank", "BANK", "MILES", &format!("m{n}"), "700")
            .expect("accepted");
    }
    let date = world.close().business_date.to_string();
    let conn = world.sandbox.database().expect("a connection");
    (world, conn, date)
}

/// Writes the files of a day that is advised already.
fn advise_again(world: &World, conn: &mut Conn, date: &str) -> Result<Vec<PathBuf>, SettlementError> {
    let (date, pace) = (date.parse().expect("a date"), settlement::Pace::Full);
    settlement::advise(conn, date, &world.statements(), world.now(), pace, settled::advised)
}

fn download(world: &World, partner: &str, path: &str) -> Result<String, Code> {
    match world.runtime.block_on(world.client(partner).get_text(path)) {
        Ok(text) => Ok(text),
        Err(ClientError::Refused(problem)) => Err(problem.code),
        Err(other) => panic!("{other:?}"),
    }
}

fn a_download_reads_no_posting(backend: Backend) {
    let (world, mut conn, date) = advised(backend);
    // Neither postings nor positions nor what netting made of them: whoever asked for one of these would fail.
    for table in ["posting", "position", "obligation", "message"] {
        execute(&mut conn, &format!("ALTER TABLE {table} RENAME TO {table}_away"));
    }
    for partner in ["bank", "airline", "hotel"] {
        for (path, file) in [
            (format!("/v1/statements/{date}"), "json"),
            (format!("/v1/statements/{date}/csv"), "csv"),
        ] {
            let bytes = std::fs::read_to_string(world.statements().join(&date).join(format!("{partner}.{file}"))).expect("a file");
            assert_eq!(download(&world, partner, &path), Ok(bytes), "{partner} {file}");
        }
    }
    assert_eq!(download(&world, "bank", "/v1/statements/2026-11-21"), Err(Code::NotFound));
    for table in ["posting", "position", "obligation", "message"] {
        execute(&mut conn, &format!("ALTER TABLE {table}_away RENAME TO {table}"));
    }
}

fn files_that_are_missing_or_changed_are_written_again_as_they_were(backend: Backend) {
    let (world, mut conn, date) = advised(backend);
    let folder = world.statements().join(&date);
    let (missing, changed) = (folder.join("bank.csv"), folder.join("airline.json"));
    let before = [&missing, &changed].map(|file| std::fs::read(file).expect("a file"));
    std::fs::remove_file(&missing).expect("removed");
    std::fs::write(&changed, "changed").expect("written");
    execute(&mut conn, "ALTER TABLE posting RENAME TO posting_away");
    advise_again(&world, &mut conn, &date).expect("written again, and no posting read");
    execute(&mut conn, "ALTER TABLE posting_away RENAME TO posting");
    assert_eq!([&missing, &changed].map(|file| std::fs::read(file).expect("a file")), before);
}

fn what_was_changed_behind_the_ledger_is_not_served(backend: Backend) {
    let (world, mut conn, date) = advised(backend);
    world.alters_rows();
    execute(
        &mut conn,
        "UPDATE statement_file SET bytes = REPLACE(bytes, 'HKD', 'USD') WHERE name = 'bank.json'",
    );
    let path = format!("/v1/statements/{date}");
    assert_eq!(download(&world, "bank", &path), Err(Code::Internal));
    assert!(download(&world, "airline", &path).is_ok(), "the others' are as they were");
    let error = advise_again(&world, &mut conn, &date).expect_err("nor written");
    assert!(error.to_string().contains("bank.json"), "{error}");
}

/// How many statements `body` sends to the database.
fn statements<T>(conn: &mut Conn, body: impl FnOnce(&mut Conn) -> T) -> (usize, T) {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    each_backend!(conn, |c| c.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let done = body(conn);
    (count.load(Ordering::SeqCst), done)
}

fn a_list_is_leafed_through(backend: Backend) {
    let market = Market::new(backend, 1);
    let world = &market.world;
    // What another proposed before is not hidden by however many come after it.
    let mut proposed = vec![market.propose("pool", &terms("P0", world.now())).expect("proposed").hash];
    while proposed.len() < 230 {
        world.wait(1.second());
        let filed = market.propose("grocer", &terms("P0", world.now())).expect("proposed");
        market.act("grocer", Action::Withdraw, &filed.hash).expect("withdrawn");
        proposed.push(filed.hash);
    }
    proposed.reverse();
    let client = world.client("grocer");
    let all = world.runtime.block_on(client.agreements(None)).expect("a list");
    let named: Vec<&str> = all.iter().map(|filed| filed.hash.as_str()).collect();
    assert!(named == proposed, "newest first, each once");
    let page: Vec<Filed> = world.runtime.block_on(client.get("/v1/agreements")).expect("a page");
    assert_eq!(page.len(), MAX_LISTED);
    // What isn't one's own is no place to go on from, whether it is there or not.
    for hash in [&proposed[0], &"0".repeat(64)] {
        assert_eq!(
            download(world, "cafe", &format!("/v1/agreements?after={hash}")),
            Err(Code::NotFound)
        );
    }
}

fn a_list_takes_as_many_statements_as_one(backend: Backend) {
    let market = Market::new(backend, 12);
    let mut conn = market.world.sandbox.database().expect("a connection");
    for expected in [1, 12] {
        while documents::list(&mut conn, Kind::Agreement, "grocer", None).expect("a list").len() < expected {
            market.propose("grocer", &market.terms()).expect("proposed");
        }
        let (count, all) = statements(&mut conn, |conn| {
            documents::list(conn, Kind::Agreement, "grocer", None).expect("a list")
        });
        assert_eq!((count, all.len()), (2, expected));
        assert!(all.iter().all(|document| document.signatures.len() == 1));
    }
    let (count, _) = statements(&mut conn, |conn| {
        events::after(conn, &["grocer", events::EVERYBODY], 0, 100).expect("events")
    });
    assert_eq!(count, 2);
}

fn whether_a_partner_may_go_is_asked_of_counts(backend: Backend) {
    let (world, mut conn, date) = advised(backend);
    world.alters_rows();
    let hotel = "hotel".parse().expect("a partner");
    let day = date.parse().expect("a date");
    let (count, found) = statements(&mut conn, |conn| {
        settlement::advised(conn, day, &hotel, Format::Json).expect("reads")
    });
    assert!(count == 1 && found.is_some(), "{count}");
    execute(
        &mut conn,
        "UPDATE settlement_window SET state = 'settled' WHERE state = 'advised'; UPDATE exposure SET micros = 0",
    );
    // No account is read, and the count is what there is.
    execute(&mut conn, "ALTER TABLE account RENAME TO account_away");
    let airline = "airline".parse().expect("a partner");
    let open = partners::unfinished(&mut conn, &airline).expect("reads");
    assert_eq!(open, Some("members hold or owe points of its programmes"));
    assert_eq!(partners::unfinished(&mut conn, &hotel).expect("reads"), None);
    execute(&mut conn, "ALTER TABLE account_away RENAME TO account");
    drop(world);
}

/// What lists a partner's statements says where their windows stand, and what one finds there.
fn statements_are_listed(backend: Backend) {
    let mut world = World::new(backend, MILES);
    let mut dates = vec![];
    for n in 0..3 {
        world.post("bank", earn("BANK", &format!("m{n}"), "700")).expect("accepted");
        let exchanged = world.exchange_at_quote("bank", "BANK", "MILES", &format!("m{n}"), "700");
        exchanged.expect("accepted");
        dates.push(world.close().business_date);
    }
    let mut conn = world.sandbox.database().expect("a connection");
    settlement::settle(&mut conn, dates[0], world.now(), "test").expect("settled");
    let list = |partner: &str, query: &str| -> serde_json::Value {
        let path = format!("/v1/statements{query}");
        let answer: serde_json::Value = world.runtime.block_on(world.client(partner).get(&path)).expect("a list");
        answer["statements"].clone()
    };
    let all = list("bank", "");
    let windows = |list: &serde_json::Value| -> Vec<String> {
        let windows = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["window"].as_str().expect("a date").to_owned());
        windows.collect()
    };
    let newest_first: Vec<String> = dates.iter().rev().map(ToString::to_string).collect();
    assert_eq!(windows(&all), newest_first);
    assert_eq!(all[2]["state"], "settled");
    assert!(all[2]["settled_at"].is_string() && all[0]["settled_at"].is_null() && all[0]["advised_at"].is_string());
    for one in all.as_array().expect("a list") {
        let date = one["window"].as_str().expect("a date");
        let statement = world.statement(date, "bank");
        assert_eq!(one["net"], serde_json::to_value(&statement.net).expect("JSON"));
        for (path, digest) in [("", "json_sha256"), ("/csv", "csv_sha256")] {
            let bytes = download(&world, "bank", &format!("/v1/statements/{date}{path}")).expect("a statement");
            assert_eq!(one[digest], partner_sdk::jws::sha256_hex(bytes.as_bytes()));
        }
    }
    let (first, second) = (&newest_first[2], &newest_first[1]);
    assert_eq!(windows(&list("bank", &format!("?from={first}&until={second}"))), newest_first[1..]);
    assert_eq!(windows(&list("bank", "?limit=1")), newest_first[..1]);
    // The hotel took no part, and has its empty ones.
    assert_eq!(
        (windows(&list("hotel", "")).len(), list("hotel", "")[0]["net"].clone()),
        (3, serde_json::json!([]))
    );
    for query in ["?from=yesterday", "?until=2026-13-01", "?limit=101"] {
        assert_eq!(
            download(&world, "bank", &format!("/v1/statements{query}")),
            Err(Code::BadValue),
            "{query}"
        );
    }
}
