//! Nobody's trouble is everybody's: of a group of messages one fails alone, and of the windows of a night one waits alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use migrations::Conn;
use partner_sdk::client::ClientError;
use partner_sdk::{Code, Message};
use tests::child::command;
use tests::{Backend, World, burn, earn, execute, on_both};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clearing-under-test");
const MILES: &str = include_str!("networks/miles.toml");

on_both!(
    a_message_that_the_database_refuses_fails_alone,
    a_message_that_panics_fails_alone,
    after_a_failed_commit_nothing_is_tried_again,
    a_window_that_cannot_be_netted_says_why_and_posting_goes_on,
    a_file_in_the_way_of_one_window_keeps_no_other,
    the_health_check_tells_of_the_night,
);

/// From now on the database answers a message about this member by `sqlite`, or by a function of `postgres`.
pub(super) fn trigger(conn: &mut Conn, when: &str, member: &str, sqlite: &str, postgres: &str) {
    let sql = match conn {
        Conn::Sqlite(_) => format!("CREATE TRIGGER poison {when} INSERT ON message WHEN NEW.member = '{member}' BEGIN {sqlite}; END"),
        Conn::Postgres(_) => format!(
            "CREATE FUNCTION poison() RETURNS trigger AS $$ BEGIN {postgres}; RETURN NEW; END $$ LANGUAGE plpgsql; \
             CREATE TRIGGER poison {when} INSERT ON message FOR EACH ROW WHEN (NEW.member = '{member}') EXECUTE FUNCTION poison()"
        ),
    };
    execute(conn, &sql);
}

pub(super) fn no_trigger(conn: &mut Conn) {
    let sql = match conn {
        Conn::Sqlite(_) => "DROP TRIGGER poison",
        Conn::Postgres(_) => "DROP TRIGGER poison ON message",
    };
    execute(conn, sql);
}

fn earns(world: &mut World, members: impl Iterator<Item = String>) -> Vec<Message> {
    members.map(|member| world.message("bank", earn("BANK", &member, "100"))).collect()
}

fn member(n: usize, poisoned: &[usize]) -> String {
    if poisoned.contains(&n) { "poison".into() } else { format!("m{n}") }
}

fn a_message_that_the_database_refuses_fails_alone(backend: Backend) {
    let mut world = World::new(backend, MILES);
    let mut conn = world.sandbox.database().expect("a connection");
    trigger(
        &mut conn,
        "BEFORE",
        "poison",
        "SELECT RAISE(ABORT, 'refused')",
        "RAISE EXCEPTION 'refused'",
    );
    let poisoned = [6, 13];
    let messages = earns(&mut world, (0..20).map(|n| member(n, &poisoned)));
    let answers = world.send_all("bank", &messages);
    let failed: Vec<usize> = (0..20).filter(|n| answers[*n].as_ref().err() == Some(&Code::Internal)).collect();
    assert_eq!(failed, poisoned);
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 18);
    assert_eq!(world.post("bank", earn("BANK", "poison", "1")).err(), Some(Code::Internal));
    world.post("bank", earn("BANK", "m0", "1")).expect("the service posts");
    no_trigger(&mut conn);
    // The same bytes again: what was posted has its receipt, what failed is posted now.
    let again = world.send_all("bank", &messages);
    for (n, (first, second)) in answers.iter().zip(&again).enumerate() {
        let second = second.as_ref().expect("accepted");
        assert!(first.as_ref().map_or(poisoned.contains(&n), |first| first == second), "{n}");
    }
    assert_eq!(
        (world.points("bank", "BANK", "m1"), world.points("bank", "BANK", "poison")),
        ("100".into(), "200".into())
    );
}

fn a_message_that_panics_fails_alone(backend: Backend) {
    let mut world = World::new(backend, MILES);
    let mut conn = world.sandbox.database().expect("a connection");
    let messages = earns(&mut world, (0..9).map(|n| member(n, &[4])));
    assert!(world.send_all("bank", &messages).iter().all(Result::is_ok));
    // A row that no rule can work with.
    execute(&mut conn, "UPDATE lot SET reversed = -9223372036854775808 WHERE member = 'poison'");
    let messages: Vec<Message> = (0..9)
        .map(|n| world.message("hotel", burn("BANK", &member(n, &[4]), "1")))
        .collect();
    let answers = world.send_all("hotel", &messages);
    let failed: Vec<usize> = (0..9).filter(|n| answers[*n].as_ref().err() == Some(&Code::Internal)).collect();
    assert_eq!(failed, [4]);
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 8);
    execute(&mut conn, "UPDATE lot SET reversed = 0 WHERE member = 'poison'");
    assert!(world.send_all("hotel", &messages).iter().all(Result::is_ok));
    assert_eq!(world.points("bank", "BANK", "m1"), "99");
}

fn after_a_failed_commit_nothing_is_tried_again(backend: Backend) {
    let mut world = World::new(backend, MILES);
    let mut conn = world.sandbox.database().expect("a connection");
    let next = i64::try_from(world.entries() + 1).expect("small");
    // Checked when the transaction commits, and refused then.
    execute(&mut conn, "CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)");
    execute(
        &mut conn,
        "CREATE TABLE child (parent BIGINT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
    );
    let orphan = "INSERT INTO child VALUES (1)";
    trigger(&mut conn, "AFTER", "poison", orphan, orphan);
    let messages = earns(&mut world, (0..8).map(|n| member(n, &[3])));
    let signed: Vec<String> = messages.iter().map(|m| world.sign(m)).collect();
    let answer = world.runtime.block_on(world.client("bank").post_batch(&signed));
    match answer {
        Err(ClientError::Refused(problem)) => assert_eq!(problem.code, Code::OutcomeUnknown),
        other => panic!("{other:?}"),
    }
    no_trigger(&mut conn);
    // Nothing took effect, and the next number is still free.
    let again = world.send_all("bank", &messages);
    assert!(again.iter().all(Result::is_ok));
    assert_eq!(again[0].as_ref().expect("accepted").sequence, Some(next));
}

