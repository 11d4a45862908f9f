//! The trail of documents, recomputed: whatever is in force is what was signed, by those who had to sign it. Part of `clearing check`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::{
    agreement, bank_account, calendar, fx_rate, joined, payment, rate, settlement_window, signing_key, taken_out, tls_key,
};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::agreement::Terms;
use partner_sdk::banking::AccountTerms;
use partner_sdk::change::{Change, Proposal};
use partner_sdk::document::{Kind, State};
use partner_sdk::fx::FxTerms;
use partner_sdk::jws::{Compact, TYP_AGREEMENT, TYP_CHANGE, TYP_DISPUTE, VerifyingKey, sha256_hex};
use partner_sdk::wire::keys::{KeyName, Revocation, TYP_REVOCATION};
use partner_sdk::{Amount, KeyId, PartnerId};
use settlement::calendar::BEGINNING;
use settlement::{Calendar, NOTHING_DUE};

use super::admin::NETWORK;
use super::contested;
use super::directory::{load_directory, parties};
use super::documents::{self, Document, Signed};
use super::head::is_sandbox;
use super::people::{self, CLEARING, Known, NEWCOMER};
use ledger::directory::Directory;

/// Keys by their id, each with its owner.
type Owned = HashMap<String, (String, VerifyingKey)>;

/// Who has which key, revoked and left ones too. Nobody signs in another's role, whatever the ids of the keys are.
struct Keys {
    partners: Owned,
    people: Owned,
    clearing: Owned,
}

impl Keys {
    fn of(&self, kind: Kind, role: &str) -> &Owned {
        match (kind, role) {
            (_, CLEARING) => &self.clearing,
            (Kind::Agreement | Kind::Dispute, "proposer" | "counterparty") => &self.partners,
            _ => &self.people,
        }
    }
}

/// Every document whose signatures don't hold, and everything in force without a document that says so; empty when all is well; for one unchanging view of the database. `clearing` is the key
/// that countersigns; those before it are in the database.
pub fn check(conn: &mut Conn, kid: &KeyId, clearing: &VerifyingKey) -> Result<Vec<String>, DbError> {
    let directory = load_directory(conn)?;
    let mut own = people::clearing_keys(conn)?;
    own.insert(kid.to_string(), clearing.clone());
    let (founding, mut about_people) = (people::founding(conn)?, vec![]);
    documents::each(conn, Kind::Change, |one| {
        about_people.extend(Some(one).filter(people::is_about_people))
    })?;
    let known = people::known(&founding, &about_people, &own);
    let keys = keys(conn, &known, own)?;
    let (mut findings, mut agreed, mut changed) = (vec![], HashSet::new(), Changed::default());
    for kind in [Kind::Agreement, Kind::Change, Kind::Dispute] {
        documents::each(conn, kind, |document| {
            findings.extend(fault(&document, &keys, &directory).map(|why| format!("document {}: {why}", document.hash)));
            match kind {
                _ if !matches!(document.state, State::InForce | State::Superseded | State::Terminated) => {}
                // What its name says is what was signed, or that was found just now.
                Kind::Agreement => drop(agreed.insert(document.hash)),
                Kind::Change => changed.add(document),
                // How they came to their end is looked at below, whatever the end is.
                Kind::Dispute => {}
            }
        })?;
    }
    // Only in a sandbox is the network file's word enough, whose documents have no time of publication.
    let sandbox = is_sandbox(conn)?;
    let query = agreement::table.select((agreement::hash, agreement::published_at, agreement::terms));
    for (hash, published_at, terms) in each_backend!(conn, |c| query.load::<(String, i64, String)>(c))? {
        let by_file = sandbox && published_at == 0;
        let signed = agreed.contains(&hash) && sha256_hex(terms.as_bytes()) == hash;
        if !by_file && !signed {
            findings.push(format!("agreement {hash} is in force, and no signed document says so"));
        }
    }
    let query = rate::table.select((rate::hash, rate::published_at, rate::terms, rate::taken_back_by));
    for (hash, published_at, terms, taken_back) in each_backend!(conn, |c| query.load::<(String, i64, String, Option<String>)>(c))? {
        let by_file = sandbox && published_at == 0;
        if !by_file && !changed.published.contains(&sha256_hex(terms.as_bytes())) {
            findings.push(format!("rate or bonus {hash} is in force, and no signed document says so"));
        }
        if taken_back.is_some_and(|by| changed.taken_back.get(&by) != Some(&hash)) {
            findings.push(format!("rate or bonus {hash} is taken back, and no signed document says so"));
        }
    }
    findings.extend(unsigned_calendars(conn, &changed.calendars, &founding)?);
    findings.extend(people::findings(conn, &known)?);
    findings.extend(unsigned_revocations(conn, &known)?);
    findings.extend(unsigned_rates(conn, &changed.fx)?);
    findings.extend(unsigned_accounts(conn, &changed.accounts, sandbox)?);
    let disputed = contested::findings(conn, &changed.decided)?;
    findings.extend(disputed.findings);
    changed.revisions.extend(disputed.windows);
    if !sandbox {
        let leads = leads(conn)?;
        findings.extend(unsigned_joinings(&leads, &changed.joinings));
        findings.extend(unsigned_payments(conn, &changed, &leads)?);
        findings.extend(unsigned_revisions(conn, &changed, &leads)?);
    }
    Ok(findings)
}

