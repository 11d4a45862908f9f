//! A window's payments made anew after its statements, since a part of its debts is paid otherwise, or not at all. Pure.
//!
//! What is taken out is taken out of pairs: both sides lose the same, so what is left still sums to zero, and of all others' payments none changes. What was paid already counts: only the rest is paid anew.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use partner_sdk::banking::PaymentReference;
use partner_sdk::{Currency, Money, PartnerId};

use crate::dues::{Due, fits};
use crate::netting::{NetPositions, NettingError, Payable};

/// A debt between two, or a part of it, that no payment of the window moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOut {
    /// Who owes it.
    pub debtor: PartnerId,
    /// Whom.
    pub creditor: PartnerId,
    /// Of the amount.
    pub currency: Currency,
    /// Above zero, a whole number of minor units.
    pub amount: Money,
}

/// What a revision changes for a partner in a currency. Amounts are positive where it receives: `before + taken_out == after`, and `after - paid` is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Whom it concerns.
    pub partner: PartnerId,
    /// Of all amounts.
    pub currency: Currency,
    /// Its net position before.
    pub before: i128,
    /// What is taken out of it.
    pub taken_out: i128,
    /// What it has paid (below zero) or was paid of the window.
    pub paid: i128,
    /// Its open payments, which aren't made any more: one at most of each window.
    pub replaced: Vec<PaymentReference>,
    /// The payment in its place; nothing where nothing is open, and for the clearinghouse itself.
    pub due: Option<Due>,
}

impl Moved {
    /// Its net position after.
    pub fn after(&self) -> i128 {
        self.before + self.taken_out
    }
}

/// What takings out do to net positions, by currency and partner.
pub fn effects<'a>(taken: impl IntoIterator<Item = &'a TakenOut>) -> NetPositions {
    let mut effects = NetPositions::new();
    for one in taken {
        *effects.entry((one.currency, one.debtor.clone())).or_default() += i128::from(one.amount.0);
        *effects.entry((one.currency, one.creditor.clone())).or_default() -= i128::from(one.amount.0);
    }
    effects
}

/// All that a partner owes and is owed in some currencies, less what was taken out before: a partner in default is taken out whole, debts and claims.
pub fn all_of(
    partner: &PartnerId,
    currencies: &BTreeSet<Currency>,
    payable: &[Payable],
    before: &[TakenOut],
) -> Result<Vec<TakenOut>, NettingError> {
    // By currency and counterparty; positive: the partner owes.
    let mut owes: BTreeMap<(Currency, &PartnerId), i128> = BTreeMap::new();
    for o in payable {
        let net = i128::from(o.net.0);
        if o.party_a == *partner {
            *owes.entry((o.currency, &o.party_b)).or_default() += net;
        } else if o.party_b == *partner {
            *owes.entry((o.currency, &o.party_a)).or_default() -= net;
        }
    }
    for one in before {
        if one.debtor == *partner {
            *owes.entry((one.currency, &one.creditor)).or_default() -= i128::from(one.amount.0);
        } else if one.creditor == *partner {
            *owes.entry((one.currency, &one.debtor)).or_default() += i128::from(one.amount.0);
        }
    }
    let open = owes
        .into_iter()
        .filter(|((currency, _), net)| *net != 0 && currencies.contains(currency));
    let taken = |((currency, other), net): ((Currency, &PartnerId), i128)| {
        let (debtor, creditor) = if net > 0 { (partner, other) } else { (other, partner) };
        Ok(TakenOut {
            debtor: debtor.clone(),
            creditor: creditor.clone(),
            currency,
            amount: fits(net.abs(), partner, currency)?,
        })
    };
    open.map(taken).collect()
}

/// What changes for everybody whose net changes, in the order of currencies and partners. `nets` are those before, `dues` all payments so far of the windows that are paid together;
/// new ones get the places after those of the window whose they are.
pub fn moved(
    nets: &NetPositions,
    dues: &[Due],
    taken: &[TakenOut],
    (business_date, value_date): (Date, Date),
) -> Result<Vec<Moved>, NettingError> {
    let all = effects(taken).into_iter().filter(|(_, effect)| *effect != 0);
    let lines = all.map(|(key, taken_out)| line(nets, dues, key, taken_out)).collect();
    paid_anew(lines, dues, (business_date, value_date))
}

