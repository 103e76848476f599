//! `host report`.

use std::path::PathBuf;

use clap::Args;
use host::run::{Report, run_folder};

use super::args::OUT;
use super::print::Out;
use super::{CliError, Exit, runs, summary};

/// Arguments of `host report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The run, or the start of its id [default: the newest].
    run: Option<String>,
    /// Output folder.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
    /// Print the whole report as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the report of a run.
pub(crate) fn report(args: &ReportArgs, out: &mut Out) -> Result<Exit, CliError> {
    let run = runs::find(&args.out, args.run.as_deref())?;
    let path = run_folder(&args.out, &run.id).join("report.json");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        CliError::usage(format!("the run {} left no report: {}: {error}", run.id, path.display()))
            .next("it may be under way, or its process was killed: run its command again to go on")
    })?;
    if args.json {
        out.line(text.trim_end())?;
        return Ok(Exit::Complete);
    }
    let report: Report = serde_json::from_str(&text).map_err(|error| {
        CliError::usage(format!("the report of the run {} cannot be read: {error}", run.id))
            .next("it may be of another version of the host: read it with --json")
    })?;
    summary::print(&report, &args.out, out)?;
    Ok(Exit::Complete)
}
