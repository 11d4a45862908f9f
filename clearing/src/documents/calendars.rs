//! When windows end: holidays and cut-off change from a window that hasn't opened. The window that is open keeps its date and its end.

use jiff::Timestamp;
use migrations::Conn;
use partner_sdk::calendar::{CalendarError, CalendarTerms};
use partner_sdk::{Code, Problem};
use settlement::Calendars;

use super::{Done, Fault, fact, refused, tell};
use store::events::EVERYBODY;

/// The most holidays of a calendar.
const MAX_HOLIDAYS: usize = 500;

/// The calendars with this one, where it may be put in force now.
pub fn check(conn: &mut Conn, terms: &CalendarTerms, now: Timestamp) -> Done<Calendars> {
    let calendars = settlement::calendars(conn)?;
    // Windows that are due count as opened, though nobody has come to open them: whenever that is, it doesn't matter.
    let (current, _) = calendars.window_at(now).map_err(bad)?;
    let open = match settlement::open_window(conn) {
        Ok(window) => window.business_date.max(current),
        Err(_) => current,
    };
    if terms.first_date <= open {
        let detail = format!("the window of {open} is open: a calendar begins with a later date");
        return refused(Code::BadTerms, "first_date", detail);
    }
    if terms.holidays.len() > MAX_HOLIDAYS {
        return refused(Code::BadTerms, "holidays", format!("at most {MAX_HOLIDAYS} holidays are taken"));
    }
    calendars.with(terms.first_date, terms.calendar()).map_err(bad)
}

/// Puts it in force, in the transaction that approves it.
pub fn take_effect(conn: &mut Conn, terms: &CalendarTerms, hash: &str, now: Timestamp) -> Done<()> {
    settlement::add_calendar(conn, terms.first_date, &terms.calendar(), hash)?;
    let facts = [fact("zone", &*terms.zone), fact("cut_off", &*terms.cut_off), fact("change", hash)];
    let first = terms.first_date.to_string();
    Ok(tell(conn, now, &[EVERYBODY], "calendar.changed", &first, &facts)?)
}

fn bad(error: CalendarError) -> Fault {
    let field = match error {
        CalendarError::Zone { .. } => "zone",
        CalendarError::CutOff(_) | CalendarError::Midnight => "cut_off",
        CalendarError::NeverOpen => "closed_weekdays",
        CalendarError::Backwards { .. } | CalendarError::None | CalendarError::Range(_) => "first_date",
    };
    Problem::new(Code::BadTerms, error.to_string()).at(Some(field)).into()
}
