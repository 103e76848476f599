//! Decides what follows an attempt: nothing, another attempt after a pause, or a pause of the whole budget. A pure function
//! of what happened, so that every rule is a line in a table of its tests.

use std::time::Duration;

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
        /// The decoded body.
        body: &'a [u8],
    },
    /// A whole answer that the connector said is an error in truth, and worth another try.
    Rejected {
        /// The headers.
        headers: &'a [(String, String)],
        /// Why, in the connector's words.
        reason: &'a str,
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

/// One attempt, as far as what follows depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Try {
    /// Its number, from 1.
    pub number: u32,
    /// Whether the request may be sent again although the server may have acted on it: by its method (RFC 9110, section
    /// 9.2.2), or because the connector says that it only reads.
    pub repeatable: bool,
    /// When its outcome was there, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// A random number in 0..1.
    pub jitter: f64,
}

impl Rules {
    /// Decides what follows a try.
    pub fn decide(&self, this: Try, outcome: Outcome<'_>) -> Decision {
        let decision = match outcome {
            Outcome::Answered { status, headers, body } => self.after_answer(this, status, headers, body),
            Outcome::Rejected { headers, reason } => self.after_rejection(this, headers, reason),
            Outcome::Failed(failure) => self.after_failure(this, failure),
        };
        match decision {
            // The pause is for everybody, even where this request gives up.
            Decision::Again { .. } if this.number >= self.attempts => Decision::Final,
            decision => decision,
        }
    }

    fn after_answer(&self, this: Try, status: u16, headers: &[(String, String)], body: &[u8]) -> Decision {
        if !matches!(status, 403 | 408 | 425 | 429 | 500 | 502 | 503 | 504) {
            return Decision::Final;
        }
        let now_ms = this.now_ms;
        let told = retry_after_ms(headers, now_ms);
        let spent = spent_until(headers, now_ms);
        let reason = format!("status {status}");
        let throttled = |pause: Duration| now_ms.saturating_add(millis(pause));
        match status {
            429 | 403 if told.is_some() => Decision::Throttled { until_ms: told.unwrap_or(now_ms), reason },
            429 | 403 if spent.is_some() => Decision::Throttled { until_ms: spent.unwrap_or(now_ms), reason },
            403 | 429 if is_secondary_limit(body) => {
                let pause = SECONDARY_PAUSE.saturating_mul(1 << this.number.saturating_sub(1).min(16));
                Decision::Throttled { until_ms: throttled(pause), reason: format!("{reason}, a secondary rate limit") }
            }
            429 => Decision::Throttled { until_ms: throttled(self.backoff(this)), reason },
            // The server has no room for anybody.
            503 if this.repeatable => {
                Decision::Throttled { until_ms: told.unwrap_or_else(|| throttled(self.backoff(this))), reason }
            }
            408 | 425 | 500 | 502 | 504 if this.repeatable => {
                let told = told.map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
                Decision::Again { delay: told.unwrap_or_else(|| self.backoff(this)), reason }
            }
            _ => Decision::Final,
        }
    }

    fn after_rejection(&self, this: Try, headers: &[(String, String)], reason: &str) -> Decision {
        let reason = format!("rejected by the connector: {reason}");
        match retry_after_ms(headers, this.now_ms).or_else(|| spent_until(headers, this.now_ms)) {
            Some(until_ms) => Decision::Throttled { until_ms, reason },
            None => Decision::Again { delay: self.backoff(this), reason },
        }
    }

    fn after_failure(&self, this: Try, failure: &Failure) -> Decision {
        let again = match failure.kind {
            FailureKind::Connect => true,
            FailureKind::Timeout | FailureKind::Broken => this.repeatable,
            FailureKind::Denied | FailureKind::Final | FailureKind::TooLarge(_) | FailureKind::Invalid => false,
        };
        if again {
            Decision::Again { delay: self.backoff(this), reason: failure.text.clone() }
        } else {
            Decision::Final
        }
    }

    /// Exponential, with full jitter: any time up to the bound is as likely as any other, so that clients that failed
    /// together don't come back together.
    fn backoff(&self, this: Try) -> Duration {
        let doublings = this.number.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap).mul_f64(this.jitter.clamp(0.0, 1.0))
    }
}

