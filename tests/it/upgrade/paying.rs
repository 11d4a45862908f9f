//! How the story's windows are paid, and what of them isn't.

use partner_sdk::banking::{AccountTerms, Paid};
use partner_sdk::change::{Change, Status};
use partner_sdk::document::Action;
use partner_sdk::fx::{FxRate, FxTerms};
use partner_sdk::{Amount, PartnerId};
use tests::office::Office;
use tests::{World, amount};

use crate::disputes::filing::{decide, file_as, says, terms_of};

/// Where payments go, and that one was made.
pub fn paid(world: &World, office: &Office) {
    let account = AccountTerms {
        partner: PartnerId::clearing(),
        currency: "HKD".parse().expect("a currency"),
        holder: "Points Clearing Ltd".into(),
        account: "012345678901".into(),
        bank: "AAAAHKHH".into(),
    };
    office.change(&world.sandbox, Change::Account(account)).expect("set");
    let mut conn = world.sandbox.database().expect("a connection");
    let dues = settlement::dues_of(&mut conn, "2026-11-21".parse().expect("a date")).expect("payments");
    let [due, _, ..] = &dues[..] else {
        panic!("two payments at least: {dues:?}")
    };
    let paid = Paid {
        reference: due.reference.clone(),
        currency: due.currency,
        amount: Amount::from_units(due.amount.0.abs(), 6).expect("an amount"),
        paid_on: due.business_date,
    };
    let change = Change::Confirm {
        payments: vec![paid],
        bank_statement: None,
    };
    office.change(&world.sandbox, change).expect("confirmed");
}

/// One that hasn't paid for the 21st is taken out of it, and comes back.
pub fn taken_out(world: &World, office: &Office) {
    let business_date = "2026-11-21".parse().expect("a date");
    let mut conn = world.sandbox.database().expect("a connection");
    let dues = settlement::dues_of(&mut conn, business_date).expect("payments");
    let paid: Vec<&PartnerId> = dues.iter().filter(|due| due.confirmed.is_some()).map(|due| &due.partner).collect();
    let open = dues.iter().find(|due| due.is_open() && !paid.contains(&&due.partner));
    let partner = open.expect("an open payment").partner.clone();
    let status = |status| Change::Status {
        partner: partner.clone(),
        status,
    };
    for change in [
        status(Status::Suspended),
        Change::Default {
            partner: partner.clone(),
            business_date,
        },
        status(Status::Active),
    ] {
        office.change(&world.sandbox, change).expect("changed");
    }
}

/// What Wellcome disputes on the value date of the 20th is taken out of its payments, and stays undecided.
pub fn disputed_in_time(world: &World) {
    let date = "2026-11-20".parse().expect("a date");
    let dispute = file_as(world, "wellcome", &terms_of(world, date, "wellcome", "earn", "0.02")).expect("filed");
    assert!(dispute.carved_out);
}

/// A part of what Wellcome owes by the statements of the 20th and the 21st is disputed: one is decided, one withdrawn, and one stays open.
pub fn disputed(world: &World, office: &Office) {
    let dates = ["2026-11-20", "2026-11-20", "2026-11-21"].map(|date| date.parse().expect("a date"));
    let [decided, withdrawn, _] =
        dates.map(|date| file_as(world, "wellcome", &terms_of(world, date, "wellcome", "earn", "0.01")).expect("filed"));
    says(world, "wellcome", Action::Withdraw, &withdrawn.filed.hash).expect("withdrawn");
    says(world, "pool", Action::Decline, &decided.filed.hash).expect("contested");
    office.change(&world.sandbox, decide(&decided, "0.01")).expect("decided");
}

/// What is open of the 21st is paid with the 22nd.
pub fn joined(world: &World, office: &Office) {
    let business_dates = ["2026-11-21", "2026-11-22"].map(|date| date.parse().expect("a date")).to_vec();
    office.change(&world.sandbox, Change::Join { business_dates }).expect("joined");
}

/// The 23rd is paid in USD.
pub fn converted(world: &World, office: &Office) {
    let rate = FxRate {
        currency: "HKD".parse().expect("a currency"),
        rate: amount("0.1281"),
    };
    let change = Change::Fx(FxTerms {
        business_date: "2026-11-23".parse().expect("a date"),
        payment_currency: "USD".parse().expect("a currency"),
        rates: vec![rate],
    });
    office.change(&world.sandbox, change).expect("in force");
}
