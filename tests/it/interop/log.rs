//! Receipts of the log in the hands of the few lines of Python that PROTOCOL gives, as they stand there.

use std::path::Path;
use std::process::{Command, Stdio};

use partner_sdk::wire::Outcome;
use serde_json::{Value, json};
use tests::{Backend, World, burn, earn};

use super::ROOT;

const NETWORK: &str = include_str!("../networks/pool.toml");

/// Verifies each case with the code of PROTOCOL.md: what it says, or that it was refused.
fn ask(cases: &[Value]) -> Vec<Value> {
    let root = Path::new(ROOT).canonicalize().expect("the workspace");
    let protocol = std::fs::read_to_string(root.join("docs/PROTOCOL.md")).expect("the page");
    let mut blocks = protocol.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next());
    let verifier = blocks
        .find(|block| block.contains("def verify(receipt, message, vkey)"))
        .expect("it is documented");
    assert!(verifier.lines().count() <= 40, "it is to be read at a glance");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (script, file) = (folder.path().join("verify.py"), folder.path().join("cases.json"));
    let driver = r#"
import sys

def answer(case):
    try:
        return verify(case["receipt"], case["message"].encode(), case["vkey"])
    except Exception as error:
        return {"refused": type(error).__name__}

print(json.dumps([answer(case) for case in json.load(open(sys.argv[1]))]))
"#;
    std::fs::write(&script, format!("{verifier}{driver}")).expect("the script");
    std::fs::write(&file, json!(cases).to_string()).expect("the cases");
    let python = root.join("target/interop/venv/bin/python");
    assert!(python.exists(), "libraries are missing: run ./tests/run --prepare");
    let output = Command::new(python)
        .arg(&script)
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("answers")
}

#[test]
fn receipts_verify_by_the_lines_of_the_page() {
    let mut world = World::new(Backend::Sqlite, NETWORK);
    let vkey = world.sandbox.trust.log_keys().trim_end().to_owned();
    let mut cases = vec![];
    for n in 0..40 {
        let body = if n % 7 == 3 {
            burn("YUU", "m", "999999")
        } else {
            earn("YUU", "m", "5")
        };
        let sender = if n % 7 == 3 { "ikea" } else { "wellcome" };
        let message = world.message(sender, body);
        let jws = world.sign(&message);
        let answer = world.post_jws(sender, &jws);
        let rejected = answer.outcome == Some(Outcome::Rejected);
        assert_eq!(rejected, n % 7 == 3, "{:?}", answer.problem);
        cases.push(json!({"receipt": answer.receipt.expect("a receipt"), "message": jws, "vkey": vkey}));
    }
    let good = ask(&cases);
    for (n, said) in good.iter().enumerate() {
        assert_eq!(said["outcome"], if n % 7 == 3 { "rejected" } else { "accepted" }, "{said}");
    }
    // One bit of any byte, another message's bytes, another log's key.
    let last = cases.last().expect("a case").clone();
    let receipt = last["receipt"].as_str().expect("text");
    let flipped = (0..receipt.len()).filter_map(|at| {
        let mut bytes = receipt.to_owned().into_bytes();
        bytes[at] ^= 1 << (at % 7);
        let receipt = String::from_utf8(bytes).ok()?;
        Some(json!({"receipt": receipt, "message": last["message"], "vkey": vkey}))
    });
    let mut wrong: Vec<Value> = flipped.collect();
    assert!(wrong.len() > 500);
    wrong.push(json!({"receipt": receipt, "message": cases[0]["message"], "vkey": vkey}));
    let other = "clearing.example/log+9c292acf+AcqTrBcFGHBx1nuDx/8O/oEI6OxFMFdddyaHkzPb2r58";
    wrong.push(json!({"receipt": receipt, "message": last["message"], "vkey": other}));
    for (case, said) in wrong.iter().zip(ask(&wrong)) {
        assert!(said["refused"].is_string(), "{case} {said}");
    }
}
