//! Reads the operator's network file.

use std::path::Path;

use anyhow::Context;
use ledger::draft::Draft;
use ledger::network::Network;

/// Reads a network file as far as it goes; what is wrong with it stands in the draft.
pub fn read(path: &Path) -> anyhow::Result<Draft> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the network file {}", path.display()))?;
    Draft::parse(&text).with_context(|| within(path))
}

/// Reads a network file with nothing wrong; the error has a line for each fault, with its place.
pub fn read_whole(path: &Path) -> anyhow::Result<Network> {
    read(path)?.whole().with_context(|| within(path))
}

fn within(path: &Path) -> String {
    format!("in the network file {}", path.display())
}
