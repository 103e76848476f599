//! The writer of one stream: takes pages of all its reads, hands them to the sink, and commits.
//!
//! It runs beside the guests. Pages wait for it in a queue that is bounded in bytes; a guest that is ahead waits.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_128;

use super::border::Border;
use super::commit::{CommitError, Folder};
use super::deadletter::{self, DeadLetters, NotTaken, Taken};
use super::history::History;
use super::keys::Keys;
use super::moment::Value;
use super::queue::{self, End, Item, Queue, ReadHandle, ReadReport};
use super::recording::CommitNote;
use super::stream::lock;
use super::tally::Tally;
use super::verdict::{Finding, PageLog, Sorted, Verdict};
use crate::capability::heard::Heard;
use crate::capability::output::Emitted;
use crate::capability::storage::Committed;
use crate::event::{Event, Level, Observer};
use crate::http::archive::{self, Archive};
use crate::record::{Record, RecordError, RefusedRecord, Survey};
use crate::sink::{Sealed, Sink, SinkError};
use crate::state::{
    Batch, Commit, PageChecks, PageEntry, Part, PartStatus, ReadEnd, ReadProgress, StateError, StateStore,
};
use crate::time::Time;

/// Pages of at most this many bytes can be looked at for their cursors without a thread of its own.
const SHORT_BYTES: usize = 256 << 10;

/// When a part is full.
#[derive(Debug, Clone)]
pub struct PartLimits {
    /// Records at which a part is full. A page is not divided, so the last one may lead beyond it.
    pub rows: u64,
    /// Bytes of a part's file at which it is full.
    pub bytes: u64,
    /// Time from a part's first record to its commit: at most this much work is lost with a dead process.
    pub age: Duration,
    /// Whether a connector goes on only when its page is taken, and committed where a part is full by it. Off by default:
    /// it costs the time of each commit. With it, what a dead process has committed hangs on nothing but its requests.
    pub in_step: bool,
}

impl Default for PartLimits {
    fn default() -> Self {
        // Files of 128 MiB are what query engines like best; two minutes of a budget of 5,000 requests an hour are 170
        // requests to repeat.
        Self { rows: 2_000_000, bytes: 128 << 20, age: Duration::from_secs(120), in_step: false }
    }
}

/// Why a stream's writer stopped; every read of the stream ends with it.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The sink could not write.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The commit failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The state store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The archive could not be written.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// The log of primary keys could not be written.
    #[error("cannot write the keys of a read")]
    Keys(#[from] std::io::Error),
    /// Writing crashed.
    #[error("the writer crashed")]
    Crashed,
}

/// What a writer needs to know.
pub(crate) struct WriterSetup {
    pub(crate) connection: String,
    pub(crate) run: String,
    pub(crate) stream: String,
    pub(crate) batch: Batch,
    pub(crate) has_key: bool,
    /// Tells records apart before they are decoded.
    pub(crate) survey: Survey,
    /// The field by which the records are said to be sorted, and how.
    pub(crate) sorted: Option<(String, Sorted)>,
    /// How far before their watermarks the reads start.
    pub(crate) lookback: Duration,
    pub(crate) keys_folder: PathBuf,
    pub(crate) folder: Folder,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) history: History,
    pub(crate) state: Arc<Mutex<dyn StateStore>>,
    pub(crate) storage: Committed,
    pub(crate) archive: Archive,
    pub(crate) limits: PartLimits,
    pub(crate) dead_letters: DeadLetters,
    /// Dead letters that may still be made.
    pub(crate) dead_letters_left: u64,
    /// Dead letters that are allowed in all.
    pub(crate) max_dead_letters: u64,
    pub(crate) time: Arc<dyn Time>,
    pub(crate) tally: Arc<Tally>,
    /// Whether the batch is a full one without a part so far: if it stays so, readers get a file without rows.
    pub(crate) is_blank: bool,
    /// Reads that have to come to their end before the batch is whole.
    pub(crate) reads: usize,
}

/// One read within the writer.
struct Progress {
    log: PageLog,
    border: Border,
    keys: Option<Keys>,
    keys_lost: Option<String>,
    /// Whether its end has been taken. A guest aside that is not waited for may still emit a page; it is not missed.
    over: bool,
    uncommitted: ReadProgress,
}

struct Writer {
    setup: WriterSetup,
    reads: HashMap<i64, Progress>,
    uncommitted_since: Option<Duration>,
    /// The columns as they were last committed.
    columns: Option<String>,
    /// Reads that came to their end.
    ended: usize,
    /// What the next commit tells the archive, so that a replay can do the same.
    trace: CommitNote,
    /// Those who wait until what was taken is committed, where that is due.
    waiting: Vec<oneshot::Sender<()>>,
}

