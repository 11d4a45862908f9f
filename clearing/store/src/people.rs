//! The operator's people, as the documents have it: who was named at the founding, and who came and left by changes that two of them signed; who came signed too. A
//! row in the table is only where to look: without its document it counts for nothing.

use std::collections::{BTreeSet, HashMap};

use diesel::prelude::*;
use jiff::Timestamp;
use migrations::schema::{clearing_key, document_signature, head, person};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::change::{Change, FOUNDERS, PersonTerms, Proposal};
use partner_sdk::document::State;
use partner_sdk::jws::{TYP_CHANGE, VerifyingKey};

use super::documents::{self, Document, Signed};

/// The clearinghouse, as the role and the name of who countersigns.
pub const CLEARING: &str = "clearing";

/// The role of a new person on the change that names it.
pub const NEWCOMER: &str = "newcomer";

/// Keys of the clearinghouse's by their id: the one that it countersigns with, and those before it.
pub type Clearing = HashMap<String, VerifyingKey>;

/// One of the operator's people.
#[derive(Debug, Clone)]
pub struct Person {
    /// The name in the trail.
    pub name: String,
    /// The id of the signing key.
    pub kid: String,
    /// The key.
    pub key: VerifyingKey,
}

impl Person {
    /// As a document states it; `None` where the key is none.
    pub fn new(terms: &PersonTerms) -> Option<Self> {
        Some(Self {
            name: terms.name.clone(),
            kid: terms.kid.to_string(),
            key: VerifyingKey::from_base64url(&terms.public_key).ok()?,
        })
    }

    /// Whether a new person has signed the change that names it.
    pub fn has_accepted(&self, document: &Document) -> bool {
        document
            .signatures
            .iter()
            .any(|one| one.role == NEWCOMER && self.signed(document, one))
    }

    fn signed(&self, document: &Document, one: &Signed) -> bool {
        let its = one.signer == self.name && one.signature.kid.as_str() == self.kid && one.signature.typ == TYP_CHANGE;
        its && one.signature.verify(document.payload.as_bytes(), &self.key).is_ok()
    }
}

/// Somebody whom a document brought in.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub person: Person,
    /// The document.
    pub added_by: String,
    /// The document by which it left, and when, in microseconds since 1970.
    pub left: Option<(String, i64)>,
}

/// Whether a document says who the operator's people are: other ones bring nobody in.
pub fn is_about_people(document: &Document) -> bool {
    let named = |change| matches!(change, Change::Found { .. } | Change::Person(_) | Change::PersonLeaves { .. });
    change_of(document).is_some_and(named)
}

/// Whoever these documents bring in, those who have left too. `founding` is the hash of the one that named the first.
pub fn known(founding: &str, all: &[Document], clearing: &Clearing) -> Vec<Known> {
    let mut known: Vec<Known> = vec![];
    if let Some(document) = all.iter().find(|document| document.hash == founding) {
        known.extend(founders(document, clearing));
    }
    let changes: Vec<(&Document, Change)> = all.iter().filter_map(|one| Some((one, about_people(one)?))).collect();
    // Who came by a document may have signed the next: until nobody is added, in whatever order they stand.
    loop {
        let before = (known.len(), known.iter().filter(|one| one.left.is_some()).count());
        for (document, change) in &changes {
            if let Some(at) = agreed(document, &known, clearing) {
                apply(&mut known, document, change, at);
            }
        }
        if before == (known.len(), known.iter().filter(|one| one.left.is_some()).count()) {
            return known;
        }
    }
}

fn apply(known: &mut Vec<Known>, document: &Document, change: &Change, at: i64) {
    match change {
        Change::Person(terms) => {
            let taken = known
                .iter()
                .any(|one| one.person.name == terms.name || one.person.kid == terms.kid.as_str());
            let person = Person::new(terms).filter(|person| !taken && person.has_accepted(document));
            known.extend(person.map(|person| Known {
                person,
                added_by: document.hash.clone(),
                left: None,
            }));
        }
        Change::PersonLeaves { name } => {
            let leaves = known.iter_mut().find(|one| one.person.name == *name && one.left.is_none());
            if let Some(one) = leaves {
                one.left = Some((document.hash.clone(), at));
            }
        }
        _ => {}
    }
}

