//! How windows are paid, and what is left to be paid.

use jiff::civil::Date;
use partner_sdk::Amount;
use partner_sdk::banking::{AccountTerms, Paid};
use partner_sdk::change::{Change, Status};
use settlement::Due;

use crate::office::Office;
use crate::{World, execute};

/// Two people say where a party is paid.
pub fn account(world: &World, office: &Office, of: &str) {
    let terms = AccountTerms {
        partner: of.parse().expect("a party"),
        currency: "HKD".parse().expect("a currency"),
        holder: format!("{of} Ltd"),
        account: "012345678901".into(),
        bank: "AAAAHKHH".into(),
    };
    office.change(&world.sandbox, Change::Account(terms)).expect("set");
}

/// All payments of a window, those with others in their place too.
pub fn dues(world: &World, date: Date) -> Vec<Due> {
    settlement::dues_of(&mut world.sandbox.database().expect("a connection"), date).expect("payments")
}

/// What is open for a window: who, and how much; below zero it pays.
pub fn open(world: &World, date: Date) -> Vec<String> {
    let open = dues(world, date).into_iter().filter(Due::is_open);
    let mut shown: Vec<String> = open
        .map(|due| format!("{} {}", due.partner, due.amount.display(due.currency)))
        .collect();
    shown.sort();
    shown
}

/// That a payment was made, on the day of its window.
pub fn made(due: &Due) -> Change {
    let paid = Paid {
        reference: due.reference.clone(),
        currency: due.currency,
        amount: Amount::from_units(due.amount.0.abs(), 6).expect("an amount"),
        paid_on: due.business_date,
    };
    Change::Confirm {
        payments: vec![paid],
        bank_statement: None,
    }
}

/// The bank has booked a partner's open payment.
pub fn pays(world: &World, office: &Office, date: Date, partner: &str) {
    let all = dues(world, date);
    let due = all.iter().find(|due| due.partner.as_str() == partner && due.is_open());
    office.change(&world.sandbox, made(due.expect("open"))).expect("confirmed");
}

/// A partner is suspended.
pub fn suspend(world: &World, office: &Office, partner: &str) {
    let change = Change::Status {
        partner: partner.parse().expect("an id"),
        status: Status::Suspended,
    };
    office.change(&world.sandbox, change).expect("suspended");
}

/// A partner is taken out of a window.
pub fn default(partner: &str, business_date: Date) -> Change {
    Change::Default {
        partner: partner.parse().expect("an id"),
        business_date,
    }
}

/// What an address answers a partner.
pub fn get(world: &World, partner: &str, path: &str) -> serde_json::Value {
    world.runtime.block_on(world.client(partner).get(path)).expect(path)
}

/// What has changed about a window's payments for a partner.
pub fn revisions(world: &World, partner: &str, date: Date) -> serde_json::Value {
    get(world, partner, &format!("/v1/statements/{date}/revisions"))["revisions"].clone()
}

/// What a partner owes net over all windows, in the first of its currencies.
pub fn owes(world: &World, partner: &str) -> String {
    let positions = get(world, partner, "/v1/positions");
    positions["net"][0]["owes"].as_str().unwrap_or("nothing").to_owned()
}

/// Where a window stands.
pub fn state(world: &World, date: Date) -> settlement::State {
    let window = settlement::window(&mut world.sandbox.database().expect("a connection"), date);
    window.expect("reads").expect("there").state
}

/// What the trail says of windows and payments, outside of a sandbox.
pub fn trail(world: &World) -> Vec<String> {
    let mut conn = world.sandbox.database().expect("a connection");
    execute(&mut conn, "UPDATE head SET sandbox = FALSE");
    let findings = world.check_trail().into_iter();
    let findings = findings.filter(|finding| finding.contains("window") || finding.contains("payment"));
    let findings = findings.collect();
    execute(&mut conn, "UPDATE head SET sandbox = TRUE");
    findings
}
