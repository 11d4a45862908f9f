//! Payments, from the statement that names them to the bank's that shows them.

use std::time::Duration;

use clearing::office::pki;
use jiff::civil::Date;
use partner_sdk::banking::{AccountTerms, BankAccount, Paid, PaymentReference};
use partner_sdk::change::Change;
use partner_sdk::client::ClientError;
use partner_sdk::wire::{PaymentState, PaymentWay};
use partner_sdk::{Amount, Code};
use settlement::{Due, NetResult, Statement, Wanted};
use tests::child::command;
use tests::office::{Office, code_of};
use tests::{Backend, World, burn, earn, execute, on_both};

use super::install::PROGRAM;

on_both!(
    payments_are_confirmed_one_by_one,
    a_position_runs_on_from_window_to_window,
    what_was_not_advised_is_not_confirmed,
    statements_name_the_accounts,
    the_banks_statement_confirms_what_it_shows,
    a_payment_without_a_document_is_found,
    a_window_without_payments_is_settled_with_its_statements,
);

const POOL: &str = include_str!("networks/pool.toml");
const ALL: (Date, Date) = (Date::MIN, Date::MAX);

/// The pool, and a partner that takes no part.
fn pool(backend: Backend) -> World {
    World::new(backend, &format!("{POOL}\n[[partner]]\nid = \"bank\"\nname = \"Bank\"\n"))
}

/// A day on which Wellcome and Hang Seng owe the pool, and the pool owes Ikea.
fn trade(world: &mut World) -> Date {
    world.post("wellcome", earn("YUU", "m1", "2000")).expect("accepted");
    world.post("hangseng", earn("YUU", "m1", "4000")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "4000")).expect("accepted");
    world.close().business_date
}

fn payments(world: &World, partner: &str) -> Vec<PaymentState> {
    world
        .runtime
        .block_on(world.client(partner).payments(ALL, false))
        .expect("payments")
}

fn owes(world: &World, partner: &str) -> String {
    let positions: serde_json::Value = world
        .runtime
        .block_on(world.client(partner).get("/v1/positions"))
        .expect("positions");
    positions["net"][0]["owes"].as_str().unwrap_or("nothing").to_owned()
}

fn dues(world: &World, date: Date) -> Vec<Due> {
    settlement::dues_of(&mut world.sandbox.database().expect("a connection"), date).expect("payments")
}

fn paid(due: &Due, paid_on: Date) -> Paid {
    Paid {
        reference: due.reference.clone(),
        currency: due.currency,
        amount: Amount::from_units(due.amount.0.abs(), 6).expect("an amount"),
        paid_on,
    }
}

fn confirm(payments: &[Paid]) -> Change {
    Change::Confirm {
        payments: payments.to_vec(),
        bank_statement: None,
    }
}

/// What a partner is told of one kind: about what, and the facts that are named.
fn told(world: &World, partner: &str, kind: &str, facts: &[&str]) -> Vec<String> {
    let feed = world
        .runtime
        .block_on(world.client(partner).events(0, Duration::ZERO))
        .expect("events");
    let told = feed.into_iter().filter(|event| event.kind == kind);
    told.map(|event| {
        let facts = facts.iter().map(|name| event.fact(name).unwrap_or("?").to_owned());
        [event.subject.clone()].into_iter().chain(facts).collect::<Vec<_>>().join(" ")
    })
    .collect()
}

