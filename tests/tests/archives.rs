//! Archives as users handle them: looked into, exported, removed, and made into tables anew.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    mock::{Action, Api, Change, Encoding, Endpoint, RetryAfter, Rule, Shape, offset::Offset},
    program::{Ended, call},
    transcript::{Scene, compare, transcript},
};

const SECRET: &str = "s3cr3t-0123456789";

fn connection(api: &Api) -> anyhow::Result<Connection> {
    let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
                        "pagination": {"offset": {"limit": 20}},
                        "incremental": {"cursor_field": "updated_at", "param": "since"}});
    Connection::new("rest", &json!({"base_url": api.url(""), "auth": {"bearer": SECRET}, "streams": [stream]}))
}

fn items() -> Endpoint {
    Endpoint::new("/items", Offset::default()).records(50).page_size(20, 20).since("since")
}

/// Calls a command on the connection's output folder, and expects it to work.
fn works(connection: &Connection, arguments: &[&str]) -> anyhow::Result<Ended> {
    let ended = tried(connection, arguments)?;
    ensure!(ended.code == Some(0), "{ended:#?}");
    Ok(ended)
}

fn tried(connection: &Connection, arguments: &[&str]) -> anyhow::Result<Ended> {
    let out = connection.out().display().to_string();
    let mut all = arguments.to_vec();
    all.extend(["--out", &out]);
    call(&all)
}

/// Calls a command that cannot start, and compares the whole of what it says with a transcript.
fn refused(connection: &Connection, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let ended = tried(connection, arguments)?;
    let mut scene = Scene::new()?;
    scene.call(connection.out().display().to_string(), "OUT");
    compare(&format!("archives/{name}"), &transcript(&scene, &arguments.join(" "), &ended))?;
    ensure!(ended.code == Some(2), "{ended:#?}");
    Ok(())
}

fn archive_of(connection: &Connection, run: &Value) -> anyhow::Result<PathBuf> {
    Ok(connection.out().join("_runs").join(run["run"].as_str().context("a run")?).join("archive"))
}

#[test]
fn exchanges_are_listed_printed_and_exported_without_secrets() -> anyhow::Result<()> {
    let unwell = Rule::on(2, Action::Status(503, RetryAfter::None));
    let api = Api::builder().endpoint(items()).encoding(Encoding::Negotiate).fault(unwell).token(SECRET).start()?;
    let connection = connection(&api)?;
    let run = connection.complete(&[])?.report;
    let id = run["run"].as_str().context("a run")?;
    let listed = works(&connection, &["archive", "ls", id, "--json"])?.stdout;
    let listed: Vec<Value> = listed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let statuses: Vec<&Value> = listed.iter().map(|line| &line["status"]).collect();
    assert_eq!(statuses, [200, 503, 200, 200, 200]);
    let number = listed[0]["number"].to_string();
    let body: Value = serde_json::from_str(&works(&connection, &["archive", "cat", id, &number])?.stdout)?;
    assert_eq!(body["items"].as_array().map(Vec::len), Some(20));
    let table = works(&connection, &["archive", "ls"])?.stdout;
    ensure!(table.trim_start().starts_with("run ") && table.contains(id), "{table}");

    let har = works(&connection, &["archive", "export", id])?.stdout;
    // The host lets the requests in, and what it puts into them for that is not kept at all.
    ensure!(!har.contains(SECRET) && !har.to_lowercase().contains("authorization"), "a secret: {har}");
    let har: Value = serde_json::from_str(&har)?;
    let entries = har["log"]["entries"].as_array().context("entries")?;
    assert_eq!((entries.len(), &har["log"]["version"]), (5, &json!("1.2")));
    // What HAR 1.2 asks for, member by member.
    for entry in entries {
        for (of, members) in [
            ("", ["startedDateTime", "time", "request", "response", "cache", "timings"].as_slice()),
            (
                "/request",
                &["method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"],
            ),
            (
                "/response",
                &[
                    "status",
                    "statusText",
                    "httpVersion",
                    "cookies",
                    "headers",
                    "content",
                    "redirectURL",
                    "headersSize",
                    "bodySize",
                ],
            ),
            ("/response/content", &["size", "mimeType", "text"]),
            ("/timings", &["send", "wait", "receive"]),
        ] {
            let object = entry.pointer(of).and_then(Value::as_object).with_context(|| format!("no {of}"))?;
            ensure!(members.iter().all(|member| object.contains_key(*member)), "{of}: {object:?}");
        }
    }
    let query = &entries[2]["request"]["queryString"];
    ensure!(query.as_array().is_some_and(|pairs| pairs.contains(&json!({"name": "offset", "value": "19"}))), "{query}");
    Ok(())
}

