//! A workbook's sheets and cells. Cells have types: figures are numbers, dates are dates, and a text is a text, whatever it begins with.

use rust_xlsxwriter::{ExcelDateTime, Format, FormatAlign, Workbook, Worksheet, XlsxError};

/// Excel counts in doubles, which hold this many decimal digits: longer figures stand as text, so that none is rounded.
const EXACT: usize = 15;
/// No column is wider, in characters' pixels.
const WIDEST: u32 = 420;
/// As `set_paper_size` counts.
const A4: u8 = 9;

/// A cell.
pub(crate) enum Cell<'a> {
    /// A text, whatever it begins with.
    Text(&'a str),
    /// A figure as the statement writes it.
    Number(&'a str),
    /// How many.
    Count(i64),
    /// A day.
    Date(jiff::civil::Date),
}

use Cell::{Count, Date, Number, Text};

/// A sheet's rows, below a header.
pub(crate) type Rows<'a> = Vec<Vec<Cell<'a>>>;

/// A sheet with its header frozen and filters on it; empty sections have their header, so that every workbook has the same sheets.
pub(crate) fn sheet(workbook: &mut Workbook, name: &str, columns: &[&str], rows: Rows<'_>) -> Result<(), XlsxError> {
    let sheet = workbook.add_worksheet().set_name(name)?;
    let header = Format::new().set_bold().set_align(FormatAlign::Top);
    for (column, title) in (0..).zip(columns) {
        sheet.write_string_with_format(0, column, *title, &header)?;
    }
    for (row, cells) in (1..).zip(&rows) {
        for (column, cell) in (0..).zip(cells) {
            write(sheet, (row, column), cell)?;
        }
    }
    sheet
        .set_freeze_panes(1, 0)?
        .set_repeat_rows(0, 0)?
        .set_landscape()
        .set_paper_size(A4);
    if let (Ok(last), Ok(right)) = (u32::try_from(rows.len()), u16::try_from(columns.len() - 1)) {
        sheet.autofilter(0, 0, last, right)?;
    }
    sheet.set_autofit_max_width(WIDEST).autofit();
    Ok(())
}

fn write(sheet: &mut Worksheet, (row, column): (u32, u16), cell: &Cell<'_>) -> Result<(), XlsxError> {
    match cell {
        // An empty cell is none.
        Text("") => {}
        Text(text) => {
            sheet.write_string(row, column, *text)?;
        }
        Number(figure) => match exact(figure) {
            Some(number) => {
                let decimals = figure.split_once('.').map_or(0, |(_, rest)| rest.len());
                let zeros = if decimals == 0 {
                    String::new()
                } else {
                    format!(".{}", "0".repeat(decimals))
                };
                let format = Format::new().set_num_format(format!("#,##0{zeros}"));
                sheet.write_number_with_format(row, column, number, &format)?;
            }
            None => {
                sheet.write_string_with_format(row, column, *figure, &Format::new().set_align(FormatAlign::Right))?;
            }
        },
        Count(count) => match u32::try_from(*count) {
            Ok(count) => {
                // A workbook has no other numbers than doubles, which hold each of these.
                sheet.write_number(row, column, f64::from(count))?;
            }
            Err(_) => {
                sheet.write_string(row, column, count.to_string())?;
            }
        },
        Date(date) => {
            let format = Format::new().set_num_format("yyyy-mm-dd");
            sheet.write_datetime_with_format(row, column, date_time(date.to_datetime(jiff::civil::Time::midnight()))?, &format)?;
        }
    }
    Ok(())
}

/// The figure as a double, where that holds all its digits: a workbook has no other numbers. Nothing is computed with it.
pub(crate) fn exact(figure: &str) -> Option<f64> {
    let short = match figure.contains('.') {
        true => figure.trim_end_matches('0'),
        false => figure,
    };
    let digits = short.bytes().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0').count();
    if digits > EXACT { None } else { figure.parse().ok() }
}

/// As a workbook has it.
pub(crate) fn date_time(at: jiff::civil::DateTime) -> Result<ExcelDateTime, XlsxError> {
    ExcelDateTime::parse_from_str(&at.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}
