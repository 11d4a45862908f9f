//! A record as a workbook (ECMA-376, .xlsx): its first sheet, read within bounds. What a file unpacks to is counted while it is unpacked, whatever it says of itself.

use std::io::{BufReader, Cursor, Read};
use std::rc::Rc;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

use super::sheet::{Cell, MAX_CELL, MAX_COLUMNS, RecordError, Sink};

/// What the parts that are read may unpack to, in bytes, all together.
const MAX_UNPACKED: u64 = 64 * 1024 * 1024;
/// The most texts that cells share, and their length together in bytes.
const MAX_TEXTS: usize = 1_000_000;
const MAX_TEXT: usize = 32 * 1024 * 1024;
/// The most parts of a file: a workbook has a few for each sheet.
const MAX_PARTS: usize = 2_000;
/// How deep elements may stand in each other.
const DEPTH: usize = 64;
/// The longest element's tag or text, in bytes.
const MAX_PIECE: u64 = 1024 * 1024;
/// The most rows and cells of a sheet, and cells of a row, empty ones too: coloured cells are there without a text. A sheet has no more rows and columns.
const MAX_SHEET_ROWS: u32 = 1_048_576;
const MAX_CELLS: u32 = 3_000_000;
const MAX_ROW_CELLS: u32 = 16_384;

type Zip<'a> = ZipArchive<Cursor<&'a [u8]>>;

fn bad(why: impl Into<String>) -> RecordError {
    RecordError::File(why.into())
}

fn not_xml(error: impl std::fmt::Display) -> RecordError {
    bad(format!("the workbook's XML: {error}"))
}

/// Counts what is unpacked, and ends in an error where that is too much, of all or of one piece.
struct Bounded<'a, R> {
    inner: R,
    left: &'a mut u64,
    piece: u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(into)?;
        *self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| std::io::Error::other("it unpacks to more than 64 MiB"))?;
        self.piece += read as u64;
        match self.piece > MAX_PIECE {
            true => Err(std::io::Error::other("a tag or text is longer than 1 MiB")),
            false => Ok(read),
        }
    }
}

