//! Drift: what changes in an API's records over runs is stored, told, or refused as wished. See `transcripts/drift/`.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use tests::{
    connection::Connection,
    program::{host, parts},
    recorded::{Exchange, Recording, Replay},
    transcript::{Scene, compare, play, transcript},
};

/// An API whose records are what a test says, and a connection that reads them.
struct Stage {
    api: Replay,
    connection: Connection,
    /// Everything that was served of each reading, in order.
    served: Vec<Value>,
    scene: Scene,
    incremental: bool,
}

impl Stage {
    /// `incremental`: each reading adds to those before, else it takes their place.
    fn new(incremental: bool) -> anyhow::Result<Self> {
        let api = Replay::start([], 0)?;
        let mut stream = json!({"name": "items", "path": "items", "primary_key": ["id"], "pagination": {"link": {}}, "never_shifts": true});
        if incremental {
            stream["incremental"] = json!({"cursor_field": "at", "param": "since"});
        }
        let mut config = json!({"base_url": api.url(), "streams": [stream]});
        if incremental {
            config["on_drift"] = json!({"*": "warn"});
        }
        let connection = Connection::new("rest", &config)?;
        let mut scene = Scene::new()?;
        scene.call(connection.out().display().to_string(), "OUT");
        Ok(Self { api, connection, served: Vec::new(), scene, incremental })
    }

    /// Serves these pages from now on, with an `id` and an `at` in each record. An incremental reading begins with the last
    /// record of the one before, as of an API that asks for "since" and not for "after".
    fn serve(&mut self, pages: &[Value]) {
        let count = pages.len();
        let mut exchanges = Vec::new();
        let border = self.served.last().filter(|_| self.incremental).cloned();
        for (place, page) in pages.iter().enumerate() {
            let mut body: Vec<Value> = border.iter().filter(|_| place == 0).cloned().collect();
            for record in page.as_array().into_iter().flatten() {
                let id = self.served.len();
                let mut whole = json!({"id": id, "at": format!("2026-01-01T00:{:02}:{:02}Z", id / 60, id % 60)});
                let fields = record.as_object().cloned().unwrap_or_default();
                if let Some(all) = whole.as_object_mut() {
                    all.extend(fields);
                }
                body.push(whole.clone());
                self.served.push(whole);
            }
            let next = format!("<{}/items?page={}>; rel=next", self.api.url(), place + 1);
            exchanges.push(Exchange {
                method: "GET".into(),
                host: "api.example".into(),
                path: "/items".into(),
                query: if place == 0 { Vec::new() } else { vec![("page".into(), place.to_string())] },
                status: 200,
                headers: if place + 1 < count { vec![("link".into(), next)] } else { Vec::new() },
                body: Value::from(body).to_string(),
            });
        }
        self.api.replace([Recording { exchanges }]);
    }

    /// The calls of a run, and of `host schema`, as their user sees them.
    fn told(&self, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let out = self.connection.out().display().to_string();
        let command = match arguments {
            ["run", more @ ..] => self.connection.command(&["run"], more)?,
            _ => host(&[arguments, &["--out", &out]].concat())?,
        };
        let ended = play(&command)?;
        Ok((ended.code, transcript(&self.scene, &arguments.join(" "), &ended)))
    }

    fn expect(&self, name: &str, arguments: &[&str], code: i32) -> anyhow::Result<()> {
        let (found, text) = self.told(arguments)?;
        compare(&format!("drift/{name}"), &text)?;
        ensure!(found == Some(code), "exit code {found:?}\n{text}");
        Ok(())
    }

    /// Everything that was served is found with each reader, value for value.
    fn expect_every_value(&self) -> anyhow::Result<()> {
        let schema: Value = serde_json::from_slice(&std::fs::read(self.connection.out().join("items/_schema.json"))?)?;
        let mut expected = self.served.clone();
        expected.sort_by_key(|record| record["id"].as_u64());
        for (reader, rows) in self.readers()? {
            let mut found: Vec<Value> = rows.iter().map(|row| folded(&schema, row)).collect::<anyhow::Result<_>>()?;
            found.sort_by_key(|record| record["id"].as_u64());
            ensure!(found.len() == expected.len(), "{reader}: {} records of {}", found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                let expected = tests::rows::without_nulls(expected);
                ensure!(same(&expected, found), "{reader}\nrecord {expected}\nread   {found}");
            }
        }
        Ok(())
    }

