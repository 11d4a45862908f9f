//! `clearing check` notices: each figure that is altered behind the service's back breaks a rule of the books.

use migrations::Conn;
use partner_sdk::banking::Paid;
use partner_sdk::change::Change;
use partner_sdk::{Amount, Body};
use store::books;
use tests::office::Office;
use tests::{Backend, World, authorise, burn, earn, execute, id, on_both, quote, reverse};

const POOL: &str = include_str!("networks/pool.toml");
const ELSEWHERE: &str = include_str!("networks/elsewhere.toml");

on_both!(
    points_and_the_nights,
    quotes_and_exchanges,
    the_log,
    what_is_found_is_counted,
    each_arm_of_a_rule,
    confirmed_payments,
    very_many_accounts,
);

/// Alters one table at a time, puts back what was in it, and expects the books to break and to balance again.
fn all_are_noticed(world: &World, wrongs: &[(&str, &str)]) {
    for (table, wrong) in wrongs {
        assert_ne!(found_after(world, table, wrong), Vec::<String>::new(), "{wrong}");
        let mut conn = world.sandbox.database().expect("a connection");
        assert_eq!(
            books::check(&mut conn).expect("the check runs"),
            Vec::<String>::new(),
            "after {wrong}"
        );
    }
}

/// What the check finds where one table was altered; what was in it is put back.
fn found_after(world: &World, table: &str, wrong: &str) -> Vec<String> {
    let mut conn = world.sandbox.database().expect("a connection");
    execute(&mut conn, &format!("CREATE TABLE kept AS SELECT * FROM {table}; {wrong}"));
    let found = books::check(&mut conn).expect("the check runs");
    execute(
        &mut conn,
        &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept"),
    );
    found
}

fn points_and_the_nights(backend: Backend) {
    let mut world = World::new(backend, POOL);
    // 0.5555 and 0.2475: of each a part of a cent is carried on. The first lot expires with the second day, 20 of the second are held.
    world.post("wellcome", earn("YUU", "m1", "101")).expect("accepted");
    world.close();
    let later = id(world.post("wellcome", earn("YUU", "m1", "45")));
    world.post("wellcome", earn("YUU", "m2", "7")).expect("accepted");
    world.close();
    world.post("ikea", authorise("YUU", "m1", "20")).expect("held");
    world.post("ikea", burn("YUU", "m1", "5")).expect("spent");
    world.post("wellcome", reverse(&later, "10")).expect("taken back");
    all_are_noticed(
        &world,
        &[
            ("account", "UPDATE account SET points = points + 1 WHERE member = 'm1'"),
            ("account", "UPDATE account SET debt = 1 WHERE member = 'm2'"),
            ("account", "UPDATE account SET open_lots = open_lots + 1"),
            ("account", "UPDATE account SET lending_lots = lending_lots + 1"),
            ("account", "DELETE FROM account WHERE member = 'm2'"),
            ("holders", "UPDATE holders SET members = members + 1"),
            ("holders", "DELETE FROM holders"),
            ("lot", "UPDATE lot SET remaining = remaining + 1 WHERE member = 'm2'"),
            ("lot", "UPDATE lot SET member = 'm3' WHERE member = 'm2'"),
            ("lot", "UPDATE lot SET expired = expired + 1"),
            ("lot", "UPDATE lot SET lent = -1"),
            ("lot", "UPDATE lot SET lent = 1"),
            ("lot", "UPDATE lot SET due_at = 0 WHERE member = 'm2'"),
            ("hold", "UPDATE hold SET points = points + 1"),
            (
                "posting",
                "UPDATE posting SET amount = amount + 1 WHERE kind = 'earn' AND credit = 'member'",
            ),
            (
                "posting",
                "UPDATE posting SET amount = amount + 1 WHERE kind = 'earn' AND credit <> 'member'",
            ),
            (
                "posting",
                "UPDATE posting SET points = points + 1 WHERE kind = 'earn' AND credit <> 'member'",
            ),
            ("posting", "DELETE FROM posting WHERE kind = 'expiry'"),
            ("posting", "UPDATE posting SET business_date = '2026-11-19'"),
            ("position", "UPDATE position SET micros = micros + 1"),
            ("position", "UPDATE position SET debtor = 'hangseng' WHERE debtor = 'wellcome'"),
            ("position", "DELETE FROM position"),
            ("exposure", "UPDATE exposure SET micros = micros + 1"),
            ("exposure", "DELETE FROM exposure WHERE partner = 'wellcome'"),
            ("exposure", "DELETE FROM exposure"),
            ("obligation", "UPDATE obligation SET a_owes = a_owes + 1, net = net + 1"),
            ("obligation", "UPDATE obligation SET b_owes = b_owes + 1, net = net - 1"),
            ("obligation", "UPDATE obligation SET net = net + 10000"),
            (
                "obligation",
                "UPDATE obligation SET net = net + 10000, carried_out = carried_out - 10000 WHERE business_date = '2026-11-20'",
            ),
            ("obligation", "DELETE FROM obligation WHERE business_date = '2026-11-20'"),
            ("obligation", "DELETE FROM obligation WHERE business_date = '2026-11-21'"),
            (
                "settlement_window",
                "UPDATE settlement_window SET state = 'closed' WHERE state = 'open'",
            ),
            ("head", "UPDATE head SET next_seq = next_seq + 1"),
            ("head", "UPDATE head SET last_at = last_at - 1"),
        ],
    );
}

