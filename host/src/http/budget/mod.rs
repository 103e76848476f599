//! How many requests may go out, and when: token buckets for the rates of the user and of the connector's description, what
//! the server's own headers say, the pause that it asked for, and bounds on the requests in flight.
//!
//! Waiting is in order: whoever asks first for a budget goes first, and nobody spins. A request counts against what the
//! server said is left from the moment it goes out until its answer tells what is left now, so that requests in flight
//! together don't overdraw it. Near the end of a window requests are spread over the time that is left ([`state`]).
//!
//! A budget is known by a name ([`budget_id`]): the API's host, the server's own name for it where it has several, and the
//! key that pays. What is known of it may be shared by all clients of a process, and by processes ([`shared`]).

mod line;
mod name;
mod permit;
mod routes;
pub mod shared;
pub mod state;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use self::name::Speaker;
pub use self::name::budget_id;
pub use self::permit::Permit;
use self::shared::{Changed, Pool, Shelf};
use self::state::{Asker, Claim, Step};
use super::Error;
use super::learned::Learned;
use super::rate::{Rate, Rates};
use crate::event::{Event, Level, Observer};
use crate::time::Time;

/// Budgets that a connector can name; each costs memory.
const MAX_BUDGETS: usize = 1024;
/// How often to look whether a request of another process is back, or a store that others hold is free.
const LOOK_AGAIN_MS: u64 = 50;

/// What is known of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Permits left before requests wait; none where unknown.
    pub remaining: Option<u32>,
    /// When it is full again, in milliseconds since the Unix epoch.
    pub reset_at_ms: Option<u64>,
}

/// All budgets of one client. Cheap to clone.
#[derive(Clone)]
pub struct Budgets {
    shared: Arc<Shared>,
}

struct Shared {
    time: Arc<dyn Time>,
    observer: Arc<dyn Observer>,
    rates: Rates,
    max_wait: Duration,
    in_flight: Arc<Semaphore>,
    pool: Pool,
    buckets: Mutex<HashMap<String, Arc<Bucket>>>,
    /// Server's names of budgets, by host and path.
    routes: Mutex<HashMap<(String, String), String>>,
    /// The names of the connection's keys, in order.
    keys: OnceLock<Vec<String>>,
    /// Whose word is taken here, and for what.
    speaker: OnceLock<Speaker>,
    /// The budgets that an API's name stands for where a connector gives it: those that paid last, by read.
    paid: Mutex<HashMap<String, HashMap<String, String>>>,
    /// Whether it was said that budgets cannot be shared.
    told: std::sync::atomic::AtomicBool,
}

/// A budget as this client sees it.
struct Bucket {
    name: String,
    /// Its name before users.
    shown: String,
    rates: Vec<Rate>,
    described: Vec<Rate>,
    concurrency: Option<u32>,
    shelf: Arc<Shelf>,
}

impl Bucket {
    fn asker<'a>(&'a self, budgets: &'a Shared, request: bool) -> Asker<'a> {
        // What the description says is of requests, not of what a connector counts itself.
        let (rates, concurrency) = if request { (&self.described, self.concurrency) } else { (&self.rates, None) };
        let (process, connector) = (budgets.pool.process(), budgets.connector());
        Asker { process, connector, rates, by_user: &self.rates, concurrency }
    }
}

impl Budgets {
    /// Makes budgets of their own. A wait longer than `max_wait` is an error instead; at most `max_in_flight` requests are
    /// under way.
    pub fn new(
        time: Arc<dyn Time>,
        observer: Arc<dyn Observer>,
        rates: Rates,
        max_wait: Duration,
        max_in_flight: usize,
    ) -> Self {
        Self::within(Pool::default(), time, observer, rates, max_wait, max_in_flight)
    }

