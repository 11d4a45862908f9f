//! The January file replays to the same statements on both databases, and they are what an independent recomputation says; the log of it all is done again and
//! compared, row by row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clearing::audit::{self, Depth};
use clearing::clock::Clock;
use clearing::commands::demo::sandbox::Sandbox;
use clearing::commands::demo::{self, Options};
use clearing::office::config::Config;
use clearing::office::install::{CONFIG, OPERATOR_PUBLIC};
use clearing::office::network_file;
use diesel::prelude::*;
use jiff::Timestamp;
use migrations::each_backend;
use migrations::schema::message;
use partner_sdk::jws::VerifyingKey;
use partner_sdk::{Amount, KeyId};
use settlement::{Settlement, Statement};

use crate::oracle::{self, Fraction};
use tests::{Backend, execute, on_both};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the purchases of January make: an earn for each that is worth a point, a burn for each coupon.
const MESSAGES: i64 = 20_504;

on_both!(a_demo_ends_with_the_whole_check);

fn options(out: &Path, backend: Backend) -> Options {
    Options {
        network: Some(PathBuf::from(ROOT).join("docs/examples/january.toml")),
        baskets: Some(PathBuf::from(ROOT).join("../shared/data/baskets-2017-01.csv")),
        out: Some(out.to_owned()),
        database: (backend == Backend::Postgres).then(|| backend.database()),
        seed: 1,
    }
}

/// Every statement file with its bytes, by its path below `out`.
pub fn statements(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for day in std::fs::read_dir(out)
        .expect("the folder of the statements")
        .map(|d| d.expect("a folder").path())
    {
        if day.file_name().is_some_and(|name| name == "sandbox" || name == "desk") {
            continue;
        }
        for file in std::fs::read_dir(&day).expect("a day").map(|f| f.expect("a file").path()) {
            files.insert(
                file.strip_prefix(out).expect("below").to_owned(),
                std::fs::read(&file).expect("readable"),
            );
        }
    }
    files
}

/// Does the whole log of a replay again, and says how long it is: messages, and all entries.
fn check_in_full(out: &Path) -> (i64, i64) {
    let config = Config::load(&out.join("sandbox").join(CONFIG)).expect("the sandbox's configuration");
    let mut conn = config.open_database().expect("its database");
    let public = std::fs::read_to_string(out.join("sandbox").join(OPERATOR_PUBLIC)).expect("a public key");
    let clearing = (
        &KeyId::new(&config.operator.kid).expect("a kid"),
        &VerifyingKey::from_base64url(&public).expect("a key"),
    );
    let mut entries = 0;
    let findings = audit::check(&mut conn, clearing, &config.archive, Depth::Whole(out), &mut |_, all| entries = all);
    assert_eq!(findings.expect("the check runs"), Vec::<String>::new());
    let posted = message::table.filter(message::sender.ne("clearing")).count();
    (each_backend!(&mut conn, |c| posted.get_result(c)).expect("a number"), entries)
}

/// Asks the service for what made each line of each statement; how many lines there are.
fn lines_add_up(options: &Options, statements: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
    let out = options.out.as_ref().expect("a folder");
    let network = network_file::read_whole(options.network.as_ref().expect("a network")).expect("the network");
    let database = options.database.as_deref().unwrap_or("clearing.db");
    let config = Config::load(&out.join("sandbox").join(CONFIG)).expect("the sandbox's configuration");
    let last_at = store::last_at(&mut config.open_database().expect("its database")).expect("the ledger's head");
    let clock = Clock::sandbox(Timestamp::from_microsecond(last_at).expect("a time"));
    let mut sandbox = Sandbox::open(&out.join("sandbox"), database, &network, clock).expect("the sandbox again");
    sandbox.start().expect("the service starts");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut lines = 0;
    for bytes in statements.values() {
        let Ok(statement) = serde_json::from_slice::<Statement>(bytes) else {
            continue;
        };
        let client = sandbox.client(&statement.partner).expect("a client");
        lines += tests::lines::add_up(&runtime, &client, &statement);
    }
    sandbox.stop();
    lines
}

#[test]
fn january_is_checked_in_full_the_same_on_both_databases_and_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let [sqlite, postgres] = [(Backend::Sqlite, "sqlite"), (Backend::Postgres, "postgres")].map(|(backend, name)| {
        let out = folder.path().join(name);
        let options = options(&out, backend);
        demo::run(&options).expect("the replay");
        let first = statements(&out);
        let (messages, entries) = check_in_full(&out);
        println!("{name}: {messages} messages, {entries} entries done again");
        println!("{name}: {} lines add up", lines_add_up(&options, &first));
        assert_eq!(messages, MESSAGES, "{name}");
        demo::run(&options).expect("the replay again");
        assert!(statements(&out) == first, "{name}: running it again changed a file");
        first
    });
    assert_eq!(sqlite.len(), 31 * 13, "31 days of 6 partners in two formats and one settlement");
    assert!(sqlite == postgres, "the databases differ");
    compare_with_oracle(&sqlite);
}

/// A replay on books that somebody has changed, sums left even, ends with what was changed.
fn a_demo_ends_with_the_whole_check(backend: Backend) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        network: None,
        baskets: None,
        ..options(folder.path(), backend)
    };
    demo::run(&options).expect("the day");
    let config = Config::load(&folder.path().join("sandbox").join(CONFIG)).expect("the sandbox's configuration");
    let mut conn = config.open_database().expect("its database");
    execute(&mut conn, "DELETE FROM event WHERE no = (SELECT MIN(no) FROM event)");
    let error = demo::run(&options).expect_err("a row is missing").to_string();
    assert!(error.contains("event: the row of no 1 is missing"), "{error}");
}

fn fraction(text: &str) -> Fraction {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    digits.parse::<Amount>().expect("an amount");
    let value = Fraction::parse(digits);
    if negative { Fraction::new(0, 1).minus(value) } else { value }
}

fn cents(text: &str) -> i128 {
    text.replace('.', "").parse().expect("whole cents")
}

fn compare_with_oracle(files: &BTreeMap<PathBuf, Vec<u8>>) {
    let read = |path: &str| std::fs::read_to_string(PathBuf::from(ROOT).join(path)).expect("readable");
    let days = oracle::january(&read("../shared/data/baskets-2017-01.csv"), &read("docs/examples/january.toml"));
    assert_eq!(days.len(), 31);
    for day in days {
        let file = files
            .get(&PathBuf::from(&day.date).join("settlement.json"))
            .expect("the day is settled");
        let settlement: Settlement = serde_json::from_slice(file).expect("a settlement");
        assert_eq!(settlement.obligations.len(), day.pairs.len(), "{}", day.date);
        for (found, expected) in settlement.obligations.iter().zip(&day.pairs) {
            let found_pair = (found.party_a.as_str(), found.party_b.as_str());
            assert_eq!(found_pair, (expected.a.as_str(), expected.b.as_str()), "{}", day.date);
            let amounts = [&found.a_owes, &found.b_owes, &found.carried_in, &found.carried_out].map(|text| fraction(text));
            assert_eq!(
                amounts,
                [expected.a_owes, expected.b_owes, expected.carried_in, expected.carried_out],
                "{} {found_pair:?}",
                day.date
            );
            assert_eq!(cents(&found.net), expected.net_cents, "{} {found_pair:?}", day.date);
        }
        let nets: BTreeMap<String, i128> = settlement
            .net_positions
            .iter()
            .map(|n| (n.partner.to_string(), cents(&n.net)))
            .collect();
        assert_eq!(nets, day.net_cents, "{}", day.date);
        assert_eq!(nets.values().sum::<i128>(), 0);
    }
}
