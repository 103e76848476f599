//! The state store in one SQLite file, `OUT/_state.db`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::borders::WATERMARKS;
use super::rows::{checks_of, insert_read, insert_run, read_of, unsigned};
use super::{
    Batch, BatchMode, BatchStatus, Commit, KeptBorder, PageEntry, Part, PartStatus, Read, ReadStatus, Run, RunStatus,
    SchemaVersion, StateError, StateStore, patience, schemas,
};

/// How long others may hold the file. They do so for milliseconds at a time; a longer wait is a stuck disk.
const HELD_WITHIN: Duration = Duration::from_secs(10);

/// Version of the tables below, kept in the file's `user_version`.
const VERSION: i64 = 2;

/// The tables of the first version; later ones add to them.
pub(super) const TABLES: &str = "
    CREATE TABLE connections (name TEXT PRIMARY KEY, config_digest TEXT NOT NULL) STRICT;
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, connection TEXT NOT NULL, connector TEXT NOT NULL, started_ms INTEGER NOT NULL,
        ended_ms INTEGER, status TEXT NOT NULL, verdict TEXT, records INTEGER NOT NULL,
        \"full\" INTEGER NOT NULL) STRICT;
    CREATE TABLE streams (name TEXT PRIMARY KEY, connection TEXT NOT NULL, schema TEXT) STRICT;
    CREATE TABLE batches (
        id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, mode TEXT NOT NULL, status TEXT NOT NULL,
        staged INTEGER NOT NULL) STRICT;
    CREATE TABLE reads (
        id INTEGER PRIMARY KEY AUTOINCREMENT, batch INTEGER NOT NULL, partition TEXT, context TEXT, since TEXT,
        checkpoint TEXT, watermark TEXT, status TEXT NOT NULL) STRICT;
    CREATE INDEX reads_batch ON reads (batch);
    CREATE TABLE pages (
        read INTEGER NOT NULL, seq INTEGER NOT NULL, url TEXT, status INTEGER, bytes INTEGER NOT NULL,
        records INTEGER NOT NULL, checkpoint TEXT, total INTEGER, hash TEXT NOT NULL,
        PRIMARY KEY (read, seq)) STRICT, WITHOUT ROWID;
    CREATE TABLE parts (
        stream TEXT NOT NULL, name TEXT NOT NULL, batch INTEGER NOT NULL, run TEXT NOT NULL, records INTEGER NOT NULL,
        bytes INTEGER NOT NULL, status TEXT NOT NULL, PRIMARY KEY (stream, name)) STRICT, WITHOUT ROWID;
    CREATE TABLE storage (
        connection TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (connection, key)) STRICT, WITHOUT ROWID;
";

/// What came with the second version, besides the tables of schemas.
pub(super) const SECOND: &str = "
    ALTER TABLE pages ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE pages ADD COLUMN checks TEXT NOT NULL DEFAULT '{}';
    CREATE TABLE borders (
        stream TEXT NOT NULL, place TEXT NOT NULL, border BLOB NOT NULL, PRIMARY KEY (stream, place)) STRICT, WITHOUT ROWID;
";

/// A state store in a SQLite file.
pub struct Sqlite {
    path: PathBuf,
    connection: Connection,
}

