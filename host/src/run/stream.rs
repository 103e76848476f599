//! One stream in a run: its plan, its reads side by side, its writer, and what is said of it at the end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::commit::Folder;
use super::deadletter::{self, DeadLetters};
use super::history::{self, History};
use super::open::Opened;
use super::plan::{self, Plan, PlanError, Wishes};
use super::preview::Countdown;
use super::queue::{End, ReadHandle, ReadReport, WriterGone};
use super::read::{self, Lookback, ReadSetup};
use super::recording::StreamNote;
use super::report::{ReadEntry, StreamReport};
use super::tally::Tally;
use super::verdict::{Finding, Sorted, Verdict, plural};
use super::writer::{self, PartLimits, WriterError, WriterSetup};
use super::{CommitError, Format, OpenError, Stop, sinks};
use crate::capability::storage::Committed;
use crate::config::OnDrift;
use crate::engine::bindings::exports::ingest::connector::source::{Order, StreamInfo, SyncMode};
use crate::engine::with_sources;
use crate::event::{Event, Level, Observer};
use crate::http::Archive;
use crate::record::{Guard, Survey};
use crate::schema::drift::Policy;
use crate::schema::{DeclaredError, DescriptionError, Schema};
use crate::sink::Sink;
use crate::state::{Batch, BatchMode, BatchStatus, Read, ReadStatus, StateError, StateStore};

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
    pub(crate) on_drift: OnDrift,
    pub(crate) lookback: Lookback,
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
    if let Some(personal) = setup.opened.personal.as_ref().filter(|_| report.is_telling()) {
        for path in personal.unmet(&report.name) {
            report.finding.note(format!("personal data: no record has {path}; check how it is written"));
        }
    }
    let (traffic, mut parts) = setup.tally.stream(&report.name);
    // What this run committed and then replaced is not there any more.
    if let Ok(known) = lock(&setup.state).parts(&report.name) {
        parts.retain(|part| known.iter().any(|known| known.name == part.name));
        let dead = known.into_iter().filter(|part| part.run == setup.run && deadletter::is_dead(&part.name));
        report.dead_letter_files = dead.map(|part| part.name).collect();
    }
    report.traffic = traffic;
    report.parts = parts;
    report.on_drift = setup.policy();
    report.drift = setup.tally.drift(&report.name);
    let removed = report.drift.clone();
    report.drift.retain(|change| !history::is_told_by(change, &removed));
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
        dead_letters: 0,
        dead_letter_files: Vec::new(),
        traffic: super::tally::Traffic::default(),
        on_drift: Policy::default(),
        drift: Vec::new(),
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
    /// How the batch stands; none where it stays open, or all is said of it.
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
    let (Plan { batch, reads, gone }, known, schema, shown, refused) = {
        let mut state = lock(&setup.state);
        let plan = plan::plan(&mut *state, stream, partitions, wishes)?;
        let (_, refused) = state.record_counts(plan.batch.id)?;
        (plan, state.parts(stream)?, state.schema(stream)?, known_schema(&mut *state, stream)?, refused)
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
    let written = sinks::next_number(&prefix, &known);
    let known_schema = schema.filter(|_| goes_on);
    let written_dead = deadletter::next_number(&setup.run, &known);
    let limits = setup.opened.engine.limits();
    let note = StreamNote {
        primary_key: setup.info.primary_key.clone(),
        declared: setup.info.schema.clone(),
        schema: known_schema.clone(),
        full: batch.mode == BatchMode::Full,
        batch: batch.id,
        parts: written,
        dead_letters: written_dead,
        max_json_depth: Some(limits.json_depth),
        max_record_bytes: Some(limits.record_bytes),
    };
    setup.archive.note(stream, "stream", note).await?;
    let mut start = sinks::schema_of::<StreamError>(known_schema.as_deref(), setup.info.schema.as_deref())?;
    if batch.mode == BatchMode::Delta && known.iter().all(|part| part.batch != batch.id) {
        start.forget_seen();
    }
    let mut sink = open_sink(setup, &folder, start.clone(), prefix, written);
    let policy = setup.policy();
    if policy == Policy::Fail {
        sink.guard(Guard::new(shown.clone(), &start));
    }
    let tally = setup.tally.clone();
    let history = History::new(stream, (shown, &start), !batch.staged, setup.same_run, tally);
    let survey = survey(&setup.info);
    let shapes = sink.shapes(survey.field());
    let dead_folder = folder.clone();
    let dead_paths = deadletter::names(&setup.run, written_dead).map(move |name| dead_folder.temporary(&name));
    let of_batch = known.iter().filter(|part| part.batch == batch.id);
    let dead_known = of_batch.clone().filter(|part| deadletter::is_dead(&part.name)).map(|part| part.name.clone());
    let secrets = setup.opened.secrets().clone();
    let (queue, writer) = writer::start(WriterSetup {
        connection: setup.connection.clone(),
        run: setup.run.clone(),
        stream: stream.clone(),
        batch: batch.clone(),
        has_key: !setup.info.primary_key.is_empty(),
        survey,
        sorted: sorted(&setup.info),
        lookback: setup.lookback.by,
        keys_folder: setup.out.join("_keys"),
        folder: folder.clone(),
        sink,
        history,
        state: setup.state.clone(),
        storage: setup.storage.clone(),
        archive: setup.archive.clone(),
        limits: setup.parts.clone(),
        dead_letters: DeadLetters::new(stream, secrets, Box::new(dead_paths), dead_known.collect()),
        dead_letters_left: limits.dead_letters.saturating_sub(refused),
        max_dead_letters: limits.dead_letters,
        time: setup.opened.time.clone(),
        tally: setup.tally.clone(),
        is_blank: batch.mode == BatchMode::Full && of_batch.clone().all(|part| deadletter::is_dead(&part.name)),
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
        lookback: setup.lookback,
    };
    let shifted = read_all(setup, read_setup, &reads, report).await;
    // The queue's last end is gone with `read_setup`: the writer makes its last commit.
    writer.await.map_err(|_| WriterError::Crashed)??;
    for partition in gone {
        report.finding.note(format!("{partition}: the partition is not there any more; it was dropped unread"));
    }
    Ok(Outcome { status: close(setup, &batch, &folder, report)?, shifted })
}

/// What the complete readings of a stream have shown.
fn known_schema(state: &mut dyn StateStore, stream: &str) -> Result<Option<Schema>, StreamError> {
    Ok(state.known_schema(stream)?.map(|text| Schema::parse(&text)).transpose()?)
}

/// What is looked for in records before they are decoded: what orders them matters where they are read incrementally, and
/// where their order is relied on.
fn survey(info: &StreamInfo) -> Survey {
    let by_key = info.modes.contains(&SyncMode::Incremental) && !info.primary_key.is_empty();
    let cursor = info.cursor_field.as_deref().filter(|_| by_key || info.sorted.is_some());
    Survey::new(&info.primary_key, cursor)
}

fn sorted(info: &StreamInfo) -> Option<(String, Sorted)> {
    let order = match info.sorted? {
        Order::Ascending => Sorted::Ascending,
        Order::Descending => Sorted::Descending,
    };
    Some((info.cursor_field.clone()?, order))
}

/// Makes the sink of a stream.
fn open_sink(setup: &StreamSetup, folder: &Folder, schema: Schema, prefix: String, written: usize) -> Box<dyn Sink> {
    let extension = setup.format.extension();
    let folder = folder.clone();
    // The run's id keeps the parts of all runs apart; the number keeps those of one run in order.
    let names = (written..).map(move |number| folder.temporary(&format!("{prefix}{number:05}.{extension}")));
    sinks::open(sinks::limits(&setup.opened.engine), schema, setup.info.primary_key.clone(), setup.format, names)
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
        report.dead_letters += entry.dead_letters;
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
    let pages = lock(&setup.state).page_count(read.id).unwrap_or(0);
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
        refused: 0,
        watermark: None,
        shifted: false,
    });
    let entry = ReadEntry {
        partition,
        finding: result.finding,
        resumed: read.checkpoint.is_some(),
        pages: result.pages,
        records: result.records,
        dead_letters: result.refused,
        watermark_before: read.since.clone(),
        watermark_after: result.watermark,
    };
    (entry, result.shifted)
}

