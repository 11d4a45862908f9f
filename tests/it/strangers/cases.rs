//! What a stranger may try at each route, with the real names of others' things. A route without a case here fails the test.

use clearing::office::pki;
use jiff::{Timestamp, ToSpan};
use partner_sdk::agreement::{AgreementKind, Terms};
use partner_sdk::client::{new_message_id, new_salt};
use partner_sdk::dispute::{DisputeTerms, DisputedMessage};
use partner_sdk::document::{self, Action};
use partner_sdk::jws::general::General;
use partner_sdk::jws::{SigningKey, TYP_AGREEMENT, TYP_DISPUTE};
use partner_sdk::wire::keys::{Enrolment, Issued, KeyName, NewCertificate, NewKey, Revocation, Spki};
use partner_sdk::wire::write_batch;
use partner_sdk::{Body, Message, MessageId, PartnerId};
use tests::market::later;
use tests::office::act;
use tests::{amount, capture, exchange, reverse, void};

/// What things are called: others', or none that there are.
#[derive(Clone)]
pub struct Names {
    /// Who sent the exchange, and has part in all the rest.
    pub sender: PartnerId,
    /// A member of its programme.
    pub member: String,
    /// An earn.
    pub earn: MessageId,
    /// A hold that is open.
    pub hold: MessageId,
    /// A quote that nobody has used.
    pub quote: MessageId,
    /// An exchange that waits for its issuer's answer.
    pub exchange: MessageId,
    /// A proposed agreement.
    pub proposed: String,
    /// An agreement in force, under which points were spent.
    pub in_force: String,
    /// A signing key.
    pub kid: String,
    /// A TLS key.
    pub spki: Spki,
    /// A dispute that the café has with the bank.
    pub disputed: String,
    /// Its bytes.
    pub dispute: String,
    /// The bytes of the proposed agreement, which the other party may have shown around.
    pub payload: String,
}

impl Names {
    /// Names of nothing.
    pub fn of_nothing(payload: String, dispute: String) -> Self {
        let id = |text: &str| text.parse().expect("an id");
        Self {
            sender: "nobody".parse().expect("a partner's id"),
            member: "9000000000000000".to_owned(),
            earn: id("nothing-1"),
            hold: id("nothing-2"),
            quote: id("nothing-3"),
            exchange: id("nothing-4"),
            proposed: "ab".repeat(32),
            in_force: "cd".repeat(32),
            kid: "nothing-5".to_owned(),
            spki: Spki([7; 32]),
            disputed: "ef".repeat(32),
            dispute,
            payload,
        }
    }

    /// What only its parties know.
    pub fn secrets(&self) -> [&str; 8] {
        [
            self.member.as_str(),
            self.earn.as_str(),
            self.hold.as_str(),
            self.quote.as_str(),
            self.exchange.as_str(),
            &self.proposed,
            &self.disputed,
            &self.kid,
        ]
    }

    /// A text with these names taken out: what differs then isn't what was asked, given back.
    pub fn taken_out_of(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for name in self.secrets() {
            text = text.replace(name, "(name)");
        }
        for name in [&self.in_force, &self.spki.to_string(), self.sender.as_str()] {
            text = text.replace(name, "(name)");
        }
        text
    }
}

/// Who asks.
pub struct Caller {
    /// Its id.
    pub id: PartnerId,
    /// Its signing key.
    pub key: SigningKey,
    /// The clearinghouse's time.
    pub now: Timestamp,
    /// A window that is advised.
    pub date: String,
}

