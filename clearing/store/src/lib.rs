//! Every SQL statement of the service: loading a working set, persisting its changes, and the operator's reference data.

mod accounts;
pub mod admin;
pub mod books;
mod directory;
pub mod documents;
pub mod events;
mod expire;
mod head;
pub mod keys;
pub mod listing;
mod load;
mod log;
mod named;
pub mod partners;
pub mod pending;
pub mod people;
mod persist;
mod pool;
pub mod prepaid;
mod proved;
pub mod queries;
mod rows;
mod scratch;
mod signed;
pub mod trail;
mod write_off;

pub use directory::{check_agreement, check_bonus, check_rate, current_directory, load_directory, parties};
pub use expire::expire_lots;
pub use head::{MOST_AT_ONCE, Unready, directory_version, grow_version, is_sandbox, last_at, lock_head};
pub use load::load;
pub use log::{entries_of, grow, tiles, tree};
pub use migrations::{Conn, DbError, Url};
pub use persist::persist;
pub use pool::{Fails, Pool};
pub use scratch::Scratch;
pub use write_off::{debt, write_off};
