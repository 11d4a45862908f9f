//! The harness's own PostgreSQL: it survives kill -9, goes away with the tests, and takes TLS when asked.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, RunQueryDsl, sql_query};
use migrations::{Conn, DbError, Url, each_backend};
use tests::postgres::Cluster;

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

fn execute(conn: &mut Conn, sql: &str) -> Result<()> {
    Ok(each_backend!(conn, |c| c.batch_execute(sql))?)
}

fn number(conn: &mut Conn, sql: &str) -> Result<i64> {
    Ok(each_backend!(conn, |c| sql_query(sql).get_result::<Number>(c))?.number)
}

/// The directory of the cluster that a database is in.
fn directory(url: &str) -> Result<String> {
    let (_, query) = url.split_once("?host=").context("a URL with a host")?;
    Ok(query.split('&').next().unwrap_or(query).replace("%2F", "/"))
}

#[test]
fn databases_are_fresh_and_separate() -> Result<()> {
    let cluster = Cluster::shared();
    for _ in 0..2 {
        let mut conn = Conn::open(&Url::new(cluster.create_database()?))?;
        conn.migrate()?;
        execute(
            &mut conn,
            "INSERT INTO partner (id, name, status) VALUES ('pool', '香港', 'active')",
        )?;
        assert_eq!(number(&mut conn, "SELECT count(*) AS number FROM partner")?, 1);
        // What the tests rely on: commits are synced, and the locale doesn't change how text sorts.
        let settings =
            "(name, setting) IN (('fsync', 'on'), ('synchronous_commit', 'on'), ('listen_addresses', ''), ('server_encoding', 'UTF8'))";
        assert_eq!(
            number(&mut conn, &format!("SELECT count(*) AS number FROM pg_settings WHERE {settings}"))?,
            4
        );
        let collation = "SELECT count(*) AS number FROM pg_database WHERE datname = current_database() AND datcollate = 'C'";
        assert_eq!(number(&mut conn, collation)?, 1);
    }
    assert!(cluster.kill_9().is_err(), "the shared cluster isn't for killing");
    Ok(())
}

#[test]
fn what_was_committed_survives_kill_9() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let url = Url::new(cluster.create_database()?);
    let mut conn = Conn::open(&url)?;
    conn.migrate()?;
    for round in 0..3 {
        let mut conn = Conn::open(&url)?;
        execute(
            &mut conn,
            &format!("INSERT INTO partner (id, name, status) VALUES ('p{round}', 'P', 'active')"),
        )?;
        execute(
            &mut conn,
            "BEGIN; INSERT INTO partner (id, name, status) VALUES ('lost', 'L', 'active')",
        )?;
        cluster.kill_9()?;
        assert!(execute(&mut conn, "COMMIT").is_err());
        assert!(matches!(Conn::open(&url), Err(DbError::Connect(_))));
        cluster.restart()?;
        assert_eq!(number(&mut Conn::open(&url)?, "SELECT count(*) AS number FROM partner")?, round + 1);
    }
    cluster.restart()?;
    assert_eq!(
        number(&mut Conn::open(&url)?, "SELECT count(*) AS number FROM partner")?,
        3,
        "restarting kills a server that runs"
    );
    Ok(())
}

const CHILD: &str = "CLEARING_TEST_CLUSTER_CHILD";

/// Starts this test again in a process of its own, which makes a cluster and is killed while it uses it.
#[test]
fn nothing_is_left_of_a_killed_process() -> Result<()> {
    if std::env::var_os(CHILD).is_some() {
        println!("\nurl: {}", Cluster::shared().create_database()?);
        std::thread::sleep(Duration::from_secs(600));
        return Ok(());
    }
    let mut child = Command::new(std::env::current_exe()?);
    child
        .args(["--exact", "--nocapture", "cluster::nothing_is_left_of_a_killed_process"])
        .env(CHILD, "1");
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let lines = BufReader::new(child.stdout.take().context("piped")?).lines();
    let url = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("url: ").map(str::to_owned))
        .context("no cluster in the child")?;
    let mut conn = Conn::open(&Url::new(url.as_str()))?;
    let dir = directory(&url)?;
    ensure!(Path::new(&dir).join("data").is_dir(), "{dir} isn't the cluster's directory");
    child.kill()?;
    child.wait()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while Path::new(&dir).exists() {
        ensure!(Instant::now() < deadline, "{dir} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(execute(&mut conn, "SELECT 1").is_err(), "the server still runs");
    Ok(())
}

/// Needs a libpq with TLS: build with `--no-default-features`, as `tests/run` does.
#[test]
fn tls_is_verified_in_full() -> Result<()> {
    let cluster = Cluster::start_with_tls(&["localhost"])?;
    let open = |url: String| Conn::open(&Url::new(url));
    let mut conn = open(cluster.url("verify-full", cluster.ca()))?;
    conn.migrate()?;
    assert_eq!(
        number(
            &mut conn,
            "SELECT count(*) AS number FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl"
        )?,
        1
    );
    let refused = |url: String, why: &str| {
        let error = open(url)
            .err()
            .and_then(|error| std::error::Error::source(&error).map(ToString::to_string));
        assert!(
            error.as_deref().is_some_and(|text| text.contains(why)),
            "{error:?} instead of {why}"
        );
    };
    refused(cluster.url("verify-full", cluster.other_ca()), "certificate verify failed");
    refused(cluster.url("disable", cluster.ca()), "no pg_hba.conf entry");
    refused(
        cluster.url("verify-full", cluster.ca()).replacen("clearing:", "clearing:not", 1),
        "password authentication failed",
    );

    let elsewhere = Cluster::start_with_tls(&["db.example"])?;
    open(elsewhere.url("verify-ca", elsewhere.ca()))?;
    refused(elsewhere.url("verify-full", elsewhere.ca()), "does not match host name");
    Ok(())
}

/// Root reads everything, others must not: the socket's directory is all that protects a cluster without passwords.
#[test]
fn a_cluster_is_its_owners_alone() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let url = Cluster::shared().create_database()?;
    let dir = directory(&url)?;
    assert_eq!(std::fs::metadata(&dir)?.permissions().mode() & 0o777, 0o700);
    let mut version = String::new();
    std::fs::File::open(format!("{dir}/data/PG_VERSION"))?.read_to_string(&mut version)?;
    assert!(version.trim().parse::<u32>()? >= 13, "PostgreSQL {version}");
    Ok(())
}