fn payments_are_confirmed_one_by_one(backend: Backend) {
    let mut world = pool(backend);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let all = dues(&world, date);
    let value_date = date.tomorrow().expect("a day");
    // What each partner finds is what its statement names, and what it was told.
    for (partner, amount, result, way) in [
        ("wellcome", "11.00", NetResult::Pays, PaymentWay::Pays),
        ("hangseng", "22.00", NetResult::Pays, PaymentWay::Pays),
        ("ikea", "19.20", NetResult::Receives, PaymentWay::Receives),
        ("pool", "13.80", NetResult::Receives, PaymentWay::Receives),
    ] {
        let own = payments(&world, partner);
        let [one] = &own[..] else { panic!("{partner}: {own:?}") };
        assert_eq!((&*one.amount, one.result, one.value_date), (amount, way, value_date), "{partner}");
        assert_eq!((one.paid_on, one.confirmed_at, one.window), (None, None, date), "{partner}");
        let statement = world.statement(&date.to_string(), partner);
        let named = &statement.payments.expect("named")[0];
        assert_eq!(
            (&named.reference, &*named.amount, named.result),
            (&one.reference, amount, result),
            "{partner}"
        );
        let told_of = told(&world, partner, "payment.due", &["amount", "value_date"]);
        assert_eq!(told_of, [format!("{} {amount} {value_date}", one.reference)], "{partner}");
        assert_eq!(told(&world, partner, "statement.ready", &[]), [date.to_string()], "{partner}");
    }
    assert_eq!(told(&world, "bank", "statement.ready", &[]), [""; 0], "it takes no part");
    // Wellcome has paid: its debt counts no more, and nobody else's changes.
    let of = |partner: &str| all.iter().find(|due| due.partner.as_str() == partner).expect("a payment");
    let first = paid(of("wellcome"), value_date);
    office
        .change(&world.sandbox, confirm(std::slice::from_ref(&first)))
        .expect("confirmed");
    assert_eq!([owes(&world, "wellcome"), owes(&world, "hangseng")], ["0.000000", "22.000000"]);
    let own = payments(&world, "wellcome");
    assert_eq!(own[0].paid_on, Some(value_date));
    assert!(own[0].confirmed_at.is_some() && own[0].change.is_some());
    assert_eq!(
        told(&world, "wellcome", "payment.confirmed", &["paid_on"]),
        [format!("{} {value_date}", first.reference)]
    );
    assert_eq!(told(&world, "hangseng", "payment.confirmed", &[]), [""; 0]);
    let open = world
        .runtime
        .block_on(world.client("wellcome").payments(ALL, true))
        .expect("payments");
    assert_eq!(open, []);
    let state = |world: &World| {
        let window = settlement::window(&mut world.sandbox.database().expect("a connection"), date).expect("reads");
        window.expect("there").state
    };
    assert_eq!(state(&world), settlement::State::Advised, "three are open");
    // The other three: the window is settled, and everybody is even.
    let mut rest: Vec<Paid> = all
        .iter()
        .filter(|due| due.partner.as_str() != "wellcome")
        .map(|due| paid(due, value_date))
        .collect();
    rest.sort_by(|one, other| one.reference.cmp(&other.reference));
    office.change(&world.sandbox, confirm(&rest)).expect("confirmed");
    assert_eq!(state(&world), settlement::State::Settled);
    for partner in ["wellcome", "hangseng", "ikea", "pool"] {
        assert_eq!(owes(&world, partner), "0.000000", "{partner}");
        assert_eq!(told(&world, partner, "window.settled", &[]), [date.to_string()], "{partner}");
    }
}

/// `opening + confirmed + net == closing`, and the next statement opens with it.
fn a_position_runs_on_from_window_to_window(backend: Backend) {
    let mut world = pool(backend);
    let office = Office::found(&world.sandbox);
    let line = |statement: &Statement| {
        let lines = statement.running_position.as_ref().expect("since format 3");
        assert_eq!(lines.len(), 1, "{lines:?}");
        [
            &lines[0].opening,
            &lines[0].confirmed,
            &lines[0].net,
            &lines[0].closing,
            &lines[0].carried,
        ]
        .map(String::clone)
    };
    let first = trade(&mut world);
    assert_eq!(
        line(&world.statement(&first.to_string(), "wellcome")),
        ["0.00", "0.00", "-11.00", "-11.00", "0.000000"]
    );
    let second = trade(&mut world);
    assert_eq!(
        line(&world.statement(&second.to_string(), "wellcome")),
        ["-11.00", "0.00", "-11.00", "-22.00", "0.000000"]
    );
    let own = dues(&world, first)
        .into_iter()
        .find(|due| due.partner.as_str() == "wellcome")
        .expect("a payment");
    office.change(&world.sandbox, confirm(&[paid(&own, second)])).expect("confirmed");
    world.post("wellcome", earn("YUU", "m1", "1")).expect("accepted");
    let third = world.close().business_date;
    assert_eq!(
        line(&world.statement(&third.to_string(), "wellcome")),
        ["-22.00", "11.00", "-0.01", "-11.01", "0.004500"]
    );
    // Ikea takes no part, and is still to be paid for two days.
    assert_eq!(
        line(&world.statement(&third.to_string(), "ikea")),
        ["38.40", "0.00", "0.00", "38.40", "0.000000"]
    );
    // All of a window at once: those that were confirmed stay as they were.
    office
        .change(&world.sandbox, Change::Settle { business_date: first })
        .expect("settled");
    let paid_on: Vec<Option<Date>> = dues(&world, first)
        .into_iter()
        .map(|due| due.confirmed.expect("confirmed").paid_on)
        .collect();
    assert_eq!(paid_on.iter().flatten().collect::<Vec<_>>(), [&second]);
    assert_eq!(owes(&world, "wellcome"), "11.005500");
    let fourth = world.close().business_date;
    assert_eq!(
        line(&world.statement(&fourth.to_string(), "ikea")),
        ["38.40", "-19.20", "0.00", "19.20", "0.000000"]
    );
}

