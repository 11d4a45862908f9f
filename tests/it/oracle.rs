//! What the January replay must come to, computed a second time and by other means: exact fractions instead of micros, and no code of
//! the project. Where the two agree, neither has a rounding, a sign or a carry wrong, unless both have the same one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// An exact number, always in lowest terms with a positive denominator.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl Fraction {
    /// Nothing.
    pub const ZERO: Self = Self {
        numerator: 0,
        denominator: 1,
    };

    /// `numerator / denominator`, the latter not 0.
    pub fn new(numerator: i128, denominator: i128) -> Self {
        assert_ne!(denominator, 0, "a fraction of nothing");
        let (mut a, mut b) = (numerator.abs(), denominator.abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = a * denominator.signum();
        Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        }
    }

    /// Reads a decimal without sign or exponent, e.g. `0.0055`.
    pub fn parse(text: &str) -> Self {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = format!("{whole}{decimals}");
        assert!(
            !whole.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()),
            "not a decimal: {text}"
        );
        Self::new(
            digits.parse().expect("at most 38 digits"),
            (0..decimals.len()).fold(1, |power, _| power * 10),
        )
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Self {
        Self::new(
            self.numerator * other.denominator + other.numerator * self.denominator,
            self.denominator * other.denominator,
        )
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self {
            numerator: -other.numerator,
            ..other
        })
    }

    /// The product.
    pub fn times(self, other: Self) -> Self {
        Self::new(self.numerator * other.numerator, self.denominator * other.denominator)
    }

    /// The whole number at or below.
    pub fn floor(self) -> i128 {
        self.numerator.div_euclid(self.denominator)
    }

    /// The whole number at or above.
    pub fn ceil(self) -> i128 {
        -(-self.numerator).div_euclid(self.denominator)
    }

    /// The nearest whole number; in the middle between two, the even one.
    pub fn round_half_even(self) -> i128 {
        let below = self.floor();
        let rest = self.minus(whole(below));
        match (rest.numerator * 2).cmp(&rest.denominator) {
            std::cmp::Ordering::Less => below,
            std::cmp::Ordering::Greater => below + 1,
            std::cmp::Ordering::Equal => below + below.rem_euclid(2),
        }
    }
}

impl fmt::Debug for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

fn whole(number: i128) -> Fraction {
    Fraction::new(number, 1)
}

/// What one pair came to on one day. `a < b`; money in the currency's major unit; a signed amount is positive where a owes b.
#[derive(Debug)]
pub struct PairDay {
    /// The party whose name sorts first.
    pub a: String,
    /// The other one.
    pub b: String,
    /// Gross, from this day's messages.
    pub a_owes: Fraction,
    /// Gross, from this day's messages.
    pub b_owes: Fraction,
    /// Signed: what rounding left over on the days before.
    pub carried_in: Fraction,
    /// Signed: what is to be paid.
    pub net_cents: i128,
    /// Signed: what rounding leaves over, at most half a cent.
    pub carried_out: Fraction,
}

/// One business day.
#[derive(Debug)]
pub struct Day {
    /// The local date, `2017-01-01`.
    pub date: String,
    /// The pairs with a message of this day or something carried in, in order of their names.
    pub pairs: Vec<PairDay>,
    /// The sum over its pairs for every party that has any; positive: it receives.
    pub net_cents: BTreeMap<String, i128>,
    /// Messages accepted: earns and burns.
    pub accepted: usize,
    /// Burns refused because the balance was short.
    pub refused_burns: usize,
}

/// Replays a file of purchases under a network and settles every day from the first to the last.
pub fn january(csv: &str, network: &str) -> Vec<Day> {
    let network = Network::read(network);
    let mut balances = HashMap::new();
    let mut traffic: BTreeMap<String, Traffic> = BTreeMap::new();
    for row in rows(csv) {
        let today = traffic.entry(row.date.to_owned()).or_default();
        network.replay(&row, balances.entry(row.shopper.to_owned()).or_default(), today);
    }
    let (first, last) = (traffic.keys().next().cloned(), traffic.keys().next_back().cloned());
    let (Some(first), Some(last)) = (first, last) else {
        return Vec::new();
    };
    let mut carries = BTreeMap::new();
    let mut days = Vec::new();
    let mut date = first;
    while date <= last {
        days.push(settle(&date, traffic.remove(&date).unwrap_or_default(), &mut carries));
        date = next_day(&date);
    }
    assert!(traffic.is_empty(), "dates that aren't in the calendar");
    days
}

