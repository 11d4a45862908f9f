//! Pictures: what netting did, and what each day brought. Bars are as long as their figures say; the figures stand beside them, and in the words for who doesn't see them.

use jiff::civil::Date;
use krilla::tagging::{BBox, Tag};

use super::page::{ACCENT, Colour, HAIR, INK, LEFT, MUTED, Op, RULE, Sheet, WIDTH, area};
use super::text::grouped;
use super::words::Words;
use crate::period::DayLine;
use crate::statement::ReductionLine;

/// Of what the partner owes: at least 3 to 1 on white, as all bars, and told from the others without its hue.
const OWED_BY: Colour = (201, 133, 58);
/// Of gross and bilateral amounts.
const PALE: Colour = (133, 148, 167);
const MIDDLE: Colour = (72, 122, 162);

/// A bar, with what stands beside it.
struct Bar {
    label: &'static str,
    figure: String,
    colour: Colour,
}

impl Bar {
    fn new(label: &'static str, figure: &str, colour: Colour) -> Self {
        let figure = figure.to_owned();
        Self { label, figure, colour }
    }
}

/// How far a bar reaches: geometry, so the nearest float does. The figure itself stands beside it as the statement has it; one that is no number has no bar.
fn reach(figure: &str) -> f32 {
    figure.parse().ok().filter(|reach: &f32| reach.is_finite()).unwrap_or(0.0)
}

/// The same without its sign.
fn length(figure: &str) -> f32 {
    reach(figure).abs()
}

/// What netting did in one currency: from gross to what is paid.
pub fn reduction(sheet: &mut Sheet, words: &Words, line: &ReductionLine) {
    let bars = [
        (words.gross, &line.gross, PALE),
        (words.bilateral, &line.bilateral, MIDDLE),
        (words.multilateral, &line.multilateral, ACCENT),
    ];
    let bars = bars.map(|(label, figure, colour)| Bar::new(label, figure, colour));
    let saved = format!("{} {}%", words.saved, grouped(&line.efficiency_percent));
    across(sheet, words, (line.currency.as_str(), &saved), &bars);
}

/// What a day alone brought in one currency.
pub fn day(sheet: &mut Sheet, words: &Words, line: &DayLine) {
    let bars = [
        (words.you_are_owed, &line.you_are_owed, ACCENT),
        (words.you_owe, &line.you_owe, OWED_BY),
        (words.net, &line.net, INK),
    ];
    let bars = bars.map(|(label, figure, colour)| Bar::new(label, figure, colour));
    across(sheet, words, (line.currency.as_str(), ""), &bars);
}

/// Bars from left to right, one under the other.
fn across(sheet: &mut Sheet, words: &Words, (title, beside): (&str, &str), bars: &[Bar]) {
    let (size, step) = (8.5, 17.0);
    let height = 20.0 + step * f32::from(u8::try_from(bars.len()).unwrap_or(u8::MAX)) + 8.0;
    sheet.need(height);
    let (top, place) = (sheet.y, sheet.place());
    let face = &sheet.face;
    let mut ops = vec![Op::text((LEFT, top + 10.0), 9.5, INK, format!("{title} "))];
    let wide = face.width(beside, 9.5);
    ops.push(Op::text((LEFT + WIDTH - wide, top + 10.0), 9.5, ACCENT, format!("{beside} ")));
    let labels = bars.iter().map(|bar| face.width(bar.label, size)).fold(0.0, f32::max);
    let figures: Vec<String> = bars.iter().map(|bar| grouped(&bar.figure)).collect();
    let ends = figures.iter().map(|text| face.figure_width(text, size)).fold(0.0, f32::max);
    let (from, until) = (LEFT + labels + 12.0, LEFT + WIDTH - ends - 12.0);
    let longest = bars.iter().map(|bar| length(&bar.figure)).fold(0.0, f32::max);
    let mut said = vec![];
    let mut y = top + 20.0;
    for (bar, figure) in bars.iter().zip(figures) {
        let part = if longest > 0.0 { length(&bar.figure) / longest } else { 0.0 };
        // What is something is seen.
        let long = ((until - from) * part).max(if part > 0.0 { 0.8 } else { 0.0 });
        ops.push(Op::text((LEFT, y + 9.0), size, MUTED, format!("{} ", bar.label)));
        ops.push(Op::rectangle((from, y + 0.5), (long, 10.0), bar.colour));
        ops.push(Op::rectangle((from - 0.4, y - 3.0), (0.4, step), RULE));
        said.push(format!("{} {figure}", bar.label));
        let at = (LEFT + WIDTH - face.figure_width(&figure, size), y + 9.0);
        ops.push(Op::Text {
            at,
            size,
            colour: INK,
            text: format!("{figure} "),
            figure: true,
        });
        y += step;
    }
    let alt = format!("{title}{}{}", words.colon, said.join(words.comma));
    let alt = if beside.is_empty() {
        alt
    } else {
        format!("{alt}{}{beside}", words.comma)
    };
    picture(sheet, ops, alt, (top, place), height);
}

