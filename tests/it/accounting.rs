//! Accounting data of a programme's points: by window, for its issuer alone, and the same whatever is posted later.

use partner_sdk::Code;
use partner_sdk::client::ClientError;
use settlement::accounting::Accounting;
use tests::{Backend, World, burn, earn, earn_spend, id, on_both, prepay, reverse};

const POOL: &str = include_str!("networks/pool.toml");
const PREPAID: &str = include_str!("networks/prepaid.toml");
const MILES: &str = include_str!("networks/miles.toml");
const ELSEWHERE: &str = include_str!("networks/elsewhere.toml");

on_both!(
    the_pooled_days_are_accounted_for,
    what_stood_in_for_refunded_points_is_redeemed,
    exchanged_points_are_accounted_for,
    prepaid_points_are_accounted_for,
    points_paid_for_when_spent_are_accounted_for,
    free_points_are_accounted_for,
    an_issuer_has_one_turn,
    only_the_issuer_gets_it,
);

fn download(world: &World, partner: &str, path: &str) -> Result<String, Code> {
    match world.runtime.block_on(world.client(partner).get_text(path)) {
        Ok(text) => Ok(text),
        Err(ClientError::Refused(problem)) => Err(problem.code),
        Err(other) => panic!("{other:?}"),
    }
}

fn path(programme: &str, period: impl std::fmt::Display, form: &str) -> String {
    format!("/v1/accounting/{programme}/{period}/{form}?estimates=2026-01-01=80")
}

fn data(world: &World, issuer: &str, programme: &str, period: impl std::fmt::Display) -> Accounting {
    let text = download(world, issuer, &path(programme, period, "json")).expect("data");
    serde_json::from_str(&text).expect("as documented")
}

/// Opening, issued, taken back, redeemed, expired, outstanding, debt and in accounts.
fn points(of: &Accounting) -> [&str; 8] {
    let of = &of.points;
    [
        &of.opening,
        &of.issued,
        &of.taken_back,
        &of.redeemed,
        &of.expired,
        &of.outstanding,
        &of.debt,
        &of.in_accounts,
    ]
}

/// Opening, issued, taken back, on redemption, on expiry, catch-up and closing.
fn deferred(of: &Accounting) -> [&str; 7] {
    let [of] = &of.roll_forward[..] else { panic!("{of:?}") };
    [
        &of.opening,
        &of.issued,
        &of.taken_back,
        &of.on_redemption,
        &of.on_expiry,
        &of.catch_up,
        &of.closing,
    ]
}

/// Section 4 of the design: 2,000 and 4,000 points at 0.0055, 4,000 spent, a quarter of both refunded, 500 left to expire.
fn the_pooled_days_are_accounted_for(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let base = id(world.post("wellcome", earn_spend("YUU", "m1", "2000", "2000.00")));
    let bonus = id(world.post("hangseng", earn("YUU", "m1", "4000")));
    world.post("ikea", burn("YUU", "m1", "4000")).expect("enough points");
    world.post("wellcome", reverse(&base, "500")).expect("within what was earned");
    world.post("hangseng", reverse(&bonus, "1000")).expect("within what was earned");
    let first = world.close().business_date;
    let before = ["json", "csv", "hledger"].map(|form| download(&world, "pool", &path("YUU", first, form)).expect("data"));
    let of = data(&world, "pool", "YUU", first);
    assert_eq!(points(&of), ["0", "6000", "1500", "4000", "0", "500", "0", "500"]);
    assert_eq!(of.points.in_accounts, world.points("pool", "YUU", "m1"));
    // Each funder's refund counts against its own points, though all of them were taken from hangseng's.
    let all: Vec<(&str, &str, &str)> = of
        .cohorts
        .iter()
        .map(|line| (line.funder.as_str(), &*line.received, &*line.redeemed))
        .collect();
    let received = |funder: &str| all.iter().find(|line| line.0 == funder).map(|line| line.1);
    assert_eq!((received("wellcome"), received("hangseng")), (Some("8.250000"), Some("16.500000")));
    let forecast: Vec<&str> = of.forecast.iter().map(|line| &*line.points).collect();
    assert_eq!(forecast, ["500"]);
    // They expire, and somebody earns again: what was is as it was, to the byte.
    world.post("wellcome", earn("YUU", "m2", "1000")).expect("accepted");
    let second = world.close().business_date;
    let late = world.post("hangseng", reverse(&bonus, "300"));
    late.expect("taken back after they have expired");
    world.close();
    let again = ["json", "csv", "hledger"].map(|form| download(&world, "pool", &path("YUU", first, form)).expect("data"));
    assert_eq!(before, again);
    let of = data(&world, "pool", "YUU", second);
    assert_eq!(points(&of), ["500", "1000", "0", "0", "500", "1000", "0", "1000"]);
    let [lost] = &of.breakage[..] else { panic!("{:?}", of.breakage) };
    assert_eq!((&*lost.points, &*lost.value), ("500", "2.750000"));
    let both = data(&world, "pool", "YUU", format!("{first}..{second}"));
    assert_eq!(points(&both), ["0", "7000", "1500", "4000", "500", "1000", "0", "1000"]);
    let [_, issued, taken_back, .., closing] = deferred(&both);
    // The 1,000 are of a cohort with what wellcome's first earn left: of 2,500 points 2,000 are expected, and 1,500 were redeemed.
    assert_eq!((issued, taken_back, closing), ("38.500000", "-8.250000", "3.437500"));
}

