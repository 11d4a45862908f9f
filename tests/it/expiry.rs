//! Points are given up once, and at a window's cut-off, whenever the night runs (DESIGN sections 3.9 and 3.10).

use std::collections::BTreeMap;

use partner_sdk::change::{Change, Status};
use partner_sdk::{Code, Message};
use tests::office::Office;
use tests::{Backend, World, authorise, burn, capture, earn, id, on_both, reverse, void};

use crate::january::statements;

const POOL: &str = include_str!("networks/pool.toml");
const MILES: &str = include_str!("networks/miles.toml");

on_both!(
    a_refund_of_expired_points_takes_them_once,
    only_what_was_spent_is_taken_elsewhere,
    an_exchange_of_expired_points_is_reversed,
    what_comes_back_at_a_cut_off_waits_for_the_next,
    what_the_funder_got_back_is_no_breakage,
    breakage_is_worth_what_was_paid,
    a_debt_that_its_own_points_repay_is_paid_by_nobody,
    an_exchange_gives_nothing_for_nothing,
    any_number_of_days_at_once_are_the_same_bytes,
    no_message_lands_in_a_window_that_is_over,
    an_earn_that_is_expired_on_arrival_is_refused,
    a_funder_that_is_gone_stops_no_refund,
    many_lots_are_spent_oldest_first,
);

fn lines(lines: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    lines
        .iter()
        .map(|(k, p, v)| ((*k).to_owned(), (*p).to_owned(), (*v).to_owned()))
        .collect()
}

/// What a partner paid or got over all windows so far, in cents.
fn paid(world: &World, partner: &str) -> i64 {
    let mut total = 0;
    for folder in std::fs::read_dir(world.statements()).expect("statements") {
        let date = folder.expect("a folder").file_name();
        let statement = world.statement(date.to_str().expect("a date"), partner);
        total += statement
            .net
            .iter()
            .map(|net| net.net.replace('.', "").parse::<i64>().expect("cents"))
            .sum::<i64>();
    }
    total
}

fn a_refund_of_expired_points_takes_them_once(backend: Backend) {
    // (another earn lives, the refund comes after the night, or before it, or even before the expiry)
    for alive in [true, false] {
        for refunded_at in ["2026-11-21T20:00+08", "2026-11-22T10:00+08"] {
            for night in [true, false] {
                let mut world = World::new(backend, POOL);
                let first = id(world.post("wellcome", earn("YUU", "m1", "100")));
                world.at("2026-11-21T10:00+08");
                if alive {
                    world.post("hangseng", earn("YUU", "m1", "100")).expect("accepted");
                }
                world.at(refunded_at);
                if night {
                    world.night();
                }
                // No debt is allowed here.
                for piece in ["30", "70"] {
                    world.post("wellcome", reverse(&first, piece)).expect("the points were never spent");
                }
                assert_eq!(world.points("ikea", "YUU", "m1"), if alive { "100" } else { "0" });
                let says = format!("refunded at {refunded_at}, night before it: {night}");
                if alive {
                    world.post("ikea", burn("YUU", "m1", "100")).expect("alive");
                }
                world.at("2026-11-23T00:00+08");
                world.night();
                let expired = refunded_at.contains("-22");
                assert_eq!(
                    (world.breakage("2026-11-21", "pool"), world.breakage("2026-11-22", "pool")),
                    match expired {
                        true => (
                            lines(&[("expiry", "100", "0.550000")]),
                            lines(&[("expiry_reversal", "-100", "-0.550000")])
                        ),
                        false => (vec![], vec![]),
                    },
                    "{says}"
                );
                assert_eq!(paid(&world, "wellcome"), 0, "{says}");
            }
        }
    }
}

