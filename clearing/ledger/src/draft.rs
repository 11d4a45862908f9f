//! Reads a network file as far as it goes: whatever is wrong with it is told at once, each fault with its line, its table and its key, and no fault hides
//! another that has nothing to do with it.

use std::collections::{HashMap, HashSet};

use anyhow::ensure;
use partner_sdk::banking::AccountTerms;
use partner_sdk::calendar::Calendar;
use partner_sdk::text::folded;
use partner_sdk::{Currency, document};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::network::{Network, PartnerEntry, RESERVED};
use partner_sdk::change::ProgrammeTerms;

/// What a network file holds: each table, and the keys that it needs.
const TABLES: [(&str, &[&str]); 7] = [
    ("calendar", &["zone"]),
    ("partner", &["id", "name"]),
    ("programme", &["code", "issuer", "currency"]),
    ("agreement", &["kind", "partner", "programme", "price", "currency", "valid_from"]),
    (
        "rate",
        &[
            "programme",
            "to_programme",
            "numerator",
            "denominator",
            "step",
            "minimum",
            "maximum",
            "valid_from",
        ],
    ),
    (
        "bonus",
        &[
            "programme",
            "to_programme",
            "percent",
            "funded_percent",
            "valid_from",
            "valid_until",
        ],
    ),
    ("account", &["partner", "currency", "holder", "account", "bank"]),
];

/// A network file as far as it can be read.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What could be read, each thing once.
    pub network: Network,
    /// What is wrong with the file by itself, a line each.
    pub faults: Vec<String>,
    /// What it states in a way that can't be used.
    pub unread: Unread,
}

/// What a file states in a way that can't be used. Whatever refers to it isn't at fault for that.
#[derive(Debug, Clone, Default)]
pub struct Unread {
    /// The calendar; the network then has one that is never used.
    pub calendar: bool,
    /// Ids of partners.
    pub partners: HashSet<String>,
    /// Codes of programmes.
    pub programmes: HashSet<String>,
    /// Programmes between which an exchange agreement would stand.
    pub pairs: HashSet<(String, String)>,
    /// Rates or bonuses.
    pub published: bool,
}

/// An entry that could be read, with the line where it begins.
type Entry<T> = (usize, T);

impl Draft {
    /// Reads a file's text. An error says that it isn't TOML.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut file = DeTable::parse(text)?.into_inner();
        let mut reader = Reader {
            text,
            faults: vec![],
            unread: Unread::default(),
        };
        let tables = TABLES.map(|(name, _)| file.remove(name));
        for (key, _) in &file {
            let known = "a network file has [calendar], [[partner]], [[programme]], [[agreement]], [[rate]], [[bonus]] and [[account]]";
            reader.fault(key.span().start, &format!("`{}` isn't known: {known}", key.get_ref()));
        }
        let [calendar, partners, programmes, agreements, rates, bonuses, accounts] = tables;
        let calendar = reader.calendar(calendar);
        let partners = reader.entries("partner", partners);
        let programmes = reader.entries("programme", programmes);
        let (agreements, rates) = (reader.entries("agreement", agreements), reader.entries("rate", rates));
        let (bonuses, accounts) = (reader.entries("bonus", bonuses), reader.entries("account", accounts));
        let partners = reader.usable(partners);
        reader.calendar_is_usable(&calendar);
        let network = Network {
            calendar,
            partners: reader.once(partners, |one: &PartnerEntry| {
                (one.id.to_string(), format!("partner id `{}`", one.id))
            }),
            programmes: reader.once(programmes, |one: &ProgrammeTerms| {
                (one.code.to_string(), format!("programme `{}`", one.code))
            }),
            agreements: reader.once(agreements, same("agreement")),
            rates: reader.once(rates, same("rate")),
            bonuses: reader.once(bonuses, same("bonus")),
            accounts: reader.once(accounts, |one: &AccountTerms| {
                let whose = format!("{} in {}", one.partner, one.currency);
                (whose.clone(), format!("the account of {whose}"))
            }),
        };
        Ok(Self {
            network,
            faults: reader.faults,
            unread: reader.unread,
        })
    }

    /// The network, where nothing is wrong with the file.
    pub fn whole(self) -> anyhow::Result<Network> {
        ensure!(self.faults.is_empty(), self.faults.join("\n"));
        Ok(self.network)
    }
}

