//! What somebody with the database's password does behind the service's back is found by `clearing check`, and named: each by itself, put back afterwards.

use clearing::audit;
use migrations::Conn;
use partner_sdk::change::{Change, Status};
use partner_sdk::jws::general::Signature;
use partner_sdk::jws::{SigningKey, TYP_CHANGE};
use partner_sdk::{Code, KeyId};
use tests::market::Market;
use tests::{Backend, World, authorise, burn, earn, execute, id, on_both, reverse};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    points_and_messages,
    what_the_operator_put_in_force,
    who_answers_for_it,
    what_is_missing_from_the_end,
    heads_of_others_are_no_evidence,
    what_stands_beside_rows,
);

/// Alters rows, expects a finding with these words, puts back what was there, and expects that all is well.
fn found(world: &World, tables: &[&str], wrong: &str, words: &[&str]) {
    let mut conn = world.sandbox.database().expect("a connection");
    // Rows are put back one table after the other.
    match &conn {
        Conn::Sqlite(_) => execute(&mut conn, "PRAGMA foreign_keys = OFF"),
        Conn::Postgres(_) => execute(&mut conn, "SET session_replication_role = replica"),
    }
    for table in tables {
        execute(&mut conn, &format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"));
    }
    execute(&mut conn, wrong);
    let findings = world.findings();
    assert!(!findings.is_empty(), "nothing was found: {wrong}");
    for word in words {
        assert!(
            findings.iter().any(|finding| finding.contains(word)),
            "{wrong}: no `{word}` in {findings:?}"
        );
    }
    let mut back = String::new();
    for table in tables.iter().rev() {
        back += &format!("DELETE FROM {table}; ");
    }
    for table in tables {
        back += &format!("INSERT INTO {table} SELECT * FROM kept_{table}; DROP TABLE kept_{table}; ");
    }
    execute(&mut conn, &back);
    assert_eq!(world.findings(), Vec::<String>::new(), "after {wrong}");
}

pub(super) fn one(conn: &mut Conn, query: &str) -> String {
    #[derive(diesel::QueryableByName)]
    struct Text {
        #[diesel(sql_type = diesel::sql_types::Text)]
        text: String,
    }
    let query = diesel::sql_query(format!("SELECT CAST(({query}) AS TEXT) AS text"));
    migrations::each_backend!(conn, |c| diesel::RunQueryDsl::get_result::<Text>(query, c))
        .expect("one row")
        .text
}

fn points_and_messages(backend: Backend) {
    let network = POOL.replace("expires_after = \"1 day\"", "negative_limit = \"1000\"");
    let mut world = World::new(
        backend,
        &network.replacen("[[agreement]]\n", "[[agreement]]\nper_member_day = \"5000\"\n", 1),
    );
    let first = id(world.post("wellcome", earn("YUU", "m1", "1000")));
    world.post("hangseng", earn("YUU", "m2", "300")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "900")).expect("spent");
    world.post("wellcome", reverse(&first, "400")).expect("taken back, and owed");
    world.close();
    world.post("wellcome", earn("YUU", "m3", "500")).expect("accepted");
    world.post("ikea", authorise("YUU", "m3", "200")).expect("held");
    assert_eq!(
        world.post("ikea", burn("YUU", "m4", "1")).expect_err("nothing there"),
        Code::InsufficientBalance
    );
    let mut conn = world.sandbox.database().expect("a connection");
    let last = one(&mut conn, "SELECT seq FROM message WHERE member = 'm3' AND kind = 'earn'");
    // Even sums, each time: m2 has twice the points, and a posting and a message that say so.
    let twice = "UPDATE account SET points = points * 2 WHERE member = 'm2'; UPDATE lot SET issued = issued * 2, remaining = remaining * 2 WHERE member = 'm2'; \
                 UPDATE message SET points = points * 2 WHERE member = 'm2'; \
                 UPDATE posting SET amount = amount * 2 WHERE kind = 'earn' AND unit = 'YUU' AND seq = (SELECT seq FROM message WHERE member = 'm2')";
    found(
        &world,
        &["account", "lot", "message", "posting"],
        twice,
        &[
            "account: ",
            "member m2",
            "points is `600`, and the log makes it `300`",
            "posting: ",
            "message: ",
        ],
    );
    let other = "UPDATE account SET debt = (SELECT debt FROM account WHERE member = 'm1') WHERE member = 'm2'; UPDATE account SET debt = 0 WHERE member = 'm1'";
    found(&world, &["account"], other, &["account: ", "debt is"]);
    found(
        &world,
        &["account"],
        "UPDATE account SET points = points + 1 WHERE member = 'm3'",
        &["member m3", "points is `501`, and the log makes it `500`"],
    );
    found(
        &world,
        &["reversal"],
        "DELETE FROM reversal",
        &["reversal: the row of seq", "is missing"],
    );
    found(&world, &["hold"], "UPDATE hold SET is_open = NOT is_open", &["hold: ", "is_open"]);
    found(
        &world,
        &["hold"],
        "UPDATE hold SET expires_at = expires_at + 1",
        &["hold: ", "expires_at"],
    );
    found(
        &world,
        &["limit_use"],
        "UPDATE limit_use SET points = 0 WHERE member = 'm3'",
        &["limit_use: ", "points is `0`"],
    );
    found(
        &world,
        &["event"],
        "DELETE FROM event WHERE no = (SELECT MIN(no) FROM event)",
        &["event: the row of no 1 is missing"],
    );
    found(
        &world,
        &["settlement_window"],
        "UPDATE settlement_window SET state = 'settled', settled_by = 'nobody' WHERE state = 'advised'",
        &["settlement_window: ", "state is `settled`"],
    );
    found(
        &world,
        &["statement_file"],
        "UPDATE statement_file SET bytes = bytes || ' ' WHERE name = 'pool.json'",
        &["statement_file: ", "pool.json"],
    );
    // What was signed, in another message's place; and with a digest that fits.
    let bytes = format!("UPDATE message SET bytes = (SELECT bytes FROM message WHERE member = 'm2') WHERE seq = {last}");
    found(
        &world,
        &["message"],
        &bytes,
        &[&format!("message {last}: its bytes aren't those that its entry names")],
    );
    let both = format!("{bytes}; UPDATE message SET sha256 = (SELECT sha256 FROM message WHERE member = 'm2') WHERE seq = {last}");
    found(
        &world,
        &["message"],
        &both,
        &[
            &format!("message {last}: it isn't signed by a key of its sender"),
            &format!("entry {last} isn't what the log's tree has"),
        ],
    );
    found(
        &world,
        &["message"],
        &format!("UPDATE message SET code = 'stale' WHERE seq = {last}"),
        &[&format!("entry {last} isn't what the rules make of it")],
    );
    // Once the service is gone, nothing more is written: what is in memory is as it was.
    found(&world, &["head"], "UPDATE head SET last_at = last_at + 1", &["head: ", "last_at"]);
    found(&world, &["head"], "UPDATE head SET sandbox = NOT sandbox", &["head: ", "sandbox"]);
    let tile = "UPDATE log_tile SET hashes = (SELECT hashes FROM log_tile WHERE level = 0 LIMIT 1) WHERE level > 0; DELETE FROM log_tile WHERE level = 0";
    found(&world, &["log_tile"], tile, &["the log's tree"]);
}

