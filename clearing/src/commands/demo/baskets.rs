//! A file of purchases, in order: `occurred_at,shopper,brand,store,basket,spend,coupon`.

use std::path::Path;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use partner_sdk::{Amount, MemberNumber, PartnerId};
use serde::Deserialize;

/// One purchase.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// When, with its offset from UTC.
    pub occurred_at: Timestamp,
    /// The member's number.
    pub shopper: MemberNumber,
    /// The partner's id.
    pub brand: PartnerId,
    /// The shop; not used.
    #[serde(rename = "store")]
    pub _store: String,
    /// The receipt's number: together with the brand it names the messages.
    pub basket: String,
    /// What was paid, in the currency of the programme.
    pub spend: Amount,
    /// What points paid for, in the same currency.
    pub coupon: Amount,
}

/// Reads the whole file; the error names the line.
pub fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let mut reader = csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut rows: Vec<Row> = vec![];
    for (index, row) in reader.deserialize().enumerate() {
        let line = index + 2;
        let row: Row = row.with_context(|| format!("{}, line {line}", path.display()))?;
        let ordered = rows.last().is_none_or(|last| last.occurred_at <= row.occurred_at);
        ensure!(ordered, "{}, line {line}: rows must be in the order of occurred_at", path.display());
        rows.push(row);
    }
    Ok(rows)
}
