//! Connectors that do what none should, one a case: the read ends with an error that names the limit and its flag, the
//! host lives, and whatever else it reads goes on.
//!
//! The cases are `guests/examples/*.rs` and `guests/wat/*.wat`. What the host shows for each is in
//! `transcripts/hostile/`, word for word.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context, ensure};
use tests::{
    mock::{Action, Api, Endpoint, Received, Rule, Total, offset::Offset},
    program,
    transcript::{Scene, compare, play, transcript, updating, written},
};

/// The secret that every case is configured with. It must never be seen.
const SECRET: &str = "s3cr3t-0123456789";

/// Personal data that one case gets and tells everybody. It must never be seen.
const PERSON: &str = "ada@example.org";

/// What is expected of a case, besides its transcript.
#[derive(Default)]
struct Case {
    exit: i32,
    flags: &'static [&'static str],
    says: &'static [&'static str],
    /// Reads run side by side: the order of lines is not told.
    sorted: bool,
    /// How far it came is a matter of chance.
    uncounted: bool,
}

impl Case {
    /// The host could not start: nothing was read.
    fn refused() -> Self {
        Self { exit: 2, ..Self::default() }
    }

    /// The read failed.
    fn failed() -> Self {
        Self { exit: 1, ..Self::default() }
    }

    /// There was nothing to object to.
    fn complete() -> Self {
        Self::default()
    }

    fn flags(self, flags: &'static [&'static str]) -> Self {
        Self { flags, ..self }
    }

    /// All of these texts are in what the user sees.
    fn says(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    fn uncounted(self) -> Self {
        Self { uncounted: true, ..self }
    }

    fn sorted(self) -> Self {
        Self { sorted: true, ..self }
    }
}

/// Makes a test of each case, and a list of their names.
macro_rules! cases {
    ($($name:ident: $case:expr;)*) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() -> anyhow::Result<()> {
                run(stringify!($name), &$case)
            }
        )*
    };
}

