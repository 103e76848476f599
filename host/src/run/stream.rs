//! One stream in a run: its plan, its reads side by side, its writer, and what is said of it at the end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::commit::Folder;
use super::open::Opened;
use super::plan::{self, Plan, PlanError, Wishes};
use super::preview::Countdown;
use super::read::{self, ReadSetup};
use super::recording::StreamNote;
use super::report::{ReadEntry, StreamReport};
use super::tally::Tally;
use super::verdict::{Finding, Verdict};
use super::writer::{self, End, PartLimits, ReadHandle, ReadReport, WriterError, WriterGone, WriterSetup};
use super::{CommitError, Format, OpenError, Stop, sinks};
use crate::capability::storage::Committed;
use crate::engine::bindings::exports::ingest::connector::source::{StreamInfo, SyncMode};
use crate::engine::with_sources;
use crate::event::{Event, Level, Observer};
use crate::http::Archive;
use crate::schema::{DeclaredError, DescriptionError};
use crate::sink::Sink;
use crate::state::{BatchMode, BatchStatus, Read, ReadStatus, StateError, StateStore};

pub(crate) struct StreamSetup {
    pub(crate) opened: Arc<Opened>,
    pub(crate) info: StreamInfo,
    pub(crate) connection: String,
    pub(crate) run: String,
    pub(crate) same_run: bool,
    pub(crate) out: PathBuf,
    pub(crate) format: Format,
    pub(crate) limit: Option<u64>,
    pub(crate) full: bool,
    pub(crate) rereads: u32,
    pub(crate) parts: PartLimits,
    pub(crate) state: Arc<Mutex<dyn StateStore>>,
    pub(crate) storage: Committed,
    pub(crate) archive: Archive,
    pub(crate) tally: Arc<Tally>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) concurrency: usize,
    pub(crate) stop: Stop,
}

