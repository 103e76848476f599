//! One connection of `host` in a folder of its own: run it again and again, and see what it leaves.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    program::{Running, call, host, parts},
    rows,
};

/// A connector, a configuration, and the folder that its runs write to.
#[derive(Debug)]
pub struct Connection {
    connector: String,
    folder: TempDir,
}

/// What one run came to.
#[derive(Debug)]
pub struct Run {
    /// The exit code.
    pub code: Option<i32>,
    /// The report that it printed; null where it did not start.
    pub report: Value,
    /// Standard error: the log.
    pub log: String,
}

impl Connection {
    /// Makes a connection.
    ///
    /// # Errors
    ///
    /// Where its folder can't be written.
    pub fn new(connector: &str, config: &Value) -> anyhow::Result<Self> {
        let connection = Self { connector: connector.to_owned(), folder: TempDir::new()? };
        connection.configure(config)?;
        Ok(connection)
    }

    /// Gives it another configuration, for what is already there.
    ///
    /// # Errors
    ///
    /// Where the file can't be written.
    pub fn configure(&self, config: &Value) -> anyhow::Result<()> {
        Ok(fs::write(self.folder.path().join("config.json"), config.to_string())?)
    }

    /// The output folder.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Makes a call about the connection that is no run: `check`, `auth login`.
    ///
    /// # Errors
    ///
    /// Where the program is not built.
    pub fn command(&self, verb: &[&str], more: &[&str]) -> anyhow::Result<Command> {
        let config = self.folder.path().join("config.json").display().to_string();
        let out = self.out().display().to_string();
        let fixed = [self.connector.as_str(), "--config", &config, "--out", &out, "--retry-base", "1ms"];
        host(&[verb, &fixed, more].concat())
    }

    /// The command by which errors ask to sign in for this connection.
    #[must_use]
    pub fn login(&self) -> String {
        let config = self.folder.path().join("config.json");
        format!("host auth login {} --config {} --out {}", self.connector, config.display(), self.out().display())
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let config = self.folder.path().join("config.json").display().to_string();
        let out = self.out().display().to_string();
        let fixed = ["run", &self.connector, "--config", &config, "--out", &out, "--retry-base", "1ms", "--json"];
        fixed.iter().chain(more).map(|text| (*text).to_owned()).collect()
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// Where the program can't be started, or prints something else than a report.
    pub fn run(&self, more: &[&str]) -> anyhow::Result<Run> {
        let arguments = self.arguments(more);
        let ended = call(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        let report = if ended.stdout.is_empty() { Value::Null } else { serde_json::from_str(&ended.stdout)? };
        Ok(Run { code: ended.code, report, log: ended.stderr })
    }

    /// Runs it and expects it to be complete.
    ///
    /// # Errors
    ///
    /// Where it is anything else.
    pub fn complete(&self, more: &[&str]) -> anyhow::Result<Run> {
        let run = self.run(more)?;
        ensure!(run.code == Some(0) && run.report["verdict"] == "complete", "{run:#?}");
        Ok(run)
    }

    /// Starts it in the background.
    ///
    /// # Errors
    ///
    /// Where the program can't be started.
    pub fn start(&self, more: &[&str]) -> anyhow::Result<Running> {
        let arguments = self.arguments(more);
        Running::start(host(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?)
    }

    /// The records in a stream's files, Parquet and JSON lines alike; none where there is no file.
    ///
    /// # Errors
    ///
    /// Where a file can't be read.
    pub fn records(&self, stream: &str) -> anyhow::Result<Vec<Value>> {
        if !self.out().join(stream).exists() {
            return Ok(Vec::new());
        }
        let mut records = Vec::new();
        for part in parts(&self.out(), stream)? {
            if part.extension().is_some_and(|extension| extension == "parquet") {
                for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(&part)?)?.build()? {
                    records.extend(rows::of_batch(&batch?)?);
                }
            } else {
                for line in fs::read_to_string(&part)?.lines() {
                    records.push(serde_json::from_str(line)?);
                }
            }
        }
        Ok(records)
    }

    /// The whole numbers of a field, in order of size.
    ///
    /// # Errors
    ///
    /// Where a record has none there.
    pub fn ids(&self, stream: &str, field: &str) -> anyhow::Result<Vec<u64>> {
        let records = self.records(stream)?;
        let mut ids = records
            .iter()
            .map(|record| record[field].as_u64().with_context(|| format!("no number in {field}: {record}")))
            .collect::<anyhow::Result<Vec<_>>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// Every file below the output folder in which a text is found, looking also into what is compressed there: archived
    /// bodies and the records in Parquet.
    ///
    /// # Errors
    ///
    /// Where a file can't be read.
    pub fn files_with(&self, text: &str) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![self.out()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if contents(&path)?.iter().any(|content| contains(content, text)) {
                    found.push(path.strip_prefix(self.out())?.display().to_string());
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

impl Run {
    /// A stream's part of the report.
    #[must_use]
    pub fn stream(&self, name: &str) -> &Value {
        let streams = self.report["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
        streams.iter().find(|stream| stream["name"] == name).unwrap_or(&Value::Null)
    }

    /// The verdict of the whole run.
    #[must_use]
    pub fn verdict(&self) -> &str {
        self.report["verdict"].as_str().unwrap_or_default()
    }

    /// The reasons for it.
    #[must_use]
    pub fn reasons(&self) -> Vec<&str> {
        self.report["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// A file as it is, and what is compressed in it.
fn contents(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut contents = vec![fs::read(path)?];
    match path.file_name().and_then(|name| name.to_str()) {
        Some("manifest.jsonl") => contents.extend(bodies(path)?),
        Some(name) if name.ends_with(".parquet") => {
            for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
                contents.push(rows::of_batch(&batch?)?.iter().map(Value::to_string).collect::<String>().into_bytes());
            }
        }
        _ => {}
    }
    Ok(contents)
}

/// All bodies of an archive, decoded, found by their places in the manifest.
///
/// # Errors
///
/// Where the archive is damaged.
pub fn bodies(manifest: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    for line in fs::read_to_string(manifest)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        for body in [&line["body"], &line["request"]["body"]].into_iter().filter(|body| body.is_object()) {
            let number = |name: &str| -> anyhow::Result<usize> {
                Ok(usize::try_from(body[name].as_u64().with_context(|| format!("no {name} in {body}"))?)?)
            };
            let segment = format!("bodies-{:06}.bin", number("segment")?);
            // Of this archive, of an earlier run's, or of what is left of that.
            let places = match body["run"].as_str() {
                None => vec![manifest.with_file_name(&segment)],
                Some(run) => {
                    let other = manifest.ancestors().nth(3).context("no folder of runs")?.join(run);
                    vec![other.join("archive").join(&segment), other.join("bodies").join(&segment)]
                }
            };
            let there = places.iter().find(|path| path.exists()).with_context(|| format!("no segment for {body}"))?;
            let segment = fs::read(there)?;
            let from = number("offset")?;
            let stored = segment.get(from..from + number("length")?).context("a body that is not there")?;
            let received = match body["stored"].as_str() {
                Some("zstd") => zstd::decode_all(stored)?,
                _ => stored.to_vec(),
            };
            bodies.push(match body["encoding"].as_str() {
                Some("zstd") => zstd::decode_all(received.as_slice())?,
                Some("gzip") => {
                    let mut decoded = Vec::new();
                    flate2::read::GzDecoder::new(received.as_slice()).read_to_end(&mut decoded)?;
                    decoded
                }
                _ => received,
            });
        }
    }
    Ok(bodies)
}

fn contains(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|window| window == text.as_bytes())
}
