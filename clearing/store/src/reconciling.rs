//! What partners keep for holding their own records against the ledger, and what such a record is held against.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::upsert::excluded;
use jiff::Timestamp;
use jiff::civil::Date;
use ledger::timestamp;
use migrations::schema::{message, reconciliation_mapping as m, reconciliation_resolved as r, reversal, settlement_window as w};
use migrations::{Conn, DbError, each_backend};
use settlement::reconcile::{Elsewhere, Resolved};

use super::rows::read;

/// The most mappings of a partner.
pub const MAX_MAPPINGS: i64 = 32;
/// The most findings that a partner has resolved: of a window, and of all.
pub const MAX_RESOLVED: i64 = 1_000;
const MAX_OF_ALL: i64 = 50_000;
/// Ids that one query looks for.
const AT_ONCE: usize = 500;

/// A partner's mappings by name, each as its JSON.
pub fn mappings(conn: &mut Conn, partner: &str) -> Result<Vec<(String, String)>, DbError> {
    let query = m::table.select((m::name, m::mapping)).filter(m::partner.eq(partner)).order(m::name);
    Ok(each_backend!(conn, |c| query.load(c))?)
}

/// A partner's mapping of this name.
pub fn mapping(conn: &mut Conn, partner: &str, name: &str) -> Result<Option<String>, DbError> {
    let query = m::table.find((partner, name)).select(m::mapping);
    Ok(each_backend!(conn, |c| query.first(c).optional())?)
}

/// Keeps a mapping under a name, in place of one that is there; whether there was room.
pub fn keep_mapping(conn: &mut Conn, partner: &str, name: &str, mapping: &str, now: Timestamp) -> Result<bool, DbError> {
    conn.transaction(|conn| {
        let others = m::table.filter(m::partner.eq(partner)).filter(m::name.ne(name)).count();
        if each_backend!(conn, |c| others.get_result::<i64>(c))? >= MAX_MAPPINGS {
            return Ok(false);
        }
        let row = (
            m::partner.eq(partner),
            m::name.eq(name),
            m::mapping.eq(mapping),
            m::saved_at.eq(now.as_microsecond()),
        );
        each_backend!(conn, |c| {
            let conflict = diesel::insert_into(m::table).values(row).on_conflict((m::partner, m::name));
            let set = (m::mapping.eq(excluded(m::mapping)), m::saved_at.eq(excluded(m::saved_at)));
            conflict.do_update().set(set).execute(c)
        })?;
        Ok(true)
    })
}

type ResolvedRow = (String, String, i64, String);

/// The findings of a window that a partner is done with, by key.
pub fn resolved(conn: &mut Conn, partner: &str, window: Date) -> Result<BTreeMap<String, Resolved>, DbError> {
    let query = r::table
        .select((r::finding, r::note, r::resolved_at, r::resolved_by))
        .filter(r::partner.eq(partner))
        .filter(r::business_date.eq(window.to_string()));
    let rows: Vec<ResolvedRow> = each_backend!(conn, |c| query.load(c))?;
    let one = |(key, note, at, by)| {
        let at = timestamp(at);
        (key, Resolved { note, at, by })
    };
    Ok(rows.into_iter().map(one).collect())
}

/// Marks findings as resolved with their notes, or, without a note, as open again; where there isn't room for all it marks none and says of what there are too many. `by` is the SHA-256 of the certificate's public key.
pub fn resolve(
    conn: &mut Conn,
    (partner, window): (&str, Date),
    findings: &[(String, Option<String>)],
    (now, by): (Timestamp, &str),
) -> Result<Option<Full>, DbError> {
    let window = window.to_string();
    // In the order of keys, so that two at once wait for each other in one order.
    let findings: BTreeMap<&str, Option<&str>> = findings.iter().map(|(key, note)| (key.as_str(), note.as_deref())).collect();
    let findings: Vec<_> = findings.into_iter().collect();
    conn.transaction(|conn| {
        for same in findings.chunk_by(|(_, one), (_, next)| one.is_some() == next.is_some()) {
            for some in same.chunks(AT_ONCE) {
                mark(conn, (partner, &window), some, (now, by))?;
            }
        }
        let all = r::table.filter(r::partner.eq(partner)).count();
        let of_window = all.filter(r::business_date.eq(&window));
        if each_backend!(conn, |c| of_window.get_result::<i64>(c))? > MAX_RESOLVED {
            return Err(NotMarked::Full(Full::OfWindow));
        }
        match each_backend!(conn, |c| all.get_result::<i64>(c))? > MAX_OF_ALL {
            true => Err(NotMarked::Full(Full::OfAll)),
            false => Ok(None),
        }
    })
    .or_else(|why| match why {
        NotMarked::Full(full) => Ok(Some(full)),
        NotMarked::Db(error) => Err(error),
    })
}

