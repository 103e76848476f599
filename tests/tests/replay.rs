//! Runs are repeated from their archives, with the API gone: the same records, byte for byte and value for value.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    mock::{Action, Api, Change, Encoding, Endpoint, RetryAfter, Rule, cursor::Cursor, offset::Offset},
    program::{Ended, built, call, parts},
    rows,
    transcript::{Scene, compare, play, transcript},
};

fn groups_and_items(api: &Api) -> Value {
    let offset = json!({"offset": {"limit": 10}});
    json!({"base_url": api.url(""), "auth": {"bearer": "s3cr3t-0123456789"}, "streams": [
        {"name": "groups", "path": "groups", "records": "/items", "primary_key": ["id"], "pagination": offset},
        {"name": "items", "path": "groups/{parent.name}/items", "records": "/items", "primary_key": ["group_id", "id"],
         "parent": {"stream": "groups", "copy": {"group_id": "id"}}, "pagination": offset, "in_flight": 3}]})
}

/// Six groups of 35 records, of an API that fails, compresses and redirects.
fn unruly() -> anyhow::Result<Api> {
    let moved =
        Action::Headers(307, vec![("location", "/groups/item-0000002/items?offset=10&limit=10&moved=1".into())]);
    let groups = Endpoint::new("/groups", Offset::default()).records(6).page_size(10, 10);
    let items = Endpoint::new("/groups/{name}/items", Offset::default()).records(35).page_size(10, 10);
    Ok(Api::builder()
        .endpoint(groups)
        .endpoint(items)
        .encoding(Encoding::Negotiate)
        .fault(Rule::every(5, Action::Status(503, RetryAfter::None)))
        .fault(Rule::on(7, Action::Status(429, RetryAfter::Seconds(0))))
        .fault(Rule::on(9, Action::Cut(100)))
        .fault(Rule::always(moved).containing("/groups/item-0000003/items?offset=10").times(1))
        .start()?)
}

fn replay(out: &Path, more: &[&str]) -> anyhow::Result<Ended> {
    let mut arguments = vec!["replay", "--out", out.to_str().context("a path")?];
    arguments.extend_from_slice(more);
    call(&arguments)
}

/// Repeats a run into a folder, and expects every page to be the same.
fn repeated(out: &Path, run: &str, to: &Path) -> anyhow::Result<Value> {
    let ended = replay(out, &[run, "--json", "--to", to.to_str().context("a path")?])?;
    ensure!(ended.code == Some(0), "{ended:#?}");
    let report: Value = serde_json::from_str(&ended.stdout)?;
    ensure!(report["same"] == true && report["run"] == run, "{report:#}");
    Ok(report)
}

/// The files of a stream that a run wrote, by name.
fn files(out: &Path, stream: &str, run: &str) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let named = |path: PathBuf| Some((path.file_name()?.to_str()?.to_owned(), path.clone()));
    Ok(parts(out, stream)?.into_iter().filter_map(named).filter(|(name, _)| name.contains(run)).collect())
}

fn same_bytes(one: &Path, other: &Path, stream: &str, run: &str) -> anyhow::Result<usize> {
    let (one, other) = (files(one, stream, run)?, files(other, stream, run)?);
    ensure!(one.keys().eq(other.keys()), "{:?} {:?}", one.keys(), other.keys());
    for (name, path) in &one {
        ensure!(fs::read(path)? == fs::read(&other[name])?, "{name} differs");
    }
    Ok(one.len())
}

fn values(path: &Path) -> anyhow::Result<Vec<Value>> {
    let mut records = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
        records.extend(rows::of_batch(&batch?)?);
    }
    Ok(records)
}

fn run_of(report: &Value) -> anyhow::Result<String> {
    Ok(report["run"].as_str().context("a run")?.to_owned())
}

#[test]
fn partitions_retries_redirects_and_requests_ahead_are_repeated_byte_for_byte() -> anyhow::Result<()> {
    let api = unruly()?;
    let connection = Connection::new("rest", &groups_and_items(&api))?;
    let run = connection.complete(&["--format", "jsonl", "--part-rows", "40"])?;
    ensure!(run.report["traffic"]["retries"].as_u64() > Some(3), "{:#}", run.report);
    drop(api);
    let (out, id) = (connection.out(), run_of(&run.report)?);
    let to = tempfile::tempdir()?;
    let report = repeated(&out, &id, &to.path().join("again"))?;
    let records: u64 = report["streams"].as_array().into_iter().flatten().filter_map(|s| s["records"].as_u64()).sum();
    assert_eq!(records, 6 + 6 * 35);
    for stream in ["groups", "items"] {
        let count = same_bytes(&out, &to.path().join("again"), stream, &id)?;
        ensure!(stream == "groups" || count > 1, "{count} files of {stream}");
    }
    Ok(())
}

#[test]
fn parquet_has_the_same_values() -> anyhow::Result<()> {
    let api = unruly()?;
    let connection = Connection::new("rest", &groups_and_items(&api))?;
    let run = connection.complete(&[])?;
    drop(api);
    let (out, id) = (connection.out(), run_of(&run.report)?);
    let to = tempfile::tempdir()?;
    repeated(&out, &id, &to.path().join("again"))?;
    for stream in ["groups", "items"] {
        let (old, new) = (files(&out, stream, &id)?, files(&to.path().join("again"), stream, &id)?);
        ensure!(!old.is_empty() && old.keys().eq(new.keys()), "{old:?} {new:?}");
        for (name, path) in &old {
            assert_eq!(values(path)?, values(&new[name])?, "{name}");
        }
    }
    Ok(())
}

