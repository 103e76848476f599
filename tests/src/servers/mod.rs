//! Real servers, started on free loopback ports and ended with the value that stands for them.
//!
//! What they need is installed by `servers/install.sh`, pinned; without it they do not start, and say so.

pub mod datasette;
pub mod httpbin;
pub mod keyring;
pub mod kinto;
pub mod nginx;
pub mod octokit;
pub mod oidc;
mod process;
pub mod proxy;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It is not installed.
    #[error("not installed, run tests/servers/install.sh first: {0}")]
    Missing(PathBuf),
    /// It can't be started, or a file for it can't be written.
    #[error("the server can not be started")]
    Start(#[from] io::Error),
    /// It ended before it answered.
    #[error("{name} ended before it was ready: {output}")]
    Ended {
        /// The server.
        name: &'static str,
        /// The end of what it said.
        output: String,
    },
    /// It did not answer in time.
    #[error("{name} did not answer within {} s: {output}", within.as_secs())]
    Late {
        /// The server.
        name: &'static str,
        /// How long it had.
        within: Duration,
        /// The end of what it said.
        output: String,
    },
    /// It answered something else than it should.
    #[error("{name} answered {answer}")]
    Answer {
        /// The server.
        name: &'static str,
        /// Status or message.
        answer: String,
    },
    /// Its database can't be made.
    #[error("the database can not be made")]
    Database(#[from] rusqlite::Error),
}

/// The folder of what is installed.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("servers")
}

/// A file of what is installed.
///
/// # Errors
/// Where it is missing.
pub fn installed(path: &str) -> Result<PathBuf, ServerError> {
    let path = folder().join(path);
    if path.exists() { Ok(path) } else { Err(ServerError::Missing(path)) }
}

/// A port of 127.0.0.1 at which nobody listens, nor can begin to, as long as this value lives.
#[derive(Debug)]
pub struct ClosedPort {
    number: u16,
    _bound: tokio::net::TcpSocket,
}

impl ClosedPort {
    /// Takes one.
    ///
    /// # Errors
    /// Where none is free.
    pub fn take() -> io::Result<Self> {
        let bound = tokio::net::TcpSocket::new_v4()?;
        bound.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { number: bound.local_addr()?.port(), _bound: bound })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// A client for setting servers up, that takes every status for an answer.
fn client() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into()
}