/// Starts a writer. It ends when every [`Queue`] is dropped, after a last commit; the returned handle tells how.
pub(crate) fn start(setup: WriterSetup) -> (Queue, tokio::task::JoinHandle<Result<(), WriterError>>) {
    let (queue, receiver, room) = queue::queue(setup.limits.in_step);
    let task = tokio::spawn(async move {
        let result = work(Writer::new(setup), receiver).await;
        // Guests that wait for room must not wait for a writer that is gone.
        room.close();
        result
    });
    (queue, task)
}

async fn work(mut writer: Writer, mut items: mpsc::UnboundedReceiver<Item>) -> Result<(), WriterError> {
    loop {
        let due = writer.due_in();
        let time = writer.setup.time.clone();
        let first = tokio::select! {
            biased;
            item = items.recv() => item,
            () = async { match due { Some(due) => time.sleep(due).await, None => std::future::pending().await } } => {
                writer = writer.commit_now().await?;
                continue;
            }
        };
        let Some(first) = first else {
            writer.commit_now().await?;
            return Ok(());
        };
        let mut batch = vec![first];
        while let Ok(item) = items.try_recv() {
            batch.push(item);
        }
        let mut batch = batch.into_iter().peekable();
        // What waited may be enough for several parts, as where a commit took long.
        while batch.peek().is_some() {
            let mut is_full = false;
            // What has been decoded is only copied, which takes less time than to wake another thread for it.
            while !is_full
                && !writer.setup.sink.is_due()
                && let Some(item) = batch.next_if(|item| writer.is_quick(item))
            {
                writer.take(item)?;
                is_full = writer.is_full();
            }
            if !is_full && (batch.peek().is_some() || writer.setup.sink.is_due()) {
                let taken = tokio::task::spawn_blocking(move || {
                    for item in batch.by_ref() {
                        // What is written settles the columns' types. A replay writes after each page, and so must this.
                        writer.setup.sink.write_due()?;
                        writer.take(item)?;
                        if writer.is_full() {
                            break;
                        }
                    }
                    writer.setup.sink.write_due()?;
                    Ok::<_, WriterError>((writer, batch))
                });
                (writer, batch) = taken.await.map_err(|_| WriterError::Crashed)??;
            }
            if writer.is_full() {
                writer = writer.commit_now().await?;
            }
        }
        writer.waiting.clear();
    }
}

impl Writer {
    fn new(setup: WriterSetup) -> Self {
        Self {
            setup,
            reads: HashMap::new(),
            uncommitted_since: None,
            columns: None,
            ended: 0,
            trace: CommitNote::default(),
            waiting: Vec::new(),
        }
    }

    fn due_in(&self) -> Option<Duration> {
        let since = self.uncommitted_since?;
        Some((since + self.setup.limits.age).saturating_sub(self.setup.time.monotonic()))
    }

    fn is_full(&self) -> bool {
        let sink = &self.setup.sink;
        sink.rows() >= self.setup.limits.rows
            || sink.bytes() >= self.setup.limits.bytes
            || self.due_in().is_some_and(|due| due.is_zero())
    }

    fn progress(&mut self, id: i64) -> Result<&mut Progress, WriterError> {
        if !self.reads.contains_key(&id) {
            let pages = lock(&self.setup.state).pages(id)?;
            let mut log = PageLog::default();
            pages.iter().for_each(|page| log.add(page));
            let keys = self.setup.has_key.then(|| Keys::open(&self.setup.keys_folder, id, log.records));
            let uncommitted = ReadProgress { read: id, ..ReadProgress::default() };
            let kept = lock(&self.setup.state).border(id)?;
            let border = Border::open(
                kept.since,
                self.setup.lookback,
                self.setup.time.now_ms(),
                kept.before.as_deref(),
                kept.so_far.as_deref(),
            );
            let border = if self.setup.survey.is_by_key() { border.without_ties() } else { border };
            self.reads.insert(id, Progress { log, border, keys, keys_lost: None, over: false, uncommitted });
        }
        self.reads.get_mut(&id).ok_or(WriterError::Crashed)
    }

