//! Structured logs. A line names the address's pattern and the partner, never a path or a body: those may hold a member number. One event is one line, and
//! nothing in it that a reader doesn't see, whatever came in.

use std::io::{self, Write};

use partner_sdk::text::{is_plain, shown};
use tracing_subscriber::EnvFilter;

/// Sets up logging to standard error: JSON lines where `json`, else text. `RUST_LOG` chooses the level, `info` without it.
pub fn init(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,actix_http=off,actix_server=warn"));
    let writer = move || Plain { json };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // A second call, as in tests, keeps the first setting.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

/// The same for a command whose output is for people: only warnings and errors, unless `RUST_LOG` says otherwise.
pub fn init_quiet() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let _ = builder.with_writer(|| Plain { json: false }).try_init();
}

/// Standard error, to which each event is one line of plain characters. Where it can't be written there is nobody to tell, and the service goes on.
struct Plain {
    json: bool,
}

impl Write for Plain {
    /// Takes a whole event: that is how the subscriber writes.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = one_line(&String::from_utf8_lossy(event), self.json);
        let _ = io::stderr().lock().write_all(line.as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event as one line that ends with a line feed.
fn one_line(event: &str, json: bool) -> String {
    let event = event.strip_suffix('\n').unwrap_or(event);
    let mut line = if json { json_shown(event) } else { shown(event).into_owned() };
    line.push('\n');
    line
}

/// JSON keeps its meaning: what isn't plain stands as JSON's own escape, which is the same string to whoever reads it.
fn json_shown(event: &str) -> String {
    let mut line = String::with_capacity(event.len() + 1);
    for c in event.chars() {
        if is_plain(c) {
            line.push(c);
        } else {
            let units = c
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect::<String>();
            line.push_str(&units);
        }
    }
    line
}

/// An error with its causes, in one line; as a value, so that JSON logs have the causes too.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_plain_characters() {
        let event = "WARN name=a\nINFO forged\u{1b}[2J \u{202e}x\n";
        assert_eq!(one_line(event, false), "WARN name=a\\nINFO forged\\u{1b}[2J \\u{202e}x\n");
        let json = "{\"name\":\"a\u{202e}\u{e0041}\u{7f}b\"}\n";
        let line = one_line(json, true);
        assert!(line.trim_end().chars().all(is_plain), "{line}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).expect("JSON"),
            serde_json::from_str::<serde_json::Value>(json).expect("JSON")
        );
    }
}
