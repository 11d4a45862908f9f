//! What a file of a partner's is read into, cell by cell, whichever its form.

use std::rc::Rc;

/// The largest file, in bytes.
pub const MAX_FILE: usize = 4 * 1024 * 1024;
/// The most rows below the header.
pub const MAX_ROWS: usize = 200_000;
/// The most columns.
pub const MAX_COLUMNS: usize = 64;
/// The longest cell, in bytes: as long as a spreadsheet's.
pub const MAX_CELL: usize = 32_767;

/// Why a partner's record can't be read, or held against the ledger. No text shows a cell below the header: what stands there may be a member's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The file as a whole.
    #[error("the record can't be read: {0}")]
    File(String),
    /// The header lacks something, or has it twice.
    #[error("{why}; the header has {found}")]
    Header {
        /// What is wrong.
        why: String,
        /// The columns that there are.
        found: String,
    },
    /// A cell.
    #[error("line {line}, column `{column}`: {why}")]
    Cell {
        /// The line, the header being 1.
        line: u64,
        /// The column's name.
        column: String,
        /// What is wrong.
        why: String,
    },
    /// The mapping.
    #[error("the mapping: {0}")]
    Mapping(String),
    /// Too many rows and messages could be each other's.
    #[error(
        "too many rows and messages of one member are alike within the tolerance: add a column with the message's id, or take a smaller tolerance"
    )]
    TooAlike,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Text without blanks at its ends. Cells of a workbook may share one.
    Text(Rc<str>),
    /// A number of a spreadsheet.
    Number {
        /// As its file has it: decimal or with an exponent.
        text: String,
        /// Whether the workbook counts days from 1904.
        since_1904: bool,
    },
    /// What a spreadsheet computes: what its file says isn't what somebody wrote.
    Formula,
}

impl Cell {
    /// One with a text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.trim().into())
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }
}

/// Takes a line's number and cells, one after the other; the first is the header.
pub type Sink<'a> = dyn FnMut(u64, &[Cell]) -> Result<(), RecordError> + 'a;

/// A name of the file's own as it can be shown: plain and short.
pub fn shown(name: &str) -> String {
    let plain = name.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(40).collect()
}