    /// Whether taking an item waits for no disk and needs little time.
    fn is_quick(&self, item: &Item) -> bool {
        // Records with a cursor are gone over once more.
        let is_short = |emitted: &Emitted| !self.setup.survey.has_cursor() || emitted.page.range.len() <= SHORT_BYTES;
        let is_ready = |emitted: &Emitted| emitted.ready.is_some() && is_short(emitted);
        matches!(item, Item::Page { read, emitted, .. } if is_ready(emitted) && self.reads.contains_key(&read.id))
    }

    fn take(&mut self, item: Item) -> Result<(), WriterError> {
        self.uncommitted_since.get_or_insert_with(|| self.setup.time.monotonic());
        match item {
            Item::Page { read, emitted, taken, .. } => {
                self.waiting.extend(taken);
                self.take_page(&read, *emitted)
            }
            Item::End { read, end, reply } => {
                let report = self.take_end(&read, end)?;
                // Whoever asked may have been stopped in between.
                let _ = reply.send(report);
                Ok(())
            }
        }
    }

    fn take_page(&mut self, read: &ReadHandle, mut emitted: Emitted) -> Result<(), WriterError> {
        if read.failure().is_some() || self.reads.get(&read.id).is_some_and(|progress| progress.over) {
            return Ok(());
        }
        self.note_heard(read, std::mem::take(&mut emitted.heard));
        self.progress(read.id)?;
        let Some(progress) = self.reads.get_mut(&read.id) else { return Ok(()) };
        let seam = progress.log.edge.join(&self.setup.survey, &mut emitted);
        let mut checks = PageChecks { seam, ..PageChecks::default() };
        if self.setup.survey.has_cursor() {
            survey(&self.setup, progress, &mut emitted, &mut checks);
        }
        let left = self.setup.dead_letters_left;
        let taken = match deadletter::append(&mut *self.setup.sink, &mut emitted, left) {
            Ok(taken) => taken,
            Err(NotTaken::Page(error)) => {
                read.fail(page_error(&error, &emitted, &self.setup.stream));
                return Ok(());
            }
            Err(NotTaken::TooMany(error)) => {
                let most = self.setup.max_dead_letters;
                let more = format!("; there would be more dead letters than --max-dead-letters allows: {most}");
                read.fail(page_error(&error, &emitted, &self.setup.stream) + &more);
                return Ok(());
            }
            Err(NotTaken::Sink(error)) => return Err(error.into()),
        };
        checks.edge = checks.edge.or_else(|| taken.edge(&self.setup.survey, &emitted));
        let Taken { appended, refused } = taken;
        if !refused.is_empty() {
            self.keep(read, &emitted, &refused)?;
        }
        let is_kept = self.setup.archive.is_kept();
        let progress = self.progress(read.id)?;
        let entry = PageEntry {
            seq: progress.log.pages,
            url: emitted.origin.as_ref().map(|origin| origin.url.clone()),
            status: emitted.origin.as_ref().map(|origin| origin.status),
            bytes: emitted.origin.as_ref().map_or(appended.bytes, |origin| origin.bytes),
            records: appended.records,
            checkpoint: emitted.checkpoint.as_ref().map(|text| format!("{:032x}", xxh3_128(text.as_bytes()))),
            total: emitted.total,
            hash: format!("{:032x}", appended.content_hash),
            refused: refused.len() as u64,
            checks,
        };
        if let Some(keys) = &mut progress.keys
            && progress.keys_lost.is_none()
            && let Err(error) = keys.append(&appended.key_hashes)
        {
            if error.kind() != std::io::ErrorKind::UnexpectedEof {
                return Err(error.into());
            }
            progress.keys_lost = Some(error.to_string());
        }
        progress.log.add(&entry);
        let trace = is_kept.then(|| (read.label.to_string(), entry.records, entry.hash.clone()));
        progress.log.missing_keys += appended.missing_keys;
        progress.uncommitted.pages.push(entry);
        if emitted.checkpoint.is_some() {
            progress.uncommitted.checkpoint = emitted.checkpoint;
        }
        progress.uncommitted.storage.extend(emitted.storage);
        if let Some(trace) = trace {
            if !emitted.page.leave_out.is_empty() {
                self.trace.left_out.push((self.trace.pages.len(), emitted.page.leave_out));
            }
            self.trace.pages.push(trace);
        }
        self.setup.tally.observe(Event::Page {
            read: read.label.to_string(),
            records: appended.records,
            total: emitted.total,
        });
        Ok(())
    }

