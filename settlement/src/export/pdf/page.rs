//! Pages: what stands where, and what it is. Everything is laid out first, because a page says how many there are; then it is drawn and tagged.

use std::num::NonZeroU16;

use krilla::Document;
use krilla::color::rgb;
use krilla::destination::XyzDestination;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::num::NormalizedF32;
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::paint::{Fill, FillRule};
use krilla::surface::Surface;
use krilla::tagging::{ArtifactType, ContentTag, Identifier, Node, SpanTag, Tag, TagGroup, TagKind, TagTree};

use super::text::Face;
use crate::export::ExportError;

/// A4, in points.
const SIZE: (f32, f32) = (595.0, 842.0);
/// Where the text begins.
pub const LEFT: f32 = 48.0;
/// How wide it is.
pub const WIDTH: f32 = SIZE.0 - 2.0 * LEFT;
const TOP: f32 = 64.0;
const BOTTOM: f32 = SIZE.1 - 64.0;

/// A colour, by red, green and blue.
pub type Colour = (u8, u8, u8);
/// Of text.
pub const INK: Colour = (27, 32, 39);
/// Of what is said beside it: at least 4.5 to 1 on white.
pub const MUTED: Colour = (90, 98, 110);
/// Of headings, and of what is owed to the partner.
pub const ACCENT: Colour = (18, 82, 128);
/// Of lines between rows.
pub const HAIR: Colour = (216, 221, 228);
/// Of lines under headers.
pub const RULE: Colour = (120, 128, 140);

/// Something drawn.
pub enum Op {
    /// A text from a point on its base line.
    Text {
        at: (f32, f32),
        size: f32,
        colour: Colour,
        text: String,
        /// Whether it is a number: its sign is drawn as a minus.
        figure: bool,
    },
    /// A shape by its corners.
    Shape { corners: Vec<(f32, f32)>, colour: Colour },
}

impl Op {
    pub fn text(at: (f32, f32), size: f32, colour: Colour, text: impl Into<String>) -> Self {
        let (text, figure) = (text.into(), false);
        Self::Text {
            at,
            size,
            colour,
            text,
            figure,
        }
    }

    /// A rectangle by its upper left corner and its size.
    pub fn rectangle((x, y): (f32, f32), (width, height): (f32, f32), colour: Colour) -> Self {
        let corners = vec![(x, y), (x + width, y), (x + width, y + height), (x, y + height)];
        Self::Shape { corners, colour }
    }
}

/// A part of the document's structure: a group of others, or a mark on a page by its number.
pub enum Part {
    Group(TagKind, Vec<Part>),
    Leaf(usize),
}

/// A page under way: what decorates it, and its marks, each with its number.
#[derive(Default)]
struct Page {
    decoration: Vec<Op>,
    marks: Vec<(usize, Vec<Op>)>,
}

/// The pages under way.
pub struct Sheet {
    pub face: Face,
    pages: Vec<Page>,
    /// How far down the last page is filled.
    pub y: f32,
    marks: usize,
    parts: Vec<Part>,
    outline: Vec<(String, usize, f32)>,
}

/// What stands on every page but for its number.
pub struct Running {
    /// At the top of the pages after the first.
    pub head: String,
    /// At the bottom of all.
    pub foot: String,
    /// The number of a page, and how many there are.
    pub number: fn(usize, usize) -> String,
}

impl Sheet {
    pub fn new(face: Face) -> Self {
        Self {
            face,
            pages: vec![Page::default()],
            y: TOP - 8.0,
            marks: 0,
            parts: vec![],
            outline: vec![],
        }
    }

    fn page(&mut self) -> &mut Page {
        let last = self.pages.len() - 1;
        &mut self.pages[last]
    }

    /// The place of the last page, from 0.
    pub fn place(&self) -> usize {
        self.pages.len() - 1
    }

