//! What the command prints: one writer for standard output and one for standard error, so that a pipe that closes or a disk that is full is no panic, and no
//! text from outside moves a terminal or forges a line.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use partner_sdk::text::shown;

/// What a shell calls a program that a closed pipe has ended (128 + SIGPIPE).
const PIPE_CLOSED: u8 = 141;

/// Why the output can't be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Whoever read it reads no more, as `head` does.
    #[error("nobody reads the output any more")]
    Closed,
    /// The system refuses, for example on a full device.
    #[error("cannot write the output")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

/// Prints one line to standard output; whatever isn't plain in it stands as an escape, ends of lines too.
pub fn line(text: impl Display) -> Result<(), OutputError> {
    raw(&format!("{}\n", shown(&text.to_string())))
}

/// Prints several lines of the command's own making to standard output; each is shown as [`line()`] shows it.
pub fn lines(text: &str) -> Result<(), OutputError> {
    text.lines().try_for_each(line)
}

/// Prints as it is, for what is coloured: the caller sees to it that what came from outside is shown plainly.
pub fn raw(text: &str) -> Result<(), OutputError> {
    bytes(text.as_bytes())
}

/// Prints bytes as they are, for what a file or a pipe takes.
pub fn bytes(bytes: &[u8]) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes a file to where it was asked for, and says so; without that to standard output, which has to be a file or a pipe where the file is no text.
pub fn file(bytes: &[u8], to: Option<&Path>) -> anyhow::Result<()> {
    use anyhow::Context;
    match to {
        None if !io::stdout().is_terminal() => Ok(self::bytes(bytes)?),
        None => {
            let text = std::str::from_utf8(bytes).ok();
            let text = text.context("this form is no text: name a file by --out FILE, or send the output to one")?;
            Ok(lines(text.trim_end())?)
        }
        Some(file) => {
            std::fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
            Ok(line(format_args!("{} is written", file.display()))?)
        }
    }
}

/// For a line about what is done already and stays done: where it can't be written, the error says that it is done. A pipe that closed ends this command as
/// any other.
pub fn done(printed: Result<(), OutputError>) -> anyhow::Result<()> {
    use anyhow::Context;
    printed.context("what was asked for is done, but it can't be told")
}

/// Prints to standard error. Further lines are indented, so that none of them looks like one of ours; where it can't be written, nobody can be told.
pub fn complain(text: &str) {
    let lines: Vec<_> = text.trim_end().lines().map(shown).collect();
    let _ = writeln!(io::stderr().lock(), "{}", lines.join("\n  "));
}

/// Says what went wrong, in the words `told`, and how the process ends.
pub fn failure(error: &anyhow::Error, told: &str) -> ExitCode {
    if matches!(error.downcast_ref(), Some(OutputError::Closed)) {
        return ExitCode::from(PIPE_CLOSED);
    }
    complain(&format!("clearing: {told}"));
    ExitCode::FAILURE
}

/// [`line()`] of a formatted text, as `println!` takes it.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {
        $crate::commands::out::line(format_args!($($text)*))
    };
}
