//! The log as every partner reads it: its signed head, its tiles, and the entries of which the caller is a party.

use std::collections::BTreeSet;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use partner_sdk::Code;
use partner_sdk::log::tile::Tile;

use super::failure::Failure;
use super::params::Params;
use super::request::{State, caller, on_database};

/// The most entries that one request looks at, and so the most that it gives.
const MAX_ENTRIES: i64 = 1000;

/// `GET /v1/log/checkpoint`: the head as it is now, signed, as C2SP tlog-checkpoint writes it.
pub async fn checkpoint(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    caller(&request, &state)?;
    Params::none(&request)?;
    let tree = on_database(&state, |conn| Ok(conn.snapshot(|conn| store::tree(conn, None, []))?)).await?;
    let signed = state.signer.checkpoint(tree.size(), tree.root());
    let signed = signed.map_err(|_| Failure::new(Code::Internal))?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(signed))
}

/// `GET /v1/log/tile/{level}/{index}`, with `.p/{width}` for one that isn't whole: its hashes, as C2SP tlog-tiles has them. What a tile of a name holds never
/// changes.
pub async fn tile(request: HttpRequest, path: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    caller(&request, &state)?;
    Params::none(&request)?;
    let none = || Failure::new(Code::NotFound);
    let tile: Tile = format!("tile/{path}").parse().map_err(|_| none())?;
    let found = on_database(&state, move |conn| Ok(store::tiles(conn, &BTreeSet::from([tile]))?)).await?;
    let hashes = found
        .get(&tile)
        .filter(|hashes| hashes.len() == usize::from(tile.width()))
        .ok_or_else(none)?;
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((CACHE_CONTROL, "private, max-age=31536000, immutable"))
        .body(bytes))
}

/// `GET /v1/log/entries`: of the next numbers after `after`, the entries of which the caller is a party, one a line; the last line says where to go on.
pub async fn entries(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory) = caller(&request, &state)?;
    let params = Params::new(&request, &["after", "limit"])?;
    let after = params.number("after", 0..=i64::MAX, 0)?;
    let limit = params.number("limit", 1..=MAX_ENTRIES, MAX_ENTRIES)?;
    let issued = directory.programmes.values().filter(|p| p.terms.issuer == partner);
    let issued: Vec<String> = issued.map(|p| p.terms.code.to_string()).collect();
    let (entries, next) = on_database(&state, move |conn| {
        Ok(conn.snapshot(|conn| store::entries_of(conn, partner.as_str(), &issued, after, limit))?)
    })
    .await?;
    let mut lines: String = entries.into_iter().map(|entry| entry + "\n").collect();
    lines.push_str(&format!("{{\"next\":\"{next}\"}}\n"));
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").body(lines))
}