impl Sqlite {
    /// Opens the file, making it where there is none.
    ///
    /// # Errors
    ///
    /// When the file is damaged, newer than this host, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let error = |source| classify(path, source);
        if path.metadata().map_or(0, |metadata| metadata.len()) == 0
            && let Some(part) = orphan(path)
        {
            return Err(StateError::Lost { path: path.to_owned(), part });
        }
        let connection = patience::open(HELD_WITHIN, || Self::try_open(path)).map_err(error)?;
        let mut store = Self { path: path.to_owned(), connection };
        store.migrate()?;
        Ok(store)
    }

    fn try_open(path: &Path) -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(HELD_WITHIN)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is written before the first commit (a run's name, a batch, its reads) need not survive a power cut: the
        // next run makes it again. In WAL mode the order of transactions is kept without a sync, and the sync of a commit
        // takes along everything before it.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(connection)
    }

    fn migrate(&mut self) -> Result<(), StateError> {
        let path = self.path.clone();
        let transaction = self.begin()?;
        let error = |source| classify(&path, source);
        let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(error)?;
        match found {
            VERSION => Ok(()),
            0 | 1 => {
                if found == 0 {
                    transaction.execute_batch(TABLES).map_err(error)?;
                }
                transaction.execute_batch(SECOND).map_err(error)?;
                transaction.execute_batch(schemas::TABLES).map_err(error)?;
                transaction.pragma_update(None, "user_version", VERSION).map_err(error)?;
                transaction.commit().map_err(error)
            }
            _ => Err(StateError::Newer { path, found, known: VERSION }),
        }
    }

    /// Does what must survive a power cut once it is acknowledged.
    fn durably<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T, StateError>) -> Result<T, StateError> {
        self.connection.pragma_update(None, "synchronous", "FULL").map_err(self.error())?;
        let written = write(self);
        self.connection.pragma_update(None, "synchronous", "NORMAL").map_err(self.error())?;
        written
    }

    pub(super) fn begin(&mut self) -> Result<rusqlite::Transaction<'_>, StateError> {
        let path = &self.path;
        self.connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(|source| classify(path, source))
    }

    /// Makes changes whole or not at all.
    pub(super) fn transaction(
        &mut self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StateError> {
        let error = self.error();
        let transaction = self.begin()?;
        change(&transaction).map_err(&error)?;
        transaction.commit().map_err(&error)
    }

    pub(super) fn error(&self) -> impl Fn(rusqlite::Error) -> StateError + use<> {
        let path = self.path.clone();
        move |source| classify(&path, source)
    }

    fn rows<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StateError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(parameters, map)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(self.error())
    }

    pub(super) fn row<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StateError> {
        let read = || self.connection.prepare_cached(sql)?.query_row(parameters, map).optional();
        read().map_err(self.error())
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize, StateError> {
        let write = || self.connection.prepare_cached(sql)?.execute(parameters);
        write().map_err(self.error())
    }
}

/// A file of records in the folder of a state file: where there is one, the state knew of it. SQLite would take an empty file for
/// a new one, and the next commit would take all records that it does not know of for leftovers.
fn orphan(path: &Path) -> Option<PathBuf> {
    let streams = std::fs::read_dir(path.parent()?).ok()?.flatten().map(|entry| entry.path());
    let mut parts = streams
        .filter(|folder| folder.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('_')))
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()));
    parts.find(|part| part.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")))
}

/// Sorts SQLite's errors into those that call for different steps.
fn classify(path: &Path, source: rusqlite::Error) -> StateError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StateError::Damaged { path, source },
        _ if patience::is_busy(&source) => StateError::Busy { path, source },
        _ => StateError::Unusable { path, source },
    }
}

impl StateStore for Sqlite {
    fn config_digest(&mut self, connection: &str) -> Result<Option<String>, StateError> {
        self.row("SELECT config_digest FROM connections WHERE name = ?1", [connection], |row| row.get(0))
    }

    fn begin_run(&mut self, run: &Run, config_digest: &str, streams: &[String]) -> Result<(), StateError> {
        let error = self.error();
        let transaction = self.begin()?;
        let write = || {
            transaction.execute(
                "INSERT OR REPLACE INTO connections (name, config_digest) VALUES (?1, ?2)",
                [&run.connection, config_digest],
            )?;
            for stream in streams {
                transaction.execute(
                    "INSERT OR IGNORE INTO streams (name, connection) VALUES (?1, ?2)",
                    [stream, &run.connection],
                )?;
            }
            insert_run(&transaction, run)
        };
        write().map_err(&error)?;
        transaction.commit().map_err(&error)
    }

