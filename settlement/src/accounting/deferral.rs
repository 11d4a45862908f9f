//! What of a cohort's price is recognised, and what is deferred: in proportion to redemptions (IFRS 15 B46), and the rest as points expire.

use super::cohort::{Cohort, Points};
use super::error::AccountingError;
use super::estimate::{ALL, Estimate};

/// A cohort's price, in micros: `received = by_redemption + by_expiry + deferred`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deferral {
    /// The price of all points issued.
    pub issued: i128,
    /// Of those taken back.
    pub taken_back: i128,
    /// Recognised in proportion to redemptions, floored: what that leaves of a micro stays deferred.
    pub by_redemption: i128,
    /// Recognised besides, because fewer points are left than that proportion defers.
    pub by_expiry: i128,
}

impl Deferral {
    /// Of a cohort at an estimate; nothing for points of which nothing was received.
    ///
    /// With `net` points issued and not taken back, `price * net * min(1, redeemed / (net * estimate))` is recognised, where `net` falls out. Never more is deferred than the price of what is left.
    pub fn of(cohort: &Cohort, points: &Points, estimate: Estimate) -> Result<Self, AccountingError> {
        if !cohort.basis.defers() {
            return Ok(Self::default());
        }
        let price = i128::from(cohort.price);
        let times = |a: i128, b: i128| a.checked_mul(b).ok_or(AccountingError::Overflow);
        let (issued, taken_back) = (times(price, points.issued)?, times(price, points.taken_back)?);
        let received = (issued - taken_back).max(0);
        let redeemed = times(times(price, points.redeemed.max(0))?, ALL)?;
        let by_redemption = (redeemed / i128::from(estimate.millionths)).min(received);
        let left = times(price, points.outstanding().max(0))?;
        Ok(Self {
            issued,
            taken_back,
            by_redemption,
            by_expiry: (received - by_redemption - left).max(0),
        })
    }

    /// What is deferred.
    pub fn deferred(&self) -> i128 {
        self.issued - self.taken_back - self.by_redemption - self.by_expiry
    }
}

/// How many points of a cohort are expected to be redeemed still, of those that are left; floored.
pub(super) fn expected(points: &Points, estimate: Estimate) -> Result<i128, AccountingError> {
    let net = points.issued - points.taken_back;
    let in_all = net.checked_mul(i128::from(estimate.millionths)).ok_or(AccountingError::Overflow)? / ALL;
    Ok((in_all - points.redeemed).clamp(0, points.outstanding().max(0)))
}
