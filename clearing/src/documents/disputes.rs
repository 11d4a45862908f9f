//! Disputes: a partner says that it doesn't owe what a line of its statement says, or a part of it. What isn't paid yet is taken out of the window's payments, so that the rest settles. The other party
//! concedes or contests, or two of the operator's people decide; what is owed then is posted as an adjustment in the open window.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use migrations::Conn;
use partner_sdk::change::Status;
use partner_sdk::dispute::{ANSWER_WITHIN_DAYS, DisputeTerms};
use partner_sdk::document::{self, Action, Kind, State};
use partner_sdk::jws::TYP_DISPUTE;
use partner_sdk::{Amount, Code, Money, PartnerId, Problem};

use super::between::{Proposal, acted, enter, own_missing, own_signature, take_in, theirs};
use super::disputed::{Claim, claim, money};
use super::rights::Role;
use super::settled::{fault, tell_revised};
use super::{Done, Fault, add, by_partner, decide, digest, fact, find, open, record, refused, step, tell};
use ledger::directory::Directory;
use ledger::timestamp;
use store::disputes::{self, Disputed};
use store::documents::{self, Document};
use store::load_directory;

/// How many disputes of one partner may be open at once.
const MAX_OPEN: i64 = 100;

/// A partner disputes what it owes by a line of its statement.
pub fn propose(conn: &mut Conn, now: Timestamp, caller: &PartnerId, text: &str) -> Done<Document> {
    let general = open(text);
    let about = general.as_ref().map(|g| g.hash()).unwrap_or_default();
    step(conn, now, caller.as_str(), "propose", &about, |conn| {
        let general = general?;
        let directory = load_directory(conn)?;
        let [signature] = &general.signatures[..] else {
            return Err(Problem::new(Code::MalformedDocument, "a dispute has one signature, that of whoever disputes").into());
        };
        by_partner(&directory, caller, signature, TYP_DISPUTE, &general.payload, now)?;
        may_dispute(&directory, caller)?;
        let terms: DisputeTerms = document::read(&general.payload)?;
        if let Some(known) = documents::find(conn, &about)? {
            return Err(Problem::new(Code::DocumentKnown, format!("this document is there already, and {}", known.state)).into());
        }
        if disputes::open_of(conn, caller)? >= MAX_OPEN {
            let detail = format!("{MAX_OPEN} disputes of yours are open");
            return Err(Problem::new(Code::TooManyProposals, detail).into());
        }
        let claim = claim(conn, &directory, caller, &terms, now)?;
        let proposal = Proposal {
            kind: Kind::Dispute,
            hash: &about,
            state: State::Proposed,
            counterparty: &terms.counterparty,
            payload: document::write(&terms),
        };
        let new = take_in(conn, now, caller, proposal, signature)?;
        file(conn, (&about, terms), &claim, now)?;
        Ok(new)
    })
}

/// Whoever owes may dispute, as long as it has part in the clearing at all.
fn may_dispute(directory: &Directory, partner: &PartnerId) -> Done<()> {
    match directory.partners.get(partner).map(|p| p.status) {
        Some(Status::Active | Status::Leaving) => Ok(()),
        _ => Err(Code::PartnerSuspended.into()),
    }
}