/// What changes for everybody with an open payment where windows are paid together, in the order of currencies and partners: one payment of the sum is in the place of all. `nets` and
/// `dues` are those of all the windows, the new payments are of `business_date`.
pub fn joint(nets: &NetPositions, dues: &[Due], (business_date, value_date): (Date, Date)) -> Result<Vec<Moved>, NettingError> {
    paid_anew(left(nets, dues), dues, (business_date, value_date))
}

/// What is open, and isn't paid here any more.
pub fn left(nets: &NetPositions, dues: &[Due]) -> Vec<Moved> {
    let open = dues.iter().filter(|due| due.is_open());
    let keys: BTreeSet<_> = open.map(|due| (due.currency, due.partner.clone())).collect();
    keys.into_iter().map(|key| line(nets, dues, key, 0)).collect()
}

fn line(nets: &NetPositions, dues: &[Due], key: (Currency, PartnerId), taken_out: i128) -> Moved {
    let before = nets.get(&key).copied().unwrap_or(0);
    let (currency, partner) = key;
    let own = || dues.iter().filter(|due| due.partner == partner && due.currency == currency);
    let paid = own().filter(|due| due.confirmed.is_some()).map(|due| i128::from(due.amount.0));
    let (paid, open) = (paid.sum(), own().filter(|due| due.is_open()));
    Moved {
        before,
        taken_out,
        paid,
        replaced: open.map(|due| due.reference.clone()).collect(),
        due: None,
        partner,
        currency,
    }
}

