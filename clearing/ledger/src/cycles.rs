//! Cycles of exchanges that would make points out of nothing (DESIGN section 6): pure arithmetic over the documents that are, or will be, usable.
//!
//! Several documents of one pair may be usable at the same instant, because a quote made under the older one lives on. So each pair counts with its
//! best usable ratio and its best usable bonus, whether or not one quote could have both.
//!
//! **Why the check is enough.** Points are only ever floored, those of the ratio and those of the bonus each by itself. So an exchange turns `p` points
//! into at most `p * f`, where `f = numerator / denominator * (1 + bonus)` is the pair's factor. If no cycle has a product of factors above 1, then
//! let `w(X)` be the greatest product over all walks from X to a programme A; it exists, since leaving out a cycle never makes a walk's product
//! smaller, and `w(A) = 1`. No exchange makes the sum of `points * w` grow, because `f(X, Y) * w(Y) <= w(X)`. Who begins with `a` points of A, and
//! splits, mixes and exchanges them in any order, ends with at most `a` of A. No amount, split or step gets around that.
//!
//! The other way round it is stricter than it has to be: a step, a minimum, a maximum or the flooring may eat the gain of a cycle whose product is
//! above 1. It is refused all the same, and that is wanted: a step can be lowered and amounts can be large. Nor does the check speak of points that
//! are kept while a rate changes: this is a change of their value, and not a cycle.
//!
//! All numbers are exact. Products of numbers up to 10^18 fit no machine word, so they are big integers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::successors;

use num_bigint::BigUint;
use partner_sdk::amount::Ratio;
use partner_sdk::{Points, ProgrammeCode};

use crate::time::timestamp;

/// A rate as far as cycles care. One with a number below 1 exchanges nothing and is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// The programme that gives.
    pub from: ProgrammeCode,
    /// The programme that takes.
    pub to: ProgrammeCode,
    /// Points credited for `denominator` points, in smallest units.
    pub numerator: i64,
    /// Points given for `numerator` points, in smallest units.
    pub denominator: i64,
    /// Usable from this instant, in microseconds.
    pub valid_from: i64,
    /// Usable until before this instant, the life of quotes included, in microseconds; `i64::MAX`: an open end.
    pub usable_until: i64,
}

/// A bonus on top of what a [`Leg`] credits, as far as cycles care. One below 1 gives nothing and is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// The programme that gives.
    pub from: ProgrammeCode,
    /// The programme that takes, and gives the bonus.
    pub to: ProgrammeCode,
    /// The bonus in millionths of a percent of the points credited.
    pub percent_micros: i64,
    /// Usable from this instant, in microseconds.
    pub valid_from: i64,
    /// Usable until before this instant, the life of quotes included, in microseconds; `i64::MAX`: an open end.
    pub usable_until: i64,
}

/// A cycle of exchanges that gains. Shown as an operator reads it:
/// `YUU -> MILES -> YUU from 2026-12-01T00:00:00Z: 100 become 105 (x 21/20)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// The programmes in order; the last is the first again.
    pub programmes: Vec<ProgrammeCode>,
    /// From this instant on, in microseconds.
    pub at: i64,
    /// What one round multiplies points by, exact and in lowest terms: `21/20`, `3`.
    pub gain: String,
    /// The least amount up to 10,000, and what one round makes of it when everything is floored, in smallest units of the first programme. `None`
    /// where so few points don't gain.
    pub example: Option<(i64, i64)>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, programme) in self.programmes.iter().enumerate() {
            write!(f, "{}{programme}", if place == 0 { "" } else { " -> " })?;
        }
        write!(f, " from {}: ", timestamp(self.at))?;
        match self.example {
            Some((begun, ended)) => write!(f, "{begun} become {ended} (x {})", self.gain),
            None => write!(f, "points grow (x {})", self.gain),
        }
    }
}

