//! Puts the service together, starts it and stops it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use anyhow::{Context, ensure};
use migrations::Url;
use partner_sdk::KeyId;
use partner_sdk::jws::SigningKey;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;
use crate::http::{self, State};
use crate::keeper::Keeper;
use crate::night::Night;
use crate::store::{self, Pool, admin, events};
use crate::tls::Files;
use crate::writer::{self, Ledger, Reference};

/// A service that runs.
pub struct Running {
    /// Where partners connect.
    pub address: SocketAddr,
    /// Where the plain health check is, if there is one.
    pub health: Option<SocketAddr>,
    ledger: Ledger,
    busy: Arc<AtomicUsize>,
    news: watch::Sender<i64>,
    servers: Vec<ServerHandle>,
    http: JoinHandle<()>,
    writer: JoinHandle<()>,
    keepers: Vec<Keeper>,
}

/// How long requests under way may take to end when the service stops.
const SHUTDOWN_SECONDS: u64 = 20;

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Starts the service in this process. With `unattended`, windows close by themselves; without, whoever holds the clock closes them.
pub fn start(config: &Config, clock: Clock, unattended: bool) -> anyhow::Result<Running> {
    let url = Url::new(config.database.as_str());
    let mut conn = admin::open(&url)?;
    let sandbox = admin::is_sandbox(&mut conn)?;
    ensure!(
        sandbox == clock.is_sandbox(),
        "a clock that can be set serves only a database made as a sandbox, and such a database only such a clock"
    );
    let calendar = admin::calendar(&mut conn)?;
    settlement::open_first(&mut conn, &calendar, clock.now())?;
    let reference = Reference::new(Arc::new(store::load_directory(&mut conn)?));
    let kid = KeyId::new(&config.operator.kid).context("operator.kid")?;
    let key = SigningKey::from_base64url(kid, &read(&config.operator.key)?).context("operator.key")?;
    let (files, tls) = Files::open(&config.tls)?;
    let (ledger, writer) = writer::start(
        url.clone(),
        reference.clone(),
        clock.clone(),
        config.ledger.queue,
        config.ledger.group,
    )?;
    let busy = Arc::new(AtomicUsize::new(0));
    let news = watch::Sender::new(events::newest(&mut conn)?);
    let state = State {
        reference: reference.clone(),
        ledger: ledger.clone(),
        clock: clock.clone(),
        pool: Pool::new(url.clone()),
        key: Arc::new(key),
        tls: tls.clone(),
        busy: busy.clone(),
        news: news.clone(),
        bodies: Arc::default(),
    };
    let night = Night {
        calendar,
        out: config.statements.clone(),
    };
    let listener = TcpListener::bind(&config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
    let health = match config.health_listen.as_str() {
        "" => None,
        address => Some(TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?),
    };
    let (address, health_address) = (listener.local_addr()?, health.as_ref().map(TcpListener::local_addr).transpose()?);
    let (http, servers) = serve(listener, health, tls.mutual()?, state)?;
    let mut keepers = vec![Keeper::watch(url.clone(), conn, reference.clone(), files, tls, news.clone())?];
    if unattended {
        keepers.push(Keeper::night(url, reference, clock, night)?);
    }
    tracing::info!(%address, sandbox, "clearing is ready");
    Ok(Running {
        address,
        health: health_address,
        ledger,
        busy,
        news,
        servers,
        http,
        writer,
        keepers,
    })
}

/// How many files this process may have open; a careful guess where the system doesn't say. Some stay free for the database, the statements and the
/// health check, however many connections there are.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024)
}

/// Runs the listeners on a thread of their own.
fn serve(
    listener: TcpListener,
    health: Option<TcpListener>,
    tls: rustls::ServerConfig,
    state: State,
) -> anyhow::Result<(JoinHandle<()>, Vec<ServerHandle>)> {
    let (ready, handles) = std::sync::mpsc::channel();
    let run = move || -> std::io::Result<()> {
        actix_web::rt::System::new().block_on(async move {
            let data = web::Data::new(state);
            let workers = std::thread::available_parallelism().map_or(1, usize::from);
            let plain_data = data.clone();
            let server = HttpServer::new(move || App::new().app_data(data.clone()).wrap_fn(http::log::log).configure(http::routes))
                .on_connect(crate::tls::on_connect)
                .keep_alive(Duration::from_secs(75))
                .client_request_timeout(Duration::from_secs(5))
                .tls_handshake_timeout(Duration::from_secs(3))
                // Handshakes at once: a silent one costs a socket for 3 s, and must not keep others out.
                .max_connection_rate(8192)
                .workers(workers)
                .max_connections((open_files().saturating_sub(256) / workers).clamp(64, 25_000))
                .shutdown_timeout(1)
                .disable_signals()
                .listen_rustls_0_23(listener, tls)?
                .run();
            let mut all = vec![server.handle()];
            let plain = health.map(|listener| {
                let server = HttpServer::new(move || App::new().app_data(plain_data.clone()).configure(http::health_routes));
                let limits = server
                    .workers(1)
                    .max_connections(64)
                    .client_request_timeout(Duration::from_secs(5))
                    .shutdown_timeout(1)
                    .disable_signals();
                limits.listen(listener).map(HttpServer::run)
            });
            let plain = plain.transpose()?;
            all.extend(plain.as_ref().map(|server| server.handle()));
            // The starter waits for the handles; if it has gone, nobody needs the service.
            let _ = ready.send(all);
            match plain {
                Some(plain) => futures_util::future::try_join(server, plain).await.map(|_| ()),
                None => server.await,
            }
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

impl Running {
    /// Stops gracefully: new messages are refused as `shutting_down`, those that wait are posted and answered, then the listeners close.
    pub fn stop(self) {
        self.ledger.drain();
        // Who waits for news goes home with what there is.
        self.news.send_modify(|_| {});
        // An HTTP/2 connection has no graceful end of its own, so requests under way are waited for here, and idle connections aren't.
        let until = Instant::now() + Duration::from_secs(SHUTDOWN_SECONDS);
        while self.busy.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        for server in &self.servers {
            // The future resolves when the server has stopped; the thread below ends then.
            let stopping = server.stop(true);
            std::thread::spawn(move || futures_util::FutureExt::now_or_never(stopping));
        }
        self.keepers.into_iter().for_each(Keeper::stop);
        let joined = [self.http.join(), {
            drop(self.ledger);
            self.writer.join()
        }];
        if joined.iter().any(Result::is_err) {
            tracing::error!("a thread of the service had panicked");
        }
        tracing::info!("clearing has stopped");
    }
}
