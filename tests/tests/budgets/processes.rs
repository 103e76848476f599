//! What only processes can show: that they find each other by a file, and that one which dies holds nobody up. No test here
//! waits for time to pass; one that would have to wait is told not to, or is stopped.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    mock::{Api, Budget, Endpoint, Total, offset::Offset},
    program::{built, call},
};

use std::time::Duration;

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

/// A connector that says what it likes of budgets, beside one that shares them by the same file.
#[test]
fn what_a_stranger_says_of_budgets_holds_nobody_else_up() -> anyhow::Result<()> {
    let api = api(950, None)?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (out, lock, budgets) = (path("out"), path("connectors.lock"), path("budgets.db"));
    let target = built()?.parent().context("a target folder")?.to_owned();
    let stranger = target.join("wasm32-wasip2/release/examples/budgets_of_others.wasm").display().to_string();
    let url = format!("url={}", api.url("").trim_end_matches('/'));
    let flags = ["--out", &out, "--grant", "--lock", &lock, "--budgets", &budgets, "--max-wait", "1m", "--set", &url];
    let ended = call(&[&["run", stranger.as_str()], &flags[..]].concat())?;
    // What it said is in the file.
    ensure!(ended.code == Some(1) && ended.stdout.contains("come back at"), "{ended:#?}");
    let content = std::fs::read(&budgets)?;
    ensure!(content.windows(13).any(|bytes| bytes == b"4102444800000"), "nothing is in {budgets}");
    let connection = Connection::new("rest", &config(&api, &json!({})))?;
    let run = connection.complete(&["--budgets", &budgets, "--max-wait", "0s"])?;
    ensure!(run.report["traffic"]["waited_ms"] == 0, "{run:#?}");
    Ok(())
}

/// A rate of one an hour: what the first process took is gone for the second one.
#[test]
fn a_rate_that_one_process_used_up_is_used_up_for_another() -> anyhow::Result<()> {
    let api = api(950, None)?;
    let folder = tempfile::tempdir()?;
    let budgets = folder.path().join("budgets.db").display().to_string();
    for expected in [1, 0] {
        api.forget_requests();
        let connection = Connection::new("rest", &config(&api, &json!({})))?;
        let run = connection.run(&["--budgets", &budgets, "--rate", "1/h", "--max-wait", "1m"])?;
        ensure!(run.code == Some(1) && run.reasons().join(" ").contains("come back at"), "{run:#?}");
        ensure!(api.requests().len() == expected, "{:#?}", api.requests());
    }
    Ok(())
}

/// What a user reads while all keys rest. It is stopped then, and not waited for.
#[test]
fn a_wait_is_announced_with_its_budget_and_ends_in_order_when_it_is_stopped() -> anyhow::Result<()> {
    let budget = Budget { per_token: true, ..Budget::new(2, Duration::from_secs(3_000)) };
    let api = api(950, Some(budget))?;
    let auth = json!({"auth": {"bearer": ["key-number-1", "key-number-2"]}});
    let connection = Connection::new("rest", &config(&api, &auth))?;
    let mut running = connection.start(&[])?;
    let host = api.url("").replace("http://", "");
    let said = format!("items: waiting for the rate limit of {} of key ", host.trim_end_matches('/'));
    let mut text = String::new();
    while !text.contains(&said) {
        running.until_ended_or(|| true)?;
        ensure!(running.try_wait()?.is_none(), "it ended without a wait\n{}", running.said()?);
        text = running.said()?;
    }
    let pid = running.id().to_string();
    ensure!(std::process::Command::new("kill").args(["-INT", &pid]).status()?.success());
    let ended = running.ended()?;
    ensure!(
        ended.code == Some(1) && ended.stdout.contains("run the same command again to go on from here"),
        "{ended:#?}"
    );
    ensure!(statuses(&api, 200) == 4 && statuses(&api, 429) == 0, "{:#?}", api.requests());
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
