//! How many requests may go out, and when: token buckets for the rates of the user and of the connector's description, what
//! the server's own headers say, the pause that it asked for, and bounds on the requests in flight.
//!
//! Waiting is in order: whoever asks first for a budget goes first, and nobody spins. A request counts against what the
//! server said is left from the moment it goes out until its answer tells what is left now, so that requests in flight
//! together don't overdraw it. Near the end of a window requests are spread over the time that is left ([`state`]).
//!
//! A budget is known by a name ([`budget_id`]): the API's host, the server's own name for it where it has several, and the
//! key that pays. What is known of it may be shared by all clients of a process, and by processes ([`shared`]).

pub mod shared;
pub mod state;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use self::shared::{Pool, Shelf};
use self::state::{Asker, Claim, Step};
use super::Error;
use super::learned::Learned;
use super::rate::{Rate, Rates};
use crate::event::{Event, Level, Observer};
use crate::time::Time;

/// Budgets that a connector can name; each costs memory.
const MAX_BUDGETS: usize = 1024;
/// How often to look whether a request of another process is back.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Paths of which it is remembered to which of a server's budgets they belong.
const MAX_ROUTES: usize = 1024;

/// What is known of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Permits left before requests wait; none where unknown.
    pub remaining: Option<u32>,
    /// When it is full again, in milliseconds since the Unix epoch.
    pub reset_at_ms: Option<u64>,
}

/// Names a budget: the API (its host, with the port where it is not the scheme's own), the server's own name for it where it
/// has several, and the key that pays for it where there are several. `key` must tell keys apart and reveal nothing of them.
pub fn budget_id(api: &str, resource: Option<&str>, key: Option<&str>) -> String {
    let mut id = api.to_owned();
    for (part, mark) in [(resource, " "), (key, " of key ")] {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            id.push_str(mark);
            id.push_str(part);
        }
    }
    id
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
    /// Whether it was said that budgets cannot be shared.
    told: std::sync::atomic::AtomicBool,
}

/// A budget as this client sees it.
struct Bucket {
    name: String,
    rates: Vec<Rate>,
    described: Vec<Rate>,
    concurrency: Option<u32>,
    shelf: Arc<Shelf>,
}

impl Bucket {
    fn asker<'a>(&'a self, pool: &'a Pool, request: bool) -> Asker<'a> {
        // What the description says is of requests, not of what a connector counts itself.
        let (rates, concurrency) = if request { (&self.described, self.concurrency) } else { (&self.rates, None) };
        Asker { process: pool.process(), rates, concurrency }
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
            told: std::sync::atomic::AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
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
        let learned = Learned { remaining: budget.remaining, reset_at_ms: budget.reset_at_ms, ..Learned::default() };
        let now_ms = self.shared.time.now_ms();
        self.with(&*self.bucket(name)?, |state| state.learn(&[(String::new(), learned)], now_ms, now_ms));
        Ok(())
    }

    /// Keeps everybody from sending before `until_ms`.
    pub(super) fn pause(&self, name: &str, until_ms: u64) -> Result<(), Error> {
        self.with(&*self.bucket(name)?, |state| state.pause(until_ms));
        Ok(())
    }

    /// Tells what is known of a budget.
    pub fn status(&self, name: &str) -> Budget {
        let now_ms = self.shared.time.now_ms();
        self.shared.pool.known(name).map_or_else(Budget::default, |shelf| shelf.peek(|state| state.status(now_ms)))
    }

    /// Names the budget that a request to a URL counts against, by what the server has said of such requests.
    pub fn of_url(&self, url: &Url, key: Option<&str>) -> String {
        let api = super::budget_name(url);
        let routes = self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let resource = routes.get(&(api.clone(), route(url))).cloned();
        drop(routes);
        budget_id(&api, resource.as_deref(), key)
    }

    /// Takes the server's word that requests to such a URL count against a budget of this name.
    pub(super) fn routed(&self, url: &Url, resource: &str) {
        let mut routes = self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (super::budget_name(url), route(url));
        if routes.len() < MAX_ROUTES || routes.contains_key(&place) {
            routes.insert(place, resource.to_owned());
        }
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
        let bucket = self.bucket(name)?;
        let slot = self.wait(read, &bucket, 1, true).await?;
        // From here on the request counts as in flight, and no longer as soon as the permit is dropped.
        Ok(Permit { budgets: self.clone(), bucket, slot, sent_ms: self.shared.time.now_ms(), done: false })
    }

