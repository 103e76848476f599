//! `host runs`.

use std::path::{Path, PathBuf};

use clap::Args;
use host::run::{dead_letter_files, state_path};
use host::state::{Run, RunStatus, Sqlite, StateStore};

use super::args::OUT;
use super::print::Out;
use super::{CliError, Exit, units};

/// Arguments of `host runs`.
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Output folder.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Reads the runs of an output folder, newest first.
pub(crate) fn load(out: &Path) -> Result<Vec<Run>, CliError> {
    let path = state_path(out);
    if !path.exists() {
        return Err(CliError::usage(format!("there are no runs in {}", out.display()))
            .next("give the output folder of a run, or make one with `host run`"));
    }
    Ok(Sqlite::open(&path)?.runs()?)
}

/// Finds a run by the start of its id; the newest where none is given.
pub(crate) fn find(out: &Path, wanted: Option<&str>) -> Result<Run, CliError> {
    let start = wanted.unwrap_or_default();
    let mut matching = load(out)?.into_iter().filter(|run| run.id.starts_with(start));
    let run = matching.next().ok_or_else(|| {
        CliError::usage(format!("there is no run {start} in {}", out.display()))
            .next(format!("list them with `host runs --out {}`", out.display()))
    })?;
    if wanted.is_some() && matching.next().is_some() {
        return Err(CliError::usage(format!("several runs start with {start}")).next("give more of the run's id"));
    }
    Ok(run)
}

/// Finds a run by the start of its id; where none is given, the newest that has an archive, as those that `host reprocess` made
/// have none.
pub(crate) fn find_archived(out: &Path, wanted: Option<&str>) -> Result<Run, CliError> {
    let has_archive = |run: &Run| out.join("_runs").join(&run.id).join("archive").exists();
    match load(out)?.into_iter().find(has_archive) {
        Some(run) if wanted.is_none() => Ok(run),
        _ => find(out, wanted),
    }
}

/// Lists the runs of an output folder.
pub(crate) fn runs(args: &RunsArgs, out: &mut Out) -> Result<Exit, CliError> {
    let runs = load(&args.out)?;
    let dead = dead_letter_files(&mut Sqlite::open(&state_path(&args.out))?)?;
    let dead_of = |run: &Run| -> Vec<String> {
        dead.iter().filter(|(id, _)| *id == run.id).map(|(_, file)| file.clone()).collect()
    };
    if args.json {
        let list: Vec<_> = runs
            .iter()
            .map(|run| {
                serde_json::json!({
                    "run": run.id, "connection": run.connection, "connector": run.connector,
                    "started_ms": run.started_ms, "ended_ms": run.ended_ms, "status": status(run.status),
                    "verdict": run.verdict, "records": run.records, "dead_letter_files": dead_of(run),
                })
            })
            .collect();
        out.line(serde_json::to_string_pretty(&list).unwrap_or_default())?;
        return Ok(Exit::Complete);
    }
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            vec![
                run.id.clone(),
                run.connection.clone(),
                run.connector.clone(),
                units::moment(run.started_ms),
                run.ended_ms.map(|end| units::millis(end.saturating_sub(run.started_ms))).unwrap_or_default(),
                status(run.status).to_owned(),
                run.verdict.clone().unwrap_or_default(),
                units::count(run.records),
            ]
        })
        .collect();
    out.table(&["run", "connection", "connector", "started (UTC)", "took", "status", "verdict", "records"], &rows)?;
    if !dead.is_empty() {
        let rows: Vec<Vec<String>> =
            dead.iter().map(|(run, file)| vec![args.out.join(file).display().to_string(), run.clone()]).collect();
        out.line("")?;
        out.table(&["records that could not be stored", "of run"], &rows)?;
    }
    Ok(Exit::Complete)
}

fn status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Interrupted => "interrupted",
        RunStatus::Ended => "ended",
    }
}
