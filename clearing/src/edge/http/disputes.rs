//! Disputes over the wire: a partner's own, and those of what it is owed.

use actix_web::{HttpRequest, HttpResponse, web};
use migrations::{Conn, DbError};
use partner_sdk::dispute::{Adjustment, Dispute};
use partner_sdk::document::Kind;

use super::documents::{filed, named, step, step_about};
use super::failure::Failure;
use super::params::Params;
use super::request::{State, caller, on_database};
use crate::documents::disputes;
use ledger::directory::Directory;
use ledger::timestamp;
use store::current_directory;
use store::disputes::Disputed;
use store::documents::{self, Document};

fn shown(conn: &mut Conn, document: &Document, directory: &Directory) -> Result<Dispute, DbError> {
    let row = store::disputes::find(conn, &document.hash)?;
    dispute(document, directory, row)
}

fn dispute(document: &Document, directory: &Directory, row: Option<Disputed>) -> Result<Dispute, DbError> {
    let row = row.ok_or_else(|| DbError::Corrupt("a dispute's row".into()))?;
    let posted = row.upheld.and_then(|upheld| row.outcome(upheld)).zip(row.adjusted_in);
    let adjustment = posted.map(|((debtor, creditor, amount), window)| Adjustment {
        debtor: debtor.clone(),
        creditor: creditor.clone(),
        currency: row.currency,
        amount: amount.display(row.currency),
        window,
    });
    Ok(Dispute {
        filed: filed(document, directory),
        answer_by: timestamp(row.answer_by),
        carved_out: row.run.is_some(),
        upheld: row.upheld.map(|upheld| upheld.display(row.currency)),
        adjustment,
    })
}

/// `POST /v1/disputes`: a partner disputes what it owes by a line of its statement.
pub async fn propose(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    step(&request, payload, &state, shown, disputes::propose).await
}

/// `POST /v1/disputes/{hash}/signatures`: the other party concedes.
pub async fn sign(
    request: HttpRequest,
    payload: web::Payload,
    hash: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Failure> {
    step_about(&request, payload, &state, hash, shown, disputes::sign).await
}

/// `POST /v1/disputes/{hash}/acts`: whoever disputes withdraws, or the other party contests.
pub async fn act(
    request: HttpRequest,
    payload: web::Payload,
    hash: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Failure> {
    step_about(&request, payload, &state, hash, shown, disputes::act).await
}

/// `GET /v1/disputes/{hash}`: the parties.
pub async fn fetch(request: HttpRequest, hash: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, known) = caller(&request, &state)?;
    Params::none(&request)?;
    let hash = named(hash)?;
    let found = on_database(&state, move |conn| {
        conn.snapshot(|conn| {
            let document = disputes::fetch(conn, &partner, &hash)?;
            let directory = current_directory(conn, &known)?;
            Ok(shown(conn, &document, &directory)?)
        })
    })
    .await?;
    Ok(HttpResponse::Ok().json(found))
}

/// `GET /v1/disputes`: those that the caller is a party of, newest first, a page of them; with `after`, those that come after that one.
pub async fn list(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, known) = caller(&request, &state)?;
    let after = Params::new(&request, &["after"])?.text("after").map(str::to_owned);
    let found = on_database(&state, move |conn| {
        conn.snapshot(|conn| {
            let directory = current_directory(conn, &known)?;
            let after = after.map(|hash| disputes::fetch(conn, &partner, &hash)).transpose()?;
            let all = documents::list(conn, Kind::Dispute, partner.as_str(), after.as_ref())?;
            let hashes: Vec<&str> = all.iter().map(|document| document.hash.as_str()).collect();
            let mut rows = store::disputes::of(conn, &hashes)?;
            let mut of = |document: &Document| {
                let place = rows.iter().position(|row| row.hash == document.hash);
                place.map(|place| rows.swap_remove(place))
            };
            let shown = all.iter().map(|document| dispute(document, &directory, of(document)));
            Ok(shown.collect::<Result<Vec<Dispute>, DbError>>()?)
        })
    })
    .await?;
    Ok(HttpResponse::Ok().json(found))
}
