//! The trail of documents, recomputed: whatever is in force is what was signed, by those who had to sign it. Part of `clearing check`.

use std::collections::HashMap;

use diesel::prelude::*;
use migrations::schema::{agreement, person, rate, signing_key};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::KeyId;
use partner_sdk::change::{Change, Proposal};
use partner_sdk::document::{Kind, State};
use partner_sdk::jws::{TYP_AGREEMENT, TYP_CHANGE, VerifyingKey};

use super::documents::{self, Document, Signed};

/// Who has which key: partners', people's, revoked and left ones too, and the clearinghouse's. By key id, the owner and the key.
type Keys = HashMap<String, (String, VerifyingKey)>;

/// Every document whose signatures don't hold, and everything in force without a document that says so; empty when all is well. `clearing` is the key
/// that countersigns; documents countersigned by a key before it are held to their other signatures.
pub fn check(conn: &mut Conn, kid: &KeyId, clearing: &VerifyingKey) -> Result<Vec<String>, DbError> {
    conn.snapshot(|conn| {
        let mut keys = keys(conn)?;
        keys.insert(kid.to_string(), ("clearing".to_owned(), clearing.clone()));
        let (mut findings, mut agreed, mut published) = (vec![], HashMap::new(), vec![]);
        for kind in [Kind::Agreement, Kind::Change] {
            for document in documents::all(conn, kind)? {
                findings.extend(fault(&document, &keys).map(|why| format!("document {}: {why}", document.hash)));
                if !matches!(document.state, State::InForce | State::Superseded | State::Terminated) {
                    continue;
                }
                match kind {
                    Kind::Agreement => drop(agreed.insert(document.hash, document.payload)),
                    Kind::Change => published.extend(rate_of(&document.payload)),
                }
            }
        }
        let query = agreement::table
            .select((agreement::hash, agreement::terms))
            .filter(agreement::published_at.ne(0));
        for (hash, terms) in each_backend!(conn, |c| query.load::<(String, String)>(c))? {
            if agreed.get(&hash) != Some(&terms) {
                findings.push(format!("agreement {hash} is in force, and no signed document says so"));
            }
        }
        let query = rate::table.select((rate::hash, rate::terms)).filter(rate::published_at.ne(0));
        for (hash, terms) in each_backend!(conn, |c| query.load::<(String, String)>(c))? {
            if !published.contains(&terms) {
                findings.push(format!("rate or bonus {hash} is in force, and no signed document says so"));
            }
        }
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

fn keys(conn: &mut Conn) -> Result<Keys, DbError> {
    let query = signing_key::table.select((signing_key::kid, signing_key::partner, signing_key::public_key));
    let mut rows = each_backend!(conn, |c| query.load::<(String, String, String)>(c))?;
    let query = person::table.select((person::kid, person::name, person::public_key));
    rows.extend(each_backend!(conn, |c| query.load::<(String, String, String)>(c))?);
    let read = |(kid, owner, key): (String, String, String)| {
        let key = VerifyingKey::from_base64url(&key).map_err(|e| DbError::Corrupt(format!("a public key: {e}")))?;
        Ok((kid, (owner, key)))
    };
    rows.into_iter().map(read).collect()
}

/// What is wrong with a document, if anything is.
fn fault(document: &Document, keys: &Keys) -> Option<String> {
    if document.general().hash() != document.hash {
        return Some("its payload isn't what its name says".to_owned());
    }
    let typ = match document.kind {
        Kind::Agreement => TYP_AGREEMENT,
        Kind::Change => TYP_CHANGE,
    };
    let signed = |role: &str| document.signatures.iter().find(|one| one.role == role);
    let verifies = |one: &Signed| match keys.get(one.signature.kid.as_str()) {
        Some((owner, key)) => {
            *owner == one.signer && one.signature.typ == typ && one.signature.verify(document.payload.as_bytes(), key).is_ok()
        }
        // A key of the clearinghouse's from before.
        None => one.role == "clearing" && one.signer == "clearing",
    };
    if let Some(bad) = document.signatures.iter().find(|one| !verifies(one)) {
        return Some(format!("the signature of {} as {} doesn't hold", bad.signer, bad.role));
    }
    let in_force = matches!(document.state, State::InForce | State::Superseded | State::Terminated);
    let mut needed = vec!["proposer"];
    if document.kind == Kind::Agreement && document.proposer != document.counterparty && (in_force || document.state == State::Signed) {
        needed.push("counterparty");
    }
    if in_force {
        needed.extend(["approver", "clearing"]);
    }
    if let Some(missing) = needed.into_iter().find(|role| signed(role).is_none()) {
        return Some(format!("it is {} without the signature of the {missing}", document.state));
    }
    let same = |a: &str, b: &str| signed(a).zip(signed(b)).is_some_and(|(a, b)| a.signer == b.signer);
    match document.kind {
        Kind::Change if same("proposer", "approver") => Some("one person has proposed and approved it".to_owned()),
        Kind::Agreement if signed("proposer").is_some_and(|one| one.signer != document.proposer) => {
            Some("another than its proposer has signed".to_owned())
        }
        Kind::Agreement if signed("counterparty").is_some_and(|one| one.signer != document.counterparty) => {
            Some("another than its counterparty has signed".to_owned())
        }
        _ => None,
    }
}
