//! The `clearing` command in a process of its own, to be killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child as Process, Command, ExitStatus, Stdio};

/// A service in a process of its own.
pub struct Child {
    process: Process,
    /// Where it listens.
    pub base: String,
}

/// The command with its configuration, on a free port, at a database of its own if one is given.
pub fn command(program: &str, folder: &Path, database: Option<&str>) -> Command {
    let mut command = Command::new(program);
    command
        .env("CLEARING_CONFIG", folder.join("clearing.toml"))
        .env("CLEARING_LISTEN", "127.0.0.1:0")
        .env("CLEARING_HEALTH_LISTEN", "");
    command.env("RUST_LOG", "error").stdin(Stdio::null());
    if let Some(database) = database {
        command.env("CLEARING_DATABASE", database);
    }
    command
}

impl Child {
    /// Starts `serve` and waits until it is ready.
    pub fn serve(program: &str, folder: &Path) -> Self {
        let mut process = command(program, folder, None)
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut lines = BufReader::new(process.stdout.take().expect("its output"))
            .lines()
            .map_while(Result::ok);
        let address = lines
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
            .expect("it listens");
        let port = address.rsplit(':').next().expect("a port").to_owned();
        lines.find(|line| line == "ready").expect("it gets ready");
        Self {
            process,
            base: format!("https://localhost:{port}"),
        }
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
