//! wasmtime: its configuration, the compiled-code cache, the limits, and how a connector's functions are called.

mod aside;
pub mod bindings;
pub mod cache;
pub mod component;
pub mod guest;
pub mod limits;
#[cfg(target_os = "linux")]
mod pace;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Store, Trap, UpdateDeadline};

use self::bindings::ConnectorPre;
use self::bindings::exports::ingest::connector::source;
use self::cache::{Cache, Outcome};
use self::component::{LoadError, Summary};
use self::guest::{Capabilities, Guest};
use self::limits::{Limit, LimitReached, Limits};
use crate::capability;

/// Time between two ticks of the epoch: a guest that computes yields to the others this often, and its computing time
/// is measured in these steps.
const TICK: Duration = Duration::from_millis(10);

/// A description is read by people; the greatest known schema has 60 KiB.
const MAX_DESCRIPTION_BYTES: usize = 1 << 20;

/// Checkpoints and watermarks are kept with every page and shown in reports: the longest real ones are encoded cursors
/// and whole URLs.
pub(crate) const MAX_MARK_BYTES: usize = 64 << 10;

/// Stack that host functions may use on top of the guest's own.
const HOST_STACK_BYTES: usize = 1 << 20;

/// Compiles connectors and makes instances of them. One serves a whole process.
pub struct Engine {
    wasmtime: wasmtime::Engine,
    linker: Linker<Guest>,
    cache: Option<Cache>,
    /// What was loaded, by its digest: connections of one connector share its code, which is larger than all else of theirs.
    loaded: Mutex<HashMap<String, Component>>,
    limits: Arc<Limits>,
    _ticker: Ticker,
}

/// A component that is ready to be instantiated.
pub struct Connector {
    pre: ConnectorPre<Guest>,
    summary: Summary,
    cache: Option<Outcome>,
}

/// Why a call of a connector's function ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A limit was reached.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The connector used an interface as it must not.
    #[error("{0}")]
    Misuse(String),
    /// The host could not go on; the connector has no part in it.
    #[error("{0}")]
    Host(crate::http::Error),
    /// The run's own writer could not take the records.
    #[error(transparent)]
    Writer(crate::run::WriterGone),
    /// The connector crashed.
    #[error("the connector crashed: {0}")]
    Crash(String),
    /// Its functions are not those of the contract.
    #[error("the connector's functions are not those of {contract}@{version}: {0}", contract = component::CONTRACT, version = component::CONTRACT_VERSION)]
    Mismatch(String),
    /// wasmtime could not go on.
    #[error("the connector cannot be run: {0}")]
    Other(String),
}

impl Engine {
    /// Makes an engine; with a cache, compiled code is kept there.
    ///
    /// # Errors
    ///
    /// When wasmtime refuses the configuration, as for a stack of no bytes.
    pub fn new(limits: Limits, cache: Option<Cache>) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .max_wasm_stack(limits.stack_bytes)
            .async_stack_size(limits.stack_bytes + HOST_STACK_BYTES)
            .wasm_component_model(true)
            // A trace of function names helps an author; file names and lines would need debug sections parsed.
            .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
        let wasmtime = wasmtime::Engine::new(&config)?;
        let mut linker = Linker::new(&wasmtime);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        capability::http::add_to_linker(&mut linker)?;
        capability::clock::add_to_linker(&mut linker)?;
        capability::storage::add_to_linker(&mut linker)?;
        capability::rate_limit::add_to_linker(&mut linker)?;
        capability::log::add_to_linker(&mut linker)?;
        capability::output::add_to_linker(&mut linker)?;
        let ticker = Ticker::start(wasmtime.clone());
        Ok(Self { wasmtime, linker, cache, loaded: Mutex::default(), limits: Arc::new(limits), _ticker: ticker })
    }

    /// Returns the limits that every instance gets.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Loads a connector: from the cache, or by compiling it.
    ///
    /// # Errors
    ///
    /// When the file is no connector; see [`LoadError`].
    pub fn load(&self, path: &Path) -> Result<Connector, LoadError> {
        let (bytes, summary) = component::read(path, &self.limits)?;
        let compile_error = |error: wasmtime::Error| LoadError::Compile { path: path.to_owned(), source: error.into() };
        let known = self.loaded().get(&summary.digest).cloned();
        let (cached, outcome) = match (known, &self.cache) {
            (Some(component), cache) => (Some(component), cache.as_ref().map(|_| Outcome::Hit)),
            (None, Some(cache)) => {
                let (component, outcome) = cache.load(&self.wasmtime, &summary.digest);
                (component, Some(outcome))
            }
            (None, None) => (None, None),
        };
        let component = match cached {
            Some(component) => component,
            None => self.compile(&bytes, &summary).map_err(compile_error)?,
        };
        self.loaded().insert(summary.digest.clone(), component.clone());
        if let Some(required) = component.resources_required() {
            if required.num_memories as usize > self.limits.memories {
                return Err(LimitReached::count(Limit::Memories, self.limits.memories).into());
            }
            if required.num_tables as usize > self.limits.tables {
                return Err(LimitReached::count(Limit::Tables, self.limits.tables).into());
            }
        }
        let mismatch = |error: wasmtime::Error| LoadError::Mismatch { path: path.to_owned(), source: error.into() };
        let pre = self.linker.instantiate_pre(&component).map_err(mismatch)?;
        let pre = ConnectorPre::new(pre).map_err(mismatch)?;
        Ok(Connector { pre, summary, cache: outcome })
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<String, Component>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compile(&self, bytes: &[u8], summary: &Summary) -> wasmtime::Result<Component> {
        let component = Component::from_binary(&self.wasmtime, bytes)?;
        if let Some(cache) = &self.cache {
            let code = component.serialize()?;
            // A cache that can't be written costs time, not correctness.
            let _ = cache.store(&self.wasmtime, &summary.digest, &code);
        }
        Ok(component)
    }
}

