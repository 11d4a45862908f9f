//! The log done again, entry by entry, by the rules that made it: what comes of each has to be what stands there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use ledger::directory::Directory;
use ledger::{EXPIRY, Outcome, Posted, Verified, apply};
use migrations::{Conn, DbError};
use store::Unready;
use store::kept::{self, Kept, Raw};

use super::redo;
use crate::archive::Reader;

/// Entries that are read at once.
const CHUNK: i64 = 1000;
/// The most messages of one transaction.
const GROUP: usize = 10_000;

struct Replay<'a> {
    source: &'a mut Conn,
    scratch: &'a mut Conn,
    /// What partners signed in old windows.
    archive: Reader<'a>,
    /// The scratch ledger's reference data, as last read.
    directory: Option<Arc<Directory>>,
    /// Entries that were read, and aren't done again yet.
    waiting: VecDeque<Kept>,
    /// The number of the next entry that is read.
    next: i64,
    /// The number after the last entry.
    end: i64,
}

/// Does every entry of `source` again in an empty ledger. The first entry that isn't what comes of it by the rules ends it, and is told; so is one that is missing.
pub(super) fn replay(
    source: &mut Conn,
    scratch: &mut Conn,
    archive: &Path,
    progress: &mut dyn FnMut(i64, i64),
) -> Result<Option<String>, DbError> {
    let end = store::next_seq(source)?;
    let mut replay = Replay {
        archive: Reader::new(source, archive)?,
        source,
        scratch,
        directory: None,
        waiting: VecDeque::new(),
        next: 1,
        end,
    };
    loop {
        let done = replay.step(progress);
        match done {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(Stop::Found(finding)) | Err(Stop::Failed(DbError::Corrupt(finding))) => return Ok(Some(finding)),
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
}

/// Why it doesn't go on.
enum Stop {
    /// Something is wrong with the books.
    Found(String),
    /// They can't be read.
    Failed(DbError),
}

impl From<DbError> for Stop {
    fn from(error: DbError) -> Self {
        Self::Failed(error)
    }
}

/// A file that isn't what was archived.
fn in_archive(error: anyhow::Error) -> Stop {
    Stop::Found(format!("{error:#}"))
}

impl Replay<'_> {
    /// Does the next entry again, with those that follow from it; false where there is none.
    fn step(&mut self, progress: &mut dyn FnMut(i64, i64)) -> Result<bool, Stop> {
        self.fill(1)?;
        let Some(first) = self.waiting.front() else {
            progress(self.end - 1, self.end - 1);
            self.archive.end().map_err(in_archive)?;
            return Ok(false);
        };
        let (seq, first) = (first.seq(), first.clone());
        progress(seq - 1, self.end - 1);
        let made = match &first {
            Kept::Message(first) => self.messages(&first.posted)?,
            Kept::Own(posted) => self.own(posted).and_then(|()| self.made(seq)),
            Kept::Other(other) => redo::redo(self.source, self.scratch, other).and_then(|()| self.made(seq)),
        };
        let made = made.map_err(|error| Stop::Found(format!("entry {seq} can't be done again: {error:#}")))?;
        if made.is_empty() {
            return Err(Stop::Found(format!("entry {seq}: nothing comes of it")));
        }
        self.fill(made.len())?;
        for (seq, made) in (seq..).zip(made) {
            let Some(logged) = self.waiting.pop_front() else {
                return Err(Stop::Found(format!(
                    "entry {seq} is missing, which follows from those before it: the log was cut"
                )));
            };
            if let Some(why) = differ(&logged.text(), &made) {
                return Err(Stop::Found(format!("entry {seq} isn't what the rules make of it: {why}")));
            }
        }
        Ok(true)
    }

    /// Reads on, until so many entries wait, or all that are left.
    fn fill(&mut self, count: usize) -> Result<(), Stop> {
        while self.waiting.len() < count && self.next < self.end {
            let before = (self.next + CHUNK).min(self.end);
            let mut read = kept::kept(self.source, self.next, before)?;
            for kept in &mut read {
                if let Kept::Message(raw) = kept {
                    self.archive.give(raw).map_err(in_archive)?;
                }
            }
            self.waiting.extend(read);
            self.next = before;
        }
        Ok(())
    }

    /// What has come of an entry in the scratch ledger, from its number on.
    fn made(&mut self, seq: i64) -> anyhow::Result<Vec<String>> {
        let next = store::next_seq(self.scratch)?;
        Ok(kept::kept(self.scratch, seq, next)?.iter().map(Kept::text).collect())
    }

    fn known(&mut self) -> Result<Arc<Directory>, DbError> {
        if let Some(known) = &self.directory
            && store::directory_version(self.scratch)? == known.version
        {
            return Ok(known.clone());
        }
        let read = Arc::new(store::load_directory(self.scratch)?);
        self.directory = Some(read.clone());
        Ok(read)
    }

    /// Posts the messages of one transaction, as one group: which lots expire when depends on who comes together.
    fn messages(&mut self, first: &Posted) -> Result<anyhow::Result<Vec<String>>, Stop> {
        self.fill(GROUP)?;
        let raws = self.waiting.iter().map_while(|kept| match kept {
            Kept::Message(raw) if raw.posted.seq == first.seq || !raw.leads => Some(raw.clone()),
            _ => None,
        });
        let raws: Vec<Raw> = raws.take(GROUP).collect();
        let known = self.known()?;
        let verified = kept::verified(self.source, self.scratch, &known.keys, &raws)?;
        let mut batch = Vec::with_capacity(raws.len());
        for (raw, verified) in raws.iter().zip(verified) {
            batch.push(verified.map_err(|why| Stop::Found(format!("message {}: {why}", raw.posted.seq)))?);
        }
        Ok(post(self.scratch, &known, &batch, first.posted_at))
    }

    /// What the clearinghouse does by itself: at a cut-off, or for a window's fees.
    fn own(&mut self, first: &Posted) -> anyhow::Result<()> {
        if first.kind == "fee" {
            return redo::net(self.source, self.scratch, first.window, ledger::timestamp(first.posted_at));
        }
        ensure!(first.kind == EXPIRY, "nothing that comes before it makes a {} of it", first.kind);
        let known = self.known()?;
        store::expire_again(self.scratch, &known, first)?;
        Ok(())
    }
}

/// Posts a group, and returns the entries that come of it.
fn post(scratch: &mut Conn, known: &Arc<Directory>, batch: &[Arc<Verified>], at: i64) -> anyhow::Result<Vec<String>> {
    let made = scratch.transaction(|conn| -> Result<_, Unready> {
        let mut set = store::load(conn, known, batch, || at)?;
        let first = set.next_seq;
        let outcomes: Vec<Outcome> = batch.iter().map(|message| apply(&mut set, message)).collect();
        store::persist(conn, &set)?;
        let made: Vec<String> = set.changes.messages.iter().map(|(posted, _)| ledger::entry(posted)).collect();
        Ok((first, outcomes, made))
    });
    let (first, outcomes, made) = made.context("posting it")?;
    for outcome in &outcomes {
        match outcome {
            Outcome::Kept(posted) if posted.seq >= first => {}
            Outcome::Kept(posted) => bail!(
                "{} has posted the message {} before, as number {}",
                posted.sender,
                posted.id,
                posted.seq
            ),
            Outcome::IdReused => bail!("its sender has used its id before, for another message"),
            Outcome::KeyRefused(code) => bail!("its key doesn't count: {code}"),
        }
    }
    Ok(made)
}

/// The first thing in which two entries differ but for their salts, which are random.
fn differ(logged: &str, made: &str) -> Option<String> {
    if logged == made {
        return None;
    }
    let read = |text: &str| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text).unwrap_or_default();
    let (mut logged, mut made) = (read(logged), read(made));
    logged.remove("salt");
    made.remove("salt");
    let names: BTreeSet<&String> = logged.keys().chain(made.keys()).collect();
    let name = names.into_iter().find(|name| logged.get(*name) != made.get(*name))?;
    let shown = |value: Option<&serde_json::Value>| value.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    Some(format!(
        "`{name}` is {}, and not {}",
        shown(logged.get(name)),
        shown(made.get(name))
    ))
}
