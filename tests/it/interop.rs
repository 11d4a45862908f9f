//! Documents of this house in the hands of others, and theirs in ours: JWS with `jose` and `joserfc`, canonical JSON with `canonicalize` and `rfc8785`.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use clearing::demo::sandbox::Party;
use partner_sdk::jws::general::{General, Signature};
use partner_sdk::jws::{Compact, SigningKey, TYP_AGREEMENT, TYP_MESSAGE, VerifyingKey};
use partner_sdk::wire::Outcome;
use partner_sdk::{Body, KeyId, Message, PartnerId, jcs};
use serde_json::{Value, json};
use tests::load::Draw;
use tests::{Backend, World, authorise, burn, capture, earn, exchange, quote, reverse, void};

const MILES: &str = include_str!("networks/miles.toml");
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

/// The miles network, with a party's messages in it.
struct Parties {
    world: World,
}

impl Parties {
    fn new() -> Self {
        let mut world = World::new(Backend::Sqlite, MILES);
        world.post("bank", earn("BANK", "m", "100000")).expect("a first earn");
        Self { world }
    }

    fn party(&self, id: &str) -> &Party {
        self.world
            .sandbox
            .parties
            .get(&PartnerId::new(id).expect("an id"))
            .expect("a partner")
    }

    /// A message of each kind, to be posted in this order, and one that is refused.
    fn of_every_kind(&mut self) -> Vec<(Message, Outcome)> {
        let mut messages = vec![];
        let mut add = |sender: &str, body: Body, outcome| {
            let message = self.world.message(sender, body);
            messages.push((message.clone(), outcome));
            message.id
        };
        let earned = add("bank", earn("BANK", "m", "1000"), Outcome::Accepted);
        add("bank", reverse(&earned, "400"), Outcome::Accepted);
        let quoted = add("bank", quote("BANK", "MILES", "250"), Outcome::Accepted);
        add("bank", exchange("BANK", "MILES", "m", "250", &quoted), Outcome::Accepted);
        add("hotel", burn("BANK", "m", "70"), Outcome::Accepted);
        let held = add("hotel", authorise("BANK", "m", "50"), Outcome::Accepted);
        add("hotel", capture(&held, "20"), Outcome::Accepted);
        let held = add("hotel", authorise("BANK", "m", "50"), Outcome::Accepted);
        add("hotel", void(&held), Outcome::Accepted);
        add("hotel", burn("BANK", "m", "999999999"), Outcome::Rejected);
        messages
    }

    /// Posts a JWS; the receipt, signed.
    fn post(&self, message: &Message, jws: &str, outcome: Outcome) -> String {
        let answer = self.world.post_jws(message.sender.as_str(), jws);
        assert_eq!(answer.outcome, Some(outcome), "{:?}: {:?}", message.body.kind(), answer.problem);
        answer.receipt.expect("a receipt")
    }

    fn receipt(&self, receipt: String) -> Signed {
        let kid = Compact::parse(&receipt).expect("a JWS").kid;
        Signed::new(receipt, &kid, &self.world.sandbox.clearing_key)
    }
}

#[test]
fn messages_and_receipts_verify_there() {
    let mut parties = Parties::new();
    let mut signed = vec![];
    for (message, outcome) in parties.of_every_kind() {
        let jws = parties.world.sign(&message);
        signed.push(parties.receipt(parties.post(&message, &jws, outcome)));
        let key = &parties.party(message.sender.as_str()).key;
        signed.push(Signed::new(jws, key.kid(), &key.verifying_key()));
    }
    // Neither a payload that can't be read nor an id used twice gets into the ledger; their receipts are signed all the same.
    let (last, _) = parties.of_every_kind().remove(0);
    let bank = &parties.party("bank").key;
    let unreadable = bank.sign(TYP_MESSAGE, "{\"kind\":\"Zufall \u{1f3b2}\"}".as_bytes());
    signed.push(parties.receipt(parties.post(&last, &unreadable, Outcome::Rejected)));
    signed.push(Signed::new(unreadable, bank.kid(), &bank.verifying_key()));
    let cases: Vec<Value> = signed.iter().map(Signed::case).collect();
    let expected: Vec<Value> = signed.iter().map(Signed::answer).collect();
    assert_eq!(cases.len(), 20);
    for library in Library::ALL {
        assert_eq!(library.ask(&cases), expected, "{library:?}");
    }
}

#[test]
fn a_changed_byte_is_refused_there() {
    let mut parties = Parties::new();
    let (message, _) = parties.of_every_kind().remove(0);
    let jws = parties.world.sign(&message);
    let receipt = parties.receipt(parties.post(&message, &jws, Outcome::Accepted));
    let key = &parties.party("bank").key;
    let message = Signed::new(jws, key.kid(), &key.verifying_key());
    // Whose key it isn't.
    let mut cases = vec![json!({"task": "verify", "jws": message.jws, "keys": [receipt.key]})];
    for signed in [&message, &receipt] {
        // The last digit has four bits that mean nothing; we refuse it too (RFC 4648 section 3.5), others may not.
        for at in 0..signed.jws.len() - 1 {
            let mut bytes = signed.jws.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let jws = String::from_utf8(bytes).expect("ascii");
            cases.push(json!({"task": "verify", "jws": jws, "keys": [signed.key]}));
        }
    }
    // The unchanged ones, so that the refusals mean something.
    cases.extend([message.case(), receipt.case()]);
    for library in Library::ALL {
        let mut answers = library.ask(&cases);
        let unchanged = answers.split_off(cases.len() - 2);
        assert_eq!(unchanged, [message.answer(), receipt.answer()], "{library:?}");
        for (case, answer) in cases.iter().zip(&answers) {
            assert!(answer["refused"].is_string(), "{library:?}: {case} {answer}");
        }
    }
}

