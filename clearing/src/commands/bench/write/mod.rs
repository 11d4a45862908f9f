//! What the durable write of a message's rows costs at least: the rows that the real rules make, written by code of its own (`sqlite`, `postgres`), which shares
//! nothing with the store but the settings of the connection. However slow the store is, this floor doesn't rise with it.
//!
//! The store makes each group's rows in a ledger of its own beside; only the writing into the other ledger is measured. At the end both have to be the same.

mod postgres;
mod rows;
mod sqlite;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use migrations::{Conn, DbError, Url};
use partner_sdk::jws::Compact;
use rayon::prelude::*;
use serde::Serialize;

use super::drive::nanos_since;
use super::load::{Request, Sent};
use super::way::{BATCHES, Form};
use super::{cpu, database};
use crate::commands::progress::bar;
use crate::posting::verify;
use ledger::directory::Directory;
use ledger::network::Network;
use ledger::{Outcome, Verified, apply};
use rows::Rows;
use store::{Unready, admin};

/// What writing took, in nanoseconds; of one message, once it is divided.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Cost {
    /// Processor time of the writing thread.
    pub thread: u64,
    /// Processor time of PostgreSQL's process for it, where that runs on this machine.
    pub database: u64,
    /// From the first row to the end of the commit, with the wait for the disk.
    pub wall: u64,
}

impl Cost {
    /// All processor time.
    pub fn cpu(&self) -> u64 {
        self.thread + self.database
    }

    fn per(self, count: usize) -> anyhow::Result<Self> {
        let count = u64::try_from(count)?;
        let per = |nanos: u64| nanos.checked_div(count).context("nothing was measured");
        Ok(Self {
            thread: per(self.thread)?,
            database: per(self.database)?,
            wall: per(self.wall)?,
        })
    }
}

/// Two ledgers of the same messages: the store's, and the one under measurement.
struct Twins<'a> {
    made: Conn,
    directory: Arc<Directory>,
    floor: Conn,
    /// PostgreSQL's process for it.
    process: Option<i32>,
    keys: &'a Directory,
}

/// What the write of a message costs, for each way in which messages come, in transactions of so many: `url` is a fresh database, `folder` a temporary one.
pub(super) fn measure<const N: usize>(
    url: &str,
    folder: &Path,
    network: &Network,
    keys: &Directory,
    opening: &[Request],
    sent: [(Sent, usize); N],
) -> anyhow::Result<[Cost; N]> {
    let mut made = Conn::open(&Url::new(folder.join("made.db").to_string_lossy()))?;
    let mut floor = Conn::open(&Url::new(url))
        .and_then(Conn::for_posting)
        .context("the database for the floor")?;
    let now = Timestamp::now();
    for conn in [&mut made, &mut floor] {
        admin::init(conn, false, now)?;
        admin::apply_network(conn, network, now)?;
        settlement::open_first(conn, now)?;
        store::grow(conn)?;
    }
    match &mut floor {
        Conn::Sqlite(conn) => sqlite::prepare(conn)?,
        Conn::Postgres(conn) => postgres::prepare(conn)?,
    }
    // The fresh ledger has no keys; the rules look at them again.
    let mut directory = store::load_directory(&mut made)?;
    directory.keys = keys.keys.clone();
    let mut twins = Twins {
        process: database::process_of(&mut floor)?,
        directory: Arc::new(directory),
        made,
        floor,
        keys,
    };
    twins.write((opening, &BATCHES), 500)?;
    let mut costs = [Cost::default(); N];
    for ((sent, size), cost) in sent.into_iter().zip(&mut costs) {
        *cost = twins.write(sent, size)?;
    }
    twins.compare()?;
    Ok(costs)
}

