//! The `clearing` command.

/// A message makes many small texts on one thread and drops them on another; this allocator takes that better than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    clearing::cli::main()
}
