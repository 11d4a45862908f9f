//! A ledger held to another that was made of the same log: each row of each table, read in order and in little memory.

use std::cmp::Ordering;

use diesel::connection::DefaultLoadingMode;
use diesel::pg::PgRowByRowLoadingMode;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Integer, Text};
use migrations::{Conn, DbError};

/// The most characters of a value that a finding shows.
const SHOWN: usize = 100;
/// What isn't compared: the tree, salts and what was signed are held to the entries themselves; a scratch ledger has no tree, and an archived window's bytes are in a file; and what
/// partners keep of their own follows from no entry.
const LEFT_OUT: &[(&str, &[&str])] = &[
    ("log_tile", &[]),
    ("head", &["tree_size"]),
    ("entry", &["body"]),
    ("message", &["salt", "leads", "bytes"]),
    ("signed_batch", &["bytes"]),
    ("reconciliation_mapping", &[]),
    ("reconciliation_resolved", &[]),
];

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    /// Its place in the primary key, from 1; 0 for others.
    #[diesel(sql_type = Integer)]
    key: i32,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// A table, with the columns that are compared: those of its primary key first.
struct Table {
    name: String,
    columns: Vec<Column>,
}

/// A value of a row: of which type it is, by the type's first letter, and what.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Value<'a> {
    kind: char,
    text: &'a str,
}

/// One of the values of a primary key.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Number(i64),
    Text(&'a str),
}

/// Where `books` isn't what `made` is, which is a scratch ledger on SQLite: a line for each table, and one for each key, index or trigger that differs. `night` is the last cut-off at which a night may be at work in `books`, in
/// microseconds since 1970. Names members: for whoever has the database.
pub fn compare(books: &mut Conn, made: &mut Conn, night: Option<i64>) -> Result<Vec<String>, DbError> {
    let tables = tables(made)?;
    let mut findings = super::shape::compare(books, made)?;
    for table in &tables {
        findings.extend(table.compare(books, made, night)?);
    }
    Ok(findings)
}

fn tables(made: &mut Conn) -> Result<Vec<Table>, DbError> {
    let Conn::Sqlite(conn) = made else {
        return Err(DbError::Corrupt("a scratch ledger is on SQLite".into()));
    };
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY name";
    let mut tables = vec![];
    for Name { name } in sql_query(names).load::<Name>(conn)? {
        let query = format!("SELECT name, type AS kind, pk AS key FROM pragma_table_info('{name}') ORDER BY pk = 0, pk, cid");
        let mut columns: Vec<Column> = sql_query(query).load(conn)?;
        for (_, left_out) in LEFT_OUT.iter().filter(|(table, _)| *table == name) {
            columns.retain(|column| !left_out.is_empty() && !left_out.contains(&&*column.name));
        }
        if !columns.is_empty() {
            tables.push(Table { name, columns });
        }
    }
    Ok(tables)
}

impl Table {
    /// All rows, each as one text, in the order of the primary key.
    fn query(&self, postgres: bool) -> String {
        // Of which type a value is, how long, and what: no value can be mistaken for another, nor for two. SQLite keeps any type in any column.
        let text = |Column { name, kind, .. }: &Column| match (postgres, kind.as_str()) {
            (false, _) => {
                format!("substr(typeof({name}), 1, 1) || COALESCE(length(CAST({name} AS TEXT)) || ':' || CAST({name} AS TEXT), '')")
            }
            (true, "TEXT") => format!("COALESCE('t' || length({name}) || ':' || {name}, 'n')"),
            (true, "BOOLEAN") => format!("COALESCE('i1:' || CAST(CAST({name} AS INTEGER) AS TEXT), 'n')"),
            (true, _) => format!("COALESCE('i' || length(CAST({name} AS TEXT)) || ':' || CAST({name} AS TEXT), 'n')"),
        };
        let order = |column: &Column| match column.kind.as_str() {
            "TEXT" if postgres => format!("{} COLLATE \"C\"", column.name),
            _ => column.name.clone(),
        };
        let values: Vec<String> = self.columns.iter().map(text).collect();
        let keys: Vec<String> = self.keys().map(order).collect();
        format!(
            "SELECT {} AS line FROM {} ORDER BY {}",
            values.join(" || "),
            self.name,
            keys.join(", ")
        )
    }

