//! Which clearinghouse a command is about, its database, and what time it is there.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use migrations::Conn;

use crate::clock::Clock;
use crate::office::config::Config;

/// Which clearinghouse.
#[derive(Args)]
pub(super) struct At {
    /// The configuration.
    #[arg(long, default_value = "clearing.toml", env = "CLEARING_CONFIG")]
    pub(super) config: PathBuf,
}

/// Reads the configuration, and opens the database.
pub(super) fn open(config: &Path) -> anyhow::Result<(Config, Conn)> {
    let config = Config::load(config)?;
    let conn = config.open_database()?;
    Ok((config, conn))
}

/// The clock of a database: one that can be set is a sandbox's alone.
pub(super) fn clock(conn: &mut Conn, at: Option<Timestamp>) -> anyhow::Result<Clock> {
    match (store::is_sandbox(conn)?, at) {
        (true, Some(at)) => Ok(Clock::sandbox(at)),
        (false, None) => Ok(Clock::System),
        (true, None) => bail!("this database is a sandbox: say where its clock stands, with --sandbox-clock"),
        (false, Some(_)) => bail!("--sandbox-clock works only on a database made with `clearing init --sandbox`"),
    }
}
