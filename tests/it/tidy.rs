//! The house keeps its shape.

mod circles;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable").map(|e| e.expect("an entry").path()) {
        if entry.is_dir() && !entry.ends_with("target") {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn the_top_level_is_as_designed() {
    let folders: BTreeSet<String> = std::fs::read_dir(ROOT)
        .expect("readable")
        .map(|e| e.expect("an entry"))
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    assert_eq!(
        folders,
        ["clearing", "docs", "migrations", "partner-sdk", "settlement", "tests"]
            .map(String::from)
            .into()
    );
}

#[test]
fn imports_run_one_way() {
    // Each crate may use only those after it.
    let order = [
        ("tests", "tests"),
        ("clearing", "clearing"),
        ("store", "clearing/store"),
        ("settlement", "settlement"),
        ("migrations", "migrations"),
        ("ledger", "clearing/ledger"),
        ("partner-sdk", "partner-sdk"),
    ];
    for (place, (name, folder)) in order.iter().enumerate() {
        let manifest = std::fs::read_to_string(Path::new(ROOT).join(folder).join("Cargo.toml")).expect("a manifest");
        for (earlier, _) in &order[..=place] {
            let uses = manifest
                .lines()
                .any(|line| line.starts_with(&format!("{earlier}.workspace")) || line.starts_with(&format!("{earlier} =")));
            assert!(!uses, "{name} uses {earlier}");
        }
    }
    // The pure core knows neither I/O nor clock nor database, and what it uses knows none either.
    let core = Path::new(ROOT).join("clearing/ledger");
    let manifest = std::fs::read_to_string(core.join("Cargo.toml")).expect("a manifest");
    for impure in ["diesel", "tokio", "reqwest", "rand", "features"] {
        let uses = manifest
            .lines()
            .take_while(|line| *line != "[dev-dependencies]")
            .any(|line| line.contains(impure));
        assert!(!uses, "the core uses {impure}");
    }
    let mut files = vec![];
    sources(&core.join("src"), &mut files);
    assert!(files.len() > 20);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        for impure in [
            "std::time",
            "std::fs",
            "std::net",
            "std::process",
            "std::env",
            "Timestamp::now",
            "Zoned::now",
            "async ",
        ] {
            assert!(!text.contains(impure), "{}: {impure}", file.display());
        }
    }
}

#[test]
fn files_stay_readable() {
    let mut files = vec![];
    for name in ["clearing", "partner-sdk", "settlement", "migrations", "tests"] {
        sources(&Path::new(ROOT).join(name), &mut files);
    }
    assert!(files.len() > 40);
    for file in files {
        let lines = std::fs::read_to_string(&file).expect("readable").lines().count();
        assert!(lines <= 500, "{} has {lines} lines: is there a seam by meaning?", file.display());
    }
}
