//! What the operator changes: one of its people proposes, another approves the same bytes, the clearinghouse countersigns, and it takes effect.

use jiff::{SignedDuration, Timestamp};
use migrations::Conn;
use partner_sdk::agreement::TermsError;
use partner_sdk::change::{Change, Proposal, Status};
use partner_sdk::document::{self, Act, Action, State};
use partner_sdk::jws::general::Signature;
use partner_sdk::jws::{SigningKey, TYP_CHANGE, VerifyingKey};
use partner_sdk::rate::{BonusTerms, RateTerms};
use partner_sdk::{Code, KeyId, PartnerId, Problem};

use super::rights::{Kind, Role, decide};
use super::{Done, Fault, add, by_person, fact, find, fresh, open, step, tell};
use crate::directory::Directory;
use crate::network::RESERVED;
use crate::store::admin::{grow_version, insert_bonus, insert_rate, overlapping, put_programme};
use crate::store::documents::{self, Document, Person};
use crate::store::events::EVERYBODY;
use crate::store::{check_bonus, check_rate, load_directory, partners};

/// How many people there have to be for two of them to agree.
const FEWEST: usize = 2;

/// A person proposes a change. It is tried out first, so that what couldn't take effect isn't proposed.
pub fn propose(conn: &mut Conn, now: Timestamp, text: &str) -> Done<Document> {
    let general = open(text);
    let about = general.as_ref().map(|g| g.hash()).unwrap_or_default();
    step(conn, now, "a person", "propose", &about, |conn| {
        let general = general?;
        let [signature] = &general.signatures[..] else {
            return Err(Problem::new(Code::MalformedDocument, "a proposal has one signature, the proposer's").into());
        };
        let person = by_person(conn, signature, TYP_CHANGE, &general.payload)?;
        let proposal: Proposal = document::read(&general.payload)?;
        fresh(proposal.proposed_at, now)?;
        if let Some(known) = documents::find(conn, &about)? {
            return Err(Problem::new(Code::DocumentKnown, format!("this document is there already, and {}", known.state)).into());
        }
        let directory = load_directory(conn)?;
        check(conn, &directory, &proposal.change, now)?;
        let mut new = Document {
            hash: about.clone(),
            kind: Kind::Change,
            state: State::Proposed,
            proposer: person.name.clone(),
            counterparty: String::new(),
            payload: document::write(&proposal),
            proposed_at: now.as_microsecond(),
            signatures: vec![],
        };
        documents::insert(conn, &new)?;
        add(conn, &mut new, "proposer", &person.name, signature.clone(), now)?;
        tell(conn, now, &[], "change.proposed", &about, &[fact("by", person.name)])?;
        Ok(new)
    })
}

/// Another person approves, by a signature over the same payload; the change takes effect in the same transaction.
pub fn approve(conn: &mut Conn, now: Timestamp, key: &SigningKey, hash: &str, signature: &Signature) -> Done<Document> {
    step(conn, now, signature.kid.as_str(), "approve", hash, |conn| {
        let mut document = find(conn, Kind::Change, hash)?;
        let payload = document.payload.clone().into_bytes();
        if document.general().hash() != document.hash {
            return Err(Code::DocumentChanged.into());
        }
        let person = by_person(conn, signature, TYP_CHANGE, &payload)?;
        let next = decide(Kind::Change, document.state, role(&document, &person), Action::Approve)?;
        let first = document.signatures.first().ok_or(Code::NotApproved)?.signature.clone();
        // The proposer's signature once more: who has left since doesn't count as one of two.
        let proposer = by_person(conn, &first, TYP_CHANGE, &payload).map_err(|_| Fault::from(Code::NotApproved))?;
        if proposer.name == person.name {
            return Err(Code::FourEyes.into());
        }
        let proposal: Proposal = document::read(&payload)?;
        let mut directory = load_directory(conn)?;
        check(conn, &directory, &proposal.change, now)?;
        take_effect(conn, &mut directory, &proposal.change, hash, now)?;
        grow_version(conn, directory.version)?;
        add(conn, &mut document, "approver", &person.name, signature.clone(), now)?;
        add(
            conn,
            &mut document,
            "clearing",
            "clearing",
            Signature::new(key, TYP_CHANGE, &payload),
            now,
        )?;
        document.state = next;
        documents::set_state(conn, hash, next, now)?;
        let facts = [fact("proposed_by", proposer.name), fact("approved_by", person.name)];
        tell(conn, now, &[], "change.approved", hash, &facts)?;
        Ok(document)
    })
}