impl Connector {
    /// Returns what is known of the component without running it.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Returns what became of the look-up in the cache, where there is one.
    pub fn cache_outcome(&self) -> Option<Outcome> {
        self.cache
    }

    /// Makes an instance.
    ///
    /// # Errors
    ///
    /// When the component's start code fails or reaches a limit.
    pub async fn instantiate(&self, engine: &Engine, capabilities: Capabilities) -> Result<Instance, CallError> {
        let limits = engine.limits.clone();
        let mut store = Store::new(&engine.wasmtime, Guest::new(capabilities, limits.clone()));
        store.limiter(|guest| &mut guest.meter);
        // Arguments that a guest hands over in one call: the greatest is a page that it made itself.
        store.set_hostcall_fuel(limits.page_bytes.saturating_mul(2).max(1 << 20));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| {
            let guest = context.data_mut();
            guest.ticks += 1;
            if guest.ticks >= aside::TICKS {
                guest.busy.set();
            }
            let allowed = guest.limits.cpu;
            if TICK.saturating_mul(u32::try_from(guest.ticks).unwrap_or(u32::MAX)) > allowed {
                return Err(LimitReached::time(Limit::Cpu, allowed).into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let started = within(limits.cpu, Limit::Start, self.pre.instantiate_async(&mut store)).await?;
        let bindings = started.map_err(|error| match call_error(error, &limits) {
            // No trap: the component was never entered.
            CallError::Other(reason) => CallError::Mismatch(reason),
            error => starting(error),
        })?;
        Ok(Instance { store, bindings })
    }
}

/// A running connector.
pub struct Instance {
    store: Store<Guest>,
    bindings: bindings::Connector,
}

/// Defines a method that calls one function of the `source` interface.
macro_rules! call {
    ($(#[$doc:meta])* $limit:ident: $name:ident => $export:ident ( $($argument:ident : $type:ty),* ) -> $result:ty) => {
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// When the connector crashes, misuses the contract or reaches a limit.
        pub async fn $name(&mut self, $($argument: $type),*) -> Result<$result, CallError> {
            self.store.data_mut().ticks = 0;
            let source = self.bindings.ingest_connector_source();
            let limits = self.store.data().limits.clone();
            let time = if matches!(Limit::$limit, Limit::Start) { limits.cpu } else { limits.read_time };
            let called = within(time, Limit::$limit, source.$export(&mut self.store, $($argument),*)).await?;
            called.map_err(|error| call_error(error, &limits))
        }
    };
}

impl Instance {
    call! {
        /// Asks the connector what it is. It has nothing to wait for.
        Start: ask_description => call_describe() -> source::Description
    }
    call! {
        /// Asks the connector whether the configuration works.
        ReadTime: check => call_check(config: &str) -> Result<(), source::Error>
    }
    call! {
        /// Asks the connector for its streams.
        ReadTime: streams => call_streams(config: &str) -> Result<Vec<source::StreamInfo>, source::Error>
    }
    call! {
        /// Asks the connector for the partitions of a stream.
        ReadTime: partitions => call_partitions(config: &str, stream: &str, since: Option<&str>)
            -> Result<Vec<source::Partition>, source::Error>
    }
    call! {
        /// Reads one stream or partition to its end.
        ReadTime: ask_read => call_read(request: &source::ReadRequest) -> Result<Option<String>, source::Error>
    }

    /// Asks the connector what it is.
    ///
    /// # Errors
    ///
    /// When the connector crashes, misuses the contract, reaches a limit, or does not come to an end.
    pub async fn describe(&mut self) -> Result<source::Description, CallError> {
        let description = self.ask_description().await.map_err(starting)?;
        let source::Description { name, version, summary, docs_url, config_schema, hosts, auth, .. } = &description;
        let texts = [name, version, summary, config_schema].into_iter().chain(docs_url).chain(hosts);
        let of_schemes = auth.iter().flat_map(|scheme| {
            let parameters = scheme.parameters.iter().flat_map(|(name, value)| [name, value]);
            std::iter::once(&scheme.name).chain(parameters)
        });
        let texts = texts.chain(of_schemes);
        let bytes: usize = texts.map(String::len).sum();
        if bytes > MAX_DESCRIPTION_BYTES {
            return Err(CallError::Misuse(format!(
                "the connector's description is longer than {MAX_DESCRIPTION_BYTES} bytes: {bytes}"
            )));
        }
        Ok(description)
    }

    /// Reads one stream or partition to its end, and returns the watermark. The instance comes back unless its thread died.
    ///
    /// # Errors
    ///
    /// When the connector crashes, misuses the contract or reaches a limit.
    pub async fn read(
        mut self,
        request: source::ReadRequest,
    ) -> (Option<Self>, Result<Result<Option<String>, source::Error>, CallError>) {
        let busy = self.store.data().busy.clone();
        let call = async move {
            let result = self.ask_read(&request).await;
            (self, result)
        };
        match aside::run(call, busy).await {
            Ok((instance, result)) => (Some(instance), result.and_then(within_marks)),
            Err(lost) => (None, Err(CallError::Other(lost.to_string()))),
        }
    }

    /// Takes what the guest wrote and heard since its last page.
    pub fn take_rest(&mut self) -> (Vec<capability::storage::Write>, capability::heard::Heard) {
        let guest = self.store.data_mut();
        (guest.storage.take_pending(), guest.take_heard())
    }
}

/// Checks the length of a watermark.
fn within_marks(
    result: Result<Option<String>, source::Error>,
) -> Result<Result<Option<String>, source::Error>, CallError> {
    match &result {
        Ok(Some(watermark)) if watermark.len() > MAX_MARK_BYTES => Err(CallError::Misuse(format!(
            "the connector's watermark is longer than {MAX_MARK_BYTES} bytes: {}",
            watermark.len()
        ))),
        _ => Ok(result),
    }
}

/// Waits for a guest no longer than `time`.
async fn within<T>(time: Duration, limit: Limit, call: impl Future<Output = T>) -> Result<T, LimitReached> {
    tokio::time::timeout(time, call).await.map_err(|_| LimitReached::time(limit, time))
}

/// Where a guest starts, its computing time and its time in all are one limit, whichever is noticed first.
fn starting(error: CallError) -> CallError {
    match error {
        CallError::Limit(reached) if reached.limit == Limit::Cpu => {
            CallError::Limit(LimitReached { limit: Limit::Start, ..reached })
        }
        error => error,
    }
}

/// Sorts an error of wasmtime into those that a user can tell apart.
fn call_error(error: wasmtime::Error, limits: &Limits) -> CallError {
    if let Some(limit) = error.downcast_ref::<LimitReached>() {
        return CallError::Limit(limit.clone());
    }
    if let Some(Trap::StackOverflow) = error.downcast_ref::<Trap>() {
        return LimitReached::bytes(Limit::Stack, limits.stack_bytes as u64).into();
    }
    if let Some(misuse) = error.downcast_ref::<capability::http::Misuse>() {
        return CallError::Misuse(misuse.to_string());
    }
    if let Some(misuse) = error.downcast_ref::<capability::output::EmitError>() {
        return CallError::Misuse(with_sources(misuse));
    }
    if error.is::<capability::http::HostFailure>() {
        return match error.downcast::<capability::http::HostFailure>() {
            Ok(failure) => CallError::Host(failure.0),
            Err(error) => CallError::Crash(error.to_string()),
        };
    }
    if let Some(gone) = error.downcast_ref::<crate::run::WriterGone>() {
        return CallError::Writer(gone.clone());
    }
    let entered = error.is::<Trap>() || error.is::<wasmtime::WasmBacktrace>();
    let root = error.root_cause().to_string();
    // wasmtime keeps the type of this one error to itself; a test with a guest that runs into it holds the text.
    if root.starts_with("too much data is being copied between the host and the guest") {
        return LimitReached::bytes(Limit::PageBytes, limits.page_bytes as u64).into();
    }
    if entered { CallError::Crash(root) } else { CallError::Other(root) }
}

/// Writes an error with the errors that led to it, each after a colon.
pub fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    let mut last = text.clone();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own text, or their own text in their cause's.
        if !text.ends_with(&cause_text) && !cause_text.ends_with(&last) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        last = cause_text;
        source = cause.source();
    }
    text
}

/// A thread that moves the epoch on until the engine is dropped.
struct Ticker {
    stop: Arc<AtomicBool>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let weak = engine.weak();
        drop(engine);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        });
        Self { stop }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