fn only_what_was_spent_is_taken_elsewhere(backend: Backend) {
    let network = POOL.replace("expires_after = \"1 day\"", "expires_after = \"1 day\"\nnegative_limit = \"1000\"");
    let mut world = World::new(backend, &network);
    let first = id(world.post("wellcome", earn("YUU", "m1", "100")));
    world.post("ikea", burn("YUU", "m1", "40")).expect("accepted");
    world.at("2026-11-22T10:00+08");
    world.post("hangseng", earn("YUU", "m1", "10")).expect("accepted");
    world.night();
    world
        .post("wellcome", reverse(&first, "100"))
        .expect("60 expired, 10 are there, 30 are owed");
    assert_eq!(world.points("ikea", "YUU", "m1"), "-30");
    world.close();
    assert_eq!(world.breakage("2026-11-21", "pool"), lines(&[("expiry", "60", "0.330000")]));
    assert_eq!(
        world.breakage("2026-11-22", "pool"),
        lines(&[("expiry_reversal", "-60", "-0.330000")])
    );
    assert_eq!(paid(&world, "wellcome"), 0);
}

fn an_exchange_of_expired_points_is_reversed(backend: Backend) {
    let network = MILES.replace("expires_after = \"18 months\"", "expires_after = \"1 day\"");
    let mut world = World::new(backend, &network);
    world.post("bank", earn("BANK", "m1", "700")).expect("accepted");
    let exchanged = id(world.exchange_at_quote("bank", "BANK", "MILES", "m1", "700"));
    world.at("2026-11-22T10:00+08");
    world.night();
    assert_eq!(world.points("hotel", "MILES", "m1"), "0");
    world.post("bank", reverse(&exchanged, "700")).expect("no mile was spent");
    assert_eq!(
        (world.points("hotel", "MILES", "m1"), world.points("bank", "BANK", "m1")),
        ("0".into(), "700".into())
    );
    world.close();
    assert_eq!(world.breakage("2026-11-21", "airline"), lines(&[("expiry", "7000", "560.000000")]));
    assert_eq!(
        world.breakage("2026-11-22", "airline"),
        lines(&[("expiry_reversal", "-7000", "-560.000000")])
    );
    // The fee of the exchange stays.
    assert_eq!((paid(&world, "bank"), paid(&world, "airline")), (-560, 0));
}

/// A hold kept a purchase's points from its refund; they repay the debt when they expire. Nothing was spent, so its funder pays nothing.
fn a_debt_that_its_own_points_repay_is_paid_by_nobody(backend: Backend) {
    let network = POOL
        .replace("expires_after = \"1 day\"", "expires_after = \"1 day\"\nnegative_limit = \"1000\"")
        .replacen("partner = \"wellcome\"", "partner = \"wellcome\"\nsettle = \"redemption\"", 1);
    let mut world = World::new(backend, &network);
    let first = id(world.post("wellcome", earn("YUU", "m1", "100")));
    world.at("2026-11-21T23:30+08");
    world.post("ikea", authorise("YUU", "m1", "100")).expect("held past the cut-off");
    world.post("wellcome", reverse(&first, "60")).expect("as a debt");
    world.at("2026-11-23T00:00+08");
    world.night();
    assert_eq!(world.points("ikea", "YUU", "m1"), "0");
    assert_eq!(world.breakage("2026-11-22", "pool"), lines(&[("expiry", "40", "0.000000")]));
    world.post("wellcome", reverse(&first, "40")).expect("they expired unspent");
    world.close();
    assert_eq!(paid(&world, "wellcome"), 0);
}

/// Points that a hold kept when the others expired are refunded: breakage is worth what the funder paid and didn't get back, in all.
fn what_the_funder_got_back_is_no_breakage(backend: Backend) {
    let network = POOL.replace("expires_after = \"1 day\"", "expires_after = \"1 day\"\nnegative_limit = \"1000\"");
    let mut world = World::new(backend, &network);
    let first = id(world.post("wellcome", earn("YUU", "m1", "100")));
    world.at("2026-11-21T22:30+08");
    world.post("ikea", authorise("YUU", "m1", "80")).expect("until before the cut-off");
    world.at("2026-11-21T23:15+08");
    world.post("ikea", authorise("YUU", "m1", "20")).expect("until after it");
    world.post("wellcome", reverse(&first, "50")).expect("as a debt");
    world.post("hangseng", earn("YUU", "m1", "50")).expect("repays it");
    world.at("2026-11-22T00:30+08");
    world.post("wellcome", reverse(&first, "10")).expect("of those that were held");
    world.at("2026-11-23T00:00+08");
    world.night();
    // Of the 80, 50 go back to hangseng's, which repaid the debt.
    assert_eq!(world.breakage("2026-11-21", "pool"), lines(&[("expiry", "30", "0.165000")]));
    let mut after = world.breakage("2026-11-22", "pool");
    after.sort();
    assert_eq!(after, lines(&[("expiry", "10", "0.055000"), ("expiry", "50", "0.275000")]));
    assert_eq!(paid(&world, "wellcome"), -22);
}

