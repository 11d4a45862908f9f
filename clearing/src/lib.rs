//! The points clearinghouse: the service, its ledger and the `clearing` command.
//!
//! One message's way, phase by phase:
//!
//! | phase | module | touches | may fail with |
//! |---|---|---|---|
//! | arrive | [`http`], [`tls`] | the connection | unknown certificate, too large, too slow |
//! | verify | [`verify`] | bytes and keys, in parallel | JWS, signature, payload problems |
//! | queue | [`writer`] | memory, bounded | `overloaded`, `shutting_down` |
//! | load | [`store`] | reads inside the transaction | the database |
//! | apply | [`ledger`] | pure | a typed rejection, which is kept |
//! | persist, commit | [`store`] | one transaction for the group | the database: `outcome_unknown` |
//! | receipt | [`receipt`] | signs after the commit, in parallel | nothing |
//! | night | [`night`] | expire, close, net, advise | tried again |
//!
//! Imports run down: [`server`] and [`cli`] put together; [`http`], [`writer`], [`night`] use [`store`] and [`verify`]; those use [`ledger`]; it uses
//! [`directory`] and the contract.

pub mod bench;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod documents;
pub mod failures;
pub mod http;
pub mod install;
pub mod keeper;
pub mod listen;
pub mod network_file;
pub mod night;
pub mod out;
pub mod pki;
pub mod queue;
pub mod receipt;
pub mod server;
pub mod shares;
pub mod telemetry;
pub mod tls;
pub mod trouble;
pub mod verify;
pub mod writer;
