//! The life of a run: plan, read, commit, verdict, report.
//!
//! ```ignore
//! let described = Described::load(engine, "github.wasm".as_ref(), observer, time).await?;
//! let report = run(described, options, observer, Stop::never()).await?;
//! assert_eq!(report.finding.verdict, Verdict::Complete);
//! ```

mod border;
mod commit;
#[cfg(test)]
mod commit_model;
mod deadletter;
mod files;
mod history;
mod keys;
mod lock;
mod moment;
mod open;
mod plan;
mod preview;
mod queue;
mod read;
pub(crate) mod recording;
pub mod replay;
pub mod report;
pub mod reprocess;
pub mod retention;
mod seam;
mod sinks;
mod stream;
mod tally;
mod verdict;
pub mod verify;
mod writer;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

pub use self::commit::CommitError;
pub(crate) use self::commit::write_whole;
pub use self::lock::LockError;
pub use self::open::{Described, Network, OpenError, Opened};
pub use self::queue::WriterGone;
pub use self::report::Report;
pub(crate) use self::verdict::plural;
pub use self::verdict::{Finding, Verdict};
pub use self::writer::{PartLimits, WriterError};

use self::commit::Folder;
use self::lock::Lock;
use self::read::Lookback;
use self::report::{ConnectorReport, FORM, StreamReport};
use self::stream::StreamSetup;
use self::tally::Tally;
use crate::capability::storage::Committed;
use crate::config::{OnDrift, Sources};
use crate::engine::bindings::exports::ingest::connector::source::StreamInfo;
use crate::event::{Event, Observer};
use crate::http::{Archive, archive};
use crate::personal::PersonalError;
use crate::state::{BatchStatus, PartStatus, ReadStatus, Run, RunStatus, Sqlite, StateError, StateStore};

/// Form of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet, compressed with zstd.
    #[default]
    Parquet,
    /// One JSON text a line.
    JsonLines,
}

impl Format {
    /// Returns the ending of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::JsonLines => "jsonl",
        }
    }
}

/// What a user wants of a run.
pub struct Options {
    /// The connection's name.
    pub connection: String,
    /// Id of the run, where it is a new one; by default one is made. Seeds of random numbers hang on it.
    pub run: Option<String>,
    /// The output folder.
    pub out: PathBuf,
    /// The configuration as given.
    pub sources: Sources,
    /// Streams to read; all when empty.
    pub streams: Vec<String>,
    /// Form of the parts.
    pub format: Format,
    /// Stop each stream after so many records: a preview.
    pub limit: Option<u64>,
    /// Read everything, whatever is there.
    pub full: bool,
    /// How often a stream is read again in the same run because its listing shifted while it was read.
    pub rereads: u32,
    /// What to do about drift, before what the configuration says.
    pub on_drift: OnDrift,
    /// How far before their last watermarks streams are read: of one stream by its name, or of all. The last that fits
    /// counts, and comes before what the connector says.
    pub lookback: Vec<(Option<String>, Duration)>,
    /// Go on although the configuration has changed.
    pub keep_state: bool,
    /// Reads at the same time.
    pub concurrency: usize,
    /// When a part is full.
    pub parts: PartLimits,
    /// Whether exchanges are kept.
    pub archive: bool,
    /// Whether personal data is taken out of their bodies too.
    pub redact_archive: bool,
    /// The way out.
    pub network: Network,
}

