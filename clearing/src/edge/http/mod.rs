//! The edge: who calls, what with, and how errors look. Domain errors know no HTTP; they are mapped here.
//!
//! | address | who may call | answers |
//! |---|---|---|
//! | `POST /v1/messages` | the partner of the certificate | one receipt, or a problem |
//! | `POST /v1/batches` | the same | a line for each message |
//! | `POST /v1/signed-batches` | the same | a line for each message |
//! | `GET /v1/accounts/{programme}/{member}` | issuer, a partner with an agreement in force, or one that has dealings with the member | the balance |
//! | `GET /v1/positions` | the partner of the certificate | what it owes and is owed now |
//! | `GET` and `POST /v1/agreements` | parties of the agreement | lists one's own, proposes one |
//! | `GET /v1/agreements/{hash}` | its parties | the document, with where it stands |
//! | `POST /v1/agreements/{hash}/signatures`, `.../acts` | its parties | signs; withdraws, declines, terminates |
//! | `GET /v1/rates` and `/v1/rates/{from}/{to}` | any partner | rates and bonuses in force, and their history |
//! | `GET /v1/events` | the partner of the certificate | what concerns it, in order |
//! | `GET /v1/exchanges` and `/v1/exchanges/{sender}/{id}` | the two parties of the exchange | those that wait for an issuer's answer |
//! | `GET /v1/statements/{date}` and `/csv` | the partner of the certificate | its own statement |
//! | `GET /v1/keys` | the partner of the certificate | its own keys |
//! | `POST /v1/keys`, `/v1/certificates`, `/v1/revocations` | the same, with a signature | its keys as they are then, or a certificate |
//! | `POST /v1/enrolments` on a listener of its own | whoever has an invitation | a certificate |
//! | `GET /v1/health` | any admitted partner | that the service lives |
//! | `GET /health` on the plain listener | anybody who reaches it | the same |

pub mod documents;
mod exchanges;
pub mod gate;
mod keys;
pub mod log;
mod messages;
mod params;
mod prepaid;
mod queries;
mod rates;
mod tlog;

pub use gate::problem_text;

use crate::posting::writer::Signer;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use futures_util::StreamExt;
use partner_sdk::jws::SigningKey;
use partner_sdk::{Code, PartnerId, Problem};

use self::params::Params;
use crate::clock::Clock;
use crate::edge::failures::{Failures, Refusals};
use crate::edge::shares::{self, Full, SMALL_BODY, Shares};
use crate::edge::tls::{Live, Peer};
use crate::night::trouble::Troubles;
use crate::office::config::Tls;
use crate::posting::writer::{Ledger, Reference};
use ledger::directory::{Directory, Status};
use store::{DbError, Fails, Pool};

/// The largest body, in bytes: a thousand messages of 4 KiB.
pub const MAX_BODY: usize = 4 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// What the handlers share.
#[derive(Clone)]
pub struct State {
    /// The reference data.
    pub reference: Reference,
    /// The way into the ledger.
    pub ledger: Ledger,
    /// The clock.
    pub clock: Clock,
    /// Connections to the database, but for posting.
    pub pool: Pool,
    /// The key that signs receipts.
    pub key: Arc<SigningKey>,
    /// The log's name and key.
    pub signer: Arc<Signer>,
    /// What certificates are judged by.
    pub tls: Live,
    /// Where the CA is that signs certificates.
    pub signing: Arc<Tls>,
    /// Requests under way.
    pub busy: Arc<AtomicUsize>,
    /// The number of the newest event: who waits for news watches it.
    pub news: tokio::sync::watch::Sender<i64>,
    /// Who came with what doesn't count.
    pub failures: Failures,
    /// Windows that the night can't bring further.
    pub troubles: Troubles,
    /// What partners share.
    pub shares: Shares,
}

/// A request that ends with a problem.
#[derive(Debug)]
pub struct Failure(Box<Problem>);

