//! A clock that goes ahead or back when a test says so, for programs that ask the system what time it is.

use std::{fs, path::PathBuf, process::Command};

use anyhow::ensure;
use tempfile::TempDir;

/// Looks into a file for the seconds by which the clock is ahead of the real one; without the file it is right.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, now);
    const char *path = getenv("CLOCK_AHEAD");
    if (result != 0 || id != CLOCK_REALTIME || !path) return result;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return result;
    char text[32] = {0};
    if (read(file, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
    close(file);
    return result;
}
"#;

/// The clock of the commands that it is given to.
#[derive(Debug)]
pub struct Clock {
    folder: TempDir,
}

impl Clock {
    /// Makes a clock that is right.
    ///
    /// # Errors
    ///
    /// Where there is no C compiler; Rust needs one as well.
    pub fn new() -> anyhow::Result<Self> {
        let clock = Self { folder: TempDir::new()? };
        let source = clock.path("clock.c");
        fs::write(&source, SOURCE)?;
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(clock.path("clock.so")).arg(&source).arg("-ldl");
        let built = cc.output()?;
        ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Ok(clock)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has a command look at this clock.
    pub fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.path("clock.so")).env("CLOCK_AHEAD", self.path("ahead"));
    }

    /// Puts it so many seconds ahead of the real one, or behind.
    ///
    /// # Errors
    ///
    /// Where that can't be written.
    pub fn ahead(&self, seconds: i64) -> anyhow::Result<()> {
        // Whole or not at all: programs look at any moment.
        fs::write(self.path("new"), seconds.to_string())?;
        Ok(fs::rename(self.path("new"), self.path("ahead"))?)
    }
}
