//! Points whose time is over leave the member; what was paid for them stays with the issuer (breakage).
//!
//! A cut-off looks at every lot that has expired by then, whenever the night runs (DESIGN section 3.9): what no hold keeps that is live at the cut-off first
//! goes to whoever gave points for an earn that was taken back, then repays the member's debt; the rest expires, into the window that the cut-off ended. A lot that keeps points, or gets some back, waits for the next one.

use std::collections::BTreeMap;

use jiff::civil::Date;
use partner_sdk::{Code, MessageId, PartnerId};

use crate::effect::Effect;
use crate::lending::Returns;
use crate::reject::{Reject, Rejected};
use crate::types::{AccountKey, Lot, Moved, Posted, Signed};
use crate::working_set::WorkingSet;

/// The kind of what the clearinghouse does at a cut-off.
pub const EXPIRY: &str = "expiry";

/// Expires what is due in the loaded accounts, at the cut-off of each window that is closed and not netted, so that whatever is applied afterwards finds it
/// done. What comes of it are messages of the clearinghouse's own: one for a window, and one for each account where money moves, so that a statement
/// counts the same messages however many accounts are looked at at once. Returns how many lots gave points.
pub fn expire_due(set: &mut WorkingSet) -> Rejected<usize> {
    let mut count = 0;
    for (window, cut_off) in set.due.clone() {
        let due = |lot: &&Lot| lot.remaining > 0 && lot.due_at <= cut_off;
        let loaded = |account: &AccountKey| set.accounts.get(account).is_some_and(|a| a.loaded);
        let mut accounts: Vec<AccountKey> = set
            .lots
            .values()
            .filter(due)
            .map(|lot| lot.account.clone())
            .filter(loaded)
            .collect();
        accounts.sort();
        accounts.dedup();
        let (mut all, mut of) = (vec![], vec![]);
        for account in accounts {
            let effects = at_cut_off(set, &account, cut_off)?;
            count += effects
                .iter()
                .filter(|e| matches!(e, Effect::Expire { .. } | Effect::Repay { .. } | Effect::Take { .. }))
                .count();
            if effects.iter().any(|effect| matches!(effect, Effect::Money(_))) {
                set.check_sums(&effects, i64::MAX)?;
                post_own(set, window, &[account], effects)?;
            } else {
                of.extend(effects.iter().any(moves).then_some(account));
                all.extend(effects);
            }
        }
        if all.iter().any(moves) {
            post_own(set, window, &of, all)?;
        } else {
            // Nothing to post: the lots wait.
            set.commit(0, window, all);
        }
    }
    Ok(count)
}

/// What one account's lots lose at a cut-off.
fn at_cut_off(set: &WorkingSet, account: &AccountKey, cut_off: i64) -> Rejected<Vec<Effect>> {
    let held = set.held_at(account, cut_off);
    let debt = set.accounts.get(account).map_or(0, |a| a.debt);
    let issuer = set.issuer_of(account)?;
    let mut returns = Returns::of(set, account, debt, cut_off)?;
    let (mut due, mut effects) = (BTreeMap::new(), vec![]);
    for lot in set.lots_of(account).filter(|lot| lot.due_at <= cut_off) {
        let free = lot.remaining - held.get(&lot.key).copied().unwrap_or(0);
        let given = returns.freed(lot, free, 0)?;
        if lot.expires_at <= cut_off {
            due.insert((lot.expires_at, lot.key), (lot, free - given, given, 0));
        } else {
            let next = set.look_again(lot, cut_off).filter(|_| lot.lent + given < 0);
            effects.push(Effect::Defer {
                lot: lot.key,
                due_at: next.unwrap_or(lot.expires_at),
            });
        }
    }
    // What came back before the cut-off to a lot whose time was over by then is over with it.
    for (lot, points) in returns.restored_late() {
        due.entry((lot.expires_at, lot.key)).or_insert((lot, 0, 0, 0)).3 = points;
    }
    for (lot, free, given, restored) in due.into_values() {
        let expire = free + restored - returns.repay(lot, free, given)?;
        // What settles at redemption was paid for what was spent; more of it, where its funder was gone when spent points came back, for these very points.
        let spent = match lot.at_redemption {
            true => (lot.issued - lot.reversed - lot.remaining - lot.expired - restored).max(0),
            false => 0,
        };
        let paid = match lot.funder == issuer {
            true => 0,
            false => expire.min(returns.charged(lot) - spent - lot.expired_paid).max(0),
        };
        for (points, paid) in [(paid, true), (expire - paid, false)] {
            let lot = lot.key;
            effects.extend((points > 0).then_some(Effect::Expire { lot, points, paid }));
        }
        if held.contains_key(&lot.key) {
            effects.push(Effect::Defer {
                lot: lot.key,
                due_at: cut_off.saturating_add(1),
            });
        }
    }
    Ok(returns.done().into_iter().chain(effects).collect())
}

/// Whether it is more than that a lot waits.
fn moves(effect: &Effect) -> bool {
    !matches!(effect, Effect::Defer { .. })
}

/// Keeps what a cut-off does to some accounts as an accepted message of the clearinghouse's own. Its facts name the accounts, so that it can be done again.
fn post_own(set: &mut WorkingSet, window: Date, of: &[AccountKey], effects: Vec<Effect>) -> Rejected<()> {
    let id = MessageId::new(format!("{EXPIRY}-{window}-{}", set.next_seq)).map_err(|_| Reject::new(Code::Internal))?;
    let facts = of
        .iter()
        .map(|account| (account.programme.to_string(), account.member.as_str().to_owned()))
        .collect();
    set.post_own((EXPIRY, id, window), Moved::default(), facts, effects);
    Ok(())
}

/// The accounts that a message of the kind [`EXPIRY`] was about.
pub fn expired_of(posted: &Posted) -> impl Iterator<Item = AccountKey> {
    posted.facts.iter().filter_map(|(programme, member)| {
        Some(AccountKey {
            programme: programme.parse().ok()?,
            member: member.parse().ok()?,
        })
    })
}

impl WorkingSet {
    /// Keeps what the clearinghouse does by itself as an accepted message of its own in a window. Every check of the effects was made before.
    pub(crate) fn post_own(
        &mut self,
        (kind, id, window): (&str, MessageId, Date),
        moved: Moved,
        facts: Vec<(String, String)>,
        effects: Vec<Effect>,
    ) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let posted = Posted {
            seq,
            sender: PartnerId::clearing(),
            id,
            kind: kind.to_owned(),
            window,
            posted_at: self.now,
            code: None,
            field: None,
            facts,
            sha256: String::new(),
            salt: Some(self.salt(seq)),
            moved,
        };
        self.commit(seq, window, effects);
        self.changes.messages.push((std::sync::Arc::new(posted), Signed::default()));
    }
}
