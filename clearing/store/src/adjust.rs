//! Adjustments: what a dispute's outcome makes one party owe the other, posted in the transaction that ends it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::{Conn, DbError};
use partner_sdk::{Currency, MessageId, Money, PartnerId};

use super::head::Unready;
use super::load::{empty_set, load_money};
use super::persist;
use ledger::directory::Directory;

/// `debtor` owes `creditor`, under the agreement of a disputed line.
#[derive(Debug, Clone, Copy)]
pub struct Adjustment<'a> {
    /// Who owes.
    pub debtor: &'a PartnerId,
    /// Whom.
    pub creditor: &'a PartnerId,
    /// Of the amount.
    pub currency: Currency,
    /// How much: above zero.
    pub amount: Money,
    /// The number of the agreement.
    pub agreement: i32,
}

/// Posts it in the window that is open now, under the dispute's hash, which leads to who has signed for it; returns the window. `None`, and nothing written, where what the two owe each other wouldn't fit any more.
pub fn adjust(conn: &mut Conn, directory: &Directory, of: Adjustment, dispute: &str, now: Timestamp) -> Result<Option<Date>, Unready> {
    let mut set = empty_set(conn, &Arc::new(directory.clone()), || now.as_microsecond())?;
    let parties = BTreeSet::from([of.debtor, of.creditor].map(PartnerId::to_string));
    load_money(conn, &mut set, &parties)?;
    let id = MessageId::new(dispute).map_err(|e| DbError::Corrupt(e.to_string()))?;
    if ledger::adjust(&mut set, (of.debtor, of.creditor), (of.amount, of.currency), of.agreement, id).is_err() {
        return Ok(None);
    }
    persist(conn, &set)?;
    Ok(Some(set.window))
}
