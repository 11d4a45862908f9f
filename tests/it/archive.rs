//! What partners signed in old windows goes into files, and all stays as it was: the check, repeats, reversals. Killed at any step it goes on; whatever is lost or changed is found, and named.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::jws::sha256_hex;
use partner_sdk::wire::{Answer, write_batch};
use partner_sdk::{Code, Message};
use store::archive::{self, Archived};
use tests::child::command;
use tests::load::Draw;
use tests::{Backend, World, burn, earn, execute, id, on_both, reverse, said};

use super::audit::one;
use super::install::PROGRAM;
use super::trouble::{no_trigger, trigger};

const POOL: &str = include_str!("networks/pool.toml");
const FIRST: &str = "2026-11-20";

on_both!(
    all_stays_as_it_was,
    a_batch_of_two_windows_is_in_the_file_of_the_first,
    each_step_may_be_the_last,
    a_killed_run_is_gone_on_with,
    what_cannot_be_written_stays_where_it_is,
    what_was_changed_is_named,
    what_was_archived_wrongly_is_named,
);

/// The command, as for a clearinghouse in a folder.
fn clearing(world: &World, arguments: &[&str]) -> Command {
    let mut command = command(PROGRAM, &world.sandbox.folder, Some(&world.sandbox.config.database));
    command.args(arguments);
    command
}

/// Archives all that is closed.
fn run(world: &World) -> Output {
    clearing(world, &["archive", "--keep", "1"]).output().expect("it runs")
}

fn works(world: &World) -> String {
    let output = run(world);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn fails(world: &World, words: &[&str]) {
    let output = run(world);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in {said}");
    }
}

fn file(world: &World, date: &str) -> PathBuf {
    world.sandbox.config.archive.join(format!("{date}.txt"))
}

fn database(world: &World) -> Conn {
    world.sandbox.database().expect("a connection")
}

/// How many messages and batches have their bytes in the database.
fn kept(conn: &mut Conn) -> (String, String) {
    let of = |table: &str| format!("SELECT COUNT(*) FROM {table} WHERE bytes <> ''");
    (one(conn, &of("message")), one(conn, &of("signed_batch")))
}

fn post_together(world: &World, messages: &[Message]) -> (String, Vec<Answer>) {
    let sender = messages.first().expect("a message").sender.clone();
    let jws = write_batch(messages, &world.sandbox.parties.get(&sender).expect("a partner").key);
    let answers = world.runtime.block_on(world.client(sender.as_str()).post_signed_batch(&jws));
    (jws, answers.expect("answers"))
}

/// Two windows that are closed and one that is open: in the first a message and a signed batch of three, in the others a message each. Returns what was signed in the first, with its answers.
fn traded(world: &mut World) -> (String, Answer, String, Vec<Answer>) {
    let single = world.message("wellcome", earn("YUU", "m1", "1000"));
    let single = world.sign(&single);
    let answer = world.post_jws("wellcome", &single);
    let batch: Vec<Message> = (0..3).map(|_| world.message("hangseng", earn("YUU", "m2", "10"))).collect();
    let (batch, answers) = post_together(world, &batch);
    // Refused, and kept all the same.
    assert_eq!(
        world.post("ikea", burn("YUU", "m3", "1")).expect_err("nothing there"),
        Code::InsufficientBalance
    );
    for _ in 0..2 {
        world.close();
        world.post("wellcome", earn("YUU", "m1", "5")).expect("accepted");
    }
    (single, answer, batch, answers)
}

fn network() -> String {
    POOL.replace("expires_after = \"1 day\"", "negative_limit = \"1000\"")
}

