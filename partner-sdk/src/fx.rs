//! At which rates a window's currencies are paid in another one.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::amount::{Amount, Money};
use crate::ids::Currency;

/// The most currencies that one document converts.
pub const MOST_RATES: usize = 50;

/// The highest rate: so many units of the payment currency for one unit.
pub const MAX_RATE: i64 = 1_000_000;

/// What one window's currencies are converted into, and at which rates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FxTerms {
    /// The window.
    pub business_date: Date,
    /// In which the window is paid, with what is owed in it anyway.
    pub payment_currency: Currency,
    /// At most [`MOST_RATES`], none to have the window paid in its own currencies after all; sorted by their currencies, each once; what isn't among them is paid in its own currency.
    pub rates: Vec<FxRate>,
}

/// One currency's rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FxRate {
    /// What is converted.
    pub currency: Currency,
    /// How many units of the payment currency one unit is: above zero, at most [`MAX_RATE`]. With the decimals of the currency it has 6 at most, so that what is converted is a whole number of millionths.
    pub rate: Amount,
}

impl FxRate {
    /// How many decimals the rate may have.
    pub fn decimals(&self) -> u32 {
        6 - self.currency.minor_digits()
    }

    /// The rate in micros of the payment currency for one unit; nothing where it isn't as it has to be.
    pub fn micros(&self) -> Option<Money> {
        let exact = self.rate.to_units(self.decimals()).is_ok();
        let micros = self
            .rate
            .to_units(6)
            .ok()
            .filter(|micros| exact && (1..=MAX_RATE * 1_000_000).contains(micros));
        micros.map(Money)
    }

    fn fault(&self, payment_currency: Currency) -> Option<String> {
        let Self { currency, rate } = self;
        if *currency == payment_currency {
            return Some(format!("{currency} is paid in itself and has no rate"));
        }
        if rate.millionths() == 0 || rate.millionths() > i128::from(MAX_RATE) * 1_000_000 {
            return Some(format!("the rate of {currency} is above 0 and at most {MAX_RATE}"));
        }
        let (digits, most) = (currency.minor_digits(), self.decimals());
        self.micros().is_none().then(|| {
            format!("{currency} has {digits} decimals, so its rate has at most {most}: what is converted is then exact to the millionth")
        })
    }
}

impl FxTerms {
    /// What is wrong with them by themselves, and in which field; nothing where they can be in force.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        if self.rates.len() > MOST_RATES {
            return Some(("rates", format!("at most {MOST_RATES} currencies are converted by a document")));
        }
        if !self.rates.is_sorted_by(|one, next| one.currency < next.currency) {
            return Some(("rates", "rates are sorted by their currencies, each once".to_owned()));
        }
        let wrong = self.rates.iter().find_map(|rate| rate.fault(self.payment_currency));
        wrong.map(|why| ("rates", why))
    }

    /// The rates in one line, e.g. `EUR=8.4,USD=7.8`.
    pub fn listed(&self) -> String {
        let rates = self.rates.iter().map(|one| format!("{}={}", one.currency, one.rate));
        rates.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(into: &str, rates: &[(&str, &str)]) -> FxTerms {
        let rate = |(currency, rate): &(&str, &str)| FxRate {
            currency: currency.parse().expect("a currency"),
            rate: rate.parse().expect("a rate"),
        };
        FxTerms {
            business_date: jiff::civil::date(2026, 11, 21),
            payment_currency: into.parse().expect("a currency"),
            rates: rates.iter().map(rate).collect(),
        }
    }

    #[test]
    fn a_rate_is_as_fine_as_its_currency_leaves_room() {
        for (currency, rate, micros) in [
            ("USD", "7.8123", 7_812_300),
            ("JPY", "0.052001", 52_001),
            ("KWD", "25.512", 25_512_000),
            ("USD", "1000000", 1_000_000_000_000),
        ] {
            let good = terms("HKD", &[(currency, rate)]);
            assert_eq!(good.fault(), None, "{currency} {rate}");
            assert_eq!(good.rates[0].micros(), Some(Money(micros)), "{currency} {rate}");
        }
        for (currency, rate) in [
            ("USD", "7.81234"),
            ("KWD", "25.5123"),
            ("USD", "0"),
            ("USD", "1000000.0001"),
            ("USD", "999999999999999999"),
        ] {
            let wrong = terms("HKD", &[(currency, rate)]);
            assert_eq!(wrong.fault().map(|(field, _)| field), Some("rates"), "{currency} {rate}");
            assert_eq!(wrong.rates[0].micros(), None, "{currency} {rate}");
        }
    }

    #[test]
    fn each_currency_has_one_rate_and_the_payment_currency_none() {
        let two = terms("HKD", &[("EUR", "8.40"), ("USD", "7.8")]);
        assert_eq!((two.fault(), &*two.listed()), (None, "EUR=8.4,USD=7.8"));
        assert_eq!(terms("HKD", &[]).fault(), None);
        for rates in [
            &[("USD", "7.8"), ("EUR", "8.4")][..],
            &[("USD", "7.8"), ("USD", "7.8")],
            &[("HKD", "1")],
        ] {
            assert!(terms("HKD", rates).fault().is_some(), "{rates:?}");
        }
        let currencies = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP \
                          CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD";
        let many: Vec<(&str, &str)> = currencies.split_whitespace().map(|code| (code, "1")).collect();
        assert_eq!(terms("HKD", &many[..MOST_RATES]).fault(), None);
        assert!(terms("HKD", &many[..=MOST_RATES]).fault().is_some());
    }
}
