//! The operator's people, as `clearing propose` and `clearing approve` have them work: on the database, beside the running service.

use clearing::documents::{Fault, agreements, changes, people};
use jiff::Timestamp;
use partner_sdk::change::{Change, PersonTerms, Proposal};
use partner_sdk::document::{Act, Action};
use partner_sdk::jws::general::{General, Signature};
use partner_sdk::jws::{SigningKey, TYP_AGREEMENT, TYP_CHANGE};
use partner_sdk::{Code, KeyId, MessageId, document};
use store::documents::Document;

use clearing::commands::demo::sandbox::Sandbox;

/// Three people, `first`, `second` and `third`.
pub struct Office {
    /// The one who proposes.
    pub first: SigningKey,
    /// The one who approves.
    pub second: SigningKey,
    /// One more, so that a lost key stops nothing.
    pub third: SigningKey,
    /// The clearinghouse's, which countersigns.
    pub clearing: SigningKey,
    drafts: std::cell::Cell<u32>,
}

/// The code of a refusal; a fault of the database fails the test.
pub fn code_of<T>(done: Result<T, Fault>) -> Result<T, Code> {
    done.map_err(|fault| match fault {
        Fault::Refused(problem) => problem.code,
        Fault::Db(error) => panic!("{error:?}"),
    })
}

impl Office {
    /// The three found the network.
    pub fn found(sandbox: &Sandbox) -> Self {
        let office = Self::nobody(sandbox);
        let names = ["first", "second", "third"];
        let keys = [&office.first, &office.second, &office.third];
        let founding = founding(sandbox, names.into_iter().zip(keys));
        office.found_by(sandbox, &founding, &keys).expect("founded");
        office
    }

    /// Nobody answers for the network yet.
    pub fn nobody(sandbox: &Sandbox) -> Self {
        let key = |name: &str, secret| SigningKey::from_bytes(KeyId::new(name).expect("a kid"), &[secret; 32]);
        let secret = std::fs::read_to_string(&sandbox.config.operator.key).expect("the operator's key");
        let kid = KeyId::new(&sandbox.config.operator.kid).expect("a kid");
        Self {
            first: key("first-1", 101),
            second: key("second-1", 102),
            third: key("third-1", 103),
            clearing: SigningKey::from_base64url(kid, &secret).expect("a key"),
            drafts: 0.into(),
        }
    }

    /// A founding, signed by these keys.
    pub fn found_by(&self, sandbox: &Sandbox, founding: &Proposal, keys: &[&SigningKey]) -> Result<Document, Fault> {
        let payload = document::write(founding);
        let general = General {
            signatures: keys.iter().map(|key| Signature::new(key, TYP_CHANGE, payload.as_bytes())).collect(),
            payload: payload.into_bytes(),
        };
        let mut conn = sandbox.database().expect("a connection");
        // As the command does: what is countersigned verifies by a key that is known.
        store::keys::own(
            &mut conn,
            self.clearing.kid(),
            &self.clearing.verifying_key(),
            None,
            sandbox.clock.now(),
        )
        .expect("its own key");
        people::found(&mut conn, sandbox.clock.now(), &self.clearing, &general.to_json())
    }

    /// The second person approves an agreement.
    pub fn approve(&self, sandbox: &Sandbox, hash: &str) -> Result<Document, Code> {
        let mut conn = sandbox.database().expect("a connection");
        let payload = store::documents::find(&mut conn, hash).expect("read").expect("a document").payload;
        let signature = Signature::new(&self.second, TYP_AGREEMENT, payload.as_bytes());
        self.approve_with(sandbox, hash, &signature)
    }

    /// Approves an agreement by a signature that a test made.
    pub fn approve_with(&self, sandbox: &Sandbox, hash: &str, signature: &Signature) -> Result<Document, Code> {
        let mut conn = sandbox.database().expect("a connection");
        code_of(agreements::approve(&mut conn, sandbox.clock.now(), &self.clearing, hash, signature))
    }

