//! What a client has seen of the log.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::error::LogFault;
use crate::log::{Checkpoint, Hash};

/// How long heads that came with receipts may wait until they are held to the newest one.
const EVERY: Duration = Duration::from_secs(10);
/// For how long looks at a head may fail.
const PATIENCE: Duration = Duration::from_secs(600);
/// How many are held to the newest one at once, so that few tiles are needed: where more wait, the next look comes after a second.
const AT_ONCE: usize = 64;
/// How long between two looks at least, unless so many wait that whoever posts looks first.
const REST: Duration = Duration::from_secs(1);
/// So many.
const CROWD: usize = 4096;
/// So many that nothing is posted any more before a look has succeeded. What comes with answers that are on their way is taken all the same.
const FULL: usize = 65_536;

/// A verified head, with its signed text.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) text: String,
}

/// What makes two heads the same.
type Key = (u64, Hash);

impl Head {
    pub(super) fn new(checkpoint: &Checkpoint, text: &str) -> Self {
        Self {
            size: checkpoint.size,
            root: checkpoint.root,
            text: text.to_owned(),
        }
    }

    fn key(&self) -> Key {
        (self.size, self.root)
    }
}

/// What was seen of the log.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The heads that no other is known to continue: the last one, and those that wait until they are held to the newest.
    open: BTreeMap<Key, Open>,
    /// The newest head that continues all that was seen and isn't open.
    last: Option<Key>,
    /// How many turns were given out.
    turns: u64,
    tried: Option<Instant>,
    fault: Option<LogFault>,
}

#[derive(Debug)]
struct Open {
    head: Head,
    /// Who came first, or was looked at least lately, is next.
    turn: u64,
    /// When a look at it failed first.
    failing: Option<Instant>,
}

impl Seen {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What was seen before. As soon as anything else is seen, it is time to look.
    pub(super) fn kept(heads: Vec<Head>) -> Result<Self, LogFault> {
        let seen = Self::default();
        seen.note(heads)?;
        seen.lock().tried = None;
        Ok(seen)
    }

    /// The texts of the open heads, the last one first, with an empty line between them.
    pub(super) fn text(&self) -> Option<String> {
        let state = self.lock();
        let last = state.last.and_then(|last| state.open.get(&last))?;
        let heads = std::iter::once(last).chain(state.waiting().map(|(_, open)| open));
        let texts: Vec<&str> = heads.map(|open| open.head.text.as_str()).collect();
        Some(texts.join("\n"))
    }

    /// An error once a fault was found.
    pub(super) fn sound(&self) -> Result<(), LogFault> {
        self.lock().sound()
    }

    /// Remembers heads; the first one ever is believed, and what comes after is held to it.
    pub(super) fn note(&self, heads: impl IntoIterator<Item = Head>) -> Result<(), LogFault> {
        let mut state = self.lock();
        for head in heads {
            if state.last.is_none() {
                state.tried = Some(Instant::now());
            }
            state.keep(head);
        }
        state.sound()
    }

    /// Whether it is time to look. Who is told so looks, and nobody else meanwhile.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let waiting = state.open.len().saturating_sub(1);
        let rest = if waiting > AT_ONCE { REST } else { EVERY };
        let rested = state.tried.is_none_or(|tried| now.duration_since(tried) >= rest);
        let due = waiting > 0 && (rested || waiting > CROWD);
        if due {
            state.tried = Some(now);
        }
        due
    }

    /// Whether as many heads wait as are kept.
    pub(super) fn is_full(&self) -> bool {
        self.lock().open.len() > FULL
    }

    /// What a newer head is to be held to: the last one, and of those that wait the next in turn.
    pub(super) fn begin(&self, now: Instant) -> Vec<Head> {
        let mut state = self.lock();
        state.tried = Some(now);
        let mut next: Vec<(u64, Key)> = state.waiting().map(|(key, open)| (open.turn, *key)).collect();
        next.sort_unstable();
        next.truncate(AT_ONCE);
        let keys = state.last.into_iter().chain(next.into_iter().map(|(_, key)| key));
        keys.filter_map(|key| state.take_turn(key)).collect()
    }

    /// All these are continued by `head`, which was noted. It is the last one, unless another look has found a last one meanwhile: to that it wasn't held, and waits.
    pub(super) fn proved(&self, held: &[Head], head: &Head) -> Result<(), LogFault> {
        let mut state = self.lock();
        for one in held.iter().chain([head]) {
            if let Some(fault) = state.other(one).map(|other| forked(one, other)) {
                state.found(fault);
            }
        }
        let is_next = held.iter().any(|one| Some(one.key()) == state.last);
        for one in held.iter().filter(|one| one.key() != head.key()) {
            state.open.remove(&one.key());
        }
        if is_next {
            state.keep(head.clone());
            state.last = Some(head.key());
            state.open.entry(head.key()).and_modify(|open| open.failing = None);
        }
        state.sound()
    }

    /// A look at these gave no proof. It is a fault where one did so long ago already, and none has succeeded since.
    pub(super) fn failed(&self, held: &[Head], now: Instant) {
        let mut state = self.lock();
        let mut overdue = None;
        for one in held {
            if let Some(open) = state.open.get_mut(&one.key()) {
                let since = *open.failing.get_or_insert(now);
                if now.duration_since(since) >= PATIENCE {
                    overdue.get_or_insert(&one.text);
                }
            }
        }
        if let Some(earlier) = overdue.cloned() {
            state.found(LogFault::Unproven { earlier });
        }
    }

    pub(super) fn fault(&self, fault: LogFault) -> LogFault {
        self.lock().found(fault)
    }
}