/// Tells a run to stop at the next page, keeping everything that it has.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// The other end of a [`Stop`].
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stop {
    /// Makes a pair.
    pub fn new() -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Self(receiver))
    }

    /// Makes one that never stops anything.
    pub fn never() -> Self {
        Self::new().1
    }

    /// Says whether it was told to stop.
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when it is told to stop.
    pub(crate) async fn stopped(&mut self) {
        if self.0.wait_for(|stop| *stop).await.is_err() {
            // The other end is gone: nobody can stop this any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Stopper {
    /// Tells the run to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Why a run did not start, or could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The name of the connection cannot be one.
    #[error("a connection's name is made of letters, digits, - and _, and this is not: {0}")]
    ConnectionName(String),
    /// The output folder cannot be used.
    #[error("cannot write the output folder {}", path.display())]
    Out {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another run is under way.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The connector could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The connector has no such stream.
    #[error("the connector has no stream {wanted}")]
    NoSuchStream {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// What to do about drift is said of a stream that the connector does not have.
    #[error("--on-drift, or on_drift in the configuration, names a stream that the connector does not have: {wanted}")]
    DriftOfNoStream {
        /// The stream.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The connector has a stream whose name cannot be a folder.
    #[error("the connector names a stream that cannot be a folder: {0:?}")]
    StreamName(String),
    /// The connector has two streams of one name.
    #[error("the connector names two streams alike: {0}")]
    StreamTwice(String),
    /// The folder of a stream belongs to another connection.
    #[error("the folder {stream} belongs to the connection {owner}")]
    OtherOwner {
        /// The stream.
        stream: String,
        /// Its connection.
        owner: String,
    },
    /// A preview would mix with data.
    #[error("--limit makes a preview, and the output folder holds data of {0} already")]
    PreviewOverData(String),
    /// The configuration has changed.
    #[error("the configuration of the connection {0} has changed since its last run")]
    ConfigChanged(String),
    /// What the configuration says of personal data does not fit the streams.
    #[error(transparent)]
    Personal(#[from] PersonalError),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The output folder cannot be brought in order.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The archive cannot be written.
    #[error(transparent)]
    Archive(#[from] archive::Error),
}

/// Folder of a run below the output folder.
pub fn run_folder(out: &Path, run: &str) -> PathBuf {
    out.join("_runs").join(run)
}

/// Returns the files of records that could not be stored, of all streams: the run, and the path below the output folder.
///
/// # Errors
///
/// When the state cannot be read.
pub fn dead_letter_files(state: &mut dyn StateStore) -> Result<Vec<(String, String)>, StateError> {
    let connections: BTreeSet<String> = state.runs()?.into_iter().map(|run| run.connection).collect();
    let mut files = Vec::new();
    for connection in connections {
        for stream in state.streams(&connection)? {
            let parts = state.parts(&stream)?.into_iter();
            let dead = parts.filter(|part| deadletter::is_dead(&part.name) && part.status == PartStatus::Visible);
            files.extend(dead.map(|part| (part.run, format!("{stream}/{}", part.name))));
        }
    }
    Ok(files)
}

/// Path of the state file below the output folder.
pub fn state_path(out: &Path) -> PathBuf {
    out.join("_state.db")
}

/// Earlier runs whose archived bodies a run shares: the last full reading may lie behind some incremental ones.
const SHARING_RUNS: usize = 8;

/// Runs a connection.
///
/// # Errors
///
/// When it could not start. What goes wrong later is in the report.
pub async fn run(
    described: Described,
    options: Options,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<Report, RunError> {
    let time = described.time.clone();
    let begun = described.begun;
    let started_ms = time.now_ms();
    let connection = options.connection.clone();
    check_connection(&connection)?;
    let mut config = described.configure(options.sources)?;
    match &mut config.personal {
        Some(personal) => {
            personal.settings.connection.clone_from(&connection);
            personal.settings.redact_archive = options.redact_archive;
        }
        None if options.redact_archive => return Err(PersonalError::Nothing.into()),
        None => {}
    }
    std::fs::create_dir_all(&options.out).map_err(|source| RunError::Out { path: options.out.clone(), source })?;
    let _lock = Lock::take(&options.out, &connection)?;
    let mut state = Sqlite::open(&state_path(&options.out))?;
    for stream in state.streams(&connection)? {
        let parts = state.parts(&stream)?;
        // A full reading makes good what somebody removed; anything else would build on a gap.
        Folder::create(&options.out, &stream)?.recover(&parts, &mut state, options.full)?;
        if let Some(batch) = state.newest_batch(&stream)? {
            for read in state.reads(batch.id)?.iter().filter(|read| read.status != ReadStatus::Unfinished) {
                keys::forget(&options.out.join("_keys"), read.id);
            }
        }
    }

    let mut earlier = state.runs()?;
    earlier.retain(|run| run.connection == connection);
    // Whose archives are on the disk as a whole.
    let flushed = earlier.iter().filter(|run| run.status != RunStatus::Running).map(|run| run.id.clone());
    let mut shared: Vec<String> = flushed.take(SHARING_RUNS).collect();
    let unfinished = earlier.into_iter().next();
    // A wish for everything again is no wish to go on, unless that is what was under way.
    let unfinished = unfinished.filter(|run| run.status != RunStatus::Ended && (run.full || !options.full));
    let resumed = unfinished.is_some();
    let summary = described.connector().summary();
    let connector = ConnectorReport {
        name: described.description.name.clone(),
        version: described.description.version.clone(),
        digest: summary.digest.clone(),
    };
    let mut record = unfinished.unwrap_or_else(|| Run {
        id: options.run.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        connection: connection.clone(),
        connector: format!("{} {}", connector.name, connector.version),
        started_ms,
        ended_ms: None,
        status: RunStatus::Running,
        verdict: None,
        records: 0,
        full: options.full,
    });
    record.status = RunStatus::Running;
    shared.retain(|run| *run != record.id);

    let folder = run_folder(&options.out, &record.id);
    let archive = match options.archive {
        true => Archive::open_beside(&folder.join("archive"), shared)?,
        false => Archive::disabled(),
    };
    let tally = Arc::new(Tally::new(observer, time.clone()));
    if options.archive {
        recording::keep_connector(&options.out, &described)?;
        let note = recording::SessionNote {
            connector: connector.clone(),
            config: config.given.clone(),
            allow_hosts: options.network.allow_hosts.iter().map(ToString::to_string).collect(),
            attempts: options.network.retry.attempts,
            max_body_bytes: options.network.max_body_bytes,
            streams: options.streams.clone(),
            format: options.format,
            limit: options.limit,
            started_ms,
            personal: config.personal.as_ref().map(|personal| personal.settings.clone()),
        };
        archive.note("", "session", note).await?;
    }
    let opened = described.open(config, &options.network, archive.clone(), &record.id, tally.clone())?;
    let opened = Arc::new(opened);

    let digest = opened.config().digest();
    let before = state.config_digest(&connection)?;
    if before.is_some_and(|before| before != digest) && !options.full && !options.keep_state {
        return Err(RunError::ConfigChanged(connection));
    }
    let streams = opened.streams().await?;
    if let Some(personal) = &opened.personal {
        personal.check(&streams)?;
    }
    let known: Vec<String> = streams.iter().map(|stream| stream.name.clone()).collect();
    if let Some(wanted) = opened.config().on_drift.over(&options.on_drift).other_than(&known) {
        return Err(RunError::DriftOfNoStream { wanted, known });
    }
    if let Some(wanted) = unknown(&options.lookback, &streams) {
        return Err(RunError::NoSuchStream { wanted, known });
    }
    let streams = choose(streams, &options.streams)?;
    for stream in &streams {
        if let Some(owner) = state.owner(&stream.name)?.filter(|owner| *owner != connection) {
            return Err(RunError::OtherOwner { stream: stream.name.clone(), owner });
        }
        let newest = state.newest_batch(&stream.name)?;
        let is_preview = newest.is_none_or(|batch| batch.status == BatchStatus::Preview);
        if options.limit.is_some() && !is_preview && !state.parts(&stream.name)?.is_empty() {
            return Err(RunError::PreviewOverData(stream.name.clone()));
        }
    }
    let names: Vec<String> = streams.iter().map(|stream| stream.name.clone()).collect();
    state.begin_run(&record, &digest, &names)?;
    let storage = Committed::new(state.storage(&connection)?);
    let state: Arc<Mutex<dyn StateStore>> = Arc::new(Mutex::new(state));

    let permits = Arc::new(Semaphore::new(options.concurrency.max(1)));
    let mut tasks = Vec::new();
    for info in streams {
        let setup = StreamSetup {
            opened: opened.clone(),
            connection: connection.clone(),
            run: record.id.clone(),
            same_run: resumed,
            out: options.out.clone(),
            format: options.format,
            limit: options.limit,
            full: options.full && !resumed,
            rereads: options.rereads,
            on_drift: options.on_drift.clone(),
            lookback: lookback(&info, &options.lookback),
            info,
            parts: options.parts.clone(),
            state: state.clone(),
            storage: storage.clone(),
            archive: archive.clone(),
            tally: tally.clone(),
            permits: permits.clone(),
            concurrency: options.concurrency.max(1),
            stop: stop.clone(),
        };
        let name = setup.info.name.clone();
        tasks.push((name, tokio::spawn(stream::run(setup))));
    }
    let mut reports: Vec<StreamReport> = Vec::new();
    for (name, task) in tasks {
        reports.push(match task.await {
            Ok(report) => report,
            Err(crash) => {
                let report = stream::crashed(&name, &crash.to_string());
                let error = report.finding.reasons.join("; ");
                tally.observe(Event::Crashed { read: name, error });
                report
            }
        });
    }
    // Whatever the last pages did not carry along.
    let archived = archive.flush().await;

    let mut finding = Finding::complete();
    for stream in &reports {
        finding.include(&stream.name, &stream.finding);
    }
    let unmet = opened.personal.as_ref().map(|personal| personal.unmet_anywhere()).unwrap_or_default();
    if reports.iter().any(StreamReport::is_telling) {
        for path in unmet {
            finding.note(format!("personal data: no record has {path}; check how it is written"));
        }
    }
    if let Err(error) = archived {
        finding.include("archive", &Finding::incomplete(crate::engine::with_sources(&error)));
    }
    let interrupted = stop.is_set();
    let report = Report {
        form: FORM,
        run: record.id.clone(),
        resumed,
        connection,
        connector,
        started_ms: record.started_ms,
        // The clock may have gone back meanwhile.
        ended_ms: time.now_ms().max(record.started_ms),
        first_request_ms: tally.first_request().map(|at| millis(at.saturating_sub(begun))),
        finding,
        traffic: tally.all(),
        warnings: tally.warnings(),
        streams: reports,
    };
    record.status = if interrupted { RunStatus::Interrupted } else { RunStatus::Ended };
    record.ended_ms = Some(report.ended_ms);
    record.verdict = Some(report.finding.verdict.as_str().to_owned());
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    record.records = state.runs()?.into_iter().find(|run| run.id == record.id).map_or(0, |run| run.records);
    state.put_run(&record)?;
    drop(state);
    std::fs::create_dir_all(&folder).map_err(|source| RunError::Out { path: folder.clone(), source })?;
    let text = serde_json::to_string_pretty(&report).unwrap_or_default();
    commit::replace_file(&folder.join("report.json"), &(text + "\n"))?;
    Ok(report)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Checks the name of a connection.
///
/// # Errors
///
/// When it cannot be one.
pub fn check_connection(name: &str) -> Result<(), RunError> {
    if is_name(name) { Ok(()) } else { Err(RunError::ConnectionName(name.to_owned())) }
}

/// Tells whether a name can be a connection's: one that is safe as a file name, and dull in the eyes of SQL and a shell.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Checks the connector's streams and picks those that the user asked for.
/// How far back a stream is read.
fn lookback(info: &StreamInfo, wished: &[(Option<String>, Duration)]) -> Lookback {
    let fits = |name: &Option<String>| name.as_ref().is_none_or(|name| *name == info.name);
    match wished.iter().rev().find(|(name, _)| fits(name)) {
        Some((name, by)) => Lookback { by: *by, wished: name.is_some() },
        None => Lookback { by: Duration::from_millis(info.lookback_ms.unwrap_or(0)), wished: false },
    }
}

/// A stream that is named for its lookback and is none.
fn unknown(wished: &[(Option<String>, Duration)], listed: &[StreamInfo]) -> Option<String> {
    let named = wished.iter().filter_map(|(name, _)| name.as_ref());
    named.into_iter().find(|name| listed.iter().all(|info| info.name != **name)).cloned()
}

fn choose(streams: Vec<StreamInfo>, wanted: &[String]) -> Result<Vec<StreamInfo>, RunError> {
    let known: Vec<String> = streams.iter().map(|stream| stream.name.clone()).collect();
    for stream in &streams {
        // A leading underscore is kept for the host's own files.
        if !is_name(&stream.name) || stream.name.starts_with('_') {
            return Err(RunError::StreamName(stream.name.clone()));
        }
        if known.iter().filter(|name| **name == stream.name).count() > 1 {
            return Err(RunError::StreamTwice(stream.name.clone()));
        }
    }
    let names: BTreeSet<&String> = known.iter().collect();
    if let Some(missing) = wanted.iter().find(|name| !names.contains(name)) {
        return Err(RunError::NoSuchStream { wanted: missing.clone(), known });
    }
    let chosen = |stream: &StreamInfo| wanted.is_empty() || wanted.contains(&stream.name);
    let mut seen = BTreeSet::new();
    Ok(streams.into_iter().filter(|stream| chosen(stream) && seen.insert(stream.name.clone())).collect())
}
