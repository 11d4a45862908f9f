//! Disputes held to what was signed for them: that they are what their debtors signed, and ended as the creditor, or two of the operator's people, have signed.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use migrations::schema::dispute as d;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::Amount;
use partner_sdk::dispute::DisputeTerms;
use partner_sdk::document::{Kind, State};

use super::disputes::{self, Disputed};
use super::documents::{self, Document};

/// What the documents of disputes say.
pub(super) struct Contested {
    /// What isn't as it was signed.
    pub(super) findings: Vec<String>,
    /// Of which window a document takes something out, and of whom.
    pub(super) windows: HashMap<String, (String, String)>,
}

/// Looks at every dispute; `decided` are the changes in force that decide one, each with the dispute and how much isn't owed. For one unchanging view of the database.
pub(super) fn findings(conn: &mut Conn, decided: &HashMap<String, (String, Amount)>) -> Result<Contested, DbError> {
    let mut signed: BTreeMap<String, (Document, DisputeTerms)> = BTreeMap::new();
    let mut unread = vec![];
    documents::each(conn, Kind::Dispute, |document| {
        match partner_sdk::document::read::<DisputeTerms>(document.payload.as_bytes()) {
            Ok(terms) => drop(signed.insert(document.hash.clone(), (document, terms))),
            Err(_) => unread.push(format!("document {}: it is no dispute", document.hash)),
        }
    })?;
    let mut found = Contested {
        findings: unread,
        windows: HashMap::new(),
    };
    let ended = d::table.select((d::hash, d::ended_by));
    for (hash, by) in each_backend!(conn, |c| ended.load::<(String, Option<String>)>(c))? {
        let known = signed.remove(&hash).zip(disputes::find(conn, &hash)?);
        let Some(((document, terms), dispute)) = known.filter(|((_, terms), dispute)| is_of(dispute, terms)) else {
            found
                .findings
                .push(format!("dispute {hash} is there, and no document says just that"));
            continue;
        };
        found
            .windows
            .insert(hash.clone(), (terms.business_date.to_string(), terms.partner.to_string()));
        if !is_signed(&document, &dispute, by.as_deref(), decided) {
            found
                .findings
                .push(format!("dispute {hash} has ended, or not, otherwise than was signed"));
        }
    }
    let missing = signed
        .into_keys()
        .map(|hash| format!("dispute {hash} is missing, and a document says that it is there"));
    found.findings.extend(missing);
    Ok(found)
}

/// Whether a row says what was signed.
fn is_of(dispute: &Disputed, terms: &DisputeTerms) -> bool {
    let message = terms.message.as_ref().map(|one| (one.sender.as_str(), one.id.as_str()));
    (dispute.business_date, &dispute.debtor, &dispute.creditor, dispute.currency)
        == (terms.business_date, &terms.partner, &terms.counterparty, terms.currency)
        && (&dispute.kind, &dispute.agreement, &dispute.price) == (&terms.line.kind, &terms.line.agreement, &terms.line.price)
        && dispute.message.as_ref().map(|(sender, id)| (sender.as_str(), id.as_str())) == message
        && terms.amount.to_units(6).ok() == Some(dispute.amount.0)
}

/// Whether it stands where those who had to sign for it have brought it.
fn is_signed(document: &Document, dispute: &Disputed, by: Option<&str>, decided: &HashMap<String, (String, Amount)>) -> bool {
    let conceded = || {
        document
            .signatures
            .iter()
            .any(|one| one.role == "counterparty" && one.signer == dispute.creditor.as_str())
    };
    let upheld = dispute.upheld.map(|money| money.0);
    match (document.state, by) {
        (State::Proposed | State::Declined, None) => upheld.is_none(),
        (State::Withdrawn, Some(by)) => by == dispute.hash && upheld == Some(0),
        (State::InForce, Some(by)) if by == dispute.hash => conceded() && upheld == Some(dispute.amount.0),
        (State::InForce, Some(by)) => decided
            .get(by)
            .is_some_and(|(of, amount)| *of == dispute.hash && amount.to_units(6).ok() == upheld && upheld.is_some()),
        _ => false,
    }
}
