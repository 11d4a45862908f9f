//! Loads what a batch may touch, by a handful of statements whatever the batch's size.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use migrations::schema::{account, exposure, hold, limit_use, lot, message, position, posting, quote, reversal, settlement_window};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::{Body, Currency, MemberNumber, MessageId, PartnerId, ProgrammeCode};

use super::directory::load_directory;
use super::head::lock_head;
use super::pending::load_pending;
use super::prepaid::load_blocks;
use super::rows::{HoldRow, LotRow, POSTED, PostedRow, QuoteRow, read};
use crate::directory::Directory;
use crate::ledger::{AccountKey, LotKey, MEMBER, Verified, WorkingSet};

/// Locks the ledger and loads the working set of a batch. `known` is the reference data as last seen; the set has the data as of this transaction.
pub fn load(conn: &mut Conn, known: &Arc<Directory>, batch: &[Verified], now: i64) -> Result<WorkingSet, DbError> {
    let mut set = empty_set(conn, known, now)?;
    let targets = load_messages(conn, &mut set, batch)?;
    load_quotes(conn, &mut set, batch)?;
    let lots_of_targets = load_targets(conn, &mut set, &targets)?;
    let accounts = accounts_of(&set, batch);
    load_accounts(conn, &mut set, &accounts, &lots_of_targets)?;
    load_limits(conn, &mut set, batch)?;
    load_blocks(conn, &mut set, batch)?;
    load_positions(conn, &mut set, batch)?;
    load_pending(conn, &mut set, &targets)?;
    Ok(set)
}

/// Locks the ledger and starts a working set without any rows.
pub(super) fn empty_set(conn: &mut Conn, known: &Arc<Directory>, now: i64) -> Result<WorkingSet, DbError> {
    let (next_seq, version) = lock_head(conn)?;
    let directory = if known.version == version {
        known.clone()
    } else {
        Arc::new(load_directory(conn)?)
    };
    let window = open_window(conn)?;
    Ok(WorkingSet::new(directory, window, now, next_seq))
}

/// The open window, locked against being closed while this transaction posts into it.
fn open_window(conn: &mut Conn) -> Result<jiff::civil::Date, DbError> {
    let row = settlement_window::table
        .select(settlement_window::business_date)
        .filter(settlement_window::state.eq("open"));
    let date: String = match conn {
        Conn::Sqlite(c) => row.first(c)?,
        Conn::Postgres(c) => row.for_share().first(c)?,
    };
    read(&date, "settlement_window.business_date")
}

/// The earlier message that a message refers to.
fn target(verified: &Verified) -> Option<(PartnerId, MessageId)> {
    let (sender, id) = match &verified.message.body {
        Body::Capture { authorisation, .. } | Body::Void { authorisation } => (&verified.message.sender, authorisation),
        Body::Reverse { message, .. } => (&verified.message.sender, message),
        Body::Acknowledge { sender_of, exchange, .. } | Body::Refuse { sender_of, exchange, .. } => (sender_of, exchange),
        _ => return None,
    };
    Some((sender.clone(), id.clone()))
}

/// The quote that an exchange names.
fn quote_of(verified: &Verified) -> Option<&MessageId> {
    match &verified.message.body {
        Body::Exchange { quote, .. } => Some(quote),
        _ => None,
    }
}

/// Loads messages of the same names, those referred to, and quotes; returns the sequence numbers of those referred to.
fn load_messages(conn: &mut Conn, set: &mut WorkingSet, batch: &[Verified]) -> Result<Vec<i64>, DbError> {
    let mut ids = BTreeSet::new();
    for verified in batch {
        ids.insert(verified.message.id.clone());
        ids.extend(target(verified).map(|(_, id)| id).or(quote_of(verified).cloned()));
    }
    // Another sender's message of the same id does no harm: the set knows them by both.
    let query = message::table
        .select(POSTED)
        .filter(message::id.eq_any(ids.iter().map(MessageId::as_str)));
    for row in each_backend!(conn, |c| query.load::<PostedRow>(c))? {
        let posted = row.posted()?;
        set.messages.insert((posted.sender.clone(), posted.id.clone()), Arc::new(posted));
    }
    let targets = batch.iter().filter_map(|v| set.messages.get(&target(v)?));
    Ok(targets.map(|p| p.seq).collect())
}

/// Loads the quotes that exchanges name, but for those that stand in this very batch.
fn load_quotes(conn: &mut Conn, set: &mut WorkingSet, batch: &[Verified]) -> Result<(), DbError> {
    let named = |v: &Verified| set.messages.get(&(v.message.sender.clone(), quote_of(v)?.clone()));
    let quotes: BTreeSet<i64> = batch.iter().filter_map(named).map(|p| p.seq).collect();
    if quotes.is_empty() {
        return Ok(());
    }
    let query = quote::table.filter(quote::seq.eq_any(quotes));
    for row in each_backend!(conn, |c| query.load::<QuoteRow>(c))? {
        let quote = row.quote()?;
        set.quotes.insert(quote.seq, quote);
    }
    Ok(())
}

