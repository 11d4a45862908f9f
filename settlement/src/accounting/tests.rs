use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::PartnerId;

use super::*;
use crate::period::Period;

fn date(text: &str) -> Date {
    text.parse().expect("a date")
}

fn cohort(funder: &str, price: i64, basis: Basis, issued: &str, expires: Option<&str>) -> Cohort {
    Cohort {
        agreement: format!("agreement of {funder}"),
        funder: funder.parse().expect("a partner"),
        price,
        currency: "HKD".parse().expect("a currency"),
        basis,
        issued_in: date(issued).into(),
        expires_in: expires.map(|text| date(text).into()),
    }
}

fn points(issued: i128, taken_back: i128, redeemed: i128, expired: i128) -> Points {
    Points {
        issued,
        taken_back,
        redeemed,
        expired,
    }
}

/// A thousand points at 0.10, a year old at most.
fn grocer() -> Cohort {
    cohort("grocer", 100_000, Basis::Issue, "2026-01-15", Some("2026-12-31"))
}

fn state(cohorts: impl IntoIterator<Item = (Cohort, Points)>) -> State {
    State {
        cohorts: cohorts.into_iter().collect(),
        debt: 0,
    }
}

fn made(period: &str, opening: &State, closing: &State, estimates: &str) -> Result<Accounting, AccountingError> {
    let period: Period = period.parse().expect("a period");
    let subject = Subject {
        programme: "YUU".parse().expect("a programme"),
        scale: 0,
        issuer: "pool".parse().expect("a partner"),
        period,
        opening_window: period.from().yesterday().ok(),
        closing_window: period.until(),
        closing_at: "2026-07-31T16:00:00Z".parse().expect("an instant"),
    };
    report(&subject, opening, closing, &estimates.parse()?)
}

fn deferral(points: Points, percent: &str) -> [i128; 3] {
    let estimate = format!("2026-01-01={percent}").parse().expect("an estimate");
    let of = Deferral::of(&grocer(), &points, estimate).expect("it fits");
    [of.by_redemption, of.by_expiry, of.deferred()]
}

/// What of 100.00 is recognised by redemptions, by expiry, and deferred.
#[test]
fn a_price_is_recognised_as_points_are_redeemed() {
    for (of, percent, expected) in [
        (points(1_000, 0, 400, 0), "80", [50_000_000, 0, 50_000_000]),
        // 100.00 * 400 / 900, floored.
        (points(1_000, 0, 400, 0), "90", [44_444_444, 0, 55_555_556]),
        (points(1_000, 0, 0, 0), "80", [0, 0, 100_000_000]),
        (points(1_000, 0, 800, 0), "80", [100_000_000, 0, 0]),
        (points(1_000, 0, 950, 0), "80", [100_000_000, 0, 0]),
        // 200 taken back: 80.00 was received, and of 640 expected ones 400 were redeemed.
        (points(1_000, 200, 400, 0), "80", [50_000_000, 0, 30_000_000]),
        // Expired are the others, or so many that what is left costs less than what was deferred.
        (points(1_000, 0, 400, 600), "80", [50_000_000, 50_000_000, 0]),
        (points(1_000, 0, 400, 300), "80", [50_000_000, 20_000_000, 30_000_000]),
        (points(1_000, 0, 400, 50), "80", [50_000_000, 0, 50_000_000]),
        // Where all are expected, only points that are gone are recognised.
        (points(1_000, 0, 400, 50), "100", [40_000_000, 5_000_000, 55_000_000]),
        (points(1_000, 1_000, 0, 0), "80", [0, 0, 0]),
        // Held while their earn was taken back: nothing was redeemed yet.
        (points(1_000, 1_000, -200, 0), "80", [0, 0, 0]),
    ] {
        assert_eq!(deferral(of, percent), expected, "{of:?} at {percent}");
    }
    for basis in [Basis::Redemption, Basis::Own] {
        let of = cohort("grocer", 100_000, basis, "2026-01-15", None);
        let estimate = "2026-01-01=80".parse().expect("an estimate");
        assert_eq!(
            Deferral::of(&of, &points(1_000, 0, 400, 0), estimate).expect("fits"),
            Deferral::default()
        );
    }
}