fn what_the_operator_put_in_force(backend: Backend) {
    let market = Market::new(backend, 1);
    let (world, office) = (&market.world, &market.office);
    let agreed = market.in_force(&market.terms());
    let change = Change::Cap {
        partner: "grocer".parse().expect("a partner"),
        currency: "HKD".parse().expect("a currency"),
        amount: Some("500".parse().expect("an amount")),
    };
    office.change(&world.sandbox, change).expect("approved");
    let dear = "UPDATE agreement SET terms = REPLACE(terms, '0.0055', '0.0155')";
    found(world, &["agreement"], dear, &["agreement: no 1: terms is", "and the log makes it"]);
    found(
        world,
        &["agreement"],
        "UPDATE agreement SET published_at = published_at - 1",
        &["agreement: ", "published_at"],
    );
    let hash = &agreed.hash;
    let words = format!("document: hash {hash}: state is `terminated`");
    found(
        world,
        &["document"],
        &format!("UPDATE document SET state = 'terminated' WHERE hash = '{hash}'"),
        &[&words],
    );
    let unsigned = format!("DELETE FROM document_signature WHERE document = '{hash}' AND role = 'counterparty'");
    found(world, &["document_signature"], &unsigned, &["the signature of pool", "is missing"]);
    found(
        world,
        &["net_debit_cap"],
        "UPDATE net_debit_cap SET micros = 600000000",
        &["net_debit_cap: ", "micros is `600000000`, and the log makes it `500000000`"],
    );
    found(
        world,
        &["net_debit_cap"],
        "DELETE FROM net_debit_cap",
        &["net_debit_cap: the row of partner grocer, currency HKD is missing"],
    );
    let status = format!("UPDATE partner SET status = '{}' WHERE id = 'cafe'", Status::Suspended.as_str());
    found(
        world,
        &["partner"],
        &status,
        &["partner: id cafe: status is `suspended`, and the log makes it `active`"],
    );
    found(
        world,
        &["programme"],
        "UPDATE programme SET issuer = 'grocer'",
        &["programme: code P0: issuer is `grocer`"],
    );
    let eve = SigningKey::from_bytes(KeyId::new("eve").expect("a kid"), &[66; 32])
        .verifying_key()
        .to_base64url();
    for public in [&*eve, "AAAA"] {
        let key = format!(
            "INSERT INTO signing_key SELECT 'eve', partner, '{public}', valid_from, valid_until, registered_at, NULL, NULL, NULL, NULL FROM signing_key \
             WHERE partner = 'grocer'"
        );
        found(
            world,
            &["signing_key"],
            &key,
            &["signing_key: no entry explains the row of kid eve"],
        );
    }
    let key = "INSERT INTO tls_key SELECT 'ab', partner, registered_at, NULL, NULL, NULL, NULL FROM tls_key WHERE partner = 'grocer'";
    found(world, &["tls_key"], key, &["tls_key: no entry explains the row of spki_sha256 ab"]);
    let key = "UPDATE signing_key SET valid_until = valid_from + 1 WHERE partner = 'grocer'";
    found(world, &["signing_key"], key, &["signing_key: kid grocer-1: valid_until is"]);
    let invited = "INSERT INTO invitation (token_sha256, partner, expires_at) VALUES ('ab', 'grocer', 9)";
    found(
        world,
        &["invitation"],
        invited,
        &["invitation: no entry explains the row of token_sha256 ab"],
    );
    found(
        world,
        &["calendar"],
        "UPDATE calendar SET terms = REPLACE(terms, 'Hong_Kong', 'Macau')",
        &["calendar: no 1: terms is"],
    );
    found(
        world,
        &["entry"],
        "UPDATE entry SET body = REPLACE(body, '\"500\"', '\"900\"') WHERE kind = 'document'; UPDATE entry SET subject = 'x' WHERE seq = 1",
        &["entry: seq 1: subject is `x`"],
    );
}

