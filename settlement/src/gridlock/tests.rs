use super::*;
use crate::testing::{Lcg, partner};

/// The bank with a number, as the published examples name them.
fn bank(number: usize) -> PartnerId {
    partner(&format!("bank{number:02}"))
}

/// What each bank has, the first first.
fn funds(of: &[i128]) -> BTreeMap<PartnerId, i128> {
    of.iter().enumerate().map(|(place, has)| (bank(place + 1), *has)).collect()
}

fn queue(of: &[(usize, usize, i128)]) -> Vec<Transfer> {
    let transfer = |(payer, payee, amount): &(usize, usize, i128)| Transfer {
        payer: bank(*payer),
        payee: bank(*payee),
        amount: *amount,
    };
    of.iter().map(transfer).collect()
}

fn amounts(of: &[Transfer]) -> Vec<i128> {
    of.iter().map(|transfer| transfer.amount).collect()
}

fn sorted(of: impl IntoIterator<Item = Transfer>) -> Vec<(PartnerId, PartnerId, i128)> {
    let mut all: Vec<_> = of.into_iter().map(|t| (t.payer, t.payee, t.amount)).collect();
    all.sort();
    all
}

/// Nobody lacks anything after any step, no payment comes or goes, and the sums are those of the payments.
fn holds(context: &str, funds: &BTreeMap<PartnerId, i128>, queue: &[Transfer], found: &Resolution) {
    let mut has = funds.clone();
    for step in &found.steps {
        assert!(!step.is_empty(), "{context}: a step without a payment");
        let before = has.clone();
        for transfer in step {
            *has.entry(transfer.payer.clone()).or_default() -= transfer.amount;
            *has.entry(transfer.payee.clone()).or_default() += transfer.amount;
        }
        assert!(has.values().all(|has| *has >= 0), "{context}: somebody lacks money after {step:?}");
        // Payments are netted at once only where none of them could be made by itself.
        let alone = |t: &Transfer| before.get(&t.payer).copied().unwrap_or(0) >= t.amount;
        assert!(step.len() == 1 || !step.iter().any(alone), "{context}: {step:?} at once");
    }
    assert_eq!(has, found.balances, "{context}");
    let made = found.steps.iter().flatten();
    assert_eq!(made.clone().map(|t| t.amount).sum::<i128>(), found.cleared, "{context}");
    assert_eq!(queue.iter().map(|t| t.amount).sum::<i128>(), found.total, "{context}");
    assert_eq!(sorted(made.chain(&found.left).cloned()), sorted(queue.to_vec()), "{context}");
}

/// The largest amount and then the most payments of all sets that can be made, by looking at each of them.
fn best_of_all(funds: &BTreeMap<PartnerId, i128>, queue: &[Transfer]) -> (i128, usize) {
    let made = |set: usize| {
        queue
            .iter()
            .enumerate()
            .filter(move |(place, _)| set & (1 << place) != 0)
            .map(|(_, t)| t)
    };
    let can = |set: &usize| {
        let mut has = funds.clone();
        for transfer in made(*set) {
            *has.entry(transfer.payer.clone()).or_default() -= transfer.amount;
            *has.entry(transfer.payee.clone()).or_default() += transfer.amount;
        }
        has.values().all(|has| *has >= 0)
    };
    let worth = |set: usize| (made(set).map(|t| t.amount).sum(), set.count_ones() as usize);
    (0..1usize << queue.len()).filter(can).map(worth).max().unwrap_or_default()
}

/// What is cleared by paying one by one, from the largest down, over and over.
fn one_by_one(funds: &BTreeMap<PartnerId, i128>, queue: &[Transfer]) -> i128 {
    let (mut has, mut open, mut cleared) = (funds.clone(), queue.to_vec(), 0);
    open.sort_by(|x, y| (y.amount, &x.payer, &x.payee).cmp(&(x.amount, &y.payer, &y.payee)));
    loop {
        let before = open.len();
        for transfer in std::mem::take(&mut open) {
            if has.get(&transfer.payer).copied().unwrap_or(0) < transfer.amount {
                open.push(transfer);
                continue;
            }
            cleared += transfer.amount;
            *has.entry(transfer.payer).or_default() -= transfer.amount;
            *has.entry(transfer.payee).or_default() += transfer.amount;
        }
        if open.len() == before {
            return cleared;
        }
    }
}

fn random_queue(random: &mut Lcg, banks: u64, payments: u64, most: u64) -> Vec<Transfer> {
    let one = |random: &mut Lcg| {
        let payer = 1 + random.below(banks);
        let payee = 1 + (payer + random.below(banks - 1)) % banks;
        (payer as usize, payee as usize, 1 + i128::from(random.below(most)))
    };
    queue(&(0..payments).map(|_| one(random)).collect::<Vec<_>>())
}

