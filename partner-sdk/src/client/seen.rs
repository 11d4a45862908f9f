//! What a client has seen of the log.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::error::LogFault;
use crate::log::{Checkpoint, Hash};

/// How long heads that came with receipts may wait until they are held to the newest one.
const EVERY: Duration = Duration::from_secs(10);
/// How long they may wait where the clearinghouse gives no proof.
const PATIENCE: Duration = Duration::from_secs(600);
/// How many are held to the newest one at once, so that few tiles are needed: where more wait, the next look comes after a second.
const AT_ONCE: usize = 64;
/// How long between two looks at least, unless so many wait that whoever posts looks first.
const REST: Duration = Duration::from_secs(1);
/// So many.
const CROWD: usize = 4096;

/// A verified head, with its signed text.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) text: String,
}

impl Head {
    pub(super) fn new(checkpoint: &Checkpoint, text: &str) -> Self {
        Self {
            size: checkpoint.size,
            root: checkpoint.root,
            text: text.to_owned(),
        }
    }
}

/// What was seen of the log.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The newest head that continues all before it.
    last: Option<Head>,
    /// Heads that came with receipts and weren't held to it yet, by their size.
    waiting: BTreeMap<u64, Head>,
    since: Option<Instant>,
    tried: Option<Instant>,
    fault: Option<LogFault>,
}

impl Seen {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The newest head that continues all before it.
    pub(super) fn last(&self) -> Option<String> {
        self.lock().last.as_ref().map(|head| head.text.clone())
    }

    /// An error once a fault was found.
    pub(super) fn sound(&self) -> Result<(), LogFault> {
        self.lock().fault.clone().map_or(Ok(()), Err)
    }

    /// Remembers heads; the first one ever is believed, and what comes after is held to it.
    pub(super) fn note(&self, heads: impl IntoIterator<Item = Head>) -> Result<(), LogFault> {
        let mut state = self.lock();
        for head in heads {
            if state.last.is_none() {
                state.tried = Some(Instant::now());
                state.last = Some(head);
                continue;
            }
            state.wait(head)?;
        }
        Ok(())
    }

    /// Whether it is time to look. Who is told so looks, and nobody else meanwhile.
    pub(super) fn is_due(&self) -> bool {
        let mut state = self.lock();
        let waiting = state.waiting.len();
        let rest = if waiting > AT_ONCE { REST } else { EVERY };
        let rested = state.tried.is_none_or(|tried| tried.elapsed() >= rest);
        let due = waiting > 0 && (rested || waiting > CROWD);
        if due {
            state.tried = Some(Instant::now());
        }
        due
    }

    /// What a newer head is to be held to: the last one, and of those that wait the smallest.
    pub(super) fn begin(&self) -> Vec<Head> {
        let mut state = self.lock();
        state.tried = Some(Instant::now());
        state.last.iter().chain(state.waiting.values().take(AT_ONCE)).cloned().collect()
    }

    /// All these are continued by `head`. What another look has found meanwhile wasn't held to it, and waits.
    pub(super) fn proved(&self, held: &[Head], head: Head) -> Result<(), LogFault> {
        let mut state = self.lock();
        for one in held {
            state.waiting.remove(&one.size);
        }
        // What is left has waited no longer than from now on.
        state.since = (!state.waiting.is_empty()).then(Instant::now);
        let other = match state.last.take() {
            Some(last) if last.size >= head.size => {
                state.last = Some(last);
                Some(head)
            }
            last => {
                state.last = Some(head);
                last.filter(|last| held.iter().all(|one| one.size != last.size))
            }
        };
        other.map_or(Ok(()), |other| state.wait(other))
    }

    pub(super) fn fault(&self, fault: LogFault) -> LogFault {
        self.lock().found(fault)
    }

    /// The head that has waited too long.
    pub(super) fn overdue(&self) -> Option<LogFault> {
        let mut state = self.lock();
        let waited = state.since.is_some_and(|since| since.elapsed() >= PATIENCE);
        let earlier = state.last.as_ref().filter(|_| waited)?.text.clone();
        Some(state.found(LogFault::Unproven { earlier }))
    }
}

impl State {
    /// A head that has to be held to the next one; one of a size that is known must be the same.
    fn wait(&mut self, head: Head) -> Result<(), LogFault> {
        let last = self.last.as_ref().filter(|last| last.size == head.size);
        match last.or(self.waiting.get(&head.size)) {
            Some(known) if known.root != head.root => {
                let fault = forked(known, &head);
                Err(self.found(fault))
            }
            Some(_) => Ok(()),
            None => {
                self.since.get_or_insert_with(Instant::now);
                self.waiting.insert(head.size, head);
                Ok(())
            }
        }
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

    fn waiting(seen: &Seen) -> Vec<u64> {
        seen.lock().waiting.keys().copied().collect()
    }

    #[test]
    fn two_heads_of_one_size_are_a_fork_for_good() {
        let seen = Seen::default();
        seen.note([head(3, 1), head(5, 2), head(5, 2), head(3, 1)]).expect("one log");
        let fault = seen.note([head(5, 9)]).expect_err("another root");
        assert_eq!(fault, forked(&head(5, 2), &head(5, 9)));
        // The first fault stays, whatever comes.
        assert_eq!(seen.sound(), Err(fault.clone()));
        assert_eq!(seen.note([head(3, 9)]), Err(fault));
    }

    #[test]
    fn what_another_look_found_meanwhile_waits_for_the_next() {
        let seen = Seen::default();
        seen.note([head(3, 1), head(5, 1)]).expect("one log");
        let (first, second) = (seen.begin(), seen.begin());
        seen.proved(&first, head(9, 1)).expect("it goes on");
        assert_eq!((seen.last(), waiting(&seen)), (Some("9 1".into()), vec![]));
        // It was held to 3 and 5, and not to 9.
        seen.proved(&second, head(8, 1)).expect("not known yet");
        assert_eq!((seen.last(), waiting(&seen)), (Some("9 1".into()), vec![8]));
        let third = seen.begin();
        seen.note([head(12, 1)]).expect("one log");
        seen.proved(&third, head(11, 1)).expect("it goes on");
        assert_eq!((seen.last(), waiting(&seen)), (Some("11 1".into()), vec![12]));
        // A smaller one that comes late is held to the next as well.
        seen.note([head(4, 7)]).expect("not known yet");
        assert_eq!(waiting(&seen), [4, 12]);
        assert!(seen.proved(&[], head(11, 2)).is_err());
    }

    #[test]
    fn few_are_held_at_once() {
        let seen = Seen::default();
        seen.note((1..=200).map(|size| head(size, 1))).expect("one log");
        let held = seen.begin();
        assert_eq!((held.len(), held.last().map(|one| one.size)), (1 + AT_ONCE, Some(65)));
        seen.proved(&held, head(300, 1)).expect("it goes on");
        assert_eq!(waiting(&seen).first(), Some(&66));
    }
}
