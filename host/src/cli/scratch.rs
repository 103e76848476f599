//! A folder for what a command makes and throws away: below the output folder, where there is room for its data.

use std::path::{Path, PathBuf};

use super::CliError;

/// A folder that is removed at the end, whatever happens.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(out: &Path) -> Result<Self, CliError> {
        let path = out.join("_scratch").join(std::process::id().to_string());
        // Left over from a process that was killed and had the same number.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).map_err(|error| {
            CliError::output(format!("cannot write {}: {error}", path.display()))
                .next("check the folder's permissions and free space")
        })?;
        Ok(Self(path))
    }

    /// Makes one that needs no output folder, in the system's folder for such.
    pub(crate) fn beside(folder: &Path) -> Result<Self, CliError> {
        Self::new(&folder.join(format!("host-{}", std::process::id())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a folder in it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        if let Some(parent) = self.0.parent() {
            // Another command may have its own in there.
            let _ = std::fs::remove_dir(parent);
        }
    }
}