#[test]
fn old_archives_are_removed_and_those_of_unfinished_runs_stay() -> anyhow::Result<()> {
    let api = Api::builder().endpoint(items()).start()?;
    let connection = connection(&api)?;
    let first = connection.complete(&[])?.report;
    api.change("/items", &Change::InsertFront(5));
    let second = connection.complete(&["--full"])?.report;
    let before = api.requests().len();
    api.answer(before + 1);
    let mut third = connection.start(&["--full"])?;
    third.until(|| api.requests().len() == before + 2)?;
    third.killed()?;
    api.answer(usize::MAX);
    let pruned = works(&connection, &["archive", "prune", "--keep-bytes", "1", "--dry-run"])?;
    ensure!(archive_of(&connection, &first)?.exists(), "{pruned:?}");
    let pruned = works(&connection, &["archive", "prune", "--older-than", "365d"])?.stdout;
    ensure!(pruned.starts_with("0 archives removed"), "{pruned}");
    let pruned = works(&connection, &["archive", "prune", "--keep-bytes", "0"])?.stdout;
    ensure!(
        pruned.contains("1 archive of an unfinished run stays") && pruned.contains("2 archives removed"),
        "{pruned}"
    );
    ensure!(!archive_of(&connection, &first)?.exists() && !archive_of(&connection, &second)?.exists(), "{pruned}");
    // The unfinished run goes on, and can be repeated.
    let third = connection.complete(&[])?.report;
    assert_eq!(third["resumed"], true);
    works(&connection, &["replay"])?;
    let first = first["run"].as_str().context("a run")?;
    refused(&connection, "replay_pruned", &["replay", first])?;
    refused(&connection, "ls_pruned", &["archive", "ls", first])?;
    refused(&connection, "cat_unknown", &["archive", "cat", third["run"].as_str().context("a run")?, "9999"])?;
    refused(&connection, "prune_nothing", &["archive", "prune"])?;
    refused(&connection, "replay_to_full_folder", &["replay", "--to", &connection.out().display().to_string()])?;
    Ok(())
}

/// A full and two incremental runs of a connection, and their ids.
fn three_runs() -> anyhow::Result<(Connection, Vec<String>)> {
    let api = Api::builder().endpoint(items()).start()?;
    let connection = connection(&api)?;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = connection.run(&["--format", "jsonl"])?.report;
        runs.push(run["run"].as_str().context("a run")?.to_owned());
        api.change("/items", &Change::Append(5));
    }
    Ok((connection, runs))
}

#[test]
fn a_table_is_made_anew_from_a_full_run_and_those_since() -> anyhow::Result<()> {
    let (connection, runs) = three_runs()?;
    let before = connection.records("items")?;
    let old = tests::program::parts(&connection.out(), "items")?;
    let [first, second, third] = runs.as_slice() else { anyhow::bail!("three runs") };
    let made = works(&connection, &["reprocess", "items", "--json", "--from", first, second, third])?.stdout;
    let made: Value = serde_json::from_str(&made)?;
    assert_eq!(connection.records("items")?, before);
    assert_eq!((&made["before"], &made["records"]), (&json!(before.len()), &json!(before.len())));
    ensure!(tests::program::parts(&connection.out(), "items")?.iter().all(|part| !old.contains(part)), "an old part");
    let out = connection.out().display().to_string();
    let verified = call(&["verify", &out])?;
    ensure!(verified.code == Some(0), "{verified:#?}");
    // The newest run is the one that made the table anew, and has no archive.
    let replayed = works(&connection, &["replay", "--json"])?;
    ensure!(replayed.stdout.contains(third), "{replayed:#?}");
    for (name, from) in
        [("no_beginning", vec![second, third]), ("gap", vec![first, third]), ("behind", vec![first, second])]
    {
        let mut arguments = vec!["reprocess", "items", "--from"];
        arguments.extend(from.into_iter().map(String::as_str));
        refused(&connection, &format!("reprocess_{name}"), &arguments)?;
    }
    refused(&connection, "reprocess_unknown_stream", &["reprocess", "itmes", "--from", first])?;
    assert_eq!(connection.records("items")?, before);
    Ok(())
}

