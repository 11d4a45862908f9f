//! The network file: what the operator admits and publishes, as TOML. Nothing that it holds is baked into the program.

use std::collections::BTreeMap;

use partner_sdk::agreement::Terms;
use partner_sdk::banking::AccountTerms;
use partner_sdk::calendar::Calendar;
use partner_sdk::rate::{BonusTerms, RateTerms};
use partner_sdk::text;
use partner_sdk::{Amount, PartnerId};
use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// When windows end.
    pub calendar: Calendar,
    /// The partners.
    pub partners: Vec<PartnerEntry>,
    /// The programmes.
    pub programmes: Vec<ProgrammeTerms>,
    /// The agreements.
    pub agreements: Vec<Terms>,
    /// The exchange rates.
    pub rates: Vec<RateTerms>,
    /// The bonuses.
    pub bonuses: Vec<BonusTerms>,
    /// Where payments go: in a sandbox alone, for two people put them in force. Left out where there are none, so that files that never had any stand in the log as they did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountTerms>,
}

/// Ids that mean something else in the books.
pub const RESERVED: [&str; 3] = ["clearing", "member", "settlement"];
