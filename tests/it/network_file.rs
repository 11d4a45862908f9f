//! `clearing network check` and `apply` tell all that is wrong with a file at once, each fault with its place.

use tests::{Backend, on_both};

use super::command::{FOUNDING, House};

on_both!(every_fault_is_told_at_once, what_follows_from_a_fault_is_none, nothing_stands_twice,);

/// What `check` and `apply` say of a file that both refuse, a line each.
fn told(house: &House, text: &str) -> Vec<String> {
    let file = house.write("network.toml", text);
    let said = |command| {
        let said = house.fails(&["network", command, &file]);
        said.lines().skip(1).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let (checked, applied) = (said("check"), said("apply"));
    assert_eq!(checked, applied, "both say the same");
    checked
}

/// In each layer one fault at least: of form, stated twice, naming nobody, not possible.
const BAD: &str = r#"
[calendar]
zone = "Mars/Olympus"
cut_off = "25:00"

[[partner]]
id = "pool"
name = "The pool"
[[partner]]
id = "Grocer"
name = ""
colour = "green"
[[partner]]
id = "cafe"
[[partner]]
id = "pool"
name = "Another pool"

[[programme]]
code = "YUU"
issuer = "nobody"
currency = "HKD"
expires_after = "36 hours"
[[programme]]
code = "OLD"
issuer = "pool"
currency = "hkd"
[[programme]]
code = "NEW"
issuer = "pool"
currency = "HKD"

[[agreement]]
kind = "earn"
partner = "somebody"
programme = "NONE"
price = 0.0055
currency = "HKD"
valid_from = "2026-01-01T00:00:00Z"
[[agreement]]
kind = "earn"
partner = "somebody"
programme = "NONE"
price = "0.0055"
currency = "HKD"
valid_from = "2026-01-01T00:00:00Z"

[[fee]]
percent = "1"
"#;

fn every_fault_is_told_at_once(backend: Backend) {
    let house = House::new(backend, true);
    let told = told(&house, BAD);
    let expected = [
        "line 48: `fee` isn't known: a network file has [calendar], [[partner]],",
        "line 10: [[partner]] `id`: a partner id must be 1 to 32 of a-z, 0-9 and -, starting with a letter",
        "line 11: [[partner]] `name`: a name must be 1 to 100 characters",
        "line 12: [[partner]] `colour`: unknown field `colour`, expected one of `id`, `name`",
        "line 13: [[partner]] lacks `name`",
        "line 27: [[programme]] `currency`: a currency must be a code of ISO 4217 in capitals",
        "line 37: [[agreement]] `price`: ",
        "[calendar] `Mars/Olympus` is no zone of the tz database",
        "[calendar] cut_off `25:00` must be HH:MM",
        "line 15: partner id `pool` stands twice, first in line 6",
        "programme YUU: `issuer` names no partner: nobody",
        "programme YUU: expires_after must be days, weeks, months or years",
        "agreement of somebody for NONE, Earn, from 2026-01-01T00:00:00Z: `partner` names no partner: somebody",
        "agreement of somebody for NONE, Earn, from 2026-01-01T00:00:00Z: `programme` names no programme: NONE",
    ];
    for fault in expected {
        assert!(told.iter().any(|line| line.starts_with(fault)), "{fault} is missing: {told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "and nothing else: {told:#?}");
    assert_eq!(house.works(&["partner", "list"]), "", "nothing has changed");
    // What isn't TOML can't be read any further; the line is named.
    let file = house.write("network.toml", &BAD.replace("[[fee]]", "[[fee"));
    assert!(house.fails(&["network", "check", &file]).contains("line 48"));
}

/// Whoever names an entry that can't be used isn't at fault.
fn what_follows_from_a_fault_is_none(backend: Backend) {
    let house = House::new(backend, true);
    let agreed = "[[programme]]\ncode = \"MILES\"\nissuer = \"grocer\"\ncurrency = \"HKD\"\n\
                  [[agreement]]\nkind = \"exchange\"\npartner = \"pool\"\nprogramme = \"YUU\"\nto_programme = \"MILES\"\nprice = \"0.08\"\ncurrency = \"HKD\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n\
                  [[rate]]\nprogramme = \"YUU\"\nto_programme = \"MILES\"\nnumerator = \"1\"\ndenominator = \"1\"\nstep = \"1\"\nminimum = \"1\"\nmaximum = \"9\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n";
    let good = format!("{FOUNDING}{agreed}");
    let file = house.write("good.toml", &good);
    house.works(&["network", "check", &file]);
    for (from, to, fault) in [
        ("name = \"Grocer\"", "name = \"\"", "[[partner]] `name`"),
        ("\"500000\"", "\"999999999999999999\"", "partner pool: net_debit_cap: HKD: "),
        (
            "code = \"MILES\"\n",
            "code = \"MILES\"\nscale = 7\n",
            "programme MILES: scale must be 0, 1 or 2",
        ),
        ("price = \"0.08\"", "price = \"8 cents\"", "[[agreement]] `price`"),
        (
            "price = \"0.08\"",
            "price = \"0.08\"\nquote_seconds = 0",
            "`quote_seconds` must be 1 to 3600",
        ),
    ] {
        let told = told(&house, &good.replace(from, to));
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].contains(fault), "{told:#?}");
    }
}

fn nothing_stands_twice(backend: Backend) {
    let house = House::new(backend, true);
    let network = include_str!("networks/miles.toml");
    for table in ["agreement", "rate", "bonus"] {
        let bonus = "\n[[bonus]]\nprogramme = \"BANK\"\nto_programme = \"MILES\"\npercent = \"10\"\nfunded_percent = \"50\"\n\
                     valid_from = \"2030-01-01T00:00:00Z\"\nvalid_until = \"2030-02-01T00:00:00Z\"\n";
        let whole = if table == "bonus" {
            format!("{network}{bonus}")
        } else {
            network.to_owned()
        };
        let header = format!("[[{table}]]\n");
        let (before, rest) = whole.split_once(&header).expect("there is one");
        let entry = rest.split("[[").next().expect("its keys");
        let (first, again) = (before.lines().count() + 1, whole.lines().count() + 1);
        let twice = format!("{}\n{header}{entry}", whole.trim_end());
        let expected = format!("line {again}: the same [[{table}]] stands twice, first in line {first}");
        let told = told(&house, &twice);
        assert!(told.contains(&expected), "{expected} is missing: {told:#?}");
    }
}
