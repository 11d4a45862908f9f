//! Agreements: proposed by one partner, signed by the other, approved by one of the operator's people and countersigned by the clearinghouse.

use jiff::{SignedDuration, Timestamp};
use migrations::Conn;
use partner_sdk::agreement::Terms;
use partner_sdk::document::{self, Act, Action, Kind, State};
use partner_sdk::jws::TYP_AGREEMENT;
use partner_sdk::jws::general::Signature;
use partner_sdk::text::counted;
use partner_sdk::{Code, PartnerId, Problem};

use super::between::{Proposal, acted, enter, own_missing, own_signature, take_in, theirs};
use super::publication::no_gain;
use super::rights::Role;
use super::{Countersigner, Done, add, by_partner, by_person, decide, digest, fact, find, may_sign, open, record, step, tell, verified};
use ledger::directory::{Directory, agreement_key};
use ledger::timestamp;
use store::admin::insert_agreement;
use store::documents::{self, Document};
use store::grow_version;
use store::{check_agreement, load_directory, parties};

/// A partner proposes an agreement: a document with its own signature, over terms that it is a party of.
pub fn propose(conn: &mut Conn, now: Timestamp, caller: &PartnerId, text: &str) -> Done<Document> {
    let general = open(text);
    let about = general.as_ref().map(|g| g.hash()).unwrap_or_default();
    step(conn, now, caller.as_str(), "propose", &about, |conn| {
        let general = general?;
        let directory = load_directory(conn)?;
        let [signature] = &general.signatures[..] else {
            return Err(Problem::new(Code::MalformedDocument, "a proposal has one signature, the proposer's").into());
        };
        by_partner(&directory, caller, signature, TYP_AGREEMENT, &general.payload, now)?;
        may_sign(&directory, caller)?;
        let terms: Terms = document::read(&general.payload)?;
        let other = other_party(&directory, &terms, caller)?;
        check_terms(&directory, &terms, now)?;
        if documents::open_proposals(conn, caller.as_str())? >= MAX_OPEN {
            return Err(Problem::new(
                Code::TooManyProposals,
                format!("you have {MAX_OPEN} proposals that aren't in force yet"),
            )
            .into());
        }
        if let Some(known) = documents::find(conn, &about)? {
            let overtaken = known.state == State::Superseded;
            let code = if overtaken { Code::Superseded } else { Code::DocumentKnown };
            return Err(Problem::new(code, format!("this document is there already, and {}", known.state)).into());
        }
        check_succession(conn, &directory, &terms, caller)?;
        let proposal = Proposal {
            kind: Kind::Agreement,
            hash: &about,
            // Who agrees with itself has signed for both.
            state: if other == *caller { State::Signed } else { State::Proposed },
            counterparty: &other,
            payload: document::write(&terms),
        };
        let new = take_in(conn, now, caller, proposal, signature)?;
        let facts = [fact("by", caller.as_str())];
        tell(conn, now, &[caller.as_str(), other.as_str()], "agreement.proposed", &about, &facts)?;
        Ok(new)
    })
}

/// How many proposals of one partner may wait at once.
const MAX_OPEN: i64 = 100;

/// Terms that fit what there is and aren't over; a fault names the term.
fn check_terms(directory: &Directory, terms: &Terms, now: Timestamp) -> Done<partner_sdk::agreement::Agreement> {
    super::salted(&terms.salt)?;
    if terms.valid_until.is_some_and(|until| until <= now) {
        return super::refused(Code::BadTerms, "valid_until", "these terms are over already");
    }
    check_agreement(directory, terms).map_err(|fault| Problem::new(Code::BadTerms, fault.to_string()).at(Some(fault.field)).into())
}

/// The party besides `caller`; nobody proposes for others.
fn other_party(directory: &Directory, terms: &Terms, caller: &PartnerId) -> Done<PartnerId> {
    let (partner, issuer) = parties(directory, terms).ok_or_else(|| {
        let detail = "`programme` names no programme".to_owned();
        Problem::new(Code::BadTerms, detail).at(Some("programme"))
    })?;
    if caller == partner {
        Ok(issuer.clone())
    } else if caller == issuer {
        Ok(partner.clone())
    } else {
        Err(Problem::new(Code::NotParty, "you are neither the partner nor the issuer of these terms").into())
    }
}

