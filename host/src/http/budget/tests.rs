//! Budgets with a clock that moves only when somebody waits.

use std::pin::Pin;
use std::task::Poll;

use url::Url;

use super::*;
use crate::event::Silent;
use crate::time::VirtualClock;

const NOW: u64 = 1_700_000_000_000;

fn budgets(rate: Option<&str>) -> (Budgets, VirtualClock) {
    let clock = VirtualClock::starting_at(NOW);
    let rates = Rates { default: rate.map(|rate| rate.parse().unwrap()), ..Rates::default() };
    (Budgets::new(Arc::new(clock.clone()), Arc::new(Silent), rates, Duration::from_secs(3_600), 16), clock)
}

fn learned(remaining: u32, in_ms: u64) -> Vec<(String, Learned)> {
    let reset_at_ms = Some(NOW + in_ms);
    vec![(String::new(), Learned { remaining: Some(remaining), reset_at_ms, ..Learned::default() })]
}

/// Polls once.
async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn a_rate_without_burst_is_a_fixed_delay() {
    let (budgets, clock) = budgets(Some("10/s"));
    for _ in 0..11 {
        drop(budgets.admit("r", "a").await.unwrap());
    }
    assert_eq!(clock.now_ms() - NOW, 1_000);
}

#[tokio::test]
async fn a_burst_goes_out_at_once_and_a_large_claim_waits_in_parts() {
    let (budgets, clock) = budgets(Some("10/s:burst=5"));
    budgets.acquire("r", "a", 5).await.unwrap();
    assert_eq!(clock.now_ms(), NOW);
    budgets.acquire("r", "a", 20).await.unwrap();
    assert_eq!(clock.now_ms() - NOW, 2_000);
}

#[tokio::test]
async fn budgets_of_different_names_do_not_wait_for_each_other() {
    let (budgets, clock) = budgets(None);
    budgets.observe("r", "a", Budget { remaining: Some(0), reset_at_ms: Some(NOW + 5_000) }).unwrap();
    budgets.acquire("r", "b", 1).await.unwrap();
    assert_eq!(clock.now_ms(), NOW);
    budgets.acquire("r", "a", 1).await.unwrap();
    assert_eq!(clock.now_ms() - NOW, 5_000);
    assert_eq!(budgets.status("r", "a"), Budget::default());
}

#[tokio::test]
async fn a_connector_takes_permits_of_a_budget_that_it_observed() {
    let (budgets, clock) = budgets(None);
    let reset_at_ms = Some(NOW + 5_000);
    budgets.observe("r", "points", Budget { remaining: Some(100), reset_at_ms }).unwrap();
    budgets.acquire("r", "points", 60).await.unwrap();
    assert_eq!(budgets.status("r", "points"), Budget { remaining: Some(40), reset_at_ms });
    budgets.acquire("r", "points", 60).await.unwrap();
    assert_eq!(clock.now_ms() - NOW, 5_000);
}

#[tokio::test]
async fn a_request_waits_for_those_in_flight_before_it_waits_for_the_reset() {
    let (budgets, clock) = budgets(None);
    let mut first = budgets.admit("r", "a").await.unwrap();
    first.answered(&learned(1, 60_000), NOW);
    drop(first);
    let mut second = budgets.admit("r", "a").await.unwrap();
    let third = budgets.admit("r", "a");
    tokio::pin!(third);
    assert!(is_pending(third.as_mut()).await);
    // It cost nothing.
    second.answered(&learned(1, 60_000), NOW);
    drop(second);
    drop(third.await.unwrap());
    assert_eq!(clock.now_ms(), NOW);
}

#[tokio::test]
async fn an_answer_that_was_overtaken_does_not_give_permits_back() {
    let (budgets, _) = budgets(None);
    let mut first = budgets.admit("r", "a").await.unwrap();
    let mut second = budgets.admit("r", "a").await.unwrap();
    second.answered(&learned(8, 60_000), NOW);
    first.answered(&learned(9, 61_000), NOW);
    drop((first, second));
    assert_eq!(budgets.status("r", "a").remaining, Some(8));
}

#[tokio::test]
async fn a_reset_in_the_past_or_without_a_time_blocks_nobody() {
    let (budgets, clock) = budgets(None);
    budgets.observe("r", "a", Budget { remaining: Some(0), reset_at_ms: Some(NOW - 1) }).unwrap();
    budgets.observe("r", "a", Budget { remaining: Some(0), reset_at_ms: None }).unwrap();
    budgets.acquire("r", "a", 1).await.unwrap();
    assert_eq!(clock.now_ms(), NOW);
}

#[tokio::test]
async fn a_wait_that_is_given_up_lets_the_next_one_in() {
    let (budgets, _) = budgets(None);
    let mut first = budgets.admit("r", "a").await.unwrap();
    first.answered(&learned(1, 60_000), NOW);
    {
        let waiting = budgets.admit("r", "a");
        tokio::pin!(waiting);
        assert!(is_pending(waiting.as_mut()).await);
    }
    drop(first);
    drop(budgets.admit("r", "a").await.unwrap());
}

#[tokio::test]
async fn a_wait_beyond_the_limit_is_an_error() {
    let (budgets, clock) = budgets(None);
    budgets.observe("r", "a", Budget { remaining: Some(0), reset_at_ms: Some(NOW + 3_600_001) }).unwrap();
    assert!(matches!(budgets.acquire("r", "a", 1).await, Err(Error::Wait { .. })));
    assert_eq!(clock.now_ms(), NOW);
}

