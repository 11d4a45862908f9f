//! `clearing export`: a partner's statement in a form that finance programs read.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use jiff::civil::Date;
use partner_sdk::PartnerId;
use settlement::export::{self, Form};
use settlement::{Advised, Format, Statement};

use super::at::{At, open};
use crate::commands::out;
use crate::say;

/// Print a partner's statement as a journal for hledger or beancount, or what it pays as a payment file for its bank (pain001, ISO 20022). Made of the statement that was advised.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    at: At,
    /// The window's business date, e.g. 2026-11-21.
    date: Date,
    /// Whose statement.
    partner: PartnerId,
    /// hledger, beancount or pain001.
    #[arg(long = "as")]
    form: Form,
    /// Write it to this file.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Export {
    pub fn run(self) -> anyhow::Result<()> {
        let (_, mut conn) = open(&self.at.config)?;
        let (date, partner) = (self.date, &self.partner);
        let advised = settlement::advised(&mut conn, date, partner, Format::Json)?;
        let none = || format!("there is no statement of {date} for {partner}: its window isn't advised, or it was no partner then");
        let Advised { text, .. } = advised.with_context(none)?;
        let statement: Statement = serde_json::from_str(&text).context("the statement that is kept")?;
        let text = export::export(&statement, self.form)?;
        match self.out {
            None => Ok(out::lines(text.trim_end())?),
            Some(file) => {
                std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
                Ok(say!("{} is written", file.display())?)
            }
        }
    }
}