/// Two days' trading, each with a fee; the clock is past the first one's cut-off, and nothing is closed by a night yet.
fn two_days(backend: Backend) -> World {
    let mut world = World::new(backend, MILES);
    for _ in 0..2 {
        world.post("bank", earn("BANK", "m1", "700")).expect("accepted");
        world.exchange_at_quote("bank", "BANK", "MILES", "m1", "700").expect("accepted");
        world.sandbox.clock.set("2026-11-20T16:00:00Z".parse().expect("a time"));
    }
    world
}

fn a_window_that_cannot_be_netted_says_why_and_posting_goes_on(backend: Backend) {
    let mut world = two_days(backend);
    let mut conn = world.sandbox.database().expect("a connection");
    // A fee on top of this fits nothing.
    execute(
        &mut conn,
        "INSERT INTO position VALUES ('2026-11-20', 'bank', 'clearing', 'HKD', 9223372036854775807)",
    );
    let first = world.sandbox.close_due().expect_err("it can't be netted").to_string();
    for word in ["2026-11-20", "bank", "clearing", "HKD", "doesn't fit"] {
        assert!(first.contains(word), "{first}");
    }
    world.post("bank", earn("BANK", "m2", "100")).expect("the service posts");
    world.wait(jiff::ToSpan::hours(24));
    let both = world
        .sandbox
        .close_due()
        .expect_err("the second waits for its residues")
        .to_string();
    assert!(
        both.contains("2026-11-20") && both.contains("2026-11-21 can't be netted: it takes over"),
        "{both}"
    );
    world.post("bank", earn("BANK", "m2", "100")).expect("the service posts");
    execute(&mut conn, "DELETE FROM position WHERE micros = 9223372036854775807");
    let done: Vec<String> = world.sandbox.close_due().expect("both").iter().map(ToString::to_string).collect();
    assert_eq!(done, ["2026-11-20", "2026-11-21"]);
}

fn a_file_in_the_way_of_one_window_keeps_no_other(backend: Backend) {
    let world = two_days(backend);
    world.wait(jiff::ToSpan::hours(24));
    std::fs::create_dir_all(world.statements()).expect("a folder");
    let in_the_way = world.statements().join("2026-11-20");
    std::fs::write(&in_the_way, "in the way").expect("a file");
    let error = world.sandbox.close_due().expect_err("one has trouble").to_string();
    assert!(
        error.contains("2026-11-20 can't be advised") && !error.contains("2026-11-21"),
        "{error}"
    );
    assert!(
        world.statements().join("2026-11-21/settlement.json").is_file(),
        "the other has its files"
    );
    std::fs::remove_file(&in_the_way).expect("removed");
    let done: Vec<String> = world
        .sandbox
        .close_due()
        .expect("no trouble")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(done, ["2026-11-20"]);
    assert!(in_the_way.join("settlement.json").is_file());
}

/// What the plain listener says.
fn health(address: &str) -> serde_json::Value {
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let body = text.split_once("\r\n\r\n").expect("a body").1;
    let json = body.find('{').and_then(|from| body.get(from..=body.rfind('}')?)).expect("JSON");
    serde_json::from_str(json).expect("JSON")
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        // Neither a file nor another process has an event that every system tells.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn the_health_check_tells_of_the_night(backend: Backend) {
    let mut world = two_days(backend);
    world.sandbox.stop();
    let folder: &Path = &world.sandbox.folder;
    let statements = folder.join("statements");
    std::fs::create_dir_all(&statements).expect("a folder");
    std::fs::write(statements.join("2026-11-20"), "in the way").expect("a file");
    let mut serve = command(PROGRAM, folder, None);
    serve
        .args(["serve", "--sandbox-clock", "2026-11-21T16:00:01Z"])
        .env("CLEARING_HEALTH_LISTEN", "127.0.0.1:0");
    let mut process = serve.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(process.stdout.take().expect("its output"))
        .lines()
        .map_while(Result::ok);
    let address = lines
        .find_map(|line| line.strip_prefix("health on ").map(str::to_owned))
        .expect("it listens");
    until("the second window has its files", || {
        statements.join("2026-11-21/settlement.json").is_file()
    });
    until("the trouble is told", || health(&address)["status"] == "trouble");
    let told = health(&address);
    assert_eq!(told["late"], serde_json::json!(["2026-11-20"]));
    assert_eq!(
        (&told["trouble"][0]["phase"], &told["trouble"][0]["window"]),
        (&"advise".into(), &"2026-11-20".into())
    );
    assert!(told["trouble"][0]["why"].as_str().expect("a text").contains("2026-11-20"), "{told}");
    std::fs::remove_file(statements.join("2026-11-20")).expect("removed");
    until("it is tried again", || statements.join("2026-11-20/settlement.json").is_file());
    until("all is well", || health(&address)["status"] == "ok");
    process.kill().expect("killed");
    process.wait().expect("gone");
}
