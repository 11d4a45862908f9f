//! Exact amounts (DESIGN section 3): integers underneath, one grammar on the wire, every operation checked.

use std::fmt;

use crate::ids::Currency;

/// Why an amount can't be read or computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text is outside the grammar `(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?`.
    #[error("not an amount: 1 to 18 digits without a zero before them, then at most 6 decimals, without sign, exponent or separators")]
    Grammar,
    /// There are more decimals than the unit has, or than any has.
    #[error("too fine: at most 6 decimals are written, and zeros at their end aside no more than the unit has")]
    Decimals,
    /// The value has more digits than are taken, or doesn't fit 64 bits in its smallest unit.
    #[error("too large: at most 18 digits before the point are written, and no more than 9223372036854775807 of its smallest unit")]
    Overflow,
}

/// A decimal as it travels: what the grammar allows, exact, not yet in any unit. Held in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

impl Amount {
    /// Reads `(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?` and nothing else.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let (whole, decimals) = match text.split_once('.') {
            Some((_, "")) => return Err(AmountError::Grammar),
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(AmountError::Grammar);
        }
        if whole.len() > 18 {
            return Err(AmountError::Overflow);
        }
        if decimals.len() > 6 {
            return Err(AmountError::Decimals);
        }
        let number = |t: &str| t.bytes().fold(0i128, |n, b| n * 10 + i128::from(b - b'0'));
        let scale = 10i128.pow(6 - decimals.len() as u32);
        Ok(Self(number(whole) * 1_000_000 + number(decimals) * scale))
    }

    /// The value in units of `10^-decimals` (0 to 6); fails if it has more decimals, or doesn't fit.
    pub fn to_units(self, decimals: u32) -> Result<i64, AmountError> {
        let step = 10i128.pow(6 - decimals.min(6));
        if self.0 % step != 0 {
            return Err(AmountError::Decimals);
        }
        i64::try_from(self.0 / step).map_err(|_| AmountError::Overflow)
    }

    /// The value in millionths: below `10^24`, so that sums of any record fit.
    pub fn millionths(self) -> i128 {
        self.0
    }

    /// A whole number of units of `10^-decimals`; a negative one has no place on the wire and gives `None`.
    pub fn from_units(units: i64, decimals: u32) -> Option<Self> {
        (units >= 0).then(|| Self(i128::from(units) * 10i128.pow(6 - decimals.min(6))))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:06}").trim_end_matches('0'))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Amount {
    type Err = AmountError;
    fn from_str(text: &str) -> Result<Self, AmountError> {
        Self::parse(text)
    }
}

impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Writes `units` of `10^-decimals` with all its decimals, sign first: `-8.25`, `0.00`, `12`.
pub fn format_units(units: impl Into<i128>, decimals: u32) -> String {
    let (units, scale) = (units.into(), 10u128.pow(decimals));
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (units.unsigned_abs() / scale, units.unsigned_abs() % scale);
    if decimals == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{rest:0width$}", width = decimals as usize)
    }
}

/// Points in the smallest unit of their programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Points(pub i64);

/// Money in micros, millionths of the currency's major unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Money(pub i64);

macro_rules! checked {
    ($name:ident) => {
        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// The sum, or `None` where it doesn't fit.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// The difference, or `None` where it doesn't fit.
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }
        }
    };
}
checked!(Points);
checked!(Money);

impl Points {
    /// `floor(self * part / whole)` for `0 <= part <= whole`, `whole > 0`: a share that is exact however it is cut, because
    /// callers subtract two cumulative shares (DESIGN 3.6). `None` outside those ranges.
    pub fn share(self, part: i64, whole: i64) -> Option<Self> {
        if !(0..=whole).contains(&part) || whole == 0 || self.0 < 0 {
            return None;
        }
        i64::try_from(i128::from(self.0) * i128::from(part) / i128::from(whole))
            .ok()
            .map(Self)
    }

    /// What these points cost at a price in micros a point; `None` where it doesn't fit.
    pub fn at(self, price: Money) -> Option<Money> {
        self.0.checked_mul(price.0).map(Money)
    }
}

impl Money {
    /// Rounds to the currency's minor unit, half to even, and returns (rounded, residue), both in micros, with
    /// `rounded + residue == self` (DESIGN 3.5).
    pub fn round_to_minor(self, currency: Currency) -> (Money, Money) {
        let (value, unit) = (i128::from(self.0), 10i128.pow(6 - currency.minor_digits()));
        let (quotient, rest) = (value.div_euclid(unit), value.rem_euclid(unit));
        let up = rest * 2 > unit || (rest * 2 == unit && quotient % 2 != 0);
        let rounded = (quotient + i128::from(up)) * unit;
        // At the very ends of the range the nearest unit may not fit; then the one towards zero is taken, with its residue.
        let rounded = i64::try_from(rounded).unwrap_or((value / unit * unit) as i64);
        (Money(rounded), Money(self.0 - rounded))
    }

