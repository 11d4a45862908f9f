//! Payments, and where partners stand over all windows.

use diesel::prelude::*;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::schema::{payment as p, running_position as r};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::banking::PaymentReference;
use partner_sdk::{Currency, Money, PartnerId};

use super::pairs::window_before;
use super::{party, read};
use crate::dues::{Confirmed, Due, Running};
use crate::netting::NetPositions;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = p, treat_none_as_default_value = false)]
struct DueRow {
    reference: String,
    business_date: String,
    partner: String,
    currency: String,
    micros: i64,
    value_date: String,
    paid_on: Option<String>,
    confirmed_at: Option<i64>,
    confirmed_by: Option<String>,
    run: i64,
    replaced_by: Option<String>,
}

/// How many columns a payment has.
const COLUMNS: usize = 11;

impl DueRow {
    fn new(due: &Due, run: i64) -> Self {
        let confirmed = due.confirmed.as_ref();
        Self {
            reference: due.reference.to_string(),
            business_date: due.business_date.to_string(),
            partner: due.partner.to_string(),
            currency: due.currency.to_string(),
            micros: due.amount.0,
            value_date: due.value_date.to_string(),
            paid_on: confirmed.and_then(|confirmed| confirmed.paid_on).map(|date| date.to_string()),
            confirmed_at: confirmed.map(|confirmed| confirmed.at.as_microsecond()),
            confirmed_by: confirmed.map(|confirmed| confirmed.by.clone()),
            run,
            replaced_by: due.replaced_by.clone(),
        }
    }

    fn due(self) -> Result<Due, DbError> {
        let date = |text: &str| read("a payment's date", text.parse::<Date>());
        let confirmed = |at| {
            Ok::<_, DbError>(Confirmed {
                paid_on: self.paid_on.as_deref().map(date).transpose()?,
                at: read("a payment's time", Timestamp::from_microsecond(at))?,
                by: self.confirmed_by.clone().unwrap_or_default(),
            })
        };
        Ok(Due {
            reference: read("a payment's reference", self.reference.parse())?,
            business_date: date(&self.business_date)?,
            partner: party(&self.partner)?,
            currency: currency(&self.currency)?,
            amount: Money(self.micros),
            value_date: date(&self.value_date)?,
            confirmed: self.confirmed_at.map(confirmed).transpose()?,
            replaced_by: self.replaced_by,
        })
    }
}

fn currency(code: &str) -> Result<Currency, DbError> {
    read("a currency", Currency::new(code))
}

/// Writes payments that a run of a window has made; the first is the night's.
pub fn insert_dues(conn: &mut Conn, dues: &[Due], run: i64) -> Result<(), DbError> {
    for chunk in dues.chunks(conn.bind_limit() / COLUMNS) {
        let rows: Vec<DueRow> = chunk.iter().map(|due| DueRow::new(due, run)).collect();
        each_backend!(conn, |c| diesel::insert_into(p::table).values(&rows).execute(c))?;
    }
    Ok(())
}

/// Which payments are wanted; all that is left out is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of this partner.
    pub partner: Option<PartnerId>,
    /// Of windows from this date on.
    pub from: Option<Date>,
    /// And up to this one.
    pub until: Option<Date>,
    /// Confirmed, or open: not confirmed, and none in its place.
    pub confirmed: Option<bool>,
}

/// Payments, the newest windows first and within one by their references; at most so many.
pub fn dues(conn: &mut Conn, wanted: &Wanted, limit: i64) -> Result<Vec<Due>, DbError> {
    let rows = each_backend!(conn, |c| {
        let mut query = p::table.select(DueRow::as_select()).into_boxed();
        if let Some(partner) = &wanted.partner {
            query = query.filter(p::partner.eq(partner.as_str()));
        }
        if let Some(from) = wanted.from {
            query = query.filter(p::business_date.ge(from.to_string()));
        }
        if let Some(until) = wanted.until {
            query = query.filter(p::business_date.le(until.to_string()));
        }
        query = match wanted.confirmed {
            Some(true) => query.filter(p::confirmed_at.is_not_null()),
            Some(false) => query.filter(p::confirmed_at.is_null()).filter(p::replaced_by.is_null()),
            None => query,
        };
        query.order((p::business_date.desc(), p::reference)).limit(limit).load(c)
    })?;
    rows.into_iter().map(DueRow::due).collect()
}

