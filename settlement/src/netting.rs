//! From gross positions to bilateral obligations to multilateral net positions. Pure.

use std::collections::BTreeMap;

use partner_sdk::agreement::Rounding;
use partner_sdk::{Currency, Money, PartnerId};

/// Why a window can't be netted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NettingError {
    /// What a pair owes doesn't fit. Posting keeps every sum well below that, so these rows aren't what the ledger wrote.
    #[error("{what} between {a} and {b} in {currency} doesn't fit 64 bits in millionths")]
    Overflow {
        /// Which sum.
        what: &'static str,
        /// A party.
        a: PartnerId,
        /// The other one.
        b: PartnerId,
        /// The currency of the sum.
        currency: Currency,
    },
    /// What a partner owes over all windows that aren't settled doesn't fit.
    #[error("what {partner} owes net in {currency} over all windows that aren't settled doesn't fit 64 bits in millionths")]
    Exposure {
        /// Who owes, or is owed.
        partner: PartnerId,
        /// The currency of the sum.
        currency: Currency,
    },
    /// What a partner pays or receives doesn't fit.
    #[error("what {partner} is to pay or to receive in {currency} doesn't fit 64 bits in millionths")]
    Payment {
        /// Who pays, or receives.
        partner: PartnerId,
        /// The currency of the sum.
        currency: Currency,
    },
    /// A net isn't a whole number of minor units, or a rate is too fine: what they make isn't exact.
    #[error("a net in {0} at its rate is no whole number of millionths")]
    Inexact(Currency),
    /// The net positions don't cancel out.
    #[error("the net positions in {0} don't sum to zero")]
    NotZero(Currency),
    /// The postings of a window and its positions say different things.
    #[error("what {debtor} owes {creditor} in {currency} isn't the sum of the lines")]
    Lines {
        /// Who owes.
        debtor: PartnerId,
        /// Who is owed.
        creditor: PartnerId,
        /// The currency of the position.
        currency: Currency,
    },
}

/// What one partner owes another from one window, gross.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Who owes.
    pub debtor: PartnerId,
    /// Who is owed.
    pub creditor: PartnerId,
    /// The currency of the amount.
    pub currency: Currency,
    /// How much, not below zero.
    pub amount: Money,
}

/// What netting made of one pair in one window and currency. `net + carried_out == a_owes - b_owes + carried_in`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// The party whose id sorts first.
    pub party_a: PartnerId,
    /// The other party.
    pub party_b: PartnerId,
    /// The currency of all amounts.
    pub currency: Currency,
    /// What a owes b, gross.
    pub a_owes: Money,
    /// What b owes a, gross.
    pub b_owes: Money,
    /// The residue of the window before; positive: a owes b.
    pub carried_in: Money,
    /// To be paid: a whole number of minor units; positive: a owes b.
    pub net: Money,
    /// The residue for the next window; positive: a owes b.
    pub carried_out: Money,
}

/// What a pair pays of a window, in the currency in which it does; without a conversion that is its obligation's net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payable {
    /// The party whose id sorts first.
    pub party_a: PartnerId,
    /// The other party.
    pub party_b: PartnerId,
    /// Of the amount.
    pub currency: Currency,
    /// A whole number of minor units; positive: a owes b.
    pub net: Money,
}

impl From<&Obligation> for Payable {
    fn from(o: &Obligation) -> Self {
        Self {
            party_a: o.party_a.clone(),
            party_b: o.party_b.clone(),
            currency: o.currency,
            net: o.net,
        }
    }
}

impl From<&Payable> for Payable {
    fn from(pair: &Payable) -> Self {
        pair.clone()
    }
}

/// What a partner is to receive over all its pairs (negative: to pay), by currency and partner, in micros. Wide, as a partner may have any number of pairs.
pub type NetPositions = BTreeMap<(Currency, PartnerId), i128>;

/// How far netting brought the payments down, in one currency; in micros. Wide, because each pair's sum fits 64 bits, but not all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reduction {
    /// The currency of the amounts.
    pub currency: Currency,
    /// The sum of all positions.
    pub gross: i128,
    /// The sum of what one of each pair owes the other.
    pub bilateral: i128,
    /// The sum of the positive net positions.
    pub multilateral: i128,
}

