//! The reference data, as the ledger and the edge look it up: partners, keys, programmes, agreements, rates, bonuses. Immutable; a change makes a new one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use partner_sdk::agreement::{Agreement, AgreementKind, Terms};
use partner_sdk::change::Custody;
pub use partner_sdk::change::{ProgrammeTerms, Status};
use partner_sdk::rate::{Bonus, BonusTerms, Rate};
use partner_sdk::text::folded;
use partner_sdk::{Currency, Money, PartnerId, Points, ProgrammeCode};

use crate::keyring::Keyring;

/// A legal party.
#[derive(Debug, Clone)]
pub struct Partner {
    /// Its id.
    pub id: PartnerId,
    /// Its name, for people.
    pub name: String,
    /// Where it stands in its life.
    pub status: Status,
    /// The most that it may owe, net, over all windows not yet settled. A currency without a cap is unlimited.
    pub caps: HashMap<Currency, Money>,
}

/// How long points of a new programme live at most, in years: what is longer would be never, without saying so.
const LONGEST_LIFE: i64 = 100;

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
    /// Checks the rules of a new programme: those of one that is there, and that its points expire at all where it says so.
    pub fn admit(terms: ProgrammeTerms) -> Result<Self, String> {
        let programme = Self::new(terms)?;
        let longest = |span: &Span| span.compare((LONGEST_LIFE.years(), date(2000, 1, 1)));
        match programme.expires_after.as_ref().map(longest) {
            Some(Ok(Ordering::Less | Ordering::Equal)) | None => Ok(programme),
            Some(_) => Err(format!(
                "programme {}: expires_after must be at most {LONGEST_LIFE} years; leave it out for points that never expire",
                programme.terms.code
            )),
        }
    }

    /// Checks the rules; the error says which is wrong and why.
    pub fn new(terms: ProgrammeTerms) -> Result<Self, String> {
        if terms.scale > 2 {
            return Err(format!("programme {}: scale must be 0, 1 or 2", terms.code));
        }
        let negative_limit = terms.negative_limit.map_or(Ok(0), |a| a.to_units(terms.scale));
        let negative_limit = Points(negative_limit.map_err(|e| format!("programme {}: negative_limit is {e}", terms.code))?);
        let expires_after = terms.expires_after.as_deref().map(whole_days).transpose();
        let expires_after = expires_after.map_err(|why| format!("programme {}: expires_after {why}", terms.code))?;
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

/// Reads how long points live. They expire with a local day, so hours and less would mean nothing.
fn whole_days(text: &str) -> Result<Span, &'static str> {
    const FORM: &str = "must be days, weeks, months or years above zero, such as `90 days`, `12 months` or `1 year 6 months`";
    let span: Span = text.parse().map_err(|_| FORM)?;
    let days = Span::new();
    let days = days.try_years(span.get_years()).and_then(|days| days.try_months(span.get_months()));
    let days = days
        .and_then(|days| days.try_weeks(span.get_weeks()))
        .and_then(|days| days.try_days(span.get_days()));
    match days {
        Ok(days) if days.fieldwise() == span.fieldwise() && !span.is_negative() && !span.is_zero() => Ok(span),
        _ => Err(FORM),
    }
}

/// A document with the number that rows refer to it by.
#[derive(Debug, Clone)]
pub struct Numbered<T> {
    /// The row's number.
    pub no: i32,
    /// The document.
    pub item: T,
    /// In force from this instant: its own date, but never from before it was published.
    pub from: Timestamp,
    /// In force until before this instant, unless a later version starts first.
    pub until: Option<Timestamp>,
    /// For a rate or bonus: the number of the agreement that it was published under.
    pub under: Option<i32>,
}

impl<T> Numbered<T> {
    /// A document that was published at `published_at` (0: on its own date), in microseconds since 1970.
    pub fn new(no: i32, item: T, own: (Timestamp, Option<Timestamp>), published_at: i64) -> Self {
        let (from, until) = own;
        let published = if published_at == 0 {
            from
        } else {
            crate::time::timestamp(published_at)
        };
        Self {
            no,
            item,
            from: from.max(published),
            until,
            under: None,
        }
    }

    /// The same, published under an agreement.
    pub fn under(self, agreement: i32) -> Self {
        Self {
            under: Some(agreement),
            ..self
        }
    }

    /// The same, ended by notice at `ends_at`.
    pub fn ending(self, ends_at: Option<Timestamp>) -> Self {
        let until = [self.until, ends_at].into_iter().flatten().min();
        Self { until, ..self }
    }
}

