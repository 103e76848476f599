//! What is known of one budget, and what follows from it for the next request. Plain data and pure functions of it and the
//! time, so that processes can share it and tests need no clock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Budget;
use super::window::{Window, Windows};
use crate::http::learned::Learned;
use crate::http::rate::Rate;

/// From this part of a window's limit on, requests are spread over the time that is left: the last tenth.
const NEAR_THE_END: u32 = 10;
/// Requests are spread no further apart than this: a run that has little left to do should not take an hour for it. None is
/// lost by going a little early, since what is spent is waited for anyway.
const WIDEST_SPREAD_MS: u64 = 10_000;
/// A process that says nothing of its requests for so long has died: no exchange takes longer by default.
const FLIGHT_MS: u64 = 6 * 60 * 1_000;
/// A rate that another process keeps to counts so long after it was last seen.
const RATE_SEEN_MS: u64 = 60_000;
/// A clock that is behind by less has not gone back: those that share a budget look at it a little before they say so.
const CLOCK_BACK_MS: u64 = 2_000;

/// What is known of a budget, by whoever shares it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// What the server said is left, by the name of its policy.
    windows: Windows,
    /// What connectors said is left, by connector: the word of each counts for itself alone.
    told: Windows,
    paused_until_ms: u64,
    /// A window or a pause has ended, and no request has been answered since.
    rested: bool,
    /// Requests under way, by process.
    flights: BTreeMap<String, Flights>,
    /// Token buckets, by their rates as text.
    tokens: BTreeMap<String, Tokens>,
    last_sent_ms: u64,
    /// When it was looked at last, by the clock of that time.
    clock_ms: u64,
    /// Requests of this process that the server let through.
    #[serde(skip)]
    served: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Flights {
    count: u32,
    until_ms: u64,
}

/// A token bucket as the generic cell rate algorithm has it: the time at which it is full again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Tokens {
    full_at_us: u64,
    /// When somebody last took of it to whom the user has set this rate.
    seen_ms: u64,
}

impl Tokens {
    /// Until when it concerns anybody: until it is full, and as long as others keep to a user's rate.
    fn counts_until_ms(&self) -> u64 {
        let seen_until_ms = if self.seen_ms > 0 { self.seen_ms.saturating_add(RATE_SEEN_MS) } else { 0 };
        self.full_at_us.div_ceil(1_000).max(seen_until_ms)
    }
}

/// Who asks: a process, and the limits that it keeps to on its own.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Tells the process from all others.
    pub process: &'a str,
    /// Tells the connector from all others.
    pub connector: &'a str,
    /// All hold at once.
    pub rates: &'a [Rate],
    /// Those of them that the user has set. Others who share the budget keep to these too, and not to what a connector's
    /// description says.
    pub by_user: &'a [Rate],
    /// Most requests under way, whoever made them.
    pub concurrency: Option<u32>,
}

/// What somebody wants of a budget.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Tokens of the rates' buckets, now.
    pub tokens: u32,
    /// Permits of what the server says is left; none as long as tokens are still gathered.
    pub permits: u32,
    /// Whether a request goes out; else a connector takes permits by itself.
    pub request: bool,
}

/// What a request has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Go.
    Go,
    /// Wait until a time, in milliseconds since the Unix epoch.
    Until(u64),
    /// Wait a moment, so that those that come are spread.
    Spread(u64),
    /// Wait for one of those under way to come back.
    Returned,
}

impl State {
    /// Tells whether there is nothing that another process would have to know.
    pub fn is_blank(&self) -> bool {
        self.windows.is_empty()
            && self.told.is_empty()
            && self.paused_until_ms == 0
            && self.tokens.is_empty()
            && !self.rested
    }

    /// When it was looked at last.
    pub fn looked_at_ms(&self) -> u64 {
        self.clock_ms
    }

    /// Tells whether nothing of it concerns anybody any more.
    pub fn is_over(&self, now_ms: u64) -> bool {
        let windows = self.windows.values().chain(self.told.values()).map(|window| window.reset_at_ms);
        let flights = self.flights.values().filter(|flights| flights.count > 0).map(|flights| flights.until_ms);
        let tokens = self.tokens.values().map(Tokens::counts_until_ms);
        windows.chain(flights).chain(tokens).chain([self.paused_until_ms]).all(|at_ms| at_ms <= now_ms)
    }

