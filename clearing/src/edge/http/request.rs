//! What every handler asks first: who calls, and what with; and where its work is done.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;
use ledger::directory::{Directory, Status};
use partner_sdk::jws::SigningKey;
use partner_sdk::{Code, PartnerId, Problem};
use store::Pool;

use super::accounts::Accounts;
use super::failure::{Failure, too_many};
use super::params::Params;
use super::turns::Turns;
use crate::clock::Clock;
use crate::edge::failures::Failures;
use crate::edge::shares::{self, Full, SMALL_BODY, Shares};
use crate::edge::tls::{Live, Peer};
use crate::night::trouble::Troubles;
use crate::office::config::Tls;
use crate::posting::writer::{Ledger, Reference, Signer};

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
    /// Turns at holding records against messages.
    pub turns: Turns,
    /// Turns at accounting data, and connections for it.
    pub accounts: Accounts,
}

/// The partner behind the connection's certificate, looked up for each request, and the reference data by which it was. The certificate has to be good now,
/// not only when the connection began.
pub(super) fn caller(request: &HttpRequest, state: &State) -> Result<(PartnerId, Arc<Directory>), Failure> {
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
pub(super) async fn body(request: &HttpRequest, payload: web::Payload, max: usize) -> Result<Vec<u8>, Failure> {
    // Whatever takes a body says all there.
    Params::none(request)?;
    file(request, payload, max).await
}

/// The same for a body that is a file, which can't say what is wanted of it: the query may.
pub(super) async fn file(request: &HttpRequest, mut payload: web::Payload, max: usize) -> Result<Vec<u8>, Failure> {
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
pub(super) async fn posted(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
) -> Result<(PartnerId, Arc<Directory>, String), Failure> {
    poster(request, state)?;
    let bytes = body(request, payload, MAX_BODY).await?;
    let text = String::from_utf8(bytes).map_err(|_| Problem::new(Code::MalformedJws, "the body isn't text"))?;
    let (partner, directory) = poster(request, state)?;
    Ok((partner, directory, text))
}

/// The body of any partner, at most `max` bytes, as text.
pub(super) async fn heard(
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

/// What most steps are with.
pub(super) const DOCUMENTS: &str = "steps with documents, keys and certificates";

/// The body of a partner's step, e.g. with a document, as [`heard`]; `what` such steps are.
pub(super) async fn heard_step(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
    max: usize,
    what: &str,
) -> Result<(PartnerId, Arc<Directory>, String), Failure> {
    shares::step().map_err(|wait| too_many(wait, what))?;
    heard(request, payload, state, max).await
}

/// Runs `work` on the processors' own threads, so that it doesn't hold up other requests.
pub(super) async fn on_cpu<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let _turn = shares::processor().await.map_err(|()| too_many(Duration::ZERO, "batches"))?;
    spread(work).await.ok_or(Failure::new(Code::Internal))
}

/// The same without waiting for a turn, for what has to be done whatever others do; `None` where it panicked.
pub(super) async fn spread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    rayon::spawn(move || {
        // A caller that went away needs no result.
        let _ = done.send(work());
    });
    result.await.ok()
}

/// Runs `work` on the database, on a thread that may block; refused as `overloaded` where no connection comes free in time.
pub(super) async fn on_database<T: Send + 'static>(
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
