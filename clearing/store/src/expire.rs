//! The night's look at all that is due in a closed window, a few hundred lots a transaction, so that traffic isn't held up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer};
use migrations::schema::{hold, lot};
use migrations::{Conn, DbError, each_backend};
use settlement::Window;

use super::accounts::{Need, load_accounts};
use super::head::{Unready, give_way, lock};
use super::load::{empty_set, expire, load_positions, set_as_it_stands};
use super::persist;
use super::rows::read;
use ledger::directory::Directory;
use ledger::{AccountKey, LotKey, Posted, WorkingSet, expired_of};

/// Lots in one transaction.
const CHUNK: i64 = 500;

/// Expires all that is due at the cut-off of a closed window, and notes the holds that ended by then. Started again after a kill, it goes on where it
/// stopped. Returns how many lots gave points.
pub fn expire_lots(conn: &mut Conn, directory: &Arc<Directory>, window: &Window, clock: impl Fn() -> i64) -> Result<usize, Unready> {
    expire_all(conn, window, |conn| empty_set(conn, directory, &clock))
}

/// The same once all that gave points has been done again: what is left to wait, at the cut-offs up to this window's. No window closes by it.
pub fn expire_left(conn: &mut Conn, directory: &Arc<Directory>, window: &Window, now: i64) -> Result<usize, Unready> {
    expire_all(conn, window, |conn| {
        let mut set = set_as_it_stands(conn, directory, now)?;
        set.due.retain(|(date, _)| *date <= window.business_date);
        Ok(set)
    })
}

fn expire_all(conn: &mut Conn, window: &Window, empty: impl Fn(&mut Conn) -> Result<WorkingSet, Unready>) -> Result<usize, Unready> {
    let cut_off = window.cut_off_at.as_microsecond();
    let (mut after, mut total) = ((i64::MIN, LotKey { seq: 0, leg: 0 }), 0);
    loop {
        let started = Instant::now();
        let (count, last) = conn.transaction(|conn| -> Result<_, Unready> {
            let mut set = empty(conn)?;
            let due = due_lots(conn, after, cut_off)?;
            let accounts: BTreeSet<AccountKey> = due.iter().map(|(_, _, account)| account.clone()).collect();
            let count = expire_in(conn, &mut set, &accounts)?;
            Ok((count, due.last().map(|(at, key, _)| (*at, *key))))
        })?;
        total += count;
        match last {
            Some(last) => after = last,
            None => break,
        }
        give_way(started);
    }
    close_lapsed(conn, cut_off)?;
    Ok(total)
}

/// Expires what is due in some accounts at the cut-off of a window, and of those before it, in one transaction: what an own message did, done again.
pub fn expire_again(conn: &mut Conn, directory: &Arc<Directory>, own: &Posted) -> Result<usize, Unready> {
    let accounts: BTreeSet<AccountKey> = expired_of(own).collect();
    conn.transaction(|conn| {
        let mut set = set_as_it_stands(conn, directory, own.posted_at)?;
        set.due.retain(|(window, _)| *window <= own.window);
        expire_in(conn, &mut set, &accounts)
    })
}

fn expire_in(conn: &mut Conn, set: &mut WorkingSet, accounts: &BTreeSet<AccountKey>) -> Result<usize, Unready> {
    let need = Need {
        lots: true,
        ..Need::default()
    };
    let accounts: BTreeMap<AccountKey, Need> = accounts.iter().map(|account| (account.clone(), need)).collect();
    load_accounts(conn, set, &accounts, &BTreeSet::new())?;
    load_positions(conn, set, &[])?;
    let count = expire(set)?;
    persist(conn, set)?;
    Ok(count)
}

type Due = (i64, LotKey, AccountKey);

fn due_lots(conn: &mut Conn, after: (i64, LotKey), cut_off: i64) -> Result<Vec<Due>, DbError> {
    let (at, LotKey { seq, leg }) = after;
    let later = sql::<Bool>("(due_at, seq, leg) > (").bind::<BigInt, _>(at).sql(", ");
    let later = later.bind::<BigInt, _>(seq).sql(", ").bind::<Integer, _>(leg).sql(")");
    let query = lot::table
        .select((lot::due_at, lot::seq, lot::leg, lot::programme, lot::member))
        // First of the two: SQLite reads the index up to the bound that it sees first.
        .filter(lot::due_at.le(cut_off))
        // As text, so that the partial index is used.
        .filter(sql::<Bool>("remaining > 0 AND due_at < 9223372036854775807"))
        .filter(later)
        .order((lot::due_at, lot::seq, lot::leg))
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

/// Holds that ended by themselves keep nothing any more; that they are noted keeps the index of the open ones small.
fn close_lapsed(conn: &mut Conn, cut_off: i64) -> Result<(), DbError> {
    loop {
        let closed = conn.transaction(|conn| -> Result<usize, DbError> {
            lock(conn)?;
            let ended = hold::table
                .select(hold::seq)
                .filter(hold::expires_at.le(cut_off))
                .filter(sql::<Bool>("is_open AND expires_at < 9223372036854775807"))
                .order(hold::expires_at)
                .limit(CHUNK);
            let ended: Vec<i64> = each_backend!(conn, |c| ended.load(c))?;
            let of_them = hold::table.filter(hold::seq.eq_any(&ended));
            let noted = (hold::is_open.eq(false), hold::lapsed.eq(true));
            Ok(each_backend!(conn, |c| diesel::update(of_them).set(noted).execute(c))?)
        })?;
        if closed == 0 {
            return Ok(());
        }
    }
}