/// A day's messages, before settlement.
#[derive(Default)]
struct Traffic {
    accepted: usize,
    refused_burns: usize,
    /// (debtor, creditor) -> gross.
    owed: BTreeMap<(String, String), Fraction>,
}

impl Traffic {
    fn owe(&mut self, debtor: &str, creditor: &str, points: i128, price: Fraction) {
        self.accepted += 1;
        let sum = self.owed.entry((debtor.into(), creditor.into())).or_insert(Fraction::ZERO);
        *sum = sum.plus(whole(points).times(price));
    }
}

fn settle(date: &str, traffic: Traffic, carries: &mut BTreeMap<(String, String), Fraction>) -> Day {
    let Traffic {
        accepted,
        refused_burns,
        owed,
    } = traffic;
    let mut names: BTreeSet<(String, String)> = carries.keys().cloned().collect();
    names.extend(owed.keys().cloned().map(|(x, y)| if x < y { (x, y) } else { (y, x) }));
    let mut day = Day {
        date: date.into(),
        pairs: Vec::new(),
        net_cents: BTreeMap::new(),
        accepted,
        refused_burns,
    };
    for (a, b) in names {
        let gross = |debtor: &String, creditor: &String| owed.get(&(debtor.clone(), creditor.clone())).copied().unwrap_or(Fraction::ZERO);
        let (a_owes, b_owes) = (gross(&a, &b), gross(&b, &a));
        let carried_in = carries.remove(&(a.clone(), b.clone())).unwrap_or(Fraction::ZERO);
        let exact = a_owes.minus(b_owes).plus(carried_in);
        let net_cents = exact.times(whole(100)).round_half_even();
        let carried_out = exact.minus(Fraction::new(net_cents, 100));
        if carried_out != Fraction::ZERO {
            carries.insert((a.clone(), b.clone()), carried_out);
        }
        *day.net_cents.entry(a.clone()).or_default() -= net_cents;
        *day.net_cents.entry(b.clone()).or_default() += net_cents;
        day.pairs.push(PairDay {
            a,
            b,
            a_owes,
            b_owes,
            carried_in,
            net_cents,
            carried_out,
        });
    }
    day
}

/// The day after, by the Gregorian calendar.
fn next_day(date: &str) -> String {
    let numbers: Vec<u32> = date.split('-').map(|part| part.parse().expect("a date")).collect();
    let [year, month, day] = numbers[..] else {
        panic!("not a date: {date}")
    };
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let (year, month, day) = match (month, day) {
        (12, 31) => (year + 1, 1, 1),
        (_, day) if day == length => (year, month + 1, 1),
        _ => (year, month, day + 1),
    };
    format!("{year:04}-{month:02}-{day:02}")
}

struct Row<'a> {
    date: &'a str,
    shopper: &'a str,
    brand: &'a str,
    spend: Fraction,
    coupon: Fraction,
}

/// The file has no quoted fields; its times are in local time, so that the local date is what they start with.
fn rows(csv: &str) -> impl Iterator<Item = Row<'_>> {
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("occurred_at,shopper,brand,store,basket,spend,coupon"));
    lines.map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let [occurred_at, shopper, brand, _store, _basket, spend, coupon] = fields[..] else {
            panic!("not a row: {line}")
        };
        assert!(occurred_at.ends_with("+08:00"), "not a time in Hong Kong: {line}");
        Row {
            date: &occurred_at[..10],
            shopper,
            brand,
            spend: Fraction::parse(spend),
            coupon: Fraction::parse(coupon),
        }
    })
}

