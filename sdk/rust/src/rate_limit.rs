//! The budget of requests that the host keeps for an API.
//!
//! Every request already takes one permit and every response's standard headers already update the
//! budget; this is for an API whose costs or headers are its own. That budget is called by the API's
//! host, with the port where it is not the scheme's own. Any other name, of up to 128 bytes, is the
//! connector's own, shared by its connections with the same key.

use crate::bindings::ingest::connector::rate_limit as wit;

/// What is known of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Permits left before the host makes requests wait; none where unknown.
    pub remaining: Option<u32>,
    /// When the budget is full again, in milliseconds since the Unix epoch.
    pub reset_at_ms: Option<u64>,
}

/// Waits until the bucket has the permits, then takes them.
pub fn acquire(bucket: &str, permits: u32) {
    wit::acquire(bucket, permits);
}

/// Tells the host what the API said of its own limit.
pub fn observe(bucket: &str, budget: Budget) {
    wit::observe(bucket, wit::Budget { remaining: budget.remaining, reset_at: budget.reset_at_ms });
}

/// Returns what the host knows of a bucket.
#[must_use]
pub fn status(bucket: &str) -> Budget {
    let budget = wit::status(bucket);
    Budget { remaining: budget.remaining, reset_at_ms: budget.reset_at }
}
