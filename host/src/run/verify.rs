//! Checks an output folder against what its state and archives say of it.
//!
//! | check | what is compared |
//! | --- | --- |
//! | files | every part of a commit is there, of its size, readable, with its rows; no visible part is of no commit |
//! | pages | the page log has no gap, ends at the stored checkpoint, and has no more records than the parts |
//! | archive | every line and every body is as it was written, by its BLAKE3 |
//! | replay | the connector makes of the archive the pages of the page log, and the parts that are there |

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use super::deadletter::{self, is_dead};
use super::lock::Lock;
use super::replay::{Recorded, ReplayError};
use super::verdict::plural;
use super::{LockError, run_folder, state_path};
use crate::engine::{Engine, with_sources};
use crate::event::Observer;
use crate::http::archive::{Archive, Entry};
use crate::personal::Keys;
use crate::state::{Part, PartStatus, Sqlite, StateError, StateStore};

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A run is under way, and what it has not finished would look like damage.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What was checked and what is wrong.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verification {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// Each check of each stream or run.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// `files`, `pages`, `archive` or `replay`.
    pub check: &'static str,
    /// The stream or run.
    pub of: String,
    /// What was looked at, as `3 files`.
    pub looked_at: String,
    /// What is wrong, in words.
    pub damage: Vec<String>,
    /// Why it could not be made, where it could not.
    pub skipped: Option<String>,
}

impl Check {
    fn new(check: &'static str, of: &str) -> Self {
        Self { check, of: of.to_owned(), looked_at: String::new(), damage: Vec::new(), skipped: None }
    }
}

/// Checks an output folder. `scratch` is an empty folder for what is made again; without an engine nothing is.
///
/// # Errors
///
/// When the state cannot be read, for nothing can be compared without it; and while a run is under way.
pub async fn verify(
    out: &Path,
    engine: Option<Arc<Engine>>,
    scratch: &Path,
    observer: Arc<dyn Observer>,
    keys: Keys,
) -> Result<Verification, VerifyError> {
    let mut state = Sqlite::open(&state_path(out))?;
    let runs = state.runs()?;
    let connections: BTreeSet<String> = runs.iter().map(|run| run.connection.clone()).collect();
    let locks = connections.iter().map(|connection| Lock::take(out, connection));
    let _locks: Vec<Lock> = locks.collect::<Result<_, _>>()?;
    let mut checks = Vec::new();
    for connection in &connections {
        for stream in state.streams(connection)? {
            checks.push(files(out, &stream, &state.parts(&stream)?));
            checks.push(pages(out, &stream, &mut state)?);
        }
    }
    for run in runs.iter().rev() {
        let folder = run_folder(out, &run.id).join("archive");
        let mut check = Check::new("archive", &run.id);
        if folder.exists() {
            archive(&folder, &mut check);
        } else {
            check.skipped = Some("it has no archive".to_owned());
        }
        let whole = folder.exists() && check.damage.is_empty();
        checks.push(check);
        if let Some(engine) = engine.as_ref().filter(|_| whole) {
            let mut check = Check::new("replay", &run.id);
            let folder = scratch.join(&run.id);
            match Recorded::load(engine.clone(), out, &run.id, observer.clone(), keys.clone()) {
                Ok(recorded) => replay(out, &folder, &recorded, &mut state, &mut check).await?,
                Err(error @ (ReplayError::Older(_) | ReplayError::NoConnector(_))) => {
                    check.skipped = Some(error.to_string());
                }
                Err(error) => check.damage.push(with_sources(&error)),
            }
            // What is left is removed with the scratch folder.
            let _ = std::fs::remove_dir_all(&folder);
            checks.push(check);
        }
    }
    let sound = checks.iter().all(|check| check.damage.is_empty());
    Ok(Verification { sound, checks })
}

