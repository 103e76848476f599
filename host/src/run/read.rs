//! One read: an instance of the connector, from its first call to its last page.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::border;
use super::open::Opened;
use super::preview::Countdown;
use super::queue::{End, Queue, ReadHandle, ReadReport, WriterGone};
use super::recording::CallNote;
use crate::capability::http::HttpCtx;
use crate::capability::log::LogCtx;
use crate::capability::output::{Emitted, Outlet, OutputCtx};
use crate::capability::rate_limit::RateLimitCtx;
use crate::capability::storage::{Committed, StorageCtx};
use crate::engine::bindings::exports::ingest::connector::source;
use crate::engine::bindings::ingest::connector::output::Seam;
use crate::engine::guest::Capabilities;
use crate::engine::limits::{Limit, LimitReached};
use crate::engine::{CallError, Instance};
use crate::event::{Event, Observer};
use crate::personal;
use crate::record::Shapes;
use crate::state::Read;

/// The outlet of a read: its pages go to the stream's writer.
struct ToWriter {
    queue: Queue,
    read: Arc<ReadHandle>,
    countdown: Option<Arc<Countdown>>,
    shapes: Option<Arc<Shapes>>,
    stopped: Arc<AtomicBool>,
}

impl Outlet for ToWriter {
    fn emit(&mut self, mut emitted: Emitted) -> Pin<Box<dyn Future<Output = wasmtime::Result<bool>> + Send + '_>> {
        Box::pin(async move {
            let mut go_on = true;
            if let Some(countdown) = &self.countdown {
                let again = u64::from(emitted.seam == Seam::Overlapping);
                go_on = countdown.cut(&mut emitted.page, again)?;
                // The API's total is for a whole that a preview doesn't want.
                emitted.total = None;
            }
            self.queue.page(&self.read, emitted).await?;
            if !go_on {
                self.stopped.store(true, Ordering::Relaxed);
            }
            Ok(go_on)
        })
    }

    fn shapes(&self) -> Option<Arc<Shapes>> {
        // A preview cuts pages, and cuts them as text.
        self.shapes.clone().filter(|_| self.countdown.is_none())
    }
}

/// What all reads of a stream share.
pub(crate) struct ReadSetup {
    pub(crate) opened: Arc<Opened>,
    pub(crate) stream: String,
    pub(crate) queue: Queue,
    pub(crate) storage: Committed,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) countdown: Option<Arc<Countdown>>,
    pub(crate) shapes: Option<Arc<Shapes>>,
    pub(crate) lookback: Lookback,
}

/// How far before its watermark an incremental read starts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lookback {
    pub(crate) by: Duration,
    /// Whether the user said so, and not the connector.
    pub(crate) wished: bool,
}

/// Reads to the end, or to the first error. An error of the writer itself is returned: it ends the stream.
pub(crate) async fn read(setup: &ReadSetup, read: &Read, handle: &Arc<ReadHandle>) -> Result<ReadReport, WriterGone> {
    setup.observer.observe(Event::ReadStarted { read: handle.label.to_string(), resumed: read.checkpoint.is_some() });
    let limits = setup.opened.engine.limits().clone();
    let time = limits.read_time;
    let called = tokio::time::timeout(time, call(setup, read, handle)).await;
    let end = match called {
        Ok(end) => end,
        Err(_) => End::failed(LimitReached::time(Limit::ReadTime, time).to_string()),
    };
    let failure = end.result.as_ref().err().cloned();
    let report = setup.queue.end(handle, end).await?;
    let error = failure.or_else(|| report.finding.reasons.first().cloned().filter(|_| handle.failure().is_some()));
    setup.observer.observe(Event::ReadEnded { read: handle.label.to_string(), error });
    Ok(report)
}