impl Network {
    /// Reads and checks a file's text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Draft::parse(text)?.whole()
    }
}

/// Two of these are the same where all their terms are.
fn same<T: Serialize>(what: &str) -> impl Fn(&T) -> (String, String) {
    move |terms| (document::write(terms), format!("the same [[{what}]]"))
}

struct Reader<'t> {
    text: &'t str,
    faults: Vec<String>,
    unread: Unread,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.get(..at).unwrap_or_default().matches('\n').count()
    }

    fn fault(&mut self, at: usize, what: &str) {
        self.faults.push(format!("line {}: {what}", self.line(at)));
    }

    /// The calendar; where there is none that can be read, one that isn't used.
    fn calendar(&mut self, table: Option<Spanned<DeValue<'_>>>) -> Calendar {
        let read = match &table {
            Some(table) => self.table("calendar", "[calendar]", table),
            None => {
                self.faults.push("[calendar] is missing: it says when windows end".to_owned());
                None
            }
        };
        self.unread.calendar = read.is_none();
        read.unwrap_or_else(|| Calendar {
            zone: "UTC".to_owned(),
            cut_off: "24:00".to_owned(),
            holidays: vec![],
            closed_weekdays: vec![],
        })
    }

    fn calendar_is_usable(&mut self, calendar: &Calendar) {
        for fault in calendar.faults() {
            self.faults.push(format!("[calendar] {fault}"));
            self.unread.calendar = true;
        }
    }

    /// What could be read of all tables of a name.
    fn entries<T: DeserializeOwned>(&mut self, name: &str, tables: Option<Spanned<DeValue<'_>>>) -> Vec<Entry<T>> {
        let Some(tables) = tables else { return vec![] };
        let Some(array) = tables.get_ref().as_array() else {
            self.fault(
                tables.span().start,
                &format!("`{name}` is written [[{name}]], one such table for each"),
            );
            return vec![];
        };
        let mut read = vec![];
        for table in array.iter() {
            match self.table(name, &format!("[[{name}]]"), table) {
                Some(entry) => read.push((self.line(table.span().start), entry)),
                None => self.unread.note(name, table.get_ref()),
            }
        }
        read
    }

    /// Reads one table. A key at fault is told and left out, so that the next one is found.
    fn table<T: DeserializeOwned>(&mut self, name: &str, shown: &str, table: &Spanned<DeValue<'_>>) -> Option<T> {
        let at = table.span().start;
        let Some(stated) = table.get_ref().as_table() else {
            self.fault(at, &format!("{shown} has to be a table"));
            return None;
        };
        let needed = TABLES.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, keys)| keys);
        let (mut left, mut good) = (stated.clone(), true);
        for key in needed.iter().filter(|key| !stated.contains_key(**key)) {
            self.fault(at, &format!("{shown} lacks `{key}`"));
            good = false;
        }
        loop {
            let whole = Spanned::new(table.span(), DeValue::Table(left.clone()));
            let error = match T::deserialize(ValueDeserializer::from(whole)) {
                Ok(read) => return good.then_some(read),
                Err(error) => error,
            };
            let wrong = error.span().map_or(at, |span| span.start);
            let key = left.iter().find(|(key, value)| key.span().contains(&wrong) || holds(value, wrong));
            let Some(key) = key.map(|(key, _)| key.get_ref().to_string()) else {
                // What is missing was told already, or left out just now.
                if good {
                    self.fault(wrong, &format!("{shown}: {}", error.message()));
                }
                return None;
            };
            self.fault(wrong, &format!("{shown} `{key}`: {}", error.message()));
            good = false;
            left.remove(key.as_str());
        }
    }

    /// The partners that have nothing that a partner may not have.
    fn usable(&mut self, partners: Vec<Entry<PartnerEntry>>) -> Vec<Entry<PartnerEntry>> {
        let (mut usable, mut names) = (vec![], HashMap::new());
        for (line, partner) in partners {
            let (id, before) = (&partner.id, self.faults.len());
            if RESERVED.contains(&id.as_str()) {
                self.faults
                    .push(format!("line {line}: partner id `{id}` is reserved: choose another"));
            }
            match names.get(&folded(&partner.name)) {
                Some((first, other)) if other != id => self.faults.push(format!(
                    "line {line}: partner {id}: another has the name `{}` too (line {first}), case and blanks aside",
                    partner.name
                )),
                _ => drop(names.insert(folded(&partner.name), (line, id.clone()))),
            }
            for (currency, cap) in &partner.net_debit_cap {
                let faults = [
                    Currency::new(currency).err().map(|error| error.to_string()),
                    cap.to_units(6).err().map(|error| error.to_string()),
                ];
                let told = faults.into_iter().flatten();
                self.faults
                    .extend(told.map(|why| format!("line {line}: partner {id}: net_debit_cap: {currency}: {why}")));
            }
            if self.faults.len() == before {
                usable.push((line, partner));
            } else {
                self.unread.partners.insert(id.to_string());
            }
        }
        usable
    }

    /// Each thing once. Whatever the file states twice would leave open which counts, or be counted double.
    fn once<T>(&mut self, entries: Vec<Entry<T>>, named: impl Fn(&T) -> (String, String)) -> Vec<T> {
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut once = vec![];
        for (line, entry) in entries {
            let (key, what) = named(&entry);
            match lines.get(&key) {
                Some(before) => self
                    .faults
                    .push(format!("line {line}: {what} stands twice, first in line {before}")),
                None => {
                    lines.insert(key, line);
                    once.push(entry);
                }
            }
        }
        once
    }
}

