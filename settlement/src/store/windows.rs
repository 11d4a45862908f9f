//! Windows and their states.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::schema::{head, lot, settlement_window as w};
use migrations::{Conn, DbError, each_backend};

use super::{append, lock_head, read};

/// What `entry` says in the log's entries about windows.
pub const ENTRY: &str = "window";

/// How far a window has come. The order is the order of the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It takes what is posted.
    Open,
    /// It takes nothing more.
    Closed,
    /// Its obligations are computed.
    Netted,
    /// Its statements are written.
    Advised,
    /// Its payments are made.
    Settled,
}

impl State {
    /// The state as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Netted => "netted",
            Self::Advised => "advised",
            Self::Settled => "settled",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let all = [Self::Open, Self::Closed, Self::Netted, Self::Advised, Self::Settled];
        all.into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no state"))
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A settlement window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its name.
    pub business_date: Date,
    /// How far it has come.
    pub state: State,
    /// When it is due to close.
    pub cut_off_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// When it was netted.
    pub netted_at: Option<Timestamp>,
    /// When its statements were first written in full.
    pub advised_at: Option<Timestamp>,
    /// When its payments were confirmed.
    pub settled_at: Option<Timestamp>,
    /// Who confirmed them.
    pub settled_by: Option<String>,
    /// The day on which its payments are due, once it is netted; nothing where that was before payments were known one by one.
    pub value_date: Option<Date>,
}

type Row = (
    String,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
);

impl Window {
    fn from_row((date, state, cut_off, closed, netted, advised, settled, settled_by, value_date): Row) -> Result<Self, DbError> {
        let time = |micros| read("a window's time", Timestamp::from_microsecond(micros));
        let maybe = |micros: Option<i64>| micros.map(time).transpose();
        Ok(Self {
            business_date: read("a window's business date", date.parse())?,
            state: read("a window's state", State::parse(&state))?,
            cut_off_at: time(cut_off)?,
            closed_at: maybe(closed)?,
            netted_at: maybe(netted)?,
            advised_at: maybe(advised)?,
            settled_at: maybe(settled)?,
            settled_by,
            value_date: value_date.map(|date| read("a window's value date", date.parse())).transpose()?,
        })
    }
}

/// Whether there has never been a window.
pub fn is_empty(conn: &mut Conn) -> Result<bool, DbError> {
    Ok(each_backend!(conn, |c| w::table.select(w::business_date).first::<String>(c).optional())?.is_none())
}

/// The open window, if there is one.
pub fn first_open(conn: &mut Conn) -> Result<Option<Window>, DbError> {
    Ok(windows_in(conn, &[State::Open])?.into_iter().next())
}

/// One window.
pub fn window(conn: &mut Conn, date: Date) -> Result<Option<Window>, DbError> {
    let row = each_backend!(conn, |c| w::table.find(date.to_string()).first::<Row>(c).optional())?;
    row.map(Window::from_row).transpose()
}

/// The windows in any of some states, oldest first.
pub fn windows_in(conn: &mut Conn, states: &[State]) -> Result<Vec<Window>, DbError> {
    let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let rows = each_backend!(conn, |c| w::table
        .filter(w::state.eq_any(&states))
        .order(w::business_date)
        .load::<Row>(c))?;
    rows.into_iter().map(Window::from_row).collect()
}

/// The oldest window before `date` that isn't netted yet.
pub fn unnetted_before(conn: &mut Conn, date: Date) -> Result<Option<Date>, DbError> {
    let earlier = windows_in(conn, &[State::Open, State::Closed])?
        .into_iter()
        .map(|window| window.business_date);
    Ok(earlier.filter(|earlier| *earlier < date).min())
}

/// The time of entries to come is this at least.
pub fn not_before(conn: &mut Conn, at: Timestamp) -> Result<(), DbError> {
    let at = at.as_microsecond();
    let earlier = head::table.filter(head::last_at.lt(at));
    each_backend!(conn, |c| diesel::update(earlier).set(head::last_at.eq(at)).execute(c))?;
    Ok(())
}

