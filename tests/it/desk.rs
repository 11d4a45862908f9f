//! docs/FINANCE.md, done as it says: every command, in its order, in an empty folder.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tests::child::command;

use super::install::PROGRAM;

const PAGE: &str = include_str!("../../docs/FINANCE.md");

#[test]
fn what_the_page_for_finance_says_works() {
    let blocks = PAGE.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("an end"));
    let script: String = blocks.collect();
    assert!(script.lines().count() >= 8, "{script}");
    let folder = tempfile::tempdir().expect("a folder");
    let (bin, work) = (folder.path().join("bin"), folder.path().join("work"));
    [&bin, &work].iter().for_each(|folder| std::fs::create_dir(folder).expect("made"));
    symlink(PROGRAM, bin.join("clearing")).expect("a link");
    let installed = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .canonicalize()
        .expect("the workspace");
    // What pip installs as a command names the folder that it was installed in; a workspace may have moved since.
    let python = installed.join("target/interop/venv/bin/python");
    let check = format!(
        "#!/bin/sh\nexec '{}' -c 'from beancount.scripts.check import main; main()' \"$@\"\n",
        python.display()
    );
    std::fs::write(bin.join("bean-check"), check).expect("written");
    std::fs::set_permissions(bin.join("bean-check"), Permissions::from_mode(0o755)).expect("set");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    let mut bash = command("bash", &work, None);
    bash.args(["-euo", "pipefail", "-c", &script]).env("PATH", path).current_dir(&work);
    let output = bash.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // What the page promises of it.
    for part in [
        "Of one partner, for a finance desk",
        "finance/desk/bank-2026-11-20.beancount",
        "assets:points:settlement",
        "1 payment, 0 not confirmed",
        "miles.xlsx is written",
        "liabilities:points:deferred",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let statement = std::fs::read_to_string(work.join("finance/2026-11-20/bank.json")).expect("there");
    let statement: settlement::Statement = serde_json::from_str(&statement).expect("a statement");
    let net = said
        .lines()
        .find(|line| line.contains("assets:points:settlement"))
        .expect("a balance");
    assert!(
        net.contains(&format!("{}0000 {}", statement.net[0].net, statement.net[0].currency)),
        "{net}"
    );
}
