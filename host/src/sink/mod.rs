//! Where records end up: part files of one format, written page by page.
//!
//! A sink writes into files that nobody sees yet. [`Sink::seal`] ends them and names them; making them visible is the
//! commit's work. All of a page's records are taken over, or none.
//!
//! A Parquet file has one schema. Where a page brings a wider one, the rows that are still in memory are widened in place,
//! and rows already in the file stay there: the file is ended, and the next rows go to another, in which columns that were
//! written keep their types (see [`crate::schema::fields`]). So one commit may have several files. [`Sink::seal`] returns them all, and each but the last holds at least one full row group: a stream that
//! drifts with every page does not make a file of each page.

mod jsonl;
mod parquet;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::jsonl::JsonLines;
pub use self::parquet::Parquet;
use crate::record::{Appended, Guard, Page, Ready, RecordError, Shapes};
use crate::schema::Schema;

/// Names the next file to write: a new path on each call, in the stream's folder. Every sink writes to exactly the
/// paths it asked for.
pub type NextPath = Box<dyn FnMut() -> PathBuf + Send>;

/// A file of records that is complete on disk and that nobody sees yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Where it is.
    pub path: PathBuf,
    /// Records in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Why records could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The page is at fault; nothing of it was kept, and the sink goes on.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file could not be written. What was not sealed is lost; the sink must not be used again.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The columns could not be encoded. What was not sealed is lost; the sink must not be used again.
    #[error("cannot encode the columns for `{}`", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ::parquet::errors::ParquetError,
    },
}

/// Limits of a sink.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Deepest nesting of a record; the record itself counts as one.
    pub max_depth: usize,
    /// Longest JSON text of a record, in bytes.
    pub max_record_bytes: usize,
    /// Rows after which a row group is written.
    pub row_group_rows: usize,
    /// Bytes of column data after which a row group is written. Rows wait in memory until then, so this bounds it; and
    /// below some megabytes, compression and readers suffer.
    pub row_group_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: 128, max_record_bytes: 64 << 20, row_group_rows: 65_536, row_group_bytes: 8 << 20 }
    }
}

/// A writer of records.
pub trait Sink: Send {
    /// Takes over the records of a page: all, or none and an error.
    fn append(&mut self, page: &Page) -> Result<Appended, SinkError>;

    /// Takes over the records of a page as [`Sink::append`] does; `ready` are those that have been decoded already.
    /// They are only copied; what is to be written is left to [`Sink::write_due`].
    fn append_ready(&mut self, page: &Page, _ready: Ready) -> Result<Appended, SinkError> {
        self.append(page)
    }

    /// Returns whether enough rows wait to be written.
    fn is_due(&self) -> bool {
        false
    }

    /// Writes the rows that wait, where they are enough.
    fn write_due(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Returns what reads need to decode pages ahead, and to note where a field is that orders the records; none where the
    /// sink has no use for it.
    fn shapes(&mut self, _order: Option<&str>) -> Option<Arc<Shapes>> {
        None
    }

    /// Refuses pages from now on whose records differ from what is known.
    fn guard(&mut self, guard: Guard);

    /// Returns the records taken over since the last seal.
    fn rows(&self) -> u64;

    /// Returns the bytes written since the last seal, and an estimate of those that wait in memory.
    fn bytes(&self) -> u64;

    /// Returns the bytes of memory in use, roughly.
    fn memory(&self) -> usize;

    /// Returns the limits that records are held to.
    fn limits(&self) -> &Limits;

    /// Returns what is known of the records: those of earlier runs, as given at the start, and those taken over since.
    fn schema(&self) -> &Schema;

    /// Ends the files begun, on disk and synced, and returns them in order; none where no record came. The next page
    /// begins another.
    fn seal(&mut self) -> Result<Vec<Sealed>, SinkError>;

    /// Makes a file without records that has the schema, as far as the format can hold one; none where it can't.
    fn seal_empty(&mut self) -> Result<Option<Sealed>, SinkError>;

    /// Drops everything since the last seal, and removes its files.
    fn discard(&mut self) -> Result<(), SinkError>;
}

/// Makes a new file; an existing one is an error, for it belongs to somebody else.
fn create(path: &Path) -> Result<File, SinkError> {
    File::options().write(true).create_new(true).open(path).map_err(|source| failed(path, source))
}

/// Syncs a file and measures it.
fn sync(path: &Path, file: &File, rows: u64) -> Result<Sealed, SinkError> {
    let bytes = file.sync_all().and_then(|()| file.metadata()).map_err(|source| failed(path, source))?.len();
    Ok(Sealed { path: path.to_owned(), rows, bytes })
}

fn remove(path: &Path) -> Result<(), SinkError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed(path, source)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, source: io::Error) -> SinkError {
    SinkError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
