//! Exchanges that wait for an issuer's answer: loading and persisting them, asking again, and telling how they stand.

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::upsert::excluded;
use migrations::schema::{message, pending_exchange, reserved};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::wire::ExchangeState;
use partner_sdk::{MemberNumber, ProgrammeCode};

use super::events::{self, NewEvent};
use super::head::lock_head;
use super::rows::read;
use ledger::directory::Directory;
use ledger::{AccountKey, Answered, Pending, Reserved, WorkingSet, instruction};

/// Exchanges asked about in one transaction, so that traffic isn't held up.
const CHUNK: i64 = 200;

/// What `pending_exchange.state` may be: whether one is unknown follows from its deadline.
const INSTRUCTED: &str = "instructed";
const CAPTURED: &str = "captured";
const RELEASED: &str = "released";

#[derive(Queryable, Insertable)]
#[diesel(table_name = pending_exchange, treat_none_as_default_value = false)]
struct Row {
    seq: i64,
    sender: String,
    id: String,
    to_issuer: String,
    state: String,
    instructed_at: i64,
    deadline: i64,
    queries: i32,
    next_query_at: i64,
    debtor: String,
    creditor: String,
    currency: String,
    micros: i64,
    answered_at: Option<i64>,
    answer_seq: Option<i64>,
    answer: Option<String>,
}

impl Row {
    fn of(pending: &Pending) -> Self {
        let (reserved, answer) = (&pending.reserved, pending.answer.as_ref());
        let state = answer.map_or(INSTRUCTED, |a| if a.captured { CAPTURED } else { RELEASED });
        Self {
            seq: pending.seq,
            sender: pending.sender.to_string(),
            id: pending.id.to_string(),
            to_issuer: pending.to_issuer.to_string(),
            state: state.to_owned(),
            instructed_at: pending.instructed_at,
            deadline: pending.deadline,
            queries: pending.queries,
            next_query_at: pending.next_query_at,
            debtor: reserved.debtor.to_string(),
            creditor: reserved.creditor.to_string(),
            currency: reserved.currency.to_string(),
            micros: reserved.micros,
            answered_at: answer.map(|a| a.at),
            answer_seq: answer.map(|a| a.seq),
            answer: answer.and_then(|a| a.word.clone()),
        }
    }

    fn pending(self) -> Result<Pending, DbError> {
        let captured = match self.state.as_str() {
            INSTRUCTED | RELEASED => false,
            CAPTURED => true,
            _ => return Err(DbError::Corrupt("pending_exchange.state".into())),
        };
        let answer = self.answered_at.zip(self.answer_seq).map(|(at, seq)| Answered {
            captured,
            at,
            seq,
            word: self.answer,
        });
        if answer.is_none() != (self.state == INSTRUCTED) {
            return Err(DbError::Corrupt("pending_exchange.answer_seq".into()));
        }
        Ok(Pending {
            seq: self.seq,
            sender: read(&self.sender, "pending_exchange.sender")?,
            id: read(&self.id, "pending_exchange.id")?,
            to_issuer: read(&self.to_issuer, "pending_exchange.to_issuer")?,
            instructed_at: self.instructed_at,
            deadline: self.deadline,
            reserved: Reserved {
                debtor: read(&self.debtor, "pending_exchange.debtor")?,
                creditor: read(&self.creditor, "pending_exchange.creditor")?,
                currency: read(&self.currency, "pending_exchange.currency")?,
                micros: self.micros,
            },
            queries: self.queries,
            next_query_at: self.next_query_at,
            answer,
        })
    }
}

/// That an exchange is open, as text: only so the partial indexes are used.
fn is_open() -> SqlLiteral<Bool> {
    sql("state = 'instructed'")
}

/// Loads the exchanges that are answered, and what all open ones reserve: a row for each pair. Costs nothing where no programme is kept elsewhere.
pub(super) fn load_pending(conn: &mut Conn, set: &mut WorkingSet, targets: &[i64]) -> Result<(), DbError> {
    if !set.directory.any_external() {
        return Ok(());
    }
    if !targets.is_empty() {
        let query = pending_exchange::table.filter(pending_exchange::seq.eq_any(targets));
        for row in each_backend!(conn, |c| query.load::<Row>(c))? {
            let pending = row.pending()?;
            set.pending.insert(pending.seq, pending);
        }
    }
    for (debtor, creditor, currency, micros) in each_backend!(conn, |c| reserved::table.load::<(String, String, String, i64)>(c))? {
        let pair = (
            read(&debtor, "reserved.debtor")?,
            read(&creditor, "reserved.creditor")?,
            read(&currency, "reserved.currency")?,
        );
        set.reserved.insert(pair, micros);
    }
    Ok(())
}

