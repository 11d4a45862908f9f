//! `clearing network` and `clearing partner list`: the operator's file, and what there is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use jiff::Timestamp;
use migrations::{Conn, Url};
use partner_sdk::amount::format_units;
use partner_sdk::banking::{AccountTerms, BankAccount};
use partner_sdk::text::{counted, quoted};
use partner_sdk::{Amount, Money};
use serde::Serialize;

use super::at::{At, open};
use super::office::{self, Founder};
use crate::commands::out;
use crate::documents::standing;
use crate::office::network_file;
use crate::say;
use ledger::directory::{Directory, Numbered, Partner};
use ledger::draft::Draft;
use ledger::network::{Network, PartnerEntry};
use store::{admin, listing, load_directory, people};

#[derive(Subcommand)]
pub(super) enum NetworkCommand {
    /// Say everything for which `apply` would refuse a network file, and change nothing: on the database of the configuration, or as in a new sandbox where
    /// there is no configuration.
    Check {
        /// The network file.
        file: PathBuf,
        /// The configuration; without it `clearing.toml`, if there is one here.
        #[arg(long, env = "CLEARING_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Name the people who answer for the network, at least three, once: each signs with its own key. From then on nobody decides alone.
    Found {
        #[command(flatten)]
        at: At,
        /// A person: NAME:KID:FILE, the file as `clearing person key` made it. Given for each of them.
        #[arg(long = "person", required = true)]
        people: Vec<Founder>,
        /// The network that all of them have looked at: the 64 digits in the last line of `clearing network show`. Refused where it has changed since.
        #[arg(long)]
        network: String,
    },
    /// Make the database hold what the file states. Agreements and rates are only ever added.
    Apply {
        #[command(flatten)]
        at: At,
        /// The network file.
        file: PathBuf,
    },
    /// Print what there is now as a network file: calendar, partners (with their keys), programmes, and the agreements, rates and bonuses in force or to come. The
    /// last line says it in one figure, which a founding signs.
    Show {
        #[command(flatten)]
        at: At,
    },
}

pub(super) fn run(command: NetworkCommand) -> anyhow::Result<()> {
    match command {
        NetworkCommand::Check { file, config } => check(&file, config),
        NetworkCommand::Apply { at, file } => {
            let draft = network_file::read(&file)?;
            let (_, mut conn) = open(&at.config)?;
            let refused = |faults: String| anyhow::anyhow!("{} isn't applied, and nothing has changed:\n{faults}", file.display());
            let faults = faults(&mut conn, &draft)?;
            ensure!(faults.is_empty(), refused(faults.join("\n")));
            admin::apply_network(&mut conn, &draft.network, Timestamp::now()).map_err(|error| refused(format!("{error:#}")))?;
            out::done(say!("the database holds the network of {}", file.display()))
        }
        NetworkCommand::Found { at, people, network } => office::found(&at, &people, &network),
        NetworkCommand::Show { at } => show(&at),
    }
}

fn check(file: &Path, config: Option<PathBuf>) -> anyhow::Result<()> {
    let draft = network_file::read(file)?;
    let here = Path::new("clearing.toml");
    let config = config.or_else(|| here.exists().then(|| here.to_owned()));
    let (faults, against) = match config {
        Some(config) => {
            let (_, mut conn) = open(&config)?;
            (faults(&mut conn, &draft)?, format!("the clearinghouse of {}", config.display()))
        }
        None => {
            let folder = tempfile::tempdir().context("a temporary folder")?;
            let mut conn = Conn::open(&Url::new(folder.path().join("check.db").to_string_lossy()))?;
            admin::init(&mut conn, true, Timestamp::now())?;
            (admin::try_network(&mut conn, &draft)?, "a new sandbox".to_owned())
        }
    };
    if !faults.is_empty() {
        bail!("{against} refuses {}:\n{}", file.display(), faults.join("\n"));
    }
    let network = &draft.network;
    let count = |n: usize, noun: &str| counted(i128::try_from(n).unwrap_or(i128::MAX), noun);
    say!(
        "{}, {}, {}, {}: {against} takes the file",
        count(network.partners.len(), "partner"),
        count(network.programmes.len(), "programme"),
        count(network.agreements.len(), "agreement"),
        count(network.rates.len(), "rate")
    )?;
    Ok(())
}

/// Everything for which a file isn't applied.
fn faults(conn: &mut Conn, draft: &Draft) -> anyhow::Result<Vec<String>> {
    let mut faults: Vec<String> = closed_to_files(conn, &draft.network)?.into_iter().collect();
    faults.extend(admin::try_network(conn, draft)?);
    Ok(faults)
}

/// Why no such file is taken any more, whatever it states. In a sandbox the network file is the operator's word. Elsewhere it only founds the network: what
/// partners owe each other is for them to sign, and changes take two people.
fn closed_to_files(conn: &mut Conn, network: &Network) -> anyhow::Result<Option<String>> {
    if store::is_sandbox(conn)? {
        return Ok(None);
    }
    let reason = if people::is_founded(conn)? {
        "the network is founded, and people answer for it: from now on partners, caps and programmes change by clearing propose and clearing approve"
    } else if !(network.agreements.is_empty() && network.rates.is_empty() && network.bonuses.is_empty() && network.accounts.is_empty()) {
        "agreements are proposed and signed by the partners themselves, and rates, bonuses and accounts put in force by two people (clearing propose, clearing approve): \
         leave them out of the file; only a sandbox takes them from it"
    } else {
        return Ok(None);
    };
    Ok(Some(reason.to_owned()))
}

fn show(at: &At) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    admin::has_network(&mut conn)?;
    let (calendars, directory, accounts) =
        conn.snapshot(|conn| Ok::<_, anyhow::Error>((settlement::calendars(conn)?, load_directory(conn)?, settlement::accounts(conn)?)))?;
    let now = Timestamp::now();
    for (place, (first, calendar)) in calendars.all().iter().enumerate() {
        if place == 0 {
            out::lines(&toml::to_string(&BTreeMap::from([("calendar", calendar)]))?)?;
        } else {
            // No file states it: it was approved by two people.
            say!("# and for the business dates from {first} on:")?;
            toml::to_string(calendar)?.lines().try_for_each(|line| say!("#   {line}"))?;
        }
    }
    for partner in partners_of(&directory) {
        table("partner", &entry(partner), None)?;
        keys(&directory, partner, now)?;
    }
    let mut programmes: Vec<_> = directory.programmes.values().map(|programme| &programme.terms).collect();
    programmes.sort_by_key(|terms| &terms.code);
    programmes.into_iter().try_for_each(|terms| table("programme", terms, None))?;
    let mut agreements: Vec<_> = directory.agreements().filter(|one| lasts(one, now)).collect();
    agreements.sort_by_key(|one| one.no);
    for one in agreements {
        table("agreement", &one.item.terms, Some((&one.item.hash, period(one))))?;
    }
    let mut rates: Vec<_> = directory.rates().filter(|one| lasts(one, now)).collect();
    rates.sort_by_key(|one| one.no);
    for one in rates.into_iter().filter(|one| directory.rate_ends(one).is_none_or(|end| end > now)) {
        table("rate", &one.item.terms, Some((&one.item.hash, period(one))))?;
    }
    let mut bonuses: Vec<_> = directory.bonuses().filter(|one| lasts(one, now)).collect();
    bonuses.sort_by_key(|one| one.no);
    for one in bonuses {
        table("bonus", &one.item.terms, Some((&one.item.hash, period(one))))?;
    }
    for ((partner, currency), BankAccount { holder, account, bank }) in accounts {
        let terms = AccountTerms {
            partner,
            currency,
            holder,
            account,
            bank,
        };
        table("account", &terms, None)?;
    }
    say!("")?;
    Ok(say!("# the network as it stands: {}", standing::digest(&directory))?)
}

