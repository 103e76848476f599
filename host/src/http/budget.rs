//! How many requests may go out, and when: a token bucket where the user set a rate, what the server's own headers say, the
//! pause that it asked for, and a bound on the requests in flight.
//!
//! Waiting is in order: whoever asks first for a budget goes first, and nobody spins. A request counts against what the
//! server said is left from the moment it goes out until its answer tells what is left now, so that requests in flight
//! together don't overdraw it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Error;
use super::learned::Learned;
use super::rate::{Rate, Rates};
use crate::event::{Event, Observer};
use crate::time::Time;

/// Budgets that a connector can name; each costs memory.
const MAX_BUDGETS: usize = 1024;
/// Resets of one window that are this close are the same window: servers that tell it in whole seconds from now move it.
const SAME_WINDOW_MS: u64 = 2_000;

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
    buckets: Mutex<HashMap<String, Arc<Bucket>>>,
}

type Tokens = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;

struct Bucket {
    name: String,
    tokens: Option<(Tokens, NonZeroU32)>,
    /// Held by the one that is next in line.
    gate: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// A request came back.
    returned: Notify,
}

#[derive(Default)]
struct State {
    window: Option<Window>,
    paused_until_ms: u64,
    in_flight: u32,
    /// Requests that the server let through.
    served: u64,
    /// Requests had to wait for a reset, and none has been answered since.
    rested: bool,
}

#[derive(Clone, Copy)]
struct Window {
    remaining: u32,
    reset_at_ms: u64,
}

enum Step {
    Go,
    Until(u64),
    Returned,
}

/// The run's time as the clock of the token bucket.
#[derive(Clone)]
struct Ticks(Arc<dyn Time>);

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

