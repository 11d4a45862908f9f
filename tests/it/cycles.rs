//! Where no cycle of exchanges is said to gain, nobody ends with more than they began, whatever they try; where one is, it does.

use std::time::Instant;

use ledger::cycles::{Cycle, Extra, Leg, gain};
use partner_sdk::amount::Ratio;
use partner_sdk::{Points, ProgrammeCode};
use tests::load::Draw;

const NOW: i64 = 1_764_547_200_000_000;
const MINUTE: i64 = 60_000_000;
/// A hundred percent in millionths of a percent.
const WHOLE: i64 = 100_000_000;
/// The longest cycle that is walked.
const LONGEST: usize = 6;

fn code(place: usize) -> ProgrammeCode {
    ProgrammeCode::new(format!("P{place:02}")).expect("a code")
}

fn leg(from: usize, to: usize, numerator: i64, denominator: i64) -> Leg {
    Leg {
        from: code(from),
        to: code(to),
        numerator,
        denominator,
        valid_from: 0,
        usable_until: i64::MAX,
    }
}

fn extra(from: usize, to: usize, percent_micros: i64) -> Extra {
    Extra {
        from: code(from),
        to: code(to),
        percent_micros,
        valid_from: 0,
        usable_until: i64::MAX,
    }
}

/// Rates and bonuses between some programmes.
#[derive(Debug, Default)]
struct Table {
    programmes: usize,
    legs: Vec<Leg>,
    extras: Vec<Extra>,
    /// None gives more than the worth of what it takes, so nothing can gain.
    fair: bool,
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).expect("small")
}

/// A number from 1 to 10^`digits`, of any magnitude alike.
fn magnitude(draw: &mut Draw, digits: u64) -> i64 {
    let top = 10i64.pow(u32::try_from(draw.upto(digits)).expect("small"));
    let wide = (i128::from(draw.upto(1 << 31)) << 31) + i128::from(draw.upto(1 << 31));
    i64::try_from(1 + wide % i128::from(top)).expect("at most 10^18")
}

/// Usable always, until some minutes from now, or from some minutes from now on.
fn period(draw: &mut Draw) -> (i64, i64) {
    let then = NOW + MINUTE * (signed(draw.upto(9)) - 3);
    match draw.upto(4) {
        1 => (0, then),
        2 => (then, i64::MAX),
        3 => (then, then + MINUTE * signed(draw.upto(3))),
        _ => (0, i64::MAX),
    }
}

impl Table {
    /// Programmes whose points have a worth, and rates that with their bonuses never give more than it, some for a time, some a little worse than
    /// they could be; in half of the tables some are a little better.
    fn of_worths(draw: &mut Draw) -> Self {
        let mut table = Self {
            programmes: usize::try_from(1 + draw.upto(11)).expect("small"),
            ..Self::default()
        };
        let (digits, density) = (draw.upto(9), draw.upto(100));
        let worths: Vec<i64> = (0..table.programmes).map(|_| magnitude(draw, digits)).collect();
        table.fair = draw.upto(2) == 1;
        let flaw = 4 * draw.upto(5);
        for (from, to) in (0..table.programmes).flat_map(|from| (0..worths.len()).map(move |to| (from, to))) {
            if from == to || draw.upto(100) > density.max(20) {
                continue;
            }
            let percent = if draw.upto(3) == 1 {
                signed(draw.upto(60)) * (WHOLE / 100)
            } else {
                0
            };
            if percent > 0 {
                table.extras.push(extra(from, to, percent));
            }
            let denominator = magnitude(draw, 9);
            let fair = i128::from(denominator) * i128::from(worths[from]) * i128::from(WHOLE)
                / (i128::from(worths[to]) * i128::from(WHOLE + percent));
            let fair = i64::try_from(fair).expect("at most 10^18");
            for _ in 0..draw.upto(2) {
                let better = i64::from(!table.fair && draw.upto(flaw) == 1);
                let numerator = fair + better - (1 - better) * (fair / 1000) * signed(draw.upto(20) / 20);
                let (valid_from, usable_until) = period(draw);
                table.legs.push(Leg {
                    valid_from,
                    usable_until,
                    ..leg(from, to, numerator, denominator)
                });
            }
        }
        table
    }

