//! Loads what a batch may touch, by a handful of statements whatever the batch's size.

use std::collections::BTreeSet;
use std::sync::Arc;

use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::{exposure, hold, limit_use, message, position, posting, quote, reversal, settlement_window};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::{Body, Currency, MessageId};

use super::accounts::{accounts_of, load_accounts};
use super::directory::load_directory;
use super::head::{Head, MOST_AT_ONCE, Unready, lock};
use super::named::{quote_of, target};
use super::pending::load_pending;
use super::prepaid::load_blocks;
use super::prepared::{among, one_of, words};
use super::rows::{HoldRow, POSTED, PostedRow, QuoteRow, read};
use ledger::directory::Directory;
use ledger::timestamp;
use ledger::{Line, LotKey, MEMBER, Verified, WorkingSet, expire_due};

/// Locks the ledger, reads the clock and loads the working set of a batch. `known` is the reference data as last seen; the set has the data as of this
/// transaction. What the windows that are closed take from the accounts of the batch is posted before it.
pub fn load(conn: &mut Conn, known: &Arc<Directory>, batch: &[Arc<Verified>], clock: impl FnOnce() -> i64) -> Result<WorkingSet, Unready> {
    let mut set = empty_set(conn, known, clock)?;
    let targets = load_messages(conn, &mut set, batch)?;
    load_quotes(conn, &mut set, batch)?;
    let lots_of_targets = load_targets(conn, &mut set, &targets)?;
    let accounts = accounts_of(&set, batch);
    load_accounts(conn, &mut set, &accounts, &lots_of_targets)?;
    load_limits(conn, &mut set, batch)?;
    load_blocks(conn, &mut set, batch)?;
    load_positions(conn, &mut set, batch)?;
    load_pending(conn, &mut set, &targets)?;
    expire(&mut set)?;
    Ok(set)
}

/// Expires what is due in the loaded accounts; returns how many lots gave points.
pub(super) fn expire(set: &mut WorkingSet) -> Result<usize, DbError> {
    expire_due(set).map_err(|reject| DbError::Corrupt(format!("lots can't expire: {}", reject.code)))
}

/// Locks the ledger, reads the clock, closes the windows whose time is over, and starts a working set without any rows: so nothing is ever posted into a
/// window whose cut-off has passed (DESIGN section 3.9).
pub(super) fn empty_set(conn: &mut Conn, known: &Arc<Directory>, clock: impl FnOnce() -> i64) -> Result<WorkingSet, Unready> {
    let mut head = lock(conn)?;
    // Read after the lock: who waited for it has the time at which it posts.
    let now = head.time(clock())?;
    let mut windows = unnetted(conn)?;
    if windows.last().is_some_and(|(_, cut_off)| *cut_off <= now) {
        settlement::close_due(conn, timestamp(now), Some(MOST_AT_ONCE))?;
        windows = unnetted(conn)?;
        // That the windows closed stands in the log by now.
        head = lock(conn)?;
    }
    Ok(set_of(conn, known, &head, windows, now)?)
}

/// The same where no window closes, whatever the time is.
pub(super) fn set_as_it_stands(conn: &mut Conn, known: &Arc<Directory>, now: i64) -> Result<WorkingSet, DbError> {
    let (head, windows) = (lock(conn)?, unnetted(conn)?);
    set_of(conn, known, &head, windows, now)
}

fn set_of(conn: &mut Conn, known: &Arc<Directory>, head: &Head, mut windows: Vec<(Date, i64)>, now: i64) -> Result<WorkingSet, DbError> {
    let directory = if known.version == head.version {
        known.clone()
    } else {
        Arc::new(load_directory(conn)?)
    };
    let (window, _) = windows.pop().ok_or_else(|| DbError::Corrupt("no window is open".into()))?;
    let mut set = WorkingSet::new(directory, window, now, head.next_seq, settlement::random()?);
    set.due = windows;
    Ok(set)
}

/// The windows that are closed and not netted, oldest first, and last the open one, each with its cut-off; locked against being closed while this
/// transaction posts into them.
fn unnetted(conn: &mut Conn) -> Result<Vec<(Date, i64)>, DbError> {
    let rows = settlement_window::table
        .select((settlement_window::business_date, settlement_window::cut_off_at))
        // As text, so that the partial index is used.
        .filter(words("state IN ('open', 'closed')"))
        .order(settlement_window::business_date);
    let rows: Vec<(String, i64)> = match conn {
        Conn::Sqlite(c) => rows.load(c)?,
        Conn::Postgres(c) => rows.for_share().load(c)?,
    };
    let read = |(date, cut_off): (String, i64)| Ok((read(&date, "settlement_window.business_date")?, cut_off));
    rows.into_iter().map(read).collect()
}

