//! Statements, for the partner whose they are.

use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::{Code, Problem};
use serde::Serialize;
use settlement::export::{self, ExportError, Form};
use settlement::{Advised, Format, Listed, NetLine, SettlementError, Statement};

use super::failure::Failure;
use super::params::Params;
use super::request::{State, caller, on_database};

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
        tracing::error!(error = crate::telemetry::chain(&error), "reading a statement failed");
        Self::new(Code::Internal)
    }
}

/// The bytes that were advised, named by their digest: who has them already gets no others.
async fn statement(request: &HttpRequest, date: String, state: &State, format: Format) -> Result<HttpResponse, Failure> {
    let (partner, _) = caller(request, state)?;
    Params::none(request)?;
    let date = business_date(&date)?;
    let advised = on_database(state, move |conn| Ok(settlement::advised(conn, date, &partner, format)?)).await?;
    let Advised { sha256, text } = advised.ok_or_else(none_there)?;
    let tag = format!("\"{sha256}\"");
    let known = request
        .headers()
        .get_all(IF_NONE_MATCH)
        .any(|tags| tags.to_str().is_ok_and(|tags| tags.contains(&tag)));
    if known {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, tag)).finish());
    }
    let media = match format {
        Format::Json => "application/json",
        Format::Csv => "text/csv; charset=utf-8",
    };
    Ok(HttpResponse::Ok().content_type(media).insert_header((ETAG, tag)).body(text))
}

/// `GET /v1/statements/{date}/{form}`: the caller's own as finance programs read it, made of the statement that was advised.
pub async fn export(request: HttpRequest, path: web::Path<(String, String)>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, _) = caller(&request, &state)?;
    Params::none(&request)?;
    let (date, form) = path.into_inner();
    let (date, form) = (
        business_date(&date)?,
        form.parse::<Form>().map_err(|_| Failure::new(Code::NotFound))?,
    );
    let advised = on_database(&state, move |conn| Ok(settlement::advised(conn, date, &partner, Format::Json)?)).await?;
    let Advised { text, .. } = advised.ok_or_else(none_there)?;
    let statement: Statement = serde_json::from_str(&text).map_err(|_| Failure::new(Code::Internal))?;
    match export::export(&statement, form) {
        Ok(text) => Ok(HttpResponse::Ok().content_type(form.media()).body(text)),
        Err(ExportError::Render(_)) => Err(Failure::new(Code::Internal)),
        Err(nothing) => Err(Problem::new(Code::NotFound, nothing.to_string()).into()),
    }
}

fn business_date(text: &str) -> Result<Date, Failure> {
    let why = "the date in the path isn't of the form 2017-01-31";
    text.parse().map_err(|_| Problem::new(Code::BadValue, why).at(Some("date")).into())
}

fn none_there() -> Problem {
    let none = "the statements of this window aren't written yet, or there is no such window, or you were no partner then";
    Problem::new(Code::NotFound, none)
}

/// `GET /v1/statements/{date}`: the caller's own, the same bytes as the file.
pub async fn json(request: HttpRequest, date: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    statement(&request, date.into_inner(), &state, Format::Json).await
}

/// `GET /v1/statements/{date}/csv`: the caller's own, the same bytes as the file.
pub async fn csv(request: HttpRequest, date: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    statement(&request, date.into_inner(), &state, Format::Csv).await
}
