//! A partner in default is taken out of a window whose statements are out: two people say so, and everybody whom it concerns is told what changes.

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::change::Status;
use partner_sdk::{Code, PartnerId, Problem};
use settlement::Moved;

use super::settled::{fault, tell_settled, told};
use super::{Done, fact, refused, tell};
use ledger::directory::Directory;

/// Whether a partner can be taken out of a window now: it has an open payment there, and posts nothing more.
pub fn check(conn: &mut Conn, directory: &Directory, partner: &PartnerId, date: Date) -> Done<()> {
    let Some(known) = directory.partners.get(partner) else {
        return refused(Code::BadTerms, "partner", format!("there is no partner {partner}"));
    };
    if !matches!(known.status, Status::Suspended | Status::Gone) {
        let detail = format!("{partner} is {}: whoever is taken out posts nothing more", known.status);
        let problem = Problem::new(Code::BadTerms, detail);
        let advice = format!("Suspend it first, by a document with [change.status]: partner = \"{partner}\", status = \"suspended\".");
        return Err(problem.at(Some("partner")).advise(advice).into());
    }
    settlement::may_default(conn, partner, date).map_err(|error| fault(error, "business_date"))?;
    Ok(())
}

/// Takes it out, and tells whom it concerns.
pub fn take_effect(conn: &mut Conn, partner: &PartnerId, date: Date, hash: &str, now: Timestamp) -> Done<()> {
    let outcome = settlement::default_locked(conn, partner, date, now, hash).map_err(|error| fault(error, "business_date"))?;
    let facts = [
        fact("run", outcome.run.to_string()),
        fact("cause", "default"),
        fact("partner", partner.as_str()),
        fact("change", hash),
    ];
    let mut whom: Vec<&str> = outcome.moved.iter().map(|line| line.partner.as_str()).collect();
    whom.sort_unstable();
    whom.dedup();
    tell(conn, now, &whom, "statement.revised", &date.to_string(), &facts)?;
    for Moved {
        partner, replaced, due, ..
    } in &outcome.moved
    {
        let whom = [partner.as_str()];
        if let Some(reference) = replaced {
            tell(conn, now, &whom, "payment.replaced", reference.as_str(), &[fact("change", hash)])?;
        }
        if let Some(due) = due {
            tell(conn, now, &whom, "payment.due", due.reference.as_str(), &told(due))?;
        }
    }
    if outcome.settled {
        tell_settled(conn, date, hash, now)?;
    }
    Ok(())
}