/// Writes the exchanges that are new or were answered, and what is reserved then.
pub(super) fn write(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let changed = set.changes.reserved.iter().filter_map(|pair| Some((pair, set.reserved.get(pair)?)));
    let rows: Vec<_> = changed
        .map(|((debtor, creditor, currency), micros)| {
            (
                reserved::debtor.eq(debtor.as_str()),
                reserved::creditor.eq(creditor.as_str()),
                reserved::currency.eq(currency.as_str()),
                reserved::micros.eq(*micros),
            )
        })
        .collect();
    for chunk in rows.chunks(conn.bind_limit() / 4) {
        each_backend!(conn, |c| {
            let insert = diesel::insert_into(reserved::table).values(chunk.to_vec());
            let conflict = insert.on_conflict((reserved::debtor, reserved::creditor, reserved::currency));
            conflict.do_update().set(reserved::micros.eq(excluded(reserved::micros))).execute(c)
        })?;
    }
    let changed = set.changes.pending.iter().filter_map(|seq| set.pending.get(seq));
    let rows: Vec<Row> = changed.map(Row::of).collect();
    for chunk in rows.chunks(conn.bind_limit() / 16) {
        each_backend!(conn, |c| {
            let insert = diesel::insert_into(pending_exchange::table).values(chunk);
            let conflict = insert.on_conflict(pending_exchange::seq).do_update();
            conflict
                .set((
                    pending_exchange::state.eq(excluded(pending_exchange::state)),
                    pending_exchange::answered_at.eq(excluded(pending_exchange::answered_at)),
                    pending_exchange::answer_seq.eq(excluded(pending_exchange::answer_seq)),
                    pending_exchange::answer.eq(excluded(pending_exchange::answer)),
                ))
                .execute(c)
        })?;
    }
    Ok(())
}

/// A pending exchange with what its message moves.
#[derive(Debug, Clone)]
pub struct Instructed {
    /// Where it stands.
    pub pending: Pending,
    /// The account that gives.
    pub from: AccountKey,
    /// How many points leave it.
    pub points: i64,
    /// The account that the issuer keeps.
    pub to: AccountKey,
    /// Points credited, without bonus.
    pub credited: i64,
    /// Bonus points on top.
    pub bonus: i64,
}

type Moves = (Option<String>, Option<String>, i64, Option<String>, Option<String>, i64, i64);

fn instructed((row, moves): (Row, Moves)) -> Result<Instructed, DbError> {
    let (programme, member, points, to_programme, to_member, credited, bonus) = moves;
    let account = |programme: Option<String>, member: Option<String>| -> Result<AccountKey, DbError> {
        Ok(AccountKey {
            programme: read::<ProgrammeCode>(&programme.unwrap_or_default(), "message.programme")?,
            member: read::<MemberNumber>(&member.unwrap_or_default(), "message.member")?,
        })
    };
    Ok(Instructed {
        pending: row.pending()?,
        from: account(programme, member)?,
        points,
        to: account(to_programme, to_member)?,
        credited,
        bonus,
    })
}

/// The rows with their messages, filtered, in order of their sequence numbers or another.
macro_rules! with_messages {
    ($conn:expr, $limit:expr, $filter:expr) => {
        with_messages!($conn, $limit, $filter, pending_exchange::seq)
    };
    ($conn:expr, $limit:expr, $filter:expr, $order:expr) => {{
        let query = pending_exchange::table
            .inner_join(message::table.on(message::seq.eq(pending_exchange::seq)))
            .select((
                pending_exchange::all_columns,
                (
                    message::programme,
                    message::member,
                    message::points,
                    message::to_programme,
                    message::to_member,
                    message::credited,
                    message::bonus,
                ),
            ))
            .filter($filter)
            .order($order)
            .limit($limit);
        let rows = each_backend!($conn, |c| query.load::<(Row, Moves)>(c))?;
        rows.into_iter().map(instructed).collect::<Result<Vec<_>, DbError>>()
    }};
}

