//! What banks need to know of a payment: its reference, and the account that it goes to. Checked by the check digits that banks use, so that a slip of the pen isn't paid.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::ids::{Currency, IdError, PartnerId};
use crate::text;

/// The most payments that one document confirms.
pub const MOST_PAID: usize = 100;

/// By which a payment is known to who pays, who is paid and the banks between: a creditor reference of ISO 11649, e.g. `RF93261121HKD0003`. After `RF` and two check digits come
/// the window's business date, the currency and the payment's place in the settlement.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PaymentReference(String);

impl PaymentReference {
    /// That of a window's payment in a currency, by its place there, from 1. Dates are of this century, or of another for which that century's would be long over.
    pub fn new(business_date: Date, currency: Currency, place: usize) -> Self {
        let (year, month, day) = (business_date.year().rem_euclid(100), business_date.month(), business_date.day());
        let body = format!("{year:02}{month:02}{day:02}{currency}{place:04}");
        let check = 98 - remainder(body.bytes().chain(*b"RF00")).unwrap_or(0);
        Self(format!("RF{check:02}{body}"))
    }

    /// The reference without blanks.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every reference that stands in a line of a text, however banks have set it: in groups of four, in small letters, among other words. What follows one may look as if it belonged to it, so the
    /// shortest that holds is taken: only in a window of ten thousand payments is it another, once in 97 times.
    pub fn all_in(text: &str) -> Vec<Self> {
        let mut found: Vec<Self> = vec![];
        for line in text.lines() {
            let plain: String = line
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .map(|c| c.to_ascii_uppercase())
                .collect();
            for (start, _) in plain.match_indices("RF") {
                let rest = &plain[start..];
                let mut lengths = Self::SHORTEST..=Self::LONGEST.min(rest.len());
                found.extend(lengths.find_map(|length| rest[..length].parse::<Self>().ok()));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    const SHORTEST: usize = 17;
    const LONGEST: usize = 25;
}

impl FromStr for PaymentReference {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let parts = || Some((text.get(..2)?, text.get(2..10)?, text.get(10..13)?, text.get(13..)?));
        let formed = parts().is_some_and(|(rf, date, currency, place)| {
            rf == "RF" && digits(date) && Currency::new(currency).is_ok() && digits(place) && place.len() >= 4
        });
        if formed && text.len() <= Self::LONGEST && moved(text).is_some_and(|moved| remainder(moved) == Some(1)) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError {
            kind: "a payment's reference",
            rule: "RF, two check digits that fit, six digits of a date, a currency and four digits or more, e.g. RF93261121HKD0003",
        })
    }
}

impl TryFrom<String> for PaymentReference {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<PaymentReference> for String {
    fn from(reference: PaymentReference) -> Self {
        reference.0
    }
}

impl fmt::Display for PaymentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PaymentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bytes with the first four, the check digits among them, at the end.
fn moved(text: &str) -> Option<impl Iterator<Item = u8>> {
    let (first, rest) = text.as_bytes().split_at_checked(4)?;
    Some(rest.iter().chain(first).copied())
}

/// ISO 7064 MOD 97-10, with letters as 10 to 35; nothing where there is another character.
fn remainder(text: impl IntoIterator<Item = u8>) -> Option<u32> {
    text.into_iter().try_fold(0, |rest, byte| {
        let value = char::from(byte).to_digit(36).filter(|_| !byte.is_ascii_lowercase())?;
        Some((rest * if value < 10 { 10 } else { 100 } + value) % 97)
    })
}

/// A bank account that a partner is paid at in a currency, or (of `clearing`) that partners pay into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankAccount {
    /// In whose name it is, as the bank has it.
    #[serde(deserialize_with = "text::name")]
    pub holder: String,
    /// Its IBAN, or its number as the bank writes it in payments: 1 to 34 of A-Z and 0-9. One that begins with two letters is an IBAN.
    pub account: String,
    /// The bank's BIC (ISO 9362), 8 or 11 characters.
    pub bank: String,
}

impl BankAccount {
    /// Whether the account is given by its IBAN: it begins with two letters then.
    pub fn is_iban(&self) -> bool {
        self.account.len() >= 2 && self.account.as_bytes()[..2].iter().all(u8::is_ascii_uppercase)
    }

    /// The first member that no bank would take, with why.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        let account = self.account.as_bytes();
        if account.is_empty() || account.len() > 34 || !account.iter().copied().all(upper) {
            return Some(("account", "1 to 34 of A-Z and 0-9 are taken, without blanks or hyphens"));
        }
        // No country's has fewer than 15 characters, and check digits are 98 less a remainder.
        let check = || {
            self.account
                .get(2..4)
                .filter(|two| two.bytes().all(|b| b.is_ascii_digit()))?
                .parse::<u8>()
                .ok()
        };
        let is_checked = || {
            check().is_some_and(|check| (2..=98).contains(&check)) && moved(&self.account).is_some_and(|moved| remainder(moved) == Some(1))
        };
        if self.is_iban() && (account.len() < 15 || !is_checked()) {
            return Some((
                "account",
                "an account that begins with two letters is an IBAN, and its check digits don't fit",
            ));
        }
        let bank = self.bank.as_bytes();
        // Bank, country, place, and maybe a branch: https://www.iso.org/standard/84108.html
        let is_bic = matches!(bank.len(), 8 | 11) && bank.iter().copied().all(upper) && bank[4..6].iter().all(u8::is_ascii_uppercase);
        (!is_bic).then_some((
            "bank",
            "a BIC has 8 or 11 of A-Z and 0-9, the fifth and sixth the country's letters",
        ))
    }
}

