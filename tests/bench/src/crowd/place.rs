//! Where things are, and the runtime that everything runs on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use host::engine::Engine;
use host::engine::cache::Cache;
use host::engine::limits::Limits;

/// Threads that serve connections, and the machine that the figures are for.
const WORKERS: usize = 2;

/// The folder of this program, which holds the other ones as well.
pub(crate) fn built() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a program without a folder")?.to_owned())
}

/// A connector that comes along.
pub(crate) fn connector(name: &str) -> anyhow::Result<PathBuf> {
    existing(built()?.join(format!("connectors/{name}.wasm")), "make connectors")
}

/// A small connector of the tests.
pub(crate) fn guest(name: &str) -> anyhow::Result<PathBuf> {
    let built = built()?;
    let target = built.parent().context("no target folder")?;
    existing(target.join(format!("wasm32-wasip2/release/examples/{name}.wasm")), "make guests")
}

fn existing(path: PathBuf, command: &str) -> anyhow::Result<PathBuf> {
    ensure!(path.exists(), "{} is missing: run `{command}` first", path.display());
    Ok(path)
}

/// An engine whose compiled code is kept beside that of the tests.
pub(crate) fn engine(limits: Limits) -> anyhow::Result<Arc<Engine>> {
    let cache = Cache::new(built()?.join("test-cache").join("host"));
    Ok(Arc::new(Engine::new(limits, Some(cache)).map_err(|error| anyhow::anyhow!("{error:?}"))?))
}

/// The runtime of all cases.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()
}

/// Allows as many open files as the system lets a process have: a connection holds about ten.
pub(crate) fn open_files() -> anyhow::Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
    Ok(())
}

/// Memory of this process in KiB, by its name in `/proc/self/status`.
pub(crate) fn memory_kib(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line in /proc/self/status")?;
    let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    Ok(number.parse()?)
}

/// The threads of this process.
pub(crate) fn threads() -> usize {
    std::fs::read_dir(Path::new("/proc/self/task")).map_or(0, Iterator::count)
}
