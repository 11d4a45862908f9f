//! Tables: columns as wide as what is in them, figures to the right, and the header again on every page.

use krilla::tagging::{TableHeaderScope, Tag, TagKind};

use super::page::{Colour, HAIR, INK, LEFT, MUTED, Op, Part, RULE, Sheet, WIDTH};
use super::text::{Face, grouped};

/// From line to line, in sizes.
const LEADING: f32 = 1.4;
/// Between columns.
const GAP: f32 = 9.0;
/// The least that a column of text is left with.
const LEAST: f32 = 84.0;
/// What a column of text doesn't fall below beside a longer one, even where it could break after each character.
const FLOOR: f32 = 60.0;
/// Of headers, where their table isn't smaller.
const HEAD: f32 = 7.5;
/// Below this nothing is set.
const SMALLEST: f32 = 4.5;

/// What is in a cell.
#[derive(Debug, Clone)]
pub enum Cell {
    /// Paragraphs: they break into lines where the column is narrow.
    Text(Vec<String>),
    /// A text in one line, such as a date.
    Whole(String),
    /// A number, its thousands grouped already.
    Figure(String),
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(vec![text.into()])
    }

    pub fn whole(text: impl Into<String>) -> Self {
        Self::Whole(text.into())
    }

    /// A figure of the statement.
    pub fn figure(text: &str) -> Self {
        Self::Figure(grouped(text))
    }
}

/// A table, all columns of which have a header.
pub struct Table {
    /// What it is, for who doesn't see it.
    pub summary: String,
    pub heads: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
    pub size: f32,
}

/// A table as it is set.
struct Set {
    size: f32,
    /// Where each column begins, and how wide it is.
    columns: Vec<(f32, f32)>,
    /// Whether it holds figures.
    right: Vec<bool>,
}

impl Set {
    /// The lines of a cell, and whether they are figures.
    fn lines(&self, face: &Face, cell: &Cell, (column, size): (usize, f32)) -> Vec<(String, bool)> {
        let width = self.columns[column].1;
        let broken = |text: &str| face.wrap(text, size, width + 0.1);
        match cell {
            Cell::Text(paragraphs) => {
                let mut lines = vec![];
                for (place, text) in paragraphs.iter().enumerate() {
                    // What a reader extracts has a blank between paragraphs, too.
                    let between = if place + 1 < paragraphs.len() { " " } else { "" };
                    let text = format!("{text}{between}");
                    lines.extend(broken(&text).into_iter().map(|line| (line, false)));
                }
                lines
            }
            Cell::Whole(text) => broken(text).into_iter().map(|line| (line, false)).collect(),
            // Where even the smallest size is too wide; it isn't for any figure that a ledger can hold.
            Cell::Figure(text) if face.figure_width(text, size) > width + 0.1 => {
                broken(text).into_iter().map(|line| (line, true)).collect()
            }
            Cell::Figure(text) => vec![(text.clone(), true)],
        }
    }

    /// Where a line begins.
    fn at(&self, face: &Face, (line, figure): &(String, bool), (column, size): (usize, f32)) -> f32 {
        let (left, width) = self.columns[column];
        let wide = match figure {
            true => face.figure_width(line, size),
            false => face.width(line, size),
        };
        if self.right[column] { left + width - wide } else { left }
    }

    fn ops(&self, face: &Face, lines: Vec<(String, bool)>, (column, top): (usize, f32), (size, colour): (f32, Colour)) -> Vec<Op> {
        let mut base = top + size;
        let mut ops = vec![];
        for line in lines {
            ops.push(Op::Text {
                at: (self.at(face, &line, (column, size)), base),
                size,
                colour,
                text: line.0,
                figure: line.1,
            });
            base += size * LEADING;
        }
        ops
    }

    fn head(&self) -> f32 {
        self.size.min(HEAD)
    }
}

/// How high so many lines are.
fn height(lines: &[Vec<(String, bool)>], size: f32) -> f32 {
    let most = lines.iter().map(Vec::len).max().unwrap_or(1);
    size * LEADING * f32::from(u16::try_from(most).unwrap_or(u16::MAX))
}

