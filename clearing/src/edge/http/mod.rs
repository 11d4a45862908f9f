//! The edge: who calls, what with, and how errors look. Domain errors know no HTTP; they are mapped in `failure`.
//!
//! [`ROUTES`] lists every address of the partners' listener with who may call it, [`ENROLMENT_ROUTES`] and [`HEALTH_ROUTES`] those of the two others. The listeners
//! serve these lists and nothing else, and a test asks as a stranger at each of them. What an address takes and answers stands at its handler, and in PROTOCOL.md.

mod accounting;
mod accounts;
mod disputes;
pub mod documents;
mod exchanges;
mod failure;
pub mod gate;
mod keys;
pub mod log;
mod messages;
mod params;
mod payments;
mod posted;
mod prepaid;
mod queries;
mod rates;
mod reconciliations;
mod request;
mod statements;
mod tlog;
mod turns;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use partner_sdk::Code;

pub use accounts::Accounts;
use failure::Failure;
pub use failure::problem_text;
pub use request::State;
pub use turns::Turns;

/// Who may call an address, and about what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Any partner, about itself alone: nothing in the request names what others have.
    Own,
    /// Any partner, about what the request names in its path, query or body. Of what the partner is no party, the answer is as if it weren't there.
    Party,
    /// Any partner; all get the same answer.
    AnyPartner,
    /// Whoever reaches the listener, without a certificate.
    Public,
}

/// One method at one address.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The address, with names for what varies in it.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What answers.
    handler: fn() -> actix_web::Route,
}

const fn get(path: &'static str, access: Access, handler: fn() -> actix_web::Route) -> Route {
    Route {
        method: Method::GET,
        path,
        access,
        handler,
    }
}

const fn post(path: &'static str, access: Access, handler: fn() -> actix_web::Route) -> Route {
    Route {
        method: Method::POST,
        path,
        access,
        handler,
    }
}

/// The partners' listener. The routes of one address stand together, and the first address that fits is taken.
pub static ROUTES: &[Route] = &[
    get("/v1/messages", Access::Party, || web::to(posted::lines)),
    post("/v1/messages", Access::Party, || web::to(messages::single)),
    get("/v1/messages/csv", Access::Party, || web::to(posted::csv)),
    post("/v1/batches", Access::Party, || web::to(messages::batch)),
    post("/v1/signed-batches", Access::Party, || web::to(messages::signed_batch)),
    get("/v1/accounts/{programme}/{member}", Access::Party, || web::to(queries::account)),
    get("/v1/positions", Access::Own, || web::to(queries::positions)),
    get("/v1/prepaid", Access::Own, || web::to(prepaid::blocks)),
    get("/v1/agreements", Access::Party, || web::to(documents::list)),
    post("/v1/agreements", Access::Party, || web::to(documents::propose)),
    get("/v1/agreements/{hash}", Access::Party, || web::to(documents::fetch)),
    post("/v1/agreements/{hash}/signatures", Access::Party, || web::to(documents::sign)),
    post("/v1/agreements/{hash}/acts", Access::Party, || web::to(documents::act)),
    get("/v1/disputes", Access::Party, || web::to(disputes::list)),
    post("/v1/disputes", Access::Party, || web::to(disputes::propose)),
    get("/v1/disputes/{hash}", Access::Party, || web::to(disputes::fetch)),
    post("/v1/disputes/{hash}/signatures", Access::Party, || web::to(disputes::sign)),
    post("/v1/disputes/{hash}/acts", Access::Party, || web::to(disputes::act)),
    get("/v1/rates", Access::AnyPartner, || web::to(rates::in_force)),
    get("/v1/rates/{from}/{to}", Access::AnyPartner, || web::to(rates::history)),
    get("/v1/events", Access::Own, || web::to(documents::events)),
    get("/v1/log/checkpoint", Access::AnyPartner, || web::to(tlog::checkpoint)),
    get("/v1/log/tile/{tile:.*}", Access::AnyPartner, || web::to(tlog::tile)),
    get("/v1/log/entries", Access::Own, || web::to(tlog::entries)),
    get("/v1/exchanges", Access::Own, || web::to(exchanges::open)),
    get("/v1/exchanges/{sender}/{id}", Access::Party, || web::to(exchanges::fetch)),
    get("/v1/statements", Access::Own, || web::to(statements::list)),
    get("/v1/statements/{period}", Access::Own, || web::to(statements::json)),
    get("/v1/statements/{period}/revisions", Access::Own, || web::to(statements::revisions)),
    get("/v1/statements/{period}/{form}", Access::Own, || web::to(statements::export)),
    get("/v1/accounting/{programme}/{period}/{form}", Access::Party, || {
        web::to(accounting::data)
    }),
    get("/v1/payments", Access::Own, || web::to(payments::list)),
    get("/v1/reconciliations/mappings", Access::Own, || web::to(reconciliations::mappings)),
    post("/v1/reconciliations/mappings", Access::Own, || {
        web::to(reconciliations::keep_mapping)
    }),
    post("/v1/reconciliations/{window}", Access::Party, || {
        web::to(reconciliations::reconcile)
    }),
    get("/v1/reconciliations/{window}/resolved", Access::Own, || {
        web::to(reconciliations::resolved)
    }),
    post("/v1/reconciliations/{window}/resolved", Access::Own, || {
        web::to(reconciliations::resolve)
    }),
    get("/v1/keys", Access::Own, || web::to(keys::list)),
    post("/v1/keys", Access::Party, || web::to(keys::add)),
    post("/v1/certificates", Access::Party, || web::to(keys::certificate)),
    post("/v1/revocations", Access::Party, || web::to(keys::revoke)),
    get("/v1/health", Access::AnyPartner, || web::to(queries::partner_health)),
];

/// The enrolment listener: whoever has an invitation.
pub static ENROLMENT_ROUTES: &[Route] = &[post("/v1/enrolments", Access::Public, || web::to(keys::enrol))];

/// The plain listener.
pub static HEALTH_ROUTES: &[Route] = &[get("/health", Access::Public, || web::to(queries::health))];

/// Serves a list: another method of an address in it is answered as such, and any other address as not there.
pub fn serve(routes: &'static [Route]) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        for of_one_address in routes.chunk_by(|a, b| a.path == b.path) {
            let mut resource = web::resource(of_one_address[0].path).default_service(web::to(method_not_allowed));
            for route in of_one_address {
                resource = resource.route((route.handler)().method(route.method.clone()));
            }
            config.service(resource);
        }
        config.default_service(web::to(not_found));
    }
}

async fn not_found() -> Result<HttpResponse, Failure> {
    Err(Failure::new(Code::NotFound))
}

async fn method_not_allowed() -> Result<HttpResponse, Failure> {
    Err(Failure::new(Code::MethodNotAllowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routes_of_one_address_stand_together() {
        for routes in [ROUTES, ENROLMENT_ROUTES, HEALTH_ROUTES] {
            let addresses: Vec<&str> = routes.chunk_by(|a, b| a.path == b.path).map(|of_one| of_one[0].path).collect();
            for (place, address) in addresses.iter().enumerate() {
                assert!(!addresses[..place].contains(address), "the second {address} is never asked");
            }
        }
    }
}
