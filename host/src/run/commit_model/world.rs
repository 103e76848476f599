//! A file system and tables that can die at any step, and forget whatever they have not been asked to keep.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{OUT, STREAM};
use crate::run::deadletter::is_dead;
use crate::run::files::Files;
use crate::state::{Batch, Part, PartStatus, Read, StateError};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Entry {
    Folder,
    /// The number of its content.
    File(usize),
}

/// A change of entries that is not durable yet, in the folder that has to be synced.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Add(PathBuf, Entry),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    pub(super) fn folder(&self) -> Option<&Path> {
        let (Self::Add(path, _) | Self::Rename(path, _) | Self::Remove(path)) = self;
        path.parent()
    }

    /// Makes it, unless what it builds on was lost.
    pub(super) fn make(&self, entries: &mut BTreeMap<PathBuf, Entry>) {
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
pub(super) struct Tables {
    pub(super) batches: Vec<Batch>,
    pub(super) reads: Vec<(i64, Read)>,
    pub(super) parts: Vec<Part>,
}

/// What a machine holds, in memory and on its disk.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) live: BTreeMap<PathBuf, Entry>,
    pub(super) disk: BTreeMap<PathBuf, Entry>,
    pub(super) pending: Vec<Change>,
    /// Records of each file, and whether they are durable.
    pub(super) contents: Vec<(Vec<u64>, bool)>,
    /// Files that once had a visible name.
    pub(super) shown: BTreeSet<PathBuf>,
    /// The state after each transaction since the last durable one, which is the first.
    pub(super) tables: Vec<Tables>,
    /// Steps until the process dies.
    pub(super) left: usize,
    pub(super) steps: usize,
    /// Faults of the protocol that the model has to find.
    pub(super) ignore_folder_syncs: bool,
    pub(super) ignore_file_syncs: bool,
}

impl World {
    pub(super) fn new() -> Self {
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

    pub(super) fn step(&mut self) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("dead"))?;
        self.steps += 1;
        Ok(())
    }

    pub(super) fn change(&mut self, change: Change) {
        change.make(&mut self.live);
        self.pending.push(change);
    }

    pub(super) fn now(&self) -> &Tables {
        self.tables.last().unwrap()
    }

    pub(super) fn transact(&mut self, durable: bool, write: impl FnOnce(&mut Tables)) {
        let mut tables = self.now().clone();
        write(&mut tables);
        if durable {
            self.tables.clear();
        }
        self.tables.push(tables);
    }

    /// The power fails: of what is pending the changes in `kept` (a bit each) have come to the disk, and of the
    /// transactions since the last durable one the first `transactions`.
    pub(super) fn lose_power(&mut self, kept: u32, transactions: usize) {
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

    pub(super) fn records(&self, path: &Path) -> Option<&[u64]> {
        match self.live.get(path) {
            Some(Entry::File(number)) => self.contents.get(*number).map(|(records, _)| records.as_slice()),
            _ => None,
        }
    }

    /// What must hold at every moment.
    pub(super) fn check(&self) -> Result<(), String> {
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
    pub(super) fn seen(&self, start: &str) -> Vec<u64> {
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
pub(super) struct Machine(pub(super) Arc<Mutex<World>>);

impl Machine {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a part as a sink does: first its entry and bytes, then the sync.
    pub(super) fn write_part(&self, path: &Path, records: &[u64]) -> io::Result<()> {
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

    pub(super) fn step(&self) -> Result<MutexGuard<'_, World>, StateError> {
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
