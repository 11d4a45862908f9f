//! One TOML file; every value can be overridden by the environment (`CLEARING_LISTEN`, `CLEARING_TLS__KEY`, ...); what isn't known is refused.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use migrations::{Conn, Url};
use serde::{Deserialize, Serialize};

/// The environment variables that override values start with this; `__` goes one table down.
const PREFIX: &str = "CLEARING_";

/// Where the service listens and what it works with. Relative paths are relative to the file's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the mutual-TLS listener.
    pub listen: String,
    /// Address of the plain listener that answers only `GET /health`; empty for none.
    pub health_listen: String,
    /// Address of the TLS listener without client certificates that takes only enrolments; empty for none.
    pub enrol_listen: String,
    /// A SQLite file, or a PostgreSQL URL.
    pub database: String,
    /// Where statements are written.
    pub statements: PathBuf,
    /// Where `clearing archive` puts what partners signed in old windows, and `clearing check` reads it.
    pub archive: PathBuf,
    /// The service's certificate and the CA of its clients.
    pub tls: Tls,
    /// The key that signs answers and countersigns.
    pub operator: Operator,
    /// The log of all that happens, and its own key.
    pub log: Log,
    /// Group commit and bounds.
    pub ledger: Ledger,
    /// What each partner may use up.
    pub limits: Limits,
}

/// Files of the TLS listener, in PEM. All but the last are read again when they change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The server's certificate chain.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// Names and addresses that partners may reach the service by beside those in its certificate (behind a proxy, say); a request for another is refused.
    pub names: Vec<String>,
    /// The CAs that partners' certificates come from, one or several: clients are trusted by these alone.
    pub client_ca: PathBuf,
    /// What those CAs have revoked, one list or several; none if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl: Option<PathBuf>,
    /// What becomes of clients once a list is older than it says it may be (past its `nextUpdate`).
    pub crl_overdue: Overdue,
    /// The private key of the CA that signs partners' new certificates, one of `client_ca`. The file may be kept elsewhere while nothing is signed.
    pub ca_key: PathBuf,
    /// The CA of the server's certificate: what partners trust. It signs no client's. Read where it signs, and where the service starts, to see that it is none of its clients' CAs.
    pub server_ca: PathBuf,
    /// That CA's private key. The file may be kept elsewhere while the server's certificate isn't renewed.
    pub server_ca_key: PathBuf,
}

/// What an overdue revocation list means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overdue {
    /// A warning every hour. What the list says goes on to count, and the tills go on.
    Warn,
    /// The clients of that CA are refused until there is a newer list.
    Refuse,
}

/// The clearinghouse's signing key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Operator {
    /// The key's id, as it stands in what it signs.
    pub kid: String,
    /// The file with the secret, as base64url.
    pub key: PathBuf,
}

/// The log. Its key signs nothing but the log's heads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The log's name, for good: a host of the operator's and a path, without `https://`, blanks and plus signs. It stands in every receipt.
    pub origin: String,
    /// The file with the secret, as base64url.
    pub key: PathBuf,
}

/// Bounds of the ledger's queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// Messages that may wait (1 to 1,000,000); more are answered 503.
    pub queue: usize,
    /// Messages in one transaction at most (1 to 5,000); a request's batch is never split, so it may be exceeded by one request's.
    pub group: usize,
}

/// What one partner may use of what all share, and what an address may that no partner is known of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of a partner (1 to 10,000); for one more, the one that has been idle longest is closed.
    pub connections: usize,
    /// Requests of a partner that are under way at once (1 to 10,000).
    pub requests: usize,
    /// Bodies of a partner in memory, in MiB (4 to 4,096).
    pub body_mib: usize,
    /// Bodies of all partners in memory, in MiB (4 to 65,536); small ones are taken beyond it.
    pub bodies_mib: usize,
    /// Answers to batches of a partner in memory, in MiB (1 to 4,096), from before they are made until they are sent.
    pub answer_mib: usize,
    /// Messages of a partner that wait for the ledger (1 to 1,000,000).
    pub queue: usize,
    /// Requests of a partner that read from the database at once (1 to 16).
    pub reads: usize,
    /// Batches of a partner that are verified at once (1 to 1,024).
    pub processors: usize,
    /// Requests of a partner a second; twice as many at once. 0: no bound.
    pub requests_per_second: u32,
    /// Messages of a partner a second; twice as many at once. 0: no bound.
    pub messages_per_second: u32,
    /// Steps of a partner a second with documents, keys and certificates; ten times as many at once. 0: no bound.
    pub steps_per_second: u32,
    /// Connections of one address of which it isn't known whose they are (1 to 10,000); for one more, one of them is closed.
    pub handshakes: usize,
    /// TLS handshakes of one address that begin in a second; twice as many at once. 0: no bound.
    pub handshakes_per_second: u32,
    /// Connections of one address that no partner is known of: to enrol, to ask for health, with a certificate that is nobody's (1 to 10,000).
    pub strangers: usize,
    /// Requests of one such address a second; twice as many at once. 0: no bound.
    pub strangers_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            requests: 128,
            body_mib: 6,
            bodies_mib: 24,
            answer_mib: 4,
            queue: 4_000,
            reads: 4,
            processors: 2,
            requests_per_second: 1_000,
            messages_per_second: 5_000,
            steps_per_second: 5,
            handshakes: 128,
            handshakes_per_second: 250,
            strangers: 8,
            strangers_per_second: 50,
        }
    }
}