fn role(document: &Document, person: &Person) -> Role {
    if document.proposer == person.name {
        Role::Proposer
    } else {
        Role::Person
    }
}

/// A person withdraws its own proposal.
pub fn withdraw(conn: &mut Conn, now: Timestamp, hash: &str, text: &str) -> Done<Document> {
    turn_down(conn, now, Kind::Change, hash, text, Action::Withdraw)
}

/// A person turns down another's proposal, or an agreement that waits for approval.
pub fn decline(conn: &mut Conn, now: Timestamp, kind: Kind, hash: &str, text: &str) -> Done<Document> {
    turn_down(conn, now, kind, hash, text, Action::Decline)
}

fn turn_down(conn: &mut Conn, now: Timestamp, kind: Kind, hash: &str, text: &str, action: Action) -> Done<Document> {
    step(conn, now, "a person", action.as_str(), hash, |conn| {
        let mut document = find(conn, kind, hash)?;
        let jws = Act::open(text)?;
        let unknown = || Problem::new(Code::UnknownKey, "no person of the operator has this kid").at(Some("kid"));
        let people = documents::people(conn)?;
        let person = people.into_iter().find(|one| one.kid == jws.kid.as_str()).ok_or_else(unknown)?;
        jws.verify(&person.key)?;
        let act = Act::parse(&jws.payload).map_err(|e| Problem::new(Code::BadValue, e.to_string()).at(e.field()))?;
        fresh(act.issued_at, now)?;
        if act.document != hash || act.action != action {
            return Err(Problem::new(Code::DocumentChanged, "this is about something else")
                .at(Some("document"))
                .into());
        }
        let role = if kind == Kind::Change {
            role(&document, &person)
        } else {
            Role::Person
        };
        let next = decide(kind, document.state, role, action)?;
        documents::add_act(conn, hash, action, &person.name, text, now)?;
        document.state = next;
        documents::set_state(conn, hash, next, now)?;
        let (what, whom) = match kind {
            Kind::Agreement => (
                "agreement.declined",
                vec![document.proposer.as_str(), document.counterparty.as_str()],
            ),
            Kind::Change if action == Action::Withdraw => ("change.withdrawn", vec![]),
            Kind::Change => ("change.declined", vec![]),
        };
        tell(conn, now, &whom, what, hash, &[fact("by", person.name)])?;
        Ok(document)
    })
}

fn refused<T>(code: Code, field: &str, detail: impl Into<String>) -> Done<T> {
    Err(Problem::new(code, detail).at(Some(field)).into())
}