#[test]
fn a_run_that_was_killed_twice_is_repeated_as_it_was_written() -> anyhow::Result<()> {
    let items = Endpoint::new("/items", Cursor::default()).records(600).page_size(20, 20);
    let api = Api::builder().endpoint(items).start()?;
    let pagination = json!({"cursor": {"token": "/next", "param": "cursor"}});
    let config = json!({"base_url": api.url(""), "streams": [
        {"name": "items", "path": "items", "records": "/items", "primary_key": ["id"], "pagination": pagination}]});
    let connection = Connection::new("rest", &config)?;
    let flags = ["--format", "jsonl", "--part-rows", "60"];
    for requests in [8, 18] {
        api.answer(requests);
        let mut run = connection.start(&flags)?;
        run.until(|| api.requests().len() > requests)?;
        run.killed()?;
    }
    api.answer(usize::MAX);
    let run = connection.complete(&flags)?;
    assert_eq!(run.report["resumed"], true);
    ensure!(api.requests().len() > 30, "nothing was asked for twice, so nothing was lost with a process");
    drop(api);
    let (out, id) = (connection.out(), run_of(&run.report)?);
    let to = tempfile::tempdir()?;
    let report = repeated(&out, &id, &to.path().join("again"))?;
    assert_eq!((&report["streams"][0]["pages"], &report["streams"][0]["records"]), (&json!(30), &json!(600)));
    ensure!(same_bytes(&out, &to.path().join("again"), "items", &id)? > 3, "few files");
    // The same connector, reading each recorded read from its beginning, makes the same of it.
    let with = replay(&out, &[&id, "--with", "rest", "--json"])?;
    ensure!(with.code == Some(0), "{with:#?}");
    Ok(())
}

#[test]
fn each_of_several_incremental_runs_is_repeated() -> anyhow::Result<()> {
    let items = Endpoint::new("/items", Offset::default()).records(50).page_size(20, 20).since("since");
    let api = Api::builder().endpoint(items).start()?;
    let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
                        "pagination": {"offset": {"limit": 20}},
                        "incremental": {"cursor_field": "updated_at", "param": "since"}});
    let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": [stream]}))?;
    let first = connection.complete(&["--format", "jsonl"])?;
    api.change("/items", &Change::Append(5));
    let second = connection.run(&["--format", "jsonl"])?;
    drop(api);
    for run in [first, second] {
        let id = run_of(&run.report)?;
        let to = tempfile::tempdir()?;
        repeated(&connection.out(), &id, &to.path().join("again"))?;
        same_bytes(&connection.out(), &to.path().join("again"), "items", &id)?;
    }
    Ok(())
}

/// A run of a guest over three pages, and what is shown of a replay with another guest.
fn tried(name: &str, with: &str, more: &[&str], code: i32) -> anyhow::Result<Ended> {
    let guest = |name: &str| -> anyhow::Result<String> {
        let target = built()?.parent().context("a target folder")?.to_owned();
        Ok(target.join(format!("wasm32-wasip2/release/examples/{name}.wasm")).display().to_string())
    };
    let items = Endpoint::new("/items", Cursor::default()).records(5).page_size(2, 2);
    let api = Api::builder().endpoint(items).start()?;
    let mut scene = Scene::new()?;
    scene.call(guest("reads_by_cursor")?, "reads_by_cursor");
    scene.call(guest(with)?, with);
    scene.call(api.url(""), "http://API");
    let out = scene.path("out").display().to_string();
    let (connector, url) = (guest("reads_by_cursor")?, format!("url={}", api.url("")));
    let lock = scene.path("connectors.lock").display().to_string();
    let ran = call(&["run", &connector, "--set", &url, "--out", &out, "--quiet", "--grant", "--lock", &lock])?;
    ensure!(ran.code == Some(0), "{ran:#?}");
    drop(api);
    let with = guest(with)?;
    let mut arguments = vec!["replay", "--with", &with, "--out", &out];
    arguments.extend_from_slice(more);
    let ended = play(&tests::program::host(&arguments)?)?;
    compare(&format!("replay/{name}"), &transcript(&scene, &arguments.join(" "), &ended))?;
    ensure!(ended.code == Some(code), "{ended:#?}");
    ensure!(!scene.path("out/_scratch").exists(), "scratch files are left");
    Ok(ended)
}

#[test]
fn another_version_shows_which_records_and_fields_differ() -> anyhow::Result<()> {
    tried("with_table", "changes_records", &[], 1)?;
    let report: Value = serde_json::from_str(&tried("with_json", "changes_records", &["--json"], 1)?.stdout)?;
    let stream = &report["streams"][0];
    let numbers = ["before", "after", "added", "removed", "changed"].map(|name| stream[name].as_u64().unwrap_or(99));
    assert_eq!(numbers, [5, 5, 1, 1, 1]);
    Ok(())
}

#[test]
fn the_same_version_shows_no_difference() -> anyhow::Result<()> {
    tried("with_same", "reads_by_cursor", &[], 0)?;
    Ok(())
}

#[test]
fn another_request_ends_it_and_says_what_differs() -> anyhow::Result<()> {
    tried("with_other_request", "asks_otherwise", &[], 1)?;
    Ok(())
}
