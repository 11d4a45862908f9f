//! One connection to either database, and what differs between the two.

use diesel::backend::Backend;
use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::{Connection, ConnectionError, PgConnection, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const SQLITE: EmbeddedMigrations = embed_migrations!("sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("postgres");

/// PostgreSQL's lock of whoever brings the tables up to date: any number that nobody else takes.
const MIGRATES: i64 = 0x706f_696e_7473;

/// A failure of the database, by what it means for the caller.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database can't be reached.
    #[error("cannot connect to the database")]
    Connect(#[source] ConnectionError),
    /// The migrations don't apply.
    #[error("cannot bring the database's tables up to date: {0}")]
    Migrate(String),
    /// A later release has changed the tables.
    #[error(
        "the database's tables are of a later release than this program, which doesn't know their migration {0}: use that release, or one after it"
    )]
    Newer(String),
    /// A statement failed, and with it the transaction.
    #[error("the database refused a statement")]
    Query(#[from] diesel::result::Error),
    /// The commit failed: whether it took effect isn't known.
    #[error("the database failed while committing")]
    Commit(#[source] diesel::result::Error),
    /// The rows aren't what the program wrote.
    #[error("the database holds something unexpected: {0}")]
    Corrupt(String),
}

/// Where the database is: `postgres://...` or `postgresql://...`, anything else is a SQLite file.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// Takes a PostgreSQL URL, `sqlite:PATH` or a path.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self(text.strip_prefix("sqlite:").map_or(text.clone(), str::to_owned))
    }

    /// Whether this is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        self.0.starts_with("postgres://") || self.0.starts_with("postgresql://")
    }

    /// Whether it is neither a path nor a URL that is taken, but meant for a server: parameters as libpq takes them too, another scheme, a scheme with a mistake.
    /// It would be the name of a file, and may hold a password.
    pub fn is_mistaken(&self) -> bool {
        const NAMES: [&str; 8] = ["host", "hostaddr", "port", "user", "password", "dbname", "passfile", "service"];
        let mut before: Vec<&str> = self.0.split('=').collect();
        before.pop();
        let mut names = before.into_iter().filter_map(|part| part.split_whitespace().last());
        let is_like_a_url = self.0.contains("://") || self.0.trim_start().to_lowercase().starts_with("postgres") && self.0.contains('@');
        !self.is_postgres() && (is_like_a_url || names.any(|name| NAMES.contains(&name)))
    }

    /// Whether a password stands in it.
    pub fn has_password(&self) -> bool {
        self.secrets().any(|secret| !secret.is_empty())
    }

    /// What of it may be a password, as far as a URL with a mistake in it can be read: whatever stands between the first colon and the last @, and the values of
    /// the parameters that say so.
    fn secrets(&self) -> impl Iterator<Item = &str> {
        let rest = self.0.split_once("://").filter(|_| self.is_postgres()).map_or("", |(_, rest)| rest);
        let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
        let own = user.split_once(':').map(|(_, password)| password);
        let parameters = rest.split(['?', '&']).filter_map(|one| one.split_once('='));
        // A name may be written with escapes: whatever holds one may be a password's.
        own.into_iter().chain(
            parameters
                .filter(|(name, _)| name.contains("password") || name.contains('%'))
                .map(|(_, value)| value),
        )
    }

    /// An error's text without anything that may be a password: libpq quotes what it can't read.
    fn without_secrets(&self, text: &str) -> String {
        let secrets: Vec<&str> = self.secrets().filter(|secret| !secret.is_empty()).collect();
        let text = text.replace(&self.0, "postgresql://...");
        // Where a password holds what ends a part of a URL, a word has a piece of it; one character tells nothing.
        let hide = |word: &str| {
            let mut pieces = word.split(['@', ':', '/', '?', '#', '[', ']']).filter(|piece| piece.len() > 1);
            pieces.any(|piece| secrets.iter().any(|secret| secret.contains(piece)))
        };
        let quoted = text.split('"').enumerate().map(|(place, part)| match place % 2 {
            1 if hide(part) => "***",
            _ => part,
        });
        secrets
            .iter()
            .fold(quoted.collect::<Vec<_>>().join("\""), |text, secret| text.replace(secret, "***"))
    }

    /// The file of a SQLite database.
    pub fn sqlite_path(&self) -> Option<&std::path::Path> {
        (!self.is_postgres()).then(|| std::path::Path::new(&self.0))
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A PostgreSQL URL may hold a password.
        f.write_str(if self.is_postgres() { "postgresql://..." } else { &self.0 })
    }
}