    /// Whether so much still fits on the page.
    pub fn fits(&self, height: f32) -> bool {
        self.y + height <= BOTTOM
    }

    pub fn turn(&mut self) {
        self.pages.push(Page::default());
        self.y = TOP;
    }

    /// A new page where so much doesn't fit any more.
    pub fn need(&mut self, height: f32) {
        if !self.fits(height) {
            self.turn();
        }
    }

    /// What is there for the eye alone: lines, and headers that are repeated.
    pub fn decorate(&mut self, op: Op) {
        self.page().decoration.push(op);
    }

    /// All that is drawn, page by page.
    #[cfg(test)]
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        let marks = self.pages.iter().flat_map(|page| &page.marks);
        let decorations = self.pages.iter().flat_map(|page| &page.decoration);
        decorations.chain(marks.flat_map(|(_, ops)| ops))
    }

    pub fn line(&mut self, y: f32, thickness: f32, colour: Colour) {
        self.decorate(Op::rectangle((LEFT, y), (WIDTH, thickness), colour));
    }

    /// Puts something on the page, which is part of the structure by what it gives.
    pub fn mark(&mut self, ops: Vec<Op>) -> Part {
        let number = self.marks;
        self.marks += 1;
        self.page().marks.push((number, ops));
        Part::Leaf(number)
    }

    pub fn push(&mut self, tag: impl Into<TagKind>, parts: Vec<Part>) {
        self.parts.push(Part::Group(tag.into(), parts));
    }

    /// A heading, with room for so much after it.
    pub fn heading(&mut self, level: u16, text: &str, after: f32) {
        let (size, above, below) = match level {
            1 => (22.0, 0.0, 10.0),
            2 => (13.0, 26.0, 8.0),
            _ => (9.5, 12.0, 5.0),
        };
        let fresh = self.y <= TOP;
        let lines = self.face.wrap(text, size, WIDTH);
        self.need(above + size * 1.3 * f32::from(u8::try_from(lines.len()).unwrap_or(u8::MAX)) + below + after);
        if !fresh && self.y > TOP {
            self.y += above;
        }
        if level < 3 {
            self.outline.push((text.to_owned(), self.place(), self.y));
        }
        let colour = if level == 2 { ACCENT } else { INK };
        let parts = self.lines(lines, size, colour);
        self.y += below;
        let level = NonZeroU16::new(level).unwrap_or(NonZeroU16::MIN);
        self.push(Tag::Hn(level, Some(text.to_owned())), parts);
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str, size: f32, colour: Colour) {
        let lines = self.face.wrap(text, size, WIDTH.min(size * 52.0));
        self.need(size * 1.5);
        let parts = self.lines(lines, size, colour);
        self.y += size * 0.8;
        self.push(Tag::P, parts);
    }

    fn lines(&mut self, lines: Vec<String>, size: f32, colour: Colour) -> Vec<Part> {
        let mut parts = vec![];
        for line in lines {
            self.need(size * 1.4);
            let base = self.y + size;
            parts.push(self.mark(vec![Op::text((LEFT, base), size, colour, line)]));
            self.y += size * 1.4;
        }
        parts
    }

    /// Draws all of it into a document, with the head and foot on every page.
    pub fn draw(self, document: &mut Document, running: &Running) -> Result<(), ExportError> {
        let mut identifiers: Vec<Option<Identifier>> = vec![None; self.marks];
        let count = self.pages.len();
        let settings = PageSettings::from_wh(SIZE.0, SIZE.1).ok_or_else(|| ExportError::Pdf("no such page".to_owned()))?;
        for (place, page) in self.pages.iter().enumerate() {
            let mut sheet = document.start_page_with(settings.clone());
            let mut surface = sheet.surface();
            if !page.decoration.is_empty() {
                surface.start_tagged(ContentTag::Artifact(ArtifactType::Other));
                page.decoration.iter().for_each(|op| draw(&self.face, &mut surface, op));
                surface.end_tagged();
            }
            for (number, ops) in &page.marks {
                let words = matches!(ops[..], [Op::Text { .. }]);
                let tag = if words {
                    ContentTag::Span(SpanTag::empty())
                } else {
                    ContentTag::Other
                };
                identifiers[*number] = Some(surface.start_tagged(tag));
                ops.iter().for_each(|op| draw(&self.face, &mut surface, op));
                surface.end_tagged();
            }
            frame(&self.face, &mut surface, running, (place, count));
            surface.finish();
            sheet.finish();
        }
        let mut outline = Outline::new();
        for (text, place, y) in &self.outline {
            let to = XyzDestination::new(*place, Point::from_xy(LEFT, (y - 12.0).max(0.0)));
            outline.push_child(OutlineNode::new(text.clone(), to));
        }
        document.set_outline(outline);
        let mut tree = TagTree::new();
        for part in self.parts {
            if let Some(node) = node(part, &identifiers) {
                tree.push(node);
            }
        }
        document.set_tag_tree(tree);
        Ok(())
    }
}