    fn put_run(&mut self, run: &Run) -> Result<(), StateError> {
        self.durably(|state| insert_run(&state.connection, run).map_err(state.error()))
    }

    fn runs(&mut self) -> Result<Vec<Run>, StateError> {
        self.rows(
            "SELECT id, connection, connector, started_ms, ended_ms, status, verdict, records, \"full\" FROM runs
             ORDER BY rowid DESC",
            [],
            |row| {
                Ok(Run {
                    id: row.get(0)?,
                    connection: row.get(1)?,
                    connector: row.get(2)?,
                    started_ms: unsigned(row.get(3)?),
                    ended_ms: row.get::<_, Option<i64>>(4)?.map(unsigned),
                    status: RunStatus::from_text(&row.get::<_, String>(5)?)?,
                    verdict: row.get(6)?,
                    records: unsigned(row.get(7)?),
                    full: row.get(8)?,
                })
            },
        )
    }

    fn owner(&mut self, stream: &str) -> Result<Option<String>, StateError> {
        self.row("SELECT connection FROM streams WHERE name = ?1", [stream], |row| row.get(0))
    }

    fn streams(&mut self, connection: &str) -> Result<Vec<String>, StateError> {
        self.rows("SELECT name FROM streams WHERE connection = ?1 ORDER BY name", [connection], |row| row.get(0))
    }

    fn schema(&mut self, stream: &str) -> Result<Option<String>, StateError> {
        Ok(self.row("SELECT schema FROM streams WHERE name = ?1", [stream], |row| row.get(0))?.flatten())
    }

    fn known_schema(&mut self, stream: &str) -> Result<Option<String>, StateError> {
        Ok(self.row("SELECT known FROM streams WHERE name = ?1", [stream], |row| row.get(0))?.flatten())
    }

    fn put_known_schema(&mut self, stream: &str, run: &str, known: &SchemaVersion) -> Result<(), StateError> {
        schemas::put_known(self, stream, run, known)
    }

    fn schema_versions(&mut self, stream: &str) -> Result<Vec<SchemaVersion>, StateError> {
        self.rows(
            "SELECT version, run, at_ms, schema, changes FROM schemas WHERE stream = ?1 ORDER BY version",
            [stream],
            schemas::version_of,
        )
    }

    fn newest_batch(&mut self, stream: &str) -> Result<Option<Batch>, StateError> {
        self.row(
            "SELECT id, mode, status, staged FROM batches WHERE stream = ?1 ORDER BY id DESC LIMIT 1",
            [stream],
            |row| {
                Ok(Batch {
                    id: row.get(0)?,
                    mode: BatchMode::from_text(&row.get::<_, String>(1)?)?,
                    status: BatchStatus::from_text(&row.get::<_, String>(2)?)?,
                    staged: row.get(3)?,
                })
            },
        )
    }

    fn open_batch(
        &mut self,
        stream: &str,
        mode: BatchMode,
        staged: bool,
        reads: &[Read],
    ) -> Result<(Batch, Vec<Read>), StateError> {
        let error = self.error();
        let transaction = self.begin()?;
        let insert = || {
            transaction.execute(
                "INSERT INTO batches (stream, mode, status, staged) VALUES (?1, ?2, ?3, ?4)",
                params![stream, mode.to_text(), BatchStatus::Open.to_text(), staged],
            )?;
            let id = transaction.last_insert_rowid();
            let reads =
                reads.iter().map(|read| insert_read(&transaction, id, read)).collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((Batch { id, mode, status: BatchStatus::Open, staged }, reads))
        };
        let opened = insert().map_err(&error)?;
        transaction.commit().map_err(&error)?;
        Ok(opened)
    }

    fn watermarks(&mut self, stream: &str) -> Result<HashMap<Option<String>, String>, StateError> {
        let rows = self.rows(WATERMARKS, [stream], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.into_iter().collect())
    }

