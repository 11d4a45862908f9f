//! `clearing queue`: in which order partners can pay each other with what they have.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use jiff::civil::Date;
use partner_sdk::PartnerId;
use partner_sdk::text::counted;
use settlement::{MAX_BALANCES, Payment, QueueLine};
use store::load_directory;

use super::at::{At, open};
use crate::commands::out;
use crate::say;

/// Say in which order the pairs of a netted window can pay each other with what they have, so that the most is cleared. Nothing changes by it.
///
/// Each pair pays its net of that window. A payment is made by itself where its payer has the money for it; payments that wait for each other in a circle are netted and made at
/// once, which may need no money at all. Nobody ever has less than nothing. What can't be made without more money is left. Up to 24 payments in a currency no choice clears more.
///
/// FILE is a CSV (UTF-8) with the header `partner,currency,balance` and a line for each partner and currency: what it has to pay with, e.g. `hangseng,HKD,5000.00`. A partner
/// without a line has nothing; `clearing` is the clearinghouse itself.
#[derive(Args)]
pub struct Queue {
    #[command(flatten)]
    at: At,
    /// The window's business date, e.g. 2026-11-21.
    date: Date,
    /// What partners have to pay with.
    #[arg(long, value_name = "FILE")]
    balances: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

impl Queue {
    pub fn run(self) -> anyhow::Result<()> {
        let (_, mut conn) = open(&self.at.config)?;
        let file = &self.balances;
        let mut bytes = vec![];
        let opened = File::open(file).and_then(|opened| opened.take(MAX_BALANCES as u64 + 1).read_to_end(&mut bytes));
        opened.with_context(|| format!("cannot read {}", file.display()))?;
        let directory = conn.snapshot(load_directory)?;
        let known = |id: &PartnerId| directory.partners.contains_key(id) || *id == PartnerId::clearing();
        let balances = settlement::balances(&bytes, known).with_context(|| format!("in {}", file.display()))?;
        let queue = settlement::queue(&mut conn, self.date, &balances)?;
        if self.json {
            return Ok(out::lines(&serde_json::to_string_pretty(&queue)?)?);
        }
        say!("The window of {}, if each pair pays its net with what it has:", queue.business_date)?;
        if queue.currencies.is_empty() {
            say!("no pair has anything to pay")?;
        }
        queue.currencies.iter().try_for_each(currency)
    }
}

fn currency(line: &QueueLine) -> anyhow::Result<()> {
    let most = match line.exact {
        true => "no choice clears more",
        false => "more may be possible: there are too many payments to look at every choice",
    };
    say!("\n{}  queued {}  cleared {}  ({most})", line.currency, line.queued, line.cleared)?;
    for (place, step) in line.steps.iter().enumerate() {
        if let [payment] = step.as_slice() {
            say!("{:>4}. {}", place + 1, shown(payment))?;
            continue;
        }
        say!(
            "{:>4}. {} at once, netted:",
            place + 1,
            counted(i128::try_from(step.len())?, "payment")
        )?;
        step.iter().try_for_each(|payment| say!("      {}", shown(payment)))?;
    }
    if !line.left.is_empty() {
        say!(
            "  left, for want of money: {}",
            counted(i128::try_from(line.left.len())?, "payment")
        )?;
        line.left.iter().try_for_each(|payment| say!("      {}", shown(payment)))?;
    }
    for balance in &line.balances {
        say!(
            "  {:<20} has {:>20}, then {:>20}",
            balance.partner.as_str(),
            balance.before,
            balance.after
        )?;
    }
    Ok(())
}

fn shown(payment: &Payment) -> String {
    format!(
        "{:<20} to {:<20} {:>20}",
        payment.payer.as_str(),
        payment.payee.as_str(),
        payment.amount
    )
}
