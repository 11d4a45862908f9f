//! Windows that the night couldn't bring further: kept in memory for the health check, and to know when to try again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

/// The longest that a window with trouble waits for the next try.
const LONGEST: Duration = Duration::from_secs(60);

/// What was to be done with a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Fees, obligations and residues.
    Net,
    /// The files of the statements.
    Advise,
}

impl Phase {
    /// The name in logs and in the health check.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Advise => "advise",
        }
    }
}

/// Why a window doesn't get on.
#[derive(Debug, Clone, Serialize)]
pub struct Trouble {
    /// The window.
    pub window: Date,
    /// What doesn't succeed.
    pub phase: Phase,
    /// Why not.
    pub why: String,
    /// Since when, by the clearinghouse's clock.
    pub since: Timestamp,
    /// How often it was tried; 0 for a window that only waits for another.
    pub tries: u32,
    #[serde(skip)]
    next: Option<Instant>,
}

/// All of them, by window. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<Date, Trouble>>>);

impl Troubles {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Date, Trouble>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Every one, oldest window first.
    pub fn list(&self) -> Vec<Trouble> {
        self.all().values().cloned().collect()
    }

    /// All in one line; `None` where there is none.
    pub fn text(&self) -> Option<String> {
        let line = |t: &Trouble| format!("the window of {} can't be {}: {}", t.window, done(t.phase), t.why);
        let lines: Vec<String> = self.list().iter().map(line).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// Whether a window is to be tried now: it has no trouble, or its time has come again.
    pub fn may_try(&self, window: Date) -> bool {
        let all = self.all();
        let next = all.get(&window).and_then(|trouble| trouble.next);
        next.is_none_or(|next| Instant::now() >= next)
    }

    /// A try failed: the next is after 1 s, then 2 s, and so on up to a minute.
    pub fn note(&self, window: Date, phase: Phase, why: String, now: Timestamp) {
        let mut all = self.all();
        let trouble = Self::entry(&mut all, window, phase, now);
        trouble.why = why;
        trouble.tries = trouble.tries.saturating_add(1);
        let wait = Duration::from_secs(1 << trouble.tries.saturating_sub(1).min(6)).min(LONGEST);
        trouble.next = Some(Instant::now() + wait);
    }

    /// A window can't be netted before an earlier one.
    pub fn waits(&self, window: Date, earlier: Date, now: Timestamp) {
        let mut all = self.all();
        let trouble = Self::entry(&mut all, window, Phase::Net, now);
        trouble.why = format!("it takes over the residues of the window of {earlier}, which isn't netted");
        (trouble.tries, trouble.next) = (0, None);
    }

    /// A window got on.
    pub fn over(&self, window: Date) {
        self.all().remove(&window);
    }

    /// Forgets the windows that another process brought on.
    pub fn keep(&self, pending: impl Fn(Date) -> bool) {
        self.all().retain(|window, _| pending(*window));
    }

    fn entry(all: &mut BTreeMap<Date, Trouble>, window: Date, phase: Phase, now: Timestamp) -> &mut Trouble {
        let trouble = all.entry(window).or_insert_with(|| Trouble {
            window,
            phase,
            why: String::new(),
            since: now,
            tries: 0,
            next: None,
        });
        trouble.phase = phase;
        trouble
    }
}

fn done(phase: Phase) -> &'static str {
    match phase {
        Phase::Net => "netted",
        Phase::Advise => "advised",
    }
}