/// What the changes in force say, by the hash of the document.
#[derive(Default)]
struct Changed {
    /// The SHA-256 of canonical terms.
    published: HashSet<String>,
    taken_back: HashMap<String, String>,
    /// First date and canonical terms.
    calendars: HashMap<String, (String, String)>,
    settled: HashMap<String, String>,
    /// The windows of which something was taken out, and of whom.
    revisions: HashMap<String, (String, String)>,
    /// Disputes that were decided, and how much isn't owed.
    decided: HashMap<String, (String, Amount)>,
    /// The windows that were joined; the last has the payments.
    joinings: HashMap<String, Vec<String>>,
    /// References of payments.
    confirmed: HashMap<String, HashSet<String>>,
    accounts: HashMap<String, AccountTerms>,
    fx: HashMap<String, FxTerms>,
}

impl Changed {
    fn add(&mut self, document: Document) {
        let Ok(proposal) = partner_sdk::document::read::<Proposal>(document.payload.as_bytes()) else {
            return;
        };
        let hash = document.hash;
        let published = |terms: String| sha256_hex(terms.as_bytes());
        let calendar = |first: Date, calendar: &Calendar| (first.to_string(), serde_json::to_string(calendar).unwrap_or_default());
        match proposal.change {
            Change::Rate(terms) => drop(self.published.insert(published(partner_sdk::document::write(&terms)))),
            Change::Bonus(terms) => drop(self.published.insert(published(partner_sdk::document::write(&terms)))),
            Change::TakeBack { published } => drop(self.taken_back.insert(hash, published)),
            Change::Calendar(terms) => drop(self.calendars.insert(hash, calendar(terms.first_date, &terms.calendar()))),
            Change::Found { calendar: first, .. } => drop(self.calendars.insert(hash, calendar(BEGINNING, &first))),
            Change::Settle { business_date } => drop(self.settled.insert(hash, business_date.to_string())),
            Change::Default { partner, business_date } => {
                self.revisions.insert(hash, (business_date.to_string(), partner.to_string()));
            }
            Change::Join { business_dates } => {
                let dates = business_dates.iter().map(Date::to_string);
                self.joinings.insert(hash, dates.collect());
            }
            Change::Confirm { payments, .. } => {
                let references = payments.into_iter().map(|paid| paid.reference.into());
                self.confirmed.insert(hash, references.collect());
            }
            Change::Decide { dispute, upheld } => drop(self.decided.insert(hash, (dispute, upheld))),
            Change::Fx(terms) => drop(self.fx.insert(hash, terms)),
            Change::Account(terms) => drop(self.accounts.insert(hash, terms)),
            _ => {}
        }
    }
}

/// Calendars that the documents which they name don't put in force. The first is the founding's, and before that the network file's.
fn unsigned_calendars(conn: &mut Conn, signed: &HashMap<String, (String, String)>, founding: &str) -> Result<Vec<String>, DbError> {
    let query = calendar::table.order(calendar::no);
    let mut findings = vec![];
    for (no, first, mut document, terms) in each_backend!(conn, |c| query.load::<(i32, String, String, String)>(c))? {
        if no == 1 {
            document = founding.to_owned();
        }
        if !(no == 1 && founding.is_empty()) && signed.get(&document) != Some(&(first.clone(), terms)) {
            findings.push(format!("calendar {no} (from {first}) is in force, and no signed document says so"));
        }
    }
    Ok(findings)
}

