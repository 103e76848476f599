//! The connector `github` over exchanges with the real API that others recorded.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use regex::Regex;
use serde_json::{Value, json};
use tests::{
    connection::{Connection, Run},
    recorded::{Exchange, Recording, Replay},
    rows::without_nulls,
    servers::{
        installed,
        octokit::{MEDIA_TYPE, Octokit, TOKEN},
    },
};

/// Requests that a run has made, from its archive: path and query behind `base`, and the status.
fn requests(connection: &Connection, run: &Run, base: &str) -> anyhow::Result<Vec<(String, u64)>> {
    let id = run.report["run"].as_str().context("a run has an id")?;
    let manifest = connection.out().join("_runs").join(id).join("archive/manifest.jsonl");
    let mut requests = Vec::new();
    for line in std::fs::read_to_string(manifest)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        if let (Some(url), Some(status)) = (line["request"]["url"].as_str(), line["status"].as_u64()) {
            requests.push((url.strip_prefix(base).unwrap_or(url).to_owned(), status));
        }
    }
    Ok(requests)
}

/// A recorded body as the fixtures server gives it: every address in it leads to that server.
fn served(body: &Value, url: &str) -> anyhow::Result<Value> {
    // http://127.0.0.1:PORT/api.github.com/SCENARIO
    let (server, id) = url.split_once("/api.github.com/").context("the address of a scenario")?;
    let hosts = Regex::new(r"https://([a-z]+\.[a-z.]+)/")?;
    Ok(serde_json::from_str(&hosts.replace_all(&body.to_string(), format!("{server}/$1/{id}/")))?)
}

/// A connection to a scenario that asks exactly what was recorded.
fn scenario(url: &str, more: &Value) -> anyhow::Result<Connection> {
    let mut config = json!({"base_url": url, "token": TOKEN, "media_type": MEDIA_TYPE});
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more.clone());
    }
    Connection::new("github", &config)
}

/// Puts a field into a record, as the connector does.
fn with(record: &Value, name: &str, value: &str) -> Value {
    let mut record = record.clone();
    record[name] = value.into();
    record
}

/// Runs it and expects that nothing is wrong but that GitHub's pages, of which these many follow the first, are counted.
fn counted(connection: &Connection, more: &[&str], read: &str, borders: u64) -> anyhow::Result<Run> {
    let run = connection.run(more)?;
    let reason = format!(
        "{read}: its pages are counted: a record that moved across one of the {borders} borders between them, because another was \
         deleted meanwhile, would be missing unseen"
    );
    ensure!(run.code == Some(3) && run.verdict() == "unproven" && run.reasons() == [reason], "{run:#?}");
    Ok(run)
}

#[test]
fn recorded_issues_arrive_field_by_field_in_either_format() -> anyhow::Result<()> {
    let octokit = Octokit::start()?;
    let recorded = Octokit::recorded("paginate-issues")?;
    for format in ["parquet", "jsonl"] {
        let scenario_url = octokit.scenario("paginate-issues")?.url;
        // The recorded query is that of a client that leaves the API's defaults as they are.
        let asked = json!({"repos": ["octokit-fixture-org/paginate-issues"], "per_page": 3, "state": "open",
                           "order": "newest_first"});
        let connection = scenario(&scenario_url, &asked)?;
        let read = "issues: octokit-fixture-org/paginate-issues";
        let run = counted(&connection, &["--stream", "issues", "--format", format], read, 4)?;
        let expected: Vec<(String, u64)> =
            recorded.iter().map(|one| (one["path"].as_str().unwrap_or_default().to_owned(), 200)).collect();
        ensure!(requests(&connection, &run, &scenario_url)? == expected, "{format}: {run:#?}");
        let issues = run.stream("issues");
        ensure!(issues["records"] == 13 && issues["pages"] == 5 && issues["traffic"]["requests"] == 5, "{issues:#}");
        // The reset in the recorded headers is in milliseconds: taken for seconds, it would be far in the future.
        ensure!(issues["traffic"]["waited_ms"] == 0 && issues["traffic"]["retries"] == 0, "{issues:#}");

        let found = connection.records("issues")?;
        let mut wanted = Vec::new();
        for page in &recorded {
            for issue in page["response"].as_array().context("a page of issues")? {
                let issue = with(&served(issue, &scenario_url)?, "repository", "octokit-fixture-org/paginate-issues");
                wanted.push(if format == "parquet" { without_nulls(&issue) } else { issue });
            }
        }
        ensure!(wanted.len() == 13, "{} recorded issues", wanted.len());
        for (found, wanted) in found.iter().zip(&wanted) {
            ensure!(found == wanted, "{format}:\nfound  {found}\nwanted {wanted}");
        }
        ensure!(found.len() == 13, "{format}: {} issues", found.len());
    }
    Ok(())
}

