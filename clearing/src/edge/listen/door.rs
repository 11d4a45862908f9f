//! From a socket to a connection that counts as somebody's: a place in the room, the handshake, the certificate, the partner's share, the first head.

use std::fmt::Debug;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::error::DispatchError;
use actix_http::{HttpService, Request, Response};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, boxed, fn_service, map_config};
use actix_web::Error;
use actix_web::dev::{AppConfig, Extensions, Server};
use actix_web::rt::net::TcpStream;
use partner_sdk::{Code, Problem};
use tokio_rustls::TlsAcceptor;

use super::stream::{Io, Seat, Stream};
use crate::edge::failures::Failures;
use crate::edge::shares::{Closed, Link, Shares, Visit};
use crate::edge::tls::{Live, Peer, refused};
use crate::posting::writer::Reference;
use ledger::directory::Status;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the end of a connection may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Who is let in by a listener, and how.
#[derive(Clone)]
pub struct Door {
    /// What is shared by whoever comes.
    pub shares: Shares,
    /// Which partners there are.
    pub reference: Reference,
    /// What TLS is made with; a listener without it takes everybody by any name.
    pub tls: Option<(Arc<rustls::ServerConfig>, Live)>,
    /// Who came with what doesn't count.
    pub failures: Failures,
    /// How long a connection may be idle.
    pub idle: Duration,
}

impl Door {
    /// Lets somebody in, or not.
    async fn open(&self, socket: TcpStream) -> Option<(Stream, Option<SocketAddr>)> {
        let address = socket.peer_addr().ok()?;
        let closed = |why: Closed| self.failures.closed(address.ip(), why.as_str());
        let visit = self.shares.knock(address.ip()).map_err(closed).ok()?;
        if let Some(other) = visit.instead_of {
            self.failures.closed(other, "made_room");
        }
        // Small answers would wait up to 40 ms for an acknowledgement; a socket that doesn't take the option is only slow.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY can't be set");
        }
        let io = match &self.tls {
            None => Io::Plain(socket),
            Some((config, _)) => {
                let accept = async {
                    // Until something comes there is nothing but the socket.
                    socket.readable().await?;
                    visit.guest.heard();
                    Box::pin(TlsAcceptor::from(config.clone()).accept(socket)).await
                };
                let (shaken, of) = tokio::select! {
                    biased;
                    () = visit.guest.gives_way() => return None,
                    shaken = refused::watch(tokio::time::timeout(HANDSHAKE_TIMEOUT, accept)) => shaken,
                };
                let failed = |error: std::io::Error| {
                    let directory = self.reference.get();
                    let named = of.and_then(|spki| directory.keys.partner_of(&spki));
                    if let Some(why) = refused::fault(&error) {
                        self.failures.handshake(named, address.ip(), why);
                    }
                };
                Io::Tls(Box::new(shaken.ok()?.map_err(failed).ok()?))
            }
        };
        let mut stream = self.seat(io, visit).await?;
        stream.first_head().await.then_some((stream, Some(address)))
    }

    /// Gives a connection its place; where its share has none, says so.
    async fn seat(&self, io: Io, visit: Visit) -> Option<Stream> {
        let peer = match &io {
            Io::Tls(tls) => tls.get_ref().1.peer_certificates().and_then(Peer::new),
            Io::Plain(_) => None,
        };
        let directory = self.reference.get();
        let key = peer.as_ref().and_then(|peer| directory.keys.tls(&peer.spki));
        let partner = key.filter(|key| key.revoked_at.is_none()).map(|key| &key.partner);
        let partner = partner.filter(|id| directory.partners.get(id).is_some_and(|p| p.status != Status::Gone));
        let share = self.shares.of(partner, &visit);
        let names = self.tls.as_ref().map(|(_, live)| live.clone());
        // A partner leaves the room.
        let place = partner.and_then(|_| self.shares.seat());
        let guest = Some(visit.guest).filter(|_| place.is_none());
        let link = match place.is_some() == partner.is_some() {
            true => share.links.add(peer),
            false => None,
        };
        let is_in = link.is_some();
        let seat = Seat {
            share,
            link: link.unwrap_or_else(Link::apart),
            known: partner.is_some(),
            _place: place,
            guest,
        };
        let stream = Stream::new(io, seat, names, self.idle);
        if is_in {
            return Some(stream);
        }
        let problem = Problem::new(Code::TooManyRequests, "all connections of this share are at work");
        stream.turn_away(&problem).await;
        None
    }
}

/// What handlers learn of a connection.
#[derive(Clone)]
pub struct Connection {
    /// What its requests are counted in.
    pub share: Arc<crate::edge::shares::Share>,
    /// To say when a request is answered.
    pub link: Arc<Link>,
    /// Whether a partner is known.
    pub known: bool,
}

fn on_connect(stream: &Stream, extensions: &mut Extensions) {
    let seat = stream.seat();
    extensions.insert(Connection {
        share: seat.share.clone(),
        link: seat.link.clone(),
        known: seat.known,
    });
    if let Some(peer) = &seat.link.peer {
        extensions.insert(peer.clone());
    }
}

/// Answers with `app` whoever comes through the door.
pub fn serve<F, I, S, B>(listener: TcpListener, door: Door, workers: usize, app: F) -> std::io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error>,
    S::InitError: Debug,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    let builder = Server::build().workers(workers).shutdown_timeout(1).disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let factory = move || {
        let stopping = stopping.clone();
        let app = app().into_factory().map_err(|error: S::Error| error.into().error_response());
        // Time-outs of reading are the stream's: the library sees nothing before a head is whole.
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(actix_http::KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(on_connect)
            .h1(map_config(app, |()| AppConfig::default()));
        let door = Rc::new(door.clone());
        let open = move |socket: TcpStream| {
            let door = door.clone();
            async move { door.open(socket).await.ok_or(DispatchError::DisconnectTimeout) }
        };
        // In a box, so that a connection takes the library's memory only once its first head is whole.
        fn_service(open).and_then(boxed::factory(http))
    };
    // Which connections there may be, the shares say: a worker that stopped accepting would keep everybody out.
    builder
        .max_concurrent_connections(usize::MAX / 2)
        .listen("clearing", listener, factory)
        .map(|builder| builder.run())
}
