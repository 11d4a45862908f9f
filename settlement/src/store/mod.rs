//! Every statement of SQL that settlement runs, and the translation between rows and domain types.

mod accounts;
mod book;
mod calendars;
mod entries;
mod exposures;
mod fees;
mod files;
mod fx;
mod joined;
mod listed;
mod lots;
mod pairs;
mod payments;
mod revisions;
mod windows;

pub use accounts::{Accounts, accounts, put_account};
pub use book::{EXPIRY, MEMBER, Pace, agreements, partners, read_book};
pub use calendars::{add_calendar, calendars, found_calendar, founding_calendar, next_window};
pub use entries::{append, random};
pub use exposures::{add_exposure, exposed, paid_up_to, recount};
pub use fees::{fees, post_fees};
pub use files::{Advised, ENTRY as STATEMENTS, NamedBytes, keep_files, kept_between, kept_file, kept_files};
pub use fx::{carried_over, conversions, insert_conversions, payable, put_rates, rates};
pub use joined::{join, joined_into, joined_to, last_run};
pub use listed::{Listed, listed};
pub use lots::{DRAWN_BACK, Issued, Lotted, Moved, each_moved, issued, members_of};
#[cfg(test)]
pub use pairs::add_position;
pub use pairs::{insert_obligations, obligations, parties, positions};
pub use payments::{Wanted, closed_before, confirm, due, dues, dues_of, insert_dues, insert_running, open_before, running_of};
pub use revisions::{FIRST_RUN, count_taken, is_in_default, replace, take_out, taken_by, taken_of};
pub use windows::{
    ENTRY as WINDOW, Mark, State, Window, any_due, first_open, insert_open, is_empty, is_sandbox, mark, not_before, time, unnetted_before,
    window, windows_in,
};

use diesel::prelude::*;
use migrations::schema::head;
use migrations::{Conn, DbError};
use partner_sdk::PartnerId;

/// Locks the ledger for the rest of the transaction (SQLite's `BEGIN IMMEDIATE` has done so already) and returns the next sequence number.
pub fn lock_head(conn: &mut Conn) -> Result<i64, DbError> {
    let row = head::table.filter(head::id.eq(1)).select(head::next_seq);
    let next_seq = match conn {
        Conn::Sqlite(c) => row.get_result(c).optional()?,
        Conn::Postgres(c) => row.for_update().get_result(c).optional()?,
    };
    next_seq.ok_or_else(|| DbError::Corrupt("the table head has no row with id 1".into()))
}

/// Reads a value that the ledger wrote; what can't be read is corrupt.
fn read<T, E: std::fmt::Display>(what: &str, value: Result<T, E>) -> Result<T, DbError> {
    value.map_err(|error| DbError::Corrupt(format!("{what}: {error}")))
}

fn party(id: &str) -> Result<PartnerId, DbError> {
    read("a party", PartnerId::new(id))
}