/// Keys that a person is said to have revoked, without its signature.
fn unsigned_revocations(conn: &mut Conn, known: &[Known]) -> Result<Vec<String>, DbError> {
    type Row = (String, Option<String>, Option<String>);
    let signing = signing_key::table.select((signing_key::kid, signing_key::revoked_by, signing_key::revocation));
    let tls = tls_key::table.select((tls_key::spki_sha256, tls_key::revoked_by, tls_key::revocation));
    let mut rows: Vec<Row> = each_backend!(conn, |c| signing.load(c))?;
    rows.extend(each_backend!(conn, |c| tls.load::<Row>(c))?);
    let mut findings = vec![];
    for (key, by, text) in rows {
        let Some(name) = by.as_deref().and_then(|by| by.strip_prefix("operator ")) else {
            continue;
        };
        if !text.is_some_and(|text| revoked(&text, &key, name, known)) {
            findings.push(format!("key {key} is revoked by {name}, and no signature says so"));
        }
    }
    Ok(findings)
}

/// Whether this is the person's signed word that this key is revoked.
fn revoked(text: &str, key: &str, name: &str, known: &[Known]) -> bool {
    let Ok(jws) = Compact::parse_as(text, TYP_REVOCATION) else {
        return false;
    };
    let by = known
        .iter()
        .find(|one| one.person.name == name && one.person.kid == jws.kid.as_str());
    let named = Revocation::parse(&jws.payload).is_ok_and(|revocation| match revocation.key {
        KeyName::Kid(kid) => kid.as_str() == key,
        KeyName::Spki(spki) => spki.to_string() == key,
    });
    named && by.is_some_and(|one| jws.verify(&one.person.key).is_ok())
}

/// The windows that are paid with others: with which, and by which document.
type Leads = BTreeMap<String, (String, String)>;

fn leads(conn: &mut Conn) -> Result<Leads, DbError> {
    let rows = joined::table.select((joined::business_date, (joined::lead, joined::document)));
    Ok(each_backend!(conn, |c| rows.load::<(String, (String, String))>(c))?
        .into_iter()
        .collect())
}

/// The window that has the payments of another: itself, where that is paid by itself.
fn lead_of<'a>(leads: &'a Leads, date: &'a String) -> &'a String {
    leads.get(date).map_or(date, |(lead, _)| lead)
}

/// Windows that are paid with others without two people's word.
fn unsigned_joinings(leads: &Leads, signed: &HashMap<String, Vec<String>>) -> Vec<String> {
    let is_signed = |(date, (lead, document)): &(&String, &(String, String))| {
        let named = signed.get(document).and_then(|dates| dates.split_last());
        named.is_some_and(|(last, others)| last == lead && others.contains(date))
    };
    let unsigned = leads.iter().filter(|one| !is_signed(one));
    unsigned
        .map(|(date, (lead, _))| format!("window {date} is paid with that of {lead}, and no signed document says so"))
        .collect()
}

/// Payments that are confirmed, and windows that are settled, without two people's word.
fn unsigned_payments(conn: &mut Conn, signed: &Changed, leads: &Leads) -> Result<Vec<String>, DbError> {
    let query = payment::table.filter(payment::confirmed_at.is_not_null());
    let query = query.select((payment::reference, payment::business_date, payment::confirmed_by));
    let payments = each_backend!(conn, |c| query.load::<(String, String, Option<String>)>(c))?;
    // Which documents have settled a part of which window.
    let mut parts: HashSet<(String, String)> = HashSet::new();
    let mut findings = vec![];
    for (reference, date, by) in payments {
        let by = by.unwrap_or_default();
        if signed.confirmed.get(&by).is_some_and(|named| named.contains(&reference)) {
            parts.insert((date, by));
        } else if signed.settled.get(&by) != Some(&date) {
            findings.push(format!("payment {reference} is confirmed, and no signed document says so"));
        }
    }
    let query = settlement_window::table
        .filter(settlement_window::settled_at.is_not_null())
        .select((
            settlement_window::business_date,
            settlement_window::settled_by,
            settlement_window::value_date.is_not_null(),
        ));
    for (date, by, is_paid_one_by_one) in each_backend!(conn, |c| query.load::<(String, Option<String>, bool)>(c))? {
        let by = by.unwrap_or_default();
        let has_payments = payment::table.filter(payment::business_date.eq(&date)).select(payment::reference);
        let is_signed = match by.as_str() {
            NOTHING_DUE => is_paid_one_by_one && each_backend!(conn, |c| has_payments.first::<String>(c).optional())?.is_none(),
            _ => {
                // Windows that are paid together are settled by what settles the one that has the payments.
                let lead = lead_of(leads, &date);
                let joining = signed.joinings.get(&by).and_then(|dates| dates.last());
                let revised = signed.revisions.get(&by).map(|(date, _)| lead_of(leads, date));
                let whole = [signed.settled.get(&by), revised, joining];
                whole.contains(&Some(lead)) || parts.contains(&(lead.clone(), by))
            }
        };
        if !is_signed {
            findings.push(format!("window {date} is settled, and no signed document says so"));
        }
    }
    Ok(findings)
}

