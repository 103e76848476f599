//! A model of commits: the real [`Folder`] and the real plan, on a file system and a state store that can die at any step
//! and forget whatever they have not been asked to keep.
//!
//! A life is one process: it recovers, goes on from the state, and ends or dies. The test lives through every crash point
//! of small histories, and through random ones of long histories, and looks at what a reader would see after each death.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::commit::{CommitError, Folder};
use super::deadletter::is_dead;
use super::files::Files;
use super::plan::{self, Wishes};
use crate::state::{
    Batch, BatchMode, BatchStatus, Commit, PageEntry, Part, PartStatus, Read, ReadEnd, ReadProgress, ReadStatus, Run,
    SchemaVersion, StateError, StateStore,
};

const OUT: &str = "/out";
const STREAM: &str = "s";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Entry {
    Folder,
    /// The number of its content.
    File(usize),
}

/// A change of entries that is not durable yet, in the folder that has to be synced.
#[derive(Debug, Clone)]
enum Change {
    Add(PathBuf, Entry),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn folder(&self) -> Option<&Path> {
        let (Self::Add(path, _) | Self::Rename(path, _) | Self::Remove(path)) = self;
        path.parent()
    }

    /// Makes it, unless what it builds on was lost.
    fn make(&self, entries: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            Self::Add(path, entry) => _ = entries.insert(path.clone(), *entry),
            Self::Rename(from, to) => {
                if let Some(entry) = entries.remove(from) {
                    entries.insert(to.clone(), entry);
                }
            }
            Self::Remove(path) => _ = entries.remove(path),
        }
    }
}

/// The tables of the state that commits concern.
#[derive(Debug, Clone, Default)]
struct Tables {
    batches: Vec<Batch>,
    reads: Vec<(i64, Read)>,
    parts: Vec<Part>,
}

/// What a machine holds, in memory and on its disk.
#[derive(Debug, Clone)]
struct World {
    live: BTreeMap<PathBuf, Entry>,
    disk: BTreeMap<PathBuf, Entry>,
    pending: Vec<Change>,
    /// Records of each file, and whether they are durable.
    contents: Vec<(Vec<u64>, bool)>,
    /// Files that once had a visible name.
    shown: BTreeSet<PathBuf>,
    /// The state after each transaction since the last durable one, which is the first.
    tables: Vec<Tables>,
    /// Steps until the process dies.
    left: usize,
    steps: usize,
    /// Faults of the protocol that the model has to find.
    ignore_folder_syncs: bool,
    ignore_file_syncs: bool,
}

impl World {
    fn new() -> Self {
        let disk: BTreeMap<_, _> = [(PathBuf::from(OUT), Entry::Folder)].into();
        Self {
            live: disk.clone(),
            disk,
            pending: Vec::new(),
            contents: Vec::new(),
            shown: BTreeSet::new(),
            tables: vec![Tables::default()],
            left: usize::MAX,
            steps: 0,
            ignore_folder_syncs: false,
            ignore_file_syncs: false,
        }
    }

