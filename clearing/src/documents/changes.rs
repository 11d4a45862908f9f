//! What the operator changes: one of its people proposes, another approves the same bytes, the clearinghouse countersigns, and it takes effect.

use jiff::{SignedDuration, Timestamp};
use migrations::Conn;
use partner_sdk::amount::format_units;
use partner_sdk::change::{Change, Proposal, Status};
use partner_sdk::document::{self, Act, Action, Kind, State};
use partner_sdk::jws::general::Signature;
use partner_sdk::jws::{TYP_CHANGE, sha256_hex};
use partner_sdk::{Amount, Code, MemberNumber, PartnerId, Points, Problem, ProgrammeCode};

use super::rights::Role;
use super::{
    Countersigner, Done, Fault, add, by_person, calendars, conversions, decide, defaults, digest, disputes, fact, find, fresh, joins,
    not_in_state, open, people, publication, record, refused, settled, step, tell,
};
use ledger::AccountKey;
use ledger::directory::Directory;
use ledger::network::RESERVED;
use store::admin::{insert_bonus, insert_rate, put_programme};
use store::documents::{self, Document};
use store::events::EVERYBODY;
use store::grow_version;
use store::people::{NEWCOMER, Person, newcomer};
use store::{self, invitations, load_directory, partners, write_off};

/// How long a proposal may be approved.
pub const OPEN_FOR: SignedDuration = SignedDuration::from_hours(24 * 30);

/// A person proposes a change. It is tried out first, so that what couldn't take effect isn't proposed.
pub fn propose(conn: &mut Conn, now: Timestamp, text: &str) -> Done<Document> {
    let general = open(text);
    let about = general.as_ref().map(|g| g.hash()).unwrap_or_default();
    let who = general
        .as_ref()
        .ok()
        .and_then(|g| g.signatures.first())
        .map_or_else(String::new, |one| one.kid.to_string());
    step(conn, now, &who, "propose", &about, |conn| {
        let general = general?;
        let [signature] = &general.signatures[..] else {
            return Err(Problem::new(Code::MalformedDocument, "a proposal has one signature, the proposer's").into());
        };
        let person = by_person(conn, signature, TYP_CHANGE, &general.payload)?;
        let proposal: Proposal = document::read(&general.payload)?;
        fresh(proposal.proposed_at, now)?;
        super::salted(&proposal.salt)?;
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
        record(conn, now, (Kind::Change, &about), "propose", &person.name, &digest([signature]))?;
        documents::insert(conn, &new)?;
        add(conn, &mut new, "proposer", &person.name, signature.clone(), now)?;
        tell(conn, now, &[], "change.proposed", &about, &[fact("by", person.name)])?;
        Ok(new)
    })
}

/// A new person signs the change that names it, by its own key: nobody becomes a person by a key that it doesn't hold, or without agreeing.
pub fn accept(conn: &mut Conn, now: Timestamp, hash: &str, signature: &Signature) -> Done<Document> {
    step(conn, now, signature.kid.as_str(), "accept", hash, |conn| {
        let mut document = find(conn, Kind::Change, hash)?;
        let Some(newcomer) = newcomer(&document) else {
            let problem = Problem::new(Code::NotParty, "this change names no new person, so there is nothing to accept");
            return Err(problem.advise("Look at it by clearing document show HASH.").into());
        };
        if document.state != State::Proposed {
            return Err(not_in_state(&document));
        }
        if newcomer.has_accepted(&document) {
            return Err(Problem::new(Code::AlreadySigned, format!("{} has accepted this already", newcomer.name)).into());
        }
        if signature.kid.as_str() != newcomer.kid {
            let detail = format!("the change names the key {}, and this is {}", newcomer.kid, signature.kid);
            return refused(Code::UnknownKey, "kid", detail);
        }
        super::verified(signature, TYP_CHANGE, document.payload.as_bytes(), &newcomer.key)?;
        record(conn, now, (Kind::Change, hash), "accept", &newcomer.name, &digest([signature]))?;
        add(conn, &mut document, NEWCOMER, &newcomer.name, signature.clone(), now)?;
        tell(conn, now, &[], "change.accepted", hash, &[fact("by", newcomer.name)])?;
        Ok(document)
    })
}

