//! The command line: one file a subcommand.

mod archive;
mod args;
mod auth;
mod check;
mod colour;
mod connectors;
mod error;
mod grant;
mod inspect;
mod keyring;
mod print;
mod progress;
mod replay;
mod report;
mod reprocess;
mod run;
mod runs;
mod schema;
mod scratch;
mod streams;
mod summary;
mod torture;
mod units;
mod verify;

use clap::{Parser, Subcommand};

pub(crate) use self::error::CliError;
use self::print::Out;

/// Everything that `host` understands.
#[derive(Debug, Parser)]
#[command(
    name = "host",
    version,
    about = "Runs API connectors: sandboxed WebAssembly components that bring an API's data as Parquet.",
    long_about = "Runs API connectors: sandboxed WebAssembly components that bring an API's data as Parquet.\n\n\
        A connector knows one API's pagination and parsing and nothing else. The host makes its requests, keeps its \
        secrets, waits for rate limits, writes its records, and says whether they are complete.",
    after_help = "Exit codes: 0 complete, 1 something is incomplete or failed, 2 could not start, 3 nothing is known to \
        be missing but it cannot be proven.",
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads a connector's streams into files.
    #[command(after_help = units::HELP)]
    Run(Box<run::RunArgs>),
    /// Asks a connector whether its configuration and credentials work.
    #[command(after_help = units::HELP)]
    Check(check::CheckArgs),
    /// Signs in, and keeps a connection's credentials.
    #[command(subcommand)]
    Auth(auth::AuthCommand),
    /// Lists a connector's streams.
    #[command(after_help = units::HELP)]
    Streams(streams::StreamsArgs),
    /// Shows what a connector is, what it reaches and how it is configured, without a request.
    #[command(after_help = units::HELP)]
    Inspect(inspect::InspectArgs),
    /// Lists the runs of an output folder.
    Runs(runs::RunsArgs),
    /// Shows the report of a run.
    Report(report::ReportArgs),
    /// Shows what a stream's records are like, and what changed when.
    Schema(schema::SchemaArgs),
    /// Repeats a run from its archive, without a request, and compares the records.
    #[command(after_help = units::HELP)]
    Replay(replay::ReplayArgs),
    /// Makes a stream's table anew from archives, without a request, and swaps it in.
    #[command(after_help = units::HELP)]
    Reprocess(reprocess::ReprocessArgs),
    /// Checks an output folder against what its state and archives say of it.
    Verify(verify::VerifyArgs),
    /// Tries a connector against an API that fails, lies and dies, on the recorded responses of a run.
    #[command(long_about = torture::ABOUT)]
    Torture(torture::TortureArgs),
    /// Shows, exports and removes what runs asked and were answered.
    Archive(archive::ArchiveArgs),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Complete,
    Incomplete,
    Unproven,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Incomplete => 1,
            Self::Unproven => 3,
        }
    }
}

/// Runs a command.
pub(crate) fn dispatch(cli: Cli) -> Result<Exit, CliError> {
    let mut out = Out::stdout();
    match cli.command {
        Command::Run(args) => block_on(run::run(*args, &mut out))?,
        Command::Check(args) => block_on(check::check(args, &mut out))?,
        Command::Auth(args) => block_on(auth::auth(args, &mut out))?,
        Command::Streams(args) => block_on(streams::streams(args, &mut out))?,
        Command::Inspect(args) => block_on(inspect::inspect(args, &mut out))?,
        Command::Runs(args) => runs::runs(&args, &mut out),
        Command::Report(args) => report::report(&args, &mut out),
        Command::Schema(args) => schema::schema(&args, &mut out),
        Command::Replay(args) => block_on(replay::replay(args, &mut out))?,
        Command::Reprocess(args) => block_on(reprocess::reprocess(args, &mut out))?,
        Command::Verify(args) => block_on(verify::verify(args, &mut out))?,
        Command::Torture(args) => torture::torture(&args, &mut out),
        Command::Archive(args) => archive::archive(&args, &mut out),
    }
}

fn block_on<F: Future>(future: F) -> Result<F::Output, CliError> {
    // Guests and requests wait nearly always, and each hand-over between two threads costs more than what is handed over.
    // So half of the processors is enough for them; the other half encodes what they bring.
    let threads = std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .on_thread_start(warm)
        .enable_all()
        .build()
        .map_err(|error| CliError::internal(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(future);
    // A connection that is still open must not hold the process back.
    runtime.shutdown_background();
    Ok(result)
}

/// Makes room in a thread's heap, once: the allocator grows it by no more than what is asked for, with a call of the kernel for
/// each piece. Nothing of the room takes memory until it is used.
fn warm() {
    const ROOM_BYTES: usize = 16 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(ROOM_BYTES)));
}
