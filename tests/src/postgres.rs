//! A private PostgreSQL for the tests: its own cluster in a temporary directory, so that no server that happens to run is touched.
//!
//! A small shell script supervises each cluster. It holds a pipe from the test process, and when that closes, for whatever reason (the test
//! ended, panicked or was killed), it stops the server and removes the directory. So nothing is left over, not even from a static.
//!
//! Processes are looked up in `/proc`, so this needs Linux.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

/// How long a server may take to answer, crash recovery included, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every line on stdin starts the server (again) and is answered with its process id; the end of stdin ends everything.
const SUPERVISOR: &str = r#"
set -u
umask 077
bin=$1 dir=$2 auth=$3 pid=
end() {
    if [ -n "$pid" ]; then
        # Again and again: a server that has only just started may still ignore the signal.
        while kill -QUIT "$pid"; do sleep 0.2; done &
        wait "$pid"
    fi 2>/dev/null
    cd / && rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' HUP INT TERM
"$bin/initdb" -N -D "$dir/data" -U clearing -E UTF8 --locale=C -A "$auth" --pwfile="$dir/password" </dev/null >"$dir/log" 2>&1 ||
    { cat "$dir/log"; exit 1; }
while read -r _; do
    [ -z "$pid" ] || wait "$pid" 2>/dev/null
    "$bin/postgres" -D "$dir/data" -c config_file="$dir/postgresql.conf" -c hba_file="$dir/pg_hba.conf" >>"$dir/log" 2>&1 &
    pid=$!
    echo "$pid"
done
"#;

/// Durability is under test, so every commit is synced; memory is kept small. Dynamic shared memory lies in the data directory, where
/// a killed server's is removed with everything else.
const SETTINGS: &str = "fsync = on\nsynchronous_commit = on\nmax_connections = 200\nshared_buffers = 32MB\nmax_wal_size = 512MB\n\
                        dynamic_shared_memory_type = mmap\ntimezone = 'UTC'\njit = off\n";

static SHARED: OnceLock<Cluster> = OnceLock::new();

/// A running PostgreSQL cluster of one's own. Dropping it stops the server and removes its files.
pub struct Cluster {
    dir: PathBuf,
    authority: String,
    query: String,
    supervisor: Child,
    replies: BufReader<ChildStdout>,
    postmaster: u32,
    databases: AtomicU32,
}

impl Cluster {
    /// Makes a cluster and waits until it answers. It listens on a Unix socket in a directory of its own, on no TCP port.
    /// Fails, with the end of the server's log, if PostgreSQL isn't installed or doesn't start.
    pub fn start() -> Result<Self> {
        let home = Home::new()?;
        let socket_dir = home.dir.path().to_str().context("a temporary directory that isn't UTF-8")?;
        home.put(
            "postgresql.conf",
            &format!("{SETTINGS}listen_addresses = ''\nunix_socket_directories = '{socket_dir}'\n"),
        )?;
        home.put("pg_hba.conf", "local all all trust\n")?;
        home.put("password", "unused")?;
        let query = format!("host={}&port=5432", percent_encode(socket_dir));
        Self::launch(home, "trust", "clearing@".into(), query)
    }

    /// The cluster that the tests of this process share, started on first use.
    ///
    /// # Panics
    /// If it can't be started; the message says what to install.
    pub fn shared() -> &'static Self {
        SHARED.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("no PostgreSQL for the tests: {error:#}")))
    }

    /// Makes a cluster that takes nothing but TLS on 127.0.0.1, with a password and a certificate for the given host names.
    /// Needs a libpq with TLS: the system's, not the bundled one.
    pub fn start_with_tls(names: &[&str]) -> Result<TlsCluster> {
        // Somebody may take the port between our finding it free and the server's binding it; hardly twice.
        TlsCluster::start(names).or_else(|_| TlsCluster::start(names))
    }

    /// Creates an empty database and returns its URL.
    pub fn create_database(&self) -> Result<String> {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        PgConnection::establish(&self.url("postgres"))?.batch_execute(&format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// Copies a database of this cluster, which nobody may be connected to, and returns the copy's URL.
    pub fn copy_database(&self, url: &str) -> Result<String> {
        let original = url
            .split('/')
            .nth(3)
            .and_then(|rest| rest.split('?').next())
            .context("a URL of this cluster")?;
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        PgConnection::establish(&self.url("postgres"))?.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {original}"))?;
        Ok(self.url(&name))
    }

    /// Kills the server and all its processes at once (SIGKILL) and returns when they are gone. Not for the shared cluster.
    pub fn kill_9(&self) -> Result<()> {
        ensure!(
            !SHARED.get().is_some_and(|shared| std::ptr::eq(shared, self)),
            "the shared cluster is not to be killed"
        );
        if !is_alive(self.postmaster) {
            return Ok(());
        }
        // Stopped first, the postmaster can't start another child or warn those it has. They lead process groups of their own, so
        // a signal to the postmaster's group wouldn't reach them.
        signal("STOP", &[self.postmaster])?;
        wait_until("the server stops", || {
            state_of(self.postmaster).is_none_or(|(state, _)| matches!(state, 'T' | 'Z' | 'X'))
        })?;
        let mut processes = children_of(self.postmaster);
        processes.push(self.postmaster);
        signal("KILL", &processes)?;
        wait_until("the killed processes are gone", || !processes.iter().any(|pid| is_alive(*pid)))
    }

    /// Starts the server again on the same files, killing it first if it runs, and waits until it has recovered.
    pub fn restart(&mut self) -> Result<()> {
        self.kill_9()?;
        self.run_server()
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql://{}/{database}?{}", self.authority, self.query)
    }

    fn launch(home: Home, auth: &str, authority: String, query: String) -> Result<Self> {
        let dir = home.dir.path().to_owned();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SUPERVISOR, "postgres-for-tests"])
            .args([home.programs.as_os_str(), dir.as_os_str(), OsStr::new(auth)]);
        // In a process group of its own, Ctrl-C ends the tests first and the server by the closed pipe.
        command
            .current_dir(&dir)
            .process_group(0)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        if let Some((uid, gid)) = home.owner {
            command.uid(uid).gid(gid);
        }
        let mut supervisor = command.spawn().context("cannot run /bin/sh")?;
        let _ = home.dir.keep(); // from here on the supervisor removes it
        let replies = BufReader::new(supervisor.stdout.take().context("the supervisor's stdout is piped")?);
        let mut cluster = Self {
            dir,
            authority,
            query,
            supervisor,
            replies,
            postmaster: 0,
            databases: AtomicU32::new(0),
        };
        cluster.run_server()?;
        Ok(cluster)
    }

    fn run_server(&mut self) -> Result<()> {
        // A supervisor that gave up has closed the pipe; why, it says in its reply.
        let asked = self
            .supervisor
            .stdin
            .as_mut()
            .context("the supervisor's stdin is piped")?
            .write_all(b"start\n");
        let mut reply = String::new();
        self.replies.read_line(&mut reply)?;
        let Ok(pid) = reply.trim().parse() else {
            self.replies.read_to_string(&mut reply)?;
            bail!("initdb failed: {}", reply.trim());
        };
        asked.context("the supervisor is gone")?;
        self.postmaster = pid;
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&self) -> Result<()> {
        let (url, deadline) = (format!("{}&connect_timeout=10", self.url("postgres")), Instant::now() + PATIENCE);
        loop {
            let gone = !is_alive(self.postmaster);
            let Err(error) = PgConnection::establish(&url) else { return Ok(()) };
            ensure!(
                !error.to_string().contains("SSL support is not compiled in"),
                "this libpq can't speak TLS: build with --no-default-features, which links the system's"
            );
            if gone || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                return Err(anyhow!(error).context(format!("PostgreSQL doesn't answer; the end of its log:\n{end}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// A cluster that takes nothing but TLS with a password.
pub struct TlsCluster {
    cluster: Cluster,
    ca: PathBuf,
    other_ca: PathBuf,
}

impl TlsCluster {
    /// The URL of a database at `localhost`, with libpq's `sslmode` and the file of the CA that it is to trust.
    pub fn url(&self, sslmode: &str, sslrootcert: &Path) -> String {
        format!(
            "postgresql://{}/postgres?{}",
            self.cluster.authority,
            tls_query(sslmode, sslrootcert)
        )
    }

    /// The certificate of the CA that signed the server's certificate, a PEM file.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// The certificate of a CA that has nothing to do with the server, a PEM file.
    pub fn other_ca(&self) -> &Path {
        &self.other_ca
    }

    fn start(names: &[&str]) -> Result<Self> {
        let home = Home::new()?;
        let (ca, issuer) = make_ca("test CA")?;
        let key = rcgen::KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = rcgen::CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let ca = home.put("ca.pem", &ca)?;
        let other_ca = home.put("other-ca.pem", &make_ca("another test CA")?.0)?;
        home.put("server.pem", &certificate.pem())?;
        home.put("server.key", &key.serialize_pem())?;
        let password = random_hex()?;
        home.put("password", &password)?;
        home.put("pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n")?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = home.dir.path().display();
        home.put(
            "postgresql.conf",
            &format!(
                "{SETTINGS}listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n\
                 ssl = on\nssl_cert_file = '{dir}/server.pem'\nssl_key_file = '{dir}/server.key'\n"
            ),
        )?;
        // The name on the certificate may be any, so only the CA is checked while waiting.
        let cluster = Cluster::launch(
            home,
            "scram-sha-256",
            format!("clearing:{password}@localhost:{port}"),
            tls_query("verify-ca", &ca),
        )?;
        Ok(Self { cluster, ca, other_ca })
    }
}

/// The address is given besides the name, so that no resolver is asked.
fn tls_query(sslmode: &str, sslrootcert: &Path) -> String {
    format!(
        "hostaddr=127.0.0.1&sslmode={sslmode}&sslrootcert={}",
        percent_encode(&sslrootcert.to_string_lossy())
    )
}

/// A new CA: its certificate as PEM, and what signs with it.
fn make_ca(name: &str) -> Result<(String, rcgen::Issuer<'static, rcgen::KeyPair>)> {
    let mut params = rcgen::CertificateParams::new(Vec::new())?;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, rcgen::Issuer::new(params, key)))
}

fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(partner_sdk::jws::to_hex(&bytes))
}

/// What a cluster needs before it exists: PostgreSQL's programs, and a directory that belongs to the user who will run them.
struct Home {
    programs: PathBuf,
    dir: tempfile::TempDir,
    owner: Option<(u32, u32)>,
}

impl Home {
    fn new() -> Result<Self> {
        let programs = find_programs()?;
        // The path of a socket may have about 100 bytes at most, so it isn't the usual directory for temporary files, which can be deep.
        let owner_only = std::fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new()
            .prefix("clearing-pg-")
            .permissions(owner_only)
            .tempdir_in("/tmp")?;
        // PostgreSQL refuses to run as root. Who we are shows in the owner of what we create.
        let owner = if dir.path().metadata()?.uid() == 0 {
            Some(postgres_user()?)
        } else {
            None
        };
        let home = Self { programs, dir, owner };
        home.give_away(home.dir.path())?;
        Ok(home)
    }

    /// Writes a file that only the server's user (and root) can read.
    fn put(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?
            .write_all(text.as_bytes())?;
        self.give_away(&path)?;
        Ok(path)
    }

    fn give_away(&self, path: &Path) -> Result<()> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).with_context(|| format!("cannot give {} to the user postgres", path.display()))
    }
}