/// Loads messages of the same names, those referred to, and quotes; returns the sequence numbers of those referred to.
fn load_messages(conn: &mut Conn, set: &mut WorkingSet, batch: &[Arc<Verified>]) -> Result<Vec<i64>, DbError> {
    let mut ids = BTreeSet::new();
    for verified in batch {
        ids.insert(verified.message.id.clone());
        ids.extend(target(verified).map(|(_, id)| id).or(quote_of(verified).cloned()));
    }
    // Another sender's message of the same id does no harm: the set knows them by both.
    let query = message::table
        .select(POSTED)
        .filter(among(message::id, ids.iter().map(MessageId::as_str)));
    for row in each_backend!(conn, |c| query.load::<PostedRow>(c))? {
        let posted = row.posted()?;
        set.messages.insert((posted.sender.clone(), posted.id.clone()), Arc::new(posted));
    }
    let targets = batch.iter().filter_map(|v| set.messages.get(&target(v)?));
    Ok(targets.map(|p| p.seq).collect())
}

/// Loads the quotes that exchanges name, but for those that stand in this very batch.
fn load_quotes(conn: &mut Conn, set: &mut WorkingSet, batch: &[Arc<Verified>]) -> Result<(), DbError> {
    let named = |v: &Arc<Verified>| set.messages.get(&(v.message.sender.clone(), quote_of(v)?.clone()));
    let quotes: BTreeSet<i64> = batch.iter().filter_map(named).map(|p| p.seq).collect();
    if quotes.is_empty() {
        return Ok(());
    }
    let query = quote::table.filter(one_of(quote::seq, quotes));
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
    let query = reversal::table.filter(one_of(reversal::seq, targets.iter().copied()));
    for (seq, points, spend) in each_backend!(conn, |c| query.load::<(i64, i64, i64)>(c))? {
        set.reversals.insert(seq, (points, spend));
    }
    let query = hold::table.filter(one_of(hold::seq, targets.iter().copied()));
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
        .select((
            posting::seq,
            posting::kind,
            posting::debit,
            posting::lot_seq,
            posting::lot_leg,
            posting::amount,
        ))
        .filter(among(posting::business_date, dates.iter().map(String::as_str)))
        .filter(one_of(posting::seq, targets.iter().copied()))
        .filter(posting::lot_seq.is_not_null())
        .order((posting::seq, posting::leg));
    let spending = Line::SPENDING.map(Line::as_str);
    type Row = (i64, String, String, Option<i64>, Option<i32>, i64);
    for (seq, kind, debit, lot_seq, lot_leg, amount) in each_backend!(conn, |c| query.load::<Row>(c))? {
        let (Some(lot_seq), Some(leg)) = (lot_seq, lot_leg) else { continue };
        let key = LotKey { seq: lot_seq, leg };
        lots.insert(key);
        if debit == MEMBER && spending.contains(&kind.as_str()) {
            set.takes.entry(seq).or_default().push((key, amount));
        }
    }
    Ok(lots)
}

/// What stands in `limit_use.member` for all members together: no member's number.
pub(super) const ALL: &str = "";

fn load_limits(conn: &mut Conn, set: &mut WorkingSet, batch: &[Arc<Verified>]) -> Result<(), DbError> {
    let limited: Vec<i64> = set
        .directory
        .agreements()
        .filter(|a| a.item.per_member_day.or(a.item.per_partner_day).is_some())
        .map(|a| a.no.into())
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
        .filter(one_of(limit_use::agreement, limited))
        .filter(among(limit_use::member, members.into_iter().chain([ALL])))
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
pub(super) fn load_positions(conn: &mut Conn, set: &mut WorkingSet, batch: &[Arc<Verified>]) -> Result<(), DbError> {
    let senders = batch.iter().map(|v| v.message.sender.as_str());
    let issuers = set.directory.programmes.values().map(|p| p.terms.issuer.as_str());
    let funders = set.lots.values().map(|l| l.funder.as_str());
    let parties: BTreeSet<String> = senders.chain(issuers).chain(funders).map(str::to_owned).collect();
    load_money(conn, set, &parties)
}

/// Loads what these parties owe net, and owe each other from the open window.
pub(super) fn load_money(conn: &mut Conn, set: &mut WorkingSet, parties: &BTreeSet<String>) -> Result<(), DbError> {
    let query = exposure::table.filter(among(exposure::partner, parties.iter().map(String::as_str)));
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
        .filter(among(position::debtor, parties.iter().map(String::as_str)))
        .filter(among(position::creditor, parties.iter().map(String::as_str)));
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
