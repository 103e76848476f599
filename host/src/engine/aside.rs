//! Guests that compute for long go aside: to a thread of their own.
//!
//! Guests share few threads, since nearly all of their time they wait. One that computes yields every tick, but between two
//! ticks all others on its thread wait for it. So a call is polled where it was made until its guest has computed for some
//! ticks without calling the host; then it goes on in a thread of its own, to which the system prefers the others, and in
//! which it rests most of the time if it goes on like that (`pace`).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
#[cfg(target_os = "linux")]
use std::task::ready;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Ticks without a call of the host after which a guest goes aside. Parsing a large page in a slow language takes one or
/// two.
pub(super) const TICKS: u64 = 3;

/// Set by a guest's store when it should go aside.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy(Arc<AtomicBool>);

impl Busy {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether it was set since this was last asked.
    #[cfg(target_os = "linux")]
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Why a call that went aside has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("no thread can be started: {0}")]
    Thread(std::io::Error),
    #[error("its thread crashed")]
    Crashed,
}

/// Runs a call to its end, here or in a thread of its own. Dropped, the call is dropped at its next pause.
pub(super) async fn run<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
    busy: Busy,
) -> Result<T, Lost> {
    let mut call: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(call);
    let here = poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if busy.is_set() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    if let Some(value) = here.await {
        return Ok(value);
    }
    let (mut wanted, result) = oneshot::channel();
    let runtime = Handle::current();
    let work = move || {
        step_back();
        let value = runtime.block_on(async {
            let abandoned = pin!(wanted.closed());
            tokio::select! {
                biased;
                () = abandoned => None,
                value = paced(call, &busy) => Some(value),
            }
        });
        if let Some(value) = value {
            // Whoever asked may have gone in between.
            let _ = wanted.send(value);
        }
    };
    std::thread::Builder::new().name("guest".to_owned()).spawn(work).map_err(Lost::Thread)?;
    result.await.map_err(|_| Lost::Crashed)
}

/// Polls a call that may compute for long at a stretch, at its pace.
#[cfg(target_os = "linux")]
async fn paced<T>(mut call: Pin<Box<dyn Future<Output = T> + Send>>, busy: &Busy) -> T {
    use super::pace::{Pace, thread_time};

    let mut pace = Pace::new();
    let mut rest: Option<Pin<Box<tokio::time::Sleep>>> = None;
    poll_fn(move |context| {
        loop {
            if let Some(sleep) = &mut rest {
                ready!(sleep.as_mut().poll(context));
                rest = None;
            }
            let begun = thread_time();
            if let Poll::Ready(value) = call.as_mut().poll(context) {
                return Poll::Ready(value);
            }
            let wait = pace.after(thread_time().saturating_sub(begun), busy.take());
            if wait.is_zero() {
                return Poll::Pending;
            }
            rest = Some(Box::pin(tokio::time::sleep(wait)));
        }
    })
    .await
}

#[cfg(not(target_os = "linux"))]
async fn paced<T>(call: Pin<Box<dyn Future<Output = T> + Send>>, _busy: &Busy) -> T {
    call.await
}

/// Has the system prefer other threads to this one, where both want to compute.
#[cfg(target_os = "linux")]
fn step_back() {
    // On Linux a thread has a niceness of its own, setpriority(2). At 15 its share beside one busy thread is 3 %. What
    // cannot be set costs others time, and nothing else.
    let _ = rustix::process::nice(15);
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use super::*;

    async fn yield_now() -> ThreadId {
        tokio::task::yield_now().await;
        thread::current().id()
    }

    #[tokio::test]
    async fn a_call_that_waits_stays() {
        let threads = run(async { (thread::current().id(), yield_now().await) }, Busy::default()).await.unwrap();
        assert_eq!(threads, (thread::current().id(), thread::current().id()));
    }

    #[tokio::test]
    async fn a_call_that_computes_goes_aside() {
        let busy = Busy::default();
        let sign = busy.clone();
        let call = async move {
            sign.set();
            let there = yield_now().await;
            // Timers are those of the runtime that it came from.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            there
        };
        assert_ne!(run(call, busy).await.unwrap(), thread::current().id());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends() {
        let (busy, (held, gone)) = (Busy::default(), oneshot::channel::<()>());
        busy.set();
        let call = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        let mut run = Box::pin(run(call, busy));
        assert!(poll_fn(|context| Poll::Ready(run.as_mut().poll(context).is_pending())).await);
        drop(run);
        assert!(gone.await.is_err());
    }

    #[tokio::test]
    async fn a_crash_is_told() {
        let busy = Busy::default();
        busy.set();
        let call = async {
            yield_now().await;
            assert_eq!(1, 2, "a crash that this test provokes");
        };
        assert_eq!(run(call, busy).await.unwrap_err().to_string(), "its thread crashed");
    }
}