    /// Anything: of any magnitude, with bonuses for a time.
    fn wild(draw: &mut Draw) -> Self {
        let mut table = Self {
            programmes: usize::try_from(1 + draw.upto(11)).expect("small"),
            ..Self::default()
        };
        let digits = draw.upto(18);
        for _ in 0..draw.upto(4 * table.programmes as u64) {
            let mut place = || usize::try_from(draw.upto(table.programmes as u64) - 1).expect("small");
            let (from, to) = (place(), place());
            if from == to {
                continue;
            }
            let (valid_from, usable_until) = period(draw);
            let (numerator, denominator) = (magnitude(draw, digits), magnitude(draw, digits));
            table.legs.push(Leg {
                valid_from,
                usable_until,
                ..leg(from, to, numerator, denominator)
            });
            if draw.upto(3) == 1 {
                let (valid_from, usable_until) = period(draw);
                table.extras.push(Extra {
                    valid_from,
                    usable_until,
                    ..extra(from, to, magnitude(draw, 9))
                });
            }
        }
        table
    }

    /// `now`, and every instant after it at which something begins or ends.
    fn instants(&self) -> Vec<i64> {
        let times = self.legs.iter().flat_map(|l| [l.valid_from, l.usable_until]);
        let times = times.chain(self.extras.iter().flat_map(|e| [e.valid_from, e.usable_until]));
        let mut instants: Vec<i64> = times.filter(|at| (NOW + 1..i64::MAX).contains(at)).chain([NOW]).collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }
}

/// What points become, those of the ratio and those of the bonus floored each by itself.
fn exchange(ratio: Ratio, percent: i64, points: i64) -> Option<i64> {
    let (_, base) = ratio.exchange(Points(points), 1)?;
    i64::try_from(i128::from(base.0) + i128::from(base.0) * i128::from(percent) / i128::from(WHOLE)).ok()
}

/// What a member meets at one instant: between each two places the usable ratios and bonuses.
struct Market {
    pairs: Vec<Vec<(Vec<Ratio>, Vec<i64>)>>,
}

impl Market {
    fn at(table: &Table, at: i64) -> Self {
        let place = |code: &ProgrammeCode| code.as_str()[1..].parse::<usize>().expect("a place");
        let mut pairs = vec![vec![(vec![], vec![0]); table.programmes]; table.programmes];
        for leg in table.legs.iter().filter(|l| l.valid_from <= at && at < l.usable_until) {
            let (numerator, denominator) = (leg.numerator, leg.denominator);
            pairs[place(&leg.from)][place(&leg.to)].0.push(Ratio { numerator, denominator });
        }
        for extra in table.extras.iter().filter(|e| e.valid_from <= at && at < e.usable_until) {
            pairs[place(&extra.from)][place(&extra.to)].1.push(extra.percent_micros);
        }
        Self { pairs }
    }

    /// The most that any usable documents give for points. `None` where nothing can be exchanged.
    fn exchange(&self, from: usize, to: usize, points: i64) -> Option<i64> {
        let (ratios, bonuses) = &self.pairs[from][to];
        let offers = ratios.iter().flat_map(|ratio| bonuses.iter().map(|percent| (*ratio, *percent)));
        offers.filter_map(|(ratio, percent)| exchange(ratio, percent, points)).max()
    }

