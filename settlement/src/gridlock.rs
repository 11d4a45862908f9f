//! Which of the payments that wait can be made with what everybody has, and in which order. Pure.
//!
//! Payments can hold each other up: A waits for C's money, C for B's, and B for A's. Such a **gridlock** needs no more money, only that the payments are made at once, netted. A set of payments can
//! be made if afterwards nobody has less than nothing. The best set clears the largest amount, and among those the most payments; finding it is NP-hard (it holds subset sum), so it is found
//! exactly for up to [`EXACT`] payments. Beyond that everything is taken, and payments are put back in the queue until nobody lacks money; what that makes of it is never worse than paying one by
//! one, from the largest down, over and over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use partner_sdk::PartnerId;

use crate::payments::Transfer;

/// Up to so many payments the amount that is cleared is the largest there is. Each is made or left, so 2^24 choices are looked at in the worst case, far below a second.
pub const EXACT: usize = 24;
/// How many sets are looked at for the smallest that can be netted, before all that is left of the chosen payments is netted at once.
const SETS: usize = 100_000;

/// What can be paid in one currency, and what has to wait. All amounts are in micros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What is made, one after the other: a payment that its payer has the money for, else payments that are netted at once. After each nobody has less than nothing.
    pub steps: Vec<Vec<Transfer>>,
    /// What isn't made: the largest first, then by payer and payee.
    pub left: Vec<Transfer>,
    /// The sum of the payments in `steps`.
    pub cleared: i128,
    /// The sum of all payments.
    pub total: i128,
    /// Whether no choice clears more, or as much by more payments.
    pub exact: bool,
    /// What everybody has afterwards that had something, pays or is paid.
    pub balances: BTreeMap<PartnerId, i128>,
}

/// Decides which payments of one currency are made. `balances` is what each partner has to pay with: whoever isn't in it, or is with less than nothing, has nothing. Payments are above zero; others are
/// left. Of sets that are equally good it takes the one with the first payments by amount (the largest first), payer and payee: the same for the same payments, in whatever order they come.
pub fn resolve(balances: &BTreeMap<PartnerId, i128>, queue: &[Transfer]) -> Resolution {
    let mut queue = queue.to_vec();
    queue.sort_by(|x, y| (Reverse(x.amount), &x.payer, &x.payee).cmp(&(Reverse(y.amount), &y.payer, &y.payee)));
    let total = queue.iter().map(|transfer| transfer.amount).sum();
    let ids: BTreeSet<&PartnerId> = balances.keys().chain(queue.iter().flat_map(|t| [&t.payer, &t.payee])).collect();
    let ids: Vec<&PartnerId> = ids.into_iter().collect();
    // Every id is there.
    let place = |id: &PartnerId| ids.binary_search(&id).unwrap_or_default();
    let wait = |transfer: &Transfer| Wait {
        payer: place(&transfer.payer),
        payee: place(&transfer.payee),
        amount: transfer.amount,
    };
    let waits: Vec<Wait> = queue.iter().map(wait).collect();
    let mut has: Vec<i128> = ids.iter().map(|id| balances.get(*id).copied().unwrap_or(0).max(0)).collect();
    let all: Vec<usize> = (0..waits.len()).filter(|wait| waits[*wait].amount > 0).collect();
    let exact = all.len() <= EXACT;
    let made = if exact {
        best(&has, &waits, &all)
    } else {
        good(&has, &waits, &all)
    };
    let steps = order(&mut has, &waits, made.clone());
    let whole = |step: Vec<usize>| step.into_iter().map(|wait| queue[wait].clone()).collect();
    Resolution {
        steps: steps.into_iter().map(whole).collect(),
        left: rest(&(0..queue.len()).collect::<Vec<_>>(), &made)
            .into_iter()
            .map(|wait| queue[wait].clone())
            .collect(),
        cleared: sum(&waits, &made),
        total,
        exact,
        balances: ids.into_iter().cloned().zip(has).collect(),
    }
}

/// A payment between partners that are known by their places. Sets of payments are their places too, sorted.
#[derive(Debug, Clone, Copy)]
struct Wait {
    payer: usize,
    payee: usize,
    amount: i128,
}