    /// Keeps records that cannot be stored.
    #[cold]
    fn keep(&mut self, read: &ReadHandle, emitted: &Emitted, refused: &[RefusedRecord]) -> Result<(), WriterError> {
        let log = &self.progress(read.id)?.log;
        let (page, is_first) = (log.pages, log.refused == 0);
        let letters = &mut self.setup.dead_letters;
        letters.write(&read.label, page, emitted, refused)?;
        self.setup.dead_letters_left = self.setup.dead_letters_left.saturating_sub(refused.len() as u64);
        // The others are like it as a rule, and all are in the file.
        if let Some(message) = letters.tell(&read.label, emitted, refused).filter(|_| is_first) {
            let target = "host".to_owned();
            self.setup.tally.observe(Event::Log { target, level: Level::Warn, message, fields: Vec::new() });
        }
        Ok(())
    }

    fn take_end(&mut self, read: &ReadHandle, mut end: End) -> Result<ReadReport, WriterError> {
        self.note_heard(read, std::mem::take(&mut end.heard));
        let failure = read.failure();
        let place = self.setup.dead_letters.place();
        let sorted = self.setup.sorted.clone();
        let restart = end.restart;
        let progress = self.progress(read.id)?;
        progress.over = true;
        let mut shifted = false;
        let mut finding = match (&end.result, failure) {
            (_, Some(reason)) => Finding::incomplete(reason),
            (Err(reason), None) => {
                if end.restart {
                    // To go on from its checkpoint would only meet the same again, or build on what is in doubt.
                    progress.uncommitted.end = Some((ReadEnd::Broken, None));
                }
                Finding::incomplete(reason.clone())
            }
            (Ok(_), None) => {
                let lost = progress.keys_lost.clone();
                let duplicates = progress.keys.as_mut().map(|keys| match lost {
                    Some(reason) => Err(reason),
                    None => keys.duplicates().map_err(|error| error.to_string()),
                });
                shifted = progress.log.shifted(duplicates.as_ref());
                let mut finding = progress.log.judge(duplicates, sorted.as_ref());
                progress.log.judge_nothing(&end, &mut finding);
                let watermark = progress.border.settle(end.result.clone().ok().flatten(), &mut finding);
                let how = match (finding.verdict, progress.log.refused) {
                    (Verdict::Incomplete, _) => ReadEnd::Broken,
                    (_, 0) => ReadEnd::Complete,
                    _ => ReadEnd::Lacking,
                };
                shifted |= how == ReadEnd::Lacking;
                let watermark = watermark.filter(|_| how == ReadEnd::Complete);
                progress.uncommitted.end = Some((how, watermark));
                progress.uncommitted.storage.extend(std::mem::take(&mut end.storage));
                finding
            }
        };
        let log = &progress.log;
        finding.lacks(log.refused, &place);
        let end = progress.uncommitted.end.as_ref();
        let watermark = end.and_then(|(_, watermark)| watermark.clone());
        let (pages, records, refused) = (log.pages, log.records, log.refused);
        let report = ReadReport { finding, pages, records, refused, watermark: watermark.clone(), shifted };
        if end.is_some() && !restart {
            self.trace.ended.push((read.label.to_string(), watermark));
            self.ended += 1;
        }
        Ok(report)
    }

    fn note_heard(&mut self, read: &ReadHandle, heard: Heard) {
        if self.setup.archive.is_kept() && !heard.is_empty() {
            self.trace.heard.push((read.label.to_string(), heard));
        }
    }

    async fn commit_now(mut self) -> Result<Self, WriterError> {
        if self.uncommitted_since.is_none() {
            return Ok(self);
        }
        let mut trace = std::mem::take(&mut self.trace);
        trace.may_be_empty = self.setup.is_blank && self.ended == self.setup.reads;
        self.setup.archive.note(&self.setup.stream, "commit", trace).await?;
        // A commit vouches for its pages, so the exchanges that they come from must be on disk before it.
        self.setup.archive.flush().await?;
        let committed = tokio::task::spawn_blocking(move || {
            let mut writer = self;
            writer.commit()?;
            Ok::<_, WriterError>(writer)
        });
        committed.await.map_err(|_| WriterError::Crashed)?
    }