impl StreamSetup {
    /// What to do about drift.
    fn policy(&self) -> Policy {
        self.opened.config().on_drift.over(&self.on_drift).of(&self.info.name)
    }
}

/// Says what is known after a batch that is complete. Returns what keeps it from being closed, where something does.
fn close_schema(
    setup: &StreamSetup,
    batch: &Batch,
    folder: &Folder,
    state: &mut dyn StateStore,
) -> Result<Option<String>, StreamError> {
    let stream = &setup.info.name;
    let Some(columns) = state.schema(stream)? else { return Ok(None) };
    let known = known_schema(state, stream)?;
    let records = state.parts(stream)?.iter().filter(|part| part.batch == batch.id).map(|part| part.records).sum();
    let about = (batch.mode == BatchMode::Full, records);
    let visible = if batch.staged { None } else { state.schema_versions(stream)?.pop() };
    let now = (setup.run.as_str(), setup.opened.time.now_ms());
    if let Some(closing) = history::close(known.as_ref(), &Schema::parse(&columns)?, about, visible, now) {
        setup.tally.drifted(stream, &closing.removed);
        if let (Policy::Fail, true, Some(first)) = (setup.policy(), batch.staged, closing.removed.first()) {
            return Ok(Some(format!(
                "{first}; this reading, of {}, has none of it, so the old data stays in place; see what was known with `host schema \
                 {stream}`, and go on with --on-drift evolve",
                plural(records, "record")
            )));
        }
        state.put_known_schema(stream, &setup.run, &closing.version)?;
    }
    folder.replace("_schema.json", &columns)?;
    Ok(None)
}

