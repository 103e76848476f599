//! 100,000 records through each pagination, by the program as a user runs it: each exactly once, interrupted or not.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    mock::{Api, Endpoint, Total, cursor, keyset, link, offset, page},
    program::{Running, complete, host, integers},
};

const RECORDS: u32 = 100_000;
/// Large pages keep a run short; what is tested is their borders.
const PAGE: usize = 1_000;

/// An endpoint of the mock API, and the stream that reads it.
fn paginations() -> Vec<(&'static str, Endpoint, Value)> {
    let size = json!({"limit": PAGE});
    let stream = |path: &str, records: &str, pagination: Value, query: Value| {
        json!({"name": "items", "path": path, "records": records, "primary_key": ["id"],
               "pagination": pagination, "query": query})
    };
    let with_total = |mut stream: Value| {
        stream["total"] = json!("/total");
        stream
    };
    // Nothing shifts here; that counted pages prove nothing by themselves is tested elsewhere.
    let steady = |mut stream: Value| {
        stream["never_shifts"] = json!(true);
        stream
    };
    vec![
        (
            "offset",
            Endpoint::new("/items", offset::Offset::default()).total(Total::Body),
            with_total(stream("/items", "/items", json!({"offset": {"limit": PAGE}}), json!({}))),
        ),
        (
            "page",
            Endpoint::new("/items", page::Page::default()),
            steady(stream("/items", "/items", json!({"page": {"size_param": "per_page", "size": PAGE}}), json!({}))),
        ),
        (
            "cursor",
            Endpoint::new("/items", cursor::Cursor::default()),
            stream("/items", "/items", json!({"cursor": {"token": "/next", "param": "cursor"}}), size),
        ),
        (
            "keyset",
            // Seven records share each sort value, and no page size is a multiple of seven.
            Endpoint::new("/items", keyset::Keyset::default()).ties(7),
            stream(
                "/items",
                "/items",
                json!({"keyset": {"field": "updated_at", "tie_breaker": "id", "param": "after",
                                  "tie_breaker_param": "after_id", "limit_param": "limit", "limit": PAGE}}),
                json!({}),
            ),
        ),
        (
            "link",
            Endpoint::new("/items", link::Link { tricky: true, ..link::Link::default() }),
            steady(stream("/items", "", json!({"link": {}}), json!({"per_page": PAGE}))),
        ),
    ]
}

fn prepare(folder: &Path, endpoint: Endpoint, stream: &Value) -> anyhow::Result<(Api, String)> {
    let api = Api::builder().endpoint(endpoint.records(RECORDS).page_size(PAGE, PAGE)).start()?;
    let config = folder.join("config.json");
    std::fs::write(&config, json!({"base_url": api.url(""), "streams": [stream]}).to_string())?;
    Ok((api, config.to_str().context("a path")?.to_owned()))
}

/// Checks that each record is there once.
fn each_once(out: &Path) -> anyhow::Result<()> {
    let mut ids = integers(out, "items", "id")?;
    ensure!(ids.len() == RECORDS as usize, "{} records", ids.len());
    ids.sort_unstable();
    ensure!(ids.iter().copied().eq(1..=i64::from(RECORDS)), "some records are missing and others doubled");
    Ok(())
}

#[test]
fn every_record_arrives_once_through_every_pagination() -> anyhow::Result<()> {
    for (name, endpoint, stream) in paginations() {
        let folder = tempfile::tempdir()?;
        let (_api, config) = prepare(folder.path(), endpoint, &stream)?;
        let out = folder.path().join("out");
        let report = complete(&["rest", "--config", &config, "--out", out.to_str().context("a path")?])
            .with_context(|| name.to_owned())?;
        ensure!(report["streams"][0]["records"] == RECORDS, "{name}: {report:#}");
        each_once(&out).with_context(|| name.to_owned())?;
    }
    Ok(())
}

#[test]
fn every_record_arrives_once_when_the_run_is_killed_again_and_again() -> anyhow::Result<()> {
    for (name, endpoint, stream) in paginations() {
        let folder = tempfile::tempdir()?;
        let (api, config) = prepare(folder.path(), endpoint, &stream)?;
        let out = folder.path().join("out");
        let out_text = out.to_str().context("a path")?;
        // Parts of three pages: kills fall before, between and after commits.
        let arguments = ["rest", "--config", &config, "--out", out_text, "--part-rows", "3000", "--concurrency", "2"];
        let mut kills = 0;
        for round in 1.. {
            ensure!(round < 100, "{name}: it does not come to its end");
            let all: Vec<&str> = std::iter::once("run").chain(arguments).collect();
            // Another number of requests each round, so that the kill meets the run in another place.
            let wanted = api.requests().len() + 7 + round % 11;
            api.answer(if kills < 12 { wanted } else { usize::MAX });
            let mut run = Running::start(host(&all)?)?;
            run.until_ended_or(|| kills < 12 && api.requests().len() > wanted)?;
            if run.try_wait()?.is_some() {
                run.succeeds().context(name)?;
                break;
            }
            run.killed()?;
            kills += 1;
        }
        ensure!(kills >= 3, "{name}: it was killed {kills} times only");
        each_once(&out).with_context(|| format!("{name}, killed {kills} times"))?;
    }
    Ok(())
}
