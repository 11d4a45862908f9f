//! The signed bytes of old windows: read to be archived, said in the log to be in a file, and then taken out of the rows. What is archived is what the log says, window by
//! window without a gap; no table repeats it.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context, ensure};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::schema::{entry, message, settlement_window as window, signed_batch};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::PartnerId;
use partner_sdk::jws::sha256_hex;
use serde::Deserialize;

use super::head::{give_way, lock};
use super::persist::MESSAGES;
use super::rows::read;

/// What `entry` says in the log's entries about windows that are archived.
pub const ENTRY: &str = "archived";
/// Messages that are read, or emptied, at once.
const CHUNK: i64 = 500;
/// Batches that are known to be in the file already; after more, one may be in it twice.
const KNOWN: usize = 10_000;

/// A window whose signed bytes are in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The window.
    pub window: Date,
    /// The file's SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
    /// How many messages partners had posted in the window.
    pub messages: u64,
    /// The number of the last of them; that of the window before where there are none.
    pub last: i64,
}

/// The same as it stands in an entry.
#[derive(Deserialize)]
struct Fields {
    window: String,
    sha256: String,
    size: String,
    messages: String,
    last: String,
}

impl Archived {
    /// What an entry says.
    pub fn read(body: &str) -> Result<Self, DbError> {
        let fields: Fields = serde_json::from_str(body).map_err(|error| DbError::Corrupt(format!("an entry about an archive: {error}")))?;
        Ok(Self {
            window: read(&fields.window, "an archive's window")?,
            sha256: fields.sha256,
            size: read(&fields.size, "an archive's size")?,
            messages: read(&fields.messages, "an archive's messages")?,
            last: read(&fields.last, "an archive's last number")?,
        })
    }
}

/// All windows that are archived, oldest first.
pub fn all(conn: &mut Conn) -> Result<Vec<Archived>, DbError> {
    let query = entry::table.filter(entry::kind.eq(ENTRY)).order(entry::seq).select(entry::body);
    let bodies = each_backend!(conn, |c| query.load::<String>(c))?;
    bodies.iter().map(|body| Archived::read(body)).collect()
}

/// The window after one, or the first, and whether it is advised.
pub fn next(conn: &mut Conn, after: Option<Date>) -> Result<Option<(Date, bool)>, DbError> {
    let after = after.map_or_else(String::new, |date| date.to_string());
    let query = window::table
        .filter(window::business_date.gt(after))
        .order(window::business_date)
        .select((window::business_date, window::advised_at.is_not_null()));
    let row: Option<(String, bool)> = each_backend!(conn, |c| query.first(c).optional())?;
    row.map(|(date, advised)| Ok((read(&date, "a window's business date")?, advised)))
        .transpose()
}

/// Says in the log that a window is archived: the next one, once it is advised.
pub fn enter(conn: &mut Conn, done: &Archived, at: Timestamp) -> anyhow::Result<()> {
    conn.transaction(|conn| {
        lock(conn)?;
        let before = all(conn)?.pop().map(|before| before.window);
        let date = done.window;
        ensure!(
            next(conn, before)? == Some((date, true)),
            "the window of {date} isn't the next to be archived: another `clearing archive` may have run"
        );
        let (date, size, messages, last) = (
            date.to_string(),
            done.size.to_string(),
            done.messages.to_string(),
            done.last.to_string(),
        );
        let fields = [
            ("window", &*date),
            ("sha256", &done.sha256),
            ("size", &size),
            ("messages", &messages),
            ("last", &last),
        ];
        Ok(settlement::append(conn, at, ENTRY, &date, &fields)?)
    })
}

