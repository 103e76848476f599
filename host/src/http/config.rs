//! What a client is made of.

use std::sync::Arc;
use std::time::Duration;

use super::{Archive, BreakerRules, HeaderNames, Policy, Pool, Rates, Tape, Transport, retry};
use crate::auth::{Secrets, Session};
use crate::event::{Observer, Silent};
use crate::personal::Personal;
use crate::time::{SystemClock, Time};

/// Longest wait for a budget or a retry, where nothing else is said.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(3_600);
/// Most requests under way.
pub(crate) const MAX_IN_FLIGHT: usize = 16;
/// Most bytes of a body.
pub(crate) const MAX_BODY_BYTES: u64 = 64 << 20;

/// Everything that a client needs.
#[derive(Clone)]
pub struct Config {
    /// Where requests may go.
    pub policy: Arc<Policy>,
    /// The beginning of the SHA-256 of the connector that asks: budgets that it names itself are its own.
    pub connector: String,
    /// What carries them.
    pub transport: Arc<dyn Transport>,
    /// The values that placeholders stand for.
    pub secrets: Secrets,
    /// How the API is to let requests in.
    pub auth: Option<Arc<Session>>,
    /// What time it is.
    pub time: Arc<dyn Time>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Where exchanges are kept.
    pub archive: Archive,
    /// When requests are sent again.
    pub retry: retry::Rules,
    /// When a host is left alone.
    pub breaker: BreakerRules,
    /// The rates that the user sets.
    pub rates: Rates,
    /// Where an API with names of its own tells what is left.
    pub budget_headers: HeaderNames,
    /// Who else knows of the budgets. Nobody by default.
    pub pool: Pool,
    /// Longest wait for a budget or a retry. 1 hour by default.
    pub max_wait: Duration,
    /// Most requests under way. 16 by default.
    pub max_in_flight: usize,
    /// Most bytes of a body, as received and decoded, and of a request's body. 64 MiB by default.
    pub max_body_bytes: u64,
    /// What requests without a User-Agent of their own say.
    pub user_agent: String,
    /// Seed of the jitter.
    pub seed: u64,
    /// Answers instead of the transport, in a replay.
    pub tape: Option<Arc<Tape>>,
    /// What is done with personal data in excerpts of answers, and in the archive.
    pub personal: Option<Arc<Personal>>,
}

impl Config {
    /// Makes a configuration with defaults: no secrets, the system's clock, no archive.
    pub fn new(policy: Arc<Policy>, transport: Arc<dyn Transport>) -> Self {
        Self {
            policy,
            connector: String::new(),
            transport,
            secrets: Secrets::default(),
            auth: None,
            time: Arc::new(SystemClock::new()),
            observer: Arc::new(Silent),
            archive: Archive::disabled(),
            retry: retry::Rules::default(),
            breaker: BreakerRules::default(),
            rates: Rates::default(),
            budget_headers: HeaderNames::default(),
            pool: Pool::default(),
            max_wait: MAX_WAIT,
            max_in_flight: MAX_IN_FLIGHT,
            max_body_bytes: MAX_BODY_BYTES,
            user_agent: concat!("ingest-host/", env!("CARGO_PKG_VERSION")).to_owned(),
            seed: fastrand::u64(..),
            tape: None,
            personal: None,
        }
    }
}
