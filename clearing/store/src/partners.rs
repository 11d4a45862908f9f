//! Partners' rows, as the operator's changes write them.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer};
use migrations::schema::{
    dispute, exposure, holders, lot, net_debit_cap, partner, pending_exchange, person, position, prepaid, programme, settlement_window,
};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::PartnerId;
use partner_sdk::change::Status;
use partner_sdk::text::folded;

use super::queries::UNSETTLED;

/// A new partner.
pub fn admit(conn: &mut Conn, id: &PartnerId, name: &str) -> Result<(), DbError> {
    let row = (
        partner::id.eq(id.as_str()),
        partner::name.eq(name),
        partner::status.eq(Status::Admitted.as_str()),
    );
    each_backend!(conn, |c| diesel::insert_into(partner::table).values(row).execute(c))?;
    Ok(())
}

/// A partner's next status.
pub fn set_status(conn: &mut Conn, id: &PartnerId, status: Status) -> Result<(), DbError> {
    let query = diesel::update(partner::table.find(id.as_str()));
    each_backend!(conn, |c| query.set(partner::status.eq(status.as_str())).execute(c))?;
    Ok(())
}

/// A partner's net debit cap in micros; `None` for none.
pub fn set_cap(conn: &mut Conn, id: &PartnerId, currency: &str, micros: Option<i64>) -> Result<(), DbError> {
    let key = (id.as_str(), currency);
    each_backend!(conn, |c| diesel::delete(net_debit_cap::table.find(key)).execute(c))?;
    if let Some(micros) = micros {
        let row = (
            net_debit_cap::partner.eq(id.as_str()),
            net_debit_cap::currency.eq(currency),
            net_debit_cap::micros.eq(micros),
        );
        each_backend!(conn, |c| diesel::insert_into(net_debit_cap::table).values(row).execute(c))?;
    }
    Ok(())
}

/// Whether a name, kid or key of a person was given before, to whomever. A name that differs in case or blanks alone is the same.
pub fn person_known(conn: &mut Conn, name: &str, kid: &str, public_key: &str) -> Result<bool, DbError> {
    let all = person::table.select((person::name, person::kid, person::public_key));
    let all: Vec<(String, String, String)> = each_backend!(conn, |c| all.load(c))?;
    let name = folded(name);
    let same = |(known, other, key): &(String, String, String)| folded(known) == name || other == kid || key == public_key;
    Ok(all.iter().any(same))
}

/// Whether somebody of the operator's people has or had this name, case and blanks aside.
pub fn is_person(conn: &mut Conn, name: &str) -> Result<bool, DbError> {
    let all: Vec<String> = each_backend!(conn, |c| person::table.select(person::name).load(c))?;
    Ok(all.iter().any(|known| folded(known) == folded(name)))
}

/// Whether a query finds a row; it reads no further than the first.
macro_rules! any {
    ($conn:expr, $query:expr) => {
        !each_backend!($conn, |c| $query.limit(1).select(sql::<Integer>("1")).load::<i32>(c))?.is_empty()
    };
}

/// What keeps a partner from going, if anything does: money not settled, or points that it stands behind. It is asked while the ledger is locked, so each
/// answer comes from an index or a count that is kept.
pub fn unfinished(conn: &mut Conn, id: &PartnerId) -> Result<Option<&'static str>, DbError> {
    let id = id.as_str();
    let open = position::table
        .inner_join(settlement_window::table.on(settlement_window::business_date.eq(position::business_date)))
        .filter(settlement_window::state.eq_any(UNSETTLED))
        .filter(position::micros.ne(0))
        .filter(position::debtor.eq(id).or(position::creditor.eq(id)));
    if any!(conn, open) {
        return Ok(Some("it has positions in windows that aren't settled"));
    }
    // As text, so that the partial indexes are used.
    let waiting = || pending_exchange::table.filter(sql::<Bool>("state = 'instructed'"));
    let (sent, told) = (pending_exchange::sender.eq(id), pending_exchange::to_issuer.eq(id));
    if any!(conn, waiting().filter(sent)) || any!(conn, waiting().filter(told)) {
        return Ok(Some("exchanges wait for an issuer's answer"));
    }
    let disputed = dispute::table
        .filter(dispute::upheld.is_null())
        .filter(dispute::debtor.eq(id).or(dispute::creditor.eq(id)));
    if any!(conn, disputed) {
        return Ok(Some("disputes of what it owes, or is owed, aren't decided"));
    }
    let owing = exposure::table.filter(exposure::partner.eq(id)).filter(exposure::micros.ne(0));
    if any!(conn, owing) {
        return Ok(Some("it owes or is owed money that isn't settled"));
    }
    // What a leaving partner hasn't drawn or had reversed itself, it forfeits; an issuer waits until its buyers have drawn, or are gone.
    let blocks = prepaid::table
        .inner_join(programme::table.on(programme::code.eq(prepaid::programme)))
        .inner_join(partner::table.on(partner::id.eq(prepaid::partner)))
        .filter(prepaid::remaining.gt(0))
        .filter(programme::issuer.eq(id))
        .filter(partner::status.ne(Status::Gone.as_str()));
    if any!(conn, blocks) {
        return Ok(Some("points of its programmes that others bought in advance are left"));
    }
    let held = holders::table
        .inner_join(programme::table.on(programme::code.eq(holders::programme)))
        .filter(programme::issuer.eq(id))
        .filter(holders::members.ne(0));
    if any!(conn, held) {
        return Ok(Some("members hold or owe points of its programmes"));
    }
    let funded = lot::table
        .filter(lot::funder.eq(id))
        .filter(sql::<Bool>("remaining > 0 AND at_redemption"));
    if any!(conn, funded) {
        return Ok(Some("members hold points that it pays for when they are spent"));
    }
    Ok(None)
}
