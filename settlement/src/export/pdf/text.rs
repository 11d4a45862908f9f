//! The one font: which glyph stands for a character, how wide a text is, and where it breaks into lines. Enough for English and Chinese from left to right; no ligatures, no kerning.

use std::ops::Range;

use krilla::text::{Font, GlyphId, KrillaGlyph};
use skrifa::charmap::Charmap;
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::{FontRef, MetadataProvider};

use crate::export::ExportError;

/// Noto Sans HK: it has Big5 and the characters of Hong Kong's supplementary set.
static NOTO: &[u8] = include_bytes!("../../../fonts/NotoSansHK-Regular.ttf");

/// What is drawn for a character that the font lacks: the mark that Chinese and Japanese printers put in its place.
const MISSING: char = '〓';
/// What is read for a character that no PDF/A may map a glyph to.
const UNREADABLE: &str = "\u{FFFD}";

/// The font, ready to measure and to draw.
pub struct Face {
    font: Font,
    charmap: Charmap<'static>,
    metrics: GlyphMetrics<'static>,
    units: f32,
}

/// A text as glyphs.
pub struct Shaped {
    pub glyphs: Vec<KrillaGlyph>,
    /// What a reader extracts, by the glyphs' ranges.
    pub text: String,
}

impl Face {
    pub fn new() -> Result<Self, ExportError> {
        let broken = || ExportError::Pdf("the font can't be read".to_owned());
        let font = Font::new(NOTO.into(), 0).ok_or_else(broken)?;
        let parsed = FontRef::new(NOTO).map_err(|_| broken())?;
        Ok(Self {
            font,
            charmap: parsed.charmap(),
            metrics: parsed.glyph_metrics(Size::unscaled(), LocationRef::default()),
            units: f32::from(parsed.metrics(Size::unscaled(), LocationRef::default()).units_per_em),
        })
    }

    pub fn font(&self) -> Font {
        self.font.clone()
    }

    /// The glyph of a character, and its advance in ems. In figures a hyphen is drawn as a minus, which is as wide as a digit, and read as a hyphen all the
    /// same; so a minus in a name gets another glyph, lest the two get mixed.
    fn glyph(&self, character: char, figure: bool) -> (u32, f32) {
        let drawn = match character {
            '-' if figure => '−',
            '−' => '–',
            '\u{a0}' => ' ',
            other => other,
        };
        let find = |character: char| self.charmap.map(character).filter(|glyph| glyph.to_u32() != 0);
        let glyph = find(drawn).or_else(|| find(MISSING)).unwrap_or_default();
        (glyph.to_u32(), self.metrics.advance_width(glyph).unwrap_or(self.units) / self.units)
    }

    /// How wide a text is, blanks at its end aside.
    pub fn width(&self, text: &str, size: f32) -> f32 {
        let ems: f32 = text.trim_end_matches(' ').chars().map(|c| self.glyph(c, false).1).sum();
        ems * size
    }

    /// How wide a figure is.
    pub fn figure_width(&self, text: &str, size: f32) -> f32 {
        let ems: f32 = text.chars().map(|c| self.glyph(c, true).1).sum();
        ems * size
    }

    pub fn shape(&self, text: &str, figure: bool) -> Shaped {
        let mut shaped = Shaped {
            glyphs: Vec::with_capacity(text.len()),
            text: String::with_capacity(text.len()),
        };
        for character in text.chars() {
            let (glyph, advance) = self.glyph(character, figure);
            let from = shaped.text.len();
            match character {
                // It has kept words together by now.
                '\u{a0}' => shaped.text.push(' '),
                character if readable(character) => shaped.text.push(character),
                _ => shaped.text.push_str(UNREADABLE),
            }
            let range: Range<usize> = from..shaped.text.len();
            shaped
                .glyphs
                .push(KrillaGlyph::new(GlyphId::new(glyph), advance, 0.0, 0.0, 0.0, range, None));
        }
        shaped
    }

    /// A text in lines that are no wider. A blank at which one ends stays at its end, so that words stay apart for readers.
    pub fn wrap(&self, text: &str, size: f32, width: f32) -> Vec<String> {
        let mut lines = vec![];
        let mut line = String::new();
        // How far the line reaches, the blank at its end included.
        let mut reach = 0.0;
        for piece in pieces(text) {
            let wide = self.width(piece, size);
            if !line.is_empty() && reach + wide > width {
                lines.push(std::mem::take(&mut line));
                reach = 0.0;
            }
            for character in piece.chars() {
                let advance = self.glyph(character, false).1 * size;
                // A word that no line holds breaks wherever it must.
                if wide > width && !line.is_empty() && reach + advance > width && character != ' ' {
                    lines.push(std::mem::take(&mut line));
                    reach = 0.0;
                }
                line.push(character);
                reach += advance;
            }
        }
        if !line.is_empty() || lines.is_empty() {
            lines.push(line);
        }
        lines
    }

    /// The widest part of a text that doesn't break.
    pub fn longest_piece(&self, text: &str, size: f32) -> f32 {
        pieces(text).map(|piece| self.width(piece, size)).fold(0.0, f32::max)
    }
}

/// Whether PDF/A lets a glyph stand for it: no control, no private use, none that mark the order of bytes.
fn readable(character: char) -> bool {
    let private = matches!(u32::from(character), 0xE000..=0xF8FF | 0xF0000..=0xFFFFD | 0x10_0000..=0x10_FFFD);
    !character.is_control() && !private && !matches!(character, '\u{FEFF}' | '\u{FFFE}')
}

/// The parts of a text between which a line may end: words with the blank after them, and Chinese characters, each with the marks that may not begin a line.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut letters = rest.char_indices().peekable();
        letters.peek()?;
        let mut end = rest.len();
        while let Some((_, letter)) = letters.next() {
            let Some((next_at, next)) = letters.peek().copied() else {
                break;
            };
            let may = match (letter, next) {
                (_, ' ') => false,
                (' ', _) => true,
                (letter, next) => (wide(letter) || wide(next)) && !opens(letter) && !closes(next),
            };
            if may {
                end = next_at;
                break;
            }
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// Chinese, Japanese and Korean letters and marks.
fn wide(letter: char) -> bool {
    matches!(u32::from(letter), 0x2E80..=0xFFEF | 0x2_0000..=0x3_FFFF)
}

fn opens(letter: char) -> bool {
    "（「『《〈【〔“‘([".contains(letter)
}

fn closes(letter: char) -> bool {
    "）」』》〉】〕”’)]，。、；：！？,.;:!?%·".contains(letter)
}

/// A figure as it is shown: its thousands grouped, every digit as the statement has it.
pub fn grouped(figure: &str) -> String {
    let (sign, digits) = figure.strip_prefix('-').map_or(("", figure), |digits| ("-", digits));
    let (whole, rest) = digits.find('.').map_or((digits, ""), |at| digits.split_at(at));
    if !whole.bytes().all(|b| b.is_ascii_digit()) {
        return figure.to_owned();
    }
    let mut text = String::from(sign);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text.push_str(rest);
    text
}
