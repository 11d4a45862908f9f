//! A line for each request.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use partner_sdk::Code;

use super::failure::Failure;
use super::request::State;
use crate::edge::failures::Refusals;
use crate::edge::tls::Peer;

/// Logs each request at debug level: method, pattern, partner, status, microseconds.
pub fn log<S, B>(request: ServiceRequest, service: &S) -> impl Future<Output = Result<ServiceResponse<B>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let started = std::time::Instant::now();
    let call = service.call(request);
    async move {
        let response = call.await?;
        count(&response);
        count_look(&response);
        if tracing::enabled!(tracing::Level::DEBUG) {
            let request = response.request();
            let state = request.app_data::<actix_web::web::Data<State>>();
            let partner = request
                .conn_data::<Peer>()
                .and_then(|peer| state?.reference.get().keys.partner_of(&peer.spki).cloned());
            tracing::debug!(
                method = %request.method(),
                address = request.match_pattern().as_deref().unwrap_or("(none)"),
                partner = partner.as_ref().map_or("(unknown)", |p| p.as_str()),
                status = response.status().as_u16(),
                micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
                "request"
            );
        }
        Ok(response)
    }
}

/// Counts what the answer refused because somebody isn't who it has to be.
fn count<B>(response: &ServiceResponse<B>) {
    let extensions = response.response().extensions();
    let refusals = extensions.get::<Refusals>().filter(|refusals| !refusals.0.is_empty());
    let request = response.request();
    if let Some((refusals, state)) = refusals.zip(request.app_data::<actix_web::web::Data<State>>()) {
        let directory = state.reference.get();
        // Whose the key is or was.
        let key = request.conn_data::<Peer>().and_then(|peer| directory.keys.tls(&peer.spki));
        let address = request.peer_addr().map(|address| address.ip());
        state.failures.note(key.map(|key| &key.partner), address, refusals);
    }
}

/// Counts what the answer didn't show a partner, because it isn't there or isn't its own.
fn count_look<B>(response: &ServiceResponse<B>) {
    let refused = response.response().error().and_then(|error| error.as_error::<Failure>());
    let code = refused.map(|failure| failure.0.code);
    let Some(code) = code.filter(|code| matches!(code, Code::NotFound | Code::Forbidden)) else {
        return;
    };
    let request = response.request();
    if let (Some(state), Some(peer)) = (request.app_data::<actix_web::web::Data<State>>(), request.conn_data::<Peer>())
        && let Some(partner) = state.reference.get().keys.partner_of(&peer.spki)
    {
        // Where there is no address the method can be any word, and isn't told apart.
        let address = request.match_pattern().map(|pattern| format!("{} {pattern}", request.method()));
        state.failures.looked(partner, address.unwrap_or_else(|| "(none)".to_owned()), code);
    }
}
