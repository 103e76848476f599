//! httpbin: redirects wherever one likes, bodies in every encoding, drips, and echoes of what was sent.

use std::process::Command;

use super::{
    ServerError, installed,
    process::{Port, Process},
};

/// The running server.
#[derive(Debug)]
pub struct Httpbin {
    base: String,
    _process: Process,
}

impl Httpbin {
    /// Starts it.
    ///
    /// # Errors
    /// Where it is not installed or does not come up.
    pub fn start() -> Result<Self, ServerError> {
        let program = installed(".venv/bin/python")?;
        let claimed = Port::claim()?;
        let port = claimed.number();
        let mut command = Command::new(program);
        command.args(["-m", "httpbin.core", "--port", &port.to_string(), "--host", "127.0.0.1"]);
        let process = Process::start("httpbin", command, tempfile::tempdir()?, vec![claimed])?;
        Ok(Self { base: format!("http://127.0.0.1:{port}"), _process: process })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }
}
