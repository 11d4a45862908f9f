//! A new clearinghouse in a folder, and partners' enrolment in it.

use partner_sdk::jws::to_hex;
use partner_sdk::log::note::NoteKey;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use migrations::{Conn, Url};
use partner_sdk::jws::VerifyingKey;
use partner_sdk::wire::keys::Spki;
use partner_sdk::{KeyId, PartnerId};

use crate::office::config::{Config, Tls};
use crate::office::pki::{self, Issued};
use store::{admin, keys};

/// The name of the configuration in its folder.
pub const CONFIG: &str = "clearing.toml";
/// The public half of the operator's key, for partners.
pub const OPERATOR_PUBLIC: &str = "operator.pub";

/// The public half of the log's key, for partners.
pub const LOG_PUBLIC: &str = "log.pub";

/// What a new clearinghouse is made with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The folder.
    pub folder: PathBuf,
    /// The names and addresses that partners reach the service by.
    pub names: Vec<String>,
    /// A SQLite file relative to the folder, or a PostgreSQL URL.
    pub database: String,
    /// Whether the clock may be set, for trying things out.
    pub sandbox: bool,
}

/// Makes a CA for partners and one for the server, the server's certificate, an operator key, a database and the configuration. What is there already is never overwritten.
pub fn init(setup: &Setup) -> anyhow::Result<Config> {
    let folder = &setup.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let file = |name: &str| folder.join(name);
    ensure!(
        !file(CONFIG).exists(),
        "{} exists: this folder holds a clearinghouse already",
        file(CONFIG).display()
    );
    let now = Timestamp::now();
    let mut config = Config {
        database: setup.database.clone(),
        ..Config::default()
    };
    if let Some(name) = setup.names.first() {
        config.log.origin = format!("{name}/log");
    }
    let clients = pki::new_ca("Points clearinghouse client CA", now)?;
    let servers = pki::new_ca("Points clearinghouse server CA", now)?;
    let server = pki::issue_server(&servers, &setup.names, now)?;
    let key = pki::random_key(KeyId::new(&config.operator.kid)?)?;
    let log = pki::random_key(KeyId::new("log")?)?;
    let log_public = NoteKey::new(&config.log.origin, log.verifying_key()).context("log.origin")?;
    for (ca, certificate, key) in [
        (&clients, &config.tls.client_ca, &config.tls.ca_key),
        (&servers, &config.tls.server_ca, &config.tls.server_ca_key),
    ] {
        put(&folder.join(certificate), &ca.cert_pem)?;
        pki::write_secret(&folder.join(key), &ca.key_pem)?;
    }
    put(&folder.join(&config.tls.certificate), &server.cert_pem)?;
    pki::write_secret(&folder.join(&config.tls.key), &server.key_pem)?;
    pki::write_secret(&folder.join(&config.operator.key), &key.secret_base64url())?;
    put(&file(OPERATOR_PUBLIC), &key.verifying_key().to_base64url())?;
    pki::write_secret(&folder.join(&config.log.key), &log.secret_base64url())?;
    put(&file(LOG_PUBLIC), &format!("{log_public}\n"))?;
    // The database may hold a password, and the configuration is written last: until then, nothing is a clearinghouse.
    let text = toml::to_string(&config)?;
    let database = Url::new(setup.database.as_str())
        .sqlite_path()
        .map(|path| folder.join(path).to_string_lossy().into_owned());
    if let Some(path) = &database {
        // SQLite gives its other files the database's own permissions.
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(path).with_context(|| format!("cannot make {path}"))?;
    }
    let mut conn = Conn::open(&Url::new(database.unwrap_or_else(|| setup.database.clone()))).context("the database")?;
    admin::init(&mut conn, setup.sandbox, now)?;
    keys::own(&mut conn, key.kid(), &key.verifying_key(), None, now)?;
    own_log(&mut conn, &log_public, now)?;
    pki::write_secret(&file(CONFIG), &text)?;
    Config::load(&file(CONFIG))
}

/// Records the log's key, under the kid that its public text has.
pub fn own_log(conn: &mut Conn, public: &NoteKey, now: Timestamp) -> anyhow::Result<()> {
    let kid = KeyId::new(format!("log-{}", to_hex(&public.id())))?;
    Ok(keys::own(conn, &kid, public.key(), Some(public.name()), now)?)
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    ensure!(!path.exists(), "{} exists: it is not overwritten", path.display());
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The CA that signs partners' certificates: the one of the client CAs that `tls.ca_key` belongs to.
pub fn client_ca(tls: &Tls) -> anyhow::Result<Issued> {
    ca(&tls.client_ca, &tls.ca_key, "tls.ca_key has to be the key of one of tls.client_ca")
}

/// The CA that signs the server's certificate, and nothing else. One that is among the client CAs too is refused: its certificates would be of both kinds.
pub fn server_ca(tls: &Tls) -> anyhow::Result<Issued> {
    let mismatch = "tls.server_ca_key has to be the key of one of tls.server_ca";
    let ca = ca(&tls.server_ca, &tls.server_ca_key, mismatch)?;
    let clients = std::fs::read_to_string(&tls.client_ca).with_context(|| format!("cannot read {}", tls.client_ca.display()))?;
    ensure!(pki::ca_of_key(&clients, &ca.key_pem).is_err(), pki::BOTH);
    Ok(ca)
}

fn ca(certificates: &Path, key: &Path, mismatch: &'static str) -> anyhow::Result<Issued> {
    let read = std::fs::read_to_string(certificates);
    let certificates = read.with_context(|| format!("cannot read {}: signing needs the CA", certificates.display()))?;
    let key = pki::read_secret(key).context("signing needs the CA")?;
    pki::ca_of_key(&certificates, &key).context(mismatch)
}

/// Puts a new server certificate with a new key in the place of the old one, for the same names if none are given. A service that runs takes it within a
/// second; between the two files it sees a pair that doesn't fit, and stays with the old one. Returns the names.
pub fn renew_server(config: &Config, names: &[String]) -> anyhow::Result<Vec<String>> {
    let (certificate, key) = (&config.tls.certificate, &config.tls.key);
    let names = match names {
        [] => {
            let old = std::fs::read_to_string(certificate).with_context(|| format!("cannot read {}", certificate.display()))?;
            pki::server_names(&old).context("the certificate in force doesn't say its names: give them with --name")?
        }
        names => names.to_vec(),
    };
    let new = pki::issue_server(&server_ca(&config.tls)?, &names, Timestamp::now())?;
    for (path, text, mode) in [(key, &new.key_pem, 0o600), (certificate, &new.cert_pem, 0o644)] {
        pki::replace(path, text, mode).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(names)
}

/// Registers a partner of the network, while one person may: signs its certificate request and records both of its keys. Returns the certificate.
pub fn add_partner(config: &Config, id: &PartnerId, csr_pem: &str, kid: &KeyId, key: &VerifyingKey) -> anyhow::Result<String> {
    let mut conn = Conn::open(&Url::new(config.database.as_str()))?;
    // Asked here too, so that nobody brings the CA's key for nothing.
    keys::may_alone(&mut conn)?;
    let ca = client_ca(&config.tls)?;
    let certificate = pki::sign_request(&ca, csr_pem, id, Timestamp::now())?;
    let spki = spki_of_pem(&certificate)?;
    keys::register(&mut conn, id, spki, kid, key, Timestamp::now())?;
    Ok(certificate)
}

/// The SHA-256 of the public key in a PEM certificate.
pub fn spki_of_pem(certificate: &str) -> anyhow::Result<Spki> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).context("the certificate just signed")?;
    Ok(Spki(pki::spki_sha256(&der)?))
}