/// The change of people that a document in force makes.
fn about_people(document: &Document) -> Option<Change> {
    let change = change_of(document).filter(|_| document.state == State::InForce)?;
    matches!(change, Change::Person(_) | Change::PersonLeaves { .. }).then_some(change)
}

/// The new person whom a change names, whatever has become of the change.
pub fn newcomer(document: &Document) -> Option<Person> {
    match change_of(document)? {
        Change::Person(terms) => Person::new(&terms),
        _ => None,
    }
}

/// What a document says, if it is what its name says.
fn change_of(document: &Document) -> Option<Change> {
    let proposal: Proposal = partner_sdk::document::read(document.payload.as_bytes()).ok()?;
    (document.general().hash() == document.hash).then_some(proposal.change)
}

fn countersigned(document: &Document, clearing: &Clearing) -> Option<i64> {
    let one = document.signatures.iter().find(|one| one.role == CLEARING)?;
    let key = clearing.get(one.signature.kid.as_str())?;
    let holds = one.signature.typ == TYP_CHANGE && one.signature.verify(document.payload.as_bytes(), key).is_ok();
    holds.then_some(one.at)
}

/// Those whom the founding names, where every one of them has signed it.
fn founders(document: &Document, clearing: &Clearing) -> Vec<Known> {
    let Some(Change::Found { people, .. }) = change_of(document) else {
        return vec![];
    };
    let people: Vec<Person> = people.iter().filter_map(Person::new).collect();
    let all = people
        .iter()
        .all(|person| document.signatures.iter().any(|one| person.signed(document, one)));
    if !all || people.len() < FOUNDERS || countersigned(document, clearing).is_none() {
        return vec![];
    }
    let founder = |person| Known {
        person,
        added_by: document.hash.clone(),
        left: None,
    };
    people.into_iter().map(founder).collect()
}

/// When a change was countersigned that two of these people signed while they were there.
fn agreed(document: &Document, known: &[Known], clearing: &Clearing) -> Option<i64> {
    let by = |role: &str| {
        let one = document.signatures.iter().find(|one| one.role == role)?;
        let there = |known: &&Known| known.left.as_ref().is_none_or(|(_, left)| one.at <= *left) && known.person.signed(document, one);
        known.iter().find(there).map(|known| known.person.name.as_str())
    };
    let two = by("proposer")? != by("approver")?;
    countersigned(document, clearing).filter(|_| two)
}

/// The clearinghouse's own keys that sign answers and documents: the log's don't.
pub fn clearing_keys(conn: &mut Conn) -> Result<Clearing, DbError> {
    let query = clearing_key::table
        .select((clearing_key::kid, clearing_key::public_key))
        .filter(clearing_key::origin.is_null());
    let rows = each_backend!(conn, |c| query.load::<(String, String)>(c))?;
    rows.into_iter().map(|(kid, key)| Ok((kid, public_key(&key)?))).collect()
}

fn public_key(text: &str) -> Result<VerifyingKey, DbError> {
    VerifyingKey::from_base64url(text).map_err(|e| DbError::Corrupt(format!("a public key: {e}")))
}

/// The hash of the document that founded the network; empty before.
pub fn founding(conn: &mut Conn) -> Result<String, DbError> {
    Ok(each_backend!(conn, |c| head::table.select(head::founding).first(c))?)
}

/// Whether the network has people who answer for it: from then on nobody decides alone.
pub fn is_founded(conn: &mut Conn) -> Result<bool, DbError> {
    Ok(!founding(conn)?.is_empty())
}

/// (name, kid, public key, added by, left at, left by)
type Row = (String, String, String, String, Option<i64>, Option<String>);