async fn call(setup: &ReadSetup, read: &Read, handle: &Arc<ReadHandle>) -> End {
    let stopped = Arc::new(AtomicBool::new(false));
    let outlet = ToWriter {
        queue: setup.queue.clone(),
        read: handle.clone(),
        countdown: setup.countdown.clone(),
        shapes: setup.shapes.clone(),
        stopped: stopped.clone(),
    };
    if setup.countdown.as_ref().is_some_and(|countdown| countdown.is_empty()) {
        return End::failed(PREVIEW.to_owned());
    }
    let since = match &read.since {
        None => None,
        Some(since) => match border::asked(since, setup.lookback.by) {
            None if setup.lookback.wished => {
                return End::failed(format!(
                    "the watermark {since} is no moment from which one could read back; take --lookback away for this stream"
                ));
            }
            asked => asked.or_else(|| Some(since.clone())),
        },
    };
    let storage = setup.storage.clone();
    let note = CallNote::read(&setup.stream, read, since.as_ref(), handle.pages);
    // Held until the last text is written, since the instance may be gone by then.
    let recent = setup.opened.recent(&handle.label);
    let safe = |text: String| setup.opened.safe(&personal::clean(recent.as_deref(), text));
    let instance = setup.opened.instance(&handle.label, Some(Box::new(outlet)), storage, note).await;
    let instance = match instance {
        Ok(instance) => instance,
        Err(error) => return End::failed(error.to_string()),
    };
    let request = source::ReadRequest {
        config: setup.opened.config_text.clone(),
        stream: setup.stream.clone(),
        partition: read.partition.clone().map(|(id, context)| source::Partition { id, context }),
        since,
        resume: read.checkpoint.clone(),
    };
    let (instance, result) = instance.read(request).await;
    setup.opened.tell_crash(&handle.label, &result);
    if stopped.load(Ordering::Relaxed) {
        return End::failed(PREVIEW.to_owned());
    }
    let (storage, heard, refused) = instance.map(|mut instance| instance.take_rest()).unwrap_or_default();
    match result {
        Ok(Ok(watermark)) => End { result: Ok(watermark), storage, heard, refused, absent: None, restart: false },
        // The next read starts where this one did.
        Ok(Err(source::Error::Absent(reason))) => {
            let absent = Some(safe(reason));
            End { result: Ok(read.since.clone()), storage, heard, refused: None, absent, restart: false }
        }
        // What a connector wrote after its last page belongs to a read that did not end well: it is forgotten.
        Ok(Err(error)) => {
            let restart = matches!(error, source::Error::Restart(_));
            let next = match error {
                source::Error::Auth(_) => "; check the credentials in the configuration, and that they may read this",
                source::Error::Transient(_) => "; run again to go on from here",
                _ => "",
            };
            End { heard, restart, ..End::failed(safe(source_error(&error) + next)) }
        }
        Err(CallError::Writer(WriterGone::Page(reason))) => End { heard, ..End::failed(reason) },
        Err(error) => End { heard, ..End::failed(safe(error.to_string())) },
    }
}

const PREVIEW: &str = "stopped by --limit";

/// Writes a connector's error for its user.
pub(crate) fn source_error(error: &source::Error) -> String {
    match error {
        source::Error::Config(reason) => format!("the connector does not accept its configuration: {reason}"),
        source::Error::Auth(reason) => format!("the API refuses the credentials: {reason}"),
        source::Error::Transient(reason) => format!("the API fails for now: {reason}"),
        source::Error::Data(reason) => format!("the API's answer is not what it should be: {reason}"),
        source::Error::Restart(reason) => format!("the read has to begin again: {reason}"),
        source::Error::Http(reason) => format!("a request failed: {reason}"),
        source::Error::Absent(reason) => format!("it is not there: {reason}"),
        source::Error::Other(reason) => reason.clone(),
    }
}

impl Opened {
    /// Makes an instance of the connector. Without an outlet it cannot emit.
    pub(crate) async fn instance(
        &self,
        label: &Arc<str>,
        outlet: Option<Box<dyn Outlet>>,
        storage: Committed,
        mut call: CallNote,
    ) -> Result<Instance, CallError> {
        let limits = self.engine.limits();
        let seed = self.seed(label);
        call.seed = seed;
        let noted = self.archive.note(label, "call", call).await;
        noted.map_err(|error| CallError::Host(error.into()))?;
        let recent = self.recent(label);
        let log = LogCtx::new(
            Arc::from(self.description.name.as_str()),
            self.observer.clone(),
            self.secrets().clone(),
            limits.log_bytes,
        );
        let log = log.remembering(recent.clone());
        let capabilities = Capabilities {
            http: HttpCtx::new(Some(self.client.clone()), label.clone(), limits).remembering(recent.clone()),
            storage: StorageCtx::new(storage, limits.storage_bytes),
            rate_limit: RateLimitCtx::new(self.client.budgets().clone(), label.clone()),
            log,
            output: OutputCtx::new(outlet, limits.page_bytes).treating(recent),
            time: self.time.clone(),
            seed,
        };
        self.connector.instantiate(&self.engine, capabilities).await
    }
}
