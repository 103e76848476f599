//! Counts what happens during a run, and passes it on to whoever shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::event::{Event, Observer};
use crate::state::Part;
use crate::time::Time;

/// Requests of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Answers received, of whatever status.
    pub requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Bytes of bodies as received.
    pub received_bytes: u64,
    /// Time spent waiting for budgets, in milliseconds, added up over requests.
    pub waited_ms: u64,
}

/// A committed part in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    parts: Vec<PartReport>,
}

/// An observer that counts.
pub(crate) struct Tally {
    next: Arc<dyn Observer>,
    time: Arc<dyn Time>,
    streams: Mutex<BTreeMap<String, Counts>>,
    first_request: OnceLock<Duration>,
}

impl Tally {
    pub(crate) fn new(next: Arc<dyn Observer>, time: Arc<dyn Time>) -> Self {
        Self { next, time, streams: Mutex::default(), first_request: OnceLock::new() }
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
            counts.parts.extend(parts.iter().map(|part| PartReport {
                name: part.name.clone(),
                records: part.records,
                bytes: part.bytes,
            }));
        });
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
            Event::Requesting { .. } => {
                self.first_request.get_or_init(|| self.time.monotonic());
            }
            Event::Answered { read, bytes } => self.count(read, |counts| {
                counts.traffic.requests += 1;
                counts.traffic.received_bytes += bytes;
            }),
            Event::Retrying { read, .. } => self.count(read, |counts| counts.traffic.retries += 1),
            Event::Waiting { read, until_ms, .. } => {
                let waited = until_ms.saturating_sub(self.time.now_ms());
                self.count(read, |counts| counts.traffic.waited_ms += waited);
            }
            _ => {}
        }
        self.next.observe(event);
    }
}