/// An open connection to either database.
pub enum Conn {
    /// The embedded default.
    Sqlite(SqliteConnection),
    /// For production.
    Postgres(PgConnection),
}

/// Expands a body once per backend: `each_backend!(conn, |c| { ... })`, where `c` is `&mut SqliteConnection` or `&mut PgConnection`.
#[macro_export]
macro_rules! each_backend {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::Conn::Sqlite($c) => $body,
            $crate::Conn::Postgres($c) => $body,
        }
    };
}

impl Conn {
    /// Connects. SQLite: write-ahead log, every commit synced to disk, foreign keys on, 10 s of patience for another writer's lock.
    pub fn open(url: &Url) -> Result<Self, DbError> {
        if url.is_postgres() {
            let hidden = |error: ConnectionError| ConnectionError::BadConnection(url.without_secrets(&error.to_string()));
            let mut conn = PgConnection::establish(&url.0).map_err(|error| DbError::Connect(hidden(error)))?;
            // A plan that is kept from when a table was small reads all of it, long after it has grown.
            conn.batch_execute("SET plan_cache_mode = force_custom_plan")?;
            return Ok(Conn::Postgres(conn));
        }
        let mut conn = SqliteConnection::establish(&url.0).map_err(DbError::Connect)?;
        conn.batch_execute(
            "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 8192; PRAGMA temp_store = MEMORY; PRAGMA soft_heap_limit = 33554432;",
        )?;
        Ok(Conn::Sqlite(conn))
    }

    /// Pages in SQLite's write-ahead log after which whoever posts brings them into the file itself: 128 MiB.
    pub const LOG_PAGES: i32 = 32_768;

    /// For whoever posts. On PostgreSQL each statement finds its few rows by an index whatever the size of the table, so one plan does for all, and is made once. On SQLite
    /// somebody else brings the write-ahead log into the file.
    pub fn for_posting(mut self) -> Result<Self, DbError> {
        let settings = match &self {
            Conn::Sqlite(_) => format!("PRAGMA wal_autocheckpoint = {}", Self::LOG_PAGES),
            Conn::Postgres(_) => "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off".to_owned(),
        };
        self.execute(&settings)?;
        Ok(self)
    }

    /// A new SQLite database for one run: nothing of it is wanted after a power cut, so nothing waits for the disk.
    pub fn scratch(path: &std::path::Path) -> Result<Self, DbError> {
        let mut conn = Self::open(&Url::new(path.to_string_lossy()))?;
        conn.execute("PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -65536;")?;
        conn.migrate()?;
        Ok(conn)
    }

    /// Creates or upgrades the tables, each migration in a transaction of its own. [`DbError::Newer`] where a later release was here. On PostgreSQL whoever comes meanwhile
    /// waits, and finds it done.
    pub fn migrate(&mut self) -> Result<(), DbError> {
        match self {
            Conn::Sqlite(c) => migrate(c, SQLITE),
            Conn::Postgres(c) => {
                c.batch_execute(&format!("SELECT pg_advisory_lock({MIGRATES})"))?;
                let done = migrate(c, POSTGRES);
                let freed = c.batch_execute(&format!("SELECT pg_advisory_unlock({MIGRATES})"));
                done?;
                Ok(freed?)
            }
        }
    }

    /// Runs `body` in a transaction that may write: `BEGIN IMMEDIATE` on SQLite (a deferred one that upgrades fails at once), `READ COMMITTED` on
    /// PostgreSQL, where row locks do the rest.
    pub fn transaction<T, E: From<DbError>>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let begin = match self {
            Conn::Sqlite(_) => "BEGIN IMMEDIATE",
            Conn::Postgres(_) => "BEGIN",
        };
        self.execute(begin)?;
        match body(self) {
            Ok(value) => {
                each_backend!(self, |c| c.batch_execute("COMMIT")).map_err(DbError::Commit)?;
                Ok(value)
            }
            Err(error) => {
                // If the rollback fails too, the connection is broken, and the next statement on it will say so.
                let _ = self.execute("ROLLBACK");
                Err(error)
            }
        }
    }

    /// Runs `body` on one unchanging view of the database.
    pub fn snapshot<T, E: From<DbError>>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        self.execute(match self {
            Conn::Sqlite(_) => "BEGIN DEFERRED",
            Conn::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })?;
        let result = body(self);
        let _ = self.execute("ROLLBACK");
        result
    }

    /// Ends whatever transaction a panic has left open.
    pub fn reset(&mut self) {
        // Where there is none, this fails, and nothing is lost.
        let _ = self.execute("ROLLBACK");
    }

    /// Whether the database still answers on it: PostgreSQL closes connections when it is started again.
    pub fn stands(&mut self) -> bool {
        matches!(self, Self::Sqlite(_)) || self.execute("SELECT 1").is_ok()
    }

    /// How many values one statement may bind.
    pub fn bind_limit(&self) -> usize {
        match self {
            Conn::Sqlite(_) => 32_766,
            Conn::Postgres(_) => 65_535,
        }
    }

    fn execute(&mut self, sql: &str) -> Result<(), DbError> {
        Ok(each_backend!(self, |c| c.batch_execute(sql))?)
    }
}

