//! The time of a case: it stands still but for waits, which it goes through at once.

use std::time::Duration;

use crate::time::{Sleep, Time, VirtualClock};

/// A wait that is meant never to end: a part's age in a case, so that what is committed hangs on pages and not on the clock.
pub(super) const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A virtual clock for which waits without end have none.
#[derive(Debug, Clone)]
pub(super) struct CaseClock(VirtualClock);

impl CaseClock {
    pub(super) fn starting_at(epoch_ms: u64) -> Self {
        Self(VirtualClock::starting_at(epoch_ms))
    }

    pub(super) fn advance(&self, duration: Duration) {
        self.0.advance(duration);
    }
}

impl Time for CaseClock {
    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        // What is left of one that began a while ago is still far longer than any other wait.
        if duration >= FOR_EVER / 2 { Box::pin(std::future::pending()) } else { self.0.sleep(duration) }
    }
}