fn sum(waits: &[Wait], set: &[usize]) -> i128 {
    set.iter().map(|wait| waits[*wait].amount).sum()
}

/// What of `all` isn't in `set`.
fn rest(all: &[usize], set: &[usize]) -> Vec<usize> {
    all.iter().copied().filter(|wait| set.binary_search(wait).is_err()).collect()
}

/// Makes a payment, or with -1 takes it back.
fn pay(has: &mut [i128], wait: Wait, times: i128) {
    has[wait.payer] -= wait.amount * times;
    has[wait.payee] += wait.amount * times;
}

/// The best set there is.
fn best(has: &[i128], waits: &[Wait], all: &[usize]) -> Vec<usize> {
    let mut room = has.to_vec();
    for wait in all {
        room[waits[*wait].payee] += waits[*wait].amount;
    }
    let mut search = Best {
        waits,
        all,
        room,
        taken: vec![],
        best: (0, 0, vec![]),
    };
    search.branch(0, 0, sum(waits, all));
    search.best.2
}

/// Branch and bound over the payments in their order: each is made, or it isn't.
struct Best<'a> {
    waits: &'a [Wait],
    all: &'a [usize],
    /// The most that each may still have in the end: as if all that isn't decided reached it, and nothing of that left it. Below zero, whatever is decided next, it lacks money.
    room: Vec<i128>,
    taken: Vec<usize>,
    /// Amount, payments and set of the best so far.
    best: (i128, usize, Vec<usize>),
}

impl Best<'_> {
    /// `cleared` is what is taken so far, `open` what isn't decided from `next` on.
    fn branch(&mut self, next: usize, cleared: i128, open: i128) {
        let most = (cleared + open, self.taken.len() + self.all.len() - next);
        if most <= (self.best.0, self.best.1) {
            return;
        }
        let Some(place) = self.all.get(next).copied() else {
            self.best = (cleared, self.taken.len(), self.taken.clone());
            return;
        };
        let Wait { payer, payee, amount } = self.waits[place];
        self.room[payer] -= amount;
        if self.room[payer] >= 0 {
            self.taken.push(place);
            self.branch(next + 1, cleared + amount, open - amount);
            self.taken.pop();
        }
        self.room[payer] += amount;
        self.room[payee] -= amount;
        if self.room[payee] >= 0 {
            self.branch(next + 1, cleared, open - amount);
        }
        self.room[payee] += amount;
    }
}

/// A good set where there are too many to look at: the better of two beginnings, each filled up. From nothing, all is tried at once; the other begins with what can be paid one by one, so that the
/// result is never worse than that.
fn good(has: &[i128], waits: &[Wait], all: &[usize]) -> Vec<usize> {
    let singly = {
        let (mut has, mut open) = (has.to_vec(), all.to_vec());
        let mut made = singly(&mut has, waits, &mut open);
        made.sort_unstable();
        made
    };
    let (netted, paid) = (filled(has, waits, all, vec![]), filled(has, waits, all, singly));
    let worth = |set: &[usize]| (sum(waits, set), set.len());
    if worth(&paid) > worth(&netted) { paid } else { netted }
}

/// Pays what can be paid by itself in the order of `open`, over and over until nothing can, and takes it out of `open`.
fn singly(has: &mut [i128], waits: &[Wait], open: &mut Vec<usize>) -> Vec<usize> {
    let mut made = vec![];
    loop {
        let before = made.len();
        open.retain(|place| {
            let wait = waits[*place];
            let can = wait.payer == wait.payee || has[wait.payer] >= wait.amount;
            if can {
                pay(has, wait, 1);
                made.push(*place);
            }
            !can
        });
        if made.len() == before {
            return made;
        }
    }
}

/// A set that can be made, with all that can be made beside it: what is left is taken whole and brought down to what can be made, then tried one by one, until neither adds anything.
fn filled(has: &[i128], waits: &[Wait], all: &[usize], mut set: Vec<usize>) -> Vec<usize> {
    let mut has = has.to_vec();
    set.iter().for_each(|wait| pay(&mut has, waits[*wait], 1));
    loop {
        let mut open = rest(all, &set);
        let more = brought_down(&mut has, waits, open.clone());
        open = rest(&open, &more);
        let before = set.len();
        set.extend(more);
        set.extend(singly(&mut has, waits, &mut open));
        if set.len() == before {
            return set;
        }
        set.sort_unstable();
    }
}