    /// Exchanges points in one go, or cut in parts, each on its own; steps leave something over, which is exchanged too.
    fn exchange_cut(&self, from: usize, to: usize, points: i64, cut: Cut, draw: &mut Draw) -> Option<i64> {
        match cut {
            Cut::Not => self.exchange(from, to, points),
            Cut::BySteps => {
                let over = points % signed(draw.upto(100));
                let credited = self.exchange(from, to, points - over)?;
                credited.checked_add(self.exchange(from, to, over)?)
            }
            Cut::InParts => {
                let (mut left, mut sum) = (points, 0i64);
                while left > 0 {
                    // Tiny parts of a great sum would take for ever.
                    let part = signed(draw.upto(u64::try_from(left).ok()?.min(1 << 31))).max(left / 8);
                    sum = sum.checked_add(self.exchange(from, to, part)?)?;
                    left -= part;
                }
                Some(sum)
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Cut {
    Not,
    InParts,
    BySteps,
}

/// A member who tries everything on one market.
struct Member<'a> {
    market: &'a Market,
    draw: &'a mut Draw,
    walked: usize,
}

impl Member<'_> {
    /// Goes round every cycle of up to six exchanges with each amount: once with all of it, once with two parts each on its own, once cut at every
    /// exchange.
    fn try_every_cycle(&mut self, amounts: impl IntoIterator<Item = i64>) {
        for amount in amounts {
            let one = signed(self.draw.upto(amount.unsigned_abs()));
            let cut = if self.draw.upto(2) == 1 { Cut::InParts } else { Cut::BySteps };
            let ways = [(vec![amount], Cut::Not), (vec![one, amount - one], Cut::Not), (vec![amount], cut)];
            let tries = ways.map(|(purses, cut)| Try {
                begun: amount,
                purses,
                cut,
            });
            for start in 0..self.market.pairs.len() {
                self.go_on(start, &mut vec![start], &tries);
            }
        }
    }

    /// Goes on from where the path ends, by way of places from the start upwards, so that every cycle is gone round once.
    fn go_on(&mut self, start: usize, path: &mut Vec<usize>, tries: &[Try]) {
        let here = path[path.len() - 1];
        for to in start..self.market.pairs.len() {
            if self.market.pairs[here][to].0.is_empty() || (to != start && path.contains(&to)) {
                continue;
            }
            let exchanged: Vec<Try> = tries.iter().filter_map(|t| self.exchange(here, to, t)).collect();
            if to == start {
                self.walked += exchanged.len();
                for Try { begun, purses, cut } in &exchanged {
                    let ended: i64 = purses.iter().sum();
                    assert!(ended <= *begun, "{begun} become {ended} by way of {path:?}, {cut:?}");
                }
            } else if path.len() < LONGEST && !exchanged.is_empty() {
                path.push(to);
                self.go_on(start, path, &exchanged);
                path.pop();
            }
        }
    }

    /// `None` where nothing is left that could come home.
    fn exchange(&mut self, from: usize, to: usize, before: &Try) -> Option<Try> {
        let purses = before.purses.iter();
        let purses: Option<Vec<i64>> = purses
            .map(|p| self.market.exchange_cut(from, to, *p, before.cut, self.draw))
            .collect();
        let purses = purses.filter(|purses| purses.iter().any(|p| *p > 0))?;
        Some(Try { purses, ..*before })
    }

    /// Exchanges parts of what they hold here and there, a hundred times, and looks each time at what is in the first purse.
    fn wander(&mut self) {
        let programmes = self.market.pairs.len();
        let begun = signed(self.draw.upto(10_000));
        let mut purses = vec![0i64; programmes];
        purses[0] = begun;
        for _ in 0..100 {
            let full: Vec<usize> = (0..programmes).filter(|p| purses[*p] > 0).collect();
            let pick = |draw: &mut Draw, n: usize| usize::try_from(draw.upto(n as u64) - 1).expect("small");
            let (Some(from), to) = (full.get(pick(self.draw, full.len().max(1))).copied(), pick(self.draw, programmes)) else {
                return;
            };
            let some = signed(self.draw.upto(10_000));
            let part = if self.draw.upto(2) == 1 {
                purses[from]
            } else {
                purses[from].min(some)
            };
            let credited = self.market.exchange(from, to, part);
            if let Some(sum) = credited.and_then(|credited| purses[to].checked_add(credited)) {
                (purses[to], purses[from]) = (sum, purses[from] - part);
            }
            assert!(purses[0] <= begun, "{begun} become {}", purses[0]);
        }
    }
}

/// An amount on its way round.
struct Try {
    begun: i64,
    purses: Vec<i64>,
    cut: Cut,
}

/// A product of positive numbers, digit by digit in base 2^32, least first: the test's own, so that it shares nothing with what it tests.
fn product(numbers: impl IntoIterator<Item = u64>) -> Vec<u32> {
    let mut digits = vec![1u32];
    for number in numbers {
        let mut carry = 0u128;
        for digit in &mut digits {
            carry += u128::from(*digit) * u128::from(number);
            *digit = (carry & 0xffff_ffff) as u32;
            carry >>= 32;
        }
        while carry > 0 {
            digits.push((carry & 0xffff_ffff) as u32);
            carry >>= 32;
        }
    }
    digits
}

/// The best ratio and bonus for each exchange of a cycle.
fn best_hops(table: &Table, cycle: &Cycle) -> Vec<(Ratio, i64)> {
    let best = |hop: &[ProgrammeCode]| {
        let legs = table.legs.iter().filter(|l| l.from == hop[0] && l.to == hop[1]);
        let legs = legs.filter(|l| l.valid_from <= cycle.at && cycle.at < l.usable_until);
        let cross = |a: &Leg, b: &Leg| i128::from(a.numerator) * i128::from(b.denominator);
        let best = legs.max_by(|a, b| cross(a, b).cmp(&cross(b, a))).expect("a usable rate");
        let extras = table.extras.iter().filter(|e| e.from == hop[0] && e.to == hop[1]);
        let extras = extras.filter(|e| e.valid_from <= cycle.at && cycle.at < e.usable_until);
        let (numerator, denominator) = (best.numerator, best.denominator);
        (
            Ratio { numerator, denominator },
            extras.map(|e| e.percent_micros).max().unwrap_or(0),
        )
    };
    cycle.programmes.windows(2).map(best).collect()
}

fn exceeds(a: &[u32], b: &[u32]) -> bool {
    (a.len(), a.iter().rev().collect::<Vec<_>>()) > (b.len(), b.iter().rev().collect())
}

fn check_cycle(table: &Table, cycle: &Cycle) {
    let (first, last) = (&cycle.programmes[0], &cycle.programmes[cycle.programmes.len() - 1]);
    assert_eq!(first, last);
    let hops = best_hops(table, cycle);
    let over = hops.iter().flat_map(|(ratio, percent)| [ratio.numerator, WHOLE + percent]);
    let under = hops.iter().flat_map(|(ratio, _)| [ratio.denominator, WHOLE]);
    let (over, under) = (product(over.map(i64::unsigned_abs)), product(under.map(i64::unsigned_abs)));
    assert!(exceeds(&over, &under), "{cycle} doesn't gain");
    assert!(cycle.at >= NOW);
    let go_round = |amount| {
        hops.iter()
            .try_fold(amount, |points, (ratio, percent)| exchange(*ratio, *percent, points))
    };
    if let Some((begun, ended)) = cycle.example {
        assert!((1..=10_000).contains(&begun) && ended > begun, "{cycle}");
        assert_eq!(go_round(begun), Some(ended), "{cycle}");
    } else {
        let gaining = (1..=10_000).find(|amount| go_round(*amount).is_some_and(|ended| ended > *amount));
        assert_eq!(gaining, None, "{cycle}");
    }
}

#[test]
fn nobody_ends_with_more_than_they_began() {
    let mut draw = Draw::new();
    let began = Instant::now();
    let (mut safe, mut refused, mut with_example, mut walked) = (0, 0, 0, 0);
    for round in 0..600 {
        let table = if round % 3 == 0 {
            Table::wild(&mut draw)
        } else {
            Table::of_worths(&mut draw)
        };
        match gain(&table.legs, &table.extras, NOW) {
            Some(cycle) => {
                assert!(!table.fair, "{cycle} in a fair table");
                check_cycle(&table, &cycle);
                refused += 1;
                with_example += usize::from(cycle.example.is_some());
            }
            None => {
                for at in table.instants() {
                    let market = Market::at(&table, at);
                    let few = if table.programmes <= 6 { 20 } else { 2 };
                    let some: Vec<i64> = (0..few).map(|_| signed(draw.upto(10_000))).collect();
                    let mut member = Member {
                        market: &market,
                        draw: &mut draw,
                        walked: 0,
                    };
                    if table.programmes <= 3 && at == NOW {
                        member.try_every_cycle(1..=10_000);
                    } else {
                        member.try_every_cycle(some);
                    }
                    (0..20).for_each(|_| member.wander());
                    walked += member.walked;
                }
                safe += 1;
            }
        }
    }
    println!(
        "{safe} safe, {refused} refused ({with_example} with an example), {walked} rounds walked, {:?}",
        began.elapsed()
    );
    assert!(safe >= 100 && refused >= 100 && with_example >= 50 && refused - with_example >= 5 && walked > 100_000);
}

/// A ring of `length` exchanges at 1, where the first two have the given ratios.
fn ring(length: usize, first: (i64, i64), second: (i64, i64)) -> Vec<Leg> {
    let ratio = |place| match place {
        0 => first,
        1 => second,
        _ => (1, 1),
    };
    let hops = (0..length).map(|place| (place, ratio(place)));
    hops.map(|(place, (numerator, denominator))| leg(place, (place + 1) % length, numerator, denominator))
        .collect()
}

#[test]
fn the_line_is_drawn_at_exactly_one() {
    const N: i64 = 1_000_000_000_000_000_000;
    for length in 2..=12 {
        let refused = |first, second| gain(&ring(length, first, second), &[], NOW).map(|cycle| cycle.gain);
        // One, in the largest numbers.
        assert_eq!(refused((N, N - 1), (N - 1, N)), None);
        // Off by 10^-18, and by 10^-36.
        assert_eq!(refused((N - 1, N), (1, 1)), None);
        assert_eq!(refused((N, N - 1), (1, 1)), Some(format!("{N}/{}", N - 1)));
        assert_eq!(refused((N - 1, N), (N + 1, N)), None);
        let (over, under) = ("1".to_owned() + &"0".repeat(36), "9".repeat(36));
        assert_eq!(refused((N, N - 1), (N, N + 1)), Some(format!("{over}/{under}")));
        // A bonus of the least size there is tips a ring at one, and only within its time.
        let ones = ring(length, (7, 3), (3, 7));
        let mut bonus = extra(1, 2 % length, 1);
        assert_eq!(gain(&ones, &[], NOW), None);
        assert_eq!(
            gain(&ones, std::slice::from_ref(&bonus), NOW).map(|c| c.gain),
            Some("100000001/100000000".into())
        );
        bonus.usable_until = NOW;
        assert_eq!(gain(&ones, &[bonus], NOW), None);
    }
}

/// Every pair of programmes has a rate just below the worth of its points, or one pair too good for the longest ring only.
fn full(programmes: usize, draw: &mut Draw) -> Vec<Leg> {
    let worths: Vec<i64> = (0..programmes).map(|_| 1_000_000_000 + signed(draw.upto(1 << 31))).collect();
    let pairs = (0..programmes).flat_map(|from| (0..programmes).map(move |to| (from, to)));
    let pairs = pairs.filter(|(from, to)| from != to);
    pairs
        .map(|(from, to)| leg(from, to, worths[from] * 200_000_003, worths[to] * 200_000_003))
        .collect()
}

#[test]
fn a_full_table_is_checked_quickly() {
    let mut draw = Draw::new();
    for (programmes, seconds) in [(12, 1), (40, 20)] {
        let mut legs = full(programmes, &mut draw);
        let timed = |legs: &[Leg], what| {
            let began = Instant::now();
            let cycle = gain(legs, &[], NOW);
            println!("{programmes} programmes, {} rates, {what}: {:?}", legs.len(), began.elapsed());
            assert!(began.elapsed().as_secs() < seconds, "{what}: {:?}", began.elapsed());
            cycle.map(|cycle| cycle.programmes.len() - 1)
        };
        assert_eq!(timed(&legs, "at one"), None);
        // Away from the ring of all everything is a little worse, and the ring a little better.
        for leg in &mut legs {
            let place = |code: &ProgrammeCode| code.as_str()[1..].parse::<usize>().expect("a place");
            let better = if (place(&leg.from) + 1) % programmes == place(&leg.to) {
                1
            } else {
                -1000
            };
            leg.numerator += better;
        }
        assert_eq!(timed(&legs, "only the longest ring gains"), Some(programmes));
        legs[0].numerator *= 2;
        assert_eq!(timed(&legs, "two gain"), Some(2));
    }
}
