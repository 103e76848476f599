//! `host archive`: what a run asked and was answered.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use host::http::Archive;
use host::http::archive::{Entry, Reader, RecordedExchange, har};
use host::run::retention::{self, Pruned, Retention};
use host::run::run_folder;
use host::state::Run;
use host::time::{SystemClock, Time};

use super::args::OUT;
use super::print::Out;
use super::units::{self, parse_bytes, parse_duration};
use super::{CliError, Exit, runs};

/// Bodies are decoded up to this size: far more than `--max-response` allows by default.
const MAX_BODY_BYTES: u64 = 1 << 32;

/// Arguments of `host archive`.
#[derive(Debug, Args)]
pub(crate) struct ArchiveArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the archives of an output folder, or the exchanges of a run.
    Ls(LsArgs),
    /// Prints a body as it was, decoded.
    Cat(CatArgs),
    /// Writes a run's exchanges as HTTP Archive (HAR 1.2), for other tools. Secrets stay placeholders.
    Export(ExportArgs),
    /// Removes archives by age and size, the oldest first. Those of unfinished runs stay.
    #[command(after_help = super::units::HELP)]
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
struct Folder {
    /// Output folder.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct LsArgs {
    /// The run, or the start of its id; without it, all archives.
    run: Option<String>,
    #[command(flatten)]
    folder: Folder,
    /// Print JSON, one text a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CatArgs {
    /// The run, or the start of its id.
    run: String,
    /// Number of the exchange, as `host archive ls RUN` shows it.
    number: u64,
    /// Print the request's body.
    #[arg(long)]
    request: bool,
    #[command(flatten)]
    folder: Folder,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// The run, or the start of its id [default: the newest that has an archive].
    run: Option<String>,
    #[command(flatten)]
    folder: Folder,
    /// File to write [default: standard output].
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["older_than", "keep_bytes", "keep_runs"]))]
struct PruneArgs {
    #[command(flatten)]
    folder: Folder,
    /// Remove archives of runs that ended longer ago than this: 30d, 12h.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Remove archives, the oldest first, until no more than this is left: 10GiB.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    keep_bytes: Option<u64>,
    /// Remove all archives of a connection but the newest so many.
    #[arg(long, value_name = "N")]
    keep_runs: Option<usize>,
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
}

/// Looks into archives.
pub(crate) fn archive(args: &ArchiveArgs, out: &mut Out) -> Result<Exit, CliError> {
    match &args.command {
        Command::Ls(args) => list(args, out),
        Command::Cat(args) => cat(args, out),
        Command::Export(args) => export(args, out),
        Command::Prune(args) => prune(args, out),
    }
}

fn archive_folder(out: &Path, run: &Run) -> PathBuf {
    run_folder(out, &run.id).join("archive")
}

fn open(out: &Path, run: &Run) -> Result<Reader, CliError> {
    let folder = archive_folder(out, run);
    if !folder.exists() {
        return Err(CliError::usage(format!("the run {} has no archive", run.id))
            .next("a run keeps one unless it is given --no-archive, until `host archive prune` removes it"));
    }
    Ok(Archive::read(&folder)?)
}

/// Bytes on disk of a folder of files; none where there is no folder.
fn size(folder: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(folder).ok()?;
    Some(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum())
}

fn exchanges(reader: Reader) -> impl Iterator<Item = Result<RecordedExchange, CliError>> {
    reader.filter_map(|entry| match entry {
        Ok(Entry::Exchange(exchange)) => Some(Ok(*exchange)),
        Ok(Entry::Note(_)) => None,
        Err(error) => Some(Err(error.into())),
    })
}

fn list(args: &LsArgs, out: &mut Out) -> Result<Exit, CliError> {
    let folder = &args.folder.out;
    let Some(run) = &args.run else { return list_all(folder, args.json, out) };
    let run = runs::find(folder, Some(run))?;
    let mut rows = Vec::new();
    for exchange in exchanges(open(folder, &run)?) {
        let exchange = exchange?;
        let bytes = exchange.body.as_ref().map_or(0, |body| body.size);
        let RecordedExchange { seq, read, attempt, request, status, elapsed_ms, error, .. } = exchange;
        if args.json {
            out.line(
                serde_json::json!({"number": seq, "read": read, "method": request.method, "url": request.url,
                                   "attempt": attempt, "status": status, "bytes": bytes, "elapsed_ms": elapsed_ms,
                                   "error": error})
                .to_string(),
            )?;
            continue;
        }
        let came = error.map_or_else(|| status.unwrap_or(0).to_string(), |error| units::start(&error));
        let numbers = [seq.to_string(), read, attempt.to_string(), came];
        let rest = [units::bytes(bytes), units::millis(elapsed_ms), format!("{} {}", request.method, request.url)];
        rows.push(numbers.into_iter().chain(rest).collect());
    }
    if !args.json {
        out.table(&["number", "read", "attempt", "status", "received", "took", "request"], &rows)?;
    }
    Ok(Exit::Complete)
}