/// What the sums don't show: the books stay even, and the log's tree knows.
fn the_log(backend: Backend) {
    let mut world = World::new(backend, POOL);
    for n in 0..300 {
        world.post("wellcome", earn("YUU", &format!("m{n}"), "10")).expect("accepted");
    }
    world.close();
    store::grow(&mut world.sandbox.database().expect("a connection")).expect("it grows");
    all_are_noticed(
        &world,
        &[
            ("message", "UPDATE message SET sha256 = 'ab' WHERE seq = 17"),
            ("message", "UPDATE message SET posted_at = posted_at - 1 WHERE seq = 299"),
            ("message", "UPDATE message SET id = 'another' WHERE seq = 18"),
            ("entry", "UPDATE entry SET kind = 'another' WHERE seq = 1"),
            ("message", "UPDATE message SET facts = '[[\"points\",\"9\"]]' WHERE seq = 19"),
            ("entry", "UPDATE entry SET body = REPLACE(body, 'yes', 'no') WHERE seq = 1"),
            ("entry", "DELETE FROM entry WHERE seq = 1"),
            ("log_tile", "DELETE FROM log_tile WHERE level = 0 AND no = 0"),
            ("log_tile", "DELETE FROM log_tile WHERE level = 1"),
            (
                "log_tile",
                "UPDATE log_tile SET hashes = (SELECT hashes FROM log_tile WHERE level = 1) WHERE level = 0 AND no = 1",
            ),
            (
                "log_tile",
                "INSERT INTO log_tile (level, no, hashes) SELECT 2, 0, hashes FROM log_tile WHERE level = 1",
            ),
            ("head", "UPDATE head SET tree_size = tree_size - 1"),
            ("head", "UPDATE head SET tree_size = next_seq"),
        ],
    );
}

