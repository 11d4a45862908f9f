//! The end-to-end harness: a real clearinghouse on either database, partners that speak to it over mutual TLS, and words of the domain to write tests in.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a harness that can't go on says why and stops")]

pub mod child;
pub mod custodian;
pub mod lines;
pub mod load;
pub mod market;
pub mod office;
pub mod paying;
pub mod postgres;
pub mod raw;
pub mod tls;
mod world;

pub use world::{
    Backend, World, amount, authorise, burn, capture, earn, earn_spend, exchange, execute, id, prepay, quote, reverse, reverse_spend, said,
    void, with_bonus,
};

/// Instantiates each named test for both databases.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            #[test]
            fn sqlite() {
                super::$name($crate::Backend::Sqlite);
            }
            #[test]
            fn postgres() {
                super::$name($crate::Backend::Postgres);
            }
        })*
    };
}
