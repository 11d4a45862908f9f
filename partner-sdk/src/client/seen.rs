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
/// How many may wait.
const WAITING: usize = 64;

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
            let known = state
                .last
                .iter()
                .chain(state.waiting.values())
                .find(|known| known.size == head.size);
            match known {
                Some(known) if known.root != head.root => {
                    let fault = forked(known, &head);
                    return Err(state.found(fault));
                }
                Some(_) => {}
                None => {
                    state.since.get_or_insert_with(Instant::now);
                    state.waiting.insert(head.size, head);
                }
            }
        }
        Ok(())
    }

    /// Whether it is time to ask.
    pub(super) fn is_due(&self) -> bool {
        let state = self.lock();
        let rested = state.tried.is_none_or(|tried| tried.elapsed() >= EVERY);
        !state.waiting.is_empty() && (rested || state.waiting.len() > WAITING)
    }

    /// What a newer head is to be held to.
    pub(super) fn begin(&self) -> Vec<Head> {
        let mut state = self.lock();
        state.tried = Some(Instant::now());
        state.last.iter().chain(state.waiting.values()).cloned().collect()
    }

    /// All these are continued by `head`.
    pub(super) fn proved(&self, held: &[Head], head: Head) {
        let mut state = self.lock();
        for one in held {
            state.waiting.remove(&one.size);
        }
        if state.waiting.is_empty() {
            state.since = None;
        }
        if state.last.as_ref().is_none_or(|last| last.size < head.size) {
            state.last = Some(head);
        }
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
