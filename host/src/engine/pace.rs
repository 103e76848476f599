//! How much a guest may compute that does so for long, while others in the process have work.
//!
//! A low priority is not enough where two processors are threads of one core: what runs on one of them slows the other. So
//! a guest that has not called the host for a while rests nine tenths of the time, as long as others use the processors.
//! Alone it is not held up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What no guest but a runaway computes between two calls of the host, or one that takes a very large page apart.
const PATIENCE: Duration = Duration::from_millis(300);

/// Rests for so many times as long as it computed.
const RESTS: u32 = 9;

/// Time over which the others' use of the processors is taken.
const SAMPLE: Duration = Duration::from_millis(100);

/// Others have work when they use more than this part of the processors.
const BUSY: f64 = 0.125;

/// Processor time of all guests that compute in threads of their own, in nanoseconds.
static ASIDE: AtomicU64 = AtomicU64::new(0);

/// One guest's pace.
#[derive(Debug)]
pub(super) struct Pace {
    computed: Duration,
    before: Clocks,
    others_busy: bool,
}

/// Clocks that run for the process as a whole.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    wall: Duration,
    /// Processor time of the whole process.
    process: Duration,
    /// That of the guests in threads of their own.
    aside: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { computed: Duration::ZERO, before: Clocks::now(), others_busy: false }
    }

    /// Takes note of processor time that the guest took, and of whether it would go on computing; returns how long it rests.
    pub(super) fn after(&mut self, took: Duration, computes: bool) -> Duration {
        ASIDE.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.at(took, computes, Clocks::now())
    }

    fn at(&mut self, took: Duration, computes: bool, now: Clocks) -> Duration {
        if now.wall.saturating_sub(self.before.wall) >= SAMPLE {
            self.others_busy = now.others_since(&self.before) > BUSY * processors();
            self.before = now;
        }
        if !computes {
            self.computed = Duration::ZERO;
            return Duration::ZERO;
        }
        self.computed += took;
        if self.computed > PATIENCE && self.others_busy { took.saturating_mul(RESTS) } else { Duration::ZERO }
    }
}

impl Clocks {
    fn now() -> Self {
        Self {
            wall: clock(rustix::time::ClockId::Monotonic),
            process: clock(rustix::time::ClockId::ProcessCPUTime),
            aside: Duration::from_nanos(ASIDE.load(Ordering::Relaxed)),
        }
    }

    /// How many processors the others used since then, on average.
    fn others_since(&self, before: &Self) -> f64 {
        let process = self.process.saturating_sub(before.process);
        let others = process.saturating_sub(self.aside.saturating_sub(before.aside));
        others.as_secs_f64() / self.wall.saturating_sub(before.wall).as_secs_f64().max(1e-9)
    }
}

/// Processor time of this thread.
pub(super) fn thread_time() -> Duration {
    clock(rustix::time::ClockId::ThreadCPUTime)
}

fn clock(id: rustix::time::ClockId) -> Duration {
    Duration::try_from(rustix::time::clock_gettime(id)).unwrap_or_default()
}

fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    /// What a guest that computes all the time is told in each of its ticks, where others use so many processors.
    fn rests(others: f64, ticks: u32) -> Vec<Duration> {
        let mut now = Clocks { wall: TICK, process: TICK, aside: TICK };
        let mut pace = Pace { computed: Duration::ZERO, before: now, others_busy: false };
        let tick = |_| {
            now.wall += TICK;
            now.aside += TICK;
            now.process += TICK + TICK.mul_f64(others);
            let rest = pace.at(TICK, true, now);
            now.wall += rest;
            now.process += rest.mul_f64(others);
            rest
        };
        (0..ticks).map(tick).collect()
    }

    #[test]
    fn a_runaway_rests_while_others_work() {
        let rests = rests(processors() * 0.5, 200);
        assert!(rests[..30].iter().all(Duration::is_zero), "{rests:?}");
        assert!(rests[40..].iter().all(|rest| *rest == 9 * TICK), "{rests:?}");
    }

    #[test]
    fn alone_it_does_not() {
        assert!(rests(processors() * 0.1, 200).iter().all(Duration::is_zero));
    }

    #[test]
    fn neither_does_one_that_calls_the_host() {
        let now = Clocks { wall: TICK, process: TICK, aside: TICK };
        let mut pace = Pace { computed: Duration::ZERO, before: now, others_busy: true };
        for _ in 0..100 {
            assert_eq!(pace.at(TICK, true, now), Duration::ZERO);
            assert_eq!(pace.at(Duration::from_millis(1), false, now), Duration::ZERO);
        }
    }
}
