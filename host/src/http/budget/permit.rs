//! The right to send one request, which gives itself back.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::state;
use super::{Bucket, Budgets};
use crate::http::learned::Learned;

/// One request in flight. Dropping it, at whatever moment, gives its place back.
pub struct Permit {
    pub(super) budgets: Budgets,
    pub(super) bucket: Arc<Bucket>,
    pub(super) slot: Option<OwnedSemaphorePermit>,
    pub(super) sent_ms: u64,
    pub(super) done: bool,
}

impl Permit {
    /// When it was admitted, in milliseconds since the Unix epoch.
    pub fn sent_ms(&self) -> u64 {
        self.sent_ms
    }

    /// The budget's name.
    pub fn name(&self) -> &str {
        &self.bucket.name
    }

    /// The budget's name before users.
    pub(in crate::http) fn shown(&self) -> &str {
        &self.bucket.shown
    }

    /// Takes what the answer says of the limit, by the names of its policies.
    pub fn answered(&mut self, learned: &[(String, Learned)], now_ms: u64) {
        self.done = true;
        let sent_ms = self.sent_ms;
        self.budgets.with(&self.bucket, |state| state.answered(learned, sent_ms, now_ms));
    }

    /// The request was not sent, or counted against another budget.
    pub(in crate::http) fn cost_nothing(&mut self) {
        self.done = true;
    }

    /// Counts a request that the server let through.
    pub(in crate::http) fn served(&self) {
        self.bucket.shelf.local(state::State::served);
    }

    /// Returns how many requests the server let through so far.
    pub(in crate::http) fn progress(&self) -> u64 {
        self.bucket.shelf.peek(state::State::progress)
    }

    /// Keeps everybody from sending before `until_ms`.
    pub fn pause(&self, until_ms: u64) {
        self.budgets.with(&self.bucket, |state| state.pause(until_ms));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot = None;
        let (done, now_ms) = (self.done, self.budgets.shared.time.now_ms());
        let process = self.budgets.shared.pool.process().to_owned();
        self.budgets.with(&self.bucket, |state| {
            state.returned(&process, now_ms);
            if !done {
                state.unanswered();
            }
        });
        self.bucket.shelf.returned.notify_one();
        self.budgets.shared.pool.returned().notify_waiters();
    }
}
