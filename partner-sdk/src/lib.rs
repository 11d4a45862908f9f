//! The contract between the clearinghouse and its partners.
//!
//! Without features this crate is pure: identifiers, exact points and money, exchange rates, agreement terms, signed
//! messages and receipts, and the catalogue of problems. Both sides of the wire use these same types, so a message that
//! the SDK can build is one that the service can read. Feature `client` adds the HTTPS client.
//!
//! | module | what lives there |
//! |---|---|
//! | [`ids`] | partners, programmes, members, messages, keys, currencies |
//! | [`amount`] | the grammar of amounts, points, money, prices, rounding, exchange ratios |
//! | [`agreement`] | what two partners agreed on: terms, content hashes |
//! | [`member_fee`] | what a partner asks of its member for an exchange |
//! | [`rate`] | exchange rates, and bonuses for a period |
//! | [`document`] | documents that several sign: their canonical bytes, their strict reading, and what is done to them |
//! | [`banking`] | references of payments, accounts, and which payments were made |
//! | [`fx`] | at which rates a window's currencies are paid in another one |
//! | [`calendar`] | the business calendar: which window an instant falls in, and when it ends |
//! | [`change`] | what the operator changes, and the life of a partner |
//! | [`salt`] | what keeps a document's hash from telling what it says |
//! | [`jcs`] | canonical JSON |
//! | [`strict`] | JSON as the wire allows it: a flat object of strings, each key once |
//! | [`jws`] | signing and strict verification of compact JWS |
//! | [`log`] | the transparency log: its signed head, tiles, proofs, and their verification |
//! | [`trust`] | the clearinghouse's public keys, and what is believed by them |
//! | [`text`] | names and reasons: one line, nothing that a reader doesn't see |
//! | [`wire`] | messages and receipts |
//! | [`problem`] | every way in which a request can be refused |
//! | `client` | mutual TLS, sending and retrying (feature `client`) |

pub mod agreement;
pub mod amount;
pub mod banking;
pub mod calendar;
pub mod change;
#[cfg(feature = "client")]
pub mod client;
pub mod dispute;
pub mod document;
mod forms;
pub mod fx;
pub mod ids;
pub mod jcs;
pub mod jws;
pub mod log;
pub mod member_fee;
pub mod problem;
pub mod rate;
mod reading;
pub mod salt;
pub mod strict;
mod terms_error;
pub mod text;
pub mod trust;
pub mod wire;

pub use amount::{Amount, Money, Points};
pub use ids::{Currency, KeyId, MemberNumber, MessageId, PartnerId, ProgrammeCode, Reason, Reference};
pub use problem::{Code, Problem};
pub use salt::Salt;
pub use trust::Trust;
pub use wire::{Body, Message, Outcome, Receipt};
