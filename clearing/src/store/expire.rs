//! The expiry of lots, a few hundred a transaction, so that traffic isn't held up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use jiff::Timestamp;
use migrations::schema::lot;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::MessageId;

use super::load::{empty_set, load_accounts, load_positions};
use super::persist;
use crate::directory::Directory;
use crate::ledger::{AccountKey, LotKey, expire};
use crate::store::rows::read;

/// Lots in one transaction.
const CHUNK: i64 = 500;

/// Expires all lots whose time was over at `cut_off`, into the window that is open. Started again after a kill, it goes on where it stopped.
pub fn expire_lots(conn: &mut Conn, directory: &Arc<Directory>, cut_off: Timestamp, now: Timestamp) -> Result<usize, DbError> {
    let cut_off = cut_off.as_microsecond();
    let (mut after, mut total) = ((i64::MIN, LotKey { seq: 0, leg: 0 }), 0);
    loop {
        let due = conn.transaction(|conn| -> Result<_, DbError> {
            let mut set = empty_set(conn, directory, now.as_microsecond())?;
            let due = due_lots(conn, after, cut_off)?;
            let keys: Vec<LotKey> = due.iter().map(|(_, key, _)| *key).collect();
            let accounts: BTreeMap<AccountKey, bool> = due.iter().map(|(_, _, account)| (account.clone(), true)).collect();
            load_accounts(conn, &mut set, &accounts, &BTreeSet::new())?;
            load_positions(conn, &mut set, &[])?;
            let id = MessageId::new(format!("expiry-{}-{}", set.window, set.next_seq)).map_err(|e| DbError::Corrupt(e.to_string()))?;
            let expired = expire(&mut set, &keys, cut_off, id);
            let count = expired.map_err(|reject| DbError::Corrupt(format!("lots can't expire: {}", reject.code)))?;
            persist(conn, &set)?;
            Ok((count, due.last().map(|(at, key, _)| (*at, *key))))
        })?;
        total += due.0;
        match due.1 {
            Some(last) => after = last,
            None => return Ok(total),
        }
    }
}

type Due = (i64, LotKey, AccountKey);

fn due_lots(conn: &mut Conn, after: (i64, LotKey), cut_off: i64) -> Result<Vec<Due>, DbError> {
    let (at, key) = after;
    let later = lot::expires_at.gt(at).or(lot::expires_at
        .eq(at)
        .and(lot::seq.gt(key.seq).or(lot::seq.eq(key.seq).and(lot::leg.gt(key.leg)))));
    let query = lot::table
        .select((lot::expires_at, lot::seq, lot::leg, lot::programme, lot::member))
        // As text, so that the partial index is used.
        .filter(sql::<Bool>("remaining > 0 AND expires_at < 9223372036854775807"))
        .filter(lot::expires_at.le(cut_off))
        .filter(later)
        .order((lot::expires_at, lot::seq, lot::leg))
        .limit(CHUNK);
    let rows: Vec<(i64, i64, i32, String, String)> = each_backend!(conn, |c| query.load(c))?;
    let due = rows.into_iter().map(|(at, seq, leg, programme, member)| {
        let account = AccountKey {
            programme: read(&programme, "lot.programme")?,
            member: read(&member, "lot.member")?,
        };
        Ok((at, LotKey { seq, leg }, account))
    });
    due.collect()
}
