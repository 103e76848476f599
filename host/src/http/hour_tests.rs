//! An hour of an API with ten keys, simulated: three streams ask as fast as they may, each key's limit changes in the middle,
//! and time passes only when everybody waits. Nothing here sleeps.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::time::Sleep;

const NOW: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const KEYS: usize = 10;
/// Each stream has so many requests under way at most.
const WORKERS_A_STREAM: usize = 8;

/// A clock that many can wait on; it goes on to the next one that is due when nobody has anything else to do.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<Sleepers>>);

#[derive(Default)]
struct Sleepers {
    now: Duration,
    waiting: Vec<(Duration, Waker)>,
}

impl Clock {
    fn get(&self) -> std::sync::MutexGuard<'_, Sleepers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to the next that is due; false where nobody waits.
    fn go_on(&self) -> bool {
        let mut clock = self.get();
        let Some(next) = clock.waiting.iter().map(|(at, _)| *at).min() else { return false };
        clock.now = clock.now.max(next);
        let now = clock.now;
        let (due, waiting) = std::mem::take(&mut clock.waiting).into_iter().partition(|(at, _)| *at <= now);
        clock.waiting = waiting;
        drop(clock);
        let due: Vec<(Duration, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
        true
    }
}

impl Time for Clock {
    fn now_ms(&self) -> u64 {
        NOW + u64::try_from(self.get().now.as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.get().now
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let clock = self.clone();
        let at = self.get().now + duration;
        Box::pin(std::future::poll_fn(move |context: &mut Context<'_>| {
            let mut clock = clock.get();
            if clock.now >= at {
                return Poll::Ready(());
            }
            clock.waiting.push((at, context.waker().clone()));
            Poll::Pending
        }))
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end; where it waits for nothing but time, time goes on.
fn run(clock: &Clock, future: impl Future<Output = ()>) {
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        while flag.0.swap(false, Ordering::Relaxed) {
            if future.as_mut().poll(&mut context).is_ready() {
                return;
            }
        }
        assert!(clock.go_on(), "everybody waits for each other");
    }
}

/// A server's budget of one key: so many requests in a window that begins anew by the clock.
struct Served {
    window: Cell<u64>,
    used: Cell<u32>,
}

/// What the server allows in a window of a key, and how long a window is. Some are told by one family of headers, some by
/// the other; all change after half an hour, in the middle of a window, most to less and some to more.
fn allowed(key: usize, at_ms: u64) -> (u32, u64) {
    let length_ms = [60_000, 300_000, 900_000][key % 3];
    let early = [600, 900, 1_200, 300][key % 4];
    let late = [200, 1_200, 500, 300][key % 4];
    (if at_ms < HOUR_MS / 2 { early } else { late }, length_ms)
}

#[derive(Default)]
struct Tally {
    sent: Cell<u64>,
    refused: Cell<u64>,
}

/// Answers as a server would: a status and headers.
fn serve(served: &Served, key: usize, at_ms: u64) -> (u16, Vec<(String, String)>) {
    let (limit, length_ms) = allowed(key, at_ms);
    let window = at_ms / length_ms;
    if served.window.replace(window) != window {
        served.used.set(0);
    }
    let status = if served.used.get() < limit { 200 } else { 429 };
    if status == 200 {
        served.used.set(served.used.get() + 1);
    }
    let left = limit.saturating_sub(served.used.get());
    let reset_ms = (window + 1) * length_ms - at_ms;
    let header = |name: &str, value: String| (name.to_owned(), value);
    let headers = match key % 2 {
        0 => vec![
            header("X-RateLimit-Limit", limit.to_string()),
            header("X-RateLimit-Remaining", left.to_string()),
            header("X-RateLimit-Reset", (NOW + at_ms + reset_ms).div_ceil(1_000).to_string()),
        ],
        _ => vec![
            header("RateLimit-Policy", format!("\"default\";q={limit};w={}", length_ms / 1_000)),
            header("RateLimit", format!("\"default\";r={left};t={}", reset_ms.div_ceil(1_000))),
        ],
    };
    (status, headers)
}

#[test]
fn an_hour_of_ten_keys_has_no_429_and_wastes_nothing() {
    let clock = Clock::default();
    let budgets = Budgets::new(
        Arc::new(clock.clone()),
        Arc::new(Silent),
        Rates::default(),
        Duration::from_secs(3_600),
        WORKERS_A_STREAM * 3,
    );
    let keys: Vec<String> = (0..KEYS).map(|key| budget_id("api.example", None, Some(&key.to_string()))).collect();
    let served: Vec<Served> = (0..KEYS).map(|_| Served { window: Cell::new(0), used: Cell::new(0) }).collect();
    let tally = Tally::default();
    let over = |clock: &Clock| clock.now_ms() - NOW >= HOUR_MS;

    let worker = |stream: usize, number: usize| {
        let (budgets, clock, keys, served, tally) = (&budgets, &clock, &keys, &served, &tally);
        async move {
            // No two requests take the same time.
            let mut jitter = fastrand::Rng::with_seed((stream * 100 + number) as u64);
            while !over(clock) {
                let (key, mut permit) = budgets.admit_any("stream", keys).await.unwrap();
                if over(clock) {
                    return;
                }
                // There and back; the server counts it on its arrival.
                clock.sleep(Duration::from_millis(jitter.u64(5..40))).await;
                let (status, headers) = serve(&served[key], key, clock.now_ms() - NOW);
                clock.sleep(Duration::from_millis(jitter.u64(5..60))).await;
                tally.sent.set(tally.sent.get() + 1);
                if status == 429 {
                    tally.refused.set(tally.refused.get() + 1);
                }
                let now_ms = clock.now_ms();
                permit.answered(&learned::windows(&headers, &HeaderNames::default(), now_ms), now_ms);
            }
        }
    };
    let workers = (0..3).flat_map(|stream| (0..WORKERS_A_STREAM).map(move |number| (stream, number)));
    let workers: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> =
        workers.map(|(stream, number)| Box::pin(worker(stream, number)) as _).collect();
    run(&clock, async {
        futures_util::future::join_all(workers).await;
    });

    // What the server would have let through, window by window. In the window in which its limit changes, nobody can use
    // more than the greater of both, nor has to use more than the lesser; the lesser is what a client can count on.
    let mut most = 0_u64;
    for key in 0..KEYS {
        let length_ms = allowed(key, 0).1;
        for window in 0..HOUR_MS.div_ceil(length_ms) {
            let (first, last) = (allowed(key, window * length_ms).0, allowed(key, (window + 1) * length_ms - 1).0);
            most += u64::from(first.min(last));
        }
    }
    let (sent, refused) = (tally.sent.get(), tally.refused.get());
    let used = 100.0 * (sent - refused) as f64 / most as f64;
    assert_eq!(refused, 0, "of {sent}");
    assert!(used >= 97.0, "{used:.2} % of {most}");
    assert!(used <= 101.0, "{used:.2} % of {most}: the simulation allows more than it says");
}