/// No file states keys: whose they are is for people to compare.
fn keys(directory: &Directory, partner: &Partner, now: Timestamp) -> anyhow::Result<()> {
    let keys = directory.keys.of(&partner.id, now);
    for key in keys.signing {
        say!("# signs by {} {} ({:?})", key.kid, key.public_key, key.state)?;
    }
    for key in keys.tls {
        say!("# connects by {} ({:?})", key.spki_sha256, key.state)?;
    }
    Ok(())
}

/// One table of the file; of what was signed, its hash and when it is in force go before it.
fn table(name: &str, item: &impl Serialize, signed: Option<(&str, String)>) -> anyhow::Result<()> {
    say!("")?;
    if let Some((hash, period)) = signed {
        say!("# {hash}, in force {period}")?;
    }
    Ok(out::lines(toml::to_string(&BTreeMap::from([(name, [item])]))?.trim_end())?)
}

/// Whether it is in force at an instant or will be.
fn lasts<T>(one: &Numbered<T>, at: Timestamp) -> bool {
    one.until.is_none_or(|until| until > at)
}

fn period<T>(one: &Numbered<T>) -> String {
    let until = one.until.map_or_else(String::new, |until| format!(" until {until}"));
    format!("from {}{until}", one.from)
}

fn partners_of(directory: &Directory) -> Vec<&Partner> {
    let mut partners: Vec<_> = directory.partners.values().collect();
    partners.sort_by_key(|partner| &partner.id);
    partners
}

