//! How fast the service is, as a share of what the machine at hand allows.
//!
//! | measured | what | where |
//! |---|---|---|
//! | speed | batches and singles, each beside what it costs at least | `speed` |
//! | growth | how rate, memory and disk fare as the ledger grows | `growth` |
//! | skew | most of the load on one partner, beside the even one | `skew` |
//! | signed | signed batches, beside the durable write alone | `signed` |
//! | close | answer times while a window closes and is netted, and while it is read | `close` |
//! | night | what those who post feel of very many lots that expire | `night` |
//! | settle | how long very many postings take from the close to the statements | `settle` |
//! | kinds | what a message of each kind costs | `kinds` |
//! | check | how fast the check does again what was posted | `again` |
//!
//! | part | what | where |
//! |---|---|---|
//! | service | the clearinghouse, its server, the partners' connections, the ways of sending | `stand`, `server`, `wire`, `way`, `service` |
//! | load | a network, signed messages; messages without a wire | `network`, `load`, `fill` |
//! | drive | over mutual TLS: as fast as it goes, and at a rate | `drive` |
//! | processors | what threads and processes use, the database's too | `cpu`, `database` |
//! | floors | what verification and a request cost by themselves | `floors` |
//! | write | what the durable write of the same rows costs, coded apart from the store | `write` |
//! | phases | where a message spends its time | `phases` |
//! | report | each figure beside its floor, as text, JSON and a picture | `report`, `times`, `svg` |
//! | with how much | what a command line says, and how a result is printed | `args`, `show` |
//!
//! The driver shares the processors with the server, so it does little: one thread, bodies made beforehand, answers kept as text. Every
//! answer is checked all the same, signature included, once the clock has stopped.

mod again;
mod args;
mod close;
mod cpu;
mod database;
mod drive;
mod fill;
mod floors;
mod growth;
mod kinds;
mod load;
mod network;
mod night;
mod phases;
mod report;
mod server;
mod service;
mod settle;
mod show;
mod signed;
mod skew;
mod speed;
mod stand;
mod svg;
mod times;
mod way;
mod wire;
mod write;

use args::{Check, Night, Settle, Size, Speed};

/// What is measured, and with how much.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    speed: Speed,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// How it fares as the ledger grows: rate, processors, memory and disk for each tenth of the messages, the last beside the first; then a new start-up.
    Growth(Size),
    /// 70% of the load on one partner, beside the same load on all alike: in turn, twice.
    Skew(Size),
    /// Signed batches of 1,000 messages, beside the durable write alone.
    Signed(Size),
    /// Answer times at 70% of the rate while a window closes and is netted, and while its messages are read, beside those before.
    Close(Size),
    /// Answer times in a night in which very many lots expire, and of a member with very many lots.
    Night(Night),
    /// How long a window with very many postings takes from its close to its statements, and with how much memory.
    Settle(Settle),
    /// What a message of each kind costs the service, in batches: so many messages of each.
    Kinds(Size),
    /// How fast `clearing check` does again what was posted.
    Check(Check),
}

impl Options {
    /// The database that it is measured on.
    pub fn database(&self) -> &str {
        let at = match &self.what {
            None => &self.speed.size.at,
            Some(What::Growth(size) | What::Skew(size) | What::Signed(size) | What::Close(size) | What::Kinds(size)) => &size.at,
            Some(What::Night(night)) => &night.at,
            Some(What::Settle(settle)) => &settle.at,
            Some(What::Check(check)) => &check.size.at,
        };
        &at.database
    }
}

/// Measures and prints. An error says that the measurement itself failed; a figure below its mark is no error.
pub fn run(options: &Options) -> anyhow::Result<()> {
    match &options.what {
        None => speed::run(&options.speed),
        Some(What::Growth(size)) => growth::run(size),
        Some(What::Skew(size)) => skew::run(size),
        Some(What::Signed(size)) => signed::run(size),
        Some(What::Close(size)) => close::run(size),
        Some(What::Night(night)) => night::run(night),
        Some(What::Settle(settle)) => settle::run(settle),
        Some(What::Kinds(size)) => kinds::run(size),
        Some(What::Check(check)) => again::run(check),
    }
}
