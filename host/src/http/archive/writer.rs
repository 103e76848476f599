//! The thread that writes an archive: hashing, compression and the disk, away from the threads that serve requests.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::transport::FailureKind;
use super::{BodyRef, Error, Exchange, Job, RecordedRequest, Stored, manifest_path, recovery, segment_path};

/// Bodies remembered for deduplication: about 1 MB of memory, whatever the length of the run. Bodies that come again come
/// again soon.
const KNOWN_BODIES: usize = 8_192;
/// Lines are gathered up to this size before they are written.
const BATCH_BYTES: usize = 256 * 1024;
/// Raw copies cost most of the disk, level 1 gets most of the gain at several hundred MB a second.
const ZSTD_LEVEL: i32 = 1;

type Hash = [u8; 32];

/// The open files of an archive.
pub(super) struct Writer {
    folder: PathBuf,
    manifest: File,
    segment: Segment,
    segment_bytes: u64,
    next_seq: u64,
    known: Known,
    compressor: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
    lines: Vec<u8>,
}

struct Segment {
    number: u32,
    file: File,
    bytes: u64,
}

/// The last bodies that were stored.
#[derive(Default)]
struct Known {
    places: HashMap<Hash, Place>,
    order: VecDeque<Hash>,
}

#[derive(Clone, Copy)]
struct Place {
    segment: u32,
    offset: u64,
    length: u64,
    stored: Stored,
}

/// A line of the manifest.
#[derive(Serialize)]
struct ExchangeLine<'a> {
    seq: u64,
    kind: &'static str,
    read: &'a str,
    attempt: u32,
    hop: u32,
    request: RecordedRequest,
    status: Option<u16>,
    headers: &'a [(String, String)],
    body: Option<BodyRef>,
    redacted: bool,
    started_ms: u64,
    elapsed_ms: u64,
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureKind>,
}

#[derive(Serialize)]
struct NoteLine<'a> {
    seq: u64,
    kind: &'a str,
    read: &'a str,
    value: &'a RawValue,
}