    fn step(&mut self) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("dead"))?;
        self.steps += 1;
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.make(&mut self.live);
        self.pending.push(change);
    }

    fn now(&self) -> &Tables {
        self.tables.last().unwrap()
    }

    fn transact(&mut self, durable: bool, write: impl FnOnce(&mut Tables)) {
        let mut tables = self.now().clone();
        write(&mut tables);
        if durable {
            self.tables.clear();
        }
        self.tables.push(tables);
    }

    /// The power fails: of what is pending the changes in `kept` (a bit each) have come to the disk, and of the
    /// transactions since the last durable one the first `transactions`.
    fn lose_power(&mut self, kept: u32, transactions: usize) {
        for (place, change) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if kept & (1 << place) != 0 {
                change.make(&mut self.disk);
            }
        }
        let folders: BTreeSet<PathBuf> =
            self.disk.iter().filter(|(_, entry)| **entry == Entry::Folder).map(|(path, _)| path.clone()).collect();
        self.disk
            .retain(|path, _| path == Path::new(OUT) || path.parent().is_some_and(|folder| folders.contains(folder)));
        self.live = self.disk.clone();
        for (records, durable) in &mut self.contents {
            if !std::mem::replace(durable, true) {
                records.clear();
            }
        }
        self.tables.truncate(transactions.max(1));
        self.tables.drain(..self.tables.len() - 1);
    }

    fn records(&self, path: &Path) -> Option<&[u64]> {
        match self.live.get(path) {
            Some(Entry::File(number)) => self.contents.get(*number).map(|(records, _)| records.as_slice()),
            _ => None,
        }
    }

    /// What must hold at every moment.
    fn check(&self) -> Result<(), String> {
        let Tables { parts, .. } = self.now();
        let folder = Path::new(OUT).join(STREAM);
        let visible = |part: &Part| self.records(&folder.join(&part.name));
        let hidden = |part: &Part| self.records(&folder.join(format!(".{}.tmp", part.name)));
        for path in self.live.keys() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let shown = name.starts_with("part-") || is_dead(name);
            if shown && !parts.iter().any(|p| p.name == name && p.status != PartStatus::Staged) {
                return Err(format!("{name} is visible and no commit names it"));
            }
        }
        for part in parts.iter().filter(|part| part.status != PartStatus::Obsolete) {
            let found = match part.status {
                PartStatus::Visible => visible(part).or_else(|| hidden(part)),
                _ => hidden(part),
            };
            match found {
                None => return Err(format!("{} is committed and lost", part.name)),
                // Each file of dead letters has one here, and no records.
                Some(records) if records.len() as u64 != part.records.max(u64::from(is_dead(&part.name))) => {
                    return Err(format!("{} is committed and torn", part.name));
                }
                Some(_) => {}
            }
        }
        let gone = parts.iter().any(|part| {
            let was_shown = self.shown.contains(&folder.join(&part.name));
            part.status == PartStatus::Obsolete && was_shown && visible(part).is_none()
        });
        let late = parts.iter().find(|part| part.status == PartStatus::Visible && visible(part).is_none());
        match late {
            Some(late) if gone => Err(format!("something is removed before {} is visible", late.name)),
            _ => Ok(()),
        }
    }

    /// The records that a reader sees, or the dead letters.
    fn seen(&self, start: &str) -> Vec<u64> {
        let parts = self
            .live
            .keys()
            .filter(|path| path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(start.as_bytes())));
        let mut seen: Vec<u64> = parts.filter_map(|path| self.records(path)).flatten().copied().collect();
        seen.sort_unstable();
        seen
    }
}

/// A machine as its file system and its state store.
#[derive(Debug, Clone)]
struct Machine(Arc<Mutex<World>>);

impl Machine {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a part as a sink does: first its entry and bytes, then the sync.
    fn write_part(&self, path: &Path, records: &[u64]) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let number = world.contents.len();
        world.contents.push((records.to_vec(), false));
        world.change(Change::Add(path.to_owned(), Entry::File(number)));
        world.step()?;
        if !world.ignore_file_syncs {
            world.contents[number].1 = true;
        }
        Ok(())
    }

    fn step(&self) -> Result<MutexGuard<'_, World>, StateError> {
        let mut world = self.world();
        let dead = |_| StateError::Unusable { path: PathBuf::new(), source: rusqlite::Error::InvalidQuery };
        world.step().map_err(dead)?;
        Ok(world)
    }
}