#[test]
fn the_number_of_budgets_is_bounded() {
    let (budgets, _) = budgets(None);
    for number in 0..MAX_BUDGETS {
        budgets.observe("r", &number.to_string(), Budget::default()).unwrap();
    }
    assert!(budgets.observe("r", "one more", Budget::default()).is_err());
    budgets.observe("r", "0", Budget::default()).unwrap();
}

#[tokio::test]
async fn the_rates_of_the_description_and_of_the_user_hold_together() {
    let clock = VirtualClock::starting_at(NOW);
    let rates = Rates {
        default: Some("10/s".parse().unwrap()),
        described: vec!["2/s:burst=2".parse().unwrap(), "100/s:burst=100".parse().unwrap()],
        ..Rates::default()
    };
    let budgets = Budgets::new(Arc::new(clock.clone()), Arc::new(Silent), rates, Duration::from_secs(60), 16);
    for _ in 0..4 {
        drop(budgets.admit("r", "a").await.unwrap());
    }
    // One at once and one after 100 ms by the burst, then one each half second since the first.
    assert_eq!(clock.now_ms() - NOW, 1_000);
}

#[tokio::test]
async fn clients_of_one_pool_share_what_is_known() {
    let clock = VirtualClock::starting_at(NOW);
    let pool = Pool::default();
    let client = || {
        let time = Arc::new(clock.clone());
        Budgets::within(pool.clone(), time, Arc::new(Silent), Rates::default(), Duration::from_secs(60), 16)
    };
    let (one, two) = (client(), client());
    one.observe("r", "a", Budget { remaining: Some(0), reset_at_ms: Some(NOW + 5_000) }).unwrap();
    drop(two.admit("r", "a").await.unwrap());
    assert_eq!(clock.now_ms() - NOW, 5_000);
}

#[tokio::test]
async fn of_several_keys_the_one_with_the_most_left_goes() {
    let (budgets, clock) = budgets(None);
    let keys = ["a of key 1", "a of key 2", "a of key 3"];
    let observe = |key: &str, remaining, in_ms| {
        budgets.observe("r", key, Budget { remaining: Some(remaining), reset_at_ms: Some(NOW + in_ms) }).unwrap();
    };
    let next = async || budgets.admit_any("r", &keys).await.unwrap().0;
    assert_eq!(next().await, 0);
    observe(keys[0], 5, 10_000);
    observe(keys[1], 7, 10_000);
    assert_eq!(next().await, 2, "what is not known is asked first");
    observe(keys[2], 0, 3_000);
    assert_eq!(next().await, 1);
    observe(keys[1], 0, 10_000);
    assert_eq!(next().await, 0);
    observe(keys[0], 0, 10_000);
    assert_eq!(clock.now_ms(), NOW, "nobody had to wait so far");
    assert_eq!(next().await, 2, "it is full again first");
    assert_eq!(clock.now_ms(), NOW + 3_000);
}

#[tokio::test]
async fn a_key_of_which_nothing_is_known_is_asked_once_where_the_server_tells_of_others() {
    let (budgets, clock) = budgets(None);
    let keys = ["a of key 1", "a of key 2"];
    let next = async || budgets.admit_any("r", &keys).await.unwrap();
    // As long as nothing is known of any, nobody can tell that an answer is worth the wait.
    let (first, second, third) = (next().await, next().await, next().await);
    assert_eq!([first.0, second.0], [0, 1]);
    drop((second, third));
    let mut permit = first.1;
    permit.answered(&learned(2, 60_000), NOW);
    drop(permit);
    let asking = next().await;
    assert_eq!(asking.0, 1);
    let others = [next().await, next().await];
    assert_eq!([others[0].0, others[1].0], [0, 0]);
    let waiting = budgets.admit_any("r", &keys);
    tokio::pin!(waiting);
    assert!(is_pending(waiting.as_mut()).await, "the other key may have nothing left either");
    let (_, mut permit) = asking;
    permit.answered(&learned(9, 60_000), NOW);
    drop(permit);
    assert_eq!(waiting.await.unwrap().0, 1);
    assert_eq!(clock.now_ms(), NOW);
}

#[test]
fn servers_with_several_budgets_are_told_apart_by_their_own_word() {
    let (budgets, _) = budgets(None);
    let url = |path: &str| Url::parse(&format!("https://api.example{path}")).unwrap();
    budgets.routed(&url("/api/v3/search/issues"), "search");
    assert_eq!(budgets.of_url(&url("/search/code?q=x"), None), "api.example search");
    assert_eq!(budgets.of_url(&url("/repos/a/b"), Some("7f")), "api.example of key 7f");
}

#[tokio::test]
async fn users_see_a_keys_place_and_connectors_name_the_api() {
    let (one, clock) = budgets(None);
    one.know_keys(vec!["7f".to_owned()]);
    assert_eq!(one.shown("api.example search of key 7f"), "api.example search");
    let (two, _) = budgets(None);
    two.know_keys(vec!["7f".to_owned(), "a0".to_owned()]);
    assert_eq!(two.shown("api.example of key a0"), "api.example of key 2");
    assert_eq!(two.shown("api.example of key 55"), "api.example");

    one.know_speaker("1111", Arc::new(crate::http::Policy::default().described("api.example".parse().unwrap())));
    // What a connector says of its API is of the budget that pays for its requests.
    let id = "api.example of key 7f";
    drop(one.admit_any("r", &[id]).await.unwrap());
    one.observe("r", "api.example", Budget { remaining: Some(0), reset_at_ms: Some(NOW + 5_000) }).unwrap();
    assert_eq!(one.status("r", "api.example").remaining, Some(0));
    drop(one.admit_any("r", &[id]).await.unwrap());
    assert_eq!(clock.now_ms(), NOW + 5_000);
}
