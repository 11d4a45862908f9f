//! A record as CSV: UTF-8 with or without a byte order mark, commas or semicolons between cells.

use super::sheet::{Cell, MAX_CELL, MAX_COLUMNS, RecordError, Sink};

/// Reads every line that isn't empty.
pub fn read(bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), RecordError> {
    let file = |why: &str| RecordError::File(why.to_owned());
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(file("it is UTF-16; save it as UTF-8 (`CSV UTF-8`)"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| file("it is neither UTF-8 nor a workbook (.xlsx)"))?;
    if text.contains('\0') {
        return Err(file("it holds zero bytes, so it is no text"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let (mut columns, mut lines) = (None, Lines::default());
    while reader
        .read_record(&mut record)
        .map_err(|error| RecordError::File(error.to_string()))?
    {
        let start = record.position().map_or(0, csv::Position::byte);
        let line = lines.at(text.as_bytes(), usize::try_from(start).unwrap_or(usize::MAX));
        let most = columns.map_or(MAX_COLUMNS, |columns: usize| columns.max(1));
        if record.len() > most {
            let why = match columns {
                None => format!("more than {MAX_COLUMNS} columns"),
                Some(columns) => format!("line {line} has more cells than the header's {columns}"),
            };
            return Err(RecordError::File(why));
        }
        if let Some(long) = record.iter().position(|cell| cell.len() > MAX_CELL) {
            let why = format!(
                "line {line}, cell {}: longer than {MAX_CELL} bytes; is a quotation mark open?",
                long + 1
            );
            return Err(RecordError::File(why));
        }
        columns.get_or_insert(record.len());
        let cells: Vec<Cell> = record.iter().map(Cell::text).collect();
        if !cells.iter().all(Cell::is_empty) {
            sink(line, &cells)?;
        }
    }
    Ok(())
}

/// Counts lines as editors do, whichever way they end.
#[derive(Default)]
struct Lines {
    ends: u64,
    byte: usize,
}

impl Lines {
    /// The line of the first record that begins at a byte or after the ends of lines there; each call from further on.
    fn at(&mut self, text: &[u8], start: usize) -> u64 {
        while let Some(byte) = text.get(self.byte).filter(|byte| self.byte < start || b"\r\n".contains(byte)) {
            let ends = *byte == b'\n' || *byte == b'\r' && text.get(self.byte + 1) != Some(&b'\n');
            self.ends += u64::from(ends);
            self.byte += 1;
        }
        self.ends + 1
    }
}

/// What stands between the cells of the first line, outside of quotation marks.
fn delimiter(text: &str) -> u8 {
    let (mut quoted, mut commas, mut semicolons) = (false, 0usize, 0usize);
    for byte in text.bytes().skip_while(|b| b"\r\n".contains(b)) {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => commas += 1,
            b';' if !quoted => semicolons += 1,
            b'\n' | b'\r' if !quoted => break,
            _ => {}
        }
    }
    if semicolons > commas { b';' } else { b',' }
}