#[test]
fn a_changed_estimate_catches_up_at_the_end_of_its_period() {
    let opening = state([(grocer(), points(1_000, 0, 200, 0))]);
    let closing = state([(grocer(), points(1_000, 0, 400, 0))]);
    let of = made("2026-07", &opening, &closing, "2026-07-01=90,2026-01-01=80").expect("data");
    let [line] = &of.roll_forward[..] else { panic!("{of:?}") };
    // 25.00 was recognised before, 25.00 more at 80 %, and 5.555556 goes back since more are expected.
    let shown = [
        &line.opening,
        &line.issued,
        &line.on_redemption,
        &line.on_expiry,
        &line.catch_up,
        &line.closing,
    ];
    assert_eq!(shown, ["75.000000", "0.000000", "-25.000000", "0.000000", "5.555556", "55.555556"]);
    assert_eq!((&*of.opening_percent, &*of.closing_percent), ("80.0000", "90.0000"));
    let [left] = &of.outstanding[..] else { panic!("{of:?}") };
    assert_eq!((left.age_months, &*left.points, &*left.deferred), (6, "600", "55.555556"));
    // 900 are expected, 400 are there already.
    let [month] = &of.forecast[..] else { panic!("{of:?}") };
    let shown = [&month.month, &month.points, &month.expected_redeemed, &month.expected_expired];
    assert_eq!(shown, ["2026-12", "600", "500", "100"]);
    // Before the first estimate the first holds: nothing to catch up with. An estimate of later makes no difference.
    for estimates in ["2026-07-15=80", "2026-07-15=80,2026-08-01=90"] {
        let of = made("2026-07", &opening, &closing, estimates).expect("data");
        assert_eq!(
            (&*of.roll_forward[0].opening, &*of.roll_forward[0].catch_up),
            ("75.000000", "0.000000")
        );
    }
    let none = made("2026-07", &opening, &closing, "2026-08-01=80");
    assert!(matches!(none, Err(AccountingError::NoneHolds(day)) if day == date("2026-07-31")));
}

#[test]
fn what_expires_when_is_told_by_month() {
    let of = |expires: Option<&str>, issued| {
        (
            cohort("grocer", 100_000, Basis::Issue, "2026-01-15", expires),
            points(issued, 0, 0, 0),
        )
    };
    let closing = state([
        of(Some("2026-01-31"), 1),
        of(Some("2028-12-31"), 20),
        of(Some("2029-01-01"), 300),
        of(None, 4_000),
    ]);
    let of = made("2026-01", &State::default(), &closing, "2026-01-01=50").expect("data");
    let shown: Vec<(&str, &str, &str)> = of
        .forecast
        .iter()
        .map(|line| (&*line.month, &*line.expected_redeemed, &*line.expected_expired))
        .collect();
    assert_eq!(
        shown,
        [
            ("2026-01", "0", "1"),
            ("2028-12", "10", "10"),
            ("later", "150", "150"),
            ("never", "2000", "2000")
        ]
    );
}

#[test]
fn the_documented_data_are_these() {
    let document = include_str!("../../../docs/STATEMENTS.md");
    let opening = state([(grocer(), points(1_000, 0, 200, 0))]);
    let closing = state([(grocer(), points(1_000, 0, 400, 0))]);
    let of = made("2026-07", &opening, &closing, "2026-01-01=80,2026-07-01=90").expect("data");
    let json = String::from_utf8(AccountingForm::Json.of(&of).expect("json")).expect("text");
    assert!(document.contains(&json), "docs/STATEMENTS.md doesn't show this:\n{json}");
    let journal = String::from_utf8(AccountingForm::Hledger.of(&of).expect("a journal")).expect("text");
    let entry = journal.split("\n\n").last().expect("an entry");
    assert!(document.contains(entry), "docs/STATEMENTS.md doesn't show this:\n{entry}");
    let csv = String::from_utf8(AccountingForm::Csv.of(&of).expect("csv")).expect("text");
    let columns = csv.lines().next().expect("a header").split(',');
    let undocumented: Vec<&str> = columns.filter(|column| !document.contains(&format!("`{column}`"))).collect();
    assert!(undocumented.is_empty(), "docs/STATEMENTS.md doesn't name {undocumented:?}");
}

#[test]
fn estimates_are_read_strictly() {
    for (text, percent) in [
        ("2026-01-01=85", "85.0000"),
        ("2026-01-01=0.0001", "0.0001"),
        ("2026-01-01=100", "100.0000"),
    ] {
        assert_eq!(text.parse::<Estimate>().expect(text).percent(), percent);
    }
    for text in [
        "",
        "85",
        "2026-01-01",
        "2026-01-01=",
        "2026-01-01=0",
        "2026-01-01=100.0001",
        "2026-01-01=1.00001",
    ] {
        assert!(matches!(text.parse::<Estimate>(), Err(AccountingError::Estimate)), "{text}");
    }
    for text in [
        "2026-1-1=85",
        "20260101=85",
        "2026-01-01=-5",
        "2026-01-01=1e1",
        "2026-01-01=85,",
        "2026-02-30=85",
    ] {
        assert!(matches!(text.parse::<Estimates>(), Err(AccountingError::Estimate)), "{text}");
    }
    let twice = "2026-01-01=85,2026-01-01=85".parse::<Estimates>();
    assert!(matches!(twice, Err(AccountingError::Estimates)));
    let many = vec!["2026-01-01=85"; 1_000].join(",");
    assert!(matches!(many.parse::<Estimates>(), Err(AccountingError::Estimates)));
}

