//! A made-up trading day: a pool of five brands, a bank with points of its own, a miles programme.

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

const BRANDS: [&str; 5] = ["grocer", "pharmacy", "cafe", "fuel", "home"];
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
    let points_programme = ProgrammeCode::new("POINTS")?;
    let brand = PartnerId::new(random.pick(&BRANDS))?;
    let bank = PartnerId::new("bank")?;
    let mut issued_at = now;
    let earn_at_brand = |random: &mut Random, member: MemberNumber| -> anyhow::Result<Body> {
        let cents = random.between(800, 90_000);
        Ok(Body::Earn {
            programme: points_programme.clone(),
            member,
            points: amount(cents / 100, 0)?,
            spend: Some(amount(cents, 2)?),
        })
    };
    let (sender, body) = match random.between(1, 100) {
        1..=56 => (brand, earn_at_brand(random, member)?),
        57..=66 => {
            let points = amount(random.between(50, 4000), 0)?;
            (
                bank,
                Body::Earn {
                    programme: points_programme,
                    member,
                    points,
                    spend: None,
                },
            )
        }
        67..=74 => (
            bank,
            Body::Earn {
                programme: ProgrammeCode::new("BANK")?,
                member,
                points: amount(random.between(100, 3000), 0)?,
                spend: None,
            },
        ),
        75..=83 => (
            brand,
            Body::Burn {
                programme: points_programme,
                member,
                points: amount(random.between(1, 15) * 100, 0)?,
            },
        ),
        84..=87 => (
            brand,
            Body::Authorise {
                programme: points_programme,
                member,
                points: amount(random.between(1, 8) * 100, 0)?,
                expires_at: None,
            },
        ),
        88..=90 if !earlier.holds.is_empty() => {
            let (sender, authorisation, points) = earlier
                .holds
                .swap_remove(random.between(0, earlier.holds.len() as u64 - 1) as usize);
            let void = random.between(1, 4) == 1;
            (
                sender,
                if void {
                    Body::Void { authorisation }
                } else {
                    Body::Capture {
                        authorisation,
                        points: amount(points, 0)?,
                    }
                },
            )
        }
        91..=94 => {
            let (programme, to_programme) = (ProgrammeCode::new("BANK")?, ProgrammeCode::new("MILES")?);
            let points = amount(random.between(100, 2000), 0)?;
            (
                bank,
                Body::Exchange {
                    programme,
                    member: member.clone(),
                    to_programme,
                    to_member: member,
                    points,
                    quote: MessageId::new(format!("{id}-quote"))?,
                },
            )
        }
        95..=98 if !earlier.earns.is_empty() => {
            let (sender, message, cents) = earlier
                .earns
                .swap_remove(random.between(0, earlier.earns.len() as u64 - 1) as usize);
            (
                sender,
                Body::Reverse {
                    message,
                    quantity: Quantity::Spend(amount(cents.div_ceil(2), 2)?),
                },
            )
        }
        99 => {
            // A till that was offline for too long.
            issued_at = now.checked_sub(72.hours())?;
            (brand, earn_at_brand(random, member)?)
        }
        _ => (brand, earn_at_brand(random, member)?),
    };
    Ok(Message {
        id,
        sender,
        issued_at,
        occurred_at: issued_at,
        body,
    })
}
