//! The points clearinghouse: the service, its ledger and the `clearing` command.
//!
//! One message's way, phase by phase:
//!
//! | phase | where | touches | may fail with |
//! |---|---|---|---|
//! | arrive | [`edge`] | the connection | unknown certificate, too large, too slow |
//! | verify | [`posting::verify`] | bytes and keys, in parallel | JWS, signature, payload problems |
//! | queue | [`posting::writer`] | memory, bounded | `overloaded`, `shutting_down` |
//! | load | [`store`] | reads inside the transaction | the database |
//! | apply | [`ledger`] | pure | a typed rejection, which is kept |
//! | persist, commit | [`store`] | one transaction for the group | the database: `outcome_unknown` |
//! | receipt | [`posting::receipt`] | signs after the commit, in parallel | nothing |
//! | night | [`night`] | expire, close, net, advise | tried again |
//!
//! Imports run down: [`commands`] and [`server`] put together; [`edge`] takes requests to [`posting`] and [`documents`]; those and [`night`] use [`store`], and it
//! [`ledger`]. [`office`] has the operator's files.

pub mod archive;
pub mod audit;
pub mod clock;
pub mod commands;
pub mod documents;
pub mod edge;
pub mod keeper;
pub mod night;
pub mod office;
pub mod posting;
pub mod server;
pub mod telemetry;
