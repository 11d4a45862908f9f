//! Conditions of queries that stay prepared. diesel keeps no statement with a list of values or with words of SQL in it: the one has a text for each length, the other any text.
//! Here lists have few lengths, and words are fixed.

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

/// The longest list that is filled up; a longer one is rare, and might not fit what a statement can bind.
const LONGEST: usize = 16_384;

/// A condition in fixed words, so that partial indexes are used.
pub(super) fn words(words: &'static str) -> Words {
    Words(words)
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Words(&'static str);

/// A column is one of some numbers.
pub(super) fn one_of<C>(column: C, numbers: impl IntoIterator<Item = i64>) -> Among<C, i64> {
    let values = numbers.into_iter().collect();
    Among { column, values }
}

/// A column is one of some texts.
pub(super) fn among<'a, C>(column: C, texts: impl IntoIterator<Item = &'a str>) -> Among<C, &'a str> {
    let values = texts.into_iter().collect();
    Among { column, values }
}

#[derive(Debug)]
pub(super) struct Among<C, V> {
    column: C,
    values: Vec<V>,
}

/// What a condition has to be for diesel, whatever it is made of.
macro_rules! condition {
    ([$($generic:ident),*] $type:ty, where [$($bound:tt)*]) => {
        impl<$($generic),*> Expression for $type {
            type SqlType = Bool;
        }
        impl<QS $(, $generic)*> AppearsOnTable<QS> for $type where $($bound)* {}
        impl<QS $(, $generic)*> SelectableExpression<QS> for $type where $($bound)* {}
        impl<$($generic),*> ValidGrouping<()> for $type {
            type IsAggregate = is_aggregate::Never;
        }
        impl<$($generic),*> QueryId for $type {
            type QueryId = ();
            // It is known by its text.
            const HAS_STATIC_QUERY_ID: bool = false;
        }
    };
}

condition!([] Words, where [Words: Expression]);
condition!([C, V] Among<C, V>, where [C: AppearsOnTable<QS>]);

impl<DB: Backend> QueryFragment<DB> for Words {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("(");
        out.push_sql(self.0);
        out.push_sql(")");
        Ok(())
    }
}

macro_rules! values {
    ($($value:ty as $kind:ty),*) => { $(
        impl<C: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Among<C, $value> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                self.column.walk_ast(out.reborrow())?;
                let count = self.values.len();
                let length = if count > LONGEST { count } else { count.next_power_of_two() };
                // The last one fills the rest.
                let filled = self.values.iter().chain(std::iter::repeat_n(self.values.last(), length - count).flatten());
                for (no, value) in filled.enumerate() {
                    out.push_sql(if no == 0 { " IN (" } else { ", " });
                    out.push_bind_param::<$kind, _>(value)?;
                }
                out.push_sql(if count == 0 { " IN ()" } else { ")" });
                Ok(())
            }
        }

        impl<C: QueryFragment<Pg>> QueryFragment<Pg> for Among<C, $value> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                self.column.walk_ast(out.reborrow())?;
                out.push_sql(" = ANY(");
                out.push_bind_param::<Array<$kind>, _>(&self.values)?;
                out.push_sql(")");
                Ok(())
            }
        }
    )* };
}

values!(i64 as BigInt, &str as Text);
