//! Which archives stay: by their number, age and size, without taking from one what another needs.
//!
//! Invariant: at every moment each line of each archive that is there leads to its bodies. Of an archive that goes, the
//! segments that others name get a second name in `_runs/RUN/bodies/` first; then the archive is renamed, and what is
//! renamed is removed. A process that dies in between leaves more than is needed, which the next one removes.
//!
//! A connection's archives are looked at under its lock, since a run shares what it finds when it begins.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::Lock;
use super::{LockError, run_folder, state_path};
use crate::http::archive::{self, remains, segment_path};
use crate::state::{Run, RunStatus, Sqlite, StateError, StateStore};

/// What may stay.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    /// Only archives of this connection are looked at; of all if none.
    pub connection: Option<String>,
    /// Archives of a connection that stay, the newest.
    pub runs: Option<usize>,
    /// Time since the run ended.
    pub age: Option<Duration>,
    /// Bytes of all archives that are looked at, together.
    pub bytes: Option<u64>,
    /// Whether the newest archive of each connection stays in any case.
    pub spare_newest: bool,
    /// Only find out.
    pub dry_run: bool,
}

impl Retention {
    /// Whether anything may have to go.
    pub fn is_limited(&self) -> bool {
        self.runs.is_some() || self.age.is_some() || self.bytes.is_some()
    }
}

/// What went.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// Runs whose archives went, and the bytes of each.
    pub removed: Vec<(String, u64)>,
    /// Bytes that are free now.
    pub freed: u64,
    /// Bytes of all that is left.
    pub left: u64,
    /// Bytes of removed archives that stay because others share them.
    pub shared: u64,
    /// Archives that would have to go but for their runs, which are unfinished and may go on.
    pub unfinished: u64,
    /// Connections that a run is using, whose archives were left alone.
    pub busy: Vec<String>,
}

/// Why archives could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An archive cannot be read, so that nobody knows what it shares.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A file cannot be removed.
    #[error("cannot remove {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A segment: its run and its number.
type Segment = (String, u32);

/// An archive that is there.
struct Kept {
    run: Run,
    /// Bytes of all but its segments.
    notes: u64,
    segments: BTreeMap<u32, u64>,
    needs: HashSet<Segment>,
}

impl Kept {
    fn bytes(&self) -> u64 {
        self.segments.values().sum::<u64>() + self.notes
    }
}

/// Removes the archives that are too many, too old or too large together, the oldest first. Those of unfinished runs stay.
///
/// # Errors
/// When something cannot be read or removed; what has been removed then is gone, and what is left is whole.
pub fn prune(out: &Path, retention: &Retention, now_ms: u64) -> Result<Pruned, RetentionError> {
    let runs = Sqlite::open(&state_path(out))?.runs()?;
    let connections: BTreeSet<&String> = runs.iter().map(|run| &run.connection).collect();
    let wanted = |name: &String| retention.connection.as_ref().is_none_or(|wanted| wanted == name);
    let mut pruned = Pruned::default();
    let mut locks = Vec::new();
    let mut free = BTreeSet::new();
    for connection in connections.into_iter().filter(|name| wanted(name)) {
        match Lock::take(out, connection) {
            Ok(lock) => {
                locks.push(lock);
                free.insert(connection.clone());
            }
            Err(LockError::Held { connection, .. }) => pruned.busy.push(connection),
            Err(error) => return Err(error.into()),
        }
    }
    // What runs have become by now: one may have ended while its lock was waited for.
    let runs = Sqlite::open(&state_path(out))?.runs()?;
    let mut kept = Vec::new();
    let mut left_over: BTreeMap<Segment, u64> = BTreeMap::new();
    for run in runs.into_iter().filter(|run| free.contains(&run.connection)) {
        let folder = run_folder(out, &run.id).join("archive");
        if !retention.dry_run {
            remove_all(&folder.with_file_name("archive.removed"))?;
        }
        for (number, bytes) in segments(&remains(&folder))?.0 {
            left_over.insert((run.id.clone(), number), bytes);
        }
        if folder.join("manifest.jsonl").exists() {
            let (segments, notes) = segments(&folder)?;
            kept.push(Kept { needs: archive::needs(&folder)?, run, notes, segments });
        }
    }
    let before = total(&kept, &left_over);
    // Newest first, as they were begun; a clock may have gone back since.
    let mut gone: Vec<Kept> = Vec::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let newness: Vec<usize> = kept
        .iter()
        .map(|kept| {
            let number = numbers.entry(kept.run.connection.clone()).or_default();
            *number += 1;
            *number
        })
        .collect();
    for (at, number) in newness.iter().enumerate().rev() {
        let Some(candidate) = kept.get(at) else { continue };
        let too_many = retention.runs.is_some_and(|most| *number > most);
        let age_ms = candidate.run.ended_ms.map(|ended| now_ms.saturating_sub(ended));
        let too_old = retention.age.is_some_and(|most| age_ms.is_some_and(|age| u128::from(age) > most.as_millis()));
        let too_large = retention.bytes.is_some_and(|most| total(&kept, &needed(&kept, &gone, &left_over)) > most);
        if !(too_many || too_old || too_large) || (retention.spare_newest && *number == 1) {
            continue;
        }
        // It may go on, and a page that it has not committed yet needs its exchanges.
        if candidate.run.status != RunStatus::Ended {
            pruned.unfinished += 1;
            continue;
        }
        let doomed = kept.remove(at);
        pruned.removed.push((doomed.run.id.clone(), doomed.bytes()));
        gone.push(doomed);
    }
    let staying = needed(&kept, &gone, &left_over);
    pruned.left = total(&kept, &staying);
    pruned.freed = before.saturating_sub(pruned.left);
    pruned.shared = staying.values().sum();
    if !retention.dry_run {
        for doomed in &gone {
            remove(&run_folder(out, &doomed.run.id).join("archive"), doomed, &staying)?;
        }
        for (run, number) in left_over.keys().filter(|segment| !staying.contains_key(segment)) {
            let path = segment_path(&remains(&run_folder(out, run).join("archive")), *number);
            fs::remove_file(&path).map_err(|source| RetentionError::Io { path: path.clone(), source })?;
            // It goes with its last file.
            let _ = path.parent().map(fs::remove_dir);
        }
    }
    drop(locks);
    Ok(pruned)
}