fn entry(partner: &Partner) -> PartnerEntry {
    let caps = partner.caps.iter();
    PartnerEntry {
        id: partner.id.clone(),
        name: partner.name.clone(),
        status: partner.status,
        net_debit_cap: caps
            .filter_map(|(currency, cap)| Some((currency.to_string(), Amount::from_units(cap.0, 6)?)))
            .collect(),
    }
}

/// `clearing partner list`.
pub(super) fn partners(at: &At) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let (directory, owed) = conn.snapshot(|conn| Ok::<_, migrations::DbError>((load_directory(conn)?, listing::exposures(conn)?)))?;
    for partner in partners_of(&directory) {
        // Per currency: what it owes, and its cap.
        let mut money: BTreeMap<String, (Money, Option<Money>)> = BTreeMap::new();
        for (_, currency, micros) in owed.iter().filter(|(id, ..)| id == partner.id.as_str()) {
            money.entry(currency.clone()).or_default().0 = Money(*micros);
        }
        for (currency, cap) in &partner.caps {
            money.entry(currency.to_string()).or_default().1 = Some(*cap);
        }
        let money: Vec<String> = money
            .iter()
            .map(|(currency, (owed, cap))| position(currency, *owed, *cap))
            .collect();
        let money = if money.is_empty() {
            "owes nothing, no cap".to_owned()
        } else {
            money.join("; ")
        };
        say!("{}  {}  {}  {money}", partner.id, partner.status, quoted(&partner.name))?;
    }
    Ok(())
}

fn position(currency: &str, owed: Money, cap: Option<Money>) -> String {
    let amount = |micros: i64| trimmed(&format_units(i128::from(micros).abs(), 6));
    let owed = match owed.0 {
        0 => format!("{currency} owes nothing"),
        micros if micros < 0 => format!("{currency} is owed {}", amount(micros)),
        micros => format!("{currency} owes {}", amount(micros)),
    };
    let cap = cap.map_or_else(|| "no cap".to_owned(), |cap| format!("cap {}", amount(cap.0)));
    format!("{owed}, {cap}")
}

/// Without zeros at the end that say nothing.
fn trimmed(amount: &str) -> String {
    match amount.split_once('.') {
        Some((whole, decimals)) => {
            let decimals = decimals.trim_end_matches('0');
            // Money has two decimals, or as many as it needs.
            format!("{whole}.{decimals:0<2}")
        }
        None => amount.to_owned(),
    }
}
