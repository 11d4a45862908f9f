//! Reads all reference data, and checks documents against it.

use anyhow::Context;
use std::sync::Arc;

use diesel::prelude::*;
use jiff::Timestamp;
use migrations::schema::{agreement, clearing_key, head, net_debit_cap, partner, person, programme, rate, signing_key, tls_key};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::agreement::{Agreement, AgreementKind, Terms, TermsError};
use partner_sdk::change::Custody;
use partner_sdk::jws::VerifyingKey;
use partner_sdk::rate::{Bonus, BonusTerms, Rate, RateTerms};
use partner_sdk::{Currency, Money, PartnerId, ProgrammeCode};

use super::rows::read;
use ledger::directory::{Directory, Numbered, Partner, Programme, ProgrammeTerms};
use ledger::keyring::{Key, Keyring, TlsKey};
use ledger::timestamp;

/// The reference data as this connection sees it: what is known already, where it hasn't grown.
pub fn current_directory(conn: &mut Conn, known: &Arc<Directory>) -> Result<Arc<Directory>, DbError> {
    match super::directory_version(conn)? == known.version {
        true => Ok(known.clone()),
        false => Ok(Arc::new(load_directory(conn)?)),
    }
}

/// Reads all reference data.
pub fn load_directory(conn: &mut Conn) -> Result<Directory, DbError> {
    let version: i64 = each_backend!(conn, |c| head::table.select(head::directory_version).first(c))?;
    let zones = settlement::calendars(conn)?.zones();
    let zones = zones.map_err(|e| DbError::Corrupt(format!("calendar: {e}")))?;
    let mut directory = Directory::new(version, zones);
    load_partners(conn, &mut directory)?;
    directory.keys = load_keys(conn)?;
    for text in each_backend!(conn, |c| programme::table.select(programme::terms).load::<String>(c))? {
        let terms: ProgrammeTerms = json(&text, "programme.terms")?;
        directory
            .programmes
            .insert(terms.code.clone(), Programme::new(terms).map_err(DbError::Corrupt)?);
    }
    for (no, _, published_at, ends_at, text) in each_backend!(conn, |c| agreement::table.order(agreement::no).load::<(
        i32,
        String,
        i64,
        Option<i64>,
        String
    )>(c))?
    {
        let item = check_agreement(&directory, &json(&text, "agreement.terms")?)
            .map_err(|e| DbError::Corrupt(format!("agreement {no}: {e:#}")))?;
        let own = (item.terms.valid_from, item.terms.valid_until);
        directory.add_agreement(Numbered::new(no, item, own, published_at).ending(ends_at.map(timestamp)));
    }
    load_rates(conn, &mut directory)?;
    Ok(directory)
}

/// What `rate.kind` may be.
pub(super) const RATE: &str = "rate";
pub(super) const BONUS: &str = "bonus";

/// Rates and bonuses under the agreements that they were published under, whatever has become of those since.
fn load_rates(conn: &mut Conn, directory: &mut Directory) -> Result<(), DbError> {
    let query = rate::table
        .select((
            rate::no,
            rate::kind,
            rate::agreement,
            rate::published_at,
            rate::terms,
            rate::taken_back_by,
        ))
        .order(rate::no);
    for (no, kind, under, published_at, text, taken_back) in
        each_backend!(conn, |c| query.load::<(i32, String, i32, i64, String, Option<String>)>(c))?
    {
        if taken_back.is_some() {
            directory.remove_published(no);
            continue;
        }
        let corrupt = |why: String| DbError::Corrupt(format!("{kind} {no}: {why}"));
        let agreement = directory
            .agreement_no(under)
            .ok_or_else(|| corrupt("there is no such agreement".into()))?;
        match kind.as_str() {
            RATE => {
                let terms: RateTerms = json(&text, "rate.terms")?;
                let scale = |code| scale_of(directory, code).map_err(|e| corrupt(format!("{e:#}")));
                let (from, to) = (scale(&terms.programme)?, scale(&terms.to_programme)?);
                let item = Rate::new(terms, from, to, &agreement.item).map_err(|e| corrupt(e.to_string()))?;
                let own = (item.terms.valid_from, item.terms.valid_until);
                directory.add_rate(Numbered::new(no, item, own, published_at).under(under));
            }
            BONUS => {
                let item = Bonus::new(json(&text, "rate.terms")?, &agreement.item).map_err(|e| corrupt(e.to_string()))?;
                let own = (item.terms.valid_from, Some(item.terms.valid_until));
                directory.add_bonus(Numbered::new(no, item, own, published_at).under(under));
            }
            _ => return Err(DbError::Corrupt("rate.kind".into())),
        }
    }
    Ok(())
}

fn json<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|e| DbError::Corrupt(format!("{what}: {e}")))
}

fn load_partners(conn: &mut Conn, directory: &mut Directory) -> Result<(), DbError> {
    for (id, name, status) in each_backend!(conn, |c| partner::table.load::<(String, String, String)>(c))? {
        let id: PartnerId = read(&id, "partner.id")?;
        let status = read(&status, "partner.status")?;
        directory.partners.insert(
            id.clone(),
            Partner {
                id,
                name,
                status,
                caps: Default::default(),
            },
        );
    }
    for (partner, currency, micros) in each_backend!(conn, |c| net_debit_cap::table.load::<(String, String, i64)>(c))? {
        let currency: Currency = read(&currency, "net_debit_cap.currency")?;
        if let Some(partner) = directory.partners.get_mut(&read::<PartnerId>(&partner, "net_debit_cap.partner")?) {
            partner.caps.insert(currency, Money(micros));
        }
    }
    Ok(())
}