fn random_funds(random: &mut Lcg, banks: u64, most: u64) -> BTreeMap<PartnerId, i128> {
    // Some aren't mentioned, and have nothing.
    let mentioned: Vec<usize> = (1..=banks as usize).filter(|_| random.below(4) > 0).collect();
    mentioned
        .into_iter()
        .map(|number| (bank(number), i128::from(random.below(most))))
        .collect()
}

#[test]
fn a_circle_clears_at_once_without_any_money() {
    let circle = queue(&[(1, 2, 10), (2, 3, 10), (3, 1, 10)]);
    let found = resolve(&BTreeMap::new(), &circle);
    assert_eq!((found.steps, found.cleared, found.left), (vec![circle], 30, vec![]));
}

#[test]
fn what_can_be_paid_alone_is_paid_alone() {
    // With 10 the circle goes round one by one.
    let circle = queue(&[(1, 2, 10), (2, 3, 10), (3, 1, 10)]);
    let found = resolve(&funds(&[0, 10]), &circle);
    let steps: Vec<_> = found.steps.iter().map(|step| (step.len(), step[0].payer.as_str())).collect();
    assert_eq!(steps, [(1, "bank02"), (1, "bank03"), (1, "bank01")]);
}

#[test]
fn more_payments_win_where_the_amount_is_the_same() {
    let found = resolve(&funds(&[10]), &queue(&[(1, 2, 10), (1, 3, 6), (1, 4, 4)]));
    assert_eq!((found.steps.len(), amounts(&found.left)), (2, vec![10]));
}

#[test]
fn nothing_waits_and_nobody_has_anything() {
    let found = resolve(&BTreeMap::new(), &[]);
    assert_eq!((found.steps.len(), found.left.len(), found.cleared, found.total), (0, 0, 0, 0));
    let found = resolve(&funds(&[0, 0]), &queue(&[(1, 2, 1)]));
    assert_eq!((found.steps.len(), found.cleared, found.total), (0, 0, 1));
    // What isn't a payment is left, and a balance below zero is none.
    let found = resolve(&funds(&[5, -5]), &queue(&[(1, 2, 0), (1, 2, -3), (2, 1, 1)]));
    assert_eq!((found.steps.len(), found.left.len()), (0, 3));
}

/// S. Cao, Y. Yuan, A. De Caro, K. Nandakumar, K. Elkhiyaoui, Y. Hu, "Decentralized Privacy-Preserving Netting Protocol on Blockchain for Payment Systems" (Financial Cryptography 2020): the example of
/// their implementation, github.com/blockchain-research/gridlock, README.md, section "Gridlock Resolution - Net Settlement" (table of T1 to T10), with its outcome in gridlock_test.go,
/// `TestGridlockResolutionFlow`: T3, T5 and T9 are infeasible, the other seven are netted.
#[test]
fn the_example_of_the_netting_protocol_on_a_blockchain() {
    let has = funds(&[3, 4, 5, 4, 3]);
    let waiting = queue(&[
        (1, 2, 5),
        (2, 3, 6),
        (2, 3, 30),
        (3, 4, 8),
        (3, 5, 80),
        (4, 5, 7),
        (1, 3, 6),
        (5, 1, 8),
        (5, 2, 100),
        (4, 1, 5),
    ]);
    let found = resolve(&has, &waiting);
    holds("FC 2020", &has, &waiting, &found);
    assert_eq!((amounts(&found.left), found.cleared, found.total), (vec![100, 80, 30], 45, 255));
    assert_eq!(found.balances, funds(&[5, 3, 9, 0, 2]));
}

/// Monetary Authority of Singapore, Project Ubin Phase 2 (2017), Corda prototype: github.com/project-ubin/ubin-corda at 8eb2ab9, src/test/kotlin/com/r3/demos/ubin2a/lsm/ScenarioSix.kt, `Scenario 6_1`: of
/// seven obligations a circle of five is settled, and the banks have 3, 3, 3, 5 and 5 afterwards. (There the lender comes first, here the payer.)
#[test]
fn project_ubin_scenario_6_1_settles_five_of_seven() {
    let has = funds(&[3, 4, 5, 4, 3]);
    let waiting = queue(&[(3, 2, 30), (4, 3, 20), (1, 2, 5), (2, 3, 6), (3, 4, 8), (4, 5, 7), (5, 1, 5)]);
    let found = resolve(&has, &waiting);
    holds("Ubin 6_1", &has, &waiting, &found);
    assert_eq!(
        (found.steps.len(), found.steps[0].len(), amounts(&found.left)),
        (1, 5, vec![30, 20])
    );
    assert_eq!(found.balances, funds(&[3, 3, 3, 5, 5]));
}

/// The same, ScenarioFive.kt, `Scenario 5_2`: eight obligations of banks without any money, which a search along one circle leaves in deadlock, and which the file's head says that netting in full (as
/// EAF2 does) resolves.
#[test]
fn project_ubin_scenario_5_2_clears_where_one_circle_does_not() {
    let waiting = queue(&[
        (1, 2, 2),
        (2, 3, 3),
        (3, 4, 5),
        (4, 5, 6),
        (5, 1, 2),
        (5, 2, 1),
        (5, 3, 2),
        (5, 4, 1),
    ]);
    let found = resolve(&funds(&[0; 5]), &waiting);
    holds("Ubin 5_2", &funds(&[0; 5]), &waiting, &found);
    assert_eq!((found.steps.len(), found.steps[0].len(), found.left.len()), (1, 8, 0));
    assert_eq!(found.balances, funds(&[0; 5]));
}

