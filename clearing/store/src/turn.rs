//! Whose turn it is to do the night. A lock of the database that ends with its holder's connection, so that whoever is killed holds up nobody.

use std::fs::{File, TryLockError};

use anyhow::Context;
use diesel::prelude::*;
use diesel::sql_types::Text;
use migrations::{Conn, DbError};

/// PostgreSQL's lock of whoever does the night; with the schema, so that several clearinghouses of one database don't wait for each other.
const NIGHT: &str = "1852401256, hashtext(current_schema())";

/// What SQLite's files of the lock are called after the database.
const BESIDE: &str = "-night";

#[derive(QueryableByName)]
struct Attached {
    #[diesel(sql_type = Text)]
    file: String,
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    taken: bool,
}

/// Runs `body` if nobody else on this database is at the night; nothing where somebody is.
pub fn if_free<T>(conn: &mut Conn, body: impl FnOnce(&mut Conn) -> anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    let _file = match conn {
        Conn::Sqlite(_) => match lock_file(conn)?.map(|file| file.try_lock().map(|()| file)) {
            Some(Err(TryLockError::WouldBlock)) => return Ok(None),
            file => file.transpose().context("cannot lock the file beside the database")?,
        },
        Conn::Postgres(c) => {
            let query = diesel::sql_query(format!("SELECT pg_try_advisory_lock({NIGHT}) AS taken"));
            if !query.get_result::<Taken>(c).map_err(DbError::from)?.taken {
                return Ok(None);
            }
            None
        }
    };
    Ok(Some(freed(conn, body)?))
}

/// Runs `body` once nobody else is at the night.
pub fn once_free<T>(conn: &mut Conn, body: impl FnOnce(&mut Conn) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let file = lock_file(conn)?;
    match conn {
        Conn::Sqlite(_) => file
            .as_ref()
            .map_or(Ok(()), File::lock)
            .context("cannot lock the file beside the database")?,
        Conn::Postgres(c) => drop(
            diesel::sql_query(format!("SELECT pg_advisory_lock({NIGHT})"))
                .execute(c)
                .map_err(DbError::from)?,
        ),
    }
    freed(conn, body)
}

/// SQLite's: a file beside the database, which the system unlocks with the last process that has it open.
fn lock_file(conn: &mut Conn) -> anyhow::Result<Option<File>> {
    let Conn::Sqlite(c) = conn else { return Ok(None) };
    let attached: Vec<Attached> = diesel::sql_query("PRAGMA database_list").load(c).map_err(DbError::from)?;
    let Some(path) = attached
        .first()
        .map(|one| format!("{}{BESIDE}", one.file))
        .filter(|path| path != BESIDE)
    else {
        return Ok(None);
    };
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    Ok(Some(file.with_context(|| format!("cannot open {path}"))?))
}

/// Does it, and gives PostgreSQL's lock back; where that fails, the connection is broken and has given it back.
fn freed<T>(conn: &mut Conn, body: impl FnOnce(&mut Conn) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let done = body(conn);
    if let Conn::Postgres(c) = conn {
        let _ = diesel::sql_query(format!("SELECT pg_advisory_unlock({NIGHT})")).execute(c);
    }
    done
}
