//! Arguments in, exit code out.

use std::process::ExitCode;

/// Buffers of many sizes come and go; musl's own allocator would make threads wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    backstay::cli::main()
}
