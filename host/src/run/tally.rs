//! Counts what happens during a run, and passes it on to whoever shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Level, Observer};
use crate::schema::Change;
use crate::state::Part;
use crate::time::Time;

/// Requests of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Answers received, of whatever status.
    pub requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Bytes of bodies as received.
    pub received_bytes: u64,
    /// Time in which requests waited for budgets, in milliseconds.
    pub waited_ms: u64,
}

/// A committed part in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReport {
    /// Name of the file in the stream's folder.
    pub name: String,
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counts {
    traffic: Traffic,
    /// Since when requests wait for a budget, by the run's monotonic time.
    waiting_since: Option<Duration>,
    parts: Vec<PartReport>,
    drift: Vec<Change>,
}

impl Counts {
    fn stop_waiting(&mut self, now: Duration) {
        if let Some(since) = self.waiting_since.take() {
            let waited = now.saturating_sub(since).as_millis();
            self.traffic.waited_ms += u64::try_from(waited).unwrap_or(u64::MAX);
        }
    }
}

/// An observer that counts.
pub(crate) struct Tally {
    next: Arc<dyn Observer>,
    time: Arc<dyn Time>,
    streams: Mutex<BTreeMap<String, Counts>>,
    first_request: OnceLock<Duration>,
    warnings: Mutex<Vec<String>>,
}

/// Different warnings that are kept for the report.
const MAX_WARNINGS: usize = 100;

impl Tally {
    pub(crate) fn new(next: Arc<dyn Observer>, time: Arc<dyn Time>) -> Self {
        Self { next, time, streams: Mutex::default(), first_request: OnceLock::new(), warnings: Mutex::default() }
    }

    fn count(&self, read: &str, change: impl FnOnce(&mut Counts)) {
        // A read's label is the stream, or `stream/partition`.
        let stream = read.split('/').next().unwrap_or(read);
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.get_mut(stream) {
            Some(counts) => change(counts),
            None => change(streams.entry(stream.to_owned()).or_default()),
        }
    }

    pub(crate) fn parts_committed(&self, stream: &str, parts: &[Part]) {
        self.count(stream, |counts| {
            let parts = parts.iter().filter(|part| !super::deadletter::is_dead(&part.name));
            counts.parts.extend(parts.map(|part| PartReport {
                name: part.name.clone(),
                records: part.records,
                bytes: part.bytes,
            }));
        });
    }

    pub(crate) fn drifted(&self, stream: &str, changes: &[Change]) {
        if !changes.is_empty() {
            // A stream that is read again differs in the same once more.
            self.count(stream, |counts| {
                for change in changes {
                    if !counts.drift.contains(change) {
                        counts.drift.push(change.clone());
                    }
                }
            });
        }
    }

    /// Returns what a stream's records were found to differ in.
    pub(crate) fn drift(&self, stream: &str) -> Vec<Change> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(stream).map(|counts| counts.drift.clone()).unwrap_or_default()
    }

    fn warned(&self, message: &str) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < MAX_WARNINGS && !warnings.iter().any(|known| known == message) {
            warnings.push(message.to_owned());
        }
    }

    /// Returns what the host warned of.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when the first request was about to leave, by the run's monotonic time.
    pub(crate) fn first_request(&self) -> Option<Duration> {
        self.first_request.get().copied()
    }

    /// Returns what was counted for a stream.
    pub(crate) fn stream(&self, stream: &str) -> (Traffic, Vec<PartReport>) {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(stream).map_or_else(Default::default, |counts| (counts.traffic, counts.parts.clone()))
    }

    /// Returns the traffic of all streams together.
    pub(crate) fn all(&self) -> Traffic {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.values().fold(Traffic::default(), |sum, Counts { traffic, .. }| Traffic {
            requests: sum.requests + traffic.requests,
            retries: sum.retries + traffic.retries,
            received_bytes: sum.received_bytes + traffic.received_bytes,
            waited_ms: sum.waited_ms + traffic.waited_ms,
        })
    }
}

impl Observer for Tally {
    fn observe(&self, event: Event) {
        match &event {
            Event::Requesting { read } => {
                let now = self.time.monotonic();
                self.first_request.get_or_init(|| now);
                self.count(read, |counts| counts.stop_waiting(now));
            }
            Event::Answered { read, bytes } => self.count(read, |counts| {
                counts.traffic.requests += 1;
                counts.traffic.received_bytes += bytes;
            }),
            Event::Retrying { read, .. } => self.count(read, |counts| counts.traffic.retries += 1),
            Event::Waiting { read, .. } => {
                let now = self.time.monotonic();
                self.count(read, |counts| _ = counts.waiting_since.get_or_insert(now));
            }
            // What a connector says is its own.
            Event::Log { target, level: Level::Warn, message, .. } if target == "host" => self.warned(message),
            // Also a read that was stopped while it waited.
            Event::ReadEnded { read, .. } => {
                let now = self.time.monotonic();
                self.count(read, |counts| counts.stop_waiting(now));
            }
            _ => {}
        }
        self.next.observe(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::time::VirtualClock;

    #[test]
    fn time_is_counted_once_however_many_requests_wait() {
        let clock = VirtualClock::starting_at(0);
        let tally = Tally::new(Arc::new(Silent), Arc::new(clock.clone()));
        let wait = |read: &str| Event::Waiting { read: read.to_owned(), budget: "b".to_owned(), until_ms: 60_000 };
        tally.observe(wait("s/a"));
        tally.observe(wait("s/b"));
        clock.advance(Duration::from_secs(2));
        tally.observe(wait("s/a"));
        clock.advance(Duration::from_secs(1));
        tally.observe(Event::Requesting { read: "s/b".to_owned() });
        clock.advance(Duration::from_secs(5));
        tally.observe(Event::Requesting { read: "s/a".to_owned() });
        assert_eq!(tally.stream("s").0.waited_ms, 3_000);
        assert_eq!(tally.all().waited_ms, 3_000);
    }
}
