//! Making a stream's table anew from archives, after the connector's logic changed: without a request, and with the old
//! table in place until the new one is whole.
//!
//! The new parts are written under temporary names, of which no commit knows: a process that dies leaves the table as it
//! was, and the next command removes them. Then they are committed as a batch that replaces all others, as a full reading
//! is: one transaction swaps the tables. What dies between the commit and the swap is finished by the next run.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::border::Border;
use super::commit::Folder;
use super::deadletter::{self, DeadLetters};
use super::lock::Lock;
use super::moment::Value;
use super::replay::{Recorded, ReplayError, StreamMade};
use super::seam::Edge;
use super::verdict::Finding;
use super::{CommitError, LockError, PartLimits, history, sinks, state_path};
use crate::auth::Secrets;
use crate::engine::Engine;
use crate::event::Observer;
use crate::personal::Keys;
use crate::record::{Record, Survey};
use crate::schema::Schema;
use crate::sink::{Sealed, Sink, SinkError};
use crate::state::{
    BatchMode, BatchStatus, Commit, NewSchema, PageChecks, PageEntry, Part, PartStatus, Read, ReadEnd, ReadProgress,
    ReadStatus, Run, RunStatus, Sqlite, StateError, StateStore,
};
use crate::time::{SystemClock, Time};

/// What to make anew.
#[derive(Debug)]
pub struct Reprocess {
    /// The output folder.
    pub out: PathBuf,
    /// The stream.
    pub stream: String,
    /// Ids of the runs, in any order.
    pub runs: Vec<String>,
    /// The connector; none for those that made the runs.
    pub connector: Option<PathBuf>,
    /// When a part is full; its age does not matter.
    pub parts: PartLimits,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct Reprocessed {
    /// Id under which `host runs` lists it.
    pub run: String,
    /// The stream.
    pub stream: String,
    /// Each run that it was made of: id, pages, records.
    pub from: Vec<(String, u64, u64)>,
    /// Records before.
    pub before: u64,
    /// Records now.
    pub records: u64,
    /// Records that could not be stored.
    pub dead_letters: u64,
    /// Files now.
    pub files: usize,
    /// What could not be played, in words.
    pub left_out: Vec<String>,
}

/// Why a table could not be made anew; the old one is untouched.
#[derive(Debug, thiserror::Error)]
pub enum ReprocessError {
    /// There is no such stream.
    #[error("the output folder has no stream {0}")]
    NoStream(String),
    /// A run did not read the stream.
    #[error("the run {run} did not read {stream}")]
    NotInRun {
        /// The run.
        run: String,
        /// The stream.
        stream: String,
    },
    /// A reading of the stream is unfinished.
    #[error("the last reading of {0} is unfinished")]
    Unfinished(String),
    /// The first run brought only what was new.
    #[error("none of the runs read all of {0}, so the table would begin in the middle")]
    NoBeginning(String),
    /// A run in between is missing.
    #[error("the run {run} goes on from a watermark of {read} that none of the runs before it left")]
    Gap {
        /// The run.
        run: String,
        /// The read.
        read: String,
    },
    /// A reading goes over several runs.
    #[error(
        "the run {run} went on with a reading of {read} that another run began, and such a reading cannot be made anew"
    )]
    Continued {
        /// The run.
        run: String,
        /// The read.
        read: String,
    },
    /// Newer runs are missing.
    #[error("the table has records up to a watermark of {read} that is not that of the last of the runs")]
    Behind {
        /// The read.
        read: String,
    },
    /// Another run is under way.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A run cannot be repeated.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Files cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Records cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

type Partition = Option<(String, String)>;

