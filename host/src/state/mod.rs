//! What a connection remembers from run to run, behind one trait: checkpoints, watermarks, commits, storage, schemas.
//!
//! Words: a *batch* is everything that one full or incremental reading of a stream brings, over however many runs it
//! takes; a *read* is one partition (or the whole) of a stream within a batch. A *part* belongs to one batch. A batch is
//! open until all its reads are complete, and then becomes part of the stream's data; where it replaces others (a full
//! reading of a stream that has data already), its parts stay hidden until then.

mod borders;
mod budgets;
mod checks;
mod commits;
mod patience;
mod rows;
mod schemas;
mod sqlite;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

pub use self::budgets::SqliteBudgets;
pub use self::checks::{PageChecks, SeamFound};
pub use self::schemas::{NewSchema, SchemaVersion};
pub use self::sqlite::Sqlite;
use crate::capability::storage::Write;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is damaged, or not what it should be.
    #[error("the state file is damaged or no state file: {}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file was written by a newer host.
    #[error("the state file was written by a newer host (its version is {found}, this host knows {known}): {}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this host knows.
        known: i64,
    },
    /// The file is gone or empty, and what it knew of is there.
    #[error("the state file is gone or empty, and records are there that it knew of, as {}: {}", part.display(), path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// A file of records.
        part: PathBuf,
    },
    /// Another program holds the file.
    #[error("another program holds the state file {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file cannot be opened or written.
    #[error("cannot use the state file {}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// It is under way, or its process died.
    Running,
    /// It was stopped by its user and can go on.
    Interrupted,
    /// It ended by itself.
    Ended,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// UUIDv7.
    pub id: String,
    /// The connection's name.
    pub connection: String,
    /// Name and version of the connector.
    pub connector: String,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended_ms: Option<u64>,
    /// How it stands.
    pub status: RunStatus,
    /// Its verdict, once it has one.
    pub verdict: Option<String>,
    /// Records that it committed.
    pub records: u64,
    /// Whether it was to read everything again.
    pub full: bool,
}

/// What a batch brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchMode {
    /// Everything; it replaces what was there.
    Full,
    /// What came since the last complete batch; it adds to what was there.
    Delta,
}

/// How a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStatus {
    /// Reads are missing; the next run goes on with it.
    Open,
    /// All its reads are complete.
    Complete,
    /// All its reads came to their ends and add up, but for records that could not be stored: its data is the stream's data,
    /// and the next run replaces it.
    Lacking,
    /// It ended and its records are not to be believed; the next run replaces it.
    Broken,
    /// It was cut short on purpose (`--limit`); the next run replaces it.
    Preview,
    /// Another batch took its place.
    Replaced,
}

/// One batch of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number, unique in the state file.
    pub id: i64,
    /// What it brings.
    pub mode: BatchMode,
    /// How it stands.
    pub status: BatchStatus,
    /// Whether its parts are hidden until it is complete.
    pub staged: bool,
}

/// How a read stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// It has not come to its end.
    Unfinished,
    /// It came to its end and everything it brought adds up.
    Complete,
    /// It came to its end and everything adds up, but some of what came could not be stored.
    Lacking,
    /// It came to its end and something does not add up.
    Broken,
    /// Its partition is not there any more.
    Gone,
}

/// One read: a stream, or one partition of it, within a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Number, unique in the state file.
    pub id: i64,
    /// The partition: its id and its context.
    pub partition: Option<(String, String)>,
    /// Watermark from which it reads.
    pub since: Option<String>,
    /// From where it goes on.
    pub checkpoint: Option<String>,
    /// What it returned at its end.
    pub watermark: Option<String>,
    /// How it stands.
    pub status: ReadStatus,
}

/// One page in the log that the verdict is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEntry {
    /// Number within its read, from 0.
    pub seq: u64,
    /// URL of the response, where the page was selected from one.
    pub url: Option<String>,
    /// Status of the response.
    pub status: Option<u16>,
    /// Bytes of the response's body as received, or of the page.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Checkpoint after it.
    pub checkpoint: Option<String>,
    /// Total that the API gave with it.
    pub total: Option<u64>,
    /// Hash of its records' bytes.
    pub hash: String,
    /// Records beyond those that could not be stored.
    pub refused: u64,
    /// What was found at it.
    pub checks: PageChecks,
}

