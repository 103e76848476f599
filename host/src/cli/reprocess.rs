//! `host reprocess`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use host::event::Observer;
use host::run::PartLimits;
use host::run::reprocess::{Reprocess, reprocess as make};

use super::args::{CacheArgs, LimitArgs, OUT, keys};
use super::print::Out;
use super::progress::{Progress, Style};
use super::units::{self, parse_some, parse_some_bytes};
use super::{CliError, Exit, connectors, runs};

/// Arguments of `host reprocess`.
#[derive(Debug, Args)]
pub(crate) struct ReprocessArgs {
    /// The stream.
    stream: String,
    /// Runs to make it of, or the starts of their ids: a full reading, and all incremental ones since.
    #[arg(long, value_name = "RUN", num_args = 1.., required = true)]
    from: Vec<String>,
    /// The connector to make it with [default: those that made the runs].
    #[arg(long, value_name = "CONNECTOR")]
    with: Option<String>,
    /// Output folder.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
    /// Records at which a file is ended; a page is not divided.
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = parse_some::<u64>)]
    part_rows: u64,
    /// Size at which a file is ended.
    #[arg(long, value_name = "BYTES", default_value = "128MiB", value_parser = parse_some_bytes)]
    part_bytes: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Makes a table anew.
pub(crate) async fn reprocess(args: ReprocessArgs, out: &mut Out) -> Result<Exit, CliError> {
    let runs = args.from.iter().map(|run| Ok(runs::find(&args.out, Some(run))?.id));
    let wanted = Reprocess {
        out: args.out.clone(),
        stream: args.stream.clone(),
        runs: runs.collect::<Result<_, CliError>>()?,
        connector: args.with.as_deref().map(connectors::find).transpose()?.map(|found| found.path),
        parts: PartLimits { rows: args.part_rows, bytes: args.part_bytes, ..PartLimits::default() },
    };
    let observer: Arc<dyn Observer> = Arc::new(Progress::new(Style::Quiet));
    let made = make(wanted, args.cache.engine(&args.limits)?, observer, keys(&args.out)).await?;
    if args.json {
        out.line(serde_json::to_string_pretty(&made).unwrap_or_default())?;
        return Ok(Exit::Complete);
    }
    let row =
        |(run, pages, records): &(String, u64, u64)| vec![run.clone(), units::count(*pages), units::count(*records)];
    let rows: Vec<Vec<String>> = made.from.iter().map(row).collect();
    out.table(&["made of run", "pages", "records"], &rows)?;
    out.line("")?;
    made.left_out.iter().try_for_each(|text| out.line(format!("left out: {text}")))?;
    if made.dead_letters > 0 {
        out.line(format!(
            "{} could not be stored; {} in {}/_dead-{}-00000.ndjson, with the reason, and the next run asks for {} again",
            units::counted(made.dead_letters, "record"),
            if made.dead_letters == 1 { "it is" } else { "they are" },
            made.stream,
            made.run,
            if made.dead_letters == 1 { "it" } else { "all of them" },
        ))?;
    }
    out.line(format!(
        "{}: {} in {}, in place of {} (run {})",
        made.stream,
        units::counted(made.records, "record"),
        units::counted(made.files.try_into().unwrap_or(u64::MAX), "file"),
        units::count(made.before),
        made.run
    ))?;
    Ok(Exit::Complete)
}