/// Terms in smallest units, where they fit the partners and programmes that there are.
pub fn check_agreement(directory: &Directory, terms: &Terms) -> Result<Agreement, TermsError> {
    let fault = |field, why: String| TermsError { field, why };
    let programme = |field, code: &ProgrammeCode| {
        let known = directory.programmes.get(code);
        known
            .map(|p| &p.terms)
            .ok_or_else(|| fault(field, format!("names no programme: {code}")))
    };
    if !directory.partners.contains_key(&terms.partner) {
        return Err(fault("partner", format!("names no partner: {}", terms.partner)));
    }
    let from = programme("programme", &terms.programme)?;
    let priced = terms.to_programme.as_ref().map_or(Ok(from), |to| programme("to_programme", to))?;
    if terms.kind == AgreementKind::Exchange {
        if from.issuer != terms.partner {
            return Err(fault(
                "partner",
                format!("must be the issuer of {}, whose points are exchanged", terms.programme),
            ));
        }
        if terms.to_programme.as_ref() == Some(&terms.programme) {
            return Err(fault("to_programme", "must be another programme".to_owned()));
        }
    } else if from.custody == Custody::External {
        return Err(fault(
            "programme",
            "keeps its balances elsewhere: only exchanges with it are cleared here".to_owned(),
        ));
    }
    if terms.prepaid.is_some() && from.issuer == terms.partner {
        return Err(fault("prepaid", "is for others: an issuer buys no points of its own".to_owned()));
    }
    Agreement::new(terms.clone(), from.scale, priced.scale)
}

/// Who signs an agreement: the partner, and the issuer of the points that it is about.
pub fn parties<'a>(directory: &'a Directory, terms: &'a Terms) -> Option<(&'a PartnerId, &'a PartnerId)> {
    let issued = terms.to_programme.as_ref().unwrap_or(&terms.programme);
    Some((&terms.partner, &directory.programmes.get(issued)?.terms.issuer))
}

/// The exchange agreement in force when the rate starts, which isn't before `published`, and the rate in smallest units.
pub fn check_rate(directory: &Directory, terms: &RateTerms, published: Timestamp) -> anyhow::Result<(i32, Rate)> {
    let (from, to) = (scale_of(directory, &terms.programme)?, scale_of(directory, &terms.to_programme)?);
    let agreement = directory
        .exchange_agreement(&terms.programme, &terms.to_programme, terms.valid_from.max(published))
        .context("no exchange agreement is in force when the rate starts")?;
    Ok((agreement.no, Rate::new(terms.clone(), from, to, &agreement.item)?))
}

/// The exchange agreement in force when the bonus starts, which isn't before `published`, and the bonus in smallest units.
pub fn check_bonus(directory: &Directory, terms: &BonusTerms, published: Timestamp) -> anyhow::Result<(i32, Bonus)> {
    scale_of(directory, &terms.programme)?;
    scale_of(directory, &terms.to_programme)?;
    let agreement = directory
        .exchange_agreement(&terms.programme, &terms.to_programme, terms.valid_from.max(published))
        .context("no exchange agreement is in force when the bonus starts")?;
    Ok((agreement.no, Bonus::new(terms.clone(), &agreement.item)?))
}

fn scale_of(directory: &Directory, code: &ProgrammeCode) -> anyhow::Result<u32> {
    let programme = directory.programmes.get(code);
    Ok(programme.with_context(|| format!("there is no programme {code}"))?.terms.scale)
}

/// All keys, also those of people who have left.
pub(super) fn load_keys(conn: &mut Conn) -> Result<Keyring, DbError> {
    type Signing = (String, String, String, i64, Option<i64>, i64, Option<i64>);
    let mut ring = Keyring::default();
    let query = signing_key::table.select((
        signing_key::kid,
        signing_key::partner,
        signing_key::public_key,
        signing_key::valid_from,
        signing_key::valid_until,
        signing_key::registered_at,
        signing_key::revoked_at,
    ));
    for (kid, owner, key, from, until, registered, revoked) in each_backend!(conn, |c| query.load::<Signing>(c))? {
        let key = VerifyingKey::from_base64url(&key).map_err(|e| DbError::Corrupt(format!("signing_key.public_key: {e}")))?;
        let key = Key {
            partner: read(&owner, "signing_key.partner")?,
            // All of them, revoked ones too, and nobody's: how long a refusal takes tells nothing.
            key: key.with_table(),
            valid_from: timestamp(from),
            valid_until: until.map(timestamp),
            registered_at: timestamp(registered),
            revoked_at: revoked.map(timestamp),
        };
        ring.put_signing(read(&kid, "signing_key.kid")?, key);
    }
    let query = tls_key::table.select((tls_key::spki_sha256, tls_key::partner, tls_key::registered_at, tls_key::revoked_at));
    for (spki, owner, registered, revoked) in each_backend!(conn, |c| query.load::<(String, String, i64, Option<i64>)>(c))? {
        let key = TlsKey {
            partner: read(&owner, "tls_key.partner")?,
            registered_at: timestamp(registered),
            revoked_at: revoked.map(timestamp),
        };
        ring.put_tls(read(&spki, "tls_key.spki_sha256")?, key);
    }
    // People who have left stay in the trail, and so do their keys.
    let query = person::table.select((person::kid, person::public_key));
    let mut others = each_backend!(conn, |c| query.load::<(String, String)>(c))?;
    let query = clearing_key::table.select((clearing_key::kid, clearing_key::public_key));
    others.extend(each_backend!(conn, |c| query.load::<(String, String)>(c))?);
    for (kid, key) in others {
        let key = VerifyingKey::from_base64url(&key).map_err(|e| DbError::Corrupt(format!("a public key: {e}")))?;
        ring.put_other(read(&kid, "kid")?, key);
    }
    Ok(ring)
}
