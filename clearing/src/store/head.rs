//! The one row of `head`: whoever writes the ledger locks it first.

use diesel::prelude::*;
use migrations::schema::head;
use migrations::{Conn, DbError, each_backend};

/// Locks the ledger for this transaction and returns (next sequence number, directory version). SQLite's transaction holds the write lock already.
pub fn lock_head(conn: &mut Conn) -> Result<(i64, i64), DbError> {
    let row = head::table.select((head::next_seq, head::directory_version)).filter(head::id.eq(1));
    Ok(match conn {
        Conn::Sqlite(c) => row.first(c)?,
        Conn::Postgres(c) => row.for_update().first(c)?,
    })
}

/// The version of the reference data, without a lock.
pub fn directory_version(conn: &mut Conn) -> Result<i64, DbError> {
    Ok(each_backend!(conn, |c| head::table.select(head::directory_version).first(c))?)
}
