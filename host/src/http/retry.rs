//! Decides what follows an attempt: nothing, another attempt after a pause, or a pause of the whole budget. A pure function
//! of what happened, so that every rule is a line in a table of its tests.

use std::time::Duration;

use ::http::Method;

use super::learned::{learned, retry_after_ms};
use super::transport::{Failure, FailureKind};

/// How often and how patiently a request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Attempts in all. 6 by default, 1 for none but the first.
    pub attempts: u32,
    /// Upper bound of the first pause; it doubles with each attempt. 500 ms by default.
    pub base: Duration,
    /// No pause without a word of the server is longer. 60 s by default.
    pub cap: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { attempts: 6, base: Duration::from_millis(500), cap: Duration::from_secs(60) }
    }
}

/// What came of one attempt.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// A whole answer.
    Answered {
        /// The status.
        status: u16,
        /// The headers.
        headers: &'a [(String, String)],
    },
    /// No whole answer.
    Failed(&'a Failure),
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// What came is final.
    Final,
    /// Send this request again after a pause.
    Again {
        /// The pause.
        delay: Duration,
        /// Why, in words.
        reason: String,
    },
    /// The server is out of patience: nobody sends it anything before this time, in milliseconds since the Unix epoch.
    Throttled {
        /// When to go on.
        until_ms: u64,
        /// Why, in words.
        reason: String,
    },
}

impl Rules {
    /// Decides. `attempt` counts from 1, `jitter` is a random number in 0..1.
    pub fn decide(&self, method: &Method, attempt: u32, outcome: Outcome<'_>, now_ms: u64, jitter: f64) -> Decision {
        let decision = match outcome {
            Outcome::Answered { status, headers } => {
                self.after_answer(method, attempt, status, headers, now_ms, jitter)
            }
            Outcome::Failed(failure) => self.after_failure(method, attempt, failure, jitter),
        };
        match decision {
            // The pause is for everybody, even where this request gives up.
            Decision::Again { .. } if attempt >= self.attempts => Decision::Final,
            decision => decision,
        }
    }

    fn after_answer(
        &self,
        method: &Method,
        attempt: u32,
        status: u16,
        headers: &[(String, String)],
        now_ms: u64,
        jitter: f64,
    ) -> Decision {
        let told = retry_after_ms(headers, now_ms);
        let limit = learned(headers, now_ms);
        let spent = limit.reset_at_ms.filter(|at| limit.remaining == Some(0) && *at > now_ms);
        let reason = format!("status {status}");
        match status {
            429 | 403 | 503 if told.is_some() => Decision::Throttled { until_ms: told.unwrap_or(now_ms), reason },
            429 | 403 if spent.is_some() => Decision::Throttled { until_ms: spent.unwrap_or(now_ms), reason },
            429 => {
                let pause = u64::try_from(self.backoff(attempt, jitter).as_millis()).unwrap_or(u64::MAX);
                Decision::Throttled { until_ms: now_ms.saturating_add(pause), reason }
            }
            503 => Decision::Again { delay: self.backoff(attempt, jitter), reason },
            408 | 425 | 500 | 502 | 504 if repeatable(method) => {
                let told = told.map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
                Decision::Again { delay: told.unwrap_or_else(|| self.backoff(attempt, jitter)), reason }
            }
            _ => Decision::Final,
        }
    }

    fn after_failure(&self, method: &Method, attempt: u32, failure: &Failure, jitter: f64) -> Decision {
        let again = match failure.kind {
            FailureKind::Connect => true,
            FailureKind::Timeout | FailureKind::Broken => repeatable(method),
            FailureKind::Denied | FailureKind::Final | FailureKind::TooLarge(_) | FailureKind::Invalid => false,
        };
        if again {
            Decision::Again { delay: self.backoff(attempt, jitter), reason: failure.text.clone() }
        } else {
            Decision::Final
        }
    }

