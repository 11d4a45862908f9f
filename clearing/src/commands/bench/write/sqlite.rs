//! The floor on SQLite: statements that are prepared once, each for one row or for a block of them, bound and stepped again and again.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types;
use diesel::sqlite::Sqlite;

use super::rows::{
    ACCOUNT, COLUMNS, EXPOSURE, HEAD, HOLDERS, LIMIT_USE, LOG_TILE, LOT, MESSAGE, OLD_LOT, POSITION, POSTING, Rows, SIGNED_BATCH, TABLES,
    Value,
};

/// Rows in a block: neither 8 nor 100 is quicker.
const BLOCK: usize = 32;

/// A statement is its beginning, a row once or more often with commas between, and its end.
const STATEMENTS: [[&str; 3]; TABLES] = [
    [
        "INSERT INTO message VALUES ",
        "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        "",
    ],
    ["INSERT INTO posting VALUES ", "(?,?,?,?,?,?,?,?,?,?,?,?,?)", ""],
    ["INSERT INTO lot VALUES ", "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", ""],
    ["INSERT INTO signed_batch VALUES ", "(?,?,?)", ""],
    [
        "UPDATE lot SET remaining = ?, charged = ?, reversed = ?, expired = ?, expired_paid = ?, lent = ?, due_at = ? WHERE seq = ? AND leg = ?",
        "",
        "",
    ],
    [
        "INSERT INTO account VALUES ",
        "(?,?,?,?,?,?)",
        " ON CONFLICT DO UPDATE SET points = excluded.points, debt = excluded.debt, open_lots = excluded.open_lots, lending_lots = excluded.lending_lots",
    ],
    ["UPDATE holders SET members = members + ? WHERE programme = ?", "", ""],
    [
        "INSERT INTO limit_use VALUES ",
        "(?,?,?,?)",
        " ON CONFLICT DO UPDATE SET points = excluded.points",
    ],
    [
        "INSERT INTO position VALUES ",
        "(?,?,?,?,?)",
        " ON CONFLICT DO UPDATE SET micros = excluded.micros",
    ],
    [
        "INSERT INTO exposure VALUES ",
        "(?,?,?)",
        " ON CONFLICT DO UPDATE SET micros = excluded.micros",
    ],
    [
        "INSERT INTO log_tile VALUES ",
        "(?,?,?)",
        " ON CONFLICT DO UPDATE SET hashes = excluded.hashes",
    ],
    ["UPDATE head SET next_seq = ?, last_at = ?, tree_size = ? WHERE id = 1", "", ""],
];

/// Memory for all pages that are touched again and again.
pub(super) fn prepare(conn: &mut SqliteConnection) -> QueryResult<()> {
    conn.batch_execute("PRAGMA soft_heap_limit = 0; PRAGMA cache_size = -65536")
}

/// Writes all rows; the transaction is the caller's.
pub(super) fn write(conn: &mut SqliteConnection, rows: &Rows) -> QueryResult<()> {
    put::<MESSAGE, BLOCK>(conn, rows)?;
    put::<POSTING, BLOCK>(conn, rows)?;
    put::<LOT, BLOCK>(conn, rows)?;
    put::<SIGNED_BATCH, 1>(conn, rows)?;
    put::<OLD_LOT, 1>(conn, rows)?;
    put::<ACCOUNT, BLOCK>(conn, rows)?;
    put::<HOLDERS, 1>(conn, rows)?;
    put::<LIMIT_USE, 1>(conn, rows)?;
    put::<POSITION, 1>(conn, rows)?;
    put::<EXPOSURE, 1>(conn, rows)?;
    put::<LOG_TILE, 1>(conn, rows)?;
    put::<HEAD, 1>(conn, rows)
}

/// Writes the rows of a table: whole blocks of so many, then the rest row by row.
fn put<const TABLE: usize, const ROWS: usize>(conn: &mut SqliteConnection, rows: &Rows) -> QueryResult<()> {
    let columns = COLUMNS[TABLE].len();
    let blocks = rows.of_table(TABLE).chunks_exact(columns * ROWS);
    let rest = blocks.remainder();
    for block in blocks {
        Statement::<TABLE, ROWS>(block).execute(conn)?;
    }
    for row in rest.chunks_exact(columns) {
        Statement::<TABLE, 1>(row).execute(conn)?;
    }
    Ok(())
}

/// One of the statements for so many rows. Its type is its name in diesel's cache, so that its text is put together and prepared only once.
struct Statement<'a, const TABLE: usize, const ROWS: usize>(&'a [Value]);

impl<const TABLE: usize, const ROWS: usize> QueryId for Statement<'_, TABLE, ROWS> {
    type QueryId = Statement<'static, TABLE, ROWS>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const TABLE: usize, const ROWS: usize> RunQueryDsl<SqliteConnection> for Statement<'_, TABLE, ROWS> {}

impl<const TABLE: usize, const ROWS: usize> QueryFragment<Sqlite> for Statement<'_, TABLE, ROWS> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let [beginning, row, end] = STATEMENTS[TABLE];
        out.push_sql(beginning);
        for no in 0..ROWS {
            out.push_sql(if no > 0 { "," } else { "" });
            out.push_sql(row);
        }
        out.push_sql(end);
        for value in self.0 {
            match value {
                Value::Null => out.push_bind_param_value_only::<sql_types::Nullable<sql_types::BigInt>, Option<i64>>(&None)?,
                Value::Big(number) => out.push_bind_param_value_only::<sql_types::BigInt, _>(number)?,
                Value::Int(number) => out.push_bind_param_value_only::<sql_types::Integer, _>(number)?,
                Value::Bool(value) => out.push_bind_param_value_only::<sql_types::Bool, _>(value)?,
                Value::Text(text) => out.push_bind_param_value_only::<sql_types::Text, str>(text)?,
                Value::Bytes(bytes) => out.push_bind_param_value_only::<sql_types::Binary, [u8]>(bytes)?,
            }
        }
        Ok(())
    }
}
