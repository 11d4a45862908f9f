//! The pure core: the ledger's rules, and the reference data that they read. No clock, no I/O, no randomness, no database. [`apply`] takes a working set and one verified message and says what became of it.
//!
//! | step | what | where |
//! |---|---|---|
//! | same id before? | the same bytes: the same receipt; other bytes: `id_reused` | [`apply`] |
//! | may the sender? | where it and the issuers stand in their lives; `issued_at` isn't ahead | `check`, `life` |
//! | the kind's own rules | agreement, freshness, limits, balance -> effects | `earn`, `prepaid`, `burn`, `quote`, `exchange`, `custody`, `reverse` |
//! | bounds | on what one message moves, and on sums | `bounds`, `limits` |
//! | net debit caps | of everybody whose debt grows | `limits` |
//! | after the last check | effects change the working set; nothing can fail | `working_set` |
//!
//! Messages of one batch go through one after the other, so each sees the effects of those before it, limits and caps included (DESIGN section 9).
//!
//! Beside the rules stand [`directory`] (what partners and the operator agreed on and published), [`keyring`] (which keys count), [`cycles`] and [`gains`] (no
//! cycle of exchanges lets points grow), and [`network`] (the operator's file that founds all that).

mod adjustment;
mod apply;
mod bounds;
mod burn;
mod clawback;
mod custody;
pub mod cycles;
pub mod directory;
pub mod draft;
mod earn;
mod effect;
mod entry;
mod exchange;
mod expiry;
pub mod gains;
pub mod keyring;
mod lending;
mod life;
mod limits;
mod moves;
pub mod network;
mod paths;
mod pending;
mod plan;
mod prepaid;
mod quote;
mod references;
mod reject;
mod reverse;
mod reversible;
mod time;
pub mod tree;
mod types;
mod working_set;
mod write_off;

pub use adjustment::adjust;
pub use apply::{Outcome, apply};
pub use bounds::{MAX_FEES, MAX_MONEY, MAX_POINTS, MAX_SUM};
pub use custody::instruction;
pub use effect::Effect;
pub use entry::{entry, receipt};
pub use expiry::{EXPIRY, expire_due, expired_of};
pub use life::answers;
pub use pending::{Answered, Pending, Reserved};
pub use quote::QUOTE_SECONDS;
pub use reject::{Reject, Rejected};
pub use time::timestamp;
pub use types::{
    Account, AccountKey, Block, Hold, Line, Lot, LotKey, MEMBER, Moved, Posted, Posting, Quote, Signed, SignedBatch, Told, Verified,
};
pub use working_set::{Changes, WorkingSet};
pub use write_off::write_off;
