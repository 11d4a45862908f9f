//! Files that are there in full or not at all, also after a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use crate::error::SettlementError;

/// How many files are written at once: the disk syncs that many in about the time of one.
const WRITERS: usize = 8;

/// Writes every file (name, bytes) of a folder and returns their paths in the same order. Each is written beside its name, synced and
/// renamed; the folder is synced at the end. A lock on the folder keeps a second run from the same temporary files.
pub fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<Vec<PathBuf>, SettlementError> {
    at(folder, make_folder(folder))?;
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

/// Statements are for their owner and its group: finance reads them, nobody else does. The umask doesn't decide.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// Makes a folder, and those above it that aren't there. One that is there keeps its permissions.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        // Another run was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))),
    }
}

fn write(folder: &Path, (name, bytes): &(String, Vec<u8>)) -> Result<(), SettlementError> {
    let (path, temporary) = (folder.join(name), folder.join(format!(".{name}.tmp")));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    let synced = options.open(&temporary).and_then(|mut file| {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_their_owners_and_its_groups() {
        let home = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let (top, folder) = (home.path().join("statements"), home.path().join("statements/2026-11-21"));
        let files = [("a.json".to_owned(), vec![1]), ("a.csv".to_owned(), vec![2])];
        // What a run that was killed has left, as anybody's.
        make_folder(&folder).expect("made");
        fs::write(folder.join(".a.json.tmp"), "x").expect("written");
        fs::set_permissions(folder.join(".a.json.tmp"), Permissions::from_mode(0o666)).expect("set");
        let paths = write_all(&folder, &files).expect("written");
        assert_eq!([mode(&top), mode(&folder)], [0o750; 2]);
        assert_eq!(paths.iter().map(|path| mode(path)).collect::<Vec<_>>(), [0o640; 2]);
    }
}