/// The version in force at an instant among those of one thing, latest start first: the latest that has started, unless it has ended.
fn in_force<T>(versions: &[Arc<Numbered<T>>], at: Timestamp) -> Option<&Arc<Numbered<T>>> {
    let latest = versions.iter().find(|version| version.from <= at)?;
    latest.until.is_none_or(|until| at < until).then_some(latest)
}

/// What an agreement is looked up by: kind, partner, programme, and for an exchange the programme that takes.
pub type AgreementKey = (AgreementKind, PartnerId, ProgrammeCode, Option<ProgrammeCode>);

/// What these terms are looked up by.
pub fn agreement_key(terms: &Terms) -> AgreementKey {
    (
        terms.kind,
        terms.partner.clone(),
        terms.programme.clone(),
        terms.to_programme.clone(),
    )
}

/// The programme that gives and the one that takes.
type Pair = (ProgrammeCode, ProgrammeCode);

/// All reference data of one version.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Grows with every change.
    pub version: i64,
    /// The zones of the members' day, each with the instant from which it counts.
    zones: Vec<(Timestamp, TimeZone)>,
    /// By id.
    pub partners: HashMap<PartnerId, Partner>,
    /// Their keys.
    pub keys: Keyring,
    /// By code.
    pub programmes: HashMap<ProgrammeCode, Programme>,
    agreements: HashMap<AgreementKey, Vec<Arc<Numbered<Agreement>>>>,
    by_no: HashMap<i32, Arc<Numbered<Agreement>>>,
    by_hash: HashMap<String, Arc<Numbered<Agreement>>>,
    rates: BTreeMap<Pair, Vec<Arc<Numbered<Rate>>>>,
    rates_by_no: HashMap<i32, Arc<Numbered<Rate>>>,
    bonuses: HashMap<Pair, Vec<Arc<Numbered<Bonus>>>>,
    bonuses_by_no: HashMap<i32, Arc<Numbered<Bonus>>>,
    /// The highest number of one that was taken back.
    last_rate_no: i32,
}

impl Directory {
    /// A directory without agreements, rates or bonuses.
    pub fn new(version: i64, zones: Vec<(Timestamp, TimeZone)>) -> Self {
        Self {
            version,
            zones,
            partners: HashMap::new(),
            keys: Keyring::default(),
            programmes: HashMap::new(),
            agreements: HashMap::new(),
            by_no: HashMap::new(),
            by_hash: HashMap::new(),
            rates: BTreeMap::new(),
            rates_by_no: HashMap::new(),
            bonuses: HashMap::new(),
            bonuses_by_no: HashMap::new(),
            last_rate_no: 0,
        }
    }

    /// The zone of the members' day at an instant; UTC before there is a calendar.
    pub fn zone_at(&self, at: Timestamp) -> TimeZone {
        let begun = self.zones.iter().rev().find(|(from, _)| *from <= at);
        begun.map_or(TimeZone::UTC, |(_, zone)| zone.clone())
    }

    /// Another partner whose name a reader may take for this one: case and blanks don't tell names apart.
    pub fn namesake(&self, id: &PartnerId, name: &str) -> Option<&PartnerId> {
        let name = folded(name);
        let mut others = self.partners.values().filter(|other| other.id != *id);
        others.find(|other| folded(&other.name) == name).map(|other| &other.id)
    }

    /// Whether there is a programme whose issuer keeps the balances itself.
    pub fn any_external(&self) -> bool {
        self.programmes.values().any(|p| p.terms.custody == Custody::External)
    }

    /// Adds an agreement.
    pub fn add_agreement(&mut self, agreement: Numbered<Agreement>) {
        let agreement = Arc::new(agreement);
        self.by_no.insert(agreement.no, agreement.clone());
        self.by_hash.insert(agreement.item.hash.clone(), agreement.clone());
        // What was ended before it began stands in nobody's way.
        if agreement.until.is_some_and(|until| until <= agreement.from) {
            return;
        }
        let versions = self.agreements.entry(agreement_key(&agreement.item.terms)).or_default();
        versions.push(agreement);
        versions.sort_by_key(|a| std::cmp::Reverse(a.from));
    }

    /// Adds a rate.
    pub fn add_rate(&mut self, rate: Numbered<Rate>) {
        let pair = (rate.item.terms.programme.clone(), rate.item.terms.to_programme.clone());
        let rate = Arc::new(rate);
        let versions = self.rates.entry(pair).or_default();
        versions.push(rate.clone());
        versions.sort_by_key(|r| std::cmp::Reverse(r.from));
        self.rates_by_no.insert(rate.no, rate);
    }

