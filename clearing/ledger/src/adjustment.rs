//! The outcome of a dispute: money that one party owes the other by what they, or two of the operator's people, have signed. No points, and no cap: it was owed, or paid, before.

use partner_sdk::{Code, Currency, MessageId, Money, PartnerId};

use crate::effect::{Effect, MoneyMove};
use crate::reject::{Reject, Rejected};
use crate::types::{Line, Moved};
use crate::working_set::WorkingSet;

/// `debtor` owes `creditor` so much under an agreement. The entry is a message of the clearinghouse's own under `id`.
pub fn adjust(
    set: &mut WorkingSet,
    (debtor, creditor): (&PartnerId, &PartnerId),
    (amount, currency): (Money, Currency),
    agreement: i32,
    id: MessageId,
) -> Rejected<()> {
    if amount <= Money::ZERO || debtor == creditor {
        return Err(Reject::at(Code::BadTerms, "amount"));
    }
    let moved = Moved {
        agreement: Some(agreement),
        ..Moved::default()
    };
    let owed = [Effect::Money(MoneyMove {
        line: Line::Adjustment,
        debtor: debtor.clone(),
        creditor: creditor.clone(),
        currency,
        amount: amount.0,
        points: 0,
        price: 0,
        agreement,
    })];
    set.check_sums(&owed, i64::MAX)?;
    set.post_own(("adjustment", id, set.window), moved, vec![], owed.into());
    Ok(())
}