fn picture(sheet: &mut Sheet, ops: Vec<Op>, alt: String, (top, place): (f32, usize), height: f32) {
    let mark = sheet.mark(ops);
    sheet.y = top + height;
    let bbox = area(top, sheet.y).map(|rect| BBox::new(place, rect));
    sheet.push(Tag::Figure(Some(alt)).with_bbox(bbox), vec![mark]);
}

/// What the colours of [`days`] mean, once for all currencies.
pub fn legend(sheet: &mut Sheet, words: &Words) {
    sheet.need(130.0);
    let base = sheet.y + 8.0;
    let mut x = LEFT;
    let mut ops = vec![];
    for (label, colour) in [(words.owed_above, ACCENT), (words.owe_below, OWED_BY), (words.net_mark, INK)] {
        match colour {
            INK => ops.push(diamond((x + 4.0, base - 3.0), 4.0)),
            _ => ops.push(Op::rectangle((x, base - 7.0), (8.0, 8.0), colour)),
        }
        ops.push(Op::text((x + 12.0, base), 8.0, MUTED, format!("{label} ")));
        x += 12.0 + sheet.face.width(label, 8.0) + 18.0;
    }
    let mark = sheet.mark(ops);
    sheet.y += 18.0;
    sheet.push(Tag::P, vec![mark]);
}

fn diamond((x, y): (f32, f32), half: f32) -> Op {
    Op::Shape {
        corners: vec![(x, y - half), (x + half, y), (x, y + half), (x - half, y)],
        colour: INK,
    }
}

/// What the days of a period brought in one currency: owed to the partner above the line, owed by it below, the net as a mark.
pub fn days(sheet: &mut Sheet, words: &Words, dates: &[Date], lines: &[&DayLine]) {
    let Some(currency) = lines.first().map(|line| line.currency) else {
        return;
    };
    let (drawn, height) = (96.0, 96.0 + 18.0 + 26.0);
    sheet.need(height);
    let (top, place) = (sheet.y, sheet.place());
    let largest = |figure: fn(&DayLine) -> &str| {
        let by_length = |a: &&&DayLine, b: &&&DayLine| length(figure(a)).total_cmp(&length(figure(b)));
        lines.iter().max_by(by_length).map_or("0", |line| figure(line))
    };
    let (up, down) = (largest(|line| &line.you_are_owed), largest(|line| &line.you_owe));
    let (above, below) = (length(up), length(down));
    let scale = if above + below > 0.0 { drawn / (above + below) } else { 0.0 };
    let zero = top + 18.0 + above * scale;
    let size = 7.0;
    let (up, down) = (grouped(up), grouped(down));
    let gutter = sheet.face.figure_width(&up, size).max(sheet.face.figure_width(&down, size)) + 8.0;
    let (from, width) = (LEFT + gutter, WIDTH - gutter);
    let mut ops = vec![Op::text((LEFT, top + 9.0), 9.5, INK, format!("{currency} "))];
    for (y, text) in [(top + 18.0, &up), (top + 18.0 + drawn, &down)] {
        ops.push(Op::rectangle((from, y - 0.2), (width, 0.4), HAIR));
        ops.push(Op::Text {
            at: (from - 6.0 - sheet.face.figure_width(text, size), y + 2.5),
            size,
            colour: MUTED,
            text: format!("{text} "),
            figure: true,
        });
    }
    let slot = width / f32::from(u16::try_from(dates.len().max(1)).unwrap_or(u16::MAX));
    let bar = (slot * 0.62).min(18.0);
    let middle = |place: usize| from + slot * (f32::from(u16::try_from(place).unwrap_or(u16::MAX)) + 0.5);
    for line in lines {
        let x = middle(dates.binary_search(&line.business_date).unwrap_or(0));
        let (owed, owe) = (length(&line.you_are_owed) * scale, length(&line.you_owe) * scale);
        ops.push(Op::rectangle((x - bar / 2.0, zero - owed), (bar, owed), ACCENT));
        ops.push(Op::rectangle((x - bar / 2.0, zero), (bar, owe), OWED_BY));
        let net = reach(&line.net).clamp(-below, above) * scale;
        ops.push(diamond((x, zero - net), (bar / 3.0).clamp(0.9, 3.2)));
    }
    ops.push(Op::rectangle((from, zero - 0.3), (width, 0.6), RULE));
    // As many dates as have room.
    let room = sheet.face.width(&words.short_date(Date::constant(2000, 12, 22)), size) + 10.0;
    let mut free = 0.0;
    for (place, date) in dates.iter().enumerate() {
        let text = words.short_date(*date);
        let x = middle(place) - sheet.face.width(&text, size) / 2.0;
        if x >= free {
            ops.push(Op::text((x, top + 18.0 + drawn + 12.0), size, MUTED, format!("{text} ")));
            free = x + room;
        }
    }
    let alt = words.days_alt(currency.as_str(), dates, (&up, &down));
    picture(sheet, ops, alt, (top, place), height);
}
