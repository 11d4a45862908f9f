//! What database it is, and the disk that it takes; and what its own processes use, where PostgreSQL runs on this machine. SQLite has none: it works in the service's.

use std::collections::BTreeMap;

use anyhow::Context;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use migrations::{Conn, Url};

use super::cpu;

#[derive(QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

#[derive(QueryableByName)]
struct Here {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Bool)]
    is_near: bool,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Bytes {
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// The database's name and version.
pub(super) fn version(conn: &mut Conn) -> anyhow::Result<String> {
    let query = match conn {
        Conn::Sqlite(_) => "SELECT 'SQLite ' || sqlite_version() AS name",
        Conn::Postgres(_) => "SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1) AS name",
    };
    let named: Named = migrations::each_backend!(conn, |c| diesel::sql_query(query).get_result(c))?;
    Ok(named.name)
}

/// Whether the database's processor time can be told: it has no processes, or they are on this machine.
pub(super) fn is_counted(conn: &mut Conn) -> anyhow::Result<bool> {
    Ok(matches!(conn, Conn::Sqlite(_)) || process_of(conn)?.is_some())
}

/// What the service's tables take on the disk, in bytes: the file with what is still in its log, or on PostgreSQL the schema's tables with their indexes.
pub(super) fn disk(url: &str) -> anyhow::Result<u64> {
    let url = Url::new(url);
    if let Some(path) = url.sqlite_path() {
        let log = path.with_extension("db-wal");
        let bytes = std::fs::metadata(path).context("the database's file")?.len();
        return Ok(bytes + std::fs::metadata(log).map_or(0, |log| log.len()));
    }
    let query = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint AS bytes FROM pg_class \
                 WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";
    let mut conn = Conn::open(&url)?;
    let all: Bytes = migrations::each_backend!(&mut conn, |c| diesel::sql_query(query).get_result(c))?;
    Ok(all.bytes.unsigned_abs())
}

/// The processor time of processes, by their ids, in nanoseconds.
pub(super) type Times = BTreeMap<i32, u64>;

/// What processes used between two looks; one that is new has used all it has by now.
pub(super) fn between(before: &Times, after: &Times) -> u64 {
    let one = |(pid, time): (&i32, &u64)| time.saturating_sub(before.get(pid).copied().unwrap_or(0));
    after.iter().map(one).sum()
}

/// The id of the process that serves a connection, where that runs on this machine.
pub(super) fn process_of(conn: &mut Conn) -> anyhow::Result<Option<i32>> {
    let Conn::Postgres(conn) = conn else {
        return Ok(None);
    };
    let query = "SELECT pg_backend_pid() AS pid, inet_server_addr() IS NOT DISTINCT FROM inet_client_addr() AS is_near";
    let Here { pid, is_near } = diesel::sql_query(query).get_result(conn)?;
    // The number may be one of another machine's, and mean something else here.
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Ok((is_near && name.trim() == "postgres").then_some(pid))
}

/// Those of PostgreSQL's processes that serve connections which give one name.
pub(super) struct Watch {
    conn: PgConnection,
    name: String,
}

impl Watch {
    /// `None` where the database has no processes of its own, or not on this machine.
    pub fn open(url: &str, name: String) -> anyhow::Result<Option<Self>> {
        let url = Url::new(url);
        if !url.is_postgres() {
            return Ok(None);
        }
        let mut conn = Conn::open(&url)?;
        let is_here = process_of(&mut conn)?.is_some();
        Ok(match conn {
            Conn::Postgres(conn) if is_here => Some(Self { conn, name }),
            _ => None,
        })
    }

    /// What each of them has used so far.
    pub fn look(&mut self) -> anyhow::Result<Times> {
        let query = diesel::sql_query("SELECT pid FROM pg_stat_activity WHERE application_name = $1");
        let all: Vec<Backend> = query.bind::<Text, _>(&self.name).load(&mut self.conn)?;
        all.iter().map(|one| Ok((one.pid, cpu::single(one.pid)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_before_does_not_count() {
        let (before, after) = (Times::from([(1, 10), (2, 5)]), Times::from([(1, 14), (3, 7)]));
        assert_eq!(between(&before, &after), 11);
    }
}
