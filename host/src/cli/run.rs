//! `host run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use host::config::OnDrift;
use host::event::Observer;
use host::run::retention::{self, Retention};
use host::run::{Format, Options, PartLimits, Stop, Stopper, Verdict};
use host::schema::drift::Policy;
use host::time::{SystemClock, Time};

use super::args::{ConfigArgs, ConnectorArgs, LimitArgs, NetworkArgs, OUT, login_command, store};
use super::grant::GrantArgs;
use super::print::{self, Out};
use super::progress::{Progress, Style};
use super::summary;
use super::units::{self, parse_bytes, parse_duration, parse_some, parse_some_bytes};
use super::{CliError, Exit};

/// Arguments of `host run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    connector: ConnectorArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Stream to read [default: all]. Repeatable.
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Output folder.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
    /// Form of the files.
    #[arg(long, value_enum, default_value_t = FormatArg::Parquet)]
    format: FormatArg,
    /// Stop each stream after so many records: a preview, which the next run replaces.
    #[arg(long, value_name = "N", value_parser = parse_some::<u64>)]
    limit: Option<u64>,
    /// Read everything again; what is there stays until the new reading is complete.
    #[arg(long)]
    full: bool,
    /// How often a stream is read again at once because its listing shifted while it was read.
    #[arg(long, value_name = "N", default_value_t = 1)]
    rereads: u32,
    /// What to do where records differ from those of the complete readings before: evolve goes on, warn goes on and says so,
    /// fail ends the read before the page that differs. For one stream: STREAM=fail. Repeatable; counts before `on_drift`
    /// in the configuration [default: evolve].
    #[arg(long, value_name = "WHAT", value_parser = parse_on_drift)]
    on_drift: Vec<(Option<String>, Policy)>,
    /// Start incremental reads so long before their watermarks, and leave out what is there already: TIME for all streams, or
    /// NAME=TIME for one [default: what the connector says]. Repeatable.
    #[arg(long, value_name = "[NAME=]TIME", value_parser = parse_lookback)]
    lookback: Vec<(Option<String>, Duration)>,
    /// Go on with what is there although the configuration has changed.
    #[arg(long)]
    keep_state: bool,
    /// Name of the connector with this configuration and its state [default: the connector's name].
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Streams and partitions that are read at the same time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = parse_some::<usize>)]
    concurrency: usize,
    /// What is kept of requests and responses: full, as they are; redacted, with personal data treated as in the records (see
    /// personal_data in the README); none, and such a run cannot be replayed.
    #[arg(long, value_enum, default_value_t = ArchiveArg::Full)]
    archive: ArchiveArg,
    /// The same as --archive none.
    #[arg(long, conflicts_with = "archive")]
    no_archive: bool,
    /// After the run, remove all archives of the connection but the newest so many.
    #[arg(long, value_name = "N", help_heading = "Archives")]
    keep_runs: Option<usize>,
    /// After the run, remove archives of the connection whose runs ended longer ago than this: 30d, 12h.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Archives")]
    archive_max_age: Option<Duration>,
    /// After the run, remove archives of the connection, the oldest first, until no more than this is left: 10GiB. The
    /// newest stays in any case.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, help_heading = "Archives")]
    archive_max_size: Option<u64>,
    /// Records at which a file is ended; a page is not divided.
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = parse_some::<u64>)]
    part_rows: u64,
    /// Size at which a file is ended.
    #[arg(long, value_name = "BYTES", default_value = "128MiB", value_parser = parse_some_bytes)]
    part_bytes: u64,
    /// Longest time that records wait to be committed: at most so much is fetched again after a crash.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    part_age: Duration,
    /// Print the report as JSON, and nothing else, on standard output.
    #[arg(long)]
    json: bool,
    /// Show warnings and errors only.
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Show debug lines of the connector and each commit.
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    grant: GrantArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ArchiveArg {
    /// As they are.
    Full,
    /// With personal data treated.
    Redacted,
    /// Nothing.
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    /// Apache Parquet, compressed with zstd.
    Parquet,
    /// One JSON text a line.
    Jsonl,
}

fn parse_on_drift(text: &str) -> Result<(Option<String>, Policy), String> {
    of_stream(text, str::parse)
}

fn parse_lookback(text: &str) -> Result<(Option<String>, Duration), String> {
    of_stream(text, parse_duration)
}

