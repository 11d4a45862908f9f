//! The archive: what partners signed in old windows, a file for each, so that the database needn't keep it. The log says what each file is.
//!
//! | step | what happens | killed after it, the next run |
//! |---|---|---|
//! | write | the file is made beside its name, synced, renamed and read back (`file`) | makes the same file, and finds it there |
//! | enter | an entry says what the file is, by its SHA-256 ([`store::archive::enter`]) | goes on with the next step, once it has seen that the file is whole |
//! | empty | the bytes are taken out of the rows, a few hundred a transaction ([`store::archive::empty`]) | goes on where it was |
//!
//! The check reads the files through [`Reader`].

mod file;
mod reader;
mod step;

pub use reader::{Reader, not_there};
pub use step::{Step, path};

use std::path::Path;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use store::archive::{self, Archived};

/// Archives whatever window is advised, isn't after `upto`, and isn't archived yet, oldest first; returns what was archived now. First it ends what a run before this one has begun.
pub fn run(
    conn: &mut Conn,
    folder: &Path,
    upto: Date,
    now: impl Fn() -> Timestamp,
    progress: &mut dyn FnMut(Step),
) -> anyhow::Result<Vec<Archived>> {
    let _lock = file::lock(folder)?;
    let mut all = archive::all(conn)?;
    if let Some(last) = all.pop() {
        let after = all.pop().map_or(0, |before| before.last);
        if archive::is_left(conn, after, last.last)? {
            file::verify(&path(folder, last.window), &last)?;
            empty(conn, after, &last, progress)?;
        }
        all.push(last);
    }
    let mut done: Vec<Archived> = vec![];
    loop {
        let before = done.last().or(all.last());
        let (window, after) = (before.map(|before| before.window), before.map_or(0, |before| before.last));
        let Some((date, advised)) = archive::next(conn, window)?.filter(|(date, _)| *date <= upto) else {
            return Ok(done);
        };
        ensure!(
            advised,
            "the window of {date} isn't advised yet: it and those after it wait. `clearing night` says what its trouble is"
        );
        let written = file::write(conn, folder, date, after, progress)?;
        archive::enter(conn, &written, now()).with_context(|| format!("the window of {date}"))?;
        empty(conn, after, &written, progress)?;
        done.push(written);
    }
}

fn empty(conn: &mut Conn, after: i64, done: &Archived, progress: &mut dyn FnMut(Step)) -> anyhow::Result<()> {
    let told = &mut |upto| progress(Step::Emptying(done.window, upto, done.last));
    Ok(archive::empty(conn, after, done.last, told)?)
}
