//! Several windows are paid together: two people say so, and everybody whose payments change is told.

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::Code;
use partner_sdk::change::MOST_JOINED;

use super::settled::{fault, tell_moved, tell_settled};
use super::{Done, fact, refused, tell};

const FIELD: &str = "business_dates";

/// The windows that are joined to the last one, and that one.
fn parts(dates: &[Date]) -> Done<(&[Date], Date)> {
    match dates.split_last() {
        Some((lead, others)) if !others.is_empty() && dates.len() <= MOST_JOINED => match dates.is_sorted_by(|one, next| one < next) {
            true => Ok((others, *lead)),
            false => refused(Code::BadTerms, FIELD, "business dates are sorted, each once"),
        },
        _ => refused(Code::BadTerms, FIELD, format!("2 to {MOST_JOINED} windows are paid together")),
    }
}

/// Whether windows can be paid together now.
pub fn check(conn: &mut Conn, dates: &[Date]) -> Done<()> {
    let (others, lead) = parts(dates)?;
    settlement::may_join(conn, others, lead).map_err(|error| fault(error, FIELD))
}

/// Joins them, and tells whom it concerns.
pub fn take_effect(conn: &mut Conn, dates: &[Date], hash: &str, now: Timestamp) -> Done<()> {
    let (others, lead) = parts(dates)?;
    let joint = settlement::join_locked(conn, others, lead, now, hash).map_err(|error| fault(error, FIELD))?;
    let by = fact("change", hash);
    let facts = [
        fact("run", joint.run.to_string()),
        fact("cause", "joined"),
        fact("lead", joint.lead.to_string()),
        by.clone(),
    ];
    for (date, whom) in &joint.windows {
        let whom: Vec<&str> = whom.iter().map(|partner| partner.as_str()).collect();
        tell(conn, now, &whom, "statement.revised", &date.to_string(), &facts)?;
    }
    tell_moved(conn, &joint.moved, &by, now)?;
    Ok(tell_settled(conn, &joint.settled, &by, now)?)
}
