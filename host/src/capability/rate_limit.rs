//! `rate-limit`: the budgets that the host keeps ([`crate::http::budget`]), for an API whose costs or headers are its
//! own. A bucket that a connector names is its own, except the default one: the host's name, with its port where it is not the
//! scheme's own. Connections of the same connector and key share what it names; other connectors neither see it nor wait for
//! it, and what it says of an API's bucket holds for itself alone.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use super::heard::{self, Repeated};
use crate::engine::bindings::ingest::connector::rate_limit::{self as wit, Budget};
use crate::engine::guest::Guest;
use crate::http::budget::{self, Budgets};

/// State of the `rate-limit` interface.
pub struct RateLimitCtx {
    budgets: Budgets,
    read: Arc<str>,
    heard: Repeated<Told>,
    /// In a replay: what the guest was told, and how far it has come.
    recorded: Option<(Repeated<Told>, usize)>,
}

type Told = (Option<u32>, Option<u64>);

impl RateLimitCtx {
    /// Makes the interface over the budgets of a run.
    pub fn new(budgets: Budgets, read: Arc<str>) -> Self {
        Self { budgets, read, heard: Vec::new(), recorded: None }
    }

    /// Makes the interface tell what it told before; nothing waits.
    pub fn recorded(mut self, told: Repeated<(Option<u32>, Option<u64>)>) -> Self {
        self.recorded = Some((told, 0));
        self
    }

    /// Takes what the guest was told since the last call.
    pub(crate) fn take_heard(&mut self) -> Repeated<Told> {
        std::mem::take(&mut self.heard)
    }
}

/// A borrowed view of [`RateLimitCtx`].
pub struct RateLimitView<'a>(pub(crate) &'a mut RateLimitCtx);

impl wit::Host for RateLimitView<'_> {
    async fn acquire(&mut self, bucket: String, permits: u32) -> wasmtime::Result<()> {
        if self.0.recorded.is_some() {
            return Ok(());
        }
        self.0.budgets.acquire(&self.0.read, &bucket, permits).await.map_err(super::http::HostFailure)?;
        Ok(())
    }

    fn observe(&mut self, bucket: String, budget: Budget) -> wasmtime::Result<()> {
        let budget = budget::Budget { remaining: budget.remaining, reset_at_ms: budget.reset_at };
        Ok(self.0.budgets.observe(&self.0.read, &bucket, budget).map_err(super::http::HostFailure)?)
    }

    fn status(&mut self, bucket: String) -> wasmtime::Result<Budget> {
        let (remaining, reset_at) = match &mut self.0.recorded {
            Some((told, at)) => heard::next(told, at).unwrap_or_default(),
            None => {
                let budget = self.0.budgets.status(&self.0.read, &bucket);
                (budget.remaining, budget.reset_at_ms)
            }
        };
        heard::note(&mut self.0.heard, (remaining, reset_at));
        Ok(Budget { remaining, reset_at })
    }
}

struct RateLimit;

impl HasData for RateLimit {
    type Data<'a> = RateLimitView<'a>;
}

/// Adds the interface to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wit::add_to_linker::<_, RateLimit>(linker, |guest| RateLimitView(&mut guest.called().rate_limit))
}