impl Unread {
    /// Notes what an entry is about that can't be read, as far as it says so.
    fn note(&mut self, name: &str, table: &DeValue<'_>) {
        let text = |key: &str| {
            let value = table.as_table().and_then(|table| table.get(key));
            value.and_then(|value| value.get_ref().as_str()).unwrap_or_default().to_owned()
        };
        match name {
            "partner" => drop(self.partners.insert(text("id"))),
            "programme" => drop(self.programmes.insert(text("code"))),
            "agreement" => drop(self.pairs.insert((text("programme"), text("to_programme")))),
            _ => self.published = true,
        }
    }
}

/// Whether a value begins or goes on at this place of the text; a table's keys may stand elsewhere than its name.
fn holds(value: &Spanned<DeValue<'_>>, at: usize) -> bool {
    let within = match value.get_ref() {
        DeValue::Table(table) => table.iter().any(|(key, value)| key.span().contains(&at) || holds(value, at)),
        DeValue::Array(array) => array.iter().any(|value| holds(value, at)),
        _ => false,
    };
    within || value.span().contains(&at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list of needed keys is that of the tables themselves.
    #[test]
    fn every_needed_key_is_told() {
        for (name, keys) in TABLES {
            let header = if name == "calendar" {
                "[calendar]".to_owned()
            } else {
                format!("[calendar]\nzone = \"UTC\"\n[[{name}]]")
            };
            let faults = Draft::parse(&header).expect("TOML").faults;
            let line = header.lines().count();
            let shown = header.lines().last().unwrap_or_default();
            let told: Vec<String> = keys.iter().map(|key| format!("line {line}: {shown} lacks `{key}`")).collect();
            assert_eq!(faults, told);
        }
    }
}
