//! The few file operations that commits are made of, behind a trait: the disk, or a recording of what a disk may forget.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What [`super::commit`] asks of a file system. Each call is one step: a process may die before and after it, not within.
pub(crate) trait Files: fmt::Debug + Send + Sync {
    /// Makes a folder and those above it, where they are missing.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder's entries durable: what was created, renamed and removed in it.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Writes a file and makes its bytes durable, but not yet its entry.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name in the same folder, in place of a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Says whether something has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Lists the entries of a folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The disk.
#[derive(Debug)]
pub(crate) struct Disk;

impl Files for Disk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }
}
