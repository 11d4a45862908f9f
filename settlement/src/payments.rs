//! Who pays whom where partners pay each other directly instead of through the clearing account. Pure.
//!
//! Net positions of one currency sum to zero. Parties that can be split into groups of which each sums to zero need one payment less for each group: a group of `m` is settled by `m - 1` payments,
//! and never by fewer where it can't be split further. So the fewest payments are the parties less the most groups, which is found exactly for up to [`EXACT`] of them (the problem is
//! NP-hard: it holds subset sum). Beyond that the largest debtor pays the largest creditor, over and over.

use partner_sdk::PartnerId;

/// Up to so many parties with a net position the number of payments is the smallest there is.
pub const EXACT: usize = 16;

/// One payment, in micros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Who pays.
    pub payer: PartnerId,
    /// Whom.
    pub payee: PartnerId,
    /// How much, above zero.
    pub amount: i128,
}

/// Payments between partners that settle all their net positions in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direct {
    /// Sorted by payer and payee.
    pub transfers: Vec<Transfer>,
    /// With fewer it can't be done. As many as there are up to [`EXACT`] parties; beyond that at least as many as pay, and as receive.
    pub at_least: usize,
}

/// The payments of the parties of one currency: what each receives, in micros (negative: pays), which sums to zero. The same for the same positions, in whatever order they come.
pub fn direct(nets: impl IntoIterator<Item = (PartnerId, i128)>) -> Direct {
    let mut open: Vec<(PartnerId, i128)> = nets.into_iter().filter(|(_, net)| *net != 0).collect();
    open.sort();
    let mut transfers = vec![];
    let at_least = if open.len() <= EXACT {
        for group in groups(&open) {
            settle(group, &mut transfers);
        }
        transfers.len()
    } else {
        let receive = open.iter().filter(|(_, net)| *net > 0).count();
        let least = receive.max(open.len() - receive);
        settle(open, &mut transfers);
        least
    };
    transfers.sort_by(|x, y| (&x.payer, &x.payee).cmp(&(&y.payer, &y.payee)));
    Direct { transfers, at_least }
}

/// Splits parties into as many groups as there can be of which each sums to zero. `most[set]` is how many there are within a set (a bit for each party) once its members are taken away one by one:
/// whenever what is left sums to zero, one group was complete.
fn groups(open: &[(PartnerId, i128)]) -> Vec<Vec<(PartnerId, i128)>> {
    let sets = 1usize << open.len();
    let (mut sum, mut most) = (vec![0i128; sets], vec![0u8; sets]);
    for set in 1..sets {
        let first = set.trailing_zeros() as usize;
        sum[set] = sum[set & (set - 1)] + open[first].1;
        let best = members(set).map(|member| most[set & !(1 << member)]).max().unwrap_or(0);
        most[set] = best + u8::from(sum[set] == 0);
    }
    // Backwards: whoever leaves the set without making it poorer is the next of the group.
    let (mut set, mut found, mut group) = (sets - 1, vec![], vec![]);
    while set != 0 {
        let best = most[set] - u8::from(sum[set] == 0);
        if sum[set] == 0 && !group.is_empty() {
            found.push(std::mem::take(&mut group));
        }
        let next = members(set).find(|member| most[set & !(1 << member)] == best).unwrap_or(0);
        group.push(open[next].clone());
        set &= !(1 << next);
    }
    found.extend((!group.is_empty()).then_some(group));
    found
}

/// The places of a set's bits.
fn members(set: usize) -> impl Iterator<Item = usize> {
    (0..usize::BITS as usize).filter(move |place| set & (1 << place) != 0)
}