/// What was taken out of windows, and payments in whose place others are, without two people's word: of whom they said so.
fn unsigned_revisions(conn: &mut Conn, signed: &Changed, leads: &Leads) -> Result<Vec<String>, DbError> {
    let taken = taken_out::table.select((
        taken_out::business_date,
        taken_out::document,
        taken_out::debtor,
        taken_out::creditor,
    ));
    let replaced = payment::table
        .filter(payment::replaced_by.is_not_null())
        .select((payment::business_date, payment::replaced_by.assume_not_null()));
    let made = payment::table
        .filter(payment::run.gt(1))
        .select((payment::business_date, payment::reference));
    let taken = each_backend!(conn, |c| taken.load::<(String, String, String, String)>(c))?;
    let revised: HashSet<&String> = taken.iter().map(|(date, ..)| lead_of(leads, date)).collect();
    let revised: HashSet<&String> = revised.into_iter().chain(leads.values().map(|(lead, _)| lead)).collect();
    let mut unsigned = BTreeSet::new();
    for (date, document, debtor, creditor) in &taken {
        let of = signed.revisions.get(document);
        let is_of = |of: &String| of == date || of == lead_of(leads, date);
        if !of.is_some_and(|(of, partner)| is_of(of) && (partner == debtor || partner == creditor)) {
            unsigned.insert(date.clone());
        }
    }
    for (date, document) in each_backend!(conn, |c| replaced.load::<(String, String)>(c))? {
        let by_revision = signed.revisions.get(&document);
        let by_revision = by_revision.is_some_and(|(of, _)| *of == date || lead_of(leads, of) == lead_of(leads, &date));
        let by_joining = signed.joinings.get(&document).is_some_and(|dates| dates.contains(&date));
        if !by_revision && !by_joining {
            unsigned.insert(date);
        }
    }
    let unsigned = unsigned.into_iter();
    let mut findings: Vec<String> = unsigned
        .map(|date| format!("window {date} is revised, and no signed document says so"))
        .collect();
    for (date, reference) in each_backend!(conn, |c| made.load::<(String, String)>(c))? {
        if !revised.contains(lead_of(leads, &date)) {
            findings.push(format!(
                "payment {reference} is of a revision of window {date}, and nothing was taken out of it or joined to it"
            ));
        }
    }
    Ok(findings)
}

/// Rates at which windows are converted that no document says.
fn unsigned_rates(conn: &mut Conn, signed: &HashMap<String, FxTerms>) -> Result<Vec<String>, DbError> {
    type Row = (String, String, String, i64, String);
    let mut findings = vec![];
    for (date, currency, into, micros, document) in each_backend!(conn, |c| fx_rate::table.load::<Row>(c))? {
        let says = |terms: &FxTerms| {
            let of_window = terms.business_date.to_string() == date && terms.payment_currency.as_str() == into;
            let mut rates = terms.rates.iter().filter(|one| one.currency.as_str() == currency);
            of_window && rates.any(|one| one.micros().is_some_and(|rate| rate.0 == micros))
        };
        if !signed.get(&document).is_some_and(says) {
            findings.push(format!("window {date} has a rate of {currency}, and no signed document says so"));
        }
    }
    Ok(findings)
}

