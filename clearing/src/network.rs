//! The network file: what the operator admits and publishes, as TOML. Nothing that it holds is baked into the program.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use partner_sdk::agreement::Terms;
use partner_sdk::rate::{BonusTerms, RateTerms};
use partner_sdk::text;
use partner_sdk::{Amount, Currency, PartnerId};
use serde::{Deserialize, Serialize};
use settlement::Calendar;

use partner_sdk::change::{ProgrammeTerms, Status};

/// A partner as the network file states it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerEntry {
    /// Its id.
    pub id: PartnerId,
    /// Its name, for people.
    #[serde(deserialize_with = "text::name")]
    pub name: String,
    /// Whether it may post.
    #[serde(default = "active")]
    pub status: Status,
    /// The most that it may owe, per currency, net over all windows not yet settled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub net_debit_cap: BTreeMap<String, Amount>,
}

fn active() -> Status {
    Status::Active
}

/// A network file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// When windows end.
    pub calendar: Calendar,
    /// The partners.
    #[serde(default, rename = "partner")]
    pub partners: Vec<PartnerEntry>,
    /// The programmes.
    #[serde(default, rename = "programme")]
    pub programmes: Vec<ProgrammeTerms>,
    /// The agreements.
    #[serde(default, rename = "agreement")]
    pub agreements: Vec<Terms>,
    /// The exchange rates.
    #[serde(default, rename = "rate")]
    pub rates: Vec<RateTerms>,
    /// The bonuses.
    #[serde(default, rename = "bonus")]
    pub bonuses: Vec<BonusTerms>,
}

/// Ids that mean something else in the books.
pub const RESERVED: [&str; 3] = ["clearing", "member", "settlement"];

impl Network {
    /// Reads and checks a file; the error names the place.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        use anyhow::Context;
        let read = std::fs::read_to_string(path).with_context(|| format!("cannot read the network file {}", path.display()))?;
        Self::parse(&read).with_context(|| format!("in the network file {}", path.display()))
    }

    /// Reads and checks a file's text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let network: Self = toml::from_str(text)?;
        network.calendar.check()?;
        let faults = network.faults();
        anyhow::ensure!(faults.is_empty(), faults.join("\n"));
        Ok(network)
    }

    /// What is wrong with the file by itself. Whatever it states twice would leave open which counts.
    fn faults(&self) -> Vec<String> {
        let (mut faults, mut ids, mut names) = (vec![], HashSet::new(), HashSet::new());
        for partner in &self.partners {
            let id = &partner.id;
            if RESERVED.contains(&id.as_str()) {
                faults.push(format!("partner id `{id}` is reserved: choose another"));
            }
            if !ids.insert(id) {
                faults.push(format!("partner id `{id}` stands twice"));
            } else if !names.insert(text::folded(&partner.name)) {
                faults.push(format!(
                    "partner {id}: another has the name `{}` too, case and blanks aside",
                    partner.name
                ));
            }
            for currency in partner.net_debit_cap.keys() {
                let read = Currency::new(currency);
                faults.extend(read.err().map(|e| format!("partner {id}: net_debit_cap: {currency}: {e}")));
            }
        }
        let mut codes = HashSet::new();
        for terms in &self.programmes {
            if !codes.insert(&terms.code) {
                faults.push(format!("programme `{}` stands twice", terms.code));
            }
        }
        faults
    }
}