/// Whether points are left that a cut-off still has to look at.
pub fn any_due(conn: &mut Conn, cut_off_at: Timestamp) -> Result<bool, DbError> {
    let due = lot::table
        .select(lot::seq)
        // First of the two: SQLite reads the index up to the bound that it sees first.
        .filter(lot::due_at.le(cut_off_at.as_microsecond()))
        // As text, so that the partial index is used.
        .filter(sql::<Bool>("remaining > 0 AND due_at < 9223372036854775807"))
        // Else PostgreSQL may read the table for it.
        .order(lot::due_at)
        .limit(1);
    Ok(!each_backend!(conn, |c| due.load::<i64>(c))?.is_empty())
}

/// Whether the database was made as a sandbox.
pub fn is_sandbox(conn: &mut Conn) -> Result<bool, DbError> {
    Ok(each_backend!(conn, |c| head::table.select(head::sandbox).first(c))?)
}

/// The time of a step that a closed window takes now, under the ledger's lock: never before the last entry's. When windows close and open is the clock's own word.
pub fn time(conn: &mut Conn, now: Timestamp) -> Result<Timestamp, DbError> {
    lock_head(conn)?;
    let last_at: i64 = each_backend!(conn, |c| head::table.select(head::last_at).first(c))?;
    read("head.last_at", Timestamp::from_microsecond(last_at.max(now.as_microsecond())))
}

/// Says in the log what became of a window.
fn enter(conn: &mut Conn, date: Date, state: State, more: Option<(&str, &str)>, at: Timestamp) -> Result<(), DbError> {
    let date = date.to_string();
    let fields: Vec<_> = [("window", date.as_str()), ("state", state.as_str())]
        .into_iter()
        .chain(more)
        .collect();
    append(conn, at, ENTRY, &date, &fields)?;
    not_before(conn, at)
}

/// Adds a window in state open, at an instant.
pub fn insert_open(conn: &mut Conn, date: Date, cut_off_at: Timestamp, at: Timestamp) -> Result<(), DbError> {
    let row = (
        w::business_date.eq(date.to_string()),
        w::state.eq(State::Open.as_str()),
        w::cut_off_at.eq(cut_off_at.as_microsecond()),
    );
    each_backend!(conn, |c| diesel::insert_into(w::table).values(row).execute(c))?;
    enter(conn, date, State::Open, Some(("cut_off_at", &cut_off_at.to_string())), at)
}

/// A step to the next state.
#[derive(Debug, Clone, Copy)]
pub enum Mark<'a> {
    /// Open to closed.
    Closed,
    /// Closed to netted, and when its payments are due.
    Netted(Option<Date>),
    /// Netted to advised.
    Advised,
    /// Advised to settled, and by whom.
    Settled(&'a str),
}

/// Takes a window one step further, and says so in the log; does nothing to a window that isn't in the state before, and says whether it was.
pub fn mark(conn: &mut Conn, date: Date, mark: Mark<'_>, now: Timestamp) -> Result<bool, DbError> {
    let (from, to) = match mark {
        Mark::Closed => (State::Open, State::Closed),
        Mark::Netted(_) => (State::Closed, State::Netted),
        Mark::Advised => (State::Netted, State::Advised),
        Mark::Settled(_) => (State::Advised, State::Settled),
    };
    let value_date = match mark {
        Mark::Netted(date) => date.map(|date| date.to_string()),
        _ => None,
    };
    let (state, to, at) = (to, w::state.eq(to.as_str()), now.as_microsecond());
    let marked = each_backend!(conn, |c| {
        let row = diesel::update(
            w::table
                .filter(w::business_date.eq(date.to_string()))
                .filter(w::state.eq(from.as_str())),
        );
        match mark {
            Mark::Closed => row.set((to, w::closed_at.eq(at))).execute(c),
            Mark::Netted(_) => row.set((to, w::netted_at.eq(at), w::value_date.eq(&value_date))).execute(c),
            Mark::Advised => row.set((to, w::advised_at.eq(at))).execute(c),
            Mark::Settled(by) => row.set((to, w::settled_at.eq(at), w::settled_by.eq(by))).execute(c),
        }
    })?;
    let more = match (mark, &value_date) {
        (Mark::Settled(by), _) => Some(("by", by)),
        (_, Some(date)) => Some(("value_date", &**date)),
        (_, None) => None,
    };
    if marked == 1 {
        enter(conn, date, state, more, now)?;
    }
    Ok(marked == 1)
}