impl Limits {
    /// No rates: whoever drives the service as fast as it goes wants to see how fast that is.
    pub fn without_rates(mut self) -> Self {
        (self.requests_per_second, self.messages_per_second) = (0, 0);
        (self.handshakes_per_second, self.strangers_per_second) = (0, 0);
        self.steps_per_second = 0;
        self
    }

    fn check(&self) -> anyhow::Result<()> {
        let within = [
            ("connections", self.connections, 1, 10_000),
            ("requests", self.requests, 1, 10_000),
            ("body_mib", self.body_mib, 4, 4_096),
            ("bodies_mib", self.bodies_mib, 4, 65_536),
            ("answer_mib", self.answer_mib, 1, 4_096),
            ("queue", self.queue, 1, 1_000_000),
            ("reads", self.reads, 1, 16),
            ("processors", self.processors, 1, 1_024),
            ("handshakes", self.handshakes, 1, 10_000),
            ("strangers", self.strangers, 1, 10_000),
        ];
        for (name, value, least, most) in within {
            ensure!((least..=most).contains(&value), "limits.{name} must be {least} to {most}");
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8443".into(),
            health_listen: "127.0.0.1:8480".into(),
            enrol_listen: String::new(),
            database: "clearing.db".into(),
            statements: "statements".into(),
            archive: "archive".into(),
            tls: Tls::default(),
            operator: Operator::default(),
            log: Log::default(),
            ledger: Ledger::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: "server.pem".into(),
            key: "server.key".into(),
            names: vec![],
            client_ca: "client-ca.pem".into(),
            crl: None,
            crl_overdue: Overdue::Warn,
            ca_key: "client-ca.key".into(),
            server_ca: "server-ca.pem".into(),
            server_ca_key: "server-ca.key".into(),
        }
    }
}

impl Default for Operator {
    fn default() -> Self {
        Self {
            kid: "clearing-1".into(),
            key: "operator.key".into(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            origin: "localhost/log".into(),
            key: "log.key".into(),
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { queue: 20_000, group: 500 }
    }
}

impl Config {
    /// Reads the file, then the environment over it.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}: `clearing init` makes one", path.display()))?;
        crate::office::pki::not_for_others(path, "it may hold the database's password")?;
        let config = Self::merge(&text, environment()?.into_iter()).with_context(|| format!("in the configuration {}", path.display()))?;
        Ok(config.relative_to(path.parent().unwrap_or(Path::new("."))))
    }

    /// Opens the database that `clearing init` made; one that others may read is refused.
    pub fn open_database(&self) -> anyhow::Result<Conn> {
        let url = Url::new(self.database.as_str());
        if let Some(path) = url.sqlite_path().filter(|path| path.exists()) {
            crate::office::pki::not_for_others(path, "it holds members' data")?;
        }
        store::admin::open(&url)
    }

    fn merge(text: &str, environment: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let mut table: toml::Table = toml::from_str(text).map_err(|error: toml::de::Error| {
            // Its Display quotes the line, which may hold the database's password.
            let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or_default());
            anyhow::anyhow!("line {}: {}", 1 + before.matches('\n').count(), error.message())
        })?;
        for (name, value) in environment {
            // CLEARING_CONFIG says where the file itself is.
            let Some(path) = name.strip_prefix(PREFIX).filter(|rest| *rest != "CONFIG") else {
                continue;
            };
            let path = path.to_lowercase();
            // These are numbers; all else is text, even where it looks like one.
            let value = match value.parse::<i64>() {
                Ok(number) if path == "ledger__queue" || path == "ledger__group" || path.starts_with("limits__") => {
                    toml::Value::Integer(number)
                }
                _ => toml::Value::String(value),
            };
            let mut at = &mut table;
            let mut steps: Vec<&str> = path.split("__").collect();
            let last = steps.pop().unwrap_or_default();
            for step in steps {
                let next = at.entry(step).or_insert_with(|| toml::Table::new().into());
                at = next
                    .as_table_mut()
                    .with_context(|| format!("{name}: `{step}` is a value, not a table"))?;
            }
            at.insert(last.to_owned(), value);
        }
        let config: Self = table.try_into().context("a value from the file or a CLEARING_ variable")?;
        is_database(&config.database)?;
        ensure!((1..=1_000_000).contains(&config.ledger.queue), "ledger.queue must be 1 to 1000000");
        ensure!((1..=5_000).contains(&config.ledger.group), "ledger.group must be 1 to 5000");
        config.limits.check()?;
        Ok(config)
    }

