//! Compiled code is kept, and trusted only as it was written.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tests::program::call;

fn inspect(cache: &Path) -> anyhow::Result<String> {
    let ended = call(&["inspect", "github", "--cache-dir", cache.to_str().context("a path")?])?;
    ensure!(ended.code == Some(0), "{}", ended.stderr);
    let line = ended.stdout.lines().find_map(|line| line.strip_prefix("compiled code"));
    Ok(line.context("no line about compiled code")?.trim().to_owned())
}

fn only_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut files = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(files.len() == 1, "{} files", files.len());
    Ok(files.remove(0).path())
}

#[test]
fn a_damaged_file_is_compiled_again_and_never_loaded() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let cache = folder.path().join("cache");
    assert_eq!(inspect(&cache)?, "made now, and kept");
    assert_eq!(inspect(&cache)?, "from the cache");
    let path = only_file(&cache)?;
    let whole = std::fs::read(&path)?;
    for at in [0, 31, 32, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        let byte = damaged.get_mut(at).context("a byte")?;
        *byte ^= 1;
        std::fs::write(&path, &damaged)?;
        assert_eq!(inspect(&cache)?, "made again: what was in the cache was damaged", "byte {at}");
        assert_eq!(inspect(&cache)?, "from the cache");
    }
    std::fs::write(&path, whole.get(..whole.len() / 3).context("a third")?)?;
    assert_eq!(inspect(&cache)?, "made again: what was in the cache was damaged");
    std::fs::write(&path, "")?;
    assert_eq!(inspect(&cache)?, "made again: what was in the cache was damaged");
    Ok(())
}

#[test]
#[cfg(unix)]
fn the_folder_belongs_to_its_user_alone() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    let cache = folder.path().join("cache");
    inspect(&cache)?;
    assert_eq!(std::fs::metadata(&cache)?.permissions().mode() & 0o777, 0o700);
    Ok(())
}