    /// Lets one request out that can be paid from any of several budgets, as one for each key: from the one with the
    /// most left that lets it out now (one that is not known yet before all others), else from the first that does. Returns the budget's index with the permit. A wait is announced
    /// by the name of the budget that it is for.
    ///
    /// # Errors
    /// [`Error::Wait`] when all of them ask for a wait longer than the limit.
    pub async fn admit_any<S: AsRef<str> + Sync>(&self, read: &str, names: &[S]) -> Result<(usize, Permit), Error> {
        let buckets: Vec<_> = names.iter().map(|name| self.bucket(name.as_ref())).collect::<Result<_, _>>()?;
        let pool = &self.shared.pool;
        let (mut slot, mut told) = (None, 0);
        loop {
            // Whoever comes back from here on is heard of.
            let mut returned = std::pin::pin!(pool.returned().notified());
            returned.as_mut().enable();
            let now_ms = self.shared.time.now_ms();
            let mut order: Vec<usize> = (0..buckets.len()).collect();
            let rank = |index: &usize| buckets.get(*index).map(|bucket| bucket.shelf.peek(|state| state.rank(now_ms)));
            order.sort_by_key(|index| std::cmp::Reverse(rank(index)));
            let (mut wake, mut goes, mut others) = (None::<(u64, bool, usize)>, false, false);
            for index in order {
                let Some(bucket) = buckets.get(index) else { continue };
                let asker = bucket.asker(pool, true);
                let claim = Claim { tokens: u32::from(!asker.rates.is_empty()), permits: 1, request: true };
                let step = self.with(bucket, |state| {
                    let step = state.step(&asker, claim, now_ms);
                    if step == Step::Go && slot.is_some() {
                        state.take(&asker, claim, now_ms);
                    }
                    step
                });
                let at = match step {
                    Step::Go if slot.is_some() => {
                        let (bucket, budgets) = (Arc::clone(bucket), self.clone());
                        let permit = Permit { budgets, bucket, slot: slot.take(), sent_ms: now_ms, done: false };
                        return Ok((index, permit));
                    }
                    Step::Go => {
                        goes = true;
                        break;
                    }
                    Step::Returned => {
                        others |= bucket.shelf.peek(|state| state.others_in_flight(pool.process()));
                        continue;
                    }
                    Step::Until(at_ms) => (at_ms, true, index),
                    Step::Spread(at_ms) => (at_ms, false, index),
                };
                wake = Some(wake.map_or(at, |wake| wake.min(at)));
            }
            if goes {
                slot = Arc::clone(&self.shared.in_flight).acquire_owned().await.ok();
                continue;
            }
            slot = None;
            if let Some((until_ms, true, index)) = wake
                && let Some(bucket) = buckets.get(index)
            {
                self.tell(read, bucket, until_ms, &mut told)?;
            }
            let wait = wake.map(|(until_ms, ..)| Duration::from_millis(until_ms.saturating_sub(now_ms)));
            let wait = if others { Some(wait.map_or(LOOK_AGAIN, |wait| wait.min(LOOK_AGAIN))) } else { wait };
            match wait {
                Some(wait) => tokio::select! {
                    () = returned => {}
                    () = self.shared.time.sleep(wait) => {}
                },
                None => returned.await,
            }
        }
    }

    /// Changes what is known, for all who share it.
    fn with<T>(&self, bucket: &Bucket, change: impl FnMut(&mut state::State) -> T) -> T {
        let (value, shared) = bucket.shelf.update(self.shared.pool.process(), self.shared.time.now_ms(), change);
        if let Err(reason) = shared
            && !self.shared.told.swap(true, std::sync::atomic::Ordering::Relaxed)
        {
            self.shared.observer.observe(Event::Log {
                target: "host".to_owned(),
                level: Level::Warn,
                message: format!("rate limits are not shared with other processes: {reason}"),
                fields: Vec::new(),
            });
        }
        value
    }

