//! The difference between two makings of the same run: records that came or went, and fields that changed, by primary key.
//!
//! The records of the first making are put in a database in the scratch folder, so memory does not grow with them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{ReplayError, StreamMade};

/// A key may come again: the first pairs with the first, the second with the second.
const INSERT: &str = "INSERT INTO old VALUES (?1, (SELECT coalesce(max(turn), 0) + 1 FROM old WHERE key = ?1), ?2)";
const TAKE: &str =
    "DELETE FROM old WHERE key = ?1 AND turn = (SELECT min(turn) FROM old WHERE key = ?1) RETURNING record";

/// The difference in one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The stream.
    pub stream: String,
    /// Fields by which records were paired; empty where they were compared as wholes.
    pub primary_key: Vec<String>,
    /// Records of the first making.
    pub before: u64,
    /// Records of the second.
    pub after: u64,
    /// Records that only the second has.
    pub added: u64,
    /// Records that only the first has.
    pub removed: u64,
    /// Records that both have, with different fields.
    pub changed: u64,
    /// How many records changed in each field, by its path (`user.login`).
    pub fields: BTreeMap<String, u64>,
    /// The first of them, as many as were asked for of each kind.
    pub examples: Vec<Change>,
}

/// A record that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `added`, `removed` or `changed`.
    pub kind: &'static str,
    /// Its primary key as a JSON array, or the record.
    pub key: String,
    /// Fields that changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Its path (`user.login`).
    pub field: String,
    /// JSON text before; none where it was not there.
    pub before: Option<String>,
    /// JSON text after; none where it is not there.
    pub after: Option<String>,
}

impl Difference {
    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.added == 0 && self.removed == 0 && self.changed == 0
    }
}

/// Compares two makings of a stream; `scratch` is a folder for temporary files.
///
/// # Errors
///
/// When a file cannot be read or written.
pub fn compare(
    before: &StreamMade,
    after: &StreamMade,
    scratch: &Path,
    examples: usize,
) -> Result<Difference, ReplayError> {
    let path = scratch.join(format!("{}.db", after.name));
    let database = |error: rusqlite::Error| ReplayError::Compare(error.to_string());
    let mut store = Connection::open(&path).map_err(database)?;
    let tables = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
        CREATE TABLE old (key TEXT, turn INTEGER, record TEXT, PRIMARY KEY (key, turn)) WITHOUT ROWID;";
    store.execute_batch(tables).map_err(database)?;
    let key = &after.primary_key;
    let mut difference = Difference { stream: after.name.clone(), primary_key: key.clone(), ..Difference::default() };
    let transaction = store.transaction().map_err(database)?;
    each(before, |record| {
        difference.before += 1;
        let key = key_of(record, key)?;
        let stored = transaction.prepare_cached(INSERT).and_then(|mut insert| insert.execute(params![key, record]));
        stored.map(|_| ()).map_err(database)
    })?;
    transaction.commit().map_err(database)?;
    let transaction = store.transaction().map_err(database)?;
    let mut taken: HashMap<&str, usize> = HashMap::new();
    each(after, |record| {
        difference.after += 1;
        let key = key_of(record, &difference.primary_key)?;
        let old: Option<String> = transaction
            .prepare_cached(TAKE)
            .and_then(|mut take| take.query_row(params![key], |row| row.get(0)).optional())
            .map_err(database)?;
        let (kind, fields) = match old {
            None => {
                difference.added += 1;
                ("added", Vec::new())
            }
            Some(old) => {
                let mut fields = Vec::new();
                changes("", raw(&old)?, raw(record)?, &mut fields)?;
                if fields.is_empty() {
                    return Ok(());
                }
                difference.changed += 1;
                ("changed", fields)
            }
        };
        for change in &fields {
            *difference.fields.entry(change.field.clone()).or_default() += 1;
        }
        let count = taken.entry(kind).or_default();
        *count += 1;
        if *count <= examples {
            difference.examples.push(Change { kind, key, fields });
        }
        Ok(())
    })?;
    transaction.commit().map_err(database)?;
    let removed: i64 = store.query_row("SELECT count(*) FROM old", [], |row| row.get(0)).map_err(database)?;
    difference.removed = u64::try_from(removed).unwrap_or(0);
    let mut statement = store.prepare("SELECT key FROM old ORDER BY key, turn LIMIT ?1").map_err(database)?;
    let limit = i64::try_from(examples).unwrap_or(i64::MAX);
    let keys = statement.query_map([limit], |row| row.get(0)).and_then(Iterator::collect::<Result<Vec<String>, _>>);
    let keys = keys.map_err(database)?;
    difference.examples.extend(keys.into_iter().map(|key| Change { kind: "removed", key, fields: Vec::new() }));
    drop(statement);
    drop(store);
    // It lies in the scratch folder, which is removed as a whole.
    let _ = std::fs::remove_file(path);
    Ok(difference)
}

