use super::*;
use crate::{NetResult, Statement};

fn period(text: &str) -> Result<Period, PeriodError> {
    text.parse()
}

#[test]
fn a_day_a_month_and_a_range_are_periods() {
    for (text, from, until) in [
        ("2026-11-21", "2026-11-21", "2026-11-21"),
        ("2028-02", "2028-02-01", "2028-02-29"),
        ("2026-11-01..2026-11-21", "2026-11-01", "2026-11-21"),
        ("2026-01-01..2027-01-01", "2026-01-01", "2027-01-01"),
    ] {
        let read = period(text).expect(text);
        assert_eq!((read.from().to_string(), read.until().to_string()), (from.into(), until.into()));
        assert_eq!(read.to_string(), text);
    }
    for (text, why) in [
        ("", PeriodError::Form),
        ("2026", PeriodError::Form),
        ("2026-13", PeriodError::Form),
        ("2026-11-31", PeriodError::Form),
        ("20261121", PeriodError::Form),
        ("2026-11..2026-12", PeriodError::Form),
        ("2026-11-21..", PeriodError::Form),
        ("2026-11-21..2026-11-20", PeriodError::Order),
        ("2026-01-01..2027-01-02", PeriodError::Long),
        ("0001-01-01..9999-12-31", PeriodError::Long),
    ] {
        assert_eq!(period(text), Err(why), "{text}");
    }
    // A range that is a month shows as one.
    assert_eq!(period("2026-11-01..2026-11-30").expect("a month").to_string(), "2026-11");
}

/// A statement of the pair bank and hotel: `line` is owed to it, `net` of it is paid, and the rest is carried.
fn day(date: &str, amount: &str, carried_in: &str, net: &str, carried_out: &str, running: [&str; 4]) -> Statement {
    let [opening, confirmed, closing, carried] = running;
    let json = serde_json::json!({
        "format": "points-statement/3", "partner": "hotel", "business_date": date, "cut_off_at": format!("{date}T16:00:00Z"),
        "lines": [{"kind": "exchange", "counterparty": "bank", "direction": "you_are_owed", "agreement": "aa", "programme": "MILES",
            "currency": "HKD", "messages": 2, "points": "30", "price": "0.100001", "amount": amount}],
        "breakage": [{"kind": "expiry", "counterparty": null, "agreement": null, "programme": "MILES", "currency": null,
            "points": "5", "price": "0.000000", "value": "0.000000"}],
        "obligations": [{"counterparty": "bank", "currency": "HKD", "you_owe": "0.000000", "you_are_owed": amount,
            "carried_in": carried_in, "net": net, "carried_out": carried_out}],
        "net": [{"currency": "HKD", "net": net, "result": "receives"}],
        "payments": [],
        "running_position": [{"currency": "HKD", "opening": opening, "confirmed": confirmed, "net": net, "closing": closing, "carried": carried}],
        "reduction": [{"currency": "HKD", "gross": amount, "bilateral": net, "multilateral": net, "efficiency_percent": "0.00"}],
    });
    serde_json::from_value(json).expect("a statement")
}

#[test]
fn days_add_up_to_their_period() {
    let mut together = Together::new("hotel".parse().expect("a partner"), period("2026-11").expect("a month"));
    let days = [
        day(
            "2026-11-20",
            "3.004000",
            "0.000000",
            "3.00",
            "0.004000",
            ["0.00", "0.00", "3.00", "0.004000"],
        ),
        day(
            "2026-11-23",
            "3.002000",
            "0.004000",
            "3.01",
            "-0.004000",
            ["3.00", "-3.00", "3.01", "-0.004000"],
        ),
    ];
    for (place, day) in days.iter().enumerate() {
        together.add(day, &place.to_string()).expect("added");
    }
    let all = together.done().expect("a period");
    let [line] = &all.lines[..] else { panic!("{:?}", all.lines) };
    assert_eq!((line.messages, &*line.points, &*line.amount), (4, "60", "6.006000"));
    assert_eq!((all.breakage.len(), &*all.breakage[0].points), (1, "10"));
    let [pair] = &all.obligations[..] else {
        panic!("{:?}", all.obligations)
    };
    // 6.006 owed, nothing carried in: 6.01 is paid, and -0.004 is carried out.
    let shown = [&pair.you_are_owed, &pair.carried_in, &pair.net, &pair.carried_out];
    assert_eq!(shown, ["6.006000", "0.000000", "6.01", "-0.004000"]);
    assert_eq!((&*all.net[0].net, all.net[0].result), ("6.01", NetResult::Receives));
    let running = &all.running_position[0];
    let shown = [
        &running.opening,
        &running.confirmed,
        &running.net,
        &running.closing,
        &running.carried,
    ];
    assert_eq!(shown, ["0.00", "-3.00", "6.01", "3.01", "-0.004000"]);
    // (6.006 - 6.01) / 6.006
    assert_eq!(
        (&*all.reduction[0].gross, &*all.reduction[0].efficiency_percent),
        ("6.006000", "-0.07")
    );
    let days: Vec<_> = all.days.iter().map(|day| (day.business_date.to_string(), &*day.net)).collect();
    assert_eq!(days, [("2026-11-20".into(), "3.00"), ("2026-11-23".into(), "3.01")]);
    assert_eq!(all.windows.iter().map(|window| &*window.sha256).collect::<Vec<_>>(), ["0", "1"]);
}

