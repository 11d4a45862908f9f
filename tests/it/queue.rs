//! In which order partners can pay each other with what they have.

use jiff::civil::Date;
use settlement::{Payment, Queue};
use tests::child::command;
use tests::{Backend, World, burn, earn, on_both};

use super::install::PROGRAM;

const POOL: &str = include_str!("networks/pool.toml");

on_both!(the_queue_clears_with_what_partners_have, a_file_that_is_wrong_is_refused);

/// A day on which Wellcome owes the pool 11.00, Hang Seng 22.00, and the pool owes Ikea 19.20.
fn trade(world: &mut World) -> Date {
    world.post("wellcome", earn("YUU", "m1", "2000")).expect("accepted");
    world.post("hangseng", earn("YUU", "m1", "4000")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "4000")).expect("accepted");
    world.close().business_date
}

/// What the command says about a file with these lines; or how it fails.
fn asked(world: &World, date: &str, lines: &str, more: &[&str]) -> Result<String, String> {
    let file = world.folder().join("balances.csv");
    std::fs::write(&file, format!("partner,currency,balance\n{lines}")).expect("written");
    let output = command(PROGRAM, &world.folder().join("sandbox"), None)
        .args(["queue", date, "--balances"])
        .arg(&file)
        .args(more)
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

fn queue(world: &World, date: Date, lines: &str) -> Queue {
    let text = asked(world, &date.to_string(), lines, &["--json"]).expect("a queue");
    serde_json::from_str(&text).expect("a queue")
}

fn pairs(of: &[Payment]) -> Vec<(&str, &str, &str)> {
    of.iter().map(|p| (p.payer.as_str(), p.payee.as_str(), p.amount.as_str())).collect()
}

fn the_queue_clears_with_what_partners_have(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let date = trade(&mut world);
    let entries = world.entries();
    // With 22.00 of Hang Seng's own the pool can pay Ikea; Wellcome lacks a cent.
    let found = queue(&world, date, "hangseng,HKD,22.00\nwellcome,HKD,10.99\nhangseng,JPY,5\n");
    assert_eq!((found.format.as_str(), found.business_date), ("points-queue/1", date));
    let [line] = found.currencies.as_slice() else { panic!("{found:?}") };
    let steps: Vec<_> = line.steps.iter().map(|step| pairs(step)).collect();
    assert_eq!(steps, [[("hangseng", "pool", "22.00")], [("pool", "ikea", "19.20")]]);
    assert_eq!(pairs(&line.left), [("wellcome", "pool", "11.00")]);
    assert_eq!((line.queued.as_str(), line.cleared.as_str(), line.exact), ("52.20", "41.20", true));
    let balances: Vec<_> = line
        .balances
        .iter()
        .map(|b| (b.partner.as_str(), b.before.as_str(), b.after.as_str()))
        .collect();
    let expected = [
        ("hangseng", "22.00", "0.00"),
        ("ikea", "0.00", "19.20"),
        ("pool", "0.00", "2.80"),
        ("wellcome", "10.99", "10.99"),
    ];
    assert_eq!(balances, expected);
    // Without any money nothing moves: there is no circle.
    let nothing = queue(&world, date, "");
    assert_eq!((nothing.currencies[0].steps.len(), nothing.currencies[0].left.len()), (0, 3));
    let text = asked(&world, &date.to_string(), "hangseng,HKD,22\n", &[]).expect("a queue");
    for expected in [
        "HKD  queued 52.20  cleared 41.20  (no choice clears more)",
        "   1. hangseng             to pool",
        "  left, for want of money: 1 payment\n",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(world.entries(), entries, "nothing changes by it");
    let empty = world.close().business_date.to_string();
    assert!(
        asked(&world, &empty, "", &[])
            .expect("a queue")
            .contains("no pair has anything to pay")
    );
}

fn a_file_that_is_wrong_is_refused(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let date = trade(&mut world).to_string();
    for (lines, expected) in [
        ("wellcome,HKD,1\nnobody,HKD,1\n", "line 3: there is no partner `nobody`"),
        ("wellcome,HKD,1\nwellcome,HKD,1\n", "line 3: a second balance of wellcome in HKD"),
        ("wellcome,HKD,-1\n", "line 2: `-1` is no balance in HKD"),
        ("wellcome,HKD,0.001\n", "line 2: `0.001` is no balance in HKD"),
    ] {
        let error = asked(&world, &date, lines, &[]).expect_err(lines);
        assert!(error.contains(expected), "{lines}: {error}");
    }
    let long = "wellcome,HKD,1\n".repeat(300_000);
    assert!(asked(&world, &date, &long, &[]).expect_err("too long").contains("longer than"));
    // What has no settlement yet can't be paid; the clearinghouse itself may have money.
    assert!(
        asked(&world, "2027-01-01", "", &[])
            .expect_err("no window")
            .contains("no window of 2027-01-01")
    );
    let open = Date::tomorrow(date.parse().expect("a date")).expect("a date").to_string();
    assert!(asked(&world, &open, "", &[]).expect_err("open").contains("must be netted first"));
    asked(&world, &date, "clearing,HKD,5\n", &[]).expect("a party");
    let help = asked(&world, &date, "", &["--help"]).expect("help");
    assert!(help.contains("partner,currency,balance") && help.contains("netted"), "{help}");
}
