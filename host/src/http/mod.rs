//! The way out of the host: everything that happens to a request between a connector and a server, one file a step.
//!
//! [`Client::send`] checks the request's form (`request`), where it goes ([`policy`], [`address`]), waits for its budget
//! ([`budget`]), puts secrets in (`credentials`), sends it ([`transport`]), decodes the answer ([`encoding`]), learns from
//! its headers ([`learned`]), keeps it ([`archive`]), and decides whether to send it again ([`retry`]) or somewhere else
//! (`redirect`). Each attempt and each hop of a redirect goes the whole way.
//!
//! ```ignore
//! let policy = Arc::new(Policy::default().described("api.github.com".parse()?));
//! let network = Network::new(transport::Options::default(), Resolver::new(policy.clone(), Arc::new(SystemNames)))?;
//! let client = Client::new(Config::new(policy, Arc::new(network)));
//! let response = client.send("repos", Request::get("https://api.github.com/orgs/rust-lang/repos")).await?;
//! ```
//!
//! Invariant: no text that leaves this module (errors, events, the archive, headers and bodies of responses) holds a
//! secret's value; where an answer repeats one, its placeholder stands there instead.

pub mod address;
pub mod archive;
mod attempt;
pub mod breaker;
pub mod budget;
mod client;
pub(crate) mod config;
mod credentials;
pub mod encoding;
mod error;
pub mod learned;
pub mod policy;
pub mod proxy;
pub mod rate;
mod receive;
mod redirect;
mod request;
mod response;
pub mod retry;
mod server;
mod structured;
pub mod tape;
pub mod transport;

use std::time::Duration;

use url::Url;

pub use self::archive::Archive;
pub use self::breaker::BreakerRules;
pub use self::budget::shared::Pool;
pub use self::budget::{Budget, Budgets, budget_id};
pub use self::client::Client;
pub use self::config::Config;
pub use self::error::Error;
pub use self::learned::HeaderNames;
pub use self::policy::{Denial, Granted, HostPattern, Policy};
pub use self::rate::{Rate, RateError, Rates};
pub use self::request::{Method, Request};
pub(crate) use self::response::header;
pub use self::response::{Rejected, Response};
pub use self::tape::{NotRecorded, Tape};
pub use self::transport::{Network, Transport};

/// The default budget of a URL: its host, with the port where it is not the scheme's own.
pub fn budget_name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Writes a time as HTTP does: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(at_ms: u64) -> String {
    // The year 9999; the format has no place for more.
    let at_ms = at_ms.min(253_402_300_799_000);
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_millis(at_ms))
}

#[cfg(test)]
mod hour_tests;
#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod tests;
