//! Plays stories through the wire, grouped at random, the night at random delays.

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::join_all;
use partner_sdk::wire::{Answer, Outcome, write_batch};
use partner_sdk::{Code, Message};
use tests::World;
use tests::load::Draw;

use super::rules::Rules;
use super::story::{Story, instant};
use super::teller::{Expected, Points};
use super::timeline::Timeline;
use super::{chance, drawn};

/// How one run differs from another: when nights are, and what is sent together.
#[derive(Debug, Clone, Copy)]
pub enum Delays {
    /// The night runs at the instant of the cut-off, before any message.
    AtOnce,
    /// At each tick it may run or not, also while messages are posted, so that several windows wait.
    Random,
}

/// Which step of which story.
type Place = (usize, usize);

/// A run.
pub struct Driver<'a> {
    /// The clearinghouse.
    pub world: &'a World,
    /// The rules.
    pub rules: &'a Rules,
    /// When.
    pub timeline: &'a Timeline,
    /// What happens.
    pub stories: &'a [Story],
    /// What must come of it.
    pub expected: &'a [Expected],
    draw: Draw,
    delays: Delays,
    /// Windows whose night has been.
    nights: usize,
}

impl<'a> Driver<'a> {
    /// Ready to play; `seed` decides about delays and groups.
    pub fn new(
        world: &'a World,
        (rules, timeline): (&'a Rules, &'a Timeline),
        (stories, expected): (&'a [Story], &'a [Expected]),
        seed: u64,
        delays: Delays,
    ) -> Self {
        Self {
            world,
            rules,
            timeline,
            stories,
            expected,
            draw: drawn(seed),
            delays,
            nights: 0,
        }
    }

    /// Plays everything, then lets all lots and holds end. The first difference is the error.
    pub fn play(&mut self) -> Result<(), String> {
        let mut queues: BTreeMap<usize, Vec<VecDeque<usize>>> = BTreeMap::new();
        for (number, story) in self.stories.iter().enumerate() {
            for (place, step) in story.steps.iter().enumerate() {
                let tick = queues.entry(step.tick).or_insert_with(|| vec![VecDeque::new(); self.stories.len()]);
                tick[number].push_back(place);
            }
        }
        for (tick, at) in self.timeline.ticks.iter().copied().enumerate() {
            self.pass(at)?;
            if let Some(queue) = queues.remove(&tick) {
                let acting: Vec<usize> = (0..queue.len()).filter(|number| !queue[*number].is_empty()).collect();
                self.look(&acting, |expected| expected.before[&tick])?;
                self.post_all(queue, at)?;
                self.look(&acting, |expected| expected.balances[&tick])?;
            }
        }
        self.pass(self.timeline.end)?;
        self.night()?;
        self.balances((0..self.stories.len()).map(|number| (number, self.expected[number].end)).collect())
    }

    /// Moves the clock, with the nights that are to be on the way.
    fn pass(&mut self, to: i64) -> Result<(), String> {
        if matches!(self.delays, Delays::AtOnce) {
            while self.timeline.windows[self.nights].1 <= to {
                self.world.sandbox.clock.set(instant(self.timeline.windows[self.nights].1));
                self.night()?;
            }
        }
        self.world.sandbox.clock.set(instant(to));
        if matches!(self.delays, Delays::Random) && chance(&mut self.draw, 8) {
            self.night()?;
        }
        Ok(())
    }

    fn night(&mut self) -> Result<(), String> {
        self.world
            .sandbox
            .close_due()
            .map_err(|error| format!("the night failed: {error:#}"))?;
        let now = self.world.now().as_second();
        self.nights = self.timeline.windows.iter().filter(|(_, cut_off)| *cut_off <= now).count();
        Ok(())
    }

    /// Posts what is queued for a tick: each story in its order, the stories in any.
    fn post_all(&mut self, mut queue: Vec<VecDeque<usize>>, at: i64) -> Result<(), String> {
        while queue.iter().any(|steps| !steps.is_empty()) {
            let groups = self.groups(&mut queue);
            let meanwhile = matches!(self.delays, Delays::Random) && chance(&mut self.draw, 3);
            let answers = std::thread::scope(|scope| {
                let night = meanwhile.then(|| scope.spawn(|| self.world.sandbox.close_due().map(drop)));
                let answers = self
                    .world
                    .runtime
                    .block_on(join_all(groups.iter().map(|group| self.send(group, at))));
                night.map_or(Ok(()), |night| night.join().expect("the night's thread"))?;
                anyhow::Ok(answers)
            });
            for (group, answers) in groups.iter().zip(answers.map_err(|error| format!("the night failed: {error:#}"))?) {
                self.compare(group, &answers?)?;
            }
            if meanwhile {
                self.night()?;
            }
        }
        Ok(())
    }