/// Another person approves, by a signature over the same payload; the change takes effect in the same transaction.
pub fn approve<'a>(
    conn: &mut Conn,
    now: Timestamp,
    key: impl Into<Countersigner<'a>>,
    hash: &str,
    signature: &Signature,
) -> Done<Document> {
    step(conn, now, signature.kid.as_str(), "approve", hash, |conn| {
        let mut document = find(conn, Kind::Change, hash)?;
        let payload = document.payload.clone().into_bytes();
        if document.general().hash() != document.hash {
            return Err(Code::DocumentChanged.into());
        }
        let person = by_person(conn, signature, TYP_CHANGE, &payload)?;
        let next = decide(&document, role(&document, &person), Action::Approve)?;
        let first = document.signatures.first().ok_or(Code::NotApproved)?.signature.clone();
        // The proposer's signature once more: who has left since doesn't count as one of two.
        let proposer = by_person(conn, &first, TYP_CHANGE, &payload).map_err(|_| proposer_left())?;
        if proposer.name == person.name {
            return Err(Code::FourEyes.into());
        }
        let proposal: Proposal = document::read(&payload)?;
        if now > proposal.proposed_at + OPEN_FOR {
            return Err(Problem::new(Code::Stale, "the proposal is more than 30 days old")
                .advise("Propose it again.")
                .into());
        }
        if let Some(newcomer) = newcomer(&document).filter(|one| !one.has_accepted(&document)) {
            let detail = format!(
                "{} hasn't signed this: a new person agrees by its own key, and shows that it has it",
                newcomer.name
            );
            let advice = "The new person runs: clearing person accept HASH --key FILE.";
            return Err(Problem::new(Code::NotApproved, detail).advise(advice).into());
        }
        let mut directory = load_directory(conn)?;
        check(conn, &directory, &proposal.change, now)?;
        record(conn, now, (Kind::Change, hash), "approve", &person.name, &digest([signature]))?;
        let effect = match &proposal.change {
            Change::PersonLeaves { name } => store::people::leaves_at(conn, name, now)?,
            _ => now,
        };
        take_effect(conn, &mut directory, &proposal.change, hash, effect)?;
        grow_version(conn, directory.version)?;
        // What couldn't be read back would keep the service from starting.
        load_directory(conn)?;
        add(conn, &mut document, "approver", &person.name, signature.clone(), now)?;
        let countersigned = key.into().sign(TYP_CHANGE, &payload);
        add(conn, &mut document, "clearing", "clearing", countersigned, effect)?;
        document.state = next;
        documents::set_state(conn, hash, next, now)?;
        let facts = [fact("by", person.name), fact("proposed_by", proposer.name)];
        tell(conn, now, &[], "change.approved", hash, &facts)?;
        Ok(document)
    })
}

fn proposer_left() -> Fault {
    let problem = Problem::new(
        Code::NotApproved,
        "who has proposed this isn't one of the operator's people any more",
    );
    problem.advise("Decline it, and propose it again.").into()
}

/// The partner that an event is about, named in the same way in each.
fn of(partner: &PartnerId) -> (String, String) {
    fact("partner", partner.as_str())
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
    let jws = Act::open(text);
    let who = jws.as_ref().map_or_else(|_| String::new(), |jws| jws.kid.to_string());
    step(conn, now, &who, action.as_str(), hash, |conn| {
        let mut document = find(conn, kind, hash)?;
        let jws = jws?;
        let person = super::person_of(conn, jws.kid.as_str())?;
        jws.verify(&person.key)?;
        let act = Act::parse(&jws.payload).map_err(|e| Problem::new(Code::BadValue, e.to_string()).at(e.field()))?;
        fresh(act.issued_at, now)?;
        if act.document != hash || act.action != action {
            return Err(super::another_document().into());
        }
        let role = if kind == Kind::Change {
            role(&document, &person)
        } else {
            Role::Person
        };
        let next = decide(&document, role, action)?;
        let signed = sha256_hex(text.as_bytes());
        record(conn, now, (kind, hash), action.as_str(), &person.name, &signed)?;
        documents::add_act(conn, hash, action, &person.name, text, now)?;
        document.state = next;
        documents::set_state(conn, hash, next, now)?;
        let (what, whom) = match kind {
            Kind::Agreement => (
                "agreement.declined",
                vec![document.proposer.as_str(), document.counterparty.as_str()],
            ),
            // Of a dispute the operator's people have no such word: the table says so.
            Kind::Change | Kind::Dispute if action == Action::Withdraw => ("change.withdrawn", vec![]),
            Kind::Change | Kind::Dispute => ("change.declined", vec![]),
        };
        let mut facts = vec![fact("by", person.name)];
        facts.extend(act.reason.map(|reason| fact("reason", reason.as_str())));
        tell(conn, now, &whom, what, hash, &facts)?;
        Ok(document)
    })
}