#[test]
fn messages_signed_there_are_accepted_here() {
    let mut parties = Parties::new();
    for library in Library::ALL {
        for alg in ALGORITHMS {
            let messages = parties.of_every_kind();
            let sign = |(message, _): &(Message, Outcome)| {
                let signer = signer(&parties.party(message.sender.as_str()).key, alg, TYP_MESSAGE);
                json!({"task": "sign", "payload": message.payload(), "signers": [signer]})
            };
            let answers = library.ask(&messages.iter().map(sign).collect::<Vec<_>>());
            for ((message, outcome), answer) in messages.iter().zip(answers) {
                let jws = answer["jws"].as_str().unwrap_or_else(|| panic!("{library:?}: {answer}"));
                let receipt = parties.receipt(parties.post(message, jws, *outcome));
                assert!(
                    receipt.payload.contains(&partner_sdk::jws::sha256_hex(jws.as_bytes())),
                    "{library:?} {alg}"
                );
            }
        }
    }
}

/// Two partners' keys and the clearinghouse's.
fn three_keys() -> [SigningKey; 3] {
    let key = |name: &str, secret| SigningKey::from_bytes(KeyId::new(name).expect("a kid"), &[secret; 32]);
    [key("bank-1", 1), key("airline-1", 2), key("clearing-1", 3)]
}

#[test]
fn documents_that_several_sign_verify_there() {
    let (keys, mut draw) = (three_keys(), Draw::new());
    let jwks: Vec<Value> = keys.iter().map(|key| public(key.kid(), &key.verifying_key())).collect();
    let (mut good, mut expected, mut bad) = (vec![], vec![], vec![]);
    for round in 0..30 {
        let payload = json!({"round": round, "terms": any_value(&mut draw, 4)});
        let payload = jcs::canonical(&payload).expect("a canonical form");
        let mut document = General::sign(&keys[0], TYP_AGREEMENT, payload.as_bytes());
        let others = keys[1..=1 + round % 2].iter();
        document
            .signatures
            .extend(others.map(|key| Signature::new(key, TYP_AGREEMENT, payload.as_bytes())));
        let header = |s: &Signature| json!({"alg": "EdDSA", "kid": s.kid.as_str(), "typ": TYP_AGREEMENT});
        let headers: Vec<Value> = document.signatures.iter().map(header).collect();
        let case = |document: &General| json!({"task": "verify_general", "document": document.to_json(), "keys": jwks});
        good.push(case(&document));
        expected.push(json!({"headers": headers, "payload": payload}));
        // Another payload, signatures that change places, one that isn't over this payload.
        let last = document.signatures.len() - 1;
        let mut other = document.clone();
        other.payload.push(b' ');
        bad.push(case(&other));
        let mut other = document.clone();
        other.signatures[last].signature = document.signatures[0].signature.clone();
        bad.push(case(&other));
        let mut other = document.clone();
        other.signatures[last] = Signature::new(&keys[last], TYP_AGREEMENT, b"{}");
        bad.push(case(&other));
    }
    for library in Library::ALL {
        assert_eq!(library.ask(&good), expected, "{library:?}");
        for (case, answer) in bad.iter().zip(library.ask(&bad)) {
            assert!(answer["refused"].is_string(), "{library:?}: {case} {answer}");
        }
    }
}

#[test]
fn documents_that_several_signed_there_are_accepted_here() {
    let (keys, mut draw) = (three_keys(), Draw::new());
    for library in Library::ALL {
        for alg in ALGORITHMS {
            let values: Vec<Value> = (0..20).map(|_| any_value(&mut draw, 4)).collect();
            let signers: Vec<Value> = keys.iter().map(|key| signer(key, alg, TYP_AGREEMENT)).collect();
            let mut case = |value| json!({"task": "sign_general", "json": any_text(value, &mut draw), "signers": signers});
            let cases: Vec<Value> = values.iter().map(&mut case).collect();
            for (value, answer) in values.iter().zip(library.ask(&cases)) {
                let text = answer["document"].as_str().unwrap_or_else(|| panic!("{library:?}: {answer}"));
                let document = General::parse(text).expect("a document");
                assert_eq!(jcs::read_canonical(&document.payload).as_ref(), Some(value), "{library:?}");
                let kids: Vec<&KeyId> = document.signatures.iter().map(|s| &s.kid).collect();
                assert_eq!(kids, keys.each_ref().map(SigningKey::kid), "{library:?}");
                for (signature, key) in document.signatures.iter().zip(&keys) {
                    assert_eq!(
                        signature.verify(&document.payload, &key.verifying_key()),
                        Ok(()),
                        "{library:?} {alg}"
                    );
                }
            }
        }
    }
}