/// Where an agreement on the same thing is in force or to come, a new one names it and starts later: no old version comes back.
fn check_succession(conn: &mut Conn, directory: &Directory, terms: &Terms, caller: &PartnerId) -> Done<()> {
    let refused = |code, field, detail: &str| Err(Problem::new(code, detail).at(Some(field)).into());
    if let Some(named) = &terms.supersedes {
        // What isn't the caller's answers as what isn't there.
        let Ok((old, role)) = theirs(conn, Kind::Agreement, caller, named) else {
            return refused(Code::BadTerms, "supersedes", "you have no such agreement");
        };
        decide(&old, role, Action::Supersede)?;
    }
    let Some(latest) = directory.versions(&agreement_key(terms)).first() else {
        return match terms.supersedes {
            None => Ok(()),
            Some(_) => refused(Code::BadTerms, "supersedes", "this agreement is about something else"),
        };
    };
    if latest.from >= terms.valid_from {
        return refused(Code::Superseded, "valid_from", "another version starts then or later");
    }
    let ended = latest.until.is_some_and(|until| until <= terms.valid_from);
    match &terms.supersedes {
        None if ended => Ok(()),
        None => refused(
            Code::Superseded,
            "supersedes",
            "an agreement on this is in force: name its hash in `supersedes`",
        ),
        Some(named) if *named == latest.item.hash => Ok(()),
        Some(_) => refused(Code::Superseded, "supersedes", "this isn't the latest version"),
    }
}

/// The other partner signs what was proposed: the same payload, and a signature of its own.
pub fn sign(conn: &mut Conn, now: Timestamp, caller: &PartnerId, hash: &str, text: &str) -> Done<Document> {
    step(conn, now, caller.as_str(), "sign", hash, |conn| {
        let (mut document, role) = theirs(conn, Kind::Agreement, caller, hash)?;
        let directory = load_directory(conn)?;
        let own = own_signature(&directory, &document, caller, (TYP_AGREEMENT, text), now)?;
        let next = decide(&document, role, Action::Sign)?;
        let own = own.ok_or_else(own_missing)?;
        may_sign(&directory, caller)?;
        record(conn, now, (Kind::Agreement, hash), "sign", caller.as_str(), &digest([&own]))?;
        add(conn, &mut document, "counterparty", caller.as_str(), own, now)?;
        enter(conn, &mut document, next, now)?;
        let facts = [fact("by", caller.as_str())];
        tell(
            conn,
            now,
            &[&document.proposer, &document.counterparty],
            "agreement.signed",
            hash,
            &facts,
        )?;
        Ok(document)
    })
}

/// A party withdraws, declines or terminates, by its signed word.
pub fn act(conn: &mut Conn, now: Timestamp, caller: &PartnerId, hash: &str, text: &str) -> Done<Document> {
    step(conn, now, caller.as_str(), "act", hash, |conn| {
        let (mut document, role) = theirs(conn, Kind::Agreement, caller, hash)?;
        let directory = load_directory(conn)?;
        let (act, next) = acted(conn, &directory, (&document, role), caller, text, now)?;
        let (kind, mut facts) = match act.action {
            Action::Withdraw => ("agreement.withdrawn", vec![]),
            Action::Decline => ("agreement.declined", vec![]),
            Action::Terminate => {
                let ends_at = notice(&document, &act, now)?;
                terminate(conn, &directory, hash, ends_at, now)?;
                ("agreement.terminated", vec![fact("ends_at", ends_at.to_string())])
            }
            _ => {
                return Err(Problem::new(Code::BadValue, "an act is withdraw, decline or terminate")
                    .at(Some("action"))
                    .into());
            }
        };
        enter(conn, &mut document, next, now)?;
        facts.insert(0, fact("by", caller.as_str()));
        facts.extend(act.reason.as_ref().map(|reason| fact("reason", reason.as_str())));
        tell(conn, now, &[&document.proposer, &document.counterparty], kind, hash, &facts)?;
        Ok(document)
    })
}

/// Ends an agreement at an instant, if that is sooner than it ends by now. Where it then never begins, the version before it goes on.
fn terminate(conn: &mut Conn, directory: &Directory, hash: &str, ends_at: Timestamp, now: Timestamp) -> Done<()> {
    let agreement = directory.agreement_named(hash).ok_or(Code::Internal)?;
    let versions = directory.versions(&agreement_key(&agreement.item.terms));
    let later = versions.iter().map(|a| a.from).filter(|from| *from > agreement.from);
    if later.chain(agreement.until).any(|until| until <= ends_at) {
        return Err(Problem::new(Code::DocumentState, "the agreement ends then or sooner already")
            .at(Some("ends_at"))
            .into());
    }
    documents::end_agreement(conn, hash, ends_at)?;
    grow_version(conn, directory.version)?;
    if let Some(before) = agreement.item.terms.supersedes.as_deref().filter(|_| ends_at <= agreement.from) {
        documents::set_state(conn, before, State::InForce, now)?;
    }
    // What couldn't be read back would keep the service from starting.
    load_directory(conn)?;
    Ok(())
}

