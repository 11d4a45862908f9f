//! What the bench measures is there and right in its shape, with so little that its figures say nothing.

use std::process::{Command, Stdio};

use serde_json::Value;
use tests::{Backend, on_both};

use super::install::PROGRAM;

on_both!(
    speed_stands_beside_its_floors,
    growth_is_told_by_tenths,
    one_partner_has_most_of_it,
    signed_batches_stand_beside_the_write,
    a_window_closes_under_load,
    a_full_window_comes_to_its_statements,
);

/// Runs the bench with little, and reads what it says as JSON.
fn bench(backend: Backend, arguments: &[&str]) -> Value {
    let mut command = Command::new(PROGRAM);
    command
        .arg("bench")
        .args(arguments)
        .args(["--members", "50", "--partners", "2", "--json"]);
    if backend == Backend::Postgres {
        command.args(["--database", &backend.database()]);
    }
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let (machine, name) = (
        &told["machine"],
        if backend == Backend::Postgres { "PostgreSQL " } else { "SQLite " },
    );
    assert!(machine["database"].as_str().expect("a name").starts_with(name), "{machine}");
    assert!(number(&machine["cores"]) > 0 && machine["measured_at"].is_string() && machine["model"].is_string());
    told
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn speed_stands_beside_its_floors(backend: Backend) {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = folder.path().join("speed.svg");
    let told = bench(backend, &["--messages", "1000", "--svg", &picture.to_string_lossy()]);
    for way in [&told["batches"], &told["singles"]] {
        assert!(number(&way["series"]["per_second"]) > 0 && number(&way["bound"]) > 0);
        assert_eq!(number(&way["series"]["messages"]), 1000);
        for stage in ["verify", "queue", "load", "apply", "persist", "commit", "receipt"] {
            assert!(number(&way["phases"][stage]) > 0, "{stage}: {way}");
        }
    }
    assert!(std::fs::read_to_string(picture).expect("drawn").contains("<svg"));
}

fn growth_is_told_by_tenths(backend: Backend) {
    let told = bench(backend, &["growth", "--messages", "2000"]);
    let parts = list(&told["parts"]);
    assert_eq!(parts.len(), 10);
    let memory = |one: &Value| number(&one["memory"]["resident"]);
    assert!(
        parts
            .iter()
            .all(|part| number(&part["series"]["messages"]) == 200 && memory(part) > 1_000_000)
    );
    assert!(number(&told["peak"]) >= parts.iter().map(memory).max().expect("ten"));
    // A message alone has several hundred bytes.
    assert!(number(&told["disk"]) > 2_050 * 500 && number(&told["disk_each"]) > 500, "{told}");
    assert!(0 < number(&told["ready"]) && number(&told["ready"]) < number(&told["answered"]));
    assert!(number(&told["permille"]) > 0);
}

fn one_partner_has_most_of_it(backend: Backend) {
    let told = bench(backend, &["skew", "--messages", "1000"]);
    let pairs = list(&told["pairs"]);
    assert_eq!(pairs.iter().map(|pair| &pair["what"]).collect::<Vec<_>>(), ["batches", "singles"]);
    for pair in pairs {
        let all = [list(&pair["even"]), list(&pair["skewed"])];
        assert!(
            all.iter().all(|rounds| rounds.len() == 2) && number(&pair["permille"]) > 0,
            "{pair}"
        );
    }
}

fn signed_batches_stand_beside_the_write(backend: Backend) {
    let told = bench(backend, &["signed", "--messages", "3000"]);
    let signed = &told["signed"];
    assert_eq!(
        (number(&signed["series"]["messages"]), &signed["parts"][0][0]),
        (3000, &"write".into())
    );
    assert_eq!(number(&signed["phases"]["group"]), 300, "a tenth, in one request");
    assert!(number(&signed["bound"]) > 0 && number(&signed["permille"]) > 0);
}

fn a_window_closes_under_load(backend: Backend) {
    let told = bench(backend, &["close", "--messages", "1000"]);
    let ways = list(&told["ways"]);
    assert_eq!(ways.len(), 2);
    for way in ways {
        for beside in [&way["closing"], &way["reading"]] {
            assert!(number(&beside["took"]) > 0 && number(&beside["times"]["answers"]) > 0, "{way}");
            assert!(number(&way["quiet"]["answers"]) >= number(&beside["times"]["answers"]), "{way}");
        }
        assert!(number(&way["read"]) > 0, "{way}");
    }
}

fn a_full_window_comes_to_its_statements(backend: Backend) {
    let told = bench(backend, &["settle", "--messages", "1000"]);
    assert_eq!(
        number(&told["files"]),
        2 * 3 + 1,
        "two shops' and their issuer's, and the settlement"
    );
    assert!(number(&told["took"]) > 0, "{told}");
    let memory: Vec<u64> = list(&told["memory"]).iter().map(number).collect();
    assert!(memory[0] > 1_000_000 && memory[1] >= memory[0], "{told}");
}

#[test]
fn what_is_measured_comes_first() {
    let said = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).arg("bench").args(arguments).output().expect("it runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (works, help) = said(&["--help"]);
    let all = ["growth", "skew", "signed", "close", "night", "settle", "kinds", "check"];
    assert!(works && all.iter().all(|what| help.contains(&format!("\n  {what} "))), "{help}");
    let (works, why) = said(&["--messages", "1000", "night"]);
    assert!(!works && why.contains("cannot be used with"), "{why}");
    let (works, why) = said(&["night", "--svg", "a.svg"]);
    assert!(!works && why.contains("unexpected argument"), "{why}");
}
