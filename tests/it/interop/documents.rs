//! Documents that several sign: in general, and agreements on their whole way.

use std::collections::BTreeSet;

use jiff::ToSpan;
use partner_sdk::document::{Act, Action, State};
use partner_sdk::jws::general::{General, Signature};
use partner_sdk::jws::{SigningKey, TYP_ACT, TYP_AGREEMENT, sha256_hex};
use partner_sdk::{KeyId, document, jcs};
use serde_json::{Value, json};
use tests::load::Draw;
use tests::market::{Market, later, signatures};
use tests::office::act;
use tests::{Backend, earn};

use super::json::{any_text, any_value};
use super::{ALGORITHMS, Library, Signed, public, signer};

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

/// The public keys of those who sign an agreement.
fn keys_of(market: &Market) -> Vec<Value> {
    let partners = ["grocer", "pool"].map(|partner| market.key(partner));
    let keys = partners.into_iter().chain([&market.office.second]);
    let kid = KeyId::new(&market.world.sandbox.config.operator.kid).expect("a kid");
    let clearing = public(&kid, market.world.sandbox.trust.key());
    keys.map(|key| public(key.kid(), &key.verifying_key())).chain([clearing]).collect()
}

#[test]
fn an_agreement_verifies_there_and_changed_it_does_not() {
    let market = Market::new(Backend::Sqlite, 1);
    let (filed, terms) = market.agreement_in(State::InForce);
    let keys = keys_of(&market);
    let case = |document: &str| json!({"task": "verify_general", "document": document, "keys": keys});
    let parts = General::parse(&filed.document).expect("a document").signatures;
    let signers: BTreeSet<&str> = parts.iter().map(|s| s.kid.as_str()).collect();
    assert_eq!(signers, keys.iter().filter_map(|key| key["kid"].as_str()).collect());
    let headers = parts
        .iter()
        .map(|s| json!({"alg": "EdDSA", "kid": s.kid.as_str(), "typ": TYP_AGREEMENT}));
    let expected = json!({"headers": headers.collect::<Vec<_>>(), "payload": document::write(&terms)});
    // Every digit of the payload, the protected headers and the signatures, but those of which a part means nothing.
    let parts = parts.iter().flat_map(|s| [s.protected.clone(), s.signature[..85].to_owned()]);
    let payload = serde_json::from_str::<Value>(&filed.document).expect("json")["payload"].clone();
    let mut cases = vec![case(&filed.document)];
    for part in parts.chain([payload.as_str().expect("text").to_owned()]) {
        let (before, after) = filed.document.split_once(&part).expect("a part of it");
        for at in 0..part.len() {
            let mut changed = part.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ascii");
            cases.push(case(&format!("{before}{changed}{after}")));
        }
    }
    assert!(cases.len() > 900, "{}", cases.len());
    for library in Library::ALL {
        let mut answers = library.ask(&cases).into_iter();
        assert_eq!(answers.next(), Some(expected.clone()), "{library:?}");
        for (case, answer) in cases[1..].iter().zip(answers) {
            assert!(answer["refused"].is_string(), "{library:?}: {case} {answer}");
        }
    }
}

#[test]
fn an_agreement_made_there_is_accepted_here() {
    let (mut market, mut draw) = (Market::new(Backend::Sqlite, 4), Draw::new());
    for (proposes, signs) in [(Library::JavaScript, Library::Python), (Library::Python, Library::JavaScript)] {
        for alg in ALGORITHMS {
            // Each writes and canonicalizes the terms by itself.
            let terms = market.terms();
            let value = serde_json::to_value(&terms).expect("json");
            let mut signed = |library: Library, partner| {
                let signers = [signer(market.key(partner), alg, TYP_AGREEMENT)];
                let case = json!({"task": "sign_general", "json": any_text(&value, &mut draw), "signers": signers});
                let answer = library.ask(&[case]).remove(0);
                answer["document"]
                    .as_str()
                    .unwrap_or_else(|| panic!("{library:?}: {answer}"))
                    .to_owned()
            };
            let proposal = signed(proposes, "grocer");
            let filed = market.post("grocer", "/v1/agreements", proposal.clone()).expect("proposed");
            assert_eq!(filed.hash, sha256_hex(document::write(&terms).as_bytes()));
            let [mut both, other]: [Value; 2] = [proposal, signed(signs, "pool")].map(|text| serde_json::from_str(&text).expect("json"));
            both["signatures"]
                .as_array_mut()
                .expect("signatures")
                .push(other["signatures"][0].clone());
            let filed = market.post("pool", &signatures(&filed.hash), both.to_string()).expect("signed");
            assert_eq!(filed.state, State::Signed);
            assert_eq!(market.approve(&filed.hash), Ok(State::InForce));
            market
                .world
                .post("grocer", earn(terms.programme.as_str(), "m", "5"))
                .expect("in force");
            // And either may end it, by an act that it signed there.
            let ends_at = Some(later(market.world.now(), 40.days()));
            let ours = act(Action::Terminate, &filed.hash, market.world.now(), ends_at, market.key("pool"));
            let payload = String::from_utf8(Act::open(&ours).expect("an act").payload).expect("text");
            let case = json!({"task": "sign", "payload": payload, "signers": [signer(market.key("pool"), alg, TYP_ACT)]});
            let theirs = signs.ask(&[case])[0]["jws"].as_str().expect("a JWS").to_owned();
            let filed = market
                .post("pool", &format!("/v1/agreements/{}/acts", filed.hash), theirs)
                .expect("ended");
            assert_eq!(filed.state, State::Terminated);
        }
    }
}

#[test]
fn events_and_acts_verify_there() {
    let market = Market::new(Backend::Sqlite, 2);
    let (filed, _) = market.agreement_in(State::Terminated);
    market.agreement_in(State::Declined);
    let pool = market.world.client("pool");
    let feed = market
        .world
        .runtime
        .block_on(pool.get_text("/v1/events?after=0"))
        .expect("the feed");
    let kid = KeyId::new(&market.world.sandbox.config.operator.kid).expect("a kid");
    let mut signed: Vec<Signed> = feed
        .lines()
        .map(|line| Signed::new(line.to_owned(), &kid, market.world.sandbox.trust.key()))
        .collect();
    assert!(signed.len() >= 5, "{feed}");
    let key = market.key("pool");
    let act = act(Action::Decline, &filed.hash, market.world.now(), None, key);
    signed.push(Signed::new(act, key.kid(), &key.verifying_key()));
    let cases: Vec<Value> = signed.iter().map(Signed::case).collect();
    let expected: Vec<Value> = signed.iter().map(Signed::answer).collect();
    for library in Library::ALL {
        assert_eq!(library.ask(&cases), expected, "{library:?}");
    }
}
