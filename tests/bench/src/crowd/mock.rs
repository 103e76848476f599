//! The mock API in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use crate::place;

/// A running mock API, which ends with this value.
pub(crate) struct Mock {
    child: Child,
    url: String,
}

impl Mock {
    /// Starts one with `records` small records, 100 a page, behind cursors. Its pages stay built, so that it takes little
    /// of the machine.
    pub(crate) fn start(records: u32) -> anyhow::Result<Self> {
        let program = place::built()?.join("mock-api");
        let mut child = Command::new(&program)
            .args(["--prebuilt-mib", "600", "--paging", "cursor", "--records", &records.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start: run `make programs` first", program.display()))?;
        let mut url = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut url)?;
        }
        let url = url.trim().trim_end_matches("/items").to_owned();
        Ok(Self { child, url })
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