    fn reads(&mut self, batch: i64) -> Result<Vec<Read>, StateError> {
        self.rows(
            "SELECT id, partition, context, since, checkpoint, watermark, status FROM reads
             WHERE batch = ?1 ORDER BY id",
            [batch],
            read_of,
        )
    }

    fn put_read(&mut self, batch: i64, read: &Read) -> Result<Read, StateError> {
        let error = self.error();
        let transaction = self.begin()?;
        let insert = || {
            transaction.execute(
                "DELETE FROM reads WHERE batch = ?1 AND partition IS ?2",
                params![batch, read.partition.as_ref().map(|(id, _)| id)],
            )?;
            insert_read(&transaction, batch, read)
        };
        let read = insert().map_err(&error)?;
        transaction.commit().map_err(&error)?;
        Ok(read)
    }

    fn drop_read(&mut self, read: i64) -> Result<(), StateError> {
        self.execute("UPDATE reads SET status = ?2 WHERE id = ?1", params![read, ReadStatus::Gone.to_text()])?;
        Ok(())
    }

    fn pages(&mut self, read: i64) -> Result<Vec<PageEntry>, StateError> {
        self.rows(
            "SELECT seq, url, status, bytes, records, checkpoint, total, hash, refused, checks FROM pages
             WHERE read = ?1 ORDER BY seq",
            [read],
            |row| {
                Ok(PageEntry {
                    seq: unsigned(row.get(0)?),
                    url: row.get(1)?,
                    status: row.get(2)?,
                    bytes: unsigned(row.get(3)?),
                    records: unsigned(row.get(4)?),
                    checkpoint: row.get(5)?,
                    total: row.get::<_, Option<i64>>(6)?.map(unsigned),
                    hash: row.get(7)?,
                    refused: unsigned(row.get(8)?),
                    checks: checks_of(&row.get::<_, String>(9)?)?,
                })
            },
        )
    }

    fn page_count(&mut self, read: i64) -> Result<u64, StateError> {
        let count = self.row("SELECT count(*) FROM pages WHERE read = ?1", [read], |row| row.get(0))?;
        Ok(count.map_or(0, unsigned))
    }

    fn record_counts(&mut self, batch: i64) -> Result<(u64, u64), StateError> {
        let counts = self.row(
            "SELECT ifnull(sum(records), 0), ifnull(sum(refused), 0) FROM pages
             WHERE read IN (SELECT id FROM reads WHERE batch = ?1)",
            [batch],
            |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))),
        )?;
        Ok(counts.unwrap_or_default())
    }

    fn border(&mut self, read: i64) -> Result<KeptBorder, StateError> {
        self.kept_border(read)
    }

    fn close_batch(&mut self, stream: &str, batch: &Batch, status: BatchStatus) -> Result<(), StateError> {
        self.durably(|state| state.write_close(stream, batch, status))
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StateError> {
        self.durably(|state| state.write_commit(commit))
    }

    fn parts(&mut self, stream: &str) -> Result<Vec<Part>, StateError> {
        self.rows(
            "SELECT stream, name, batch, run, records, bytes, status FROM parts WHERE stream = ?1 ORDER BY name",
            [stream],
            |row| {
                Ok(Part {
                    stream: row.get(0)?,
                    name: row.get(1)?,
                    batch: row.get(2)?,
                    run: row.get(3)?,
                    records: unsigned(row.get(4)?),
                    bytes: unsigned(row.get(5)?),
                    status: PartStatus::from_text(&row.get::<_, String>(6)?)?,
                })
            },
        )
    }

    fn forget_part(&mut self, stream: &str, name: &str) -> Result<(), StateError> {
        self.execute("DELETE FROM parts WHERE stream = ?1 AND name = ?2 AND status = 'obsolete'", [stream, name])?;
        Ok(())
    }

    fn storage(&mut self, connection: &str) -> Result<BTreeMap<String, Vec<u8>>, StateError> {
        let rows = self.rows("SELECT key, value FROM storage WHERE connection = ?1", [connection], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(rows.into_iter().collect())
    }
}