fn what_was_not_advised_is_not_confirmed(backend: Backend) {
    let mut world = pool(backend);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let all = dues(&world, date);
    let good = paid(&all[0], date);
    let code = |payments: &[Paid]| code_of(office.propose(&world.sandbox, &office.first, confirm(payments))).err();
    let with = |change: &dyn Fn(&mut Paid)| {
        let mut other = good.clone();
        change(&mut other);
        code(&[other])
    };
    let yesterday = date.yesterday().expect("a day");
    assert_eq!(code(&[]), Some(Code::BadTerms), "none");
    assert_eq!(code(&[good.clone(), good.clone()]), Some(Code::BadTerms), "twice");
    let mut unsorted: Vec<Paid> = all.iter().map(|due| paid(due, date)).collect();
    unsorted.sort_by(|one, other| other.reference.cmp(&one.reference));
    assert_eq!(code(&unsorted), Some(Code::BadTerms), "unsorted");
    assert_eq!(
        with(&|paid| paid.amount = "11.01".parse().expect("an amount")),
        Some(Code::BadAmount)
    );
    assert_eq!(
        with(&|paid| paid.currency = "USD".parse().expect("a currency")),
        Some(Code::BadAmount)
    );
    assert_eq!(with(&|paid| paid.paid_on = yesterday), Some(Code::BadTerms), "before it was due");
    assert_eq!(with(&|paid| paid.paid_on = Date::MAX), Some(Code::BadTerms), "in days to come");
    let unknown = PaymentReference::new(date, all[0].currency, 99);
    assert_eq!(with(&|paid| paid.reference = unknown.clone()), Some(Code::BadTerms), "unknown");
    // Two propose the same; the second approval finds it done, and a settled window isn't settled again.
    let twice = [&office.first, &office.second].map(|key| {
        office
            .propose(&world.sandbox, key, confirm(std::slice::from_ref(&good)))
            .expect("proposed")
    });
    assert_eq!(
        code_of(office.approve_change(&world.sandbox, &office.first, &twice[0])).err(),
        Some(Code::FourEyes)
    );
    office.approve_change(&world.sandbox, &office.second, &twice[0]).expect("approved");
    assert_eq!(
        code_of(office.approve_change(&world.sandbox, &office.first, &twice[1])).err(),
        Some(Code::AlreadySettled)
    );
    assert_eq!(code(std::slice::from_ref(&good)), Some(Code::AlreadySettled));
    // Nobody sees another's payments, however it asks.
    let others = [
        ("/v1/payments?partner=wellcome", Code::BadRequest),
        ("/v1/payments?state=all", Code::BadValue),
    ];
    for (path, expected) in others {
        match world.runtime.block_on(world.client("bank").get_text(path)) {
            Err(ClientError::Refused(problem)) => assert_eq!(problem.code, expected, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    assert_eq!(payments(&world, "bank"), []);
}

fn account(of: &str, number: &str) -> AccountTerms {
    AccountTerms {
        partner: of.parse().expect("a party"),
        currency: "HKD".parse().expect("a currency"),
        holder: format!("{of} Ltd"),
        account: number.into(),
        bank: "AAAAHKHH".into(),
    }
}

/// Who pays does so into the clearing account, who is paid is so at its own; what was advised keeps the account that it named.
fn statements_name_the_accounts(backend: Backend) {
    let mut world = pool(backend);
    let office = Office::found(&world.sandbox);
    let code = |terms: AccountTerms| code_of(office.propose(&world.sandbox, &office.first, Change::Account(terms))).err();
    assert_eq!(code(account("nobody", "1")), Some(Code::BadTerms));
    assert_eq!(code(account("ikea", "HK00")), Some(Code::BadTerms));
    assert_eq!(code(account("ikea", "GB83WEST12345698765432")), Some(Code::BadTerms));
    for terms in [account("clearing", "012345678901"), account("ikea", "987654321098")] {
        office.change(&world.sandbox, Change::Account(terms)).expect("set");
    }
    assert_eq!(told(&world, "ikea", "account.set", &["currency"]), ["clearing HKD", "ikea HKD"]);
    assert_eq!(told(&world, "wellcome", "account.set", &["currency"]), ["clearing HKD"]);
    let date = trade(&mut world);
    office
        .change(&world.sandbox, Change::Account(account("ikea", "GB82WEST12345698765432")))
        .expect("another");
    let next = trade(&mut world);
    let at = |date: Date, partner: &str| -> Option<BankAccount> {
        let statement = world.statement(&date.to_string(), partner);
        statement.payments.expect("named")[0].to.clone()
    };
    assert_eq!(at(date, "wellcome"), Some(account("clearing", "012345678901").account()));
    assert_eq!(at(date, "ikea"), Some(account("ikea", "987654321098").account()));
    assert_eq!(at(next, "ikea"), Some(account("ikea", "GB82WEST12345698765432").account()));
    assert_eq!(at(date, "pool"), None, "nobody has named one");
    let from = world.statement(&date.to_string(), "ikea").payments.expect("named")[0].from.clone();
    assert_eq!(from, Some(account("clearing", "012345678901").account()));
    let csv = world.statements().join(date.to_string()).join("ikea.csv");
    let csv = std::fs::read_to_string(csv).expect("written");
    assert!(
        csv.starts_with('\u{feff}') && csv.contains("19.20,ikea Ltd,'987654321098,AAAAHKHH"),
        "{csv}"
    );
    // Another account behind everybody's back is found.
    let mut conn = world.sandbox.database().expect("a connection");
    execute(&mut conn, "UPDATE bank_account SET account = '666' WHERE partner = 'clearing'");
    assert_eq!(
        world.check_trail(),
        ["clearing is paid in HKD at an account that no signed document names"]
    );
    execute(
        &mut conn,
        "UPDATE bank_account SET account = '012345678901' WHERE partner = 'clearing'",
    );
}

fn the_banks_statement_confirms_what_it_shows(backend: Backend) {
    let mut world = pool(backend);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let folder = world.folder().join("sandbox");
    for (name, key) in [("first", &office.first), ("second", &office.second)] {
        pki::write_secret(&folder.join(format!("{name}.key")), &key.secret_base64url()).expect("written");
    }
    let key = |name: &str| folder.join(format!("{name}.key")).display().to_string();
    let runs = |arguments: &[&str], name: &str| {
        let mut command = command(PROGRAM, &folder, None);
        command.args(arguments).args(["--as", name, "--key", &key(name)]);
        let output = command.output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).expect("text"))
    };
    let of = |partner: &str| {
        dues(&world, date)
            .into_iter()
            .find(|due| due.partner.as_str() == partner)
            .expect("a payment")
    };
    let (wellcome, ikea, pool) = (of("wellcome"), of("ikea"), of("pool"));
    let table = format!(
        "Date,Details,Amount,Currency\n{date},FPS {},11.00,HKD\n{date},{},-19.20,HKD\n{date},{},-13.79,HKD\n{date},\"rent; =1+1\",-5,HKD\n",
        wellcome.reference, ikea.reference, pool.reference
    );
    let file = folder.join("bank.csv").display().to_string();
    std::fs::write(&file, table).expect("written");
    let (well, said) = runs(&["confirm", "--bank-statement", &file], "first");
    assert!(well, "{said}");
    assert!(said.contains("4 bookings: 2 payments matched, 2 listed here"), "{said}");
    assert!(
        said.contains(&format!("out HKD 13.79: {} is of HKD 13.80 out of the account", pool.reference)),
        "{said}"
    );
    assert!(said.contains("out HKD 5: it names no payment"), "{said}");
    let hash = said.rsplit_once("clearing approve ").map(|(_, hash)| hash.trim()).expect("a hash");
    let (well, approved) = runs(&["approve", hash], "second");
    assert!(well, "{approved}");
    // The same statement once more confirms nothing.
    let (well, said) = runs(&["confirm", "--bank-statement", &file], "first");
    assert!(
        !well && said.contains("is confirmed already") && said.contains("nothing was proposed"),
        "{said}"
    );
    // What is left, by reference.
    let open = command(PROGRAM, &folder, None)
        .args(["payments", "--open", "--json"])
        .output()
        .expect("it runs");
    let open = String::from_utf8(open.stdout).expect("text");
    let references: Vec<String> = open
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["reference"]
                .as_str()
                .expect("one")
                .to_owned()
        })
        .collect();
    assert_eq!(references.len(), 2, "{open}");
    let day = date.to_string();
    let named: Vec<&str> = ["confirm", "--paid-on", &day]
        .into_iter()
        .chain(references.iter().map(String::as_str))
        .collect();
    let (well, said) = runs(&named, "first");
    assert!(well && said.contains("2 payments proposed"), "{said}");
    let hash = said.rsplit_once("clearing approve ").map(|(_, hash)| hash.trim()).expect("a hash");
    assert!(runs(&["approve", hash], "second").0);
    let listed = command(PROGRAM, &folder, None).arg("payments").output().expect("it runs");
    let listed = String::from_utf8(listed.stdout).expect("text");
    assert!(
        listed.contains(&format!("confirmed paid on {date}")) && listed.ends_with("4 payments, 0 not confirmed\n"),
        "{listed}"
    );
}

