//! The server under measurement: this very program, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, bail, ensure};

/// A server that runs; it is killed when this is dropped.
pub(super) struct Server {
    child: Child,
    /// Where it listens on the loopback interface.
    pub port: u16,
    // Kept open, so that a late line doesn't end the server.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it and waits until it is ready. Its log goes to a file beside the configuration.
    pub fn start(config: &Path) -> anyhow::Result<Self> {
        let log = config.with_extension("log");
        let program = std::env::current_exe().context("where this program is")?;
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(config)
            .env("CLEARING_LISTEN", "127.0.0.1:0")
            .env("CLEARING_HEALTH_LISTEN", "")
            // What is measured is how fast it goes.
            .env("CLEARING_LIMITS__REQUESTS_PER_SECOND", "0")
            .env("CLEARING_LIMITS__MESSAGES_PER_SECOND", "0")
            .env("CLEARING_LIMITS__HANDSHAKES_PER_SECOND", "0")
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
                return Err(error.context(super::tail(&log)));
            }
        };
        Ok(Self {
            child,
            port,
            _stdout: stdout,
        })
    }

    /// The processor time that the server has used so far, in nanoseconds (Linux only, in steps of 10 ms).
    pub fn cpu_nanos(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name stands in parentheses and may hold blanks; utime and stime are the 12th and 13th fields after it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        (user + system).checked_mul(10_000_000)
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
