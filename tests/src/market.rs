//! Partners that make agreements: the grocer proposes, the pool is the issuer, the café has nothing to do with it.

use std::cell::Cell;

use clearing::commands::demo::sandbox::Sandbox;
use jiff::{Span, Timestamp, ToSpan};
use partner_sdk::agreement::{AgreementKind, Terms};
use partner_sdk::client::{ClientError, new_salt};
use partner_sdk::document::{self, Action, Filed, State};
use partner_sdk::jws::general::{General, Signature};
use partner_sdk::jws::{SigningKey, TYP_AGREEMENT};
use partner_sdk::{Code, PartnerId};
use store::events;

use crate::office::{Office, act};
use crate::{Backend, World, amount};

/// `proposer` is the grocer, `counterparty` the pool; the café has nothing to do with it.
pub const PARTNERS: &str = "[calendar]\nzone = \"Asia/Hong_Kong\"\n\
    [[partner]]\nid = \"pool\"\nname = \"Pool\"\n[[partner]]\nid = \"grocer\"\nname = \"Grocer\"\n[[partner]]\nid = \"cafe\"\nname = \"Café\"\n";

/// A clearinghouse with so many programmes of the pool's, and no agreement.
pub struct Market {
    /// The clearinghouse.
    pub world: World,
    /// The operator's people.
    pub office: Office,
    next: Cell<u32>,
}

impl Market {
    /// Starts it, with three people.
    pub fn new(backend: Backend, programmes: u32) -> Self {
        Self::with(backend, programmes, Office::found)
    }

    /// Starts it with people of one's own.
    pub fn with(backend: Backend, programmes: u32, office: fn(&Sandbox) -> Office) -> Self {
        let mut network = PARTNERS.to_owned();
        for n in 0..programmes {
            network += &format!("[[programme]]\ncode = \"P{n}\"\nissuer = \"pool\"\ncurrency = \"HKD\"\n");
        }
        let world = World::new(backend, &network);
        let office = office(&world.sandbox);
        Self {
            world,
            office,
            next: 0.into(),
        }
    }

    /// Terms of the grocer's about a programme that no other agreement is about.
    pub fn terms(&self) -> Terms {
        let n = self.next.replace(self.next.get() + 1);
        terms(&format!("P{n}"), self.world.now())
    }

    /// A partner's signing key.
    pub fn key(&self, partner: &str) -> &SigningKey {
        let id = PartnerId::new(partner).expect("an id");
        &self.world.sandbox.parties.get(&id).expect("a partner").key
    }

    /// Posts a body: the document, or the code and field of the problem.
    pub fn post(&self, partner: &str, path: &str, body: String) -> Result<Filed, (Code, Option<String>)> {
        let answer = self.world.runtime.block_on(self.world.client(partner).post_unverified(path, body));
        match answer {
            Ok(text) => Ok(serde_json::from_str(&text).expect("a document")),
            Err(ClientError::Refused(problem)) => Err((problem.code, problem.field)),
            Err(other) => panic!("{path}: {other:?}"),
        }
    }

    /// A partner proposes terms.
    pub fn propose(&self, partner: &str, terms: &Terms) -> Result<Filed, (Code, Option<String>)> {
        let general = General::sign(self.key(partner), TYP_AGREEMENT, document::write(terms).as_bytes());
        self.post(partner, "/v1/agreements", general.to_json())
    }

    /// A partner signs what was proposed.
    pub fn sign(&self, partner: &str, filed: &Filed) -> Result<Filed, (Code, Option<String>)> {
        let mut general = filed.open().expect("what its hash says");
        general
            .signatures
            .push(Signature::new(self.key(partner), TYP_AGREEMENT, &general.payload));
        general.signatures.dedup_by(|a, b| a.kid == b.kid);
        self.post(partner, &signatures(&filed.hash), general.to_json())
    }

    /// A partner withdraws, declines or terminates, the last in 40 days.
    pub fn act(&self, partner: &str, action: Action, hash: &str) -> Result<Filed, (Code, Option<String>)> {
        let ends_at = (action == Action::Terminate).then(|| later(self.world.now(), 40.days()));
        let text = act(action, hash, self.world.now(), ends_at, self.key(partner));
        self.post(partner, &format!("/v1/agreements/{hash}/acts"), text)
    }