/// Accounts that are in force without two people's word.
fn unsigned_accounts(conn: &mut Conn, signed: &HashMap<String, AccountTerms>, sandbox: bool) -> Result<Vec<String>, DbError> {
    type Row = (String, String, String, String, String, String);
    let mut findings = vec![];
    for (partner, currency, holder, account, bank, document) in each_backend!(conn, |c| bank_account::table.load::<Row>(c))? {
        let is_signed = signed.get(&document).is_some_and(|terms| {
            (terms.partner.as_str(), terms.currency.as_str()) == (&*partner, &*currency)
                && (&*terms.holder, &*terms.account, &*terms.bank) == (&*holder, &*account, &*bank)
        });
        let by_file = sandbox && document == NETWORK;
        if !by_file && !is_signed {
            findings.push(format!(
                "{partner} is paid in {currency} at an account that no signed document names"
            ));
        }
    }
    Ok(findings)
}

fn keys(conn: &mut Conn, known: &[Known], clearing: HashMap<String, VerifyingKey>) -> Result<Keys, DbError> {
    let partners = signing_key::table.select((signing_key::kid, signing_key::partner, signing_key::public_key));
    let person = |one: &Known| (one.person.kid.clone(), (one.person.name.clone(), one.person.key.clone()));
    Ok(Keys {
        partners: owned(each_backend!(conn, |c| partners.load(c))?)?,
        people: known.iter().map(person).collect(),
        clearing: clearing.into_iter().map(|(kid, key)| (kid, (CLEARING.to_owned(), key))).collect(),
    })
}

fn owned(rows: Vec<(String, String, String)>) -> Result<Owned, DbError> {
    let read = |(kid, owner, key): (String, String, String)| {
        let key = VerifyingKey::from_base64url(&key).map_err(|e| DbError::Corrupt(format!("a public key: {e}")))?;
        Ok((kid, (owner, key)))
    };
    rows.into_iter().map(read).collect()
}

/// What is wrong with a document, if anything is.
fn fault(document: &Document, keys: &Keys, directory: &Directory) -> Option<String> {
    if document.general().hash() != document.hash {
        return Some("its payload isn't what its name says".to_owned());
    }
    let typ = match document.kind {
        Kind::Agreement => TYP_AGREEMENT,
        Kind::Change => TYP_CHANGE,
        Kind::Dispute => TYP_DISPUTE,
    };
    let signed = |role: &str| document.signatures.iter().find(|one| one.role == role);
    let newcomer = people::newcomer(document);
    let verifies = |one: &Signed| {
        // Who is to come is no person yet: the document itself says by which key.
        if one.role == NEWCOMER {
            return newcomer.as_ref().is_some_and(|person| person.has_accepted(document));
        }
        let known = keys.of(document.kind, &one.role).get(one.signature.kid.as_str());
        known.is_some_and(|(owner, key)| {
            *owner == one.signer && one.signature.typ == typ && one.signature.verify(document.payload.as_bytes(), key).is_ok()
        })
    };
    if let Some(bad) = document.signatures.iter().find(|one| !verifies(one)) {
        return Some(format!("the signature of {} as {} doesn't hold", bad.signer, bad.role));
    }
    let in_force = matches!(document.state, State::InForce | State::Superseded | State::Terminated);
    let signers = |role: &str| signed(role).map(|one| one.signer.as_str());
    let mut needed = vec!["proposer"];
    if in_force && document.kind != Kind::Dispute {
        needed.extend(["approver", CLEARING]);
        needed.extend(newcomer.as_ref().map(|_| NEWCOMER));
    }
    if let Some(missing) = needed.into_iter().find(|role| signed(role).is_none()) {
        return Some(format!("it is {} without the signature of the {missing}", document.state));
    }
    match document.kind {
        Kind::Change if signers("proposer") == signers("approver") => Some("one person has proposed and approved it".to_owned()),
        Kind::Change | Kind::Dispute => None,
        Kind::Agreement => {
            // Who has to have signed follows from the terms, not from the row beside them.
            let terms: Terms = partner_sdk::document::read(document.payload.as_bytes()).ok()?;
            let (partner, issuer) = parties(directory, &terms)?;
            let both = [signers("proposer"), signers("counterparty")];
            let lacks = |party: &PartnerId| !both.contains(&Some(party.as_str()));
            let due = if in_force || document.state == State::Signed {
                vec![partner, issuer]
            } else {
                vec![]
            };
            let missing = due.into_iter().find(|party| lacks(party));
            missing.map(|party| format!("it is {} without the signature of {party}", document.state))
        }
    }
}
