//! Statements, for the partner whose they are.

use std::time::Duration;

use actix_web::http::header::{CONTENT_DISPOSITION, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::jws::sha256_hex;
use partner_sdk::{Code, PartnerId, Problem};
use serde::Serialize;
use settlement::export::{ExportError, Form, Statements};
use settlement::{Advised, Format, Listed, NetLine, Period, PeriodError, SettlementError};
use tokio::sync::Semaphore;

use super::failure::{Failure, too_many};
use super::params::Params;
use super::request::{State, caller, on_database};
use crate::edge::shares;

/// The most statements in one list.
const MOST: i64 = 100;

/// The caller's statements, newest first.
#[derive(Debug, Serialize)]
struct StatementsAnswer {
    statements: Vec<StatementAnswer>,
}

/// One of them: where its window stands, what it comes to, and the digests of its two forms.
#[derive(Debug, Serialize)]
struct StatementAnswer {
    window: Date,
    state: &'static str,
    cut_off_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    advised_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<Timestamp>,
    net: Vec<NetLine>,
    json_sha256: String,
    csv_sha256: String,
}

/// `GET /v1/statements`: the caller's own, of the windows `from` a date `until` another.
pub async fn list(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, _) = caller(&request, &state)?;
    let params = Params::new(&request, &["from", "until", "limit"])?;
    let date = |name| params.parsed(name, "a date such as 2026-11-21");
    let (from, until) = (date("from")?.unwrap_or(Date::MIN), date("until")?.unwrap_or(Date::MAX));
    let limit = params.number("limit", 1..=MOST, MOST)?;
    let listed = on_database(&state, move |conn| {
        conn.snapshot(|conn| Ok(settlement::listed(conn, &partner, (from, until), limit)?))
    });
    let answer = |one: Listed| StatementAnswer {
        window: one.window.business_date,
        state: one.window.state.as_str(),
        cut_off_at: one.window.cut_off_at,
        advised_at: one.window.advised_at,
        settled_at: one.window.settled_at,
        net: one.net,
        json_sha256: one.json_sha256,
        csv_sha256: one.csv_sha256,
    };
    let statements = listed.await?.into_iter().map(answer).collect();
    Ok(HttpResponse::Ok().json(StatementsAnswer { statements }))
}

impl From<SettlementError> for Failure {
    fn from(error: SettlementError) -> Self {
        if let SettlementError::TooLong = error {
            return Problem::new(Code::BadValue, error.to_string()).at(Some("period")).into();
        }
        tracing::error!(error = crate::telemetry::chain(&error), "reading a statement failed");
        Self::new(Code::Internal)
    }
}

/// Files are made one at a time, all partners' together: making one takes a processor and the memory of its statements, and messages come first.
static MAKING: Semaphore = Semaphore::const_new(1);
/// How long one waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// `GET /v1/statements/{period}/{form}`: the caller's own, of a day, a month or a range of dates. Of a day the JSON and the CSV are the bytes that were advised; every other form is made of
/// statements that were advised.
async fn file(request: &HttpRequest, period: &str, form: Form, state: &State) -> Result<HttpResponse, Failure> {
    let (partner, _) = caller(request, state)?;
    Params::none(request)?;
    let period: Period = period.parse().map_err(|error: PeriodError| not_a_period(&error))?;
    let (name, sha256, bytes) = match (period.day(), as_advised(form)) {
        (Some(date), Some(format)) => {
            let name = format!("{partner}-{date}.{}", form.extension());
            let advised = on_database(state, move |conn| Ok(settlement::advised(conn, date, &partner, format)?)).await?;
            let Advised { sha256, text } = advised.ok_or_else(none_there)?;
            (name, sha256, text.into_bytes())
        }
        _ => made(partner, period, form, state).await?,
    };
    let tag = format!("\"{sha256}\"");
    let known = request
        .headers()
        .get_all(IF_NONE_MATCH)
        .any(|tags| tags.to_str().is_ok_and(|tags| tags.contains(&tag)));
    if known {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, tag)).finish());
    }
    Ok(HttpResponse::Ok()
        .content_type(form.media())
        .insert_header((ETAG, tag))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .body(bytes))
}

