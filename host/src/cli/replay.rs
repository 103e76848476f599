//! `host replay`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use host::event::Observer;
use host::run::replay::{Difference, Recorded, ReplayReport, compare};
use host::run::state_path;
use host::state::Sqlite;

use super::args::{CacheArgs, LimitArgs, OUT, keys};
use super::print::Out;
use super::progress::{Progress, Style};
use super::scratch::Scratch;
use super::{CliError, Exit, connectors, runs, units};

/// Arguments of `host replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The run, or the start of its id [default: the newest that has an archive].
    run: Option<String>,
    /// Another connector, or another version of it: show how its records differ from those of the one that made the run.
    #[arg(long, value_name = "CONNECTOR")]
    with: Option<String>,
    /// Output folder of the run.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
    /// Folder to write the repeated records to; without it they are only compared.
    #[arg(long, value_name = "DIR", conflicts_with = "with")]
    to: Option<PathBuf>,
    /// With --with: differing records to show of each kind.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "with")]
    examples: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Repeats a run.
pub(crate) async fn replay(args: ReplayArgs, out: &mut Out) -> Result<Exit, CliError> {
    let run = runs::find_archived(&args.out, args.run.as_deref())?;
    let observer: Arc<dyn Observer> = Arc::new(Progress::new(Style::Quiet));
    let recorded = Recorded::load(args.cache.engine(&args.limits)?, &args.out, &run.id, observer, keys(&args.out))?;
    match &args.with {
        Some(connector) => with(&args, &recorded, connector, out).await,
        None => again(&args, &recorded, out).await,
    }
}

async fn again(args: &ReplayArgs, recorded: &Recorded, out: &mut Out) -> Result<Exit, CliError> {
    let mut state = Sqlite::open(&state_path(&args.out))?;
    let report = match &args.to {
        Some(folder) => {
            if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(
                    CliError::usage(format!("{} is not empty", folder.display())).next("give --to a new folder")
                );
            }
            recorded.replay(folder, &mut state).await?
        }
        None => recorded.replay(Scratch::new(&args.out)?.path(), &mut state).await?,
    };
    if args.json {
        out.line(serde_json::to_string_pretty(&report).unwrap_or_default())?;
    } else {
        print(&report, out)?;
    }
    Ok(if report.same { Exit::Complete } else { Exit::Incomplete })
}

fn print(report: &ReplayReport, out: &mut Out) -> Result<(), CliError> {
    let row = |stream: &host::run::replay::StreamReplay| {
        let (pages, records) = (units::count(stream.pages), units::count(stream.records));
        vec![stream.name.clone(), pages, records, units::count(stream.different), stream.files.len().to_string()]
    };
    let rows: Vec<Vec<String>> = report.streams.iter().map(row).collect();
    out.table(&["stream", "pages", "records", "different pages", "files"], &rows)?;
    out.line("")?;
    for difference in report.streams.iter().filter_map(|stream| stream.first_difference.as_ref()) {
        out.line(format!("  {difference}"))?;
    }
    let records = units::counted(report.streams.iter().map(|stream| stream.records).sum(), "record");
    out.line(match report.same {
        true => format!("the same: {records} of run {}", report.run),
        false => format!("not the same as run {}", report.run),
    })
}

async fn with(args: &ReplayArgs, recorded: &Recorded, connector: &str, out: &mut Out) -> Result<Exit, CliError> {
    let path = connectors::find(connector)?;
    let scratch = Scratch::new(&args.out)?;
    let before = recorded.make(None, &scratch.folder("before")).await?;
    let after = recorded.make(Some(&path.path), &scratch.folder("after")).await?;
    let mut differences = Vec::new();
    for made in &after.streams {
        if let Some(old) = before.streams.iter().find(|stream| stream.name == made.name) {
            differences.push(compare(old, made, scratch.path(), args.examples)?);
        }
    }
    let left_out: Vec<&String> = after.left_out.iter().filter(|text| !before.left_out.contains(text)).collect();
    let same = left_out.is_empty() && differences.iter().all(Difference::is_empty);
    if args.json {
        let report = serde_json::json!({"same": same, "streams": differences, "left_out": left_out});
        out.line(serde_json::to_string_pretty(&report).unwrap_or_default())?;
    } else {
        print_differences(&differences, out)?;
        left_out.iter().try_for_each(|text| out.line(format!("left out: {text}")))?;
        out.line(if same { "the same records" } else { "not the same records" })?;
    }
    Ok(if same { Exit::Complete } else { Exit::Incomplete })
}

fn print_differences(differences: &[Difference], out: &mut Out) -> Result<(), CliError> {
    let count = units::count;
    let row = |d: &Difference| {
        let numbers = [d.before, d.after, d.added, d.removed, d.changed].map(count);
        std::iter::once(d.stream.clone()).chain(numbers).collect()
    };
    let rows: Vec<Vec<String>> = differences.iter().map(row).collect();
    out.table(&["stream", "records before", "after", "added", "removed", "changed"], &rows)?;
    out.line("")?;
    let fields = differences.iter().flat_map(|d| d.fields.iter().map(move |(field, times)| (d, field, times)));
    let rows: Vec<Vec<String>> =
        fields.map(|(d, field, times)| vec![d.stream.clone(), field.clone(), count(*times)]).collect();
    if !rows.is_empty() {
        out.table(&["stream", "field", "records in which it changed"], &rows)?;
        out.line("")?;
    }
    let mut rows = Vec::new();
    for (d, change) in differences.iter().flat_map(|d| d.examples.iter().map(move |change| (d, change))) {
        let row = |field: &str, before: &str, after: &str| {
            let key = units::start(&change.key);
            vec![
                d.stream.clone(),
                change.kind.to_owned(),
                key,
                field.to_owned(),
                units::start(before),
                units::start(after),
            ]
        };
        if change.fields.is_empty() {
            rows.push(row("", "", ""));
        }
        for field in &change.fields {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not there)".to_owned());
            rows.push(row(&field.field, &text(&field.before), &text(&field.after)));
        }
    }
    if !rows.is_empty() {
        out.table(&["stream", "record", "key", "field", "before", "after"], &rows)?;
        out.line("")?;
    }
    Ok(())
}
