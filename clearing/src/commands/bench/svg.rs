//! The result as a picture: the rates beside their bounds, and where a message's processor time goes.

use std::fmt::Write as _;

use super::report::{Against, Report};
use super::times::{micros, percent, share};

const WIDTH: u64 = 760;
/// Where bars begin, and how long the longest is.
const LEFT: u64 = 20;
const LONGEST: u64 = 560;
const STRONG: &str = "#1f5fa8";
const PALE: &str = "#c9d8ea";
/// What bars are made of, in the order of the parts; the last is for the rest.
const COLOURS: [&str; 4] = ["#1f5fa8", "#3a8f5c", "#b4601c", "#b8bec6"];

/// A picture, drawn downwards.
struct Page {
    text: String,
    y: u64,
}

impl Page {
    fn text(&mut self, size: u64, x: u64, text: &str) {
        let (y, text) = (self.y, escaped(text));
        // Writing to a string can't fail.
        let _ = writeln!(
            self.text,
            r##"<text x="{x}" y="{y}" font-size="{size}" fill="#1b1f24">{text}</text>"##
        );
    }

    fn rect(&mut self, (x, width, height): (u64, u64, u64), colour: &str) {
        let _ = writeln!(
            self.text,
            r#"<rect x="{x}" y="{}" width="{width}" height="{height}" fill="{colour}"/>"#,
            self.y
        );
    }

    /// A heading after a gap.
    fn heading(&mut self, text: &str) {
        self.y += 44;
        self.text(17, LEFT, text);
        self.y += 6;
    }

    /// The rate as a bar upon that of its bound.
    fn rate(&mut self, name: &str, against: &Against, most: u64) {
        let (rate, bound) = (against.series.per_second, against.bound);
        self.y += 26;
        let of_it = percent(against.permille);
        self.text(14, LEFT, &format!("{name}: {rate} messages a second, {of_it} of {bound}"));
        self.y += 8;
        self.rect((LEFT, share(LONGEST, bound, most), 22), PALE);
        self.rect((LEFT, share(LONGEST, rate, most), 22), STRONG);
        self.y += 22;
    }

    /// The processor time of a message as a bar of its parts, with their names below.
    fn parts(&mut self, name: &str, parts: &[(&str, u64, &str)], most: u64) {
        let all: u64 = parts.iter().map(|(_, nanos, _)| nanos).sum();
        self.y += 26;
        self.text(14, LEFT, &format!("{name}: {} a message", micros(all)));
        self.y += 8;
        let mut x = LEFT;
        for (_, nanos, colour) in parts {
            let width = share(LONGEST, *nanos, most);
            self.rect((x, width, 22), colour);
            x += width;
        }
        self.y += 40;
        for (x, (part, nanos, colour)) in (LEFT..).step_by(175).zip(parts) {
            self.y -= 11;
            self.rect((x, 12, 12), colour);
            self.y += 11;
            self.text(13, x + 18, &format!("{part} {}", micros(*nanos)));
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Draws a report.
pub(super) fn draw(report: &Report) -> String {
    let mut page = Page {
        text: String::new(),
        y: 34,
    };
    page.text(20, LEFT, "What the clearinghouse does, and what the machine allows");
    for line in report.machine.to_string().lines() {
        page.y += 24;
        page.text(14, LEFT, line);
    }
    let named = report.named();
    page.heading("Rate (dark) of what the floors allow (pale)");
    let most = named.iter().map(|(_, a)| a.bound.max(a.series.per_second)).max().unwrap_or(0);
    for (name, against) in named {
        page.rate(name, against, most);
    }
    page.heading("Where a message's processor time goes: the floors, and the rest");
    let with_rest = |against: &Against| {
        let colour = |name: &str| ["verify", "write", "request"].iter().position(|known| *known == name).unwrap_or(3);
        let parts = against.parts.iter().copied().chain([("the rest", against.rest())]);
        parts.map(|(name, nanos)| (name, nanos, COLOURS[colour(name)])).collect::<Vec<_>>()
    };
    let bars = named.map(|(name, against)| (name, with_rest(against)));
    let length = |parts: &[(&str, u64, &str)]| parts.iter().map(|(_, nanos, _)| nanos).sum::<u64>();
    let most = bars.iter().map(|(_, parts)| length(parts)).max().unwrap_or(0);
    for (name, parts) in &bars {
        page.parts(name, parts, most);
    }
    let (height, body) = (page.y + 24, page.text);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" role=\"img\">\n\
         <title>clearing bench</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::sample;
    use super::*;

    #[test]
    fn a_picture_is_well_formed() {
        let mut report = sample();
        report.machine.model = r#"a <b> & "c""#.into();
        let svg = draw(&report);
        assert!(
            svg.contains("a &lt;b&gt; &amp; &quot;c&quot;") && svg.contains("50.0% of 20000"),
            "{svg}"
        );
        let mut open = vec![];
        for tag in svg.split('<').skip(1).map(|tag| tag.split_once('>').expect("an end").0) {
            let name = tag.trim_start_matches('/').split(' ').next().expect("a name");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            match tag {
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "{tag}"),
                _ if tag.ends_with('/') => {}
                _ => open.push(name),
            }
        }
        assert!(open.is_empty() && !svg.contains("script"));
    }
}
