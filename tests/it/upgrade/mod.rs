//! A database that a release has made and filled serves the releases after it: tables change by numbered migrations alone.

mod kept;
mod paying;
mod story;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};

use clearing::audit::{self, Depth};
use clearing::clock::Clock;
use clearing::night::Night;
use clearing::office::config::Config;
use clearing::office::install::{self, Setup};
use clearing::office::pki;
use clearing::server;
use diesel::backend::Backend as Database;
use diesel::migration::MigrationSource;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use jiff::{Timestamp, ToSpan};
use migrations::{Conn, Url};
use partner_sdk::client::{Client, Identity};
use partner_sdk::jws::sha256_hex;
use partner_sdk::log::note::NoteKey;
use partner_sdk::{Message, Trust};
use tests::child::command;
use tests::{Backend, earn, execute, on_both};

use super::install::PROGRAM;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The ledgers that releases have left, each under the name of the last migration that it knew.
const LEDGERS: &str = "tests/it/upgrade/ledgers";
/// What a release has brought to its operators stays as it is, to the byte.
const RELEASED: [(&str, &str); 31] = [
    (
        "migrations/sqlite/0001_ledger/up.sql",
        "44e871fae74fb811bb3ed3fa2958c51c3d8a7b693c582d5592f42fa8cabff89e",
    ),
    (
        "migrations/sqlite/0001_ledger/down.sql",
        "f49dc73969f607cfb0b789dbc72c5d40fd8339f30eed7364793ee438d50b5143",
    ),
    (
        "migrations/postgres/0001_ledger/up.sql",
        "5c362f1a27e27fde85f16e85a684fadc35f15f62d6e2daf0c9ec0c43d3f84280",
    ),
    (
        "migrations/postgres/0001_ledger/down.sql",
        "f49dc73969f607cfb0b789dbc72c5d40fd8339f30eed7364793ee438d50b5143",
    ),
    (
        "tests/it/upgrade/ledgers/0001_ledger.jsonl",
        "782ccc3abe66b95ef1503ad1876af48b1cf2863e68689c7321a996f20bd1deab",
    ),
    (
        "migrations/sqlite/0002_payments/up.sql",
        "0f1fe457c2bdc3f312a49132fae4a08a96eb87d2641092507549e5de0d871a89",
    ),
    (
        "migrations/sqlite/0002_payments/down.sql",
        "fb4f66af0f00340e03eec671756ab18bc6233336772c685d9807f098106caa1d",
    ),
    (
        "migrations/postgres/0002_payments/up.sql",
        "bc2eaa72c045f5b591c2c5b291f4ec814fe92d85dc723ebf9613e3bb40bc7b50",
    ),
    (
        "migrations/postgres/0002_payments/down.sql",
        "fb4f66af0f00340e03eec671756ab18bc6233336772c685d9807f098106caa1d",
    ),
    (
        "tests/it/upgrade/ledgers/0002_payments.jsonl",
        "a3ebd73f208518006f9f6e5e634c01dc1ed92db34accd23ebf2ff4382b72313e",
    ),
    (
        "migrations/sqlite/0003_reconciliation/up.sql",
        "f15d953ee8899166b5bb4e0423ea665f6af75d08c9e169ddf45cf887af90d330",
    ),
    (
        "migrations/sqlite/0003_reconciliation/down.sql",
        "21820285888dd7807b413bc391978662c552d18ace355eb936ee07ab6b353aa4",
    ),
    (
        "migrations/postgres/0003_reconciliation/up.sql",
        "43a26f5823fab6f1961104e240358301965ac29845a35fde60012d439b12fc44",
    ),
    (
        "migrations/postgres/0003_reconciliation/down.sql",
        "21820285888dd7807b413bc391978662c552d18ace355eb936ee07ab6b353aa4",
    ),
    (
        "migrations/sqlite/0004_revisions/up.sql",
        "87c65666678e8f2a2afec3d3250366622552a11ffcdf36ec99473565c5eebffc",
    ),
    (
        "migrations/sqlite/0004_revisions/down.sql",
        "b197c8f8f86642a64c63f470a3663c6f70091c556a994e98821aa4c3e2f76b5b",
    ),
    (
        "migrations/postgres/0004_revisions/up.sql",
        "45762a19940aa7ef1f08a96d4393d9769b8e5e6f84f265d1efce00714db5ef9a",
    ),
    (
        "migrations/postgres/0004_revisions/down.sql",
        "b197c8f8f86642a64c63f470a3663c6f70091c556a994e98821aa4c3e2f76b5b",
    ),
    (
        "migrations/sqlite/0005_disputes/up.sql",
        "f232f209c4d72903c184ab3060a4b8761f699359cd3f8e247201d1cafd8bc0b6",
    ),
    (
        "migrations/sqlite/0005_disputes/down.sql",
        "281e211ce0e22b21bc7a5fab7fb6461996ee7c379a11fc2b9ce3dd0c450d6c40",
    ),
    (
        "migrations/postgres/0005_disputes/up.sql",
        "030bf4c8e360f8fe97c489853f2e16a6dc15d90352ec9d12b40b731c4f274e5c",
    ),
    (
        "migrations/postgres/0005_disputes/down.sql",
        "281e211ce0e22b21bc7a5fab7fb6461996ee7c379a11fc2b9ce3dd0c450d6c40",
    ),
    (
        "migrations/sqlite/0006_joined/up.sql",
        "25e17563bb778ff01fc67d762db07bdd131c1391117899c68fe1bd46214804b8",
    ),
    (
        "migrations/sqlite/0006_joined/down.sql",
        "b15bf88a938f8218de9ca68d4c061cc5a3af2e68790312bfa90ec71c404ff3bc",
    ),
    (
        "migrations/postgres/0006_joined/up.sql",
        "b28862ad6feefbedc53f8493072cb6d6b5e24c2199dad8107a4df09a6285a80d",
    ),
    (
        "migrations/postgres/0006_joined/down.sql",
        "b15bf88a938f8218de9ca68d4c061cc5a3af2e68790312bfa90ec71c404ff3bc",
    ),
    (
        "migrations/sqlite/0007_conversions/up.sql",
        "b221873b84c8ac471743895e60c60bbfaac4c80deabcb116b9d04d292a552efa",
    ),
    (
        "migrations/sqlite/0007_conversions/down.sql",
        "27ca83a2723e12912fc0a5f0e39590d69eedbf30bed82a71c72e940e4eb58e4d",
    ),
    (
        "migrations/postgres/0007_conversions/up.sql",
        "d6ad812c0b19311c47e1e9534b7193809feaaab09bcde0fbd5da3a1292e3d56b",
    ),
    (
        "migrations/postgres/0007_conversions/down.sql",
        "27ca83a2723e12912fc0a5f0e39590d69eedbf30bed82a71c72e940e4eb58e4d",
    ),
    (
        "tests/it/upgrade/ledgers/0007_conversions.jsonl",
        "4e1224e006c87b85ad6f871f0f85a4e9ad666ec240ea4718f5acb25c68ba7005",
    ),
];