/// What the replay needs from a network file.
struct Network {
    pool: String,
    face_value: Fraction,
    /// Brand -> (points per unit, price of a point).
    earn: HashMap<String, (Fraction, Fraction)>,
    /// Brand -> price of a point.
    burn: HashMap<String, Fraction>,
}

impl Network {
    fn read(toml: &str) -> Self {
        let tables = tables(toml);
        let programme = tables
            .iter()
            .find(|(name, _)| *name == "programme")
            .map(|(_, table)| table)
            .expect("a programme");
        let (mut earn, mut burn) = (HashMap::new(), HashMap::new());
        for (_, agreement) in tables.iter().filter(|(name, _)| *name == "agreement") {
            let (brand, price) = (agreement["partner"].to_owned(), Fraction::parse(agreement["price"]));
            let known = match agreement["kind"] {
                "earn" => earn.insert(brand, (Fraction::parse(agreement["earn_per_unit"]), price)).is_some(),
                "burn" => burn.insert(brand, price).is_some(),
                kind => panic!("an agreement of kind {kind} has no part in the replay"),
            };
            assert!(!known, "two agreements of one kind: {agreement:?}");
        }
        Self {
            pool: programme["issuer"].into(),
            face_value: Fraction::parse(programme["face_value"]),
            earn,
            burn,
        }
    }

    /// One purchase: an earn, then a burn if a coupon was used and the balance suffices.
    fn replay(&self, row: &Row<'_>, balance: &mut i128, today: &mut Traffic) {
        let (per_unit, price) = self.earn[row.brand];
        let earned = row.spend.times(per_unit).floor();
        if earned >= 1 {
            *balance += earned;
            today.owe(row.brand, &self.pool, earned, price);
        }
        let burned = row.coupon.times(self.face_value).ceil();
        if burned > *balance {
            today.refused_burns += 1;
        } else if burned > 0 {
            *balance -= burned;
            today.owe(&self.pool, row.brand, burned, self.burn[row.brand]);
        }
    }
}

/// The `[[name]]` tables of a TOML text with their one-line string values, which is all that a network file of this kind has.
fn tables(toml: &str) -> Vec<(&str, HashMap<&str, &str>)> {
    let mut tables = Vec::new();
    for line in toml.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            tables.push((name.split(']').next().unwrap_or_default().trim_start_matches('['), HashMap::new()));
        } else if let (Some((key, value)), Some((_, table))) = (line.split_once('='), tables.last_mut())
            && let Some(text) = value.trim().strip_prefix('"')
        {
            table.insert(key.trim(), text.split('"').next().unwrap_or_default());
        }
    }
    tables
}

mod tests {
    use super::*;

    #[test]
    fn fractions_are_in_lowest_terms() {
        assert_eq!(Fraction::new(6, -4), Fraction::new(-3, 2));
        assert_eq!(Fraction::new(0, -7), Fraction::ZERO);
        assert_eq!(Fraction::parse("0.0055"), Fraction::new(11, 2000));
        assert_eq!(Fraction::parse("12"), whole(12));
        assert_eq!(Fraction::new(1, 3).plus(Fraction::new(1, 6)), Fraction::new(1, 2));
        assert_eq!(Fraction::new(1, 3).minus(Fraction::new(1, 2)), Fraction::new(-1, 6));
        assert_eq!(Fraction::new(-2, 3).times(Fraction::new(3, 4)), Fraction::new(-1, 2));
    }

    #[test]
    fn rounding_is_exact() {
        let halves: Vec<i128> = [-5, -3, -1, 1, 3, 5].map(|n| Fraction::new(n, 2).round_half_even()).into();
        assert_eq!(halves, [-2, -2, 0, 0, 2, 2]);
        let thirds: Vec<i128> = [-4, -2, -1, 1, 2, 4].map(|n| Fraction::new(n, 3).round_half_even()).into();
        assert_eq!(thirds, [-1, -1, 0, 0, 1, 1]);
        assert_eq!((Fraction::new(-7, 2).floor(), Fraction::new(-7, 2).ceil()), (-4, -3));
        assert_eq!(
            (
                Fraction::new(7, 2).floor(),
                Fraction::new(7, 2).ceil(),
                whole(3).floor(),
                whole(3).ceil()
            ),
            (3, 4, 3, 3)
        );
    }