/// Why a stream ended without a verdict on its reads.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Writer(#[from] WriterError),
    #[error(transparent)]
    Archive(#[from] crate::http::archive::Error),
    #[error("the connector declares a schema that is none")]
    Declared(#[from] DeclaredError),
    #[error("the stream's stored schema cannot be read")]
    Stored(#[from] DescriptionError),
    #[error("{INTERRUPTED}")]
    Interrupted,
}

const INTERRUPTED: &str = "interrupted; run the same command again to go on from here";

/// Reads a stream and reports on it, whatever happens.
pub(crate) async fn run(setup: StreamSetup) -> StreamReport {
    let mut report = blank(&setup.info.name, Finding::complete());
    if let Err(error) = read_stream(&setup, &mut report).await {
        let mut text = with_sources(&error);
        if matches!(error, StreamError::Writer(_) | StreamError::Commit(_) | StreamError::State(_)) {
            text.push_str("; mend it, then run again to go on from the last commit");
        }
        let text = setup.opened.safe(&text);
        setup.tally.observe(Event::Log {
            target: "host".to_owned(),
            level: Level::Error,
            message: format!("{}: {text}", report.name),
            fields: Vec::new(),
        });
        report.finding.include_first(&Finding::incomplete(text));
    }
    let (traffic, mut parts) = setup.tally.stream(&report.name);
    // What this run committed and then replaced is not there any more.
    if let Ok(known) = lock(&setup.state).parts(&report.name) {
        parts.retain(|part| known.iter().any(|known| known.name == part.name));
    }
    report.traffic = traffic;
    report.parts = parts;
    report
}

/// Reports on a stream whose task died.
pub(crate) fn crashed(name: &str, reason: &str) -> StreamReport {
    blank(name, Finding::incomplete(format!("the host crashed while reading it: {reason}")))
}

fn blank(name: &str, finding: Finding) -> StreamReport {
    StreamReport {
        name: name.to_owned(),
        mode: "full".to_owned(),
        finding,
        pages: 0,
        records: 0,
        traffic: super::tally::Traffic::default(),
        parts: Vec::new(),
        reads: Vec::new(),
    }
}

/// Takes the state store, also where another holder crashed: what it holds is whole after each call.
pub(crate) fn lock(state: &Arc<Mutex<dyn StateStore>>) -> MutexGuard<'_, dyn StateStore + 'static> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the stream, and once more where its listing changed under the first reading.
async fn read_stream(setup: &StreamSetup, report: &mut StreamReport) -> Result<(), StreamError> {
    let partitions = list_partitions(setup).await?;
    let mut wishes = Wishes {
        full: setup.full,
        preview: setup.limit.is_some(),
        incremental: setup.info.modes.contains(&SyncMode::Incremental),
        same_run: setup.same_run,
    };
    for rereads in (0..=setup.rereads).rev() {
        let Outcome { status, shifted } = read_batch(setup, &partitions, wishes, report).await?;
        if status != Some(BatchStatus::Broken) {
            return Ok(());
        }
        if !shifted || rereads == 0 || setup.stop.is_set() {
            report.finding.note(
                "its records are kept but not to be believed; the next run reads them again and replaces them"
                    .to_owned(),
            );
            return Ok(());
        }
        let first = std::mem::replace(report, blank(&setup.info.name, Finding::complete()));
        let reason = format!("it was read again, since the listing shifted: {}", first.finding.reasons.join("; "));
        setup.tally.observe(Event::Log {
            target: "host".to_owned(),
            level: Level::Warn,
            message: setup.opened.safe(&format!("{}: {reason}", report.name)),
            fields: Vec::new(),
        });
        report.finding.note(reason);
        // The broken batch says by itself from where to read again.
        wishes.full = false;
    }
    Ok(())
}

/// How the reading of a batch came out.
struct Outcome {
    /// How the batch stands; none where it stays open.
    status: Option<BatchStatus>,
    /// Whether all that is broken of it is so because the listing changed meanwhile.
    shifted: bool,
}

async fn read_batch(
    setup: &StreamSetup,
    partitions: &[Option<(String, String)>],
    wishes: Wishes,
    report: &mut StreamReport,
) -> Result<Outcome, StreamError> {
    let stream = &setup.info.name;
    let folder = Folder::create(&setup.out, stream)?;
    let (Plan { batch, reads, gone }, known, schema) = {
        let mut state = lock(&setup.state);
        let plan = plan::plan(&mut *state, stream, partitions, wishes)?;
        (plan, state.parts(stream)?, state.schema(stream)?)
    };
    report.mode = match (setup.limit, batch.mode) {
        (Some(_), _) => "preview",
        (None, BatchMode::Full) => "full",
        (None, BatchMode::Delta) => "incremental",
    }
    .to_owned();
    let prefix = format!("part-{}-", setup.run);
    // A full reading starts with a clean slate; an incremental one goes on with what the columns have become.
    let goes_on = batch.mode == BatchMode::Delta || known.iter().any(|part| part.batch == batch.id);
    // A run that goes on numbers its parts behind those that it has.
    let numbers = known.iter().filter_map(|part| part.name.strip_prefix(&prefix)?.get(..5)?.parse::<usize>().ok());
    let written = numbers.max().map_or(0, |last| last + 1);
    let known_schema = schema.filter(|_| goes_on);
    let note = StreamNote {
        primary_key: setup.info.primary_key.clone(),
        declared: setup.info.schema.clone(),
        schema: known_schema.clone(),
        full: batch.mode == BatchMode::Full,
        batch: batch.id,
        parts: written,
    };
    setup.archive.note(stream, "stream", note).await?;
    let mut sink = open_sink(setup, &folder, known_schema, prefix, written)?;
    let shapes = sink.shapes();
    let (queue, writer) = writer::start(WriterSetup {
        connection: setup.connection.clone(),
        run: setup.run.clone(),
        stream: stream.clone(),
        batch: batch.clone(),
        has_key: !setup.info.primary_key.is_empty(),
        keys_folder: setup.out.join("_keys"),
        folder: folder.clone(),
        sink,
        state: setup.state.clone(),
        storage: setup.storage.clone(),
        archive: setup.archive.clone(),
        limits: setup.parts.clone(),
        time: setup.opened.time.clone(),
        tally: setup.tally.clone(),
        is_blank: batch.mode == BatchMode::Full && known.iter().all(|part| part.batch != batch.id),
        reads: reads.len(),
    });
    let read_setup = ReadSetup {
        opened: setup.opened.clone(),
        stream: stream.clone(),
        queue,
        storage: setup.storage.clone(),
        observer: setup.tally.clone(),
        countdown: setup.limit.map(|records| Arc::new(Countdown::new(records))),
        shapes,
    };
    let shifted = read_all(setup, read_setup, &reads, report).await;
    // The queue's last end is gone with `read_setup`: the writer makes its last commit.
    writer.await.map_err(|_| WriterError::Crashed)??;
    for partition in gone {
        report.finding.note(format!("{partition}: the partition is not there any more; it was dropped unread"));
    }
    Ok(Outcome { status: close(setup, &batch, &folder, report)?, shifted })
}

/// Makes the sink of a stream: from the schema that its parts have so far, or from the one that the connector declares.
fn open_sink(
    setup: &StreamSetup,
    folder: &Folder,
    known: Option<String>,
    prefix: String,
    written: usize,
) -> Result<Box<dyn Sink>, StreamError> {
    let schema = sinks::schema_of::<StreamError>(known.as_deref(), setup.info.schema.as_deref())?;
    let extension = setup.format.extension();
    let folder = folder.clone();
    // The run's id keeps the parts of all runs apart; the number keeps those of one run in order.
    let names = (written..).map(move |number| folder.temporary(&format!("{prefix}{number:05}.{extension}")));
    Ok(sinks::open(&setup.opened.engine, schema, setup.info.primary_key.clone(), setup.format, names))
}

async fn list_partitions(setup: &StreamSetup) -> Result<Vec<Option<(String, String)>>, StreamError> {
    let _permit = setup.permits.acquire().await;
    let listed = tokio::select! {
        biased;
        () = async { setup.stop.clone().stopped().await } => return Err(StreamError::Interrupted),
        listed = setup.opened.partitions(&setup.info.name, setup.storage.clone()) => listed?,
    };
    if listed.is_empty() {
        return Ok(vec![None]);
    }
    Ok(listed.into_iter().map(|partition| Some((partition.id, partition.context))).collect())
}

/// Makes the reads, as many at once as there are permits, and enters each into the report. Returns whether those that are
/// incomplete are so because their listings changed.
async fn read_all(setup: &StreamSetup, read_setup: ReadSetup, reads: &[Read], report: &mut StreamReport) -> bool {
    let read_setup = &read_setup;
    let next = AtomicU64::new(0);
    let results: Mutex<Vec<(usize, ReadEntry, bool)>> = Mutex::default();
    let worker = || async {
        loop {
            let index = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
            let Some(read) = reads.get(index) else { return };
            let Ok(_permit) = setup.permits.acquire().await else { return };
            let (entry, shifted) = read_one(setup, read_setup, read).await;
            results.lock().unwrap_or_else(PoisonError::into_inner).push((index, entry, shifted));
        }
    };
    let workers = setup.concurrency.min(reads.len());
    futures_util::future::join_all((0..workers).map(|_| worker())).await;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, ..)| *index);
    let mut all_shifted = true;
    for (_, entry, shifted) in results {
        all_shifted &= shifted || entry.finding.verdict != Verdict::Incomplete;
        report.pages += entry.pages;
        report.records += entry.records;
        match &entry.partition {
            Some(partition) => report.finding.include(partition, &entry.finding),
            None => report.finding.include_first(&entry.finding),
        }
        report.reads.push(entry);
    }
    all_shifted
}