on_both!(
    a_ledger_that_a_release_has_left_is_upgraded,
    a_database_of_a_later_release_is_refused,
    the_story_has_everything,
);

#[test]
fn what_was_released_stays_as_it_is() {
    for (path, sha256) in RELEASED {
        let bytes = std::fs::read(Path::new(ROOT).join(path)).expect("readable");
        assert_eq!(
            sha256_hex(&bytes),
            sha256,
            "{path} was released, and operators have databases that it made: tables change by a new numbered migration"
        );
    }
}

/// The ledger that this release makes, as a later one would find it. The file is left below `target/tmp`: a release with a new migration copies it to [`LEDGERS`], and names it and the
/// migration in [`RELEASED`].
#[test]
fn the_ledger_of_this_release_can_be_kept() {
    let (mut world, _) = story::play(Backend::Sqlite);
    world.sandbox.stop();
    let Conn::Sqlite(mut conn) = world.sandbox.database().expect("a connection") else {
        panic!("it is on SQLite")
    };
    let all = applied(&mut conn, "sqlite");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.jsonl", all.last().expect("a migration")));
    std::fs::write(&path, kept::write(&mut conn)).expect("written");
    for backend in [Backend::Sqlite, Backend::Postgres] {
        is_upgraded(backend, &path);
    }
}

