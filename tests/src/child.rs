//! The `clearing` command in a process of its own, to be killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child as Process, Command, ExitStatus, Stdio};

/// A service in a process of its own.
pub struct Child {
    process: Process,
    /// Where it listens.
    pub base: String,
    /// Where partners enrol, if they can by themselves.
    pub enrol: Option<String>,
    /// Where it tells of its health without a certificate, if it does.
    pub health: Option<String>,
}

/// The command with its configuration, on a free port without rates, at a database of its own if one is given.
pub fn command(program: &str, folder: &Path, database: Option<&str>) -> Command {
    let mut command = as_set_up(program, folder);
    command
        .env("CLEARING_HEALTH_LISTEN", "")
        .env("CLEARING_LIMITS__REQUESTS_PER_SECOND", "0")
        .env("CLEARING_LIMITS__MESSAGES_PER_SECOND", "0")
        .env("CLEARING_LIMITS__HANDSHAKES_PER_SECOND", "0");
    if let Some(database) = database {
        command.env("CLEARING_DATABASE", database);
    }
    command
}

/// The command with its configuration, which says nothing of limits, on free ports.
fn as_set_up(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("CLEARING_CONFIG", folder.join("clearing.toml"))
        .env("CLEARING_LISTEN", "127.0.0.1:0")
        .env("CLEARING_HEALTH_LISTEN", "127.0.0.1:0")
        .env("RUST_LOG", "error")
        .stdin(Stdio::null());
    command
}

impl Child {
    /// Starts `serve` without rates and waits until it is ready.
    pub fn serve(program: &str, folder: &Path) -> Self {
        Self::start(&mut command(program, folder, None))
    }

    /// The same as a newcomer has it, with the limits that hold where a configuration says nothing, and all three listeners.
    pub fn serve_as_set_up(program: &str, folder: &Path) -> Self {
        Self::start(as_set_up(program, folder).env("CLEARING_ENROL_LISTEN", "127.0.0.1:0"))
    }

    fn start(command: &mut Command) -> Self {
        let mut process = command.arg("serve").stdout(Stdio::piped()).spawn().expect("the command starts");
        let mut lines = BufReader::new(process.stdout.take().expect("its output"))
            .lines()
            .map_while(Result::ok);
        let (mut base, mut enrol, mut health) = (None, None, None);
        let found = lines.find(|line| {
            let at = |prefix: &str| {
                let port = line.strip_prefix(prefix)?.rsplit(':').next()?;
                Some(format!("https://localhost:{port}"))
            };
            base = base.take().or_else(|| at("listening on "));
            enrol = enrol.take().or_else(|| at("enrolment on "));
            health = health.take().or_else(|| at("health on "));
            line == "ready"
        });
        found.expect("it gets ready");
        Self {
            process,
            base: base.expect("it listens"),
            enrol,
            health,
        }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill_9(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }

    /// SIGTERM; returns how it ended.
    pub fn terminate(mut self) -> ExitStatus {
        let kill = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(kill.success());
        self.process.wait().expect("it ends")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A test that failed leaves nothing running; one that has ended it finds nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