/// Nets positions pair by pair. `previous` are the obligations of the window before: what they carried out is carried in here. Sorted by
/// currency and pair, whatever the order of the input; a pair with nothing at all is left out, and so is what a partner owes itself.
pub fn obligations(positions: &[Position], previous: &[Obligation]) -> Result<Vec<Obligation>, NettingError> {
    let mut pairs: BTreeMap<(Currency, PartnerId, PartnerId), (i128, i128, i128)> = BTreeMap::new();
    for p in positions.iter().filter(|p| p.debtor != p.creditor && p.amount != Money::ZERO) {
        let a_owes = p.debtor < p.creditor;
        let (a, b) = if a_owes {
            (&p.debtor, &p.creditor)
        } else {
            (&p.creditor, &p.debtor)
        };
        let pair = pairs.entry((p.currency, a.clone(), b.clone())).or_default();
        *(if a_owes { &mut pair.0 } else { &mut pair.1 }) += i128::from(p.amount.0);
    }
    for o in previous.iter().filter(|o| o.carried_out != Money::ZERO) {
        pairs.entry((o.currency, o.party_a.clone(), o.party_b.clone())).or_default().2 += i128::from(o.carried_out.0);
    }
    let net = |((currency, party_a, party_b), (a_owes, b_owes, carried_in)): (_, (i128, i128, i128))| {
        let gross = |sum| fits(sum, "a sum", (&party_a, &party_b), currency);
        let (net, carried_out) = gross(a_owes - b_owes + carried_in)?.round_to_minor(currency);
        let (a_owes, b_owes, carried_in) = (gross(a_owes)?, gross(b_owes)?, gross(carried_in)?);
        Ok(Obligation {
            party_a,
            party_b,
            currency,
            a_owes,
            b_owes,
            carried_in,
            net,
            carried_out,
        })
    };
    // A residue and the difference of a conversion may cancel out.
    let owing = pairs.into_iter().filter(|(_, sums)| *sums != (0, 0, 0));
    owing.map(net).collect()
}

/// Every party's net position; a party whose pairs cancel out is there with zero. Fails if they don't sum to zero.
pub fn net_positions<T: Into<Payable>>(pairs: impl IntoIterator<Item = T>) -> Result<NetPositions, NettingError> {
    let mut sums: BTreeMap<(Currency, PartnerId), i128> = BTreeMap::new();
    for pair in pairs {
        let Payable {
            party_a,
            party_b,
            currency,
            net,
        } = pair.into();
        *sums.entry((currency, party_a)).or_default() -= i128::from(net.0);
        *sums.entry((currency, party_b)).or_default() += i128::from(net.0);
    }
    let mut totals: BTreeMap<Currency, i128> = BTreeMap::new();
    for ((currency, _), sum) in &sums {
        *totals.entry(*currency).or_default() += sum;
    }
    if let Some((currency, _)) = totals.into_iter().find(|(_, total)| *total != 0) {
        return Err(NettingError::NotZero(currency));
    }
    Ok(sums)
}

/// Gross, bilateral and multilateral sums, one entry a currency; `nets` are the net positions of these obligations, whatever is converted afterwards.
pub fn reductions(obligations: &[Obligation], nets: &NetPositions) -> Vec<Reduction> {
    let mut sums: BTreeMap<Currency, (i128, i128, i128)> = BTreeMap::new();
    for o in obligations {
        let sum = sums.entry(o.currency).or_default();
        sum.0 += i128::from(o.a_owes.0) + i128::from(o.b_owes.0);
        sum.1 += i128::from(o.net.0).abs();
    }
    for ((currency, _), net) in nets {
        sums.entry(*currency).or_default().2 += (*net).max(0);
    }
    let whole = |(currency, (gross, bilateral, multilateral))| Reduction {
        currency,
        gross,
        bilateral,
        multilateral,
    };
    sums.into_iter().map(whole).collect()
}

impl Reduction {
    /// The part of the gross sum that needn't be paid, in hundredths of a percent, rounded half to even; 0 where nothing is gross, and below
    /// 0 where carried residues make more payable than the window itself.
    pub fn efficiency(&self) -> i64 {
        let (gross, saved) = (self.gross, self.gross - self.multilateral);
        if gross == 0 {
            0
        } else {
            i64::try_from(round_half_even(saved * 10_000, gross)).unwrap_or(i64::MIN)
        }
    }
}

