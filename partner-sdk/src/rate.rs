//! What points of one programme become in another: exchange rates, and bonuses for a period (DESIGN sections 3.3 and 6).
//!
//! Both are published under an exchange agreement and never edited. Terms are written in points and percent; [`Rate`] and [`Bonus`] hold the same in
//! smallest units, with every check made once, so that posting a message never rounds money.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::agreement::{Agreement, WHOLE, written};
use crate::amount::{Amount, Money, Points, Ratio};
use crate::ids::ProgrammeCode;
use crate::jws::sha256_hex;
use crate::terms_error::{TermsError, amount_fault, fault};

/// An exchange rate as published. Never edited: a later `valid_from` supersedes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateTerms {
    /// The programme that gives.
    pub programme: ProgrammeCode,
    /// The programme that takes.
    pub to_programme: ProgrammeCode,
    /// Points credited for `denominator` points.
    pub numerator: Amount,
    /// Points given for `numerator` points.
    pub denominator: Amount,
    /// Points move in multiples of this.
    pub step: Amount,
    /// The least that may be exchanged at once.
    pub minimum: Amount,
    /// The most that may be exchanged at once.
    pub maximum: Amount,
    /// In force from this instant.
    pub valid_from: Timestamp,
    /// In force until before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
}

/// A rate in smallest units, ready for posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// SHA-256 of the canonical terms: the rate's version.
    pub hash: String,
    /// The terms as published.
    pub terms: RateTerms,
    /// In smallest units of both programmes.
    pub ratio: Ratio,
    /// The step in smallest units.
    pub step: i64,
    /// The minimum in smallest units.
    pub minimum: Points,
    /// The maximum in smallest units.
    pub maximum: Points,
}

impl Rate {
    /// Checks a rate under its exchange agreement; `scale` and `to_scale` are the programmes' numbers of decimals.
    pub fn new(terms: RateTerms, scale: u32, to_scale: u32, agreement: &Agreement) -> Result<Self, TermsError> {
        let read = |field, amount: Amount, scale| amount.to_units(scale).map_err(amount_fault(field));
        let ratio = Ratio {
            numerator: read("numerator", terms.numerator, to_scale)?,
            denominator: read("denominator", terms.denominator, scale)?,
        };
        let step = read("step", terms.step, scale)?;
        if ratio.numerator < 1 || ratio.denominator < 1 || step < 1 {
            return Err(fault("step", "must be above zero, and so must numerator and denominator"));
        }
        if step % agreement.step != 0 {
            return Err(fault("step", "must be a multiple of the agreement's"));
        }
        let (minimum, maximum) = (
            Points(read("minimum", terms.minimum, scale)?),
            Points(read("maximum", terms.maximum, scale)?),
        );
        if maximum < minimum || maximum.0 < step {
            return Err(fault("maximum", "must be at least the minimum and one step"));
        }
        if terms.valid_until.is_some_and(|until| until <= terms.valid_from) {
            return Err(fault("valid_until", "must be after valid_from"));
        }
        Ok(Self {
            hash: sha256_hex(written(&terms).as_bytes()),
            terms,
            ratio,
            step,
            minimum,
            maximum,
        })
    }

    /// The canonical bytes, whose hash is the rate's version.
    pub fn canonical(&self) -> String {
        written(&self.terms)
    }
}

/// More points on top of what an exchange credits, for a period. Never edited; two for one pair of programmes never overlap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BonusTerms {
    /// The programme that gives.
    pub programme: ProgrammeCode,
    /// The programme that takes, in whose points the bonus is.
    pub to_programme: ProgrammeCode,
    /// The bonus in percent of the points credited: above 0, at most 1000.
    pub percent: Amount,
    /// How much of the bonus the giving side pays for, in percent (0 to 100); the taking issuer bears the rest.
    pub funded_percent: Amount,
    /// In force from this instant.
    pub valid_from: Timestamp,
    /// In force until before this instant.
    pub valid_until: Timestamp,
}

/// A bonus in smallest units, ready for posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bonus {
    /// SHA-256 of the canonical terms: the bonus's version.
    pub hash: String,
    /// The terms as published.
    pub terms: BonusTerms,
    /// Millionths of a percent.
    pub percent_micros: i64,
    /// How much of it the giving side pays for, in millionths of a percent.
    pub funded_micros: i64,
}

impl Bonus {
    /// Checks a bonus under its exchange agreement: what that says of bonuses holds, and the giving side's share of its price is a whole number of micros
    /// a point.
    pub fn new(terms: BonusTerms, agreement: &Agreement) -> Result<Self, TermsError> {
        let percent = |field, amount: Amount| amount.to_units(6).map_err(amount_fault(field));
        let percent_micros = percent("percent", terms.percent)?;
        if !(1..=10 * WHOLE).contains(&percent_micros) {
            return Err(fault("percent", "must be above 0 and at most 1000"));
        }
        let funded_micros = percent("funded_percent", terms.funded_percent)?;
        if funded_micros > WHOLE {
            return Err(fault("funded_percent", "must be at most 100"));
        }
        let Some((most, share)) = agreement.bonus else {
            return Err(fault(
                "percent",
                "needs an agreement that allows bonuses: its `bonus` says up to how much, and who pays",
            ));
        };
        if percent_micros > most {
            return Err(fault("percent", "must be at most what the agreement allows"));
        }
        if funded_micros != share {
            return Err(fault("funded_percent", "must be what the agreement says"));
        }
        if terms.valid_until <= terms.valid_from {
            return Err(fault("valid_until", "must be after valid_from"));
        }
        let bonus = Self {
            hash: sha256_hex(written(&terms).as_bytes()),
            terms,
            percent_micros,
            funded_micros,
        };
        if bonus.price(agreement.price).is_none() {
            return Err(fault(
                "funded_percent",
                "must leave a whole number of micros for one point of bonus",
            ));
        }
        Ok(bonus)
    }