/// Loads what reversing, capturing or voiding the targets needs; returns the lots involved.
fn load_targets(conn: &mut Conn, set: &mut WorkingSet, targets: &[i64]) -> Result<BTreeSet<LotKey>, DbError> {
    let mut lots = BTreeSet::new();
    if targets.is_empty() {
        return Ok(lots);
    }
    let query = reversal::table.filter(reversal::seq.eq_any(targets));
    for (seq, points, spend) in each_backend!(conn, |c| query.load::<(i64, i64, i64)>(c))? {
        set.reversals.insert(seq, (points, spend));
    }
    let query = hold::table.filter(hold::seq.eq_any(targets));
    for row in each_backend!(conn, |c| query.load::<HoldRow>(c))? {
        set.load_hold(row.hold()?);
    }
    let dates: BTreeSet<String> = set
        .messages
        .values()
        .filter(|p| targets.contains(&p.seq))
        .map(|p| p.window.to_string())
        .collect();
    let query = posting::table
        .select((posting::seq, posting::debit, posting::lot_seq, posting::lot_leg, posting::amount))
        .filter(posting::business_date.eq_any(dates))
        .filter(posting::seq.eq_any(targets))
        .filter(posting::lot_seq.is_not_null())
        .order((posting::seq, posting::leg));
    for (seq, debit, lot_seq, lot_leg, amount) in each_backend!(conn, |c| query.load::<(i64, String, Option<i64>, Option<i32>, i64)>(c))? {
        let (Some(lot_seq), Some(leg)) = (lot_seq, lot_leg) else { continue };
        let key = LotKey { seq: lot_seq, leg };
        lots.insert(key);
        if debit == MEMBER {
            set.takes.entry(seq).or_default().push((key, amount));
        }
    }
    Ok(lots)
}

/// The accounts that a batch touches, and for each whether points may leave it: only then are its lots and holds needed.
fn accounts_of(set: &WorkingSet, batch: &[Verified]) -> BTreeMap<AccountKey, bool> {
    let (mut accounts, mut own_target) = (BTreeMap::new(), false);
    let mut add = |account: AccountKey, spends: bool| *accounts.entry(account).or_default() |= spends;
    let key = |programme: &ProgrammeCode, member: &MemberNumber| AccountKey {
        programme: programme.clone(),
        member: member.clone(),
    };
    for verified in batch {
        match &verified.message.body {
            Body::Earn { programme, member, .. } => add(key(programme, member), false),
            Body::Burn { programme, member, .. } | Body::Authorise { programme, member, .. } => add(key(programme, member), true),
            Body::Exchange {
                programme,
                member,
                to_programme,
                to_member,
                ..
            } => {
                add(key(programme, member), true);
                add(key(to_programme, to_member), false);
            }
            Body::Capture { .. } | Body::Void { .. } | Body::Quote { .. } | Body::Prepay { .. } | Body::Reverse { .. } => {}
            Body::Acknowledge { .. } | Body::Refuse { .. } => {}
        }
        let Some(name) = target(verified) else { continue };
        match set.messages.get(&name) {
            Some(target) => {
                let both = [&target.moved.account, &target.moved.to_account];
                both.into_iter().flatten().for_each(|account| add(account.clone(), true));
            }
            None => own_target = true,
        }
    }
    if own_target {
        // What is taken back may stand in this very batch: points may leave any of its accounts.
        accounts.values_mut().for_each(|spends| *spends = true);
    }
    accounts
}