/// A percentage fee on a statement line: rounded to the currency's minor unit, once, from the exact product, as the agreement says (DESIGN section
/// 3.4). `percent` is in millionths of a percent; both it and the amount aren't below zero.
pub fn fee(amount: i128, percent: i64, currency: Currency, rounding: Rounding) -> i128 {
    let unit = 10i128.pow(6 - currency.minor_digits());
    let exact = amount * i128::from(percent);
    let units = match (rounding, 100_000_000 * unit) {
        (Rounding::HalfEven, whole) => round_half_even(exact, whole),
        (Rounding::HalfUp, whole) => (exact * 2 + whole).div_euclid(whole * 2),
        (Rounding::Down, whole) => exact.div_euclid(whole),
        (Rounding::Up, whole) => (exact + whole - 1).div_euclid(whole),
    };
    units * unit
}

/// A fee shared in two: each half in whole minor units, an odd one with the first.
pub fn halves(fee: i128, currency: Currency) -> (i128, i128) {
    let unit = 10i128.pow(6 - currency.minor_digits());
    let second = fee / unit / 2 * unit;
    (fee - second, second)
}

/// What a pair owes, as it is kept: in 64 bits.
pub fn fits(sum: i128, what: &'static str, (a, b): (&PartnerId, &PartnerId), currency: Currency) -> Result<Money, NettingError> {
    i64::try_from(sum).map(Money).map_err(|_| NettingError::Overflow {
        what,
        a: a.clone(),
        b: b.clone(),
        currency,
    })
}

