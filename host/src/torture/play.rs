//! Plays a connector against an adversary: each run in a runtime of its own, which is dropped where the process would die.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::adversary::{Adversary, Stop};
use super::clock::{CaseClock, FOR_EVER};
use crate::config::{OnDrift, Sources};
use crate::event::{Event, Observer};
use crate::http::transport;
use crate::run::recording::SessionNote;
use crate::run::{Described, Format, Network, Options, PartLimits, Report, RunError, Stop as Never};
use crate::time::Time;

/// The connection of every case.
pub(super) const CONNECTION: &str = "torture";
/// Real time of one run: no wait takes any of it, so that what needs longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is played.
pub(super) struct Stage<'a> {
    pub(super) described: &'a Described,
    pub(super) session: &'a SessionNote,
    /// Id of the recorded run, on which the connector's random numbers hang.
    pub(super) run: &'a str,
    pub(super) out: &'a Path,
    pub(super) part_rows: u64,
    /// Whether runs may die.
    pub(super) in_step: bool,
}

/// How a run ended.
pub(super) enum Ended {
    /// With a report.
    Report(Box<Report>),
    /// It did not start.
    Refused(RunError),
    /// The process died, by the script.
    Died,
    /// The connector crashed, hung, asked without end, or made the host crash.
    Bad(String),
}

/// Listens for crashes.
#[derive(Default)]
struct Witness(Mutex<Option<String>>);

impl Observer for Witness {
    fn observe(&self, event: Event) {
        if let Event::Crashed { error, .. } = event {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }
}

impl Stage<'_> {
    /// Runs the connector once.
    pub(super) fn play(&self, adversary: &Arc<Adversary>, clock: &CaseClock) -> Ended {
        // A host that panics is what a case is to find as well.
        match catch_unwind(AssertUnwindSafe(|| self.run_once(adversary, clock))) {
            Ok(ended) => ended,
            Err(_) => Ended::Bad("the host crashed".to_owned()),
        }
    }

    fn run_once(&self, adversary: &Arc<Adversary>, clock: &CaseClock) -> Ended {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return Ended::Bad(format!("no runtime can be made: {error}")),
        };
        let witness = Arc::new(Witness::default());
        let time: Arc<dyn Time> = Arc::new(clock.clone());
        let described = Described { time, ..self.described.clone() };
        let run = crate::run::run(described, self.options(adversary), witness.clone(), Never::never());
        let ended = runtime.block_on(async {
            tokio::select! {
                biased;
                stop = adversary.stopped() => match stop {
                    Stop::Death => Ended::Died,
                    Stop::Endless(requests) => Ended::Bad(format!("it asks without end: {requests} requests so far")),
                },
                ended = tokio::time::timeout(PATIENCE, run) => match ended {
                    Ok(Ok(report)) => Ended::Report(Box::new(report)),
                    Ok(Err(error)) => Ended::Refused(error),
                    Err(_) => Ended::Bad(format!("it does not come to an end within {} s", PATIENCE.as_secs())),
                },
            }
        });
        // Every task ends where it stands. What has begun to write to the disk is waited for, as a disk does for itself.
        drop(runtime);
        match witness.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(crash) => Ended::Bad(crash),
            None => ended,
        }
    }

    fn options(&self, adversary: &Arc<Adversary>) -> Options {
        let session = self.session;
        Options {
            on_drift: OnDrift::default(),
            lookback: Vec::new(),
            redact_archive: false,
            connection: CONNECTION.to_owned(),
            run: Some(self.run.to_owned()),
            out: self.out.to_owned(),
            sources: Sources { value: session.config.clone(), ..Sources::default() },
            streams: session.streams.clone(),
            // As it came, field by field: what is compared is the records and not their form.
            format: Format::JsonLines,
            limit: None,
            full: false,
            rereads: 1,
            keep_state: false,
            // One read after another, so that the same case is the same each time.
            concurrency: 1,
            parts: PartLimits { rows: self.part_rows, bytes: u64::MAX, age: FOR_EVER, in_step: self.in_step },
            archive: false,
            network: Network {
                allow_hosts: session.allow_hosts.iter().filter_map(|pattern| pattern.parse().ok()).collect(),
                carrier: Some(transport::Carrier(adversary.clone())),
                // Nobody waits in earnest.
                max_wait: Duration::from_secs(30 * 86_400),
                max_body_bytes: session.max_body_bytes,
                ..Network::default()
            },
        }
    }
}

/// Says why a run did not start.
pub(super) fn refusal(error: &RunError) -> String {
    crate::engine::with_sources(error)
}

/// A budget that was learned in the run before is full again, and a host that was left alone is asked again.
pub(super) fn pass_time(clock: &CaseClock) {
    clock.advance(Duration::from_secs(3_600));
}