/// In a clearinghouse whose clock can't be set each confirmation has two people's document; in a sandbox the log's replay finds what was slipped in.
fn a_payment_without_a_document_is_found(backend: Backend) {
    let mut world = pool(backend);
    let office = Office::found(&world.sandbox);
    let date = trade(&mut world);
    let all = dues(&world, date);
    office.change(&world.sandbox, confirm(&[paid(&all[0], date)])).expect("confirmed");
    let mut conn = world.sandbox.database().expect("a connection");
    execute(&mut conn, "UPDATE head SET sandbox = FALSE");
    let trail = |world: &World| {
        let findings = world.check_trail();
        findings
            .into_iter()
            .filter(|finding| finding.contains("payment"))
            .collect::<Vec<_>>()
    };
    assert_eq!(trail(&world), [""; 0]);
    let second = &all[1].reference;
    let confirmed =
        format!("UPDATE payment SET confirmed_at = 1, confirmed_by = (SELECT MIN(confirmed_by) FROM payment) WHERE reference = '{second}'");
    execute(&mut conn, &confirmed);
    assert_eq!(
        trail(&world),
        [format!("payment {second} is confirmed, and no signed document says so")]
    );
    execute(&mut conn, "UPDATE head SET sandbox = TRUE");
    let findings = world.findings();
    assert!(
        findings
            .iter()
            .any(|finding| finding.starts_with("payment: ") && finding.contains(second.as_str())),
        "{findings:?}"
    );
    execute(
        &mut conn,
        &format!("UPDATE payment SET confirmed_at = NULL, confirmed_by = NULL WHERE reference = '{second}'"),
    );
}

fn a_window_without_payments_is_settled_with_its_statements(backend: Backend) {
    let mut world = pool(backend);
    let empty = world.close().business_date;
    world.post("wellcome", earn("YUU", "m1", "10")).expect("accepted");
    let paid = world.close().business_date;
    // Half a cent and less comes to nothing, and is carried on.
    world.post("ikea", burn("YUU", "m1", "1")).expect("accepted");
    let tiny = world.close().business_date;
    let mut conn = world.sandbox.database().expect("a connection");
    for date in [empty, tiny] {
        let window = settlement::window(&mut conn, date).expect("reads").expect("there");
        assert_eq!(
            (window.state, window.settled_by.as_deref()),
            (settlement::State::Settled, Some("nothing_due")),
            "{date}"
        );
    }
    assert_eq!(owes(&world, "ikea"), "0.000000");
    let all = settlement::dues(&mut conn, &Wanted::default(), 10).expect("reads");
    assert_eq!((all.len(), all.iter().all(|due| due.business_date == paid)), (2, true), "{all:?}");
    let carried = world.statement(&tiny.to_string(), "ikea").obligations[0].carried_out.clone();
    assert_eq!(carried, "0.004800");
}
