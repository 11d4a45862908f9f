//! The operator's people: named at the founding, all at once, each by its own key; later they come and go by changes that two of them sign.

use jiff::Timestamp;
use migrations::Conn;
use partner_sdk::change::{Change, FOUNDERS, PersonTerms, Proposal};
use partner_sdk::document::{self, Kind, State};
use partner_sdk::jws::general::Signature;
use partner_sdk::jws::{TYP_CHANGE, VerifyingKey};
use partner_sdk::text::{MAX_NAME, Name, folded};
use partner_sdk::{Code, Problem};

use super::{Countersigner, Done, Fault, add, digest, fact, fresh, open, record, refused, salted, standing, step, tell, verified};
use ledger::directory::Directory;
use ledger::network::RESERVED;
use store::documents::{self, Document};
use store::people::{self, Person};
use store::{invitations, load_directory, partners};

/// The most people of a founding.
const MAX_FOUNDERS: usize = 20;

/// Whether somebody can become one of the operator's people: a name, kid and key that nobody ever had.
pub(super) fn check(conn: &mut Conn, directory: &Directory, terms: &PersonTerms) -> Done<()> {
    let PersonTerms { name, kid, public_key } = terms;
    let plain = |c: char| c.is_alphanumeric() || " .'-".contains(c);
    if name.parse::<Name>().is_err() || !name.chars().all(plain) {
        let detail =
            format!("a person's name has 1 to {MAX_NAME} letters, digits, spaces and . ' -, and doesn't begin or end with a space");
        return refused(Code::BadTerms, "name", detail);
    }
    // The trail says who did something by the name alone.
    if directory.partners.keys().any(|id| id.as_str() == folded(name)) || RESERVED.contains(&folded(name).as_str()) {
        return refused(
            Code::BadTerms,
            "name",
            "this is a partner's id, or will never be anybody's: choose another",
        );
    }
    match VerifyingKey::from_base64url(public_key) {
        Err(e) => refused(Code::BadTerms, "public_key", e.to_string()),
        Ok(key) if partners::person_known(conn, name, kid.as_str(), &key.to_base64url())? => refused(
            Code::BadTerms,
            "name",
            "this name, kid or key stands in the trail already: choose another",
        ),
        Ok(key) => Ok(directory.keys.admit_other(kid, &key).map_err(Fault::Refused)?),
    }
}

/// Whether somebody can leave: a lost key must never leave too few to change anything.
pub(super) fn check_leaves(conn: &mut Conn, name: &str) -> Done<()> {
    let people = people::people(conn)?;
    if !people.iter().any(|one| one.name == name) {
        return refused(Code::BadTerms, "name", "there is no such person");
    }
    if people.len() <= FOUNDERS {
        let detail = format!("{FOUNDERS} people have to stay, or a lost key could stop every change: name another person first");
        return refused(Code::BadTerms, "name", detail);
    }
    Ok(())
}

/// Puts a person into the table, by a document.
pub(super) fn come(conn: &mut Conn, terms: &PersonTerms, hash: &str, now: Timestamp) -> Done<()> {
    let person = Person::new(terms).ok_or(Code::Internal)?;
    people::add_person(conn, &person, hash, now)?;
    Ok(tell(conn, now, &[], "person.added", &person.name, &[fact("change", hash)])?)
}