    /// Makes budgets that share what is known with all others of the same pool.
    pub fn within(
        pool: Pool,
        time: Arc<dyn Time>,
        observer: Arc<dyn Observer>,
        rates: Rates,
        max_wait: Duration,
        max_in_flight: usize,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(max_in_flight.clamp(1, Semaphore::MAX_PERMITS)));
        let shared = Shared {
            time,
            observer,
            rates,
            max_wait,
            in_flight,
            pool,
            buckets: Mutex::default(),
            routes: Mutex::default(),
            keys: OnceLock::new(),
            speaker: OnceLock::new(),
            paid: Mutex::default(),
            told: std::sync::atomic::AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Waits until a budget has the permits, then takes them.
    ///
    /// # Errors
    /// [`Error::Wait`] when the wait would be longer than the limit.
    pub async fn acquire(&self, read: &str, name: &str, permits: u32) -> Result<(), Error> {
        let bucket = self.bucket(&self.of_connector(read, name)?)?;
        self.wait(read, &bucket, permits).await
    }

    /// Takes what a connector says of a limit, in a read. It is believed for the same connector alone.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are too many budgets, or the name is too long.
    pub fn observe(&self, read: &str, name: &str, budget: Budget) -> Result<(), Error> {
        let learned = Learned { remaining: budget.remaining, reset_at_ms: budget.reset_at_ms, ..Learned::default() };
        let now_ms = self.shared.time.now_ms();
        let bucket = self.bucket(&self.of_connector(read, name)?)?;
        self.with(&bucket, |state| state.tell(self.shared.connector(), &learned, now_ms));
        Ok(())
    }

    /// Keeps everybody from sending before `until_ms`.
    pub(super) fn pause(&self, name: &str, until_ms: u64) -> Result<(), Error> {
        self.with(&*self.bucket(name)?, |state| state.pause(until_ms));
        Ok(())
    }

    /// Tells a connector what is known of a budget, in a read.
    pub fn status(&self, read: &str, name: &str) -> Budget {
        let now_ms = self.shared.time.now_ms();
        let known = self.of_connector(read, name).ok().and_then(|id| self.shared.pool.known(&id));
        known.map_or_else(Budget::default, |shelf| shelf.peek(|state| state.status(self.shared.connector(), now_ms)))
    }

    /// Takes what an answer says of another budget than the one that was asked.
    pub(super) fn learn(&self, name: &str, learned: &[(String, Learned)], sent_ms: u64) {
        let now_ms = self.shared.time.now_ms();
        if let Ok(bucket) = self.bucket(name) {
            self.with(&bucket, |state| state.learn(learned, sent_ms, now_ms));
        }
    }

    /// Lets one request out: waits for its budget and for room among the requests in flight.
    pub async fn admit(&self, read: &str, name: &str) -> Result<Permit, Error> {
        Ok(self.admit_any(read, &[name]).await?.1)
    }

    /// Changes what is known, for all who share it.
    fn with<T>(&self, bucket: &Bucket, mut change: impl FnMut(&mut state::State) -> T) -> T {
        match bucket.shelf.update(self.shared.pool.process(), self.shared.time.now_ms(), false, &mut change) {
            Changed::Told(value) | Changed::Later(value) => value,
            Changed::Alone(value, reason) => {
                self.warn_alone(&reason);
                value
            }
            // Only claims are held up.
            Changed::Held => bucket.shelf.alone(change),
        }
    }

    /// Says what a claim has to do now, and takes it where it goes and `take` says so.
    fn claim(&self, bucket: &Bucket, asker: &Asker<'_>, claim: Claim, now_ms: u64, take: bool) -> Step {
        let change = |state: &mut state::State| {
            let step = state.step(asker, claim, now_ms);
            if step == Step::Go && take {
                state.take(asker, claim, now_ms);
            }
            step
        };
        match bucket.shelf.update(self.shared.pool.process(), now_ms, true, change) {
            Changed::Told(step) | Changed::Later(step) => step,
            Changed::Alone(step, reason) => {
                self.warn_alone(&reason);
                step
            }
            Changed::Held => Step::Spread(now_ms.saturating_add(LOOK_AGAIN_MS)),
        }
    }

    fn warn_alone(&self, reason: &str) {
        if !self.shared.told.swap(true, std::sync::atomic::Ordering::Relaxed) {
            self.shared.observer.observe(Event::Log {
                target: "host".to_owned(),
                level: Level::Warn,
                message: format!("rate limits are not shared with other processes: {reason}"),
                fields: Vec::new(),
            });
        }
    }

    fn bucket(&self, name: &str) -> Result<Arc<Bucket>, Error> {
        let mut buckets = self.shared.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(name) {
            return Ok(Arc::clone(bucket));
        }
        if buckets.len() >= MAX_BUDGETS {
            return Err(Error::Invalid(format!("more than {MAX_BUDGETS} budgets (rule budget-count)")));
        }
        let rates = &self.shared.rates;
        // A rate for a host is one for all of its budgets, each on its own.
        let plain = name::without_speaker(name);
        let of_name = |own: &str| plain == own || plain.strip_prefix(own).is_some_and(|rest| rest.starts_with(' '));
        let own = rates.named.iter().find(|(own, _)| of_name(own)).map(|(_, rate)| *rate).or(rates.default);
        let own: Vec<Rate> = own.into_iter().collect();
        let described = own.iter().chain(&rates.described).copied().collect();
        let bucket = Arc::new(Bucket {
            name: name.to_owned(),
            shown: self.shown(name),
            rates: own,
            described,
            concurrency: rates.concurrency,
            shelf: self.shared.pool.shelf(name),
        });
        buckets.insert(name.to_owned(), Arc::clone(&bucket));
        Ok(bucket)
    }
}

#[cfg(test)]
mod cut_off_tests;
#[cfg(test)]
mod own_tests;
#[cfg(test)]
mod tests;