    /// Takes what a copy knows that was changed while this one could not be reached; where both were, the more careful of the
    /// two counts.
    pub(super) fn catch_up(&mut self, copy: &Self) {
        self.windows.merge(&copy.windows);
        self.told.merge(&copy.told);
        self.paused_until_ms = self.paused_until_ms.max(copy.paused_until_ms);
        self.rested &= copy.rested;
        for (rate, theirs) in &copy.tokens {
            let own = self.tokens.entry(rate.clone()).or_insert(*theirs);
            own.full_at_us = own.full_at_us.max(theirs.full_at_us);
            own.seen_ms = own.seen_ms.max(theirs.seen_ms);
        }
    }

    /// Keeps what only this process knows of itself, over what the others have written.
    pub(super) fn keep_own(&mut self, own: &Self, process: &str) {
        match own.flights.get(process) {
            Some(flights) => self.flights.insert(process.to_owned(), *flights),
            None => self.flights.remove(process),
        };
        self.served = own.served;
        self.last_sent_ms = self.last_sent_ms.max(own.last_sent_ms);
    }

    fn in_flight(&self) -> u32 {
        self.flights.values().fold(0, |sum, flights| sum.saturating_add(flights.count))
    }

    /// Tells whether another process has requests under way.
    pub fn others_in_flight(&self, process: &str) -> bool {
        self.flights.iter().any(|(other, flights)| other != process && flights.count > 0)
    }

    /// Moves everything along with a clock that went back: what lay a minute ahead still does.
    fn follow_clock(&mut self, now_ms: u64) {
        let back_ms = self.clock_ms.saturating_sub(now_ms);
        if back_ms < CLOCK_BACK_MS {
            self.clock_ms = self.clock_ms.max(now_ms);
            return;
        }
        let back = |at_ms: &mut u64| *at_ms = at_ms.saturating_sub(back_ms);
        self.windows.values_mut().chain(self.told.values_mut()).for_each(|window| {
            back(&mut window.reset_at_ms);
            back(&mut window.learned_ms);
        });
        self.flights.values_mut().for_each(|flights| back(&mut flights.until_ms));
        self.tokens.values_mut().for_each(|tokens| {
            tokens.full_at_us = tokens.full_at_us.saturating_sub(back_ms.saturating_mul(1_000));
            back(&mut tokens.seen_ms);
        });
        if self.paused_until_ms > 0 {
            // Zero means none.
            self.paused_until_ms = self.paused_until_ms.saturating_sub(back_ms).max(1);
        }
        back(&mut self.last_sent_ms);
        self.clock_ms = now_ms;
    }

    fn forget_old(&mut self, now_ms: u64) {
        self.follow_clock(now_ms);
        // Nobody knows what a new window allows: one request finds out.
        self.rested |= self.windows.forget_old(now_ms);
        self.told.forget_old(now_ms);
        if self.paused_until_ms != 0 && self.paused_until_ms <= now_ms {
            self.paused_until_ms = 0;
            self.rested = true;
        }
        self.flights.retain(|_, flights| flights.until_ms > now_ms && flights.count > 0);
        self.tokens.retain(|_, tokens| tokens.counts_until_ms() > now_ms);
    }

