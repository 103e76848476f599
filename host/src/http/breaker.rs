//! Stops a storm: a host that fails again and again, whatever it is asked, is left alone for a while. Then one request finds
//! out whether it is back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Hosts that are remembered; one that has not failed costs nothing.
const MAX_HOSTS: usize = 1024;

/// When a host is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRules {
    /// Failures in a row after which it is: connections that fail or break, silence, and the statuses 500, 502 and 504.
    /// 30 by default: more than four requests with six tries each, so that none of them is cut short. 0 for never.
    pub failures: u32,
    /// For how long. 30 s by default; twice as long each time it is still not back, up to ten minutes.
    pub rest: Duration,
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self { failures: 30, rest: Duration::from_secs(30) }
    }
}

const LONGEST_REST: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
struct Host {
    failures: u32,
    rests: u32,
    open_until_ms: u64,
    probing: bool,
}

/// The breakers of all hosts of a client.
#[derive(Debug)]
pub(super) struct Breakers {
    rules: BreakerRules,
    hosts: Mutex<HashMap<String, Host>>,
}

impl Breakers {
    pub(super) fn new(rules: BreakerRules) -> Self {
        Self { rules, hosts: Mutex::default() }
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request to a host through, or says until when (in milliseconds since the Unix epoch) and after how many
    /// failures the host is left alone.
    pub(super) fn check(&self, name: &str, now_ms: u64) -> Result<(), (u64, u32)> {
        let mut hosts = self.hosts();
        let Some(host) = hosts.get_mut(name).filter(|host| host.open_until_ms > 0) else { return Ok(()) };
        // A clock that went back makes no rest longer than the longest.
        let longest_ms = u64::try_from(LONGEST_REST.max(self.rules.rest).as_millis()).unwrap_or(u64::MAX);
        host.open_until_ms = host.open_until_ms.min(now_ms.saturating_add(longest_ms));
        if now_ms < host.open_until_ms || host.probing {
            return Err((host.open_until_ms.max(now_ms), host.failures));
        }
        host.probing = true;
        Ok(())
    }

    /// Takes what came of a request.
    pub(super) fn outcome(&self, name: &str, failed: bool, now_ms: u64) {
        let mut hosts = self.hosts();
        if !failed {
            hosts.remove(name);
            return;
        }
        if self.rules.failures == 0 || (hosts.len() >= MAX_HOSTS && !hosts.contains_key(name)) {
            return;
        }
        let host = hosts.entry(name.to_owned()).or_default();
        host.failures = host.failures.saturating_add(1);
        if host.probing || (host.open_until_ms == 0 && host.failures >= self.rules.failures) {
            let rest = self.rules.rest.saturating_mul(1 << host.rests.min(10)).min(LONGEST_REST);
            host.rests = host.rests.saturating_add(1);
            host.probing = false;
            host.open_until_ms = now_ms.saturating_add(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// A request that was let through ended without an outcome: somebody else may find out.
    pub(super) fn abandoned(&self, name: &str) {
        if let Some(host) = self.hosts().get_mut(name) {
            host.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_fails_in_a_row_rests_and_then_one_request_finds_out() {
        let breakers = Breakers::new(BreakerRules { failures: 3, rest: Duration::from_secs(30) });
        for _ in 0..2 {
            breakers.outcome("a", true, 0);
        }
        breakers.outcome("a", false, 0);
        for _ in 0..3 {
            assert_eq!(breakers.check("a", 0), Ok(()));
            breakers.outcome("a", true, 0);
        }
        assert_eq!(breakers.check("a", 29_999), Err((30_000, 3)));
        assert_eq!(breakers.check("b", 29_999), Ok(()));
        assert_eq!(breakers.check("a", 30_000), Ok(()));
        assert!(breakers.check("a", 30_001).is_err(), "one at a time");
        breakers.outcome("a", true, 30_001);
        assert_eq!(breakers.check("a", 60_000), Err((90_001, 4)), "twice as long");
        assert_eq!(breakers.check("a", 90_001), Ok(()));
        breakers.abandoned("a");
        assert_eq!(breakers.check("a", 90_002), Ok(()));
        breakers.outcome("a", false, 90_003);
        assert_eq!(breakers.check("a", 90_003), Ok(()));
        assert_eq!(breakers.check("a", 90_003), Ok(()));
    }

    #[test]
    fn no_number_of_failures_means_never() {
        let breakers = Breakers::new(BreakerRules { failures: 0, ..BreakerRules::default() });
        for _ in 0..1_000 {
            breakers.outcome("a", true, 0);
        }
        assert_eq!(breakers.check("a", 0), Ok(()));
    }
}
