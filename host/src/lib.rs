//! A host for API connectors: WebAssembly components that know one API's pagination and parsing, and nothing else.
//!
//! The host owns everything with an effect: HTTP, credentials, rate limits, time, storage, commits. See
//! [`run`] for the life of a run, [`engine`] for the sandbox, [`http`] for a request's way out.
//!
//! The library prints nothing, and reads no environment variable and no home folder: whoever uses it hands these in.

#![deny(missing_docs)]
#![cfg_attr(
    test,
    expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets what it does not expect has failed")
)]

pub mod auth;
pub mod capability;
pub mod config;
pub mod engine;
pub mod event;
pub mod grant;
pub mod http;
pub mod json;
pub mod personal;
pub mod record;
pub mod run;
pub mod schema;
pub mod sink;
pub mod state;
pub mod time;
pub mod torture;