cases! {
    // Computing time. Where something has to come before the limit is reached, the limit leaves a slow machine time for it.
    loop_in_read: Case::failed().flags(&["--max-cpu", "1s"]).says(&["computing time", "--max-cpu"]);
    loop_in_describe: Case::refused().flags(&["--max-cpu", "200ms"]).says(&["time to start", "--max-cpu"]);
    loop_of_calls_in_describe: Case::refused().flags(&["--max-cpu", "200ms"]).says(&["--max-cpu"]);
    loop_of_calls_in_streams: Case::refused().flags(&["--max-read-time", "1s"]).says(&["--max-read-time"]);
    start_loops: Case::refused().flags(&["--max-cpu", "200ms"]).says(&["time to start", "--max-cpu"]);
    one_of_two_loops: Case::failed().flags(&["--max-cpu", "1s"]).says(&["computing time", "--max-cpu"]).sorted();

    // Time.
    sleeps: Case::failed().flags(&["--max-read-time", "1s"]).says(&["--max-read-time"]);
    sleeps_by_wasi: Case::failed().flags(&["--max-read-time", "1s"]).says(&["--max-read-time"]);
    sleep_in_describe: Case::refused().flags(&["--max-cpu", "200ms"]).says(&["--max-cpu"]);
    clock_often: Case::complete();
    never_ends: Case::failed().flags(&["--max-read-time", "1s", "-q"]).says(&["--max-read-time"]).uncounted();

    // Memory, tables, instances, stack.
    memory_grown: Case::failed().flags(&["--max-memory", "16MiB"]).says(&["memory: 16 MiB", "--max-memory"]);
    memory_at_once: Case::failed().says(&["memory: 256 MiB", "--max-memory"]);
    memory_declared: Case::refused().says(&["memory: 256 MiB", "--max-memory"]);
    memory_64: Case::refused();
    memory_shared: Case::refused();
    memories_many: Case::refused().says(&["core memories: 20", "--max-memories"]);
    table_declared: Case::refused().says(&["table elements: 100000", "--max-table-elements"]);
    table_grown: Case::refused().says(&["table elements: 100000", "--max-table-elements"]);
    tables_many: Case::refused().says(&["tables: 100", "--max-tables"]);
    instances_many: Case::refused().says(&["core instances: 200", "--max-instances"]);
    recursion: Case::failed().says(&["stack: 512 KiB", "--max-stack"]);
    start_traps: Case::refused();

    // What it hands over to the host, and what the host keeps for it.
    log_flood: Case::failed().says(&["log volume: 4 MiB", "--max-log"]);
    log_aliased: Case::failed().says(&["--max-page"]);
    stdout_flood: Case::failed().flags(&["--max-log", "60"]).says(&["log volume: 60 bytes", "--max-log"]);
    stderr_flood: Case::failed().flags(&["--max-log", "60"]).says(&["log volume: 60 bytes", "--max-log"]);
    stdout_without_end_of_line: Case::failed().flags(&["--max-log", "4KiB"]).says(&["log volume: 4 KiB", "--max-log"]);
    emit_gibibyte: Case::failed().flags(&["--max-memory", "2GiB"]).says(&["64 MiB", "--max-page"]);
    response_hoard: Case::failed().flags(&["--max-held", "3MiB"]).says(&["3 MiB", "--max-held"]);
    request_body_hoard: Case::failed().flags(&["--max-held", "64MiB", "-q"]).says(&["64 MiB", "--max-held"]);
    starts_10000: Case::failed().flags(&["-q"]).says(&["requests under way: 32", "--max-pending"]);
    storage_over_quota: Case::failed().flags(&["--max-storage", "10KiB"]).says(&["10240", "--max-storage"]);
    storage_deletes: Case::complete();
    budgets_hoard: Case::failed().says(&["1024"]);
    // It believes itself; that nobody else does is in `budgets`.
    budgets_of_others: Case::failed().flags(&["--max-wait", "1m"]).says(&["come back at"]);
    checkpoint_huge: Case::failed().says(&["65536"]);
    watermark_huge: Case::failed().says(&["65536"]);
    extra_times_records: Case::failed().says(&["64 MiB", "--max-page"]);
    wide_and_long: Case::failed().flags(&["--format", "parquet"]).says(&["512 MiB", "--format jsonl"]);
    description_huge: Case::refused().says(&["1048576"]);
    partitions_huge: Case::failed().flags(&["--max-memory", "1GiB"]).says(&["--max-page"]);

    // Misuse of the contract.
    waits_twice: Case::failed().says(&["waited twice"]);
    select_malformed_pointer: Case::failed();
    select_scalar: Case::failed();
    select_scalars: Case::failed();
    select_nothing: Case::failed().says(&["/data/items"]);
    select_html: Case::failed().says(&["not JSON"]);
    emit_in_describe: Case::refused().says(&["outside of read"]);
    emit_in_streams: Case::refused().says(&["outside of read"]);
    request_in_describe: Case::refused();
    panics: Case::failed().says(&["there is no page 7"]);
    exits: Case::failed();
    answers_nothing: Case::complete();
    believes_everything: Case::complete();
    reads_by_cursor: Case::complete();
    changes_records: Case::complete();
    asks_otherwise: Case::failed().says(&["came more than once"]);

    // The way out, secrets, and the machine.
    looks_around: Case::complete();
    other_host: Case::failed().says(&["--allow-host"]);
    metadata_address: Case::failed();
    requests_forged: Case::complete().flags(&["--max-response", "1MiB"]).says(&["rule host-header"]);
    method_unnamed: Case::failed().says(&["rule method"]);
    rejects: Case::failed().flags(&["--attempts", "2", "--retry-base", "1ms"]).says(&["an error in truth"]);
    rejects_for_ever: Case::failed().flags(&["--attempts", "3", "--retry-base", "1ms"]).says(&["after 3 attempts"]);
    host_pattern_wide: Case::refused();
    limits_described: Case::failed().flags(&["--max-wait", "1m"]).says(&["come back at"]);
    asks_for_tokens: Case::complete();
    secret_in_memory: Case::complete();
    secret_seen: Case::complete();
    secret_elsewhere: Case::failed();
    secret_echoed: Case::failed();
    control_characters: Case::failed();
    person_told: Case::failed().says(&["***"]);

    // Names and schemas.
    stream_name_path: Case::refused().says(&["../x"]);
    stream_name_twice: Case::refused();
    connector_name_path: Case::refused();
    partition_ids: Case::complete().sorted();
    partition_twice: Case::failed();
    config_schema_invalid: Case::refused();
    config_schema_file: Case::refused();
    config_schema_remote: Case::refused();
    config_schema_pattern: Case::refused();
    stream_schema_invalid: Case::failed();

    // Records.
    records_duplicate_key: Case::failed().says(&["twice"]);
    records_lone_surrogate: Case::failed();
    records_invalid_json: Case::failed();
    records_invalid_utf8: Case::failed();
    records_scalars: Case::failed();
    records_deep: Case::failed().says(&["--max-json-depth"]);
    record_large: Case::failed().says(&["--max-record"]);
    records_fields: Case::failed();
    records_kept_twice: Case::failed().says(&["places that are not ascending, or not there"]);
    numbers_huge: Case::complete();

    // What is no connector.
    import_wasi_http: Case::refused().says(&["wasi:http/outgoing-handler@0.2.0"]);
    import_unknown: Case::refused().says(&["acme:disk/raw"]);
    import_missing_function: Case::refused();
    contract_older: Case::refused().says(&["0.0.9", "0.1.0"]);
    contract_newer: Case::refused().says(&["0.2.0", "0.1.0"]);
    no_source: Case::refused().says(&["ingest:connector/source@0.1.0"]);
    source_empty: Case::refused();
    source_other_types: Case::refused();
    core_module: Case::refused().says(&["core WebAssembly module"]);
}

