//! Credentials: the values that a user gives so that an API lets the connector in. A connector never sees one.
//!
//! Where the connector's description has schemes, the user's configuration picks one ([`Choice`]), and a [`Session`] puts
//! what it takes into each request as the last step before the transport: one file a scheme. Elsewhere a `writeOnly`
//! setting is a placeholder, and [`crate::http`] puts the value in on the way out.
//!
//! Invariant: nothing of a scheme is in what the archive keeps of a request; it is put into the copy that is sent.

mod api_key;
mod aws;
mod choice;
mod hmac;
mod jwt;
mod keys;
pub mod login;
mod oauth;
mod payer;
mod place;
mod scheme;
mod secret;
mod session;
pub mod store;

pub use choice::Choice;
pub(crate) use keys::Key;
pub use payer::payer;
pub use scheme::{Kind, Parameter, Scheme};
pub(crate) use secret::percent_encode;
pub use secret::{Form, PLACEHOLDER_PREFIX, PLACEHOLDER_SUFFIX, Secret, Secrets};
pub(crate) use session::Stamp;
pub use session::{Parts, Session};
pub use store::{SealingKey, Store};

/// Why there are no credentials for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {next}")]
pub struct Refusal {
    /// What failed.
    pub message: String,
    /// What to do about it.
    pub next: String,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { message: message.into(), next: next.into() }
    }
}
