//! `clearing payments`, `clearing confirm` and `clearing settle`: what partners pay and are paid, and that it was done.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::banking::{MOST_PAID, Paid, PaymentReference};
use partner_sdk::change::Change;
use partner_sdk::jws::sha256_hex;
use partner_sdk::text::{Why, counted, quoted};
use partner_sdk::{Amount, PartnerId};
use serde_json::json;
use settlement::bank::{self, Booking, Matched};
use settlement::{Due, Wanted};

use super::at::{At, open};
use super::office::{Who, put_forward};
use crate::commands::out;
use crate::say;

/// List the payments through the clearing account: of every window, what each partner pays or receives, by when, by which reference, and whether it is confirmed.
#[derive(Args)]
pub struct Payments {
    #[command(flatten)]
    at: At,
    /// Only those that aren't confirmed.
    #[arg(long)]
    open: bool,
    /// Only this partner's.
    #[arg(long)]
    partner: Option<PartnerId>,
    /// Of windows from this business date on.
    #[arg(long)]
    from: Option<Date>,
    /// Of windows up to this business date.
    #[arg(long)]
    until: Option<Date>,
    /// Print them as JSON, a line each.
    #[arg(long)]
    json: bool,
}

/// The most payments that are listed.
const MOST: i64 = 100_000;

impl Payments {
    pub fn run(self) -> anyhow::Result<()> {
        let (_, mut conn) = open(&self.at.config)?;
        let wanted = Wanted {
            partner: self.partner,
            from: self.from,
            until: self.until,
            confirmed: self.open.then_some(false),
        };
        let found = settlement::dues(&mut conn, &wanted, MOST + 1)?;
        let few = i64::try_from(found.len())? <= MOST;
        ensure!(few, "there are more than {MOST} payments: ask for fewer by --from and --until");
        for due in &found {
            if self.json {
                say!("{}", as_json(due))?;
            } else {
                say!("{}", as_line(due))?;
            }
        }
        if self.json {
            return Ok(());
        }
        let all = i128::try_from(found.len())?;
        let open = i128::try_from(found.iter().filter(|due| due.is_open()).count())?;
        Ok(say!("{}, {open} not confirmed", counted(all, "payment"))?)
    }
}

fn as_line(due: &Due) -> String {
    let state = match &due.confirmed {
        None if due.replaced_by.is_some() => "replaced".to_owned(),
        None => "open".to_owned(),
        Some(confirmed) => {
            let on = confirmed.paid_on.map_or_else(String::new, |date| format!(" paid on {date},"));
            format!("confirmed{on} at {}", confirmed.at)
        }
    };
    format!(
        "{}  {}  {:<20} {:<8} {} {:>16}  due {}  {state}",
        due.business_date,
        due.reference,
        due.partner.as_str(),
        due.does(),
        due.currency,
        due.how_much(),
        due.value_date
    )
}

fn as_json(due: &Due) -> serde_json::Value {
    let confirmed = due.confirmed.as_ref();
    json!({
        "window": due.business_date,
        "reference": due.reference,
        "partner": due.partner,
        "result": due.does(),
        "currency": due.currency,
        "amount": due.how_much(),
        "value_date": due.value_date,
        "paid_on": confirmed.and_then(|confirmed| confirmed.paid_on),
        "confirmed_at": confirmed.map(|confirmed| confirmed.at),
        "change": confirmed.map(|confirmed| &confirmed.by),
        "replaced_by": due.replaced_by,
    })
}

/// Propose that payments were made, one by one: those that you name, or those that the clearing bank's statement shows. Once another person approves, what each paid no longer counts against net
/// debit caps; with its last payment a window is settled.
///
/// A bank's statement is a camt.053 (XML), or a table (CSV, UTF-8) with the columns `date`, `amount` (below zero where it left the account) and `currency`; references are looked for in
/// all other columns. A payment counts where reference, amount, currency and direction are what was advised. All other bookings are listed with the reason, and nothing is
/// done about them.
#[derive(Args)]
pub struct Confirm {
    #[command(flatten)]
    at: At,
    /// The payments' references, as `clearing payments` lists them.
    #[arg(
        required_unless_present = "bank_statement",
        conflicts_with = "bank_statement",
        requires = "paid_on"
    )]
    references: Vec<PaymentReference>,
    /// The day on which the bank booked them, e.g. 2026-11-23.
    #[arg(long)]
    paid_on: Option<Date>,
    /// The clearing bank's statement.
    #[arg(long, conflicts_with = "paid_on")]
    bank_statement: Option<PathBuf>,
    #[command(flatten)]
    who: Who,
    /// Why, for who approves it.
    #[arg(long, default_value = "the payments were made")]
    why: Why,
}