    /// Adds a bonus.
    pub fn add_bonus(&mut self, bonus: Numbered<Bonus>) {
        let pair = (bonus.item.terms.programme.clone(), bonus.item.terms.to_programme.clone());
        let bonus = Arc::new(bonus);
        self.bonuses.entry(pair).or_default().push(bonus.clone());
        self.bonuses_by_no.insert(bonus.no, bonus);
    }

    /// Takes a rate or bonus out; its number isn't given again.
    pub fn remove_published(&mut self, no: i32) {
        self.last_rate_no = self.last_rate_no.max(no);
        self.rates_by_no.remove(&no);
        self.bonuses_by_no.remove(&no);
        self.rates.values_mut().for_each(|versions| versions.retain(|rate| rate.no != no));
        self.bonuses.values_mut().for_each(|all| all.retain(|bonus| bonus.no != no));
    }

    /// The agreement in force at an instant: the one with the latest start, unless it has ended.
    pub fn agreement(&self, key: &AgreementKey, at: Timestamp) -> Option<&Arc<Numbered<Agreement>>> {
        in_force(self.agreements.get(key)?, at)
    }

    /// The exchange agreement between two programmes that is in force at an instant.
    pub fn exchange_agreement(&self, from: &ProgrammeCode, to: &ProgrammeCode, at: Timestamp) -> Option<&Arc<Numbered<Agreement>>> {
        let issuer = self.programmes.get(from)?.terms.issuer.clone();
        self.agreement(&(AgreementKind::Exchange, issuer, from.clone(), Some(to.clone())), at)
    }

    /// All versions of an agreement, latest start first.
    pub fn versions(&self, key: &AgreementKey) -> &[Arc<Numbered<Agreement>>] {
        self.agreements.get(key).map_or(&[], Vec::as_slice)
    }

    /// The agreement of a content hash.
    pub fn agreement_named(&self, hash: &str) -> Option<&Arc<Numbered<Agreement>>> {
        self.by_hash.get(hash)
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
        in_force(self.rates.get(&(from.clone(), to.clone()))?, at)
    }

    /// The rate that a row refers to.
    pub fn rate_no(&self, no: i32) -> Option<&Arc<Numbered<Rate>>> {
        self.rates_by_no.get(&no)
    }

    /// Every rate, in no order.
    pub fn rates(&self) -> impl Iterator<Item = &Arc<Numbered<Rate>>> {
        self.rates_by_no.values()
    }

    /// When a rate ends, where that is known: by its own terms, or where a later one of the same programmes starts.
    pub fn rate_ends(&self, rate: &Numbered<Rate>) -> Option<Timestamp> {
        let pair = (rate.item.terms.programme.clone(), rate.item.terms.to_programme.clone());
        let later = self.rates.get(&pair).into_iter().flatten().filter(|other| other.from > rate.from);
        later.map(|other| other.from).chain(rate.until).min()
    }

    /// The rates in force at an instant, in the order of their programmes.
    pub fn rates_at(&self, at: Timestamp) -> impl Iterator<Item = &Arc<Numbered<Rate>>> {
        self.rates.values().filter_map(move |versions| in_force(versions, at))
    }

    /// The bonus in force at an instant. Published ones don't overlap, so there is at most one.
    pub fn bonus(&self, from: &ProgrammeCode, to: &ProgrammeCode, at: Timestamp) -> Option<&Arc<Numbered<Bonus>>> {
        let mut bonuses = self.bonuses.get(&(from.clone(), to.clone()))?.iter();
        bonuses.find(|b| b.from <= at && b.until.is_none_or(|until| at < until))
    }

    /// The bonus that a row refers to.
    pub fn bonus_no(&self, no: i32) -> Option<&Arc<Numbered<Bonus>>> {
        self.bonuses_by_no.get(&no)
    }

    /// Every bonus, in no order.
    pub fn bonuses(&self) -> impl Iterator<Item = &Arc<Numbered<Bonus>>> {
        self.bonuses_by_no.values()
    }

    /// A bonus of the same programmes that is in force at some instant of this one's period.
    pub fn overlapping(&self, terms: &BonusTerms) -> Option<&BonusTerms> {
        let overlaps = |b: &&BonusTerms| {
            let pair = b.programme == terms.programme && b.to_programme == terms.to_programme;
            pair && b.valid_from < terms.valid_until && terms.valid_from < b.valid_until
        };
        self.bonuses().map(|b| &b.item.terms).find(overlaps)
    }

    /// The next number of a rate or bonus: they are numbered in one sequence.
    pub fn next_rate_no(&self) -> i32 {
        let used = self.rates_by_no.keys().chain(self.bonuses_by_no.keys()).max();
        1 + used.copied().unwrap_or(0).max(self.last_rate_no)
    }
}
