//! `clearing export`: a partner's statements in a form that people and finance programs read.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use partner_sdk::PartnerId;
use settlement::Period;
use settlement::export::{Form, Statements};

use super::at::{At, open};
use crate::commands::out;

/// Print a partner's statements of a day, a month or a range of dates in another form: as a workbook (xlsx), for reading and printing (pdf, pdf-zh), as its account with the clearinghouse (camt053, ISO 20022), as a journal for hledger or beancount, what it pays by the
/// statement of a day as a payment file for its bank (pain001, ISO 20022), or the checksums of all of these (sha256). They are made of the statements that were advised.
///
/// The same statements make the same bytes. Checksums are read by `sha256sum --check`, where files have the names that partners get them by.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    at: At,
    /// A business date (2026-11-21), a month (2026-11), or a range of dates (2026-11-01..2026-11-21).
    period: Period,
    /// Whose statements.
    partner: PartnerId,
    /// json, csv, xlsx, pdf, pdf-zh (in Traditional Chinese), camt053, hledger, beancount, pain001 or sha256.
    #[arg(long = "as")]
    form: Form,
    /// Write it to this file.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Export {
    pub fn run(self) -> anyhow::Result<()> {
        let (_, mut conn) = open(&self.at.config)?;
        let (period, partner) = (self.period, self.partner);
        let revised = settlement::revisions_in(&mut conn, period, &partner)?;
        let files = settlement::statements(&mut conn, &partner, period)?;
        let none = || format!("cannot make {} of {partner} for {period}", self.form.as_str());
        let bytes = Statements::new(partner.clone(), period, &files)
            .and_then(|statements| statements.revised(&revised))
            .and_then(|statements| statements.export(self.form))
            .with_context(none)?;
        out::file(&bytes, self.out.as_deref())
    }
}
