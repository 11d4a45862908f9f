//! Several windows paid together: what is open of them is netted once more, over the windows, and paid with the last of them. The statements stay as they are; what changes is kept beside them.

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::PartnerId;
use partner_sdk::change::MOST_JOINED;

use crate::error::SettlementError;
use crate::group::{Group, Taken, nets_of};
use crate::reached::reached;
use crate::revise::{due_on, keep, pay_anew};
use crate::revised::Revised;
use crate::revision::{Moved, joint, left};
use crate::settle::{close_if_paid, may_settle};
use crate::store::{self, State};

/// What a joining has done.
#[derive(Debug)]
pub struct Joint {
    /// The window that has the payments from now on.
    pub lead: Date,
    /// Which run of it this is.
    pub run: i64,
    /// Each window, and whom it concerns in it: the lead last.
    pub windows: Vec<(Date, Vec<PartnerId>)>,
    /// Which payments are made no more, and which instead.
    pub moved: Vec<Moved>,
    /// The windows of which nothing is left to be paid, so that they are settled.
    pub settled: Vec<Date>,
}

/// Whether windows can be paid with a later one, the lead: each is advised, isn't settled, and isn't paid with another. Only to the lead others may have been joined before.
pub fn may_join(conn: &mut Conn, others: &[Date], lead: Date) -> Result<(), SettlementError> {
    for date in others.iter().chain([&lead]) {
        may_settle(conn, *date)?;
        if reached(conn, *date, State::Advised)?.value_date.is_none() {
            return Err(SettlementError::AsAWhole(*date));
        }
    }
    for date in others {
        if !store::joined_into(conn, *date)?.is_empty() {
            return Err(SettlementError::Lead(*date));
        }
    }
    let windows = store::joined_into(conn, lead)?.len() + others.len();
    match windows < MOST_JOINED {
        true => Ok(()),
        false => Err(SettlementError::TooMany { windows, lead }),
    }
}

/// Joins windows to a lead: what is open of any of them isn't paid any more, and the lead has one payment for each partner and currency in its place, by the document `by`. For a transaction
/// that has locked the ledger.
pub fn join_locked(conn: &mut Conn, others: &[Date], lead: Date, now: Timestamp, by: &str) -> Result<Joint, SettlementError> {
    may_join(conn, others, lead)?;
    // As the entry has it, by which it is done again.
    let now = store::time(conn, now)?;
    let mut own = vec![];
    for date in others {
        own.push((*date, left(&nets_of(conn, *date)?, &store::dues_of(conn, *date)?)));
    }
    let known = Group::of(conn, lead)?;
    // Of each of them it is the next, so that what was paid or taken out before has a lower number.
    let run = known.last_run(conn)?.max(store::last_run(conn, others)?) + 1;
    // What is open is owed by the same as before, so nothing changes about net debit caps.
    store::join(conn, others, (lead, run), by)?;
    let group = Group::of(conn, lead)?;
    let (nets, dues) = (group.nets(conn)?, group.dues(conn)?);
    let moved = joint(&nets, &dues, (lead, due_on(conn)?))?;
    let of = |business_date, joined, lead| Revised {
        business_date,
        joined,
        lead,
        run,
        cause: "joined".into(),
        defaulted: None,
        document: by.to_owned(),
        revised_at: now,
    };
    let of_lead = of(lead, group.others(), None);
    pay_anew(conn, &of_lead, &moved)?;
    for (date, lines) in &own {
        keep(conn, &of(*date, vec![], Some(lead)), &Taken::new(), lines)?;
    }
    keep(conn, &of_lead, &Taken::new(), &moved)?;
    let settled = close_if_paid(conn, &group, now, by)?;
    let mut windows: Vec<_> = own.iter().map(|(date, lines)| (*date, concerned(lines))).collect();
    windows.push((lead, concerned(&moved)));
    Ok(Joint {
        lead,
        run,
        windows,
        moved,
        settled,
    })
}

/// Whom lines are about, each once.
fn concerned(lines: &[Moved]) -> Vec<PartnerId> {
    let mut all: Vec<PartnerId> = lines.iter().map(|line| line.partner.clone()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