/// Spent points whose earns are taken back: other lots give, the member owes, and later earns repay.
fn what_stood_in_for_refunded_points_is_redeemed(backend: Backend) {
    let network = POOL.replace("expires_after = \"1 day\"", "negative_limit = \"2000\"");
    let mut world = World::new(backend, &network);
    let base = id(world.post("wellcome", earn("YUU", "m1", "2000")));
    let bonus = id(world.post("hangseng", earn("YUU", "m1", "4000")));
    world.post("ikea", burn("YUU", "m1", "5000")).expect("enough points");
    // All of wellcome's are spent, so hangseng's give; then there are none, and the member owes.
    world.post("wellcome", reverse(&base, "1200")).expect("within the limit");
    world.post("hangseng", reverse(&bonus, "1000")).expect("within the limit");
    let first = world.close().business_date;
    let of = data(&world, "pool", "YUU", first);
    assert_eq!(points(&of), ["0", "6000", "2200", "3800", "0", "0", "1200", "-1200"]);
    let taken = |of: &Accounting, funder: &str| -> Vec<(String, String)> {
        let lines = of.cohorts.iter().filter(|line| line.funder.as_str() == funder);
        lines.map(|line| (line.taken_back.clone(), line.received.clone())).collect()
    };
    assert_eq!(taken(&of, "wellcome"), [("1200".into(), "4.400000".into())]);
    assert_eq!(taken(&of, "hangseng"), [("1000".into(), "16.500000".into())]);
    let before = download(&world, "pool", &path("YUU", first, "json"));
    world.post("wellcome", earn("YUU", "m1", "1600")).expect("repays first");
    world.post("wellcome", earn("YUU", "m2", "100")).expect("accepted");
    let second = world.close().business_date;
    let of = data(&world, "pool", "YUU", second);
    assert_eq!(points(&of), ["0", "1700", "0", "1200", "0", "500", "0", "500"]);
    assert_eq!(world.points("pool", "YUU", "m1"), "400");
    assert_eq!(download(&world, "pool", &path("YUU", first, "json")), before);
}

fn exchanged_points_are_accounted_for(backend: Backend) {
    let mut world = World::new(backend, MILES);
    world.post("bank", earn("BANK", "m1", "730")).expect("accepted");
    let exchanged = id(world.exchange_at_quote("bank", "BANK", "MILES", "m1", "700"));
    world.post("bank", reverse(&exchanged, "300")).expect("taken back");
    let date = world.close().business_date;
    let given = data(&world, "bank", "BANK", date);
    assert_eq!(points(&given), ["0", "730", "0", "400", "0", "330", "0", "330"]);
    // The bank issues them and funds them itself.
    assert_eq!((given.cohorts[0].basis.as_str(), given.roll_forward.len()), ("own", 0));
    let got = data(&world, "airline", "MILES", date);
    assert_eq!(points(&got), ["0", "7000", "3000", "0", "0", "4000", "0", "4000"]);
    let [line] = &got.cohorts[..] else { panic!("{got:?}") };
    assert_eq!((line.funder.as_str(), &*line.deferred), ("bank", "320.000000"));
}

fn prepaid_points_are_accounted_for(backend: Backend) {
    let mut world = World::new(backend, PREPAID);
    let partner = "hangseng";
    world.post(partner, prepay("YUU", "1000")).expect("bought");
    let drawn = id(world.post(partner, earn("YUU", "m1", "800")));
    world.post(partner, reverse(&drawn, "300")).expect("put back");
    let date = world.close().business_date;
    let of = data(&world, "pool", "YUU", date);
    assert_eq!(points(&of), ["0.0", "800.0", "300.0", "0.0", "0.0", "500.0", "0.0", "500.0"]);
    let [line] = &of.cohorts[..] else { panic!("{of:?}") };
    assert_eq!(
        (&*line.basis, &*line.outstanding, &line.received),
        ("prepaid", "500.0", &line.deferred)
    );
}

