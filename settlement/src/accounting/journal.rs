//! The roll-forward as double entries.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::document::{Accounting, RollForwardLine};

const DEFERRED: &str = "liabilities:points:deferred";

/// One entry for each part, on the last day of the period; the opening isn't among them, as the journal of the period before has it.
pub(super) fn journal(of: &Accounting) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| {
        // A string takes whatever is written to it.
        let _ = writeln!(text, "{args}");
    };
    line(format_args!("; {}", of.notice));
    line(format_args!("; {} of {}, {} to {}", of.programme, of.issuer, of.from, of.until));
    let entries: Vec<_> = of.roll_forward.iter().flat_map(parts).collect();
    let accounts: BTreeSet<&str> = entries.iter().map(|(_, account, ..)| *account).chain([DEFERRED]).collect();
    let payees: BTreeSet<&str> = entries.iter().map(|(payee, ..)| *payee).collect();
    let commodities: BTreeSet<&str> = of.roll_forward.iter().map(|line| line.currency.as_str()).collect();
    accounts.iter().for_each(|account| line(format_args!("account {account}")));
    commodities
        .iter()
        .for_each(|currency| line(format_args!("commodity 1000.000000 {currency}")));
    payees.iter().for_each(|payee| line(format_args!("payee {payee}")));
    for (payee, account, amount, currency) in entries {
        let negated = match amount.strip_prefix('-') {
            Some(amount) => amount.to_owned(),
            None => format!("-{amount}"),
        };
        line(format_args!("\n{} * {payee} | {}", of.until, of.programme));
        line(format_args!("    {account:<44}  {amount:>26} {currency}"));
        line(format_args!("    {DEFERRED:<44}  {negated:>26} {currency}"));
    }
    text
}

/// What, against which account, and how much more is deferred by it; nothing of what is zero.
fn parts(line: &RollForwardLine) -> impl Iterator<Item = (&'static str, &'static str, &str, &str)> {
    let parts = [
        ("points issued", "assets:points:received", &line.issued),
        ("points taken back", "assets:points:received", &line.taken_back),
        ("redemption", "income:points:redemption", &line.on_redemption),
        ("expiry", "income:points:expiry", &line.on_expiry),
        ("change of estimate", "income:points:estimate", &line.catch_up),
    ];
    let some = parts
        .into_iter()
        .filter(|(.., amount)| amount.bytes().any(|b| (b'1'..=b'9').contains(&b)));
    some.map(|(payee, account, amount)| (payee, account, amount.as_str(), line.currency.as_str()))
}
