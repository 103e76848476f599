//! What a stream's records have been like over its readings, and what a reading under way differs in.
//!
//! A version of the schema is what readers of the stream's files see. So a reading whose parts are visible at once makes
//! versions as it commits, and one whose parts are hidden makes one when they take the place of the old ones. What is known,
//! and compared with, is what the complete readings have shown.

use std::sync::Arc;

use super::tally::Tally;
use crate::schema::drift::{Reading, known_after, removed};
use crate::schema::{Change, Schema, drift};
use crate::state::{NewSchema, SchemaVersion};

/// One reading beside what is known.
pub(crate) struct History {
    known: Option<Schema>,
    /// Whether readers see its parts at once.
    visible: bool,
    /// Changes that have been told of, in this session or before.
    told: Vec<Change>,
    stream: String,
    tally: Arc<Tally>,
}

impl History {
    /// Begins to compare a reading that goes on from a schema. `again` says whether it goes on in the same run, whose report
    /// has what was found so far.
    pub(crate) fn new(
        stream: &str,
        (known, start): (Option<Schema>, &Schema),
        visible: bool,
        again: bool,
        tally: Arc<Tally>,
    ) -> Self {
        let told = drift(known.as_ref(), start);
        if again {
            tally.drifted(stream, &told);
        }
        Self { known, visible, told, stream: stream.to_owned(), tally }
    }

    /// Compares; returns what a commit has to store.
    pub(crate) fn compare(&mut self, now: &Schema, at_ms: u64) -> NewSchema {
        let changes = drift(self.known.as_ref(), now).into_iter().filter(|change| !self.told.contains(change));
        let changes: Vec<Change> = changes.collect();
        self.tally.drifted(&self.stream, &changes);
        self.told.extend(changes.iter().cloned());
        let version = self.visible.then(|| {
            let shown = known_after(self.known.as_ref(), now, Reading::UnderWay);
            version(&shown, &changes, at_ms)
        });
        NewSchema { columns: described(now), version }
    }
}

/// What a complete reading leaves.
pub(crate) struct Closing {
    /// What is known from now on.
    pub(crate) version: SchemaVersion,
    /// Fields that it had none of.
    pub(crate) removed: Vec<Change>,
}

/// Says what is known after a complete reading; none where it brought no record, and so tells nothing. `visible` is the newest
/// version, where the reading has made versions as it went.
pub(crate) fn close(
    known: Option<&Schema>,
    now: &Schema,
    (full, records): (bool, u64),
    visible: Option<SchemaVersion>,
    (run, at_ms): (&str, u64),
) -> Option<Closing> {
    if records == 0 {
        return None;
    }
    let reading = if full { Reading::Full } else { Reading::Incremental };
    let removed = known.map(|known| removed(known, now, full)).unwrap_or_default();
    // What the same run has said before is said in one version.
    let same = visible.as_ref().filter(|newest| newest.run == run && newest.changes != "[]" && !removed.is_empty());
    let mut changes: Vec<Change> = match (&visible, same) {
        (None, _) => drift(known, now),
        (_, Some(newest)) => serde_json::from_str(&newest.changes).unwrap_or_default(),
        _ => Vec::new(),
    };
    changes.retain(|change| !is_told_by(change, &removed));
    changes.extend(removed.iter().cloned());
    let mut version = version(&known_after(known, now, reading), &changes, at_ms);
    version.version = same.map_or(0, |newest| newest.version);
    Some(Closing { version, removed })
}

/// Whether a field is said to be missing in a record, and is missing in all.
pub(crate) fn is_told_by(change: &Change, removed: &[Change]) -> bool {
    let is_gone =
        |path: &String| removed.iter().any(|one| matches!(one, Change::Removed { path: gone, .. } if gone == path));
    matches!(change, Change::Nullable { path, items: false } if is_gone(path))
}

fn version(schema: &Schema, changes: &[Change], at_ms: u64) -> SchemaVersion {
    SchemaVersion {
        version: 0,
        run: String::new(),
        at_ms,
        schema: described(schema),
        changes: serde_json::to_string(changes).unwrap_or_default(),
    }
}

/// A schema's description as it is stored.
pub(crate) fn described(schema: &Schema) -> String {
    serde_json::to_string_pretty(&schema.to_description()).unwrap_or_default()
}