/// The same, ScenarioFour.kt, `Scenario 4_1`, and ten times as much in github.com/project-ubin/ubin-quorum at 46075f4, test-scripts/run_test_gridlock1.sh: three of four settle, and the banks have 6, 7 and 5.
#[test]
fn project_ubin_scenario_4_1_settles_three_of_four() {
    let has = funds(&[5, 6, 7]);
    let waiting = queue(&[(1, 2, 8), (2, 3, 7), (3, 1, 9), (1, 2, 20)]);
    let found = resolve(&has, &waiting);
    holds("Ubin 4_1", &has, &waiting, &found);
    assert_eq!((found.steps.len(), found.steps[0].len(), amounts(&found.left)), (1, 3, vec![20]));
    assert_eq!(found.balances, funds(&[6, 7, 5]));
}

#[test]
fn no_set_clears_more() {
    for seed in 1..=4_000 {
        let mut random = Lcg(seed);
        let (banks, payments) = (2 + random.below(5), 1 + random.below(10));
        // Few amounts give ties and circles, many hardly any.
        let most = *random.pick(&[2, 5, 12, 1_000]);
        let waiting = random_queue(&mut random, banks, payments, most);
        let rich = 1 + random.below(most);
        let has = random_funds(&mut random, banks, rich);
        let found = resolve(&has, &waiting);
        let context = format!("seed {seed}: {has:?} {waiting:?}");
        let mut all = has.clone();
        waiting.iter().flat_map(|t| [&t.payer, &t.payee]).for_each(|id| {
            all.entry(id.clone()).or_default();
        });
        holds(&context, &all, &waiting, &found);
        let made = found.steps.iter().map(Vec::len).sum::<usize>();
        assert_eq!((found.cleared, made), best_of_all(&has, &waiting), "{context}");
        let mut shuffled = waiting.clone();
        random.shuffle(&mut shuffled);
        assert_eq!(resolve(&has, &shuffled), found, "{context}: the order matters");
        // The other way is no better, clears no less than one by one, and makes only what can be made.
        let (netted, worth) = (without_bound(&has, &waiting), one_by_one(&has, &waiting));
        assert!(netted.cleared <= found.cleared && netted.cleared >= worth, "{context}: {netted:?}");
        holds(&context, &all, &waiting, &netted);
    }
}

/// As if there were too many payments for the best to be found: with as many of one more bank as are looked at, which that bank can't make.
fn without_bound(has: &BTreeMap<PartnerId, i128>, waiting: &[Transfer]) -> Resolution {
    let more = queue(&[(98, 99, 1); EXACT + 1]);
    let mut found = resolve(has, &[waiting, &more].concat());
    assert!(!found.exact);
    found.left.retain(|transfer| transfer.payer != bank(98));
    found.total -= more.len() as i128;
    found.balances.retain(|id, _| ![bank(98), bank(99)].contains(id));
    found
}

#[test]
fn many_payments_clear_too() {
    for (seed, banks, payments, most, rich) in [
        (1, 5, 25, 9, 9),
        (2, 12, 300, 50, 100),
        (3, 60, 2_000, 1 << 40, 1 << 38),
        (4, 40, 400, 3, 1),
    ] {
        let mut random = Lcg(seed);
        let waiting = random_queue(&mut random, banks, payments, most);
        let mut has = random_funds(&mut random, banks, rich);
        (1..=banks as usize).for_each(|number| {
            has.entry(bank(number)).or_default();
        });
        let found = resolve(&has, &waiting);
        holds(&format!("seed {seed}"), &has, &waiting, &found);
        assert!(!found.exact && found.cleared >= one_by_one(&has, &waiting), "seed {seed}");
        let mut shuffled = waiting;
        random.shuffle(&mut shuffled);
        assert_eq!(resolve(&has, &shuffled), found, "seed {seed}: the order matters");
    }
}

/// The most choices for the search: amounts of which none makes another impossible, and that never sum to what there is.
#[test]
fn the_bound_is_quick() {
    let waiting: Vec<_> = (0..EXACT).map(|n| (1, 2 + n % 3, 1_000 + 2 * (n as i128) * (n as i128))).collect();
    for (number, rich) in [(1, 12_501), (2, 9_001), (3, 18_777)] {
        let begun = std::time::Instant::now();
        let found = resolve(&funds(&[rich]), &queue(&waiting));
        assert!(found.exact && found.cleared <= rich, "{number}");
        assert!(begun.elapsed().as_secs() < 5, "{number}: {:?}", begun.elapsed());
    }
}