    /// The amount with the currency's decimals; the value must be a whole number of minor units, else all six are shown.
    pub fn display(self, currency: Currency) -> String {
        let unit = 10i64.pow(6 - currency.minor_digits());
        if self.0 % unit == 0 {
            format_units(self.0 / unit, currency.minor_digits())
        } else {
            format_units(self.0, 6)
        }
    }

    /// The amount with all six decimals.
    pub fn display_micros(self) -> String {
        format_units(self.0, 6)
    }
}

/// An exchange ratio: `numerator` points out for `denominator` points in, e.g. 1000/100 for 100 -> 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    /// Points out, above 0.
    pub numerator: i64,
    /// Points in, above 0.
    pub denominator: i64,
}

impl Ratio {
    /// `(points used, points out)` for `points` offered in steps of `step`: the largest multiple of the step, then
    /// `floor(used * numerator / denominator)` (DESIGN 3.3). `None` on overflow or a step below 1.
    pub fn exchange(self, points: Points, step: i64) -> Option<(Points, Points)> {
        if step < 1 || self.denominator < 1 || points.0 < 0 {
            return None;
        }
        let used = points.0 - points.0 % step;
        let out = i128::from(used) * i128::from(self.numerator) / i128::from(self.denominator);
        Some((Points(used), Points(i64::try_from(out).ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_closed() {
        for good in ["0", "5", "10.5", "0.000001", "999999999999999999.999999"] {
            assert!(Amount::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "1e3", "+5", ".5", "5.", "1_000", "-5", "05", "00", " 1", "1 ", "١", "1,5", "1.2.3", "NaN",
        ] {
            assert_eq!(Amount::parse(bad), Err(AmountError::Grammar), "{bad}");
        }
        for (bad, why) in [
            ("1.0000000", AmountError::Decimals),
            ("0.00550000", AmountError::Decimals),
            ("1000000000000000000", AmountError::Overflow),
            ("1000000000000000000.0000000", AmountError::Overflow),
        ] {
            assert_eq!(Amount::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn units_are_exact_or_refused() {
        let read = |t: &str, d| Amount::parse(t).and_then(|a| a.to_units(d));
        assert_eq!(read("12.50", 2), Ok(1250));
        assert_eq!(read("12.500", 1), Ok(125));
        assert_eq!(read("12.5", 0), Err(AmountError::Decimals));
        assert_eq!(read("999999999999999999", 6), Err(AmountError::Overflow));
        assert_eq!(Amount::from_units(1250, 2).map(|a| a.to_string()), Some("12.5".into()));
        assert_eq!(format_units(-825, 2), "-8.25");
        assert_eq!(format_units(i64::MIN, 6), "-9223372036854.775808");
    }

    #[test]
    fn rounding_keeps_its_residue() {
        let hkd = Currency::new("HKD").expect("a currency");
        for (micros, rounded) in [
            (5_000, 0),
            (15_000, 20_000),
            (25_000, 20_000),
            (-5_000, 0),
            (-15_000, -20_000),
            (14_999, 10_000),
            (-14_999, -10_000),
        ] {
            assert_eq!(
                Money(micros).round_to_minor(hkd),
                (Money(rounded), Money(micros - rounded)),
                "{micros}"
            );
        }
        for extreme in [i64::MAX, i64::MIN] {
            let (rounded, residue) = Money(extreme).round_to_minor(hkd);
            assert_eq!(i128::from(rounded.0) + i128::from(residue.0), i128::from(extreme));
        }
    }

    #[test]
    fn exchanges_leave_what_the_step_leaves() {
        let ratio = Ratio {
            numerator: 1000,
            denominator: 100,
        };
        assert_eq!(ratio.exchange(Points(730), 100), Some((Points(700), Points(7000))));
        assert_eq!(
            Ratio {
                numerator: 115,
                denominator: 100
            }
            .exchange(Points(100), 1),
            Some((Points(100), Points(115)))
        );
        assert_eq!(
            Ratio {
                numerator: i64::MAX,
                denominator: 1
            }
            .exchange(Points(2), 1),
            None
        );
    }

    #[test]
    fn shares_are_cumulative() {
        let all = Points(99);
        let kept = |spend_left| all.share(spend_left, 9990).expect("in range").0;
        assert_eq!((99 - kept(4995), kept(4995) - kept(0)), (50, 49));
        assert_eq!(all.share(1, 0), None);
        assert_eq!(all.share(-1, 10), None);
    }
}