#[test]
fn a_single_repository_is_one_record() -> anyhow::Result<()> {
    let octokit = Octokit::start()?;
    let url = octokit.scenario("get-repository")?.url;
    let connection = scenario(&url, &json!({"repos": ["octokit-fixture-org/hello-world"]}))?;
    connection.complete(&["--stream", "repos"])?;
    let recorded = Octokit::recorded("get-repository")?;
    let wanted = without_nulls(&served(&recorded.first().context("an exchange")?["response"], &url)?);
    ensure!(connection.records("repos")? == [wanted]);
    Ok(())
}

#[test]
fn a_renamed_repository_is_followed_by_the_host() -> anyhow::Result<()> {
    let octokit = Octokit::start()?;
    let url = octokit.scenario("rename-repository")?.url;
    // The scenario begins with the renaming itself.
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let renamed = agent
        .patch(format!("{url}/repos/octokit-fixture-org/rename-repository"))
        .header("authorization", format!("token {TOKEN}"))
        .header("accept", MEDIA_TYPE)
        .header("content-type", "application/json; charset=utf-8")
        .send(json!({"name": "rename-repository-newname"}).to_string())?;
    ensure!(renamed.status() == 200, "{renamed:?}");
    let connection = scenario(&url, &json!({"repos": ["octokit-fixture-org/rename-repository"]}))?;
    let run = connection.complete(&["--stream", "repos"])?;
    let expected =
        [("/repos/octokit-fixture-org/rename-repository".to_owned(), 301), ("/repositories/1000".to_owned(), 200)];
    ensure!(requests(&connection, &run, &url)? == expected, "{run:#?}");
    let recorded = Octokit::recorded("rename-repository")?;
    let wanted = without_nulls(&served(&recorded.get(2).context("three exchanges")?["response"], &url)?);
    ensure!(wanted["name"] == "rename-repository-newname");
    ensure!(connection.records("repos")? == [wanted]);
    Ok(())
}

#[test]
fn a_missing_repository_fails_its_partition_and_no_other() -> anyhow::Result<()> {
    let octokit = Octokit::start()?;
    let url = octokit.scenario("get-repository")?.url;
    let repos = ["octokit-fixture-org/gone", "octokit-fixture-org/hello-world"];
    let connection = scenario(&url, &json!({"repos": repos}))?;
    let run = connection.run(&["--stream", "repos"])?;
    ensure!(run.code == Some(1) && run.verdict() == "incomplete", "{run:#?}");
    let gone = "repos: repository octokit-fixture-org/gone: a request failed: repository octokit-fixture-org/gone is not there (404): \
                deleted, or private and the token may not see it; take it out of the configuration, or use a token that may \
                read it";
    ensure!(run.reasons() == [gone], "{:#?}", run.reasons());
    let names: Vec<Value> = connection.records("repos")?.iter().map(|one| one["full_name"].clone()).collect();
    ensure!(names == ["octokit-fixture-org/hello-world"], "{names:?}");
    Ok(())
}

#[test]
fn a_check_asks_for_the_organisation_alone() -> anyhow::Result<()> {
    let octokit = Octokit::start()?;
    let url = octokit.scenario("get-organization")?.url;
    let base = format!("base_url={url}");
    let (token, media) = (format!("token={TOKEN}"), format!("media_type={MEDIA_TYPE}"));
    let all = ["check", "github", "--set", "org=octokit-fixture-org", "--set", &base, "--set", &token, "--set", &media];
    let ended = tests::program::call(&all)?;
    ensure!(ended.code == Some(0), "{ended:#?}");
    // Each exchange is given once: what is asked a second time is not there.
    let again = tests::program::call(&all)?;
    let text = "error[connector]: a request failed: organisation octokit-fixture-org is not there (404): deleted, or private \
                and the token may not see it; take it out of the configuration, or use a token that may read it\n\
                next: mend what it names; `host inspect github` shows how it is configured\n";
    ensure!(again.code == Some(1) && again.stderr == text, "{again:#?}");
    Ok(())
}

