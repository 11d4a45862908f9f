//! What each partner is to pay or to receive for a window through the clearing account, and where it stands over all of them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::banking::PaymentReference;
use partner_sdk::{Currency, Money, PartnerId};

use crate::netting::{NetPositions, NettingError};

/// A payment between a partner and the clearing account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// By which all who see it know it.
    pub reference: PaymentReference,
    /// The window that it settles.
    pub business_date: Date,
    /// Who pays or receives.
    pub partner: PartnerId,
    /// Of the amount.
    pub currency: Currency,
    /// Below zero the partner pays, above it receives: a whole number of minor units.
    pub amount: Money,
    /// The day on which it is due.
    pub value_date: Date,
    /// That it was made; nothing while it is open.
    pub confirmed: Option<Confirmed>,
    /// The hash of the document that has put another in its place: it isn't paid any more.
    pub replaced_by: Option<String>,
}

impl Due {
    /// Whether it is still to be made.
    pub fn is_open(&self) -> bool {
        self.confirmed.is_none() && self.replaced_by.is_none()
    }

    /// Whether the partner pays; else it receives.
    pub fn is_paid_in(&self) -> bool {
        self.amount.0 < 0
    }

    /// What the partner does: `pays` or `receives`.
    pub fn does(&self) -> &'static str {
        if self.is_paid_in() { "pays" } else { "receives" }
    }

    /// How much, above zero, with the currency's decimals.
    pub fn how_much(&self) -> String {
        self.amount.display(self.currency).trim_start_matches('-').to_owned()
    }
}

/// That a payment was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The day on which the bank booked it; nothing where a whole window was said to be settled.
    pub paid_on: Option<Date>,
    /// When it was confirmed.
    pub at: Timestamp,
    /// The hash of the document that says so.
    pub by: String,
}

/// What a partner is to pay (below zero) or to receive over all windows up to one: `opening + confirmed + revised + net == closing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Whose.
    pub partner: PartnerId,
    /// Of all amounts.
    pub currency: Currency,
    /// With what the window before closed.
    pub opening: Money,
    /// What payments have done to it since.
    pub confirmed: Money,
    /// What was taken out of earlier windows since.
    pub revised: Money,
    /// What the window adds.
    pub net: Money,
    /// What is open then.
    pub closing: Money,
}

/// One payment for each net position but zero, in the order of currencies and partners; what is left on the clearing account is the clearinghouse's own.
pub fn dues(business_date: Date, value_date: Date, nets: &NetPositions) -> Result<Vec<Due>, NettingError> {
    let mut places: BTreeMap<Currency, usize> = BTreeMap::new();
    let paid = nets
        .iter()
        .filter(|((_, partner), net)| **net != 0 && *partner != PartnerId::clearing());
    let due = |((currency, partner), net): (&(Currency, PartnerId), &i128)| {
        let place = places.entry(*currency).or_default();
        *place += 1;
        Ok(Due {
            reference: PaymentReference::new(business_date, *currency, *place),
            business_date,
            partner: partner.clone(),
            currency: *currency,
            amount: fits(*net, partner, *currency)?,
            value_date,
            confirmed: None,
            replaced_by: None,
        })
    };
    paid.map(due).collect()
}

/// Where every partner stands once a window is netted: `before` is with what the window before closed, `open` what of it isn't confirmed yet, and `revised` what was taken out since.
/// Whoever has nothing, and had nothing, isn't in it.
pub fn running(
    before: &NetPositions,
    open: &NetPositions,
    revised: &NetPositions,
    nets: &NetPositions,
) -> Result<Vec<Running>, NettingError> {
    let keys: BTreeSet<_> = before.keys().chain(open.keys()).chain(revised.keys()).chain(nets.keys()).collect();
    let of = |sums: &NetPositions, key: &(Currency, PartnerId)| sums.get(key).copied().unwrap_or(0);
    let line = |key: &(Currency, PartnerId)| {
        let (currency, partner) = key;
        let money = |sum| fits(sum, partner, *currency);
        let (opening, left, revised, net) = (of(before, key), of(open, key), of(revised, key), of(nets, key));
        Ok(Running {
            partner: partner.clone(),
            currency: *currency,
            opening: money(opening)?,
            confirmed: money(left - opening - revised)?,
            revised: money(revised)?,
            net: money(net)?,
            closing: money(left + net)?,
        })
    };
    let partners = keys.into_iter().filter(|(_, partner)| *partner != PartnerId::clearing());
    partners.map(line).collect()
}