/// An earn of the grocer's is taken back after its points were spent: the cafe's stand in, and then the member owes.
#[test]
fn points_that_stood_in_count_where_they_belong() {
    let cafe = || cohort("cafe", 200_000, Basis::Issue, "2026-02-01", None);
    let parcel = |of: Cohort| -> Parcel { (of.agreement, of.funder, of.price, false) };
    // The grocer's 500 are spent. Of the cafe's 700 the refund took 300; 200 are owed.
    let mut stood_in = state([(grocer(), points(500, 0, 500, 0)), (cafe(), points(700, 300, 400, 0))]);
    stood_in.refund(&BTreeMap::from([(parcel(grocer()), 500)]));
    stood_in.set_off([Owing { points: 200, lots: vec![] }]);
    assert_eq!(stood_in.cohorts[&grocer()], points(500, 500, 0, 0));
    assert_eq!(stood_in.cohorts[&cafe()], points(700, 0, 700, 0));
    assert_eq!((stood_in.debt, stood_in.balance()), (200, -200));
    // 600 more are issued, and repay it.
    let later = cohort("cafe", 200_000, Basis::Issue, "2026-03-01", None);
    let mut repaid = state([(later.clone(), points(600, 0, 0, 0))]);
    repaid.set_off([Owing {
        points: 200,
        lots: vec![(&later, 600)],
    }]);
    assert_eq!(
        (repaid.cohorts[&later], repaid.debt, repaid.balance()),
        (points(600, 0, 200, 0), 0, 400)
    );
}

/// No money goes back for points that cost none, and no refund is posted: those that were taken back are.
#[test]
fn free_points_are_taken_back_where_they_were() {
    let free = || cohort("grocer", 0, Basis::Issue, "2026-01-15", None);
    let drawn = || cohort("cafe", 0, Basis::Prepaid, "2026-01-15", None);
    let mut of = state([(free(), points(1_000, 400, 100, 0)), (drawn(), points(500, 200, 100, 0))]);
    of.refund(&BTreeMap::from([((drawn().agreement, drawn().funder, 0, true), 250)]));
    assert_eq!(of.cohorts[&free()], points(1_000, 400, 100, 0));
    assert_eq!(of.cohorts[&drawn()], points(500, 250, 50, 0));
}

#[test]
fn lots_of_members_that_owe_are_bounded() {
    let mut lots = Lots::new(["m1".to_owned(), "m2".to_owned()], 2);
    let (both, closing) = ([true, true], [false, true]);
    lots.add("m1", (1, 0), 0, 100, both).expect("the first");
    lots.add("m1", (2, 0), 1, 50, closing).expect("the second");
    lots.add("m3", (3, 0), 0, 70, both).expect("of no interest");
    // All of it is gone, at both ends.
    lots.add("m1", (1, 0), 0, -100, both).expect("less");
    lots.add("m2", (4, 0), 2, 30, both).expect("there is room again");
    lots.add("m2", (4, 0), 2, -30, closing).expect("it was there before");
    assert_eq!((lots.of("m2", 0, 0), lots.of("m2", 1, 0)), (vec![(2, 30)], vec![(2, 0)]));
    let full = lots.add("m2", (5, 0), 0, 1, closing);
    assert!(matches!(full, Err(AccountingError::Many(2, _))));
    // What is issued since the debt repays it first.
    let mut lots = Lots::new(["m1".to_owned()], 9);
    for seq in [1, 2, 3] {
        lots.add("m1", (seq, 0), 0, seq, both).expect("room");
    }
    assert_eq!(lots.of("m1", 1, 2), [(0, 3), (0, 1), (0, 2)]);
    let over = lots.add("m1", (3, 0), 0, i64::MAX, both);
    assert!(matches!(over, Err(AccountingError::Overflow)));
}

