//! Buying, earning, spending and taking back at random, beside a model with arithmetic of its own; and in a second world the same with every reversal in
//! pieces, which must come to the same.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};
use partner_sdk::{Code, MessageId};
use tests::{Backend, World, burn, earn, on_both, prepay, reverse};

const BLOCKS: &str = include_str!("networks/prepaid.toml");

on_both!(at_random_and_in_pieces);

/// A version of an agreement as the network file has it: from when, micros for a tenth of a point, block and mark in tenths.
struct Version {
    from: &'static str,
    price: i128,
    prepaid: Option<(i64, i64)>,
}

const WELLCOME: [Version; 4] = [
    Version {
        from: "2026-01-01T00:00:00Z",
        price: 550,
        prepaid: Some((1000, 500)),
    },
    Version {
        from: "2026-11-20T04:00:00Z",
        price: 600,
        prepaid: Some((2500, 3000)),
    },
    Version {
        from: "2026-11-20T08:00:00Z",
        price: 510,
        prepaid: None,
    },
    Version {
        from: "2026-11-20T12:00:00Z",
        price: 550,
        prepaid: Some((100, 0)),
    },
];
const HANGSENG: [Version; 1] = [Version {
    from: "2026-01-01T00:00:00Z",
    price: 700,
    prepaid: Some((500, 1200)),
}];
const BURN: i128 = 480;

fn versions(partner: &str) -> &'static [Version] {
    if partner == "wellcome" { &WELLCOME } else { &HANGSENG }
}

fn version_at(partner: &str, at: Timestamp) -> usize {
    let started = |version: &&Version| version.from.parse::<Timestamp>().expect("a time") <= at;
    versions(partner).iter().filter(started).count() - 1
}

/// Something that may be taken back: what its points were, in the order in which they are given back (a version's block, or money at a price).
struct Done {
    partner: &'static str,
    member: usize,
    id: [MessageId; 2],
    parts: Vec<(Part, i64)>,
    reversed: i64,
}

#[derive(Clone, Copy)]
enum Part {
    Money(i128),
    Block(usize),
    Bought(usize),
}

/// What there must be.
#[derive(Default)]
struct Model {
    /// (partner, version) -> bought, left.
    blocks: BTreeMap<(&'static str, usize), (i64, i64)>,
    /// What a partner owes, in micros.
    owes: BTreeMap<&'static str, i128>,
    members: [i64; 3],
    warnings: BTreeMap<&'static str, usize>,
}

impl Model {
    fn left(&self, partner: &str) -> i64 {
        self.blocks
            .iter()
            .filter(|((p, _), _)| *p == partner)
            .map(|(_, (_, left))| left)
            .sum()
    }

    fn buy(&mut self, partner: &'static str, now: Timestamp, points: i64) -> Vec<(Part, i64)> {
        let version = version_at(partner, now);
        let block = self.blocks.entry((partner, version)).or_default();
        *block = (block.0 + points, block.1 + points);
        *self.owes.entry(partner).or_default() += i128::from(points) * versions(partner)[version].price;
        vec![(Part::Bought(version), points)]
    }

    fn earn(&mut self, partner: &'static str, member: usize, occurred_at: Timestamp, points: i64) -> Vec<(Part, i64)> {
        let (before, mut rest, mut parts) = (self.left(partner), points, vec![]);
        for ((_, version), (_, left)) in self.blocks.iter_mut().filter(|((p, _), _)| *p == partner) {
            let drawn = rest.min(*left);
            (*left, rest) = (*left - drawn, rest - drawn);
            parts.push((Part::Block(*version), drawn));
        }
        let version = &versions(partner)[version_at(partner, occurred_at)];
        let mark = version.prepaid.map_or(0, |p| p.1);
        *self.warnings.entry(partner).or_default() += usize::from(before >= mark && self.left(partner) < mark);
        *self.owes.entry(partner).or_default() += i128::from(rest) * version.price;
        self.members[member] += points;
        parts.push((Part::Money(version.price), rest));
        parts.reverse();
        parts
    }

