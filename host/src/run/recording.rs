//! What a run tells its archive besides exchanges, so that it can be repeated: notes in the manifest, in the order in which
//! things happened, and a copy of the connector.
//!
//! | kind | read | when |
//! | --- | --- | --- |
//! | `session` | | a process begins with the run, or goes on with it |
//! | `call` | the label of an instance | before the connector is called |
//! | `stream` | the stream | before its first page |
//! | `heard` | the label | what a call heard that has no pages |
//! | `commit` | the stream | before each commit: the pages in it, in the order in which they were written |

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::open::Described;
use super::report::ConnectorReport;
use super::{CommitError, Format};
use crate::capability::heard::Heard;
use crate::engine::cache::hex;
use crate::state::Read;

/// One process's part in a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionNote {
    pub(crate) connector: ConnectorReport,
    /// The configuration as given, secrets as placeholders.
    pub(crate) config: serde_json::Value,
    pub(crate) allow_hosts: Vec<String>,
    /// Times that a request was sent at most.
    pub(crate) attempts: u32,
    pub(crate) max_body_bytes: u64,
    /// Streams asked for; empty for all.
    pub(crate) streams: Vec<String>,
    pub(crate) format: Format,
    /// Records after which a stream was stopped.
    pub(crate) limit: Option<u64>,
    pub(crate) started_ms: u64,
    /// What was done with personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) personal: Option<crate::personal::Settings>,
}

/// A call of the connector, in an instance of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallNote {
    /// `streams`, `partitions`, `read` or `check`.
    pub(crate) function: String,
    pub(crate) seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) read: Option<ReadNote>,
}

/// The arguments of a `read`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadNote {
    pub(crate) stream: String,
    /// The partition: its id and its context.
    pub(crate) partition: Option<(String, String)>,
    /// The watermark of the read before.
    pub(crate) since: Option<String>,
    /// From where the connector was asked to read, where that is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<String>,
    pub(crate) resume: Option<String>,
    /// The read's number in the state.
    pub(crate) id: i64,
    /// Pages that it had when this call began.
    pub(crate) pages: u64,
}

impl CallNote {
    pub(crate) fn of(function: &str) -> Self {
        Self { function: function.to_owned(), ..Self::default() }
    }

    pub(crate) fn read(stream: &str, read: &Read, asked: Option<&String>, pages: u64) -> Self {
        let read = ReadNote {
            stream: stream.to_owned(),
            partition: read.partition.clone(),
            since: read.since.clone(),
            asked: asked.filter(|asked| Some(*asked) != read.since.as_ref()).cloned(),
            resume: read.checkpoint.clone(),
            id: read.id,
            pages,
        };
        Self { read: Some(read), ..Self::of("read") }
    }
}

/// How a stream's records are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StreamNote {
    pub(crate) primary_key: Vec<String>,
    /// The schema that the connector declares.
    pub(crate) declared: Option<String>,
    /// The schema that its parts have so far, where this session adds to them.
    pub(crate) schema: Option<String>,
    /// Whether all of it is read, and not only what is new.
    pub(crate) full: bool,
    pub(crate) batch: i64,
    /// Parts that the run has written before.
    pub(crate) parts: usize,
    /// The same of files of dead letters.
    #[serde(default)]
    pub(crate) dead_letters: usize,
    /// What records are held to: which of them are stored depends on it.
    #[serde(default)]
    pub(crate) max_json_depth: Option<usize>,
    #[serde(default)]
    pub(crate) max_record_bytes: Option<usize>,
}

/// What one commit holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct CommitNote {
    /// Pages in the order in which they were written: the read's label, records, hash of the records.
    pub(crate) pages: Vec<(String, u64, String)>,
    /// Pages of which records were left out: their place in `pages`, and the records' places on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<(usize, Vec<u64>)>,
    /// Reads that came to their end by themselves, and their watermarks.
    pub(crate) ended: Vec<(String, Option<String>)>,
    pub(crate) heard: Vec<(String, Heard)>,
    /// Whether a part without records is written if there is none with some.
    pub(crate) may_be_empty: bool,
}

/// Where the copy of a connector is.
pub(crate) fn connector_path(out: &Path, digest: &str) -> PathBuf {
    out.join("_connectors").join(format!("{digest}.wasm"))
}

/// Keeps a copy of the connector, so that its runs can be repeated when the original has changed. One copy serves all runs.
pub(crate) fn keep_connector(out: &Path, described: &Described) -> Result<(), CommitError> {
    let digest = &described.connector().summary().digest;
    let path = connector_path(out, digest);
    let copy = || {
        if path.exists() {
            return remove_unfinished(&path);
        }
        let bytes = fs::read(&described.path)?;
        if hex(Sha256::digest(&bytes).as_slice()) != *digest {
            // It was built anew since it was loaded: a replay has to be given the connector.
            return Ok(());
        }
        fs::create_dir_all(path.parent().unwrap_or(out))?;
        let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = File::create(&unfinished)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        match fs::rename(&unfinished, &path) {
            // Another run was first, and took this one for a dead one's.
            Err(missing) if missing.kind() == io::ErrorKind::NotFound && path.exists() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => remove_unfinished(&path),
        }
    };
    copy().map_err(|source| CommitError::Io { path: path.clone(), source })
}

/// Removes what runs left behind that died while they made this copy.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let (Some(folder), Some(stem)) = (path.parent(), path.file_stem()) else { return Ok(()) };
    for entry in fs::read_dir(folder)? {
        let other = entry?.path();
        let same = other.file_stem().map(Path::new).and_then(Path::file_stem) == Some(stem);
        if same && other.extension().is_some_and(|extension| extension == "tmp") {
            match fs::remove_file(&other) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