/// A cycle that gains at the first instant, from `now` on, at which there is one; of those with the fewest exchanges. `None`: no cycle can gain at any
/// instant from `now` on.
pub fn gain(legs: &[Leg], extras: &[Extra], now: i64) -> Option<Cycle> {
    // What is usable grows only where something begins; an end takes away.
    let begins = legs.iter().map(|l| l.valid_from).chain(extras.iter().map(|e| e.valid_from));
    let instants: BTreeSet<i64> = begins.filter(|at| *at > now).chain([now]).collect();
    instants.into_iter().find_map(|at| {
        let pairs = usable(legs, extras, at);
        let codes: BTreeSet<&ProgrammeCode> = pairs.keys().flat_map(|(from, to)| [*from, *to]).collect();
        let codes: Vec<&ProgrammeCode> = codes.into_iter().collect();
        let place = |code| codes.binary_search(&code).ok();
        let edges = pairs
            .into_iter()
            .filter_map(|((from, to), pair)| Edge::new(place(from)?, place(to)?, pair));
        let edges: Vec<Edge> = edges.collect();
        let cycle = if gains(&edges, codes.len()) {
            shortest(&edges, codes.len())?
        } else {
            return None;
        };
        Some(describe(cycle, &codes, at))
    })
}

/// The largest amount tried for an example.
const EXAMPLE: i64 = 10_000;

/// A hundred percent in millionths of a percent.
const WHOLE: i64 = 100_000_000;

/// The best that a pair gives at one instant.
#[derive(Clone, Copy)]
struct Pair {
    ratio: Ratio,
    percent_micros: i64,
}

impl Pair {
    /// What `points` become, floored as a posting floors; `None` where it doesn't fit.
    fn exchange(self, points: i64) -> Option<i64> {
        let (_, base) = self.ratio.exchange(Points(points), 1)?;
        let bonus = i128::from(base.0) * i128::from(self.percent_micros) / i128::from(WHOLE);
        base.0.checked_add(i64::try_from(bonus).ok()?)
    }
}

fn usable<'a>(legs: &'a [Leg], extras: &'a [Extra], at: i64) -> BTreeMap<(&'a ProgrammeCode, &'a ProgrammeCode), Pair> {
    let mut pairs: BTreeMap<_, Pair> = BTreeMap::new();
    for leg in legs {
        if !(leg.valid_from..leg.usable_until).contains(&at) || leg.numerator < 1 || leg.denominator < 1 {
            continue;
        }
        let ratio = Ratio {
            numerator: leg.numerator,
            denominator: leg.denominator,
        };
        let pair = pairs.entry((&leg.from, &leg.to)).or_insert(Pair { ratio, percent_micros: 0 });
        let cross = |a: Ratio, b: Ratio| i128::from(a.numerator) * i128::from(b.denominator);
        if cross(ratio, pair.ratio) > cross(pair.ratio, ratio) {
            pair.ratio = ratio;
        }
    }
    for extra in extras {
        if !(extra.valid_from..extra.usable_until).contains(&at) {
            continue;
        }
        if let Some(pair) = pairs.get_mut(&(&extra.from, &extra.to)) {
            pair.percent_micros = pair.percent_micros.max(extra.percent_micros);
        }
    }
    pairs
}

/// A pair between two places, with the factor that it can multiply points by.
struct Edge {
    from: usize,
    to: usize,
    factor: Factor,
    pair: Pair,
}

impl Edge {
    /// `None` where a number is below 0, which [`usable`] lets none be.
    fn new(from: usize, to: usize, pair: Pair) -> Option<Self> {
        let number = |n: i64| u64::try_from(n).ok().map(BigUint::from);
        let with_bonus = number(WHOLE)? + number(pair.percent_micros)?;
        let factor = Factor {
            over: number(pair.ratio.numerator)? * with_bonus,
            under: number(pair.ratio.denominator)? * number(WHOLE)?,
        };
        let factor = factor.lowest();
        Some(Self { from, to, factor, pair })
    }
}

/// A product of ratios, exact. Kept as multiplied: bringing every one to lowest terms would cost more than it saves.
#[derive(Clone)]
struct Factor {
    over: BigUint,
    under: BigUint,
}

impl Factor {
    fn one() -> Self {
        let one = || BigUint::from(1u8);
        Self { over: one(), under: one() }
    }

