//! `clearing check` notices: each figure that is altered behind the service's back breaks a rule of the books.

use partner_sdk::Body;
use store::books;
use tests::{Backend, World, authorise, burn, earn, execute, id, on_both, quote, reverse};

const POOL: &str = include_str!("networks/pool.toml");
const ELSEWHERE: &str = include_str!("networks/elsewhere.toml");

on_both!(points_and_the_nights, quotes_and_exchanges, the_log);

/// Alters one table at a time, puts back what was in it, and expects the books to break and to balance again.
fn all_are_noticed(world: &World, wrongs: &[(&str, &str)]) {
    let mut conn = world.sandbox.database().expect("a connection");
    for (table, wrong) in wrongs {
        execute(&mut conn, &format!("CREATE TABLE kept AS SELECT * FROM {table}; {wrong}"));
        let found = books::check(&mut conn).expect("the check runs");
        assert_ne!(found, Vec::<String>::new(), "{wrong}");
        execute(
            &mut conn,
            &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept"),
        );
        assert_eq!(
            books::check(&mut conn).expect("the check runs"),
            Vec::<String>::new(),
            "after {wrong}"
        );
    }
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
