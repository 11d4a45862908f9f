//! Many stories at random, beside an oracle of their own: what members do over some days, with lots and holds that end, refunds before and after, exchanges that wait,
//! and messages on both sides of every cut-off. A world of stories is played several times, with the nights at other delays and the messages in other
//! groups: every outcome, balance and line is what the oracle says, and the files are the same to the byte.
//!
//! `SIMULATION_SEEDS` says how many stories each database plays, `SIMULATION_SEED` where they start, `SEED` plays one alone. What fails is made smaller before it is shown.

mod checks;
mod driver;
mod oracle;
mod rules;
mod shrink;
mod story;
mod teller;
mod timeline;

use std::collections::BTreeMap;

use tests::load::Draw;
use tests::{Backend, World, on_both};

use self::checks::Files;
use self::driver::{Delays, Driver};
use self::oracle::book::Book;
use self::rules::Rules;
use self::story::Story;
use self::timeline::Timeline;

on_both!(whenever_the_night_runs_and_however_messages_come);

/// How many stories share a clearinghouse.
const WORLD: u64 = 500;
/// How many stories there are without a wish.
const STORIES: u64 = 2_000;
const DAY: i64 = 86_400;
/// Seconds that the zone of the calendar is ahead.
const HONG_KONG: i64 = 8 * 3600;
/// When a world starts: 2026-11-20T02:00:00Z.
const START: i64 = 1_795_140_000;

fn whenever_the_night_runs_and_however_messages_come(backend: Backend) {
    let wish = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = wish("SEED") {
        let setting = Setting::of(seed / WORLD);
        let stories = vec![teller::tell(&setting.rules, &setting.timeline, seed)];
        return setting.hold(backend, stories);
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let first = wish("SIMULATION_SEED").unwrap_or(now.as_secs() % 10_000_000 * WORLD) / WORLD;
    let worlds = wish("SIMULATION_SEEDS").unwrap_or(STORIES).div_ceil(WORLD);
    println!("SIMULATION_SEED={}", first * WORLD);
    let mut seen = BTreeMap::new();
    for number in first..first + worlds {
        let setting = Setting::of(number);
        let seeds = number * WORLD..(number + 1) * WORLD;
        let stories: Vec<Story> = seeds.map(|seed| teller::tell(&setting.rules, &setting.timeline, seed)).collect();
        setting.count(&stories, &mut seen);
        setting.hold(backend, stories);
    }
    println!("{seen:?}");
}

/// A world's rules and time.
struct Setting {
    number: u64,
    rules: Rules,
    timeline: Timeline,
}

impl Setting {
    /// Those of a world.
    fn of(number: u64) -> Self {
        let mut draw = drawn(number ^ 0x5EED_0000_0000);
        let rules = Rules::draw(&mut draw);
        let timeline = Timeline::draw(&rules, &mut draw);
        Self { number, rules, timeline }
    }

    /// Counts what comes of each kind of message.
    fn count(&self, stories: &[Story], seen: &mut BTreeMap<String, usize>) {
        for story in stories {
            let expected = teller::expect(&self.rules, &self.timeline, story);
            *seen.entry("stories undone".to_owned()).or_default() += usize::from(expected.undone);
            for step in &story.steps {
                let outcome = expected.outcomes[&step.no].map_or_else(|code| code.as_str(), |()| "accepted");
                let kind = story.message(&self.rules, step, START).body.kind();
                *seen.entry(format!("{kind} {outcome}")).or_default() += 1;
            }
        }
    }

    /// Fails where something differs, and shows the smallest that does.
    fn hold(&self, backend: Backend, stories: Vec<Story>) {
        let Err(why) = self.caught(backend, &stories) else { return };
        println!("world {}: {why}\nlooking for the smallest that fails...", self.number);
        let (stories, why) = shrink::smallest(stories, why, |stories| self.caught(backend, stories).err());
        println!("{}", self.rules.network());
        for story in &stories {
            for step in &story.steps {
                println!("{} {step:?} at {}", story.seed, story::instant(self.timeline.ticks[step.tick]));
            }
        }
        let seeds: Vec<u64> = stories.iter().map(|story| story.seed).collect();
        panic!(
            "{why}\nseeds {seeds:?}; to play one again: SEED={} cargo test ... -- simulation::",
            seeds[0]
        );
    }

    /// Plays the stories; books that don't balance are found as the world goes, by a panic.
    fn caught(&self, backend: Backend, stories: &[Story]) -> Result<(), String> {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.play(backend, stories)));
        played.unwrap_or_else(|panic| Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned())))
    }

    /// Plays the stories in every way.
    fn play(&self, backend: Backend, stories: &[Story]) -> Result<(), String> {
        let expected: Vec<_> = stories
            .iter()
            .map(|story| teller::expect(&self.rules, &self.timeline, story))
            .collect();
        // Whatever came between: what was undone has never been.
        for (story, expected) in stories.iter().zip(&expected).filter(|(_, expected)| expected.undone) {
            let left = (expected.end, expected.book.left());
            if left != ([(0, 0, 0); 3], vec![]) {
                return Err(format!("seed {}: all was undone, and there is left {left:?}", story.seed));
            }
        }
        let mut book = Book::default();
        expected.iter().for_each(|one| book.add(&one.book));
        let mut before: Option<Files> = None;
        for (run, delays) in [Delays::AtOnce, Delays::Random].into_iter().enumerate() {
            let world = World::new(backend, &self.rules.network());
            let seed = self.number * 8 + run as u64;
            Driver::new(&world, (&self.rules, &self.timeline), (stories, &expected), seed, delays)
                .play()
                .map_err(|why| format!("{backend:?}, the night {delays:?}: {why}"))?;
            let files = crate::january::statements(&world.statements());
            checks::statements(&files, &book, &self.rules, &self.timeline)
                .map_err(|why| format!("{backend:?}, the night {delays:?}: {why}"))?;
            if let Some(before) = &before {
                checks::equal(before, &files)?;
            }
            before = Some(files);
        }
        Ok(())
    }
}

/// Numbers from a seed; seeds that are neighbours have nothing in common.
fn drawn(seed: u64) -> Draw {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    Draw::from(mixed ^ (mixed >> 31))
}

fn chance(draw: &mut Draw, percent: u64) -> bool {
    draw.upto(100) <= percent
}

fn pick<T: Clone>(draw: &mut Draw, all: &[T]) -> T {
    let place = draw.upto(all.len() as u64) - 1;
    all[usize::try_from(place).expect("small")].clone()
}