static API: LazyLock<std::io::Result<Api>> = LazyLock::new(|| {
    let whole = |path: &str, kind, body: String| Rule::always(Action::Body(200, kind, body)).path(path);
    let json = "application/json";
    Api::builder()
        .endpoint(Endpoint::new("/items", Offset::default()).records(3).total(Total::Body))
        .fault(whole("/large", json, format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20))))
        .fault(whole("/many", json, format!("[{}{{}}]", "{},".repeat(500_000))))
        .fault(whole("/numbers", json, r#"{"numbers":[1,2]}"#.to_owned()))
        .fault(whole("/echo", json, format!(r#"{{"id":1,"token":"{SECRET}"}}"#)))
        .fault(whole("/person", json, format!(r#"{{"id":1,"mail":"{PERSON}","home":{{"city":"{PERSON}-city"}}}}"#)))
        .fault(Rule::always(Action::Html).path("/html"))
        .start()
});

/// A server that no description names.
static ELSEWHERE: LazyLock<std::io::Result<Api>> = LazyLock::new(|| Api::builder().start());

fn server(api: &'static LazyLock<std::io::Result<Api>>) -> anyhow::Result<&'static Api> {
    api.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

/// Returns the component of a case: built from Rust, or made of its text here.
fn component(name: &str, scene: &mut Scene) -> anyhow::Result<String> {
    let text = guests().join("wat").join(format!("{name}.wat"));
    let path = if text.exists() {
        let path = scene.path(&format!("{name}.wasm"));
        fs::write(&path, wat::parse_file(&text)?)?;
        path
    } else {
        let target = program::built()?;
        let target = target.parent().context("no target folder")?;
        target.join("wasm32-wasip2/release/examples").join(format!("{name}.wasm"))
    };
    ensure!(path.exists(), "{} is missing: run `make guests` first", path.display());
    if let Some(folder) = path.parent() {
        scene.call(format!("{}/", folder.display()), "");
    }
    Ok(path.display().to_string())
}

fn run(name: &str, case: &Case) -> anyhow::Result<()> {
    let mut scene = Scene::new()?;
    let component = component(name, &mut scene)?;
    let out = scene.path("out");
    let (url, elsewhere) =
        (format!("url={}", server(&API)?.url("")), format!("elsewhere={}", server(&ELSEWHERE)?.url("")));
    let (url, elsewhere) = (url.trim_end_matches('/').to_owned(), elsewhere.trim_end_matches('/').to_owned());
    let token = format!("token={SECRET}");
    let out_text = out.display().to_string();
    let lock = scene.path("connectors.lock").display().to_string();
    let mut arguments = vec!["run", &component, "--out", &out_text, "--grant", "--lock", &lock];
    if !case.flags.contains(&"--attempts") {
        arguments.extend(["--attempts", "1"]);
    }
    if !case.flags.contains(&"--format") {
        arguments.extend(["--format", "jsonl"]);
    }
    for setting in [&url, &elsewhere, &token] {
        arguments.extend(["--set", setting]);
    }
    let personal = "{\"personal_data\": {\"streams\": {\"items\": {\"mask\": [\"mail\"], \"drop\": [\"home\"]}}}}";
    let config = scene.path("out.json").display().to_string();
    if name == "person_told" {
        fs::write(&config, personal)?;
        arguments.extend(["--config", &config]);
    }
    arguments.extend(case.flags);
    let mut ended = play(&program::host(&arguments)?)?;
    if case.sorted {
        let mut lines: Vec<&str> = ended.stderr.lines().collect();
        lines.sort_unstable();
        ended.stderr = lines.iter().map(|line| format!("{line}\n")).collect();
    }

    let typed = ["run", name].into_iter().chain(case.flags.iter().copied()).collect::<Vec<_>>().join(" ");
    let mut text = transcript(&scene, &typed, &ended);
    let records = scene.records(&out)?;
    if !records.is_empty() && !case.uncounted {
        text.push_str("\n--- records\n");
        for (stream, records) in &records {
            text.push_str(&format!("{stream}: {}\n", records.len()));
            // Ten show what there is to see.
            records.iter().take(10).for_each(|record| text.push_str(&format!("  {record:.200}\n")));
        }
    }
    compare(&format!("hostile/{name}"), &text)?;

    ensure!(ended.code == Some(case.exit), "exit code {:?}, not {}\n{text}", ended.code, case.exit);
    for says in case.says {
        ensure!(text.contains(says), "nothing is said of {says:?}\n{text}");
    }
    let beside: Vec<String> =
        scene.names()?.into_iter().filter(|name| !["out", "connectors.lock"].contains(&name.as_str())).collect();
    let made = |name: &String| name.ends_with(".wasm") || name == "out.json";
    let beside: Vec<String> = beside.into_iter().filter(|name| !made(name)).collect();
    ensure!(!text.contains(PERSON), "personal data is to be seen\n{text}");
    ensure!(beside.is_empty(), "something was written beside the output folder: {beside:?}");
    ensure!(server(&ELSEWHERE)?.requests().is_empty(), "a request went to a host that no description names");
    if name == "requests_forged" {
        nothing_forged_came()?;
    }
    if name == "limits_described" {
        let asked = server(&API)?.targets().iter().filter(|target| target.contains("mark=described")).count();
        ensure!(asked == 2, "{asked} requests");
    }
    if name != "secret_echoed" {
        ensure!(!text.contains(SECRET), "the secret is to be seen\n{text}");
    } else {
        ensure!(!ended.stderr.contains(SECRET) && !ended.stdout.contains(SECRET), "the secret is to be seen\n{text}");
    }
    let colours = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
    ensure!(!colours(&ended.stderr) && !colours(&ended.stdout), "control characters reached the terminal");
    Ok(())
}

/// Of the requests of `requests_forged`, the server has seen the one that is right, whole, and nothing of the others.
fn nothing_forged_came() -> anyhow::Result<()> {
    let requests = server(&API)?.requests();
    let forged = |one: &&Received| {
        one.target().contains("forged") || one.headers.iter().any(|(name, _)| name == "x-forged" || name == "x-a")
    };
    let forged: Vec<_> = requests.iter().filter(forged).collect();
    ensure!(forged.is_empty(), "{forged:#?}");
    let honest = "/items?mark=honest&crlf=%0d%0a&q=a%0D%0AX-Forged%3A%201";
    let honest: Vec<_> = requests.iter().filter(|one| one.target() == honest).collect();
    let [one] = honest.as_slice() else { anyhow::bail!("{honest:#?} of {requests:#?}") };
    ensure!(one.header("x-tab") == Some("a\tb") && one.header("x-89") == Some("1"), "{one:#?}");
    Ok(())
}

#[test]
fn every_hostile_guest_has_its_test_and_every_transcript_its_guest() -> anyhow::Result<()> {
    let mut found = BTreeSet::new();
    for (folder, ending) in [("examples", ".rs"), ("wat", ".wat")] {
        for entry in fs::read_dir(guests().join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            found.insert(name.trim_end_matches(ending).to_owned());
        }
    }
    let cases: BTreeSet<String> = CASES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found, cases, "guests, and cases in this file");
    if !updating() {
        assert_eq!(BTreeSet::from_iter(written("hostile")?), cases, "transcripts, and cases in this file");
    }
    Ok(())
}

/// All Rust files below a folder, by their paths.
fn sources(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.display().to_string(), fs::read_to_string(&path)?));
            }
        }
    }
    Ok(found)
}

/// The tables of README that say what is defended, where, and by which test, are true of what is there.
#[test]
fn every_module_and_test_that_readme_says_defends_something_is_there() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("README.md"))?;
    let mut files = sources(&root.join("host/src"))?;
    files.extend(sources(&root.join("tests/tests"))?);
    let is_test = |modules: &[&str], name: &str| {
        let wanted = match (modules, name) {
            (_, "tests") => "mod tests".to_owned(),
            (["hostile"], name) => format!("    {name}: Case::"),
            (_, name) => format!("fn {name}("),
        };
        // A module of tests is a file of its own, or the end of the one that it is about.
        let own = format!("/{}.rs", modules.join("/"));
        let around = modules.split_last().filter(|(last, _)| **last == "tests");
        let around = around.map(|(_, modules)| format!("/{}.rs", modules.join("/")));
        files.iter().any(|(path, text)| {
            (path.ends_with(&own) || around.as_ref().is_some_and(|around| path.ends_with(around)))
                && text.contains(&wanted)
        })
    };
    let is_path = |name: &str| ["", "host/src", "host/src/http"].iter().any(|base| root.join(base).join(name).exists());
    let (mut paths, mut tests) = (0, 0);
    for title in ["The sandbox", "What is defended"] {
        let (_, section) = text.split_once(&format!("\n## {title}\n")).context("no such section")?;
        let section = section.split("\n## ").next().unwrap_or_default();
        for row in section.lines().filter(|line| line.starts_with("| ")).skip(2) {
            let (_, cells) = row.trim_start_matches("| ").split_once(" | ").context(row.to_owned())?;
            for name in cells.split('`').skip(1).step_by(2) {
                if let Some((modules, last)) = name.split_once("::{").or_else(|| name.rsplit_once("::")) {
                    let modules: Vec<&str> = modules.split("::").collect();
                    for last in last.trim_end_matches('}').split(", ") {
                        ensure!(is_test(&modules, last), "there is no {last} of {name}: {row}");
                        tests += 1;
                    }
                } else if name.contains('/') || name.ends_with(".rs") {
                    ensure!(is_path(name), "there is no {name}: {row}");
                    paths += 1;
                }
            }
        }
    }
    ensure!(paths > 60 && tests > 40, "{paths} paths and {tests} tests: the tables were not read");
    Ok(())
}