/// A partner's open exchanges after a sequence number, oldest first: those that it sent, and those that wait for its answer.
pub fn open_of(conn: &mut Conn, partner: &str, after: i64, limit: i64) -> Result<Vec<Instructed>, DbError> {
    // Two indexes, each read in its order; which of the two a partner is, or both, doesn't matter.
    let open = is_open().and(pending_exchange::seq.gt(after));
    let mut found = with_messages!(conn, limit, open.and(pending_exchange::sender.eq(partner)))?;
    let open = is_open().and(pending_exchange::seq.gt(after));
    found.extend(with_messages!(conn, limit, open.and(pending_exchange::to_issuer.eq(partner)))?);
    found.sort_by_key(|one| one.pending.seq);
    found.dedup_by_key(|one| one.pending.seq);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// All open exchanges after a sequence number, oldest first.
pub fn open(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<Instructed>, DbError> {
    with_messages!(conn, limit, is_open().and(pending_exchange::seq.gt(after)))
}

/// How many are open.
pub fn count_open(conn: &mut Conn) -> Result<i64, DbError> {
    let open = pending_exchange::table.filter(is_open());
    Ok(each_backend!(conn, |c| open.count().get_result(c))?)
}

/// One exchange, open or closed.
pub fn find(conn: &mut Conn, sender: &str, id: &str) -> Result<Option<Instructed>, DbError> {
    let found = with_messages!(conn, 1, pending_exchange::id.eq(id).and(pending_exchange::sender.eq(sender)))?;
    Ok(found.into_iter().next())
}

/// What `entry` says in the log's entries about issuers that were asked again.
pub const QUERIES: &str = "queries";

/// Asks again, by an event, about every exchange whose time for that has come; returns how many. When each is asked next is written with the event, so a
/// restart repeats nothing.
pub fn ask_again(conn: &mut Conn, directory: &Directory, now: i64) -> Result<usize, DbError> {
    let mut asked = 0;
    while is_due(conn, now)? {
        match ask_once(conn, directory, now)? {
            0 => break,
            more => asked += more,
        }
    }
    Ok(asked)
}

/// The same for as many as one transaction takes.
pub fn ask_once(conn: &mut Conn, directory: &Directory, now: i64) -> Result<usize, DbError> {
    conn.transaction(|conn| {
        lock_head(conn)?;
        // Another process, or the answer, may have come before the lock.
        if !is_due(conn, now)? {
            return Ok(0);
        }
        let open = is_open();
        // In the order of the index of those that are due, however many others there are.
        let order = (pending_exchange::next_query_at, pending_exchange::seq);
        let due = with_messages!(conn, CHUNK, open.and(pending_exchange::next_query_at.le(now)), order)?;
        let mut told = vec![];
        for mut one in due {
            one.pending.asked(now);
            let pending = &one.pending;
            each_backend!(conn, |c| diesel::update(pending_exchange::table.find(pending.seq))
                .set((
                    pending_exchange::queries.eq(pending.queries),
                    pending_exchange::next_query_at.eq(pending.next_query_at)
                ))
                .execute(c))?;
            told.push(query(&one, directory, now));
        }
        if told.is_empty() {
            return Err(DbError::Corrupt("an exchange that is due has no message".into()));
        }
        settlement::append(conn, ledger::timestamp(now), QUERIES, "", &[("asked", &told.len().to_string())])?;
        events::append(conn, now, &told)?;
        Ok(told.len())
    })
}

fn is_due(conn: &mut Conn, now: i64) -> Result<bool, DbError> {
    let due = pending_exchange::table
        .select(pending_exchange::seq)
        .filter(is_open())
        .filter(pending_exchange::next_query_at.le(now))
        .limit(1);
    Ok(!each_backend!(conn, |c| due.load::<i64>(c))?.is_empty())
}

/// The same as the issuer was told first, and how often it has been asked since.
fn query(one: &Instructed, directory: &Directory, now: i64) -> NewEvent {
    let scale = directory.programmes.get(&one.to.programme).map_or(0, |p| p.terms.scale);
    let text = |points| partner_sdk::amount::format_units(points, scale);
    let mut told = instruction(&one.pending, &one.from, &one.to, text(one.credited), text(one.bonus));
    told.kind = "exchange.queried";
    let facts = [
        ("state", one.pending.state(now).as_str().to_owned()),
        ("queries", one.pending.queries.to_string()),
    ];
    told.facts.extend(facts.map(|(name, value)| (name.to_owned(), value)));
    NewEvent::from(&told)
}

impl Instructed {
    /// Where it stands at `now`, in microseconds since 1970.
    pub fn state(&self, now: i64) -> ExchangeState {
        self.pending.state(now)
    }

    /// How long it has been open, in seconds; `None` once it is closed.
    pub fn age_seconds(&self, now: i64) -> Option<i64> {
        let open = self.pending.answer.is_none();
        open.then(|| now.saturating_sub(self.pending.instructed_at).max(0) / 1_000_000)
    }
}