impl State {
    fn waiting(&self) -> impl Iterator<Item = (&Key, &Open)> {
        self.open.iter().filter(|(key, _)| Some(**key) != self.last)
    }

    fn sound(&self) -> Result<(), LogFault> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn keep(&mut self, head: Head) {
        if let Some(fault) = self.other(&head).map(|other| forked(other, &head)) {
            self.found(fault);
        }
        let (key, failing) = (head.key(), None);
        self.last.get_or_insert(key);
        self.turns += 1;
        let turn = self.turns;
        self.open.entry(key).or_insert(Open { head, turn, failing });
    }

    /// One of the same size with another root, which can't be of the same log.
    fn other(&self, head: &Head) -> Option<&Head> {
        let of_its_size = (head.size, Hash::from_bytes([0; 32]))..=(head.size, Hash::from_bytes([0xff; 32]));
        let mut known = self.open.range(of_its_size).map(|(_, open)| &open.head);
        known.find(|known| known.root != head.root)
    }

    fn take_turn(&mut self, key: Key) -> Option<Head> {
        self.turns += 1;
        let open = self.open.get_mut(&key)?;
        open.turn = self.turns;
        Some(open.head.clone())
    }

    /// The first fault stays.
    fn found(&mut self, fault: LogFault) -> LogFault {
        self.fault.get_or_insert(fault).clone()
    }
}