/// When a terminated agreement ends: as stated, but with the notice that was agreed on.
fn notice(document: &Document, act: &Act, now: Timestamp) -> Done<Timestamp> {
    let terms: Terms = document::read(document.payload.as_bytes())?;
    let ends_at = act
        .ends_at
        .ok_or_else(|| Problem::new(Code::MissingField, "a termination says when the agreement ends").at(Some("ends_at")))?;
    let days = i64::from(terms.notice_days());
    if ends_at < now + SignedDuration::from_hours(24 * days) {
        let detail = format!("the agreement asks for notice of {}", counted(days, "day"));
        return Err(Problem::new(Code::NoticeTooShort, detail).at(Some("ends_at")).into());
    }
    Ok(ends_at)
}

/// One of the operator's people approves, by a signature over the same payload; the clearinghouse countersigns, and the agreement is in force.
pub fn approve<'a>(
    conn: &mut Conn,
    now: Timestamp,
    key: impl Into<Countersigner<'a>>,
    hash: &str,
    signature: &Signature,
) -> Done<Document> {
    step(conn, now, signature.kid.as_str(), "approve", hash, |conn| {
        let mut document = find(conn, Kind::Agreement, hash)?;
        let payload = document.payload.clone().into_bytes();
        let person = by_person(conn, signature, TYP_AGREEMENT, &payload)?;
        let next = decide(&document, Role::Person, Action::Approve)?;
        let mut directory = load_directory(conn)?;
        let terms: Terms = document::read(&payload)?;
        check_signatures(&directory, &document, &terms)?;
        let item = check_terms(&directory, &terms, now)?;
        // What was signed long ago may have been overtaken.
        let proposer: PartnerId = document.proposer.parse().map_err(|_| Code::Internal)?;
        check_succession(conn, &directory, &terms, &proposer)?;
        record(conn, now, (Kind::Agreement, hash), "approve", &person.name, &digest([signature]))?;
        insert_agreement(conn, &mut directory, item, now.as_microsecond())?;
        // Another life of quotes may keep an old rate usable beside a new one.
        no_gain(&directory, now)?;
        grow_version(conn, directory.version)?;
        add(conn, &mut document, "approver", &person.name, signature.clone(), now)?;
        let countersigned = key.into().sign(TYP_AGREEMENT, &payload);
        add(conn, &mut document, "clearing", "clearing", countersigned, now)?;
        enter(conn, &mut document, next, now)?;
        load_directory(conn)?;
        let whom = [document.proposer.as_str(), document.counterparty.as_str()];
        if let Some(old) = terms.supersedes.as_deref() {
            documents::set_state(conn, old, State::Superseded, now)?;
            tell(conn, now, &whom, "agreement.superseded", old, &[fact("successor", hash)])?;
        }
        let facts = [fact("by", person.name), fact("valid_from", terms.valid_from.to_string())];
        tell(conn, now, &whom, "agreement.in_force", hash, &facts)?;
        Ok(document)
    })
}

/// Both partners may still sign, and both have: their signatures once more, over the bytes that are countersigned. Whatever became of the rows
/// meanwhile, nothing else is put in force.
fn check_signatures(directory: &Directory, document: &Document, terms: &Terms) -> Done<()> {
    let payload = document.payload.as_bytes();
    if document.general().hash() != document.hash {
        return Err(Code::DocumentChanged.into());
    }
    // Who has to sign follows from what was signed, not from the row beside it.
    let (partner, issuer) = parties(directory, terms).ok_or(Code::NotApproved)?;
    for signer in [partner, issuer] {
        may_sign(directory, signer)?;
        let signed = document.signatures.iter().find(|one| one.signer == signer.as_str());
        let signed = signed.ok_or(Code::NotApproved)?;
        // The key has to have been valid when it signed; a revoked one never was.
        let known = directory.keys.signing(&signed.signature.kid);
        let key = known.filter(|key| key.partner == *signer && key.check(timestamp(signed.at)).is_ok());
        let key = key.ok_or_else(|| {
            let detail = format!("the key with which {signer} signed doesn't count any more");
            Problem::new(Code::NotApproved, detail)
                .advise("Have this proposal withdrawn or declined, and propose and sign it anew with keys that count.")
        })?;
        verified(&signed.signature, TYP_AGREEMENT, payload, &key.key)?;
    }
    Ok(())
}

/// One of the operator's people turns an agreement down.
pub fn decline(conn: &mut Conn, now: Timestamp, hash: &str, text: &str) -> Done<Document> {
    super::changes::decline(conn, now, Kind::Agreement, hash, text)
}

/// A document as `caller` may see it.
pub fn fetch(conn: &mut Conn, caller: &PartnerId, hash: &str) -> Done<Document> {
    Ok(theirs(conn, Kind::Agreement, caller, hash)?.0)
}
