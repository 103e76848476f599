//! The `host` command: parses arguments, prints, and sets the exit code.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
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