#[test]
fn rest_reads_by_configuration_what_github_has_no_stream_for() -> anyhow::Result<()> {
    let octokit = Octokit::start()?;
    for (name, stream) in [
        ("get-root", json!({"path": "/", "one_object": true})),
        ("get-organization", json!({"path": "/orgs/octokit-fixture-org", "one_object": true, "primary_key": ["id"]})),
        ("get-content", json!({"path": "/repos/octokit-fixture-org/hello-world/contents/", "primary_key": ["path"]})),
        ("git-refs", json!({"path": "/repos/octokit-fixture-org/git-refs/git/refs/", "primary_key": ["ref"]})),
        ("labels", json!({"path": "/repos/octokit-fixture-org/labels/labels", "primary_key": ["name"]})),
        (
            "release-assets",
            json!({"path": "/repos/octokit-fixture-org/release-assets/releases/tags/v1.0.0",
                                  "one_object": true, "primary_key": ["id"]}),
        ),
        (
            "search-issues",
            json!({"path": "/search/issues", "query": {"q": "sesame repo:octokit-fixture-org/search-issues"},
                                 "records": "/items", "primary_key": ["number"], "total": "/total_count"}),
        ),
    ] {
        let url = octokit.scenario(name)?.url;
        let mut stream = stream;
        stream["name"] = "records".into();
        let connection = Connection::new(
            "rest",
            &json!({
                "base_url": url, "auth": {"header": {"name": "Authorization", "value": format!("token {TOKEN}")}},
                "headers": {"Accept": MEDIA_TYPE}, "streams": [stream],
            }),
        )?;
        let run = connection.run(&["--format", "jsonl"])?;
        let recorded = Octokit::recorded(name)?;
        let body = served(&recorded.first().context("an exchange")?["response"], &url)?;
        let wanted = match (stream["records"].as_str(), body) {
            (Some(pointer), body) => body.pointer(pointer).and_then(Value::as_array).cloned().context("records")?,
            (None, Value::Array(records)) => records,
            (None, record) => vec![record],
        };
        ensure!(!wanted.is_empty() && connection.records("records")? == wanted, "{name}: {run:#?}");
        // Without a key or a total there is nothing to check a list by.
        let verdict = if stream["primary_key"].is_null() { "unproven" } else { "complete" };
        ensure!(run.verdict() == verdict, "{name}: {run:#?}");
    }
    Ok(())
}

/// Recordings of PyGithub's tests, by name.
fn recordings(names: &[&str]) -> anyhow::Result<Vec<Recording>> {
    names.iter().map(|name| Ok(Recording::read(&installed(&format!("recordings/{name}.txt"))?)?)).collect()
}

/// The 14 pages of openFrameworks' issues.
const ISSUES: [&str; 2] = ["PaginatedList.testSliceIndexingUntilFourthPage", "PaginatedList.testIteration"];
const FRAMEWORKS: &str = "openframeworks/openFrameworks";
const LISTING: &str = "/repos/openframeworks/openFrameworks/issues";

/// The distinct records that recordings have at a path, by id, as they come.
fn recorded_at(recordings: &[Recording], path: &str) -> anyhow::Result<BTreeMap<u64, Value>> {
    let mut records = BTreeMap::new();
    for exchange in recordings.iter().flat_map(|recording| recording.at(path)) {
        for record in serde_json::from_str::<Vec<Value>>(&exchange.body)? {
            records.entry(record["id"].as_u64().context("an id")?).or_insert(record);
        }
    }
    Ok(records)
}