fn rows(conn: &mut Conn) -> Result<Vec<Row>, DbError> {
    let query = person::table.select((
        person::name,
        person::kid,
        person::public_key,
        person::added_by,
        person::left_at,
        person::left_by,
    ));
    Ok(each_backend!(conn, |c| query.order(person::name).load(c))?)
}

fn is_as_said((name, kid, key, added_by, left_at, left_by): &Row, known: &Known) -> bool {
    let same = (name.as_str(), kid.as_str(), key.as_str()) == (&*known.person.name, &*known.person.kid, &*known.person.key.to_base64url());
    let left = known.left.as_ref().map(|(hash, at)| (*at, hash.clone()));
    same && *added_by == known.added_by && left_at.zip(left_by.clone()) == left
}

/// The operator's people who haven't left, by name: those whom documents brought in.
pub fn people(conn: &mut Conn) -> Result<Vec<Person>, DbError> {
    let (founding, rows) = (founding(conn)?, rows(conn)?);
    let mut hashes: BTreeSet<String> = rows.iter().flat_map(|row| [Some(row.3.clone()), row.5.clone()]).flatten().collect();
    hashes.insert(founding.clone());
    let documents = documents::with_hashes(conn, hashes.into_iter().collect())?;
    let known = known(&founding, &documents, &clearing_keys(conn)?);
    let there = |row: &Row| known.iter().find(|one| one.left.is_none() && is_as_said(row, one));
    Ok(rows.iter().filter_map(there).map(|one| one.person.clone()).collect())
}

/// What in the table isn't as the documents say.
pub fn findings(conn: &mut Conn, known: &[Known]) -> Result<Vec<String>, DbError> {
    let rows = rows(conn)?;
    let mut findings = vec![];
    for row in &rows {
        match known.iter().find(|one| one.person.name == row.0) {
            None => findings.push(format!("person {} is in the table, and no signed document says so", row.0)),
            Some(one) if !is_as_said(row, one) => findings.push(format!("person {} isn't what the signed documents say", row.0)),
            Some(_) => {}
        }
    }
    let missing = known.iter().filter(|one| rows.iter().all(|row| row.0 != one.person.name));
    findings.extend(missing.map(|one| format!("person {} is missing, and a signed document says so", one.person.name)));
    Ok(findings)
}

/// Adds a person by a document. A name, kid or key that was there before is refused by the database.
pub fn add_person(conn: &mut Conn, new: &Person, document: &str, now: Timestamp) -> Result<(), DbError> {
    let row = (
        person::name.eq(&new.name),
        person::kid.eq(&new.kid),
        person::public_key.eq(new.key.to_base64url()),
        person::added_at.eq(now.as_microsecond()),
        person::added_by.eq(document),
    );
    each_backend!(conn, |c| diesel::insert_into(person::table).values(row).execute(c))?;
    Ok(())
}

/// When a person leaves who is to leave now: never before what it has signed, whose time may be that of a machine with a clock ahead of this one's.
pub fn leaves_at(conn: &mut Conn, name: &str, now: Timestamp) -> Result<Timestamp, DbError> {
    let signed = document_signature::table.filter(document_signature::signer.eq(name));
    let newest = signed.select(diesel::dsl::max(document_signature::signed_at));
    let newest: Option<i64> = each_backend!(conn, |c| newest.first(c))?;
    Ok(newest.map_or(now, |newest| now.max(ledger::timestamp(newest))))
}

/// A person leaves by a document.
pub fn person_leaves(conn: &mut Conn, name: &str, document: &str, now: Timestamp) -> Result<(), DbError> {
    let query = diesel::update(person::table.find(name).filter(person::left_at.is_null()));
    let left = (person::left_at.eq(now.as_microsecond()), person::left_by.eq(document));
    each_backend!(conn, |c| query.set(left).execute(c))?;
    Ok(())
}

/// Says which document founded the network.
pub fn set_founding(conn: &mut Conn, hash: &str) -> Result<(), DbError> {
    each_backend!(conn, |c| diesel::update(head::table).set(head::founding.eq(hash)).execute(c))?;
    Ok(())
}
