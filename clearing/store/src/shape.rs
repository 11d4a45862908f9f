//! What else stands in a database beside rows: keys and indexes that keep them right, and what would change them unseen.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use migrations::{Conn, DbError};

/// Keys, indexes, references and triggers of each table, the same words for the same thing on both databases.
const SQLITE: &str = "WITH own AS (SELECT name FROM sqlite_master WHERE type = 'table') \
     SELECT name AS owner, 'the key (' || COALESCE((SELECT group_concat(c.name, ', ' ORDER BY c.pk) FROM pragma_table_info(own.name) c WHERE c.pk > 0), '') || ')' AS part FROM own \
     UNION ALL SELECT own.name, CASE WHEN i.\"unique\" THEN 'the unique index (' ELSE 'the index (' END || COALESCE((SELECT group_concat(c.name, ', ' ORDER BY c.seqno) \
     FROM pragma_index_info(i.name) c), '') || CASE WHEN i.partial THEN ') of some rows' ELSE ')' END FROM own, pragma_index_list(own.name) i WHERE i.origin <> 'pk' \
     UNION ALL SELECT own.name, 'the reference (' || f.\"from\" || ') to ' || f.\"table\" FROM own, pragma_foreign_key_list(own.name) f \
     UNION ALL SELECT lower(tbl_name), 'the trigger ' || name FROM sqlite_master WHERE type = 'trigger'";
const POSTGRES: &str = "WITH own AS (SELECT oid, relname, relrowsecurity FROM pg_class WHERE relkind IN ('r', 'p') \
     AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = CAST('head' AS regclass))) \
     SELECT CAST(own.relname AS TEXT) AS owner, CASE WHEN i.indisprimary THEN 'the key (' WHEN i.indisunique THEN 'the unique index (' ELSE 'the index (' END || \
     COALESCE((SELECT string_agg(a.attname, ', ' ORDER BY k.place) FROM unnest(CAST(i.indkey AS int2[])) WITH ORDINALITY k (no, place) \
     JOIN pg_attribute a ON a.attrelid = own.oid AND a.attnum = k.no), '') \
     || CASE WHEN i.indpred IS NULL THEN ')' ELSE ') of some rows' END AS part FROM own JOIN pg_index i ON i.indrelid = own.oid WHERE i.indisvalid \
     UNION ALL SELECT own.relname, 'the reference (' || a.attname || ') to ' || other.relname FROM own JOIN pg_constraint f ON f.conrelid = own.oid AND f.contype = 'f' \
     JOIN pg_attribute a ON a.attrelid = own.oid AND a.attnum = f.conkey[1] JOIN pg_class other ON other.oid = f.confrelid \
     UNION ALL SELECT own.relname, 'the trigger ' || t.tgname FROM own JOIN pg_trigger t ON t.tgrelid = own.oid WHERE NOT t.tgisinternal \
     UNION ALL SELECT own.relname, 'the rule ' || r.rulename FROM own JOIN pg_rewrite r ON r.ev_class = own.oid \
     UNION ALL SELECT own.relname, 'row security' FROM own WHERE own.relrowsecurity";

#[derive(QueryableByName, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    #[diesel(sql_type = Text)]
    owner: String,
    #[diesel(sql_type = Text)]
    part: String,
}

/// What a database lacks beside rows, or has too much, of the tables of another that is as this program makes it: a line each. An index more than that does no harm, and
/// may be the operator's own.
pub(super) fn compare(books: &mut Conn, made: &mut Conn) -> Result<Vec<String>, DbError> {
    let (books, made) = (parts(books)?, parts(made)?);
    let tables: BTreeSet<&str> = made.iter().map(|part| part.owner.as_str()).collect();
    let lacks = made
        .difference(&books)
        .map(|Part { owner, part }| format!("{owner}: it lacks {part}"));
    let more = books
        .difference(&made)
        .filter(|one| tables.contains(one.owner.as_str()) && !one.part.starts_with("the index"));
    Ok(lacks
        .chain(more.map(|Part { owner, part }| format!("{owner}: {part} isn't of this program")))
        .collect())
}

fn parts(conn: &mut Conn) -> Result<BTreeSet<Part>, DbError> {
    let parts: Vec<Part> = match conn {
        Conn::Sqlite(c) => sql_query(SQLITE).load(c)?,
        Conn::Postgres(c) => sql_query(POSTGRES).load(c)?,
    };
    // The migrations' own table isn't the ledger's.
    Ok(parts.into_iter().filter(|part| !part.owner.starts_with("__")).collect())
}
