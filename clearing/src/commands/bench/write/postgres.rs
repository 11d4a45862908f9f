//! The floor on PostgreSQL: new rows go in by `COPY` in the binary format, and one statement, prepared once, writes all others from arrays.

use diesel::connection::SimpleConnection;
use diesel::pg::{CopyFormat, CopyTarget, Pg};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Text};
use migrations::schema::{lot, message, posting, signed_batch};

use super::rows::{COLUMNS, Kind, LOT, MESSAGE, OLD_LOT, POSTING, Rows, SIGNED_BATCH, TABLES, Value};

/// Writes every table from [`OLD_LOT`] on; the parameters are their columns, each an array.
const OTHERS: &str = "\
WITH old_lot AS (UPDATE lot SET remaining = n.remaining, charged = n.charged, reversed = n.reversed, expired = n.expired, \
expired_paid = n.expired_paid, lent = n.lent, due_at = n.due_at FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) \
AS n (remaining, charged, reversed, expired, expired_paid, lent, due_at, seq, leg) WHERE lot.seq = n.seq AND lot.leg = n.leg), \
new_account AS (INSERT INTO account SELECT * FROM unnest($10, $11, $12, $13, $14, $15) ON CONFLICT (member, programme) DO UPDATE SET \
points = excluded.points, debt = excluded.debt, open_lots = excluded.open_lots, lending_lots = excluded.lending_lots), \
new_holders AS (UPDATE holders SET members = members + n.more FROM unnest($16, $17) AS n (more, programme) WHERE holders.programme = n.programme), \
new_limit AS (INSERT INTO limit_use SELECT * FROM unnest($18, $19, $20, $21) ON CONFLICT (agreement, member, business_date) DO UPDATE SET \
points = excluded.points), \
new_position AS (INSERT INTO position SELECT * FROM unnest($22, $23, $24, $25, $26) ON CONFLICT (business_date, debtor, creditor, currency) \
DO UPDATE SET micros = excluded.micros), \
new_exposure AS (INSERT INTO exposure SELECT * FROM unnest($27, $28, $29) ON CONFLICT (partner, currency) DO UPDATE SET micros = excluded.micros), \
new_tile AS (INSERT INTO log_tile SELECT * FROM unnest($30, $31, $32) ON CONFLICT (level, no) DO UPDATE SET hashes = excluded.hashes) \
UPDATE head SET next_seq = n.next_seq, last_at = n.last_at, tree_size = n.tree_size \
FROM unnest($33, $34, $35) AS n (next_seq, last_at, tree_size) WHERE id = 1";

/// One plan for good, which looks rows up by their keys.
pub(super) fn prepare(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(
        "SET jit = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off",
    )
}

/// Writes all rows; the transaction is the caller's.
pub(super) fn write(conn: &mut PgConnection, rows: &Rows) -> QueryResult<()> {
    copy(conn, message::table, rows, MESSAGE)?;
    copy(conn, posting::table, rows, POSTING)?;
    copy(conn, lot::table, rows, LOT)?;
    if !rows.of_table(SIGNED_BATCH).is_empty() {
        copy(conn, signed_batch::table, rows, SIGNED_BATCH)?;
    }
    let columns = (OLD_LOT..TABLES).flat_map(|table| columns(rows, table));
    Others(columns.collect()).execute(conn)?;
    Ok(())
}

/// Copies the rows of a table in: of each the number of its values, of each value its length and its bytes.
fn copy<T: CopyTarget<Table = T> + Table + Copy>(conn: &mut PgConnection, table: T, rows: &Rows, no: usize) -> QueryResult<()> {
    let mut text = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let columns = COLUMNS[no].len();
    for row in rows.of_table(no).chunks_exact(columns) {
        text.extend(i16::try_from(columns).map_err(unfit)?.to_be_bytes());
        for value in row {
            put(&mut text, value)?;
        }
    }
    text.extend((-1i16).to_be_bytes());
    let copy = diesel::copy_from(table).from_raw_data(table, |out| out.write_all(&text).map_err(unfit));
    copy.with_format(CopyFormat::Binary).execute(conn)?;
    Ok(())
}

fn put(text: &mut Vec<u8>, value: &Value) -> QueryResult<()> {
    let mut put = |bytes: &[u8]| {
        text.extend(i32::try_from(bytes.len()).map_err(unfit)?.to_be_bytes());
        text.extend(bytes);
        Ok(())
    };
    match value {
        Value::Big(number) => put(&number.to_be_bytes()),
        Value::Int(number) => put(&number.to_be_bytes()),
        Value::Bool(value) => put(&[u8::from(*value)]),
        Value::Text(value) => put(value.as_bytes()),
        Value::Bytes(bytes) => put(bytes),
        Value::Null => {
            text.extend((-1i32).to_be_bytes());
            Ok(())
        }
    }
}

fn unfit(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::SerializationError(Box::new(error))
}

/// One column of some rows; none of those that are written so has a value that isn't there.
enum Column<'a> {
    Big(Vec<i64>),
    Int(Vec<i32>),
    Text(Vec<&'a str>),
    Bytes(Vec<&'a [u8]>),
}

fn columns(rows: &Rows, table: usize) -> impl Iterator<Item = Column<'_>> {
    let (kinds, values) = (COLUMNS[table], rows.of_table(table));
    kinds.iter().enumerate().map(move |(no, kind)| {
        let column = values.iter().skip(no).step_by(kinds.len());
        match kind {
            Kind::Text => Column::Text(column.filter_map(Value::text).collect()),
            Kind::Bytes => Column::Bytes(column.filter_map(Value::bytes).collect()),
            Kind::Int => Column::Int(column.filter_map(Value::int).collect()),
            Kind::Big | Kind::Bool => Column::Big(column.filter_map(Value::big).collect()),
        }
    })
}

/// The statement for all other tables. Its type is its name in diesel's cache.
struct Others<'a>(Vec<Column<'a>>);

impl QueryId for Others<'_> {
    type QueryId = Others<'static>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<PgConnection> for Others<'_> {}

impl QueryFragment<Pg> for Others<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(OTHERS);
        for column in &self.0 {
            match column {
                Column::Big(all) => out.push_bind_param_value_only::<Array<BigInt>, _>(all)?,
                Column::Int(all) => out.push_bind_param_value_only::<Array<Integer>, _>(all)?,
                Column::Text(all) => out.push_bind_param_value_only::<Array<Text>, _>(all)?,
                Column::Bytes(all) => out.push_bind_param_value_only::<Array<Binary>, _>(all)?,
            }
        }
        Ok(())
    }
}
