//! Documents of this house in the hands of others, and theirs in ours: JWS with `jose` and `joserfc`, canonical JSON with `canonicalize` and `rfc8785`, statements with hledger, beancount and the schemas of ISO 20022, netting with exact fractions.

mod documents;
mod files;
mod finance;
mod json;
mod log;
mod messages;
mod netting;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use partner_sdk::KeyId;
use partner_sdk::jws::{Compact, SigningKey, VerifyingKey};
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Two names for the one algorithm (RFC 8037, RFC 9864).
const ALGORITHMS: [&str; 2] = ["EdDSA", "Ed25519"];

/// A library pair of another language, in a process of its own.
#[derive(Debug, Clone, Copy)]
enum Library {
    /// `jose` and `canonicalize`, for node.
    JavaScript,
    /// `joserfc` and `rfc8785`, for Python.
    Python,
}

impl Library {
    const ALL: [Library; 2] = [Library::JavaScript, Library::Python];

    /// Puts cases to it: an answer for each.
    fn ask(self, cases: &[Value]) -> Vec<Value> {
        let root = Path::new(ROOT).canonicalize().expect("the workspace");
        let installed = root.join("target/interop");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("cases.json");
        std::fs::write(&file, json!(cases).to_string()).expect("the cases");
        let (mark, mut command) = match self {
            Library::JavaScript => {
                // From its standard input, node looks for packages where it was started.
                let script = File::open(root.join("tests/interop/check.mjs")).expect("the script");
                let mut node = Command::new("node");
                node.args(["--input-type=module", "-"])
                    .current_dir(installed.join("node"))
                    .stdin(script);
                ("node.done", node)
            }
            Library::Python => {
                let mut python = Command::new(installed.join("venv/bin/python"));
                python.arg(root.join("tests/interop/check.py")).stdin(Stdio::null());
                ("venv.done", python)
            }
        };
        assert!(
            installed.join(mark).exists(),
            "{self:?}: libraries are missing: run ./tests/run --prepare"
        );
        let output = command.arg(&file).output().expect("it starts: run ./tests/run --prepare");
        assert!(output.status.success(), "{self:?}: {}", String::from_utf8_lossy(&output.stderr));
        let answers: Vec<Value> = serde_json::from_slice(&output.stdout).expect("answers");
        assert_eq!(answers.len(), cases.len(), "{self:?}: an answer for each case");
        answers
    }
}

fn public(kid: &KeyId, key: &VerifyingKey) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid.as_str(), "x": key.to_base64url()})
}

fn private(key: &SigningKey) -> Value {
    let mut jwk = public(key.kid(), &key.verifying_key());
    jwk["d"] = key.secret_base64url().into();
    jwk
}

fn signer(key: &SigningKey, alg: &str, typ: &str) -> Value {
    json!({"header": {"alg": alg, "kid": key.kid().as_str(), "typ": typ}, "key": private(key)})
}

/// A compact JWS of ours, and what is to be found in it.
struct Signed {
    jws: String,
    key: Value,
    payload: String,
    header: Value,
}

impl Signed {
    fn new(jws: String, kid: &KeyId, key: &VerifyingKey) -> Self {
        let compact = Compact::parse(&jws).expect("a JWS");
        let header = json!({"alg": "EdDSA", "kid": kid.as_str(), "typ": compact.typ});
        let payload = String::from_utf8(compact.payload.clone()).expect("text");
        let key = public(kid, key);
        Self { jws, key, payload, header }
    }

    fn case(&self) -> Value {
        json!({"task": "verify", "jws": self.jws, "keys": [self.key]})
    }

    fn answer(&self) -> Value {
        json!({"headers": [self.header], "payload": self.payload})
    }
}
