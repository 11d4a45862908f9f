//! The `clearing` command.

/// A message makes many small texts on one thread and drops them on another; this allocator takes that better than the system's. Of its lines the second: it gives back
/// within 10 ms what was dropped, where the third keeps that for a second, several times what is used.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    clearing::commands::main()
}
