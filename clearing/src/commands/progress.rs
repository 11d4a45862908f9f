//! How far a command is, where it takes longer than a moment.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::out;

/// How often it is said.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The same where nobody watches, as in a file.
const WRITE_EVERY: Duration = Duration::from_secs(30);

/// Says how far a command is, now and then.
pub(super) struct Progress {
    began: Instant,
    told: Instant,
    every: Duration,
}

impl Progress {
    pub(super) fn new() -> Self {
        let watched = std::io::stderr().is_terminal();
        Self {
            began: Instant::now(),
            told: Instant::now(),
            every: if watched { TELL_EVERY } else { WRITE_EVERY },
        }
    }

    /// Says it where the last word was some time ago; `text` is given how long it has taken up to now.
    pub(super) fn tell(&mut self, text: impl FnOnce(Duration) -> String) {
        if self.told.elapsed() < self.every {
            return;
        }
        self.told = Instant::now();
        out::complain(&text(self.began.elapsed()));
    }
}