    /// A partner gives notice.
    pub fn end(&self, partner: &str, hash: &str, notice: Span) -> Result<Filed, (Code, Option<String>)> {
        let ends_at = Some(later(self.world.now(), notice));
        let text = act(Action::Terminate, hash, self.world.now(), ends_at, self.key(partner));
        self.post(partner, &format!("/v1/agreements/{hash}/acts"), text)
    }

    /// A partner reads a document.
    pub fn fetch(&self, partner: &str, hash: &str) -> Result<Filed, Code> {
        match self.world.runtime.block_on(self.world.client(partner).agreement(hash)) {
            Ok(filed) => Ok(filed),
            Err(ClientError::Refused(problem)) => Err(problem.code),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// One of the operator's people approves.
    pub fn approve(&self, hash: &str) -> Result<State, Code> {
        self.office.approve(&self.world.sandbox, hash).map(|document| document.state)
    }

    /// An agreement of the grocer's that went all the way.
    pub fn in_force(&self, terms: &Terms) -> Filed {
        let proposed = self.propose("grocer", terms).expect("proposed");
        self.sign("pool", &proposed).expect("signed");
        assert_eq!(self.approve(&proposed.hash), Ok(State::InForce));
        self.fetch("grocer", &proposed.hash).expect("there")
    }

    /// A new agreement that has come to a state.
    pub fn agreement_in(&self, state: State) -> (Filed, Terms) {
        let terms = self.terms();
        let filed = match state {
            State::Proposed | State::Signed | State::Withdrawn | State::Declined => self.propose("grocer", &terms).expect("proposed"),
            State::InForce | State::Superseded | State::Terminated => self.in_force(&terms),
        };
        match state {
            State::Proposed | State::InForce => filed.clone(),
            State::Signed => self.sign("pool", &filed).expect("signed"),
            State::Withdrawn => self.act("grocer", Action::Withdraw, &filed.hash).expect("withdrawn"),
            State::Declined => self.act("pool", Action::Decline, &filed.hash).expect("declined"),
            State::Terminated => self.end("pool", &filed.hash, 60.days()).expect("terminated"),
            State::Superseded => {
                self.in_force(&successor(&filed, &terms, self.world.now()));
                self.fetch("pool", &filed.hash).expect("there")
            }
        };
        let filed = self.fetch("pool", &filed.hash).expect("there");
        assert_eq!(filed.state, state);
        (filed, terms)
    }

    /// The refusals that the operator was told: (by, action, code).
    pub fn refusals(&self) -> Vec<(String, String, String)> {
        let mut conn = self.world.sandbox.database().expect("a connection");
        let all = events::after(&mut conn, &[events::OPERATOR], 0, 10_000).expect("events");
        let refused = all.into_iter().filter(|event| event.kind == "document.refused");
        let fact = |event: &events::Event, name: &str| event.facts.iter().find(|f| f.0 == name).expect(name).1.clone();
        refused
            .map(|event| (fact(&event, "by"), fact(&event, "action"), fact(&event, "code")))
            .collect()
    }
}

/// A later (or earlier) instant.
pub fn later(from: Timestamp, span: Span) -> Timestamp {
    from.to_zoned(jiff::tz::TimeZone::UTC)
        .checked_add(span)
        .expect("a time")
        .timestamp()
}

/// Terms of the grocer's at HK$0.0055.
pub fn terms(programme: &str, from: Timestamp) -> Terms {
    let terms = Terms::new(
        AgreementKind::Earn,
        "grocer".parse().expect("a partner"),
        programme.parse().expect("a programme"),
        amount("0.0055"),
        "HKD".parse().expect("a currency"),
        from,
    );
    Terms { salt: new_salt(), ..terms }
}

/// The next version of an agreement, an hour later.
pub fn successor(filed: &Filed, terms: &Terms, now: Timestamp) -> Terms {
    Terms {
        supersedes: Some(filed.hash.clone()),
        valid_from: later(now, 1.hour()),
        ..terms.clone()
    }
}

/// Where a document is signed.
pub fn signatures(hash: &str) -> String {
    format!("/v1/agreements/{hash}/signatures")
}
