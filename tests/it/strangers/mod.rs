//! Whoever is a party of nothing learns nothing: every route of the service is asked for others' things by their real names, and answers as about things that
//! aren't there. The questions are made from the service's own list of routes.

mod cases;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Stdio;

use clearing::clock::Clock;
use clearing::commands::demo::sandbox::{Party, Sandbox};
use clearing::edge::http::{Access, ENROLMENT_ROUTES, HEALTH_ROUTES, ROUTES, Route};
use jiff::ToSpan;
use ledger::network::Network;
use partner_sdk::agreement::{AgreementKind, Terms};
use partner_sdk::banking::AccountTerms;
use partner_sdk::change::Change;
use partner_sdk::client::new_salt;
use partner_sdk::dispute::{DisputeTerms, DisputedLine};
use partner_sdk::document;
use partner_sdk::jws::TYP_AGREEMENT;
use partner_sdk::jws::general::General;
use partner_sdk::wire::PostedQuery;
use tests::child::command;
use tests::office::Office;
use tests::raw::{Raw, socket};
use tests::{Backend, World, amount, authorise, burn, earn, id, on_both, prepay, quote};

use cases::{Answer, Caller, Case, Names, cases};

/// A bank and an airline that have dealings, and a stranger that has none.
const NETWORK: &str = concat!(
    include_str!("../networks/elsewhere.toml"),
    "[[partner]]\nid = \"stranger\"\nname = \"Stranger\"\n[[partner]]\nid = \"cafe\"\nname = \"Cafe\"\n",
    "[[agreement]]\nkind = \"earn\"\npartner = \"cafe\"\nprogramme = \"BANK\"\nprice = \"0.05\"\ncurrency = \"HKD\"\n",
    "prepaid = { block = \"1000\", reorder_at = \"0\" }\nvalid_from = \"2026-01-01T00:00:00Z\"\n",
);
const MEMBER: &str = "4929100000001234";

on_both!(a_stranger_cannot_tell_what_is_there_from_what_is_not);

/// An answer as far as it may tell something: without its time, its length, and receipts, which each message has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    status: u16,
    head: BTreeSet<String>,
    body: String,
}

