//! Puts the service together, starts it and stops it.

use crate::office::install;
use crate::posting::writer::Signer;
use partner_sdk::log::note::NoteKey;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use anyhow::{Context, ensure};
use migrations::Url;
use partner_sdk::KeyId;
use partner_sdk::jws::SigningKey;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::edge::failures::Failures;
use crate::edge::http::{Accounts, State};
use crate::edge::listen::{Listeners, most_connections, most_waiting};
use crate::edge::shares::Shares;
use crate::edge::tls::Files;
use crate::keeper::Keeper;
use crate::night::Night;
use crate::office::config::Config;
use crate::office::pki;
use crate::posting::writer::{self, Ledger, Reference};
use store::{self, Pool, admin, events};

/// A service that runs.
pub struct Running {
    /// Where partners connect.
    pub address: SocketAddr,
    /// Where partners enrol, if they can by themselves.
    pub enrol: Option<SocketAddr>,
    /// Where the plain health check is, if there is one.
    pub health: Option<SocketAddr>,
    ledger: Ledger,
    busy: Arc<AtomicUsize>,
    failures: Failures,
    news: watch::Sender<i64>,
    servers: Vec<ServerHandle>,
    http: JoinHandle<()>,
    writer: JoinHandle<()>,
    keepers: Vec<Keeper>,
}

/// How many connections to the database partners' requests have at once, posting aside: that has one of its own.
const CONNECTIONS: usize = 16;
/// How long requests under way may take to end when the service stops.
const SHUTDOWN_SECONDS: u64 = 20;

/// Starts the service in this process. With `unattended`, windows close by themselves; without, whoever holds the clock closes them.
pub fn start(config: &Config, clock: Clock, unattended: bool) -> anyhow::Result<Running> {
    let url = Url::new(config.database.as_str());
    let mut conn = config.open_database()?;
    let sandbox = store::is_sandbox(&mut conn)?;
    ensure!(
        sandbox == clock.is_sandbox(),
        "a clock that can be set serves only a database made as a sandbox, and such a database only such a clock"
    );
    admin::has_network(&mut conn)?;
    settlement::open_first(&mut conn, clock.now())?;
    let reference = Reference::new(Arc::new(store::load_directory(&mut conn)?));
    let kid = KeyId::new(&config.operator.kid).context("operator.kid")?;
    let key = SigningKey::from_base64url(kid, &pki::read_secret(&config.operator.key)?).context("operator.key")?;
    store::keys::own(&mut conn, key.kid(), &key.verifying_key(), None, clock.now())
        .context("operator.kid and operator.key have to be the clearinghouse's alone, and a new key needs a new kid")?;
    let log = SigningKey::from_base64url(KeyId::new("log")?, &pki::read_secret(&config.log.key)?).context("log.key")?;
    let public = NoteKey::new(&config.log.origin, log.verifying_key()).context("log.origin")?;
    install::own_log(&mut conn, &public, clock.now()).context("log.key has to be the log's alone")?;
    let signer = Arc::new(Signer {
        origin: config.log.origin.clone(),
        key: log,
    });
    let (files, tls) = Files::open(&config.tls)?;
    let news = watch::Sender::new(events::newest(&mut conn)?);
    let (ledger, writer) = writer::start(
        url.clone(),
        reference.clone(),
        clock.clone(),
        news.clone(),
        signer.clone(),
        (config.ledger.queue, config.limits.queue, config.ledger.group),
    )?;
    let (busy, failures) = (Arc::new(AtomicUsize::new(0)), Failures::default());
    let night = Night::new(config.statements.clone());
    let pool = Pool::new(url.clone(), CONNECTIONS);
    let state = State {
        reference: reference.clone(),
        ledger: ledger.clone(),
        clock: clock.clone(),
        accounts: Accounts::new(&pool),
        pool,
        key: Arc::new(key),
        signer,
        tls: tls.clone(),
        signing: Arc::new(config.tls.clone()),
        busy: busy.clone(),
        news: news.clone(),
        failures: failures.clone(),
        troubles: night.troubles.clone(),
        turns: Default::default(),
        shares: Shares::new(&config.limits, most_connections(), most_waiting()),
    };
    let listeners = Listeners::bind(config)?;
    let addresses = listeners.addresses()?;
    let (http, servers) = listeners.serve(state)?;
    let mut keepers = vec![
        Keeper::watch(url.clone(), conn, reference.clone(), files, tls, news.clone())?,
        Keeper::exchanges(url.clone(), reference.clone(), clock.clone(), news.clone())?,
        Keeper::failures(failures.clone())?,
    ];
    if unattended {
        keepers.push(Keeper::night(url, reference, clock, night)?);
    }
    tracing::info!(address = %addresses.partners, sandbox, "clearing is ready");
    Ok(Running {
        address: addresses.partners,
        enrol: addresses.enrol,
        health: addresses.health,
        ledger,
        busy,
        failures,
        news,
        servers,
        http,
        writer,
        keepers,
    })
}

impl Running {
    /// Stops gracefully: new messages are refused as `shutting_down`, those that wait are posted and answered, then the listeners close.
    pub fn stop(self) {
        self.ledger.drain();
        // Who waits for news goes home with what there is.
        self.news.send_modify(|_| {});
        // Requests under way are waited for here, and idle connections aren't.
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
        self.failures.end();
        tracing::info!("clearing has stopped");
    }
}