/// Whether a change is possible now; it is asked when it is proposed, and again when it is approved.
fn check(conn: &mut Conn, directory: &Directory, change: &Change, now: Timestamp) -> Done<()> {
    match change {
        Change::Admit { partner, name } => {
            if directory.partners.contains_key(partner) || RESERVED.contains(&partner.as_str()) {
                return refused(Code::BadTerms, "partner", "this id is taken");
            }
            if partners::is_person(conn, partner.as_str())? {
                return refused(
                    Code::BadTerms,
                    "partner",
                    "this id is a person's name: the trail would not tell them apart",
                );
            }
            if let Some(other) = directory.namesake(partner, name) {
                return refused(Code::BadTerms, "name", format!("{other} has this name, case and blanks aside"));
            }
            Ok(())
        }
        Change::Status { partner, status } => check_status(conn, directory, partner, *status),
        Change::Invite { partner, token_sha256 } => {
            partner_of(directory, partner)?;
            Ok(invitations::may_invite(conn, partner, token_sha256)?)
        }
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
            ledger::directory::Programme::admit(terms.clone()).map_or_else(|e| refused(Code::BadTerms, "programme", e), |_| Ok(()))
        }
        Change::Calendar(terms) => calendars::check(conn, terms, now).map(drop),
        Change::Rate(terms) => publication::rate(directory, terms, now).map(drop),
        Change::Bonus(terms) => publication::bonus(directory, terms, now).map(drop),
        Change::WriteOff { programme, member, points } => owed(conn, directory, programme, member, *points).map(drop),
        Change::TakeBack { published } => publication::take_back(directory, published, now).map(drop),
        Change::Settle { business_date } => settled::check(conn, *business_date),
        Change::Confirm { payments, bank_statement } => settled::check_payments(conn, payments, bank_statement.as_deref(), now),
        Change::Default { partner, business_date } => defaults::check(conn, directory, partner, *business_date),
        Change::Decide { dispute, upheld } => disputes::check(conn, dispute, *upheld, now),
        Change::Fx(terms) => conversions::check(conn, terms),
        Change::Join { business_dates } => joins::check(conn, business_dates),
        Change::Account(terms) => settled::check_account(directory, terms),
        Change::Found { .. } => refused(Code::FourEyes, "change", "the network is founded, which is done once"),
        Change::Person(terms) => people::check(conn, directory, terms),
        Change::PersonLeaves { name } => people::check_leaves(conn, name),
    }
}

fn partner_of<'a>(directory: &'a Directory, id: &PartnerId) -> Done<&'a ledger::directory::Partner> {
    let known = directory.partners.get(id);
    known.ok_or_else(|| {
        Problem::new(Code::BadTerms, format!("there is no partner {id}"))
            .at(Some("partner"))
            .into()
    })
}