impl Said {
    fn read(answer: &str, names: &Names) -> Self {
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no whole answer: {answer:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let varies = |line: &&str| line.starts_with("date: ") || line.starts_with("content-length: ");
        let head = head.lines().filter(|line| !varies(line)).map(|line| names.taken_out_of(line));
        let body: Vec<String> = body.lines().map(without_receipt).collect();
        Self {
            status,
            head: head.collect(),
            body: names.taken_out_of(&body.join("\n")),
        }
    }

    fn has_code(&self, code: &str) -> bool {
        self.body.contains(&format!("\"code\":\"{code}\""))
    }
}

fn without_receipt(line: &str) -> String {
    match serde_json::from_str(line) {
        Ok(serde_json::Value::Object(mut object)) => {
            object.remove("receipt");
            // A finding's key is a digest of what was asked.
            let findings = object.get_mut("findings").and_then(|all| all.as_array_mut());
            findings.into_iter().flatten().for_each(|one| one["key"] = "".into());
            serde_json::Value::Object(object).to_string()
        }
        _ => line.to_owned(),
    }
}

/// A request's bytes; only a `POST` has a body.
fn request(method: &str, case: &Case) -> String {
    let body = if method == "POST" { case.body.as_str() } else { "" };
    let length = match method {
        "GET" => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    format!("{method} {} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n{body}", case.path)
}

/// A partner with its connection.
struct Asker {
    caller: Caller,
    raw: RefCell<Raw>,
}

impl Asker {
    fn new(base: &str, party: &Party, now: jiff::Timestamp, date: &str) -> Self {
        Self {
            caller: Caller {
                id: party.id.clone(),
                key: party.key.clone(),
                now,
                date: date.to_owned(),
            },
            raw: RefCell::new(Raw::connect(base, &party.identity, 1).expect("a connection")),
        }
    }

    fn cases(&self, route: &Route, names: &Names) -> Vec<Case> {
        cases(route.method.as_str(), route.path, &self.caller, names)
    }

    fn ask(&self, method: &str, case: &Case) -> String {
        let mut raw = self.raw.borrow_mut();
        raw.write(request(method, case).as_bytes()).expect("sent");
        let answer = raw.read();
        assert!(!answer.is_empty(), "{} {method} {}: no answer", self.caller.id, case.path);
        answer
    }
}

/// A clearinghouse where others have something of everything; what it is called, and a window that is advised.
fn others(backend: Backend) -> (World, Names, String) {
    let mut world = World::new(backend, NETWORK);
    world.sandbox.stop();
    world.sandbox.config.health_listen = "127.0.0.1:0".into();
    world.sandbox.start().expect("the service starts");
    world.connect();
    let office = Office::found(&world.sandbox);
    for (of, number) in [("clearing", "012345678901"), ("bank", "987654321098")] {
        let terms = AccountTerms {
            partner: of.parse().expect("a party"),
            currency: "HKD".parse().expect("a currency"),
            holder: format!("{of} Ltd"),
            account: number.into(),
            bank: "AAAAHKHH".into(),
        };
        office.change(&world.sandbox, Change::Account(terms)).expect("set");
    }
    let earned = id(world.post("bank", earn("BANK", MEMBER, "10000")));
    world.post("shop", burn("BANK", MEMBER, "2000")).expect("spent");
    world.post("cafe", prepay("BANK", "1000")).expect("bought");
    let date = world.close().business_date.to_string();
    let hold = id(world.post("shop", authorise("BANK", MEMBER, "60")));
    let exchanged = id(world.exchange_at_quote("bank", "BANK", "MILES", MEMBER, "700"));
    let quoted = id(world.post("bank", quote("BANK", "MILES", "100")));
    let payload = document::write(&terms("airline", world.now()));
    let general = General::sign(
        &world.sandbox.parties[&"bank".parse().expect("a partner")].key,
        TYP_AGREEMENT,
        payload.as_bytes(),
    );
    let proposing = world.client("bank");
    let proposing = proposing.post_unverified("/v1/agreements", general.to_json());
    let filed = world.runtime.block_on(proposing).expect("proposed");
    let filed: document::Filed = serde_json::from_str(&filed).expect("a document");
    // It is paid, so that the dispute takes nothing out of the window, whose payment file is asked for too.
    let business_date = date.parse().expect("a date");
    office.change(&world.sandbox, Change::Settle { business_date }).expect("settled");
    let disputed = disputed(&world, &date);
    let messages = world.client("bank");
    let messages = world
        .runtime
        .block_on(messages.all_messages(&PostedQuery::default()))
        .expect("messages");
    let in_force = messages
        .iter()
        .flat_map(|message| &message.lines)
        .find_map(|line| line.agreement.clone());
    let keys = world.runtime.block_on(world.client("shop").keys()).expect("keys");
    let names = Names {
        sender: "bank".parse().expect("a partner"),
        member: MEMBER.to_owned(),
        earn: earned,
        hold,
        quote: quoted,
        exchange: exchanged,
        proposed: filed.hash,
        in_force: in_force.expect("a line"),
        kid: keys.signing[0].kid.to_string(),
        spki: keys.tls[0].spki_sha256,
        dispute: String::from_utf8(disputed.open().expect("a document").payload).expect("text"),
        disputed: disputed.hash,
        payload,
    };
    (world, names, date)
}

/// What the café disputes of what it bought from the bank.
fn disputed(world: &World, date: &str) -> document::Filed {
    let line = &world.statement(date, "cafe").lines[0];
    let terms = a_cent(date, (&line.kind, &line.agreement, &line.price));
    let key = &world.sandbox.parties[&terms.partner].key;
    let disputed = world.runtime.block_on(world.client("cafe").dispute(&terms, key));
    disputed.expect("filed").filed
}

/// A cent of a line by which the café owes the bank.
fn a_cent(date: &str, (kind, agreement, price): (&str, &str, &str)) -> DisputeTerms {
    DisputeTerms {
        business_date: date.parse().expect("a date"),
        partner: "cafe".parse().expect("a partner"),
        counterparty: "bank".parse().expect("a partner"),
        line: DisputedLine {
            kind: kind.into(),
            agreement: agreement.into(),
            price: price.into(),
        },
        message: None,
        amount: amount("0.01"),
        currency: "HKD".parse().expect("a currency"),
        reason: "a cent too much".into(),
        evidence_sha256: None,
        salt: new_salt(),
    }
}

/// Terms between the bank and another.
fn terms(partner: &str, from: jiff::Timestamp) -> Terms {
    let terms = Terms::new(
        AgreementKind::Burn,
        partner.parse().expect("a partner"),
        "BANK".parse().expect("a programme"),
        amount("0.07"),
        "HKD".parse().expect("a currency"),
        from,
    );
    Terms { salt: new_salt(), ..terms }
}

fn a_stranger_cannot_tell_what_is_there_from_what_is_not(backend: Backend) {
    let (world, theirs, date) = others(backend);
    let nothing = Names::of_nothing(theirs.payload.clone(), theirs.dispute.clone());
    let base = world.sandbox.base().expect("it runs");
    let asker = |id: &str| {
        let party = &world.sandbox.parties[&id.parse().expect("a partner")];
        Asker::new(&base, party, world.now(), &date)
    };
    let askers: BTreeMap<&str, Asker> = ["stranger", "bank", "airline", "shop", "cafe"].map(|id| (id, asker(id))).into();
    // All are asked, so that one fault doesn't hide another.
    let mut faults = 0;
    let mut held = |body: &dyn Fn()| faults += usize::from(catch_unwind(AssertUnwindSafe(body)).is_err());
    let stranger = &askers["stranger"];
    for route in ROUTES {
        let (of_theirs, of_nothing) = (stranger.cases(route, &theirs), stranger.cases(route, &nothing));
        held(&|| holds_its_rule(route, &of_theirs));
        for place in 0..of_theirs.len() {
            held(&|| is_hidden(&askers, route, place, (&theirs, &nothing)));
        }
        held(&|| no_other_method_tells_more(stranger, route, (&of_theirs[0], &theirs), (&of_nothing[0], &nothing)));
    }
    held(&|| without_a_certificate(&world, &stranger.caller, &theirs, &nothing));
    assert_eq!(faults, 0);
}

/// One case: the stranger's answer about others' things and about nothing, and what their owner is answered.
fn is_hidden(askers: &BTreeMap<&str, Asker>, route: &Route, place: usize, (theirs, nothing): (&Names, &Names)) {
    let (stranger, method) = (&askers["stranger"], route.method.as_str());
    let (case, same) = (
        stranger.cases(route, theirs).swap_remove(place),
        stranger.cases(route, nothing).swap_remove(place),
    );
    let what = format!("{method} {}", case.path);
    let told = stranger.ask(method, &case);
    let said = Said::read(&told, theirs);
    let about_nothing = Said::read(&stranger.ask(method, &same), nothing);
    is_told_nothing(&what, &case, &told, &said, (&about_nothing, theirs));
    if let Some(owner) = case.owner {
        let own = askers[owner].cases(route, theirs).swap_remove(place);
        let own = Said::read(&askers[owner].ask(method, &own), theirs);
        assert!(own.status == 200 && own.body != said.body, "{owner} {what}: {own:?}");
    } else if let Answer::Same = case.answer {
        assert_eq!(Said::read(&askers["bank"].ask(method, &case), theirs), said, "{what}");
    }
}

fn no_other_method_tells_more(stranger: &Asker, route: &Route, (case, theirs): (&Case, &Names), (same, nothing): (&Case, &Names)) {
    let takes = |method: &str| ROUTES.iter().any(|other| other.path == route.path && other.method == method);
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    for method in methods.into_iter().filter(|method| !takes(method)) {
        let said = Said::read(&stranger.ask(method, case), theirs);
        assert!(said.status == 405 && said.has_code("method_not_allowed"), "{method} {}", route.path);
        assert_eq!(said, Said::read(&stranger.ask(method, same), nothing), "{method} {}", route.path);
    }
}

/// What a route's rule says of who may call is what its cases ask for.
fn holds_its_rule(route: &Route, of_route: &[Case]) {
    let fits = |case: &Case| match (route.access, case.answer) {
        (Access::Party, Answer::NotThere(..) | Answer::Nothing) => true,
        // A list of one's own may be asked for from another's on; a file of one's own, under another's name.
        (Access::Party, Answer::Own(_)) | (Access::Own, Answer::NotThere(..)) => of_route.len() > 1,
        (Access::Own, Answer::Own(_)) | (Access::AnyPartner, Answer::Same) => true,
        _ => false,
    };
    assert!(!of_route.is_empty() && of_route.iter().all(fits), "{} {}", route.method, route.path);
    let refused = |case: &Case| matches!(case.answer, Answer::NotThere(..) | Answer::Nothing);
    assert!(route.access != Access::Party || of_route.iter().any(refused), "{}", route.path);
}

fn is_told_nothing(what: &str, case: &Case, told: &str, said: &Said, (about_nothing, theirs): (&Said, &Names)) {
    match case.answer {
        Answer::NotThere(status, code) => {
            assert!(said.status == status && said.has_code(code), "{what}: {said:?}");
            assert_eq!(said, about_nothing, "{what}");
        }
        Answer::Nothing => {
            assert_eq!(said.status, 200, "{what}: {said:?}");
            assert!(said.body.lines().count() == 1, "{what}: {said:?}");
            assert_eq!(said, about_nothing, "{what}");
        }
        Answer::Own(status) => {
            assert_eq!(said.status, status, "{what}: {said:?}");
            let found = theirs.secrets().into_iter().find(|secret| told.contains(secret));
            assert_eq!(found, None, "{what}: {told}");
            if let Some(form) = what.strip_prefix("GET /v1/statements/") {
                assert!(!told.contains(&theirs.in_force), "{what}: {told}");
                // A statement of somebody else has lines, and says whose it is.
                let own = told.contains("\"partner\": \"stranger\"") && told.contains("\"lines\": []");
                assert!(own || form.contains('/'), "{what}: {told}");
            }
        }
        Answer::Same => assert_eq!(said.status, 200, "{what}: {said:?}"),
    }
}

/// The two listeners that ask for no certificate.
fn without_a_certificate(world: &World, by: &Caller, theirs: &Names, nothing: &Names) {
    let ca = std::fs::read_to_string(&world.sandbox.config.tls.server_ca).expect("there");
    let enrol = |text: String| {
        let mut raw = Raw::anonymous(&world.sandbox.enrolment().expect("it listens"), &ca, 1).expect("a connection");
        raw.write(text.as_bytes()).expect("sent");
        raw.read()
    };
    let plain = |text: String| {
        let mut socket = socket(&world.sandbox.health().expect("it listens"), 1).expect("a connection");
        let text = text.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        socket.write_all(text.as_bytes()).expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    };
    asked_at(ENROLMENT_ROUTES, &enrol, by, (theirs, nothing));
    asked_at(HEALTH_ROUTES, &plain, by, (theirs, nothing));
}

fn asked_at(routes: &[Route], ask: &dyn Fn(String) -> String, by: &Caller, (theirs, nothing): (&Names, &Names)) {
    for route in routes {
        assert_eq!(route.access, Access::Public);
        let asked = |names: &Names| cases(route.method.as_str(), route.path, by, names);
        for (case, same) in asked(theirs).iter().zip(&asked(nothing)) {
            let told = ask(request(route.method.as_str(), case));
            let about_nothing = Said::read(&ask(request(route.method.as_str(), same)), nothing);
            let said = Said::read(&told, theirs);
            is_told_nothing(route.path, case, &told, &said, (&about_nothing, theirs));
            assert_eq!(said, about_nothing);
        }
    }
}

/// Starts the service; what it logs is the text that `told` returns once it has stopped.
fn served(folder: &Path, told: impl FnOnce(&str)) -> String {
    let mut serve = command(env!("CARGO_BIN_EXE_clearing-under-test"), folder, None);
    serve.args(["serve", "--log-json"]).env("RUST_LOG", "info");
    let mut process = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().expect("its output"))).map_while(Result::ok);
    let port = lines
        .find_map(|line| line.strip_prefix("listening on 127.0.0.1:").map(str::to_owned))
        .expect("it listens");
    told(&format!("https://localhost:{port}"));
    let term = std::process::Command::new("kill")
        .args(["-TERM", &process.id().to_string()])
        .status();
    assert!(term.expect("kill runs").success());
    let mut log = String::new();
    process.stderr.take().expect("its log").read_to_string(&mut log).expect("text");
    assert!(process.wait().expect("it ends").success());
    log
}