/// All payments of a window, by their references.
pub fn dues_of(conn: &mut Conn, date: Date) -> Result<Vec<Due>, DbError> {
    let (from, until) = (Some(date), Some(date));
    let wanted = Wanted {
        from,
        until,
        ..Wanted::default()
    };
    dues(conn, &wanted, i64::MAX)
}

/// One payment.
pub fn due(conn: &mut Conn, reference: &PaymentReference) -> Result<Option<Due>, DbError> {
    let row = p::table.find(reference.as_str());
    let row = each_backend!(conn, |c| row.select(DueRow::as_select()).first(c).optional())?;
    row.map(DueRow::due).transpose()
}

/// Notes that an open payment was made.
pub fn confirm(conn: &mut Conn, reference: &PaymentReference, confirmed: &Confirmed) -> Result<(), DbError> {
    let open = p::table.find(reference.as_str());
    let open = open.filter(p::confirmed_at.is_null()).filter(p::replaced_by.is_null());
    let made = (
        p::paid_on.eq(confirmed.paid_on.map(|date| date.to_string())),
        p::confirmed_at.eq(confirmed.at.as_microsecond()),
        p::confirmed_by.eq(&confirmed.by),
    );
    match each_backend!(conn, |c| diesel::update(open).set(made).execute(c))? {
        1 => Ok(()),
        _ => Err(DbError::Corrupt(format!("{reference} isn't an open payment"))),
    }
}

/// What of the windows before `date` isn't confirmed yet.
pub fn open_before(conn: &mut Conn, date: Date) -> Result<NetPositions, DbError> {
    let open = p::table
        .filter(p::confirmed_at.is_null())
        .filter(p::replaced_by.is_null())
        .filter(p::business_date.lt(date.to_string()))
        .select((p::partner, p::currency, p::micros));
    let mut sums = NetPositions::new();
    for (partner, code, micros) in each_backend!(conn, |c| open.load::<(String, String, i64)>(c))? {
        *sums.entry((currency(&code)?, party(&partner)?)).or_default() += i128::from(micros);
    }
    Ok(sums)
}

type RunningRow = (String, String, String, i64, i64, i64, i64, i64);

/// Where partners stood with a window, in the order of currencies and partners.
pub fn running_of(conn: &mut Conn, date: Date) -> Result<Vec<Running>, DbError> {
    let query = r::table.filter(r::business_date.eq(date.to_string()));
    let rows = each_backend!(conn, |c| query.load::<RunningRow>(c))?;
    let line = |(_, partner, code, opening, confirmed, net, closing, revised): RunningRow| {
        Ok(Running {
            partner: party(&partner)?,
            currency: currency(&code)?,
            opening: Money(opening),
            confirmed: Money(confirmed),
            revised: Money(revised),
            net: Money(net),
            closing: Money(closing),
        })
    };
    let mut lines: Vec<Running> = rows.into_iter().map(line).collect::<Result<_, DbError>>()?;
    lines.sort_by(|x, y| (x.currency, &x.partner).cmp(&(y.currency, &y.partner)));
    Ok(lines)
}

/// With what the window before `date` closed.
pub fn closed_before(conn: &mut Conn, date: Date) -> Result<NetPositions, DbError> {
    let Some(before) = window_before(conn, date)? else {
        return Ok(NetPositions::new());
    };
    let lines = running_of(conn, before)?.into_iter();
    let open = lines.filter(|line| line.closing.0 != 0);
    Ok(open
        .map(|line| ((line.currency, line.partner), i128::from(line.closing.0)))
        .collect())
}

/// Writes where partners stand with a window.
pub fn insert_running(conn: &mut Conn, date: Date, lines: &[Running]) -> Result<(), DbError> {
    let row = |line: &Running| {
        (
            r::business_date.eq(date.to_string()),
            r::partner.eq(line.partner.to_string()),
            r::currency.eq(line.currency.to_string()),
            r::opening.eq(line.opening.0),
            r::confirmed.eq(line.confirmed.0),
            r::net.eq(line.net.0),
            r::closing.eq(line.closing.0),
            r::revised.eq(line.revised.0),
        )
    };
    for chunk in lines.chunks(conn.bind_limit() / 8) {
        let rows: Vec<_> = chunk.iter().map(row).collect();
        each_backend!(conn, |c| diesel::insert_into(r::table).values(&rows).execute(c))?;
    }
    Ok(())
}
