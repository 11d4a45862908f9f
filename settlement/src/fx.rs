//! A window's obligations converted into the currency in which they are paid. Pure.
//!
//! Each pair's net is converted by itself, so both sides see the same and all nets still sum to zero. What rounding to the payment currency's minor unit leaves is the pair's difference, which is
//! carried into its next window: nothing is lost.

use std::collections::BTreeMap;

use partner_sdk::{Currency, Money, PartnerId};

use crate::netting::{NettingError, Obligation, Payable, fits};

/// At which rate a currency is paid in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In which it is paid.
    pub payment_currency: Currency,
    /// In micros of the payment currency for one unit; with the decimals of the currency it has 6 at most.
    pub rate: Money,
}

/// The rates of a window by the currency that is converted; a currency without one is paid as it is.
pub type Rates = BTreeMap<Currency, Rate>;

/// A pair's net in the currency in which it is paid: `net * rate == amount + difference`, all positive where a owes b.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The party whose id sorts first.
    pub party_a: PartnerId,
    /// The other party.
    pub party_b: PartnerId,
    /// What is converted.
    pub currency: Currency,
    /// The net of the pair's obligation.
    pub net: Money,
    /// In micros of the payment currency for one unit.
    pub rate: Money,
    /// In which it is paid.
    pub payment_currency: Currency,
    /// What is paid: a whole number of minor units.
    pub amount: Money,
    /// What rounding leaves, for the pair's next window.
    pub difference: Money,
}

/// What becomes of the obligations whose currencies have a rate, in their order. An error where a product doesn't fit, or isn't a whole number of micros: then net or rate isn't what was checked before.
pub fn conversions(obligations: &[Obligation], rates: &Rates) -> Result<Vec<Conversion>, NettingError> {
    let converted = |o: &Obligation| rates.get(&o.currency).map(|rate| conversion(o, *rate));
    obligations.iter().filter_map(converted).collect()
}

fn conversion(o: &Obligation, Rate { payment_currency, rate }: Rate) -> Result<Conversion, NettingError> {
    let product = i128::from(o.net.0) * i128::from(rate.0);
    if product % 1_000_000 != 0 {
        return Err(NettingError::Inexact(o.currency));
    }
    let exact = fits(product / 1_000_000, "what is converted", (&o.party_a, &o.party_b), payment_currency)?;
    let (amount, difference) = exact.round_to_minor(payment_currency);
    Ok(Conversion {
        party_a: o.party_a.clone(),
        party_b: o.party_b.clone(),
        currency: o.currency,
        net: o.net,
        rate,
        payment_currency,
        amount,
        difference,
    })
}

/// What each pair pays, in the currency in which it does: what was converted, and the nets of all other currencies. Sorted by currency and pair, each once.
pub fn payable(obligations: &[Obligation], conversions: &[Conversion]) -> Result<Vec<Payable>, NettingError> {
    let key = |currency, a: &PartnerId, b: &PartnerId| (currency, a.clone(), b.clone());
    let mut sums: BTreeMap<(Currency, PartnerId, PartnerId), i128> = BTreeMap::new();
    for o in obligations {
        *sums.entry(key(o.currency, &o.party_a, &o.party_b)).or_default() += i128::from(o.net.0);
    }
    // The payment currency itself is never converted.
    for c in conversions {
        sums.remove(&key(c.currency, &c.party_a, &c.party_b));
        *sums.entry(key(c.payment_currency, &c.party_a, &c.party_b)).or_default() += i128::from(c.amount.0);
    }
    let paid = |((currency, party_a, party_b), net)| {
        Ok(Payable {
            net: fits(net, "what is paid", (&party_a, &party_b), currency)?,
            party_a,
            party_b,
            currency,
        })
    };
    sums.into_iter().map(paid).collect()
}

/// What a window carries into the next: the residues of its obligations, and the differences of its conversions, each as an obligation of nothing else in the payment currency.
pub fn carried_on(mut obligations: Vec<Obligation>, conversions: &[Conversion]) -> Vec<Obligation> {
    let differences = conversions.iter().filter(|c| c.difference != Money::ZERO);
    obligations.extend(differences.map(|c| Obligation {
        party_a: c.party_a.clone(),
        party_b: c.party_b.clone(),
        currency: c.payment_currency,
        a_owes: Money::ZERO,
        b_owes: Money::ZERO,
        carried_in: c.difference,
        net: Money::ZERO,
        carried_out: c.difference,
    }));
    obligations
}

#[cfg(test)]
mod tests;