    fn relative_to(mut self, folder: &Path) -> Self {
        for path in [
            &mut self.statements,
            &mut self.archive,
            &mut self.tls.certificate,
            &mut self.tls.key,
            &mut self.tls.client_ca,
            &mut self.tls.ca_key,
            &mut self.tls.server_ca,
            &mut self.tls.server_ca_key,
            &mut self.operator.key,
            &mut self.log.key,
        ]
        .into_iter()
        .chain(&mut self.tls.crl)
        {
            *path = folder.join(&path);
        }
        if let Some(path) = Url::new(self.database.as_str()).sqlite_path().filter(|path| path.is_relative()) {
            self.database = folder.join(path).to_string_lossy().into_owned();
        }
        self
    }
}

/// Refuses what would be taken for the name of a file, and may hold a password. The error doesn't show it.
pub fn is_database(text: &str) -> anyhow::Result<()> {
    ensure!(
        !Url::new(text).is_mistaken(),
        "the database is neither the path of a SQLite file nor a URL that is taken: write it as a URL of the form postgresql://USER@HOST:PORT/DATABASE, in lower case"
    );
    Ok(())
}

/// The variables that override values; one that isn't text is refused by name, never shown.
fn environment() -> anyhow::Result<Vec<(String, String)>> {
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(PREFIX));
    let text = ours.map(|(name, value)| {
        let name = name.to_string_lossy().into_owned();
        let value = value.into_string().map_err(|_| anyhow::anyhow!("{name}: the value isn't UTF-8"))?;
        Ok((name, value))
    });
    text.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(text: &str, vars: &[(&str, &str)]) -> anyhow::Result<Config> {
        Config::merge(text, vars.iter().map(|(k, v)| (k.to_string(), v.to_string())))
    }

    #[test]
    fn the_environment_wins_and_the_unknown_is_refused() {
        let config = merge(
            "listen = \"a:1\"\n[ledger]\ngroup = 7\n",
            &[
                ("CLEARING_LEDGER__QUEUE", "9"),
                ("CLEARING_OPERATOR__KID", "1"),
                ("CLEARING_LISTEN", "b:2"),
                ("HOME", "/"),
                ("CLEARING_CONFIG", "x.toml"),
            ],
        );
        let config = config.expect("good");
        assert_eq!((config.listen.as_str(), config.ledger.group, config.ledger.queue), ("b:2", 7, 9));
        for (text, vars) in [
            ("lissten = \"a\"", vec![]),
            ("[tls]\nkye = \"a\"", vec![]),
            ("", vec![("CLEARING_LISSTEN", "a")]),
            ("", vec![("CLEARING_LEDGER__GROUP", "0")]),
        ] {
            assert!(merge(text, &vars).is_err(), "{text} {vars:?}");
        }
    }

    #[test]
    fn no_password_shows_and_sqlite_urls_are_found() {
        let error = format!(
            "{:#}",
            merge("\ndatabase = \"postgresql://u:s3cret@h/db\" x", &[]).expect_err("bad syntax")
        );
        assert!(error.contains("line 2") && !error.contains("s3cret"), "{error}");
        let config = merge("database = \"sqlite:a.db\"", &[])
            .expect("good")
            .relative_to(Path::new("/srv"));
        assert_eq!(config.database, "/srv/a.db");
    }

    #[test]
    fn what_init_writes_is_what_is_read() {
        let text = toml::to_string(&Config::default()).expect("writes");
        assert_eq!(merge(&text, &[]).expect("reads").ledger.group, 500);
    }
}
