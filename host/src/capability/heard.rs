//! What a guest was told besides responses: times, stored values, budgets. The archive keeps it, so that a replay can tell
//! the guest the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::time::{Sleep, Time};

/// A guest that hears more different answers than this between two pages gets the truth, but a replay repeats the last one
/// that was kept: else it would be a way to fill the host's memory. Equal answers in a row count as one.
const MAX_ANSWERS: usize = 65_536;

/// Equal answers in a row: the answer, and how often it was given.
pub type Repeated<T> = Vec<(T, u64)>;

/// What a guest heard between two pages, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Times, in milliseconds since the Unix epoch, of the contract's clock and of WASI's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clock: Repeated<u64>,
    /// Stored values that it read and had not written itself: key, value in Base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<(String, String)>,
    /// What it was told of budgets: permits left, and when the budget is full again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Repeated<(Option<u32>, Option<u64>)>,
}

impl Heard {
    /// Tells whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.clock.is_empty() && self.storage.is_empty() && self.budgets.is_empty()
    }

    /// Adds what was heard later.
    pub fn extend(&mut self, later: Self) {
        self.clock.extend(later.clock);
        self.storage.extend(later.storage);
        self.budgets.extend(later.budgets);
    }

    /// Returns the stored values.
    pub fn stored(&self) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
        self.storage.iter().filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value).ok()?)))
    }
}

/// Writes a stored value down.
pub(crate) fn stored(key: &str, value: &[u8]) -> (String, String) {
    (key.to_owned(), STANDARD.encode(value))
}

/// Notes an answer.
pub(crate) fn note<T: PartialEq>(answers: &mut Repeated<T>, answer: T) {
    let kept = answers.len();
    match answers.last_mut() {
        Some((last, times)) if *last == answer => *times = times.saturating_add(1),
        _ if kept < MAX_ANSWERS => answers.push((answer, 1)),
        _ => {}
    }
}

/// Takes the next of recorded answers; the last one stays.
pub(crate) fn next<T: Copy>(answers: &mut Repeated<T>, at: &mut usize) -> Option<T> {
    let last = answers.len().checked_sub(1)?;
    let (answer, left) = answers.get_mut(*at)?;
    let answer = *answer;
    *left = left.saturating_sub(1);
    if *left == 0 && *at < last {
        *at += 1;
    }
    Some(answer)
}

/// A guest's time, of which every answer is kept. Its monotonic time is made from the same answers, so that there is one
/// list to repeat.
#[derive(Clone)]
pub struct GuestTime {
    time: Arc<dyn Time>,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Default)]
struct Answers {
    heard: Repeated<u64>,
    first_ms: Option<u64>,
    newest_ms: u64,
}

impl GuestTime {
    /// Makes a guest's time from the host's.
    pub fn new(time: Arc<dyn Time>) -> Self {
        Self { time, answers: Arc::default() }
    }

    /// Takes the answers given since the last call.
    pub fn take(&self) -> Repeated<u64> {
        std::mem::take(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner).heard)
    }
}

impl Time for GuestTime {
    fn now_ms(&self) -> u64 {
        let now = self.time.now_ms();
        note(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner).heard, now);
        now
    }

    fn monotonic(&self) -> Duration {
        let now = self.now_ms();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *answers.first_ms.get_or_insert(now);
        answers.newest_ms = answers.newest_ms.max(now);
        Duration::from_millis(answers.newest_ms.saturating_sub(first))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.time.sleep(duration)
    }
}

/// The time of a recorded guest, told again. Waits are over at once.
pub struct RecordedTime {
    answers: Mutex<(Repeated<u64>, usize)>,
    started_ms: u64,
}

impl RecordedTime {
    /// Makes a time that gives the recorded answers in their order; the last one (or `started_ms`) for good after them.
    pub fn new(answers: Repeated<u64>, started_ms: u64) -> Self {
        Self { answers: Mutex::new((answers, 0)), started_ms }
    }
}

impl Time for RecordedTime {
    fn now_ms(&self) -> u64 {
        let mut guard = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (answers, at) = &mut *guard;
        next(answers, at).unwrap_or(self.started_ms)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }

    fn sleep(&self, _duration: Duration) -> Sleep {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::VirtualClock;

    #[test]
    fn what_was_heard_is_told_again() {
        let clock = VirtualClock::starting_at(5);
        let time = GuestTime::new(Arc::new(clock.clone()));
        let hear = |time: &dyn Time, advance: &dyn Fn()| {
            let first = (time.now_ms(), time.now_ms(), time.monotonic());
            advance();
            (first, time.now_ms(), time.monotonic())
        };
        let heard = hear(&time, &|| clock.advance(Duration::from_secs(1)));
        assert_eq!(heard, ((5, 5, Duration::ZERO), 1_005, Duration::from_secs(1)));
        let answers = time.take();
        assert_eq!(answers, [(5, 3), (1_005, 2)]);
        let again = GuestTime::new(Arc::new(RecordedTime::new(answers, 0)));
        assert_eq!(hear(&again, &|| {}), heard);
        assert_eq!(again.now_ms(), 1_005);
        assert_eq!(RecordedTime::new(Vec::new(), 7).now_ms(), 7);
    }
}