/// The shop pays when its points are spent, and the bank issues its own: nothing is deferred, and what a refund takes is taken back where it was taken.
fn points_paid_for_when_spent_are_accounted_for(backend: Backend) {
    let mut world = World::new(backend, ELSEWHERE);
    let left = id(world.post("shop", earn("BANK", "m1", "500")));
    world.post("shop", burn("BANK", "m1", "200")).expect("enough points");
    world.post("shop", reverse(&left, "100")).expect("of what is left");
    let spent = id(world.post("shop", earn("BANK", "m2", "300")));
    world.post("shop", burn("BANK", "m2", "300")).expect("enough points");
    world.post("bank", earn("BANK", "m2", "250")).expect("accepted");
    world.post("shop", reverse(&spent, "50")).expect("the bank's stand in");
    let date = world.close().business_date;
    let of = data(&world, "bank", "BANK", date);
    assert_eq!(points(&of), ["0", "1050", "150", "500", "0", "400", "0", "400"]);
    let mut cohorts: Vec<[&str; 6]> = of
        .cohorts
        .iter()
        .map(|of| [&*of.basis, &of.issued, &of.taken_back, &of.redeemed, &of.received, &of.deferred])
        .collect();
    cohorts.sort_unstable();
    let none = "0.000000";
    let expected = [
        ["own", "250", "50", "0", none, none],
        ["redemption", "800", "100", "500", none, none],
    ];
    assert_eq!((cohorts.as_slice(), of.roll_forward.len()), (expected.as_slice(), 0));
}

/// No money moves for points at a price of 0, nor back: those that a refund took are taken back all the same.
fn free_points_are_accounted_for(backend: Backend) {
    let mut world = World::new(backend, &POOL.replacen("\"0.0055\"", "\"0\"", 1));
    let free = id(world.post("wellcome", earn("YUU", "m1", "1000")));
    world.post("hangseng", earn("YUU", "m1", "200")).expect("accepted");
    world.post("wellcome", reverse(&free, "400")).expect("within what was earned");
    let date = world.close().business_date;
    let of = data(&world, "pool", "YUU", date);
    assert_eq!(points(&of), ["0", "1200", "400", "0", "0", "800", "0", "800"]);
    assert_eq!(deferred(&of)[6], "1.100000");
}

/// It reads all that was ever posted: an issuer that asks for it at once several times has one turn, and is told so.
fn an_issuer_has_one_turn(backend: Backend) {
    const AT_ONCE: usize = 8;
    let mut world = World::new(backend, POOL);
    world.post("hangseng", earn("YUU", "m1", "4000")).expect("accepted");
    let date = world.close().business_date;
    let asked = || {
        let (client, path) = (world.client("pool"), path("YUU", date, "json"));
        tokio::spawn(async move { client.get_text(&path).await })
    };
    let round = || {
        world.runtime.block_on(async {
            let (mut answers, tasks) = (vec![], (0..AT_ONCE).map(|_| asked()).collect::<Vec<_>>());
            for task in tasks {
                answers.push(task.await.expect("a task"));
            }
            answers
        })
    };
    let refused = (0..20).flat_map(|_| round()).find_map(Result::err);
    let Some(ClientError::Refused(problem)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(problem.code, Code::TooManyRequests, "{problem:?}");
    assert!(problem.detail.contains("requests for accounting data"), "{problem:?}");
    // Afterwards it is as before.
    assert!(download(&world, "pool", &path("YUU", date, "json")).is_ok());
}

fn only_the_issuer_gets_it(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("hangseng", earn("YUU", "m1", "4000")).expect("accepted");
    let date = world.close().business_date;
    for form in ["json", "csv", "hledger"] {
        assert!(download(&world, "pool", &path("YUU", date, form)).is_ok());
        for (partner, programme) in [("hangseng", "YUU"), ("ikea", "YUU"), ("pool", "NONE"), ("pool", "=1")] {
            let refused = download(&world, partner, &path(programme, date, form));
            assert_eq!(refused, Err(Code::NotFound), "{partner} {programme}");
        }
    }
    // What isn't netted, is too long ago, or names no estimate that holds.
    let open = date.tomorrow().expect("a day");
    for (path, code) in [
        (
            path(
                "YUU",
                format!("{date}..{}", open.checked_add(jiff::ToSpan::days(7)).expect("a day")),
                "json",
            ),
            Code::NotFound,
        ),
        (path("YUU", "2020-01", "json"), Code::NotFound),
        (path("YUU", "never", "json"), Code::BadValue),
        (path("YUU", date, "pdf"), Code::NotFound),
        (format!("/v1/accounting/YUU/{date}/json"), Code::BadValue),
        (format!("/v1/accounting/YUU/{date}/json?estimates=2999-01-01=80"), Code::BadValue),
        (format!("/v1/accounting/YUU/{date}/json?estimates=2026-01-01=101"), Code::BadValue),
        (format!("/v1/accounting/YUU/{date}/json?estimate=2026-01-01=80"), Code::BadRequest),
    ] {
        assert_eq!(download(&world, "pool", &path), Err(code), "{path}");
    }
}
