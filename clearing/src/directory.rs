//! The reference data, as the ledger and the edge look it up: partners, keys, programmes, agreements, rates. Immutable; a change makes a new one.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use partner_sdk::agreement::{Agreement, AgreementKind, Rate};
pub use partner_sdk::change::{ProgrammeTerms, Status};
use partner_sdk::jws::VerifyingKey;
use partner_sdk::{Currency, KeyId, Money, PartnerId, Points, ProgrammeCode};

/// A legal party.
#[derive(Debug, Clone)]
pub struct Partner {
    /// Its id.
    pub id: PartnerId,
    /// Its name, for people.
    pub name: String,
    /// Where it stands in its life.
    pub status: Status,
    /// SHA-256 of its TLS certificate's public key; `None` until it is registered.
    pub spki: Option<[u8; 32]>,
    /// The most that it may owe, net, over all windows not yet settled. A currency without a cap is unlimited.
    pub caps: HashMap<Currency, Money>,
}

/// A point currency, in smallest units.
#[derive(Debug, Clone)]
pub struct Programme {
    /// The rules as written.
    pub terms: ProgrammeTerms,
    /// How far below zero a reversal may take a balance.
    pub negative_limit: Points,
    expires_after: Option<Span>,
}

impl Programme {
    /// Checks the rules; the error says which is wrong and why.
    pub fn new(terms: ProgrammeTerms) -> Result<Self, String> {
        if terms.scale > 2 {
            return Err(format!("programme {}: scale must be 0, 1 or 2", terms.code));
        }
        let negative_limit = terms.negative_limit.map_or(Ok(0), |a| a.to_units(terms.scale));
        let negative_limit = Points(negative_limit.map_err(|e| format!("programme {}: negative_limit is {e}", terms.code))?);
        let span = terms.expires_after.as_deref().map(str::parse::<Span>).transpose();
        let expires_after = span.map_err(|e| format!("programme {}: expires_after: {e}; write e.g. `12 months`", terms.code))?;
        if expires_after.is_some_and(|s| s.is_negative() || s.is_zero()) {
            return Err(format!("programme {}: expires_after must be positive", terms.code));
        }
        Ok(Self {
            terms,
            negative_limit,
            expires_after,
        })
    }

    /// When points earned at `occurred_at` expire, in microseconds since 1970: the end of the local day; `i64::MAX` for never.
    pub fn expiry(&self, occurred_at: Timestamp, zone: &TimeZone) -> i64 {
        let Some(span) = self.expires_after else { return i64::MAX };
        let last_day = occurred_at.to_zoned(zone.clone()).checked_add(span);
        let end = last_day
            .and_then(|z| z.date().checked_add(1.day()))
            .and_then(|d| d.to_zoned(zone.clone()));
        // What lies beyond the calendar's end never expires.
        end.map_or(i64::MAX, |z| z.timestamp().as_microsecond())
    }
}

/// A document with the number that rows refer to it by.
#[derive(Debug, Clone)]
pub struct Numbered<T> {
    /// The row's number.
    pub no: i32,
    /// The document.
    pub item: T,
}

/// What an agreement is looked up by: kind, partner, programme, and for an exchange the programme that takes.
pub type AgreementKey = (AgreementKind, PartnerId, ProgrammeCode, Option<ProgrammeCode>);

/// All reference data of one version.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Grows with every change.
    pub version: i64,
    /// The zone of the business day.
    pub zone: TimeZone,
    /// By id.
    pub partners: HashMap<PartnerId, Partner>,
    /// By certificate key.
    pub by_spki: HashMap<[u8; 32], PartnerId>,
    /// Signing keys with their owners.
    pub keys: HashMap<KeyId, (PartnerId, VerifyingKey)>,
    /// By code.
    pub programmes: HashMap<ProgrammeCode, Programme>,
    agreements: HashMap<AgreementKey, Vec<Arc<Numbered<Agreement>>>>,
    by_no: HashMap<i32, Arc<Numbered<Agreement>>>,
    rates: HashMap<(ProgrammeCode, ProgrammeCode), Vec<Arc<Numbered<Rate>>>>,
}

impl Directory {
    /// A directory without agreements or rates.
    pub fn new(version: i64, zone: TimeZone) -> Self {
        Self {
            version,
            zone,
            partners: HashMap::new(),
            by_spki: HashMap::new(),
            keys: HashMap::new(),
            programmes: HashMap::new(),
            agreements: HashMap::new(),
            by_no: HashMap::new(),
            rates: HashMap::new(),
        }
    }

    /// Adds an agreement.
    pub fn add_agreement(&mut self, no: i32, item: Agreement) {
        let terms = &item.terms;
        let key = (
            terms.kind,
            terms.partner.clone(),
            terms.programme.clone(),
            terms.to_programme.clone(),
        );
        let agreement = Arc::new(Numbered { no, item });
        let versions = self.agreements.entry(key).or_default();
        versions.push(agreement.clone());
        versions.sort_by_key(|a| std::cmp::Reverse(a.item.terms.valid_from));
        self.by_no.insert(no, agreement);
    }

    /// Adds a rate.
    pub fn add_rate(&mut self, no: i32, item: Rate) {
        let versions = self
            .rates
            .entry((item.terms.programme.clone(), item.terms.to_programme.clone()))
            .or_default();
        versions.push(Arc::new(Numbered { no, item }));
        versions.sort_by_key(|r| std::cmp::Reverse(r.item.terms.valid_from));
    }

    /// The agreement in force at an instant: the one with the latest start, unless it has ended.
    pub fn agreement(&self, key: &AgreementKey, at: Timestamp) -> Option<&Arc<Numbered<Agreement>>> {
        let latest = self.agreements.get(key)?.iter().find(|a| a.item.terms.valid_from <= at)?;
        latest.item.terms.valid_until.is_none_or(|until| at < until).then_some(latest)
    }

    /// The agreement that a row refers to.
    pub fn agreement_no(&self, no: i32) -> Option<&Arc<Numbered<Agreement>>> {
        self.by_no.get(&no)
    }

    /// Every agreement, in no order.
    pub fn agreements(&self) -> impl Iterator<Item = &Arc<Numbered<Agreement>>> {
        self.by_no.values()
    }

    /// The rate in force at an instant.
    pub fn rate(&self, from: &ProgrammeCode, to: &ProgrammeCode, at: Timestamp) -> Option<&Arc<Numbered<Rate>>> {
        let latest = self
            .rates
            .get(&(from.clone(), to.clone()))?
            .iter()
            .find(|r| r.item.terms.valid_from <= at)?;
        latest.item.terms.valid_until.is_none_or(|until| at < until).then_some(latest)
    }

    /// Every rate, in no order.
    pub fn rates(&self) -> impl Iterator<Item = &Arc<Numbered<Rate>>> {
        self.rates.values().flatten()
    }
}
