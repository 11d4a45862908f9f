//! Messages and receipts.

use clearing::commands::demo::sandbox::Party;
use partner_sdk::jws::{Compact, TYP_MESSAGE, sha256_hex};
use partner_sdk::wire::Outcome;
use partner_sdk::{Body, Message, PartnerId};
use serde_json::{Value, json};
use tests::{Backend, World, authorise, burn, capture, earn, exchange, quote, reverse, void};

use super::{ALGORITHMS, Library, Signed, signer};

const MILES: &str = include_str!("../networks/miles.toml");

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
        Signed::new(receipt, &kid, self.world.sandbox.trust.key())
    }
}

#[test]
fn messages_and_receipts_verify_there() {
    let mut parties = Parties::new();
    let mut signed = vec![];
    for (message, outcome) in parties.of_every_kind() {
        let jws = parties.world.sign(&message);
        parties.post(&message, &jws, outcome);
        let key = &parties.party(message.sender.as_str()).key;
        signed.push(Signed::new(jws, key.kid(), &key.verifying_key()));
    }
    // A payload that can't be read doesn't get into the ledger; the refusal is signed all the same.
    let (last, _) = parties.of_every_kind().remove(0);
    let bank = &parties.party("bank").key;
    let unreadable = bank.sign(TYP_MESSAGE, "{\"kind\":\"Zufall \u{1f3b2}\"}".as_bytes());
    signed.push(parties.receipt(parties.post(&last, &unreadable, Outcome::Rejected)));
    signed.push(Signed::new(unreadable, bank.kid(), &bank.verifying_key()));
    let cases: Vec<Value> = signed.iter().map(Signed::case).collect();
    let expected: Vec<Value> = signed.iter().map(Signed::answer).collect();
    assert_eq!(cases.len(), 12);
    for library in Library::ALL {
        assert_eq!(library.ask(&cases), expected, "{library:?}");
    }
}

#[test]
fn a_changed_byte_is_refused_there() {
    let mut parties = Parties::new();
    let (message, _) = parties.of_every_kind().remove(0);
    let jws = parties.world.sign(&message);
    let key = &parties.party("bank").key;
    let unreadable = key.sign(TYP_MESSAGE, b"{}");
    let receipt = parties.receipt(parties.post(&message, &unreadable, Outcome::Rejected));
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
                let receipt = parties.post(message, jws, *outcome);
                assert!(receipt.contains(&sha256_hex(jws.as_bytes())), "{library:?} {alg}");
            }
        }
    }
}
