//! The listeners: for partners, for those who enrol, and the plain health check. All speak HTTP/1.1 alone.
//!
//! | phase | file | bounded by |
//! |---|---|---|
//! | a socket is taken | `door`, [`crate::edge::shares`] | its address's connections a second; a place in the listener's room, for which one of those that crowd it may have to give way |
//! | handshake | `door` | 3 s |
//! | whose it is | `door`, [`crate::edge::shares`] | the partner's connections, and all partners'; where no partner is known, the address's, and it stays in the room |
//! | a head | `stream`, `head` | 16 KiB, 64 headers, 5 s from its first byte, one at a time, the names of the service; until it is whole, the connection may have to make room |
//! | a request | [`crate::edge::http::gate`] | the partner's requests, at once and a second |
//! | a body | [`crate::edge::http`] | 4 MiB, 15 s, the partner's memory |
//! | an answer | `stream`, [`crate::edge::http`] | 30 s; the partner's memory for answers, its turns at the database |
//! | nothing | `stream` | 75 s; 5 s where no partner is known |

pub mod door;
mod head;
mod stream;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, web};
use anyhow::Context;
use partner_sdk::PartnerId;

use crate::edge::http::{self, State, gate};
use crate::edge::shares::Link;
use crate::office::config::Config;
use door::Door;
use ledger::directory::Status;

/// How long a partner's connection may be idle.
const IDLE: Duration = Duration::from_secs(75);
/// How long another's.
const SHORTLY: Duration = Duration::from_secs(5);
/// How often connections are looked at whose keys may have been revoked.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How many connections to the database a listener has that takes whoever comes.
const CONNECTIONS: usize = 2;
/// Files that stay free for the database, the statements and all else, however many connections there are.
const OTHER_FILES: usize = 128;

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
                // Whoever has no certificate must not use up what partners share, nor their connections to the database.
                let apart = || State {
                    pool: state.pool.apart(CONNECTIONS),
                    shares: state.shares.apart(most_waiting()),
                    ..state.clone()
                };
                let door = |state: &State, tls, idle| Door {
                    shares: state.shares.clone(),
                    reference: state.reference.clone(),
                    failures: state.failures.clone(),
                    tls,
                    idle,
                };
                let live = state.tls.clone();
                let mut servers = vec![];
                {
                    let door = door(&state, Some((Arc::new(mutual), live.clone())), IDLE);
                    servers.push(partners(self.partners, door, state.clone())?);
                }
                if let Some(listener) = self.enrol {
                    let state = apart();
                    servers.push(visitors(
                        listener,
                        door(&state, Some((Arc::new(open), live)), SHORTLY),
                        state,
                        http::ENROLMENT_ROUTES,
                    )?);
                }
                if let Some(listener) = self.health {
                    let state = apart();
                    servers.push(visitors(listener, door(&state, None, SHORTLY), state, http::HEALTH_ROUTES)?);
                }
                actix_web::rt::spawn(sweep(state));
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

fn partners(listener: TcpListener, door: Door, state: State) -> std::io::Result<Server> {
    let data = web::Data::new(state);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    door::serve(listener, door, workers, move || {
        App::new()
            .app_data(data.clone())
            .wrap_fn(http::log::log)
            .wrap_fn(gate::gate)
            .configure(http::serve(http::ROUTES))
    })
}

fn visitors(listener: TcpListener, door: Door, state: State, routes: &'static [http::Route]) -> std::io::Result<Server> {
    let data = web::Data::new(state);
    door::serve(listener, door, 1, move || {
        App::new()
            .app_data(data.clone())
            .wrap_fn(http::log::log)
            .wrap_fn(gate::gate)
            .configure(http::serve(routes))
    })
}

/// Ends idle connections with keys that were revoked, or of partners that have gone.
async fn sweep(state: State) {
    loop {
        actix_web::rt::time::sleep(SWEEP_EVERY).await;
        let directory = state.reference.get();
        state.shares.sweep(|partner: &PartnerId, link: &Link| {
            let Some(peer) = &link.peer else { return false };
            let key = directory.keys.tls(&peer.spki).filter(|key| key.revoked_at.is_none());
            let is_partner = directory.partners.get(partner).is_some_and(|p| p.status != Status::Gone);
            key.is_some_and(|key| key.partner == *partner) && is_partner && peer.is_good(&state.tls)
        });
    }
}

/// How many connections of partners there can be in all.
pub fn most_connections() -> usize {
    open_files().saturating_sub(OTHER_FILES + 3 * most_waiting()).clamp(64, 50_000)
}

/// How many connections there can be at each of the three listeners that are no partner's, or not yet. More of them is more time to say something, where somebody
/// crowds others out.
pub fn most_waiting() -> usize {
    (open_files() / 8).clamp(16, 512)
}

/// How many files this process may have open; a careful guess where the system doesn't say.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024)
}