/// Whether a change is possible now; it is asked when it is proposed, and again when it is approved.
fn check(conn: &mut Conn, directory: &Directory, change: &Change, now: Timestamp) -> Done<()> {
    match change {
        Change::Admit { partner, .. } => {
            if directory.partners.contains_key(partner) || RESERVED.contains(&partner.as_str()) {
                return refused(Code::BadTerms, "partner", "this id is taken");
            }
            Ok(())
        }
        Change::Status { partner, status } => check_status(conn, directory, partner, *status),
        Change::Cap { partner, amount, .. } => {
            partner_of(directory, partner)?;
            match amount.map(|a| a.to_units(6)) {
                Some(Err(e)) => refused(Code::BadAmount, "amount", e.to_string()),
                _ => Ok(()),
            }
        }
        Change::Programme(terms) => {
            partner_of(directory, &terms.issuer)?;
            if directory.programmes.contains_key(&terms.code) {
                return refused(
                    Code::BadTerms,
                    "code",
                    "there is such a programme; the rules of one in use can't change",
                );
            }
            crate::directory::Programme::new(terms.clone()).map_or_else(|e| refused(Code::BadTerms, "programme", e), |_| Ok(()))
        }
        Change::Rate(terms) => check_publication(directory, terms, now),
        Change::Bonus(terms) => check_bonus_period(directory, terms, now),
        Change::WriteOff { .. } => refused(Code::BadTerms, "change", "write-offs come with the ledger's message for them"),
        Change::Person { name, kid, public_key } => {
            if name.is_empty() || name.len() > 64 || KeyId::new(kid.as_str()).is_err() {
                return refused(Code::BadTerms, "name", "a person has a name of 1 to 64 characters");
            }
            match VerifyingKey::from_base64url(public_key) {
                Err(e) => refused(Code::BadTerms, "public_key", e.to_string()),
                Ok(key) if partners::person_known(conn, name, kid.as_str(), &key.to_base64url())? => refused(
                    Code::BadTerms,
                    "name",
                    "this name, kid or key stands in the trail already: choose another",
                ),
                Ok(_) => Ok(()),
            }
        }
        Change::PersonLeaves { name } => {
            let people = documents::people(conn)?;
            if !people.iter().any(|one| one.name == *name) {
                return refused(Code::BadTerms, "name", "there is no such person");
            }
            if people.len() <= FEWEST {
                return refused(
                    Code::BadTerms,
                    "name",
                    "two people have to stay, or nothing could be approved any more",
                );
            }
            Ok(())
        }
    }
}

fn partner_of<'a>(directory: &'a Directory, id: &PartnerId) -> Done<&'a crate::directory::Partner> {
    let known = directory.partners.get(id);
    known.ok_or_else(|| {
        Problem::new(Code::BadTerms, format!("there is no partner {id}"))
            .at(Some("partner"))
            .into()
    })
}

fn check_status(conn: &mut Conn, directory: &Directory, id: &PartnerId, next: Status) -> Done<()> {
    let partner = partner_of(directory, id)?;
    if !partner.status.may_become(next) {
        let detail = format!("{id} is {}, from where nobody becomes {next}", partner.status);
        return refused(Code::BadTerms, "status", detail);
    }
    if next == Status::Gone
        && let Some(open) = partners::unfinished(conn, id)?
    {
        return refused(Code::BadTerms, "status", format!("{id} can't go yet: {open}"));
    }
    Ok(())
}

/// A rate starts later than those before it, and with the notice that its agreement asks for.
fn check_publication(directory: &Directory, terms: &RateTerms, now: Timestamp) -> Done<()> {
    check_rate(directory, terms).map_err(|e| bad_terms(&e))?;
    let pair = |r: &RateTerms| r.programme == terms.programme && r.to_programme == terms.to_programme;
    let before: Vec<_> = directory.rates().filter(|r| pair(&r.item.terms)).collect();
    if before.iter().any(|r| r.from >= terms.valid_from) {
        return refused(Code::Superseded, "valid_from", "another rate starts then or later");
    }
    let agreement = directory.exchange_agreement(&terms.programme, &terms.to_programme, terms.valid_from);
    let hours = agreement.and_then(|a| a.item.terms.rate_notice_hours).unwrap_or(0);
    // The first rate changes nothing that anybody relies on.
    if !before.is_empty() && terms.valid_from < now + SignedDuration::from_hours(i64::from(hours)) {
        return refused(
            Code::NoticeTooShort,
            "valid_from",
            format!("the agreement asks for {hours} hours' notice of a new rate"),
        );
    }
    Ok(())
}

/// A bonus still has time before it, and no other of the same programmes is in force in its period.
fn check_bonus_period(directory: &Directory, terms: &BonusTerms, now: Timestamp) -> Done<()> {
    check_bonus(directory, terms).map_err(|e| bad_terms(&e))?;
    if terms.valid_until <= now {
        return refused(Code::BadTerms, "valid_until", "the bonus would be over before it started");
    }
    match overlapping(directory, terms) {
        Some(other) => refused(
            Code::Superseded,
            "valid_from",
            format!("another bonus is in force from {} until {}", other.valid_from, other.valid_until),
        ),
        None => Ok(()),
    }
}

fn bad_terms(error: &anyhow::Error) -> Fault {
    let field = error.downcast_ref::<TermsError>().map(|fault| fault.field);
    Problem::new(Code::BadTerms, format!("{error:#}")).at(field).into()
}