    #[test]
    fn the_calendar() {
        let next = [
            "2017-01-31",
            "2016-02-28",
            "2017-02-28",
            "1900-02-28",
            "2017-12-31",
            "2017-04-30",
            "2017-01-09",
        ]
        .map(next_day);
        assert_eq!(
            next,
            [
                "2017-02-01",
                "2016-02-29",
                "2017-03-01",
                "1900-03-01",
                "2018-01-01",
                "2017-05-01",
                "2017-01-10"
            ]
        );
    }

    #[test]
    fn a_residue_travels_over_days_without_rows() {
        let network = "[[programme]]\nissuer = \"pool\"\nface_value = \"200\" # a comment\n[[agreement]]\nkind = \"earn\"\npartner = \"zoo\"\n\
                       price = \"0.0055\"\nearn_per_unit = \"1\"\n[[agreement]]\nkind = \"burn\"\npartner = \"zoo\"\nprice = \"0.0048\"\n";
        let csv = "occurred_at,shopper,brand,store,basket,spend,coupon\n\
                   2017-01-01T23:59:59+08:00,1,zoo,1,1,3.99,0.03\n\
                   2017-01-01T23:59:59+08:00,2,zoo,1,2,0.99,0.00\n\
                   2017-01-03T00:00:00+08:00,1,zoo,1,3,3.00,0.02\n";
        let days = january(csv, network);
        assert_eq!(
            days.iter().map(|d| (d.accepted, d.refused_burns)).collect::<Vec<_>>(),
            [(1, 1), (0, 0), (2, 0)]
        );
        // zoo owes 3 points, 0.0165, and pays 0.02. Two days on it owes 0.0165 more, and pool owes it 4 burned points, 0.0192, and the 0.0035
        // that it paid too much: pool pays 0.01 of 0.0062.
        let pairs: Vec<_> = days
            .iter()
            .map(|day| &day.pairs[..])
            .map(|pairs| (pairs.len(), pairs[0].carried_in, pairs[0].net_cents, pairs[0].carried_out))
            .collect();
        let (zero, carry) = (Fraction::ZERO, Fraction::new(35, 10_000));
        assert_eq!(
            pairs,
            [
                (1, zero, -2, carry),
                (1, carry, 0, carry),
                (1, carry, 1, Fraction::new(-38, 10_000))
            ]
        );
        assert_eq!(
            (&*days[2].date, &*days[2].pairs[0].a, &*days[2].pairs[0].b),
            ("2017-01-03", "pool", "zoo")
        );
        assert_eq!(
            (days[2].pairs[0].a_owes, days[2].pairs[0].b_owes),
            (Fraction::parse("0.0192"), Fraction::parse("0.0165"))
        );
        assert_eq!(days[2].net_cents, BTreeMap::from([("pool".into(), -1), ("zoo".into(), 1)]));
    }

    /// The totals, as found by a third computation in another language.
    #[test]
    fn the_january_file() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).expect(path);
        let days = january(&read("../shared/data/baskets-2017-01.csv"), &read("docs/examples/january.toml"));
        assert_eq!(days.len(), 31);
        assert_eq!(
            (
                days.iter().map(|d| d.accepted).sum::<usize>(),
                days.iter().map(|d| d.refused_burns).sum::<usize>()
            ),
            (19_924, 580)
        );
        let nets = |day: &Day| day.net_cents.values().copied().collect::<Vec<_>>();
        assert_eq!(
            days[0].net_cents.keys().collect::<Vec<_>>(),
            ["cafe", "fuel", "grocer", "home", "pharmacy", "pool"]
        );
        assert_eq!(nets(&days[0]), [-261, -157, -3588, -7, -559, 4572]);
        assert_eq!(nets(&days[30]), [-259, -433, -3209, -15, -799, 4715]);
        assert!(days.iter().all(|day| nets(day).iter().sum::<i128>() == 0));
    }
}