/// Goes through a part's events.
fn walk(
    zip: &mut Zip<'_>,
    part: &str,
    left: &mut u64,
    see: &mut dyn FnMut(&Event<'_>) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let file = zip.by_name(part).map_err(|_| bad(format!("it is no workbook: it has no {part}")))?;
    let file = Bounded {
        inner: file,
        left,
        piece: 0,
    };
    let mut reader = Reader::from_reader(BufReader::new(file));
    reader.config_mut().expand_empty_elements = true;
    let (mut room, mut depth) = (vec![], 0usize);
    loop {
        room.clear();
        reader.get_mut().get_mut().piece = 0;
        let event = reader.read_event_into(&mut room).map_err(not_xml)?;
        match &event {
            Event::Start(_) if depth >= DEPTH => return Err(bad(format!("elements stand more than {DEPTH} deep"))),
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::DocType(_) => return Err(bad("a document type is declared, which isn't read")),
            Event::Eof if depth > 0 => return Err(bad("it ends in the middle")),
            Event::Eof => return Ok(()),
            _ => {}
        }
        see(&event)?;
    }
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, RecordError> {
    let found = start.try_get_attribute(name).map_err(not_xml)?;
    Ok(found.map(|one| one.value.into_owned()))
}

/// What an event adds to a text.
fn add_text(event: &Event<'_>, into: &mut String) -> Result<(), RecordError> {
    match event {
        Event::Text(text) => into.push_str(&text.xml10_content()),
        Event::CData(text) => into.push_str(&text.xml10_content()),
        Event::GeneralRef(one) => {
            let named = match &*one.xml10_content() {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => one.resolve_char_ref().map_err(not_xml)?,
            };
            into.push(named.ok_or_else(|| bad("it names something that isn't declared in XML"))?);
        }
        _ => {}
    }
    match into.len() > MAX_CELL {
        true => Err(bad(format!("a cell is longer than {MAX_CELL} bytes"))),
        false => Ok(()),
    }
}

/// The part of the first sheet, and whether days count from 1904.
fn first_sheet(zip: &mut Zip<'_>, left: &mut u64) -> Result<(String, bool), RecordError> {
    let (mut id, mut since_1904) = (None, false);
    walk(zip, "xl/workbook.xml", left, &mut |event| {
        let Event::Start(start) = event else { return Ok(()) };
        match start.local_name().as_ref() {
            "workbookPr" => since_1904 = matches!(attribute(start, "date1904")?.as_deref(), Some("1" | "true")),
            "sheet" if id.is_none() => id = attribute(start, "r:id")?,
            _ => {}
        }
        Ok(())
    })?;
    let id = id.ok_or_else(|| bad("the workbook has no sheet"))?;
    let mut target = None;
    walk(zip, "xl/_rels/workbook.xml.rels", left, &mut |event| {
        if let Event::Start(start) = event
            && attribute(start, "Id")?.as_ref() == Some(&id)
        {
            target = attribute(start, "Target")?;
        }
        Ok(())
    })?;
    let target = target.ok_or_else(|| bad("the workbook's first sheet isn't there"))?;
    Ok(match target.strip_prefix('/') {
        Some(whole) => (whole.to_owned(), since_1904),
        None => (format!("xl/{target}"), since_1904),
    })
}

/// The texts that cells name by number, without blanks at their ends; none where the workbook has none.
fn texts(zip: &mut Zip<'_>, left: &mut u64) -> Result<Vec<Rc<str>>, RecordError> {
    const PART: &str = "xl/sharedStrings.xml";
    let (mut texts, mut now, mut is_text, mut phonetic, mut all): (Vec<Rc<str>>, _, _, _, _) = (vec![], String::new(), false, false, 0);
    if zip.index_for_name(PART).is_none() {
        return Ok(texts);
    }
    walk(zip, PART, left, &mut |event| {
        match event {
            Event::Start(start) => match start.local_name().as_ref() {
                "si" => now.clear(),
                "rPh" => phonetic = true,
                "t" => is_text = !phonetic,
                _ => {}
            },
            Event::End(end) => match end.local_name().as_ref() {
                "si" => {
                    all += now.len();
                    if texts.len() >= MAX_TEXTS || all > MAX_TEXT {
                        return Err(bad("the workbook has too many or too long texts"));
                    }
                    texts.push(now.trim().into());
                }
                "rPh" => phonetic = false,
                "t" => is_text = false,
                _ => {}
            },
            event if is_text => add_text(event, &mut now)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(texts)
}

/// A column's place, from 0, by a cell's name such as `AB12`.
fn column(name: &str) -> Option<usize> {
    let letters = name.bytes().take_while(u8::is_ascii_uppercase);
    let place = letters
        .take(4)
        .fold(0usize, |place, letter| place * 26 + usize::from(letter - b'A') + 1);
    place.checked_sub(1)
}

/// A cell while it is read.
#[derive(Default)]
struct Open {
    kind: String,
    value: String,
    is_formula: bool,
}

impl Open {
    fn cell(self, texts: &[Rc<str>], since_1904: bool) -> Result<Cell, RecordError> {
        Ok(match self.kind.as_str() {
            _ if self.is_formula => Cell::Formula,
            "s" => {
                let text = self.value.trim().parse::<usize>().ok().and_then(|place| texts.get(place));
                Cell::Text(text.ok_or_else(|| bad("a cell names a text that isn't there"))?.clone())
            }
            "" | "n" if !self.value.trim().is_empty() => Cell::Number {
                text: self.value.trim().to_owned(),
                since_1904,
            },
            "b" => Cell::text(if self.value.trim() == "1" { "TRUE" } else { "FALSE" }),
            _ => Cell::text(&self.value),
        })
    }
}

/// Where the reading of a sheet is.
#[derive(Default)]
struct Place {
    since_1904: bool,
    line: u64,
    rows_seen: u32,
    cells_seen: u32,
    of_row: u32,
    cells: Vec<Cell>,
    open: Option<Open>,
    is_value: bool,
    at: usize,
}

impl Place {
    fn see(&mut self, event: &Event<'_>, texts: &[Rc<str>], sink: &mut Sink<'_>) -> Result<(), RecordError> {
        match event {
            Event::Start(start) => match start.local_name().as_ref() {
                "row" => {
                    (self.rows_seen, self.of_row) = (self.rows_seen + 1, 0);
                    if self.rows_seen > MAX_SHEET_ROWS {
                        return Err(bad(format!("its sheet has more than {MAX_SHEET_ROWS} rows, empty ones too")));
                    }
                    let said = attribute(start, "r")?.and_then(|number| number.parse().ok());
                    self.line = said.unwrap_or(self.line.saturating_add(1));
                    self.cells.clear();
                }
                "c" => {
                    self.count_cell()?;
                    let said = attribute(start, "r")?;
                    self.at = said.and_then(|name| column(&name)).unwrap_or(self.cells.len());
                    self.open = Some(Open {
                        kind: attribute(start, "t")?.unwrap_or_default(),
                        ..Open::default()
                    });
                }
                "f" => self.open.iter_mut().for_each(|open| open.is_formula = true),
                "v" | "t" => self.is_value = true,
                _ => {}
            },
            Event::End(end) => match end.local_name().as_ref() {
                "v" | "t" => self.is_value = false,
                "c" => self.close(texts)?,
                "row" if !self.cells.iter().all(Cell::is_empty) => sink(self.line, &self.cells)?,
                _ => {}
            },
            event if self.is_value => self.open.iter_mut().try_for_each(|open| add_text(event, &mut open.value))?,
            _ => {}
        }
        Ok(())
    }

    fn count_cell(&mut self) -> Result<(), RecordError> {
        (self.cells_seen, self.of_row) = (self.cells_seen + 1, self.of_row + 1);
        let all = "delete the columns and rows that you don't need, or send the record as CSV";
        match () {
            () if self.of_row > MAX_ROW_CELLS => Err(bad(format!(
                "line {} has more than {MAX_ROW_CELLS} cells, empty ones too",
                self.line
            ))),
            () if self.cells_seen > MAX_CELLS => Err(bad(format!("its sheet has more than {MAX_CELLS} cells, empty ones too: {all}"))),
            () => Ok(()),
        }
    }

    fn close(&mut self, texts: &[Rc<str>]) -> Result<(), RecordError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let cell = open.cell(texts, self.since_1904)?;
        // Cells that are only coloured may stand anywhere.
        if cell.is_empty() {
            return Ok(());
        }
        if self.at >= MAX_COLUMNS {
            return Err(bad(format!("line {} has a cell beyond column {MAX_COLUMNS}", self.line)));
        }
        if self.at < self.cells.len() {
            return Err(bad(format!("line {} has its cells out of order", self.line)));
        }
        self.cells.resize(self.at, Cell::text(""));
        self.cells.push(cell);
        Ok(())
    }
}

/// Reads every line of the first sheet that isn't empty.
pub fn read(bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), RecordError> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| bad("it is no whole workbook (.xlsx)"))?;
    if zip.len() > MAX_PARTS {
        return Err(bad(format!("the workbook has more than {MAX_PARTS} parts")));
    }
    let mut left = MAX_UNPACKED;
    let (sheet, since_1904) = first_sheet(&mut zip, &mut left)?;
    let texts = texts(&mut zip, &mut left)?;
    let mut place = Place {
        since_1904,
        ..Place::default()
    };
    walk(&mut zip, &sheet, &mut left, &mut |event| place.see(event, &texts, sink))
}
