//! One partner's statement in every form, for a finance desk to open.

use std::path::PathBuf;

use anyhow::Context;
use jiff::civil::Date;
use partner_sdk::PartnerId;
use settlement::export::{self, ExportError, Form};
use settlement::{Format, Statement};

use super::sandbox::Sandbox;

/// Writes what can be made of a statement into a folder of its own, `desk`, and names all files: where statements are, only statements are.
pub fn hand_out(sandbox: &Sandbox, date: Date, partner: &PartnerId) -> anyhow::Result<Vec<PathBuf>> {
    let folder = sandbox.config.statements.join(date.to_string());
    let advised = settlement::advised(&mut sandbox.database()?, date, partner, Format::Json)?;
    let advised = advised.with_context(|| format!("{partner} has no statement of {date}"))?;
    let statement: Statement = serde_json::from_str(&advised.text)?;
    let desk = sandbox.config.statements.join("desk");
    std::fs::create_dir_all(&desk).with_context(|| format!("cannot make the folder {}", desk.display()))?;
    let mut files = vec![folder.join(format!("{partner}.json")), folder.join(format!("{partner}.csv"))];
    for form in Form::ALL {
        let text = match export::export(&statement, form) {
            // Who is paid has nothing to give to its bank.
            Err(ExportError::NothingToPay | ExportError::NoAccount(_)) => continue,
            other => other?,
        };
        let file = desk.join(format!("{partner}-{date}.{}", form.extension()));
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        files.push(file);
    }
    Ok(files)
}
