//! What goes wrong below the host: its state file is damaged, the disk is full or read-only, the clock goes back, two runs
//! come at once. After each, nothing is lost and nothing is there twice. What is said of it is in `errors.rs`.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    clock::Clock,
    connection::Connection,
    mock::{Api, Change, Endpoint, Shape, Total, offset::Offset},
    program::{Running, call, host, parts},
};

const RECORDS: u32 = 500;

fn api() -> anyhow::Result<Api> {
    let items = Endpoint::new("/items", Offset::default()).records(RECORDS).since("since").total(Total::Body);
    Ok(Api::builder().endpoint(items).start()?)
}

fn connection(api: &Api) -> anyhow::Result<Connection> {
    let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"], "total": "/total",
                        "in_flight": 1, "pagination": {"offset": {"limit": 50}},
                        "incremental": {"cursor_field": "updated_at", "param": "since"}});
    Connection::new("rest", &json!({"base_url": api.url(""), "streams": [stream]}))
}

fn every_id() -> Vec<u64> {
    (1..=u64::from(RECORDS)).collect()
}

/// The arguments of a run of a connection.
fn arguments<'a>(config: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "rest", "--config", config, "--out", out, "--retry-base", "1ms", "--json"], more].concat()
}

fn places(connection: &Connection) -> (String, String) {
    let out = connection.out();
    (out.with_file_name("config.json").display().to_string(), out.display().to_string())
}

/// Puts a program with its arguments before a call of `host`.
fn behind(program: &str, before: &[&str], arguments: &[&str]) -> anyhow::Result<Command> {
    let host = host(arguments)?;
    let mut command = Command::new(program);
    command.args(before).arg(host.get_program()).args(host.get_args());
    for (name, value) in host.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ok(command)
}

/// Whether a program can be had; else the test says that it was not made.
fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        #[expect(clippy::print_stderr, reason = "a test that was not made must not look like one that passed")]
        {
            eprintln!("skipped, since there is no {program} on this machine");
        }
    }
    there
}

