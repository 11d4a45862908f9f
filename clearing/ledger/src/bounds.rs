//! How much one message may move, and how far a sum may grow, so that whatever the night adds up fits (docs/decisions/0015-bounds.md).

use std::collections::BTreeMap;
use std::sync::Arc;

use partner_sdk::agreement::{Agreement, AgreementKind, FeeBearer};
use partner_sdk::rate::{Bonus, Rate};
use partner_sdk::{Code, Currency, Money, PartnerId, Points};

use crate::directory::{Directory, Numbered};
use crate::reject::{Reject, Rejected};

/// The most points in one message, in smallest units: 10^12. Nine million messages of so many add up to what fits 64 bits.
pub const MAX_POINTS: i64 = 1_000_000_000_000;

/// The most money that one message makes owed, as much the most that it returns, and the most that the points it issues are worth, in micros: a hundred million of the currency.
pub const MAX_MONEY: i64 = 100_000_000_000_000;

/// The most that one partner comes to owe another in a window, with what is reserved, and the most that a partner owes or is owed net, in micros: 40,000 messages
/// of [`MAX_MONEY`]. What is left of 64 bits is for fees, which the night adds, and for answers, which are never refused.
pub const MAX_SUM: i64 = 4_000_000_000_000_000_000;

/// The most clearing fees of one partner from one window, in micros: those of 13 windows fit beside [`MAX_SUM`].
pub const MAX_FEES: i64 = 400_000_000_000_000_000;

/// All of something, in millionths of a percent.
pub(crate) const WHOLE: i128 = 100_000_000;

/// Who pays a fee on what debtor owes creditor for exchanges, in which currency; and the highest percentage agreed, in millionths of a percent.
#[derive(Debug, Default)]
pub(crate) struct Charging(pub(crate) BTreeMap<(PartnerId, Currency), BTreeMap<(PartnerId, PartnerId), i64>>);

impl Charging {
    /// Of all agreements there ever were.
    pub(crate) fn of(directory: &Directory) -> Self {
        let mut charging = Self::default();
        let with_fee = |a: &&Arc<Numbered<Agreement>>| a.item.terms.kind == AgreementKind::Exchange && a.item.fee_percent_micros > 0;
        for agreement in directory.agreements().filter(with_fee) {
            let terms = &agreement.item.terms;
            let taking = terms.to_programme.as_ref().and_then(|code| directory.programmes.get(code));
            let Some(issuer) = taking.map(|p| &p.terms.issuer) else { continue };
            let bearers = match terms.clearing_fee_borne_by.unwrap_or_default() {
                FeeBearer::Partner => vec![&terms.partner],
                FeeBearer::Issuer => vec![issuer],
                FeeBearer::Half => vec![&terms.partner, issuer],
            };
            for bearer in bearers {
                let pairs = charging.0.entry((bearer.clone(), terms.currency)).or_default();
                let percent = pairs.entry((terms.partner.clone(), issuer.clone())).or_default();
                *percent = agreement.item.fee_percent_micros.max(*percent);
            }
        }
        charging
    }
}

/// Checks that what an exchange credits, base and bonus, is within the bounds.
pub(crate) fn check_exchange(agreement: &Agreement, bonus_rate: Option<&Bonus>, credited: Points, bonus: Points) -> Rejected<()> {
    let bonus_price = bonus_rate.and_then(|b| b.price(agreement.price)).unwrap_or(Money::ZERO);
    let worth = |points: Points, price: Money| i128::from(points.0) * i128::from(price.0);
    let money = worth(credited, agreement.price) + worth(bonus, bonus_price);
    let points = i128::from(credited.0) + i128::from(bonus.0);
    if points > i128::from(MAX_POINTS) || money > i128::from(MAX_MONEY) {
        return Err(Reject::at(Code::Overflow, "points"));
    }
    Ok(())
}

/// The most points that can be given in one exchange so that what is credited stays within the bounds.
pub(crate) fn most_given(agreement: &Agreement, rate: &Rate, bonus: Option<&Bonus>) -> Points {
    let percent = bonus.map_or(0, |b| i128::from(b.percent_micros));
    let bonus_price = bonus.and_then(|b| b.price(agreement.price)).unwrap_or(Money::ZERO);
    // For each point credited, in hundred millionths of a point and of a micro.
    let (points, money) = (
        WHOLE + percent,
        i128::from(agreement.price.0) * WHOLE + i128::from(bonus_price.0) * percent,
    );
    let by_points = i128::from(MAX_POINTS) * WHOLE / points;
    let credited = (i128::from(MAX_MONEY) * WHOLE)
        .checked_div(money)
        .map_or(by_points, |by_money| by_money.min(by_points));
    let given = ((credited + 1) * i128::from(rate.ratio.denominator) - 1) / i128::from(rate.ratio.numerator);
    Points(i64::try_from(given.min(i128::from(MAX_POINTS))).unwrap_or(MAX_POINTS))
}

/// Whether a rate and a bonus fit the agreement. What was published under an earlier one need not: the bonus is within what both agreed on and shared
/// in whole micros, the step is a multiple.
pub(crate) fn fits(agreement: &Agreement, rate: &Rate, bonus: Option<&Bonus>) -> bool {
    let agreed = |b: &Bonus| {
        let within = agreement
            .bonus
            .is_some_and(|(most, share)| b.percent_micros <= most && b.funded_micros == share);
        within && b.price(agreement.price).is_some()
    };
    bonus.is_none_or(agreed) && rate.step % agreement.step == 0
}
