//! A window is paid in one currency: two people say at which rates, before it is netted, and everybody is told.

use jiff::Timestamp;
use migrations::Conn;
use partner_sdk::Code;
use partner_sdk::fx::FxTerms;

use super::settled::fault;
use super::{Done, fact, refused, tell};
use store::events::EVERYBODY;

/// Whether a window can be converted at these rates now.
pub fn check(conn: &mut Conn, terms: &FxTerms) -> Done<()> {
    if let Some((field, why)) = terms.fault() {
        return refused(Code::BadTerms, field, why);
    }
    settlement::may_convert(conn, terms.business_date).map_err(|error| fault(error, "business_date"))
}

/// The night converts by them.
pub fn take_effect(conn: &mut Conn, terms: &FxTerms, hash: &str, now: Timestamp) -> Done<()> {
    settlement::convert_locked(conn, terms, hash).map_err(|error| fault(error, "business_date"))?;
    let facts = [
        fact("payment_currency", terms.payment_currency.as_str()),
        fact("rates", terms.listed()),
        fact("change", hash),
    ];
    let window = terms.business_date.to_string();
    Ok(tell(conn, now, &[EVERYBODY], "fx.published", &window, &facts)?)
}