    /// Waits in line and takes the permits; for a request, a place among those in flight as well.
    async fn wait(
        &self,
        read: &str,
        bucket: &Bucket,
        permits: u32,
        request: bool,
    ) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let pool = &self.shared.pool;
        let asker = bucket.asker(pool, request);
        let mut told = 0;
        // Those behind the first in line hear of a known pause as well.
        let known = bucket.shelf.peek(|state| state.blocked_until(self.shared.time.now_ms()));
        if let Some(until_ms) = known {
            self.tell(read, bucket, until_ms, &mut told)?;
        }
        let _next = bucket.shelf.gate.lock().await;
        let burst = asker.rates.iter().map(|rate| rate.burst.get()).min().unwrap_or(permits).max(1);
        let mut parts = permits;
        let mut slot = None;
        loop {
            let now_ms = self.shared.time.now_ms();
            let tokens = if asker.rates.is_empty() { 0 } else { parts.min(burst) };
            let last = asker.rates.is_empty() || tokens == parts;
            let ready = !last || !request || slot.is_some();
            let claim = Claim { tokens, permits: if last { permits } else { 0 }, request };
            let step = self.with(bucket, |state| {
                let step = state.step(&asker, claim, now_ms);
                if step == Step::Go && ready {
                    state.take(&asker, claim, now_ms);
                }
                step
            });
            match step {
                Step::Go if !last => parts = parts.saturating_sub(tokens),
                Step::Go if ready => return Ok(slot),
                // What is known may change while it waits for a place, so it looks again with the place in hand.
                Step::Go => slot = Arc::clone(&self.shared.in_flight).acquire_owned().await.ok(),
                Step::Returned => {
                    slot = None;
                    let returned = bucket.shelf.returned.notified();
                    if bucket.shelf.peek(|state| state.others_in_flight(pool.process())) {
                        tokio::select! {
                            () = returned => {}
                            () = self.shared.time.sleep(LOOK_AGAIN) => {}
                        }
                    } else {
                        returned.await;
                    }
                }
                Step::Until(until_ms) => {
                    slot = None;
                    self.tell(read, bucket, until_ms, &mut told)?;
                    self.shared.time.sleep(Duration::from_millis(until_ms.saturating_sub(now_ms))).await;
                }
                Step::Spread(until_ms) => {
                    slot = None;
                    self.shared.time.sleep(Duration::from_millis(until_ms.saturating_sub(now_ms))).await;
                }
            }
        }
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
        let mut buckets = self.shared.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(name) {
            return Ok(Arc::clone(bucket));
        }
        if buckets.len() >= MAX_BUDGETS {
            return Err(Error::Invalid(format!("more than {MAX_BUDGETS} budgets (rule budget-count)")));
        }
        let rates = &self.shared.rates;
        // A rate for a host is one for all of its budgets, each on its own.
        let of_name = |own: &str| name == own || name.strip_prefix(own).is_some_and(|rest| rest.starts_with(' '));
        let own = rates.named.iter().find(|(own, _)| of_name(own)).map(|(_, rate)| *rate).or(rates.default);
        let own: Vec<Rate> = own.into_iter().collect();
        let described = own.iter().chain(&rates.described).copied().collect();
        let bucket = Arc::new(Bucket {
            name: name.to_owned(),
            rates: own,
            described,
            concurrency: rates.concurrency,
            shelf: self.shared.pool.shelf(name),
        });
        buckets.insert(name.to_owned(), Arc::clone(&bucket));
        Ok(bucket)
    }
}

/// The part of a path by which servers tell their budgets apart: its first word that is no version or `api`.
fn route(url: &Url) -> String {
    let dull = |word: &str| {
        word.is_empty()
            || word == "api"
            || word.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    };
    url.path_segments().and_then(|mut words| words.find(|word| !dull(word))).unwrap_or_default().to_owned()
}

/// One request in flight. Dropping it, at whatever moment, gives its place back.
pub struct Permit {
    budgets: Budgets,
    bucket: Arc<Bucket>,
    slot: Option<OwnedSemaphorePermit>,
    sent_ms: u64,
    done: bool,
}

impl Permit {
    /// When it was admitted, in milliseconds since the Unix epoch.
    pub fn sent_ms(&self) -> u64 {
        self.sent_ms
    }

    /// The budget's name.
    pub fn name(&self) -> &str {
        &self.bucket.name
    }

    /// Takes what the answer says of the limit, by the names of its policies.
    pub fn answered(&mut self, learned: &[(String, Learned)], now_ms: u64) {
        self.done = true;
        let sent_ms = self.sent_ms;
        self.budgets.with(&self.bucket, |state| state.answered(learned, sent_ms, now_ms));
    }

    /// The request was not sent, or counted against another budget.
    pub(super) fn cost_nothing(&mut self) {
        self.done = true;
    }

    /// Counts a request that the server let through.
    pub(super) fn served(&self) {
        self.bucket.shelf.local(state::State::served);
    }

    /// Returns how many requests the server let through so far.
    pub(super) fn progress(&self) -> u64 {
        self.bucket.shelf.peek(state::State::progress)
    }

    /// Keeps everybody from sending before `until_ms`.
    pub fn pause(&self, until_ms: u64) {
        self.budgets.with(&self.bucket, |state| state.pause(until_ms));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.slot = None;
        let (done, now_ms) = (self.done, self.budgets.shared.time.now_ms());
        let process = self.budgets.shared.pool.process().to_owned();
        self.budgets.with(&self.bucket, |state| {
            state.returned(&process, now_ms);
            if !done {
                state.unanswered();
            }
        });
        self.bucket.shelf.returned.notify_one();
        self.budgets.shared.pool.returned().notify_waiters();
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
        let rates = Rates { default: rate.map(|rate| rate.parse().unwrap()), ..Rates::default() };
        (Budgets::new(Arc::new(clock.clone()), Arc::new(Silent), rates, Duration::from_secs(3_600), 16), clock)
    }