#[test]
fn a_figure_that_is_none_is_an_error() {
    let mut broken = day(
        "2026-11-20",
        "3.004000",
        "0.000000",
        "3.00",
        "0.004000",
        ["0.00", "0.00", "3.00", "0.004000"],
    );
    broken.lines[0].points = "many".into();
    assert_eq!(Together::of(&broken, ""), Err(PeriodError::Figure("many".into())));
}

#[test]
fn a_window_between_that_has_no_statement_is_told() {
    let first = day(
        "2026-11-20",
        "3.004000",
        "0.000000",
        "3.00",
        "0.004000",
        ["0.00", "0.00", "3.00", "0.004000"],
    );
    // 2026-11-23 is missing: this one carries on from it, and opens with what it left open.
    for last in [
        day(
            "2026-11-24",
            "1.000000",
            "0.001000",
            "1.00",
            "0.001000",
            ["3.00", "0.00", "4.00", "0.001000"],
        ),
        day(
            "2026-11-24",
            "1.000000",
            "0.004000",
            "1.00",
            "0.004000",
            ["5.00", "0.00", "6.00", "0.004000"],
        ),
    ] {
        let mut together = Together::new("hotel".parse().expect("a partner"), period("2026-11").expect("a month"));
        together.add(&first, "").expect("added");
        assert_eq!(together.add(&last, ""), Err(PeriodError::Gap(last.business_date)));
    }
    // A pair that is missing had something left over.
    let mut nothing = day(
        "2026-11-24",
        "0.000000",
        "0.000000",
        "0.00",
        "0.000000",
        ["3.00", "0.00", "3.00", "0.000000"],
    );
    nothing.obligations.clear();
    let mut together = Together::new("hotel".parse().expect("a partner"), period("2026-11").expect("a month"));
    together.add(&first, "").expect("added");
    assert_eq!(together.add(&nothing, ""), Err(PeriodError::Gap(nothing.business_date)));
}

#[test]
fn windows_of_before_there_were_payments_have_none() {
    let mut old = day(
        "2026-11-20",
        "3.004000",
        "0.000000",
        "3.00",
        "0.004000",
        ["0.00", "0.00", "3.00", "0.004000"],
    );
    old.format = "points-statement/2".into();
    (old.payments, old.running_position) = (None, None);
    let new = day(
        "2026-11-23",
        "3.002000",
        "0.004000",
        "3.01",
        "-0.004000",
        ["0.00", "0.00", "3.01", "-0.004000"],
    );
    let mut together = Together::new("hotel".parse().expect("a partner"), period("2026-11").expect("a month"));
    together.add(&old, "").expect("added");
    together.add(&new, "").expect("added");
    let all = together.done().expect("a period");
    let formats: Vec<&str> = all.windows.iter().map(|window| &*window.format).collect();
    assert_eq!(formats, ["points-statement/2", "points-statement/3"]);
    assert_eq!((&*all.net[0].net, &*all.running_position[0].net), ("6.01", "3.01"));
    let confirmed: Vec<_> = all.days.iter().map(|day| day.confirmed.as_deref()).collect();
    assert_eq!(confirmed, [None, Some("0.00")]);
}

#[test]
fn each_currency_keeps_its_decimals() {
    let mut days = [
        day("2026-11-20", "3.004000", "0.000000", "3", "0.004000", ["0", "0", "3", "0.004000"]),
        day("2026-11-23", "3.002000", "0.004000", "3", "0.006000", ["3", "-3", "3", "0.006000"]),
    ];
    let mut together = Together::new("hotel".parse().expect("a partner"), period("2026-11").expect("a month"));
    for day in &mut days {
        let yen = "JPY".parse().expect("a currency");
        day.lines[0].currency = yen;
        day.obligations[0].currency = yen;
        day.net[0].currency = yen;
        day.running_position.as_mut().expect("positions")[0].currency = yen;
        day.reduction[0].currency = yen;
        together.add(day, "").expect("added");
    }
    let all = together.done().expect("a period");
    let running = &all.running_position[0];
    let shown = [
        &all.net[0].net,
        &running.opening,
        &running.confirmed,
        &running.net,
        &running.closing,
    ];
    assert_eq!(shown, ["6", "0", "-3", "6", "3"]);
    assert_eq!((&*all.days[1].net, &*all.days[1].you_owe), ("3", "0.000000"));
}
