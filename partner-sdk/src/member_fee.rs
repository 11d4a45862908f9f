//! What a partner asks of its member for an exchange. A quote shows it; the clearinghouse doesn't collect it.

use serde::{Deserialize, Serialize};

use crate::amount::{Amount, Money, Points};
use crate::ids::Currency;
use crate::terms_error::{TermsError, amount_fault, fault};

/// A fee that the partner asks of its member: `amount` for each `per` points credited, or part of it (HK$100 per 5,000 miles or part).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberFee {
    /// Money, in the agreement's currency.
    pub amount: Amount,
    /// Points of the programme that takes.
    pub per: Amount,
    /// The most for one exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Amount>,
}

/// A member's fee in micros and smallest units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberFeeUnits {
    /// Micros for each block or part.
    pub amount: Money,
    /// Points of a block.
    pub per: i64,
    /// The most for one exchange.
    pub at_most: Option<Money>,
}

impl MemberFeeUnits {
    /// Checks a schedule; `to_scale` is the number of decimals of the points credited.
    pub fn new(fee: &MemberFee, currency: Currency, to_scale: u32) -> Result<Self, TermsError> {
        let read = |amount: Amount, digits| amount.to_units(digits).map_err(amount_fault("member_fee"));
        let money = |amount: Amount| read(amount, currency.minor_digits()).and_then(|_| read(amount, 6)).map(Money);
        let units = Self {
            amount: money(fee.amount)?,
            per: read(fee.per, to_scale)?,
            at_most: fee.at_most.map(money).transpose()?,
        };
        if units.per < 1 {
            return Err(fault("member_fee", "must be for a number of points above zero"));
        }
        Ok(units)
    }

    /// The fee for so many points credited, without bonus; `None` where it doesn't fit.
    pub fn of(&self, credited: Points) -> Option<Money> {
        let blocks = i128::from(credited.0).checked_add(i128::from(self.per) - 1)? / i128::from(self.per);
        let fee = i64::try_from(blocks.checked_mul(i128::from(self.amount.0))?).ok()?;
        Some(Money(self.at_most.map_or(fee, |most| fee.min(most.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fee(terms: &str, scale: u32) -> Result<MemberFeeUnits, TermsError> {
        let hkd = Currency::new("HKD").expect("a currency");
        MemberFeeUnits::new(&serde_json::from_str(terms).expect(terms), hkd, scale)
    }

    #[test]
    fn a_part_of_a_block_costs_a_block() {
        let hundred = fee(r#"{"amount":"100","per":"5000","at_most":"250.5"}"#, 0).expect("good");
        let costs = [1, 5000, 5001, 10_000, 10_001, i64::MAX].map(|points| hundred.of(Points(points)));
        let dollars = |cents: i64| Some(Money(cents * 10_000));
        let expected = [10_000, 10_000, 20_000, 20_000, 25_050];
        assert_eq!(costs[..5], expected.map(dollars));
        assert_eq!(costs[5], None, "it would not fit, whatever the most is");
        let tenths = fee(r#"{"amount":"0.5","per":"0.5"}"#, 1).expect("good");
        assert_eq!(tenths.of(Points(11)), dollars(150));
    }

    #[test]
    fn a_schedule_out_of_range_is_refused() {
        for terms in [
            r#"{"amount":"0.001","per":"1"}"#,
            r#"{"amount":"1","per":"0"}"#,
            r#"{"amount":"1","per":"0.5"}"#,
            r#"{"amount":"1","per":"1","at_most":"0.001"}"#,
        ] {
            assert_eq!(fee(terms, 0).expect_err(terms).field, "member_fee");
        }
    }
}
