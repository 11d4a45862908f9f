//! SQLite's write-ahead log is brought into the database's file beside posting, which would stop for it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Integer;
use migrations::{Conn, DbError, Url};

/// Pages that wait in the log before they are brought over. Whoever posts does what is left of it once the log has [`Conn::LOG_PAGES`], so that it begins again at its start.
const WAITING: i32 = 8192;
/// Messages after which it is looked again how many wait: each changes some two pages.
const LOOK_AFTER: usize = 1000;

/// What the log has, and what of it is in the file.
#[derive(QueryableByName)]
struct Pages {
    #[diesel(sql_type = Integer)]
    log: i32,
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

/// The thread that does it; it ends when this is dropped.
pub struct Checkpoints {
    wake: Option<SyncSender<()>>,
    /// Messages since the last look.
    posted: usize,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts it; `None` on PostgreSQL, which has its own.
    pub fn start(url: &Url) -> Result<Option<Self>, DbError> {
        if url.is_postgres() {
            return Ok(None);
        }
        let conn = Conn::open(url)?;
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || run(conn, &woken));
        let thread = thread.map_err(|error| DbError::Corrupt(format!("cannot start a thread: {error}")))?;
        Ok(Some(Self {
            wake: Some(wake),
            posted: 0,
            thread: Some(thread),
        }))
    }

    /// Says how many messages were committed.
    pub fn posted(&mut self, messages: usize) {
        self.posted += messages;
        if self.posted < LOOK_AFTER {
            return;
        }
        self.posted = 0;
        // One that is to look already needs no second word.
        let _ = self.wake.as_ref().map(|wake| wake.try_send(()));
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wake = None;
        // It has nothing that could be lost.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run(mut conn: Conn, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        if let Err(error) = look(&mut conn) {
            // Whoever posts does it itself then, when the log is long enough.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the write-ahead log can't be brought into the database's file"
            );
        }
    }
}

fn look(conn: &mut Conn) -> Result<(), DbError> {
    let Conn::Sqlite(conn) = conn else { return Ok(()) };
    let Pages { log, checkpointed } = sql_query("PRAGMA wal_checkpoint(NOOP)").get_result(conn)?;
    if log - checkpointed >= WAITING {
        sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result::<Pages>(conn)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(conn: &mut Conn) -> Pages {
        let Conn::Sqlite(conn) = conn else { panic!("it is on SQLite") };
        sql_query("PRAGMA wal_checkpoint(NOOP)")
            .get_result(conn)
            .expect("how many there are")
    }

    #[test]
    fn what_waits_is_brought_over_and_whoever_posts_does_not_do_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = Url::new(folder.path().join("clearing.db").to_string_lossy());
        let mut conn = Conn::open(&url).and_then(Conn::for_posting).expect("a connection");
        let mut checkpoints = Checkpoints::start(&url).expect("started").expect("it is on SQLite");
        let Conn::Sqlite(c) = &mut conn else { panic!("it is on SQLite") };
        for sql in [
            "CREATE TABLE filling (bytes BLOB)",
            "INSERT INTO filling VALUES (zeroblob(40000000))",
        ] {
            sql_query(sql).execute(c).expect("written");
        }
        let Pages { log, checkpointed } = pages(&mut conn);
        assert!(log > WAITING && checkpointed == 0, "{checkpointed} of {log}");
        checkpoints.posted(LOOK_AFTER - 1);
        checkpoints.posted(1);
        // It ends when it has done what it was told.
        drop(checkpoints);
        let Pages { log, checkpointed } = pages(&mut conn);
        assert_eq!(checkpointed, log);
    }
}
