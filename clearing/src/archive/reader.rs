//! Archived windows' files, read beside the log in the order of its numbers.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, ensure};
use migrations::{Conn, DbError};
use store::archive::{self, Archived};
use store::kept::Raw;

use super::file::{first_line, lost, open};
use super::step::path;

/// The files that aren't there, or aren't as long as the log says, a line each.
pub fn not_there(conn: &mut Conn, folder: &Path) -> Result<Vec<String>, DbError> {
    let wrong = |archived: Archived| {
        let path = path(folder, archived.window);
        match std::fs::metadata(&path) {
            Err(error) => Some(format!("{}: {error}: {}", path.display(), lost(archived.window))),
            Ok(found) if found.len() != archived.size => Some(format!(
                "{} isn't what was archived: it has {} bytes, and the log says {}; put it back from a backup",
                path.display(),
                found.len(),
                archived.size
            )),
            Ok(_) => None,
        }
    };
    Ok(archive::all(conn)?.into_iter().filter_map(wrong).collect())
}

/// All that is archived, read once from the first message to the last.
pub struct Reader<'a> {
    folder: &'a Path,
    /// The windows that aren't read to their end, oldest first.
    windows: VecDeque<Archived>,
    /// The file of the first of them.
    reading: Option<Reading>,
}

/// A file that is being read.
struct Reading {
    lines: BufReader<File>,
    /// The line to come.
    next: Option<(i64, String)>,
    /// How many messages of the window have come, and the number of the last.
    messages: u64,
    last: i64,
}

impl<'a> Reader<'a> {
    /// Whatever the log says is archived, in a folder.
    pub fn new(conn: &mut Conn, folder: &'a Path) -> Result<Self, DbError> {
        Ok(Self {
            folder,
            windows: archive::all(conn)?.into(),
            reading: None,
        })
    }

    /// Gives the next message what is archived under its number. An error says which file is wrong, and how.
    pub fn give(&mut self, raw: &mut Raw) -> anyhow::Result<()> {
        let (window, seq) = (raw.posted.window, raw.posted.seq);
        while self.windows.front().is_some_and(|first| first.window < window) {
            self.end_window()?;
        }
        let Some(first) = self.windows.front().filter(|first| first.window == window) else {
            return Ok(());
        };
        let path = path(self.folder, window);
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => none.insert(Reading::start(&path, first)?),
        };
        raw.archived = Some(reading.take(seq).with_context(|| path.display().to_string())?);
        Ok(())
    }

    /// There are no more messages: what is left has to be there, and to be empty.
    pub fn end(&mut self) -> anyhow::Result<()> {
        while !self.windows.is_empty() {
            self.end_window()?;
        }
        Ok(())
    }

    fn end_window(&mut self) -> anyhow::Result<()> {
        let Some(archived) = self.windows.pop_front() else { return Ok(()) };
        let path = path(self.folder, archived.window);
        let reading = match self.reading.take() {
            Some(reading) => reading,
            None => Reading::start(&path, &archived)?,
        };
        ensure!(
            reading.next.is_none() && reading.messages == archived.messages && (reading.messages == 0 || reading.last == archived.last),
            "{} isn't of the messages that the log has in the window of {}: it has others, or not all",
            path.display(),
            archived.window
        );
        Ok(())
    }
}

impl Reading {
    fn start(path: &Path, archived: &Archived) -> anyhow::Result<Self> {
        let mut reading = Self {
            lines: BufReader::new(open(path, archived)?),
            next: None,
            messages: 0,
            last: 0,
        };
        let first = reading.line().with_context(|| path.display().to_string())?;
        ensure!(
            first.is_some_and(|line| line == first_line(archived.window)),
            "{} isn't an archive of the window of {}, by its first line",
            path.display(),
            archived.window
        );
        reading.step().with_context(|| path.display().to_string())?;
        Ok(reading)
    }

    fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.strip_suffix('\n').map(str::to_owned))
    }

    fn step(&mut self) -> anyhow::Result<()> {
        self.next = match self.line()? {
            None => None,
            Some(line) => {
                let (seq, jws) = line.split_once(' ').context("a line isn't a number and a JWS")?;
                Some((seq.parse().context("a line's number")?, jws.to_owned()))
            }
        };
        Ok(())
    }

    /// What stands under the number of the next message; nothing where its batch stands under an earlier one.
    fn take(&mut self, seq: i64) -> anyhow::Result<String> {
        (self.messages, self.last) = (self.messages + 1, seq);
        match self.next.take() {
            Some((at, jws)) if at == seq => {
                self.step()?;
                Ok(jws)
            }
            Some((at, _)) if at < seq => anyhow::bail!("it has something under {at}, which is no message of its window"),
            later => {
                self.next = later;
                Ok(String::new())
            }
        }
    }
}
