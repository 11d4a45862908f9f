//! The bench's own network: a pool with a few shops.

use std::fmt::Write;

use anyhow::Context;
use ledger::network::Network;

/// The partner that issues the points; it sends nothing.
pub(super) const ISSUER: &str = "pool";

/// A pool and `shops` shops, with caps that nobody reaches.
pub(super) fn of(shops: u32) -> anyhow::Result<Network> {
    Network::parse(&text(shops)?).context("the bench's own network")
}

/// The same as its file says it.
pub(super) fn text(shops: u32) -> anyhow::Result<String> {
    let mut lines = String::from(
        "calendar = { zone = \"Asia/Hong_Kong\" }\n\
         [[programme]]\ncode = \"POINTS\"\nissuer = \"pool\"\ncurrency = \"HKD\"\nexpires_after = \"12 months\"\n",
    );
    let shops: Vec<String> = (1..=shops).map(|no| format!("shop-{no}")).collect();
    for id in shops.iter().map(String::as_str).chain([ISSUER]) {
        write!(
            lines,
            "[[partner]]\nid = \"{id}\"\nname = \"{id}\"\nnet_debit_cap = {{ HKD = \"1000000000000.00\" }}\n"
        )?;
    }
    for (id, (kind, price)) in shops
        .iter()
        .flat_map(|id| [("earn", "0.0055"), ("burn", "0.0048")].map(|kind| (id, kind)))
    {
        write!(
            lines,
            "[[agreement]]\nkind = \"{kind}\"\npartner = \"{id}\"\nprogramme = \"POINTS\"\nprice = \"{price}\"\ncurrency = \"HKD\"\n\
             valid_from = \"2020-01-01T00:00:00Z\"\n"
        )?;
    }
    Ok(lines)
}