    fn readers(&self) -> anyhow::Result<Vec<(String, Vec<Value>)>> {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let servers = here.join("servers");
        let path = format!("{}:{}", servers.join("readers").display(), servers.join("duckdb").display());
        let mut python = Command::new("python3");
        python.arg(here.join("tests/drift/readers.py")).arg(self.connection.out().join("items"));
        let ended = python.env("PYTHONPATH", path).output()?;
        let log = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "{log}\nis everything installed? `make servers` does that");
        String::from_utf8(ended.stdout)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// A row as the record that it was, by the columns of its fields, without nulls.
fn folded(object: &Value, row: &Value) -> anyhow::Result<Value> {
    let mut record = Map::new();
    for field in object["fields"].as_array().context("fields")? {
        let name = field["name"].as_str().context("a name")?;
        let value = match row.get(field["column"].as_str().unwrap_or(name)) {
            None | Some(Value::Null) => continue,
            Some(value) => folded_value(field, value)?,
        };
        let of = field["beside"].as_str().unwrap_or(name);
        ensure!(record.insert(of.to_owned(), value).is_none(), "{name} has a value in two columns: {row}");
    }
    Ok(record.into())
}

fn folded_value(field: &Value, value: &Value) -> anyhow::Result<Value> {
    match (field["type"].as_str(), value) {
        (Some("object"), value) => folded(field, value),
        (Some("array"), Value::Array(items)) => items.iter().map(|item| folded_value(&field["items"], item)).collect(),
        (Some("json"), Value::String(text)) => Ok(serde_json::from_str(text)?),
        (Some("text"), Value::String(text)) if field["holds"].is_array() => {
            Ok(serde_json::from_str(text).unwrap_or_else(|_| value.clone()))
        }
        _ => Ok(value.clone()),
    }
}

/// Compares values; a whole number may come as a fraction of the same value.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|it| same(value, it)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() != other.is_f64() => {
            let exact = |number: &serde_json::Number| number.as_i64().is_none_or(|number| number.abs() <= 1 << 53);
            one.as_f64() == other.as_f64() && exact(one) && exact(other)
        }
        _ => one == other,
    }
}

#[test]
fn a_field_that_changes_over_runs_and_within_one_is_found_whole_by_every_reader() -> anyhow::Result<()> {
    let mut stage = Stage::new(true)?;
    stage.serve(&[json!([{"a": 1, "o": {"x": 1}, "l": [1], "s": [{"y": 1}], "n": null, "e": {}, "v": []}, {"a": 2}])]);
    stage.connection.complete(&[])?;
    stage.expect_every_value()?;
    stage.serve(&[json!([
        {"a": 2.5, "o": {"x": 2.25}, "l": [1, 2.5], "s": [{"y": 2.5}, {"y": 3}], "n": 7, "e": {"z": 1}, "v": ["t"]},
        {"a": 9007199254740993_u64, "o": {"x": 9007199254740993_u64}, "l": [], "n": 8}
    ])]);
    stage.connection.complete(&[])?;
    stage.expect_every_value()?;
    stage.serve(&[
        json!([{"a": "text", "o": {"x": "text"}, "l": ["text"], "s": [{"y": "t", "w": true}], "n": 1.5, "a__text": 5}]),
        json!([{"a": {"b": [1, null]}, "o": {"x": {"b": 1}}, "l": {"b": 1}, "s": "s", "e": "e", "v": [1]}]),
        json!([{"a": [1], "o": [{"x": 1}], "l": [[1]], "s": [[{"y": 1}]], "n": false, "e": [], "v": [{"q": 1}]}]),
        json!([{"a": true, "o": 1, "l": 1, "s": [{"y": {"deep": 1}}], "n": {"m": 1}, "a__text": "five", "new": 1}]),
    ]);
    stage.connection.complete(&["--part-rows", "1"])?;
    ensure!(parts(&stage.connection.out(), "items")?.len() >= 3, "a part for each run at least");
    stage.expect_every_value()?;
    // Once more after a change to everything within one run, from nothing, in parts of one record.
    let pages: Vec<Value> = stage.served.iter().map(|record| Value::from(vec![record.clone()])).rev().collect();
    let mut stage = Stage::new(false)?;
    stage.serve(&pages);
    stage.connection.complete(&["--part-rows", "1"])?;
    stage.expect_every_value()
}