fn all_stays_as_it_was(backend: Backend) {
    let mut world = World::new(backend, &network());
    let (single, answer, batch, answers) = traded(&mut world);
    let mut conn = database(&world);
    let none = clearing(&world, &["archive"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&none.stdout).contains("nothing is to be archived"));
    assert_eq!(kept(&mut conn), ("7".into(), "1".into()));

    let told = works(&world);
    assert!(
        told.contains("2026-11-20: 5 messages, ") && told.contains("2026-11-21: 1 messages, "),
        "{told}"
    );
    assert_eq!(kept(&mut conn), ("1".into(), "0".into()));
    // The file is what the document says: whoever has the messages can make it.
    let first = one(&mut conn, "SELECT MIN(seq) FROM message");
    let first: i64 = first.parse().expect("a number");
    let text = fs::read_to_string(file(&world, FIRST)).expect("a file");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(
        &lines[..3],
        [
            format!("clearing archive 1 {FIRST}"),
            format!("{first} {single}"),
            format!("{} {batch}", first + 1)
        ]
    );
    let entry = one(
        &mut conn,
        &format!("SELECT body FROM entry WHERE kind = 'archived' AND subject = '{FIRST}'"),
    );
    assert!(
        entry.contains(&format!("\"sha256\":\"{}\"", sha256_hex(text.as_bytes()))),
        "{entry}"
    );
    world.check_books();

    // A repeat is answered as before, and a reversal finds its message.
    assert_eq!(said(world.post_jws("wellcome", &single)), said(answer.clone()));
    let again = world
        .runtime
        .block_on(world.client("hangseng").post_signed_batch(&batch))
        .expect("answers");
    let entries = |answers: Vec<Answer>| answers.into_iter().map(said).collect::<Vec<_>>();
    assert_eq!(entries(again), entries(answers));
    let earned = id(world.read("wellcome", &answer));
    world.post("wellcome", reverse(&earned, "400")).expect("taken back");
    assert_eq!(world.points("pool", "YUU", "m1"), "610");
    assert!(works(&world).contains("nothing is to be archived"));
    world.close();
    assert!(works(&world).contains("2026-11-22: 2 messages, "));
    let checked = clearing(&world, &["check"]).output().expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// Of a signed batch one message fails with the database, and is posted in the next window: the batch's row is empty by then.
fn a_batch_of_two_windows_is_in_the_file_of_the_first(backend: Backend) {
    let mut world = World::new(backend, &network());
    let mut conn = database(&world);
    trigger(
        &mut conn,
        "BEFORE",
        "late",
        "SELECT RAISE(ABORT, 'refused')",
        "RAISE EXCEPTION 'refused'",
    );
    let batch = [
        world.message("hangseng", earn("YUU", "m1", "10")),
        world.message("hangseng", earn("YUU", "late", "10")),
    ];
    let (jws, answers) = post_together(&world, &batch);
    assert_eq!(world.read("hangseng", &answers[1]).expect_err("it failed"), Code::Internal);
    no_trigger(&mut conn);
    world.close();
    works(&world);
    assert_eq!(kept(&mut conn), ("0".into(), "0".into()));
    let answers = world
        .runtime
        .block_on(world.client("hangseng").post_signed_batch(&jws))
        .expect("answers");
    answers
        .iter()
        .for_each(|answer| drop(world.read("hangseng", answer).expect("accepted")));
    world.check_books();
    world.close();
    works(&world);
    assert_eq!(kept(&mut conn), ("0".into(), "0".into()));
    let lines = |date: &str| fs::read_to_string(file(&world, date)).expect("a file").lines().count();
    assert_eq!((lines(FIRST), lines("2026-11-21")), (2, 1));
}

/// Writes the file of the first window as the document says, without the last `less` lines; returns what the entry says of it.
fn by_hand(world: &World, less: usize) -> Archived {
    let window: Date = FIRST.parse().expect("a date");
    let mut lines = vec![format!("clearing archive 1 {FIRST}\n")];
    let (messages, last) = archive::signed(&mut database(world), window, 0, &mut |seq, jws| {
        lines.push(format!("{seq} {jws}\n"));
        Ok(())
    })
    .expect("read");
    lines.truncate(lines.len() - less);
    let text = lines.concat();
    fs::create_dir_all(&world.sandbox.config.archive).expect("a folder");
    fs::write(file(world, FIRST), &text).expect("written");
    Archived {
        window,
        sha256: sha256_hex(text.as_bytes()),
        size: text.len() as u64,
        messages,
        last,
    }
}

fn each_step_may_be_the_last(backend: Backend) {
    let mut world = World::new(backend, &network());
    traded(&mut world);
    let mut conn = database(&world);
    let all = kept(&mut conn);
    // A file half made, then one that is whole and in place: nobody knows of either.
    let archived = by_hand(&world, 0);
    let half = world.sandbox.config.archive.join(format!(".{FIRST}.tmp"));
    fs::write(&half, "clearing arch").expect("written");
    world.check_books();
    // The entry is there; then some of the rows are empty, and one that says less is refused.
    archive::enter(&mut conn, &archived, Timestamp::now()).expect("entered");
    assert!(
        archive::enter(&mut conn, &archived, Timestamp::now()).is_err(),
        "it is entered once"
    );
    world.check_books();
    assert_eq!(kept(&mut conn), all);
    archive::empty(&mut conn, 0, archived.last - 2, &mut |_| {}).expect("emptied");
    world.check_books();
    // Before the rest is taken out, the file is looked at.
    let (path, aside) = (file(&world, FIRST), world.folder().join("aside"));
    fs::rename(&path, &aside).expect("renamed");
    let left = kept(&mut conn);
    fails(&world, &["2026-11-20.txt", "put the file back from a backup"]);
    assert_eq!(kept(&mut conn), left);
    fs::rename(&aside, &path).expect("renamed");
    let told = works(&world);
    assert!(!told.contains(FIRST) && told.contains("2026-11-21: 1 messages"), "{told}");
    assert_eq!(kept(&mut conn), ("1".into(), "0".into()));
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM entry WHERE kind = 'archived'"), "2");
}

fn a_killed_run_is_gone_on_with(backend: Backend) {
    let mut world = World::new(backend, &network());
    for _ in 0..6 {
        let batch: Vec<Message> = (0..400).map(|_| world.message("hangseng", earn("YUU", "m2", "10"))).collect();
        post_together(&world, &batch);
        let singles: Vec<Message> = (0..300).map(|_| world.message("wellcome", earn("YUU", "m1", "10"))).collect();
        world.send_all("wellcome", &singles);
        world.close();
    }
    let mut draw = Draw::new();
    let (mut ended, mut killed) = (false, 0);
    let mut most = Duration::from_millis(400);
    while !ended {
        let mut process = clearing(&world, &["archive", "--keep", "1"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
        let (mut told, (sender, ends)) = (process.stdout.take().expect("piped"), mpsc::channel::<()>());
        let reader = std::thread::spawn(move || {
            let _until_it_ends = sender;
            std::io::copy(&mut told, &mut std::io::sink())
        });
        // Anywhere: no event says where it is.
        let after = most * u32::try_from(draw.upto(100)).expect("small") / 100;
        if ends.recv_timeout(after) == Err(RecvTimeoutError::Timeout) {
            process.kill().expect("killed");
        }
        ended = process.wait().expect("gone").success();
        reader.join().expect("no panic").expect("readable");
        if !ended {
            killed += 1;
            most += Duration::from_millis(20);
            world.check_books();
        }
    }
    println!("killed {killed} times");
    let mut conn = database(&world);
    assert_eq!(kept(&mut conn), ("0".into(), "0".into()));
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM entry WHERE kind = 'archived'"), "6");
}

fn what_cannot_be_written_stays_where_it_is(backend: Backend) {
    let mut world = World::new(backend, &network());
    let batch: Vec<Message> = (0..600).map(|_| world.message("hangseng", earn("YUU", "m2", "10"))).collect();
    post_together(&world, &batch);
    // Something is in the way of the statements: the window isn't advised, and not archived.
    fs::create_dir_all(world.statements()).expect("a folder");
    fs::write(world.statements().join(FIRST), "in the way").expect("written");
    world.at("2026-11-21T00:00:01+08");
    assert!(world.sandbox.close_due().is_err());
    fails(&world, &["the window of 2026-11-20 isn't advised yet"]);
    fs::remove_file(world.statements().join(FIRST)).expect("removed");
    world.night();
    let mut conn = database(&world);
    let all = kept(&mut conn);
    // Something is in the folder's place.
    let folder = world.sandbox.config.archive.clone();
    fs::remove_dir_all(&folder).expect("removed");
    fs::write(&folder, "in the way").expect("written");
    fails(&world, &["cannot use the archive's folder", "`archive` in the configuration"]);
    fs::remove_file(&folder).expect("removed");
    // No room: a file may have 64 KiB, and this one would have more.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" archive --keep 1", PROGRAM]);
    let real = clearing(&world, &[]);
    real.get_envs().for_each(|(name, value)| {
        shell.env(name, value.expect("a value"));
    });
    let output = shell.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    for word in [
        "2026-11-20.txt",
        "File too large",
        "nothing of its window was taken out",
        "make room",
    ] {
        assert!(said.contains(word), "no `{word}` in {said}");
    }
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0, "half a file is left");
    // Another ledger's file is there.
    fs::write(file(&world, FIRST), "another's").expect("written");
    fails(&world, &["2026-11-20.txt", "of another ledger", "put it elsewhere"]);
    fs::remove_file(file(&world, FIRST)).expect("removed");
    // What isn't what was signed isn't archived.
    let (change, back) = (
        "UPDATE message SET bytes = bytes || ' ' WHERE seq = (SELECT MAX(seq) FROM message)",
        "UPDATE message SET bytes = TRIM(bytes) WHERE seq = (SELECT MAX(seq) FROM message)",
    );
    execute(&mut conn, change);
    fails(&world, &["its bytes aren't those that were signed", "clearing check"]);
    execute(&mut conn, back);
    assert_eq!(kept(&mut conn), all);
    world.check_books();
    works(&world);
}

/// What the check finds has all of these words.
fn finds(world: &World, what: &str, words: &[&str]) {
    let findings = world.findings();
    for word in words {
        assert!(
            findings.iter().any(|finding| finding.contains(word)),
            "{what}: no `{word}` in {findings:?}"
        );
    }
}

fn what_was_changed_is_named(backend: Backend) {
    let mut world = World::new(backend, &network());
    traded(&mut world);
    works(&world);
    // An entry that isn't in the tree yet could be changed, and nobody would have seen it.
    store::grow(&mut database(&world)).expect("it grows");
    let path = file(&world, FIRST);
    let text = fs::read_to_string(&path).expect("a file");
    let shown = path.display().to_string();
    for (what, other) in [
        ("a changed byte", text.replacen("eyJ", "eyK", 1)),
        ("another first line", text.replacen("archive 1", "archive 2", 1)),
    ] {
        assert_ne!(other, text, "{what}");
        fs::write(&path, other).expect("written");
        finds(&world, what, &[&shown, "isn't what was archived", "put it back from a backup"]);
    }
    fs::write(&path, text.trim_end()).expect("written");
    finds(&world, "a cut", &[&shown, "bytes, and the log says", "put it back from a backup"]);
    fs::remove_file(&path).expect("removed");
    fs::rename(file(&world, "2026-11-21"), world.folder().join("aside")).expect("renamed");
    // Each that is missing, at once, and also quickly.
    finds(&world, "missing", &[&shown, "2026-11-21.txt", "put the file back from a backup"]);
    let quick = clearing(&world, &["check", "--quick"]).output().expect("it runs");
    assert!(!quick.status.success() && String::from_utf8_lossy(&quick.stdout).contains(&shown));
    fs::rename(world.folder().join("aside"), file(&world, "2026-11-21")).expect("renamed");
    fs::write(&path, &text).expect("written");
    world.check_books();

    let rows = |wrong: &str, words: &[&str]| {
        let mut conn = database(&world);
        for table in ["message", "signed_batch", "entry"] {
            execute(&mut conn, &format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"));
        }
        execute(&mut conn, wrong);
        finds(&world, wrong, words);
        for table in ["message", "signed_batch", "entry"] {
            let back = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}; DROP TABLE kept_{table}");
            execute(&mut conn, &back);
        }
        world.check_books();
    };
    rows(
        "UPDATE message SET bytes = ''",
        &["its bytes are gone, and no entry says that they were archived"],
    );
    rows("UPDATE message SET bytes = 'x'", &["its bytes aren't those that its entry names"]);
    rows(
        "UPDATE signed_batch SET bytes = 'x'",
        &["the signed batch that it came in is missing"],
    );
    rows("DELETE FROM signed_batch", &["the signed batch that it came in is missing"]);
    rows(
        "UPDATE entry SET body = REPLACE(body, '\"messages\":\"5\"', '\"messages\":\"6\"')",
        &["isn't of the messages that the log has", "isn't what the log's tree has"],
    );
    let sha256 = sha256_hex(text.as_bytes());
    rows(
        &format!("UPDATE entry SET body = REPLACE(body, '{sha256}', '{}')", sha256_hex(b"")),
        &["isn't what was archived", "isn't what the log's tree has"],
    );
    rows(
        "UPDATE entry SET kind = 'archive' WHERE kind = 'archived'",
        &["says that it is of another kind"],
    );
}

/// The operator says itself what is archived: a file that lacks what somebody signed, with the entry of that file.
fn what_was_archived_wrongly_is_named(backend: Backend) {
    let mut world = World::new(backend, &network());
    traded(&mut world);
    let mut conn = database(&world);
    let archived = by_hand(&world, 1);
    archive::enter(&mut conn, &archived, Timestamp::now()).expect("entered");
    finds(&world, "a line less", &["what is archived of it isn't what its entry names"]);
    archive::empty(&mut conn, 0, archived.last, &mut |_| {}).expect("emptied");
    finds(&world, "a line less", &["what is archived of it isn't what its entry names"]);
    world.alters_rows();
}
