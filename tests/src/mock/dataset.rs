//! The rows behind an endpoint, in the order they are listed, and what changes while they are read.

use std::collections::HashMap;

use super::{records::Row, time};

/// What happens to the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New records in front of all others, as in a listing with the newest first; they sort before
    /// all others, too.
    InsertFront(u32),
    /// New records behind all others, newer than all.
    Append(u32),
    /// The first records of the listing are deleted.
    DeleteFront(usize),
    /// These records are deleted.
    Delete(Vec<u32>),
    /// These records are changed, now, so that they become the newest.
    Edit(Vec<u32>),
    /// This record is changed, and its time is what the number says: an edit that arrives out of order.
    EditAt(u32, i64),
    /// The record is listed a second time, at this position.
    Repeat {
        /// The record.
        id: u32,
        /// Where in the listing, from 0.
        at: usize,
    },
}

/// Rows in the order of the listing. Four bytes a row: a million rows cost four megabytes.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    listed: Vec<u32>,
    /// The same rows by (`updated_at`, id); none while the listing is in this order itself.
    sorted: Option<Vec<u32>>,
    edited: HashMap<u32, Row>,
    ties: u32,
    next_id: u32,
    newest: i64,
    oldest: i64,
}

impl Dataset {
    /// Rows 1 to `count`; each group of `ties` rows shares one `updated_at`, the groups a second apart.
    #[must_use]
    pub fn generate(count: u32, ties: u32) -> Self {
        let ties = ties.max(1);
        Self {
            listed: (1..=count).collect(),
            sorted: None,
            edited: HashMap::new(),
            ties,
            next_id: count.saturating_add(1),
            newest: time::START + i64::from(count / ties),
            oldest: time::START,
        }
    }

    /// The row of an id.
    #[must_use]
    pub fn row(&self, id: u32) -> Row {
        let fresh = || Row { id, updated_at: time::START + i64::from(id.saturating_sub(1) / self.ties), edits: 0 };
        self.edited.get(&id).copied().unwrap_or_else(fresh)
    }

    /// The ids in the order of the listing.
    #[must_use]
    pub fn listed(&self) -> &[u32] {
        &self.listed
    }

    /// The ids by (`updated_at`, id).
    #[must_use]
    pub fn sorted(&self) -> &[u32] {
        self.sorted.as_deref().unwrap_or(&self.listed)
    }

    /// The part of the listing that changed at `since` or later.
    #[must_use]
    pub fn changed_since(&self, since: i64) -> Self {
        let keep = |ids: &[u32]| ids.iter().copied().filter(|id| self.row(*id).updated_at >= since).collect();
        Self { listed: keep(&self.listed), sorted: self.sorted.as_deref().map(keep), ..self.clone() }
    }

    /// Applies a change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::InsertFront(count) => {
                let ids = self.fresh(*count);
                for id in ids.iter().rev() {
                    self.oldest -= 1;
                    self.edited.insert(*id, Row { id: *id, updated_at: self.oldest, edits: 0 });
                }
                self.listed.splice(0..0, ids);
            }
            Change::Append(count) => {
                let ids = self.fresh(*count);
                for id in &ids {
                    self.newest += 1;
                    self.edited.insert(*id, Row { id: *id, updated_at: self.newest, edits: 0 });
                }
                self.listed.extend(ids);
            }
            Change::DeleteFront(count) => {
                self.listed.drain(..(*count).min(self.listed.len()));
            }
            Change::Delete(ids) => self.listed.retain(|id| !ids.contains(id)),
            Change::Edit(ids) => {
                for id in ids {
                    self.newest += 1;
                    self.edit(*id, self.newest);
                }
            }
            Change::EditAt(id, updated_at) => self.edit(*id, *updated_at),
            Change::Repeat { id, at } => self.listed.insert((*at).min(self.listed.len()), *id),
        }
        let mut sorted = self.listed.clone();
        sorted.sort_unstable_by_key(|id| (self.row(*id).updated_at, *id));
        self.sorted = Some(sorted);
    }

    fn edit(&mut self, id: u32, updated_at: i64) {
        let row = self.row(id);
        self.edited.insert(id, Row { updated_at, edits: row.edits + 1, ..row });
    }

    fn fresh(&mut self, count: u32) -> Vec<u32> {
        let first = self.next_id;
        self.next_id = first.saturating_add(count);
        (first..self.next_id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_the_order_by_time_right() {
        let mut data = Dataset::generate(6, 2);
        assert_eq!(data.row(2).updated_at, data.row(1).updated_at);
        data.apply(&Change::InsertFront(2));
        assert_eq!(data.listed(), [7, 8, 1, 2, 3, 4, 5, 6]);
        assert_eq!(data.sorted(), [7, 8, 1, 2, 3, 4, 5, 6]);
        data.apply(&Change::Edit(vec![1]));
        assert_eq!(data.listed(), [7, 8, 1, 2, 3, 4, 5, 6]);
        assert_eq!(data.sorted(), [7, 8, 2, 3, 4, 5, 6, 1]);
        data.apply(&Change::DeleteFront(3));
        data.apply(&Change::Append(1));
        data.apply(&Change::Repeat { id: 4, at: 0 });
        assert_eq!(data.listed(), [4, 2, 3, 4, 5, 6, 9]);
        assert_eq!(data.row(1).edits, 1);
    }

    #[test]
    fn since_is_inclusive() {
        let data = Dataset::generate(10, 2);
        assert_eq!(data.changed_since(data.row(7).updated_at).listed(), [7, 8, 9, 10]);
    }
}
