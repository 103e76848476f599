//! Reads an archive: what was asked, what was answered, in the order in which it was appended.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::{BodyRef, Error, RecordedRequest, Stored, manifest_path, segment_path};
use crate::http::encoding::Codings;
use crate::http::transport::FailureKind;

/// An exchange as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordedExchange {
    /// Number of the line, from 1.
    pub seq: u64,
    /// Stream, or `stream/partition`.
    pub read: String,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Redirects before it.
    pub hop: u32,
    /// The request, with placeholders.
    pub request: RecordedRequest,
    /// The status; none where there was no answer.
    pub status: Option<u16>,
    /// The answer's headers, as received.
    pub headers: Vec<(String, String)>,
    /// The answer's body; none where it is empty.
    pub body: Option<BodyRef>,
    /// Whether a secret in the answer was replaced.
    pub redacted: bool,
    /// When the request was sent, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Why there is no whole answer.
    pub error: Option<String>,
    /// What kind of failure that was.
    #[serde(default)]
    pub failure: Option<FailureKind>,
}

/// A recorded answer that is no exchange.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Note {
    /// Number of the line, from 1.
    pub seq: u64,
    /// What it is, as `call` or `commit`.
    pub kind: String,
    /// Stream, or `stream/partition`.
    pub read: String,
    /// The answer.
    pub value: serde_json::Value,
}

/// One line of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A request and its answer.
    Exchange(Box<RecordedExchange>),
    /// Something else.
    Note(Note),
}

impl Entry {
    /// Returns the number of the line, from 1.
    pub fn seq(&self) -> u64 {
        match self {
            Entry::Exchange(exchange) => exchange.seq,
            Entry::Note(note) => note.seq,
        }
    }
}

/// Parses one line of a manifest.
pub(super) fn parse(line: &[u8]) -> Result<Entry, serde_json::Error> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    let Kind { kind } = serde_json::from_slice(line)?;
    if kind == "exchange" {
        Ok(Entry::Exchange(serde_json::from_slice(line)?))
    } else {
        Ok(Entry::Note(serde_json::from_slice(line)?))
    }
}

/// The lines of an archive, in order. A torn last line is the end.
#[derive(Debug)]
pub struct Reader {
    lines: BufReader<File>,
    path: PathBuf,
    bodies: Bodies,
    number: u64,
    /// Where the next line begins.
    place: u64,
}

impl Reader {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let path = manifest_path(folder);
        let file = File::open(&path).map_err(|error| Error::Read { path: path.clone(), source: Arc::new(error) })?;
        Ok(Self {
            lines: BufReader::new(file),
            path,
            bodies: Bodies { folder: folder.to_owned() },
            number: 0,
            place: 0,
        })
    }

    /// Returns where in the manifest the next line begins, for [`Lines::exchange`].
    pub fn place(&self) -> u64 {
        self.place
    }

    /// Returns the lines by their places.
    pub fn lines(&self) -> Lines {
        Lines { path: self.path.clone() }
    }

    /// Returns the bodies that the lines name.
    pub fn bodies(&self) -> Bodies {
        self.bodies.clone()
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        if let Err(error) = self.lines.read_until(b'\n', &mut line) {
            return Some(Err(Error::Read { path: self.path.clone(), source: Arc::new(error) }));
        }
        self.number += 1;
        self.place += line.len() as u64;
        let line = line.strip_suffix(b"\n")?;
        Some(parse(line).map_err(|error| Error::Damaged {
            path: self.path.clone(),
            reason: format!("line {} is malformed: {error}", self.number),
        }))
    }
}

/// The lines of a manifest, by where they begin. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lines {
    path: PathBuf,
}

impl Lines {
    /// Loads an exchange.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Damaged`] when there is none at that place.
    pub fn exchange(&self, place: u64) -> Result<RecordedExchange, Error> {
        let failed = |error: io::Error| Error::Read { path: self.path.clone(), source: Arc::new(error) };
        let damaged = |reason: String| Error::Damaged { path: self.path.clone(), reason };
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(place)).map_err(failed)?;
        let mut line = Vec::new();
        BufReader::new(file).read_until(b'\n', &mut line).map_err(failed)?;
        match parse(&line) {
            Ok(Entry::Exchange(exchange)) => Ok(*exchange),
            Ok(Entry::Note(_)) => Err(damaged(format!("there is no exchange at {place}"))),
            Err(error) => Err(damaged(format!("the line at {place} is malformed: {error}"))),
        }
    }
}

/// The bodies of an archive. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bodies {
    folder: PathBuf,
}

impl Bodies {
    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The segment of a body: of this archive, of another run's, or of what is left of that.
    fn segment(&self, body: &BodyRef) -> PathBuf {
        let Some(run) = &body.run else { return segment_path(&self.folder, body.segment) };
        // An id that cannot be one leads nowhere.
        let Some(other) = super::of_run(&self.folder, run) else { return self.folder.join("nowhere") };
        let whole = segment_path(&other, body.segment);
        if whole.exists() { whole } else { segment_path(&super::remains(&other), body.segment) }
    }

    /// Bytes of the segment of a body; none where it is not there.
    pub(super) fn segment_bytes(&self, body: &BodyRef) -> Option<u64> {
        Some(self.segment(body).metadata().ok()?.len())
    }

    /// Loads a body as it was received, and checks that it is that.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Damaged`] when it is not what was stored.
    pub fn load(&self, body: &BodyRef) -> Result<Bytes, Error> {
        let path = self.segment(body);
        let failed = |error: io::Error| Error::Read { path: path.clone(), source: Arc::new(error) };
        let damaged = |reason: &str| Error::Damaged {
            path: path.clone(),
            reason: format!("the body at {} {reason}", body.offset),
        };
        let mut file = File::open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if body.offset.checked_add(body.length).is_none_or(|end| end > bytes) {
            return Err(damaged("is not there"));
        }
        file.seek(SeekFrom::Start(body.offset)).map_err(failed)?;
        let mut stored = Vec::new();
        file.take(body.length).read_to_end(&mut stored).map_err(failed)?;
        let received = match body.stored {
            Stored::Raw => stored,
            Stored::Zstd => {
                let mut received = Vec::new();
                let decoder = zstd::stream::read::Decoder::new(stored.as_slice()).map_err(failed)?;
                // The manifest says how large it is, so a damaged frame can't become larger.
                let read = decoder.take(body.size.saturating_add(1)).read_to_end(&mut received);
                read.map_err(|_| damaged("is no whole zstd frame"))?;
                received
            }
        };
        if blake3::hash(&received).to_hex().as_str() != body.blake3 {
            return Err(damaged("has another BLAKE3"));
        }
        Ok(Bytes::from(received))
    }

    /// Loads a body as the connector got it: decoded.
    ///
    /// # Errors
    /// As [`Bodies::load`]; [`Error::Damaged`] too when it becomes larger than `max_bytes`.
    pub fn load_decoded(&self, body: &BodyRef, max_bytes: u64) -> Result<Bytes, Error> {
        let received = self.load(body)?;
        Codings::parse(std::iter::once(body.encoding.as_str()))
            .and_then(|codings| codings.decode(&received, max_bytes))
            .map_err(|error| Error::Damaged {
                path: self.segment(body),
                reason: format!("the body at {}: {error}", body.offset),
            })
    }
}
