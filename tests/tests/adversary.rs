//! `host torture`: the connectors that come along score 100 %, and one that believes everything does not.
//! `make test` plays a few cases of each kind, `make torture` many; `TORTURE_SEED` names the first.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    mock::{Action, Api, Endpoint, RetryAfter, Rule, Total, cursor::Cursor},
    program::{Ended, built, call, host},
    recorded::{Recording, Replay},
    servers::installed,
    torture::{SECRET, ways},
    transcript::{Scene, compare, play, transcript},
};

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    std::env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} is no number: {text}")))
}

fn torture(connector: &str, out: &Path, more: &[&str]) -> anyhow::Result<Ended> {
    let out = out.to_str().context("a path")?;
    call(&[&["torture", connector, "--out", out], more].concat())
}

/// Plays cases on the newest run of a folder, and returns what `--json` shows.
fn score(connector: &str, out: &Path, cases: u64) -> anyhow::Result<(Option<i32>, Value)> {
    let (seed, cases) = (number("TORTURE_SEED", 1)?.to_string(), cases.to_string());
    let ended = torture(connector, out, &["--json", "--seed", &seed, "--cases", &cases])?;
    ensure!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET), "the secret is to be seen: {ended:#?}");
    let score = serde_json::from_str(&ended.stdout).with_context(|| format!("{ended:#?}"))?;
    Ok((ended.code, score))
}

/// Kinds in which a connector may rightly ask for what nobody recorded: it goes on from the last record that it got, or from
/// how many there were.
const OPEN: [&str; 8] = [
    "page-short",
    "page-skipped",
    "reordered",
    "type-changed",
    "shape-changed",
    "nulled",
    "field-removed",
    "total-changes",
];

/// Expects that every case was judged and passed.
fn all_pass(connector: &str, connection: &Connection, cases: u64) -> anyhow::Result<()> {
    let (code, score) = score(connector, &connection.out(), cases)?;
    let cases = score["cases"].as_array().context("cases")?;
    let fine = |case: &Value| match case["outcome"].as_str() {
        Some("passed") => true,
        Some("not-judged") => OPEN.iter().any(|kind| case["kind"] == *kind),
        _ => false,
    };
    let bad: Vec<&Value> = cases.iter().filter(|case| !fine(case)).collect();
    ensure!(bad.is_empty() && code == Some(0) && score["percent"] == 100, "{code:?} {bad:#?}");
    let judged = cases.iter().filter(|case| case["outcome"] == "passed").count();
    ensure!(judged * 10 > cases.len() * 8, "{judged} of {} cases were judged", cases.len());
    Ok(())
}

#[test]
fn the_connector_github_scores_100_on_recorded_responses() -> anyhow::Result<()> {
    let names = ["PaginatedList.testSliceIndexingUntilFourthPage", "PaginatedList.testIteration"];
    let recordings: anyhow::Result<Vec<Recording>> =
        names.iter().map(|name| Ok(Recording::read(&installed(&format!("recordings/{name}.txt"))?)?)).collect();
    let replay = Replay::start(recordings?, 0)?;
    let config = json!({"repos": ["openframeworks/openFrameworks"], "base_url": replay.url()});
    let connection = Connection::new("github", &config)?;
    // GitHub counts the pages of this list, which proves nothing: `unproven`.
    let run = connection.run(&["--stream", "issues"])?;
    ensure!(run.code == Some(3), "{run:#?}");
    drop(replay);
    all_pass("github", &connection, number("TORTURE_CASES", 56)?)
}

#[test]
fn the_connector_rest_scores_100_on_all_paginations() -> anyhow::Result<()> {
    let cases = number("TORTURE_CASES", 30)?;
    let mut bad = Vec::new();
    for way in ways().into_iter().filter(|way| way.format == "jsonl") {
        if let Err(error) = all_pass("rest", &way.record(67, 10)?, cases) {
            bad.push(format!("{way:?}: {error:#}"));
        }
    }
    ensure!(bad.is_empty(), "{}", bad.join("\n"));
    Ok(())
}

/// A run of a guest that reads by cursors, and the scene with its folder `out`; the API is gone.
fn recorded(guest: &str) -> anyhow::Result<Scene> {
    let items = Endpoint::new("/items", Cursor::default()).records(45).page_size(10, 10).total(Total::Body);
    let api = Api::builder().endpoint(items).start()?;
    let mut scene = Scene::new()?;
    let (guest, url) = (component(guest)?, format!("url={}", api.url("")));
    scene.call(format!("{}/", Path::new(&guest).parent().context("a folder")?.display()), "");
    let (out, lock) = (scene.path("out").display().to_string(), scene.path("connectors.lock").display().to_string());
    let ran = call(&["run", &guest, "--set", &url, "--out", &out, "--quiet", "--grant", "--lock", &lock])?;
    ensure!(ran.code == Some(0), "{ran:#?}");
    Ok(scene)
}

fn component(guest: &str) -> anyhow::Result<String> {
    let target = built()?.parent().context("a target folder")?.to_owned();
    Ok(target.join(format!("wasm32-wasip2/release/examples/{guest}.wasm")).display().to_string())
}

/// The kinds of cases with an outcome.
fn kinds<'a>(score: &'a Value, outcome: &str) -> BTreeSet<&'a str> {
    let cases = score["cases"].as_array().into_iter().flatten().filter(|case| case["outcome"] == outcome);
    cases.filter_map(|case| case["kind"].as_str()).collect()
}