    fn times(&self, other: &Self) -> Self {
        Self {
            over: &self.over * &other.over,
            under: &self.under * &other.under,
        }
    }

    fn exceeds(&self, other: &Self) -> bool {
        &self.over * &other.under > &other.over * &self.under
    }

    fn exceeds_one(&self) -> bool {
        self.over > self.under
    }

    fn lowest(&self) -> Self {
        let zero = BigUint::ZERO;
        let (mut a, mut b) = (self.over.clone(), self.under.clone());
        while b != zero {
            (a, b) = (b.clone(), a % b);
        }
        Self {
            over: &self.over / &a,
            under: &self.under / a,
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { over, under } = self.lowest();
        if under == BigUint::from(1u8) {
            write!(f, "{over}")
        } else {
            write!(f, "{over}/{under}")
        }
    }
}

/// Whether any cycle among `count` places has a product above 1 (Bellman and Ford): the best walks of up to `count` exchanges, from anywhere, beat the
/// shorter ones only by going round one.
fn gains(edges: &[Edge], count: usize) -> bool {
    let mut best = vec![Factor::one(); count];
    (0..count).all(|_| {
        let before = best.clone();
        let mut grew = false;
        for edge in edges {
            let reached = before[edge.from].times(&edge.factor);
            if reached.exceeds(&best[edge.to]) {
                best[edge.to] = reached;
                grew = true;
            }
        }
        grew
    })
}

/// The best walk of some number of exchanges between two places: its product, and its last exchange.
type Walk<'a> = Option<(Factor, &'a Edge)>;

/// The cycle with the fewest exchanges among those above 1, from its least place: best walks of one exchange, of two, and so on, until one comes home
/// with more. A closed walk that is the first to gain passes no place twice, or a part of it would have gained before.
fn shortest(edges: &[Edge], count: usize) -> Option<Vec<&Edge>> {
    // rounds[k][start][end]: the best of k + 1 exchanges, by way of places from the start upwards.
    let mut rounds: Vec<Vec<Vec<Walk>>> = vec![];
    for round in 0..count {
        let mut walks: Vec<Vec<Walk>> = vec![vec![None; count]; count];
        for (start, ends) in walks.iter_mut().enumerate() {
            for edge in edges.iter().filter(|e| e.from >= start && e.to >= start) {
                let reached = match rounds.last() {
                    None if edge.from == start => edge.factor.clone(),
                    None => continue,
                    Some(before) => match &before[start][edge.from] {
                        Some((factor, _)) => factor.times(&edge.factor),
                        None => continue,
                    },
                };
                if ends[edge.to].as_ref().is_none_or(|(best, _)| reached.exceeds(best)) {
                    ends[edge.to] = Some((reached, edge));
                }
            }
        }
        let home = |place: usize| walks[place][place].as_ref().is_some_and(|(factor, _)| factor.exceeds_one());
        let start = (0..count).find(|place| home(*place));
        rounds.push(walks);
        if let Some(start) = start {
            let last = |round: usize, end: usize| rounds[round][start][end].as_ref().map(|(_, edge)| (round, *edge));
            let back = successors(last(round, start), |(round, edge)| last(round.checked_sub(1)?, edge.from));
            let mut cycle: Vec<&Edge> = back.map(|(_, edge)| edge).collect();
            cycle.reverse();
            return Some(cycle);
        }
    }
    None
}