    fn learned(remaining: u32, in_ms: u64) -> Vec<(String, Learned)> {
        let reset_at_ms = Some(NOW + in_ms);
        vec![(String::new(), Learned { remaining: Some(remaining), reset_at_ms, ..Learned::default() })]
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
        let mut first = budgets.admit("r", "a").await.unwrap();
        first.answered(&learned(1, 60_000), NOW);
        drop(first);
        let mut second = budgets.admit("r", "a").await.unwrap();
        let third = budgets.admit("r", "a");
        tokio::pin!(third);
        assert!(is_pending(third.as_mut()).await);
        // It cost nothing.
        second.answered(&learned(1, 60_000), NOW);
        drop(second);
        drop(third.await.unwrap());
        assert_eq!(clock.now_ms(), NOW);
    }

    #[tokio::test]
    async fn an_answer_that_was_overtaken_does_not_give_permits_back() {
        let (budgets, _) = budgets(None);
        let mut first = budgets.admit("r", "a").await.unwrap();
        let mut second = budgets.admit("r", "a").await.unwrap();
        second.answered(&learned(8, 60_000), NOW);
        first.answered(&learned(9, 61_000), NOW);
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
        let mut first = budgets.admit("r", "a").await.unwrap();
        first.answered(&learned(1, 60_000), NOW);
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

    #[tokio::test]
    async fn the_rates_of_the_description_and_of_the_user_hold_together() {
        let clock = VirtualClock::starting_at(NOW);
        let rates = Rates {
            default: Some("10/s".parse().unwrap()),
            described: vec!["2/s:burst=2".parse().unwrap(), "100/s:burst=100".parse().unwrap()],
            ..Rates::default()
        };
        let budgets = Budgets::new(Arc::new(clock.clone()), Arc::new(Silent), rates, Duration::from_secs(60), 16);
        for _ in 0..4 {
            drop(budgets.admit("r", "a").await.unwrap());
        }
        // One at once and one after 100 ms by the burst, then one each half second since the first.
        assert_eq!(clock.now_ms() - NOW, 1_000);
    }

    #[tokio::test]
    async fn clients_of_one_pool_share_what_is_known() {
        let clock = VirtualClock::starting_at(NOW);
        let pool = Pool::default();
        let client = || {
            let time = Arc::new(clock.clone());
            Budgets::within(pool.clone(), time, Arc::new(Silent), Rates::default(), Duration::from_secs(60), 16)
        };
        let (one, two) = (client(), client());
        one.observe("a", Budget { remaining: Some(0), reset_at_ms: Some(NOW + 5_000) }).unwrap();
        drop(two.admit("r", "a").await.unwrap());
        assert_eq!(clock.now_ms() - NOW, 5_000);
    }

    #[tokio::test]
    async fn of_several_keys_the_one_with_the_most_left_goes() {
        let (budgets, clock) = budgets(None);
        let keys = ["a of key 1", "a of key 2", "a of key 3"];
        let observe = |key: &str, remaining, in_ms| {
            budgets.observe(key, Budget { remaining: Some(remaining), reset_at_ms: Some(NOW + in_ms) }).unwrap();
        };
        let next = async || budgets.admit_any("r", &keys).await.unwrap().0;
        assert_eq!(next().await, 0);
        observe(keys[0], 5, 10_000);
        observe(keys[1], 7, 10_000);
        assert_eq!(next().await, 2, "what is not known is asked first");
        observe(keys[2], 0, 3_000);
        assert_eq!(next().await, 1);
        observe(keys[1], 0, 10_000);
        assert_eq!(next().await, 0);
        observe(keys[0], 0, 10_000);
        assert_eq!(clock.now_ms(), NOW, "nobody had to wait so far");
        assert_eq!(next().await, 2, "it is full again first");
        assert_eq!(clock.now_ms(), NOW + 3_000);
    }

    #[test]
    fn servers_with_several_budgets_are_told_apart_by_their_own_word() {
        let (budgets, _) = budgets(None);
        let url = |path: &str| Url::parse(&format!("https://api.example{path}")).unwrap();
        budgets.routed(&url("/api/v3/search/issues"), "search");
        assert_eq!(budgets.of_url(&url("/search/code?q=x"), None), "api.example search");
        assert_eq!(budgets.of_url(&url("/repos/a/b"), Some("7f")), "api.example of key 7f");
    }
}
