//! Plays calls of a connector: an instance whose network, clock, storage and random numbers are the recorded ones.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::ReplayError;
use super::script::{Call, Script};
use crate::capability::heard::RecordedTime;
use crate::capability::http::HttpCtx;
use crate::capability::log::LogCtx;
use crate::capability::output::{Emitted, Outlet, OutputCtx};
use crate::capability::rate_limit::RateLimitCtx;
use crate::capability::storage::{Committed, StorageCtx};
use crate::config::{Config, Sources};
use crate::engine::bindings::exports::ingest::connector::source;
use crate::engine::guest::Capabilities;
use crate::engine::{CallError, Connector, Engine, Instance};
use crate::event::{Observer, printable};
use crate::http::transport::{Failure, FailureKind, Outgoing, Sending, Transport};
use crate::http::{self, NotRecorded, Policy};
use crate::personal::{self, Keys, Personal};
use crate::run::open::{Described, policy};
use crate::run::read::source_error;
use crate::run::recording::{ReadNote, SessionNote};
use crate::time::Time;

/// A connector with a recorded configuration, and nothing else to reach than what was recorded.
pub(crate) struct Player {
    engine: Arc<Engine>,
    connector: Arc<Connector>,
    name: Arc<str>,
    config: Config,
    config_text: String,
    policy: Arc<Policy>,
    observer: Arc<dyn Observer>,
    session: SessionNote,
    personal: Option<Arc<Personal>>,
}

/// A read under way: its pages, one at a time, and then its end.
pub(crate) struct Playing {
    pages: mpsc::Receiver<Emitted>,
    task: tokio::task::JoinHandle<Result<Option<String>, PlayEnd>>,
}

/// Why a call did not come to a good end.
#[derive(Debug, Clone)]
pub(crate) enum PlayEnd {
    /// It asked for something else.
    NotRecorded(NotRecorded),
    /// It failed, as it may have when it was recorded.
    Failed(String),
}