    /// Takes groups from the queue that may be sent at the same time: none has a story that another has.
    fn groups(&mut self, queue: &mut [VecDeque<usize>]) -> Vec<Group> {
        let mut runs: BTreeMap<&'static str, Vec<Vec<Place>>> = BTreeMap::new();
        let skip = 10 * (self.draw.upto(4) - 1);
        for (number, steps) in queue.iter_mut().enumerate() {
            let Some(sender) = steps.front().map(|place| self.stories[number].steps[*place].sender) else {
                continue;
            };
            if chance(&mut self.draw, skip) {
                continue;
            }
            let (most, mut run) = (self.draw.upto(5), vec![]);
            while let Some(place) = steps.front().copied() {
                if self.stories[number].steps[place].sender != sender || run.len() as u64 == most {
                    break;
                }
                steps.pop_front();
                run.push((number, place));
            }
            runs.entry(sender).or_default().push(run);
        }
        let mut groups = vec![];
        for (sender, mut runs) in runs {
            shuffle(&mut self.draw, &mut runs);
            while !runs.is_empty() {
                let how = match self.draw.upto(10) {
                    1 => How::Single,
                    2..=7 => How::Batch,
                    _ => How::Signed,
                };
                let most = if how == How::Single { 1 } else { self.draw.upto(150) };
                let taken = runs.len().min(usize::try_from(most).expect("small"));
                let places = runs.drain(..taken).flatten().collect();
                groups.push(Group { sender, how, places });
            }
        }
        groups
    }

    async fn send(&self, group: &Group, at: i64) -> Result<Vec<Answer>, String> {
        let message = |(story, step): &Place| {
            let story = &self.stories[*story];
            story.message(self.rules, &story.steps[*step], at)
        };
        let messages: Vec<Message> = group.places.iter().map(message).collect();
        let client = self.world.client(group.sender);
        let signed = || messages.iter().map(|message| self.world.sign(message));
        let answers = match group.how {
            How::Single => {
                let mut answers = vec![];
                for jws in signed() {
                    answers.push(client.post(&jws).await.map_err(|error| error.to_string())?);
                }
                return Ok(answers);
            }
            How::Batch => client.post_batch(&signed().collect::<Vec<_>>()).await,
            How::Signed => {
                let key = &self.world.sandbox.parties[&messages[0].sender].key;
                client.post_signed_batch(&write_batch(&messages, key)).await
            }
        };
        answers.map_err(|error| error.to_string())
    }

    fn compare(&self, group: &Group, answers: &[Answer]) -> Result<(), String> {
        for ((story, step), answer) in group.places.iter().zip(answers) {
            let (expected, story) = (&self.expected[*story], &self.stories[*story]);
            let step = &story.steps[*step];
            let found = match (answer.outcome, &answer.problem) {
                (Some(Outcome::Accepted), None) => Ok(()),
                (_, Some(problem)) => Err(problem.code),
                _ => return Err("an answer without outcome and problem".to_owned()),
            };
            let expected: Result<(), Code> = expected.outcomes[&step.no];
            if found != expected {
                let at = instant(self.timeline.ticks[step.tick]);
                return Err(format!(
                    "seed {}, {step:?} at {at}: {found:?}, the oracle says {expected:?}",
                    story.seed
                ));
            }
        }
        Ok(())
    }

    /// Asks for some of the balances of those who act.
    fn look(&mut self, acting: &[usize], expected: impl Fn(&Expected) -> [Points; 3]) -> Result<(), String> {
        let mut asked = vec![];
        for number in acting {
            if self.stories.len() < 4 || chance(&mut self.draw, 10) {
                asked.push((*number, expected(&self.expected[*number])));
            }
        }
        self.balances(asked)
    }

    /// Compares balances, which are the same whether the night has come by or not.
    fn balances(&self, asked: Vec<(usize, [Points; 3])>) -> Result<(), String> {
        for chunk in asked.chunks(16) {
            let found = self
                .world
                .runtime
                .block_on(join_all(chunk.iter().map(|(number, _)| self.ask(*number))));
            for ((number, expected), found) in chunk.iter().zip(found) {
                for (programme, (expected, found)) in expected.iter().zip(found?).enumerate() {
                    if *expected != found {
                        let (seed, at, code) = (self.stories[*number].seed, self.world.now(), self.rules.programmes[programme].code);
                        return Err(format!(
                            "seed {seed}, {code} at {at}: (balance, held, available) is {found:?}, the oracle says {expected:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, number: usize) -> Result<Vec<Points>, String> {
        let mut all = vec![];
        for programme in &self.rules.programmes[..3] {
            let path = format!("/v1/accounts/{}/{}", programme.code, self.stories[number].member());
            let answer = self.world.client(programme.issuer).get::<serde_json::Value>(&path).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let field = |name: &str| answer[name].as_str().and_then(|text| text.parse::<i64>().ok()).expect("points");
            all.push((field("balance"), field("held"), field("available")));
        }
        Ok(all)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Single,
    Batch,
    Signed,
}

/// Messages of one sender that go together.
struct Group {
    sender: &'static str,
    how: How,
    places: Vec<Place>,
}

fn shuffle<T>(draw: &mut Draw, all: &mut [T]) {
    for last in (1..all.len()).rev() {
        let other = usize::try_from(draw.upto(last as u64 + 1) - 1).expect("small");
        all.swap(last, other);
    }
}