    /// How much of something could be taken back now.
    fn most(&self, done: &Done) -> i64 {
        let rest = done.parts.iter().map(|(_, points)| points).sum::<i64>() - done.reversed;
        match done.parts[0].0 {
            Part::Bought(version) => rest.min(self.blocks[&(done.partner, version)].1),
            _ => rest,
        }
    }

    fn take_back(&mut self, done: &mut Done, points: i64) {
        let (mut skip, mut left) = (done.reversed, points);
        for (part, whole) in &done.parts {
            let passed = skip.min(*whole);
            let now = left.min(whole - passed);
            (skip, left) = (skip - passed, left - now);
            match *part {
                Part::Money(price) => *self.owes.entry(done.partner).or_default() -= i128::from(now) * price,
                Part::Block(version) => self.blocks.entry((done.partner, version)).or_default().1 += now,
                Part::Bought(version) => {
                    let block = self.blocks.entry((done.partner, version)).or_default();
                    *block = (block.0 - now, block.1 - now);
                    *self.owes.entry(done.partner).or_default() -= i128::from(now) * versions(done.partner)[version].price;
                }
            }
        }
        if !matches!(done.parts[0].0, Part::Bought(_)) {
            self.members[done.member] -= points;
        }
        done.reversed += points;
    }

    /// Whether a world is as it must be.
    fn check(&self, world: &World, context: &str) {
        for partner in ["wellcome", "hangseng", "ikea"] {
            let answer = |path: &str| -> serde_json::Value { world.runtime.block_on(world.client(partner).get(path)).expect(path) };
            let owes = answer("/v1/positions")["net"][0]["owes"].as_str().map_or(0, micros);
            assert_eq!(owes, self.owes.get(partner).copied().unwrap_or(0), "{partner} {context}");
            let seen = answer("/v1/prepaid")["blocks"].as_array().expect("a list").clone();
            let seen: Vec<_> = seen
                .iter()
                .map(|block| ["price", "bought", "left"].map(|name| block[name].as_str().expect("a text").to_owned()))
                .collect();
            let own = self.blocks.iter().filter(|((p, _), _)| *p == partner);
            let expected = own.map(|((_, version), (bought, left))| {
                let price = versions(partner)[*version].price * 10;
                [format!("0.{price:06}"), tenths(*bought), tenths(*left)]
            });
            assert_eq!(seen, expected.collect::<Vec<_>>(), "{partner} {context}");
        }
        for (member, points) in self.members.iter().enumerate() {
            assert_eq!(
                world.points("pool", "YUU", &format!("m{member}")),
                tenths(*points),
                "m{member} {context}"
            );
        }
    }
}

/// Points with their one decimal.
fn tenths(points: i64) -> String {
    let (sign, size) = (if points < 0 { "-" } else { "" }, points.abs());
    format!("{sign}{}.{}", size / 10, size % 10)
}

fn micros(text: &str) -> i128 {
    let digits: String = text.chars().filter(|c| *c != '.').collect();
    assert_eq!(text.split_once('.').map(|(_, d)| d.len()), Some(6), "{text}");
    digits.parse().expect("an amount")
}

fn at_random_and_in_pieces(backend: Backend) {
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed}");
    let mut state = seed;
    let mut draw = |n: i64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(state >> 33).expect("31 bits") % n
    };
    let mut worlds = [World::new(backend, BLOCKS), World::new(backend, BLOCKS)];
    let (mut model, mut done) = (Model::default(), Vec::<Done>::new());
    let mut kinds = [0; 5];
    for step in 0..120 {
        let context = format!("step {step}, SEED={seed}");
        worlds.iter().for_each(|world| world.wait(6.minutes()));
        let now = worlds[0].now();
        let partner = if draw(3) > 0 { "wellcome" } else { "hangseng" };
        let member = usize::try_from(draw(3)).expect("a member");
        let name = format!("m{member}");
        let kind = [0, 1, 1, 1, 2, 3, 3, 3, 4][usize::try_from(draw(9)).expect("a kind")];
        match kind {
            0 => {
                let Some((block, _)) = versions(partner)[version_at(partner, now)].prepaid else {
                    assert_eq!(
                        worlds[0].post(partner, prepay("YUU", "1000")).err(),
                        Some(Code::NotPrepaid),
                        "{context}"
                    );
                    continue;
                };
                let points = block * (1 + draw(6));
                let ids = worlds
                    .each_mut()
                    .map(|world| accepted(world.post(partner, prepay("YUU", &tenths(points))), &context));
                let parts = model.buy(partner, now, points);
                done.push(Done {
                    partner,
                    member,
                    id: ids,
                    parts,
                    reversed: 0,
                });
            }
            1 => {
                let most = if draw(4) == 0 { 6000 } else { 900 };
                let points = 1 + draw(most);
                let late = now.checked_sub(1.minutes() * draw(200)).expect("a time");
                let ids = worlds.each_mut().map(|world| {
                    let mut message = world.message(partner, earn("YUU", &name, &tenths(points)));
                    message.occurred_at = late;
                    accepted(world.send(&message), &context)
                });
                let parts = model.earn(partner, member, late, points);
                done.push(Done {
                    partner,
                    member,
                    id: ids,
                    parts,
                    reversed: 0,
                });
            }
            2 => {
                let points = 1 + draw(2000);
                let enough = model.members[member] >= points;
                for world in &mut worlds {
                    assert_eq!(world.post("ikea", burn("YUU", &name, &tenths(points))).is_ok(), enough, "{context}");
                }
                if enough {
                    model.members[member] -= points;
                    *model.owes.entry("ikea").or_default() -= i128::from(points) * BURN;
                }
            }
            3 => {
                let open: Vec<usize> = (0..done.len()).filter(|one| model.most(&done[*one]) > 0).collect();
                let Some(one) = open.get(usize::try_from(draw(100)).expect("small") % open.len().max(1)) else {
                    continue;
                };
                let target = &mut done[*one];
                let points = 1 + draw(model.most(target));
                accepted(worlds[0].post(target.partner, reverse(&target.id[0], &tenths(points))), &context);
                let mut left = points;
                while left > 0 {
                    let piece = 1 + draw(left);
                    accepted(worlds[1].post(target.partner, reverse(&target.id[1], &tenths(piece))), &context);
                    left -= piece;
                }
                model.take_back(target, points);
            }
            _ => {
                // One tenth too many is refused, and changes nothing.
                let Some(target) = done.last() else { continue };
                let too_many = tenths(model.most(target) + 1);
                let code = worlds[0].post(target.partner, reverse(&target.id[0], &too_many)).err();
                assert!(
                    matches!(code, Some(Code::ReversalExceeded | Code::ClawbackLimited)),
                    "{code:?} {context}"
                );
            }
        }
        kinds[usize::try_from(kind).expect("a kind")] += 1;
        model.check(&worlds[0], &context);
    }
    println!("purchases, earns, burns, reversals, refusals: {kinds:?}");
    model.check(&worlds[1], &format!("in pieces, SEED={seed}"));
    for world in &worlds {
        world.check_books();
        for partner in ["wellcome", "hangseng"] {
            let events = world
                .runtime
                .block_on(world.client(partner).events(0, std::time::Duration::ZERO))
                .expect("events");
            let told = events.iter().filter(|event| event.kind == "prepaid.reorder").count();
            assert_eq!(told, model.warnings.get(partner).copied().unwrap_or(0), "{partner} SEED={seed}");
        }
    }
    let settled = worlds.each_ref().map(|world| world.close().obligations);
    assert_eq!(settled[0], settled[1], "SEED={seed}");
}

fn accepted(receipt: Result<partner_sdk::Receipt, Code>, context: &str) -> MessageId {
    match receipt {
        Ok(receipt) => receipt.id.expect("an id"),
        Err(code) => panic!("{code}: {context}"),
    }
}
