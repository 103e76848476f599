//! What one instance of a connector has: the state behind its imports, and what it has used up.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::aside::Busy;
use super::limits::{Limits, Meter};
use crate::capability::clock::ClockCtx;
use crate::capability::http::HttpCtx;
use crate::capability::log::LogCtx;
use crate::capability::output::OutputCtx;
use crate::capability::rate_limit::RateLimitCtx;
use crate::capability::storage::StorageCtx;
use crate::capability::wasi;
use crate::record::Ahead;
use crate::time::Time;

/// The state of one store.
pub struct Guest {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) http: HttpCtx,
    pub(crate) clock: ClockCtx,
    pub(crate) storage: StorageCtx,
    pub(crate) rate_limit: RateLimitCtx,
    pub(crate) log: LogCtx,
    pub(crate) output: OutputCtx,
    /// What is known of the read's pages before they are emitted.
    pub(crate) ahead: Ahead,
    pub(crate) meter: Meter,
    /// Ticks of the engine's epoch since the guest last called an interface of the contract.
    pub(crate) ticks: u64,
    /// Says that the guest computes for long.
    pub(super) busy: Busy,
    pub(crate) limits: Arc<Limits>,
}

/// The interfaces' states, from which a [`Guest`] is made.
pub struct Capabilities {
    /// State of `http`.
    pub http: HttpCtx,
    /// State of `storage`.
    pub storage: StorageCtx,
    /// State of `rate-limit`.
    pub rate_limit: RateLimitCtx,
    /// State of `log`.
    pub log: LogCtx,
    /// State of `output`.
    pub output: OutputCtx,
    /// The time behind `clock` and WASI's clocks.
    pub time: Arc<dyn Time>,
    /// Seed of the guest's random numbers.
    pub seed: u64,
}

impl Guest {
    /// Makes the state of one instance.
    pub fn new(capabilities: Capabilities, limits: Arc<Limits>) -> Self {
        let Capabilities { http, storage, rate_limit, log, output, time, seed } = capabilities;
        let mut table = ResourceTable::new();
        // Responses, pending requests and WASI streams; a guest that leaks them ends here, not in the host's memory.
        table.set_max_capacity(10_000);
        Self {
            table,
            wasi: wasi::context(&log, &time, seed),
            http,
            clock: ClockCtx::new(time),
            storage,
            rate_limit,
            log,
            ahead: Ahead::new(output.shapes()),
            output,
            meter: Meter::new(&limits),
            ticks: 0,
            busy: Busy::default(),
            limits,
        }
    }
}

impl Guest {
    /// Notes that the guest calls an interface of the contract: its computing time starts anew. WASI does not count, nor
    /// does what looks like a call to wasmtime, such as growing a memory, since a loop of those gets nowhere.
    pub(crate) fn called(&mut self) -> &mut Self {
        self.ticks = 0;
        self
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
