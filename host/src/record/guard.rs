//! A guard against drift: pages whose records differ from what is known are refused before anything of them is taken.

use super::column::Group;
use super::{Page, RecordError, infer, presence};
use crate::schema::{Change, Schema, drift};

/// What records may be like.
#[derive(Debug, Clone)]
pub struct Guard {
    /// What the complete readings before had; none while the first is under way.
    known: Option<Schema>,
    /// Changes that were accepted before.
    accepted: Vec<Change>,
}

impl Guard {
    /// Makes a guard for a reading that goes on from a schema: what that has come to differ in is accepted.
    pub fn new(mut known: Option<Schema>, now: &Schema) -> Self {
        let accepted = drift(known.as_ref(), now);
        if let Some(known) = &mut known {
            known.relax(now);
        }
        Self { known, accepted }
    }

    /// Says what a schema differs in from what is known and accepted.
    pub(crate) fn differs(&self, now: &Schema) -> Option<Change> {
        drift(self.known.as_ref(), now).into_iter().find(|change| !self.accepted.contains(change))
    }

    /// Whether rows lack what all records had, accepted or not.
    pub(super) fn lacks(&self, group: &Group, rows: usize) -> bool {
        self.known.as_ref().is_some_and(|known| presence::lacks(group, rows, &known.fields))
    }

    /// Finds the first record of a page that differs.
    pub(crate) fn find(&self, page: &Page, schema: &Schema) -> Option<RecordError> {
        let mut start = schema.clone();
        start.forget_counts();
        let mut found = None;
        let index = infer::first(page, start, |now| {
            found = self.differs(now);
            found.is_some()
        })?;
        // Nothing of it is kept, wherever it would be.
        Some(RecordError::Drift { index, change: Box::new(found?.anywhere()) })
    }
}