/// The sum as money.
pub fn fits(sum: i128, partner: &PartnerId, currency: Currency) -> Result<Money, NettingError> {
    i64::try_from(sum).map(Money).map_err(|_| NettingError::Payment {
        partner: partner.clone(),
        currency,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Lcg, hkd, partner};

    fn sums(of: &[(&str, i128)]) -> NetPositions {
        of.iter().map(|(id, sum)| ((hkd(), partner(id)), *sum)).collect()
    }

    fn day(text: &str) -> Date {
        text.parse().expect(text)
    }

    #[test]
    fn each_partner_pays_or_receives_once() {
        let cny: Currency = "CNY".parse().expect("a currency");
        let mut nets = sums(&[("ann", -30_000), ("ben", 0), ("clearing", 10_000), ("dot", 20_000)]);
        nets.extend([((cny, partner("ann")), 500_000), ((cny, partner("dot")), -500_000)]);
        let dues = dues(day("2026-11-21"), day("2026-11-23"), &nets).expect("fits");
        let shown: Vec<String> = dues
            .iter()
            .map(|due| {
                format!(
                    "{} {} {}",
                    &due.reference.as_str()[4..],
                    due.partner,
                    due.amount.display(due.currency)
                )
            })
            .collect();
        let expected = [
            "261121CNY0001 ann 0.50",
            "261121CNY0002 dot -0.50",
            "261121HKD0001 ann -0.03",
            "261121HKD0002 dot 0.02",
        ];
        assert_eq!(shown, expected);
        assert!(
            dues.iter()
                .all(|due| due.value_date == day("2026-11-23") && due.confirmed.is_none())
        );
    }

    #[test]
    fn a_position_goes_on_from_window_to_window() {
        let before = sums(&[("ann", -30_000), ("ben", 50_000), ("dot", -20_000)]);
        // Ann has paid, Dot hasn't; Ben was paid all of it.
        let lines = running(
            &before,
            &sums(&[("dot", -20_000)]),
            &sums(&[]),
            &sums(&[("ann", -10_000), ("clearing", 3), ("eve", 10_000)]),
        )
        .expect("fits");
        let shown: Vec<String> = lines
            .iter()
            .map(|l| format!("{} {} {} {} {}", l.partner, l.opening.0, l.confirmed.0, l.net.0, l.closing.0))
            .collect();
        let expected = [
            "ann -30000 30000 -10000 -10000",
            "ben 50000 -50000 0 0",
            "dot -20000 0 0 -20000",
            "eve 0 0 10000 10000",
        ];
        assert_eq!(shown, expected);
    }

    /// Windows one after the other, with payments confirmed in any order: what is open at the end is what wasn't confirmed, whatever was.
    #[test]
    fn random_windows_close_with_what_is_open() {
        for seed in 1..=200 {
            let mut random = Lcg(seed);
            let (mut closed, mut open): (NetPositions, Vec<Due>) = (NetPositions::new(), vec![]);
            for window in 0..8 {
                let date = day("2026-11-01").checked_add(jiff::Span::new().days(window)).expect("a day");
                let amount = random.below(1000) as i128 * 10_000;
                let nets = sums(&[("ann", -amount), (*random.pick(&["ben", "dot"]), amount)]);
                open.retain(|_| random.below(3) > 0);
                let mut left = NetPositions::new();
                open.iter()
                    .for_each(|due| *left.entry((due.currency, due.partner.clone())).or_default() += i128::from(due.amount.0));
                let lines = running(&closed, &left, &sums(&[]), &nets).expect("fits");
                open.extend(dues(date, date, &nets).expect("fits"));
                for line in &lines {
                    let (all, key) = (
                        line.opening.0 + line.confirmed.0 + line.net.0,
                        (line.currency, line.partner.clone()),
                    );
                    let is_open: i64 = open.iter().filter(|due| due.partner == line.partner).map(|due| due.amount.0).sum();
                    assert_eq!((all, line.closing.0), (line.closing.0, is_open), "seed {seed}: {line:?}");
                    assert_eq!(
                        i128::from(line.opening.0),
                        closed.get(&key).copied().unwrap_or(0),
                        "seed {seed}: {line:?}"
                    );
                }
                closed = lines
                    .into_iter()
                    .map(|line| ((line.currency, line.partner), i128::from(line.closing.0)))
                    .collect();
            }
        }
    }
}
