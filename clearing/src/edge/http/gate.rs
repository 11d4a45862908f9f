//! What goes for every request: its place in its partner's share, and what every answer says.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::{Error, web};
use bytes::Bytes;

use super::failure::{Failure, too_many};
use super::request::State;
use crate::edge::listen::door::Connection;
use crate::edge::shares::{Link, Place, Work};

/// How long a refusal takes, where somebody asks more often than it may: who doesn't wait by itself waits here.
const SLOWER: Duration = Duration::from_millis(250);

/// A request under way; counted until its answer was sent, or given up.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a request holds until the end of its answer.
struct UnderWay {
    _busy: Option<Busy>,
    place: Option<Place>,
    work: Option<Rc<Work>>,
    link: Option<Arc<Link>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.place = None;
        self.work = None;
        // Last: the next request may come now.
        if let Some(link) = &self.link {
            link.end();
        }
    }
}

/// An answer's body; when it has been sent, the request is over.
pub struct Sending<B> {
    body: B,
    _until: UnderWay,
}

impl<B: MessageBody + Unpin> MessageBody for Sending<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}

/// Takes a place in the share of whoever calls, and sees to what every answer says.
pub fn gate<S>(request: ServiceRequest, service: &S) -> impl Future<Output = Result<ServiceResponse<Sending<BoxBody>>, Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    let state = request.app_data::<web::Data<State>>().cloned();
    let connection = request.conn_data::<Connection>().cloned();
    let mut under_way = UnderWay {
        _busy: state.as_ref().map(|state| Busy::new(&state.busy)),
        place: None,
        work: None,
        link: connection.as_ref().map(|connection| connection.link.clone()),
    };
    let place = connection.as_ref().map(|connection| connection.share.request()).transpose();
    // A service is called in the order of the requests, so it is called here; it does nothing before it is polled.
    let call = match &place {
        Ok(_) => Ok(service.call(request)),
        Err(_) => Err(request),
    };
    let work = state
        .zip(connection.as_ref())
        .map(|(state, connection)| Work::new(&connection.share, &state.shares));
    async move {
        let response = match (call, place) {
            (Ok(call), place) => {
                under_way.place = place.ok().flatten();
                under_way.work = work.clone();
                match work {
                    Some(work) => work.on(call).await?,
                    None => call.await?,
                }
            }
            (Err(request), place) => {
                actix_web::rt::time::sleep(SLOWER).await;
                let failure = too_many(place.err().unwrap_or_default(), "requests");
                request.error_response(failure)
            }
        };
        let known = connection.is_none_or(|connection| connection.known);
        Ok(finish(response, known, under_way))
    }
}

fn finish(mut response: ServiceResponse<BoxBody>, known: bool, under_way: UnderWay) -> ServiceResponse<Sending<BoxBody>> {
    let failure = response.response().error().and_then(|error| error.as_error::<Failure>());
    let refused = failure.is_some_and(|failure| failure.closes());
    let response_mut = response.response_mut();
    let headers = response_mut.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if refused || !known {
        response_mut.head_mut().set_connection_type(actix_http::ConnectionType::Close);
    }
    response.map_body(|_, body| Sending { body, _until: under_way })
}
