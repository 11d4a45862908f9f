//! The night killed at any point and started again ends with the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use migrations::{Conn, Url};
use settlement::{Pace, Payments};
use tests::child::command;
use tests::load::Draw;
use tests::postgres::Cluster;
use tests::{Backend, World, burn, earn, on_both, with_bonus};

use crate::january::statements;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clearing-under-test");
const MILES: &str = include_str!("networks/miles.toml");
const KILLS: u64 = 200;
/// Three windows are due then, and the bank's points have expired.
const NIGHT: &str = "2026-11-22T16:00:01Z";

on_both!(
    a_killed_night_ends_with_the_same_bytes,
    a_night_stopped_at_each_step_ends_with_the_same_bytes,
    the_night_comes_by_itself,
    two_starters_make_one_run,
);

/// A clearinghouse after a day's trading, not closed yet: (its folder, its database).
fn traded(backend: Backend) -> (World, String) {
    let network = MILES.replace("expires_after = \"2 months\"", "expires_after = \"1 day\"");
    let mut world = World::new(backend, &with_bonus(&network, "15"));
    for n in 0..600 {
        let message = world.message("bank", earn("BANK", &format!("m{n}"), "333"));
        if n % 3 == 0 {
            world.send(&message).expect("accepted");
            world
                .exchange_at_quote("bank", "BANK", "MILES", &format!("m{n}"), "333")
                .expect("accepted");
            world.post("hotel", burn("MILES", &format!("m{n}"), "7")).expect("accepted");
        } else {
            world.send(&message).expect("accepted");
        }
    }
    world.sandbox.stop();
    let database = world.sandbox.config.database.clone();
    (world, database)
}

/// A copy of the clearinghouse with its database: (folder, database).
fn copy(backend: Backend, from: &Path, database: &str, to: &Path) -> String {
    std::fs::create_dir_all(to).expect("a folder");
    for file in std::fs::read_dir(from)
        .expect("readable")
        .map(|f| f.expect("a file").path())
        .filter(|f| f.is_file())
    {
        std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
    }
    match backend {
        Backend::Sqlite => to.join("clearing.db").to_string_lossy().into_owned(),
        Backend::Postgres => Cluster::shared().copy_database(database).expect("a copy"),
    }
}

fn night(folder: &Path, database: &str) -> std::process::Command {
    let mut night = command(PROGRAM, folder, Some(database));
    night.args(["night", "--sandbox-clock", NIGHT]).stdout(Stdio::null());
    night
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    statements(&folder.join("statements"))
}

fn a_killed_night_ends_with_the_same_bytes(backend: Backend) {
    let (world, database) = traded(backend);
    let folder = world.folder().to_owned();
    let origin = folder.join("sandbox");
    let undisturbed = folder.join("undisturbed");
    let copied = copy(backend, &origin, &database, &undisturbed);
    let started = Instant::now();
    assert!(night(&undisturbed, &copied).status().expect("it runs").success());
    let took = started.elapsed();
    let expected = files(&undisturbed);
    assert_eq!(
        expected.len(),
        3 * 7 + 2,
        "three windows of three partners in two formats and a settlement; the clearinghouse's fees in one"
    );
    let mut draw = Draw::new();
    let (mut kills, mut nights, mut midway) = (0, 0, 0);
    while kills < KILLS {
        let place = folder.join(format!("killed-{nights}"));
        let copied = copy(backend, &origin, &database, &place);
        // One night is killed over and over, until it comes to its end before the kill.
        loop {
            let moment = Duration::from_micros(draw.upto(u64::try_from(took.as_micros()).expect("short")));
            let (mut process, started) = (night(&place, &copied).spawn().expect("it starts"), Instant::now());
            while started.elapsed() < moment && process.try_wait().expect("its state").is_none() {
                std::hint::spin_loop();
            }
            let ended = process.try_wait().expect("its state").is_some();
            process.kill().expect("killed");
            process.wait().expect("gone");
            if ended {
                break;
            }
            kills += 1;
            midway += u64::from(is_midway(&place, &copied, &expected));
        }
        assert!(files(&place) == expected, "the night killed {kills} times in all: other bytes");
        // Once more finds nothing to do.
        assert!(night(&place, &copied).status().expect("it runs").success());
        assert!(files(&place) == expected, "once more: other bytes");
        let check = command(PROGRAM, &place, Some(&copied)).arg("check").output().expect("it runs");
        assert!(check.status.success(), "{check:?}");
        nights += 1;
    }
    println!("{kills} kills of {nights} nights, {midway} of them midway");
    assert!(
        midway >= kills / 10,
        "{midway} of {kills} kills came between the close and the last file: the test shows little"
    );
}

