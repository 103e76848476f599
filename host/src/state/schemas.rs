//! The versions of streams' schemas, and what they are kept in.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{signed, unsigned};
use super::{Sqlite, StateError};

/// Came with the second version of the file: what is known of a stream's records, and how it came to be known.
pub(super) const TABLES: &str = "
    ALTER TABLE streams ADD COLUMN known TEXT;
    CREATE TABLE schemas (
        stream TEXT NOT NULL, version INTEGER NOT NULL, run TEXT NOT NULL, at_ms INTEGER NOT NULL, schema TEXT NOT NULL,
        changes TEXT NOT NULL, PRIMARY KEY (stream, version)) STRICT, WITHOUT ROWID;
";

/// One version of a stream's schema.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaVersion {
    /// Number, from 1; 0 for one that is yet to get its number.
    pub version: u64,
    /// The run that brought it.
    pub run: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The schema's description.
    pub schema: String,
    /// What changed since the version before, as a JSON array of [`crate::schema::Change`].
    pub changes: String,
}

/// A stream's schema in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchema {
    /// The columns of its parts.
    pub columns: String,
    /// What readers see of it from now on; none while the parts are hidden.
    pub version: Option<SchemaVersion>,
}

/// Stores a version: in place of the one whose number it has, or a new one where something changed, else in place of the
/// newest.
pub(super) fn put(connection: &Connection, stream: &str, run: &str, new: &SchemaVersion) -> rusqlite::Result<()> {
    if new.version > 0 {
        let change = "UPDATE schemas SET schema = ?3, changes = ?4 WHERE stream = ?1 AND version = ?2";
        let changed = params![stream, signed(new.version), new.schema, new.changes];
        return connection.execute(change, changed).map(|_| ());
    }
    let newest: Option<i64> = connection
        .prepare_cached("SELECT max(version) FROM schemas WHERE stream = ?1")?
        .query_row([stream], |row| row.get(0))
        .optional()?
        .flatten();
    match newest {
        Some(version) if new.changes == "[]" => connection.execute(
            "UPDATE schemas SET schema = ?3 WHERE stream = ?1 AND version = ?2",
            params![stream, version, new.schema],
        ),
        _ => connection.execute(
            "INSERT INTO schemas VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![stream, newest.unwrap_or(0) + 1, run, signed(new.at_ms), new.schema, new.changes],
        ),
    }
    .map(|_| ())
}

/// Stores what is known of a stream's records.
pub(super) fn put_known(state: &mut Sqlite, stream: &str, run: &str, known: &SchemaVersion) -> Result<(), StateError> {
    state.transaction(|transaction| {
        put(transaction, stream, run, known)?;
        transaction.execute("UPDATE streams SET known = ?2 WHERE name = ?1", params![stream, known.schema])?;
        Ok(())
    })
}

pub(super) fn version_of(row: &Row<'_>) -> rusqlite::Result<SchemaVersion> {
    Ok(SchemaVersion {
        version: unsigned(row.get(0)?),
        run: row.get(1)?,
        at_ms: unsigned(row.get(2)?),
        schema: row.get(3)?,
        changes: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateStore;

    #[test]
    fn a_version_is_new_where_something_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = Sqlite::open(&folder.path().join("_state.db")).unwrap();
        state.begin_run(&crate::state::tests::run("c"), "digest", &["s".to_owned()]).unwrap();
        let version = |schema: &str, changes: &str| SchemaVersion {
            at_ms: 7,
            schema: schema.to_owned(),
            changes: changes.to_owned(),
            ..SchemaVersion::default()
        };
        assert_eq!(state.known_schema("s").unwrap(), None);
        state.put_known_schema("s", "r1", &version("a", "[]")).unwrap();
        state.put_known_schema("s", "r2", &version("b", "[]")).unwrap();
        state.put_known_schema("s", "r3", &version("c", "[1]")).unwrap();
        let stored = state.schema_versions("s").unwrap();
        let stored: Vec<_> = stored.iter().map(|one| (one.version, one.run.as_str(), one.schema.as_str())).collect();
        assert_eq!(stored, [(1, "r1", "b"), (2, "r3", "c")]);
        assert_eq!(state.known_schema("s").unwrap().as_deref(), Some("c"));
        state.put_known_schema("s", "r3", &SchemaVersion { version: 2, ..version("d", "[2]") }).unwrap();
        let newest = state.schema_versions("s").unwrap().pop().unwrap();
        assert_eq!((newest.version, newest.schema.as_str(), newest.changes.as_str()), (2, "d", "[2]"));
    }

    #[test]
    fn a_file_of_the_first_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("_state.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(crate::state::sqlite::TABLES).unwrap();
        old.execute("INSERT INTO streams VALUES ('s', 'c', '{}')", []).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        for _ in 0..2 {
            let mut state = Sqlite::open(&path).unwrap();
            assert_eq!(state.schema("s").unwrap().as_deref(), Some("{}"));
            assert_eq!(state.schema_versions("s").unwrap(), []);
        }
    }
}