impl Confirm {
    pub fn run(self) -> anyhow::Result<()> {
        let (_, mut conn) = open(&self.at.config)?;
        let (payments, bank_statement) = match (&self.bank_statement, self.paid_on) {
            (Some(file), _) => shown(&mut conn, file)?,
            (None, Some(paid_on)) => (named(&mut conn, &self.references, paid_on)?, None),
            (None, None) => bail!("say on which day the bank booked them: --paid-on DATE"),
        };
        ensure!(!payments.is_empty(), "there is nothing to confirm, and nothing was proposed");
        for chunk in payments.chunks(MOST_PAID) {
            let change = Change::Confirm {
                payments: chunk.to_vec(),
                bank_statement: bank_statement.clone(),
            };
            let filed = put_forward(&mut conn, &self.who, self.why.to_string(), change, Timestamp::now())?;
            let count = counted(i128::try_from(chunk.len())?, "payment");
            out::done(say!(
                "{count} proposed as made; now another person: clearing approve {}",
                filed.hash
            ))?;
        }
        Ok(())
    }
}

/// The payments with these references, as they were advised.
fn named(conn: &mut Conn, references: &[PaymentReference], paid_on: Date) -> anyhow::Result<Vec<Paid>> {
    let mut references = references.to_vec();
    references.sort_unstable();
    references.dedup();
    let paid = |reference: PaymentReference| {
        let due = settlement::due(conn, &reference)?;
        let due = due.with_context(|| format!("there is no payment {reference}; see: clearing payments --open"))?;
        Ok(Paid {
            currency: due.currency,
            amount: Amount::from_units(due.amount.0.saturating_abs(), 6).with_context(|| format!("the amount of {reference}"))?,
            reference,
            paid_on,
        })
    };
    references.into_iter().map(paid).collect()
}

/// The payments that a bank's statement shows, and its SHA-256; what else it shows is printed.
fn shown(conn: &mut Conn, file: &Path) -> anyhow::Result<(Vec<Paid>, Option<String>)> {
    let mut bytes = vec![];
    let opened = File::open(file).and_then(|opened| opened.take(bank::MAX_FILE as u64 + 1).read_to_end(&mut bytes));
    opened.with_context(|| format!("cannot read {}", file.display()))?;
    let bookings = bank::read(&bytes).with_context(|| format!("in {}", file.display()))?;
    let count = counted(i128::try_from(bookings.len())?, "booking");
    let Matched { paid, rest } = bank::matched(bookings, |reference| settlement::due(conn, reference))?;
    say!(
        "{count}: {} matched, {} listed here",
        counted(i128::try_from(paid.len())?, "payment"),
        rest.len()
    )?;
    for (booking, why) in &rest {
        let Booking {
            booked_on,
            currency,
            amount,
            credit,
            text,
            ..
        } = booking;
        let way = if *credit { "in" } else { "out" };
        let words: Vec<&str> = text.split_whitespace().collect();
        say!("  {booked_on}  {way} {currency} {amount}: {why}: {}", quoted(&words.join(" ")))?;
    }
    Ok((paid, Some(sha256_hex(&bytes))))
}

/// Propose that all payments of a window were made; once another person approves, its debts no longer count against net debit caps.
#[derive(Args)]
pub struct Settle {
    #[command(flatten)]
    at: At,
    /// The window's business date, e.g. 2026-11-21.
    date: Date,
    #[command(flatten)]
    who: Who,
    /// Why, for who approves it.
    #[arg(long, default_value = "all payments were made")]
    why: Why,
}

impl Settle {
    pub fn run(self) -> anyhow::Result<()> {
        let (_, mut conn) = open(&self.at.config)?;
        let change = Change::Settle { business_date: self.date };
        let filed = put_forward(&mut conn, &self.who, self.why.to_string(), change, Timestamp::now())?;
        out::done(say!("now another person: clearing approve {}", filed.hash))
    }
}