#[test]
fn no_cell_becomes_a_formula_and_every_section_is_there() {
    let opening = state([(grocer(), points(1_000, 0, 200, 0))]);
    let closing = state([(grocer(), points(1_500, 100, 400, 100))]);
    let mut of = made("2026-07", &opening, &closing, "2026-01-01=80,2026-07-01=90").expect("data");
    of.cohorts[0].agreement = "=1+1".into();
    let csv = String::from_utf8(AccountingForm::Csv.of(&of).expect("csv")).expect("text");
    assert!(csv.contains(",'=1+1,") && csv.contains(NOTICE), "{csv}");
    for section in ["about", "roll_forward", "points", "outstanding", "breakage", "forecast", "cohorts"] {
        assert!(csv.contains(&format!("\n{section},")), "{section}");
    }
    let xlsx = AccountingForm::Xlsx.of(&of).expect("a workbook");
    assert_eq!(xlsx, AccountingForm::Xlsx.of(&of).expect("the same"));
    let json = AccountingForm::Json.of(&of).expect("json");
    assert_eq!(serde_json::from_slice::<Accounting>(&json).expect("read"), of);
    let journal = String::from_utf8(AccountingForm::Hledger.of(&of).expect("a journal")).expect("text");
    let line = &of.roll_forward[0];
    assert!(
        journal.contains(&format!("{} HKD", line.catch_up)) && journal.starts_with("; Data for the accountant"),
        "{journal}"
    );
}

/// SplitMix64, whose seed is shown.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> i128 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i128::from((z ^ (z >> 31)) % end)
    }

    fn grown(&mut self, from: Points) -> Points {
        let mut to = from;
        to.issued += self.below(5_000);
        for of in [0, 1, 2] {
            let some = self.below(u64::try_from(to.outstanding()).expect("above zero") + 1) / (1 + self.below(4));
            match of {
                0 => to.taken_back += some,
                1 => to.redeemed += some,
                _ => to.expired += some,
            }
        }
        to
    }
}

/// What the standard says, as a fraction: (received * min(1, redeemed / (net * rate)), at least what isn't left), over net * rate.
fn recognised(price: i128, of: Points, rate: i128) -> (i128, i128) {
    let net = of.issued - of.taken_back;
    let (received, expected) = (price * net, net * rate);
    if expected == 0 {
        return (0, 1);
    }
    let part = (received * (of.redeemed * 1_000_000).min(expected), expected);
    let gone = received - price * of.outstanding();
    if gone * part.1 > part.0 { (gone, 1) } else { part }
}

#[test]
fn random_cohorts_are_recognised_as_fractions_say() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(1));
    println!("SEED={seed}");
    let mut random = Random(seed);
    for _ in 0..2_000 {
        let (mut before, mut after) = (State::default(), State::default());
        let rates = [1 + random.below(1_000_000), 1 + random.below(1_000_000)];
        let (mut opening, mut closing, mut shown) = (0, 0, 0);
        for n in 0..=random.below(4) {
            let price = 1 + random.below(200_000);
            let mut of = grocer();
            (of.price, of.funder) = (i64::try_from(price).expect("fits"), PartnerId::new(format!("p{n}")).expect("an id"));
            let first = random.grown(Points::default());
            let second = random.grown(first);
            let deferred = |points: Points, rate| {
                let (top, bottom) = recognised(price, points, rate);
                price * (points.issued - points.taken_back) - top / bottom
            };
            opening += deferred(first, rates[0]);
            closing += deferred(second, rates[1]);
            shown += second.outstanding();
            before.cohorts.insert(of.clone(), first);
            after.cohorts.insert(of, second);
        }
        let percents = rates.map(|rate| partner_sdk::amount::format_units(rate, 4));
        let estimates = format!("2026-01-01={},2026-07-01={}", percents[0], percents[1]);
        let of = made("2026-07", &before, &after, &estimates).expect("data");
        let line = &of.roll_forward[0];
        let micros = |text: &str| text.replace('.', "").parse::<i128>().expect("a figure");
        assert_eq!((micros(&line.opening), micros(&line.closing)), (opening, closing), "{of:?}");
        let parts = [
            &line.opening,
            &line.issued,
            &line.taken_back,
            &line.on_redemption,
            &line.on_expiry,
            &line.catch_up,
        ];
        assert_eq!(parts.iter().map(|part| micros(part)).sum::<i128>(), closing);
        let forecast = of.forecast.iter().map(|line| micros(&line.points)).sum::<i128>();
        assert_eq!((forecast, micros(&of.points.in_accounts)), (shown, shown));
        let deferred = of.outstanding.iter().map(|line| micros(&line.deferred)).sum::<i128>();
        assert_eq!(deferred, closing);
    }
}