/// Settles parties that sum to zero by at most one payment less than they are: first those of whom one owes what the other is owed, then always the largest of both sides.
fn settle(mut open: Vec<(PartnerId, i128)>, transfers: &mut Vec<Transfer>) {
    let mut pay = |payer: &mut (PartnerId, i128), payee: &mut (PartnerId, i128)| {
        let amount = payee.1.min(-payer.1);
        payer.1 += amount;
        payee.1 -= amount;
        transfers.push(Transfer {
            payer: payer.0.clone(),
            payee: payee.0.clone(),
            amount,
        });
    };
    // The largest first; of equal ones the first by name.
    open.sort_by(|x, y| (y.1.abs(), &x.0).cmp(&(x.1.abs(), &y.0)));
    let (mut payers, mut payees): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, net)| *net < 0);
    for payer in &mut payers {
        if let Some(payee) = payees.iter_mut().find(|payee| payee.1 == -payer.1) {
            pay(payer, payee);
        }
    }
    loop {
        let payer = payers.iter_mut().min_by_key(|payer| payer.1).filter(|payer| payer.1 != 0);
        let payee = payees.iter_mut().rev().max_by_key(|payee| payee.1).filter(|payee| payee.1 != 0);
        let (Some(payer), Some(payee)) = (payer, payee) else { return };
        pay(payer, payee);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{Lcg, partner};

    fn nets(of: &[i128]) -> Vec<(PartnerId, i128)> {
        let name = |place| partner(&format!("p{place:02}"));
        of.iter().enumerate().map(|(place, net)| (name(place), *net)).collect()
    }

    /// The fewest payments, by another way: whoever is open first pays or is paid by anybody of the other side, in full; the best of all ways.
    fn fewest(open: &[i128]) -> usize {
        let Some(first) = open.iter().position(|net| *net != 0) else {
            return 0;
        };
        let others = (first + 1..open.len()).filter(|other| open[*other].signum() == -open[first].signum());
        let ways = others.map(|other| {
            let mut rest = open.to_vec();
            rest[other] += rest[first];
            rest[first] = 0;
            1 + fewest(&rest)
        });
        ways.min().unwrap_or(usize::MAX)
    }

    /// Positions that sum to zero, small ones so that groups are frequent.
    fn random_nets(random: &mut Lcg, parties: u64, most: u64) -> Vec<i128> {
        let mut of: Vec<i128> = (1..parties)
            .map(|_| i128::from(random.below(2 * most + 1)) - i128::from(most))
            .collect();
        of.push(-of.iter().sum::<i128>());
        of
    }

    fn settles(of: &[i128], plan: &Direct) {
        let mut left: BTreeMap<PartnerId, i128> = nets(of).into_iter().collect();
        for Transfer { payer, payee, amount } in &plan.transfers {
            assert!(*amount > 0 && payer != payee, "{of:?}");
            *left.get_mut(payer).expect("a party") += amount;
            *left.get_mut(payee).expect("a party") -= amount;
        }
        assert!(left.values().all(|net| *net == 0), "{of:?}: {plan:?}");
        let pairs: Vec<_> = plan.transfers.iter().map(|t| (&t.payer, &t.payee)).collect();
        assert!(
            pairs.is_sorted() && pairs.windows(2).all(|two| two[0] != two[1]),
            "{of:?}: a pair pays once"
        );
    }

    #[test]
    fn two_groups_need_one_payment_less_than_one() {
        // The largest to the largest takes five payments here: 11 is exactly 8 and 3, 10 is 6 and 4.
        let plan = direct(nets(&[-11, -10, 8, 6, 4, 3]));
        let shown: Vec<String> = plan
            .transfers
            .iter()
            .map(|t| format!("{} {} {}", t.payer, t.payee, t.amount))
            .collect();
        assert_eq!(shown, ["p00 p02 8", "p00 p05 3", "p01 p03 6", "p01 p04 4"]);
        assert_eq!(plan.at_least, 4);
    }

    #[test]
    fn nothing_open_needs_no_payment() {
        for of in [&[][..], &[0, 0]] {
            assert_eq!(
                direct(nets(of)),
                Direct {
                    transfers: vec![],
                    at_least: 0
                }
            );
        }
    }

    #[test]
    fn payments_are_as_few_as_can_be() {
        for seed in 1..=1_500 {
            let mut random = Lcg(seed);
            let (parties, most) = (2 + random.below(9), 1 + random.below(20));
            let of = random_nets(&mut random, parties, most);
            let plan = direct(nets(&of));
            settles(&of, &plan);
            assert_eq!(
                (plan.transfers.len(), plan.at_least),
                (fewest(&of), plan.transfers.len()),
                "seed {seed}: {of:?}"
            );
            let mut shuffled = nets(&of);
            random.shuffle(&mut shuffled);
            assert_eq!(direct(shuffled), plan, "seed {seed}: the order matters");
        }
    }

    #[test]
    fn many_parties_settle_too() {
        for (seed, parties) in [(1, 16), (2, 17), (3, 40), (4, 300)] {
            let of = random_nets(&mut Lcg(seed), parties, 1 << 40);
            let plan = direct(nets(&of));
            settles(&of, &plan);
            let open = of.iter().filter(|net| **net != 0).count();
            assert!(plan.at_least <= plan.transfers.len() && plan.transfers.len() < open, "seed {seed}");
        }
    }
}
