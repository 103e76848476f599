//! The life of runs, by the program as a user runs it: stopping, going on, reading again, previews.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    mock::{Api, Change, Endpoint, Total, offset::Offset},
    program::{Running, call, complete, host, integers, parts},
};

/// A mock API with 1,000 records in pages of 100, and a folder with the configuration that reads it.
struct Room {
    folder: tempfile::TempDir,
    api: Api,
}

impl Room {
    fn new() -> anyhow::Result<Self> {
        let endpoint = Endpoint::new("/items", Offset::default()).records(1_000).total(Total::Body);
        let api = Api::builder().endpoint(endpoint).start()?;
        let folder = tempfile::tempdir()?;
        let stream = json!({"name": "items", "path": "/items", "records": "/items", "primary_key": ["id"],
                            "total": "/total", "in_flight": 1, "pagination": {"offset": {}}});
        let config = json!({"base_url": api.url(""), "streams": [stream]});
        std::fs::write(folder.path().join("config.json"), config.to_string())?;
        Ok(Self { folder, api })
    }

    fn path(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.folder.path().join(name).to_str().context("a path")?.to_owned())
    }

    fn out(&self) -> std::path::PathBuf {
        self.folder.path().join("out")
    }

    /// Runs to a complete end, with more arguments.
    fn complete(&self, more: &[&str]) -> anyhow::Result<Value> {
        let (config, out) = (self.path("config.json")?, self.path("out")?);
        let mut arguments = vec!["rest", "--config", &config, "--out", &out];
        arguments.extend_from_slice(more);
        complete(&arguments)
    }
}

fn sorted_ids(out: &Path) -> anyhow::Result<Vec<i64>> {
    let mut ids = integers(out, "items", "id")?;
    ids.sort_unstable();
    Ok(ids)
}

#[test]
fn an_interrupted_run_commits_what_it_has_and_goes_on_under_its_id() -> anyhow::Result<()> {
    let room = Room::new()?;
    let (config, out) = (room.path("config.json")?, room.path("out")?);
    room.api.answer(4);
    let mut child = Running::start(host(&["run", "rest", "--config", &config, "--out", &out, "--json"])?)?;
    child.until(|| room.api.requests().len() == 5)?;
    // SIGTERM, by the shell's own tool: the standard library has no other signal than SIGKILL.
    ensure!(std::process::Command::new("kill").arg(child.id().to_string()).status()?.success(), "no signal was sent");
    let ended = child.ended()?;
    ensure!(ended.code == Some(1), "{ended:#?}");
    let stopped: Value = serde_json::from_str(&ended.stdout)?;
    room.api.answer(usize::MAX);
    let got = integers(&room.out(), "items", "id")?.len();
    ensure!((100..1_000).contains(&got), "{got} records");
    assert_eq!(stopped["verdict"], "incomplete");
    assert_eq!(stopped["reasons"], json!(["items: interrupted; run the same command again to go on from here"]));
    assert_eq!(stopped["streams"][0]["records"], got);

    let before = room.api.requests().len();
    let resumed = room.complete(&[])?;
    assert_eq!((&resumed["run"], &resumed["resumed"]), (&stopped["run"], &json!(true)));
    assert_eq!(resumed["streams"][0]["records"], 1_000);
    assert_eq!(sorted_ids(&room.out())?, (1..=1_000).collect::<Vec<_>>());
    let first = room.api.targets().into_iter().nth(before).context("a request")?;
    // Each page begins with the last record of the page before.
    assert_eq!(first, format!("/items?offset={}&limit=100", got - 1));
    Ok(())
}

#[test]
fn a_stream_without_a_watermark_is_read_again_and_takes_the_old_ones_place() -> anyhow::Result<()> {
    let room = Room::new()?;
    room.complete(&[])?;
    let old = parts(&room.out(), "items")?;
    room.api.change("/items", &Change::DeleteFront(10));
    room.complete(&[])?;
    let new = parts(&room.out(), "items")?;
    ensure!(old.len() == 1 && new.len() == 1 && old != new, "{old:?} {new:?}");
    assert_eq!(sorted_ids(&room.out())?, {
        let mut ids: Vec<i64> = room.api.ids("/items").into_iter().map(i64::from).collect();
        ids.sort_unstable();
        ids
    });
    Ok(())
}

#[test]
fn a_reading_that_fails_leaves_the_old_one_as_it_was() -> anyhow::Result<()> {
    use tests::mock::{Action, RetryAfter, Rule};
    let room = Room::new()?;
    room.complete(&[])?;
    let old = parts(&room.out(), "items")?;
    room.api.script(vec![Rule::always(Action::Status(500, RetryAfter::None)).containing("offset=495")]);
    let (config, out) = (room.path("config.json")?, room.path("out")?);
    let failed = call(&["run", "rest", "--config", &config, "--out", &out, "--attempts", "2", "--retry-base", "1ms"])?;
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert_eq!(parts(&room.out(), "items")?, old);

    // The server is well again: only what is missing is fetched, and the new reading takes the old one's place.
    room.api.script(Vec::new());
    let before = room.api.requests().len();
    let report = room.complete(&[])?;
    assert_eq!(report["streams"][0]["records"], 1_000);
    let first = room.api.targets().into_iter().nth(before).context("a request")?;
    assert_eq!(first, "/items?offset=495&limit=100");
    assert_eq!(sorted_ids(&room.out())?, (1..=1_000).collect::<Vec<_>>());
    ensure!(parts(&room.out(), "items")?.iter().all(|part| !old.contains(part)), "an old part is still there");
    Ok(())
}

#[test]
fn a_preview_has_as_many_records_as_asked_for_and_the_next_run_replaces_it() -> anyhow::Result<()> {
    let room = Room::new()?;
    let (config, out) = (room.path("config.json")?, room.path("out")?);
    let preview = call(&["run", "rest", "--config", &config, "--out", &out, "--limit", "250", "--json"])?;
    assert_eq!(preview.code, Some(1));
    let report: Value = serde_json::from_str(&preview.stdout)?;
    assert_eq!(report["reasons"], json!(["items: stopped by --limit"]));
    assert_eq!(sorted_ids(&room.out())?, (1..=250).collect::<Vec<_>>());
    room.complete(&[])?;
    assert_eq!(sorted_ids(&room.out())?, (1..=1_000).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn an_empty_stream_leaves_a_readable_file() -> anyhow::Result<()> {
    let api = Api::builder().endpoint(Endpoint::new("/items", Offset::default()).records(0)).start()?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.json");
    let schema = json!({"type": "object", "properties": {"id": {"type": "integer"}}});
    let stream = json!({"name": "items", "path": "/items", "records": "/items", "primary_key": ["id"],
                        "pagination": {"offset": {}}, "schema": schema});
    std::fs::write(&config, json!({"base_url": api.url(""), "streams": [stream]}).to_string())?;
    let out = folder.path().join("out");
    let (config, out_text) = (config.to_str().context("a path")?, out.to_str().context("a path")?);
    complete(&["rest", "--config", config, "--out", out_text])?;
    assert_eq!(parts(&out, "items")?.len(), 1);
    assert_eq!(integers(&out, "items", "id")?, Vec::<i64>::new());
    Ok(())
}
