//! Points whose time is over leave the member; what was paid for them stays with the issuer (breakage).

use std::collections::BTreeMap;
use std::sync::Arc;

use partner_sdk::{MessageId, PartnerId};

use super::Rejected;
use super::plan::{Effect, LotRef};
use super::types::{AccountKey, Line, LotKey, Moved, Posted, Signed};
use super::working_set::WorkingSet;

/// Expires what is left in lots whose time was over at `cut_off`, but for points that an open hold still needs; a member's debt is repaid from them
/// first. Returns how many lots gave points; the entry is kept as a message of the clearinghouse's own under `id`.
pub fn expire(set: &mut WorkingSet, lots: &[LotKey], cut_off: i64, id: MessageId) -> Rejected<usize> {
    // Per account: points that no hold needs, and the debt.
    let mut rest: BTreeMap<AccountKey, (i128, i64)> = BTreeMap::new();
    let (mut effects, mut count) = (vec![], 0);
    for key in lots {
        let Some(lot) = set.lots.get(key).filter(|l| l.remaining > 0 && l.expires_at <= cut_off) else {
            continue;
        };
        let (spare, debt) = rest.entry(lot.account.clone()).or_insert_with(|| {
            let (points, debt) = set.accounts.get(&lot.account).map_or((0, 0), |a| (a.points, a.debt));
            // A hold lives on what hasn't expired, and on this for what it lacks. But what an exchange has reserved is spent oldest first whenever the
            // answer comes, so it stays: otherwise the member would lose these points, and newer ones to the exchange.
            let expired = set.lots_of(&lot.account).filter(|l| l.expires_at <= set.now);
            let base = if set.waits(&lot.account) {
                expired.map(|l| i128::from(l.remaining)).sum()
            } else {
                i128::from(points)
            };
            ((base - set.held(&lot.account)).max(0), debt)
        });
        let points = i64::try_from(*spare).unwrap_or(i64::MAX).min(lot.remaining);
        if points == 0 {
            continue;
        }
        *spare -= i128::from(points);
        count += 1;
        let repay = points.min(*debt);
        *debt -= repay;
        if repay > 0 {
            let at = LotRef::Known(*key);
            effects.push(Effect::Repay { lot: at, points: repay });
            effects.extend(set.charge(lot, at, repay)?);
        }
        if points > repay {
            // Where the funder pays at redemption, nothing was paid.
            let price = if lot.at_redemption { 0 } else { lot.price.0 };
            effects.push(Effect::Take {
                line: Line::Expiry,
                lot: *key,
                points: points - repay,
                price,
            });
        }
    }
    set.check_sums(&effects)?;
    if count > 0 {
        set.post_own("expiry", id, Moved::default(), effects);
    }
    Ok(count)
}

impl WorkingSet {
    /// Keeps what the clearinghouse does by itself as an accepted message of its own. Every check of the effects was made before.
    pub(super) fn post_own(&mut self, kind: &str, id: MessageId, moved: Moved, effects: Vec<Effect>) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let posted = Posted {
            seq,
            sender: PartnerId::clearing(),
            id,
            kind: kind.to_owned(),
            window: self.window,
            posted_at: self.now,
            code: None,
            field: None,
            facts: vec![],
            sha256: String::new(),
            moved,
        };
        self.commit(seq, effects);
        self.changes.messages.push((Arc::new(posted), Signed::default()));
    }
}
