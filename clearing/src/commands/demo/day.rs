//! A made-up trading day: two pools that share five brands, a bank with points of its own, a miles programme. What is earned here is spent there, so that debts go in circles and netting pays.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::{Timestamp, ToSpan};
use partner_sdk::wire::Quantity;
use partner_sdk::{Amount, Body, MemberNumber, Message, MessageId, PartnerId, ProgrammeCode};

use super::random::Random;
use super::report::Report;
use super::sandbox::Sandbox;
use super::traffic::Traffic;
use crate::commands::progress::bar;
use ledger::network::Network;

/// A shop or chain: whose points it gives, and whose it takes.
struct Brand {
    id: &'static str,
    gives: &'static str,
    takes: [&'static str; 2],
}

const fn brand(id: &'static str, gives: &'static str, takes: [&'static str; 2]) -> Brand {
    Brand { id, gives, takes }
}

const BRANDS: [Brand; 5] = [
    brand("grocer", "POINTS", ["CLUB", "MILES"]),
    brand("pharmacy", "POINTS", ["CLUB", "POINTS"]),
    brand("cafe", "CLUB", ["POINTS", "MILES"]),
    brand("fuel", "CLUB", ["POINTS", "MILES"]),
    brand("home", "CLUB", ["POINTS", "MILES"]),
];
/// Exchanges by the issuer that gives: the programmes, and the most points at once.
const EXCHANGES: [(&str, &str, &str, u64); 4] = [
    ("bank", "BANK", "MILES", 500),
    ("airline", "MILES", "BANK", 6000),
    ("pool", "POINTS", "CLUB", 2000),
    ("club", "CLUB", "POINTS", 2000),
];
/// Half hours from 08:00 to 22:00.
const STEPS: u64 = 28;
const EVENTS_A_STEP: u64 = 110;
const MEMBERS: u64 = 150;

/// What can still be reversed or captured, by sender.
#[derive(Default)]
struct Earlier {
    earns: Vec<(PartnerId, MessageId, u64)>,
    holds: Vec<(PartnerId, MessageId, u64)>,
}

/// Plays the day, closes it, and returns what came of it.
pub async fn play(sandbox: &mut Sandbox, network: &Network, seed: u64) -> anyhow::Result<Report> {
    let traffic = Traffic::new(sandbox)?;
    let mut report = Report::new(network);
    let (mut random, mut earlier) = (Random::new(seed), Earlier::default());
    let bar = bar("events", STEPS * EVENTS_A_STEP);
    let opening = sandbox.clock.now();
    for step in 0..STEPS {
        let now = opening.checked_add((step * 30).cast_signed().minutes())?;
        sandbox.pass(now)?;
        let mut by_sender: BTreeMap<PartnerId, Vec<Message>> = BTreeMap::new();
        for event in 0..EVENTS_A_STEP {
            let id = MessageId::new(format!("day-{step:02}-{event:03}"))?;
            let message = draw(&mut random, &mut earlier, id, now)?;
            let own = by_sender.entry(message.sender.clone()).or_default();
            own.extend(quote_for(&message));
            own.push(message);
        }
        // One sender after the other, so that the same seed always gives the same day.
        for (sender, messages) in by_sender {
            let (tally, accepted) = traffic.post(sandbox, &sender, &messages).await?;
            report.tally.merge(&tally);
            messages
                .into_iter()
                .zip(accepted)
                .filter(|(_, accepted)| *accepted)
                .for_each(|(message, _)| earlier.remember(message));
        }
        bar.inc(EVENTS_A_STEP);
    }
    bar.finish_and_clear();
    let calendar = &network.calendar;
    let date = calendar.business_date(opening)?;
    sandbox.pass(calendar.cut_off_at(date)?)?;
    report.close(sandbox)?;
    report.sum_up(sandbox, date, date)?;
    Ok(report)
}

impl Earlier {
    fn remember(&mut self, message: Message) {
        match message.body {
            Body::Earn { spend: Some(spend), .. } => self.earns.extend(
                spend
                    .to_units(2)
                    .ok()
                    .map(|cents| (message.sender, message.id, cents.unsigned_abs())),
            ),
            Body::Authorise { points, .. } => self.holds.extend(
                points
                    .to_units(0)
                    .ok()
                    .map(|points| (message.sender, message.id, points.unsigned_abs())),
            ),
            _ => {}
        }
    }
}

/// The quote that an exchange names; it is asked for in the same breath.
fn quote_for(exchange: &Message) -> Option<Message> {
    let Body::Exchange {
        programme,
        to_programme,
        points,
        quote,
        ..
    } = &exchange.body
    else {
        return None;
    };
    let body = Body::Quote {
        programme: programme.clone(),
        to_programme: to_programme.clone(),
        points: *points,
    };
    Some(Message {
        id: quote.clone(),
        body,
        ..exchange.clone()
    })
}

fn amount(units: u64, decimals: u32) -> anyhow::Result<Amount> {
    Amount::from_units(i64::try_from(units)?, decimals).context("an amount below zero")
}

/// Draws one event.
fn draw(random: &mut Random, earlier: &mut Earlier, id: MessageId, now: Timestamp) -> anyhow::Result<Message> {
    let member = MemberNumber::new(format!("M{:04}", random.between(1, MEMBERS)))?;
    let brand = random.pick(&BRANDS);
    let mut issued_at = now;
    let (sender, body) = match random.between(1, 100) {
        1..=40 => purchase(random, brand, member)?,
        41..=46 => earn("bank", "POINTS", member, random.between(50, 4000))?,
        47..=54 => earn("bank", "BANK", member, random.between(100, 3000))?,
        55..=58 => earn("airline", "MILES", member, random.between(500, 4000))?,
        59..=74 => spend(random, brand, member, false)?,
        75..=78 => spend(random, brand, member, true)?,
        79..=81 if !earlier.holds.is_empty() => {
            let (sender, authorisation, points) = take(random, &mut earlier.holds);
            let body = match random.between(1, 4) {
                1 => Body::Void { authorisation },
                _ => Body::Capture {
                    authorisation,
                    points: amount(points, 0)?,
                },
            };
            (sender, body)
        }
        82..=92 => exchange(random, member, &id)?,
        93..=97 if !earlier.earns.is_empty() => {
            let (sender, message, cents) = take(random, &mut earlier.earns);
            let quantity = Quantity::Spend(amount(cents.div_ceil(2), 2)?);
            (sender, Body::Reverse { message, quantity })
        }
        99 => {
            // A till that was offline for too long.
            issued_at = now.checked_sub(72.hours())?;
            purchase(random, brand, member)?
        }
        _ => purchase(random, brand, member)?,
    };
    Ok(Message {
        id,
        sender,
        issued_at,
        occurred_at: issued_at,
        body,
    })
}

/// One of what is still open; there is one.
fn take<T>(random: &mut Random, open: &mut Vec<T>) -> T {
    open.swap_remove(random.between(0, open.len() as u64 - 1) as usize)
}

fn earn(sender: &str, programme: &str, member: MemberNumber, points: u64) -> anyhow::Result<(PartnerId, Body)> {
    let body = Body::Earn {
        programme: ProgrammeCode::new(programme)?,
        member,
        points: amount(points, 0)?,
        spend: None,
    };
    Ok((PartnerId::new(sender)?, body))
}

/// A point for each whole dollar.
fn purchase(random: &mut Random, brand: &Brand, member: MemberNumber) -> anyhow::Result<(PartnerId, Body)> {
    let cents = random.between(800, 90_000);
    let body = Body::Earn {
        programme: ProgrammeCode::new(brand.gives)?,
        member,
        points: amount(cents / 100, 0)?,
        spend: Some(amount(cents, 2)?),
    };
    Ok((PartnerId::new(brand.id)?, body))
}

/// Points for goods, at once or as a hold.
fn spend(random: &mut Random, brand: &Brand, member: MemberNumber, held: bool) -> anyhow::Result<(PartnerId, Body)> {
    let programme = ProgrammeCode::new(random.pick(&brand.takes))?;
    let hundreds = if programme.as_str() == "MILES" { 30 } else { 15 };
    let points = amount(random.between(1, hundreds) * 100, 0)?;
    let body = match held {
        true => Body::Authorise {
            programme,
            member,
            points,
            expires_at: None,
        },
        false => Body::Burn { programme, member, points },
    };
    Ok((PartnerId::new(brand.id)?, body))
}

fn exchange(random: &mut Random, member: MemberNumber, id: &MessageId) -> anyhow::Result<(PartnerId, Body)> {
    let (issuer, from, to, most) = random.pick(&EXCHANGES);
    let body = Body::Exchange {
        programme: ProgrammeCode::new(from)?,
        member: member.clone(),
        to_programme: ProgrammeCode::new(to)?,
        to_member: member,
        points: amount(random.between(*most / 5, *most), 0)?,
        quote: MessageId::new(format!("{id}-quote"))?,
    };
    Ok((PartnerId::new(issuer)?, body))
}
