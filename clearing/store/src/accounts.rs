//! Loads the accounts that a batch touches, and of their lots what it may need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer};
use migrations::schema::{account, hold, lot};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::{Amount, Body, MemberNumber, ProgrammeCode};

use super::named::{quote_of, target};
use super::prepared::{among, one_of, words};
use super::rows::{HoldRow, LotRow, read};
use ledger::{AccountKey, Lot, LotKey, Verified, WorkingSet};

/// Of an account with more open lots than this only those are loaded that a batch may need, by statements of its own.
const FEW: i64 = 64;

/// Lots in the first of those statements; each next one asks for twice as many.
const PAGE: i64 = 128;

/// What a batch needs of an account.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Need {
    /// Its lots and holds: points may leave it.
    pub(super) lots: bool,
    /// How many points may leave it at most, besides those that are held.
    pub(super) points: i64,
    /// How many spent or held points may come back to it at most.
    pub(super) back: i64,
}

/// The accounts that a batch touches, and what it needs of each.
pub(super) fn accounts_of(set: &WorkingSet, batch: &[Arc<Verified>]) -> BTreeMap<AccountKey, Need> {
    let (mut accounts, mut own_target) = (BTreeMap::<AccountKey, Need>::new(), false);
    let mut add = |account: AccountKey, more: Need| {
        let need = accounts.entry(account).or_default();
        need.lots |= more.lots;
        need.points = need.points.saturating_add(more.points);
        need.back = need.back.saturating_add(more.back);
    };
    let spends = |points: i64| Need {
        lots: true,
        points,
        back: 0,
    };
    let key = |programme: &ProgrammeCode, member: &MemberNumber| AccountKey {
        programme: programme.clone(),
        member: member.clone(),
    };
    for verified in batch {
        match &verified.message.body {
            Body::Earn { programme, member, .. } => {
                add(key(programme, member), Need::default());
            }
            Body::Burn {
                programme, member, points, ..
            }
            | Body::Authorise {
                programme, member, points, ..
            } => {
                add(key(programme, member), spends(units(set, programme, *points)));
            }
            Body::Exchange {
                programme,
                member,
                to_programme,
                to_member,
                ..
            } => {
                let quote = quote_of(verified).and_then(|id| set.messages.get(&(verified.message.sender.clone(), id.clone())));
                // A quote that stands in this very batch says only later how many.
                add(key(programme, member), spends(quote.map_or(i64::MAX, |q| q.moved.points)));
                add(key(to_programme, to_member), Need::default());
            }
            Body::Capture { .. } | Body::Void { .. } | Body::Quote { .. } | Body::Prepay { .. } | Body::Reverse { .. } => {}
            Body::Acknowledge { .. } | Body::Refuse { .. } => {}
        }
        let Some(name) = target(verified) else { continue };
        match set.messages.get(&name) {
            Some(target) => {
                let moved = &target.moved;
                let points = moved.points.saturating_add(moved.credited).saturating_add(moved.bonus);
                let both = [&moved.account, &moved.to_account];
                for account in both.into_iter().flatten() {
                    let need = Need {
                        lots: true,
                        points,
                        back: points,
                    };
                    add(account.clone(), need);
                }
            }
            None => own_target = true,
        }
    }
    if own_target {
        // What is taken back may stand in this very batch: points may leave any of its accounts.
        accounts.values_mut().for_each(|need| {
            *need = Need {
                lots: true,
                points: i64::MAX,
                back: i64::MAX,
            }
        });
    }
    accounts
}

/// An amount in the programme's smallest units; one that isn't possible is refused later, and needs nothing.
fn units(set: &WorkingSet, programme: &ProgrammeCode, amount: Amount) -> i64 {
    let scale = set.directory.programmes.get(programme).map_or(0, |p| p.terms.scale);
    amount.to_units(scale).unwrap_or(0)
}