    /// All that counts for a connector.
    fn known<'a>(&'a self, connector: &str) -> impl Iterator<Item = &'a Window> + use<'a> {
        self.windows.values().chain(self.told.of(connector))
    }

    /// Says what a claim has to do now.
    pub fn step(&mut self, asker: &Asker<'_>, claim: Claim, now_ms: u64) -> Step {
        let Claim { tokens, permits, request } = claim;
        self.forget_old(now_ms);
        if self.paused_until_ms > now_ms {
            return Step::Until(self.paused_until_ms);
        }
        let in_flight = self.in_flight();
        let left = |window: &Window| window.remaining.saturating_sub(in_flight);
        let spent = self.known(asker.connector).filter(|window| left(window) < permits);
        if let Some(reset_at_ms) = spent.map(|window| window.reset_at_ms).max() {
            // Those in flight may bring better news than the wait for the reset.
            return if in_flight > 0 { Step::Returned } else { Step::Until(reset_at_ms) };
        }
        let full = asker.concurrency.is_some_and(|most| in_flight >= most.max(1));
        if in_flight > 0 && (self.rested || (request && full)) {
            return Step::Returned;
        }
        if let Some(at_ms) = self.tokens_at(asker, tokens, now_ms).filter(|at_ms| *at_ms > now_ms) {
            return Step::Until(at_ms);
        }
        let spread = self.known(asker.connector).filter(|_| request && self.last_sent_ms > 0).filter_map(|window| {
            let left = left(window);
            let near = left.saturating_mul(NEAR_THE_END) <= window.limit && left < window.limit;
            let wait_ms = window.reset_at_ms.saturating_sub(self.last_sent_ms) / u64::from(left.saturating_add(1));
            near.then(|| self.last_sent_ms.saturating_add(wait_ms.min(WIDEST_SPREAD_MS)))
        });
        match spread.max().filter(|at_ms| *at_ms > now_ms) {
            Some(at_ms) => Step::Spread(at_ms),
            None => Step::Go,
        }
    }

    /// When the token buckets have the permits, in milliseconds since the Unix epoch.
    fn tokens_at(&self, asker: &Asker<'_>, tokens: u32, now_ms: u64) -> Option<u64> {
        let at = self.rates(asker, now_ms).into_iter().filter_map(|rate| {
            let Tokens { full_at_us, seen_ms } = *self.tokens.get(&rate.to_string())?;
            let interval_us = interval_us(&rate);
            let kept = u64::from(rate.burst.get().saturating_sub(tokens)).saturating_mul(interval_us);
            let at_ms = full_at_us.saturating_sub(kept).div_ceil(1_000);
            // Whoever keeps to another's rate does so as long as that is seen.
            let own = asker.rates.contains(&rate);
            Some(if own { at_ms } else { at_ms.min(seen_ms.saturating_add(RATE_SEEN_MS)) })
        });
        at.max()
    }

    /// The asker's rates, and those that the user has set for others who go out now: whoever shares a budget fills the same
    /// buckets.
    fn rates(&self, asker: &Asker<'_>, now_ms: u64) -> Vec<Rate> {
        let others = self.tokens.iter().filter(|(_, tokens)| now_ms.saturating_sub(tokens.seen_ms) < RATE_SEEN_MS);
        let others =
            others.filter_map(|(text, _)| text.parse::<Rate>().ok()).filter(|rate| !asker.rates.contains(rate));
        asker.rates.iter().copied().chain(others).collect()
    }

    fn take_tokens(&mut self, asker: &Asker<'_>, count: u32, now_ms: u64) {
        let now_us = now_ms.saturating_mul(1_000);
        for rate in self.rates(asker, now_ms) {
            let by_user = asker.by_user.contains(&rate);
            let tokens = self.tokens.entry(rate.to_string()).or_insert(Tokens { full_at_us: 0, seen_ms: 0 });
            let added = u64::from(count).saturating_mul(interval_us(&rate));
            tokens.full_at_us = tokens.full_at_us.max(now_us).saturating_add(added);
            if by_user {
                tokens.seen_ms = now_ms;
            }
        }
    }

    /// Takes what is claimed.
    pub fn take(&mut self, asker: &Asker<'_>, claim: Claim, now_ms: u64) {
        self.take_tokens(asker, claim.tokens, now_ms);
        if claim.request && claim.permits > 0 {
            let flights = self.flights.entry(asker.process.to_owned()).or_insert(Flights { count: 0, until_ms: 0 });
            flights.count = flights.count.saturating_add(1);
            flights.until_ms = now_ms.saturating_add(FLIGHT_MS);
            self.last_sent_ms = now_ms;
        } else {
            self.spend(claim.permits);
        }
    }

    fn spend(&mut self, permits: u32) {
        self.windows.spend(permits);
        self.told.spend(permits);
    }

    /// A request came back, with or without an answer.
    pub fn returned(&mut self, process: &str, now_ms: u64) {
        if let Some(flights) = self.flights.get_mut(process) {
            flights.count = flights.count.saturating_sub(1);
            flights.until_ms = now_ms.saturating_add(FLIGHT_MS);
        }
    }

    /// Takes what an answer says of the limit. Where it says nothing, its cost is taken off here.
    pub fn answered(&mut self, learned: &[(String, Learned)], sent_ms: u64, now_ms: u64) {
        self.rested = false;
        self.told.spend(1);
        if learned.iter().all(|(_, learned)| learned.remaining.is_none()) {
            self.windows.spend(1);
        }
        self.learn(learned, sent_ms, now_ms);
    }

    /// A request had no answer; whether the server has counted it, nobody knows.
    pub fn unanswered(&mut self) {
        self.spend(1);
    }

    /// Counts a request that the server let through.
    pub fn served(&mut self) {
        self.served = self.served.wrapping_add(1);
    }

    /// How many requests the server let through so far.
    pub fn progress(&self) -> u64 {
        self.served
    }

    /// Takes what the server said of its windows in answer to a request that was sent at `sent_ms`.
    pub fn learn(&mut self, learned: &[(String, Learned)], sent_ms: u64, now_ms: u64) {
        for (name, learned) in learned {
            self.windows.learn(name, learned, sent_ms, now_ms);
        }
    }

    /// Takes what a connector says of the limit. Servers are believed by all, a connector by itself alone.
    pub fn tell(&mut self, connector: &str, learned: &Learned, now_ms: u64) {
        self.follow_clock(now_ms);
        self.told.make_room(connector);
        self.told.learn(connector, learned, now_ms, now_ms);
    }

    /// Keeps everybody from sending before `until_ms`.
    pub fn pause(&mut self, until_ms: u64) {
        self.paused_until_ms = self.paused_until_ms.max(until_ms);
    }

    /// Until when nobody can send, where that is known.
    pub fn blocked_until(&self, connector: &str, now_ms: u64) -> Option<u64> {
        let spent = self.known(connector).filter(|window| window.remaining == 0).map(|window| window.reset_at_ms);
        Some(spent.max().unwrap_or(0).max(self.paused_until_ms)).filter(|until_ms| *until_ms > now_ms)
    }

    /// What is known of it, for a connector.
    pub fn status(&self, connector: &str, now_ms: u64) -> Budget {
        if self.paused_until_ms > now_ms {
            return Budget { remaining: Some(0), reset_at_ms: Some(self.paused_until_ms) };
        }
        let current = self.known(connector).filter(|window| window.reset_at_ms > now_ms);
        let tightest = current.min_by_key(|window| (window.remaining, std::cmp::Reverse(window.reset_at_ms)));
        tightest.map_or_else(Budget::default, |window| Budget {
            remaining: Some(window.remaining.saturating_sub(self.in_flight())),
            reset_at_ms: Some(window.reset_at_ms),
        })
    }

    /// Tells whether it is known what is left.
    pub(super) fn is_told(&self, connector: &str, now_ms: u64) -> bool {
        self.status(connector, now_ms).remaining.is_some()
    }

    /// Tells whether the first request of all is under way, of whose answer it is not known yet what it tells.
    pub(super) fn is_asked(&self, connector: &str, now_ms: u64) -> bool {
        self.served == 0 && self.in_flight() > 0 && !self.is_told(connector, now_ms)
    }

    /// How good this budget is for the next request: greater is better. Unknown ones are asked first, one at a time.
    pub(super) fn rank(&self, connector: &str, now_ms: u64) -> (bool, u32, std::cmp::Reverse<u64>) {
        let in_flight = self.in_flight();
        let status = self.status(connector, now_ms);
        let blocked = self.blocked_until(connector, now_ms).unwrap_or(0);
        // A window that ended, or a budget never asked: whoever is under way finds out.
        let unknown = status.remaining.is_none();
        let left = if unknown { u32::MAX.saturating_sub(in_flight) } else { status.remaining.unwrap_or(0) };
        let open = blocked == 0 && left > 0 && !(unknown && in_flight > 0);
        let until = if left == 0 { status.reset_at_ms.unwrap_or(0).max(blocked) } else { blocked };
        (open, if open { left } else { 0 }, std::cmp::Reverse(until))
    }
}

fn interval_us(rate: &Rate) -> u64 {
    u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests;