impl Player {
    /// Opens a connector with a session's configuration.
    pub(crate) fn open(
        described: &Described,
        session: &SessionNote,
        observer: Arc<dyn Observer>,
        keys: &Keys,
    ) -> Result<Self, ReplayError> {
        let personal = session.personal.as_ref().map(|settings| Personal::recorded(settings, keys)).transpose();
        let personal = personal.map_err(ReplayError::Key)?.map(Arc::new);
        let sources = Sources { value: session.config.clone(), ..Sources::default() };
        let config = described.configure(sources)?;
        let allowed = session.allow_hosts.iter().filter_map(|pattern| pattern.parse().ok()).collect::<Vec<_>>();
        let policy = Arc::new(policy(&described.description, &described.wants()?, &config, &allowed)?);
        Ok(Self {
            engine: described.engine.clone(),
            connector: described.connector.clone(),
            name: Arc::from(described.description.name.as_str()),
            config_text: config.visible.to_string(),
            config,
            policy,
            observer,
            session: session.clone(),
            personal,
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    async fn instance(
        &self,
        script: &Script,
        call: &Call,
        outlet: Option<Box<dyn Outlet>>,
    ) -> Result<Instance, CallError> {
        let limits = self.engine.limits();
        let time: Arc<dyn Time> = Arc::new(RecordedTime::new(call.heard.clock.clone(), self.session.started_ms));
        let label: Arc<str> = Arc::from(call.label.as_str());
        let defaults = http::Config::new(self.policy.clone(), Arc::new(Nowhere));
        let client = http::Client::new(http::Config {
            secrets: self.config.secrets.clone(),
            time: time.clone(),
            observer: self.observer.clone(),
            retry: http::retry::Rules { attempts: self.session.attempts, ..http::retry::Rules::default() },
            max_body_bytes: self.session.max_body_bytes,
            tape: Some(Arc::new(script.tape(call))),
            personal: self.personal.clone(),
            ..defaults
        });
        let budgets = client.budgets().clone();
        let storage = Committed::new(call.heard.stored().collect());
        let secrets = self.config.secrets.clone();
        let recent = self.personal.as_ref().and_then(|personal| personal.recent(&label));
        let log = LogCtx::new(self.name.clone(), self.observer.clone(), secrets, limits.log_bytes);
        let capabilities = Capabilities {
            http: HttpCtx::new(Some(client), label.clone(), limits).remembering(recent.clone()),
            storage: StorageCtx::new(storage, limits.storage_bytes),
            rate_limit: RateLimitCtx::new(budgets, label).recorded(call.heard.budgets.clone()),
            log: log.remembering(recent.clone()),
            output: OutputCtx::new(outlet, limits.page_bytes).treating(recent),
            time,
            seed: call.note.seed,
        };
        self.connector.instantiate(&self.engine, capabilities).await
    }

    /// Plays the call that lists streams.
    pub(crate) async fn streams(&self, script: &Script, call: &Call) -> Result<Vec<source::StreamInfo>, PlayEnd> {
        let mut instance = self.instance(script, call, None).await.map_err(|error| self.end(error))?;
        let listed = instance.streams(&self.config_text).await.map_err(|error| self.end(error))?;
        listed.map_err(|error| self.failed(&error))
    }

    /// Plays the call that lists partitions.
    pub(crate) async fn partitions(&self, script: &Script, call: &Call) -> Result<Vec<source::Partition>, PlayEnd> {
        let mut instance = self.instance(script, call, None).await.map_err(|error| self.end(error))?;
        let listed =
            instance.partitions(&self.config_text, &call.label, None).await.map_err(|error| self.end(error))?;
        listed.map_err(|error| self.failed(&error))
    }

    /// Begins a read; it goes on as its pages are taken.
    pub(crate) fn read(self: &Arc<Self>, script: &Arc<Script>, call: &Call, read: &ReadNote) -> Playing {
        let (sender, pages) = mpsc::channel(1);
        let (player, script, call) = (self.clone(), script.clone(), call.clone());
        let request = source::ReadRequest {
            config: self.config_text.clone(),
            stream: read.stream.clone(),
            partition: read.partition.clone().map(|(id, context)| source::Partition { id, context }),
            since: read.asked.clone().or_else(|| read.since.clone()),
            resume: read.resume.clone(),
        };
        let since = read.since.clone();
        let task = tokio::spawn(async move {
            let outlet = Box::new(Hand(sender));
            let recent = player.personal.as_ref().and_then(|personal| personal.recent(&call.label));
            let clean = |end| match end {
                PlayEnd::Failed(reason) => PlayEnd::Failed(personal::clean(recent.as_deref(), reason)),
                end => end,
            };
            let instance = player.instance(&script, &call, Some(outlet)).await.map_err(|error| player.end(error))?;
            let (_, result) = instance.read(request).await;
            let result = result.map_err(|error| clean(player.end(error)))?;
            match result {
                // As in the run: it counts as read, and the next one starts where this one did.
                Err(source::Error::Absent(_)) => Ok(since),
                result => result.map_err(|error| clean(player.failed(&error))),
            }
        });
        Playing { pages, task }
    }

    fn failed(&self, error: &source::Error) -> PlayEnd {
        PlayEnd::Failed(printable(&self.config.secrets.redact(&source_error(error))).into_owned())
    }

    fn end(&self, error: CallError) -> PlayEnd {
        match error {
            CallError::Host(http::Error::Replay(difference)) => PlayEnd::NotRecorded(difference),
            error => PlayEnd::Failed(printable(&self.config.secrets.redact(&error.to_string())).into_owned()),
        }
    }
}

impl Playing {
    /// Returns the next page; none where the read is over.
    pub(crate) async fn page(&mut self) -> Option<Emitted> {
        self.pages.recv().await
    }

    /// Returns how the read ended. Pages that were not taken are none.
    pub(crate) async fn end(mut self) -> Result<Option<String>, PlayEnd> {
        self.pages.close();
        match (&mut self.task).await {
            Ok(end) => end,
            Err(crash) => Err(PlayEnd::Failed(format!("the host crashed: {crash}"))),
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hands pages to whoever takes them.
struct Hand(mpsc::Sender<Emitted>);

impl Outlet for Hand {
    fn emit(&mut self, page: Emitted) -> Pin<Box<dyn Future<Output = wasmtime::Result<bool>> + Send + '_>> {
        Box::pin(async move {
            // Nobody takes more: the connector is told to stop.
            Ok(self.0.send(page).await.is_ok())
        })
    }
}

/// No network.
struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _request: Outgoing, _max_body_bytes: u64) -> Sending<'_> {
        Box::pin(async { Err(Failure::new(FailureKind::Denied, "a replay has no network")) })
    }
}