impl Failure {
    fn new(code: Code) -> Self {
        Problem::new(code, code.title()).into()
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
fn problem_response(problem: &Problem) -> HttpResponse {
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
fn too_many(wait: Duration, what: &str) -> Failure {
    let detail = match wait.is_zero() {
        true => format!("too many {what} of this partner or address at once"),
        false => format!("too many {what} of this partner or address in too little time"),
    };
    Problem::new(Code::TooManyRequests, detail).after(wait).into()
}

/// The partner behind the connection's certificate, looked up for each request, and the reference data by which it was. The certificate has to be good now,
/// not only when the connection began.
fn caller(request: &HttpRequest, state: &State) -> Result<(PartnerId, Arc<Directory>), Failure> {
    let directory = state.reference.get();
    let peer = request.conn_data::<Peer>();
    let key = peer.and_then(|peer| directory.keys.tls(&peer.spki));
    if peer.is_some_and(|peer| !peer.is_good(&state.tls)) || key.is_some_and(|key| key.revoked_at.is_some()) {
        return Err(Failure::new(Code::CertificateRevoked));
    }
    let partner = key.map(|key| key.partner.clone());
    partner
        .filter(|id| directory.partners.get(id).is_some_and(|p| p.status != Status::Gone))
        .map(|partner| (partner, directory))
        .ok_or_else(|| Failure::new(Code::CertificateUnknown))
}

/// The same, for a partner that may post.
fn poster(request: &HttpRequest, state: &State) -> Result<(PartnerId, Arc<Directory>), Failure> {
    let (partner, directory) = caller(request, state)?;
    // What a leaving partner may still post, the ledger says.
    let status = directory.partners.get(&partner).map(|p| p.status);
    if matches!(status, Some(Status::Active | Status::Leaving)) {
        Ok((partner, directory))
    } else {
        Err(Failure::new(Code::PartnerSuspended))
    }
}

/// Reads a body within its bounds of size (`max` bytes), time and memory. It is never decompressed.
async fn body(request: &HttpRequest, mut payload: web::Payload, max: usize) -> Result<Vec<u8>, Failure> {
    // Whatever takes a body says all there.
    Params::none(request)?;
    let mut codings = request.headers().get_all(CONTENT_ENCODING);
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Failure::new(Code::UnsupportedMedia));
    }
    // What is announced as too large isn't waited for.
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > max) {
        return Err(Failure::new(Code::TooLarge));
    }
    let read = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Failure::new(Code::BadRequest))?;
            if bytes.len() + chunk.len() > max {
                return Err(Failure::new(Code::TooLarge));
            }
            let came = bytes.len() + chunk.len();
            if bytes.capacity() < came {
                // What is set aside counts, not only what has come. Of a large body that is all of it, once: what grows is moved, and takes memory twice.
                let room = if came > SMALL_BODY {
                    length.unwrap_or(max).max(came)
                } else {
                    came.next_power_of_two()
                };
                shares::body(room).map_err(|full| match full {
                    Full::Share => too_many(Duration::ZERO, "bodies"),
                    Full::All => Failure::new(Code::Overloaded),
                })?;
                bytes.reserve_exact(room - bytes.len());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    let read = tokio::time::timeout(BODY_TIMEOUT, read).await;
    read.unwrap_or_else(|_| Err(Failure::new(Code::TooSlow)))
}

/// The body of a partner that may post, as text; and the partner as it is once the body is there.
async fn posted(request: &HttpRequest, payload: web::Payload, state: &State) -> Result<(PartnerId, Arc<Directory>, String), Failure> {
    poster(request, state)?;
    let bytes = body(request, payload, MAX_BODY).await?;
    let text = String::from_utf8(bytes).map_err(|_| Problem::new(Code::MalformedJws, "the body isn't text"))?;
    let (partner, directory) = poster(request, state)?;
    Ok((partner, directory, text))
}

/// The body of any partner, at most `max` bytes, as text.
async fn heard(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
    max: usize,
) -> Result<(PartnerId, Arc<Directory>, String), Failure> {
    caller(request, state)?;
    let bytes = body(request, payload, max).await?;
    let text = String::from_utf8(bytes).map_err(|_| Problem::new(Code::BadRequest, "the body isn't text"))?;
    let (partner, directory) = caller(request, state)?;
    Ok((partner, directory, text))
}

/// The body of a partner's step with a document, a key or a certificate, as [`heard`].
async fn heard_step(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
    max: usize,
) -> Result<(PartnerId, Arc<Directory>, String), Failure> {
    shares::step().map_err(|wait| too_many(wait, "steps with documents, keys and certificates"))?;
    heard(request, payload, state, max).await
}

