//! What a run is at, and where its files are.

use std::path::{Path, PathBuf};

use jiff::civil::Date;

/// Where a window's file is.
pub fn path(folder: &Path, window: Date) -> PathBuf {
    folder.join(format!("{window}.txt"))
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Writing a window's file: so many bytes are written.
    Writing(Date, u64),
    /// Taking what is in the file out of the database: it has come to a number, of a last one.
    Emptying(Date, i64, i64),
}
