//! What is left until a reset: as a server says, or as a connector has read it out of an answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::http::learned::Learned;

/// Resets of one window that are this close are the same window: servers that tell it in whole seconds from now move it.
const SAME_WINDOW_MS: u64 = 2_000;
/// Windows that a server can name in one budget, and connectors of whose word is kept of one.
const MAX_WINDOWS: usize = 16;

/// What is left until a reset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    /// The limit, or the most that was ever left where nobody tells it.
    pub(super) limit: u32,
    pub(super) remaining: u32,
    pub(super) reset_at_ms: u64,
    pub(super) learned_ms: u64,
}

/// Windows by the name of the server's policy, or by the connector that told of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Windows(BTreeMap<String, Window>);

impl Window {
    fn is_same(&self, other: &Self) -> bool {
        self.reset_at_ms.abs_diff(other.reset_at_ms) <= SAME_WINDOW_MS
    }
}

impl Windows {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Window> {
        self.0.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Window> {
        self.0.values_mut()
    }

    pub(super) fn of(&self, name: &str) -> Option<&Window> {
        self.0.get(name)
    }

    /// Forgets those whose reset has come, and says whether there were any.
    pub(super) fn forget_old(&mut self, now_ms: u64) -> bool {
        let known = self.0.len();
        self.0.retain(|_, window| window.reset_at_ms > now_ms);
        self.0.len() < known
    }

    pub(super) fn spend(&mut self, permits: u32) {
        for window in self.0.values_mut() {
            window.remaining = window.remaining.saturating_sub(permits);
        }
    }

    /// Takes what is said of one in answer to a request that was sent at `sent_ms`. Without a reset it is not known for how
    /// long it counts.
    pub(super) fn learn(&mut self, name: &str, learned: &Learned, sent_ms: u64, now_ms: u64) {
        let Some(remaining) = learned.remaining else { return };
        let Some(reset_at_ms) = learned.reset_at_ms.filter(|at| *at > now_ms) else { return };
        if self.0.len() >= MAX_WINDOWS && !self.0.contains_key(name) {
            return;
        }
        let said = Window { limit: remaining, remaining, reset_at_ms, learned_ms: now_ms };
        let same = self.0.get(name).filter(|window| window.reset_at_ms > now_ms && window.is_same(&said));
        // Of answers that crossed on their way nobody knows which is the newer one; the lower number is safe. An answer
        // to a request that was sent after all that is known tells how it is now, also that there is more.
        let remaining = match same {
            Some(window) if sent_ms <= window.learned_ms => window.remaining.min(remaining),
            _ => remaining,
        };
        let most = same.map_or(remaining, |window| window.limit.max(remaining));
        let limit = learned.limit.unwrap_or(most).max(remaining);
        self.0.insert(name.to_owned(), Window { limit, remaining, ..said });
    }

    /// Makes room for one by forgetting the one that was told of first.
    pub(super) fn make_room(&mut self, name: &str) {
        if self.0.len() < MAX_WINDOWS || self.0.contains_key(name) {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, window)| window.learned_ms).map(|(name, _)| name.clone());
        oldest.map(|name| self.0.remove(&name));
    }

    /// Takes what another copy knows that this one does not: the lower number of the same window, the later word of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (name, theirs) in &other.0 {
            match self.0.get_mut(name) {
                Some(own) if own.is_same(theirs) => {
                    own.remaining = own.remaining.min(theirs.remaining);
                    own.learned_ms = own.learned_ms.max(theirs.learned_ms);
                }
                Some(own) if own.learned_ms >= theirs.learned_ms => {}
                _ => {
                    self.0.insert(name.clone(), *theirs);
                }
            }
        }
    }
}