impl Files for Machine {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        if !world.live.contains_key(path) {
            world.change(Change::Add(path.to_owned(), Entry::Folder));
        }
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        if world.ignore_folder_syncs {
            return Ok(());
        }
        for change in std::mem::take(&mut world.pending) {
            if change.folder() == Some(path) {
                change.make(&mut world.disk);
            } else {
                world.pending.push(change);
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write_part(path, &[bytes.len() as u64])
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        if !world.live.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.change(Change::Rename(from.to_owned(), to.to_owned()));
        world.shown.insert(to.to_owned());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        if !world.live.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.world().live.contains_key(path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.world().live.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }
}

/// The same answers as `Sqlite` gives, as far as plans and commits ask; a test compares the two.
impl StateStore for Machine {
    fn newest_batch(&mut self, _: &str) -> Result<Option<Batch>, StateError> {
        Ok(self.world().now().batches.last().cloned())
    }

    fn open_batch(
        &mut self,
        _: &str,
        mode: BatchMode,
        staged: bool,
        reads: &[Read],
    ) -> Result<(Batch, Vec<Read>), StateError> {
        let mut world = self.step()?;
        let id = world.now().batches.len() as i64 + 1;
        let first = world.now().reads.len() as i64 + 1;
        let batch = Batch { id, mode, status: BatchStatus::Open, staged };
        let reads: Vec<Read> = (first..).zip(reads).map(|(id, read)| Read { id, ..read.clone() }).collect();
        world.transact(false, |tables| {
            tables.batches.push(batch.clone());
            tables.reads.extend(reads.iter().map(|read| (id, read.clone())));
        });
        Ok((batch, reads))
    }

    fn watermarks(&mut self, _: &str) -> Result<HashMap<Option<String>, String>, StateError> {
        let world = self.world();
        let Tables { batches, reads, .. } = world.now();
        let complete = |id: i64| batches.iter().any(|batch| batch.id == id && batch.status == BatchStatus::Complete);
        let reads = reads.iter().filter(|(batch, read)| complete(*batch) && read.status == ReadStatus::Complete);
        Ok(reads
            .filter_map(|(_, read)| Some((read.partition.clone().map(|(id, _)| id), read.watermark.clone()?)))
            .collect())
    }

    fn reads(&mut self, batch: i64) -> Result<Vec<Read>, StateError> {
        Ok(self.world().now().reads.iter().filter(|(of, _)| *of == batch).map(|(_, read)| read.clone()).collect())
    }

    fn close_batch(&mut self, _: &str, batch: &Batch, status: BatchStatus) -> Result<(), StateError> {
        self.step()?.transact(true, |tables| {
            let shows = matches!(status, BatchStatus::Complete | BatchStatus::Lacking);
            let mut replaced = BTreeSet::new();
            for other in &mut tables.batches {
                if other.id == batch.id {
                    other.status = status;
                    continue;
                }
                let goes = match batch.mode {
                    BatchMode::Full => other.status != BatchStatus::Replaced,
                    BatchMode::Delta => {
                        matches!(other.status, BatchStatus::Lacking | BatchStatus::Broken | BatchStatus::Preview)
                    }
                };
                if shows && goes {
                    other.status = BatchStatus::Replaced;
                    replaced.insert(other.id);
                }
            }
            for part in &mut tables.parts {
                if replaced.contains(&part.batch) {
                    part.status = PartStatus::Obsolete;
                } else if shows && part.batch == batch.id && part.status == PartStatus::Staged {
                    part.status = PartStatus::Visible;
                }
            }
        });
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StateError> {
        self.step()?.transact(true, |tables| {
            tables.parts.extend(commit.parts.iter().cloned());
            tables.parts.sort_by(|a, b| a.name.cmp(&b.name));
            for progress in &commit.reads {
                let Some((_, read)) = tables.reads.iter_mut().find(|(_, read)| read.id == progress.read) else {
                    continue;
                };
                read.checkpoint = progress.checkpoint.clone().or(read.checkpoint.take());
                if let Some((end, watermark)) = &progress.end {
                    read.status = match end {
                        ReadEnd::Complete => ReadStatus::Complete,
                        ReadEnd::Lacking => ReadStatus::Lacking,
                        ReadEnd::Broken => ReadStatus::Broken,
                    };
                    read.watermark = watermark.clone().or(read.watermark.take());
                }
            }
        });
        Ok(())
    }

    fn parts(&mut self, _: &str) -> Result<Vec<Part>, StateError> {
        Ok(self.world().now().parts.clone())
    }

    fn forget_part(&mut self, _: &str, name: &str) -> Result<(), StateError> {
        self.step()?.transact(false, |tables| {
            tables.parts.retain(|part| part.name != name || part.status != PartStatus::Obsolete);
        });
        Ok(())
    }

    // None of these is asked for by what is modelled.
    fn config_digest(&mut self, _: &str) -> Result<Option<String>, StateError> {
        panic!("not modelled")
    }
    fn begin_run(&mut self, _: &Run, _: &str, _: &[String]) -> Result<(), StateError> {
        panic!("not modelled")
    }
    fn put_run(&mut self, _: &Run) -> Result<(), StateError> {
        panic!("not modelled")
    }
    fn runs(&mut self) -> Result<Vec<Run>, StateError> {
        panic!("not modelled")
    }
    fn owner(&mut self, _: &str) -> Result<Option<String>, StateError> {
        panic!("not modelled")
    }
    fn streams(&mut self, _: &str) -> Result<Vec<String>, StateError> {
        panic!("not modelled")
    }
    fn schema(&mut self, _: &str) -> Result<Option<String>, StateError> {
        panic!("not modelled")
    }
    fn known_schema(&mut self, _: &str) -> Result<Option<String>, StateError> {
        panic!("not modelled")
    }
    fn put_known_schema(&mut self, _: &str, _: &str, _: &SchemaVersion) -> Result<(), StateError> {
        panic!("not modelled")
    }
    fn schema_versions(&mut self, _: &str) -> Result<Vec<SchemaVersion>, StateError> {
        panic!("not modelled")
    }
    fn put_read(&mut self, _: i64, _: &Read) -> Result<Read, StateError> {
        panic!("not modelled")
    }
    fn drop_read(&mut self, _: i64) -> Result<(), StateError> {
        panic!("not modelled")
    }
    fn pages(&mut self, _: i64) -> Result<Vec<PageEntry>, StateError> {
        panic!("not modelled")
    }
    fn storage(&mut self, _: &str) -> Result<BTreeMap<String, Vec<u8>>, StateError> {
        panic!("not modelled")
    }
}

const BATCH_ENDS: [BatchStatus; 4] =
    [BatchStatus::Complete, BatchStatus::Lacking, BatchStatus::Broken, BatchStatus::Preview];

/// How one reading of the stream turns out, and how it comes about.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// How it ends.
    end: ReadEnd,
    /// Whether each of its commits has a dead letter.
    letters: bool,
    /// Asked for with `--full`.
    full: bool,
    commits: u64,
    parts: u64,
}

const SOUND: Reading = Reading { end: ReadEnd::Complete, letters: false, full: false, commits: 1, parts: 1 };
const BROKEN: Reading = Reading { end: ReadEnd::Broken, ..SOUND };
const LACKING: Reading = Reading { end: ReadEnd::Lacking, letters: true, ..SOUND };

/// A history of readings, and what is to be seen in the end.
#[derive(Debug, Clone)]
struct History {
    incremental: bool,
    readings: Vec<Reading>,
}

impl History {
    /// A reading that is broken and was not closed by the process that made it is followed by one more.
    fn reading(&self, batch: i64) -> Reading {
        usize::try_from(batch - 1).ok().and_then(|place| self.readings.get(place)).copied().unwrap_or(SOUND)
    }

    /// Lives until the history is over; an error is a death.
    fn live(&self, machine: &Machine, life: usize) -> Result<(), CommitError> {
        let mut state = machine.clone();
        let folder = Folder::on(Arc::new(machine.clone()), Path::new(OUT), STREAM)?;
        let parts = state.parts(STREAM)?;
        folder.recover(&parts, &mut state, false)?;
        let mut written = 0;
        loop {
            let newest = state.newest_batch(STREAM)?;
            let goes_on = newest.as_ref().is_some_and(|batch| batch.status == BatchStatus::Open);
            let closed = newest.map_or(0, |batch| batch.id - i64::from(goes_on));
            if !goes_on && closed >= self.readings.len() as i64 {
                return Ok(());
            }
            let full = self.reading(closed + 1).full && !goes_on;
            let wishes = Wishes { full, preview: false, incremental: self.incremental, same_run: true };
            let plan = plan::plan(&mut state, STREAM, &[None], wishes)
                .map_err(|_| CommitError::Missing { path: PathBuf::new() })?;
            let reading = self.reading(plan.batch.id);
            for read in &plan.reads {
                let from: u64 = read.checkpoint.as_deref().map_or(0, |checkpoint| checkpoint.parse().unwrap());
                for number in from..reading.commits {
                    let mut parts = Vec::new();
                    for part in 0..reading.parts {
                        let name = format!("part-{life:03}-{written:03}");
                        written += 1;
                        let first = u64::try_from(plan.batch.id).unwrap() * 1_000 + (number * reading.parts + part) * 2;
                        machine
                            .write_part(&folder.temporary(&name), &[first, first + 1])
                            .map_err(|source| CommitError::Io { path: PathBuf::new(), source })?;
                        let status = if plan.batch.staged { PartStatus::Staged } else { PartStatus::Visible };
                        parts.push(part_of(&name, plan.batch.id, status));
                    }
                    if reading.letters {
                        let name = format!("_dead-{life:03}-{written:03}");
                        written += 1;
                        let letter = u64::try_from(plan.batch.id).unwrap() * 1_000 + number;
                        machine
                            .write_part(&folder.temporary(&name), &[letter])
                            .map_err(|source| CommitError::Io { path: PathBuf::new(), source })?;
                        parts.push(Part { records: 0, ..part_of(&name, plan.batch.id, PartStatus::Visible) });
                    }
                    let end = reading.end;
                    let watermark = Some(format!("w{}", plan.batch.id)).filter(|_| end == ReadEnd::Complete);
                    let progress = ReadProgress {
                        read: read.id,
                        checkpoint: Some((number + 1).to_string()),
                        end: Some((end, watermark)).filter(|_| number + 1 == reading.commits),
                        ..ReadProgress::default()
                    };
                    folder.commit(&commit_of(parts, vec![progress]), &mut state)?;
                }
            }
            let reads = state.reads(plan.batch.id)?;
            let any = |status: ReadStatus| reads.iter().any(|read| read.status == status);
            let status = match () {
                () if any(ReadStatus::Broken) => BatchStatus::Broken,
                () if any(ReadStatus::Lacking) => BatchStatus::Lacking,
                () => BatchStatus::Complete,
            };
            folder.close(STREAM, &plan.batch, status, &mut state)?;
        }
    }

    /// The records and dead letters that are to be seen in the end: of the last full reading that adds up and of all that do
    /// since, where a lacking one is replaced by the next; what is broken is seen while nothing replaces it and it was
    /// never hidden, and its letters in any case.
    fn wanted(&self, world: &World) -> [Vec<u64>; 2] {
        let Tables { batches, .. } = world.now();
        let mut wanted: Vec<(bool, Vec<u64>, Vec<u64>)> = Vec::new();
        for batch in batches {
            let reading = self.reading(batch.id);
            let first = u64::try_from(batch.id).unwrap() * 1_000;
            let records: Vec<u64> = (0..reading.commits * reading.parts * 2).map(|n| first + n).collect();
            let letters: Vec<u64> = (0..reading.commits).map(|n| first + n).filter(|_| reading.letters).collect();
            let complete = reading.end == ReadEnd::Complete;
            match (reading.end, batch.mode) {
                (ReadEnd::Broken, _) if batch.staged => wanted.push((false, Vec::new(), letters)),
                (ReadEnd::Broken, _) => wanted.push((false, records, letters)),
                (_, BatchMode::Full) => wanted = vec![(complete, records, letters)],
                (_, BatchMode::Delta) => {
                    wanted.retain(|(complete, ..)| *complete);
                    wanted.push((complete, records, letters));
                }
            }
        }
        let mut records: Vec<u64> = wanted.iter().flat_map(|(_, records, _)| records.clone()).collect();
        let mut letters: Vec<u64> = wanted.into_iter().flat_map(|(_, _, letters)| letters).collect();
        records.sort_unstable();
        letters.sort_unstable();
        [records, letters]
    }

    fn ends_well(&self, world: &World) -> Result<(), String> {
        world.check()?;
        let (seen, wanted) = ([world.seen("part-"), world.seen("_dead-")], self.wanted(world));
        if seen != wanted {
            return Err(format!("{seen:?} are to be seen, not {wanted:?}"));
        }
        let staged = world.now().parts.iter().filter(|part| part.status == PartStatus::Staged).count();
        let hidden = world.live.keys().filter(|path| path.to_string_lossy().ends_with(".tmp")).count();
        if hidden != staged {
            return Err(format!("{hidden} temporary files are left, and {staged} are staged"));
        }
        Ok(())
    }
}

fn part_of(name: &str, batch: i64, status: PartStatus) -> Part {
    let (stream, name, run) = (STREAM.to_owned(), name.to_owned(), "r".to_owned());
    Part { stream, name, batch, run, records: 2, bytes: 16, status }
}

fn commit_of(parts: Vec<Part>, reads: Vec<ReadProgress>) -> Commit {
    let (connection, run, stream) = ("c".to_owned(), "r".to_owned(), STREAM.to_owned());
    Commit { connection, run, stream, parts, reads, schema: None }
}

/// Lives on from a world; returns what is left after at most `left` steps, and whether the history came to its end.
fn live(history: &History, from: &World, life: usize, left: usize) -> (World, bool) {
    let machine = Machine(Arc::new(Mutex::new(World { left, steps: 0, ..from.clone() })));
    let ended = match history.live(&machine, life) {
        Ok(()) => true,
        Err(CommitError::Missing { path }) if path.as_os_str().is_empty() => false,
        Err(CommitError::Missing { path }) => panic!("{} is missing", path.display()),
        Err(_) => false,
    };
    (machine.world().clone(), ended)
}

/// Everything that a death can leave: a killed process leaves all, a power failure any of what was not synced.
fn aftermaths(world: &World) -> Vec<World> {
    let mut all = vec![world.clone()];
    for kept in 0..1u32 << world.pending.len().min(6) {
        for transactions in 1..=world.tables.len() {
            let mut after = world.clone();
            after.lose_power(kept, transactions);
            all.push(after);
        }
    }
    all
}

/// Dies at every step of a history, in every way, `deaths` times in a row; returns how many deaths that were.
fn every_death(history: &History, from: &World, deaths: usize, life: usize) -> Result<u64, String> {
    let mut count = 0;
    for left in 0.. {
        let (dead, ended) = live(history, from, life, left);
        if ended {
            history.ends_well(&dead).map_err(|why| format!("{why}, in the life {life}"))?;
            return Ok(count);
        }
        for after in aftermaths(&dead) {
            count += 1;
            after.check().map_err(|why| format!("{why}, after {left} steps of the life {life}"))?;
            if deaths > 1 {
                count += every_death(history, &after, deaths - 1, life + 1)?;
            } else {
                let (end, ended) = live(history, &after, life + 1, usize::MAX);
                assert!(ended);
                history.ends_well(&end).map_err(|why| format!("{why}, after {left} steps of the life {life}"))?;
            }
        }
    }
    Ok(count)
}

fn history(incremental: bool, readings: &[Reading]) -> History {
    History { incremental, readings: readings.to_vec() }
}

#[test]
fn every_death_of_small_histories_loses_and_doubles_nothing() {
    let wide = Reading { commits: 2, parts: 2, ..SOUND };
    let again = Reading { full: true, ..wide };
    let mut deaths = 0;
    for (incremental, readings) in [
        (false, vec![wide]),
        (false, vec![SOUND, wide]),
        (false, vec![BROKEN, SOUND]),
        (false, vec![SOUND, BROKEN, SOUND]),
        (true, vec![SOUND, wide, SOUND]),
        (true, vec![SOUND, BROKEN, wide]),
        (true, vec![SOUND, BROKEN, BROKEN, SOUND]),
        (true, vec![SOUND, SOUND, again]),
        (false, vec![LACKING, LACKING, SOUND]),
        (true, vec![SOUND, LACKING, Reading { commits: 2, ..LACKING }, SOUND]),
        (true, vec![SOUND, Reading { letters: true, ..BROKEN }, LACKING, Reading { full: true, ..LACKING }]),
    ] {
        let history = history(incremental, &readings);
        deaths += every_death(&history, &World::new(), 1, 0).unwrap_or_else(|why| panic!("{why}: {history:?}"));
    }
    assert!(deaths > 1_000, "{deaths} deaths");
}

#[test]
fn every_second_death_while_recovering_from_a_first_loses_and_doubles_nothing() {
    let mut deaths = 0;
    for (incremental, readings) in
        [(false, vec![SOUND, SOUND]), (false, vec![BROKEN, SOUND]), (true, vec![SOUND, BROKEN]), (true, vec![LACKING])]
    {
        let history = history(incremental, &readings);
        deaths += every_death(&history, &World::new(), 2, 0).unwrap_or_else(|why| panic!("{why}: {history:?}"));
    }
    assert!(deaths > 10_000, "{deaths} deaths");
}

#[test]
fn random_deaths_of_long_histories_lose_and_double_nothing() {
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut reading = || Reading {
            end: *random.choice(&[ReadEnd::Complete, ReadEnd::Complete, ReadEnd::Lacking, ReadEnd::Broken]).unwrap(),
            letters: random.bool(),
            full: random.u8(..) < 40,
            commits: random.u64(1..4),
            parts: random.u64(1..3),
        };
        let readings: Vec<Reading> = (0..6).map(|_| reading()).collect();
        let history = history(random.bool(), &readings);
        let mut world = World::new();
        for life in 0.. {
            let left = if life < 12 { random.usize(..60) } else { usize::MAX };
            let (after, ended) = live(&history, &world, life, left);
            if ended {
                history.ends_well(&after).unwrap_or_else(|why| panic!("{why}, seed {seed}"));
                break;
            }
            world = after;
            if random.bool() {
                let transactions = random.usize(1..=world.tables.len());
                world.lose_power(random.u32(..), transactions);
            }
            world.check().unwrap_or_else(|why| panic!("{why}, seed {seed}, life {life}"));
        }
    }
}

#[test]
fn a_protocol_that_forgets_a_sync_is_found_out() {
    let history = history(false, &[SOUND, SOUND]);
    let without_folders = World { ignore_folder_syncs: true, ..World::new() };
    let why = every_death(&history, &without_folders, 1, 0).unwrap_err();
    assert!(why.starts_with("part-000-000 is committed and lost"), "{why}");
    let without_files = World { ignore_file_syncs: true, ..World::new() };
    let why = every_death(&history, &without_files, 1, 0).unwrap_err();
    assert!(why.starts_with("part-000-000 is committed and torn"), "{why}");
}

#[test]
fn the_model_of_the_state_answers_as_the_real_one() {
    for seed in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let mut real = crate::state::Sqlite::open(&folder.path().join("_state.db")).unwrap();
        real.begin_run(&crate::state::tests::run("c"), "digest", &[STREAM.to_owned()]).unwrap();
        let mut model = Machine(Arc::new(Mutex::new(World::new())));
        let mut random = fastrand::Rng::with_seed(seed);
        for number in 0..8 {
            let mode = if random.bool() { BatchMode::Full } else { BatchMode::Delta };
            let staged = random.bool();
            let end = *random.choice([ReadEnd::Complete, ReadEnd::Lacking, ReadEnd::Broken].iter()).unwrap();
            let unread = Read {
                id: 0,
                partition: None,
                since: None,
                checkpoint: None,
                watermark: None,
                status: ReadStatus::Unfinished,
            };
            let status = *random.choice(BATCH_ENDS.iter()).unwrap();
            let stores: [&mut dyn StateStore; 2] = [&mut real, &mut model];
            let mut answers = Vec::new();
            for state in stores {
                let (batch, reads) = state.open_batch(STREAM, mode, staged, std::slice::from_ref(&unread)).unwrap();
                let part_status = if staged { PartStatus::Staged } else { PartStatus::Visible };
                let progress = ReadProgress {
                    read: reads[0].id,
                    checkpoint: Some(number.to_string()),
                    end: Some((end, Some(format!("w{number}")))),
                    ..ReadProgress::default()
                };
                let part = part_of(&format!("part-{number}"), batch.id, part_status);
                state.commit(&commit_of(vec![part], vec![progress])).unwrap();
                state.close_batch(STREAM, &batch, status).unwrap();
                if number % 3 == 2 {
                    for part in state.parts(STREAM).unwrap() {
                        state.forget_part(STREAM, &part.name).unwrap();
                    }
                }
                answers.push((
                    state.newest_batch(STREAM).unwrap(),
                    state.reads(batch.id).unwrap(),
                    state.parts(STREAM).unwrap(),
                    state.watermarks(STREAM).unwrap(),
                ));
            }
            assert_eq!(answers[0], answers[1], "seed {seed}");
        }
    }
}