/// The account of a party in a currency, from the next statements that are made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountTerms {
    /// Whose: a partner's, or `clearing` for that of the clearinghouse.
    pub partner: PartnerId,
    /// The currency of the payments.
    pub currency: Currency,
    /// As in [`BankAccount`].
    #[serde(deserialize_with = "text::name")]
    pub holder: String,
    /// As in [`BankAccount`].
    pub account: String,
    /// As in [`BankAccount`].
    pub bank: String,
}

impl AccountTerms {
    /// The account.
    pub fn account(&self) -> BankAccount {
        BankAccount {
            holder: self.holder.clone(),
            account: self.account.clone(),
            bank: self.bank.clone(),
        }
    }
}

/// That a payment was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paid {
    /// Which.
    pub reference: PaymentReference,
    /// Of the amount.
    pub currency: Currency,
    /// How much: what was due, to the last minor unit.
    pub amount: Amount,
    /// The day on which the bank booked it.
    pub paid_on: Date,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hkd() -> Currency {
        "HKD".parse().expect("a currency")
    }

    #[test]
    fn check_digits_are_those_of_the_standards() {
        // The examples of ISO 11649's users and of the IBAN registry.
        for good in [
            "RF18539007547034",
            "RF712348231",
            "GB82WEST12345698765432",
            "DE89370400440532013000",
        ] {
            assert_eq!(moved(good).and_then(remainder), Some(1), "{good}");
        }
        for slip in [
            "RF18539007547043",
            "GB82WEST12345698765423",
            "DE88370400440532013000",
            "rf712348231",
        ] {
            assert_ne!(moved(slip).and_then(remainder), Some(1), "{slip}");
        }
    }

    #[test]
    fn a_reference_says_which_payment_it_is() {
        let reference = PaymentReference::new(jiff::civil::date(2026, 11, 21), hkd(), 3);
        assert_eq!(reference.as_str()[4..], *"261121HKD0003");
        assert_eq!(reference.as_str().parse::<PaymentReference>().as_ref(), Ok(&reference));
        // Whichever digit is another, and whichever two beside each other are swapped: it is no reference any more.
        for place in 2..17 {
            let mut other = reference.as_str().as_bytes().to_vec();
            other[place] = if other[place] == b'9' { b'8' } else { b'9' };
            assert!(
                String::from_utf8(other).expect("text").parse::<PaymentReference>().is_err(),
                "{place}"
            );
        }
        let place = PaymentReference::new(jiff::civil::date(2026, 11, 21), hkd(), 12_345);
        assert!(place.as_str().ends_with("HKD12345") && place.as_str().parse::<PaymentReference>().is_ok());
    }

    #[test]
    fn a_reference_is_found_however_a_bank_sets_it() {
        let one = PaymentReference::new(jiff::civil::date(2026, 11, 21), hkd(), 1);
        let two = PaymentReference::new(jiff::civil::date(2026, 11, 22), hkd(), 1);
        let grouped: Vec<&str> = one
            .as_str()
            .as_bytes()
            .chunks(4)
            .map(|four| std::str::from_utf8(four).expect("text"))
            .collect();
        let text = format!("/ROC/{}//URI/settlement {}", grouped.join(" ").to_lowercase(), two);
        let mut both = vec![one.clone(), two];
        both.sort();
        assert_eq!(PaymentReference::all_in(&text), both);
        assert_eq!(PaymentReference::all_in(&format!("{one} 5")), [one], "not more of it than holds");
        assert_eq!(PaymentReference::all_in("RF RF00 RF99261121HKD0001, Rückzahlung"), []);
    }

    #[test]
    fn an_account_is_one_that_a_bank_takes() {
        let fault = |account: &str, bank: &str| {
            let (holder, account, bank) = ("Yuu Ltd".to_owned(), account.to_owned(), bank.to_owned());
            BankAccount { holder, account, bank }.fault().map(|(field, _)| field)
        };
        assert_eq!(fault("012345678901", "HSBCHKHHHKH"), None);
        assert_eq!(fault("GB82WEST12345698765432", "NWBKGB2L"), None);
        for (account, bank, field) in [
            ("", "HSBCHKHH", "account"),
            ("012-345", "HSBCHKHH", "account"),
            ("GB83WEST12345698765432", "HSBCHKHH", "account"),
            ("GB", "HSBCHKHH", "account"),
            ("HK00", "HSBCHKHH", "account"),
            ("GBXXWEST12345698765432", "HSBCHKHH", "account"),
            ("1", "HSBCHKH", "bank"),
            ("1", "HSBC12HH", "bank"),
            ("1", "hsbchkhh", "bank"),
        ] {
            assert_eq!(fault(account, bank), Some(field), "{account} {bank}");
        }
    }
}
