//! Rows written many at a time, by statements that stay prepared: diesel keeps none for inserts of several rows, and preparing one costs more than running it.
//!
//! SQLite gets blocks of rows, and what is left row by row: two statements for each table. PostgreSQL gets an array for each column, whatever the number of rows.

use std::borrow::Cow;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;
use migrations::{Conn, DbError};

/// Rows in a block: enough that a statement's own cost is spread, few enough that most groups of messages fill some.
const BLOCK: usize = 32;

/// A value of a row.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Int(Option<i64>),
    Text(Option<Cow<'a, str>>),
    Bool(bool),
    Bytes(Vec<u8>),
}

impl Value<'_> {
    fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => *value,
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => value.as_deref(),
            _ => None,
        }
    }

    fn bool(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(value) => value,
            _ => &[],
        }
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $into:expr),* $(,)?) => {
        $(impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self {
                $into
            }
        })*
    };
}

from! {
    i64 => |value| Self::Int(Some(value)),
    i32 => |value| Self::Int(Some(value.into())),
    Option<i64> => |value| Self::Int(value),
    Option<i32> => |value| Self::Int(value.map(i64::from)),
    &'a str => |value| Self::Text(Some(value.into())),
    String => |value| Self::Text(Some(value.into())),
    Option<&'a str> => |value| Self::Text(value.map(Cow::from)),
    Option<String> => |value| Self::Text(value.map(Cow::from)),
    bool => |value| Self::Bool(value),
    Vec<u8> => |value| Self::Bytes(value),
}

/// The values of one row, in the order of the table's columns.
macro_rules! row {
    ($($value:expr),* $(,)?) => { [$($crate::bulk::Value::from($value)),*] };
}
pub(super) use row;

/// A table, the columns that are written, and what happens where a row is there already: the words after VALUES.
#[derive(Debug)]
pub(super) struct Bulk<const N: usize> {
    pub(super) table: &'static str,
    pub(super) columns: [&'static str; N],
    pub(super) conflict: &'static str,
}

impl<const N: usize> Bulk<N> {
    /// Writes rows, in their order.
    pub(super) fn write(&self, conn: &mut Conn, rows: &[[Value<'_>; N]]) -> Result<(), DbError> {
        if rows.is_empty() {
            return Ok(());
        }
        match conn {
            Conn::Sqlite(c) => {
                let blocks = rows.chunks_exact(BLOCK);
                let rest = blocks.remainder().chunks(1);
                for rows in blocks.chain(rest) {
                    Insert { into: self, rows }.execute(c)?;
                }
            }
            Conn::Postgres(c) => drop(Arrays::new(self, rows).execute(c)?),
        }
        Ok(())
    }
}

struct Insert<'a, 'v, const N: usize> {
    into: &'a Bulk<N>,
    rows: &'a [[Value<'v>; N]],
}

impl<const N: usize> QueryId for Insert<'_, '_, N> {
    type QueryId = ();
    // It is known by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn, const N: usize> RunQueryDsl<Conn> for Insert<'_, '_, N> {}

impl<const N: usize> Bulk<N> {
    fn begin<DB: diesel::backend::Backend>(&self, out: &mut AstPass<'_, '_, DB>) {
        out.push_sql("INSERT INTO ");
        out.push_sql(self.table);
        for (no, column) in self.columns.iter().enumerate() {
            out.push_sql(if no == 0 { " (" } else { ", " });
            out.push_sql(column);
        }
        out.push_sql(") ");
    }
}

impl<const N: usize> QueryFragment<Sqlite> for Insert<'_, '_, N> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.into.begin(&mut out);
        for (no, row) in self.rows.iter().enumerate() {
            out.push_sql(if no == 0 { "VALUES (" } else { "), (" });
            for (no, value) in row.iter().enumerate() {
                if no > 0 {
                    out.push_sql(", ");
                }
                match value {
                    Value::Int(value) => out.push_bind_param::<Nullable<BigInt>, _>(value)?,
                    Value::Text(value) => out.push_bind_param::<Nullable<Text>, _>(value)?,
                    Value::Bool(value) => out.push_bind_param::<Bool, _>(value)?,
                    Value::Bytes(value) => out.push_bind_param::<Binary, _>(value)?,
                }
            }
        }
        out.push_sql(") ");
        out.push_sql(self.into.conflict);
        Ok(())
    }
}

/// The values of a column.
enum Column<'a> {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<&'a str>>),
    Bools(Vec<bool>),
    Bytes(Vec<&'a [u8]>),
}

struct Arrays<'a, const N: usize> {
    into: &'a Bulk<N>,
    columns: Vec<Column<'a>>,
}

impl<'a, const N: usize> Arrays<'a, N> {
    fn new(into: &'a Bulk<N>, rows: &'a [[Value<'_>; N]]) -> Self {
        let column = |no: usize| {
            let values = rows.iter().map(|row| &row[no]);
            match rows[0][no] {
                Value::Int(_) => Column::Ints(values.map(Value::int).collect()),
                Value::Text(_) => Column::Texts(values.map(Value::text).collect()),
                Value::Bool(_) => Column::Bools(values.map(Value::bool).collect()),
                Value::Bytes(_) => Column::Bytes(values.map(Value::bytes).collect()),
            }
        };
        Self {
            into,
            columns: (0..N).map(column).collect(),
        }
    }
}

impl<const N: usize> QueryId for Arrays<'_, N> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn, const N: usize> RunQueryDsl<Conn> for Arrays<'_, N> {}

impl<const N: usize> QueryFragment<Pg> for Arrays<'_, N> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.into.begin(&mut out);
        for (no, column) in self.columns.iter().enumerate() {
            out.push_sql(if no == 0 { "SELECT * FROM UNNEST(" } else { ", " });
            match column {
                Column::Ints(values) => out.push_bind_param::<Array<Nullable<BigInt>>, _>(values)?,
                Column::Texts(values) => out.push_bind_param::<Array<Nullable<Text>>, _>(values)?,
                Column::Bools(values) => out.push_bind_param::<Array<Bool>, _>(values)?,
                Column::Bytes(values) => out.push_bind_param::<Array<Binary>, _>(values)?,
            }
        }
        out.push_sql(") ");
        out.push_sql(self.into.conflict);
        Ok(())
    }
}
