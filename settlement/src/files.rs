//! Files that are there in full or not at all, also after a power cut.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use crate::run::SettlementError;

/// How many files are written at once: the disk syncs that many in about the time of one.
const WRITERS: usize = 8;

/// Writes every file (name, bytes) of a folder and returns their paths in the same order. Each is written beside its name, synced and
/// renamed; the folder is synced at the end. A lock on the folder keeps a second run from the same temporary files.
pub fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<Vec<PathBuf>, SettlementError> {
    at(folder, fs::create_dir_all(folder))?;
    let handle = at(folder, File::open(folder))?;
    match handle.lock() {
        Err(error) if error.kind() == ErrorKind::Unsupported => {} // then two runs at once are the operator's to avoid
        locked => at(folder, locked)?,
    }
    thread::scope(|scope| {
        let chunks = files.chunks(files.len().div_ceil(WRITERS).max(1));
        let writers: Vec<_> = chunks
            .map(|chunk| scope.spawn(|| chunk.iter().try_for_each(|file| write(folder, file))))
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    at(folder, handle.sync_all())?;
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        at(parent, File::open(parent).and_then(|parent| parent.sync_all()))?;
    }
    Ok(files.iter().map(|(name, _)| folder.join(name)).collect())
}

fn write(folder: &Path, (name, bytes): &(String, Vec<u8>)) -> Result<(), SettlementError> {
    let (path, temporary) = (folder.join(name), folder.join(format!(".{name}.tmp")));
    let synced = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    at(&path, synced.and_then(|()| fs::rename(&temporary, &path)))
}

fn at<T>(path: &Path, result: std::io::Result<T>) -> Result<T, SettlementError> {
    result.map_err(|source| SettlementError::File {
        path: path.to_owned(),
        source,
    })
}
