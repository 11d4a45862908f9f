//! `clearing archive`: old windows' signed bytes go from the database into files.

use anyhow::ensure;
use clap::Args;
use jiff::{Span, Timestamp};

use super::at::{At, open};
use super::out;
use super::progress::Progress;
use crate::archive::{self, Step};
use crate::say;

#[derive(Args)]
pub(super) struct Archive {
    #[command(flatten)]
    at: At,
    /// How many days before the open window a window has to be.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    keep: i32,
}

pub(super) fn run(options: &Archive) -> anyhow::Result<()> {
    let (config, mut conn) = open(&options.at.config)?;
    ensure!((1..=36_500).contains(&options.keep), "--keep takes 1 to 36500 days");
    let open = settlement::open_window(&mut conn)?.business_date;
    let upto = open.checked_sub(Span::new().days(options.keep))?;
    let mut progress = Progress::new();
    let done = archive::run(&mut conn, &config.archive, upto, Timestamp::now, &mut |step| {
        progress.tell(|_| match step {
            Step::Writing(window, size) => format!("{window}: {} MB written", size / 1_000_000),
            Step::Emptying(window, upto, last) => format!("{window}: taken out of the database up to {upto} of {last}"),
        })
    })?;
    if done.is_empty() {
        return Ok(say!(
            "nothing is to be archived: all windows up to {upto} are, and that of {open} is open"
        )?);
    }
    let told = done.iter().try_for_each(|one| {
        let path = archive::path(&config.archive, one.window);
        say!(
            "{}: {} messages, {} bytes, in {}",
            one.window,
            one.messages,
            one.size,
            path.display()
        )
    });
    out::done(told)
}