/// Loads accounts; of those from which points may leave, or that owe some, the holds that are open, the lots that they hold, those that have expired or are
/// due, those to which points may go back, and as many of the others, oldest first, as are needed; and the given lots.
pub(super) fn load_accounts(
    conn: &mut Conn,
    set: &mut WorkingSet,
    accounts: &BTreeMap<AccountKey, Need>,
    lots: &BTreeSet<LotKey>,
) -> Result<(), DbError> {
    let mut by_programme: BTreeMap<&ProgrammeCode, Vec<(&MemberNumber, Need)>> = BTreeMap::new();
    for (key, need) in accounts {
        by_programme.entry(&key.programme).or_default().push((&key.member, *need));
    }
    let mut named = lots.clone();
    for (programme, members) in by_programme {
        load_rows(conn, set, programme, &members)?;
        let account = |member: &MemberNumber| AccountKey {
            programme: programme.clone(),
            member: member.clone(),
        };
        let (mut few, mut many, mut lent) = (vec![], vec![], vec![]);
        for (member, need) in members {
            let account = set.accounts.entry(account(member)).or_default();
            // What there is of an earn that was taken back counts against a debt, and a cut-off repays it from what expires.
            account.loaded |= need.lots || account.debt > 0;
            if account.loaded && (account.lending_lots > 0 || account.debt > 0) {
                lent.push((member, need.back));
            }
            match account.loaded {
                true if account.open_lots > FEW => many.push((member, need.points)),
                true => few.push(member.as_str()),
                false => {}
            }
        }
        if few.is_empty() && many.is_empty() {
            continue;
        }
        let spenders: Vec<&str> = few.iter().copied().chain(many.iter().map(|(member, _)| member.as_str())).collect();
        named.extend(load_holds(conn, set, programme, &spenders)?);
        if !few.is_empty() {
            // The condition stands as text, not as a value: only so the partial index is used.
            let query = lot::table
                .filter(lot::programme.eq(programme.as_str()))
                .filter(among(lot::member, few.iter().copied()))
                .filter(words("remaining > 0"));
            for row in each_backend!(conn, |c| query.load::<LotRow>(c))? {
                set.load_lot(row.lot()?);
            }
        }
        for (member, points) in many {
            load_oldest(conn, set, &account(member), points)?;
        }
        for (member, back) in lent {
            load_lent(conn, set, &account(member), back)?;
        }
    }
    load_named(conn, set, &named)
}

fn load_rows(conn: &mut Conn, set: &mut WorkingSet, programme: &ProgrammeCode, members: &[(&MemberNumber, Need)]) -> Result<(), DbError> {
    let query = account::table
        .select((
            account::member,
            account::points,
            account::debt,
            account::open_lots,
            account::lending_lots,
        ))
        .filter(account::programme.eq(programme.as_str()))
        .filter(among(account::member, members.iter().map(|(member, _)| member.as_str())));
    for (member, points, debt, open_lots, lending_lots) in each_backend!(conn, |c| query.load::<(String, i64, i64, i64, i64)>(c))? {
        let key = AccountKey {
            programme: programme.clone(),
            member: read(&member, "account.member")?,
        };
        if points != 0 || debt != 0 {
            set.held_something.insert(key.clone());
        }
        let account = set.accounts.entry(key).or_default();
        (account.points, account.debt) = (points, debt);
        (account.open_lots, account.lending_lots) = (open_lots, lending_lots);
    }
    Ok(())
}

/// Loads the holds that are open, or were at the first cut-off that is still to be looked at; returns the lots that they hold.
fn load_holds(conn: &mut Conn, set: &mut WorkingSet, programme: &ProgrammeCode, members: &[&str]) -> Result<Vec<LotKey>, DbError> {
    let since = set.due.first().map_or(set.now, |(_, cut_off)| set.now.min(*cut_off));
    let query = hold::table
        .filter(hold::programme.eq(programme.as_str()))
        .filter(among(hold::member, members.iter().copied()))
        .filter(words("is_open"))
        .filter(hold::expires_at.gt(since));
    let mut lots = vec![];
    for row in each_backend!(conn, |c| query.load::<HoldRow>(c))? {
        let hold = row.hold()?;
        lots.extend(hold.lots.iter().map(|(lot, _)| *lot));
        set.load_hold(hold);
    }
    Ok(lots)
}

