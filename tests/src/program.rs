//! The `host` program as its users run it, and the files that it leaves.

use std::{
    fs::File,
    io,
    ops::{Deref, DerefMut},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use arrow_array::{Array, Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// The folder that `make build` fills: the program, and its connectors beside it.
///
/// # Errors
///
/// Where this test program itself does not lie in a target folder.
pub fn built() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    // target/release/deps/NAME-HASH
    Ok(test.parent().and_then(Path::parent).context("a test program without a target folder")?.to_owned())
}

/// A call of `host`, with no cache folder but the one shared by the tests, and no colours or terminal.
///
/// # Errors
///
/// Where the program is not built.
pub fn host(arguments: &[&str]) -> anyhow::Result<Command> {
    let built = built()?;
    let program = built.join("host");
    ensure!(program.exists(), "{} is missing: run `make build` first", program.display());
    let mut command = Command::new(program);
    command.args(arguments).env("XDG_CACHE_HOME", built.join("test-cache"));
    // The key of stored credentials is not that of whoever runs the tests, and not in their keyring.
    command
        .env("XDG_CONFIG_HOME", built.join("test-config"))
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .stdin(Stdio::null());
    Ok(command)
}

/// What a call of `host` printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// No call takes longer on any machine, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Short against all that a call does.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A call of `host` under way, which ends with this value. What it prints goes to files, so that it never waits for a reader.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        Ok(Self { child: command.spawn()?, stdout, stderr })
    }

    /// Waits until something is so that this call brings about.
    ///
    /// # Errors
    ///
    /// Where it comes to its end before, or hangs.
    pub fn until(&mut self, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
        let mut was_so = false;
        self.until_ended_or(|| {
            was_so = is_so();
            was_so
        })?;
        ensure!(was_so, "it ended too early, with {:?}\n{}", self.child.wait()?, self.said()?);
        Ok(())
    }

    /// Waits until something is so, or this call comes to its end.
    ///
    /// # Errors
    ///
    /// Where it hangs.
    pub fn until_ended_or(&mut self, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !is_so() && self.child.try_wait()?.is_none() {
            ensure!(begun.elapsed() < PATIENCE, "it did not come so far within {PATIENCE:?}\n{}", self.said()?);
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// Where the system refuses.
    pub fn killed(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// Where what it printed cannot be read.
    pub fn ended(mut self) -> anyhow::Result<Ended> {
        let status = self.child.wait()?;
        Ok(Ended { code: status.code(), stdout: printed(&self.stdout)?, stderr: printed(&self.stderr)? })
    }

    /// Waits for its end, and expects exit code 0.
    ///
    /// # Errors
    ///
    /// Where it is another one, with all that was printed.
    pub fn succeeds(self) -> anyhow::Result<Ended> {
        let ended = self.ended()?;
        ensure!(ended.code == Some(0), "exit code {:?}\n{}\n{}", ended.code, ended.stderr, ended.stdout);
        Ok(ended)
    }

    /// All that it has printed so far, for whoever has to find out why something failed.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn said(&self) -> anyhow::Result<String> {
        Ok(format!("{}\n{}", printed(&self.stderr)?, printed(&self.stdout)?))
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself can't be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is in a file, from its beginning; the place at which the process writes on stays where it is.
fn printed(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Calls `host` and waits for its end.
///
/// # Errors
///
/// Where it cannot be started.
pub fn call(arguments: &[&str]) -> anyhow::Result<Ended> {
    Ok(host(arguments)?.output()?.into())
}

/// Calls `host run` with `--json` and expects it to be complete; returns its report.
///
/// # Errors
///
/// Where the run is anything but complete.
pub fn complete(arguments: &[&str]) -> anyhow::Result<Value> {
    let mut all = vec!["run"];
    all.extend_from_slice(arguments);
    all.push("--json");
    let ended = call(&all)?;
    ensure!(ended.code == Some(0), "exit code {:?}\n{}\n{}", ended.code, ended.stderr, ended.stdout);
    let report: Value = serde_json::from_str(&ended.stdout)?;
    ensure!(report["verdict"] == "complete", "{report:#}");
    Ok(report)
}

/// The visible parts of a stream, in order.
///
/// # Errors
///
/// Where the stream has no folder.
pub fn parts(out: &Path, stream: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = out.join(stream);
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("no folder {}", folder.display()))? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("part-")) {
            parts.push(path);
        }
    }
    parts.sort();
    Ok(parts)
}

/// Everything in the Parquet parts of a stream.
///
/// # Errors
///
/// Where a part is not readable.
pub fn batches(out: &Path, stream: &str) -> anyhow::Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    for part in parts(out, stream)? {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&part)?)?.build()?;
        for batch in reader {
            batches.push(batch?);
        }
    }
    Ok(batches)
}

/// The whole numbers of a column in the Parquet parts of a stream, in the order of the files.
///
/// # Errors
///
/// Where the column is missing, or is no column of whole numbers.
pub fn integers(out: &Path, stream: &str, column: &str) -> anyhow::Result<Vec<i64>> {
    let mut numbers = Vec::new();
    for batch in batches(out, stream)? {
        let values = batch.column_by_name(column).with_context(|| format!("no column {column}"))?;
        let values: &Int64Array = values.as_primitive_opt::<Int64Type>().context("no whole numbers")?;
        ensure!(values.null_count() == 0, "{column} has nulls");
        numbers.extend(values.values());
    }
    Ok(numbers)
}
