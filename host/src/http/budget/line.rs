//! Waiting for a budget: in line, and without spinning.

use std::sync::Arc;
use std::time::Duration;

use super::permit::Permit;
use super::state::{Claim, Step};
use super::{Bucket, Budgets, Error, LOOK_AGAIN_MS};
use crate::event::Event;

const LOOK_AGAIN: Duration = Duration::from_millis(LOOK_AGAIN_MS);

impl Budgets {
    /// Lets one request out that can be paid from any of several budgets, as one for each key: from the one with the
    /// most left that lets it out now (one that is not known yet before all others), else from the first that does. Returns
    /// the budget's index with the permit. A wait is announced by the name of the budget that it is for.
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
            let connector = self.shared.connector();
            let rank = |index: &usize| {
                buckets.get(*index).map(|bucket| bucket.shelf.peek(|state| state.rank(connector, now_ms)))
            };
            order.sort_by_key(|index| std::cmp::Reverse(rank(index)));
            // Where a server tells of one key what is left, it will of the others: the first request finds out for all.
            let tells = buckets.len() > 1
                && buckets.iter().any(|bucket| bucket.shelf.peek(|state| state.is_told(connector, now_ms)));
            let (mut wake, mut goes, mut others) = (None::<(u64, bool, usize)>, false, false);
            for index in order {
                let Some(bucket) = buckets.get(index) else { continue };
                if tells && bucket.shelf.peek(|state| state.is_asked(connector, now_ms)) {
                    others |= bucket.shelf.peek(|state| state.others_in_flight(pool.process()));
                    continue;
                }
                let asker = bucket.asker(&self.shared, true);
                let claim = Claim { tokens: 1, permits: 1, request: true };
                let at = match self.claim(bucket, &asker, claim, now_ms, slot.is_some()) {
                    Step::Go if slot.is_some() => {
                        self.pays(read, bucket);
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

    /// Waits in line and takes the permits. What does not fit into a burst is gathered in parts.
    pub(super) async fn wait(&self, read: &str, bucket: &Bucket, permits: u32) -> Result<(), Error> {
        let pool = &self.shared.pool;
        let asker = bucket.asker(&self.shared, false);
        let mut told = 0;
        // Those behind the first in line hear of a known pause as well.
        let now_ms = self.shared.time.now_ms();
        let known = bucket.shelf.peek(|state| state.blocked_until(asker.connector, now_ms));
        if let Some(until_ms) = known {
            self.tell(read, bucket, until_ms, &mut told)?;
        }
        let _next = bucket.shelf.gate.lock().await;
        let burst = asker.rates.iter().map(|rate| rate.burst.get()).min().unwrap_or(permits).max(1);
        let mut parts = permits;
        loop {
            let now_ms = self.shared.time.now_ms();
            let tokens = if asker.rates.is_empty() { 0 } else { parts.min(burst) };
            let last = asker.rates.is_empty() || tokens == parts;
            let claim = Claim { tokens, permits: if last { permits } else { 0 }, request: false };
            match self.claim(bucket, &asker, claim, now_ms, true) {
                Step::Go if last => return Ok(()),
                Step::Go => parts = parts.saturating_sub(tokens),
                Step::Returned => {
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
                step @ (Step::Until(until_ms) | Step::Spread(until_ms)) => {
                    if matches!(step, Step::Until(_)) {
                        self.tell(read, bucket, until_ms, &mut told)?;
                    }
                    self.shared.time.sleep(Duration::from_millis(until_ms.saturating_sub(now_ms))).await;
                }
            }
        }
    }

    /// Says that a read waits, or that the wait is too long.
    fn tell(&self, read: &str, bucket: &Bucket, until_ms: u64, told: &mut u64) -> Result<(), Error> {
        let wait_ms = u128::from(until_ms.saturating_sub(self.shared.time.now_ms()));
        let budget = bucket.shown.clone();
        if wait_ms > self.shared.max_wait.as_millis() {
            return Err(Error::Wait { budget, until_ms });
        }
        if *told != until_ms {
            *told = until_ms;
            self.shared.observer.observe(Event::Waiting { read: read.to_owned(), budget, until_ms });
        }
        Ok(())
    }
}