/// Whether a night has begun and not ended: windows are closed, and not all statements are there.
fn is_midway(place: &Path, database: &str, expected: &BTreeMap<PathBuf, Vec<u8>>) -> bool {
    let mut conn = Conn::open(&Url::new(database)).expect("a connection");
    let pending = settlement::pending(&mut conn).expect("windows");
    !pending.is_empty() || place.join("statements").is_dir() && files(place) != *expected
}

/// How far a night had come when it was stopped.
const STEPS: [&str; 7] = ["closed", "expired", "netted", "kept", "half of the files", "all files", "advised"];

/// Does the first steps of the night for the first window, as [`clearing::night`] does.
fn bring(conn: &mut Conn, out: &Path, steps: usize) {
    let now: Timestamp = NIGHT.parse().expect("a time");
    let date = settlement::open_window(conn).expect("a window").business_date;
    for name in &STEPS[..steps] {
        let window = settlement::window(conn, date).expect("read").expect("a window");
        match *name {
            "closed" => {
                let closed = conn.transaction(|conn| {
                    store::lock_head(conn)?;
                    settlement::close_due(conn, now, None)
                });
                assert_eq!(closed.expect("closed")[0], date);
            }
            "expired" => {
                let directory = Arc::new(store::load_directory(conn).expect("a directory"));
                store::expire_lots(conn, &directory, &window, || now.as_microsecond()).expect("expired");
            }
            "netted" => settlement::net(conn, date, now, Pace::Gentle, Payments::OneByOne).expect("netted"),
            "kept" => drop(settlement::keep(conn, date, now, Pace::Gentle).expect("kept")),
            "half of the files" | "all files" => {
                let kept = settlement::kept(conn, date).expect("kept");
                let some = if name.starts_with("half") { kept.len() / 2 } else { kept.len() };
                let folder = out.join(date.to_string());
                std::fs::create_dir_all(&folder).expect("a folder");
                for (name, bytes) in &kept[..some] {
                    std::fs::write(folder.join(name), bytes).expect("written");
                }
            }
            _ => settlement::mark_advised(conn, date, now, clearing::documents::settled::advised).expect("advised"),
        }
    }
}

/// A process that ends between two steps leaves what a whole night would have left on its way.
fn a_night_stopped_at_each_step_ends_with_the_same_bytes(backend: Backend) {
    let (world, database) = traded(backend);
    let folder = world.folder().to_owned();
    let origin = folder.join("sandbox");
    let mut expected = None;
    for steps in 0..=STEPS.len() {
        let place = folder.join(format!("stopped-{steps}"));
        let copied = copy(backend, &origin, &database, &place);
        let mut conn = Conn::open(&Url::new(copied.as_str())).expect("a connection");
        bring(&mut conn, &place.join("statements"), steps);
        drop(conn);
        assert!(night(&place, &copied).status().expect("it runs").success());
        let files = files(&place);
        assert_eq!(files.len(), 3 * 7 + 2, "stopped at step {steps}");
        assert!(
            *expected.get_or_insert_with(|| files.clone()) == files,
            "stopped at step {steps}: other bytes"
        );
        let check = command(PROGRAM, &place, Some(&copied)).arg("check").output().expect("it runs");
        assert!(check.status.success(), "stopped at step {steps}: {check:?}");
    }
}

fn the_night_comes_by_itself(backend: Backend) {
    let (world, database) = traded(backend);
    let place = world.folder().join("served");
    let copied = copy(backend, &world.folder().join("sandbox"), &database, &place);
    let mut serve = command(PROGRAM, &place, Some(&copied));
    serve.args(["serve", "--sandbox-clock", NIGHT]).stdout(Stdio::null());
    let mut process = serve.spawn().expect("it starts");
    let last = place.join("statements/2026-11-22/settlement.json");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !last.is_file() {
        assert!(Instant::now() < deadline, "no statements after a minute");
        assert!(process.try_wait().expect("its state").is_none(), "the service ended");
        // A file has no event that every system tells.
        std::thread::park_timeout(Duration::from_millis(20));
    }
    process.kill().expect("killed");
    process.wait().expect("gone");
}

/// Three that are started at once: all that is due is done by one of them.
fn two_starters_make_one_run(backend: Backend) {
    let (world, database) = traded(backend);
    let place = world.folder().join("twice");
    let copied = copy(backend, &world.folder().join("sandbox"), &database, &place);
    let start = || night(&place, &copied).stdout(Stdio::piped()).spawn().expect("it starts");
    let all = [start(), start(), start()].map(|process| process.wait_with_output().expect("it ends"));
    let told = all.map(|output| {
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    });
    let wrote = told.each_ref().map(|told| told.matches("statements of 2026").count());
    let idle = told.iter().filter(|told| told.contains("no window is due")).count();
    assert_eq!((wrote.iter().sum::<usize>(), wrote.contains(&3), idle), (3, true, 2), "{told:?}");
    assert_eq!(files(&place).len(), 3 * 7 + 2);
}