/// Gives what partners signed in a window, each under the number of its first message, in their order; `after` is the last number of the windows before. A batch whose row is empty is in
/// the file of a window before. Returns how many messages there are, and the last one's number.
pub fn signed(
    conn: &mut Conn,
    date: Date,
    after: i64,
    line: &mut dyn FnMut(i64, &str) -> anyhow::Result<()>,
) -> anyhow::Result<(u64, i64)> {
    let (own, text) = (PartnerId::clearing(), date.to_string());
    let (mut count, mut last, mut known) = (0, after, HashSet::new());
    loop {
        let query = message::table
            .filter(message::seq.gt(last))
            .filter(message::sender.ne(own.as_str()))
            .order(message::seq)
            .limit(CHUNK)
            .select((
                message::seq,
                message::business_date,
                message::sha256,
                message::batch,
                message::bytes,
            ));
        type Row = (i64, String, String, Option<String>, String);
        let rows = each_backend!(conn, |c| query.load::<Row>(c)).map_err(DbError::from)?;
        let read = rows.len();
        let rows: Vec<Row> = rows.into_iter().take_while(|row| row.1 == text).collect();
        for (seq, _, sha256, batch, bytes) in &rows {
            whole(bytes, sha256).with_context(|| format!("message {seq}"))?;
            match batch {
                None => line(*seq, bytes)?,
                Some(hash) if known.contains(hash) => {}
                Some(hash) => {
                    let query = signed_batch::table.find(hash).select(signed_batch::bytes);
                    let bytes: String = each_backend!(conn, |c| query.first(c)).map_err(DbError::from)?;
                    if !bytes.is_empty() {
                        whole(&bytes, hash).with_context(|| format!("the signed batch of message {seq}"))?;
                        line(*seq, &bytes)?;
                    }
                    if known.len() == KNOWN {
                        known.clear();
                    }
                    known.insert(hash.clone());
                }
            }
            (count, last) = (count + 1, *seq);
        }
        if rows.len() < read || read == 0 {
            return Ok((count, last));
        }
    }
}

/// Only what is as its sender signed it is archived.
fn whole(bytes: &str, sha256: &str) -> anyhow::Result<()> {
    ensure!(
        sha256_hex(bytes.as_bytes()) == sha256,
        "its bytes aren't those that were signed: nothing of its window is archived. `clearing check` says more; put them back from a backup"
    );
    Ok(())
}

/// Whether bytes of messages after a number and up to another are left in their rows.
pub fn is_left(conn: &mut Conn, after: i64, last: i64) -> Result<bool, DbError> {
    let full = message::table
        .filter(message::seq.gt(after))
        .filter(message::seq.le(last))
        .filter(message::bytes.ne(""))
        .select(message::seq)
        .limit(1);
    Ok(!each_backend!(conn, |c| full.load::<i64>(c))?.is_empty())
}

/// Takes the bytes of all messages and batches after a number and up to another out of their rows, a few hundred a transaction. Started again after a kill, it goes on where it stopped.
/// `progress` is told up to which number it has come.
pub fn empty(conn: &mut Conn, after: i64, last: i64, progress: &mut dyn FnMut(i64)) -> Result<(), DbError> {
    let mut done = after;
    while done < last {
        let upto = (done + CHUNK).min(last);
        if is_left(conn, done, upto)? {
            let started = Instant::now();
            let range = format!("seq > {done} AND seq <= {upto}");
            conn.transaction(|conn| -> Result<(), DbError> {
                let batches = format!("sha256 IN (SELECT batch FROM message WHERE {range})");
                empty_rows(conn, "signed_batch", &["sha256", "sender", "bytes"], &batches)?;
                empty_rows(conn, "message", &MESSAGES.columns, &range)
            })?;
            give_way(started);
        }
        done = upto;
        progress(done);
    }
    Ok(())
}

/// Empties the rows `of` a table, whose first column is its primary key. On SQLite a row that shrinks where it is leaves its page as empty as it is, for good; rows that are written anew leave
/// whole pages free.
fn empty_rows(conn: &mut Conn, table: &str, columns: &[&str], of: &str) -> Result<(), DbError> {
    let key = columns.first().copied().unwrap_or_default();
    let emptied: Vec<&str> = columns
        .iter()
        .map(|name| if *name == "bytes" { "'' AS bytes" } else { *name })
        .collect();
    let (columns, emptied) = (columns.join(", "), emptied.join(", "));
    match conn {
        Conn::Sqlite(c) => c.batch_execute(&format!(
            "CREATE TEMP TABLE emptied AS SELECT {emptied} FROM {table} WHERE {of} AND {table}.bytes <> ''; \
             DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM emptied); \
             INSERT INTO {table} ({columns}) SELECT {columns} FROM emptied ORDER BY {key}; \
             DROP TABLE emptied"
        )),
        Conn::Postgres(c) => c.batch_execute(&format!("UPDATE {table} SET bytes = '' WHERE {of} AND bytes <> ''")),
    }?;
    Ok(())
}