impl Twins<'_> {
    fn write(&mut self, (requests, way): Sent, size: usize) -> anyhow::Result<Cost> {
        let bar = bar("floor: write", requests.len());
        let (mut total, mut count) = (Cost::default(), 0);
        for group in requests.chunks(size.div_ceil(way.size)) {
            let read = |request: &Request| read(request, way.form, self.keys);
            let messages = group.par_iter().map(read).collect::<anyhow::Result<Vec<_>>>()?.concat();
            let rows = self.make(&messages)?;
            let cost = self.put(&rows)?;
            total.thread += cost.thread;
            total.database += cost.database;
            total.wall += cost.wall;
            count += messages.len();
            bar.inc(u64::try_from(group.len())?);
        }
        bar.finish_and_clear();
        total.per(count)
    }

    /// Posts messages in the store's ledger; the rows that changed.
    fn make(&mut self, messages: &[Arc<Verified>]) -> anyhow::Result<Rows> {
        let directory = &self.directory;
        let rows = self.made.transaction(|conn| -> Result<_, Unready> {
            let mut set = store::load(conn, directory, messages, || Timestamp::now().as_microsecond())?;
            let accepted = |outcome| matches!(outcome, Outcome::Kept(posted) if posted.code.is_none());
            let all = messages.iter().all(|message| accepted(apply(&mut set, message)));
            store::persist(conn, &set)?;
            let grown = store::add_messages(conn, &set, None)?;
            Ok(grown.filter(|_| all).and_then(|grown| Rows::of(&set, &grown)))
        })?;
        rows.context("a message of the bench's own was refused, or has rows that the floor doesn't write")
    }

    fn put(&mut self, rows: &Rows) -> anyhow::Result<Cost> {
        let used = |process: Option<i32>| process.map_or(Ok(0), cpu::single);
        let (database, thread, start) = (used(self.process)?, cpu::thread()?, Instant::now());
        self.floor.transaction(|conn| -> Result<(), DbError> {
            match conn {
                Conn::Sqlite(conn) => sqlite::write(conn, rows)?,
                Conn::Postgres(conn) => postgres::write(conn, rows)?,
            }
            Ok(())
        })?;
        let wall = nanos_since(start);
        Ok(Cost {
            thread: cpu::thread()?.saturating_sub(thread),
            database: used(self.process)?.saturating_sub(database),
            wall,
        })
    }

    /// Both ledgers hold the same: each row of each table, and the log's tree.
    fn compare(&mut self) -> anyhow::Result<()> {
        let findings = store::compare::compare(&mut self.floor, &mut self.made, None)?;
        ensure!(findings.is_empty(), "the floor writes other rows: {findings:?}");
        let size = u64::try_from(store::next_seq(&mut self.made)?)?.saturating_sub(1);
        let root = |conn: &mut Conn| store::root_at(conn, size)?.context("a tree that isn't as large as the log");
        let [made, floor] = [&mut self.made, &mut self.floor].map(root);
        ensure!(made? == floor?, "the floor writes another tree");
        Ok(())
    }
}

/// What the edge would make of a request.
fn read(request: &Request, form: Form, keys: &Directory) -> anyhow::Result<Vec<Arc<Verified>>> {
    let first = request.body.lines().next().context("an empty request")?;
    let sender = &keys.keys.signing(&Compact::parse(first)?.kid).context("an unknown key")?.partner;
    let read = match form {
        Form::Lines => request.messages.iter().map(|text| verify::message(text, sender, keys)).collect(),
        Form::Signed => verify::batch(&request.body, sender, keys).unwrap_or_else(|refused| vec![Err(refused)]),
    };
    let verified = read.into_iter().map(|one| one.map(Arc::new));
    verified
        .map(|one| one.map_err(|refused| anyhow::anyhow!("refused: {}", refused.problem)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::load::Load;
    use crate::commands::bench::network;
    use crate::commands::bench::stand::Stand;
    use crate::commands::bench::way::{SIGNED, SINGLES};

    #[test]
    fn the_floor_writes_what_the_store_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        let stand = Stand::open(&folder.path().join("clearinghouse"), "sqlite", 2).expect("a clearinghouse");
        let mut load = Load::new(&stand, 60);
        let opening = load.opening().expect("signs");
        let sent = [(&BATCHES, 500), (&SINGLES, 32), (&SIGNED, 1_000)];
        let sent = sent.map(|(way, size)| (load.more(2_000, way).expect("signs"), way, size));
        let sent = [0, 1, 2].map(|no| ((&sent[no].0[..], sent[no].1), sent[no].2));
        let keys = store::load_directory(&mut stand.sandbox.database().expect("opens")).expect("loads");
        let (network, floor) = (network::of(2).expect("a network"), folder.path().join("floor.db"));
        // It holds every row to the store's.
        let costs = measure(&floor.to_string_lossy(), folder.path(), &network, &keys, &opening, sent).expect("the same rows");
        assert!(costs.iter().all(|cost| cost.cpu() > 0 && cost.database == 0 && cost.wall > 0));
    }
}
