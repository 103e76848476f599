//! Time as the host gives it.

use std::time::Duration;

use crate::bindings::ingest::connector::clock as wit;

/// Returns the milliseconds since the Unix epoch, UTC; in a replay, those of the recorded run.
#[must_use]
pub fn now_ms() -> u64 {
    wit::now()
}

/// Suspends the connector; the host spends no thread on it. For an API's retry and rate limits
/// there is no need to sleep: the host waits for them.
pub fn sleep(time: Duration) {
    wit::sleep(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
}