/// A burn of points that have expired since is reversed at the instant of a cut-off: that window is over, however late its night.
fn what_comes_back_at_a_cut_off_waits_for_the_next(backend: Backend) {
    for late in [false, true] {
        let mut world = World::new(backend, POOL);
        world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
        let spent = id(world.post("ikea", burn("YUU", "m1", "40")));
        world.at("2026-11-23T00:00+08");
        if !late {
            world.night();
        }
        world.post("ikea", reverse(&spent, "40")).expect("given back");
        world.at("2026-11-24T00:00+08");
        world.night();
        assert_eq!(world.breakage("2026-11-22", "pool"), []);
        assert_eq!(world.breakage("2026-11-23", "pool"), lines(&[("expiry", "40", "0.220000")]));
    }
}

fn breakage_is_worth_what_was_paid(backend: Backend) {
    let own = "[[agreement]]\nkind = \"earn\"\npartner = \"pool\"\nprogramme = \"YUU\"\nprice = \"0.0055\"\ncurrency = \"HKD\"\n\
               valid_from = \"2026-01-01T00:00:00Z\"\n";
    let network = format!("{POOL}\n{own}").replace("expires_after = \"1 day\"", "expires_after = \"1 day\"\nnegative_limit = \"1000\"");
    let mut world = World::new(backend, &network);
    world.post("pool", earn("YUU", "own", "100")).expect("accepted");
    // Spent, refunded (as a debt, which the next earn repays), and given back: its funder has its money, and the points are the next earn's.
    let refunded = id(world.post("wellcome", earn("YUU", "back", "100")));
    let spent = id(world.post("ikea", burn("YUU", "back", "100")));
    world.post("wellcome", reverse(&refunded, "100")).expect("as a debt");
    world.post("hangseng", earn("YUU", "back", "100")).expect("repays it");
    world.post("ikea", reverse(&spent, "100")).expect("given back");
    assert_eq!(world.points("ikea", "YUU", "back"), "100");
    world.post("wellcome", earn("YUU", "paid", "100")).expect("accepted");
    world.at("2026-11-22T00:00+08");
    world.night();
    assert_eq!(world.points("ikea", "YUU", "back"), "0");
    let mut lines: Vec<(String, String, String)> = world
        .statement("2026-11-21", "pool")
        .breakage
        .into_iter()
        .map(|line| (line.counterparty.expect("known").to_string(), line.points, line.value))
        .collect();
    lines.sort();
    let expected = [
        ("hangseng", "100", "0.550000"),
        ("pool", "100", "0.000000"),
        ("wellcome", "100", "0.550000"),
    ];
    assert_eq!(lines, expected.map(|(c, p, v)| (c.to_owned(), p.to_owned(), v.to_owned())));
}

fn an_exchange_gives_nothing_for_nothing(backend: Backend) {
    // Citi's 12 to 1.
    let network = MILES
        .replace("numerator = \"1000\"", "numerator = \"1\"")
        .replace("denominator = \"100\"", "denominator = \"12\"")
        .replace("numerator = 1000", "numerator = 1")
        .replace("step = \"100\"", "step = \"12\"")
        .replace("minimum = \"100\"", "minimum = \"12\"")
        .replace("maximum = \"999000\"", "maximum = \"1200\"");
    let mut world = World::new(backend, &network);
    world.post("bank", earn("BANK", "m1", "24")).expect("accepted");
    let exchanged = id(world.exchange_at_quote("bank", "BANK", "MILES", "m1", "24"));
    world.post("hotel", burn("MILES", "m1", "1")).expect("accepted");
    world.post("bank", reverse(&exchanged, "11")).expect("for the mile that is left");
    assert_eq!(
        (world.points("bank", "BANK", "m1"), world.points("hotel", "MILES", "m1")),
        ("11".into(), "0".into())
    );
    world.post("bank", reverse(&exchanged, "1")).expect("the rest of that mile's");
    assert_eq!(world.post("bank", reverse(&exchanged, "1")), Err(Code::ClawbackLimited));
    assert_eq!(world.points("bank", "BANK", "m1"), "12");
}

