//! How a refusal looks on the wire: RFC 9457, whoever answers.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, HttpResponseBuilder};
use partner_sdk::{Code, Problem};
use store::{DbError, Fails};

use crate::edge::failures::Refusals;

/// A request that ends with a problem.
#[derive(Debug)]
pub struct Failure(pub(super) Box<Problem>);

impl Failure {
    pub(super) fn new(code: Code) -> Self {
        Problem::new(code, code.title()).into()
    }

    /// Whether the connection is of no more use.
    pub(super) fn closes(&self) -> bool {
        matches!(self.0.code, Code::CertificateRevoked | Code::CertificateUnknown)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        tracing::error!(error = crate::telemetry::chain(&error), "reading failed");
        Self::new(Code::Internal)
    }
}

impl Fails for Failure {
    /// Every failure of the database is answered so. Where something else is too, that costs a connection, no more.
    fn is_of_database(&self) -> bool {
        self.0.code == Code::Internal
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl actix_web::ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        problem_response(&self.0)
    }
}

/// RFC 9457, with Retry-After where waiting helps.
pub(super) fn problem_response(problem: &Problem) -> HttpResponse {
    let mut response = HttpResponseBuilder::new(StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    if problem.retryable {
        response.insert_header((RETRY_AFTER, retry_after(problem)));
    }
    let mut response = response
        .content_type("application/problem+json")
        .body(serde_json::to_string(problem).unwrap_or_default());
    response.extensions_mut().insert(Refusals::among([problem.code]));
    response
}

/// Seconds to wait before the same is sent again.
fn retry_after(problem: &Problem) -> u64 {
    problem.retry_after.unwrap_or(1)
}

/// Too much of a share: `what` there was too much of, and how long to wait, zero where that isn't known.
pub(super) fn too_many(wait: Duration, what: &str) -> Failure {
    let detail = match wait.is_zero() {
        true => format!("too many {what} of this partner or address at once"),
        false => format!("too many {what} of this partner or address in too little time"),
    };
    Problem::new(Code::TooManyRequests, detail).after(wait).into()
}

/// A problem as bytes on the wire, where no library answers; the connection ends with it.
pub fn problem_text(problem: &Problem) -> String {
    let body = serde_json::to_string(problem).unwrap_or_default();
    let reason = StatusCode::from_u16(problem.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Refused");
    let retry = if problem.retryable { "retry-after: 1\r\n" } else { "" };
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\n{retry}connection: close\r\n\r\n{body}",
        problem.status,
        body.len()
    )
}
