//! One partner's statement in every form, for a finance desk to open.

use std::path::PathBuf;

use anyhow::Context;
use jiff::civil::Date;
use partner_sdk::PartnerId;
use settlement::export::Statements;

use super::sandbox::Sandbox;

/// Writes a statement in every form into a folder of its own, `desk`, and names the files: where statements are, only statements are.
pub fn hand_out(sandbox: &Sandbox, date: Date, partner: &PartnerId) -> anyhow::Result<Vec<PathBuf>> {
    let advised = settlement::statements(&mut sandbox.database()?, partner, date.into())?;
    let statements = Statements::new(partner.clone(), date.into(), &advised)?;
    let desk = sandbox.config.statements.join("desk");
    std::fs::create_dir_all(&desk).with_context(|| format!("cannot make the folder {}", desk.display()))?;
    let mut files = vec![];
    for (name, bytes) in statements.all()? {
        let file = desk.join(name);
        std::fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        files.push(file);
    }
    Ok(files)
}