impl Budgets {
    /// Makes budgets. A wait longer than `max_wait` is an error instead; at most `max_in_flight` requests are under way.
    pub fn new(
        time: Arc<dyn Time>,
        observer: Arc<dyn Observer>,
        rates: Rates,
        max_wait: Duration,
        max_in_flight: usize,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(max_in_flight.clamp(1, Semaphore::MAX_PERMITS)));
        Self { shared: Arc::new(Shared { time, observer, rates, max_wait, in_flight, buckets: Mutex::default() }) }
    }

    /// Waits until a budget has the permits, then takes them.
    ///
    /// # Errors
    /// [`Error::Wait`] when the wait would be longer than the limit.
    pub async fn acquire(&self, read: &str, name: &str, permits: u32) -> Result<(), Error> {
        let bucket = self.bucket(name)?;
        self.wait(read, &bucket, permits, false).await.map(drop)
    }

    /// Takes what the API said of its own limit.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are too many budgets.
    pub fn observe(&self, name: &str, budget: Budget) -> Result<(), Error> {
        let learned = Learned { limit: None, remaining: budget.remaining, reset_at_ms: budget.reset_at_ms };
        self.bucket(name)?.state().learn(learned, self.shared.time.now_ms());
        Ok(())
    }

    /// Tells what is known of a budget.
    pub fn status(&self, name: &str) -> Budget {
        let bucket = self.buckets().get(name).cloned();
        bucket.map_or_else(Budget::default, |bucket| bucket.state().status(self.shared.time.now_ms()))
    }

    /// Lets one request out: waits for its budget and for room among the requests in flight.
    pub(super) async fn admit(&self, read: &str, name: &str) -> Result<Permit, Error> {
        let bucket = self.bucket(name)?;
        let slot = self.wait(read, &bucket, 1, true).await?;
        // From here on the request counts as in flight, and no longer as soon as the permit is dropped.
        Ok(Permit { bucket, slot })
    }

    /// Waits in line and takes the permits; for a request, a place among those in flight as well.
    async fn wait(
        &self,
        read: &str,
        bucket: &Bucket,
        permits: u32,
        request: bool,
    ) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let mut told = 0;
        // Those behind the first in line hear of a known pause as well.
        let known = bucket.state().blocked_until(self.shared.time.now_ms());
        if let Some(until_ms) = known {
            self.tell(read, bucket, until_ms, &mut told)?;
        }
        let _next = bucket.gate.lock().await;
        self.wait_for_tokens(read, bucket, permits, &mut told).await?;
        let mut slot = None;
        loop {
            let now_ms = self.shared.time.now_ms();
            let step = bucket.state().step(permits, now_ms);
            match step {
                // What is known may change while it waits for a place, so it looks again with the place in hand.
                Step::Go if request && slot.is_none() => {
                    slot = Arc::clone(&self.shared.in_flight).acquire_owned().await.ok();
                }
                Step::Go => {
                    bucket.state().take(permits, request);
                    return Ok(slot);
                }
                Step::Returned => {
                    slot = None;
                    bucket.returned.notified().await;
                }
                Step::Until(until_ms) => {
                    slot = None;
                    self.tell(read, bucket, until_ms, &mut told)?;
                    self.shared.time.sleep(Duration::from_millis(until_ms.saturating_sub(now_ms))).await;
                }
            }
        }
    }

    async fn wait_for_tokens(&self, read: &str, bucket: &Bucket, permits: u32, told: &mut u64) -> Result<(), Error> {
        let Some((tokens, burst)) = &bucket.tokens else { return Ok(()) };
        let mut left = permits;
        while let Some(some) = NonZeroU32::new(left.min(burst.get())) {
            let wait = match tokens.check_n(some) {
                Ok(Ok(())) => {
                    left -= some.get();
                    continue;
                }
                Ok(Err(early)) => early.wait_time_from(Ticks(Arc::clone(&self.shared.time)).now()),
                // More than the bucket holds; never, since it is asked for no more than that.
                Err(_) => return Ok(()),
            };
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.tell(read, bucket, self.shared.time.now_ms().saturating_add(wait_ms), told)?;
            self.shared.time.sleep(wait).await;
        }
        Ok(())
    }

    /// Says that a read waits, or that the wait is too long.
    fn tell(&self, read: &str, bucket: &Bucket, until_ms: u64, told: &mut u64) -> Result<(), Error> {
        let wait_ms = u128::from(until_ms.saturating_sub(self.shared.time.now_ms()));
        let budget = bucket.name.clone();
        if wait_ms > self.shared.max_wait.as_millis() {
            return Err(Error::Wait { budget, until_ms });
        }
        if *told != until_ms {
            *told = until_ms;
            self.shared.observer.observe(Event::Waiting { read: read.to_owned(), budget, until_ms });
        }
        Ok(())
    }

    fn bucket(&self, name: &str) -> Result<Arc<Bucket>, Error> {
        let mut buckets = self.buckets();
        if let Some(bucket) = buckets.get(name) {
            return Ok(Arc::clone(bucket));
        }
        if buckets.len() >= MAX_BUDGETS {
            return Err(Error::Invalid(format!("more than {MAX_BUDGETS} budgets (rule budget-count)")));
        }
        let rates = &self.shared.rates;
        // Each of several keys has the rate of its host.
        let host = name.split(" key ").next().unwrap_or(name);
        let rate =
            rates.named.iter().find(|(own, _)| own == name || own == host).map(|(_, rate)| *rate).or(rates.default);
        let bucket = Arc::new(Bucket {
            name: name.to_owned(),
            tokens: rate.map(|rate| (tokens(rate, &self.shared.time), rate.burst)),
            gate: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            returned: Notify::new(),
        });
        buckets.insert(name.to_owned(), Arc::clone(&bucket));
        Ok(bucket)
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<String, Arc<Bucket>>> {
        self.shared.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tokens(rate: Rate, time: &Arc<dyn Time>) -> Tokens {
    let period = (rate.per / rate.permits.get()).max(Duration::from_nanos(1));
    let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX));
    RateLimiter::direct_with_clock(quota.allow_burst(rate.burst), Ticks(Arc::clone(time)))
}

impl Bucket {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says what a request for permits has to do now.
    fn step(&mut self, permits: u32, now_ms: u64) -> Step {
        self.window = self.window.filter(|window| window.reset_at_ms > now_ms);
        let spent = self.window.filter(|window| window.remaining.saturating_sub(self.in_flight) < permits);
        if self.paused_until_ms > now_ms {
            self.rested = true;
            return Step::Until(self.paused_until_ms);
        }
        match spent {
            // Those in flight may bring better news than the wait for the reset.
            Some(_) if self.in_flight > 0 => Step::Returned,
            Some(window) => {
                self.rested = true;
                Step::Until(window.reset_at_ms)
            }
            // After a rest nobody knows what is allowed now: one request finds out.
            None if self.rested && self.in_flight > 0 => Step::Returned,
            None => Step::Go,
        }
    }

