//! The trail of documents, recomputed: whatever is in force is what was signed, by those who had to sign it. Part of `clearing check`.

use std::collections::HashMap;

use diesel::prelude::*;
use migrations::schema::{agreement, calendar, clearing_key, person, rate, signing_key};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::agreement::Terms;
use partner_sdk::change::{Change, Proposal};
use partner_sdk::document::{Kind, State};
use partner_sdk::jws::{TYP_AGREEMENT, TYP_CHANGE, VerifyingKey};
use partner_sdk::{KeyId, PartnerId};

use super::admin::is_sandbox;
use super::directory::{load_directory, parties};
use super::documents::{self, Document, Signed};
use crate::directory::Directory;

/// The clearinghouse, as the role and the name of who countersigns.
const CLEARING: &str = "clearing";

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
            (Kind::Agreement, "proposer" | "counterparty") => &self.partners,
            _ => &self.people,
        }
    }
}

/// Every document whose signatures don't hold, and everything in force without a document that says so; empty when all is well. `clearing` is the key
/// that countersigns; those before it are in the database.
pub fn check(conn: &mut Conn, kid: &KeyId, clearing: &VerifyingKey) -> Result<Vec<String>, DbError> {
    conn.snapshot(|conn| {
        let mut keys = keys(conn)?;
        let directory = load_directory(conn)?;
        keys.clearing.insert(kid.to_string(), (CLEARING.to_owned(), clearing.clone()));
        let (mut findings, mut agreed, mut published, mut calendars) = (vec![], HashMap::new(), vec![], HashMap::new());
        for kind in [Kind::Agreement, Kind::Change] {
            for document in documents::all(conn, kind)? {
                findings.extend(fault(&document, &keys, &directory).map(|why| format!("document {}: {why}", document.hash)));
                if !matches!(document.state, State::InForce | State::Superseded | State::Terminated) {
                    continue;
                }
                match kind {
                    Kind::Agreement => drop(agreed.insert(document.hash, document.payload)),
                    Kind::Change => {
                        published.extend(rate_of(&document.payload));
                        calendars.extend(calendar_of(&document.payload).map(|one| (document.hash, one)));
                    }
                }
            }
        }
        // Only in a sandbox is the network file's word enough, whose documents have no time of publication.
        let sandbox = is_sandbox(conn)?;
        let query = agreement::table.select((agreement::hash, agreement::published_at, agreement::terms));
        for (hash, published_at, terms) in each_backend!(conn, |c| query.load::<(String, i64, String)>(c))? {
            let by_file = sandbox && published_at == 0;
            if !by_file && agreed.get(&hash) != Some(&terms) {
                findings.push(format!("agreement {hash} is in force, and no signed document says so"));
            }
        }
        let query = rate::table.select((rate::hash, rate::published_at, rate::terms));
        for (hash, published_at, terms) in each_backend!(conn, |c| query.load::<(String, i64, String)>(c))? {
            let by_file = sandbox && published_at == 0;
            if !by_file && !published.contains(&terms) {
                findings.push(format!("rate or bonus {hash} is in force, and no signed document says so"));
            }
        }
        findings.extend(unsigned_calendars(conn, &calendars)?);
        Ok(findings)
    })
}

/// The canonical terms of the rate or bonus that a change publishes.
fn rate_of(payload: &str) -> Option<String> {
    let proposal: Proposal = partner_sdk::document::read(payload.as_bytes()).ok()?;
    match proposal.change {
        Change::Rate(terms) => Some(partner_sdk::document::write(&terms)),
        Change::Bonus(terms) => Some(partner_sdk::document::write(&terms)),
        _ => None,
    }
}

/// First date and canonical terms of the calendar that a change puts in force.
fn calendar_of(payload: &str) -> Option<(String, String)> {
    let proposal: Proposal = partner_sdk::document::read(payload.as_bytes()).ok()?;
    match proposal.change {
        Change::Calendar(terms) => Some((terms.first_date.to_string(), serde_json::to_string(&terms.calendar()).ok()?)),
        _ => None,
    }
}

/// Calendars that the documents which they name don't put in force. The first founded the network.
fn unsigned_calendars(conn: &mut Conn, signed: &HashMap<String, (String, String)>) -> Result<Vec<String>, DbError> {
    let query = calendar::table.filter(calendar::no.gt(1)).order(calendar::no);
    let mut findings = vec![];
    for (no, first, document, terms) in each_backend!(conn, |c| query.load::<(i32, String, String, String)>(c))? {
        if signed.get(&document) != Some(&(first.clone(), terms)) {
            findings.push(format!("calendar {no} (from {first}) is in force, and no signed document says so"));
        }
    }
    Ok(findings)
}

fn keys(conn: &mut Conn) -> Result<Keys, DbError> {
    let partners = signing_key::table.select((signing_key::kid, signing_key::partner, signing_key::public_key));
    let people = person::table.select((person::kid, person::name, person::public_key));
    let clearing = clearing_key::table.select((clearing_key::kid, clearing_key::public_key));
    let clearing = each_backend!(conn, |c| clearing.load::<(String, String)>(c))?;
    Ok(Keys {
        partners: owned(each_backend!(conn, |c| partners.load(c))?)?,
        people: owned(each_backend!(conn, |c| people.load(c))?)?,
        clearing: owned(clearing.into_iter().map(|(kid, key)| (kid, CLEARING.to_owned(), key)).collect())?,
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
    };
    let signed = |role: &str| document.signatures.iter().find(|one| one.role == role);
    let verifies = |one: &Signed| {
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
    if in_force {
        needed.extend(["approver", "clearing"]);
    }
    if let Some(missing) = needed.into_iter().find(|role| signed(role).is_none()) {
        return Some(format!("it is {} without the signature of the {missing}", document.state));
    }
    match document.kind {
        Kind::Change if signers("proposer") == signers("approver") => Some("one person has proposed and approved it".to_owned()),
        Kind::Change => None,
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