#[test]
fn a_connector_that_believes_everything_is_found_out() -> anyhow::Result<()> {
    let scene = recorded("believes_everything")?;
    let (code, score) = score(&component("believes_everything")?, &scene.path("out"), 81)?;
    ensure!(code == Some(1) && score["percent"].as_u64() < Some(70), "{code:?} {}", score["percent"]);
    let found = [
        "cycle",
        "empty-object",
        "error-body",
        "forbidden",
        "html",
        "killed-everywhere",
        "no-body",
        "outage",
        "truncated",
    ];
    ensure!(kinds(&score, "failed") == BTreeSet::from(found), "{:#?}", kinds(&score, "failed"));
    // What the host does for every connector, it does for this one.
    let passed = kinds(&score, "passed");
    for kind in ["throttled", "unavailable", "refused", "cut", "storm", "killed", "field-added"] {
        ensure!(passed.contains(kind), "{kind}: {passed:?}");
    }
    Ok(())
}

/// Compares what a call shows with its transcript.
fn shows(name: &str, scene: &Scene, arguments: &[&str], code: i32) -> anyhow::Result<()> {
    let out = scene.path("out").display().to_string();
    let arguments = [&["torture"], arguments, &["--out", &out]].concat();
    let ended = play(&host(&arguments)?)?;
    compare(&format!("torture/{name}"), &transcript(scene, &arguments.join(" "), &ended))?;
    ensure!(ended.code == Some(code), "{ended:#?}");
    Ok(())
}

#[test]
fn failures_are_shown_with_their_seeds() -> anyhow::Result<()> {
    let scene = recorded("believes_everything")?;
    shows("failures", &scene, &[&component("believes_everything")?, "--cases", "54"], 1)
}

#[test]
fn one_case_is_shown_whole() -> anyhow::Result<()> {
    let scene = recorded("reads_by_cursor")?;
    shows("one_case", &scene, &[&component("reads_by_cursor")?, "--seed", "16", "--cases", "1"], 0)
}

#[test]
fn the_help_says_what_it_does() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let ended = play(&host(&["torture", "--help"])?)?;
    compare("torture/help", &transcript(&scene, "torture --help", &ended))?;
    ensure!(ended.code == Some(0), "{ended:#?}");
    Ok(())
}

#[test]
fn the_same_seed_is_the_same_case_whatever_others_are_played() -> anyhow::Result<()> {
    let scene = recorded("believes_everything")?;
    let (guest, out) = (component("believes_everything")?, scene.path("out"));
    let all = torture(&guest, &out, &["--json", "--seed", "100", "--cases", "54"])?;
    let again = torture(&guest, &out, &["--json", "--seed", "100", "--cases", "54"])?;
    ensure!(all.stdout == again.stdout, "{}\n{}", all.stdout, again.stdout);
    let all: Value = serde_json::from_str(&all.stdout)?;
    for seed in [100, 117, 153] {
        let alone = torture(&guest, &out, &["--json", "--seed", &seed.to_string(), "--cases", "1"])?;
        let alone: Value = serde_json::from_str(&alone.stdout)?;
        let cases = all["cases"].as_array().context("cases")?;
        ensure!(cases.iter().any(|case| *case == alone["cases"][0]), "{seed}: {alone:#}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_tried_says_why() -> anyhow::Result<()> {
    let scene = recorded("reads_by_cursor")?;
    let guest = component("reads_by_cursor")?;
    shows("no_cases", &scene, &[&guest, "--cases", "0"], 2)?;
    shows("other_connector", &scene, &["github"], 2)?;
    shows("unknown_run", &scene, &[&guest, "--from", "none"], 2)?;
    shows("asks_otherwise", &scene, &[&component("asks_otherwise")?], 2)?;
    shows("panics", &scene, &[&component("panics")?], 1)?;
    let used = scene.path("out").display().to_string();
    shows("keep_in_use", &scene, &[&guest, "--keep", &used], 2)?;
    let run = std::fs::read_dir(scene.path("out/_runs"))?.next().context("a run")??.path();
    std::fs::remove_dir_all(run.join("archive"))?;
    shows("no_archive", &scene, &[&guest, "--from", "0"], 2)?;
    shows("no_recorded_run", &scene, &[&guest], 2)?;

    let nothing = Scene::new()?;
    shows("no_runs", &nothing, &["rest"], 2)
}

#[test]
fn a_recording_that_is_no_good_run_says_so() -> anyhow::Result<()> {
    let items = Endpoint::new("/items", Cursor::default()).records(45).page_size(10, 10);
    let gone = Rule::on(3, Action::Status(404, RetryAfter::None));
    let api = Api::builder().endpoint(items).fault(gone).start()?;
    let scene = Scene::new()?;
    let config = json!({"base_url": api.url(""), "streams": [{"name": "items", "path": "items", "records": "/items",
        "primary_key": ["id"], "pagination": {"cursor": {"token": "/next", "param": "cursor"}}}]});
    let config = scene.file("api.json", config.to_string())?;
    let out = scene.path("out").display().to_string();
    let ran = call(&["run", "rest", "--config", &config, "--out", &out, "--quiet"])?;
    ensure!(ran.code == Some(1), "{ran:#?}");
    drop(api);
    shows("incomplete", &scene, &["rest"], 2)
}

#[test]
fn cases_can_be_kept_and_looked_at() -> anyhow::Result<()> {
    let scene = recorded("reads_by_cursor")?;
    let kept = scene.path("kept").display().to_string();
    let ended = torture(&component("reads_by_cursor")?, &scene.path("out"), &["--cases", "2", "--keep", &kept])?;
    ensure!(ended.code == Some(0), "{ended:#?}");
    for case in ["case-1", "case-2"] {
        let report = call(&["report", "--out", &scene.path("kept").join(case).display().to_string(), "--json"])?;
        ensure!(report.code == Some(0) && report.stdout.contains("\"complete\""), "{report:#?}");
    }
    Ok(())
}
