//! What one connector says of budgets, and what another hears of it.

use super::*;
use crate::event::Silent;
use crate::http::Policy;
use crate::time::VirtualClock;

const NOW: u64 = 1_700_000_000_000;

/// Clients of one process, as each connection of it has one.
struct Bench {
    pool: Pool,
    clock: VirtualClock,
}

impl Bench {
    fn new() -> Self {
        Self { pool: Pool::default(), clock: VirtualClock::starting_at(NOW) }
    }

    /// A connection of a connector that may ask `api.example`.
    fn client(&self, connector: &str, keys: &[&str]) -> Budgets {
        let time = Arc::new(self.clock.clone());
        let rates = Rates::default();
        let budgets = Budgets::within(self.pool.clone(), time, Arc::new(Silent), rates, Duration::from_secs(3_600), 16);
        budgets.know_keys(keys.iter().map(|key| (*key).to_owned()).collect());
        budgets.know_speaker(connector, Arc::new(Policy::default().described("api.example".parse().unwrap())));
        budgets
    }

    /// How long it waits, in milliseconds.
    async fn waits(&self, budgets: &Budgets, name: &str) -> u64 {
        let begun = self.clock.now_ms();
        budgets.acquire("r", name, 1).await.unwrap();
        self.clock.now_ms() - begun
    }
}

fn spent(in_ms: u64) -> Budget {
    Budget { remaining: Some(0), reset_at_ms: Some(NOW + in_ms) }
}

#[tokio::test]
async fn a_name_that_two_connectors_give_to_a_budget_is_one_for_each() {
    let bench = Bench::new();
    let (one, other) = (bench.client("1111", &[]), bench.client("2222", &[]));
    one.observe("r", "api", spent(60_000)).unwrap();
    assert_eq!(bench.waits(&other, "api").await, 0);
    assert_eq!(other.status("r", "api"), Budget::default());
    assert_eq!(one.status("r", "api").remaining, Some(0));
    assert_eq!(bench.waits(&one, "api").await, 60_000);
}

#[tokio::test]
async fn connections_of_one_connector_share_what_it_names_by_key() {
    let bench = Bench::new();
    let [one, same, other] = [["7f"], ["7f"], ["a0"]].map(|keys| bench.client("1111", &keys));
    one.observe("r", "points", spent(60_000)).unwrap();
    assert_eq!(bench.waits(&other, "points").await, 0);
    assert_eq!(bench.waits(&same, "points").await, 60_000);
    assert_eq!(one.shown("@1111 points of key 7f"), "points");
}

#[tokio::test]
async fn what_a_server_says_concerns_all_and_what_a_connector_says_itself_alone() {
    let bench = Bench::new();
    let (liar, other) = (bench.client("1111", &["7f"]), bench.client("2222", &["7f"]));
    // Nobody is to come back before next year.
    liar.observe("r", "api.example", spent(365 * 86_400_000)).unwrap();
    let id = "api.example of key 7f";
    drop(other.admit_any("r", &[id]).await.unwrap());
    assert_eq!(bench.clock.now_ms(), NOW);
    assert!(matches!(liar.admit_any("r", &[id]).await, Err(Error::Wait { .. })), "it believes itself");

    let (_, mut permit) = other.admit_any("r", &[id]).await.unwrap();
    let reset_at_ms = Some(NOW + 5_000);
    permit.answered(&[(String::new(), Learned { remaining: Some(0), reset_at_ms, ..Learned::default() })], NOW);
    drop(permit);
    let third = bench.client("3333", &["7f"]);
    drop(third.admit_any("r", &[id]).await.unwrap());
    assert_eq!(bench.clock.now_ms(), NOW + 5_000);
}

#[tokio::test]
async fn an_api_that_a_connector_may_not_ask_is_none_of_its_business() {
    let bench = Bench::new();
    let liar = bench.client("1111", &[]);
    for name in
        ["other.example", "api.example:8443", "api.example of key 7f", "@2222 points", "@2222 points of key 7f", ""]
    {
        liar.observe("r", name, spent(60_000)).unwrap();
        let id = liar.of_connector("r", name).unwrap();
        assert!(id.starts_with("@1111 "), "{name:?} stands for {id}");
    }
    assert_eq!(liar.of_connector("r", "api.example").unwrap(), "api.example");
    assert_eq!(liar.of_connector("r", "api.example search").unwrap(), "api.example search");
    let long = liar.observe("r", &"x".repeat(129), spent(1)).unwrap_err();
    assert_eq!(
        long.to_string(),
        Error::Invalid(String::new()).to_string() + "the name of a budget is longer than 128 bytes (rule budget-name)"
    );
}

#[tokio::test]
async fn of_several_keys_the_one_that_paid_for_the_read_is_meant() {
    let bench = Bench::new();
    let budgets = bench.client("1111", &["7f", "a0"]);
    let ids = ["api.example of key 7f", "api.example of key a0"];
    assert_eq!(budgets.of_connector("issues", "api.example").unwrap(), ids[0], "nothing was paid so far");
    drop(budgets.admit_any("issues", &ids[1..]).await.unwrap());
    drop(budgets.admit_any("pulls", &ids[..1]).await.unwrap());
    assert_eq!(budgets.of_connector("issues", "api.example").unwrap(), ids[1]);
    assert_eq!(budgets.of_connector("pulls", "api.example").unwrap(), ids[0]);
    assert_eq!(budgets.of_connector("issues", "points").unwrap(), "@1111 points of key a0");

    // So the other key goes on where a connector reads out of an answer that one is spent.
    budgets.observe("issues", "api.example", spent(60_000)).unwrap();
    assert_eq!(budgets.admit_any("issues", &ids).await.unwrap().0, 0);
    assert_eq!(bench.clock.now_ms(), NOW);
}
