//! The server under measurement: this very program, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::cpu;

/// The name under which the server connects to PostgreSQL.
pub(super) fn database_name() -> String {
    format!("clearing-bench-{}", std::process::id())
}

/// A server that runs; it is killed when this is dropped.
pub(super) struct Server {
    child: Child,
    /// Where it listens on the loopback interface.
    pub port: u16,
    /// The file with its log.
    pub log: PathBuf,
    // Kept open, so that a late line doesn't end the server.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it and waits until it is ready. Its log goes to a file beside the configuration, with what `levels` says (as `RUST_LOG` does). To PostgreSQL it gives
    /// [`database_name`].
    pub fn start(config: &Path, levels: &str) -> anyhow::Result<Self> {
        let log = config.with_extension("log");
        let program = std::env::current_exe().context("where this program is")?;
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(config)
            .env("CLEARING_LISTEN", "127.0.0.1:0")
            .env("CLEARING_HEALTH_LISTEN", "")
            .env("RUST_LOG", levels)
            .env("PGAPPNAME", database_name())
            // What is measured is how fast it goes.
            .env("CLEARING_LIMITS__REQUESTS_PER_SECOND", "0")
            .env("CLEARING_LIMITS__MESSAGES_PER_SECOND", "0")
            .env("CLEARING_LIMITS__HANDSHAKES_PER_SECOND", "0")
            // All partners come from this address.
            .env("CLEARING_LIMITS__HANDSHAKES", "10000")
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("cannot start the server")?;
        let mut stdout = BufReader::new(child.stdout.take().context("the server's output")?);
        let port = match port(&mut stdout) {
            Ok(port) => port,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error.context(tail(&log)));
            }
        };
        Ok(Self {
            child,
            port,
            log,
            _stdout: stdout,
        })
    }

    /// The processor time that the server has used so far, in nanoseconds (in steps of 10 ms).
    pub fn cpu(&self) -> anyhow::Result<u64> {
        cpu::process(self.child.id())
    }

    /// The memory that it has now, and the most that it ever had, in bytes.
    pub fn memory(&self) -> anyhow::Result<cpu::Memory> {
        cpu::memory(self.child.id())
    }

    /// What it has logged so far.
    pub fn logged(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// Stops it gracefully.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").arg(self.child.id().to_string()).status();
        ensure!(told.is_ok_and(|status| status.success()), "cannot stop the server");
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of the server's log, for the error that explains why there is no figure.
pub(super) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

fn port(stdout: &mut BufReader<ChildStdout>) -> anyhow::Result<u16> {
    let mut port = None;
    for line in stdout.lines() {
        let line = line?;
        if let Some(address) = line.strip_prefix("listening on ") {
            port = Some(address.parse::<std::net::SocketAddr>()?.port());
        }
        if line == "ready" {
            return port.context("the server didn't say where it listens");
        }
    }
    bail!("the server ended before it was ready")
}