/// A week in which points expire under holds that end at all hours, exchanges and refunds; the night runs where `nights` says.
fn a_week(backend: Backend, nights: fn(&World, usize)) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let network = POOL
        .replace("zone = \"Asia/Hong_Kong\"", "zone = \"Asia/Hong_Kong\"\ncut_off = \"18:00\"")
        .replace("price = \"0.0048\"", "price = \"0.0048\"\nhold_minutes = 10080")
        .replace("expires_after = \"1 day\"", "expires_after = \"1 day\"\nnegative_limit = \"50\"")
        .replacen("kind = \"earn\"", "kind = \"earn\"\nsettle = \"redemption\"", 1);
    let mut world = World::new(backend, &network);
    let (mut earns, mut holds) = (vec![], vec![]);
    for hour in 0..6 * 24usize {
        let now = format!("2026-11-{:02}T{:02}:30+08", 20 + (10 + hour) / 24, (10 + hour) % 24);
        world.at(&now);
        let member = format!("m{}", hour % 5);
        let funder = if hour % 2 == 0 { "wellcome" } else { "hangseng" };
        earns.push((funder, id(world.post(funder, earn("YUU", &member, "30")))));
        let mut hold: Message = world.message("ikea", authorise("YUU", &member, "25"));
        if let partner_sdk::Body::Authorise { expires_at, .. } = &mut hold.body {
            let later = world.now().as_second() + i64::try_from(hour % 50 + 1).expect("small") * 3600;
            *expires_at = Some(jiff::Timestamp::from_second(later).expect("a time"));
        }
        if world.send(&hold).is_ok() {
            holds.push(hold.id);
        }
        match hour % 7 {
            2 => drop(world.post("ikea", capture(&holds[holds.len() / 2], "10"))),
            3 => drop(world.post("ikea", void(&holds[holds.len() * 2 / 3]))),
            4 => drop(world.post("ikea", burn("YUU", &member, "7"))),
            5 | 6 => {
                let (funder, earned) = earns[earns.len() / 3].clone();
                drop(world.post(funder, reverse(&earned, "9")));
            }
            _ => {}
        }
        nights(&world, hour);
    }
    world.at("2026-11-30T12:00+08");
    world.night();
    statements(&world.statements())
}

fn any_number_of_days_at_once_are_the_same_bytes(backend: Backend) {
    let each = a_week(backend, |world, _| world.night());
    assert!(each.len() > 8 * 8, "{}", each.len());
    assert!(
        each == a_week(backend, |world, hour| if hour % 24 == 3 {
            world.night()
        }),
        "the night at half past one"
    );
    assert!(each == a_week(backend, |_, _| {}), "all at once");
}

fn no_message_lands_in_a_window_that_is_over(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    // Five days later no night has run.
    world.at("2026-11-25T10:00+08");
    let receipt = world.post("wellcome", earn("YUU", "m1", "200")).expect("accepted");
    assert_eq!(receipt.window.map(|d| d.to_string()).as_deref(), Some("2026-11-25"));
    assert_eq!(
        world.points("ikea", "YUU", "m1"),
        "200",
        "the first are gone, though no night has posted it"
    );
    assert_eq!(world.post("ikea", burn("YUU", "m1", "201")), Err(Code::InsufficientBalance));
    assert_eq!(world.points("ikea", "YUU", "m1"), "200");
    world.night();
    assert_eq!(world.breakage("2026-11-21", "pool"), lines(&[("expiry", "100", "0.550000")]));
    assert_eq!(world.statement("2026-11-20", "wellcome").lines.len(), 1);
    for empty in ["2026-11-22", "2026-11-23", "2026-11-24"] {
        assert_eq!(world.statement(empty, "wellcome").lines, vec![], "{empty}");
    }
}

