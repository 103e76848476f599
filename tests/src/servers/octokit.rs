//! octokit's fixtures server: exchanges recorded from the real GitHub API.
//!
//! Each exchange is given once, in the recorded order, so that a reading that ends well has made
//! exactly the recorded requests. Differences from GitHub: the base URL has a path, the token must
//! be [`TOKEN`] in the scheme `token`, `Accept` must be [`MEDIA_TYPE`], the query must be the recorded
//! one to the letter, and `x-ratelimit-reset` is in milliseconds. A scenario lives for a minute.

use std::process::Command;

use serde_json::{Value, json};

use super::{
    ServerError, client, installed,
    process::{Port, Process},
};

/// The token of every recorded request: `Authorization: token …`.
pub const TOKEN: &str = "0000000000000000000000000000000000000001";

/// The media type of every recorded request.
pub const MEDIA_TYPE: &str = "application/vnd.github.v3+json";

/// The running server.
#[derive(Debug)]
pub struct Octokit {
    base: String,
    _process: Process,
}

/// One scenario, ready to be read once.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Base URL in the place of `https://api.github.com`, without a slash at the end.
    pub url: String,
}

impl Octokit {
    /// Starts it.
    ///
    /// # Errors
    /// Where it is not installed or does not come up.
    pub fn start() -> Result<Self, ServerError> {
        let server = installed("node_modules/@octokit/fixtures-server/bin/server.js")?;
        let claimed = Port::claim()?;
        let port = claimed.number();
        let base = format!("http://127.0.0.1:{port}");
        let mut command = Command::new("node");
        command.arg(server).args(["--port", &port.to_string(), "--fixtures-url", &base, "--log-level", "error"]);
        let process = Process::start("octokit's fixtures server", command, tempfile::tempdir()?, vec![claimed])?;
        Ok(Self { base, _process: process })
    }

    /// Loads a scenario; each call makes one of its own.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn scenario(&self, name: &str) -> Result<Scenario, ServerError> {
        let wrong = |answer: String| ServerError::Answer { name: "octokit's fixtures server", answer };
        let mut response = client()
            .post(format!("{}/fixtures", self.base))
            .send_json(json!({ "scenario": name }))
            .map_err(|error| wrong(error.to_string()))?;
        let body: Value = response.body_mut().read_json().map_err(|error| wrong(error.to_string()))?;
        let url = body["url"].as_str().ok_or_else(|| wrong(body.to_string()))?;
        Ok(Scenario { url: url.trim_end_matches('/').to_owned() })
    }

    /// The recorded responses of a scenario, in order, as they were recorded: links not yet rewritten.
    ///
    /// # Errors
    /// Where they are not installed or can't be read.
    pub fn recorded(name: &str) -> Result<Vec<Value>, ServerError> {
        let path = format!("node_modules/@octokit/fixtures/scenarios/api.github.com/{name}/normalized-fixture.json");
        let text = std::fs::read(installed(&path)?)?;
        serde_json::from_slice(&text).map_err(|error| std::io::Error::from(error).into())
    }
}
