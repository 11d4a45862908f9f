//! The night: from a window that is due to the statements of every partner.
//!
//! | phase | from | to | what it does | function |
//! |---|---|---|---|---|
//! | close | open | closed | a short transaction ends the window and opens the next business date's | [`close_due`] |
//! | net | closed | netted | posts clearing fees, nets each pair, rounds once, carries the residue, writes down the payments | [`net`] |
//! | advise | netted | advised | keeps each partner's statement and the settlement, and writes them as files | [`advise`] |
//! | settled | advised | settled | payments are confirmed, one by one; each leaves the exposures | [`confirm_locked`], [`settle`] |
//!
//! Each phase is safe to start twice and to resume after a kill: close, net and settle are one transaction each, and advise writes the same
//! bytes every time. [`pending`] tells what is left to do, and [`preflight`] what the open window would come to. The core is pure: [`calendar`] says when windows end, [`netting`] makes
//! obligations of positions, [`fx`] makes what is paid in another currency of them, `dues` makes payments of net positions, [`payments`] finds who pays whom where partners pay each other, [`gridlock`] in which order with what they have ([`queue`] asks it about a window), [`book`] makes statements of rows, [`render`] makes bytes of statements, [`period`] adds the statements of several days up, [`mod@accounting`] says what of points' prices is deferred, [`export`] makes of statements what people and programs read, [`bank`] reads what banks say, [`reconcile`] holds a partner's own record against its messages. Only `store` speaks SQL, only `files`
//! writes, and no function reads a clock: the time comes from the caller.

mod accounted;
pub mod accounting;
pub mod bank;
pub mod book;
pub mod calendar;
mod convert;
mod converted;
mod dues;
mod error;
pub mod export;
mod files;
pub mod fx;
pub mod gridlock;
mod group;
mod join;
pub mod netting;
pub mod payments;
pub mod period;
mod preflight;
mod queue;
mod reached;
pub mod reconcile;
pub mod render;
mod revise;
mod revised;
mod revision;
mod run;
mod settle;
pub mod statement;
mod store;
#[cfg(test)]
mod testing;

pub use accounted::{AccountingRequest, accounting};
pub use calendar::{Calendar, CalendarError, Calendars, Weekday};
pub use convert::{convert_locked, may_convert};
pub use dues::{Confirmed, Due};
pub use error::SettlementError;
pub use join::{Joint, join_locked, may_join};
pub use netting::NettingError;
pub use period::{Period, PeriodError, PeriodStatement};
pub use preflight::preflight;
pub use queue::{Balances, BalancesError, MAX_BALANCES, balances, queue};
pub use revise::{Outcome, default_locked, dispute_locked, dispute_over_locked, may_default, may_dispute, revisions, revisions_in};
pub use revision::{Moved, TakenOut};
pub use run::{
    Format, Payments, advise, advised, advised_dates, close_due, keep, kept, mark_advised, net, open_first, open_window, over, pending,
    settlement, statement, statements,
};
pub use settle::{NOTHING_DUE, confirm_locked, may_confirm, may_settle, settle, settle_locked};
pub use statement::{
    BreakageLine, ConversionLine, DirectPayments, Direction, FeeLine, Line, NetLine, NetPosition, NetResult, PairLine, Payment,
    PaymentLine, Preflight, Queue, QueueBalance, QueueLine, ReductionLine, RunningLine, Settlement, SettlementConversion, SettlementPair,
    Statement,
};
pub use store::{
    Accounts, Advised, EXPIRY, Listed, MEMBER, Pace, STATEMENTS, State, WINDOW, Wanted, Window, accounts, add_calendar, append, calendars,
    due, dues, dues_of, found_calendar, founding_calendar, listed, next_window, parties, put_account, random, rates, window,
};
