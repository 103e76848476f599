//! A clock that a test owns: the mock API and the host's runs look at the same one, and it goes on only when everybody waits.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, UNIX_EPOCH},
};

use host::time::{Sleep, Time};
use tests::mock;
use tokio::sync::Notify;

/// When every test begins, in milliseconds since the Unix epoch: a full second, since servers tell full seconds.
pub(crate) const BEGIN_MS: u64 = 1_700_000_000_000;

/// A wait that is as long is meant never to end.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// How often all others are let on before it is believed that they wait.
const TURNS: usize = 50;

/// The clock. Clones show the same time.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Somebody began to wait, or a request came back.
    changed: Notify,
}

#[derive(Default)]
struct State {
    passed: Duration,
    waiting: BTreeMap<u64, (Duration, Waker)>,
    waits: u64,
    requests: i64,
}

impl Clock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that has passed since the beginning.
    pub(crate) fn passed(&self) -> Duration {
        self.state().passed
    }

    /// Lets so much time pass.
    pub(crate) fn advance(&self, duration: Duration) {
        self.state().passed += duration;
    }

    /// The same clock, for the server.
    pub(crate) fn of_server(&self) -> mock::Clock {
        let clock = self.clone();
        mock::Clock::new(move || UNIX_EPOCH + Duration::from_millis(BEGIN_MS) + clock.passed())
    }

    /// A request goes out (1) or is answered (-1): as long as one is under way, no time passes.
    pub(crate) fn request(&self, change: i64) {
        self.state().requests += change;
        self.0.changed.notify_one();
    }

    /// Goes on to the next wait that ends, where nobody has anything else to do; false where nobody waits.
    fn goes_on(&self) -> bool {
        let mut state = self.state();
        let Some(next) = state.waiting.values().map(|(at, _)| *at).min().filter(|_| state.requests == 0) else {
            return false;
        };
        state.passed = state.passed.max(next);
        let passed = state.passed;
        let due: Vec<Waker> =
            state.waiting.values().filter(|(at, _)| *at <= passed).map(|(_, waker)| waker.clone()).collect();
        drop(state);
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// Lets time pass for whoever waits; never ends.
    pub(crate) async fn run(&self) -> std::convert::Infallible {
        loop {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            if !self.goes_on() {
                self.0.changed.notified().await;
            }
        }
    }
}

impl Time for Clock {
    fn now_ms(&self) -> u64 {
        BEGIN_MS + u64::try_from(self.passed().as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.passed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        if duration >= FOR_EVER {
            return Box::pin(std::future::pending());
        }
        let mut state = self.state();
        state.waits += 1;
        Box::pin(Wait { clock: self.clone(), number: state.waits, until: state.passed + duration })
    }
}

/// One who waits; given up, it holds nobody up and drives nobody on.
struct Wait {
    clock: Clock,
    number: u64,
    until: Duration,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.state();
        if state.passed >= self.until {
            return Poll::Ready(());
        }
        state.waiting.insert(self.number, (self.until, context.waker().clone()));
        drop(state);
        self.clock.0.changed.notify_one();
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.clock.state().waiting.remove(&self.number);
    }
}