/// Of an account with very many lots: those that have expired, and from the oldest on so many that `points` can leave it besides those that are held.
fn load_oldest(conn: &mut Conn, set: &mut WorkingSet, key: &AccountKey, points: i64) -> Result<(), DbError> {
    let held: i128 = set.holds_at(key, i64::MIN).map(|hold| i128::from(hold.points)).sum();
    let mut needed = i128::from(points) + held;
    let (mut after, mut page) = ((i64::MIN, LotKey { seq: 0, leg: 0 }), PAGE);
    loop {
        let (at, LotKey { seq, leg }) = after;
        let later = sql::<Bool>("(expires_at, seq, leg) > (").bind::<BigInt, _>(at).sql(", ");
        let later = later.bind::<BigInt, _>(seq).sql(", ").bind::<Integer, _>(leg).sql(")");
        let query = lot::table
            .filter(lot::programme.eq(key.programme.as_str()))
            .filter(lot::member.eq(key.member.as_str()))
            .filter(sql::<Bool>("remaining > 0"))
            .filter(later)
            .order((lot::expires_at, lot::seq, lot::leg))
            .limit(page);
        let rows = each_backend!(conn, |c| query.load::<LotRow>(c))?;
        let lots = rows.into_iter().map(LotRow::lot).collect::<Result<Vec<Lot>, _>>()?;
        let full = i64::try_from(lots.len()).is_ok_and(|n| n == page);
        for lot in lots {
            after = (lot.expires_at, lot.key);
            needed -= if lot.expires_at > set.now { i128::from(lot.remaining) } else { 0 };
            set.load_lot(lot);
        }
        if !full || needed <= 0 && after.0 > set.now {
            return Ok(());
        }
        page *= 2;
    }
}

/// Of an account where lots gave points for earns that were taken back: what is left of such earns, and of the lots that gave some, those spent last first, so
/// many that `back` points, and what is left of those earns, can go back to them.
fn load_lent(conn: &mut Conn, set: &mut WorkingSet, key: &AccountKey, back: i64) -> Result<(), DbError> {
    let of_account = || {
        lot::table
            .filter(lot::programme.eq(key.programme.as_str()))
            .filter(lot::member.eq(key.member.as_str()))
    };
    // The conditions stand as text, so that the partial indexes are used.
    let borrowed = of_account().filter(sql::<Bool>("lent < 0 AND remaining > 0"));
    let mut needed = i128::from(back);
    for row in each_backend!(conn, |c| borrowed.load::<LotRow>(c))? {
        let lot = row.lot()?;
        needed += i128::from(lot.remaining.min(-lot.lent));
        set.load_lot(lot);
    }
    let (mut before, mut page) = ((i64::MAX, LotKey { seq: i64::MAX, leg: 0 }), 16);
    while needed > 0 {
        let (at, LotKey { seq, leg }) = before;
        let earlier = sql::<Bool>("(expires_at, seq, leg) < (").bind::<BigInt, _>(at).sql(", ");
        let earlier = earlier.bind::<BigInt, _>(seq).sql(", ").bind::<Integer, _>(leg).sql(")");
        let lenders = of_account()
            .filter(sql::<Bool>("lent > 0"))
            .filter(earlier)
            .order((lot::expires_at.desc(), lot::seq.desc(), lot::leg.desc()))
            .limit(page);
        let rows = each_backend!(conn, |c| lenders.load::<LotRow>(c))?;
        let full = i64::try_from(rows.len()).is_ok_and(|n| n == page);
        for row in rows {
            let lot = row.lot()?;
            before = (lot.expires_at, lot.key);
            needed -= i128::from(lot.lent);
            set.load_lot(lot);
        }
        if !full {
            break;
        }
        page *= 2;
    }
    Ok(())
}

fn load_named(conn: &mut Conn, set: &mut WorkingSet, lots: &BTreeSet<LotKey>) -> Result<(), DbError> {
    let missing = lots.iter().filter(|key| !set.lots.contains_key(key));
    let seqs: Vec<i64> = missing.map(|key| key.seq).collect::<BTreeSet<_>>().into_iter().collect();
    // Burns of many small lots, reversed together, may name more lots than one statement can bind.
    for seqs in seqs.chunks(conn.bind_limit() / 2) {
        let query = lot::table.filter(one_of(lot::seq, seqs.iter().copied()));
        for row in each_backend!(conn, |c| query.load::<LotRow>(c))? {
            set.load_lot(row.lot()?);
        }
    }
    Ok(())
}