#[test]
fn an_organisations_repositories_arrive_as_recorded() -> anyhow::Result<()> {
    let recordings = recordings(&["Organization.testGetRepos"])?;
    let wanted = recorded_at(&recordings, "/orgs/BeaverSoftware/repos")?;
    let replay = Replay::start(recordings, 0)?;
    let connection = Connection::new("github", &json!({"org": "BeaverSoftware", "base_url": replay.url()}))?;
    connection.complete(&["--stream", "repos"])?;
    let found = connection.records("repos")?;
    ensure!(!wanted.is_empty() && found.len() == wanted.len(), "{} of {}", found.len(), wanted.len());
    for record in found {
        let id = record["id"].as_u64().context("an id")?;
        ensure!(wanted.get(&id).map(without_nulls) == Some(record), "{id}");
    }
    let targets = replay.targets();
    ensure!(
        targets == [("/orgs/BeaverSoftware/repos?per_page=100&sort=created&direction=asc".to_owned(), 200)],
        "{targets:?}"
    );
    Ok(())
}

#[test]
fn a_killed_read_goes_on_and_the_next_one_asks_for_changes_only() -> anyhow::Result<()> {
    let recordings = recordings(&ISSUES)?;
    let recorded = recorded_at(&recordings, LISTING)?;
    let wanted: Vec<u64> = recorded.keys().copied().collect();
    ensure!(wanted.len() == 333, "{} recorded issues", wanted.len());
    let replay = Replay::start(recordings, 0)?;
    let connection = Connection::new("github", &json!({"repos": [FRAMEWORKS], "base_url": replay.url()}))?;
    // Each page is committed, and the eighth is the last that is answered before the kill.
    let arguments = ["--stream", "issues", "--part-rows", "20"];
    replay.answer(8);
    let mut child = connection.start(&arguments)?;
    child.until(|| connection.records("issues").is_ok_and(|issues| issues.len() >= 100))?;
    child.killed()?;
    let before = replay.targets().len();
    ensure!((4..=8).contains(&before), "{before} requests before the kill");
    replay.answer(usize::MAX);
    let run = counted(&connection, &arguments, &format!("issues: {FRAMEWORKS}"), 13)?;
    let read = run.stream("issues")["reads"][0].clone();
    ensure!(run.report["resumed"] == true && read["resumed"] == true, "{run:#?}");
    ensure!(connection.ids("issues", "id")? == wanted);
    let asked = replay.targets();
    let resumed: Vec<&str> = asked.iter().skip(before).map(|(target, _)| target.as_str()).collect();
    let first = LISTING.to_owned() + "?per_page=100&state=all&sort=created&direction=asc";
    ensure!(asked.first().is_some_and(|(target, _)| *target == first), "{asked:#?}");
    let committed = [&first, &format!("{LISTING}?page=2"), &format!("{LISTING}?page=3"), &format!("{LISTING}?page=4")];
    ensure!(committed.iter().all(|page| !resumed.contains(&page.as_str())), "{resumed:#?}");
    ensure!(resumed.last().is_some_and(|last| last.ends_with("?page=14")), "{resumed:#?}");

    // The next read asks for what changed since, and gets one issue in a new version.
    let watermark = read["watermark_after"].as_str().context("a watermark")?;
    let newest = recorded.values().filter_map(|issue| issue["updated_at"].as_str()).max();
    ensure!(newest == Some(watermark), "{watermark}, not {newest:?}");
    let mut changed = recorded.values().next().context("an issue")?.clone();
    changed["updated_at"] = "2012-06-01T00:00:00Z".into();
    let border = recorded.values().find(|issue| issue["updated_at"] == watermark).context("the newest")?;
    let page = Exchange {
        method: "GET".into(),
        host: "api.github.com".into(),
        path: LISTING.into(),
        query: Vec::new(),
        status: 200,
        headers: vec![("date".into(), "Fri, 01 Jun 2012 12:00:00 GMT".into())],
        body: format!("[{changed},{border}]"),
    };
    replay.replace([Recording { exchanges: vec![page] }]);
    let run = connection.complete(&arguments)?;
    let since = watermark.replace(':', "%3A");
    ensure!(replay.targets() == [(format!("{first}&since={since}"), 200)], "{:#?}", replay.targets());
    let issues = run.stream("issues");
    ensure!(issues["mode"] == "incremental" && issues["records"] == 1, "{issues:#}");
    ensure!(issues["reads"][0]["watermark_before"] == watermark, "{issues:#}");
    ensure!(issues["reads"][0]["watermark_after"] == "2012-06-01T00:00:00Z", "{issues:#}");
    ensure!(connection.records("issues")?.len() == 334);
    Ok(())
}