/// GitHub asks to wait at least a minute after a secondary limit without Retry-After, and longer each time
/// (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
const SECONDARY_PAUSE: Duration = Duration::from_secs(60);
/// The message stands in a small body of its own.
const SECONDARY_BODY_BYTES: usize = 4 * 1024;

/// Tells GitHub's secondary limits, which answer 403 or 429 and need not say when to come back.
fn is_secondary_limit(body: &[u8]) -> bool {
    let start = body.get(..SECONDARY_BODY_BYTES.min(body.len())).unwrap_or_default();
    let text = String::from_utf8_lossy(start).to_ascii_lowercase();
    text.contains("secondary rate limit") || text.contains("abuse detection mechanism")
}

/// When the spent budget that an answer tells of is full again.
fn spent_until(headers: &[(String, String)], now_ms: u64) -> Option<u64> {
    let limit = learned(headers, now_ms);
    limit.reset_at_ms.filter(|at| limit.remaining == Some(0) && *at > now_ms)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use ::http::Method;

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn after(method: &Method, status: u16, pairs: &[(&str, &str)]) -> Decision {
        let headers: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Rules::default().decide(this(method), Outcome::Answered { status, headers: &headers, body: b"{}" })
    }

    fn this(method: &Method) -> Try {
        Try { number: 1, repeatable: method.is_idempotent(), now_ms: NOW, jitter: 0.5 }
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
            (Method::GET, 503, &[], throttled(503, 250)),
            (Method::POST, 503, &seconds, Decision::Final),
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
            let decision = Rules::default().decide(this(&method), Outcome::Failed(&failure));
            assert_eq!(matches!(decision, Decision::Again { .. }), retried, "{method} {kind:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_the_last_attempt_is_final() {
        let rules = Rules { attempts: 10, ..Rules::default() };
        let answered = Outcome::Answered { status: 500, headers: &[], body: &[] };
        let delay = |number| match rules.decide(Try { number, jitter: 1.0, ..this(&Method::GET) }, answered) {
            Decision::Again { delay, .. } => delay.as_millis(),
            _ => 0,
        };
        let delays: Vec<u128> = (1..=10).map(delay).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 0]);
    }

    #[test]
    fn a_post_that_only_reads_is_sent_again() {
        let reads = Try { repeatable: true, ..this(&Method::POST) };
        let answered = |status| Outcome::Answered { status, headers: &[], body: &[] };
        assert_eq!(Rules::default().decide(reads, answered(500)), again(500, 250));
        assert_eq!(Rules::default().decide(reads, answered(503)), throttled(503, 250));
        let failure = Failure::new(FailureKind::Timeout, "why");
        assert!(matches!(Rules::default().decide(reads, Outcome::Failed(&failure)), Decision::Again { .. }));
    }

    #[test]
    fn a_secondary_limit_that_says_nothing_waits_a_minute_and_then_longer() {
        let body = br#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}"#;
        for (number, seconds) in [(1, 60), (2, 120), (3, 240)] {
            let this = Try { number, ..this(&Method::GET) };
            let decision = Rules::default().decide(this, Outcome::Answered { status: 403, headers: &[], body });
            assert_eq!(
                decision,
                Decision::Throttled {
                    until_ms: NOW + seconds * 1_000,
                    reason: "status 403, a secondary rate limit".to_owned()
                }
            );
        }
    }

    #[test]
    fn what_a_connector_rejects_is_tried_again_as_the_server_says() {
        let rejected = |number, pairs: &[(&str, &str)]| {
            let headers: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let outcome = Outcome::Rejected { headers: &headers, reason: "busy" };
            Rules::default().decide(Try { number, ..this(&Method::POST) }, outcome)
        };
        let reason = "rejected by the connector: busy".to_owned();
        let delay = Duration::from_millis(250);
        assert_eq!(rejected(1, &[]), Decision::Again { delay, reason: reason.clone() });
        assert_eq!(rejected(6, &[]), Decision::Final);
        assert_eq!(rejected(1, &[("retry-after", "7")]), Decision::Throttled { until_ms: NOW + 7_000, reason });
    }
}