/// Closes the batch if its reads came to an end, and brings the files in order. Returns how it stands; none where it stays
/// open, or all is said of it.
fn close(
    setup: &StreamSetup,
    batch: &Batch,
    folder: &Folder,
    report: &mut StreamReport,
) -> Result<Option<BatchStatus>, StreamError> {
    let stream = &setup.info.name;
    let mut state = lock(&setup.state);
    let mut told = false;
    let status = if setup.limit.is_some() {
        BatchStatus::Preview
    } else {
        let reads = state.reads(batch.id)?;
        if reads.iter().any(|read| read.status == ReadStatus::Broken) {
            BatchStatus::Broken
        } else if reads.iter().any(|read| read.status == ReadStatus::Unfinished) {
            return Ok(None);
        } else if reads.iter().any(|read| read.status == ReadStatus::Lacking) {
            told = true;
            lacking(&mut *state, stream, batch, report)?
        } else {
            BatchStatus::Complete
        }
    };
    if status == BatchStatus::Complete
        && let Some(reason) = close_schema(setup, batch, folder, &mut *state)?
    {
        report.finding.include_first(&Finding::incomplete(reason));
        return Ok(None);
    }
    folder.close(stream, batch, status, &mut *state)?;
    debug_assert!(status != BatchStatus::Complete || report.finding.verdict != Verdict::Incomplete);
    Ok(Some(status).filter(|_| !told))
}

/// Says what becomes of a batch that only lacks what could not be stored: its data is the stream's data, unless it would
/// replace other data and most of it is missing.
fn lacking(
    state: &mut dyn StateStore,
    stream: &str,
    batch: &Batch,
    report: &mut StreamReport,
) -> Result<BatchStatus, StateError> {
    let (records, refused) = state.record_counts(batch.id)?;
    // Reads that ended in an earlier run are not among those of this one.
    let earlier = refused.saturating_sub(report.dead_letters);
    let parts = state.parts(stream)?;
    let of_batch = parts.iter().filter(|part| part.batch == batch.id).map(|part| part.name.as_str());
    report.finding.lacks(earlier, &deadletter::place(stream, of_batch));
    report.dead_letters += earlier;
    if batch.staged && refused > records {
        report.finding.note(
            "most records could not be stored, so those of earlier runs stay; the next run reads all again".to_owned(),
        );
        return Ok(BatchStatus::Broken);
    }
    report.finding.note("the other records are in place; the next run asks for all of them again".to_owned());
    Ok(BatchStatus::Lacking)
}
