//! Every exchange of a run, kept as it was: the source of truth for replay and reprocessing.
//!
//! A folder holds `manifest.jsonl`, one line an exchange (or a note: what was called, what the clock answered), and segments
//! `bodies-000001.bin`, …, which hold the bodies one after the other: those that came compressed as they were received,
//! others as a zstd frame each. A line names its bodies by segment, offset and length; equal bodies are stored once, also
//! over the runs of a connection: then a line names the run in whose segments the body is ([`elsewhere`]).
//!
//! Invariant: a line is written after the bodies that it names, and [`Archive::flush`] returns when both are on the disk.
//! A crash leaves at most lines at the end that are torn or name missing bodies; [`Archive::open`] cuts them off.
//!
//! Invariant: requests hold placeholders, never a secret's value; [`super::Client`] appends them before it fills them.

mod elsewhere;
pub mod har;
mod reader;
mod recovery;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use super::transport::FailureKind;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub use elsewhere::needs;
pub use reader::{Bodies, Entry, Lines, Note, Reader, RecordedExchange};

/// Bodies that wait for the disk; more make the senders wait. Enough for dozens of pages; a larger body has it for itself.
const QUEUE_BYTES: usize = 6 * 1024 * 1024;
/// What an entry costs in the queue besides its bodies.
const ENTRY_BYTES: usize = 1024;
/// A segment is closed at this size: small enough to copy and to delete by age, large enough to be few.
const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;

/// The archive can't be written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The disk is full, the folder is read-only, or the like.
    #[error("can't write the archive (free some space, or run with --no-archive): {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file can't be read.
    #[error("can't read the archive: {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file is not as it was written.
    #[error("the archive is damaged ({reason}): {path}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
    /// The thread that writes it is gone.
    #[error("the archive's writer has stopped")]
    Stopped,
}

/// Where a body is, and how it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyRef {
    /// The run in whose archive the segment is; none for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Number of the segment, from 1.
    pub segment: u32,
    /// First byte in the segment.
    pub offset: u64,
    /// Bytes in the segment.
    pub length: u64,
    /// Bytes of the body as received.
    pub size: u64,
    /// Content-Encoding with which it was received; `identity` for none.
    pub encoding: String,
    /// How the bytes in the segment were made from those received.
    pub stored: Stored,
    /// BLAKE3 of the bytes as received, in hex.
    pub blake3: String,
}

/// How a body is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// As it is.
    Raw,
    /// As one zstd frame.
    Zstd,
}

/// One request and what came of it, to be appended.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// Stream, or `stream/partition`.
    pub read: String,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Redirects before it.
    pub hop: u32,
    /// The request's method.
    pub method: String,
    /// The request's URL, with placeholders.
    pub url: String,
    /// The request's headers, with placeholders.
    pub request_headers: Vec<(String, String)>,
    /// The request's body, with placeholders.
    pub request_body: Option<Bytes>,
    /// The status; none where there was no answer.
    pub status: Option<u16>,
    /// The answer's headers.
    pub headers: Vec<(String, String)>,
    /// The answer's body as received.
    pub body: Bytes,
    /// Its Content-Encoding; `identity` for none.
    pub encoding: String,
    /// Whether a secret in the answer was replaced. The body is then stored decoded.
    pub redacted: bool,
    /// When the request was sent, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Why there is no whole answer.
    pub error: Option<String>,
    /// What kind of failure that was.
    pub failure: Option<FailureKind>,
}

/// A request in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The URL, with placeholders.
    pub url: String,
    /// The headers, with placeholders.
    pub headers: Vec<(String, String)>,
    /// The body, with placeholders.
    pub body: Option<BodyRef>,
}

/// The archive of one run. Cheap to clone; the clones write to one place.
#[derive(Debug, Clone)]
pub struct Archive {
    handle: Option<Arc<Handle>>,
}

#[derive(Debug)]
struct Handle {
    folder: PathBuf,
    jobs: Mutex<Jobs>,
    room: Arc<Semaphore>,
    broken: Arc<Mutex<Option<Error>>>,
}

/// The writer's queue, and the number of the line that the next job becomes.
#[derive(Debug)]
struct Jobs {
    queue: mpsc::Sender<Job>,
    next_seq: u64,
}

enum Job {
    Exchange(Box<Exchange>, OwnedSemaphorePermit),
    Note { read: String, kind: String, value: Box<RawValue>, _room: OwnedSemaphorePermit },
    Flush(oneshot::Sender<()>),
}

