//! One window's file: `clearing archive 1 DATE` in its first line, then a line for each JWS, `NUMBER JWS`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use jiff::civil::Date;
use migrations::Conn;
use sha2::{Digest, Sha256};
use store::archive::{Archived, signed};

use super::step::{Step, path};

/// What helps where a file can't be written.
const MEND: &str =
    "nothing of its window was taken out of the database: make room, or mend the folder (`archive` in the configuration), and run it again";

/// A window's first line.
pub(super) fn first_line(window: Date) -> String {
    format!("clearing archive 1 {window}")
}

/// Makes the folder, for nobody but its owner, and locks it for one run.
pub(super) fn lock(folder: &Path) -> anyhow::Result<File> {
    let at = || {
        format!(
            "cannot use the archive's folder {} (`archive` in the configuration)",
            folder.display()
        )
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(at)?;
    let handle = File::open(folder).with_context(at)?;
    match handle.try_lock() {
        Err(TryLockError::WouldBlock) => bail!("another `clearing archive` is at work in {}", folder.display()),
        // Then two runs at once are the operator's to avoid; the log takes one of them.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(error).with_context(at),
        Ok(()) => {}
    }
    Ok(handle)
}

/// What was written, counted.
struct Counted<W> {
    into: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Counted<W> {
    fn new(into: W) -> Self {
        Self {
            into,
            hash: Sha256::new(),
            size: 0,
        }
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        for part in [text.as_bytes(), b"\n"] {
            self.into.write_all(part)?;
            self.hash.update(part);
            self.size += part.len() as u64;
        }
        Ok(())
    }
}

/// Writes a window's file, and reads it back. One that is there already has to be the same.
pub(super) fn write(conn: &mut Conn, folder: &Path, window: Date, after: i64, progress: &mut dyn FnMut(Step)) -> anyhow::Result<Archived> {
    let (name, temporary) = (path(folder, window), folder.join(format!(".{window}.tmp")));
    let written = write_to(conn, &temporary, (window, after), progress).and_then(|done| {
        if name.exists() {
            verify(&name, &done)
                .context("it was there before, and is of another ledger or another past of this one: put it elsewhere, and run it again")?;
            fs::remove_file(&temporary)?;
        } else {
            fs::rename(&temporary, &name)?;
        }
        File::open(folder)?.sync_all()?;
        verify(&name, &done)?;
        Ok(done)
    });
    if written.is_err() {
        // Half a file would only take room.
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(|| format!("cannot write {}; {MEND}", name.display()))
}

fn write_to(conn: &mut Conn, temporary: &Path, (window, after): (Date, i64), progress: &mut dyn FnMut(Step)) -> anyhow::Result<Archived> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(temporary)?;
    let mut out = Counted::new(BufWriter::new(file));
    out.line(&first_line(window))?;
    let (messages, last) = signed(conn, window, after, &mut |seq, jws| {
        ensure!(!jws.contains('\n'), "message {seq} isn't one line");
        out.line(&format!("{seq} {jws}"))?;
        progress(Step::Writing(window, out.size));
        Ok(())
    })?;
    out.into.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(Archived {
        window,
        sha256: hex(out.hash),
        size: out.size,
        messages,
        last,
    })
}

/// Fails where a file isn't what was archived.
pub(super) fn verify(path: &Path, archived: &Archived) -> anyhow::Result<()> {
    open(path, archived).map(drop)
}

/// A file that is what was archived, at its beginning.
pub(super) fn open(path: &Path, archived: &Archived) -> anyhow::Result<File> {
    let mut file = File::open(path).with_context(|| format!("{}: {}", path.display(), lost(archived.window)))?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        if read == 0 {
            break;
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        size += read as u64;
    }
    let found = hex(hash);
    ensure!(
        (&found, size) == (&archived.sha256, archived.size),
        "{} isn't what was archived: it has {size} bytes with the SHA-256 {found}, and the log says {} with {}; put it back from a backup",
        path.display(),
        archived.size,
        archived.sha256
    );
    file.rewind()?;
    Ok(file)
}

/// What to do where a file isn't there.
pub(super) fn lost(window: Date) -> String {
    format!(
        "what partners signed in the window of {window} is archived there: put the file back from a backup, or say in the configuration where it is (`archive`)"
    )
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
