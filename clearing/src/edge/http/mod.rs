//! The edge: who calls, what with, and how errors look. Domain errors know no HTTP; they are mapped in `failure`.
//!
//! | address | who may call | answers |
//! |---|---|---|
//! | `POST /v1/messages` | the partner of the certificate | one receipt, or a problem |
//! | `POST /v1/batches` | the same | a line for each message |
//! | `POST /v1/signed-batches` | the same | a line for each message |
//! | `GET /v1/messages` and `/csv` | the parties of each message | messages, with what they put on the caller's statement |
//! | `GET /v1/accounts/{programme}/{member}` | issuer, a partner with an agreement in force, or one that has dealings with the member | the balance |
//! | `GET /v1/positions` | the partner of the certificate | what it owes and is owed now |
//! | `GET` and `POST /v1/agreements` | parties of the agreement | lists one's own, proposes one |
//! | `GET /v1/agreements/{hash}` | its parties | the document, with where it stands |
//! | `POST /v1/agreements/{hash}/signatures`, `.../acts` | its parties | signs; withdraws, declines, terminates |
//! | `GET /v1/rates` and `/v1/rates/{from}/{to}` | any partner | rates and bonuses in force, and their history |
//! | `GET /v1/events` | the partner of the certificate | what concerns it, in order |
//! | `GET /v1/exchanges` and `/v1/exchanges/{sender}/{id}` | the two parties of the exchange | those that wait for an issuer's answer |
//! | `GET /v1/statements`, `/v1/statements/{period}` and `/v1/statements/{period}/{form}` | the partner of the certificate | its own statements |
//! | `GET /v1/payments` | the partner of the certificate | its own payments, open and confirmed |
//! | `GET /v1/keys` | the partner of the certificate | its own keys |
//! | `POST /v1/keys`, `/v1/certificates`, `/v1/revocations` | the same, with a signature | its keys as they are then, or a certificate |
//! | `POST /v1/enrolments` on a listener of its own | whoever has an invitation | a certificate |
//! | `GET /v1/health` | any admitted partner | that the service lives |
//! | `GET /health` on the plain listener | anybody who reaches it | the same |

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
mod request;
mod statements;
mod tlog;

use actix_web::{HttpResponse, web};
use partner_sdk::Code;

use failure::Failure;
pub use failure::problem_text;
pub use request::State;

/// All addresses of the service.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(only("/v1/messages", web::post().to(messages::single)).route(web::get().to(posted::lines)))
        .service(only("/v1/messages/csv", web::get().to(posted::csv)))
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
        .service(only("/v1/statements", web::get().to(statements::list)))
        .service(only("/v1/statements/{period}", web::get().to(statements::json)))
        .service(only("/v1/statements/{period}/{form}", web::get().to(statements::export)))
        .service(only("/v1/payments", web::get().to(payments::list)))
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
