//! The procedure of docs/OPERATIONS.md: a backup while the service runs, a restore elsewhere, a check, and on it goes. And the unit for systemd.

use std::path::Path;
use std::process::Command;

use diesel::connection::SimpleConnection;
use migrations::Conn;
use partner_sdk::wire::Answer;
use tests::postgres::Cluster;
use tests::{Backend, World, burn, earn, on_both, said};

const POOL: &str = include_str!("networks/pool.toml");
const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");
const UNIT: &str = include_str!("../../docs/examples/clearing.service");
const PROGRAM: &str = env!("CARGO_BIN_EXE_clearing-under-test");

on_both!(a_backup_made_while_serving_is_restored_elsewhere);

/// Runs a step of the procedure, which has to stand in the document with these words.
fn step(documented: &str, command: &mut Command) {
    assert!(OPERATIONS.contains(documented), "docs/OPERATIONS.md doesn't say {documented}");
    let output = command.output().expect("it can be run");
    assert!(output.status.success(), "{documented}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Backs a running clearinghouse up, as the document says.
fn back_up(world: &World, backend: Backend, to: &Path) {
    match (backend, world.sandbox.database().expect("a connection")) {
        (Backend::Sqlite, Conn::Sqlite(mut conn)) => {
            let documented = "VACUUM INTO '/backup/clearing.db'";
            assert!(OPERATIONS.contains(documented), "docs/OPERATIONS.md doesn't say {documented}");
            let sql = documented.replace("/backup/clearing.db", &to.display().to_string());
            conn.batch_execute(&sql).expect("a copy");
        }
        _ => step(
            "pg_dump --format=custom --file=/backup/clearing.dump --dbname=\"$DATABASE_URL\"",
            Command::new("pg_dump")
                .arg("--format=custom")
                .arg(format!("--file={}", to.display()))
                .arg(format!("--dbname={}", world.sandbox.config.database)),
        ),
    }
}

/// Restores it to a new place, and returns that.
fn restore(world: &World, backend: Backend, from: &Path) -> String {
    match backend {
        Backend::Sqlite => {
            let to = world.folder().join("restored.db");
            step("install --mode=600", Command::new("install").arg("--mode=600").arg(from).arg(&to));
            to.display().to_string()
        }
        Backend::Postgres => {
            let url = Cluster::shared().create_database().expect("a new database");
            step(
                "pg_restore --no-owner --exit-on-error --dbname=",
                Command::new("pg_restore")
                    .args(["--no-owner", "--exit-on-error"])
                    .arg(format!("--dbname={url}"))
                    .arg(from),
            );
            url
        }
    }
}

fn a_backup_made_while_serving_is_restored_elsewhere(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let backup = world.folder().join("backup");
    let first = world.message("wellcome", earn("YUU", "m1", "1000"));
    let first = world.sign(&first);
    let known = world.post_jws("wellcome", &first);
    // Messages go on being posted while the copy is made.
    let sent: Vec<String> = (0..60)
        .map(|_| world.message("wellcome", earn("YUU", "m1", "10")))
        .collect::<Vec<_>>()
        .iter()
        .map(|m| world.sign(m))
        .collect();
    let (client, posting) = (world.client("wellcome"), sent.clone());
    let posting = world.runtime.spawn(async move {
        let mut answers: Vec<Answer> = vec![];
        for jws in &posting {
            answers.push(client.post(jws).await.expect("an answer"));
        }
        answers
    });
    back_up(&world, backend, &backup);
    let answers = world.runtime.block_on(posting).expect("all are answered");
    let lost = world.message("ikea", burn("YUU", "m1", "100"));
    let lost = world.sign(&lost);
    world.post_jws("ikea", &lost);

    world.sandbox.stop();
    world.sandbox.config.database = restore(&world, backend, &backup);
    // `clearing check` finds nothing.
    world.check_books();
    world.sandbox.start().expect("the copy is served");
    world.connect();
    // What the copy knows has its old entry, to the byte; what it doesn't know is posted anew. Sent again, all of it is there once.
    assert_eq!(said(world.post_jws("wellcome", &first)), said(known));
    let again: Vec<Answer> = sent.iter().map(|jws| world.post_jws("wellcome", jws)).collect();
    let kept = answers
        .iter()
        .zip(&again)
        .take_while(|(before, after)| said((*before).clone()) == said((*after).clone()))
        .count();
    for answer in &again {
        world.read("wellcome", answer).expect("accepted");
    }
    // A copy is one moment: what came before it is there, what came after it isn't.
    assert!(
        answers.iter().zip(&again).skip(kept).all(|(before, after)| before != after),
        "{kept}"
    );
    let burned = world.post_jws("ikea", &lost);
    world.read("ikea", &burned).expect("it is posted anew");
    assert_eq!(world.points("pool", "YUU", "m1"), "1500");
    assert_eq!(world.post_jws("ikea", &lost), burned);
    world.close();
}

/// What the unit names is there: the command with its options, the key of the configuration, and systemd takes it.
#[test]
fn the_unit_starts_what_there_is() {
    let value = |name: &str| {
        let found = UNIT.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("the unit has no {name}"))
    };
    let folder = tempfile::tempdir().expect("a folder");
    let start: Vec<&str> = value("ExecStart").split(' ').collect();
    assert!(start[0].ends_with("/clearing"), "{start:?}");
    let help = Command::new(PROGRAM).args([start[1], "--help"]).output().expect("it runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for option in &start[2..] {
        assert!(help.contains(option), "`clearing {}` has no {option}", start[1]);
    }
    let (name, file) = value("Environment").split_once('=').expect("a variable");
    assert_eq!(name, "CLEARING_CONFIG");
    assert!(
        Path::new(file).starts_with(format!("/var/lib/{}", value("StateDirectory"))),
        "{file}"
    );
    assert_eq!(value("WorkingDirectory"), "/var/lib/clearing");

    for (name, right) in [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("LimitNOFILE", "65536"),
        ("UMask", "0027"),
    ] {
        assert_eq!(value(name), right);
    }
    // systemd itself, where there is one.
    let here = UNIT.replace(start[0], PROGRAM).replace("User=clearing\nGroup=clearing\n", "");
    let unit = folder.path().join("clearing.service");
    std::fs::write(&unit, here).expect("written");
    if let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output() {
        let said = String::from_utf8_lossy(&output.stderr);
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("clearing.service")).collect();
        assert!(ours.is_empty(), "{said}");
    }
}
