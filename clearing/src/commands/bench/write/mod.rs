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
use super::load::{Load, Request};
use super::{cpu, database, progress};
use crate::posting::verify;
use ledger::directory::Directory;
use ledger::network::Network;
use ledger::{Outcome, Verified, apply};
use rows::Rows;
use store::{Unready, admin};

/// Messages in one transaction, where they come in batches.
const GROUP: usize = 500;
/// Messages in one transaction, where they come one by one.
const GROUP_OF_SINGLES: usize = 32;

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

/// What the write of a message costs, in batches and one by one: `url` is a fresh database, `folder` a temporary one.
pub(super) fn measure(url: &str, folder: &Path, network: &Network, keys: &Directory, load: &Load) -> anyhow::Result<(Cost, Cost)> {
    let mut made = Conn::open(&Url::new(folder.join("made.db").to_string_lossy()))?;
    let mut floor = Conn::open(&Url::new(url)).context("the database for the floor")?;
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
    twins.write(&load.opening, GROUP)?;
    let batches = twins.write(&load.batches, GROUP)?;
    let singles = twins.write(&load.singles, GROUP_OF_SINGLES)?;
    twins.compare()?;
    Ok((batches, singles))
}

impl Twins<'_> {
    fn write(&mut self, requests: &[Request], size: usize) -> anyhow::Result<Cost> {
        let texts: Vec<&String> = requests.iter().flat_map(|request| &request.messages).collect();
        let bar = progress("floor: write", texts.len());
        let mut total = Cost::default();
        for group in texts.chunks(size) {
            let read = |text: &&String| read(text, self.keys).map(Arc::new);
            let messages = group.par_iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
            let rows = self.make(&messages)?;
            let cost = self.put(&rows)?;
            total.thread += cost.thread;
            total.database += cost.database;
            total.wall += cost.wall;
            bar.inc(u64::try_from(group.len())?);
        }
        bar.finish_and_clear();
        total.per(texts.len())
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
        let findings = store::compare::compare(&mut self.floor, &mut self.made, false)?;
        ensure!(findings.is_empty(), "the floor writes other rows: {findings:?}");
        let size = u64::try_from(store::next_seq(&mut self.made)?)?.saturating_sub(1);
        let root = |conn: &mut Conn| store::root_at(conn, size)?.context("a tree that isn't as large as the log");
        let [made, floor] = [&mut self.made, &mut self.floor].map(root);
        ensure!(made? == floor?, "the floor writes another tree");
        Ok(())
    }
}

fn read(text: &str, keys: &Directory) -> anyhow::Result<Verified> {
    let jws = Compact::parse(text)?;
    let registered = keys.keys.signing(&jws.kid).context("an unknown key")?;
    verify::message(text, &registered.partner, keys).map_err(|refused| anyhow::anyhow!("refused: {}", refused.problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::commands::bench::{Options, load};
    use crate::commands::demo::sandbox::{Party, Sandbox};

    #[test]
    fn the_floor_writes_what_the_store_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let options = Options {
            database: "sqlite".into(),
            messages: 1_000,
            members: 60,
            partners: 2,
            night: None,
            kinds: false,
            check: None,
            json: false,
            svg: None,
        };
        let network = load::network(options.partners).expect("a network");
        let sandbox = Sandbox::open(
            &folder.path().join("clearinghouse"),
            &database("service.db"),
            &network,
            Clock::System,
        )
        .expect("a sandbox");
        let parties: Vec<&Party> = sandbox.parties.values().filter(|party| party.id.as_str() != load::ISSUER).collect();
        let load = Load::sign(&options, &parties).expect("signs");
        let keys = store::load_directory(&mut sandbox.database().expect("opens")).expect("loads");
        // It holds every row to the store's.
        let (batches, singles) = measure(&database("floor.db"), folder.path(), &network, &keys, &load).expect("the same rows");
        assert!(
            [batches, singles]
                .iter()
                .all(|cost| cost.cpu() > 0 && cost.database == 0 && cost.wall > 0)
        );
    }
}