/// Names the first people, once: the network is applied, and every one of them has signed the same bytes. What one person alone could do until then ends with
/// it, and so do invitations that nobody has used.
pub fn found<'a>(conn: &mut Conn, now: Timestamp, key: impl Into<Countersigner<'a>>, text: &str) -> Done<Document> {
    let general = open(text);
    let about = general.as_ref().map(|g| g.hash()).unwrap_or_default();
    step(conn, now, "", "found", &about, |conn| {
        let general = general?;
        if people::is_founded(conn)? {
            return refused(
                Code::FourEyes,
                "people",
                "the network is founded: a further person is proposed by one and approved by another",
            );
        }
        let proposal: Proposal = document::read(&general.payload)?;
        let Change::Found { people, calendar, network } = &proposal.change else {
            return refused(Code::MalformedDocument, "change", "this isn't a founding");
        };
        fresh(proposal.proposed_at, now)?;
        salted(&proposal.salt)?;
        match settlement::founding_calendar(conn)? {
            None => {
                return refused(
                    Code::BadTerms,
                    "calendar",
                    "there is no network yet: clearing network apply FILE comes first",
                );
            }
            Some(applied) if applied != *calendar => return refused(Code::BadTerms, "calendar", "this isn't the network's calendar"),
            Some(_) => {}
        }
        let directory = load_directory(conn)?;
        let stands = standing::digest(&directory);
        if *network != stands {
            // What stands isn't told: it has to be looked at, not copied.
            let detail =
                "this isn't the network as it stands: the digits aren't those of clearing network show, or something has changed since";
            let problem = Problem::new(Code::BadTerms, detail).at(Some("network"));
            return Err(problem
                .advise("Run clearing network show again, compare all of it, each of you, and give the digits of its last line.")
                .into());
        }
        check_founders(conn, &directory, people)?;
        signed_by_all(people, &general.signatures, &general.payload)?;
        record(conn, now, (Kind::Change, &about), "found", "", &digest(&general.signatures))?;
        let mut new = Document {
            hash: about.clone(),
            kind: Kind::Change,
            state: State::InForce,
            proposer: people.first().map(|one| one.name.clone()).unwrap_or_default(),
            counterparty: String::new(),
            payload: document::write(&proposal),
            proposed_at: now.as_microsecond(),
            signatures: vec![],
        };
        documents::insert(conn, &new)?;
        for (no, (person, signature)) in people.iter().zip(&general.signatures).enumerate() {
            let role = match no {
                0 => "proposer".to_owned(),
                1 => "approver".to_owned(),
                no => format!("founder-{}", no + 1),
            };
            add(conn, &mut new, &role, &person.name, signature.clone(), now)?;
            come(conn, person, &about, now)?;
        }
        let countersigned = key.into().sign(TYP_CHANGE, &general.payload);
        add(conn, &mut new, people::CLEARING, people::CLEARING, countersigned, now)?;
        people::set_founding(conn, &about)?;
        invitations::void_invitations(conn, now)?;
        tell(conn, now, &[], "network.founded", &about, &[])?;
        Ok(new)
    })
}

fn check_founders(conn: &mut Conn, directory: &Directory, people: &[PersonTerms]) -> Done<()> {
    if !(FOUNDERS..=MAX_FOUNDERS).contains(&people.len()) {
        let detail = format!("a network is founded by {FOUNDERS} to {MAX_FOUNDERS} people: with two, a lost key would stop every change");
        return refused(Code::BadTerms, "people", detail);
    }
    for (no, person) in people.iter().enumerate() {
        check(conn, directory, person)?;
        let same = |other: &PersonTerms| {
            folded(&person.name) == folded(&other.name) || person.kid == other.kid || person.public_key == other.public_key
        };
        if people[..no].iter().any(same) {
            let detail = format!("{}: each has a name, kid and key of its own", person.name);
            return refused(Code::BadTerms, "people", detail);
        }
    }
    Ok(())
}

/// Every one of them has signed, in the order in which they stand.
fn signed_by_all(people: &[PersonTerms], signatures: &[Signature], payload: &[u8]) -> Done<()> {
    let lacking = |who: &str| {
        Fault::from(Problem::new(
            Code::NotApproved,
            format!("the founding lacks the signature of {who}"),
        ))
    };
    if signatures.len() > people.len() {
        return refused(
            Code::MalformedDocument,
            "signatures",
            "there is a signature of somebody whom it doesn't name",
        );
    }
    for (no, person) in people.iter().enumerate() {
        let signature = signatures.get(no).filter(|one| one.kid == person.kid);
        let signature = signature.ok_or_else(|| lacking(&person.name))?;
        let key = Person::new(person).ok_or_else(|| lacking(&person.name))?.key;
        verified(signature, TYP_CHANGE, payload, &key)?;
    }
    Ok(())
}