/// A person whom nobody named, who approves a change and is gone, with all rows as if it had been: its key signs.
fn who_answers_for_it(backend: Backend) {
    let market = Market::new(backend, 1);
    let (world, office) = (&market.world, &market.office);
    let change = Change::Status {
        partner: "cafe".parse().expect("a partner"),
        status: Status::Suspended,
    };
    let proposed = office.propose(&world.sandbox, &office.first, change).expect("proposed");
    let eve = SigningKey::from_bytes(KeyId::new("eve-1").expect("a kid"), &[66; 32]);
    let signature = Signature::new(&eve, TYP_CHANGE, proposed.payload.as_bytes());
    let own = Signature::new(&office.clearing, TYP_CHANGE, proposed.payload.as_bytes());
    let (hash, public) = (&proposed.hash, eve.verifying_key().to_base64url());
    let signed = |role: &str, who: &str, one: &Signature| {
        let (kid, protected, signature) = (one.kid.as_str(), &one.protected, &one.signature);
        format!("INSERT INTO document_signature VALUES ('{hash}', '{role}', '{who}', '{kid}', '{protected}', '{signature}', 5); ")
    };
    let wrong = format!(
        "INSERT INTO person (name, kid, public_key, added_at, added_by, left_at, left_by) VALUES ('eve', 'eve-1', '{public}', 1, '{hash}', 9, '{hash}'); \
         UPDATE document SET state = 'in_force' WHERE hash = '{hash}'; UPDATE partner SET status = 'suspended' WHERE id = 'cafe'; {}{}",
        signed("approver", "eve", &signature),
        signed("clearing", "clearing", &own)
    );
    let words = [
        "person: no entry explains the row of name eve",
        "partner: id cafe: status",
        &format!("document: hash {hash}: state"),
    ];
    found(world, &["person", "document_signature", "partner", "document"], &wrong, &words);
}

