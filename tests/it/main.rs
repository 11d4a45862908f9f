//! All suites, in one binary.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't go on fails")]

mod agreements;
mod calendar;
mod cluster;
mod command;
mod corners;
mod crash;
mod custody;
mod cycles;
mod enrolment;
mod install;
mod interop;
mod january;
mod keys;
mod life;
mod limits;
mod logs;
mod money;
mod night;
mod oracle;
mod prepaid;
mod prepaid_oracle;
mod privacy;
mod quote_race;
mod quotes;
mod rates;
mod refusals;
mod reload;
mod revocations;
mod saga;
mod sdk;
mod secrets;
mod succession;
mod tidy;
mod write_off;
mod wycheproof;
