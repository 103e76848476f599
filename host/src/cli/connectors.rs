//! Finding a connector: by path, or by the name of one that comes along.

use std::path::{Path, PathBuf};

use super::CliError;

/// Folder of the connectors that come along, beside the program.
const FOLDER: &str = "connectors";

/// A connector's file, and whether it came along with the host.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Only what was asked for by name: whoever can write to its folder can write to the program beside it as well.
    pub(crate) came_along: bool,
}

/// Turns what the user wrote into a file. A name is one without a separator and without an ending.
pub(crate) fn find(connector: &str) -> Result<Found, CliError> {
    let path = Path::new(connector);
    if path.components().count() > 1 || path.extension().is_some() || path.exists() {
        return Ok(Found { path: path.to_owned(), came_along: false });
    }
    let folder = folder()?;
    let found = folder.join(format!("{connector}.wasm"));
    if found.exists() {
        return Ok(Found { path: found, came_along: true });
    }
    let known = known(&folder);
    let next = match host::config::nearest(connector, &known) {
        Some(near) => format!("did you mean {near}?"),
        None if known.is_empty() => format!("give the path of a component, as in ./{connector}.wasm"),
        None => format!("give the path of a component, or one of: {}", known.join(", ")),
    };
    Err(CliError::usage(format!("there is no connector {connector}")).next(next))
}

fn folder() -> Result<PathBuf, CliError> {
    let program = std::env::current_exe()
        .map_err(|error| CliError::internal(format!("cannot find the program's own folder: {error}")))?;
    Ok(program.parent().unwrap_or(Path::new(".")).join(FOLDER))
}

fn known(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .filter_map(|path| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned))
        .collect();
    names.sort();
    names
}