/// Segments of no archive that is there which those that are there need.
fn needed(kept: &[Kept], gone: &[Kept], left_over: &BTreeMap<Segment, u64>) -> BTreeMap<Segment, u64> {
    let needs: HashSet<&Segment> = kept.iter().flat_map(|kept| &kept.needs).collect();
    let of_gone = gone
        .iter()
        .flat_map(|gone| gone.segments.iter().map(|(number, bytes)| ((gone.run.id.clone(), *number), *bytes)));
    let all = left_over.iter().map(|(segment, bytes)| (segment.clone(), *bytes)).chain(of_gone);
    all.filter(|(segment, _)| needs.contains(segment)).collect()
}

fn total(kept: &[Kept], others: &BTreeMap<Segment, u64>) -> u64 {
    kept.iter().map(Kept::bytes).sum::<u64>() + others.values().sum::<u64>()
}

/// The segments in a folder, and the bytes of what else is in it; nothing where there is no folder.
fn segments(folder: &Path) -> Result<(BTreeMap<u32, u64>, u64), RetentionError> {
    let failed = |source| RetentionError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok((BTreeMap::new(), 0)),
        entries => entries.map_err(failed)?,
    };
    let (mut segments, mut notes) = (BTreeMap::new(), 0);
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let bytes = entry.metadata().map_err(failed)?.len();
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.strip_prefix("bodies-").and_then(|rest| rest.strip_suffix(".bin")?.parse().ok()) {
            Some(number) => _ = segments.insert(number, bytes),
            None => notes += bytes,
        }
    }
    Ok((segments, notes))
}

/// Removes an archive, but for the segments that stay.
fn remove(folder: &Path, doomed: &Kept, staying: &BTreeMap<Segment, u64>) -> Result<(), RetentionError> {
    let remains = remains(folder);
    let stay = doomed.segments.keys().filter(|number| staying.contains_key(&(doomed.run.id.clone(), **number)));
    let keep = || {
        let mut any = false;
        for number in stay {
            fs::create_dir_all(&remains)?;
            let (from, to) = (segment_path(folder, *number), segment_path(&remains, *number));
            match fs::hard_link(&from, &to) {
                Err(known) if known.kind() == io::ErrorKind::AlreadyExists => {}
                // A file system without second names.
                Err(_) => {
                    let unfinished = to.with_extension("tmp");
                    fs::copy(&from, &unfinished)?;
                    File::open(&unfinished)?.sync_all()?;
                    fs::rename(&unfinished, &to)?;
                }
                Ok(()) => {}
            }
            any = true;
        }
        if any {
            File::open(&remains)?.sync_all()?;
            remains.parent().map_or(Ok(()), |run| File::open(run)?.sync_all())?;
        }
        Ok(())
    };
    keep().map_err(|source| RetentionError::Io { path: folder.to_owned(), source })?;
    let removed = folder.with_file_name("archive.removed");
    // What is left of one after a crash is never taken for a whole one.
    fs::rename(folder, &removed).map_err(|source| RetentionError::Io { path: folder.to_owned(), source })?;
    remove_all(&removed)
}

fn remove_all(folder: &Path) -> Result<(), RetentionError> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RetentionError::Io { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}