/// Whether readers see a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartStatus {
    /// It has, or is about to get, its visible name.
    Visible,
    /// It waits, hidden, for its batch to be complete.
    Staged,
    /// It is to be removed.
    Obsolete,
}

/// One file of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The stream, which is also the folder.
    pub stream: String,
    /// Its visible name in that folder.
    pub name: String,
    /// The batch that it belongs to.
    pub batch: i64,
    /// The run that wrote it.
    pub run: String,
    /// Records; a file of dead letters has none.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// Whether readers see it.
    pub status: PartStatus,
}

/// What one commit says of one read.
#[derive(Debug, Clone, Default)]
pub struct ReadProgress {
    /// The read.
    pub read: i64,
    /// Its newest checkpoint, where one came.
    pub checkpoint: Option<String>,
    /// Its end, if it came: how it stands and its watermark.
    pub end: Option<(ReadEnd, Option<String>)>,
    /// Its pages since the last commit.
    pub pages: Vec<PageEntry>,
    /// Its storage writes since the last commit.
    pub storage: Vec<Write>,
    /// Its records that the next incremental read may bring again, where they changed.
    pub border: Option<Vec<u8>>,
}

/// What is known of records that an incremental read may bring again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptBorder {
    /// The watermark from which the read starts.
    pub since: Option<String>,
    /// Those of the read that ended with this watermark.
    pub before: Option<Vec<u8>>,
    /// Those of this read, as of its last commit.
    pub so_far: Option<Vec<u8>>,
}

/// The end of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    /// See [`ReadStatus::Complete`].
    Complete,
    /// See [`ReadStatus::Lacking`].
    Lacking,
    /// See [`ReadStatus::Broken`].
    Broken,
}

/// Everything that becomes durable at once.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The connection.
    pub connection: String,
    /// The run.
    pub run: String,
    /// The stream.
    pub stream: String,
    /// Parts that are complete under their temporary names.
    pub parts: Vec<Part>,
    /// Progress of the reads.
    pub reads: Vec<ReadProgress>,
    /// The stream's schema, where it changed.
    pub schema: Option<NewSchema>,
}

/// A store of states: one file an output folder.
pub trait StateStore: Send {
    /// Returns the digest of the configuration that the connection last ran with.
    fn config_digest(&mut self, connection: &str) -> Result<Option<String>, StateError>;

    /// Begins a run, new or gone on with: stores it, the digest of its connection's configuration, and that the folders
    /// of these streams are the connection's own.
    fn begin_run(&mut self, run: &Run, config_digest: &str, streams: &[String]) -> Result<(), StateError>;
    /// Stores a changed run.
    fn put_run(&mut self, run: &Run) -> Result<(), StateError>;
    /// Returns all runs, newest first.
    fn runs(&mut self) -> Result<Vec<Run>, StateError>;

    /// Returns the connection that a stream's folder belongs to.
    fn owner(&mut self, stream: &str) -> Result<Option<String>, StateError>;
    /// Returns the streams of a connection.
    fn streams(&mut self, connection: &str) -> Result<Vec<String>, StateError>;
    /// Returns the stream's schema as it is now.
    fn schema(&mut self, stream: &str) -> Result<Option<String>, StateError>;
    /// Returns what the complete readings of a stream have shown its records to be like.
    fn known_schema(&mut self, stream: &str) -> Result<Option<String>, StateError>;
    /// Says what the records are known to be like from a complete reading on: the version's schema.
    fn put_known_schema(&mut self, stream: &str, run: &str, known: &SchemaVersion) -> Result<(), StateError>;
    /// Returns the versions of a stream's schema, oldest first.
    fn schema_versions(&mut self, stream: &str) -> Result<Vec<SchemaVersion>, StateError>;