fn files(out: &Path, stream: &str, parts: &[Part]) -> Check {
    let mut check = Check::new("files", stream);
    let folder = out.join(stream);
    let mut known = BTreeSet::new();
    let mut looked = 0_u64;
    for part in parts {
        let path = match part.status {
            PartStatus::Visible => folder.join(&part.name),
            PartStatus::Staged => folder.join(format!(".{}.tmp", part.name)),
            PartStatus::Obsolete => {
                known.insert(part.name.clone());
                continue;
            }
        };
        known.insert(part.name.clone());
        looked += 1;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match std::fs::metadata(&path) {
            // A run that died between its commit and the new name; the next one does the rest.
            Err(_) if folder.join(format!(".{}.tmp", part.name)).exists() => {}
            Err(error) => check.damage.push(format!("{name} is missing: {error}")),
            Ok(metadata) if metadata.len() != part.bytes => {
                check.damage.push(format!("{name} has {} bytes, and its commit says {}", metadata.len(), part.bytes))
            }
            // How many letters it should have is told by the page log.
            Ok(_) if is_dead(&part.name) => {
                if let Err(error) = deadletter::count(&path) {
                    check.damage.push(format!("{name} cannot be read: {error}"));
                }
            }
            Ok(_) => match rows(&path) {
                Err(error) => check.damage.push(format!("{name} cannot be read: {error}")),
                Ok(rows) if rows != part.records => {
                    check.damage.push(format!(
                        "{name} has {}, and its commit says {}",
                        plural(rows, "record"),
                        part.records
                    ));
                }
                Ok(_) => {}
            },
        }
    }
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if (name.starts_with("part-") || is_dead(&name)) && !known.contains(&name) {
            check.damage.push(format!("{name} is of no commit, and readers see it"));
        }
    }
    check.looked_at = plural(looked, "file");
    check
}

/// Reads a whole part and counts its rows.
fn rows(path: &Path) -> Result<u64, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let file = File::open(path).map_err(|error| text(&error))?;
    // A staged part has its format in the middle of its name.
    if path.to_string_lossy().contains(".parquet") {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| text(&error))?;
        let mut rows = 0;
        for batch in reader.build().map_err(|error| text(&error))? {
            rows += batch.map_err(|error| text(&error))?.num_rows() as u64;
        }
        return Ok(rows);
    }
    let mut rows = 0;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| text(&error))?;
        rows += 1;
        let value: Result<&RawValue, _> = serde_json::from_str(&line);
        value.map_err(|error| format!("line {rows}: {error}"))?;
    }
    Ok(rows)
}

fn pages(out: &Path, stream: &str, state: &mut dyn StateStore) -> Result<Check, StateError> {
    let mut check = Check::new("pages", stream);
    // Records and dead letters in the files of each batch.
    let mut parts_of: HashMap<i64, (u64, u64)> = HashMap::new();
    for part in state.parts(stream)?.iter().filter(|part| part.status != PartStatus::Obsolete) {
        let in_parts = parts_of.entry(part.batch).or_default();
        in_parts.0 += part.records;
        if is_dead(&part.name) {
            // After a death between a commit and the new name it has the other one.
            let names = [part.name.clone(), format!(".{}.tmp", part.name)];
            let counted = names.iter().find_map(|name| deadletter::count(&out.join(stream).join(name)).ok());
            in_parts.1 += counted.unwrap_or_default();
        }
    }
    if let Some(newest) = state.newest_batch(stream)? {
        parts_of.entry(newest.id).or_default();
    }
    let mut looked = 0;
    let mut batches: Vec<(i64, (u64, u64))> = parts_of.into_iter().collect();
    batches.sort_unstable();
    for (batch, (in_parts, letters)) in batches {
        let (mut in_pages, mut refused) = (0, 0);
        for read in state.reads(batch)? {
            let label = read.partition.as_ref().map_or(String::new(), |(id, _)| format!("{id}: "));
            let pages = state.pages(read.id)?;
            looked += pages.len() as u64;
            in_pages += pages.iter().map(|page| page.records).sum::<u64>();
            refused += pages.iter().map(|page| page.refused).sum::<u64>();
            if let Some((at, page)) = (0..).zip(&pages).find(|(at, page)| page.seq != *at) {
                check.damage.push(format!("{label}the page log has page {} where {at} belongs", page.seq));
            }
            let last = pages.iter().rev().find_map(|page| page.checkpoint.clone());
            let stored = read.checkpoint.as_ref().map(|text| format!("{:032x}", xxh3_128(text.as_bytes())));
            if last != stored {
                check.damage.push(format!("{label}the stored checkpoint is not that of its last page"));
            }
        }
        if refused > letters {
            check
                .damage
                .push(format!("{refused} of its records could not be stored, and its dead letters are {letters}"));
        }
        if in_pages > in_parts {
            check.damage.push(format!("its pages have {}, and its files {in_parts}", plural(in_pages, "record")));
        }
    }
    check.looked_at = plural(looked, "page");
    Ok(check)
}