fn migrate<DB: Backend>(conn: &mut impl MigrationHarness<DB>, own: EmbeddedMigrations) -> Result<(), DbError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| DbError::Migrate(error.to_string());
    let known = MigrationSource::<DB>::migrations(&own).map_err(failed)?;
    let applied = conn.applied_migrations().map_err(failed)?;
    let unknown = applied
        .iter()
        .find(|version| known.iter().all(|one| one.name().version() != **version));
    match unknown {
        Some(version) => Err(DbError::Newer(version.to_string())),
        None => conn.run_pending_migrations(own).map(|_| ()).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trees_are_the_same_tables() {
        let rest = |sql: &str| sql.lines().skip(1).collect::<Vec<_>>().join("\n");
        // On SQLite a table is its key's tree where that is asked for, and a number of that very type is its row's own.
        let translated = |sqlite: &str| {
            let sqlite = rest(sqlite).replace(") WITHOUT ROWID;", ");");
            let sqlite = sqlite.replace("    seq INTEGER NOT NULL PRIMARY KEY", "    seq BIGINT NOT NULL PRIMARY KEY");
            sqlite.replace(" BLOB ", " BYTEA ")
        };
        macro_rules! twins {
            ($($migration:literal)*) => {$(
                let sqlite = translated(include_str!(concat!("../sqlite/", $migration, "/up.sql")));
                assert_eq!(sqlite, rest(include_str!(concat!("../postgres/", $migration, "/up.sql"))));
                let [sqlite, postgres] = [
                    include_str!(concat!("../sqlite/", $migration, "/down.sql")),
                    include_str!(concat!("../postgres/", $migration, "/down.sql")),
                ];
                assert_eq!(sqlite, postgres);
            )*};
        }
        twins!("0001_ledger" "0002_payments" "0003_reconciliation" "0004_revisions" "0005_disputes" "0006_joined" "0007_conversions");
    }

    #[test]
    fn no_error_shows_a_password() {
        // With a mistake in each, so that libpq quotes a part of it; nobody listens on port 1.
        for password in [
            "s3cret", "s3/cret", "s3%cret", "s3?cret", "s3#cret", "s3@cret", "s3:cret", "s3 cret",
        ] {
            for rest in [
                "127.0.0.1:1/d?connect_timeout=2",
                "127.0.0.1:port/d",
                "127.0.0.1:1/d?nonsense",
                "[::1/d",
            ] {
                let url = Url::new(format!("postgresql://u:{password}@{rest}"));
                assert!(url.has_password());
                let Err(DbError::Connect(error)) = Conn::open(&url) else {
                    panic!("there is no such database")
                };
                let text = error.to_string();
                assert!(!text.contains("s3") && !text.contains("cret"), "{password} {rest}: {text}");
            }
        }
        let url = Url::new("postgresql://u@127.0.0.1:1/d?password=s3cret&nonsense");
        assert!(url.has_password());
        assert!(Conn::open(&url).is_err_and(|error| !format!("{error:?}").contains("s3cret")));
        for url in [
            "postgresql://u@h/d?sslmode=verify-full",
            "postgresql:///d",
            "clearing.db",
            "a:b@c.db",
        ] {
            assert!(!Url::new(url).has_password(), "{url}");
        }
    }

    #[test]
    fn a_url_with_a_password_does_not_show() {
        assert!(!format!("{:?}", Url::new("postgres://a:secret@h/d")).contains("secret"));
        assert_eq!(Url::new("sqlite:x.db").sqlite_path(), Some(std::path::Path::new("x.db")));
        for text in [
            "host=127.0.0.1 password=secret",
            "dbname = clearing",
            "sqlite:user=a",
            "POSTGRES://u:secret@h/d",
            " postgresql://u:secret@h/d",
            "postgresql:/u:secret@h/d",
            "mysql://u:secret@h/d",
        ] {
            assert!(Url::new(text).is_mistaken(), "{text}");
        }
        for text in ["/srv/host=1/clearing.db", "clearing.db", "postgresql://h/d?host=/run"] {
            assert!(!Url::new(text).is_mistaken(), "{text}");
        }
    }
}