fn each(made: &StreamMade, mut take: impl FnMut(&str) -> Result<(), ReplayError>) -> Result<(), ReplayError> {
    for path in &made.files {
        let failed = |error: std::io::Error| ReplayError::Compare(format!("{}: {error}", path.display()));
        for line in BufReader::new(File::open(path).map_err(failed)?).lines() {
            take(&line.map_err(failed)?)?;
        }
    }
    Ok(())
}

type Members<'a> = BTreeMap<std::borrow::Cow<'a, str>, &'a RawValue>;

fn raw(text: &str) -> Result<&RawValue, ReplayError> {
    serde_json::from_str(text).map_err(|error| ReplayError::Compare(error.to_string()))
}

fn members(value: &RawValue) -> Option<Members<'_>> {
    if value.get().starts_with('{') { serde_json::from_str(value.get()).ok() } else { None }
}

/// A record's primary key as a JSON array; without one, the record itself.
fn key_of(record: &str, key: &[String]) -> Result<String, ReplayError> {
    if key.is_empty() {
        return Ok(record.to_owned());
    }
    let members = members(raw(record)?).unwrap_or_default();
    let values = key.iter().map(|name| members.get(name.as_str()).map_or("null", |value| value.get()));
    Ok(format!("[{}]", values.collect::<Vec<_>>().join(",")))
}

/// Compares texts, not values: a number that another version writes in another way is a change.
fn changes(path: &str, before: &RawValue, after: &RawValue, found: &mut Vec<FieldChange>) -> Result<(), ReplayError> {
    if before.get() == after.get() {
        return Ok(());
    }
    let (Some(old), Some(new)) = (members(before), members(after)) else {
        let text = |value: &RawValue| Some(value.get().to_owned());
        found.push(FieldChange { field: path.to_owned(), before: text(before), after: text(after) });
        return Ok(());
    };
    let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, value) in &old {
        match new.get(name) {
            Some(other) => changes(&inner(name), value, other, found)?,
            None => {
                let before = Some(value.get().to_owned());
                found.push(FieldChange { field: inner(name), before, after: None });
            }
        }
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        found.push(FieldChange { field: inner(name), before: None, after: Some(value.get().to_owned()) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path, file: &str, lines: &[&str], key: &[&str]) -> StreamMade {
        let path = folder.join(file);
        std::fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let primary_key = key.iter().map(|name| (*name).to_owned()).collect();
        StreamMade { name: "s".to_owned(), primary_key, files: vec![path], ..StreamMade::default() }
    }

    #[test]
    fn records_are_paired_by_key_and_compared_field_by_field() {
        let folder = tempfile::tempdir().unwrap();
        let old = [r#"{"id":1,"u":{"n":"a","m":[1]}}"#, r#"{"id":2}"#, r#"{"id":3,"x":1.0}"#, r#"{"id":4}"#];
        let new = [r#"{"u":{"m":[1],"n":"b"},"id":1}"#, r#"{"id":3,"x":1.00}"#, r#"{"id":4}"#, r#"{"id":5}"#];
        let before = made(folder.path(), "a", &old, &["id"]);
        let difference = compare(&before, &made(folder.path(), "b", &new, &["id"]), folder.path(), 9).unwrap();
        let field = |field: &str, before: &str, after: &str| FieldChange {
            field: field.to_owned(),
            before: Some(before.to_owned()),
            after: Some(after.to_owned()),
        };
        let change = |kind, key: &str, fields| Change { kind, key: key.to_owned(), fields };
        assert_eq!((difference.before, difference.after), (4, 4));
        assert_eq!(
            difference.examples,
            [
                change("changed", "[1]", vec![field("u.n", "\"a\"", "\"b\"")]),
                change("changed", "[3]", vec![field("x", "1.0", "1.00")]),
                change("added", "[5]", Vec::new()),
                change("removed", "[2]", Vec::new()),
            ]
        );
        assert_eq!(difference.fields, [("u.n".to_owned(), 1), ("x".to_owned(), 1)].into());
    }

    #[test]
    fn a_key_that_comes_again_is_paired_in_order_and_no_key_pairs_wholes() {
        let folder = tempfile::tempdir().unwrap();
        let twice = [r#"{"id":1,"n":1}"#, r#"{"id":1,"n":2}"#];
        let before = made(folder.path(), "a", &twice, &["id"]);
        let after = made(folder.path(), "b", &twice, &["id"]);
        assert!(compare(&before, &after, folder.path(), 9).unwrap().is_empty());
        let after = made(folder.path(), "c", &[r#"{"id":1,"n":2}"#, r#"{"id":1,"n":3}"#], &[]);
        let difference = compare(&before, &after, folder.path(), 9).unwrap();
        assert_eq!((difference.added, difference.removed, difference.changed), (1, 1, 0));
    }
}