    /// Exponential, with full jitter: any time up to the bound is as likely as any other, so that clients that failed
    /// together don't come back together.
    fn backoff(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap).mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// Tells whether sending twice is the same as sending once (RFC 9110, section 9.2.2). A POST is repeated only where the
/// server has said that it did not act on it.
fn repeatable(method: &Method) -> bool {
    method.is_idempotent()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn after(method: &Method, status: u16, pairs: &[(&str, &str)]) -> Decision {
        let headers: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Rules::default().decide(method, 1, Outcome::Answered { status, headers: &headers }, NOW, 0.5)
    }

    fn again(status: u16, delay_ms: u64) -> Decision {
        Decision::Again { delay: Duration::from_millis(delay_ms), reason: format!("status {status}") }
    }

    fn throttled(status: u16, delay_ms: u64) -> Decision {
        Decision::Throttled { until_ms: NOW + delay_ms, reason: format!("status {status}") }
    }

    #[test]
    fn answers() {
        let spent = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000090")];
        let past = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1600000000")];
        let left = [("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "1700000090")];
        let seconds = [("retry-after", "7")];
        let date = [("retry-after", "Tue, 14 Nov 2023 22:14:20 GMT")];
        for (method, status, headers, decision) in [
            (Method::GET, 200, &[][..], Decision::Final),
            (Method::GET, 200, &spent, Decision::Final),
            (Method::GET, 301, &[], Decision::Final),
            (Method::GET, 400, &[], Decision::Final),
            (Method::GET, 401, &[], Decision::Final),
            (Method::GET, 403, &[], Decision::Final),
            (Method::GET, 403, &left, Decision::Final),
            (Method::GET, 403, &past, Decision::Final),
            (Method::GET, 403, &seconds, throttled(403, 7_000)),
            (Method::GET, 403, &spent, throttled(403, 90_000)),
            (Method::POST, 403, &spent, throttled(403, 90_000)),
            (Method::GET, 404, &[], Decision::Final),
            (Method::GET, 409, &[], Decision::Final),
            (Method::GET, 408, &[], again(408, 250)),
            (Method::GET, 425, &[], again(425, 250)),
            (Method::GET, 429, &[], throttled(429, 250)),
            (Method::GET, 429, &seconds, throttled(429, 7_000)),
            (Method::GET, 429, &date, throttled(429, 60_000)),
            (Method::GET, 429, &spent, throttled(429, 90_000)),
            (Method::POST, 429, &seconds, throttled(429, 7_000)),
            (Method::GET, 500, &[], again(500, 250)),
            (Method::HEAD, 500, &[], again(500, 250)),
            (Method::PUT, 500, &[], again(500, 250)),
            (Method::DELETE, 500, &[], again(500, 250)),
            (Method::POST, 500, &[], Decision::Final),
            (Method::PATCH, 502, &[], Decision::Final),
            (Method::GET, 501, &[], Decision::Final),
            (Method::GET, 502, &[], again(502, 250)),
            (Method::GET, 503, &[], again(503, 250)),
            (Method::POST, 503, &[], again(503, 250)),
            (Method::GET, 503, &date, throttled(503, 60_000)),
            (Method::GET, 504, &seconds, again(504, 7_000)),
        ] {
            assert_eq!(after(&method, status, headers), decision, "{method} {status} {headers:?}");
        }
    }

    #[test]
    fn failures() {
        for (method, kind, retried) in [
            (Method::GET, FailureKind::Connect, true),
            (Method::POST, FailureKind::Connect, true),
            (Method::GET, FailureKind::Timeout, true),
            (Method::POST, FailureKind::Timeout, false),
            (Method::GET, FailureKind::Broken, true),
            (Method::POST, FailureKind::Broken, false),
            (Method::GET, FailureKind::Denied, false),
            (Method::GET, FailureKind::Final, false),
            (Method::GET, FailureKind::TooLarge(1), false),
            (Method::GET, FailureKind::Invalid, false),
        ] {
            let failure = Failure::new(kind, "why");
            let decision = Rules::default().decide(&method, 1, Outcome::Failed(&failure), NOW, 0.5);
            assert_eq!(matches!(decision, Decision::Again { .. }), retried, "{method} {kind:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_the_last_attempt_is_final() {
        let rules = Rules { attempts: 10, ..Rules::default() };
        let delay = |attempt| match rules.decide(
            &Method::GET,
            attempt,
            Outcome::Answered { status: 500, headers: &[] },
            NOW,
            1.0,
        ) {
            Decision::Again { delay, .. } => delay.as_millis(),
            _ => 0,
        };
        let delays: Vec<u128> = (1..=10).map(delay).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 0]);
    }
}
