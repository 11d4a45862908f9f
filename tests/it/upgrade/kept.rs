//! All rows of a database as text that goes into either database: a line of JSON for each table with the names of its columns, then one for each row. What is
//! no number, text, truth or nothing is bytes: `{"hex":"..."}`.

use std::fmt::Write;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel::{SqliteConnection, sql_query};
use migrations::{Conn, each_backend};
use serde_json::{Value, json};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
}

#[derive(QueryableByName)]
struct Filled {
    #[diesel(sql_type = Bool)]
    filled: bool,
}

/// Every table but that of the migrations, in the order in which they were made: what a row refers to comes before it.
const TABLES: &str = "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY rowid";

/// The rows of a database on SQLite.
pub fn write(conn: &mut SqliteConnection) -> String {
    let mut text = String::new();
    for Line { line: table } in sql_query(TABLES).load::<Line>(conn).expect("tables") {
        let columns = sql_query(format!("SELECT name, type AS kind FROM pragma_table_info('{table}') ORDER BY cid"));
        let columns = columns.load::<Column>(conn).expect("columns");
        let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
        writeln!(text, "{}", json!({ "table": table, "columns": names })).expect("a String takes it");
        let value = |Column { name, kind }: &Column| match kind.as_str() {
            "BOOLEAN" => format!("json(iif({name}, 'true', 'false'))"),
            "BLOB" => format!("json_object('hex', hex({name}))"),
            _ => name.clone(),
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        let rows = sql_query(format!("SELECT json_array({}) AS line FROM {table}", values.join(", ")));
        for Line { line } in rows.load::<Line>(conn).expect("rows") {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// The names of all tables of a text.
pub fn tables(text: &str) -> Vec<String> {
    let headers = text.lines().filter(|line| line.starts_with('{'));
    let name = |line| {
        serde_json::from_str::<Value>(line).expect("a table")["table"]
            .as_str()
            .expect("a name")
            .to_owned()
    };
    headers.map(name).collect()
}

/// Puts the rows into empty tables.
pub fn load(conn: &mut Conn, text: &str) {
    let postgres = matches!(conn, Conn::Postgres(_));
    let mut into = String::new();
    let mut statements = String::from("BEGIN;");
    for line in text.lines() {
        match serde_json::from_str(line).expect("JSON") {
            Value::Array(row) => {
                let values: Vec<String> = row.iter().map(|value| literal(value, postgres)).collect();
                write!(statements, "INSERT INTO {into} VALUES ({});", values.join(", ")).expect("a String takes it");
            }
            header => {
                let columns = header["columns"].as_array().expect("columns").iter();
                let columns: Vec<&str> = columns.map(|name| name.as_str().expect("a name")).collect();
                into = format!("{} ({})", header["table"].as_str().expect("a table"), columns.join(", "));
            }
        }
    }
    statements.push_str("COMMIT");
    each_backend!(conn, |c| c.batch_execute(&statements)).expect("the rows go in");
}

fn literal(value: &Value, postgres: bool) -> String {
    match (value, value["hex"].as_str()) {
        (Value::String(text), _) => format!("'{}'", text.replace('\'', "''")),
        (_, Some(hex)) if postgres => format!("'\\x{hex}'"),
        (_, Some(hex)) => format!("X'{hex}'"),
        // Numbers, truths and nothing are SQL as they stand.
        (other, None) => other.to_string(),
    }
}

/// Whether a table has any row.
pub fn has_rows(conn: &mut Conn, table: &str) -> bool {
    let query = sql_query(format!("SELECT EXISTS (SELECT 1 FROM {table}) AS filled"));
    each_backend!(conn, |c| query.get_result::<Filled>(c)).expect("an answer").filled
}

/// The values of a column, each once, in order.
pub fn values(conn: &mut Conn, table: &str, column: &str) -> Vec<String> {
    let query = sql_query(format!("SELECT DISTINCT {column} AS line FROM {table} ORDER BY {column}"));
    let lines = each_backend!(conn, |c| query.load::<Line>(c)).expect("values");
    lines.into_iter().map(|line| line.line).collect()
}
