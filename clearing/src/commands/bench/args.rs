//! With how much it is measured, and on which database.

use std::path::PathBuf;

use clap::value_parser;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Speed {
    #[command(flatten)]
    pub size: Size,
    /// Draw the result too, into a file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Size {
    #[command(flatten)]
    pub at: At,
    /// Messages that are sent as fast as it goes; where answer times are measured, as many again at a rate.
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u32).range(1_000..=100_000_000))]
    pub messages: u32,
    /// Members whose accounts they touch.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub members: u32,
    /// Partners that send them, each on connections of its own.
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u32).range(2..=64))]
    pub partners: u32,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct At {
    /// `sqlite`: a file in a temporary folder. Or a PostgreSQL URL: scratch schemas are made in its database, and dropped at the end.
    #[arg(long, default_value = "sqlite")]
    pub database: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Night {
    #[command(flatten)]
    pub at: At,
    /// How many lots expire at one cut-off.
    #[arg(long, default_value_t = 100_000)]
    pub lots: u32,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Settle {
    #[command(flatten)]
    pub at: At,
    /// Messages in the window: each puts one line on a statement.
    #[arg(long, default_value_t = 5_000_000, value_parser = value_parser!(u32).range(1_000..=100_000_000))]
    pub messages: u32,
    /// Members whose accounts they touch.
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub members: u32,
    /// Partners that send them.
    #[arg(long, default_value_t = 300, value_parser = value_parser!(u32).range(2..=1_000))]
    pub partners: u32,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    pub size: Size,
    /// The clearinghouse is made in this new folder, and left there where it is on SQLite.
    pub folder: PathBuf,
}