fn list_all(folder: &Path, json: bool, out: &mut Out) -> Result<Exit, CliError> {
    let mut rows = Vec::new();
    for run in runs::load(folder)? {
        let Some(bytes) = size(&archive_folder(folder, &run)) else { continue };
        let mut count = 0_u64;
        let mut received = 0_u64;
        for exchange in exchanges(open(folder, &run)?) {
            count += 1;
            received += exchange?.body.map_or(0, |body| body.size);
        }
        if json {
            let line = serde_json::json!({"run": run.id, "connection": run.connection, "started_ms": run.started_ms,
                                          "exchanges": count, "received_bytes": received, "stored_bytes": bytes});
            out.line(line.to_string())?;
            continue;
        }
        let sizes = [units::count(count), units::bytes(received), units::bytes(bytes)];
        let row = [run.id, run.connection, units::moment(run.started_ms)].into_iter().chain(sizes);
        rows.push(row.collect());
    }
    if !json {
        out.table(&["run", "connection", "started (UTC)", "exchanges", "received", "stored"], &rows)?;
    }
    Ok(Exit::Complete)
}

fn cat(args: &CatArgs, out: &mut Out) -> Result<Exit, CliError> {
    let run = runs::find(&args.folder.out, Some(&args.run))?;
    let reader = open(&args.folder.out, &run)?;
    let bodies = reader.bodies();
    for exchange in exchanges(reader) {
        let exchange = exchange?;
        if exchange.seq != args.number {
            continue;
        }
        let body = if args.request { &exchange.request.body } else { &exchange.body };
        if let Some(body) = body {
            out.bytes(&bodies.load_decoded(body, MAX_BODY_BYTES)?)?;
        }
        return Ok(Exit::Complete);
    }
    Err(CliError::usage(format!("the run {} has no exchange {}", run.id, args.number)).next(format!(
        "list them with `host archive ls {} --out {}`",
        run.id,
        args.folder.out.display()
    )))
}

fn export(args: &ExportArgs, out: &mut Out) -> Result<Exit, CliError> {
    let run = runs::find_archived(&args.folder.out, args.run.as_deref())?;
    let reader = open(&args.folder.out, &run)?;
    match &args.to {
        Some(path) => {
            let failed = |error: std::io::Error| {
                CliError::output(format!("cannot write {}: {error}", path.display()))
                    .next("check the folder's permissions and free space")
            };
            let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
            let count = har::export(reader, MAX_BODY_BYTES, &mut file)?;
            file.flush().map_err(failed)?;
            out.line(format!("{} in {}", units::counted(count, "exchange"), path.display()))?;
        }
        None => {
            har::export(reader, MAX_BODY_BYTES, out.raw())?;
        }
    }
    Ok(Exit::Complete)
}

fn prune(args: &PruneArgs, out: &mut Out) -> Result<Exit, CliError> {
    runs::load(&args.folder.out)?;
    let retention = Retention {
        runs: args.keep_runs,
        age: args.older_than,
        bytes: args.keep_bytes,
        dry_run: args.dry_run,
        ..Retention::default()
    };
    let pruned = retention::prune(&args.folder.out, &retention, SystemClock::new().now_ms())?;
    let what = if args.dry_run { "would remove" } else { "removed" };
    for (run, bytes) in &pruned.removed {
        out.line(format!("{what} the archive of run {run} ({})", units::bytes(*bytes)))?;
    }
    for connection in &pruned.busy {
        out.line(format!("a run of {connection} is under way: its archives stay"))?;
    }
    let Pruned { removed, freed, left, unfinished, shared, .. } = pruned;
    if unfinished > 0 {
        let stay = match unfinished {
            1 => "1 archive of an unfinished run stays; run its command again to finish it".to_owned(),
            more => format!("{more} archives of unfinished runs stay; run their commands again to finish them"),
        };
        out.line(stay)?;
    }
    if shared > 0 {
        out.line(format!("{} of removed archives stay, since others share them", units::bytes(shared)))?;
    }
    let what = if args.dry_run { "would be removed" } else { "removed" };
    let (freed, left) = (units::bytes(freed), units::bytes(left));
    out.line(format!("{} {what}, {freed} freed, {left} left", units::counted(removed.len() as u64, "archive")))?;
    Ok(Exit::Complete)
}