impl Writer {
    pub(super) fn open(folder: &Path, segment_bytes: u64) -> Result<Self, Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| Error::Write { path, source: Arc::new(error) }
        };
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        let path = manifest_path(folder);
        let manifest = OpenOptions::new().create(true).append(true).open(&path).map_err(at(&path))?;
        let found = recovery::recover(folder)?;
        manifest.set_len(found.manifest_bytes).map_err(at(&path))?;
        let segment = Segment::open(folder, found.last_segment.max(1))?;
        let mut known = Known::default();
        for body in found.bodies {
            if let Some(hash) = from_hex(&body.blake3) {
                let BodyRef { segment, offset, length, stored, .. } = body;
                known.insert(hash, Place { segment, offset, length, stored });
            }
        }
        sync_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            manifest,
            segment,
            segment_bytes,
            next_seq: found.next_seq,
            known,
            compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(at(folder))?,
            compressed: Vec::new(),
            lines: Vec::new(),
        })
    }

    /// Works until every [`super::Archive`] is dropped or something fails; what failed is left in `broken`.
    pub(super) fn run(mut self, queue: &Receiver<Job>, broken: &Mutex<Option<Error>>) {
        while let Ok(job) = queue.recv() {
            if let Err(error) = self.work(job, queue) {
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return;
            }
        }
    }

    /// Does one job and those that wait behind it.
    fn work(&mut self, first: Job, queue: &Receiver<Job>) -> Result<(), Error> {
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Exchange(exchange, _room) => self.exchange(&exchange)?,
                Job::Note { read, kind, value, _room } => {
                    let line = NoteLine { seq: self.next_seq, kind: &kind, read: &read, value: &value };
                    push(&mut self.lines, &line, &self.folder)?;
                    self.next_seq += 1;
                }
                Job::Flush(done) => {
                    self.write_lines()?;
                    self.sync()?;
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                }
            }
            if self.lines.len() > BATCH_BYTES {
                self.write_lines()?;
            }
            next = queue.try_recv().ok();
        }
        self.write_lines()
    }

    fn exchange(&mut self, exchange: &Exchange) -> Result<(), Error> {
        let request_body = exchange.request_body.as_ref().filter(|body| !body.is_empty());
        let request = RecordedRequest {
            method: exchange.method.clone(),
            url: exchange.url.clone(),
            headers: exchange.request_headers.clone(),
            body: request_body.map(|body| self.store(body, "identity")).transpose()?,
        };
        let body = if exchange.body.is_empty() { None } else { Some(self.store(&exchange.body, &exchange.encoding)?) };
        let line = ExchangeLine {
            seq: self.next_seq,
            kind: "exchange",
            read: &exchange.read,
            attempt: exchange.attempt,
            hop: exchange.hop,
            request,
            status: exchange.status,
            headers: &exchange.headers,
            body,
            redacted: exchange.redacted,
            started_ms: exchange.started_ms,
            elapsed_ms: exchange.elapsed_ms,
            error: exchange.error.as_deref(),
            failure: exchange.failure,
        };
        push(&mut self.lines, &line, &self.folder)?;
        self.next_seq += 1;
        Ok(())
    }

    fn store(&mut self, body: &Bytes, encoding: &str) -> Result<BodyRef, Error> {
        let hash: Hash = blake3::hash(body).into();
        let place = match self.known.places.get(&hash) {
            Some(place) => *place,
            None => {
                let place = self.write_body(body, encoding == "identity")?;
                self.known.insert(hash, place);
                place
            }
        };
        Ok(BodyRef {
            segment: place.segment,
            offset: place.offset,
            length: place.length,
            size: body.len() as u64,
            encoding: encoding.to_owned(),
            stored: place.stored,
            blake3: hex(&hash),
        })
    }

    fn write_body(&mut self, body: &Bytes, compressible: bool) -> Result<Place, Error> {
        if self.segment.bytes >= self.segment_bytes {
            self.segment.file.sync_data().map_err(self.segment_error())?;
            self.segment = Segment::open(&self.folder, self.segment.number + 1)?;
            sync_folder(&self.folder)?;
        }
        let (bytes, stored) = match compressible && self.compress(body) {
            true => (self.compressed.as_slice(), Stored::Zstd),
            false => (body.as_ref(), Stored::Raw),
        };
        self.segment.file.write_all(bytes).map_err(self.segment_error())?;
        let place =
            Place { segment: self.segment.number, offset: self.segment.bytes, length: bytes.len() as u64, stored };
        self.segment.bytes += place.length;
        Ok(place)
    }

    /// Compresses a body; false where that makes it no smaller.
    fn compress(&mut self, body: &[u8]) -> bool {
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(body.len()));
        self.compressor.compress_to_buffer(body, &mut self.compressed).is_ok() && self.compressed.len() < body.len()
    }

    fn write_lines(&mut self) -> Result<(), Error> {
        let written = self.manifest.write_all(&self.lines);
        self.lines.clear();
        written.map_err(self.manifest_error())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.segment.file.sync_data().map_err(self.segment_error())?;
        self.manifest.sync_data().map_err(self.manifest_error())
    }

    fn segment_error(&self) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = segment_path(&self.folder, self.segment.number);
        move |error| Error::Write { path, source: Arc::new(error) }
    }

    fn manifest_error(&self) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = manifest_path(&self.folder);
        move |error| Error::Write { path, source: Arc::new(error) }
    }
}

impl Segment {
    fn open(folder: &Path, number: u32) -> Result<Self, Error> {
        let path = segment_path(folder, number);
        let error = |error| Error::Write { path: path.clone(), source: Arc::new(error) };
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(error)?;
        let bytes = file.metadata().map_err(error)?.len();
        Ok(Self { number, file, bytes })
    }
}

impl Known {
    fn insert(&mut self, hash: Hash, place: Place) {
        if self.places.insert(hash, place).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > KNOWN_BODIES
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
    }
}

fn push(lines: &mut Vec<u8>, line: &impl Serialize, folder: &Path) -> Result<(), Error> {
    serde_json::to_writer(&mut *lines, line)
        .map_err(|error| Error::Write { path: manifest_path(folder), source: Arc::new(error.into()) })?;
    lines.push(b'\n');
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::Write { path: folder.to_owned(), source: Arc::new(error) })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if text.len() != 64 {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(hash)
}