/// Marks findings that all have notes, or all have none.
fn mark(
    conn: &mut Conn,
    (partner, window): (&str, &str),
    same: &[(&str, Option<&str>)],
    (now, by): (Timestamp, &str),
) -> Result<(), DbError> {
    let row = |(key, note): &(&'_ str, Option<&'_ str>)| {
        Some((
            r::partner.eq(partner.to_owned()),
            r::business_date.eq(window.to_owned()),
            r::finding.eq((*key).to_owned()),
            r::note.eq((*note)?.to_owned()),
            r::resolved_at.eq(now.as_microsecond()),
            r::resolved_by.eq(by.to_owned()),
        ))
    };
    let rows: Vec<_> = same.iter().filter_map(row).collect();
    if rows.is_empty() {
        let keys: Vec<&str> = same.iter().map(|(key, _)| *key).collect();
        let open = r::table.filter(r::partner.eq(partner)).filter(r::business_date.eq(window));
        each_backend!(conn, |c| diesel::delete(open.filter(r::finding.eq_any(keys))).execute(c))?;
        return Ok(());
    }
    each_backend!(conn, |c| {
        let insert = diesel::insert_into(r::table).values(rows);
        let conflict = insert.on_conflict((r::partner, r::business_date, r::finding)).do_update();
        conflict
            .set((
                r::note.eq(excluded(r::note)),
                r::resolved_at.eq(excluded(r::resolved_at)),
                r::resolved_by.eq(excluded(r::resolved_by)),
            ))
            .execute(c)
    })?;
    Ok(())
}

/// Of what there are too many findings that are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Of one window.
    OfWindow,
    /// Of all windows of the partner.
    OfAll,
}

impl Full {
    /// What is kept at most, in words.
    pub fn text(self) -> String {
        match self {
            Self::OfWindow => format!("at most {MAX_RESOLVED} findings of a window are kept as resolved"),
            Self::OfAll => format!("at most {MAX_OF_ALL} findings of yours are kept as resolved, of all windows together"),
        }
    }
}

/// Why findings aren't marked.
enum NotMarked {
    /// There are too many.
    Full(Full),
    /// The database.
    Db(DbError),
}

impl From<DbError> for NotMarked {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<diesel::result::Error> for NotMarked {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

/// When the window before closed, if there was one.
pub fn opened(conn: &mut Conn, window: Date) -> Result<Option<Timestamp>, DbError> {
    let query = w::table
        .select(w::cut_off_at)
        .filter(w::business_date.lt(window.to_string()))
        .order(w::business_date.desc());
    let at: Option<i64> = each_backend!(conn, |c| query.first(c).optional())?;
    Ok(at.map(timestamp))
}

/// What of some messages was reversed, by their numbers, in the programme's smallest unit.
pub fn reversed(conn: &mut Conn, seqs: &[i64]) -> Result<BTreeMap<i64, i64>, DbError> {
    let mut all = BTreeMap::new();
    for seqs in seqs.chunks(AT_ONCE) {
        let query = reversal::table
            .select((reversal::seq, reversal::points))
            .filter(reversal::seq.eq_any(seqs));
        all.extend(each_backend!(conn, |c| query.load::<(i64, i64)>(c))?);
    }
    Ok(all)
}

/// The messages of a sender by their ids.
pub fn elsewhere(conn: &mut Conn, sender: &str, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Elsewhere>, DbError> {
    type Row = (String, i64, String, Option<String>);
    let (mut all, ids) = (BTreeMap::new(), ids.iter().collect::<Vec<_>>());
    for ids in ids.chunks(AT_ONCE) {
        let query = message::table
            .select((message::id, message::seq, message::business_date, message::code))
            .filter(message::id.eq_any(ids))
            .filter(message::sender.eq(sender));
        for (id, seq, window, code) in each_backend!(conn, |c| query.load::<Row>(c))? {
            let one = Elsewhere {
                seq,
                window: read(&window, "message.business_date")?,
                code: code.map(Into::into),
            };
            all.insert(id, one);
        }
    }
    Ok(all)
}