pub(super) fn forked(earlier: &Head, later: &Head) -> LogFault {
    LogFault::Forked {
        earlier: earlier.text.clone(),
        later: later.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64, root: u8) -> Head {
        Head {
            size,
            root: Hash::from_bytes([root; 32]),
            text: format!("{size} {root}"),
        }
    }

    fn sizes(heads: &[Head]) -> Vec<u64> {
        heads.iter().map(|head| head.size).collect()
    }

    fn last(seen: &Seen) -> Option<u64> {
        seen.lock().last.map(|(size, _)| size)
    }

    fn waiting(seen: &Seen) -> Vec<u64> {
        seen.lock().waiting().map(|((size, _), _)| *size).collect()
    }

    /// A look that finds this head, and that it continues what it is held to.
    fn look(seen: &Seen, found: Head, now: Instant) -> Vec<u64> {
        let held = seen.begin(now);
        seen.note([found.clone()])
            .and_then(|()| seen.proved(&held, &found))
            .expect("it goes on");
        sizes(&held)
    }

    #[test]
    fn two_heads_of_one_size_are_a_fork_for_good() {
        let seen = Seen::default();
        seen.note([head(3, 1), head(5, 2), head(5, 2), head(3, 1)]).expect("one log");
        let fault = seen.note([head(5, 9)]).expect_err("another root");
        assert_eq!(fault, forked(&head(5, 2), &head(5, 9)));
        // The first fault stays, whatever comes, and what is kept holds both.
        assert_eq!(seen.sound(), Err(fault.clone()));
        assert_eq!(seen.note([head(3, 9)]), Err(fault));
        assert_eq!(seen.text().as_deref(), Some("3 1\n3 9\n5 2\n5 9"));
    }

    #[test]
    fn what_another_look_found_meanwhile_waits_for_the_next() {
        let (seen, now) = (Seen::default(), Instant::now());
        seen.note([head(3, 1), head(5, 1)]).expect("one log");
        let (first, second) = (seen.begin(now), seen.begin(now));
        seen.note([head(9, 1), head(8, 1)]).expect("one log");
        seen.proved(&first, &head(9, 1)).expect("it goes on");
        assert_eq!((last(&seen), waiting(&seen)), (Some(9), vec![8]));
        // It was held to 3 and 5, and not to 9.
        seen.proved(&second, &head(8, 1)).expect("not known yet");
        assert_eq!((last(&seen), waiting(&seen)), (Some(9), vec![8]));
        let third = seen.begin(now);
        seen.note([head(12, 1), head(11, 1)]).expect("one log");
        seen.proved(&third, &head(11, 1)).expect("it goes on");
        assert_eq!((last(&seen), waiting(&seen)), (Some(11), vec![12]));
        // A smaller one that comes late is held to the next as well, and one that is found again isn't lost.
        seen.note([head(4, 7)]).expect("not known yet");
        assert_eq!(look(&seen, head(12, 1), now), [11, 12, 4]);
        assert_eq!((last(&seen), waiting(&seen)), (Some(12), vec![]));
    }

    #[test]
    fn a_head_that_is_found_again_still_waits_for_what_another_look_found() {
        let (seen, now) = (Seen::default(), Instant::now());
        seen.note([head(3, 1)]).expect("one log");
        let first = seen.begin(now);
        seen.note([head(8, 1)]).expect("one log");
        let second = seen.begin(now);
        seen.note([head(9, 1)])
            .and_then(|()| seen.proved(&first, &head(9, 1)))
            .expect("it goes on");
        // 8 continues 3, and nobody has held it to 9.
        seen.proved(&second, &head(8, 1)).expect("it goes on");
        assert_eq!((last(&seen), waiting(&seen)), (Some(9), vec![8]));
    }

    #[test]
    fn a_look_takes_nothing_for_proved_that_has_another_root() {
        let (seen, now) = (Seen::default(), Instant::now());
        seen.note([head(3, 1), head(5, 1)]).expect("one log");
        let slow = seen.begin(now);
        look(&seen, head(9, 1), now);
        // Nobody knows of another 5 any more but the look that is on its way.
        seen.note([head(5, 2)]).expect("not known yet");
        let fault = seen.proved(&slow, &head(8, 1)).expect_err("another root");
        assert_eq!(fault, forked(&head(5, 1), &head(5, 2)));
        assert_eq!(waiting(&seen), [5]);

        let seen = Seen::default();
        seen.note([head(3, 1), head(9, 2)]).expect("one log");
        let held = [head(3, 1)];
        let fault = seen.proved(&held, &head(9, 1)).expect_err("one of its size waits");
        assert_eq!(fault, forked(&head(9, 1), &head(9, 2)));
    }

    #[test]
    fn what_was_kept_is_looked_at_first() {
        let now = Instant::now();
        let seen = Seen::default();
        seen.note([head(3, 1), head(4, 1)]).expect("one log");
        assert!(!seen.is_due(now), "it has just begun");
        let seen = Seen::kept(vec![head(3, 1)]).expect("one log");
        assert!(!seen.is_due(now), "there is nothing to hold to it");
        seen.note([head(4, 1), head(2, 1)]).expect("one log");
        // What is kept forgets none of them.
        assert_eq!(seen.text().as_deref(), Some("3 1\n2 1\n4 1"));
        assert!(seen.is_due(now) && !seen.is_due(now));
        look(&seen, head(6, 1), now);
        assert_eq!(seen.text().as_deref(), Some("6 1"));
        seen.note([head(7, 1)]).expect("one log");
        assert!(!seen.is_due(now + EVERY - REST) && seen.is_due(now + EVERY));
    }

    #[test]
    fn patience_begins_with_the_first_look_that_failed() {
        let (seen, start) = (Seen::default(), Instant::now());
        let hour = Duration::from_secs(3600);
        seen.note([head(3, 1), head(5, 1)]).expect("one log");
        // They have waited long when they are looked at.
        seen.failed(&seen.begin(start + hour), start + hour);
        seen.failed(&seen.begin(start + hour), start + hour + PATIENCE - REST);
        assert_eq!(seen.sound(), Ok(()));
        // Success ends it.
        look(&seen, head(5, 1), start + hour);
        seen.note([head(6, 1)]).expect("one log");
        seen.failed(&seen.begin(start + 2 * hour), start + 2 * hour);
        assert_eq!(seen.sound(), Ok(()));
        seen.failed(&seen.begin(start + 2 * hour), start + 2 * hour + PATIENCE);
        let earlier = head(5, 1).text;
        assert_eq!(seen.sound(), Err(LogFault::Unproven { earlier }));
    }

    #[test]
    fn a_head_that_is_never_proved_is_not_hidden_by_others_that_are() {
        let (seen, start) = (Seen::default(), Instant::now());
        seen.note((1..=200).map(|size| head(size, 1))).expect("one log");
        let fails = |held: &[Head]| held.iter().any(|one| one.size == 2);
        let mut reached = std::collections::BTreeSet::new();
        let mut now = start;
        for newest in 300.. {
            // As many come as are looked at, and each look without the second is answered.
            seen.note((0..64).map(|more| head(1000 * newest + more, 1))).expect("one log");
            let held = seen.begin(now);
            assert!(held.len() <= 1 + AT_ONCE);
            reached.extend(sizes(&held));
            if fails(&held) {
                seen.failed(&held, now);
            } else {
                let newest = head(1000 * newest + 999, 1);
                seen.note([newest.clone()]).expect("one log");
                seen.proved(&held, &newest).expect("it goes on");
            }
            if seen.sound().is_err() {
                break;
            }
            now += REST;
        }
        assert!(now < start + 2 * PATIENCE, "{:?}", now - start);
        assert!((1..=200).all(|size| reached.contains(&size)));
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let (seen, now) = (Seen::default(), Instant::now());
        seen.note((0..FULL as u64).map(|size| head(size, 1))).expect("one log");
        assert!(!seen.is_full());
        seen.note([head(FULL as u64, 1)]).expect("one log");
        assert!(seen.is_full() && seen.is_due(now) && seen.is_due(now));
        assert_eq!(look(&seen, head(FULL as u64, 1), now).len(), 1 + AT_ONCE);
        assert!(!seen.is_full());
    }
}