    /// Returns the newest batch of a stream.
    fn newest_batch(&mut self, stream: &str) -> Result<Option<Batch>, StateError>;
    /// Opens a batch with its reads, which are stored as given except for their ids.
    fn open_batch(
        &mut self,
        stream: &str,
        mode: BatchMode,
        staged: bool,
        reads: &[Read],
    ) -> Result<(Batch, Vec<Read>), StateError>;
    /// Returns the newest watermark of each partition (none: the whole stream) that a complete batch brought.
    fn watermarks(&mut self, stream: &str) -> Result<HashMap<Option<String>, String>, StateError>;
    /// Returns the reads of a batch.
    fn reads(&mut self, batch: i64) -> Result<Vec<Read>, StateError>;
    /// Adds a read to a batch, or (by its partition) starts one again from its `since`, under a new id.
    fn put_read(&mut self, batch: i64, read: &Read) -> Result<Read, StateError>;
    /// Says that a read's partition is gone.
    fn drop_read(&mut self, read: i64) -> Result<(), StateError>;
    /// Returns the pages of a read in their order.
    fn pages(&mut self, read: i64) -> Result<Vec<PageEntry>, StateError>;
    /// Returns how many pages of a read are committed.
    fn page_count(&mut self, read: i64) -> Result<u64, StateError>;
    /// Returns how many records of a batch were stored, and how many could not be.
    fn record_counts(&mut self, batch: i64) -> Result<(u64, u64), StateError>;
    /// Returns what is kept of the borders of a read.
    fn border(&mut self, read: i64) -> Result<KeptBorder, StateError> {
        let _ = read;
        Ok(KeptBorder::default())
    }
    /// Closes a batch. A complete or lacking one makes its staged parts visible, and obsolete the parts of the batches that
    /// it replaces: all others for a full one, the lacking and broken ones for a delta.
    fn close_batch(&mut self, stream: &str, batch: &Batch, status: BatchStatus) -> Result<(), StateError>;

    /// Makes a commit durable, whole or not at all.
    fn commit(&mut self, commit: &Commit) -> Result<(), StateError>;
    /// Returns the parts of a stream.
    fn parts(&mut self, stream: &str) -> Result<Vec<Part>, StateError>;
    /// Forgets obsolete parts whose files are removed.
    fn forget_part(&mut self, stream: &str, name: &str) -> Result<(), StateError>;

    /// Returns what a connection has stored.
    fn storage(&mut self, connection: &str) -> Result<BTreeMap<String, Vec<u8>>, StateError>;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run of a connection, for tests of what depends on one.
    pub(crate) fn run(connection: &str) -> Run {
        Run {
            id: "r".to_owned(),
            connection: connection.to_owned(),
            connector: "test 1".to_owned(),
            started_ms: 0,
            ended_ms: None,
            status: RunStatus::Running,
            verdict: None,
            records: 0,
            full: false,
        }
    }

