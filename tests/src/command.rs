//! The `clearing` command, built together with the suites that run it.

fn main() -> std::process::ExitCode {
    clearing::cli::main()
}