/// Runs `work` on the processors' own threads, so that it doesn't hold up other requests.
async fn on_cpu<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let _turn = shares::processor().await.map_err(|()| too_many(Duration::ZERO, "batches"))?;
    spread(work).await.ok_or(Failure::new(Code::Internal))
}

/// The same without waiting for a turn, for what has to be done whatever others do; `None` where it panicked.
async fn spread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    rayon::spawn(move || {
        // A caller that went away needs no result.
        let _ = done.send(work());
    });
    result.await.ok()
}

/// Runs `work` on the database, on a thread that may block; refused as `overloaded` where no connection comes free in time.
async fn on_database<T: Send + 'static>(
    state: &State,
    work: impl FnOnce(&mut migrations::Conn) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    if !shares::may_read().await {
        return Err(too_many(Duration::ZERO, "reads"));
    }
    let turn = state.pool.turn().await.ok_or_else(|| Failure::new(Code::Overloaded))?;
    let result = web::block(move || turn.with(work)).await;
    result.map_err(|_| Failure::new(Code::Internal))?
}

/// All addresses of the service.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(only("/v1/messages", web::post().to(messages::single)))
        .service(only("/v1/batches", web::post().to(messages::batch)))
        .service(only("/v1/signed-batches", web::post().to(messages::signed_batch)))
        .service(only("/v1/accounts/{programme}/{member}", web::get().to(queries::account)))
        .service(only("/v1/positions", web::get().to(queries::positions)))
        .service(only("/v1/prepaid", web::get().to(prepaid::blocks)))
        .service(
            web::resource("/v1/agreements")
                .route(web::get().to(documents::list))
                .route(web::post().to(documents::propose))
                .default_service(web::to(method_not_allowed)),
        )
        .service(only("/v1/agreements/{hash}", web::get().to(documents::fetch)))
        .service(only("/v1/agreements/{hash}/signatures", web::post().to(documents::sign)))
        .service(only("/v1/agreements/{hash}/acts", web::post().to(documents::act)))
        .service(only("/v1/rates", web::get().to(rates::in_force)))
        .service(only("/v1/rates/{from}/{to}", web::get().to(rates::history)))
        .service(only("/v1/events", web::get().to(documents::events)))
        .service(only("/v1/log/checkpoint", web::get().to(tlog::checkpoint)))
        .service(only("/v1/log/tile/{tile:.*}", web::get().to(tlog::tile)))
        .service(only("/v1/log/entries", web::get().to(tlog::entries)))
        .service(only("/v1/exchanges", web::get().to(exchanges::open)))
        .service(only("/v1/exchanges/{sender}/{id}", web::get().to(exchanges::fetch)))
        .service(only("/v1/statements/{date}", web::get().to(queries::statement_json)))
        .service(only("/v1/statements/{date}/csv", web::get().to(queries::statement_csv)))
        .service(only("/v1/keys", web::post().to(keys::add)).route(web::get().to(keys::list)))
        .service(only("/v1/certificates", web::post().to(keys::certificate)))
        .service(only("/v1/revocations", web::post().to(keys::revoke)))
        .service(only("/v1/health", web::get().to(queries::partner_health)))
        .default_service(web::to(not_found));
}

/// The enrolment listener's only address.
pub fn enrolment_routes(config: &mut web::ServiceConfig) {
    config
        .service(only("/v1/enrolments", web::post().to(keys::enrol)))
        .default_service(web::to(not_found));
}

/// The plain listener's only address.
pub fn health_routes(config: &mut web::ServiceConfig) {
    config
        .service(only("/health", web::get().to(queries::health)))
        .default_service(web::to(not_found));
}

/// One address with one method; any other method is answered as such.
fn only(path: &str, route: actix_web::Route) -> actix_web::Resource {
    web::resource(path).route(route).default_service(web::to(method_not_allowed))
}

async fn not_found() -> Result<HttpResponse, Failure> {
    Err(Failure::new(Code::NotFound))
}

async fn method_not_allowed() -> Result<HttpResponse, Failure> {
    Err(Failure::new(Code::MethodNotAllowed))
}