/// Makes all of `set`, then takes back payments of whoever lacks most, one by one, until nobody lacks anything: the smallest that is enough, else the largest. What is left of it, sorted.
fn brought_down(has: &mut [i128], waits: &[Wait], mut set: Vec<usize>) -> Vec<usize> {
    set.iter().for_each(|wait| pay(has, waits[*wait], 1));
    while let Some((poorest, lacks)) = has
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, has)| *has < 0)
        .min_by_key(|(_, has)| *has)
    {
        let its = |wait: &Wait| wait.payer == poorest && wait.payee != poorest;
        // Sorted by amount, the largest first: the last that is enough is the smallest that is.
        let enough = set.iter().rposition(|wait| its(&waits[*wait]) && waits[*wait].amount >= -lacks);
        let Some(back) = enough.or_else(|| set.iter().position(|wait| its(&waits[*wait]))) else {
            // It can't lack anything without paying.
            break;
        };
        pay(has, waits[set.remove(back)], -1);
    }
    set
}

/// In which steps a set that can be made is made. Whatever is made of it, the rest still can be.
fn order(has: &mut [i128], waits: &[Wait], mut open: Vec<usize>) -> Vec<Vec<usize>> {
    let mut steps = vec![];
    loop {
        steps.extend(singly(has, waits, &mut open).into_iter().map(|wait| vec![wait]));
        if open.is_empty() {
            return steps;
        }
        let mut at_once = smallest(has, waits, &open);
        at_once.sort_unstable();
        at_once.iter().for_each(|wait| pay(has, waits[*wait], 1));
        open = rest(&open, &at_once);
        steps.push(at_once);
    }
}

/// The smallest part of `open` that can be made at once, all of which can be; all of it if [`SETS`] are looked at before one is found.
fn smallest(has: &[i128], waits: &[Wait], open: &[usize]) -> Vec<usize> {
    let mut into = vec![vec![]; has.len()];
    open.iter().for_each(|wait| into[waits[*wait].payee].push(*wait));
    let mut search = Smallest {
        waits,
        into,
        has: has.to_vec(),
        set: vec![],
        sets: SETS,
    };
    for size in 2..open.len() {
        let mut tried = BTreeSet::new();
        for first in open {
            tried.insert(*first);
            if search.with(*first, size, &mut tried) {
                return search.set;
            }
        }
        if search.sets == 0 {
            break;
        }
    }
    open.to_vec()
}

/// Sets that grow from one payment: whoever lacks money in a set has to be paid by another of its payments, so nothing else needs to be looked at.
struct Smallest<'a> {
    waits: &'a [Wait],
    /// The payments that reach each partner.
    into: Vec<Vec<usize>>,
    /// What everybody has once `set` is made.
    has: Vec<i128>,
    set: Vec<usize>,
    /// How many sets may still be looked at.
    sets: usize,
}

impl Smallest<'_> {
    /// Adds a payment, and others until nobody lacks anything, but not more than `size` in all; without those that were `tried`, and none of these is looked at twice.
    fn with(&mut self, place: usize, size: usize, tried: &mut BTreeSet<usize>) -> bool {
        if self.sets == 0 {
            return false;
        }
        self.sets -= 1;
        pay(&mut self.has, self.waits[place], 1);
        self.set.push(place);
        let mut payers = self.set.iter().map(|wait| self.waits[*wait].payer);
        let Some(short) = payers.find(|payer| self.has[*payer] < 0) else {
            return true;
        };
        if self.set.len() < size {
            let ways = rest_of(&self.into[short], tried);
            for way in &ways {
                tried.insert(*way);
                if self.with(*way, size, tried) {
                    return true;
                }
            }
            ways.iter().for_each(|way| {
                tried.remove(way);
            });
        }
        self.set.pop();
        pay(&mut self.has, self.waits[place], -1);
        false
    }
}

fn rest_of(ways: &[usize], tried: &BTreeSet<usize>) -> Vec<usize> {
    ways.iter().copied().filter(|way| !tried.contains(way)).collect()
}

#[cfg(test)]
mod tests;
