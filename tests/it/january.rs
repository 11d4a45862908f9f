//! The January file replays to the same statements on both databases, and they are what an independent recomputation says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clearing::commands::demo::{self, Options};
use partner_sdk::Amount;
use settlement::Settlement;

use crate::oracle::{self, Fraction};
use tests::Backend;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

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
        if day.file_name().is_some_and(|name| name == "sandbox") {
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

#[test]
fn january_is_the_same_on_both_databases_and_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let [sqlite, postgres] = [(Backend::Sqlite, "sqlite"), (Backend::Postgres, "postgres")].map(|(backend, name)| {
        let out = folder.path().join(name);
        let options = options(&out, backend);
        demo::run(&options).expect("the replay");
        let first = statements(&out);
        demo::run(&options).expect("the replay again");
        assert!(statements(&out) == first, "{name}: running it again changed a file");
        first
    });
    assert_eq!(sqlite.len(), 31 * 13, "31 days of 6 partners in two formats and one settlement");
    assert!(sqlite == postgres, "the databases differ");
    compare_with_oracle(&sqlite);
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
