//! The check: the books are a function of the log (DESIGN section 5, "The log"). All of it is read as it stands at one moment.
//!
//! | module | what lives there |
//! |---|---|
//! | [`store::books`] | the sums: what balances say is what postings sum to; the log's tree, leaf by leaf |
//! | [`store::trail`] | whatever is in force is what was signed |
//! | `replay` | every entry done again, by the same rules, in a scratch ledger: messages, the night, and the rest |
//! | `redo` | one entry that is no message, done again |
//! | [`store::compare`] | every row of every table against what the scratch ledger came to, and the tables' keys, indexes and triggers |

mod redo;
mod replay;

use std::path::Path;

use anyhow::Context;
use migrations::Conn;
use partner_sdk::KeyId;
use partner_sdk::jws::VerifyingKey;
use partner_sdk::log::Checkpoint;
use partner_sdk::log::note::NoteKey;
use settlement::{SettlementError, State};
use store::{DbError, books, compare, trail};

use crate::archive;

/// How far a check goes.
#[derive(Debug, Clone, Copy)]
pub enum Depth<'a> {
    /// The sums and the documents.
    Quick,
    /// All of it; a scratch ledger, about as large as the database, is made in this folder and removed.
    Whole(&'a Path),
}

/// Everything that is wrong, a line each; empty where all is well. Names members: it is for whoever has the database. `clearing` is the key that countersigns, under its
/// id; `archive` is the folder of what is archived. `progress` is told how many of how many entries are done again.
pub fn check(
    conn: &mut Conn,
    (kid, clearing): (&KeyId, &VerifyingKey),
    archive: &Path,
    depth: Depth<'_>,
    progress: &mut dyn FnMut(i64, i64),
) -> anyhow::Result<Vec<String>> {
    books::prepare(conn)?;
    conn.snapshot(|conn| {
        let mut findings = found(books::sums(conn))?;
        findings.extend(found(trail::check(conn, kid, clearing))?);
        let lost = found(archive::not_there(conn, archive))?;
        if let Depth::Whole(folder) = depth {
            findings.extend(found(books::tree(conn))?);
            // Without them the log can't be done again.
            if lost.is_empty() {
                findings.extend(done_again(conn, archive, folder, progress)?);
            }
        }
        findings.extend(lost);
        Ok(findings)
    })
}

/// Whether the log goes on from a head that its key signed, as a partner keeps the last one that it saw: `None` where it does. An error where no key of the log `origin` signed it.
pub fn held_to(conn: &mut Conn, origin: &str, head: &str) -> anyhow::Result<Option<String>> {
    let keys = store::keys::log_keys(conn, origin)?;
    let keys: Vec<NoteKey> = keys.into_iter().map(|key| NoteKey::new(origin, key)).collect::<Result<_, _>>()?;
    let head = Checkpoint::verify(head, origin, &keys).context("this isn't a head of the log that one of its keys signed")?;
    let (size, root) = (head.size, head.root);
    let known = conn.snapshot(|conn| store::root_at(conn, size))?;
    Ok(match known {
        None => Some(format!(
            "the log has fewer than the {size} entries that were signed: some were removed"
        )),
        Some(known) if known != root => Some(format!(
            "the first {size} entries of the log aren't those that were signed: some were changed"
        )),
        Some(_) => None,
    })
}

/// The statements in a folder that aren't what was advised, a line each. Files that are missing are no fault: `clearing statements` writes them again.
pub fn changed_files(conn: &mut Conn, folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut findings = vec![];
    for date in settlement::advised_dates(conn)? {
        let kept = match settlement::kept(conn, date) {
            Ok(kept) => kept,
            Err(SettlementError::Db(error)) => return Err(error.into()),
            Err(error) => {
                findings.push(error.to_string());
                continue;
            }
        };
        for (name, bytes) in kept {
            let path = folder.join(date.to_string()).join(name);
            if std::fs::read(&path).is_ok_and(|found| found != bytes) {
                findings.push(format!("{} isn't what was advised", path.display()));
            }
        }
    }
    Ok(findings)
}

/// What can't be read because somebody has changed it is a finding too.
fn found(findings: Result<Vec<String>, DbError>) -> Result<Vec<String>, DbError> {
    match findings {
        Err(DbError::Corrupt(what)) => Ok(vec![what]),
        other => other,
    }
}

/// Does the whole log again in a scratch ledger in a folder, and compares what comes of it; for one unchanging view of the database.
pub fn done_again(conn: &mut Conn, archive: &Path, folder: &Path, progress: &mut dyn FnMut(i64, i64)) -> anyhow::Result<Vec<String>> {
    let folder = tempfile::tempdir_in(folder).with_context(|| format!("cannot make a scratch folder in {}", folder.display()))?;
    let mut scratch = Conn::scratch(&folder.path().join("scratch.db")).context("the scratch ledger")?;
    if let Some(finding) = replay::replay(conn, &mut scratch, archive, progress)? {
        // From here on everything would differ.
        return Ok(vec![finding]);
    }
    let windows = settlement::pending(conn)?.into_iter();
    let closed = windows.filter(|window| window.state < State::Netted);
    let night = closed.map(|window| window.cut_off_at.as_microsecond()).max();
    Ok(compare::compare(conn, &mut scratch, night)?)
}