/// Makes a stream's table anew and swaps it in.
///
/// # Errors
///
/// When a run cannot be repeated, or the runs are not all that the table is made of.
pub async fn reprocess(
    wanted: Reprocess,
    engine: Arc<Engine>,
    observer: Arc<dyn Observer>,
    keys: Keys,
) -> Result<Reprocessed, ReprocessError> {
    let Reprocess { out, stream, .. } = &wanted;
    let mut state = Sqlite::open(&state_path(out))?;
    let connection = state.owner(stream)?.ok_or_else(|| ReprocessError::NoStream(stream.clone()))?;
    let _lock = Lock::take(out, &connection)?;
    let folder = Folder::create(out, stream)?;
    folder.recover(&state.parts(stream)?, &mut state, true)?;
    finish(&folder, stream, &mut state)?;
    let known = state.runs()?;
    let mut runs: Vec<&Run> = known.iter().filter(|run| wanted.runs.contains(&run.id)).collect();
    // By their order, which a clock that went back does not change.
    runs.reverse();
    let mut recorded = Vec::new();
    for run in runs {
        let load = Recorded::load(engine.clone(), out, &run.id, observer.clone(), keys.clone())?;
        if !load.streams().contains(stream) {
            return Err(ReprocessError::NotInRun { run: run.id.clone(), stream: stream.clone() });
        }
        recorded.push(load);
    }
    // A full reading replaces what was before it.
    let first = recorded.iter().rposition(|run| run.is_full(stream));
    let first = first.ok_or_else(|| ReprocessError::NoBeginning(stream.clone()))?;
    let recorded = without_replaced(recorded.split_off(first), stream);
    check_chain(&recorded, stream, &mut state)?;

    let time = SystemClock::new();
    let id = uuid::Uuid::now_v7().to_string();
    let mut made = Table { now_ms: time.now_ms(), ..Table::default() };
    let mut from = Vec::new();
    let mut writer: Option<Box<dyn Sink>> = None;
    let dead_folder = folder.clone();
    let dead_paths = deadletter::names(&id, 0).map(move |name| dead_folder.temporary(&name));
    let mut dead = DeadLetters::new(stream, Secrets::default(), Box::new(dead_paths), Vec::new());
    for run in &recorded {
        let mut one = StreamMade { name: stream.clone(), ..StreamMade::default() };
        let player = run.open_stream(wanted.connector.as_deref(), &mut one, &mut made.left_out).await?;
        let player = player.ok_or_else(|| ReplayError::NoStream(stream.clone()))?;
        let sink = match &mut writer {
            Some(writer) => writer,
            None => {
                let (folder, id, extension) = (folder.clone(), id.clone(), run.format().extension());
                let name = move |number: u32| folder.temporary(&format!("part-{id}-{number:05}.{extension}"));
                let schema = sinks::schema_of::<ReplayError>(None, one.declared.as_deref())?;
                let key = one.primary_key.clone();
                writer.insert(sinks::open(sinks::limits(player.engine()), schema, key, run.format(), (0..).map(name)))
            }
        };
        let cursor = one.cursor_field.as_deref().filter(|_| !one.primary_key.is_empty());
        let survey = Survey::new(&one.primary_key, cursor);
        made.reads.values_mut().for_each(|read| read.goes_on(time.now_ms()));
        let mut edges: BTreeMap<String, Edge> = BTreeMap::new();
        let mut left_out = std::mem::take(&mut made.left_out);
        let watermarks = run
            .read_all(&player, &mut one, &mut left_out, true, |read, label, mut emitted| {
                // Its number in the archive of its run says nothing here.
                if let Some(origin) = &mut emitted.origin {
                    origin.exchange = None;
                }
                let edge = edges.entry(label.to_owned()).or_default();
                let seam = edge.join(&survey, &mut emitted);
                let (last, known) = made.read(read).pass(&survey, &mut emitted);
                let failed = |source| ReplayError::Page { read: label.to_owned(), source };
                let taken = deadletter::append(&mut **sink, &mut emitted, u64::MAX);
                let taken = taken.map_err(|error| failed(error.into()))?;
                let appended = &taken.appended;
                let refused = taken.refused.len() as u64;
                dead.write(label, made.pages(read), &emitted, &taken.refused).map_err(failed)?;
                let last = last.or_else(|| taken.edge(&survey, &emitted));
                let checks = PageChecks { seam, edge: last, known, ..PageChecks::default() };
                let url = emitted.origin.as_ref().map(|origin| origin.url.as_str());
                edge.pass(appended.records + refused, &checks, url);
                made.log(read, &emitted, appended, refused, checks);
                if sink.rows() >= wanted.parts.rows || sink.bytes() >= wanted.parts.bytes {
                    made.sealed.extend(sink.seal()?);
                }
                Ok(appended.records)
            })
            .await?;
        made.left_out = left_out;
        for (partition, watermark) in watermarks {
            let read = made.read(&partition);
            // What is to be said of it was said by the run.
            read.watermark = read.border.settle(watermark, &mut Finding::complete());
        }
        from.push((run.run.clone(), one.pages, one.records));
    }
    let Some(mut sink) = writer else { return Err(ReprocessError::NoBeginning(stream.clone())) };
    made.sealed.extend(sink.seal()?);
    if made.sealed.is_empty() {
        made.sealed.extend(sink.seal_empty()?);
    }

    let parts = state.parts(stream)?;
    let before = parts.iter().filter(|part| part.status == PartStatus::Visible).map(|part| part.records).sum();
    let shown = state.known_schema(stream)?.map(|text| Schema::parse(&text)).transpose().map_err(ReplayError::from)?;
    let digest = state.config_digest(&connection)?.unwrap_or_default();
    let connector = known.iter().find(|run| run.connection == connection);
    let now = time.now_ms();
    let run = Run {
        id: id.clone(),
        connection: connection.clone(),
        connector: format!("reprocess of {}", connector.map_or("a connector", |run| &run.connector)),
        started_ms: now,
        ended_ms: Some(now),
        // Ended before it begins: no later run goes on with it.
        status: RunStatus::Ended,
        verdict: None,
        records: 0,
        full: true,
    };
    let reads: Vec<Read> = made.reads.values().map(MadeRead::unread).collect();
    state.begin_run(&run, &digest, std::slice::from_ref(stream))?;
    let (batch, reads) = state.open_batch(stream, BatchMode::Full, true, &reads)?;
    let records = made.sealed.iter().map(|file| file.rows).sum();
    let columns = history::described(sink.schema());
    let closing = history::close(shown.as_ref(), sink.schema(), (true, records), None, (&id, now));
    let files = made.sealed.len();
    let letters = dead.seal()?;
    let dead_letters = letters.as_ref().map_or(0, |file| file.rows);
    let letters = letters.into_iter().map(|file| Sealed { rows: 0, ..file });
    let parts = made.sealed.into_iter().chain(letters).filter_map(|file| {
        Some(Part {
            stream: stream.clone(),
            name: Folder::name_of(&file.path)?.to_owned(),
            batch: batch.id,
            run: id.clone(),
            records: file.rows,
            bytes: file.bytes,
            status: PartStatus::Staged,
        })
    });
    let progress = made.reads.values_mut().zip(&reads).map(|(made, read)| ReadProgress {
        border: Some(made.border.encode()),
        read: read.id,
        checkpoint: made.checkpoint.clone(),
        end: Some(if made.pages.iter().all(|page| page.refused == 0) {
            (ReadEnd::Complete, made.watermark.clone())
        } else {
            (ReadEnd::Lacking, None)
        }),
        pages: made.pages.clone(),
        storage: Vec::new(),
    });
    let commit = Commit {
        connection,
        run: id.clone(),
        stream: stream.clone(),
        parts: parts.collect(),
        reads: progress.collect(),
        schema: Some(NewSchema { columns: columns.clone(), version: None }),
    };
    folder.commit(&commit, &mut state)?;
    // What lacks records is read again by the next run, as after a run.
    let status = if dead_letters == 0 { BatchStatus::Complete } else { BatchStatus::Lacking };
    if let Some(closing) = closing.filter(|_| status == BatchStatus::Complete) {
        state.put_known_schema(stream, &id, &closing.version)?;
    }
    folder.close(stream, &batch, status, &mut state)?;
    folder.replace("_schema.json", &columns)?;
    let left_out = made.left_out;
    Ok(Reprocessed { run: id, stream: stream.clone(), from, before, records, dead_letters, files, left_out })
}