/// Takes `NAME=WHAT` for one stream, and `WHAT` for all.
fn of_stream<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<(Option<String>, T), String> {
    match text.split_once('=') {
        Some((stream, what)) => Ok((Some(stream.to_owned()), parse(what)?)),
        None => Ok((None, parse(text)?)),
    }
}

/// Runs a connection.
pub(crate) async fn run(args: RunArgs, out: &mut Out) -> Result<Exit, CliError> {
    let style = match (args.quiet, print::is_watched() && !args.json) {
        (true, _) => Style::Quiet,
        (false, true) => Style::Moving { verbose: args.verbose },
        (false, false) => Style::Lines { verbose: args.verbose },
    };
    let progress = Arc::new(Progress::new(style));
    let observer: Arc<dyn Observer> = progress.clone();
    let (stopper, stop) = Stop::new();
    tokio::spawn(listen(stopper, progress.clone()));
    let ticking = progress.clone();
    let ticker = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            ticking.tick();
        }
    });
    let described = args.connector.describe(&args.limits, observer.clone()).await?;
    let login = login_command(&args.connector, &args.config, &args.grant, &args.out, args.connection.as_deref());
    let described = described.signed_in_by(login);
    let connection = args.connection.clone().unwrap_or_else(|| described.description().name.clone());
    host::run::check_connection(&connection)?;
    let about = |error: CliError| error.about(&args.connector.connector);
    let store = store(&args.out, &connection)?;
    let sources = args.config.sources(&store)?;
    let config = described.configure(sources.clone()).map_err(|error| about(error.into()))?;
    let came_along = args.connector.came_along()?;
    let grant = args.grant.decide(&described, &config, args.config.file(), came_along).map_err(about)?;
    drop(config);
    let retention = Retention {
        connection: Some(connection.clone()),
        runs: args.keep_runs,
        age: args.archive_max_age,
        bytes: args.archive_max_size,
        spare_newest: true,
        dry_run: false,
    };
    let options = Options {
        connection,
        run: None,
        out: args.out.clone(),
        sources,
        streams: args.stream.clone(),
        format: match args.format {
            FormatArg::Parquet => Format::Parquet,
            FormatArg::Jsonl => Format::JsonLines,
        },
        limit: args.limit,
        full: args.full,
        rereads: args.rereads,
        on_drift: OnDrift::new(args.on_drift.clone()),
        lookback: args.lookback.clone(),
        keep_state: args.keep_state,
        concurrency: args.concurrency,
        parts: PartLimits { rows: args.part_rows, bytes: args.part_bytes, age: args.part_age, ..PartLimits::default() },
        archive: !args.no_archive && args.archive != ArchiveArg::None,
        redact_archive: args.archive == ArchiveArg::Redacted,
        network: host::run::Network { grant, ..args.network.network(Some(&args.out), store)? },
    };
    let report = host::run::run(described, options, observer, stop).await;
    let report = report.map_err(|error| CliError::from(error).about(&args.connector.connector))?;
    ticker.abort();
    progress.finish();
    if retention.is_limited() {
        // The run is over and reported, whatever becomes of the old archives.
        match retention::prune(&args.out, &retention, SystemClock::new().now_ms()) {
            Ok(pruned) if pruned.removed.is_empty() => {}
            Ok(pruned) => progress.announce(&format!(
                "removed {} of earlier runs, {} freed",
                units::counted(pruned.removed.len() as u64, "archive"),
                units::bytes(pruned.freed)
            )),
            Err(error) => progress.announce(&format!("old archives stay: {}", host::engine::with_sources(&error))),
        }
    }
    if args.json {
        out.line(serde_json::to_string_pretty(&report).unwrap_or_default())?;
    } else if args.quiet {
        summary::drift(&report).iter().for_each(|line| print::stderr(line));
    } else {
        summary::print(&report, &args.out, out)?;
    }
    Ok(match report.finding.verdict {
        Verdict::Complete => Exit::Complete,
        Verdict::Unproven => Exit::Unproven,
        Verdict::Incomplete => Exit::Incomplete,
    })
}

/// Stops the run in good order at the first signal, and at once at the second.
async fn listen(stopper: Stopper, progress: Arc<Progress>) {
    if signal().await {
        progress.announce("stopping: what has arrived is being committed (once more to stop at once)");
        stopper.stop();
        if signal().await {
            // 128 + SIGINT, as a shell would say it.
            std::process::exit(130);
        }
    }
}

/// Waits for SIGINT or SIGTERM; false where signals can't be had.
async fn signal() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return false;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    true
}