    /// The canonical bytes, whose hash is the bonus's version.
    pub fn canonical(&self) -> String {
        written(&self.terms)
    }

    /// `floor(base * percent / 100)`; `None` where it doesn't fit.
    pub fn bonus(&self, base: Points) -> Option<Points> {
        i64::try_from(i128::from(base.0) * i128::from(self.percent_micros) / i128::from(WHOLE))
            .ok()
            .map(Points)
    }

    /// Micros that the giving side owes for one smallest unit of bonus points, where an agreement prices them at `price`; `None` where that isn't a whole
    /// number, or doesn't fit.
    pub fn price(&self, price: Money) -> Option<Money> {
        let share = i128::from(price.0) * i128::from(self.funded_micros);
        let whole = share % i128::from(WHOLE) == 0;
        whole.then(|| i64::try_from(share / i128::from(WHOLE)).ok().map(Money)).flatten()
    }
}

/// A rate or a bonus as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// SHA-256 of the canonical terms: what receipts and statements mean by this version.
    pub hash: String,
    /// The hash of the exchange agreement that was in force when it was published.
    pub agreement: String,
    /// Its start: its own date, but not before it was published.
    pub in_force_from: Timestamp,
    /// Its end, where one is known: its own, or the start of the version after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_until: Option<Timestamp>,
    /// The terms, if it is a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateTerms>,
    /// The terms, if it is a bonus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bonus: Option<BonusTerms>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement() -> Agreement {
        agreement_with("")
    }

    fn agreement_with(term: &str) -> Agreement {
        let terms = format!(
            r#"{{"kind":"exchange","partner":"bank","programme":"BANK","to_programme":"MILES","price":"0.08","currency":"HKD",{term}"valid_from":"2026-01-01T00:00:00Z"}}"#
        );
        Agreement::new(serde_json::from_str(&terms).expect("terms"), 0, 0).expect("good")
    }

    fn bonus(percent: &str, funded: &str) -> Result<Bonus, TermsError> {
        let share = if funded.starts_with("100.") { "100" } else { funded };
        let split = format!(r#""bonus":{{"max_percent":"1000","funded_percent":"{share}"}},"#);
        bonus_under(&agreement_with(&split), percent, funded)
    }

    fn bonus_under(agreement: &Agreement, percent: &str, funded: &str) -> Result<Bonus, TermsError> {
        let terms = format!(
            r#"{{"programme":"BANK","to_programme":"MILES","percent":"{percent}","funded_percent":"{funded}","valid_from":"2026-01-01T00:00:00Z","valid_until":"2026-02-01T00:00:00Z"}}"#
        );
        Bonus::new(serde_json::from_str(&terms).expect("terms"), agreement)
    }

    #[test]
    fn a_bonus_is_shared_exactly() {
        let half = bonus("15", "50").expect("good");
        assert_eq!(
            (half.bonus(Points(7000)), half.price(agreement().price)),
            (Some(Points(1050)), Some(Money(40_000)))
        );
        assert_eq!(half.bonus(Points(i64::MAX)), Some(Points(i64::MAX / 100 * 15 + 1)));
        assert_eq!(bonus("1000", "0").map(|b| b.bonus(Points(i64::MAX))), Ok(None));
    }

    #[test]
    fn a_bonus_out_of_range_is_refused() {
        let field = |percent, funded| bonus(percent, funded).expect_err("out of range").field;
        assert_eq!(field("0", "50"), "percent");
        assert_eq!(field("1000.000001", "50"), "percent");
        assert_eq!(field("15", "100.000001"), "funded_percent");
        // A millionth of a percent of 80,000 micros is no whole number of them.
        assert_eq!(field("15", "0.000001"), "funded_percent");
    }

    #[test]
    fn the_agreement_says_what_may_be_published() {
        let split = agreement_with(r#""bonus":{"max_percent":"20","funded_percent":"50"},"#);
        assert!(bonus_under(&split, "20", "50").is_ok());
        assert_eq!(
            bonus_under(&agreement(), "1", "50").expect_err("nothing was agreed").field,
            "percent"
        );
        assert_eq!(bonus_under(&split, "20.000001", "50").expect_err("too high").field, "percent");
        assert_eq!(bonus_under(&split, "20", "25").expect_err("another share").field, "funded_percent");
        let steps = agreement_with(r#""step":"50","#);
        let rate = |step: &str| {
            let terms = format!(
                r#"{{"programme":"BANK","to_programme":"MILES","numerator":"1","denominator":"1","step":"{step}","minimum":"1","maximum":"999000","valid_from":"2026-01-01T00:00:00Z"}}"#
            );
            Rate::new(serde_json::from_str(&terms).expect("terms"), 0, 0, &steps)
        };
        assert!(rate("100").is_ok());
        assert_eq!(rate("75").expect_err("no multiple").field, "step");
    }
}
