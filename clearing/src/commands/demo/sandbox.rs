//! A clearinghouse for trying things out: the real service in this process, a throwaway PKI, and a client for every partner. The demo, the bench and the
//! tests stand on it.

use partner_sdk::Trust;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::{Conn, Url};
use partner_sdk::client::{Client, Identity};
use partner_sdk::jws::{SigningKey, VerifyingKey};
use partner_sdk::{KeyId, PartnerId};

use crate::clock::Clock;
use crate::night::Night;
use crate::office::config::Config;
use crate::office::install::{self, Setup};
use crate::office::pki;
use crate::server::{self, Running};
use ledger::network::Network;
use ledger::timestamp;
use store::{self, admin, keys};

/// A partner with its keys and its connection.
#[derive(Clone)]
pub struct Party {
    /// Its id.
    pub id: PartnerId,
    /// The key that signs its messages.
    pub key: SigningKey,
    /// What it shows on connecting.
    pub identity: Identity,
}

/// A folder with a configuration, a CA and a partner's keys in `partners/`; made at the first opening, found again at the next.
pub struct Sandbox {
    /// The folder.
    pub folder: PathBuf,
    /// The configuration.
    pub config: Config,
    /// The clock; set it to let time pass.
    pub clock: Clock,
    /// All partners of the network.
    pub parties: BTreeMap<PartnerId, Party>,
    /// The clearinghouse's public keys, as partners hold them.
    pub trust: Trust,
    night: Night,
    running: Option<Running>,
}

impl Sandbox {
    /// Makes or finds the clearinghouse in `folder`, applies the network and enrols its partners. The service doesn't run yet.
    pub fn open(folder: &Path, database: &str, network: &Network, clock: Clock) -> anyhow::Result<Self> {
        let file = folder.join(install::CONFIG);
        if !file.exists() {
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            install::init(&Setup {
                folder: folder.to_owned(),
                names,
                database: database.to_owned(),
                sandbox: clock.is_sandbox(),
            })?;
        }
        let mut config = Config::load(&file)?;
        (config.listen, config.enrol_listen, config.health_listen) = ("127.0.0.1:0".into(), "127.0.0.1:0".into(), String::new());
        // It is driven as fast as it goes.
        config.limits = config.limits.without_rates();
        let mut conn = Conn::open(&Url::new(config.database.as_str())).context("the sandbox's database")?;
        admin::init(&mut conn, clock.is_sandbox(), clock.now())?;
        admin::apply_network(&mut conn, network, clock.now())?;
        let mut parties = BTreeMap::new();
        for entry in &network.partners {
            parties.insert(entry.id.clone(), enrol(folder, &config, &mut conn, &entry.id, clock.now())?);
        }
        let public = std::fs::read_to_string(folder.join(install::OPERATOR_PUBLIC)).context(install::OPERATOR_PUBLIC)?;
        let log = std::fs::read_to_string(folder.join(install::LOG_PUBLIC)).context(install::LOG_PUBLIC)?;
        let night = Night::new(config.statements.clone());
        Ok(Self {
            folder: folder.to_owned(),
            config,
            clock,
            parties,
            trust: Trust::new(VerifyingKey::from_base64url(&public)?, &log)?,
            night,
            running: None,
        })
    }

    /// Writes statements there instead.
    pub fn statements_in(&mut self, folder: &Path) {
        self.config.statements = folder.to_owned();
        self.night.out = folder.to_owned();
    }

    /// Lets time pass up to an instant; where a run before this one has come further, up to there: time never runs back.
    pub fn pass(&self, to: Timestamp) -> anyhow::Result<()> {
        let last = timestamp(store::last_at(&mut self.database()?)?);
        self.clock.set(to.max(last));
        Ok(())
    }

    /// Starts the service on a free port. On a sandbox clock nothing closes by itself: see [`Sandbox::close_due`].
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.running = Some(server::start(&self.config, self.clock.clone(), !self.clock.is_sandbox())?);
        Ok(())
    }

    /// Stops the service gracefully, if it runs.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }

    /// Where the service listens; an error if it doesn't run.
    pub fn base(&self) -> anyhow::Result<String> {
        let running = self.running.as_ref().context("the service doesn't run")?;
        Ok(format!("https://localhost:{}", running.address.port()))
    }

    /// Where partners enrol; an error if the service doesn't run.
    pub fn enrolment(&self) -> anyhow::Result<String> {
        let enrol = self.running.as_ref().and_then(|running| running.enrol);
        Ok(format!("https://localhost:{}", enrol.context("the service doesn't run")?.port()))
    }

    /// The plain health check; an error if there is none.
    pub fn health(&self) -> anyhow::Result<String> {
        let health = self.running.as_ref().and_then(|running| running.health);
        Ok(format!("http://localhost:{}", health.context("there is none")?.port()))
    }

    /// A connection of one partner's own.
    pub fn client(&self, id: &PartnerId) -> anyhow::Result<Client> {
        let party = self.parties.get(id).with_context(|| format!("there is no partner {id}"))?;
        Ok(Client::new(&self.base()?, &party.identity, self.trust.clone())?)
    }

    /// A connection of the sandbox's own to its database.
    pub fn database(&self) -> anyhow::Result<Conn> {
        Ok(Conn::open(&Url::new(self.config.database.as_str()))?)
    }

    /// Does what the night does, for every window whose time is over on the sandbox's clock; returns the windows that were settled into statements.
    pub fn close_due(&self) -> anyhow::Result<Vec<Date>> {
        let mut conn = self.database()?;
        let directory = Arc::new(store::load_directory(&mut conn)?);
        self.night.run(&mut conn, &directory, &self.clock)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A partner's keys from the folder, or new ones; either way registered.
fn enrol(folder: &Path, config: &Config, conn: &mut Conn, id: &PartnerId, now: Timestamp) -> anyhow::Result<Party> {
    let own = folder.join("partners").join(id.as_str());
    let file = |name: &str| own.join(name);
    let read = |name: &str| std::fs::read_to_string(file(name)).with_context(|| format!("cannot read {}", file(name).display()));
    let kid = KeyId::new(format!("{id}-1"))?;
    // The certificate is written last: where it is, everything is.
    if !file("tls.pem").exists() {
        std::fs::create_dir_all(&own)?;
        ["tls.key", "signing.key"]
            .iter()
            .for_each(|name| drop(std::fs::remove_file(file(name))));
        let (csr, tls_key) = pki::new_request(id)?;
        let key = pki::random_key(kid.clone())?;
        pki::write_secret(&file("tls.key"), &tls_key)?;
        pki::write_secret(&file("signing.key"), &key.secret_base64url())?;
        let certificate = pki::sign_request(&install::client_ca(&config.tls)?, &csr, id, Timestamp::now())?;
        std::fs::write(file("tls.pem"), certificate)?;
    }
    let key = SigningKey::from_base64url(kid.clone(), &read("signing.key")?)?;
    let identity = Identity {
        ca_pem: std::fs::read_to_string(&config.tls.server_ca)?,
        cert_pem: read("tls.pem")?,
        key_pem: read("tls.key")?,
    };
    let spki = install::spki_of_pem(&identity.cert_pem)?;
    keys::register(conn, id, spki, &kid, &key.verifying_key(), now)?;
    Ok(Party {
        id: id.clone(),
        key,
        identity,
    })
}
