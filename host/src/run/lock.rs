//! One writer a connection: a lock on a file, which the system takes back from a dead process by itself.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process runs the connection.
    #[error("another run of the connection {connection} is using {}", out.display())]
    Held {
        /// The connection.
        connection: String,
        /// The output folder.
        out: PathBuf,
    },
    /// The file cannot be made.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Lock {
    pub(crate) fn take(out: &Path, connection: &str) -> Result<Self, LockError> {
        let folder = out.join("_locks");
        let path = folder.join(connection);
        let open = || {
            fs::create_dir_all(&folder)?;
            File::options().create(true).truncate(false).write(true).open(&path)
        };
        let file = open().map_err(|source| LockError::Io { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(LockError::Held { connection: connection.to_owned(), out: out.to_owned() })
            }
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_one_writer_and_others_are_free() {
        let out = tempfile::tempdir().unwrap();
        let held = Lock::take(out.path(), "github").unwrap();
        assert_eq!(
            Lock::take(out.path(), "github").unwrap_err().to_string(),
            format!("another run of the connection github is using {}", out.path().display())
        );
        Lock::take(out.path(), "other").unwrap();
        drop(held);
        Lock::take(out.path(), "github").unwrap();
    }
}
