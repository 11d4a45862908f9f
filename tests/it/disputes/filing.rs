//! Who disputes what, and what comes of it.

use jiff::civil::Date;
use partner_sdk::Code;
use partner_sdk::change::Change;
use partner_sdk::client::{ClientError, new_salt};
use partner_sdk::dispute::{Dispute, DisputeTerms, DisputedLine};
use partner_sdk::document::Action;
use partner_sdk::wire::Direction;
use tests::office::act;
use tests::{World, amount};

/// What Hang Seng disputes of its earns: HK$22.00 by one line.
pub fn terms(world: &World, date: Date, of: &str) -> DisputeTerms {
    terms_of(world, date, "hangseng", "earn", of)
}

/// What a partner disputes of what it owes by its line of a kind.
pub fn terms_of(world: &World, date: Date, partner: &str, kind: &str, of: &str) -> DisputeTerms {
    let statement = world.statement(&date.to_string(), partner);
    let mut owing = statement.lines.iter().filter(|line| line.direction == Direction::YouOwe);
    let line = owing.find(|line| line.kind == kind).expect("a line");
    DisputeTerms {
        business_date: date,
        partner: partner.parse().expect("an id"),
        counterparty: line.counterparty.clone(),
        line: DisputedLine {
            kind: line.kind.clone(),
            agreement: line.agreement.clone(),
            price: line.price.clone(),
        },
        message: None,
        amount: amount(of),
        currency: line.currency,
        reason: "a thousand points were never sold".into(),
        evidence_sha256: Some("ab".repeat(32)),
        salt: new_salt(),
    }
}

pub fn file_as(world: &World, partner: &str, terms: &DisputeTerms) -> Result<Dispute, Code> {
    let key = &world.sandbox.parties[&partner.parse().expect("an id")].key;
    let done = world.runtime.block_on(world.client(partner).dispute(terms, key));
    done.map_err(code)
}

pub fn code(error: ClientError) -> Code {
    match error {
        ClientError::Refused(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

pub fn file(world: &World, terms: &DisputeTerms) -> Result<Dispute, Code> {
    file_as(world, "hangseng", terms)
}

/// A party's signed word by the sandbox's clock.
pub fn says(world: &World, partner: &str, action: Action, hash: &str) -> Result<Dispute, Code> {
    let key = &world.sandbox.parties[&partner.parse().expect("an id")].key;
    let text = act(action, hash, world.now(), None, key);
    let client = world.client(partner);
    let done = world
        .runtime
        .block_on(client.post_unverified(&format!("/v1/disputes/{hash}/acts"), text));
    let done = done.map_err(code)?;
    Ok(serde_json::from_str(&done).expect("a dispute"))
}

pub fn concedes(world: &World, partner: &str, dispute: &Dispute) -> Result<Dispute, Code> {
    let key = &world.sandbox.parties[&partner.parse().expect("an id")].key;
    let done = world.runtime.block_on(world.client(partner).concede(dispute, key));
    done.map_err(code)
}

pub fn seen_by(world: &World, partner: &str, hash: &str) -> Result<Dispute, Code> {
    let done = world.runtime.block_on(world.client(partner).dispute_of(hash));
    done.map_err(code)
}

pub fn decide(dispute: &Dispute, upheld: &str) -> Change {
    Change::Decide {
        dispute: dispute.filed.hash.clone(),
        upheld: amount(upheld),
    }
}

/// What a partner's statement says of adjustments: whom it owes (`<`) or who owes it (`>`), and how much.
pub fn adjustments(world: &World, date: Date, partner: &str) -> Vec<String> {
    let statement = world.statement(&date.to_string(), partner);
    let lines = statement.lines.iter().filter(|line| line.kind == "adjustment");
    let shown = lines.map(|line| {
        let way = if line.direction == Direction::YouOwe { "<" } else { ">" };
        format!(
            "{way} {} {} {} {} {}",
            line.counterparty, line.amount, line.points, line.price, line.messages
        )
    });
    shown.collect()
}

pub fn events(world: &World, partner: &str) -> Vec<String> {
    let told = world
        .runtime
        .block_on(world.client(partner).events(0, std::time::Duration::ZERO))
        .expect("events");
    told.into_iter().map(|event| event.kind).collect()
}
