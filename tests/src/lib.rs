//! Servers that the host and its connectors are tried against, and the host as a program.
//!
//! * [`clock`] — a clock that a test puts ahead or back, for programs;
//! * [`connection`] — a connector, its configuration, its runs, and what they leave;
//! * [`duckdb`] — what DuckDB sees in those files;
//! * [`mock`] — an API in this process, with every pagination and every fault on demand;
//! * [`recorded`] — real exchanges, recorded by others, served again from their files;
//! * [`program`] — the `host` program, and the files that it leaves; [`rows`] — records out of columns;
//! * [`torture`] — runs that are killed at random moments;
//! * [`secrets`] — the forms in which a secret would be found, and the search for them;
//! * [`servers`] — real servers (datasette, httpbin, kinto, nginx, octokit's fixtures server, oidc-provider) on free
//!   loopback ports.
//!
//! Everything listens on 127.0.0.1 and goes away when its value is dropped.

#![deny(missing_docs)]

pub mod clock;
pub mod connection;
pub mod duckdb;
pub mod guest_memory;
pub mod mock;
pub mod program;
pub mod recorded;
pub mod rows;
pub mod secrets;
pub mod servers;
pub mod torture;
pub mod transcript;
pub mod variation;