/// Finishes what a process left that died: a swap that was committed, or a batch that has nothing yet.
fn finish(folder: &Folder, stream: &str, state: &mut Sqlite) -> Result<(), ReprocessError> {
    let Some(batch) = state.newest_batch(stream)?.filter(|batch| batch.status == BatchStatus::Open) else {
        return Ok(());
    };
    let reads = state.reads(batch.id)?;
    let mut pages = 0;
    for read in &reads {
        pages += state.page_count(read.id)?;
    }
    let empty = pages == 0 && state.parts(stream)?.iter().all(|part| part.batch != batch.id);
    let ended = reads.iter().all(|read| matches!(read.status, ReadStatus::Complete | ReadStatus::Lacking));
    let status = if !empty && ended {
        let lacks = reads.iter().any(|read| read.status == ReadStatus::Lacking);
        if lacks { BatchStatus::Lacking } else { BatchStatus::Complete }
    } else if empty && batch.staged {
        BatchStatus::Broken
    } else {
        return Err(ReprocessError::Unfinished(stream.to_owned()));
    };
    Ok(folder.close(stream, &batch, status, state)?)
}

/// Leaves out runs whose reading lacked something and was made again from where it began: the table has the later one's
/// records in their place.
fn without_replaced(mut recorded: Vec<Recorded>, stream: &str) -> Vec<Recorded> {
    let spans: Vec<_> = recorded.iter().map(|run| (run.beginnings(stream), run.ends(stream))).collect();
    let replaced = |at: usize| {
        let Some((begun, ended)) = spans.get(at).filter(|_| at > 0) else { return false };
        let open = |partition| ended.iter().any(|(id, mark)| id == partition && mark.is_none());
        let later = spans.iter().skip(at + 1).flat_map(|(begun, _)| begun);
        later.into_iter().any(|beginning| open(&beginning.0) && begun.contains(beginning))
    };
    let mut at = 0..;
    recorded.retain(|_| !at.next().is_some_and(replaced));
    recorded
}