/// The last entry is taken away with all that came of it, and the tree made anew: only who has seen it knows.
fn what_is_missing_from_the_end(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let client = world.client("ikea");
    world.post("wellcome", earn("YUU", "m1", "10")).expect("accepted");
    let before = world
        .runtime
        .block_on(client.check_log())
        .map(|_| client.seen().expect("a head"))
        .expect("a head");
    assert_eq!(
        world.post("ikea", burn("YUU", "m2", "10")).expect_err("nothing there"),
        Code::InsufficientBalance
    );
    world.runtime.block_on(client.check_log()).expect("it goes on");
    let head = client.seen().expect("a head");
    let origin = world.sandbox.trust.origin().to_owned();
    let mut conn = world.sandbox.database().expect("a connection");
    for head in [&before, &head] {
        assert_eq!(audit::held_to(&mut conn, &origin, head).expect("a head"), None);
    }
    let last = "(SELECT next_seq - 1 FROM head)";
    execute(
        &mut conn,
        &format!(
            "DELETE FROM message WHERE seq = {last}; UPDATE head SET next_seq = next_seq - 1, tree_size = 0, last_at = (SELECT MAX(posted_at) FROM message); \
             DELETE FROM log_tile"
        ),
    );
    store::grow(&mut conn).expect("it grows");
    // Everything is as if it had never been.
    assert_eq!(world.findings(), Vec::<String>::new());
    assert_eq!(audit::held_to(&mut conn, &origin, &before).expect("a head"), None);
    let finding = audit::held_to(&mut conn, &origin, &head).expect("a head").expect("a finding");
    assert!(finding.contains("some were removed"), "{finding}");
    // Another entry comes in its place.
    world.post("wellcome", earn("YUU", "m1", "10")).expect("accepted");
    let finding = audit::held_to(&mut conn, &origin, &head).expect("a head").expect("a finding");
    assert!(finding.contains("some were changed"), "{finding}");
}

fn heads_of_others_are_no_evidence(backend: Backend) {
    let (ours, theirs) = (World::new(backend, POOL), World::new(backend, POOL));
    let client = theirs.client("ikea");
    theirs.runtime.block_on(client.check_log()).expect("a head");
    let mut conn = ours.sandbox.database().expect("a connection");
    let head = client.seen().expect("a head");
    assert!(audit::held_to(&mut conn, ours.sandbox.trust.origin(), &head).is_err());
}

/// Keys and indexes that keep rows right, and what would change rows unseen. An index of the operator's own is none of that.
fn what_stands_beside_rows(backend: Backend) {
    let world = World::new(backend, POOL);
    let mut conn = world.sandbox.database().expect("a connection");
    let lot_due = "CREATE INDEX lot_due ON lot (due_at, seq, leg) WHERE remaining > 0 AND due_at < 9223372036854775807";
    let mut cases = vec![(
        "DROP INDEX lot_due",
        lot_due,
        "lot: it lacks the index (due_at, seq, leg) of some rows",
    )];
    let (quiet, strict) = (
        "event: the trigger quiet isn't of this program",
        "CREATE UNIQUE INDEX strict ON account (member)",
    );
    cases.push((
        strict,
        "DROP INDEX strict",
        "account: the unique index (member) isn't of this program",
    ));
    match backend {
        Backend::Sqlite => cases.extend(["event", "EVENT"].map(|table| {
            let wrong = format!("CREATE TRIGGER quiet AFTER INSERT ON {table} BEGIN DELETE FROM event WHERE no = new.no; END");
            (&*wrong.leak(), "DROP TRIGGER quiet", quiet)
        })),
        Backend::Postgres => cases.extend([
            (
                "CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
                 CREATE TRIGGER quiet BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION quiet()",
                "DROP TRIGGER quiet ON event; DROP FUNCTION quiet()",
                quiet,
            ),
            (
                "CREATE RULE quiet AS ON DELETE TO event DO INSTEAD NOTHING",
                "DROP RULE quiet ON event",
                "event: the rule quiet isn't of this program",
            ),
            (
                "ALTER TABLE event ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE event DISABLE ROW LEVEL SECURITY",
                "event: row security isn't of this program",
            ),
            (
                "ALTER TABLE message DROP CONSTRAINT message_id_sender_key",
                "ALTER TABLE message ADD UNIQUE (id, sender)",
                "message: it lacks the unique index (id, sender)",
            ),
            (
                "ALTER TABLE signing_key DROP CONSTRAINT signing_key_partner_fkey",
                "ALTER TABLE signing_key ADD FOREIGN KEY (partner) REFERENCES partner (id)",
                "signing_key: it lacks the reference (partner) to partner",
            ),
        ]),
    }
    for (wrong, back, words) in cases {
        execute(&mut conn, wrong);
        assert_eq!(world.findings(), [words], "{wrong}");
        execute(&mut conn, back);
    }
    execute(&mut conn, "CREATE INDEX of_report ON message (posted_at)");
    assert_eq!(world.findings(), Vec::<String>::new());
}
