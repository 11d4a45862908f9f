//! How far a command is, where it takes longer than a moment.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

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

/// A bar on standard error, for what has so many steps; where that is no terminal, nothing.
pub(super) fn bar(what: &str, steps: impl TryInto<u64>) -> ProgressBar {
    let bar = ProgressBar::new(steps.try_into().unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{msg:24} {wide_bar} {human_pos}/{human_len} {elapsed}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what.to_owned())
}
