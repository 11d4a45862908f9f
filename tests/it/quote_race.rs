//! Quotes raced against rate changes: every exchange is at its own quote's rate, or refused as expired; none at another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use clearing::commands::demo::sandbox::Party;
use jiff::{Timestamp, ToSpan};
use partner_sdk::client::{Client, new_message_id};
use partner_sdk::{Body, Code, Message, MessageId, Receipt};
use tests::{Backend, World, earn, exchange, on_both, quote};

use crate::quotes::{publish, with_rate};

const MILES: &str = include_str!("networks/miles.toml");

on_both!(ten_thousand_quotes_raced_against_rate_changes);

const CLIENTS: usize = 8;
const ROUNDS: usize = 25;
const BATCH: usize = 50;
/// The clock moves whenever so many quotes were given.
const QUOTES_A_MOVE: usize = 400;
const MOVES: usize = CLIENTS * ROUNDS * BATCH / QUOTES_A_MOVE;
/// So a quote expires with the third move after it at the latest.
const SECONDS_A_MOVE: i64 = 20;
/// Every second move brings a lower one; over the middle third of the moves there is a bonus too.
const FIRST_NUMERATOR: u32 = 1000;
const BONUS_PERCENT: i64 = 15;

/// A quote that was given, and its exchange.
struct Offer {
    id: MessageId,
    member: String,
    receipt: Receipt,
}

/// What an exchange came to: the receipt of its quote, and its own, of acceptance or of rejection.
struct Done {
    offer: Receipt,
    outcome: Receipt,
}

/// What the clients and the publisher tell each other.
#[derive(Default)]
struct Progress {
    /// Quotes that were given.
    quotes: AtomicUsize,
    /// Moves of the clock.
    moves: AtomicUsize,
}

struct Trader {
    client: Client,
    bank: Party,
    clock: clearing::clock::Clock,
    progress: Arc<Progress>,
}

impl Trader {
    /// Posts one batch; each message is kept, so each has a receipt.
    async fn post(&self, bodies: impl Iterator<Item = Body>) -> Vec<(MessageId, Receipt)> {
        let now = self.clock.now();
        let message = |body| Message {
            id: new_message_id(),
            sender: self.bank.id.clone(),
            issued_at: now,
            occurred_at: now,
            body,
        };
        let messages: Vec<Message> = bodies.map(message).collect();
        let signed: Vec<String> = messages.iter().map(|m| m.sign(&self.bank.key)).collect();
        let answers = self.client.post_batch(&signed).await.expect("answers");
        let receipts = answers.into_iter().map(|answer| {
            let receipt = answer.receipt.expect("a receipt");
            self.client.verify_receipt(&receipt).expect("a good receipt")
        });
        messages.into_iter().map(|m| m.id).zip(receipts).collect()
    }

    async fn ask(&self, number: usize) -> Vec<Offer> {
        let given = self.post((0..BATCH).map(|_| quote("BANK", "MILES", "100"))).await;
        self.progress.quotes.fetch_add(BATCH, SeqCst);
        let offer = |(n, (id, receipt)): (usize, (MessageId, Receipt))| Offer {
            id,
            member: format!("m{}", (number + n) % CLIENTS),
            receipt,
        };
        given.into_iter().enumerate().map(offer).collect()
    }

    async fn take_up(&self, offers: Vec<Offer>) -> Vec<Done> {
        let bodies = offers.iter().map(|o| exchange("BANK", "MILES", &o.member, "100", &o.id));
        let outcomes = self.post(bodies).await;
        let done = |(offer, (_, outcome)): (Offer, _)| Done {
            offer: offer.receipt,
            outcome,
        };
        offers.into_iter().zip(outcomes).map(done).collect()
    }