impl Archive {
    /// Opens the archive in a folder, and makes the folder where there is none. What a crash left torn is cut off.
    ///
    /// # Errors
    /// [`Error::Write`] or [`Error::Read`], or [`Error::Damaged`] when something other than the end is not as written.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Self::open_with(folder, SEGMENT_BYTES, Vec::new())
    }

    /// The same, for the archive of one of several runs (`RUNS/RUN/archive`), which shares what these runs have stored: by
    /// their ids, newest first. All of them must have flushed their archives, and none may lose a segment meanwhile.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_beside(folder: &Path, runs: Vec<String>) -> Result<Self, Error> {
        Self::open_with(folder, SEGMENT_BYTES, runs)
    }

    fn open_with(folder: &Path, segment_bytes: u64, runs: Vec<String>) -> Result<Self, Error> {
        let writer = writer::Writer::open(folder, segment_bytes, runs)?;
        let next_seq = writer.next_seq();
        let (jobs, queue) = mpsc::channel();
        let broken = Arc::new(Mutex::new(None));
        let report = Arc::clone(&broken);
        std::thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || writer.run(&queue, &report))
            .map_err(|error| Error::Write { path: folder.to_owned(), source: Arc::new(error) })?;
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        let jobs = Mutex::new(Jobs { queue: jobs, next_seq });
        Ok(Self { handle: Some(Arc::new(Handle { folder: folder.to_owned(), jobs, room, broken })) })
    }

    /// Makes an archive that keeps nothing.
    pub fn disabled() -> Self {
        Self { handle: None }
    }

    /// Reads the archive in a folder.
    ///
    /// # Errors
    /// [`Error::Read`] when there is none.
    pub fn read(folder: &Path) -> Result<Reader, Error> {
        Reader::open(folder)
    }

    /// Appends an exchange; returns its number, where anything is kept. Waits only while too many bytes wait for the disk.
    ///
    /// # Errors
    /// Whatever broke the archive, now or before: a run can't go on without it.
    pub async fn append(&self, exchange: Exchange) -> Result<Option<u64>, Error> {
        let Some(handle) = &self.handle else { return Ok(None) };
        let bodies = exchange.body.len() + exchange.request_body.as_ref().map_or(0, Bytes::len);
        let room = handle.room(bodies).await?;
        handle.send(Job::Exchange(Box::new(exchange), room)).map(Some)
    }

    /// Appends a note of something that is no exchange; the notes of a run are those of `run/recording.rs`.
    ///
    /// # Errors
    /// As [`Archive::append`].
    pub async fn note(&self, read: &str, kind: &str, value: impl Serialize) -> Result<(), Error> {
        let Some(handle) = &self.handle else { return Ok(()) };
        let value = to_raw_value(&value).map_err(|error| {
            let path = manifest_path(&handle.folder);
            Error::Write { path, source: Arc::new(error.into()) }
        })?;
        let room = handle.room(value.get().len()).await?;
        handle.send(Job::Note { read: read.to_owned(), kind: kind.to_owned(), value, _room: room }).map(|_| ())
    }

    /// Whether anything is kept.
    pub fn is_kept(&self) -> bool {
        self.handle.is_some()
    }

    /// Returns when everything appended so far is on the disk.
    ///
    /// # Errors
    /// As [`Archive::append`].
    pub async fn flush(&self) -> Result<(), Error> {
        let Some(handle) = &self.handle else { return Ok(()) };
        let (done, flushed) = oneshot::channel();
        handle.send(Job::Flush(done))?;
        let stopped = flushed.await.is_err();
        handle.check()?;
        if stopped { Err(Error::Stopped) } else { Ok(()) }
    }
}

impl Handle {
    async fn room(&self, bodies: usize) -> Result<OwnedSemaphorePermit, Error> {
        self.check()?;
        let bytes = bodies.saturating_add(ENTRY_BYTES).min(QUEUE_BYTES);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| Error::Stopped)
    }

    /// Hands a job over; returns the number of its line in the manifest, where it becomes one.
    fn send(&self, job: Job) -> Result<u64, Error> {
        self.check()?;
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = jobs.next_seq;
        jobs.next_seq += u64::from(!matches!(job, Job::Flush(_)));
        jobs.queue.send(job).map_err(|_| Error::Stopped)?;
        Ok(seq)
    }

    fn check(&self) -> Result<(), Error> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}

fn manifest_path(folder: &Path) -> PathBuf {
    folder.join("manifest.jsonl")
}

/// The archive of another run, beside the one in a folder; none where the id cannot be one of ours.
fn of_run(folder: &Path, run: &str) -> Option<PathBuf> {
    let runs = folder.parent()?.parent()?;
    let sound = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    sound.then(|| runs.join(run).join("archive"))
}

/// Where the segments of an archive are that was removed and of which others need some.
pub(crate) fn remains(archive: &Path) -> PathBuf {
    archive.with_file_name("bodies")
}

pub(crate) fn segment_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("bodies-{number:06}.bin"))
}

#[cfg(test)]
mod tests;