/// Takes what is disputed out of the window's payments, where it isn't paid yet, and tells the parties.
fn file(conn: &mut Conn, (hash, terms): (&str, DisputeTerms), claim: &Claim, now: Timestamp) -> Done<()> {
    let date = terms.business_date;
    let answer_by = now + SignedDuration::from_hours(24 * ANSWER_WITHIN_DAYS);
    let Claim { debt, is_taken_out } = claim;
    let outcome = is_taken_out.then(|| settlement::dispute_locked(conn, date, debt, now, hash));
    let outcome = outcome.transpose().map_err(|error| fault(error, "business_date"))?;
    let new = Disputed {
        hash: hash.to_owned(),
        business_date: date,
        debtor: debt.debtor.clone(),
        creditor: debt.creditor.clone(),
        currency: debt.currency,
        kind: terms.line.kind,
        agreement: terms.line.agreement,
        price: terms.line.price,
        message: terms.message.map(|message| (message.sender.to_string(), message.id.to_string())),
        amount: debt.amount,
        run: outcome.as_ref().map(|outcome| outcome.run),
        answer_by: answer_by.as_microsecond(),
        upheld: None,
        adjusted_in: None,
    };
    disputes::insert(conn, &new)?;
    let facts = [
        fact("by", debt.debtor.as_str()),
        fact("window", date.to_string()),
        fact("currency", debt.currency.as_str()),
        fact("amount", debt.amount.display(debt.currency)),
        fact("carved_out", if *is_taken_out { "yes" } else { "no" }),
        fact("answer_by", answer_by.to_string()),
    ];
    tell(conn, now, &parties(&new), "dispute.filed", hash, &facts)?;
    if let Some(outcome) = outcome {
        tell_revised(conn, &outcome, &[fact("cause", "dispute")], &fact("dispute", hash), now)?;
    }
    Ok(())
}

/// Whom a dispute concerns; the operator hears of each anyway.
fn parties(dispute: &Disputed) -> Vec<&str> {
    let both = [&dispute.debtor, &dispute.creditor].into_iter();
    both.filter(|party| **party != PartnerId::clearing())
        .map(PartnerId::as_str)
        .collect()
}

fn row(conn: &mut Conn, hash: &str) -> Done<Disputed> {
    Ok(disputes::find(conn, hash)?.ok_or(Code::Internal)?)
}

/// The other party concedes: it signs the same payload, and all that is disputed isn't owed.
pub fn sign(conn: &mut Conn, now: Timestamp, caller: &PartnerId, hash: &str, text: &str) -> Done<Document> {
    step(conn, now, caller.as_str(), "sign", hash, |conn| {
        let (mut document, role) = theirs(conn, Kind::Dispute, caller, hash)?;
        let directory = load_directory(conn)?;
        let own = own_signature(&directory, &document, caller, (TYP_DISPUTE, text), now)?;
        let next = decide(&document, role, Action::Sign)?;
        let own = own.ok_or_else(own_missing)?;
        may_dispute(&directory, caller)?;
        record(conn, now, (Kind::Dispute, hash), "sign", caller.as_str(), &digest([&own]))?;
        add(conn, &mut document, "counterparty", caller.as_str(), own, now)?;
        let dispute = row(conn, hash)?;
        let end = End {
            kind: "dispute.conceded",
            upheld: dispute.amount,
            facts: vec![fact("by", caller.as_str())],
            by: hash,
        };
        finish(conn, &directory, dispute, end, now)?;
        enter(conn, &mut document, next, now)?;
        Ok(document)
    })
}

/// A party withdraws or contests, by its signed word.
pub fn act(conn: &mut Conn, now: Timestamp, caller: &PartnerId, hash: &str, text: &str) -> Done<Document> {
    step(conn, now, caller.as_str(), "act", hash, |conn| {
        let (mut document, role) = theirs(conn, Kind::Dispute, caller, hash)?;
        let directory = load_directory(conn)?;
        let (act, next) = acted(conn, &directory, (&document, role), caller, text, now)?;
        let dispute = row(conn, hash)?;
        let mut facts = vec![fact("by", caller.as_str())];
        facts.extend(act.reason.as_ref().map(|reason| fact("reason", reason.as_str())));
        match act.action {
            Action::Withdraw => {
                let (kind, upheld) = ("dispute.withdrawn", Money::ZERO);
                finish(
                    conn,
                    &directory,
                    dispute,
                    End {
                        kind,
                        upheld,
                        facts,
                        by: hash,
                    },
                    now,
                )?;
            }
            Action::Decline => {
                if now > timestamp(dispute.answer_by) {
                    let detail = format!("the time to answer was over at {}", timestamp(dispute.answer_by));
                    return Err(Problem::new(Code::DeadlinePassed, detail).into());
                }
                may_dispute(&directory, caller)?;
                tell(conn, now, &parties(&dispute), "dispute.contested", hash, &facts)?;
            }
            _ => {
                return Err(Problem::new(Code::BadValue, "an act about a dispute is withdraw or decline")
                    .at(Some("action"))
                    .into());
            }
        }
        enter(conn, &mut document, next, now)?;
        Ok(document)
    })
}