fn archive(folder: &Path, check: &mut Check) {
    let reader = match Archive::read(folder) {
        Ok(reader) => reader,
        Err(error) => return check.damage.push(with_sources(&error)),
    };
    let bodies = reader.bodies();
    let mut count = 0_u64;
    let mut next = 1;
    for entry in reader {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return check.damage.push(with_sources(&error)),
        };
        if entry.seq() != next {
            check.damage.push(format!("the manifest has line {} where {next} belongs", entry.seq()));
        }
        next = entry.seq() + 1;
        let Entry::Exchange(exchange) = entry else { continue };
        count += 1;
        for body in exchange.body.iter().chain(&exchange.request.body) {
            if let Err(error) = bodies.load(body) {
                check.damage.push(format!("exchange {}: {}", exchange.seq, with_sources(&error)));
            }
        }
    }
    check.looked_at = plural(count, "exchange");
}

async fn replay(
    out: &Path,
    folder: &Path,
    recorded: &Recorded,
    state: &mut Sqlite,
    check: &mut Check,
) -> Result<(), StateError> {
    let report = match recorded.replay(folder, state).await {
        Ok(report) => report,
        Err(error @ (ReplayError::NoConnector(_) | ReplayError::Key(_))) => {
            check.skipped = Some(error.to_string());
            return Ok(());
        }
        Err(error) => {
            check.damage.push(with_sources(&error));
            return Ok(());
        }
    };
    check.looked_at = plural(report.streams.iter().map(|stream| stream.pages).sum(), "page");
    check.damage.extend(report.streams.iter().filter_map(|stream| stream.first_difference.clone()));
    check.damage.extend(recorded.against_log(state)?);
    for stream in &report.streams {
        for name in &stream.files {
            let (made, there) = (folder.join(&stream.name).join(name), out.join(&stream.name).join(name));
            // Parts of an earlier batch may be gone; those that should be there are looked for with the files.
            if there.exists() && !same(&made, &there) {
                check.damage.push(format!("{}/{name} does not hold the records of its archive", stream.name));
            }
        }
    }
    Ok(())
}

/// Compares two parts: their bytes, or where another version of the format's writer was at work, their values.
fn same(one: &Path, other: &Path) -> bool {
    let digest = |path: &Path| {
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut File::open(path)?, &mut hasher)?;
        std::io::Result::Ok(hasher.finalize())
    };
    match (digest(one), digest(other)) {
        (Ok(one), Ok(other)) if one == other => true,
        (Ok(_), Ok(_)) if one.extension().is_some_and(|extension| extension == "parquet") => {
            matches!((batches(one), batches(other)), (Some(one), Some(other)) if one == other)
        }
        _ => false,
    }
}

fn batches(path: &Path) -> Option<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).ok()?).ok()?.build().ok()?;
    reader.collect::<Result<_, _>>().ok()
}