/// The names of the migrations that the sources have.
fn applied<DB: Database>(conn: &mut impl MigrationHarness<DB>, folder: &str) -> Vec<String>
where
    FileBasedMigrations: MigrationSource<DB>,
{
    assert!(
        !conn.has_pending_migration(sources(folder)).expect("an answer"),
        "it isn't up to date"
    );
    let mut names: Vec<String> = MigrationSource::<DB>::migrations(&sources(folder))
        .expect("migrations")
        .iter()
        .map(|one| one.name().to_string())
        .collect();
    names.sort();
    names
}

fn sources(folder: &str) -> FileBasedMigrations {
    FileBasedMigrations::from_path(Path::new(ROOT).join("migrations").join(folder)).expect("migrations")
}

/// Makes the tables as they were with the migration of this name.
fn make_tables<DB: Database>(conn: &mut impl MigrationHarness<DB>, folder: &str, last: &str)
where
    FileBasedMigrations: MigrationSource<DB>,
{
    for migration in conn.pending_migrations(sources(folder)).expect("migrations") {
        if *migration.name().to_string() <= *last {
            conn.run_migration(&migration).expect("it applies");
        }
    }
}

/// A clearinghouse in a folder of its own, with the keys of the story's end, on a database that has no tables yet.
struct House {
    folder: tempfile::TempDir,
    config: Config,
}

impl House {
    fn new(backend: Backend) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = install::init(&Setup {
            folder: folder.path().to_owned(),
            names: vec!["localhost".into()],
            database: "unused.db".into(),
            sandbox: true,
        })
        .expect("a clearinghouse");
        story::set_own_keys(&mut config);
        let file = folder.path().join("kept.db");
        pki::write_secret(&file, "").expect("an empty database");
        config.database = match backend {
            Backend::Sqlite => file.display().to_string(),
            Backend::Postgres => backend.database(),
        };
        (config.listen, config.health_listen) = ("127.0.0.1:0".into(), String::new());
        Self { folder, config }
    }

    fn conn(&self) -> Conn {
        Conn::open(&Url::new(self.config.database.as_str())).expect("a connection")
    }

    /// What the command says, and whether it is content.
    fn runs(&self, command_line: &[&str]) -> (bool, String) {
        let mut command = command(PROGRAM, self.folder.path(), Some(&self.config.database));
        command.args(command_line).env("CLEARING_OPERATOR__KID", &self.config.operator.kid);
        let output = command.output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn findings(&self) -> Vec<String> {
        let operator = story::operator();
        let clearing = (operator.kid(), &operator.verifying_key());
        audit::check(
            &mut self.conn(),
            clearing,
            &self.config.archive,
            Depth::Whole(self.folder.path()),
            &mut |_, _| {},
        )
        .expect("the check runs")
    }

    /// Wellcome's connection, by a certificate of this house for the key that it has had before.
    fn client(&self, port: u16) -> Client {
        let (csr, key_pem) = story::wellcome_tls();
        let ca = install::client_ca(&self.config.tls).expect("a CA");
        let identity = Identity {
            ca_pem: std::fs::read_to_string(&self.config.tls.server_ca).expect("there"),
            cert_pem: pki::sign_request(&ca, &csr, &"wellcome".parse().expect("an id"), Timestamp::now()).expect("signed"),
            key_pem,
        };
        let log = NoteKey::new(&self.config.log.origin, story::log().verifying_key()).expect("a public key");
        let trust = Trust::new(story::operator().verifying_key(), &log.to_string()).expect("what partners hold");
        Client::new(&format!("https://localhost:{port}"), &identity, trust).expect("a client")
    }

    /// The service goes on an hour after the last entry: a message is posted, and the night does what was left.
    fn goes_on(&self) {
        let mut conn = self.conn();
        let left = settlement::pending(&mut conn).expect("a netted window and a closed one");
        let left: Vec<_> = left.into_iter().map(|window| window.business_date).collect();
        let last = ledger::timestamp(store::last_at(&mut conn).expect("the ledger's head"));
        let clock = Clock::sandbox(last + 1.hour());
        let running = server::start(&self.config, clock.clone(), false).expect("the service starts");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let message = Message {
            id: partner_sdk::client::new_message_id(),
            sender: "wellcome".parse().expect("an id"),
            issued_at: clock.now(),
            occurred_at: clock.now(),
            body: earn("YUU", "m1", "10"),
        };
        let client = self.client(running.address.port());
        runtime.block_on(client.send(&message, &story::wellcome())).expect("accepted");
        let directory = Arc::new(store::load_directory(&mut conn).expect("a directory"));
        let dates = Night::new(self.config.statements.clone())
            .run(&mut conn, &directory, &clock)
            .expect("the night");
        assert_eq!((dates.len(), dates), (2, left));
        running.stop();
    }
}