    fn keys(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.key > 0)
    }

    fn key<'a>(&self, line: &'a str) -> Vec<Key<'a>> {
        let key = |(column, value): (&Column, Option<Value<'a>>)| match (column.kind.as_str(), value.map_or("", |value| value.text)) {
            ("TEXT", text) => Key::Text(text),
            (_, text) => text.parse().map_or(Key::Text(text), Key::Number),
        };
        self.keys().zip(values(line)).map(key).collect()
    }

    /// Whether a night explains how this row of the books differs. It looks at lots and holds that are due by the cut-off without an entry, until it has netted the window:
    /// a lot is due later then, and a hold has lapsed.
    fn by_night(&self, books: &str, made: &str, cut_off: i64) -> bool {
        let marks: &[&str] = match self.name.as_str() {
            "lot" => &["due_at"],
            "hold" => &["is_open", "lapsed"],
            _ => return false,
        };
        let (books, made): (Vec<_>, Vec<_>) = (values(books).collect(), values(made).collect());
        if books.len() != self.columns.len() || made.len() != self.columns.len() {
            return false;
        }
        let place = |name: &str| self.columns.iter().position(|column| column.name == name);
        let value = |row: &[Option<Value>], name: &str| place(name).and_then(|place| row[place]).map(|value| value.text.to_owned());
        let at = |row: &[Option<Value>], name: &str| value(row, name).and_then(|at| at.parse::<i64>().ok());
        let is = |row: &[Option<Value>], name: &str, text: &str| value(row, name).as_deref() == Some(text);
        let looked_at = match self.name.as_str() {
            "lot" => at(&made, "due_at").is_some_and(|due| due <= cut_off) && at(&books, "due_at").is_some_and(|due| due > cut_off),
            _ => {
                let was = is(&made, "is_open", "1") && is(&made, "lapsed", "0");
                let has = is(&books, "is_open", "0") && is(&books, "lapsed", "1");
                was && has && at(&made, "expires_at").is_some_and(|ends| ends <= cut_off)
            }
        };
        let mut rest = self
            .columns
            .iter()
            .zip(books.iter().zip(&made))
            .filter(|(column, _)| !marks.contains(&&*column.name));
        looked_at && rest.all(|(_, (books, made))| books == made)
    }

    fn compare(&self, books: &mut Conn, made: &mut Conn, night: Option<i64>) -> Result<Option<String>, DbError> {
        let mut made = rows(made, self.query(false))?;
        let books_query = self.query(matches!(books, Conn::Postgres(_)));
        let mut books = rows(books, books_query)?;
        let (mut wrong, mut first) = (0u64, None);
        let (mut left, mut right) = (books.next().transpose()?, made.next().transpose()?);
        loop {
            let order = match (&left, &right) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) if left == right => Ordering::Equal,
                (Some(left), Some(right)) => self.key(left).cmp(&self.key(right)),
            };
            let explained = || match (&left, &right, night) {
                (Some(left), Some(right), Some(cut_off)) => self.by_night(left, right, cut_off),
                _ => false,
            };
            if order != Ordering::Equal || left != right && !explained() {
                wrong += 1;
                first.get_or_insert_with(|| self.tell(left.as_deref(), right.as_deref(), order));
            }
            if order != Ordering::Greater {
                left = books.next().transpose()?;
            }
            if order != Ordering::Less {
                right = made.next().transpose()?;
            }
        }
        let name = &self.name;
        Ok(first.map(|first| match wrong {
            1 => format!("{name}: {first}"),
            more => format!("{name}: {first}; {more} rows differ in all"),
        }))
    }

    /// What is wrong with a row: `order` says on which side it is.
    fn tell(&self, books: Option<&str>, made: Option<&str>, order: Ordering) -> String {
        let key = |line: &str| {
            let values = self.keys().zip(values(line));
            let text =
                |(column, value): (&Column, Option<Value>)| format!("{} {}", column.name, value.map_or("nothing", |value| value.text));
            values.map(text).collect::<Vec<_>>().join(", ")
        };
        match (books, made, order) {
            (Some(line), _, Ordering::Less) => format!("no entry explains the row of {}", key(line)),
            (_, Some(line), Ordering::Greater) => format!("the row of {} is missing, which the log makes", key(line)),
            (Some(books), Some(made), _) => {
                let values = self.columns.iter().zip(values(books).zip(values(made)));
                let differ = values.filter(|(_, (books, made))| books != made);
                let differ = differ
                    .map(|(column, (books, made))| format!("{} is {}, and the log makes it {}", column.name, shown(books), shown(made)));
                format!("{}: {}", key(books), differ.collect::<Vec<_>>().join("; "))
            }
            _ => "a row that can't be read".to_owned(),
        }
    }
}

/// The values of a row, with nothing where there is none.
fn values(line: &str) -> impl Iterator<Item = Option<Value<'_>>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let mut chars = rest.chars();
        let kind = chars.next()?;
        if kind == 'n' {
            rest = chars.as_str();
            return Some(None);
        }
        let (length, after) = chars.as_str().split_once(':')?;
        let length = length.parse().ok()?;
        let end = after.char_indices().nth(length).map_or(after.len(), |(end, _)| end);
        let (text, left) = after.split_at(end);
        rest = left;
        Some(Some(Value { kind, text }))
    })
}

fn shown(value: Option<Value>) -> String {
    let Some(Value { text: value, .. }) = value else {
        return "nothing".to_owned();
    };
    match value.char_indices().nth(SHOWN) {
        None => format!("`{value}`"),
        Some((end, _)) => format!("`{}...`", &value[..end]),
    }
}

/// Rows one by one: no more of them than the database's own buffers hold is in memory.
fn rows<'a>(conn: &'a mut Conn, query: String) -> Result<Box<dyn Iterator<Item = Result<String, DbError>> + 'a>, DbError> {
    let line = |row: QueryResult<Line>| row.map(|row| row.line).map_err(DbError::from);
    Ok(match conn {
        Conn::Sqlite(c) => Box::new(sql_query(query).load_iter::<Line, DefaultLoadingMode>(c)?.map(line)),
        Conn::Postgres(c) => Box::new(sql_query(query).load_iter::<Line, PgRowByRowLoadingMode>(c)?.map(line)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_taken_for_another() {
        let read = |line: &str| {
            values(line)
                .map(|value| value.map(|one| (one.kind, one.text.to_owned())))
                .collect::<Vec<_>>()
        };
        let value = |kind: char, text: &str| Some((kind, text.to_owned()));
        assert_eq!(read("t3:abci2:12nt0:"), [value('t', "abc"), value('i', "12"), None, value('t', "")]);
        assert_eq!(read("t6:nt2:x:t2:\u{e9}n"), [value('t', "nt2:x:"), value('t', "\u{e9}n")]);
    }
}
