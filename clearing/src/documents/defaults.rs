//! A partner in default is taken out of a window whose statements are out: two people say so, and everybody whom it concerns is told what changes.

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::change::Status;
use partner_sdk::{Code, PartnerId, Problem};

use super::settled::{fault, tell_revised};
use super::{Done, fact, refused};
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
    let facts = [fact("cause", "default"), fact("partner", partner.as_str())];
    Ok(tell_revised(conn, &outcome, &facts, &fact("change", hash), now)?)
}
