//! A rate limit that is kept, and said in the header variants that APIs use.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{fault::RetryAfter, time};

/// How answers speak of the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateHeaders {
    /// Not at all.
    None,
    /// `X-RateLimit-*` with the reset in seconds since the epoch, as GitHub does.
    #[default]
    Epoch,
    /// The same with the reset in milliseconds since the epoch.
    EpochMillis,
    /// The same with the reset in seconds from now.
    Delta,
    /// The same with the reset as RFC 3339.
    Iso,
    /// `RateLimit` and `RateLimit-Policy` as structured fields (draft-ietf-httpapi-ratelimit-headers).
    Ietf,
    /// `RateLimit-Limit`, `-Remaining` and `-Reset` of the draft's earlier versions.
    IetfEarly,
}

/// How a request beyond the budget is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Usually 429; 403 as GitHub does, or 503.
    pub status: u16,
    /// `Retry-After`: whether, and in which form. The number is replaced by the true wait.
    pub retry_after: RetryAfter,
}

impl Default for Exceeded {
    fn default() -> Self {
        Self { status: 429, retry_after: RetryAfter::Seconds(0) }
    }
}

/// The time of the server, so that a test can own it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// A clock that asks this function.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// So many requests in a window of time; windows follow each other from the first request on.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Requests in a window.
    pub limit: u32,
    /// Length of the window.
    pub window: Duration,
    /// What answers say.
    pub headers: RateHeaders,
    /// What a request beyond it gets.
    pub exceeded: Exceeded,
    /// Each `Authorization` has a budget of its own.
    pub per_token: bool,
}

impl Budget {
    /// A budget with the usual headers, shared by all.
    #[must_use]
    pub fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window, headers: RateHeaders::default(), exceeded: Exceeded::default(), per_token: false }
    }
}

/// What is left, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) allowed: bool,
    remaining: u32,
    reset: SystemTime,
}

/// The budget of a server while it runs.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) budget: Budget,
    windows: HashMap<String, (SystemTime, u32)>,
}

impl Meter {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, windows: HashMap::new() }
    }

    /// Takes one request out of the budget of `token`.
    pub(super) fn take(&mut self, token: Option<&str>, now: SystemTime) -> Left {
        let key = if self.budget.per_token { token.unwrap_or_default() } else { "" };
        let (start, used) = self.windows.entry(key.to_owned()).or_insert((now, 0));
        if now.duration_since(*start).is_ok_and(|age| age >= self.budget.window) {
            (*start, *used) = (now, 0);
        }
        let allowed = *used < self.budget.limit;
        *used = used.saturating_add(u32::from(allowed));
        Left { allowed, remaining: self.budget.limit - *used, reset: *start + self.budget.window }
    }

    /// The headers that tell what is left.
    pub(super) fn headers(&self, left: Left, now: SystemTime) -> Vec<(&'static str, String)> {
        let epoch = left.reset.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Rounded up: who waits so long finds the window open.
        let delta = wait(left, now);
        let (limit, remaining) = (self.budget.limit, left.remaining);
        let classic = |reset: String| {
            vec![
                ("x-ratelimit-limit", limit.to_string()),
                ("x-ratelimit-remaining", remaining.to_string()),
                ("x-ratelimit-reset", reset),
            ]
        };
        let epoch_seconds = epoch.as_secs() + u64::from(epoch.subsec_nanos() > 0);
        match self.budget.headers {
            RateHeaders::None => Vec::new(),
            RateHeaders::Epoch => classic(epoch_seconds.to_string()),
            RateHeaders::EpochMillis => classic(epoch.as_millis().to_string()),
            RateHeaders::Delta => classic(delta.to_string()),
            RateHeaders::Iso => classic(time::rfc3339(i64::try_from(epoch_seconds).unwrap_or(i64::MAX))),
            RateHeaders::Ietf => vec![
                ("ratelimit-policy", format!("\"default\";q={limit};w={}", self.budget.window.as_secs())),
                ("ratelimit", format!("\"default\";r={remaining};t={delta}")),
            ],
            RateHeaders::IetfEarly => vec![
                ("ratelimit-limit", limit.to_string()),
                ("ratelimit-remaining", remaining.to_string()),
                ("ratelimit-reset", delta.to_string()),
            ],
        }
    }

    /// `Retry-After` of a refused request.
    pub(super) fn retry_after(&self, left: Left, now: SystemTime) -> RetryAfter {
        match self.budget.exceeded.retry_after {
            RetryAfter::None => RetryAfter::None,
            RetryAfter::Seconds(_) => RetryAfter::Seconds(wait(left, now)),
            RetryAfter::Date(_) => RetryAfter::Date(wait(left, now)),
        }
    }
}

fn wait(left: Left, now: SystemTime) -> u64 {
    let wait = left.reset.duration_since(now).unwrap_or_default();
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    #[test]
    fn a_window_refuses_and_opens_again() {
        let mut meter = Meter::new(Budget::new(2, Duration::from_secs(60)));
        let allowed: Vec<bool> = [0, 1, 2, 59, 60].iter().map(|s| meter.take(None, at(*s)).allowed).collect();
        assert_eq!(allowed, [true, true, false, false, true]);
    }

    #[test]
    fn each_token_has_its_own() {
        let budget = Budget { per_token: true, ..Budget::new(1, Duration::from_secs(60)) };
        let mut meter = Meter::new(budget);
        let allowed: Vec<bool> = ["a", "b", "a"].iter().map(|token| meter.take(Some(token), at(0)).allowed).collect();
        assert_eq!(allowed, [true, true, false]);
    }

    #[test]
    fn every_variant_says_the_same() {
        for (headers, reset) in [
            (RateHeaders::Epoch, "1700000060"),
            (RateHeaders::EpochMillis, "1700000060000"),
            (RateHeaders::Delta, "50"),
            (RateHeaders::Iso, "2023-11-14T22:14:20Z"),
            (RateHeaders::IetfEarly, "50"),
            (RateHeaders::Ietf, "\"default\";r=0;t=50"),
        ] {
            let mut meter = Meter::new(Budget { headers, ..Budget::new(1, Duration::from_secs(60)) });
            let _ = meter.take(None, at(0));
            let left = meter.take(None, at(10));
            let last = meter.headers(left, at(10)).pop();
            assert_eq!(last.map(|(_, value)| value).as_deref(), Some(reset), "{headers:?}");
        }
    }
}