/// Each look at what isn't the partner's is counted in the log, by partner and address, and the log names nothing that was asked for.
#[test]
fn a_look_at_what_is_not_ones_own_is_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::parse(NETWORK).expect("the network");
    let sandbox = Sandbox::open(folder.path(), "clearing.db", &network, Clock::System).expect("a clearinghouse");
    let party = &sandbox.parties[&"stranger".parse().expect("a partner")];
    let now = jiff::Timestamp::now();
    let payload = document::write(&terms("airline", now - 1.hour()));
    let dispute = document::write(&a_cent("2020-01-01", ("prepaid", &"cd".repeat(32), "0.050000")));
    let names = Names::of_nothing(payload, dispute);
    let mut asked: BTreeMap<(String, &str), u64> = BTreeMap::new();
    let log = served(folder.path(), |base| {
        let stranger = Asker::new(base, party, now, "2020-01-01");
        // One look is logged at once, and those after it are summed up.
        for (route, case) in (0..3).flat_map(|_| {
            ROUTES
                .iter()
                .flat_map(|route| stranger.cases(route, &names).into_iter().map(move |c| (route, c)))
        }) {
            let said = Said::read(&stranger.ask(route.method.as_str(), &case), &names);
            if let Some(code) = ["not_found", "forbidden"].into_iter().find(|code| said.has_code(code)) {
                *asked.entry((format!("{} {}", route.method, route.path), code)).or_default() += 1;
            }
        }
        for method in ["GET", "POST"] {
            let case = Case {
                path: format!("/v1/statements/2020-01-01/{MEMBER}/csv"),
                body: String::new(),
                answer: Answer::Own(404),
                owner: None,
            };
            assert_eq!(Said::read(&stranger.ask(method, &case), &names).status, 404);
            *asked.entry(("(none)".to_owned(), "not_found")).or_default() += 1;
        }
    });
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut counted: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for fields in lines.iter().map(|line| &line["fields"]) {
        if fields["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("nothing there for the partner"))
        {
            assert_eq!(fields["partner"], "stranger");
            let text = |name: &str| fields[name].as_str().expect("a text");
            *counted.entry((text("address").to_owned(), text("code"))).or_default() += fields["count"].as_u64().expect("a count");
        }
    }
    assert_eq!(counted, asked);
    assert!(asked.len() > 9, "{asked:?}");
    let told = names.secrets().into_iter().chain([MEMBER]).find(|secret| log.contains(secret));
    assert_eq!(told, None, "{log}");
}