async fn read_one(setup: &StreamSetup, read_setup: &ReadSetup, read: &Read) -> (ReadEntry, bool) {
    let stream = &setup.info.name;
    let partition = read.partition.as_ref().map(|(id, _)| id.clone());
    let label: Arc<str> = match &partition {
        Some(id) => format!("{stream}/{id}").into(),
        None => stream.as_str().into(),
    };
    let pages = lock(&setup.state).pages(read.id).map_or(0, |pages| pages.len() as u64);
    let handle = Arc::new(ReadHandle::new(read.id, label, pages));
    let mut stop = setup.stop.clone();
    let result = tokio::select! {
        biased;
        // The guest is dropped where it stands; what it has emitted is committed.
        () = stop.stopped() => None,
        result = read::read(read_setup, read, &handle) => Some(result),
    };
    let result = match result {
        Some(result) => result,
        None => {
            let label = handle.label.to_string();
            setup.tally.observe(Event::ReadEnded { read: label, error: Some("interrupted".to_owned()) });
            read_setup.queue.end(&handle, End::failed(INTERRUPTED.to_owned())).await
        }
    };
    let result = result.unwrap_or_else(|gone: WriterGone| ReadReport {
        finding: Finding::incomplete(gone.to_string()),
        pages: 0,
        records: 0,
        watermark: None,
        shifted: false,
    });
    let entry = ReadEntry {
        partition,
        finding: result.finding,
        resumed: read.checkpoint.is_some(),
        pages: result.pages,
        records: result.records,
        watermark_before: read.since.clone(),
        watermark_after: result.watermark,
    };
    (entry, result.shifted)
}

/// Closes the batch if its reads came to an end, and brings the files in order.
fn close(
    setup: &StreamSetup,
    batch: &crate::state::Batch,
    folder: &Folder,
    report: &StreamReport,
) -> Result<Option<BatchStatus>, StreamError> {
    let stream = &setup.info.name;
    let mut state = lock(&setup.state);
    let status = if setup.limit.is_some() {
        BatchStatus::Preview
    } else {
        let reads = state.reads(batch.id)?;
        if reads.iter().any(|read| read.status == ReadStatus::Broken) {
            BatchStatus::Broken
        } else if reads.iter().any(|read| read.status == ReadStatus::Unfinished) {
            return Ok(None);
        } else {
            BatchStatus::Complete
        }
    };
    folder.close(stream, batch, status, &mut *state)?;
    debug_assert!(status != BatchStatus::Complete || report.finding.verdict != Verdict::Incomplete);
    Ok(Some(status))
}
