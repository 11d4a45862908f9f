//! The tree cut into tiles of height 8: what a log publishes.
//!
//! A tile holds up to 256 hashes side by side: on level 0 leaves, on each level above the roots of whole tiles of the level below. What stands
//! between is computed from them.

use std::fmt;
use std::str::FromStr;

use super::{MAX_SIZE, decimal};

/// How many levels of the tree one tile spans.
pub const HEIGHT: u32 = 8;

/// How many hashes a whole tile holds.
pub const WIDTH: u16 = 1 << HEIGHT;

/// How many levels of tiles the largest tree has.
pub const LEVELS: u8 = 8;

/// No tile's name is longer: six groups of digits, the level, the width.
const MAX_NAME: usize = 48;

/// One tile's place and width; only those that a tree can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// No tile of any tree, or not its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tile: tile/<level>/<index in groups of three digits>, and .p/<width> where it isn't whole")]
pub struct NotATile;

impl Tile {
    /// The tile with this many hashes at this place of its level.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, NotATile> {
        let end = index
            .checked_mul(u64::from(WIDTH))
            .and_then(|start| start.checked_add(u64::from(width)));
        let fits = level < LEVELS && end.is_some_and(|end| end <= hashes(MAX_SIZE, level));
        if fits && (1..=WIDTH).contains(&width) {
            Ok(Self { level, index, width })
        } else {
            Err(NotATile)
        }
    }

    /// How high it stands: 0 holds leaves.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Its number within the level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it holds.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it holds as many as a tile can.
    pub fn is_whole(&self) -> bool {
        self.width == WIDTH
    }

    /// The tile at this place in a tree of this size, where the tree has one.
    pub fn of(level: u8, index: u64, size: u64) -> Option<Self> {
        let before = index.checked_mul(u64::from(WIDTH))?;
        let beside = hashes(size, level).checked_sub(before)?.min(u64::from(WIDTH));
        Self::new(level, index, u16::try_from(beside).ok()?).ok()
    }

    /// The tile in which a whole node of a tree of this size lies: the node's level counts from the leaves.
    pub fn of_node(level: u32, index: u64, size: u64) -> Option<Self> {
        let end = u128::from(index).checked_add(1)?.checked_mul(1_u128.checked_shl(level)?)?;
        let inside = level % HEIGHT;
        let tile = Self::of(u8::try_from(level / HEIGHT).ok()?, index >> (HEIGHT - inside), size)?;
        (end <= u128::from(size)).then_some(tile)
    }

    /// All tiles of a tree of this size, level by level.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let on = move |level| (0..hashes(size, level).div_ceil(u64::from(WIDTH))).map(move |index| (level, index));
        (0..LEVELS)
            .flat_map(on)
            .filter_map(move |(level, index)| Self::of(level, index, size))
    }
}

/// How many hashes stand side by side on a level of tiles.
fn hashes(size: u64, level: u8) -> u64 {
    size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0)
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            name = format!("x{:03}/{name}", rest % 1000);
            rest /= 1000;
        }
        write!(f, "tile/{}/{name}", self.level)?;
        if self.is_whole() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for Tile {
    type Err = NotATile;

    fn from_str(text: &str) -> Result<Self, NotATile> {
        if text.len() > MAX_NAME {
            return Err(NotATile);
        }
        let (level, rest) = text.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(NotATile)?;
        let (groups, width) = match rest.split_once(".p/") {
            Some((groups, width)) => (groups, decimal(width, u64::from(WIDTH) - 1).ok_or(NotATile)?),
            None => (rest, u64::from(WIDTH)),
        };
        // Every index has one name: what the digits say, written again, must be the same text.
        let digits: String = groups.chars().filter(char::is_ascii_digit).collect();
        let index = digits.parse().map_err(|_| NotATile)?;
        let level = decimal(level, u64::from(LEVELS)).ok_or(NotATile)?;
        let number = |value: u64| u16::try_from(value).map_err(|_| NotATile);
        let tile = Self::new(u8::try_from(level).map_err(|_| NotATile)?, index, number(width)?)?;
        if tile.to_string() == text { Ok(tile) } else { Err(NotATile) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(level: u8, index: u64, width: u16) -> Tile {
        Tile::new(level, index, width).expect("a tile")
    }

    #[test]
    fn names_are_those_of_the_specification() {
        for (tile, name) in [
            (tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (tile(0, 1234, 256), "tile/0/x001/234"),
            (tile(1, 0, 17), "tile/1/000.p/17"),
            (tile(2, 999, 1), "tile/2/999.p/1"),
            (tile(2, 1000, 255), "tile/2/x001/000.p/255"),
            (tile(0, MAX_SIZE >> 8, 255), "tile/0/x036/x028/x797/x018/x963/967.p/255"),
            (tile(7, 0, 127), "tile/7/000.p/127"),
        ] {
            assert_eq!(tile.to_string(), name);
            assert_eq!(name.parse(), Ok(tile));
        }
        for bad in [
            "",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/8/000",
            "tile/-1/000",
            "tile/0/x000/000",
            "tile/0/001/234",
            "tile/0/x001/x234",
            "tile/0/X001/234",
            "tile/0/x001/234/",
            "/tile/0/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p/1.p/1",
            "tile/0/+01",
            "tile/0/0\u{661}1",
            "tile/entries/000",
            "tile/7/000",
            "tile/7/000.p/128",
            "tile/0/x036/x028/x797/x018/x963/967",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(bad.parse::<Tile>(), Err(NotATile), "{bad}");
        }
    }

    #[test]
    fn a_tree_has_the_tiles_of_the_specification() {
        let whole = |level, width| Tile::all(70_000).filter(|tile| (tile.level, tile.width) == (level, width)).count();
        assert_eq!(
            (whole(0, 256), whole(0, 112), whole(1, 256), whole(1, 17), whole(2, 1)),
            (273, 1, 1, 1, 1)
        );
        assert_eq!(Tile::all(70_000).count(), 277);
        assert_eq!(Tile::all(256).collect::<Vec<_>>(), [tile(0, 0, 256), tile(1, 0, 1)]);
        assert_eq!((Tile::all(0).count(), Tile::of(0, 0, 0)), (0, None));
        assert_eq!(Tile::of_node(0, 69_999, 70_000), Some(tile(0, 273, 112)));
        assert_eq!(Tile::of_node(7, 545, 70_000), Some(tile(0, 272, 256)));
        assert_eq!(Tile::of_node(8, 272, 70_000), Some(tile(1, 1, 17)));
        assert_eq!(Tile::of_node(16, 0, 70_000), Some(tile(2, 0, 1)));
        for (level, index) in [(0, 70_000), (7, 546), (17, 0), (64, 0), (200, 0), (63, u64::MAX)] {
            assert_eq!(Tile::of_node(level, index, 70_000), None, "{level} {index}");
        }
    }
}
