//! What `host` shows its user, whole, compared with files that a reader of this repository can read too.
//!
//! A transcript that differs fails the test. `UPDATE_TRANSCRIPTS=1 cargo test …` writes them anew; look at the
//! difference before you commit it.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{LazyLock, mpsc},
};

use anyhow::{Context, bail, ensure};
use regex::Regex;
use tempfile::TempDir;

use crate::program::{Ended, PATIENCE};

/// What the host may ask of the system's memory, in KiB, over all guests of a call: far below what a hostile guest
/// would take, and far above what the host itself needs.
const MEMORY_KIB: u64 = 1_500_000;

/// A folder of its own for one test, and the texts that differ from run to run.
#[derive(Debug)]
pub struct Scene {
    folder: TempDir,
    names: Vec<(String, String)>,
}

impl Scene {
    /// Makes a scene.
    ///
    /// # Errors
    ///
    /// Where no folder can be made.
    pub fn new() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let names = vec![(folder.path().display().to_string(), "TMP".to_owned())];
        Ok(Self { folder, names })
    }

    /// Returns a path in the scene's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the scene's folder, and returns its path as text.
    ///
    /// # Errors
    ///
    /// Where it can't be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> anyhow::Result<String> {
        let path = self.path(name);
        fs::write(&path, content)?;
        Ok(path.display().to_string())
    }

    /// Shows `name` wherever `text` stands.
    pub fn call(&mut self, text: impl Into<String>, name: impl Into<String>) {
        self.names.push((text.into(), name.into()));
    }

    /// Replaces what differs from run to run.
    #[must_use]
    pub fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (found, name) in &self.names {
            text = text.replace(found, name);
        }
        match PATTERNS.as_ref() {
            Ok(patterns) => {
                for (pattern, name) in patterns {
                    text = pattern.replace_all(&text, *name).into_owned();
                }
            }
            Err(error) => text.push_str(&error.to_string()),
        }
        text
    }

    /// Returns the records of all streams in an output folder of JSON lines, by stream, in the order of the files.
    ///
    /// # Errors
    ///
    /// Where a file can't be read.
    pub fn records(&self, out: &Path) -> anyhow::Result<Vec<(String, Vec<String>)>> {
        let mut streams = Vec::new();
        if !out.exists() {
            return Ok(streams);
        }
        for name in names(out)?.into_iter().filter(|name| !name.starts_with('_')) {
            let mut records = Vec::new();
            for part in names(&out.join(&name))?.iter().filter(|part| part.starts_with("part-")) {
                let text = fs::read_to_string(out.join(&name).join(part))?;
                records.extend(text.lines().map(str::to_owned));
            }
            streams.push((name, records));
        }
        Ok(streams)
    }

    /// Returns the names in the scene's folder: whatever a guest may have written beside the output folder.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        names(self.folder.path())
    }
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// What is replaced: addresses of servers on free ports, ids of runs, and times.
static PATTERNS: LazyLock<Result<Vec<(Regex, &str)>, regex::Error>> = LazyLock::new(|| {
    let patterns = [
        // How far a stream is, told every few seconds: on a slow machine there are more of these lines.
        (r"(?m)^[^ :\n]+: [0-9,]+ records, [0-9,]+ pages[^\n]*\n", ""),
        (r"127\.0\.0\.1:[0-9]+", "127.0.0.1:PORT"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "RUN"),
        (r"port [0-9]+", "port PORT"),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", "DATE TIME"),
        (r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT", "DATE"),
        (r" in [0-9.]+ (ms|s) \(", " in TIME ("),
        (r"trying again in [0-9.]+ (ms|s|min [0-9]+ s|h [0-9]+ min)", "trying again in TIME"),
    ];
    patterns.into_iter().map(|(pattern, name)| Ok((Regex::new(pattern)?, name))).collect()
});

/// Runs a command to its end, with bounded memory.
///
/// # Errors
///
/// Where it can't be started or does not end.
pub fn play(command: &Command) -> anyhow::Result<Ended> {
    let mut bounded = Command::new("sh");
    bounded.arg("-c").arg(format!("ulimit -d {MEMORY_KIB} && exec \"$0\" \"$@\""));
    bounded.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bounded.current_dir(folder);
    }
    let mut child = bounded.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = collect(child.stdout.take().context("no standard output")?);
    let stderr = collect(child.stderr.take().context("no standard error")?);
    let texts = stderr.recv_timeout(PATIENCE).and_then(|stderr| Ok((stdout.recv_timeout(PATIENCE)?, stderr)));
    let Ok((stdout, stderr)) = texts else {
        child.kill()?;
        child.wait()?;
        bail!("the host did not come to an end within {PATIENCE:?}");
    };
    Ok(Ended { code: child.wait()?.code(), stdout, stderr })
}

fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        // Whoever waited may have given up.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Writes out a call: what was typed, the exit code, and all that was printed.
#[must_use]
pub fn transcript(scene: &Scene, typed: &str, ended: &Ended) -> String {
    let code = ended.code.map_or("none: killed by a signal".to_owned(), |code| code.to_string());
    let mut text = format!("$ host {}\nexit code: {code}\n", scene.plain(typed));
    for (name, content) in [("standard error", &ended.stderr), ("standard output", &ended.stdout)] {
        if !content.is_empty() {
            text.push_str(&format!("\n--- {name}\n{}", scene.plain(content)));
        }
    }
    text
}

/// Compares a transcript with the file of that name.
///
/// # Errors
///
/// Where they differ, or there is no such file.
pub fn compare(name: &str, actual: &str) -> anyhow::Result<()> {
    let path = folder().join(format!("{name}.txt"));
    if updating() {
        fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        return Ok(fs::write(&path, actual)?);
    }
    let expected = fs::read_to_string(&path)
        .with_context(|| format!("{} is missing; here it would be:\n{actual}", path.display()))?;
    ensure!(
        expected == actual,
        "the transcript differs from {}\n=== expected\n{expected}\n=== actual\n{actual}",
        path.display()
    );
    Ok(())
}

/// Says whether transcripts are written anew instead of compared.
#[must_use]
pub fn updating() -> bool {
    std::env::var_os("UPDATE_TRANSCRIPTS").is_some()
}

/// Returns the names of the transcripts in a folder of them.
///
/// # Errors
///
/// Where it can't be read.
pub fn written(below: &str) -> anyhow::Result<Vec<String>> {
    Ok(names(&folder().join(below))?.into_iter().map(|name| name.trim_end_matches(".txt").to_owned()).collect())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}
