//! Rate limits as the host keeps them over a whole run: several keys, several processes, and a run that comes back later.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    mock::{Api, Budget, Endpoint, Total, offset::Offset},
};

fn config(api: &Api, more: &Value) -> Value {
    let mut config = json!({"base_url": api.url(""), "streams": [{
        "name": "items", "path": "items", "records": "/items", "total": "/total", "primary_key": ["id"], "in_flight": 1,
        "pagination": {"offset": {"offset_param": "offset", "limit_param": "limit", "limit": 100}},
    }]});
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    config
}

fn api(records: u32, budget: Option<Budget>) -> anyhow::Result<Api> {
    let items = Endpoint::new("/items", Offset::default()).records(records).total(Total::Body);
    let api = Api::builder().endpoint(items);
    Ok(match budget {
        Some(budget) => api.budget(budget).start()?,
        None => api.start()?,
    })
}

fn statuses(api: &Api, status: u16) -> usize {
    api.requests().iter().filter(|one| one.status == Some(status)).count()
}

#[test]
fn when_all_keys_rest_the_run_waits_for_the_first_and_says_so() -> anyhow::Result<()> {
    // Two requests in three seconds for each token, and six pages: no machine is so slow that the first four take that long.
    let budget = Budget { per_token: true, ..Budget::new(2, Duration::from_secs(3)) };
    let api = api(550, Some(budget))?;
    let auth = json!({"auth": {"bearer": ["key-number-1", "key-number-2"]}});
    let connection = Connection::new("rest", &config(&api, &auth))?;
    let run = connection.complete(&[])?;
    ensure!(connection.records("items")?.len() == 550);
    ensure!(statuses(&api, 429) == 0, "{:#?}", api.requests());
    let host = api.url("").replace("http://", "");
    let waits = format!("items: waiting for the rate limit of {} of key ", host.trim_end_matches('/'));
    ensure!(run.log.contains(&waits), "{}", run.log);
    ensure!(run.report["traffic"]["waited_ms"].as_u64().is_some_and(|ms| ms > 0), "{:#}", run.report);
    Ok(())
}

#[test]
fn a_wait_that_is_too_long_ends_the_read_and_the_next_run_goes_on() -> anyhow::Result<()> {
    let api = api(350, Some(Budget::new(2, Duration::from_secs(2))))?;
    let connection = Connection::new("rest", &config(&api, &json!({})))?;
    let run = connection.run(&["--max-wait", "0s"])?;
    ensure!(run.code == Some(1), "{run:#?}");
    let reasons = run.reasons().join(" ");
    ensure!(reasons.contains("asks to wait longer than --max-wait allows; come back at "), "{reasons}");
    ensure!(statuses(&api, 200) == 2 && statuses(&api, 429) == 0, "{:#?}", api.requests());
    connection.complete(&[])?;
    ensure!(connection.records("items")?.len() == 350);
    // What the first run committed was not asked for again.
    ensure!(api.targets().len() == 5, "{:#?}", api.targets());
    Ok(())
}

/// Runs two processes side by side that share what they know, and returns how long they took.
fn side_by_side(config: &Value, flags: &[&str]) -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir()?;
    let budgets = folder.path().join("budgets.db").display().to_string();
    let flags = [&["--budgets", budgets.as_str()], flags].concat();
    let connections = [Connection::new("rest", config)?, Connection::new("rest", config)?];
    let begun = Instant::now();
    let mut children = Vec::new();
    for connection in &connections {
        children.push(connection.start(&flags)?);
    }
    for child in children {
        child.succeeds()?;
    }
    for connection in &connections {
        ensure!(!connection.records("items")?.is_empty());
    }
    Ok(begun.elapsed())
}

#[test]
fn two_processes_share_a_rate() -> anyhow::Result<()> {
    let api = api(1_450, None)?;
    let host = api.url("").replace("http://", "");
    let rate = format!("{}=20/s", host.trim_end_matches('/'));
    let took = side_by_side(&config(&api, &json!({})), &["--rate", &rate])?;
    let requests = api.requests().len();
    ensure!(requests == 32, "{requests}");
    // Each alone would be done in half the time.
    let least = Duration::from_millis(50) * u32::try_from(requests - 1)?;
    ensure!(took >= least, "{requests} requests took {took:?}, less than {least:?}");
    Ok(())
}

#[test]
fn two_processes_share_what_a_server_says_is_left() -> anyhow::Result<()> {
    let api = api(1_950, Some(Budget::new(15, Duration::from_secs(1))))?;
    side_by_side(&config(&api, &json!({})), &[])?;
    let requests = api.requests();
    ensure!(requests.len() == 42, "{}", requests.len());
    // Of the last request of a window both would have thought that it was theirs.
    ensure!(statuses(&api, 429) == 0, "{requests:#?}");
    Ok(())
}

