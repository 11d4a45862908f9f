//! The night killed at any point and started again ends with the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tests::child::command;
use tests::load::Draw;
use tests::postgres::Cluster;
use tests::{Backend, World, burn, earn, on_both, with_bonus};

use crate::january::statements;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clearing-under-test");
const MILES: &str = include_str!("networks/miles.toml");
const KILLS: u64 = 25;
/// Three windows are due then, and the bank's points have expired.
const NIGHT: &str = "2026-11-22T16:00:01Z";

on_both!(a_killed_night_ends_with_the_same_bytes, the_night_comes_by_itself);

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
    night.args(["night", "--sandbox-clock", NIGHT]).stdout(std::process::Stdio::null());
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
    let mut unfinished = 0;
    for kill in 0..KILLS {
        let place = folder.join(format!("killed-{kill}"));
        let copied = copy(backend, &origin, &database, &place);
        let moment = Duration::from_micros(draw.upto(u64::try_from(took.as_micros()).expect("short")));
        let (mut process, started) = (night(&place, &copied).spawn().expect("it starts"), Instant::now());
        while started.elapsed() < moment && process.try_wait().expect("its state").is_none() {
            std::hint::spin_loop();
        }
        process.kill().expect("killed");
        process.wait().expect("gone");
        unfinished += usize::from(!place.join("statements").is_dir() || files(&place) != expected);
        // Twice more: the second finds nothing to do.
        for _ in 0..2 {
            assert!(night(&place, &copied).status().expect("it runs").success());
            assert!(files(&place) == expected, "killed after {moment:?}: other bytes");
        }
        let check = command(PROGRAM, &place, Some(&copied)).arg("check").output().expect("it runs");
        assert!(check.status.success(), "killed after {moment:?}: {check:?}");
    }
    println!("{unfinished} of {KILLS} nights were killed before their end");
    assert!(unfinished > 0, "no kill came in time: the test shows nothing");
}

fn the_night_comes_by_itself(backend: Backend) {
    let (world, database) = traded(backend);
    let place = world.folder().join("served");
    let copied = copy(backend, &world.folder().join("sandbox"), &database, &place);
    let mut serve = command(PROGRAM, &place, Some(&copied));
    serve.args(["serve", "--sandbox-clock", NIGHT]).stdout(std::process::Stdio::null());
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