#[test]
fn what_changed_is_told_and_kept() -> anyhow::Result<()> {
    let mut stage = Stage::new(true)?;
    stage
        .serve(&[json!([{"price": 1, "owner": {"login": "a", "site": null}, "tags": ["x"], "stars": 3, "name": "n"}])]);
    stage.expect("first", &["run"], 0)?;
    stage.serve(&[json!([
        {"price": 2.5, "owner": {"login": null, "site": "s", "id": 1}, "tags": ["x", 1], "stars": 3, "name": "n"},
        {"price": {"amount": 1}, "owner": {"login": "b"}, "tags": "x", "stars": 4, "name": "n"}
    ])]);
    stage.expect("warn", &["run"], 0)?;
    stage.serve(&[json!([{"price": 3, "owner": {"login": "c"}, "tags": [], "name": "n"}])]);
    let evolved = stage.connection.complete(&["--on-drift", "evolve"])?;
    let drift = evolved.stream("items")["drift"].clone();
    ensure!(evolved.stream("items")["on_drift"] == "evolve", "{evolved:#?}");
    ensure!(drift == json!([{"change": "removed", "path": "/stars", "kind": "integer"}]), "{drift:#}");
    stage.expect("schema", &["schema", "items"], 0)?;
    stage.expect("schema_at", &["schema", "items", "--at", "1"], 0)?;
    stage.expect("json_schema", &["schema", "items", "--format", "json-schema"], 0)?;
    stage.expect("schema_list", &["schema"], 0)?;
    let json: Value =
        serde_json::from_slice(&host(&["schema", "items", "--json", "--out", &out(&stage)])?.output()?.stdout)?;
    ensure!(json["version"] == 3 && json["history"].as_array().map(Vec::len) == Some(3), "{json:#}");
    stage.expect("schema_unknown", &["schema", "itms"], 2)?;
    stage.expect("schema_unlike", &["schema", "x"], 2)?;
    stage.expect("schema_no_version", &["schema", "items", "--at", "9"], 2)?;
    stage.expect("schema_list_as_json_schema", &["schema", "--format", "json-schema"], 2)?;
    stage.expect_every_value()
}

fn out(stage: &Stage) -> String {
    stage.connection.out().display().to_string()
}

#[test]
fn what_is_not_wanted_is_not_committed_and_the_run_goes_on_when_it_is() -> anyhow::Result<()> {
    for (name, page) in [
        ("fail_type", json!([{"a": 3, "b": "x"}, {"a": "three", "b": "y"}])),
        ("fail_new", json!([{"a": 3, "b": "x"}, {"a": 4, "b": "y", "c": {"d": 1}}])),
        ("fail_structure", json!([{"a": 3, "b": ["x"]}])),
        ("fail_nullable", json!([{"a": 3, "b": "x"}, {"b": "y"}])),
    ] {
        for format in ["parquet", "jsonl"] {
            let mut stage = Stage::new(true)?;
            stage.serve(&[json!([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])]);
            stage.connection.complete(&["--format", format])?;
            // The first page is as all before; the third is like it, and is not asked for.
            stage.serve(&[json!([{"a": 5, "b": "z"}]), page.clone(), json!([{"a": 6, "b": "z"}])]);
            let served = stage.served.clone();
            let arguments = ["run", "--on-drift", "items=fail", "--format", format];
            let (code, text) = stage.told(&arguments)?;
            // Both formats say the same, but for their name.
            compare(&format!("drift/{name}"), &text.replace(format, "FORMAT"))?;
            ensure!(code == Some(1), "{text}");
            ensure!(stage.connection.records("items")?.len() == 3, "the page is there");
            // Once more: it is still not wanted.
            let again = stage.connection.run(&["--on-drift", "fail", "--format", format])?;
            ensure!(again.verdict() == "incomplete", "{again:#?}");
            ensure!(stage.connection.records("items")?.len() == 3, "the page is there");
            let taken = stage.connection.complete(&["--on-drift", "evolve", "--format", format])?;
            ensure!(taken.stream("items")["drift"].as_array().is_some_and(|drift| !drift.is_empty()), "{taken:#?}");
            ensure!(stage.connection.records("items")?.len() == served.len(), "not all is there");
            // From now on it is known, but for a column that holds what is of another kind.
            let after = stage.connection.complete(&["--on-drift", "fail", "--format", format])?;
            ensure!(after.stream("items")["drift"] == json!([]), "{after:#?}");
        }
    }
    Ok(())
}

