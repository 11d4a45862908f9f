//! How a window is paid: partners are told what they pay and receive, two people confirm that it was made, and say where payments go.

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::{Conn, DbError};
use partner_sdk::banking::{AccountTerms, MOST_PAID, Paid};
use partner_sdk::{Code, PartnerId, Problem};
use settlement::{Due, Moved, Outcome, SettlementError, Window};

use super::{Done, Fault, fact, refused, tell};
use ledger::directory::Directory;
use store::events::{self, EVERYBODY, NewEvent};

/// Whether a window's payments can be confirmed now.
pub fn check(conn: &mut Conn, date: Date) -> Done<()> {
    settlement::may_settle(conn, date).map_err(|error| fault(error, "business_date"))
}

/// Takes the window's debts out of what counts against net debit caps.
pub fn take_effect(conn: &mut Conn, date: Date, hash: &str, now: Timestamp) -> Done<()> {
    let settled = settlement::settle_locked(conn, date, now, hash).map_err(|error| fault(error, "business_date"))?;
    Ok(tell_settled(conn, &settled, &fact("change", hash), now)?)
}

/// Tells the parties of windows that they are settled, by a document.
pub fn tell_settled(conn: &mut Conn, dates: &[Date], by: &(String, String), now: Timestamp) -> Result<(), DbError> {
    for date in dates {
        let parties = settlement::parties(conn, *date)?;
        let whom: Vec<&str> = parties.iter().map(String::as_str).collect();
        tell(conn, now, &whom, "window.settled", &date.to_string(), std::slice::from_ref(by))?;
    }
    Ok(())
}

/// Tells everybody which of its payments aren't made any more, and which are made instead.
pub fn tell_moved(conn: &mut Conn, moved: &[Moved], by: &(String, String), now: Timestamp) -> Result<(), DbError> {
    for Moved {
        partner, replaced, due, ..
    } in moved
    {
        let whom = [partner.as_str()];
        for reference in replaced {
            tell(conn, now, &whom, "payment.replaced", reference.as_str(), std::slice::from_ref(by))?;
        }
        if let Some(due) = due {
            tell(conn, now, &whom, "payment.due", due.reference.as_str(), &told(due))?;
        }
    }
    Ok(())
}

/// Tells whom a revision of a window concerns what changes for it, and the parties of windows where nothing is left to be paid; `facts` say why, `by` names the document.
pub fn tell_revised(
    conn: &mut Conn,
    outcome: &Outcome,
    facts: &[(String, String)],
    by: &(String, String),
    now: Timestamp,
) -> Result<(), DbError> {
    let mut all = vec![fact("run", outcome.run.to_string())];
    all.extend_from_slice(facts);
    all.push(by.clone());
    let mut whom: Vec<&str> = outcome.moved.iter().map(|line| line.partner.as_str()).collect();
    whom.sort_unstable();
    whom.dedup();
    tell(conn, now, &whom, "statement.revised", &outcome.business_date.to_string(), &all)?;
    tell_moved(conn, &outcome.moved, by, now)?;
    tell_settled(conn, &outcome.settled, by, now)?;
    Ok(())
}

/// Whether these payments can be confirmed now.
pub fn check_payments(conn: &mut Conn, payments: &[Paid], bank_statement: Option<&str>, now: Timestamp) -> Done<()> {
    if payments.is_empty() || payments.len() > MOST_PAID {
        return refused(
            Code::BadTerms,
            "payments",
            format!("1 to {MOST_PAID} payments are confirmed by a document"),
        );
    }
    if !payments.is_sorted_by(|one, next| one.reference < next.reference) {
        return refused(Code::BadTerms, "payments", "payments are sorted by their references, each once");
    }
    if bank_statement.is_some_and(|hash| !super::is_hash(hash)) {
        return refused(Code::BadTerms, "bank_statement", "64 lower-case hexadecimal digits are a SHA-256");
    }
    settlement::may_confirm(conn, payments, now).map_err(|error| fault(error, "payments"))?;
    Ok(())
}

