//! `crowd CASE …`: what many connections in one process cost each other, and what the sandbox costs a page.
//!
//! Each case is a process of its own, so that its peak of memory is its own; it prints one line of JSON. The programs and
//! connectors that it needs lie where `make build`, `make programs` and `make guests` put them. `make bench-crowd` runs all
//! cases.

mod calls;
mod many;
mod mock;
mod pages;
mod place;
mod runaway;
mod stats;

use std::io::Write;

use clap::{Parser, Subcommand};

/// Measures the host's costs under many connections, and those of its sandbox.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    case: Case,
}

#[derive(Subcommand)]
enum Case {
    /// Many connections, each of which makes one request a second.
    Many(many::Arguments),
    /// Healthy connections beside one that computes for ever, in turns with healthy ones alone.
    Runaway(runaway::Arguments),
    /// A call of the host that does next to nothing, ten million times.
    Calls,
    /// Pages out of memory: what the sandbox adds to decoding them.
    Pages(pages::Arguments),
}

fn main() -> anyhow::Result<()> {
    let result = match Arguments::parse().case {
        Case::Many(arguments) => many::measure(&arguments),
        Case::Runaway(arguments) => runaway::measure(&arguments),
        Case::Calls => calls::measure(),
        Case::Pages(arguments) => pages::measure(&arguments),
    }?;
    writeln!(std::io::stdout(), "{result}")?;
    Ok(())
}