/// What a stranger is answered.
#[derive(Clone, Copy)]
pub enum Answer {
    /// This status and code, and just so about what isn't there.
    NotThere(u16, &'static str),
    /// A list with nothing in it, and just so about what isn't there.
    Nothing,
    /// This status, and nothing of others.
    Own(u16),
    /// The same as everybody.
    Same,
}

/// One question.
pub struct Case {
    /// Path and query.
    pub path: String,
    /// The body of a `POST`.
    pub body: String,
    /// What a stranger is answered.
    pub answer: Answer,
    /// Who is answered otherwise, with a status of success.
    pub owner: Option<&'static str>,
}

fn case(path: impl Into<String>, answer: Answer, owner: impl Into<Option<&'static str>>) -> Case {
    Case {
        path: path.into(),
        body: String::new(),
        answer,
        owner: owner.into(),
    }
}

fn posted(path: impl Into<String>, body: String, answer: Answer, owner: impl Into<Option<&'static str>>) -> Case {
    Case {
        body,
        ..case(path, answer, owner)
    }
}

/// What there is to ask at a route.
pub fn cases(method: &str, path: &'static str, by: &Caller, names: &Names) -> Vec<Case> {
    let not_found = Answer::NotThere(404, "not_found");
    let at = |form: &str| case(path.replace("{period}", &by.date).replace("{form}", form), Answer::Own(200), "bank");
    match (method, path) {
        ("GET", "/v1/messages" | "/v1/messages/csv") => filters(path, by, names),
        ("POST", "/v1/messages") => messages(by, names, |message| message.sign(&by.key), path, 422),
        ("POST", "/v1/batches") => messages(by, names, |message| message.sign(&by.key), path, 200),
        ("POST", "/v1/signed-batches") => messages(by, names, |message| write_batch(&[message], &by.key), path, 200),
        // Of a balance this page has always said `forbidden`, for members that there are and others alike.
        ("GET", "/v1/accounts/{programme}/{member}") => {
            vec![case(
                format!("/v1/accounts/BANK/{}", names.member),
                Answer::NotThere(403, "forbidden"),
                "bank",
            )]
        }
        (_, "/v1/agreements" | "/v1/agreements/{hash}" | "/v1/agreements/{hash}/signatures" | "/v1/agreements/{hash}/acts") => {
            agreements(method, path, by, names)
        }
        ("GET", "/v1/rates" | "/v1/log/checkpoint" | "/v1/health" | "/health") => vec![case(path, Answer::Same, None)],
        ("GET", "/v1/rates/{from}/{to}") => vec![case("/v1/rates/BANK/MILES", Answer::Same, None)],
        ("GET", "/v1/log/tile/{tile:.*}") => vec![case("/v1/log/tile/0/000.p/1", Answer::Same, None)],
        ("GET", "/v1/exchanges/{sender}/{id}") => {
            vec![case(
                format!("/v1/exchanges/{}/{}", names.sender, names.exchange),
                not_found,
                "airline",
            )]
        }
        ("GET", "/v1/prepaid") => vec![case(path, Answer::Own(200), "cafe")],
        ("GET", "/v1/statements/{period}") => vec![at("")],
        ("GET", "/v1/statements/{period}/revisions") => vec![Case {
            // Nothing was revised, for anybody; that each sees its own alone, the defaults show.
            owner: None,
            ..at("revisions")
        }],
        (_, "/v1/disputes" | "/v1/disputes/{hash}" | "/v1/disputes/{hash}/signatures" | "/v1/disputes/{hash}/acts") => {
            disputes(method, path, by, names)
        }
        ("GET", "/v1/statements/{period}/{form}") => {
            // Whoever pays nothing has no payment file, and whoever has no position no account; and no address names another's.
            let mut asked: Vec<Case> = ["csv", "xlsx", "pdf", "hledger", "sha256"].map(at).into();
            asked.extend(["camt053", "pain001"].map(|form| Case {
                answer: Answer::Own(404),
                ..at(form)
            }));
            asked.push(case(format!("/v1/statements/{}/{}.json", by.date, names.sender), not_found, None));
            asked
        }
        ("GET", "/v1/accounting/{programme}/{period}/{form}") => {
            let asked = |programme: &str, form| format!("/v1/accounting/{programme}/{}/{form}?estimates=2026-01-01=80", by.date);
            // A form, a period or an estimate that is none is told to the issuer alone.
            let unread = [
                "/v1/accounting/BANK/never/json".to_owned(),
                asked("BANK", "docx"),
                asked("NONE", "json"),
            ];
            let mut cases: Vec<Case> = ["json", "csv", "xlsx", "hledger"]
                .map(|form| case(asked("BANK", form), not_found, "bank"))
                .into();
            cases.extend(unread.map(|path| case(path, not_found, None)));
            cases
        }
        ("GET", "/v1/positions" | "/v1/events" | "/v1/log/entries" | "/v1/exchanges" | "/v1/statements" | "/v1/payments" | "/v1/keys") => {
            vec![case(path, Answer::Own(200), "bank")]
        }
        (_, "/v1/reconciliations/mappings" | "/v1/reconciliations/{window}" | "/v1/reconciliations/{window}/resolved") => {
            reconciliations(method, path, by, names)
        }
        ("POST", "/v1/keys" | "/v1/certificates" | "/v1/revocations") => keys(path, by, names),
        ("POST", "/v1/enrolments") => {
            let (csr, _) = pki::new_request(&names.sender).expect("a request");
            let text = Enrolment::sign(&names.sender, "no invitation", &csr, &new_key("new-1"));
            vec![posted(path, text, Answer::NotThere(403, "invitation_invalid"), None)]
        }
        _ => no_case(method, path),
    }
}

fn no_case(method: &str, path: &str) -> ! {
    panic!("{method} {path} has no case: say here what a stranger may try at it")
}

/// Every step with another's agreement.
fn agreements(method: &str, path: &str, by: &Caller, names: &Names) -> Vec<Case> {
    let not_found = Answer::NotThere(404, "not_found");
    let agreement = path.replace("{hash}", &names.proposed);
    match (method, path) {
        ("GET", "/v1/agreements") => vec![
            case(format!("{path}?after={}", names.proposed), not_found, "airline"),
            case(path, Answer::Own(200), "airline"),
        ],
        ("POST", "/v1/agreements") => {
            vec![posted(
                path,
                succeeding(by, &names.proposed),
                Answer::NotThere(422, "bad_terms"),
                None,
            )]
        }
        ("GET", "/v1/agreements/{hash}") => vec![case(agreement, not_found, "airline")],
        ("POST", "/v1/agreements/{hash}/signatures") => {
            let signed = General::sign(&by.key, TYP_AGREEMENT, names.payload.as_bytes()).to_json();
            vec![
                posted(&agreement, "no document".to_owned(), not_found, None),
                posted(&agreement, signed, not_found, "airline"),
            ]
        }
        ("POST", "/v1/agreements/{hash}/acts") => {
            let acts = [(Action::Terminate, None), (Action::Decline, None), (Action::Withdraw, Some("bank"))];
            let asked = acts.map(|(action, owner)| {
                let ends_at = (action == Action::Terminate).then(|| later(by.now, 40.days()));
                let text = act(action, &names.proposed, by.now, ends_at, &by.key);
                posted(&agreement, text, not_found, owner)
            });
            asked.into()
        }
        _ => no_case(method, path),
    }
}

/// Every step with another's dispute.
fn disputes(method: &str, path: &str, by: &Caller, names: &Names) -> Vec<Case> {
    let not_found = Answer::NotThere(404, "not_found");
    let dispute = path.replace("{hash}", &names.disputed);
    let signed = |payload: &str| General::sign(&by.key, TYP_DISPUTE, payload.as_bytes()).to_json();
    match (method, path) {
        ("GET", "/v1/disputes") => vec![
            case(format!("{path}?after={}", names.disputed), not_found, "bank"),
            case(path, Answer::Own(200), "bank"),
        ],
        // Of a line that another's statement has.
        ("POST", "/v1/disputes") => {
            let mut terms: DisputeTerms = document::read(names.dispute.as_bytes()).expect("terms");
            terms.partner = by.id.clone();
            terms.line.agreement.clone_from(&names.in_force);
            terms.message = Some(DisputedMessage {
                sender: names.sender.clone(),
                id: names.earn.clone(),
            });
            vec![posted(
                path,
                signed(&document::write(&terms)),
                Answer::NotThere(422, "bad_terms"),
                None,
            )]
        }
        ("GET", "/v1/disputes/{hash}") => vec![case(dispute, not_found, "bank")],
        ("POST", "/v1/disputes/{hash}/signatures") => vec![
            posted(&dispute, "no document".to_owned(), not_found, None),
            posted(&dispute, signed(&names.dispute), not_found, None),
        ],
        ("POST", "/v1/disputes/{hash}/acts") => {
            let acts = [(Action::Withdraw, None), (Action::Decline, Some("bank"))];
            let asked = acts.map(|(action, owner)| {
                let text = act(action, &names.disputed, by.now, None, &by.key);
                posted(&dispute, text, not_found, owner)
            });
            asked.into()
        }
        _ => no_case(method, path),
    }
}

/// A record of others' messages, and what is kept for it.
fn reconciliations(method: &str, path: &'static str, by: &Caller, names: &Names) -> Vec<Case> {
    let of_window = path.replace("{window}", &by.date);
    let body = match path {
        "/v1/reconciliations/{window}" => {
            let record = format!("id\n{}\n{}\n{}\n{}\n", names.earn, names.hold, names.quote, names.exchange);
            return vec![posted(of_window, record, Answer::Nothing, "bank")];
        }
        "/v1/reconciliations/mappings" => r#"{"name": "till", "mapping": {}}"#,
        _ => r#"{"findings": []}"#,
    };
    assert!(["GET", "POST"].contains(&method));
    vec![posted(of_window, body.to_owned(), Answer::Own(200), None)]
}

/// Each way to ask for others' messages.
fn filters(path: &str, by: &Caller, names: &Names) -> Vec<Case> {
    let Names {
        sender, earn, exchange, ..
    } = names;
    let asked = [
        format!("?sender={sender}"),
        format!("?sender={sender}&id={earn}"),
        format!("?id={exchange}"),
        format!("?programme=BANK&member={}", names.member),
        format!("?member={}&kind=earn", names.member),
        format!("?agreement={}", names.in_force),
        format!("?window={}", by.date),
    ];
    let mut asked: Vec<Case> = asked
        .iter()
        .map(|query| case(format!("{path}{query}"), Answer::Nothing, "bank"))
        .collect();
    asked.push(case(format!("{path}?counterparty={sender}"), Answer::Nothing, "shop"));
    asked.push(case(path, Answer::Own(200), "bank"));
    asked
}

/// Every message that names another: by its answer it might tell whether that is there.
fn messages(by: &Caller, names: &Names, body: impl Fn(Message) -> String, path: &'static str, status: u16) -> Vec<Case> {
    let (sender_of, asked_for) = (names.sender.clone(), names.exchange.clone());
    let credited = Body::Acknowledge {
        sender_of: sender_of.clone(),
        exchange: asked_for.clone(),
        reference: None,
    };
    let refused = Body::Refuse {
        sender_of,
        exchange: asked_for,
        reason: "member_unknown".parse().expect("a reason"),
    };
    // What ends a hold or an exchange is its party's once.
    let once = |owner| (path == "/v1/messages").then_some(owner);
    let of_quote = exchange("BANK", "MILES", &names.member, "100", &names.quote);
    let asked = [
        (capture(&names.hold, "1"), "hold_unknown", once("shop")),
        (void(&names.hold), "hold_unknown", None),
        (reverse(&names.earn, "1"), "target_unknown", Some("bank")),
        (of_quote, "quote_unknown", once("bank")),
        (credited, "exchange_unknown", once("airline")),
        (refused, "exchange_unknown", None),
    ];
    let asked = asked.map(|(message, code, owner)| {
        let message = Message {
            id: new_message_id(),
            sender: by.id.clone(),
            issued_at: by.now,
            occurred_at: by.now,
            body: message,
        };
        posted(path, body(message), Answer::NotThere(status, code), owner)
    });
    asked.into()
}

/// A proposal that would take the place of another's agreement.
fn succeeding(by: &Caller, hash: &str) -> String {
    let terms = Terms::new(
        AgreementKind::Earn,
        by.id.clone(),
        "BANK".parse().expect("a programme"),
        amount("0.05"),
        "HKD".parse().expect("a currency"),
        by.now,
    );
    let terms = Terms {
        supersedes: Some(hash.to_owned()),
        salt: new_salt(),
        ..terms
    };
    General::sign(&by.key, TYP_AGREEMENT, document::write(&terms).as_bytes()).to_json()
}

fn new_key(kid: &str) -> SigningKey {
    SigningKey::from_bytes(kid.parse().expect("a kid"), &[9; 32])
}

/// Requests about keys in the name of another's, and the end of another's.
fn keys(path: &'static str, by: &Caller, names: &Names) -> Vec<Case> {
    let unknown = Answer::NotThere(401, "unknown_key");
    let issued = Issued {
        id: new_message_id(),
        issued_at: by.now,
    };
    let theirs = new_key(&names.kid);
    match path {
        "/v1/keys" => vec![posted(
            path,
            NewKey::sign(&issued, &by.id, &new_key("new-2"), None, None, &theirs),
            unknown,
            None,
        )],
        "/v1/certificates" => {
            let (csr, _) = pki::new_request(&by.id).expect("a request");
            vec![posted(path, NewCertificate::sign(&issued, &csr, &theirs), unknown, None)]
        }
        _ => {
            let kid = KeyName::Kid(names.kid.parse().expect("a kid"));
            let asked = [(kid, Some("shop")), (KeyName::Spki(names.spki), None)].map(|(key, owner)| {
                let revocation = Revocation {
                    issued: Issued {
                        id: new_message_id(),
                        ..issued.clone()
                    },
                    key,
                    reason: "a test".parse().expect("a reason"),
                };
                posted(path, revocation.sign(&by.key), unknown, owner)
            });
            asked.into()
        }
    }
}
