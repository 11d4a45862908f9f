//! Agreements over the wire, and the event feed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use migrations::{Conn, DbError};
use partner_sdk::document::{Filed, Kind, SignedBy};
use partner_sdk::jws::general::MAX_DOCUMENT_BYTES;
use partner_sdk::wire::{Event, MAX_EVENTS, MAX_WAIT_SECONDS};
use partner_sdk::{Code, PartnerId, Problem};
use serde::Serialize;

use super::failure::Failure;
use super::params::Params;
use super::request::{DOCUMENTS, State, caller, heard_step, on_database};
use crate::documents::{Done, Fault, agreements};
use crate::edge::shares;
use ledger::directory::{Directory, Numbered};
use ledger::timestamp;
use store::documents::{self, Document};
use store::events::{self, EVERYBODY};
use store::{current_directory, load_directory, parties};

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(problem) => Self(problem),
            Fault::Db(error) => error.into(),
        }
    }
}

/// A document as it is answered, with when it is in force by this directory.
pub fn filed(document: &Document, directory: &Directory) -> Filed {
    let (from, until) = in_force(directory, &document.hash).unzip();
    Filed {
        hash: document.hash.clone(),
        kind: document.kind.as_str().to_owned(),
        state: document.state,
        proposer: document.proposer.clone(),
        counterparty: document.counterparty.clone(),
        proposed_at: timestamp(document.proposed_at),
        signatures: document
            .signatures
            .iter()
            .map(|one| SignedBy {
                role: one.role.clone(),
                signer: one.signer.clone(),
                kid: one.signature.kid.to_string(),
                signed_at: timestamp(one.at),
            })
            .collect(),
        in_force_from: from,
        in_force_until: until.flatten(),
        document: document.general().to_json(),
    }
}

/// From when until when an agreement is in force, the start of the version after it counted.
fn in_force(directory: &Directory, hash: &str) -> Option<(Timestamp, Option<Timestamp>)> {
    let agreement = directory.agreement_named(hash)?;
    let versions = directory.versions(&ledger::directory::agreement_key(&agreement.item.terms));
    let later = versions.iter().map(|a| a.from).filter(|from| *from > agreement.from).min();
    let Numbered { from, until, .. } = **agreement;
    Some((from, [until, later].into_iter().flatten().min()))
}

/// Runs a step of a document for the caller, lets everybody know what changed, and answers as `show` does.
pub(super) async fn step<T: Serialize + Send + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
    show: fn(&mut Conn, &Document, &Directory) -> Result<T, DbError>,
    step: impl FnOnce(&mut Conn, Timestamp, &PartnerId, &str) -> Done<Document> + Send + 'static,
) -> Result<HttpResponse, Failure> {
    let (partner, _, text) = heard_step(request, payload, state, MAX_DOCUMENT_BYTES + 1, DOCUMENTS).await?;
    let now = state.clock.now();
    let (shown, directory, newest) = on_database(state, move |conn| {
        let document = step(conn, now, &partner, text.trim_end())?;
        conn.snapshot(|conn| {
            let directory = Arc::new(load_directory(conn)?);
            Ok((show(conn, &document, &directory)?, directory, events::newest(conn)?))
        })
    })
    .await?;
    state.reference.put(&directory);
    state.news.send_replace(newest);
    Ok(HttpResponse::Ok().json(shown))
}

/// The same about the document that a path names.
pub(super) async fn step_about<T: Serialize + Send + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
    hash: web::Path<String>,
    show: fn(&mut Conn, &Document, &Directory) -> Result<T, DbError>,
    about: fn(&mut Conn, Timestamp, &PartnerId, &str, &str) -> Done<Document>,
) -> Result<HttpResponse, Failure> {
    let hash = named(hash)?;
    step(request, payload, state, show, move |conn, now, caller, text| {
        about(conn, now, caller, &hash, text)
    })
    .await
}

fn agreed(_: &mut Conn, document: &Document, directory: &Directory) -> Result<Filed, DbError> {
    Ok(filed(document, directory))
}

/// A document's name in a path: what isn't one names nothing, and goes no further.
pub(super) fn named(hash: web::Path<String>) -> Result<String, Failure> {
    let hash = hash.into_inner();
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match hash.len() == 64 && hash.bytes().all(digit) {
        true => Ok(hash),
        false => Err(Failure::new(Code::NotFound)),
    }
}

/// `POST /v1/agreements`: either party proposes.
pub async fn propose(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    step(&request, payload, &state, agreed, agreements::propose).await
}