/// Loads accounts; of those from which points may leave, the lots with points left and the open holds too; and the given lots.
pub(super) fn load_accounts(
    conn: &mut Conn,
    set: &mut WorkingSet,
    accounts: &BTreeMap<AccountKey, bool>,
    lots: &BTreeSet<LotKey>,
) -> Result<(), DbError> {
    let mut by_programme: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for (key, spends) in accounts {
        let (members, spenders) = by_programme.entry(key.programme.as_str()).or_default();
        members.push(key.member.as_str());
        spenders.extend(Some(key.member.as_str()).filter(|_| *spends));
    }
    for (programme, (members, spenders)) in by_programme {
        let query = account::table
            .filter(account::programme.eq(programme))
            .filter(account::member.eq_any(members));
        for (programme, member, points, debt) in each_backend!(conn, |c| query.load::<(String, String, i64, i64)>(c))? {
            let key = AccountKey {
                programme: read(&programme, "account.programme")?,
                member: read(&member, "account.member")?,
            };
            let account = set.accounts.entry(key).or_default();
            (account.points, account.debt) = (points, debt);
        }
        if spenders.is_empty() {
            continue;
        }
        // The condition stands as text, not as a value: only so the partial index is used.
        let query = lot::table
            .filter(lot::programme.eq(programme))
            .filter(lot::member.eq_any(&spenders))
            .filter(sql::<Bool>("remaining > 0"));
        for row in each_backend!(conn, |c| query.load::<LotRow>(c))? {
            set.load_lot(row.lot()?);
        }
        let query = hold::table
            .filter(hold::programme.eq(programme))
            .filter(hold::member.eq_any(&spenders))
            .filter(sql::<Bool>("is_open"))
            .filter(hold::expires_at.gt(set.now));
        for row in each_backend!(conn, |c| query.load::<HoldRow>(c))? {
            set.load_hold(row.hold()?);
        }
    }
    let missing: Vec<LotKey> = lots.iter().copied().filter(|key| !set.lots.contains_key(key)).collect();
    let seqs: Vec<i64> = missing.iter().map(|key| key.seq).collect::<BTreeSet<_>>().into_iter().collect();
    // Burns of many small lots, reversed together, may name more lots than one statement can bind.
    for seqs in seqs.chunks(conn.bind_limit() / 2) {
        let query = lot::table.filter(lot::seq.eq_any(seqs));
        for row in each_backend!(conn, |c| query.load::<LotRow>(c))? {
            set.load_lot(row.lot()?);
        }
    }
    Ok(())
}

/// What stands in `limit_use.member` for all members together: no member's number.
pub(super) const ALL: &str = "";

fn load_limits(conn: &mut Conn, set: &mut WorkingSet, batch: &[Verified]) -> Result<(), DbError> {
    let limited: Vec<i32> = set
        .directory
        .agreements()
        .filter(|a| a.item.per_member_day.or(a.item.per_partner_day).is_some())
        .map(|a| a.no)
        .collect();
    let members = batch.iter().filter_map(|v| match &v.message.body {
        Body::Earn { member, .. } | Body::Burn { member, .. } | Body::Authorise { member, .. } | Body::Exchange { member, .. } => {
            Some(member.as_str())
        }
        _ => None,
    });
    let members: BTreeSet<&str> = members.collect();
    if limited.is_empty() || members.is_empty() {
        return Ok(());
    }
    let query = limit_use::table
        .select((limit_use::agreement, limit_use::member, limit_use::points))
        .filter(limit_use::agreement.eq_any(limited))
        .filter(limit_use::member.eq_any(members.into_iter().chain([ALL])))
        .filter(limit_use::business_date.eq(set.window.to_string()));
    for (agreement, member, points) in each_backend!(conn, |c| query.load::<(i32, String, i64)>(c))? {
        let member = if member == ALL {
            None
        } else {
            Some(read(&member, "limit_use.member")?)
        };
        set.limit_use.insert((agreement, member), points);
    }
    Ok(())
}

/// Positions of this window and exposures, of everybody who may come to owe: senders, issuers, funders of the loaded lots.
pub(super) fn load_positions(conn: &mut Conn, set: &mut WorkingSet, batch: &[Verified]) -> Result<(), DbError> {
    let senders = batch.iter().map(|v| v.message.sender.as_str());
    let issuers = set.directory.programmes.values().map(|p| p.terms.issuer.as_str());
    let funders = set.lots.values().map(|l| l.funder.as_str());
    let parties: BTreeSet<String> = senders.chain(issuers).chain(funders).map(str::to_owned).collect();
    let query = exposure::table.filter(exposure::partner.eq_any(&parties));
    for (partner, currency, micros) in each_backend!(conn, |c| query.load::<(String, String, i64)>(c))? {
        set.exposure.insert(
            (
                read(&partner, "exposure.partner")?,
                read::<Currency>(&currency, "exposure.currency")?,
            ),
            micros,
        );
    }
    let query = position::table
        .select((position::debtor, position::creditor, position::currency, position::micros))
        .filter(position::business_date.eq(set.window.to_string()))
        .filter(position::debtor.eq_any(&parties))
        .filter(position::creditor.eq_any(&parties));
    for (debtor, creditor, currency, micros) in each_backend!(conn, |c| query.load::<(String, String, String, i64)>(c))? {
        let pair = (
            read(&debtor, "position.debtor")?,
            read(&creditor, "position.creditor")?,
            read::<Currency>(&currency, "position.currency")?,
        );
        set.positions.insert(pair, micros);
    }
    Ok(())
}
