//! What there was of a programme at a cut-off.

use std::collections::BTreeMap;

use partner_sdk::PartnerId;

use super::cohort::{Basis, Cohort, Points};

/// Points for which one price is paid under one agreement: what a refund names. Drawn ones have the block's, and no price here.
pub type Parcel = (String, PartnerId, i64, bool);

/// A member that has owed points.
#[derive(Debug, Clone, Default)]
pub struct Owing<'a> {
    /// How many in all, but for those that were given up.
    pub points: i128,
    /// The member's lots with what their postings leave of them, in the order in which they repay: those issued since the debt first, the oldest first.
    pub lots: Vec<(&'a Cohort, i128)>,
}

/// The programme's points.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// By what they have in common.
    pub cohorts: BTreeMap<Cohort, Points>,
    /// What members owe.
    pub debt: i128,
}

impl State {
    /// Makes points that stood in for others count where they belong. What was refunded of a parcel was taken back, also where the points came from other lots since its own were spent: they count as
    /// taken back from its oldest cohorts, and those that stood in as redeemed. Where no refund is posted, those that it took are taken back.
    pub fn refund(&mut self, refunded: &BTreeMap<Parcel, i128>) {
        let mut missing: BTreeMap<Parcel, i128> = BTreeMap::new();
        for (cohort, points) in self.cohorts.iter().filter(|(cohort, _)| refunds(cohort)) {
            let parcel = parcel(cohort);
            let all = refunded.get(&parcel).copied().unwrap_or(0);
            *missing.entry(parcel).or_insert(all) -= points.taken_back;
        }
        let mut last: BTreeMap<Parcel, &mut Points> = BTreeMap::new();
        for (cohort, points) in self.cohorts.iter_mut().filter(|(cohort, _)| refunds(cohort)) {
            let parcel = parcel(cohort);
            if let Some(left) = missing.get_mut(&parcel) {
                let moved = (*left).clamp(-points.taken_back.max(0), points.redeemed.max(0));
                points.taken_back += moved;
                points.redeemed -= moved;
                *left -= moved;
                last.insert(parcel, points);
            }
        }
        // Where a hold keeps points whose earn was taken back, nothing was redeemed yet.
        for (parcel, points) in last {
            let left = missing.get(&parcel).copied().unwrap_or(0);
            points.taken_back += left;
            points.redeemed -= left;
        }
    }

    /// Sets off what members owed against what they have: those points stood in for what was spent before.
    pub fn set_off<'a>(&mut self, owing: impl IntoIterator<Item = Owing<'a>>) {
        for member in owing {
            let mut owed = member.points;
            for (cohort, left) in &member.lots {
                let repaid = owed.min(*left).max(0);
                owed -= repaid;
                if let Some(points) = self.cohorts.get_mut(*cohort).filter(|_| repaid > 0) {
                    points.redeemed += repaid;
                }
            }
            self.debt += owed;
        }
    }

    /// What members have, less what they owe.
    pub fn balance(&self) -> i128 {
        self.cohorts.values().map(Points::outstanding).sum::<i128>() - self.debt
    }
}

/// Whether a refund of its points is posted: of money, so not at a price of 0, or of points of a block.
fn refunds(cohort: &Cohort) -> bool {
    match cohort.basis {
        Basis::Issue => cohort.price != 0,
        Basis::Prepaid => true,
        Basis::Redemption | Basis::Own => false,
    }
}

fn parcel(cohort: &Cohort) -> Parcel {
    let prepaid = cohort.basis == Basis::Prepaid;
    let price = if prepaid { 0 } else { cohort.price };
    (cohort.agreement.clone(), cohort.funder.clone(), price, prepaid)
}
