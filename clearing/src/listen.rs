//! The listeners: for partners, for those who enrol, and the plain health check.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};
use anyhow::Context;

use crate::config::Config;
use crate::http::{self, State};
use crate::tls::on_connect;

/// How long the headers of a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How many connections to the database a listener has that takes whoever comes.
const CONNECTIONS: usize = 2;

/// Sockets that listen; nobody answers on them yet.
pub struct Listeners {
    partners: TcpListener,
    enrol: Option<TcpListener>,
    health: Option<TcpListener>,
}

/// Where they listen.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// For partners.
    pub partners: SocketAddr,
    /// For those who enrol, if there is one.
    pub enrol: Option<SocketAddr>,
    /// The plain health check, if there is one.
    pub health: Option<SocketAddr>,
}

impl Listeners {
    /// Takes the addresses of the configuration.
    pub fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = |address: &str| TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
        let unless_empty = |address: &str| (!address.is_empty()).then(|| bind(address)).transpose();
        Ok(Self {
            partners: bind(&config.listen)?,
            enrol: unless_empty(&config.enrol_listen)?,
            health: unless_empty(&config.health_listen)?,
        })
    }

    /// Where they listen; a port 0 of the configuration is a free one here.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            partners: self.partners.local_addr()?,
            enrol: self.enrol.as_ref().map(TcpListener::local_addr).transpose()?,
            health: self.health.as_ref().map(TcpListener::local_addr).transpose()?,
        })
    }

    /// Answers on all of them, on a thread of their own.
    pub fn serve(self, state: State) -> anyhow::Result<(JoinHandle<()>, Vec<ServerHandle>)> {
        let (mutual, open) = (state.tls.mutual()?, state.tls.open()?);
        let (ready, handles) = std::sync::mpsc::channel();
        let run = move || -> std::io::Result<()> {
            actix_web::rt::System::new().block_on(async move {
                // Whoever has no certificate must not use up the memory for partners' bodies, nor their connections to the database.
                let apart = || State {
                    bodies: Default::default(),
                    pool: state.pool.apart(CONNECTIONS),
                    ..state.clone()
                };
                let enrol = self.enrol.map(|listener| enrolment(listener, open, apart())).transpose()?;
                let health = self.health.map(|listener| plain(listener, apart())).transpose()?;
                let mut servers = vec![partners(self.partners, mutual, state)?];
                servers.extend(enrol.into_iter().chain(health));
                // The starter waits for the handles; if it has gone, nobody needs the service.
                let _ = ready.send(servers.iter().map(Server::handle).collect());
                futures_util::future::try_join_all(servers).await.map(drop)
            })
        };
        let body = move || {
            if let Err(error) = run() {
                tracing::error!(error = crate::telemetry::chain(&error), "the listener failed");
            }
        };
        let thread = std::thread::Builder::new().name("http".into()).spawn(body)?;
        let handles = handles.recv().context("the listener did not start; see the log")?;
        Ok((thread, handles))
    }
}

fn partners(listener: TcpListener, tls: rustls::ServerConfig, state: State) -> std::io::Result<Server> {
    let data = web::Data::new(state);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let server = HttpServer::new(move || App::new().app_data(data.clone()).wrap_fn(http::log::log).configure(http::routes))
        .on_connect(on_connect)
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(REQUEST_TIMEOUT)
        .tls_handshake_timeout(HANDSHAKE_TIMEOUT)
        // Handshakes at once: a silent one costs a socket for 3 s, and must not keep others out.
        .max_connection_rate(8192)
        .workers(workers)
        .max_connections((open_files().saturating_sub(256) / workers).clamp(64, 25_000))
        .shutdown_timeout(1)
        .disable_signals();
    server.listen_rustls_0_23(listener, tls).map(HttpServer::run)
}

fn enrolment(listener: TcpListener, tls: rustls::ServerConfig, state: State) -> std::io::Result<Server> {
    let data = web::Data::new(state);
    let app = move || {
        App::new()
            .app_data(data.clone())
            .wrap_fn(http::log::log)
            .configure(http::enrolment_routes)
    };
    let server = HttpServer::new(app)
        .on_connect(on_connect)
        .keep_alive(REQUEST_TIMEOUT)
        .client_request_timeout(REQUEST_TIMEOUT)
        .tls_handshake_timeout(HANDSHAKE_TIMEOUT)
        .workers(1)
        .max_connections(64)
        .shutdown_timeout(1)
        .disable_signals();
    server.listen_rustls_0_23(listener, tls).map(HttpServer::run)
}

fn plain(listener: TcpListener, state: State) -> std::io::Result<Server> {
    let data = web::Data::new(state);
    let server = HttpServer::new(move || App::new().app_data(data.clone()).configure(http::health_routes))
        .workers(1)
        .max_connections(64)
        .client_request_timeout(REQUEST_TIMEOUT)
        .shutdown_timeout(1)
        .disable_signals();
    server.listen(listener).map(HttpServer::run)
}

/// How many files this process may have open; a careful guess where the system doesn't say. Some stay free for the database, the statements, enrolments and
/// the health check, however many connections there are.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024)
}
