//! `clearing accounting`: what a programme's issuer books for points that are outstanding.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use partner_sdk::ProgrammeCode;
use settlement::accounting::{AccountingForm, Estimate, Estimates};
use settlement::{AccountingRequest, Pace, Period};

use super::at::{At, open};
use crate::commands::out;

/// Print a programme's accounting data of a day, a month or a range of dates: points outstanding by funder and age, their price deferred at an expected rate of redemption, breakage, and what is to expire when.
///
/// It is data for the accountant, and no ruling. All windows by the end of the period have to be netted; what is posted later makes no difference to it.
#[derive(Args)]
pub struct Accounting {
    #[command(flatten)]
    at: At,
    /// Whose points, e.g. YUU.
    programme: ProgrammeCode,
    /// A business date (2026-11-21), a month (2026-11), or a range of dates (2026-11-01..2026-11-21).
    period: Period,
    /// Of all points issued, how many percent are expected to be redeemed, and from which date on: 2026-01-01=85. Once for each change.
    #[arg(long = "estimate", required = true, value_name = "DATE=PERCENT")]
    estimates: Vec<Estimate>,
    /// json, csv, xlsx or hledger (the roll-forward as a journal).
    #[arg(long = "as")]
    form: AccountingForm,
    /// Write it to this file.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Accounting {
    pub fn run(self) -> anyhow::Result<()> {
        let (_, mut conn) = open(&self.at.config)?;
        let asked = AccountingRequest {
            programme: self.programme,
            period: self.period,
            estimates: Estimates::new(self.estimates)?,
            pace: Pace::Gentle,
            within: None,
            back: None,
        };
        let none = || format!("no accounting data of {} for {}", asked.programme, asked.period);
        let data = settlement::accounting(&mut conn, &asked);
        let bytes = data.and_then(|data| self.form.of(&data)).with_context(none)?;
        out::file(&bytes, self.out.as_deref())
    }
}
