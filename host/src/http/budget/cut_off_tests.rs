//! A store that others hold, or that is broken, with a clock that moves only when somebody waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::shared::{Store, Unshared};
use super::*;
use crate::event::Silent;
use crate::time::{Sleep, VirtualClock};

const NOW: u64 = 1_700_000_000_000;

/// A store that can be taken away.
#[derive(Default)]
struct Shop {
    states: Mutex<HashMap<String, state::State>>,
    /// So many changes fail from now on.
    failing: AtomicUsize,
    broken: bool,
    asked: AtomicUsize,
}

impl Store for Shop {
    fn update(&self, name: &str, change: &mut dyn FnMut(&mut state::State)) -> Result<(), Unshared> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let fails = self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        match (fails, self.broken) {
            (true, true) => return Err(Unshared::Broken("the disk is full".to_owned())),
            (true, false) => return Err(Unshared::Held("another process holds it".to_owned())),
            (false, _) => {}
        }
        change(self.states.lock().unwrap().entry(name.to_owned()).or_default());
        Ok(())
    }
}

/// Keeps warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn observe(&self, event: Event) {
        if let Event::Log { message, .. } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

fn process(shop: &Arc<Shop>, time: impl Time, rate: Option<&str>, observer: Arc<dyn Observer>) -> Budgets {
    let rates = Rates { default: rate.map(|rate| rate.parse().unwrap()), ..Rates::default() };
    let pool = Pool::with_store(shop.clone());
    Budgets::within(pool, Arc::new(time), observer, rates, Duration::from_secs(3_600), 16)
}

fn spent(in_ms: u64) -> Vec<(String, Learned)> {
    let reset_at_ms = Some(NOW + in_ms);
    vec![(String::new(), Learned { remaining: Some(0), reset_at_ms, ..Learned::default() })]
}

/// A clock of which each wait lets something else happen first.
struct Meanwhile<F>(VirtualClock, F);

impl<F: Fn() + Send + Sync + 'static> Time for Meanwhile<F> {
    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        (self.1)();
        self.0.sleep(duration)
    }
}

#[tokio::test]
async fn a_request_waits_for_what_others_are_about_to_say() {
    let clock = VirtualClock::starting_at(NOW);
    let shop = Arc::new(Shop { failing: AtomicUsize::new(usize::MAX), ..Shop::default() });
    let (store, warnings, looks) = (shop.clone(), Arc::new(Warnings::default()), AtomicUsize::new(0));
    // Whoever holds it writes down that nothing is left.
    let holder = move || {
        if looks.fetch_add(1, Ordering::Relaxed) == 20 {
            let mut states = store.states.lock().unwrap();
            states.entry("a".to_owned()).or_default().learn(&spent(60_000), NOW, NOW);
            store.failing.store(0, Ordering::Relaxed);
        }
    };
    let budgets = process(&shop, Meanwhile(clock.clone(), holder), Some("1000/s"), warnings.clone());
    drop(budgets.admit("r", "a").await.unwrap());
    assert_eq!(clock.now_ms(), NOW + 60_000, "deciding alone it would have met a 429");
    assert_eq!(*warnings.0.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_learned_while_others_hold_the_store_is_told_later() {
    let clock = VirtualClock::starting_at(NOW);
    let shop = Arc::new(Shop::default());
    let one = process(&shop, clock.clone(), Some("1000/s"), Arc::new(Silent));
    let two = process(&shop, clock.clone(), None, Arc::new(Silent));
    let mut permit = one.admit("r", "a").await.unwrap();
    shop.failing.store(2, Ordering::Relaxed);
    permit.answered(&spent(5_000), NOW);
    permit.pause(NOW + 7_000);
    // The store is there again, and with the request's return all is told.
    drop(permit);
    drop(two.admit("r", "a").await.unwrap());
    assert_eq!(clock.now_ms(), NOW + 7_000);
    assert!(one.status("r", "a") == two.status("r", "a"));
}

#[tokio::test]
async fn who_holds_the_store_for_ever_holds_nobody_up_for_ever() {
    let clock = VirtualClock::starting_at(NOW);
    let shop = Arc::new(Shop { failing: AtomicUsize::new(usize::MAX), ..Shop::default() });
    let warnings = Arc::new(Warnings::default());
    let budgets = process(&shop, clock.clone(), Some("10/s"), warnings.clone());
    drop(budgets.admit("r", "a").await.unwrap());
    assert_eq!(clock.now_ms(), NOW + 5_000);
    let warning = "rate limits are not shared with other processes: another process holds it";
    assert_eq!(*warnings.0.lock().unwrap(), [warning]);
    let asked = shop.asked.load(Ordering::Relaxed);
    for _ in 0..10 {
        drop(budgets.admit("r", "a").await.unwrap());
    }
    // Its own rate holds even so, and the store is hardly asked any more.
    assert_eq!(clock.now_ms(), NOW + 6_000);
    assert!(shop.asked.load(Ordering::Relaxed) - asked <= 2);
    // Once it is free, all that was taken meanwhile is known there.
    shop.failing.store(0, Ordering::Relaxed);
    clock.advance(Duration::from_secs(1));
    let now_ms = clock.now_ms();
    drop(budgets.admit("r", "a").await.unwrap());
    drop(process(&shop, clock.clone(), None, Arc::new(Silent)).admit("r", "a").await.unwrap());
    assert_eq!(clock.now_ms() - now_ms, 100, "the other keeps to the same rate");
}

#[tokio::test]
async fn a_broken_store_is_not_waited_for() {
    let clock = VirtualClock::starting_at(NOW);
    let shop = Arc::new(Shop { failing: AtomicUsize::new(usize::MAX), broken: true, ..Shop::default() });
    let warnings = Arc::new(Warnings::default());
    let budgets = process(&shop, clock.clone(), Some("10/s"), warnings.clone());
    for _ in 0..3 {
        drop(budgets.admit("r", "a").await.unwrap());
    }
    assert_eq!(clock.now_ms(), NOW + 200);
    assert_eq!(*warnings.0.lock().unwrap(), ["rate limits are not shared with other processes: the disk is full"]);
}