    /// Asks for quotes and takes them up: at once, some rounds later, or when their time is surely over.
    async fn trade(self, number: usize) -> Vec<Done> {
        let (mut done, mut waiting) = (vec![], vec![]);
        for round in 0..ROUNDS {
            // The publisher keeps up, so that rates change among the quotes and not after them.
            while self.progress.quotes.load(SeqCst) > (self.progress.moves.load(SeqCst) + 2) * QUOTES_A_MOVE {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let delay = [0, 1, 0, 3, 2, 0, 6, 1][(round + number) % 8];
            waiting.push((round + delay, self.ask(number).await));
            let (due, later) = waiting.into_iter().partition(|(when, _)| *when <= round);
            waiting = later;
            for (_, offers) in due {
                done.extend(self.take_up(offers).await);
            }
        }
        for (_, offers) in waiting {
            done.extend(self.take_up(offers).await);
        }
        done
    }
}

/// The rates that are published, oldest first, and the bonus's period.
struct Published {
    rates: Vec<(Timestamp, u32)>,
    bonus: (Timestamp, Timestamp),
}

impl Published {
    /// What 100 points become at an instant, and the bonus: worked out apart from the ledger.
    fn expected(&self, at: Timestamp) -> (i64, i64) {
        let rate = self.rates.iter().rev().find(|(from, _)| *from <= at).expect("a rate").1;
        let in_force = self.bonus.0 <= at && at < self.bonus.1;
        (rate.into(), if in_force { i64::from(rate) * BONUS_PERCENT / 100 } else { 0 })
    }
}

/// Moves the clock and publishes rates as the quotes are given; returns what was published.
fn publish_while_they_trade(world: &World, progress: &Progress) -> Published {
    let (opening, mut network) = (world.now(), MILES.to_owned());
    let at = |moves: usize| {
        let seconds = SECONDS_A_MOVE * i64::try_from(moves).expect("few");
        opening.checked_add(seconds.seconds()).expect("a time")
    };
    let mut published = Published {
        rates: vec![(Timestamp::MIN, FIRST_NUMERATOR)],
        bonus: (at(MOVES / 3), at(MOVES * 2 / 3)),
    };
    let period = [published.bonus.0, published.bonus.1].map(|t| t.to_string());
    network = tests::with_bonus(&network, &BONUS_PERCENT.to_string())
        .replace(
            "valid_from = \"2026-01-01T00:00:00Z\"\nvalid_until",
            &format!("valid_from = \"{}\"\nvalid_until", period[0]),
        )
        .replace("2027-01-01T00:00:00Z", &period[1]);
    for moves in 1..=MOVES {
        while progress.quotes.load(SeqCst) < moves * QUOTES_A_MOVE {
            std::thread::sleep(Duration::from_micros(200));
        }
        if moves % 2 == 0 {
            // In force between this instant and the next, so that it starts with the move below.
            let (from, numerator) = (
                at(moves).checked_sub(1.second()).expect("a time"),
                FIRST_NUMERATOR - u32::try_from(moves).expect("few"),
            );
            network = with_rate(&network, numerator, from);
            publish(world, &network).expect("published while they trade");
            published.rates.push((from, numerator));
        }
        world.sandbox.clock.set(at(moves));
        progress.moves.store(moves, SeqCst);
    }
    published
}

fn ten_thousand_quotes_raced_against_rate_changes(backend: Backend) {
    let mut world = World::new(backend, MILES);
    for member in 0..CLIENTS {
        world
            .post("bank", earn("BANK", &format!("m{member}"), "1000000"))
            .expect("accepted");
    }
    let bank = world
        .sandbox
        .parties
        .get(&"bank".parse().expect("an id"))
        .expect("a partner")
        .clone();
    let progress = Arc::new(Progress::default());
    let traders: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let trader = Trader {
                client: world.sandbox.client(&bank.id).expect("a client"),
                bank: bank.clone(),
                clock: world.sandbox.clock.clone(),
                progress: progress.clone(),
            };
            world.runtime.spawn(trader.trade(number))
        })
        .collect();
    let published = publish_while_they_trade(&world, &progress);
    let done: Vec<Done> = traders
        .into_iter()
        .flat_map(|trader| world.runtime.block_on(trader).expect("a trader"))
        .collect();
    assert_eq!(done.len(), CLIENTS * ROUNDS * BATCH);
    let moved = judge(&done, &published);
    let held: i64 = (0..CLIENTS)
        .map(|n| world.points("airline", "MILES", &format!("m{n}")).parse::<i64>().expect("a number"))
        .sum();
    assert_eq!(held, moved, "the members hold what the receipts say");
}

/// Holds every quote to the rates published, and every exchange to its quote; returns the points credited.
fn judge(done: &[Done], published: &Published) -> i64 {
    let number = |receipt: &Receipt, name| receipt.fact(name).expect("a fact").parse::<i64>().expect("a number");
    let (mut rates, mut accepted, mut outlived, mut expired, mut moved) = (BTreeSet::new(), 0, 0, 0, 0);
    for Done { offer, outcome } in done {
        assert_eq!(offer.code, None);
        let offered = (number(offer, "credited"), number(offer, "bonus"));
        assert_eq!(offered, published.expected(offer.posted_at), "the rate in force when it was quoted");
        let ends: Timestamp = offer.fact("expires_at").expect("a fact").parse().expect("a time");
        assert_eq!(ends, offer.posted_at.checked_add(60.seconds()).expect("a time"));
        match outcome.code {
            None => {
                let credited = (number(outcome, "credited"), number(outcome, "bonus"));
                assert_eq!(credited, offered, "the quote's own rate");
                assert!(outcome.posted_at < ends, "after its time");
                accepted += 1;
                outlived += usize::from(published.expected(outcome.posted_at) != offered);
                moved += offered.0 + offered.1;
                rates.insert(offered);
            }
            Some(code) => {
                assert_eq!(code, Code::QuoteExpired);
                assert!(outcome.posted_at >= ends, "before its time");
                expired += 1;
            }
        }
    }
    println!(
        "{accepted} exchanged at {} rates, {outlived} of them at a rate since superseded; {expired} expired",
        rates.len()
    );
    assert!(rates.len() >= 5 && rates.contains(&(FIRST_NUMERATOR.into(), 0)), "{rates:?}");
    assert!(rates.iter().any(|(_, bonus)| *bonus > 0) && outlived >= 100 && expired >= 100);
    moved
}