    /// The second person turns an agreement down.
    pub fn decline(&self, sandbox: &Sandbox, hash: &str) -> Result<Document, Code> {
        let text = act(Action::Decline, hash, sandbox.clock.now(), None, &self.second);
        let mut conn = sandbox.database().expect("a connection");
        code_of(agreements::decline(&mut conn, sandbox.clock.now(), hash, &text))
    }

    /// Somebody proposes a change.
    pub fn propose(&self, sandbox: &Sandbox, key: &SigningKey, change: Change) -> Result<Document, Fault> {
        self.drafts.set(self.drafts.get() + 1);
        let proposal = Proposal {
            id: MessageId::new(format!("change-{}", self.drafts.get())).expect("an id"),
            proposed_at: sandbox.clock.now(),
            reason: "a test".into(),
            salt: partner_sdk::client::new_salt(),
            change,
        };
        let general = General::sign(key, TYP_CHANGE, document::write(&proposal).as_bytes());
        changes::propose(
            &mut sandbox.database().expect("a connection"),
            sandbox.clock.now(),
            &general.to_json(),
        )
    }

    /// Somebody approves a change.
    pub fn approve_change(&self, sandbox: &Sandbox, key: &SigningKey, document: &Document) -> Result<Document, Fault> {
        let signature = Signature::new(key, TYP_CHANGE, document.payload.as_bytes());
        let mut conn = sandbox.database().expect("a connection");
        changes::approve(&mut conn, sandbox.clock.now(), &self.clearing, &document.hash, &signature)
    }

    /// A new person signs the change that names it.
    pub fn accept(&self, sandbox: &Sandbox, key: &SigningKey, document: &Document) -> Result<Document, Fault> {
        let signature = Signature::new(key, TYP_CHANGE, document.payload.as_bytes());
        let mut conn = sandbox.database().expect("a connection");
        changes::accept(&mut conn, sandbox.clock.now(), &document.hash, &signature)
    }

    /// A new person comes by its own key, by the word of the first two.
    pub fn comes(&self, sandbox: &Sandbox, name: &str, key: &SigningKey) -> Result<Document, Fault> {
        let proposed = self.propose(sandbox, &self.first, named(name, key))?;
        self.accept(sandbox, key, &proposed)?;
        self.approve_change(sandbox, &self.second, &proposed)
    }

    /// A change that both agree on.
    pub fn change(&self, sandbox: &Sandbox, change: Change) -> Result<Document, Fault> {
        let proposed = self.propose(sandbox, &self.first, change)?;
        self.approve_change(sandbox, &self.second, &proposed)
    }
}

/// The change that names a new person.
pub fn named(name: &str, key: &SigningKey) -> Change {
    Change::Person(PersonTerms {
        name: name.to_owned(),
        kid: key.kid().clone(),
        public_key: key.verifying_key().to_base64url(),
    })
}

/// The founding by these people, of the calendar that was applied.
pub fn founding<'a>(sandbox: &Sandbox, people: impl IntoIterator<Item = (&'a str, &'a SigningKey)>) -> Proposal {
    let mut conn = sandbox.database().expect("a connection");
    let terms = |(name, key): (&str, &SigningKey)| PersonTerms {
        name: name.into(),
        kid: key.kid().clone(),
        public_key: key.verifying_key().to_base64url(),
    };
    Proposal {
        id: partner_sdk::client::new_message_id(),
        proposed_at: sandbox.clock.now(),
        reason: "a test".into(),
        salt: partner_sdk::client::new_salt(),
        change: Change::Found {
            people: people.into_iter().map(terms).collect(),
            calendar: settlement::founding_calendar(&mut conn).expect("read").expect("applied"),
            network: clearing::documents::standing::digest(&store::load_directory(&mut conn).expect("read")),
        },
    }
}

/// A signed word about a document.
pub fn act(action: Action, document: &str, issued_at: Timestamp, ends_at: Option<Timestamp>, key: &SigningKey) -> String {
    let act = Act {
        action,
        document: document.to_owned(),
        issued_at,
        ends_at,
        reason: None,
    };
    act.sign(key)
}
