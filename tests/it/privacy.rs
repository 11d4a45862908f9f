//! What partners agreed on stays theirs: hashes tell nobody what they stand for, and no answer tells whether something of others is there.

use clearing::posting::verify;
use jiff::ToSpan;
use partner_sdk::agreement::Terms;
use partner_sdk::document::{self, Action, State};
use partner_sdk::jws::general::General;
use partner_sdk::jws::{SigningKey, TYP_AGREEMENT};
use partner_sdk::{Code, KeyId};
use tests::market::{Market, later, signatures, terms};
use tests::office::act;
use tests::{Backend, earn, on_both};

on_both!(
    hashes_tell_nothing,
    what_is_not_yours_answers_as_what_is_not_there,
    the_time_of_a_refusal_tells_no_key,
);

fn hashes_tell_nothing(backend: Backend) {
    let market = Market::new(backend, 1);
    let good = market.terms();
    let (payload, salt) = (document::write(&good), format!("\"salt\":\"{}\",", good.salt));
    let signed = |payload: String| General::sign(market.key("grocer"), TYP_AGREEMENT, payload.as_bytes()).to_json();
    let refused = |payload: String| market.post("grocer", "/v1/agreements", signed(payload)).expect_err("refused");
    let at = |code| (code, Some("salt".to_owned()));
    assert_eq!(refused(payload.replace(&salt, "")), at(Code::MalformedDocument));
    assert_eq!(
        refused(payload.replace(&good.salt.to_string(), &"0".repeat(32))),
        at(Code::BadTerms)
    );
    for short in ["0123456789abcdef", "ABCDEF00112233445566778899AABBCC"] {
        assert_eq!(refused(payload.replace(&good.salt.to_string(), short)).0, Code::MalformedDocument);
    }
    // The same terms twice have two names, and neither is that of the terms alone.
    let hash = |text: &str| partner_sdk::jws::sha256_hex(text.as_bytes());
    let filed = market.post("grocer", "/v1/agreements", signed(payload.clone())).expect("proposed");
    assert_ne!(filed.hash, hash(&payload.replace(&salt, "")));
    let again = Terms {
        salt: partner_sdk::client::new_salt(),
        ..good
    };
    assert_ne!(market.propose("grocer", &again).expect("proposed").hash, filed.hash);
}

/// Every way in which a partner may ask about a hash: the café's answers about the grocer's agreement, and about nothing.
fn what_is_not_yours_answers_as_what_is_not_there(backend: Backend) {
    let market = Market::new(backend, 10);
    let cafe = market.world.client("cafe");
    let asked = |hash: &str| -> Vec<String> {
        let own = Terms {
            partner: "cafe".parse().expect("a partner"),
            supersedes: Some(hash.to_owned()),
            ..terms("P9", market.world.now())
        };
        let own = General::sign(market.key("cafe"), TYP_AGREEMENT, document::write(&own).as_bytes());
        let acts = [Action::Withdraw, Action::Decline, Action::Terminate].map(|action| {
            act(
                action,
                hash,
                market.world.now(),
                Some(later(market.world.now(), 40.days())),
                market.key("cafe"),
            )
        });
        let path = format!("/v1/agreements/{hash}");
        let mut posts = vec![
            ("/v1/agreements".to_owned(), own.to_json()),
            (signatures(hash), own.to_json()),
            (signatures(hash), "no document".to_owned()),
        ];
        posts.extend(acts.map(|text| (format!("{path}/acts"), text)));
        let problem = |refused: Option<partner_sdk::client::ClientError>| match refused {
            Some(partner_sdk::client::ClientError::Refused(problem)) => format!("{problem:?}"),
            other => panic!("{other:?}"),
        };
        let runtime = &market.world.runtime;
        let mut answers: Vec<String> = posts
            .into_iter()
            .map(|(path, body)| problem(runtime.block_on(cafe.post_unverified(&path, body)).err()))
            .collect();
        answers.push(problem(runtime.block_on(cafe.get_text(&path)).err()));
        answers
    };
    let nothing = asked(&"ab".repeat(32));
    assert!(nothing[0].contains("BadTerms") && nothing[1..].iter().all(|one| one.contains("NotFound")));
    let change = partner_sdk::change::Change::Cap {
        partner: "grocer".parse().expect("a partner"),
        currency: "HKD".parse().expect("a currency"),
        amount: None,
    };
    let change = market.office.change(&market.world.sandbox, change).expect("both agree").hash;
    let states = [State::Proposed, State::Signed, State::InForce, State::Superseded, State::Terminated];
    let theirs = states.map(|state| market.agreement_in(state).0.hash);
    for hash in theirs.iter().chain([&change]) {
        assert_eq!(asked(hash), nothing);
    }
}

/// Which keys others have can't be told from how long a refusal takes: the medians of many, in turn, don't differ.
fn the_time_of_a_refusal_tells_no_key(backend: Backend) {
    let mut market = Market::new(backend, 1);
    let directory = store::load_directory(&mut market.world.sandbox.database().expect("a connection")).expect("loaded");
    let message = market.world.message("cafe", earn("P0", "m1", "1"));
    let by = |kid: &KeyId| message.sign(&SigningKey::from_bytes(kid.clone(), &[9; 32]));
    let theirs = market.key("grocer").kid().clone();
    let nobodys: KeyId = "x".repeat(theirs.as_str().len()).parse().expect("a kid");
    let (cafe, texts) = ("cafe".parse().expect("a partner"), [by(&theirs), by(&nobodys)]);
    let mut took = [vec![], vec![]];
    for _ in 0..2_000 {
        for (text, took) in texts.iter().zip(&mut took) {
            let start = std::time::Instant::now();
            let refused = verify::message(text, &cafe, &directory).expect_err("not a key of the caller's");
            took.push(start.elapsed().as_nanos());
            assert_eq!(refused.problem.code, Code::UnknownKey);
        }
    }
    let [foreign, unknown] = took.map(|mut took| {
        took.sort();
        took[took.len() / 2]
    });
    // Without a signature that is tried one of them would take a fifth of the other.
    assert!(
        foreign * 10 < unknown * 13 && unknown * 10 < foreign * 13,
        "{foreign} ns and {unknown} ns"
    );
}