fn quotes_and_exchanges(backend: Backend) {
    let mut world = World::new(backend, ELSEWHERE);
    world.post("bank", earn("BANK", "m1", "2000")).expect("the bank's own points");
    let done = id(world.exchange_at_quote("bank", "BANK", "MILES", "m1", "700"));
    world
        .post(
            "airline",
            Body::Acknowledge {
                sender_of: "bank".parse().expect("a partner"),
                exchange: done,
                reference: None,
            },
        )
        .expect("captured");
    world.exchange_at_quote("bank", "BANK", "MILES", "m1", "730").expect("it waits");
    world.post("bank", quote("BANK", "MILES", "100")).expect("an offer");
    all_are_noticed(
        &world,
        &[
            ("quote", "UPDATE quote SET credited = credited + 1"),
            ("quote", "UPDATE quote SET is_open = NOT is_open"),
            ("quote", "DELETE FROM quote WHERE is_open"),
            ("quote", "DELETE FROM quote WHERE NOT is_open"),
            (
                "pending_exchange",
                "UPDATE pending_exchange SET micros = micros + 1 WHERE state = 'instructed'",
            ),
            (
                "pending_exchange",
                "UPDATE pending_exchange SET micros = micros + 1 WHERE state = 'captured'",
            ),
            (
                "pending_exchange",
                "UPDATE pending_exchange SET state = 'released' WHERE state = 'captured'",
            ),
            ("pending_exchange", "DELETE FROM pending_exchange WHERE state = 'instructed'"),
            ("hold", "UPDATE hold SET is_open = NOT is_open"),
            ("hold", "DELETE FROM hold WHERE is_open"),
            ("reserved", "UPDATE reserved SET micros = micros + 1"),
            ("reserved", "DELETE FROM reserved"),
            ("posting", "DELETE FROM posting WHERE kind = 'exchange' AND credit <> 'member'"),
            (
                "posting",
                "UPDATE posting SET amount = amount + 1 WHERE kind = 'exchange' AND unit = 'MILES'",
            ),
        ],
    );
}

/// A finding says how many rows break its rule, and names the first of them: the same one on either database.
fn what_is_found_is_counted(backend: Backend) {
    let mut world = World::new(backend, POOL);
    for (member, points) in [("m1", "101"), ("m1", "45"), ("m2", "7")] {
        world.post("wellcome", earn("YUU", member, points)).expect("accepted");
    }
    for (wrong, expected) in [
        (
            "UPDATE account SET open_lots = open_lots + 1",
            "an account counts its lots with points left: broken 2 times, first at YUU: 2 against 1",
        ),
        (
            "UPDATE account SET open_lots = 0 WHERE member = 'm1'",
            "an account counts its lots with points left: broken 1 times, first at YUU: 0 against 2",
        ),
        (
            "UPDATE account SET lending_lots = 3 WHERE member = 'm2'",
            "an account counts its lots that gave points for other earns: broken 1 times, first at YUU: 3 against 0",
        ),
    ] {
        assert_eq!(found_after(&world, "account", wrong), [expected], "{wrong}");
    }
}

/// A rule that looks from both sides finds what one of them doesn't see.
fn each_arm_of_a_rule(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("wellcome", earn("YUU", "m1", "2000")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "1000")).expect("accepted");
    world.close();
    let rule = "an obligation owes what the positions of its window do, and a netted position is in an obligation";
    for (wrong, expected) in [
        (
            "DELETE FROM obligation WHERE party_a = 'wellcome' OR party_b = 'wellcome'",
            "broken 1 times, first at wellcome: 0 against 11000000",
        ),
        ("DELETE FROM obligation", "broken 2 times, first at pool: 0 against 4800000"),
        (
            "UPDATE obligation SET a_owes = a_owes + 1",
            "broken 2 times, first at ikea: 1 against 0",
        ),
        (
            "UPDATE obligation SET b_owes = 0",
            "broken 2 times, first at pool: 0 against 4800000",
        ),
    ] {
        let found = found_after(&world, "obligation", wrong);
        assert!(
            found.iter().any(|found| found.starts_with(rule) && found.contains(expected)),
            "{wrong}: {found:?}"
        );
    }
    let mut world = World::new(backend, ELSEWHERE);
    world.post("bank", earn("BANK", "m1", "2000")).expect("the bank's own points");
    let exchange = id(world.exchange_at_quote("bank", "BANK", "MILES", "m1", "700"));
    let sender_of = "bank".parse().expect("a partner");
    let captured = Body::Acknowledge {
        sender_of,
        exchange,
        reference: None,
    };
    world.post("airline", captured).expect("captured");
    let rule = "an exchange that an issuer was told has one answer, or none while it is open";
    for (wrong, expected) in [
        ("DELETE FROM pending_exchange", "broken 1 times, first at airline"),
        ("UPDATE pending_exchange SET answer_seq = NULL", "broken 2 times, first at airline"),
    ] {
        let found = found_after(&world, "pending_exchange", wrong);
        assert!(
            found.iter().any(|found| found.starts_with(rule) && found.contains(expected)),
            "{wrong}: {found:?}"
        );
    }
}

