//! The `host` command: parses arguments, prints, and sets the exit code.

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// Has glibc keep the memory that is given back to it. What one row group takes the next one takes again, and each page of
/// memory that the kernel hands out anew costs a fault; what is kept is bounded by what was in use at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_memory() {
    const KEPT_BYTES: i32 = 256 << 20;
    const MAPPED_BYTES: i32 = 32 << 20;
    #[expect(unsafe_code, reason = "glibc has no safe way to be told, and there are no other threads yet")]
    // SAFETY: `mallopt` takes two integers and may be called at any time; it is called before any thread is made.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
    }
}

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    keep_memory();
    let parsed = match cli::Cli::try_parse() {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version come as errors too; printing fails only where nobody reads.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match cli::dispatch(parsed) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => error.exit(),
    }
}