/// Puts a payment of what is open into each line.
fn paid_anew(mut lines: Vec<Moved>, dues: &[Due], (business_date, value_date): (Date, Date)) -> Result<Vec<Moved>, NettingError> {
    let mut places: BTreeMap<Currency, usize> = BTreeMap::new();
    for due in dues.iter().filter(|due| due.business_date == business_date) {
        *places.entry(due.currency).or_default() += 1;
    }
    for line in &mut lines {
        let open = line.after() - line.paid;
        if open == 0 || line.partner == PartnerId::clearing() {
            continue;
        }
        let place = places.entry(line.currency).or_default();
        *place += 1;
        line.due = Some(Due {
            reference: PaymentReference::new(business_date, line.currency, *place),
            business_date,
            partner: line.partner.clone(),
            currency: line.currency,
            amount: fits(open, &line.partner, line.currency)?,
            value_date,
            confirmed: None,
            replaced_by: None,
        });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dues::{Confirmed, dues};
    use crate::netting::{Position, net_positions, obligations};
    use crate::testing::{Lcg, hkd, partner};

    fn day(text: &str) -> Date {
        text.parse().expect(text)
    }

    const DAYS: [&str; 2] = ["2026-11-20", "2026-11-23"];

    /// What a network owes among itself, on one day; some owe the clearinghouse.
    fn random_day(random: &mut Lcg) -> Vec<Position> {
        let ids = ["ann", "ben", "clearing", "dot", "eve", "fay"];
        let mut positions = vec![];
        for debtor in ids.iter().filter(|id| **id != "clearing") {
            for creditor in ids.iter().filter(|id| *id != debtor) {
                if random.below(3) > 0 {
                    let amount = Money(i64::try_from(random.below(5_000_000)).expect("small"));
                    positions.push(Position {
                        debtor: partner(debtor),
                        creditor: partner(creditor),
                        currency: hkd(),
                        amount,
                    });
                }
            }
        }
        positions
    }

    /// Whoever is taken out after any payments were made: those who are left pay what a netting of their debts among themselves alone would have them pay, and what each pays in all is that.
    #[test]
    fn the_rest_pays_what_it_owes_among_itself() {
        let (date, value_date) = (day(DAYS[0]), day(DAYS[1]));
        for seed in 1..=2_000 {
            let mut random = Lcg(seed);
            let positions = random_day(&mut random);
            let all: Vec<Payable> = obligations(&positions, &[]).expect("nets").iter().map(Payable::from).collect();
            let nets = net_positions(&all).expect("zero");
            let mut paying = dues(date, date, &nets).expect("fits");
            let gone = *random.pick(&["ann", "ben", "dot", "eve", "fay"]);
            for due in &mut paying {
                if due.partner != partner(gone) && random.below(2) == 0 {
                    due.confirmed = Some(Confirmed {
                        paid_on: None,
                        at: jiff::Timestamp::UNIX_EPOCH,
                        by: "doc".into(),
                    });
                }
            }
            let taken = all_of(&partner(gone), &BTreeSet::from([hkd()]), &all, &[]).expect("fits");
            let moved = moved(&nets, &paying, &taken, (date, value_date)).expect("fits");
            let among: Vec<Payable> = all
                .iter()
                .filter(|o| o.party_a != partner(gone) && o.party_b != partner(gone))
                .cloned()
                .collect();
            let expected = net_positions(&among).expect("zero");
            for id in ["ann", "ben", "clearing", "dot", "eve", "fay"].map(partner) {
                let line = moved.iter().find(|line| line.partner == id);
                let key = (hkd(), id.clone());
                let net = expected.get(&key).copied().unwrap_or(0);
                let after = line.map_or_else(|| nets.get(&key).copied().unwrap_or(0), Moved::after);
                assert_eq!(after, net, "seed {seed}: {id}");
                if id == PartnerId::clearing() {
                    continue;
                }
                let mut total: i128 = 0;
                for due in paying.iter().filter(|due| due.partner == id) {
                    let stays = line.is_none_or(|line| !line.replaced.contains(&due.reference));
                    total += if stays { i128::from(due.amount.0) } else { 0 };
                }
                total += line.and_then(|line| line.due.as_ref()).map_or(0, |due| i128::from(due.amount.0));
                assert_eq!(total, net, "seed {seed}: {id} pays in all");
            }
            let references: BTreeSet<_> = paying
                .iter()
                .chain(moved.iter().filter_map(|line| line.due.as_ref()))
                .map(|due| &due.reference)
                .collect();
            let new = moved.iter().filter(|line| line.due.is_some()).count();
            assert_eq!(references.len(), paying.len() + new, "seed {seed}: a reference is one payment's");
            assert!(
                moved
                    .iter()
                    .filter_map(|line| line.due.as_ref())
                    .all(|due| due.value_date == value_date)
            );
        }
    }

    /// A part of what is between two is taken out before anybody has paid: each of the two pays that much less, nobody else is touched, and nothing is lost.
    #[test]
    fn a_part_of_a_debt_is_taken_out_of_two_payments() {
        let (date, value_date) = (day(DAYS[0]), day(DAYS[1]));
        for seed in 1..=2_000 {
            let mut random = Lcg(seed);
            let all = obligations(&random_day(&mut random), &[]).expect("nets");
            let nets = net_positions(&all).expect("zero");
            let ids = ["ann", "ben", "dot", "eve", "fay"];
            let debtor = random.below(5) as usize;
            let creditor = (debtor + 1 + random.below(4) as usize) % 5;
            let taken = TakenOut {
                debtor: partner(ids[debtor]),
                creditor: partner(ids[creditor]),
                currency: hkd(),
                amount: Money(10_000 * (1 + i64::try_from(random.below(900)).expect("small"))),
            };
            let paying = dues(date, date, &nets).expect("fits");
            let moved = moved(&nets, &paying, std::slice::from_ref(&taken), (date, value_date)).expect("fits");
            let pays = |id: &str, line: Option<&Moved>| match line {
                Some(line) => line.due.as_ref().map_or(0, |due| due.amount.0),
                None => paying.iter().find(|due| due.partner == partner(id)).map_or(0, |due| due.amount.0),
            };
            let mut sum = 0;
            for (place, id) in ids.iter().enumerate() {
                let line = moved.iter().find(|line| line.partner == partner(id));
                let change = match place {
                    _ if place == debtor => taken.amount.0,
                    _ if place == creditor => -taken.amount.0,
                    _ => 0,
                };
                assert_eq!(line.is_some(), change != 0, "seed {seed}: {id}");
                assert_eq!(pays(id, line), pays(id, None) + change, "seed {seed}: {id}");
                sum += pays(id, line) - pays(id, None);
            }
            assert_eq!((sum, moved.len()), (0, 2), "seed {seed}");
        }
    }

    fn is_made(due: &mut Due) {
        due.confirmed = Some(Confirmed {
            paid_on: None,
            at: jiff::Timestamp::UNIX_EPOCH,
            by: "doc".into(),
        });
    }

    /// Puts what a run has made among the payments of before.
    fn run(paying: &mut Vec<Due>, moved: &[Moved]) {
        for due in paying.iter_mut() {
            if moved.iter().any(|line| line.replaced.contains(&due.reference)) {
                assert!(due.is_open(), "{due:?}");
                due.replaced_by = Some("doc".into());
            }
        }
        paying.extend(moved.iter().filter_map(|line| line.due.clone()));
    }

    /// Several windows, of which any payments were made: whatever is joined, and whoever is taken out of all of them then, what each pays in all is the sum of its nets, by one open payment at most.
    #[test]
    fn what_is_joined_pays_the_sum_of_the_nets() {
        for seed in 1..=2_000 {
            let mut random = Lcg(seed);
            let (mut nets, mut paying, mut all) = (NetPositions::new(), vec![], vec![]);
            let windows = 2 + random.below(3);
            let dates = (0..windows).map(|window| day("2026-11-20").saturating_add(jiff::Span::new().days(window as i64)));
            let (dates, value_date) = (dates.collect::<Vec<Date>>(), day("2026-11-27"));
            for date in &dates {
                let obligations = obligations(&random_day(&mut random), &[]).expect("nets");
                let obligations: Vec<Payable> = obligations.iter().map(Payable::from).collect();
                let own = net_positions(&obligations).expect("zero");
                paying.extend(dues(*date, *date, &own).expect("fits"));
                own.into_iter().for_each(|(key, net)| *nets.entry(key).or_default() += net);
                all.push(obligations);
            }
            // Whoever is taken out then has made no payment.
            let gone = partner(random.pick::<&str>(&["ann", "ben", "dot", "eve", "fay"]));
            let others = paying.iter_mut().filter(|due| due.partner != gone);
            others.for_each(|due| {
                if random.below(2) == 0 {
                    is_made(due)
                }
            });
            let lead = dates[dates.len() - 1];
            let joined = joint(&nets, &paying, (lead, value_date)).expect("fits");
            run(&mut paying, &joined);
            let later = paying.iter_mut().filter(|due| due.is_open() && due.partner != gone);
            later.for_each(|due| {
                if random.below(3) == 0 {
                    is_made(due)
                }
            });
            let all_out = |obligations: &Vec<Payable>| all_of(&gone, &BTreeSet::from([hkd()]), obligations, &[]).expect("fits");
            let taken: Vec<TakenOut> = match random.below(2) {
                0 => vec![],
                _ => all.iter().flat_map(all_out).collect(),
            };
            let revised = moved(&nets, &paying, &taken, (lead, value_date)).expect("fits");
            run(&mut paying, &revised);
            effects(&taken)
                .into_iter()
                .for_each(|(key, effect)| *nets.entry(key).or_default() += effect);
            for id in ["ann", "ben", "dot", "eve", "fay"].map(partner) {
                let own = || paying.iter().filter(|due| due.partner == id && due.replaced_by.is_none());
                let total: i128 = own().map(|due| i128::from(due.amount.0)).sum();
                assert_eq!(total, nets.get(&(hkd(), id.clone())).copied().unwrap_or(0), "seed {seed}: {id}");
                let open: Vec<&Due> = own().filter(|due| due.is_open()).collect();
                let fresh = |due: &&Due| due.business_date == lead && due.value_date == value_date && due.amount.0 != 0;
                assert!(open.len() <= 1 && open.iter().all(fresh), "seed {seed}: {open:?}");
            }
            let references: BTreeSet<_> = paying.iter().map(|due| &due.reference).collect();
            assert_eq!(references.len(), paying.len(), "seed {seed}: a reference is one payment's");
        }
    }

    #[test]
    fn what_was_taken_out_before_is_not_taken_again() {
        let owes = |debtor: &str, creditor: &str, amount| Position {
            debtor: partner(debtor),
            creditor: partner(creditor),
            currency: hkd(),
            amount: Money(amount),
        };
        let all = obligations(&[owes("ann", "ben", 900_000), owes("dot", "ann", 500_000)], &[]).expect("nets");
        let all: Vec<Payable> = all.iter().map(Payable::from).collect();
        let before = TakenOut {
            debtor: partner("ann"),
            creditor: partner("ben"),
            currency: hkd(),
            amount: Money(300_000),
        };
        let taken = all_of(&partner("ann"), &BTreeSet::from([hkd()]), &all, std::slice::from_ref(&before)).expect("fits");
        let shown: Vec<_> = taken
            .iter()
            .map(|one| format!("{} {} {}", one.debtor, one.creditor, one.amount.0))
            .collect();
        assert_eq!(shown, ["ann ben 600000", "dot ann 500000"]);
        let again: Vec<TakenOut> = taken.into_iter().chain([before]).collect();
        assert_eq!(all_of(&partner("ann"), &BTreeSet::from([hkd()]), &all, &again).expect("fits"), []);
        assert_eq!(all_of(&partner("ben"), &BTreeSet::new(), &all, &[]).expect("fits"), []);
    }
}