#[test]
fn a_damaged_state_file_takes_nothing_along_and_its_backup_goes_on() -> anyhow::Result<()> {
    let api = api()?;
    let connection = connection(&api)?;
    connection.complete(&[])?;
    let state = connection.out().join("_state.db");
    let (whole, files) = (fs::read(&state)?, parts(&connection.out(), "items")?);
    let half = whole.get(..whole.len() / 2).context("a half")?.to_vec();
    let mut scribbled = whole.clone();
    scribbled.iter_mut().skip(4_096).step_by(3).for_each(|byte| *byte = !*byte);
    let newer = {
        let copy = connection.out().with_file_name("newer.db");
        fs::write(&copy, &whole)?;
        rusqlite::Connection::open(&copy)?.pragma_update(None, "user_version", 999)?;
        fs::read(&copy)?
    };
    for (name, damaged) in [
        ("half", half),
        ("nothing", Vec::new()),
        ("scribbled", scribbled),
        ("other", b"no state".repeat(999)),
        ("newer", newer),
    ] {
        fs::write(&state, &damaged)?;
        for more in [&[][..], &["--full"]] {
            let run = connection.run(more)?;
            ensure!(run.code == Some(2) && run.log.starts_with("error[output]: the state file"), "{name}: {run:?}");
            ensure!(run.log.contains("next: "), "{name}: {run:?}");
        }
        assert_eq!(parts(&connection.out(), "items")?, files, "{name}");
        assert_eq!(connection.ids("items", "id")?, every_id(), "{name}");
    }
    // As it was: the next run brings what is new and nothing else.
    fs::write(&state, whole)?;
    api.change("/items", &Change::Append(5));
    connection.complete(&[])?;
    let mut ids = connection.ids("items", "id")?;
    // An API that says `since` means from then on: what was last comes once more.
    ensure!(ids.len() <= RECORDS as usize + 6, "{} records", ids.len());
    ids.dedup();
    assert_eq!(ids, (1..=u64::from(RECORDS) + 5).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn of_two_runs_at_once_one_is_refused_and_the_other_is_whole() -> anyhow::Result<()> {
    let api = api()?;
    let connection = connection(&api)?;
    api.answer(1);
    let mut first = connection.start(&[])?;
    first.until(|| api.requests().len() == 2)?;
    let second = connection.run(&[])?;
    ensure!(second.code == Some(2) && second.log.contains("another run of the connection rest is using"), "{second:?}");
    api.answer(usize::MAX);
    first.succeeds()?;
    assert_eq!(connection.ids("items", "id")?, every_id());
    Ok(())
}

/// Errors of the system at chosen calls: from the `when`th call of a thread on, each of these calls fails.
#[test]
fn whatever_call_of_the_system_fails_the_next_run_makes_it_whole() -> anyhow::Result<()> {
    if !is_there("strace") {
        return Ok(());
    }
    let api = api()?;
    let mut failed = 0;
    for (calls, error, moments) in [
        // A quota may show when bytes are written, or only when they are synced.
        ("fsync,fdatasync", "EDQUOT", &[1, 2, 4, 7][..]),
        ("pwrite64", "ENOSPC", &[3, 9, 20]),
        // A file system that was mounted anew for reading only.
        ("rename", "EROFS", &[1, 2]),
        ("unlink,ftruncate,mkdir", "EROFS", &[2]),
    ] {
        for when in moments {
            let connection = connection(&api)?;
            let (config, out) = places(&connection);
            let arguments = arguments(&config, &out, &["--part-rows", "100"]);
            let inject = format!("inject={calls}:error={error}:when={when}+");
            let trace = format!("trace={calls}");
            let before = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            let ended = behind("strace", &before, &arguments)?.output()?;
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            ensure!(matches!(ended.status.code(), Some(0..=2)), "{inject}: {:?} {said}", ended.status);
            failed += usize::from(!ended.status.success());
            if !ended.status.success() {
                // Why, in the words of the system or of SQLite.
                let words = [
                    "os error 122",
                    "os error 28",
                    "os error 30",
                    "disk I/O error",
                    "database or disk is full",
                    "readonly database",
                    "unable to open database file",
                ];
                let all = format!("{said}{}", String::from_utf8_lossy(&ended.stdout));
                ensure!(words.iter().any(|word| all.contains(word)), "{inject}: {all}");
            }
            // No record is there twice, nor half of one.
            let mut ids = connection.ids("items", "id").unwrap_or_default();
            ids.dedup();
            ensure!(
                ids.len() == connection.ids("items", "id").unwrap_or_default().len(),
                "{inject}: a record is there twice"
            );
            connection.complete(&[]).with_context(|| inject.clone())?;
            assert_eq!(connection.ids("items", "id")?, every_id(), "{inject}");
        }
    }
    ensure!(failed >= 6, "only {failed} runs failed: the errors were not where they should be");
    Ok(())
}

#[test]
fn a_disk_that_was_full_is_gone_on_with_when_it_has_room() -> anyhow::Result<()> {
    let items = Endpoint::new("/items", Offset::default()).records(1_500).shape(Shape::Large).total(Total::Body);
    let api = Api::builder().endpoint(items).start()?;
    let connection = connection(&api)?;
    let (config, out) = places(&connection);
    let more = ["--format", "jsonl", "--part-rows", "100", "--no-archive"];
    let arguments = arguments(&config, &out, &more);
    let [first, second, copy] = ["first.json", "second.json", "copy"].map(|name| connection.out().with_file_name(name));
    fs::create_dir_all(&out)?;
    // A file system of its own, too small for the second part; then it is given more room.
    let script = format!(
        "mount -t tmpfs -o size=1m none '{out}' || exit 77; \"$@\" > '{}' 2>&1; \
         mount -o remount,size=100m '{out}' && \"$@\" > '{}'; mkdir '{2}' && cp '{out}'/items/part-* '{2}'",
        first.display(),
        second.display(),
        copy.display()
    );
    let ended = behind("unshare", &["--mount", "--map-root-user", "sh", "-c", &script, "sh"], &arguments)?.output()?;
    if ended.status.code() == Some(77) || String::from_utf8_lossy(&ended.stderr).contains("unshare") {
        #[expect(clippy::print_stderr, reason = "a test that was not made must not look like one that passed")]
        {
            eprintln!("skipped, since this user may not mount");
        }
        return Ok(());
    }
    ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let report = |path: &Path| -> anyhow::Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    // Where even the end of the run finds no room, the run is unfinished, as if it had been killed.
    let (full, whole) = (fs::read_to_string(&first)?, report(&second)?);
    ensure!(full.contains("No space left on device") && !full.contains("\"complete\""), "{full}");
    ensure!(whole["verdict"] == "complete", "{whole:#}");
    let mut ids = Vec::new();
    for part in fs::read_dir(&copy)? {
        for line in fs::read_to_string(part?.path())?.lines() {
            ids.push(serde_json::from_str::<Value>(line)?["id"].as_u64().context("an id")?);
        }
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=1_500).collect::<Vec<_>>());
    Ok(())
}

/// A call that makes something durable, by the lines of the trace in which it began and ended.
struct Durable {
    call: String,
    what: String,
    began: usize,
    ended: usize,
}

/// Reads what `strace -f -y` wrote.
fn durable(trace: &str) -> Vec<Durable> {
    let mut calls: Vec<Durable> = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, rest)) = text.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("<...") {
            if let Some(at) = open.iter().position(|(own, _)| *own == thread) {
                let (_, call) = open.remove(at);
                calls[call].ended = line;
            }
            continue;
        }
        let Some((call, what)) = rest.split_once('(') else { continue };
        calls.push(Durable { call: call.to_owned(), what: what.to_owned(), began: line, ended: line });
        if rest.contains("<unfinished") {
            open.push((thread, calls.len() - 1));
        }
    }
    calls
}

