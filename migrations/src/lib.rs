//! The tables of the clearinghouse on SQLite and on PostgreSQL, their diesel schema, and the connection to either.
//!
//! A function that touches the database is written once, as the body of [`each_backend!`], which expands it for both backends: diesel's own
//! `MultiConnection` can't do batch inserts, upserts or row locks.

mod conn;
pub mod schema;

pub use conn::{Conn, DbError, Url};