fn an_earn_that_is_expired_on_arrival_is_refused(backend: Backend) {
    let network = POOL.replacen("kind = \"earn\"", "kind = \"earn\"\nstore_and_forward_minutes = 20000", 1);
    let mut world = World::new(backend, &network);
    let mut late = world.message("wellcome", earn("YUU", "m1", "100"));
    world.at("2026-11-21T23:59+08");
    world.send(&late).expect("a minute is left");
    late.id = "too-late".parse().expect("an id");
    world.at("2026-11-22T00:00+08");
    assert_eq!(world.send(&late), Err(Code::ExpiredOnArrival));
    for nowhere in [".", ".."] {
        assert!(nowhere.parse::<partner_sdk::MemberNumber>().is_err());
        let body = earn("YUU", "m1", "100");
        let message = world.message("wellcome", body);
        let payload = message.payload().replace("\"m1\"", &format!("\"{nowhere}\""));
        let key = &world.sandbox.parties[&message.sender].key;
        let jws = key.sign(partner_sdk::jws::TYP_MESSAGE, payload.as_bytes());
        assert_eq!(world.post_jws("wellcome", &jws).problem.expect("refused").code, Code::BadValue);
    }
}

fn a_funder_that_is_gone_stops_no_refund(backend: Backend) {
    let network = POOL.replace("kind = \"earn\"", "kind = \"earn\"\nsettle = \"redemption\"");
    let mut world = World::new(backend, &network.replace("\"1 day\"", "\"3 days\""));
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    let spent = id(world.post("ikea", burn("YUU", "m1", "100")));
    let day = world.close();
    assert_eq!(
        day.net_positions
            .iter()
            .find(|n| n.partner.as_str() == "wellcome")
            .expect("owes")
            .net,
        "-0.55"
    );
    let office = Office::found(&world.sandbox);
    let become_ = |status| {
        let partner = "wellcome".parse().expect("an id");
        office.change(&world.sandbox, Change::Status { partner, status }).expect("possible");
    };
    become_(Status::Leaving);
    let mut conn = world.sandbox.database().expect("a connection");
    settlement::settle(&mut conn, day.business_date, world.now(), "finance").expect("settled");
    become_(Status::Gone);
    world.post("ikea", reverse(&spent, "60")).expect("what was settled stays settled");
    assert_eq!(world.points("ikea", "YUU", "m1"), "60");
    world.post("ikea", burn("YUU", "m1", "20")).expect("they are paid for");
    let day = world.close();
    assert_eq!(
        day.net_positions
            .iter()
            .find(|n| n.partner.as_str() == "wellcome")
            .map(|n| n.net.clone()),
        None
    );
    // So are those that expire: 40 at 0.0055, which nobody got back.
    world.close();
    world.close();
    assert_eq!(world.breakage("2026-11-23", "pool"), lines(&[("expiry", "40", "0.220000")]));
}

fn many_lots_are_spent_oldest_first(backend: Backend) {
    let network = POOL
        .replace("\"1 day\"", "\"30 days\"")
        .replace("price = \"0.0048\"", "price = \"0.0048\"\nhold_minutes = 100000");
    let mut world = World::new(backend, &network);
    let mut first = None;
    for day in 20..23 {
        world.at(&format!("2026-11-{day}T10:00+08"));
        let messages: Vec<Message> = (0..300).map(|_| world.message("wellcome", earn("YUU", "m1", "1"))).collect();
        first.get_or_insert(messages[0].id.clone());
        assert!(world.send_all("wellcome", &messages).iter().all(Result::is_ok));
    }
    let hold = id(world.post("ikea", authorise("YUU", "m1", "200")));
    world
        .post("ikea", burn("YUU", "m1", "300"))
        .expect("100 of the first day, 200 of the second");
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("600".into(), "200".into(), "400".into()));
    world.at("2026-12-21T10:00+08");
    world.night();
    // The first day's are over, but for those that are held.
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("600".into(), "200".into(), "400".into()));
    world.at("2026-12-22T10:00+08");
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("500".into(), "200".into(), "300".into()));
    assert_eq!(world.post("ikea", burn("YUU", "m1", "301")), Err(Code::InsufficientBalance));
    world.post("ikea", burn("YUU", "m1", "299")).expect("of the third day");
    world.post("ikea", capture(&hold, "200")).expect("held");
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("1".into(), "0".into(), "1".into()));
}