/// The account, and points of it to be given up: above zero, and no more than the member owes.
fn owed(
    conn: &mut Conn,
    directory: &Directory,
    programme: &ProgrammeCode,
    member: &MemberNumber,
    points: Amount,
) -> Done<(AccountKey, Points)> {
    let Some(known) = directory.programmes.get(programme) else {
        return refused(Code::UnknownProgramme, "programme", Code::UnknownProgramme.title());
    };
    let units = match points.to_units(known.terms.scale) {
        Ok(units) if units > 0 => Points(units),
        Ok(_) => return refused(Code::BadAmount, "points", "must be above zero"),
        Err(e) => return refused(Code::BadAmount, "points", e.to_string()),
    };
    let (programme, member) = (programme.clone(), member.clone());
    let account = AccountKey { programme, member };
    let debt = store::debt(conn, &account)?;
    if units > debt {
        let detail = format!("the member owes {} points", format_units(debt.0, known.terms.scale));
        return refused(Code::BadTerms, "points", detail);
    }
    Ok((account, units))
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

/// Makes a change true. What could be wrong with it was checked just before, in the same transaction.
fn take_effect(conn: &mut Conn, directory: &mut Directory, change: &Change, hash: &str, now: Timestamp) -> Done<()> {
    let internal = |error: anyhow::Error| Fault::Db(migrations::DbError::Corrupt(format!("{error:#}")));
    match change {
        Change::Admit { partner, name } => {
            partners::admit(conn, partner, name)?;
            tell(
                conn,
                now,
                &[],
                "partner.admitted",
                partner.as_str(),
                &[of(partner), fact("change", hash)],
            )?;
        }
        Change::Status { partner, status } => {
            partners::set_status(conn, partner, *status)?;
            let facts = [of(partner), fact("status", status.as_str()), fact("change", hash)];
            tell(conn, now, &[EVERYBODY], "partner.status", partner.as_str(), &facts)?;
        }
        Change::Invite { partner, token_sha256 } => {
            invitations::put_invitation(conn, partner, token_sha256, now)?;
        }
        Change::Cap { partner, currency, amount } => {
            let micros = amount.map(|a| a.to_units(6)).transpose().map_err(|_| Code::BadAmount)?;
            partners::set_cap(conn, partner, currency.as_str(), micros)?;
            let mut facts = vec![of(partner), fact("currency", currency.as_str()), fact("change", hash)];
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
        Change::Calendar(terms) => calendars::take_effect(conn, terms, hash, now)?,
        Change::Rate(terms) => {
            let (agreement, item) = publication::rate(directory, terms, now)?;
            let published = [
                fact("rate", &*item.hash),
                fact("valid_from", terms.valid_from.to_string()),
                fact("change", hash),
            ];
            insert_rate(conn, directory, item, agreement, now.as_microsecond())?;
            let pair = format!("{}>{}", terms.programme, terms.to_programme);
            tell(conn, now, &[EVERYBODY], "rate.published", &pair, &published)?;
        }
        Change::Bonus(terms) => {
            let (agreement, item) = publication::bonus(directory, terms, now)?;
            let published = [
                fact("bonus", &*item.hash),
                fact("valid_from", terms.valid_from.to_string()),
                fact("valid_until", terms.valid_until.to_string()),
                fact("change", hash),
            ];
            insert_bonus(conn, directory, item, agreement, now.as_microsecond())?;
            let pair = format!("{}>{}", terms.programme, terms.to_programme);
            tell(conn, now, &[EVERYBODY], "bonus.published", &pair, &published)?;
        }
        Change::WriteOff { programme, member, points } => {
            let (account, units) = owed(conn, directory, programme, member, *points)?;
            if !write_off(conn, directory, &account, units, hash, now)? {
                return refused(
                    Code::BadTerms,
                    "points",
                    "points that expired have repaid part of what the member owed",
                );
            }
            let issuer = directory
                .programmes
                .get(programme)
                .ok_or(Code::UnknownProgramme)?
                .terms
                .issuer
                .clone();
            let facts = [
                fact("programme", programme.as_str()),
                fact("member", member.as_str()),
                fact("points", points.to_string()),
            ];
            tell(conn, now, &[issuer.as_str()], "write_off", hash, &facts)?;
        }
        Change::TakeBack { published } => take_back(conn, directory, published, hash, now)?,
        Change::Settle { business_date } => settled::take_effect(conn, *business_date, hash, now)?,
        Change::Confirm { payments, .. } => settled::confirm(conn, payments, hash, now)?,
        Change::Default { partner, business_date } => defaults::take_effect(conn, partner, *business_date, hash, now)?,
        Change::Decide { dispute, upheld } => disputes::take_effect(conn, directory, dispute, *upheld, hash, now)?,
        Change::Fx(terms) => conversions::take_effect(conn, terms, hash, now)?,
        Change::Join { business_dates } => joins::take_effect(conn, business_dates, hash, now)?,
        Change::Account(terms) => settled::set_account(conn, terms, hash, now)?,
        Change::Found { .. } => return Err(Code::Internal.into()),
        Change::Person(terms) => people::come(conn, terms, hash, now)?,
        Change::PersonLeaves { name } => {
            store::people::person_leaves(conn, name, hash, now)?;
            tell(conn, now, &[], "person.left", name, &[fact("change", hash)])?;
        }
    }
    Ok(())
}

/// A rate or bonus never begins; the one before it goes on.
fn take_back(conn: &mut Conn, directory: &Directory, published: &str, hash: &str, now: Timestamp) -> Done<()> {
    let taken = publication::take_back(directory, published, now)?;
    store::admin::take_back(conn, taken.no, hash)?;
    let facts = [
        fact(taken.what, published),
        fact("valid_from", taken.from.to_string()),
        fact("change", hash),
    ];
    let kind = match taken.what {
        "rate" => "rate.taken_back",
        _ => "bonus.taken_back",
    };
    Ok(tell(conn, now, &[EVERYBODY], kind, &taken.pair, &facts)?)
}