/// Puts a table on the pages.
pub fn table(sheet: &mut Sheet, table: &Table) {
    let set = set(&sheet.face, table);
    let heads: Vec<Cell> = table.heads.iter().map(Cell::text).collect();
    let lines = |sheet: &Sheet, cells: &[Cell], size: f32| -> Vec<_> {
        let cells = cells.iter().enumerate();
        cells.map(|(column, cell)| set.lines(&sheet.face, cell, (column, size))).collect()
    };
    let heads = lines(sheet, &heads, set.head());
    sheet.need(height(&heads, set.head()) + set.size * LEADING * 2.0 + 12.0);
    let head = header(sheet, &set, &heads, true);
    let mut rows = vec![];
    for row in &table.rows {
        let lines = lines(sheet, row, set.size);
        let height = height(&lines, set.size) + 6.0;
        if !sheet.fits(height) {
            sheet.turn();
            header(sheet, &set, &heads, false);
        }
        let top = sheet.y + 2.5;
        let mut cells = vec![];
        for (column, lines) in lines.into_iter().enumerate() {
            let ops = set.ops(&sheet.face, lines, (column, top), (set.size, INK));
            // A mark a cell: each of its lines would be twice as large a file.
            let parts = if ops.is_empty() { vec![] } else { vec![sheet.mark(ops)] };
            let kind: TagKind = if column == 0 {
                Tag::TH(TableHeaderScope::Row).into()
            } else {
                Tag::TD.into()
            };
            cells.push(Part::Group(kind, parts));
        }
        sheet.y += height;
        sheet.line(sheet.y - 0.4, 0.4, HAIR);
        rows.push(Part::Group(Tag::TR.into(), cells));
    }
    sheet.y += 6.0;
    let parts = vec![Part::Group(Tag::THead.into(), vec![head]), Part::Group(Tag::TBody.into(), rows)];
    sheet.push(Tag::Table.with_summary(Some(table.summary.clone())), parts);
}

/// The header: once as part of the table, and on later pages for the eye alone.
fn header(sheet: &mut Sheet, set: &Set, heads: &[Vec<(String, bool)>], first: bool) -> Part {
    let size = set.head();
    let whole = height(heads, size);
    let mut cells = vec![];
    for (column, lines) in heads.iter().enumerate() {
        // Short ones stand on the line that the longest ends on.
        let top = sheet.y + whole - height(std::slice::from_ref(lines), size);
        let ops = set.ops(&sheet.face, lines.clone(), (column, top), (size, MUTED));
        match first {
            true => {
                let mark = sheet.mark(ops);
                cells.push(Part::Group(Tag::TH(TableHeaderScope::Column).into(), vec![mark]));
            }
            false => ops.into_iter().for_each(|op| sheet.decorate(op)),
        }
    }
    sheet.y += whole + 4.0;
    sheet.line(sheet.y - 0.7, 0.7, RULE);
    Part::Group(Tag::TR.into(), cells)
}

/// How wide the columns are: figures as they need, texts as there is room; where that isn't enough, smaller.
fn set(face: &Face, table: &Table) -> Set {
    let count = table.heads.len();
    let right: Vec<bool> = (0..count)
        .map(|column| {
            table
                .rows
                .first()
                .is_some_and(|row| matches!(row.get(column), Some(Cell::Figure(_))))
        })
        .collect();
    let measures: Vec<(f32, f32)> = (0..count).map(|column| measure(face, table, column)).collect();
    let room = WIDTH - GAP * f32::from(u16::try_from(count.saturating_sub(1)).unwrap_or(0));
    let least: f32 = measures.iter().map(|(least, _)| least).sum();
    let whole: f32 = measures.iter().map(|(_, whole)| whole).sum();
    let scale = match least > room {
        true => (room / least).max(SMALLEST / table.size),
        false => 1.0,
    };
    let (least, whole) = (least * scale, whole * scale);
    let mut left = LEFT;
    let columns = measures
        .iter()
        .map(|(min, max)| {
            let (min, max) = (min * scale, max * scale);
            let width = match () {
                // What is over stands between the columns.
                () if whole <= room => max + (room - whole) / f32::from(u16::try_from(count).unwrap_or(1)),
                () if least <= room && whole > least => min + (room - least) * (max - min) / (whole - least),
                () => min * room / least,
            };
            let column = (left, width);
            left += width + GAP;
            column
        })
        .collect();
    Set {
        size: table.size * scale,
        columns,
        right,
    }
}

/// The least that a column needs, and with what nothing in it breaks.
fn measure(face: &Face, table: &Table, column: usize) -> (f32, f32) {
    let head = &table.heads[column];
    let size = table.size.min(HEAD);
    let mut least = face.longest_piece(head, size);
    let mut whole = least.max(face.width(head, size).min(LEAST));
    for cell in table.rows.iter().filter_map(|row| row.get(column)) {
        match cell {
            Cell::Figure(text) => {
                let width = face.figure_width(text, table.size);
                (least, whole) = (least.max(width), whole.max(width));
            }
            Cell::Whole(text) => {
                let width = face.width(text, table.size);
                (least, whole) = (least.max(width), whole.max(width));
            }
            Cell::Text(paragraphs) => {
                for text in paragraphs {
                    let width = face.width(text, table.size);
                    least = least.max(face.longest_piece(text, table.size).min(LEAST)).max(width.min(FLOOR));
                    whole = whole.max(width);
                }
            }
        }
    }
    (least, whole.max(least))
}