#[test]
fn canonical_json_agrees() {
    let mut draw = Draw::new();
    let values: Vec<Value> = (0..1000).map(|_| any_value(&mut draw, 5)).collect();
    let mut case = |value| json!({"task": "canonical", "json": any_text(value, &mut draw)});
    let cases: Vec<Value> = values.iter().map(&mut case).collect();
    let ours: Vec<String> = values.iter().map(|v| jcs::canonical(v).expect("a canonical form")).collect();
    let longest = ours.iter().map(String::len).max().unwrap_or(0);
    let sorted_otherwise = values
        .iter()
        .filter(|v| v.to_string() != jcs::canonical(v).expect("a canonical form"))
        .count();
    println!(
        "the longest of {} has {longest} bytes; in {sorted_otherwise} UTF-8 would sort otherwise",
        ours.len()
    );
    assert!(longest > 1000 && sorted_otherwise > 50);
    for library in Library::ALL {
        for ((case, ours), theirs) in cases.iter().zip(&ours).zip(library.ask(&cases)) {
            assert_eq!(theirs["canonical"].as_str(), Some(ours.as_str()), "{library:?}: {case}");
            assert!(jcs::read_canonical(ours.as_bytes()).is_some(), "{ours}");
        }
    }
}

/// One of a few.
fn one_of<T: Copy>(draw: &mut Draw, few: &[T]) -> T {
    let place = usize::try_from(draw.upto(few.len() as u64) - 1).expect("small");
    few[place]
}

/// Any JSON of integers and strings, nested so deep.
fn any_value(draw: &mut Draw, depth: usize) -> Value {
    let kinds = if depth == 0 { 5 } else { 12 };
    match draw.upto(kinds) {
        1 => Value::Null,
        2 => Value::Bool(draw.upto(2) == 1),
        3 => {
            let size = i64::try_from(jcs::MAX_INTEGER).expect("fits") >> (draw.upto(54) - 1);
            json!(size * one_of(draw, &[1, -1]))
        }
        4 | 5 => any_string(draw).into(),
        6..=8 => (0..draw.upto(6) - 1).map(|_| any_value(draw, depth - 1)).collect(),
        _ => {
            let members = (0..draw.upto(9) - 1).map(|_| (any_string(draw), any_value(draw, depth - 1)));
            Value::Object(members.collect())
        }
    }
}

/// Names that mean something to somebody.
const NAMES: [&str; 9] = ["", "__proto__", "constructor", "toString", "toJSON", "length", "10", "9", "1e1"];

fn any_string(draw: &mut Draw) -> String {
    if draw.upto(8) == 1 {
        return one_of(draw, &NAMES).to_owned();
    }
    (0..draw.upto(6) - 1).map(|_| any_char(draw)).collect()
}

/// Of every part of Unicode alike: what is escaped, what sorts otherwise in UTF-8 than in UTF-16, what breaks lines, what isn't a character.
fn any_char(draw: &mut Draw) -> char {
    let ranges = [
        (0, 0x1f),
        (0x20, 0x7e),
        (0x22, 0x22),
        (0x5c, 0x5c),
        (0x7f, 0xff),
        (0x300, 0x36f),
        (0x2028, 0x2029),
        (0x4e00, 0x9fff),
        (0xd700, 0xd7ff),
        (0xe000, 0xf8ff),
        (0xfeff, 0xfeff),
        (0xfff0, 0xffff),
        (0x1_0000, 0x1_00ff),
        (0x1_f600, 0x1_f64f),
        (0x10_ff00, 0x10_ffff),
    ];
    let (first, last) = one_of(draw, &ranges);
    let number = first + u32::try_from(draw.upto(u64::from(last - first + 1)) - 1).expect("small");
    char::from_u32(number).expect("no surrogate")
}

/// A value as anybody may write it: members in any order, white space, escapes that needn't be.
fn any_text(value: &Value, draw: &mut Draw) -> String {
    let space = one_of(draw, &["", "", " ", "\n\t", "\r\n"]);
    let listed = |items: Vec<String>| items.join(&format!("{space},{space}"));
    match value {
        Value::String(text) => any_quoted(text, draw),
        Value::Array(items) => format!("[{space}{}]", listed(items.iter().map(|item| any_text(item, draw)).collect())),
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_cached_key(|_| draw.upto(1 << 31));
            let mut member = |(key, value): (&String, &Value)| format!("{}{space}:{}", any_quoted(key, draw), any_text(value, draw));
            format!("{{{}{space}}}", listed(members.into_iter().map(&mut member).collect()))
        }
        plain => format!("{space}{plain}"),
    }
}

fn any_quoted(text: &str, draw: &mut Draw) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        if char < ' ' || char == '"' || char == '\\' || draw.upto(4) == 1 {
            let units = char
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04X}"))
                .collect::<String>();
            quoted.push_str(&units);
        } else {
            quoted.push(char);
        }
    }
    quoted + "\""
}