#[test]
fn null_among_items_that_never_were_is_told_or_refused_at_any_depth() -> anyhow::Result<()> {
    for format in ["parquet", "jsonl"] {
        let mut stage = Stage::new(true)?;
        stage.serve(&[json!([{"l": [1], "o": {"d": [[{"x": ["t"]}], []]}}, {"l": [], "o": {"d": []}}])]);
        stage.connection.complete(&["--format", format])?;
        stage.serve(&[
            json!([{"l": [2], "o": {"d": []}}]),
            json!([{"l": [3], "o": {"d": [[]]}}, {"l": [4], "o": {"d": [[{"x": ["t", null]}], null]}}, {"l": [null], "o": {"d": []}}]),
        ]);
        let (code, text) = stage.told(&["run", "--on-drift", "fail", "--format", format])?;
        compare("drift/fail_null_item", &text.replace(format, "FORMAT"))?;
        ensure!(code == Some(1), "{text}");
        let taken = stage.connection.complete(&["--format", format])?;
        let paths = ["/l/*", "/o/d/*", "/o/d/*/*/x/*"];
        let expected = paths.map(|path| json!({"change": "nullable", "path": path, "items": true}));
        ensure!(taken.stream("items")["drift"] == json!(expected), "{:#}", taken.stream("items")["drift"]);
        stage.serve(&[json!([{"l": [null, 1], "o": {"d": [null]}}])]);
        let after = stage.connection.complete(&["--on-drift", "fail", "--format", format])?;
        ensure!(after.stream("items")["drift"] == json!([]), "{after:#?}");
        if format == "parquet" {
            stage.expect("null_item", &["schema", "items"], 0)?;
            stage.expect_every_value()?;
        }
    }
    Ok(())
}

#[test]
fn what_is_null_in_an_array_that_goes_elsewhere_as_a_whole_is_told_or_refused() -> anyhow::Result<()> {
    let mut stage = Stage::new(true)?;
    stage.serve(&[json!([{"l": [{"a": 1, "d": [2]}, {"a": 2, "d": []}]}])]);
    stage.connection.complete(&[])?;
    stage.serve(&[json!([{"l": [{"a": 3, "d": [4]}, 5]}])]);
    let structure = json!({"change": "structure", "path": "/l", "from": "array of object", "to": "array of other items",
                           "column": "l__json"});
    let taken = stage.connection.complete(&[])?;
    ensure!(taken.stream("items")["drift"] == json!([structure]), "{:#}", taken.stream("items")["drift"]);
    // From here on such arrays are known, and what they lack is not.
    stage.serve(&[json!([{"l": [{"a": 3, "d": [4]}, 5]}]), json!([{"l": [6, {"a": null, "d": [null, 1]}, null]}])]);
    let refused = stage.connection.run(&["--on-drift", "fail"])?;
    ensure!(
        refused.code == Some(1) && refused.reasons()[0].contains("/l/* was never null and is null in an array"),
        "{refused:#?}"
    );
    let taken = stage.connection.complete(&[])?;
    let expected = json!([
        {"change": "nullable", "path": "/l/*", "items": true},
        {"change": "nullable", "path": "/l/*/a"},
        {"change": "nullable", "path": "/l/*/d/*", "items": true}
    ]);
    ensure!(taken.stream("items")["drift"] == expected, "{:#}", taken.stream("items")["drift"]);
    stage.serve(&[json!([{"l": [{"d": [null]}, null, 7]}])]);
    let after = stage.connection.complete(&["--on-drift", "fail"])?;
    ensure!(after.stream("items")["drift"] == json!([]), "{after:#?}");
    Ok(())
}

#[test]
fn a_field_with_the_name_of_a_column_beside_another_keeps_its_values() -> anyhow::Result<()> {
    let mut stage = Stage::new(true)?;
    for page in [
        json!([{"x": 1, "y": true}]),
        json!([{"x": {"a": 1}, "y": false}]),
        // Right behind the field whose column has one of this name beside it.
        json!([{"x": 2, "x__json": "own"}, {"x": {"b": 2}, "x__json": "own too"}, {"x__json": {"k": 1}, "x": 3}]),
        json!([{"x": {"c": 3}, "x__json": "again"}, {"x": 4, "x__json": null}]),
    ] {
        stage.serve(&[page]);
        stage.connection.complete(&[])?;
    }
    stage.expect_every_value()
}

#[test]
fn json_lines_have_no_columns_and_hold_every_value_as_it_came() -> anyhow::Result<()> {
    let mut stage = Stage::new(true)?;
    let pages = [
        json!([{"price": 1, "tags": ["x"]}]),
        json!([{"price": 2.50, "tags": [{"y": 1}, 5]}]),
        json!([{"price": {"amount": "3"}, "tags": "z"}]),
    ];
    for page in pages {
        stage.serve(&[page]);
        let run = stage.connection.complete(&["--format", "jsonl"])?;
        let drift = run.stream("items")["drift"].to_string();
        ensure!(!drift.contains("column"), "there is none: {drift}");
    }
    let mut found = stage.connection.records("items")?;
    found.sort_by_key(|record| record["id"].as_u64());
    assert_eq!(found, stage.served);
    ensure!(stage.connection.files_with("__json")?.is_empty(), "no value is anywhere but under its own name");
    Ok(())
}