/// The directory of `initdb` and `postgres`: `TEST_PG_BIN`, else Debian's newest version, else on the `PATH`.
fn find_programs() -> Result<PathBuf> {
    let complete = |dir: &PathBuf| ["initdb", "postgres"].iter().all(|program| dir.join(program).is_file());
    if let Some(dir) = std::env::var_os("TEST_PG_BIN").map(PathBuf::from) {
        ensure!(
            complete(&dir),
            "TEST_PG_BIN is {}, which doesn't hold PostgreSQL's initdb and postgres",
            dir.display()
        );
        return Ok(dir);
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let numbered = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))));
    let newest = numbered.filter(|(_, dir)| complete(dir)).max();
    let on_path = || std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).find(complete);
    newest.map(|(_, dir)| dir).or_else(on_path).context(
        "PostgreSQL's programs initdb and postgres aren't found: install them (Debian: apt-get install postgresql, or run ./tests/run, \
         which does it), or name their directory in TEST_PG_BIN",
    )
}

/// User and group id of the user `postgres`.
fn postgres_user() -> Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd")?;
    let fields = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&"postgres"));
    let ids = fields.and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)));
    ids.context(
        "PostgreSQL doesn't run as root, and there is no user `postgres` to run it as: create one, or run the tests as another user",
    )
}

/// Sends a signal; a process that is gone already is no error. The shell's own `kill`: the program isn't installed everywhere.
fn signal(name: &str, processes: &[u32]) -> Result<()> {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", r#"signal=$1; shift; kill -s "$signal" "$@""#, "kill", name])
        .args(processes.iter().map(u32::to_string));
    command.stderr(Stdio::null()).status().context("cannot run /bin/sh")?;
    Ok(())
}

/// Polls a condition that comes true very soon.
fn wait_until(what: &str, condition: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        ensure!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// State and parent of a process, from `/proc/PID/stat`: `PID (any name) STATE PARENT ...`.
fn state_of(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process still runs; one that has ended and waits for its parent to notice doesn't.
fn is_alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn children_of(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| state_of(*pid).is_some_and(|(_, ppid)| ppid == parent)).collect()
}

/// For a value in a URL's query.
fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