/// Puts a cycle in words. It may begin anywhere, so it begins where a small amount shows the gain.
fn describe(mut cycle: Vec<&Edge>, codes: &[&ProgrammeCode], at: i64) -> Cycle {
    let mut example = None;
    for _ in 0..cycle.len() {
        example = (1..=EXAMPLE).find_map(|begun| {
            let ended = cycle.iter().try_fold(begun, |points, edge| edge.pair.exchange(points))?;
            (ended > begun).then_some((begun, ended))
        });
        if example.is_some() {
            break;
        }
        cycle.rotate_left(1);
    }
    let product = cycle.iter().fold(Factor::one(), |product, edge| product.times(&edge.factor));
    let places = cycle.iter().map(|edge| edge.from).chain(cycle.last().map(|edge| edge.to));
    Cycle {
        programmes: places.map(|place| codes[place].clone()).collect(),
        at,
        gain: product.to_string(),
        example,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_764_547_200_000_000;
    const DAY: i64 = 86_400_000_000;

    fn code(text: &str) -> ProgrammeCode {
        text.parse().expect(text)
    }

    fn leg(from: &str, to: &str, numerator: i64, denominator: i64) -> Leg {
        Leg {
            from: code(from),
            to: code(to),
            numerator,
            denominator,
            valid_from: 0,
            usable_until: i64::MAX,
        }
    }

    fn extra(from: &str, to: &str, percent: i64) -> Extra {
        Extra {
            from: code(from),
            to: code(to),
            percent_micros: percent * 1_000_000,
            valid_from: 0,
            usable_until: i64::MAX,
        }
    }

    #[test]
    fn a_gain_is_shown_as_an_operator_reads_it() {
        let legs = [leg("YUU", "MILES", 1, 10), leg("MILES", "YUU", 10, 1)];
        assert_eq!(gain(&legs, &[], NOW), None);
        let bonus = Extra {
            valid_from: NOW + 365 * DAY,
            ..extra("MILES", "YUU", 5)
        };
        let cycle = gain(&legs, &[bonus], NOW).expect("a gain");
        assert_eq!(
            cycle.to_string(),
            "MILES -> YUU -> MILES from 2026-12-01T00:00:00Z: 20 become 21 (x 21/20)"
        );
    }

    #[test]
    fn a_gain_below_the_example_is_shown_as_its_ratio() {
        let legs = [leg("YUU", "MILES", 1_000_001, 1_000_000), leg("MILES", "YUU", 1, 1)];
        let cycle = gain(&legs, &[], NOW).expect("a gain");
        assert_eq!(
            cycle.to_string(),
            "MILES -> YUU -> MILES from 2025-12-01T00:00:00Z: points grow (x 1000001/1000000)"
        );
    }

    #[test]
    fn a_quote_at_the_older_rate_counts_while_it_lives() {
        let minute = 60_000_000;
        let old = Leg {
            usable_until: NOW + minute,
            ..leg("YUU", "MILES", 11, 100)
        };
        let new = Leg {
            valid_from: NOW,
            ..leg("YUU", "MILES", 10, 100)
        };
        let back = |valid_from| Leg {
            valid_from,
            ..leg("MILES", "YUU", 10, 1)
        };
        let at = |valid_from| gain(&[old.clone(), new.clone(), back(valid_from)], &[], NOW - DAY).map(|cycle| cycle.at);
        assert_eq!(at(NOW + minute - 1), Some(NOW + minute - 1));
        assert_eq!(at(NOW + minute), None);
    }

    #[test]
    fn the_cycle_shown_has_the_fewest_exchanges() {
        let mut legs = vec![
            leg("AA", "BB", 3, 1),
            leg("BB", "CC", 3, 1),
            leg("CC", "DD", 3, 1),
            leg("DD", "AA", 3, 1),
        ];
        assert_eq!(gain(&legs, &[], NOW).map(|c| c.gain), Some("81".into()));
        legs.push(leg("DD", "BB", 1, 2));
        legs.push(leg("CC", "BB", 101, 300));
        let cycle = gain(&legs, &[], NOW).expect("a gain");
        assert_eq!(
            (cycle.programmes, cycle.gain),
            (["BB", "CC", "BB"].map(code).into(), "101/100".into())
        );
    }

    #[test]
    fn a_bonus_needs_a_rate_and_what_exchanges_nothing_is_passed_over() {
        let legs = [
            leg("AA", "BB", 1, 1),
            leg("BB", "AA", 0, 1),
            leg("BB", "AA", 1, 0),
            leg("BB", "AA", -1, -1),
        ];
        assert_eq!(gain(&legs, &[extra("BB", "AA", 1000), extra("AA", "BB", -5)], NOW), None);
        assert_eq!(gain(&[], &[], NOW), None);
        let selfish = [leg("AA", "AA", 2, 1)];
        assert_eq!(gain(&selfish, &[], NOW).map(|c| c.gain), Some("2".into()));
    }
}