#[test]
fn what_a_commit_rests_on_is_on_the_disk_before_it_by_the_systems_own_account() -> anyhow::Result<()> {
    if !is_there("strace") {
        return Ok(());
    }
    let items = Endpoint::new("/items", Offset::default()).records(RECORDS).total(Total::Body);
    let api = Api::builder().endpoint(items.latency(Duration::from_millis(20))).start()?;
    let connection = connection(&api)?;
    let (config, out) = places(&connection);
    let trace = connection.out().with_file_name("trace");
    let file = trace.display().to_string();
    let before = ["-f", "-y", "-qq", "-o", &file, "-e", "trace=fsync,fdatasync,rename,renameat,renameat2"];
    let arguments = arguments(&config, &out, &["--part-rows", "100"]);
    let ended = behind("strace", &before, &arguments)?.output()?;
    ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let calls = durable(&fs::read_to_string(&trace)?);
    let folder = connection.out().join("items");
    let synced = |ending: &str, after: usize, until: usize| {
        let what = format!("{ending}>");
        let mut found = calls.iter().filter(|call| call.call.ends_with("sync") && call.what.contains(&what));
        found.find(|call| call.began > after && call.ended < until).map(|call| call.ended)
    };
    let names = parts(&connection.out(), "items")?;
    ensure!(names.len() >= 4, "{names:?}");
    for part in names {
        let name = part.file_name().context("a name")?.to_string_lossy().into_owned();
        let visible = format!("\"{}\")", part.display());
        let renamed = calls.iter().find(|call| call.call.starts_with("rename") && call.what.contains(&visible));
        let renamed = renamed.with_context(|| format!("{name} was never renamed"))?;
        let until = renamed.began;
        let data = synced(&format!("items/.{name}.tmp"), 0, until).with_context(|| format!("{name}: no data"))?;
        let entry = synced(&folder.display().to_string(), data, until).with_context(|| format!("{name}: no entry"))?;
        synced("_state.db-wal", entry, until).with_context(|| format!("{name}: no commit after the data"))?;
        // And the answers that its pages come from, before the commit.
        let archived = ["archive/bodies-000001.bin", "archive/manifest.jsonl"];
        let commit = calls.iter().rfind(|call| call.what.contains("_state.db-wal>") && call.ended < until);
        let commit = commit.context("a commit")?.began;
        for file in archived {
            synced(file, 0, commit).with_context(|| format!("{name}: {file} is not on the disk before the commit"))?;
        }
        synced(&folder.display().to_string(), renamed.ended, usize::MAX)
            .with_context(|| format!("{name}: its name"))?;
    }
    Ok(())
}