/// A file that is made of statements: its name, SHA-256 and bytes. Its turns end with the work, also where nobody waits for it any more.
async fn made(partner: PartnerId, period: Period, form: Form, state: &State) -> Result<(String, String, Vec<u8>), Failure> {
    let own = shares::processor().await.map_err(|()| too_many(Duration::ZERO, "files"))?;
    let turn = tokio::time::timeout(PATIENCE, MAKING.acquire()).await;
    let turn = turn.ok().and_then(Result::ok).ok_or_else(|| Failure::new(Code::Overloaded))?;
    let of = partner.clone();
    let read = move |conn: &mut Conn| {
        let revised = settlement::revisions_in(conn, period, &of)?;
        Ok((settlement::statements(conn, &of, period)?, revised, own, turn))
    };
    let (files, revised, own, turn) = on_database(state, read).await?;
    shares::read();
    let make = move || {
        let _turns = (own, turn);
        let statements = Statements::new(partner, period, &files)?.revised(&revised)?;
        let bytes = statements.export(form)?;
        Ok::<_, ExportError>((statements.file_name(form), sha256_hex(&bytes), bytes))
    };
    let made = web::block(make).await.map_err(|_| Failure::new(Code::Internal))?;
    made.map_err(not_made)
}

/// `GET /v1/statements/{date}/revisions`: what was changed about the payments of one of the caller's windows after its statement, the oldest first, each to the byte as it is kept.
pub async fn revisions(request: HttpRequest, date: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, _) = caller(&request, &state)?;
    Params::none(&request)?;
    let period: Period = date.parse().map_err(|error: PeriodError| not_a_period(&error))?;
    let Some(date) = period.day() else {
        return Err(Problem::new(Code::BadValue, "revisions are asked for by a date such as 2026-11-21")
            .at(Some("period"))
            .into());
    };
    let found = on_database(&state, move |conn| {
        conn.snapshot(|conn| {
            let has_one = settlement::advised(conn, date, &partner, Format::Json)?.is_some();
            Ok((has_one, settlement::revisions(conn, date, &partner)?))
        })
    });
    let (has_one, revisions) = found.await?;
    if !has_one {
        return Err(none_there().into());
    }
    let all: Vec<&str> = revisions.iter().map(|revision| revision.text.trim_end()).collect();
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(format!("{{\"revisions\":[{}]}}\n", all.join(","))))
}

/// The form in which a day's statement is kept, if this is one.
fn as_advised(form: Form) -> Option<Format> {
    match form {
        Form::Json => Some(Format::Json),
        Form::Csv => Some(Format::Csv),
        _ => None,
    }
}

fn not_a_period(error: &PeriodError) -> Problem {
    Problem::new(Code::BadValue, format!("the period in the path: {error}")).at(Some("period"))
}

fn not_made(error: ExportError) -> Failure {
    match error.is_none() {
        // The words for no statement at all are those of a single one.
        true if matches!(error, ExportError::Period(PeriodError::Empty)) => none_there().into(),
        true => Problem::new(Code::NotFound, error.to_string()).into(),
        false => {
            tracing::error!(error = crate::telemetry::chain(&error), "making a file of statements failed");
            Failure::new(Code::Internal)
        }
    }
}

fn none_there() -> Problem {
    let none = "the statements of this window aren't written yet, or there is no such window, or you were no partner then";
    Problem::new(Code::NotFound, none)
}

/// `GET /v1/statements/{period}`: the caller's own; of a day the same bytes as the file.
pub async fn json(request: HttpRequest, period: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    file(&request, &period, Form::Json, &state).await
}

/// `GET /v1/statements/{period}/{form}`: the same in another form.
pub async fn export(request: HttpRequest, path: web::Path<(String, String)>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (period, form) = path.into_inner();
    let form = form.parse::<Form>().map_err(|_| Failure::new(Code::NotFound))?;
    file(&request, &period, form, &state).await
}