/// Connections that take one file, with a server that lets each key make two requests an hour. A run that would have to wait
/// ends, and asks for nothing.
#[test]
fn who_has_the_same_key_shares_its_budget_whatever_else_differs() -> anyhow::Result<()> {
    let budget = || Budget { per_token: true, ..Budget::new(2, Duration::from_secs(3600)) };
    let basic = |password: &str| json!({"auth": {"basic": {"username": "user", "password": password}}});
    let bearer = |keys: &[&str]| json!({"auth": {"bearer": keys}});
    let header = |key: &str| json!({"auth": {"header": {"name": "Authorization", "value": key}}});
    for (first, same, other) in [
        (bearer(&["key-number-1"]), bearer(&["key-number-1"]), bearer(&["key-number-2"])),
        (header("key-number-1"), bearer(&["key-number-1"]), header("key-number-2")),
        (basic("password-1"), basic("password-1"), basic("password-2")),
        // The place in a list is nothing that another process knows of.
        (
            bearer(&["key-number-1", "key-number-2"]),
            bearer(&["key-number-2", "key-number-1"]),
            bearer(&["key-number-3", "key-number-4"]),
        ),
        // Nobody pays: all do.
        (json!({}), json!({}), bearer(&["key-number-1"])),
    ] {
        let api = api(950, Some(budget()))?;
        let folder = tempfile::tempdir()?;
        let budgets = folder.path().join("budgets.db").display().to_string();
        let asked = |more: &Value| -> anyhow::Result<usize> {
            api.forget_requests();
            let connection = Connection::new("rest", &config(&api, more))?;
            let run = connection.run(&["--budgets", &budgets, "--max-wait", "1m"])?;
            let reasons = run.reasons().join(" ");
            ensure!(run.code == Some(1) && reasons.contains("come back at"), "{more}: {run:#?}");
            ensure!(statuses(&api, 429) == 0, "{more}: {:#?}", api.requests());
            Ok(statuses(&api, 200))
        };
        let keys = first["auth"]["bearer"].as_array().map_or(1, Vec::len);
        ensure!(asked(&first)? == 2 * keys, "{first}");
        ensure!(asked(&same)? == 0, "{same} after {first}");
        ensure!(asked(&other)? == 2 * keys, "{other} after {first}");
        let content = std::fs::read(&budgets)?;
        for secret in ["key-number", "password-", "dXNlcjpwYXNzd29yZC0x"] {
            ensure!(!content.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret} is in {budgets}");
        }
    }
    Ok(())
}

/// A setting that only the connector knows to be a key is one even so.
#[test]
fn a_key_that_a_connector_sends_itself_has_a_budget_of_its_own() -> anyhow::Result<()> {
    let api = Api::builder().budget(Budget { per_token: true, ..Budget::new(1, Duration::from_secs(3600)) }).start()?;
    let folder = tempfile::tempdir()?;
    let budgets = folder.path().join("budgets.db").display().to_string();
    for (token, expected) in [("token-number-1", 1), ("token-number-1", 0), ("token-number-2", 1)] {
        api.forget_requests();
        let config = json!({"base_url": api.url(""), "repos": ["a/b"], "token": token});
        let connection = Connection::new("github", &config)?;
        for _ in 0..2 {
            connection.run(&["--budgets", &budgets, "--max-wait", "1m", "--stream", "repos"])?;
        }
        ensure!(api.requests().len() == expected, "{token}: {:#?}", api.requests());
    }
    Ok(())
}

#[test]
fn two_processes_with_one_budget_do_not_hold_each_other_up_when_one_dies() -> anyhow::Result<()> {
    let api = api(1_950, None)?;
    let folder = tempfile::tempdir()?;
    let budgets = folder.path().join("budgets.db").display().to_string();
    let flags = ["--budgets", budgets.as_str(), "--rate", "50/s"];
    let connection = Connection::new("rest", &config(&api, &json!({})))?;
    // It dies with a request under way.
    api.answer(2);
    let mut first = connection.start(&flags)?;
    first.until(|| api.requests().len() == 3)?;
    first.killed()?;
    api.answer(usize::MAX);
    let second = Connection::new("rest", &config(&api, &json!({})))?;
    let run = second.complete(&flags)?;
    // Its 21 requests are 20 ms apart; what the dead one had taken would be given back after minutes only.
    ensure!(run.report["traffic"]["waited_ms"].as_u64().is_some_and(|ms| ms < 10_000), "{:#}", run.report);
    Ok(())
}
