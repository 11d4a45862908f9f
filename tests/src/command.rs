//! The `clearing` command, built together with the suites that run it.

/// As in the command that is delivered: suites measure the memory that it takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    clearing::commands::main()
}
