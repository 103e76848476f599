//! Records as no API should send them: stored as they are, or refused with their place and kept as dead letters, and never
//! lost or changed in silence.

mod dead_letters;
mod values;

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tests::{
    connection::Connection,
    mock::{Action, Api, Rule},
};

/// An API of one stream, `items`, and a connection to it.
struct Odd {
    api: Api,
    connection: Connection,
}

/// Serves pages of records, given as the insides of their arrays; the host follows a cursor from one to the next.
fn pages(records: &[&str]) -> Vec<Rule> {
    let count = records.len();
    let page = |number: usize, records: &str| {
        let next = if number + 1 < count { format!("\"{}\"", number + 1) } else { "null".to_owned() };
        body(&format!(r#"{{"items":[{records}],"next":{next}}}"#))
    };
    // `cursor=10` contains `cursor=1`, so the later pages come first; the first page is whatever asks for no other.
    let others = (1..count).rev().zip(records.iter().skip(1).rev());
    let mut rules: Vec<Rule> =
        others.map(|(number, records)| page(number, records).containing(format!("cursor={number}"))).collect();
    rules.push(page(0, records.first().copied().unwrap_or_default()));
    rules
}

/// The same answer to every request.
fn body(text: &str) -> Rule {
    Rule::always(Action::Body(200, "application/json", text.to_owned()))
}

impl Odd {
    fn new(rules: Vec<Rule>) -> anyhow::Result<Self> {
        Self::with(rules, &json!({}))
    }

    /// The same with more settings of the stream.
    fn with(rules: Vec<Rule>, more: &Value) -> anyhow::Result<Self> {
        let api = Api::builder().start()?;
        api.script(rules);
        let mut stream = json!({
            "name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
            "pagination": {"cursor": {"token": "/next", "param": "cursor"}},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            stream[key] = value.clone();
        }
        let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": [stream]}))?;
        Ok(Self { api, connection })
    }

    /// The visible files of dead letters.
    fn dead_files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.connection.out().join("items"))? {
            let path = entry?.path();
            if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("_dead-")) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// All dead letters.
    fn letters(&self) -> anyhow::Result<Vec<Value>> {
        let mut letters = Vec::new();
        for file in self.dead_files()? {
            for line in fs::read_to_string(file)?.lines() {
                letters.push(serde_json::from_str(line)?);
            }
        }
        Ok(letters)
    }

    /// What a query in DuckDB for all records says.
    fn duckdb(&self, columns: &str) -> anyhow::Result<(Value, Value)> {
        let files = self.connection.out().join("items").join("part-*.parquet");
        tests::duckdb::query(&format!(
            "SELECT {columns} FROM read_parquet('{}', union_by_name = true) ORDER BY id",
            files.display()
        ))
    }
}