/// Confirms them, and tells whoever has paid or was paid; so too, where a window is settled by it.
pub fn confirm(conn: &mut Conn, payments: &[Paid], hash: &str, now: Timestamp) -> Done<()> {
    let dues = settlement::may_confirm(conn, payments, now).map_err(|error| fault(error, "payments"))?;
    let settled = settlement::confirm_locked(conn, payments, now, hash).map_err(|error| fault(error, "payments"))?;
    for (due, paid) in dues.iter().zip(payments) {
        let mut facts = told(due);
        facts.extend([fact("paid_on", paid.paid_on.to_string()), fact("change", hash)]);
        tell(
            conn,
            now,
            &[due.partner.as_str()],
            "payment.confirmed",
            due.reference.as_str(),
            &facts,
        )?;
    }
    Ok(tell_settled(conn, &settled, &fact("change", hash), now)?)
}

/// What an event says of a payment.
pub fn told(due: &Due) -> Vec<(String, String)> {
    vec![
        fact("window", due.business_date.to_string()),
        fact("currency", due.currency.as_str()),
        fact("amount", due.how_much()),
        fact("result", due.does()),
        fact("value_date", due.value_date.to_string()),
    ]
}

/// Tells the parties of a window that their statements are ready, and each what it pays or receives by when; nothing of one whose payments aren't known one by one.
pub fn advised(conn: &mut Conn, window: &Window, now: Timestamp) -> Result<(), DbError> {
    let Some(value_date) = window.value_date else { return Ok(()) };
    let date = window.business_date;
    let parties = settlement::parties(conn, date)?;
    let whom: Vec<&str> = parties.iter().map(String::as_str).collect();
    tell(
        conn,
        now,
        &whom,
        "statement.ready",
        &date.to_string(),
        &[fact("value_date", value_date.to_string())],
    )?;
    let due = |due: &Due| NewEvent {
        recipient: due.partner.to_string(),
        kind: "payment.due",
        subject: due.reference.to_string(),
        facts: told(due),
    };
    let dues: Vec<NewEvent> = settlement::dues_of(conn, date)?.iter().map(due).collect();
    if dues.is_empty() {
        // With its statements it is settled.
        return tell(conn, now, &whom, "window.settled", &date.to_string(), &[]);
    }
    events::append(conn, now.as_microsecond(), &dues)
}

/// Whether payments can go there.
pub fn check_account(directory: &Directory, terms: &AccountTerms) -> Done<()> {
    if terms.partner != PartnerId::clearing() && !directory.partners.contains_key(&terms.partner) {
        return refused(
            Code::BadTerms,
            "partner",
            format!("there is no partner {}; the clearinghouse's own is `clearing`", terms.partner),
        );
    }
    match terms.account().fault() {
        Some((field, why)) => refused(Code::BadTerms, field, why),
        None => Ok(()),
    }
}

/// Statements name it from now on: whose it is hears of it, and everybody of that of the clearinghouse.
pub fn set_account(conn: &mut Conn, terms: &AccountTerms, hash: &str, now: Timestamp) -> Done<()> {
    settlement::put_account(conn, terms, hash)?;
    let whom = match terms.partner == PartnerId::clearing() {
        true => EVERYBODY,
        false => terms.partner.as_str(),
    };
    let facts = [fact("currency", terms.currency.as_str()), fact("change", hash)];
    Ok(tell(conn, now, &[whom], "account.set", terms.partner.as_str(), &facts)?)
}

/// What is wrong with a change, where it isn't the database.
pub fn fault(error: SettlementError, field: &str) -> Fault {
    let code = match &error {
        SettlementError::Settled(_) | SettlementError::Confirmed(_) | SettlementError::Replaced(_) => Code::AlreadySettled,
        SettlementError::OtherAmount { .. } => Code::BadAmount,
        SettlementError::Unknown(_)
        | SettlementError::NotYet { .. }
        | SettlementError::NoPayment(_)
        | SettlementError::NothingOpen { .. }
        | SettlementError::InDefault { .. }
        | SettlementError::Netted(_)
        | SettlementError::Joined { .. }
        | SettlementError::Lead(_)
        | SettlementError::AsAWhole(_)
        | SettlementError::TooMany { .. }
        | SettlementError::PaidWhen { .. } => Code::BadTerms,
        _ => return Fault::Db(DbError::Corrupt(error.to_string())),
    };
    Problem::new(code, error.to_string()).at(Some(field)).into()
}