#[test]
fn however_slow_the_disk_is_a_part_is_ended_by_the_page_that_fills_it() -> anyhow::Result<()> {
    if !is_there("strace") {
        return Ok(());
    }
    let api = api()?;
    let connection = connection(&api)?;
    let (config, out) = places(&connection);
    // While a commit waits for its syncs, all that follows arrives.
    let before = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync,fdatasync:delay_exit=30000"];
    let ended = behind("strace", &before, &arguments(&config, &out, &["--part-rows", "100"]))?.output()?;
    ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let rows = "SELECT records FROM parts ORDER BY name";
    let state = rusqlite::Connection::open(connection.out().join("_state.db"))?;
    let rows = state.prepare(rows)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    // The first page has 50 records, and each other one 49 that are new.
    assert_eq!(rows, [148, 147, 147, 58]);
    Ok(())
}

#[test]
fn a_clock_that_goes_back_a_day_holds_nothing_up_and_mixes_nothing_up() -> anyhow::Result<()> {
    let api = api()?;
    let connection = connection(&api)?;
    let (config, out) = places(&connection);
    let (clock, day) = (Clock::new()?, 86_400);
    // What has to wait longer than this fails.
    let run = |more: &[&str]| -> anyhow::Result<Command> {
        let flags = [&["--rate", "100/s", "--max-wait", "5s"], more].concat();
        let mut command = host(&arguments(&config, &out, &flags))?;
        clock.give(&mut command);
        Ok(command)
    };
    let ended = |command: &mut Command| -> anyhow::Result<Value> {
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(report["ended_ms"].as_u64() >= report["started_ms"].as_u64(), "{report:#}");
        Ok(report)
    };
    // In the middle of a run.
    api.answer(3);
    let mut first = Running::start(run(&[])?)?;
    first.until(|| api.requests().len() == 4)?;
    clock.ahead(-day)?;
    api.answer(usize::MAX);
    let first: Value = serde_json::from_str(&first.succeeds()?.stdout)?;
    ensure!(first["ended_ms"].as_u64() >= first["started_ms"].as_u64(), "{first:#}");
    assert_eq!(connection.ids("items", "id")?, every_id());
    // Between runs: those that come later began, by the clock, a day before.
    api.change("/items", &Change::Append(5));
    let second = ended(&mut run(&[])?)?;
    clock.ahead(0)?;
    api.change("/items", &Change::Append(5));
    let third = ended(&mut run(&[])?)?;
    clock.ahead(-day)?;
    let fourth = ended(&mut run(&["--full", "--keep-runs", "3", "--archive-max-age", "30d"])?)?;
    let listed = call(&["runs", "--out", &out, "--json"])?;
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout)?;
    let ids: Vec<&Value> = listed.iter().map(|run| &run["run"]).collect();
    assert_eq!(ids, [&fourth["run"], &third["run"], &second["run"], &first["run"]], "the newest comes first");
    ensure!(third["streams"][0]["records"].as_u64() < Some(u64::from(RECORDS)), "{third:#}");
    let folders = fs::read_dir(connection.out().join("_runs"))?.flatten();
    assert_eq!(folders.filter(|run| run.path().join("archive").exists()).count(), 3, "the oldest archive went");
    let ids = connection.ids("items", "id")?;
    ensure!(ids.len() == RECORDS as usize + 10 && ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
    let verified = call(&["verify", &out])?;
    ensure!(verified.code == Some(0), "{verified:#?}");
    Ok(())
}
