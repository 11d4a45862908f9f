//! Structured logs. A line names the address's pattern and the partner, never a path or a body: those may hold a member number.

/// Sets up logging to standard error: JSON lines where `json`, else text. `RUST_LOG` chooses the level, `info` without it.
pub fn init(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,actix_http=off,actix_server=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, as in tests, keeps the first setting.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

/// The same for a command whose output is for people: only warnings and errors, unless `RUST_LOG` says otherwise.
pub fn init_quiet() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

/// An error with its causes, in one line; as a value, so that JSON logs have the causes too.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