#[test]
fn a_field_that_a_full_reading_has_none_of_is_removed() -> anyhow::Result<()> {
    let mut stage = Stage::new(false)?;
    stage.serve(&[json!([{"a": 1, "b": {"c": 1, "d": null}}, {"a": null, "b": {"c": 1, "d": 2}}])]);
    stage.connection.complete(&["--on-drift", "fail"])?;
    // Null is there, and not having the field is not.
    stage.serve(&[json!([{"a": null, "b": {"c": 2}}])]);
    stage.expect("fail_removed", &["run", "--on-drift", "fail"], 1)?;
    ensure!(stage.connection.records("items")?.len() == 2, "the old data is in place");
    let taken = stage.connection.complete(&["--on-drift", "warn"])?;
    let drift = taken.stream("items")["drift"].clone();
    ensure!(drift == json!([{"change": "removed", "path": "/b/d", "kind": "integer"}]), "{drift:#}");
    ensure!(stage.connection.records("items")?.len() == 1, "the new data is not in place");
    // An empty reading says nothing of fields.
    stage.serve(&[json!([])]);
    let empty = stage.connection.run(&["--on-drift", "fail"])?;
    ensure!(empty.stream("items")["drift"] == json!([]), "{empty:#?}");
    // What comes again is new.
    stage.serve(&[json!([{"a": 1, "b": {"c": 2, "d": 5}}])]);
    let back = stage.connection.complete(&["--on-drift", "warn"])?;
    let drift = back.stream("items")["drift"].clone();
    ensure!(drift == json!([{"change": "new", "path": "/b/d", "kind": "integer"}]), "{drift:#}");
    stage.expect("removed", &["schema", "items"], 0)
}

#[test]
fn the_schema_is_coloured_on_a_terminal_and_nowhere_else() -> anyhow::Result<()> {
    let mut stage = Stage::new(true)?;
    stage.serve(&[json!([{"a": 1, "gone": 1, "odd": "x", "o": {"x": 1}}])]);
    stage.connection.complete(&[])?;
    stage.serve(&[json!([{"a": 1, "odd": null, "o": {"x": 1}, "new": true}])]);
    stage.connection.complete(&[])?;
    let mut call = host(&["schema", "items", "--out", &out(&stage)])?;
    let piped = String::from_utf8(call.output()?.stdout)?;
    ensure!(piped.contains("+ /new is new: boolean") && !piped.contains('\u{1b}'), "{piped:?}");
    let terminal = |variables: &[(&str, &str)]| -> anyhow::Result<String> {
        let mut python = Command::new("python3");
        python.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/drift/terminal.py"));
        python.arg(call.get_program()).args(call.get_args()).env("TERM", "xterm").env_remove("NO_COLOR");
        let ended = python.envs(variables.iter().copied()).output()?;
        ensure!(ended.status.success(), "{ended:?}");
        Ok(String::from_utf8(ended.stdout)?.replace("\r\n", "\n"))
    };
    for variables in [[("NO_COLOR", "")].as_slice(), &[]] {
        let coloured = terminal(variables)?;
        for piece in [
            "\u{1b}[1mitems\u{1b}[0m, version 2 of 2",
            "\u{1b}[2m├─ \u{1b}[0ma",
            "\u{1b}[36minteger\u{1b}[0m",
            "\u{1b}[33mmay be absent or null\u{1b}[0m",
            "\u{1b}[31mgone\u{1b}[0m",
            "\u{1b}[32m+ /new is new: boolean\u{1b}[0m",
            "\u{1b}[33m~ /odd was in every record and is absent or null\u{1b}[0m",
            "\u{1b}[31m- /gone is gone: integer\u{1b}[0m",
        ] {
            ensure!(coloured.contains(piece), "{piece:?} is not in {coloured:?}");
        }
        let codes = ["0", "1", "2", "31", "32", "33", "36"].map(|code| format!("\u{1b}[{code}m"));
        assert_eq!(codes.iter().fold(coloured, |text, code| text.replace(code, "")), piped);
    }
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert_eq!(terminal(&[variable])?, piped, "{variable:?}");
    }
    Ok(())
}