/// The head and foot of a page.
fn frame(face: &Face, surface: &mut Surface<'_>, running: &Running, (place, count): (usize, usize)) {
    let size = 7.5;
    if place > 0 {
        surface.start_tagged(ContentTag::Artifact(ArtifactType::Header));
        draw(face, surface, &Op::text((LEFT, 40.0), size, MUTED, running.head.as_str()));
        draw(face, surface, &Op::rectangle((LEFT, 47.0), (WIDTH, 0.4), HAIR));
        surface.end_tagged();
    }
    surface.start_tagged(ContentTag::Artifact(ArtifactType::Footer));
    let y = SIZE.1 - 34.0;
    let number = (running.number)(place + 1, count);
    let right = LEFT + WIDTH - face.width(&number, size);
    draw(face, surface, &Op::rectangle((LEFT, y - 13.0), (WIDTH, 0.4), HAIR));
    draw(face, surface, &Op::text((LEFT, y), size, MUTED, running.foot.as_str()));
    draw(face, surface, &Op::text((right, y), size, MUTED, number));
    surface.end_tagged();
}

/// A part with the marks in it by what the document calls them.
fn node(part: Part, identifiers: &[Option<Identifier>]) -> Option<Node> {
    match part {
        Part::Leaf(number) => identifiers.get(number).copied().flatten().map(Node::Leaf),
        Part::Group(tag, parts) => {
            let children = parts.into_iter().filter_map(|part| node(part, identifiers)).collect();
            Some(Node::Group(TagGroup::with_children(tag, children)))
        }
    }
}

fn draw(face: &Face, surface: &mut Surface<'_>, op: &Op) {
    let fill = |(red, green, blue): Colour| Fill {
        paint: rgb::Color::new(red, green, blue).into(),
        opacity: NormalizedF32::ONE,
        rule: FillRule::NonZero,
    };
    match op {
        Op::Text {
            at: (x, y),
            size,
            colour,
            text,
            figure,
        } => {
            let shaped = face.shape(text, *figure);
            surface.set_fill(Some(fill(*colour)));
            surface.draw_glyphs(Point::from_xy(*x, *y), &shaped.glyphs, face.font(), &shaped.text, *size, false);
        }
        Op::Shape { corners, colour } => {
            let mut path = PathBuilder::new();
            for (place, (x, y)) in corners.iter().enumerate() {
                match place {
                    0 => path.move_to(*x, *y),
                    _ => path.line_to(*x, *y),
                }
            }
            path.close();
            if let Some(path) = path.finish() {
                surface.set_fill(Some(fill(*colour)));
                surface.draw_path(&path);
            }
        }
    }
}

/// A rectangle of a page, for what says where it is.
pub fn area(from: f32, until: f32) -> Option<Rect> {
    Rect::from_ltrb(LEFT, from, LEFT + WIDTH, until)
}