/// Whether two of the operator's people can decide a dispute now, and like that: it is contested, or the time to answer it is over, or it is with the clearinghouse itself.
pub fn check(conn: &mut Conn, hash: &str, upheld: Amount, now: Timestamp) -> Done<()> {
    decidable(conn, hash, upheld, now).map(drop)
}

fn decidable(conn: &mut Conn, hash: &str, upheld: Amount, now: Timestamp) -> Done<(Document, State, Disputed, Money)> {
    let Ok(document) = find(conn, Kind::Dispute, hash) else {
        return refused(Code::BadTerms, "dispute", "there is no dispute of this hash");
    };
    let next = decide(&document, Role::Person, Action::Approve)?;
    let dispute = row(conn, hash)?;
    let waits = document.state == State::Proposed && dispute.creditor != PartnerId::clearing();
    if waits && now <= timestamp(dispute.answer_by) {
        let detail = format!("{} may answer until {}", dispute.creditor, timestamp(dispute.answer_by));
        return Err(Problem::new(Code::DocumentState, detail).at(Some("dispute")).into());
    }
    let upheld = money(upheld, dispute.currency, "upheld")?;
    if upheld > dispute.amount {
        let detail = format!("{} {} is disputed", dispute.currency, dispute.amount.display(dispute.currency));
        return refused(Code::BadAmount, "upheld", detail);
    }
    Ok((document, next, dispute, upheld))
}

/// Two people have decided.
pub fn take_effect(conn: &mut Conn, directory: &Directory, hash: &str, upheld: Amount, change: &str, now: Timestamp) -> Done<()> {
    let (mut document, next, dispute, upheld) = decidable(conn, hash, upheld, now)?;
    let end = End {
        kind: "dispute.decided",
        upheld,
        facts: vec![fact("change", change)],
        by: change,
    };
    finish(conn, directory, dispute, end, now)?;
    enter(conn, &mut document, next, now)
}

/// How a dispute ends.
struct End<'a> {
    /// What the parties are told.
    kind: &'static str,
    /// How much isn't owed.
    upheld: Money,
    /// Who says so.
    facts: Vec<(String, String)>,
    /// By which document.
    by: &'a str,
}

/// It is known how much is owed: that is posted in the open window.
fn finish(conn: &mut Conn, directory: &Directory, dispute: Disputed, end: End, now: Timestamp) -> Done<()> {
    settlement::dispute_over_locked(conn, &dispute.hash).map_err(|error| fault(error, "dispute"))?;
    let mut facts = end.facts;
    facts.push(fact("upheld", end.upheld.display(dispute.currency)));
    let mut adjusted_in: Option<Date> = None;
    if let Some((debtor, creditor, amount)) = dispute.outcome(end.upheld) {
        let agreement = directory.agreement_named(&dispute.agreement).ok_or(Code::Internal)?.no;
        let adjustment = store::Adjustment {
            debtor,
            creditor,
            currency: dispute.currency,
            amount,
            agreement,
        };
        let posted = store::adjust(conn, directory, adjustment, &dispute.hash, now)?;
        let window = posted.ok_or_else(|| Fault::from(Code::Overflow))?;
        adjusted_in = Some(window);
        facts.extend([
            fact("adjusted", amount.display(dispute.currency)),
            fact("debtor", debtor.as_str()),
            fact("creditor", creditor.as_str()),
            fact("adjusted_in", window.to_string()),
        ]);
    }
    disputes::end(conn, &dispute.hash, end.upheld, end.by, adjusted_in)?;
    Ok(tell(conn, now, &parties(&dispute), end.kind, &dispute.hash, &facts)?)
}

/// A dispute as `caller` may see it.
pub fn fetch(conn: &mut Conn, caller: &PartnerId, hash: &str) -> Done<Document> {
    Ok(theirs(conn, Kind::Dispute, caller, hash)?.0)
}
