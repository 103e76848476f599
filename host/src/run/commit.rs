//! The commit: how records become visible, once each, whatever dies when.
//!
//! A reader who globs `OUT/STREAM/part-*` sees every committed record once. Files of dead letters (`deadletter`) are parts
//! without records, and go the same way. The order that makes it so:
//!
//! 1. the sink writes `.part-….tmp` and syncs it; the folder is synced;
//! 2. one state transaction names the parts, and moves checkpoints, storage and the page log with them, durably;
//! 3. the parts get their visible names; the folder is synced.
//!
//! What dies before 2 leaves a temporary file that no commit names: the next start removes it. What dies after 2 leaves a
//! temporary file that a commit names: the next start gives it its name. Parts of a staged batch stay at 2 until the
//! batch is complete. Then one durable transaction makes them visible and those that they replace obsolete; the new ones
//! get their names, the folder is synced, and only then the obsolete ones are removed, the folder is synced again, and
//! the state forgets them.
//!
//! The whole of it is three calls: [`Folder::commit`], [`Folder::close`], and [`Folder::recover`] at start. `commit_model`
//! drives them through every place in which a process can die or the power can fail, and checks after each:
//!
//! Invariant: no part is visible that no commit names.
//! Invariant: a part that a commit names is there, whole, under its visible or its temporary name.
//! Invariant: nothing is removed before all that replaces it has its visible name, durably.
//! Invariant: a checkpoint is durable only together with all records before it.
//! Invariant: when a run has come to its end, every record is visible exactly once and nothing temporary is left.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::deadletter;
use super::files::{Disk, Files};
use crate::state::{Batch, BatchStatus, Commit, Part, PartStatus, StateError, StateStore};

/// Why a commit or a recovery failed. Nothing that was committed before is touched.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The output folder does not take what has to be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part that a commit names is missing.
    #[error("a committed part is missing: {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The state store failed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The folder of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    files: Arc<dyn Files>,
    path: PathBuf,
}

impl Folder {
    /// Makes the folder on the disk where it is missing.
    pub(crate) fn create(out: &Path, stream: &str) -> Result<Self, CommitError> {
        Self::on(Arc::new(Disk), out, stream)
    }

    /// The same on any file system.
    pub(crate) fn on(files: Arc<dyn Files>, out: &Path, stream: &str) -> Result<Self, CommitError> {
        let path = out.join(stream);
        // A folder whose own name is lost with the power takes its parts along. Also one that is there already may have
        // been made by a process that died before it synced.
        let create = || files.create_folder(&path).and_then(|()| files.sync_folder(out));
        create().map_err(|source| CommitError::Io { path: path.clone(), source })?;
        Ok(Self { files, path })
    }

    /// Returns the path of a part while it is written or staged.
    pub(crate) fn temporary(&self, name: &str) -> PathBuf {
        self.path.join(format!(".{name}.tmp"))
    }

    /// Returns the name that a part will have when it is visible.
    pub(crate) fn name_of(temporary: &Path) -> Option<&str> {
        temporary.file_name()?.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")
    }