/// What a confirmed payment took out of the exposures while its window isn't settled yet, of one who pays and of one who is paid.
fn confirmed_payments(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    world.post("wellcome", earn("YUU", "m1", "2000")).expect("accepted");
    world.post("hangseng", earn("YUU", "m1", "4000")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "4000")).expect("accepted");
    let date = world.close().business_date;
    let mut conn = world.sandbox.database().expect("a connection");
    let dues = settlement::dues_of(&mut conn, date).expect("payments");
    let payments = dues.iter().filter(|due| ["wellcome", "ikea"].contains(&due.partner.as_str()));
    let payments: Vec<Paid> = payments
        .map(|due| Paid {
            reference: due.reference.clone(),
            currency: due.currency,
            amount: Amount::from_units(due.amount.0.abs(), 6).expect("an amount"),
            paid_on: date.tomorrow().expect("a day"),
        })
        .collect();
    assert_eq!(payments.len(), 2);
    let confirm = Change::Confirm {
        payments,
        bank_statement: None,
    };
    office.change(&world.sandbox, confirm).expect("confirmed");
    assert_eq!(books::check(&mut conn).expect("the check runs"), Vec::<String>::new());
    let rule = "the exposures of a currency, with what confirmed payments took out of them and without what is disputed, sum to what is owed to the clearinghouse";
    for (wrong, expected) in [
        (
            "UPDATE payment SET confirmed_at = NULL WHERE partner = 'wellcome'",
            "first at HKD: -11000000 against 0",
        ),
        (
            "UPDATE payment SET confirmed_at = NULL WHERE partner = 'ikea'",
            "first at HKD: 19200000 against 0",
        ),
    ] {
        let found = found_after(&world, "payment", wrong);
        assert!(
            found.iter().any(|found| found.starts_with(rule) && found.contains(expected)),
            "{wrong}: {found:?}"
        );
    }
}

/// However many accounts there are, no rule compares each with each.
fn very_many_accounts(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    let mut conn = world.sandbox.database().expect("a connection");
    let numbers = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)";
    for sql in [
        format!(
            "{numbers} INSERT INTO lot SELECT 1000000 + n, leg, programme, 'x' || n, agreement, funder, price, currency, at_redemption, prepaid, issued, remaining, charged, \
             reversed, expired, expired_paid, lent, expires_at, due_at FROM lot, n"
        ),
        format!("{numbers} INSERT INTO account SELECT programme, 'x' || n, points, debt, open_lots, lending_lots FROM account, n"),
    ] {
        execute(&mut conn, &sql);
    }
    if let Conn::Postgres(_) = conn {
        execute(&mut conn, "ANALYZE lot; ANALYZE account; SET statement_timeout = '10s'");
    }
    let found = books::check(&mut conn).expect("no statement takes long");
    // There are no postings for them; what they have is in their lots.
    let mut rules = found.iter().filter_map(|found| found.split_once(": broken"));
    assert!(
        rules.any(|(rule, _)| rule == "a programme's balances are what its postings sum to"),
        "{found:?}"
    );
    assert!(!found.iter().any(|found| found.starts_with("an account")), "{found:?}");
    execute(
        &mut conn,
        "DELETE FROM lot WHERE seq > 1000000; DELETE FROM account WHERE member LIKE 'x%'",
    );
}