/// `POST /v1/agreements/{hash}/signatures`: the other party signs.
pub async fn sign(
    request: HttpRequest,
    payload: web::Payload,
    hash: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Failure> {
    step_about(&request, payload, &state, hash, agreed, agreements::sign).await
}

/// `POST /v1/agreements/{hash}/acts`: a party withdraws, declines or terminates.
pub async fn act(
    request: HttpRequest,
    payload: web::Payload,
    hash: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Failure> {
    step_about(&request, payload, &state, hash, agreed, agreements::act).await
}

/// `GET /v1/agreements/{hash}`: the parties.
pub async fn fetch(request: HttpRequest, hash: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, known) = caller(&request, &state)?;
    Params::none(&request)?;
    let hash = named(hash)?;
    let (document, directory) = on_database(&state, move |conn| {
        conn.snapshot(|conn| Ok((agreements::fetch(conn, &partner, &hash)?, current_directory(conn, &known)?)))
    })
    .await?;
    Ok(HttpResponse::Ok().json(filed(&document, &directory)))
}

/// `GET /v1/agreements`: the caller's own, newest first, a page of them; with `after`, those that come after that one; with `as_of`, those in force at that instant.
pub async fn list(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, known) = caller(&request, &state)?;
    let params = Params::new(&request, &["after", "as_of"])?;
    let (after, as_of) = (params.text("after").map(str::to_owned), params.instant("as_of")?);
    if after.is_some() && as_of.is_some() {
        let why = "`after` leafs through all of one's agreements, `as_of` tells those in force at an instant: one or the other";
        return Err(Problem::new(Code::BadRequest, why).at(Some("after")).into());
    }
    let (all, directory) = on_database(&state, move |conn| {
        conn.snapshot(|conn| {
            let directory = current_directory(conn, &known)?;
            let all = match as_of {
                None => {
                    let after = after.map(|hash| agreements::fetch(conn, &partner, &hash)).transpose()?;
                    documents::list(conn, Kind::Agreement, partner.as_str(), after.as_ref())?
                }
                // However many were proposed since, those in force are found.
                Some(at) => {
                    let begun = |hash: &str| {
                        in_force(&directory, hash).is_some_and(|(from, until)| from <= at && until.is_none_or(|until| at < until))
                    };
                    let own = |terms| parties(&directory, terms).is_some_and(|(a, b)| [a, b].contains(&&partner));
                    let hashes = directory
                        .agreements()
                        .filter(|a| own(&a.item.terms) && begun(&a.item.hash))
                        .map(|a| a.item.hash.clone())
                        .collect();
                    documents::with_hashes(conn, hashes)?
                }
            };
            Ok((all, directory))
        })
    })
    .await?;
    let answer: Vec<Filed> = all.iter().map(|document| filed(document, &directory)).collect();
    Ok(HttpResponse::Ok().json(answer))
}

/// `GET /v1/events`: what concerns the caller, in order, one signed entry a line. With `wait`, the answer comes as soon as there is something.
pub async fn events(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    caller(&request, &state)?;
    let params = Params::new(&request, &["after", "limit", "wait"])?;
    let after = params.number("after", 0..=i64::MAX, 0)?;
    let limit = params.number("limit", 1..=i64::try_from(MAX_EVENTS).unwrap_or(250), 100)?;
    let wait = params.number("wait", 0..=i64::from(MAX_WAIT_SECONDS), 0)?;
    let until = Instant::now() + Duration::from_secs(wait.unsigned_abs());
    let mut news = state.news.subscribe();
    loop {
        // Looked up anew each time: who was let go meanwhile hears nothing more.
        let (partner, _) = caller(&request, &state)?;
        news.borrow_and_update();
        let found = on_database(&state, move |conn| {
            Ok(events::after(conn, &[partner.as_str(), EVERYBODY], after, limit)?)
        })
        .await?;
        let left = until.saturating_duration_since(Instant::now());
        if !found.is_empty() || left.is_zero() || state.ledger.is_draining() {
            let lines: String = found.into_iter().map(|event| wire(event).sign(&state.key) + "\n").collect();
            return Ok(HttpResponse::Ok().content_type("application/x-ndjson").body(lines));
        }
        shares::read();
        // Whether there were news or the time is over, the next look says what there is.
        let _ = tokio::time::timeout(left, news.changed()).await;
    }
}

fn wire(event: events::Event) -> Event {
    Event {
        no: event.no,
        at: timestamp(event.at),
        recipient: event.recipient,
        kind: event.kind,
        subject: event.subject,
        facts: event.facts,
    }
}
