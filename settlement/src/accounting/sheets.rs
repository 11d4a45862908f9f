//! The document's sections as tables: a sheet each, or one after the other as CSV.

use super::document::{Accounting, RollForwardLine};
use crate::export::sheet::{Cell, Rows};
use Cell::{Count, Date, Number, Text};

/// A section: its name, its columns, and its rows. Columns with figures have names that no other section has.
pub(super) type Table<'a> = (&'static str, &'static [&'static str], Rows<'a>);

/// All sections.
pub(super) fn tables(of: &Accounting) -> Vec<Table<'_>> {
    vec![
        about(of),
        roll_forward(of),
        points(of),
        outstanding(of),
        breakage(of),
        forecast(of),
        cohorts(of),
    ]
}

fn about(of: &Accounting) -> Table<'_> {
    let mut rows = vec![
        vec![Text("format"), Text(&of.format)],
        vec![Text("notice"), Text(&of.notice)],
        vec![Text("programme"), Text(of.programme.as_str())],
        vec![Text("issuer"), Text(of.issuer.as_str())],
        vec![Text("from"), Date(of.from)],
        vec![Text("until"), Date(of.until)],
        vec![Text("closing_window"), Date(of.closing_window)],
        vec![Text("opening_percent"), Number(&of.opening_percent)],
        vec![Text("closing_percent"), Number(&of.closing_percent)],
    ];
    rows.extend(of.opening_window.map(|window| vec![Text("opening_window"), Date(window)]));
    ("about", &["what", "value"], rows)
}

fn roll_forward(of: &Accounting) -> Table<'_> {
    let row = |line| {
        let figures = deferred(line);
        [Text(line.currency.as_str())]
            .into_iter()
            .chain(figures.map(|figure| Number(figure)))
            .collect()
    };
    let columns = &[
        "currency",
        "deferred_opening",
        "deferred_issued",
        "deferred_taken_back",
        "deferred_on_redemption",
        "deferred_on_expiry",
        "deferred_catch_up",
        "deferred_closing",
    ];
    ("roll_forward", columns, of.roll_forward.iter().map(row).collect())
}

fn deferred(line: &RollForwardLine) -> [&String; 7] {
    [
        &line.opening,
        &line.issued,
        &line.taken_back,
        &line.on_redemption,
        &line.on_expiry,
        &line.catch_up,
        &line.closing,
    ]
}

fn points(of: &Accounting) -> Table<'_> {
    let all = &of.points;
    let row = [
        &all.opening,
        &all.issued,
        &all.taken_back,
        &all.redeemed,
        &all.expired,
        &all.outstanding,
        &all.debt,
        &all.in_accounts,
    ];
    let columns = &[
        "points_opening",
        "points_issued",
        "points_taken_back",
        "points_redeemed",
        "points_expired",
        "points_outstanding",
        "points_debt",
        "points_in_accounts",
    ];
    ("points", columns, vec![row.map(|figure| Number(figure)).into()])
}

fn outstanding(of: &Accounting) -> Table<'_> {
    let rows = of.outstanding.iter().map(|line| {
        vec![
            Text(line.funder.as_str()),
            Text(&line.basis),
            Text(line.currency.as_str()),
            Count(line.age_months.into()),
            Number(&line.points),
            Number(&line.deferred),
        ]
    });
    let columns = &[
        "funder",
        "basis",
        "currency",
        "age_months",
        "outstanding_points",
        "outstanding_deferred",
    ];
    ("outstanding", columns, rows.collect())
}

fn breakage(of: &Accounting) -> Table<'_> {
    let rows = of.breakage.iter().map(|line| {
        vec![
            Text(line.funder.as_str()),
            Text(&line.basis),
            Text(line.currency.as_str()),
            Number(&line.points),
            Number(&line.value),
        ]
    });
    let columns = &["funder", "basis", "currency", "breakage_points", "breakage_value"];
    ("breakage", columns, rows.collect())
}

fn forecast(of: &Accounting) -> Table<'_> {
    let rows = of.forecast.iter().map(|line| {
        let mut row = vec![Text(line.month.as_str())];
        row.extend([&line.points, &line.expected_redeemed, &line.expected_expired].map(|figure| Number(figure)));
        row
    });
    let columns = &["expires_in", "forecast_points", "forecast_redeemed", "forecast_expired"];
    ("forecast", columns, rows.collect())
}

fn cohorts(of: &Accounting) -> Table<'_> {
    let rows = of.cohorts.iter().map(|line| {
        let texts = [
            line.funder.as_str(),
            &line.basis,
            line.currency.as_str(),
            &line.agreement,
            &line.issued_in,
            &line.expires_in,
        ];
        let figures = [
            &line.price,
            &line.issued,
            &line.taken_back,
            &line.redeemed,
            &line.expired,
            &line.outstanding,
            &line.received,
            &line.recognised,
            &line.deferred,
        ];
        let figures = figures.map(|figure| Number(figure));
        texts.map(Text).into_iter().chain(figures).collect()
    });
    let columns = &[
        "funder",
        "basis",
        "currency",
        "agreement",
        "issued_in",
        "expires_in",
        "price",
        "cohort_issued",
        "cohort_taken_back",
        "cohort_redeemed",
        "cohort_expired",
        "cohort_outstanding",
        "cohort_received",
        "cohort_recognised",
        "cohort_deferred",
    ];
    ("cohorts", columns, rows.collect())
}