    fn visible(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn sync(&self) -> Result<(), CommitError> {
        self.files.sync_folder(&self.path).map_err(|source| CommitError::Io { path: self.path.clone(), source })
    }

    /// Commits: its parts are written and synced under their temporary names, and become durable together with
    /// everything else that the commit holds, and visible unless they are staged.
    pub(crate) fn commit(&self, commit: &Commit, state: &mut dyn StateStore) -> Result<(), CommitError> {
        self.sync()?;
        state.commit(commit)?;
        self.bring_in_order(&commit.parts, state, false)
    }

    /// Closes a batch, and shows or removes what that asks for.
    pub(crate) fn close(
        &self,
        stream: &str,
        batch: &Batch,
        status: BatchStatus,
        state: &mut dyn StateStore,
    ) -> Result<(), CommitError> {
        state.close_batch(stream, batch, status)?;
        let parts = state.parts(stream)?;
        self.bring_in_order(&parts, state, false)
    }

    /// Brings the files to what the state says: gives visible parts their names, removes obsolete ones.
    ///
    /// New parts appear before old ones go, so that a reader in between sees a record twice rather than not at all.
    fn bring_in_order(
        &self,
        parts: &[Part],
        state: &mut dyn StateStore,
        may_be_missing: bool,
    ) -> Result<(), CommitError> {
        let error = |path: &Path, source| CommitError::Io { path: path.to_owned(), source };
        for part in parts.iter().filter(|part| part.status == PartStatus::Visible) {
            let (hidden, visible) = (self.temporary(&part.name), self.visible(&part.name));
            match self.files.rename(&hidden, &visible) {
                Ok(()) => {}
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                    // Whoever has dealt with dead letters may remove them.
                    let may_be_missing = may_be_missing || deadletter::is_dead(&part.name);
                    if !may_be_missing && !self.files.exists(&visible).map_err(|source| error(&visible, source))? {
                        return Err(CommitError::Missing { path: visible });
                    }
                }
                Err(source) => return Err(error(&hidden, source)),
            }
        }
        let obsolete: Vec<&Part> = parts.iter().filter(|part| part.status == PartStatus::Obsolete).collect();
        if !obsolete.is_empty() {
            self.sync()?;
        }
        for part in &obsolete {
            for path in [self.visible(&part.name), self.temporary(&part.name)] {
                match self.files.remove(&path) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(error(&path, source)),
                    _ => {}
                }
            }
        }
        self.sync()?;
        for part in obsolete {
            state.forget_part(&part.stream, &part.name)?;
        }
        Ok(())
    }

    /// Does what a dead process left undone: gives parts their names, removes obsolete ones, and removes temporary files
    /// that no commit names. Committed parts that are missing are an error, unless everything is going to be read
    /// again.
    pub(crate) fn recover(
        &self,
        parts: &[Part],
        state: &mut dyn StateStore,
        may_be_missing: bool,
    ) -> Result<(), CommitError> {
        self.bring_in_order(parts, state, may_be_missing)?;
        let staged: HashSet<PathBuf> = parts
            .iter()
            .filter(|part| part.status == PartStatus::Staged)
            .map(|part| self.temporary(&part.name))
            .collect();
        let error = |source| CommitError::Io { path: self.path.clone(), source };
        for path in self.files.list(&self.path).map_err(error)? {
            let ours = path.file_name().and_then(OsStr::to_str).is_some_and(is_temporary);
            if ours && !staged.contains(&path) {
                self.files.remove(&path).map_err(|source| CommitError::Io { path: path.clone(), source })?;
            }
        }
        Ok(())
    }

    /// Writes a small file whole or not at all.
    pub(crate) fn replace(&self, name: &str, text: &str) -> Result<(), CommitError> {
        replace(&*self.files, &self.path.join(name), text)
    }
}

fn is_temporary(name: &str) -> bool {
    let part = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    part.is_some_and(|part| part.starts_with("part-") || deadletter::is_dead(part)) || name == "_schema.json.tmp"
}

/// Writes a small file whole or not at all, and durably.
pub(crate) fn replace_file(path: &Path, text: &str) -> Result<(), CommitError> {
    replace(&Disk, path, text)
}

/// The same, with the system's own error.
pub(crate) fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    write(&Disk, path, text)
}

fn replace(files: &dyn Files, path: &Path, text: &str) -> Result<(), CommitError> {
    write(files, path, text).map_err(|source| CommitError::Io { path: path.to_owned(), source })
}