/// `numerator / denominator` to the nearest whole number, half to even; the denominator is above zero.
fn round_half_even(numerator: i128, denominator: i128) -> i128 {
    let (quotient, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    let up = rest * 2 > denominator || (rest * 2 == denominator && quotient % 2 != 0);
    quotient + i128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Lcg, hkd, owes};

    #[test]
    fn a_fee_is_rounded_as_agreed_and_shared_to_the_cent() {
        use Rounding::{Down, HalfEven, HalfUp, Up};
        let fee = |micros, rounding| show_sum(fee(micros, 50_000_000, hkd(), rounding));
        // 50 % of 0.01 is half a cent, of 0.03 one and a half, of 0.021 a little more than one.
        for (micros, rounding, expected) in [
            (10_000, HalfEven, "0.00"),
            (10_000, HalfUp, "0.01"),
            (10_000, Down, "0.00"),
            (10_000, Up, "0.01"),
            (30_000, HalfEven, "0.02"),
            (30_000, Down, "0.01"),
            (21_000, HalfUp, "0.01"),
            (21_000, Up, "0.02"),
            (20_000, Up, "0.01"),
        ] {
            assert_eq!(fee(micros, rounding), expected, "{micros} {rounding:?}");
        }
        let (first, second) = halves(50_000, hkd());
        assert_eq!((show_sum(first), show_sum(second)), ("0.03".to_owned(), "0.02".to_owned()));
    }

    fn show(money: Money) -> String {
        money.display(hkd())
    }

    fn show_sum(micros: i128) -> String {
        partner_sdk::amount::format_units(micros / 10_000, 2)
    }

    #[test]
    fn the_pooled_example() {
        let positions = [
            owes("wellcome", "pool", 11_000_000),
            owes("hangseng", "pool", 22_000_000),
            owes("pool", "ikea", 19_200_000),
            owes("pool", "wellcome", 2_750_000),
            owes("pool", "hangseng", 5_500_000),
        ];
        let obligations = obligations(&positions, &[]).expect("nets");
        let pairs: Vec<_> = obligations
            .iter()
            .map(|o| format!("{} {} {}", o.party_a, o.party_b, show(o.net)))
            .collect();
        assert_eq!(pairs, ["hangseng pool 16.50", "ikea pool -19.20", "pool wellcome -8.25"]);
        let nets = net_positions(&obligations).expect("zero");
        let nets_shown: Vec<_> = nets.iter().map(|((_, p), n)| format!("{p} {}", show_sum(*n))).collect();
        assert_eq!(nets_shown, ["hangseng -16.50", "ikea 19.20", "pool 5.55", "wellcome -8.25"]);
        let reduction = reductions(&obligations, &nets);
        assert_eq!(reduction.len(), 1);
        let r = reduction[0];
        assert_eq!(
            [show_sum(r.gross), show_sum(r.bilateral), show_sum(r.multilateral)],
            ["60.45", "43.95", "24.75"]
        );
        assert_eq!(r.efficiency(), 5906);
    }

    #[test]
    fn fees_are_rounded_once() {
        let fee = |amount, percent| fee(amount, percent, hkd(), Rounding::HalfEven);
        assert_eq!(fee(560_000_000, 1_000_000), 5_600_000);
        assert_eq!(fee(500_000, 1_000_000), 0); // 0.005 is half a cent, and 0 is even
        assert_eq!(fee(1_500_000, 1_000_000), 20_000); // 0.015
        // 0.00500000000001: rounded to micros first, it would be half a cent, and lost
        assert_eq!(fee(500_001, 1_000_000), 10_000);
        assert_eq!(fee(i64::MAX.into(), 0), 0);
        assert_eq!(fee(0, 1_000_000), 0);
        // All of what fits 64 bits, and more: 9,223,372,036,854.775807 ten thousand times.
        assert_eq!(fee(i128::from(i64::MAX) * 10_000, 100_000_000), 92_233_720_368_547_758_070_000);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let too_much = [owes("a", "b", i64::MAX), owes("a", "b", 1)];
        let error = obligations(&too_much, &[]).expect_err("twice what fits");
        assert_eq!(error.to_string(), "a sum between a and b in HKD doesn't fit 64 bits in millionths");
        let wide = [
            owes("a", "b", 4 * 10i64.pow(18)),
            owes("c", "b", 4 * 10i64.pow(18)),
            owes("d", "b", 4 * 10i64.pow(18)),
        ];
        let wide = obligations(&wide, &[]).expect("each pair fits");
        let nets = net_positions(&wide).expect("a partner's sum may be wider");
        assert_eq!(nets[&(hkd(), crate::testing::partner("b"))], 12 * 10i128.pow(18));
    }

    #[test]
    fn nothing_gives_nothing() {
        let nothing = obligations(&[owes("a", "a", 5), owes("a", "b", 0)], &[]).expect("nets");
        assert_eq!(nothing, []);
        let reduction = Reduction {
            currency: hkd(),
            gross: 4_000,
            bilateral: 10_000,
            multilateral: 10_000,
        };
        assert_eq!(reduction.efficiency(), -15_000);
        assert_eq!(Reduction { gross: 0, ..reduction }.efficiency(), 0);
    }

    /// Over many windows: nets sum to zero, whole minor units only, and what was paid plus what is carried is exactly what was owed.
    #[test]
    fn random_windows_lose_nothing() {
        for seed in 1..=200 {
            let mut random = Lcg(seed);
            let mut previous: Vec<Obligation> = vec![];
            let mut owed: BTreeMap<(PartnerId, PartnerId), i128> = BTreeMap::new();
            let mut paid = owed.clone();
            for window in 0..12 {
                let mut positions: Vec<_> = (0..random.below(12)).map(|_| random.position()).collect();
                for p in positions.iter().filter(|p| p.debtor != p.creditor) {
                    let (a, b) = if p.debtor < p.creditor {
                        (&p.debtor, &p.creditor)
                    } else {
                        (&p.creditor, &p.debtor)
                    };
                    let sign = if p.debtor < p.creditor { 1 } else { -1 };
                    *owed.entry((a.clone(), b.clone())).or_default() += sign * i128::from(p.amount.0);
                }
                let net = obligations(&positions, &previous).expect("fits");
                random.shuffle(&mut positions);
                random.shuffle(&mut previous);
                assert_eq!(
                    obligations(&positions, &previous).expect("fits"),
                    net,
                    "seed {seed}, window {window}: order matters"
                );
                let nets = net_positions(&net).expect("zero");
                assert_eq!(nets.values().sum::<i128>(), 0, "seed {seed}, window {window}");
                let reduction = reductions(&net, &nets);
                assert!(
                    reduction.iter().all(|r| r.multilateral <= r.bilateral),
                    "seed {seed}, window {window}"
                );
                for o in &net {
                    assert_eq!(o.net.0 % 10_000, 0, "seed {seed}, window {window}: {o:?}");
                    assert!(o.carried_out.0.abs() <= 5_000, "seed {seed}, window {window}: {o:?}");
                    *paid.entry((o.party_a.clone(), o.party_b.clone())).or_default() += i128::from(o.net.0);
                }
                previous = net;
            }
            for o in &previous {
                *paid.entry((o.party_a.clone(), o.party_b.clone())).or_default() += i128::from(o.carried_out.0);
            }
            paid.retain(|_, sum| *sum != 0);
            owed.retain(|_, sum| *sum != 0);
            assert_eq!(paid, owed, "seed {seed}");
        }
    }
}