    fn take(&mut self, permits: u32, request: bool) {
        if request {
            self.in_flight += 1;
        } else if let Some(window) = &mut self.window {
            window.remaining = window.remaining.saturating_sub(permits);
        }
    }

    fn blocked_until(&self, now_ms: u64) -> Option<u64> {
        let spent = self.window.filter(|window| window.remaining == 0).map_or(0, |window| window.reset_at_ms);
        Some(spent.max(self.paused_until_ms)).filter(|until_ms| *until_ms > now_ms)
    }

    fn learn(&mut self, learned: Learned, now_ms: u64) {
        let Some(remaining) = learned.remaining else { return };
        // Without a reset it is not known for how long it counts.
        let Some(reset_at_ms) = learned.reset_at_ms.filter(|at| *at > now_ms) else { return };
        let same = self
            .window
            .filter(|window| window.reset_at_ms > now_ms && window.reset_at_ms.abs_diff(reset_at_ms) <= SAME_WINDOW_MS);
        // Within a window it only gets less; an answer that says more was overtaken by another.
        let remaining = same.map_or(remaining, |window| window.remaining.min(remaining));
        self.window = Some(Window { remaining, reset_at_ms });
    }

    fn status(&self, now_ms: u64) -> Budget {
        if self.paused_until_ms > now_ms {
            return Budget { remaining: Some(0), reset_at_ms: Some(self.paused_until_ms) };
        }
        let window = self.window.filter(|window| window.reset_at_ms > now_ms);
        window.map_or_else(Budget::default, |window| Budget {
            remaining: Some(window.remaining.saturating_sub(self.in_flight)),
            reset_at_ms: Some(window.reset_at_ms),
        })
    }
}

/// One request in flight. Dropping it, at whatever moment, gives its place back.
pub(super) struct Permit {
    bucket: Arc<Bucket>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// Takes what the answer says of the limit.
    pub(super) fn answered(&self, learned: Learned, now_ms: u64) {
        let mut state = self.bucket.state();
        state.rested = false;
        if learned.remaining.is_some() {
            state.learn(learned, now_ms);
        } else if let Some(window) = &mut state.window {
            // It says nothing, so what it cost is taken off here.
            window.remaining = window.remaining.saturating_sub(1);
        }
    }

    /// Counts a request that the server let through.
    pub(super) fn served(&self) {
        self.bucket.state().served += 1;
    }

    /// Returns how many requests the server let through so far.
    pub(super) fn progress(&self) -> u64 {
        self.bucket.state().served
    }