    #[test]
    fn many_connections_that_begin_at_once_all_open_the_file_of_their_folder() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("_state.db");
            let barrier = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                for number in 0..8 {
                    let (path, barrier) = (&path, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let mut state = Sqlite::open(path).unwrap();
                        let name = format!("c{number}");
                        state.begin_run(&Run { id: name.clone(), ..run(&name) }, "digest", &[]).unwrap();
                    });
                }
            });
            assert_eq!(Sqlite::open(&path).unwrap().runs().unwrap().len(), 8);
        }
    }

    #[test]
    fn a_commit_is_there_whole_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("_state.db");
        let mut state = Sqlite::open(&path).unwrap();
        state.begin_run(&run("c"), "digest", &["s".to_owned()]).unwrap();
        let read = Read {
            id: 0,
            partition: Some(("p".to_owned(), "context".to_owned())),
            since: None,
            checkpoint: None,
            watermark: None,
            status: ReadStatus::Unfinished,
        };
        let (batch, reads) = state.open_batch("s", BatchMode::Full, false, &[read]).unwrap();
        let page = PageEntry {
            seq: 0,
            url: Some("https://api.example/p".to_owned()),
            status: Some(200),
            bytes: 10,
            records: 2,
            checkpoint: Some("after 2".to_owned()),
            total: Some(2),
            hash: "00".to_owned(),
            refused: 1,
            checks: PageChecks { seam: Some(SeamFound::Met), edge: Some(u64::MAX), ..PageChecks::default() },
        };
        let part = Part {
            stream: "s".to_owned(),
            name: "part-1.parquet".to_owned(),
            batch: batch.id,
            run: "r".to_owned(),
            records: 2,
            bytes: 100,
            status: PartStatus::Visible,
        };
        let progress = ReadProgress {
            read: reads[0].id,
            checkpoint: Some("after 2".to_owned()),
            end: Some((ReadEnd::Complete, Some("w".to_owned()))),
            pages: vec![page.clone()],
            storage: vec![("k".to_owned(), Some(b"v".to_vec())), ("gone".to_owned(), None)],
            border: Some(b"border".to_vec()),
        };
        let commit = Commit {
            connection: "c".to_owned(),
            run: "r".to_owned(),
            stream: "s".to_owned(),
            parts: vec![part.clone()],
            reads: vec![progress],
            schema: Some(NewSchema { columns: "{}".to_owned(), version: None }),
        };
        state.commit(&commit).unwrap();
        // The same part a second time: nothing of that commit may stay.
        let mut again = commit.clone();
        again.reads[0].pages.clear();
        again.reads[0].checkpoint = Some("wrong".to_owned());
        assert!(state.commit(&again).is_err());
        drop(state);

        let mut state = Sqlite::open(&path).unwrap();
        assert_eq!(state.runs().unwrap(), [Run { records: 2, ..run("c") }]);
        assert_eq!(state.config_digest("c").unwrap().as_deref(), Some("digest"));
        assert_eq!(state.parts("s").unwrap(), [part]);
        let stored = state.reads(batch.id).unwrap();
        assert_eq!(stored[0].partition, Some(("p".to_owned(), "context".to_owned())));
        assert_eq!(stored[0].checkpoint.as_deref(), Some("after 2"));
        assert_eq!((stored[0].status, stored[0].watermark.as_deref()), (ReadStatus::Complete, Some("w")));
        assert_eq!(state.pages(stored[0].id).unwrap(), [page]);
        assert_eq!((state.page_count(stored[0].id).unwrap(), state.page_count(99).unwrap()), (1, 0));
        assert_eq!((state.record_counts(batch.id).unwrap(), state.record_counts(99).unwrap()), ((2, 1), (0, 0)));
        assert_eq!(state.storage("c").unwrap(), [("k".to_owned(), b"v".to_vec())].into());
        assert_eq!(state.schema("s").unwrap().as_deref(), Some("{}"));
        assert_eq!(state.owner("s").unwrap().as_deref(), Some("c"));
    }

    #[test]
    fn a_file_of_an_older_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("_state.db");
        let old = rusqlite::Connection::open(&path).unwrap();
        old.execute_batch(sqlite::TABLES).unwrap();
        old.execute_batch(
            "INSERT INTO pages VALUES (1, 0, NULL, NULL, 2, 1, NULL, NULL, 'h'); PRAGMA user_version = 1",
        )
        .unwrap();
        drop(old);
        for _ in 0..2 {
            let pages = Sqlite::open(&path).unwrap().pages(1).unwrap();
            assert_eq!(pages.iter().map(|page| (page.records, page.refused)).collect::<Vec<_>>(), [(1, 0)]);
        }
    }

    #[test]
    fn a_file_that_is_no_state_file_is_told_from_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("_state.db");
        std::fs::write(&path, "not a database, and long enough to be looked at as one").unwrap();
        assert!(matches!(Sqlite::open(&path), Err(StateError::Damaged { .. })));
        std::fs::remove_file(&path).unwrap();
        drop(Sqlite::open(&path).unwrap());
        rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Sqlite::open(&path).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "the state file was written by a newer host (its version is 99, this host knows 2): {}",
                path.display()
            )
        );
    }
}