/// Checks that each run begins where those before it ended, and that the last one ends where the table does.
fn check_chain(recorded: &[Recorded], stream: &str, state: &mut dyn StateStore) -> Result<(), ReprocessError> {
    let mut marks: HashMap<Option<String>, Option<String>> = HashMap::new();
    for run in recorded {
        if let Some(read) = run.continued(stream) {
            return Err(ReprocessError::Continued { run: run.run.clone(), read });
        }
        for (partition, since) in run.beginnings(stream) {
            let known = marks.get(&partition).cloned().flatten();
            if since != known && since.is_some() {
                let read = partition.unwrap_or_else(|| stream.to_owned());
                return Err(ReprocessError::Gap { run: run.run.clone(), read });
            }
        }
        marks.extend(run.ends(stream).into_iter().filter(|(_, mark)| mark.is_some()));
    }
    for (partition, mark) in state.watermarks(stream)? {
        if marks.get(&partition).cloned().flatten() != Some(mark) {
            return Err(ReprocessError::Behind { read: partition.unwrap_or_else(|| stream.to_owned()) });
        }
    }
    Ok(())
}

/// A table in the making.
#[derive(Default)]
struct Table {
    sealed: Vec<Sealed>,
    reads: BTreeMap<Option<String>, MadeRead>,
    left_out: Vec<String>,
    now_ms: u64,
}

/// One partition of it, over all runs.
#[derive(Default)]
struct MadeRead {
    partition: Partition,
    pages: Vec<PageEntry>,
    checkpoint: Option<String>,
    watermark: Option<String>,
    border: Border,
}

impl MadeRead {
    /// Goes on with what the next run brought.
    fn goes_on(&mut self, now_ms: u64) {
        let before = self.border.encode();
        self.border = Border::open(self.watermark.clone(), Duration::ZERO, now_ms, Some(&before), None);
    }

    /// Leaves out the records of a page that are there already; returns what tells its last record from others, and how many
    /// were left out.
    fn pass(&mut self, survey: &Survey, emitted: &mut crate::capability::output::Emitted) -> (Option<u64>, u64) {
        if !survey.has_cursor() {
            return (None, 0);
        }
        let records = survey.all(&emitted.page, emitted.ready.as_ref());
        let values: Vec<_> = records.iter().map(|record| record.cursor.as_deref().map(Value::of)).collect();
        let known = self.border.pass(&records, &values, &emitted.page.leave_out);
        let edge = records.last().map(Record::edge);
        let count = known.len() as u64;
        emitted.page.leave_out.extend(known);
        (edge, count)
    }

    fn unread(&self) -> Read {
        Read {
            id: 0,
            partition: self.partition.clone(),
            since: None,
            checkpoint: None,
            watermark: None,
            status: ReadStatus::Unfinished,
        }
    }
}

impl Table {
    fn read(&mut self, partition: &Partition) -> &mut MadeRead {
        let id = partition.as_ref().map(|(id, _)| id.clone());
        let border = || Border::open(None, Duration::ZERO, self.now_ms, None, None);
        let new = || MadeRead { partition: partition.clone(), border: border(), ..MadeRead::default() };
        self.reads.entry(id).or_insert_with(new)
    }

    fn pages(&mut self, partition: &Partition) -> u64 {
        self.read(partition).pages.len() as u64
    }

    fn log(
        &mut self,
        partition: &Partition,
        emitted: &crate::capability::output::Emitted,
        appended: &crate::record::Appended,
        refused: u64,
        checks: PageChecks,
    ) {
        let read = self.read(partition);
        let origin = emitted.origin.as_ref();
        read.pages.push(PageEntry {
            seq: read.pages.len() as u64,
            url: origin.map(|origin| origin.url.clone()),
            status: origin.map(|origin| origin.status),
            bytes: origin.map_or(appended.bytes, |origin| origin.bytes),
            records: appended.records,
            checkpoint: emitted.checkpoint.as_ref().map(|text| format!("{:032x}", xxh3_128(text.as_bytes()))),
            total: emitted.total,
            hash: format!("{:032x}", appended.content_hash),
            refused,
            checks,
        });
        if emitted.checkpoint.is_some() {
            read.checkpoint.clone_from(&emitted.checkpoint);
        }
    }
}
