//! Partners' rows, as the operator's changes write them.

use diesel::prelude::*;
use migrations::schema::{
    account, exposure, lot, net_debit_cap, partner, pending_exchange, person, position, prepaid, programme, settlement_window,
};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::PartnerId;
use partner_sdk::change::Status;
use partner_sdk::text::folded;

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

/// What keeps a partner from going, if anything does: money not settled, or points that it stands behind.
pub fn unfinished(conn: &mut Conn, id: &PartnerId) -> Result<Option<&'static str>, DbError> {
    let id = id.as_str();
    let open = position::table
        .inner_join(settlement_window::table.on(settlement_window::business_date.eq(position::business_date)))
        .filter(settlement_window::state.ne("settled"))
        .filter(position::micros.ne(0))
        .filter(position::debtor.eq(id).or(position::creditor.eq(id)));
    if each_backend!(conn, |c| open.count().get_result::<i64>(c))? > 0 {
        return Ok(Some("it has positions in windows that aren't settled"));
    }
    let waiting = pending_exchange::table
        .filter(pending_exchange::state.eq("instructed"))
        .filter(pending_exchange::sender.eq(id).or(pending_exchange::to_issuer.eq(id)));
    if each_backend!(conn, |c| waiting.count().get_result::<i64>(c))? > 0 {
        return Ok(Some("exchanges wait for an issuer's answer"));
    }
    let owing = exposure::table.filter(exposure::partner.eq(id)).filter(exposure::micros.ne(0));
    if each_backend!(conn, |c| owing.count().get_result::<i64>(c))? > 0 {
        return Ok(Some("it owes or is owed money that isn't settled"));
    }
    // What a leaving partner hasn't drawn or had reversed itself, it forfeits; an issuer waits until its buyers have drawn, or are gone.
    let blocks = prepaid::table
        .inner_join(programme::table.on(programme::code.eq(prepaid::programme)))
        .inner_join(partner::table.on(partner::id.eq(prepaid::partner)))
        .filter(prepaid::remaining.gt(0))
        .filter(programme::issuer.eq(id))
        .filter(partner::status.ne(Status::Gone.as_str()));
    if each_backend!(conn, |c| blocks.count().get_result::<i64>(c))? > 0 {
        return Ok(Some("points of its programmes that others bought in advance are left"));
    }
    let held = account::table
        .inner_join(programme::table.on(programme::code.eq(account::programme)))
        .filter(programme::issuer.eq(id))
        .filter(account::points.ne(0).or(account::debt.ne(0)));
    if each_backend!(conn, |c| held.count().get_result::<i64>(c))? > 0 {
        return Ok(Some("members hold or owe points of its programmes"));
    }
    let funded = lot::table
        .filter(lot::funder.eq(id))
        .filter(lot::at_redemption.eq(true))
        .filter(lot::remaining.gt(0));
    if each_backend!(conn, |c| funded.count().get_result::<i64>(c))? > 0 {
        return Ok(Some("members hold points that it pays for when they are spent"));
    }
    Ok(None)
}