/// Makes a change true. What could be wrong with it was checked just before, in the same transaction.
fn take_effect(conn: &mut Conn, directory: &mut Directory, change: &Change, hash: &str, now: Timestamp) -> Done<()> {
    let internal = |error: anyhow::Error| Fault::Db(migrations::DbError::Corrupt(format!("{error:#}")));
    match change {
        Change::Admit { partner, name } => {
            partners::admit(conn, partner, name)?;
            tell(conn, now, &[], "partner.admitted", partner.as_str(), &[fact("change", hash)])?;
        }
        Change::Status { partner, status } => {
            partners::set_status(conn, partner, *status)?;
            let facts = [fact("status", status.as_str()), fact("change", hash)];
            tell(conn, now, &[EVERYBODY], "partner.status", partner.as_str(), &facts)?;
        }
        Change::Cap { partner, currency, amount } => {
            let micros = amount.map(|a| a.to_units(6)).transpose().map_err(|_| Code::BadAmount)?;
            partners::set_cap(conn, partner, currency.as_str(), micros)?;
            let mut facts = vec![fact("currency", currency.as_str()), fact("change", hash)];
            facts.extend(amount.map(|a| fact("amount", a.to_string())));
            tell(conn, now, &[partner.as_str()], "partner.cap", partner.as_str(), &facts)?;
        }
        Change::Programme(terms) => {
            put_programme(conn, terms).map_err(internal)?;
            tell(
                conn,
                now,
                &[EVERYBODY],
                "programme.added",
                terms.code.as_str(),
                &[fact("change", hash)],
            )?;
        }
        Change::Rate(terms) => {
            let (agreement, item) = check_rate(directory, terms).map_err(internal)?;
            let facts = [
                fact("rate", &*item.hash),
                fact("valid_from", terms.valid_from.to_string()),
                fact("change", hash),
            ];
            let pair = format!("{}>{}", terms.programme, terms.to_programme);
            insert_rate(conn, directory, item, agreement, now.as_microsecond())?;
            tell(conn, now, &[EVERYBODY], "rate.published", &pair, &facts)?;
        }
        Change::Bonus(terms) => {
            let (agreement, item) = check_bonus(directory, terms).map_err(internal)?;
            let facts = [
                fact("bonus", &*item.hash),
                fact("valid_from", terms.valid_from.to_string()),
                fact("valid_until", terms.valid_until.to_string()),
                fact("change", hash),
            ];
            let pair = format!("{}>{}", terms.programme, terms.to_programme);
            insert_bonus(conn, directory, item, agreement, now.as_microsecond())?;
            tell(conn, now, &[EVERYBODY], "bonus.published", &pair, &facts)?;
        }
        Change::WriteOff { .. } => return Err(Code::Internal.into()),
        Change::Person { name, kid, public_key } => {
            let person = Person {
                name: name.clone(),
                kid: kid.to_string(),
                key: VerifyingKey::from_base64url(public_key).map_err(|_| Code::Internal)?,
            };
            documents::add_person(conn, &person, now)?;
            tell(conn, now, &[], "person.added", name, &[fact("change", hash)])?;
        }
        Change::PersonLeaves { name } => {
            documents::person_leaves(conn, name, now)?;
            tell(conn, now, &[], "person.left", name, &[fact("change", hash)])?;
        }
    }
    Ok(())
}

/// Adds one of the first people, before there are two: from then on it takes a proposal and an approval.
pub fn found(conn: &mut Conn, now: Timestamp, person: &Person) -> Done<()> {
    step(conn, now, &person.name, "found", "", |conn| {
        if documents::people(conn)?.len() >= FEWEST {
            return refused(
                Code::FourEyes,
                "name",
                "there are two people: a further one is proposed by one and approved by another",
            );
        }
        let change = Change::Person {
            name: person.name.clone(),
            kid: KeyId::new(&person.kid).map_err(|_| Code::BadTerms)?,
            public_key: person.key.to_base64url(),
        };
        let mut directory = load_directory(conn)?;
        check(conn, &directory, &change, now)?;
        take_effect(conn, &mut directory, &change, "", now)
    })
}