#[test]
fn a_process_that_dies_in_the_middle_leaves_the_old_table_or_the_new_one() -> anyhow::Result<()> {
    let (connection, runs) = three_runs()?;
    let before = connection.records("items")?;
    let out = connection.out().display().to_string();
    let mut arguments = vec!["reprocess", "items", "--out", &out, "--from"];
    arguments.extend(runs.iter().map(String::as_str));
    for wait_ms in 0..12 {
        let mut child = tests::program::host(&arguments)?
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(wait_ms * 4));
        child.kill()?;
        child.wait()?;
        // Between two renames a reader may see a record twice, and never misses one.
        let mut seen = connection.records("items")?;
        seen.dedup();
        ensure!(before.iter().all(|record| seen.contains(record)), "records are missing after {wait_ms}");
    }
    // Whatever was left behind is finished or removed by the next one, which makes the same table.
    works(&connection, &arguments.iter().copied().filter(|text| *text != "--out" && *text != out).collect::<Vec<_>>())?;
    assert_eq!(connection.records("items")?, before);
    for entry in fs::read_dir(connection.out().join("items"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(name.starts_with("part-") || name == "_schema.json", "{name} is left");
    }
    Ok(())
}

/// What a run's archive takes on the disk.
fn stored(connection: &Connection, run: &Value) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(archive_of(connection, run)?)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn sound(connection: &Connection) -> anyhow::Result<()> {
    let verified = call(&["verify", &connection.out().display().to_string()])?;
    ensure!(verified.code == Some(0) && !verified.stdout.contains("not checked: the "), "{verified:#?}");
    Ok(())
}

#[test]
fn what_an_earlier_run_stored_is_not_stored_again_and_stays_as_long_as_it_is_needed() -> anyhow::Result<()> {
    let large = items().records(400).page_size(100, 100).shape(Shape::Large);
    let api = Api::builder().endpoint(large).start()?;
    let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
                        "pagination": {"offset": {"limit": 100}}});
    let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": [stream]}))?;
    let first = connection.complete(&[])?.report;
    let second = connection.complete(&[])?.report;
    api.change("/items", &Change::Append(10));
    let third = connection.complete(&[])?.report;
    let [one, two, three] = [&first, &second, &third].map(|run| stored(&connection, run));
    let (one, two, three) = (one?, two?, three?);
    ensure!(one > 30_000 && two * 8 < one && three * 4 < one, "{one} bytes, then {two}, then {three}");
    sound(&connection)?;
    let harmless = works(&connection, &["archive", "prune", "--keep-runs", "1", "--dry-run"])?.stdout;
    ensure!(harmless.contains("2 archives would be removed"), "{harmless}");

    // Killed anywhere while it removes, it leaves what the others need; whoever comes next does the rest.
    let out = connection.out();
    for wait_ms in 0..6 {
        let copy = out.with_file_name(format!("copy-{wait_ms}"));
        let copied = std::process::Command::new("cp").arg("-r").args([&out, &copy]).status()?;
        ensure!(copied.success(), "no copy");
        let text = copy.display().to_string();
        let mut child = tests::program::host(&["archive", "prune", "--keep-runs", "1", "--out", &text])?
            .stdout(std::process::Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(wait_ms * 3));
        child.kill()?;
        child.wait()?;
        let replayed = call(&["replay", "--out", &text])?;
        ensure!(replayed.code == Some(0), "{wait_ms}: {replayed:#?}");
        let pruned = call(&["archive", "prune", "--keep-runs", "1", "--out", &text])?;
        ensure!(pruned.code == Some(0) && pruned.stdout.contains("since others share them"), "{wait_ms}: {pruned:#?}");
        let replayed = call(&["replay", "--out", &text])?;
        ensure!(replayed.code == Some(0), "{wait_ms}: {replayed:#?}");
    }

    let pruned = works(&connection, &["archive", "prune", "--keep-runs", "1"])?.stdout;
    ensure!(pruned.contains("2 archives removed") && pruned.contains("since others share them"), "{pruned}");
    works(&connection, &["replay"])?;
    sound(&connection)?;
    works(&connection, &["archive", "export", "--to", &out.with_file_name("har").display().to_string()])?;
    // A run that shares what is left of the first one; and when nobody needs that any more, it goes too.
    connection.complete(&["--keep-runs", "1"])?;
    works(&connection, &["replay"])?;
    api.change("/items", &Change::InsertFront(1));
    connection.complete(&["--archive-max-size", "1"])?;
    works(&connection, &["replay"])?;
    let left = fs::read_dir(out.join("_runs"))?.flatten().filter(|run| run.path().join("bodies").exists());
    assert_eq!(left.count(), 0, "segments that nobody needs");
    sound(&connection)?;
    Ok(())
}