    /// Keeps everybody from sending before `until_ms`.
    pub(super) fn pause(&self, until_ms: u64) {
        let mut state = self.bucket.state();
        state.paused_until_ms = state.paused_until_ms.max(until_ms);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot = None;
        let mut state = self.bucket.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        drop(state);
        self.bucket.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;
    use crate::event::Silent;
    use crate::time::VirtualClock;

    const NOW: u64 = 1_700_000_000_000;

    fn budgets(rate: Option<&str>) -> (Budgets, VirtualClock) {
        let clock = VirtualClock::starting_at(NOW);
        let rates = Rates { named: Vec::new(), default: rate.map(|rate| rate.parse().unwrap()) };
        (Budgets::new(Arc::new(clock.clone()), Arc::new(Silent), rates, Duration::from_secs(3_600), 16), clock)
    }

    fn learned(remaining: u32, in_ms: u64) -> Learned {
        Learned { limit: None, remaining: Some(remaining), reset_at_ms: Some(NOW + in_ms) }
    }

    /// Polls once.
    async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn a_rate_without_burst_is_a_fixed_delay() {
        let (budgets, clock) = budgets(Some("10/s"));
        for _ in 0..11 {
            drop(budgets.admit("r", "a").await.unwrap());
        }
        assert_eq!(clock.now_ms() - NOW, 1_000);
    }

    #[tokio::test]
    async fn a_burst_goes_out_at_once_and_a_large_claim_waits_in_parts() {
        let (budgets, clock) = budgets(Some("10/s:burst=5"));
        budgets.acquire("r", "a", 5).await.unwrap();
        assert_eq!(clock.now_ms(), NOW);
        budgets.acquire("r", "a", 20).await.unwrap();
        assert_eq!(clock.now_ms() - NOW, 2_000);
    }

    #[tokio::test]
    async fn budgets_of_different_names_do_not_wait_for_each_other() {
        let (budgets, clock) = budgets(None);
        budgets.observe("a", Budget { remaining: Some(0), reset_at_ms: Some(NOW + 5_000) }).unwrap();
        budgets.acquire("r", "b", 1).await.unwrap();
        assert_eq!(clock.now_ms(), NOW);
        budgets.acquire("r", "a", 1).await.unwrap();
        assert_eq!(clock.now_ms() - NOW, 5_000);
        assert_eq!(budgets.status("a"), Budget::default());
    }

    #[tokio::test]
    async fn a_connector_takes_permits_of_a_budget_that_it_observed() {
        let (budgets, clock) = budgets(None);
        let reset_at_ms = Some(NOW + 5_000);
        budgets.observe("points", Budget { remaining: Some(100), reset_at_ms }).unwrap();
        budgets.acquire("r", "points", 60).await.unwrap();
        assert_eq!(budgets.status("points"), Budget { remaining: Some(40), reset_at_ms });
        budgets.acquire("r", "points", 60).await.unwrap();
        assert_eq!(clock.now_ms() - NOW, 5_000);
    }

    #[tokio::test]
    async fn a_request_waits_for_those_in_flight_before_it_waits_for_the_reset() {
        let (budgets, clock) = budgets(None);
        let first = budgets.admit("r", "a").await.unwrap();
        first.answered(learned(1, 60_000), NOW);
        drop(first);
        let second = budgets.admit("r", "a").await.unwrap();
        let third = budgets.admit("r", "a");
        tokio::pin!(third);
        assert!(is_pending(third.as_mut()).await);
        // It cost nothing.
        second.answered(learned(1, 60_000), NOW);
        drop(second);
        drop(third.await.unwrap());
        assert_eq!(clock.now_ms(), NOW);
    }

    #[tokio::test]
    async fn an_answer_that_was_overtaken_does_not_give_permits_back() {
        let (budgets, _) = budgets(None);
        let first = budgets.admit("r", "a").await.unwrap();
        let second = budgets.admit("r", "a").await.unwrap();
        second.answered(learned(8, 60_000), NOW);
        first.answered(learned(9, 61_000), NOW);
        drop((first, second));
        assert_eq!(budgets.status("a").remaining, Some(8));
    }

    #[tokio::test]
    async fn a_reset_in_the_past_or_without_a_time_blocks_nobody() {
        let (budgets, clock) = budgets(None);
        budgets.observe("a", Budget { remaining: Some(0), reset_at_ms: Some(NOW - 1) }).unwrap();
        budgets.observe("a", Budget { remaining: Some(0), reset_at_ms: None }).unwrap();
        budgets.acquire("r", "a", 1).await.unwrap();
        assert_eq!(clock.now_ms(), NOW);
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_lets_the_next_one_in() {
        let (budgets, _) = budgets(None);
        let first = budgets.admit("r", "a").await.unwrap();
        first.answered(learned(1, 60_000), NOW);
        {
            let waiting = budgets.admit("r", "a");
            tokio::pin!(waiting);
            assert!(is_pending(waiting.as_mut()).await);
        }
        drop(first);
        drop(budgets.admit("r", "a").await.unwrap());
    }

    #[tokio::test]
    async fn a_wait_beyond_the_limit_is_an_error() {
        let (budgets, clock) = budgets(None);
        budgets.observe("a", Budget { remaining: Some(0), reset_at_ms: Some(NOW + 3_600_001) }).unwrap();
        assert!(matches!(budgets.acquire("r", "a", 1).await, Err(Error::Wait { .. })));
        assert_eq!(clock.now_ms(), NOW);
    }

    #[test]
    fn the_number_of_budgets_is_bounded() {
        let (budgets, _) = budgets(None);
        for number in 0..MAX_BUDGETS {
            budgets.observe(&number.to_string(), Budget::default()).unwrap();
        }
        assert!(budgets.observe("one more", Budget::default()).is_err());
        budgets.observe("0", Budget::default()).unwrap();
    }
}
