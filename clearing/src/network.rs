//! The network file: what the operator admits and publishes, as TOML. Nothing that it holds is baked into the program.

use std::collections::BTreeMap;
use std::path::Path;

use partner_sdk::agreement::Terms;
use partner_sdk::rate::{BonusTerms, RateTerms};
use partner_sdk::{Amount, Currency, PartnerId};
use serde::Deserialize;
use settlement::Calendar;

use partner_sdk::change::{ProgrammeTerms, Status};

/// A partner as the network file states it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerEntry {
    /// Its id.
    pub id: PartnerId,
    /// Its name, for people.
    pub name: String,
    /// Whether it may post.
    #[serde(default = "active")]
    pub status: Status,
    /// The most that it may owe, per currency, net over all windows not yet settled.
    #[serde(default)]
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
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the network file {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in the network file {}", path.display()))
    }

    /// Reads and checks a file's text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let network: Self = toml::from_str(text)?;
        network.calendar.check()?;
        for partner in &network.partners {
            if RESERVED.contains(&partner.id.as_str()) {
                anyhow::bail!("partner id `{}` is reserved: choose another", partner.id);
            }
            for currency in partner.net_debit_cap.keys() {
                Currency::new(currency).map_err(|e| anyhow::anyhow!("partner {}: net_debit_cap: {currency}: {e}", partner.id))?;
            }
        }
        Ok(network)
    }
}
