//! Serves recorded exchanges with the GitHub API: `recorded-api tests/servers/recordings/*.txt`.

use std::{io::Write, path::PathBuf};

use clap::Parser;
use tests::recorded::{Recording, Replay};

/// Serves recorded exchanges on 127.0.0.1; of two that answer the same request, the earlier counts.
#[derive(Parser)]
struct Arguments {
    /// Port; a free one by default.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The recordings.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let recordings = arguments.files.iter().map(|path| Recording::read(path)).collect::<Result<Vec<_>, _>>()?;
    let replay = Replay::start(recordings, arguments.port)?;
    // The first line on stdout is where to read; scripts wait for it.
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", replay.url())?;
    out.flush()?;
    drop(out);
    replay.wait();
    Ok(())
}