fn a_ledger_that_a_release_has_left_is_upgraded(backend: Backend) {
    let ledgers = std::fs::read_dir(Path::new(ROOT).join(LEDGERS)).expect("the kept ledgers");
    let ledgers: Vec<PathBuf> = ledgers.map(|file| file.expect("a file").path()).collect();
    assert!(!ledgers.is_empty());
    for file in ledgers {
        is_upgraded(backend, &file);
    }
}

/// Loads a ledger that was kept, brings it up to date and goes on with it.
fn is_upgraded(backend: Backend, file: &Path) {
    let last = file.file_stem().expect("a name").to_string_lossy().into_owned();
    let house = House::new(backend);
    let mut conn = house.conn();
    match &mut conn {
        Conn::Sqlite(c) => make_tables(c, "sqlite", &last),
        Conn::Postgres(c) => make_tables(c, "postgres", &last),
    }
    kept::load(&mut conn, &std::fs::read_to_string(file).expect("readable"));
    // What the operator does, as docs/OPERATIONS.md says.
    let (well, said) = house.runs(&["check"]);
    assert!(well && said.contains("the books are what the log makes of them"), "{last}: {said}");
    match &mut conn {
        Conn::Sqlite(c) => applied(c, "sqlite"),
        Conn::Postgres(c) => applied(c, "postgres"),
    };
    drop(conn);
    house.goes_on();
    assert_eq!(house.findings(), Vec::<String>::new(), "{last}");
}

fn a_database_of_a_later_release_is_refused(backend: Backend) {
    let house = House::new(backend);
    let mut conn = house.conn();
    conn.migrate().expect("its tables");
    execute(&mut conn, "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    for command_line in [&["check"] as &[&str], &["serve"], &["partner", "list"]] {
        let (well, said) = house.runs(command_line);
        assert!(
            !well && said.contains("of a later release than this program"),
            "{command_line:?}: {said}"
        );
        assert!(said.contains("migration 9999"), "{said}");
    }
    execute(&mut conn, "DELETE FROM __diesel_schema_migrations WHERE version = '9999'");
    conn.migrate().expect("as before");
}

/// Several machines start the new program at the same moment.
#[test]
fn several_bring_the_tables_up_to_date_at_once() {
    for _ in 0..5 {
        let (url, all_there) = (Url::new(Backend::Postgres.database()), Barrier::new(4));
        let starts = std::thread::scope(|scope| {
            let start = || {
                let mut conn = Conn::open(&url).expect("a connection");
                all_there.wait();
                conn.migrate()
            };
            let all: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            all.into_iter().map(|one| one.join().expect("it ends")).collect::<Vec<_>>()
        });
        assert!(starts.iter().all(Result::is_ok), "{starts:?}");
    }
}

fn the_story_has_everything(backend: Backend) {
    let (world, _) = story::play(backend);
    let mut conn = world.sandbox.database().expect("a connection");
    let scratch = Conn::scratch(&world.folder().join("empty.db")).expect("tables");
    let Conn::Sqlite(mut scratch) = scratch else {
        panic!("it is on SQLite")
    };
    for table in kept::tables(&kept::write(&mut scratch)) {
        assert!(kept::has_rows(&mut conn, &table), "the story leaves {table} empty");
    }
    let kinds = "acknowledge adjustment authorise burn capture earn exchange expiry fee prepay quote refuse reverse void write_off";
    assert_eq!(kept::values(&mut conn, "message", "kind").join(" "), kinds);
    let states = "advised closed netted open settled";
    assert_eq!(kept::values(&mut conn, "settlement_window", "state").join(" "), states);
    let states = "declined in_force proposed signed superseded terminated withdrawn";
    assert_eq!(kept::values(&mut conn, "document", "state").join(" "), states);
}
