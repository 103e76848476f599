//! Time as an argument: everything in the host that asks for the time or waits does it through [`Time`], so that a test
//! (or a replay) decides what time it is.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A wait that [`Time::sleep`] began.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of wall-clock time, monotonic time and waits.
pub trait Time: Send + Sync + 'static {
    /// Returns milliseconds since the Unix epoch, UTC.
    fn now_ms(&self) -> u64;

    /// Returns the time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;

    /// Completes when `duration` has passed.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Makes a clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Time for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until somebody waits: a wait moves it forward at once. For tests and simulations.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    now: Arc<Mutex<Duration>>,
    epoch_ms: u64,
}

impl VirtualClock {
    /// Makes a clock that shows `epoch_ms` milliseconds since the Unix epoch.
    pub fn starting_at(epoch_ms: u64) -> Self {
        Self { now: Arc::new(Mutex::new(Duration::ZERO)), epoch_ms }
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) += duration;
    }
}

impl Time for VirtualClock {
    fn now_ms(&self) -> u64 {
        self.epoch_ms.saturating_add(u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.advance(duration);
        Box::pin(std::future::ready(()))
    }
}

/// The date of a day, counted from 1970-01-01, by the proleptic Gregorian calendar: year, month, day. The algorithm is Howard
/// Hinnant's civil_from_days.
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`date`]: days from 1970-01-01, counted in years that start in March, so that the leap day is the last.
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Of the months from March on, 153 days come in every five.
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Writes a moment as `2015-08-30T12:36:00Z` (RFC 3339, UTC), without its fraction of a second.
pub fn rfc3339(epoch_ms: u64) -> String {
    let seconds = epoch_ms / 1_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(i64::try_from(days).unwrap_or(i64::MAX / 2));
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_moves_the_virtual_clock() {
        let clock = VirtualClock::starting_at(1_000);
        clock.sleep(Duration::from_secs(90)).await;
        assert_eq!(clock.now_ms(), 91_000);
        assert_eq!(clock.monotonic(), Duration::from_secs(90));
    }
}
