//! Repeating a run from its archive: the connector runs again, with the archive as its only network, the recorded clock,
//! storage and random numbers, and its records are compared with those recorded.
//!
//! ```ignore
//! let recorded = Recorded::load(engine, out, run, observer, keys)?;
//! let report = recorded.replay(folder).await?;
//! assert!(report.same);
//! ```
//!
//! A run that was interrupted or killed is played session by session: of each, the pages that were committed, in the order
//! in which they were written, into the parts in which they were written.

mod compare;
mod exact;
mod player;
mod script;
mod whole;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

pub use self::compare::{Change, Difference, FieldChange, compare};
pub(crate) use self::script::Script;
pub use self::whole::{Made, StreamMade};
use super::recording::{SessionNote, connector_path};
use super::{CommitError, OpenError, run_folder};
use crate::engine::Engine;
use crate::event::Observer;
use crate::http::NotRecorded;
use crate::http::archive;
use crate::personal::Keys;
use crate::schema::{DeclaredError, DescriptionError};
use crate::sink::SinkError;
use crate::state::StateError;
use crate::time::SystemClock;

/// Why a run cannot be repeated.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It kept no archive, or the archive was removed.
    #[error("the run has no archive: {}", .0.display())]
    NoArchive(PathBuf),
    /// The archive does not say what was called.
    #[error("the archive is of a host that did not record enough to repeat its runs: {}", .0.display())]
    Older(PathBuf),
    /// A line of the archive makes no sense.
    #[error("line {line} of the archive's manifest makes no sense: {reason}")]
    Script {
        /// Number of the line.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The copy of the connector is gone.
    #[error("the connector that made the run is not there any more: {}", .0.display())]
    NoConnector(PathBuf),
    /// Personal data was hashed with a key that is not there.
    #[error("the run hashed personal data, and {0}")]
    Key(String),
    /// The connector asks for something else.
    #[error("the connector asks for something else than what was recorded\n{0}")]
    NotRecorded(NotRecorded),
    /// A call failed in which the recorded one did not.
    #[error("{read}: the connector fails where it did not: {reason}")]
    Failed {
        /// The read.
        read: String,
        /// Why.
        reason: String,
    },
    /// A page cannot be taken.
    #[error("{read}: a page cannot be taken")]
    Page {
        /// The read.
        read: String,
        /// Why.
        source: SinkError,
    },
    /// The connector has no such stream.
    #[error("the connector has no stream {0}")]
    NoStream(String),
    /// The connector cannot be opened with the recorded configuration.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// Files cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Records cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The connector declares a schema that is none.
    #[error("the connector declares a schema that is none")]
    Declared(#[from] DeclaredError),
    /// The recorded schema cannot be read.
    #[error("the recorded schema cannot be read")]
    Stored(#[from] DescriptionError),
    /// Records cannot be compared.
    #[error("the records cannot be compared: {0}")]
    Compare(String),
}

/// What a replay came to.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayReport {
    /// The run.
    pub run: String,
    /// Whether every page was the same.
    pub same: bool,
    /// Each stream.
    pub streams: Vec<StreamReplay>,
}

/// One stream in a replay.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StreamReplay {
    /// Its name.
    pub name: String,
    /// Pages played.
    pub pages: u64,
    /// Records in them.
    pub records: u64,
    /// Pages that differ from those recorded.
    pub different: u64,
    /// The first of them, in words.
    pub first_difference: Option<String>,
    /// Files written.
    pub files: Vec<String>,
}

/// A recorded run and a connector to play it with.
pub struct Recorded {
    pub(crate) run: String,
    pub(crate) out: PathBuf,
    pub(crate) script: Arc<Script>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) keys: Keys,
}

impl Recorded {
    /// Reads a run's archive.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be played.
    pub fn load(
        engine: Arc<Engine>,
        out: &Path,
        run: &str,
        observer: Arc<dyn Observer>,
        keys: Keys,
    ) -> Result<Self, ReplayError> {
        let script = Arc::new(Script::read(&run_folder(out, run).join("archive"))?);
        Ok(Self { run: run.to_owned(), out: out.to_owned(), script, engine, observer, keys })
    }

    /// The file of the connector that made a session.
    fn connector(&self, session: &SessionNote) -> Result<PathBuf, ReplayError> {
        let path = connector_path(&self.out, &session.connector.digest);
        if path.exists() { Ok(path) } else { Err(ReplayError::NoConnector(path)) }
    }

    async fn describe(&self, path: &Path) -> Result<super::Described, ReplayError> {
        let time = Arc::new(SystemClock::new());
        Ok(super::Described::load(self.engine.clone(), path, self.observer.clone(), time).await?)
    }

    /// Returns the streams of the run, in the order in which they began.
    pub fn streams(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for stream in self.script.sessions.iter().flat_map(|session| &session.streams) {
            if !names.contains(&stream.name) {
                names.push(stream.name.clone());
            }
        }
        names
    }
}