    fn commit(&mut self) -> Result<(), WriterError> {
        for progress in self.reads.values_mut() {
            if let Some(keys) = &mut progress.keys {
                keys.flush()?;
            }
        }
        let setup = &mut self.setup;
        let mut sealed = setup.sink.seal()?;
        if sealed.is_empty() && setup.is_blank && self.ended == setup.reads {
            sealed.extend(setup.sink.seal_empty()?);
        }
        setup.is_blank &= sealed.is_empty();
        let status = if setup.batch.staged { PartStatus::Staged } else { PartStatus::Visible };
        let letters = setup.dead_letters.seal()?;
        // Of the stream's records it has none, and so it need not wait with them either.
        let letters = letters.map(|file| (Sealed { rows: 0, ..file }, PartStatus::Visible));
        let files = sealed.into_iter().map(|file| (file, status)).chain(letters);
        let part = |(file, status): (Sealed, PartStatus)| {
            let name = Folder::name_of(&file.path).ok_or_else(|| CommitError::Missing { path: file.path.clone() })?;
            Ok::<_, CommitError>(Part {
                stream: setup.stream.clone(),
                name: name.to_owned(),
                batch: setup.batch.id,
                run: setup.run.clone(),
                records: file.rows,
                bytes: file.bytes,
                status,
            })
        };
        let parts = files.map(part).collect::<Result<Vec<_>, _>>()?;
        let schema = setup.history.compare(setup.sink.schema(), setup.time.now_ms());
        let new_schema = Some(schema).filter(|schema| self.columns.as_ref() != Some(&schema.columns));
        let commit = Commit {
            connection: setup.connection.clone(),
            run: setup.run.clone(),
            stream: setup.stream.clone(),
            parts,
            reads: self
                .reads
                .values_mut()
                .map(|progress| {
                    let news = !progress.uncommitted.pages.is_empty() || progress.uncommitted.end.is_some();
                    if news && setup.survey.has_cursor() {
                        progress.uncommitted.border = Some(progress.border.encode());
                    }
                    let read = progress.uncommitted.read;
                    std::mem::replace(&mut progress.uncommitted, ReadProgress { read, ..ReadProgress::default() })
                })
                .collect(),
            schema: new_schema.clone(),
        };
        let mut state = lock(&setup.state);
        setup.folder.commit(&commit, &mut *state)?;
        drop(state);
        if let Some(schema) = new_schema {
            // Of hidden parts nobody has to know the columns.
            if !setup.batch.staged {
                setup.folder.replace("_schema.json", &schema.columns)?;
            }
            self.columns = Some(schema.columns);
        }
        for progress in &commit.reads {
            setup.storage.apply(&progress.storage);
            // Not before the end is committed: a process that dies in between compares the keys once more.
            if progress.end.is_some()
                && let Some(Progress { keys: Some(keys), .. }) = self.reads.remove(&progress.read)
            {
                keys.remove();
            }
        }
        let records = commit.parts.iter().map(|part| part.records).sum();
        if !commit.parts.is_empty() {
            setup.tally.parts_committed(&setup.stream, &commit.parts);
            setup.tally.observe(Event::Committed { stream: setup.stream.clone(), records });
        }
        self.uncommitted_since = None;
        Ok(())
    }
}

/// Looks at each record of a page: leaves out those that are there already, and counts those that are out of order.
fn survey(setup: &WriterSetup, progress: &mut Progress, emitted: &mut Emitted, checks: &mut PageChecks) {
    let records = setup.survey.all(&emitted.page, emitted.ready.as_ref());
    let values: Vec<_> = records.iter().map(|record| record.cursor.as_deref().map(Value::of)).collect();
    let left_out = &emitted.page.leave_out;
    checks.edge = records.last().map(Record::edge).or(checks.edge);
    let known = progress.border.pass(&records, &values, left_out);
    let before = progress.log.cursor.take();
    checks.cursor = match &setup.sorted {
        None => before,
        Some((_, order)) => {
            let taken = (0..).zip(&values).filter(|(place, _)| !left_out.contains(place));
            let mut last = before.as_deref().map(Value::of);
            for value in taken.filter_map(|(_, value)| value.as_ref()) {
                checks.out_of_order += u64::from(last.is_some_and(|last| order.is_broken(&last, value)));
                last = Some(*value);
            }
            last.map(|last| last.text.to_owned())
        }
    };
    checks.known = known.len() as u64;
    if !known.is_empty() {
        emitted.ready = None;
        emitted.page.leave_out.extend(known);
    }
}

/// Says which page could not be taken, and why.
fn page_error(error: &RecordError, emitted: &Emitted, stream: &str) -> String {
    let from = emitted
        .origin
        .as_ref()
        .map_or_else(|| "a page that the connector made".to_owned(), |origin| format!("the answer of {}", origin.url));
    if let RecordError::Drift { index, change } = error {
        return format!(
            "record {index} of {from} is not as all before: {change}; nothing of that page is kept; see what was known \
             with `host schema {stream}`, and go on with --on-drift evolve"
        );
    }
    format!("{from} cannot be taken as records: {}", deadletter::told_of(emitted, error))
}
