//! Write-offs: what a member owes, and giving it up in the transaction that approves the change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diesel::prelude::*;
use jiff::Timestamp;
use migrations::schema::account;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::{MessageId, Points};

use super::accounts::{Need, load_accounts};
use super::head::Unready;
use super::load::{empty_set, expire, load_positions};
use super::persist;
use ledger::directory::Directory;
use ledger::{self, AccountKey};

/// How many points a member owes; a member that was never seen owes none.
pub fn debt(conn: &mut Conn, key: &AccountKey) -> Result<Points, DbError> {
    let query = account::table
        .select(account::debt)
        .filter(account::programme.eq(key.programme.as_str()))
        .filter(account::member.eq(key.member.as_str()));
    let debt: Option<i64> = each_backend!(conn, |c| query.first(c).optional())?;
    Ok(Points(debt.unwrap_or(0)))
}

/// Gives up points that a member owes. False, and nothing written, where it doesn't owe so many any more: a cut-off may just have repaid some. The entry's id is the hash of the change that two people signed,
/// so each change is posted once, and leads to them.
pub fn write_off(
    conn: &mut Conn,
    directory: &Directory,
    key: &AccountKey,
    points: Points,
    change: &str,
    now: Timestamp,
) -> Result<bool, Unready> {
    let mut set = empty_set(conn, &Arc::new(directory.clone()), || now.as_microsecond())?;
    let need = Need {
        lots: true,
        ..Need::default()
    };
    load_accounts(conn, &mut set, &BTreeMap::from([(key.clone(), need)]), &BTreeSet::new())?;
    load_positions(conn, &mut set, &[])?;
    // What its lots lose at a cut-off that has passed repays the debt first.
    expire(&mut set)?;
    let id = MessageId::new(change).map_err(|e| DbError::Corrupt(e.to_string()))?;
    if ledger::write_off(&mut set, key, points, id).is_err() {
        return Ok(false);
    }
    persist(conn, &set)?;
    Ok(true)
}