fn write(files: &dyn Files, path: &Path, text: &str) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = PathBuf::from(unfinished);
    files.write(&unfinished, text.as_bytes())?;
    files.rename(&unfinished, path)?;
    // The folder of a bare name is the current one.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files.sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::{BatchMode, Sqlite};

    struct Room {
        _out: tempfile::TempDir,
        folder: Folder,
        state: Sqlite,
        batch: i64,
    }

    fn room(staged: bool) -> Room {
        let out = tempfile::tempdir().unwrap();
        let folder = Folder::create(out.path(), "s").unwrap();
        let mut state = Sqlite::open(&out.path().join("_state.db")).unwrap();
        state.begin_run(&crate::state::tests::run("c"), "digest", &["s".to_owned()]).unwrap();
        let (batch, _) = state.open_batch("s", BatchMode::Full, staged, &[]).unwrap();
        Room { _out: out, folder, state, batch: batch.id }
    }

    impl Room {
        fn part(&self, name: &str, status: PartStatus) -> Part {
            Part {
                stream: "s".to_owned(),
                name: name.to_owned(),
                batch: self.batch,
                run: "r".to_owned(),
                records: 1,
                bytes: 1,
                status,
            }
        }

        fn write(&self, name: &str) {
            fs::write(self.folder.temporary(name), name).unwrap();
        }

        fn commit(&mut self, parts: Vec<Part>) {
            let commit = Commit {
                connection: "c".to_owned(),
                run: "r".to_owned(),
                stream: "s".to_owned(),
                parts,
                reads: Vec::new(),
                schema: None,
            };
            self.state.commit(&commit).unwrap();
        }

        fn recover(&mut self) {
            let parts = self.state.parts("s").unwrap();
            self.folder.recover(&parts, &mut self.state, false).unwrap();
        }

        fn files(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(&self.folder.path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_part_that_no_commit_names_is_removed_at_the_next_start() {
        let mut room = room(false);
        room.write("part-1.parquet");
        fs::write(room.folder.visible("_schema.json.tmp"), "{").unwrap();
        room.recover();
        assert!(room.files().is_empty());
    }

    #[test]
    fn a_committed_part_gets_its_name_at_the_next_start_and_keeps_it() {
        let mut room = room(false);
        room.write("part-1.parquet");
        let part = room.part("part-1.parquet", PartStatus::Visible);
        room.commit(vec![part]);
        room.recover();
        assert_eq!(room.files(), ["part-1.parquet"]);
        room.recover();
        assert_eq!(room.files(), ["part-1.parquet"]);
    }

    #[test]
    fn staged_parts_replace_the_old_ones_when_their_batch_is_complete() {
        let mut room = room(false);
        room.write("part-1.parquet");
        let part = room.part("part-1.parquet", PartStatus::Visible);
        room.commit(vec![part]);
        room.recover();
        let first = room.state.newest_batch("s").unwrap().unwrap();
        room.state.close_batch("s", &first, BatchStatus::Complete).unwrap();

        let (second, _) = room.state.open_batch("s", BatchMode::Full, true, &[]).unwrap();
        room.batch = second.id;
        room.write("part-2.parquet");
        let part = room.part("part-2.parquet", PartStatus::Staged);
        room.commit(vec![part]);
        room.recover();
        assert_eq!(room.files(), [".part-2.parquet.tmp", "part-1.parquet"]);

        room.state.close_batch("s", &second, BatchStatus::Complete).unwrap();
        room.recover();
        assert_eq!(room.files(), ["part-2.parquet"]);
        assert_eq!(room.state.parts("s").unwrap().len(), 1);
    }

    #[test]
    fn a_missing_part_is_an_error_that_names_it() {
        let mut room = room(false);
        let part = room.part("part-1.parquet", PartStatus::Visible);
        room.commit(vec![part]);
        let parts = room.state.parts("s").unwrap();
        room.folder.recover(&parts, &mut room.state, true).unwrap();
        let error = room.folder.recover(&parts, &mut room.state, false).unwrap_err();
        let path = room.folder.visible("part-1.parquet");
        assert_eq!(error.to_string(), format!("a committed part is missing: {}", path.display()));
    }
}
