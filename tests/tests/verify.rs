//! `host verify`: each kind of damage to an output folder is found, and said in words. See `transcripts/verify/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    mock::{Api, Endpoint, cursor::Cursor},
    program::{call, host, parts},
    transcript::{Scene, compare, play, transcript},
};

/// An output folder with a complete run of 50 records in 3 pages, whose API is gone.
struct Stage {
    scene: Scene,
    out: PathBuf,
}

impl Stage {
    fn new(format: &str) -> anyhow::Result<Self> {
        let api = Api::builder().endpoint(Endpoint::new("/items", Cursor::default()).records(50).page_size(20, 20));
        let api = api.start()?;
        let mut scene = Scene::new()?;
        let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
                            "pagination": {"cursor": {"token": "/next", "param": "cursor"}}});
        let config = scene.file("api.json", json!({"base_url": api.url(""), "streams": [stream]}).to_string())?;
        let out = scene.path("out");
        let ran = call(&["run", "rest", "--config", &config, "--out", text(&out)?, "--format", format, "--quiet"])?;
        ensure!(ran.code == Some(0), "{ran:#?}");
        let copy = fs::read_dir(out.join("_connectors"))?.next().context("a connector")??.file_name();
        scene.call(copy.to_string_lossy(), "DIGEST.wasm");
        Ok(Self { scene, out })
    }

    fn run(&self) -> anyhow::Result<PathBuf> {
        Ok(fs::read_dir(self.out.join("_runs"))?.next().context("a run")??.path())
    }

    fn part(&self) -> anyhow::Result<PathBuf> {
        parts(&self.out, "items")?.into_iter().next().context("a part")
    }

    fn sql(&self, statement: &str) -> anyhow::Result<()> {
        ensure!(rusqlite::Connection::open(self.out.join("_state.db"))?.execute(statement, [])? > 0, "nothing changed");
        Ok(())
    }

    fn expect(&self, name: &str, code: i32) -> anyhow::Result<()> {
        let arguments = ["verify", text(&self.out)?];
        let ended = play(&host(&arguments)?)?;
        compare(&format!("verify/{name}"), &transcript(&self.scene, &arguments.join(" "), &ended))?;
        ensure!(ended.code == Some(code), "{ended:#?}");
        let json = call(&["verify", text(&self.out)?, "--json"])?;
        let report: Value = serde_json::from_str(&json.stdout)?;
        ensure!(json.code == Some(code) && report["sound"] == (code == 0), "{report:#}");
        Ok(())
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path")
}

/// Changes one byte of a file.
fn flip(path: &Path, at: usize) -> anyhow::Result<()> {
    let mut bytes = fs::read(path)?;
    *bytes.get_mut(at).context("a byte")? ^= 1;
    Ok(fs::write(path, bytes)?)
}

#[test]
fn nothing_is_wrong() -> anyhow::Result<()> {
    Stage::new("parquet")?.expect("sound", 0)?;
    Stage::new("jsonl")?.expect("sound_jsonl", 0)
}

#[test]
fn a_part_is_missing() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    fs::remove_file(stage.part()?)?;
    stage.expect("part_missing", 1)
}

#[test]
fn a_part_is_cut_off() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    let bytes = fs::read(stage.part()?)?;
    fs::write(stage.part()?, bytes.get(..100).context("100 bytes")?)?;
    stage.expect("part_cut", 1)
}

#[test]
fn a_part_has_another_value_that_only_its_archive_tells() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    let content = fs::read_to_string(stage.part()?)?;
    ensure!(content.contains("item-0000007"), "no such record");
    fs::write(stage.part()?, content.replace("item-0000007", "item-0000008"))?;
    stage.expect("part_changed", 1)
}

#[test]
fn a_part_is_no_parquet_any_more() -> anyhow::Result<()> {
    let stage = Stage::new("parquet")?;
    let part = stage.part()?;
    let last = fs::read(&part)?.len() - 1;
    flip(&part, last)?;
    stage.expect("part_unreadable", 1)
}

#[test]
fn a_part_has_fewer_records_than_its_commit() -> anyhow::Result<()> {
    let stage = Stage::new("parquet")?;
    stage.sql("UPDATE parts SET records = 51")?;
    stage.expect("part_rows", 1)
}

#[test]
fn a_file_is_visible_that_no_commit_names() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    fs::write(stage.out.join("items/part-x.jsonl"), "{\"id\":1}\n")?;
    stage.expect("part_stray", 1)
}

#[test]
fn a_page_is_missing_in_the_log() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    stage.sql("DELETE FROM pages WHERE seq = 1")?;
    stage.expect("page_missing", 1)
}

#[test]
fn a_page_of_the_log_is_another() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    stage.sql("UPDATE pages SET hash = '00000000000000000000000000000000' WHERE seq = 1")?;
    stage.expect("page_changed", 1)
}

#[test]
fn the_log_has_more_records_than_the_parts() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    stage.sql("UPDATE pages SET records = 30 WHERE seq = 1")?;
    stage.expect("page_records", 1)
}

#[test]
fn the_checkpoint_is_not_that_of_the_last_page() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    stage.sql("UPDATE reads SET checkpoint = 'elsewhere'")?;
    stage.expect("checkpoint_changed", 1)
}

#[test]
fn a_body_of_the_archive_is_changed() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    flip(&stage.run()?.join("archive/bodies-000001.bin"), 40)?;
    stage.expect("body_changed", 1)
}

#[test]
fn the_bodies_of_the_archive_are_gone() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    fs::remove_file(stage.run()?.join("archive/bodies-000001.bin"))?;
    stage.expect("bodies_missing", 1)
}

#[test]
fn a_line_of_the_archive_is_missing() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    let manifest = stage.run()?.join("archive/manifest.jsonl");
    let content = fs::read_to_string(&manifest)?;
    let kept = content.lines().filter(|line| !line.starts_with("{\"seq\":7,"));
    fs::write(&manifest, kept.map(|line| format!("{line}\n")).collect::<String>())?;
    stage.expect("line_missing", 1)
}

#[test]
fn a_line_of_the_archive_is_malformed() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    flip(&stage.run()?.join("archive/manifest.jsonl"), 0)?;
    stage.expect("line_malformed", 1)
}

#[test]
fn what_cannot_be_checked_is_said() -> anyhow::Result<()> {
    let stage = Stage::new("jsonl")?;
    fs::remove_dir_all(stage.out.join("_connectors"))?;
    stage.expect("connector_missing", 0)?;
    fs::remove_dir_all(stage.run()?.join("archive"))?;
    stage.expect("archive_missing", 0)
}

#[test]
fn there_has_to_be_something_to_check() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let out = scene.path("nowhere");
    let ended = play(&host(&["verify", text(&out)?])?)?;
    compare("verify/nothing", &transcript(&scene, &format!("verify {}", text(&out)?), &ended))?;
    ensure!(ended.code == Some(2), "{ended:#?}");
    Ok(())
}
