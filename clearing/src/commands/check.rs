//! `clearing check`: whether the books are what the log makes of them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use super::at::{At, open};
use super::office::clearing_key;
use super::out;
use super::progress::Progress;
use crate::audit::{self, Depth};
use crate::say;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    at: At,
    /// Only whether the sums are even and whatever is in force is signed: seconds where the whole check takes minutes.
    #[arg(long)]
    quick: bool,
    /// A file with a head of the log that its key signed, as each partner keeps the last one that it saw: the log has to go on from it. May be given several times.
    #[arg(long = "head", value_name = "FILE", conflicts_with = "quick")]
    heads: Vec<PathBuf>,
    /// Where the log is done again: a folder with as much room as the database takes. It is left as it was.
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir(), conflicts_with = "quick")]
    scratch: PathBuf,
}

pub(super) fn run(check: &Check) -> anyhow::Result<()> {
    let (config, mut conn) = open(&check.at.config)?;
    let key = clearing_key(&config)?;
    let depth = if check.quick { Depth::Quick } else { Depth::Whole(&check.scratch) };
    let (mut progress, mut entries) = (Progress::new(), 0);
    let clearing = (key.kid(), &key.verifying_key());
    let mut findings = audit::check(&mut conn, clearing, &config.archive, depth, &mut |done, all| {
        entries = all;
        progress.tell(|took| how_far(done, all, took));
    })?;
    for file in &check.heads {
        let head = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let finding = audit::held_to(&mut conn, &config.log.origin, &head).with_context(|| file.display().to_string())?;
        findings.extend(finding.map(|finding| format!("{}: {finding}", file.display())));
    }
    findings.extend(audit::changed_files(&mut conn, &config.statements)?);
    findings.iter().try_for_each(out::line)?;
    ensure!(findings.is_empty(), "the books aren't what was signed: the lines above say where");
    match check.quick {
        true => Ok(say!("the sums are even, and whatever is in force is what was signed")?),
        false => Ok(say!("the books are what the log makes of them: {} entries done again", entries)?),
    }
}

fn how_far(done: i64, all: i64, took: Duration) -> String {
    let millis = i64::try_from(took.as_millis()).unwrap_or(i64::MAX).max(1);
    let rate = done.saturating_mul(1000) / millis;
    let share = done.saturating_mul(100) / all.max(1);
    format!("{done} of {all} entries done again ({share} %), {rate} a second")
}
